//! Producers and consumers that write down what they do and what they are told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use client::Properties;
use client::admin::TopicPartition;
use client::consumer::{Consumer, Records, Seek, Subscription};
use client::producer::{Producer, ProducerRecord};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::chance::Chance;
use super::history::{Commit, Key, Read, Recorder};

pub const GROUP: &str = "workers";
/// Between two records of one producer.
const PACE: Duration = Duration::from_millis(10);
/// A client is replaced by a new one about so often.
const LIFE_MS: usize = 30_000;
const POLL: Duration = Duration::from_millis(100);
const COMMIT: Duration = Duration::from_secs(5);

/// What all of them know.
pub struct Shared {
    pub servers: String,
    /// By key.
    pub partitions: Vec<TopicPartition>,
    pub recorder: Recorder,
    pub seed: u64,
    pub writes_end: AtomicBool,
    pub reads_end: AtomicBool,
}

impl Shared {
    pub fn properties(&self, more: &[(&str, &str)]) -> Properties {
        let common = [
            ("bootstrap.servers", self.servers.as_str()),
            ("request.timeout.ms", "3000"),
            ("default.api.timeout.ms", "10000"),
            ("socket.connection.setup.timeout.ms", "2000"),
            ("reconnect.backoff.max.ms", "500"),
            ("metadata.max.age.ms", "5000"),
        ];
        common.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn key(&self, topic: &str, partition: i32) -> Key {
        self.partitions.iter().position(|(t, p)| t == topic && *p == partition).unwrap()
    }

    fn chance(&self, who: u64) -> Chance {
        Chance(self.seed.wrapping_mul(31).wrapping_add(who))
    }

    pub fn note(&self, records: &[Records], session: u32, group: bool) {
        let mut history = self.recorder.history();
        for batch in records {
            let key = self.key(&batch.topic, batch.partition);
            for record in batch.iter() {
                // What is no number of ours was never sent.
                let bytes = record.value.and_then(|value| value.first_chunk()).copied();
                let value = bytes.map_or(u64::MAX, u64::from_be_bytes);
                history.reads.push(Read { session, group, key, offset: record.offset, value });
            }
        }
    }
}

/// Starts those that write and those that read.
pub fn start(shared: &Arc<Shared>) -> (Vec<JoinHandle<()>>, Vec<JoinHandle<()>>) {
    let writers = (0..2).map(|who| tokio::spawn(produce(shared.clone(), shared.chance(who)))).collect();
    let readers = vec![
        tokio::spawn(follow(shared.clone(), shared.chance(10))),
        tokio::spawn(work(shared.clone(), shared.chance(20))),
        tokio::spawn(work(shared.clone(), shared.chance(21))),
    ];
    (writers, readers)
}

/// Some time about the life of a client.
fn life(chance: &mut Chance) -> Duration {
    Duration::from_millis((LIFE_MS / 2 + chance.below(LIFE_MS)) as u64)
}

async fn produce(shared: Arc<Shared>, mut chance: Chance) {
    let settings = [("delivery.timeout.ms", "15000"), ("max.block.ms", "10000"), ("linger.ms", "5")];
    while !shared.writes_end.load(Ordering::Relaxed) {
        let producer = Producer::open(&shared.properties(&settings)).await.unwrap();
        let (number, born, life) = (shared.recorder.number(), Instant::now(), life(&mut chance));
        while born.elapsed() < life && !shared.writes_end.load(Ordering::Relaxed) {
            let key = chance.below(shared.partitions.len());
            let (topic, partition) = &shared.partitions[key];
            let value = shared.recorder.sending(number, key);
            let mut bytes = [0x2e; 80];
            bytes[..8].copy_from_slice(&value.to_be_bytes());
            let record =
                ProducerRecord { topic, partition: Some(*partition), value: Some(&bytes), ..Default::default() };
            let (teller, sent_ms) = (shared.clone(), shared.recorder.now());
            let delivery = move |result: Result<client::producer::Delivered, client::Error>| {
                if let Ok(Some(offset)) = result.map(|delivered| delivered.offset) {
                    teller.recorder.acknowledged(value, offset, sent_ms);
                }
            };
            if producer.send(&record, Some(Box::new(delivery))).await.is_err() {
                shared.recorder.failed(value);
            }
            sleep(PACE).await;
        }
        // Some end in order, some just go.
        if chance.below(2) == 0 || shared.writes_end.load(Ordering::Relaxed) {
            producer.close(Duration::from_secs(20)).await;
        }
    }
}

/// Reads everything by itself, beginning a little before the end.
async fn follow(shared: Arc<Shared>, mut chance: Chance) {
    while !shared.reads_end.load(Ordering::Relaxed) {
        let settings = [("auto.offset.reset", "earliest")];
        let mut consumer = Consumer::open(&shared.properties(&settings)).await.unwrap();
        consumer.assign(shared.partitions.iter().cloned());
        for (key, partition) in shared.partitions.iter().enumerate() {
            let from = shared.recorder.highest(key) - chance.below(200) as i64;
            consumer.seek(partition, Seek::To(from.max(0)));
        }
        let (session, born, life) = (shared.recorder.number(), Instant::now(), life(&mut chance));
        while born.elapsed() < life && !shared.reads_end.load(Ordering::Relaxed) {
            match consumer.poll(POLL).await {
                Ok(records) => shared.note(&records, session, false),
                Err(_) => break,
            }
        }
    }
}

/// A member of the group: reads, and commits what it read.
async fn work(shared: Arc<Shared>, mut chance: Chance) {
    let settings = [
        ("auto.offset.reset", "earliest"),
        ("group.id", GROUP),
        ("enable.auto.commit", "false"),
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "1000"),
    ];
    while !shared.reads_end.load(Ordering::Relaxed) {
        let mut consumer = Consumer::open(&shared.properties(&settings)).await.unwrap();
        let topics = topics(&shared.partitions);
        consumer.subscribe(Subscription::Topics(topics)).unwrap();
        let (mut session, born, life) = (shared.recorder.number(), Instant::now(), life(&mut chance));
        while born.elapsed() < life && !shared.reads_end.load(Ordering::Relaxed) {
            let Ok(records) = consumer.poll(POLL).await else { break };
            if !consumer.rebalances().is_empty() {
                session = shared.recorder.number();
            }
            if records.is_empty() {
                continue;
            }
            shared.note(&records, session, true);
            commit(&shared, &consumer).await;
        }
        if chance.below(2) == 0 || shared.reads_end.load(Ordering::Relaxed) {
            let _ = timeout(COMMIT, consumer.close()).await;
        }
    }
}

async fn commit(shared: &Shared, consumer: &Consumer) {
    let positions: BTreeMap<TopicPartition, i64> =
        consumer.assignment().filter_map(|tp| Some((tp.clone(), consumer.position(tp)?))).collect();
    let known = matches!(timeout(COMMIT, consumer.commit_offsets(&positions)).await, Ok(Ok(())));
    let mut history = shared.recorder.history();
    for ((topic, partition), offset) in positions {
        let commit = if known { Commit::Ok(offset) } else { Commit::Info(offset) };
        history.commits.push((shared.key(&topic, partition), commit));
    }
}

pub fn topics(partitions: &[TopicPartition]) -> Vec<String> {
    let mut topics: Vec<String> = partitions.iter().map(|(topic, _)| topic.clone()).collect();
    topics.dedup();
    topics
}

/// Reads everything there is, up to the ends told; false when it does not get there in time.
pub async fn read_all(shared: &Shared, ends: &BTreeMap<TopicPartition, i64>, limit: Duration) -> bool {
    let mut consumer = Consumer::open(&shared.properties(&[("auto.offset.reset", "earliest")])).await.unwrap();
    consumer.assign(shared.partitions.iter().cloned());
    let (session, begun) = (shared.recorder.number(), Instant::now());
    while begun.elapsed() < limit {
        if let Ok(records) = consumer.poll(POLL).await {
            shared.note(&records, session, false);
        }
        if ends.iter().all(|(tp, end)| consumer.position(tp).is_some_and(|at| at >= *end)) {
            return true;
        }
    }
    false
}
