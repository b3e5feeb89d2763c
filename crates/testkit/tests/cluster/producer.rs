//! Producers. With acks=all: idempotent, five batches in flight for each partition, sent again in order until acknowledged.
//! With acks=1: one batch in flight, which may be doubled when it is sent again; or idempotent, which Kafka's own clients do
//! not ask for, and then with a new id where a lost batch leaves a gap. With acks=0: each batch is sent once, and forgotten.

use crate::clients::{Pending, Question, Role};
use crate::groups::is_offsets;
use crate::plan::HEAL_MS;
use crate::promises::Sent;
use crate::world::World;
use metadata::image::TopicIdPartition;
use std::collections::{BTreeMap, VecDeque};
use wire::ErrorCode;
use wire::records::{BatchBuilder, BatchHeader, Codec};

const IN_FLIGHT: usize = 5;

/// What a producer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    All,
    Leader,
    /// Idempotent.
    LeaderNumbered,
    None,
}

pub struct Producer {
    name: usize,
    acks: Acks,
    id: Option<i64>,
    is_asking: bool,
    lanes: BTreeMap<TopicIdPartition, Lane>,
}

/// What goes to one partition.
#[derive(Default)]
struct Lane {
    next_sequence: i32,
    /// The last that was acknowledged: its offset and checksum.
    acknowledged: Option<(i64, u32)>,
    /// From the first on that is not acknowledged, in order.
    batches: VecDeque<Batch>,
    rests_until_ms: i64,
    /// The leader knows the producer: as Kafka's, it takes any sequence from one that it does not know, so that a second
    /// batch must not arrive where the first was refused.
    is_known: bool,
}

struct Batch {
    crc: u32,
    bytes: Vec<u8>,
    is_sent: bool,
    is_acknowledged: bool,
}

impl Producer {
    pub fn new(name: usize, acks: Acks) -> Producer {
        Producer { name, acks, id: None, is_asking: false, lanes: BTreeMap::new() }
    }

    fn is_numbered(&self) -> bool {
        matches!(self.acks, Acks::All | Acks::LeaderNumbered)
    }

    /// What is not acknowledged, by checksum.
    pub fn open(&self) -> impl Iterator<Item = (TopicIdPartition, u32)> + '_ {
        let lanes = self.lanes.iter();
        lanes.flat_map(|(key, lane)| {
            let open = lane.batches.iter().filter(|batch| !batch.is_acknowledged);
            open.map(move |batch| (*key, batch.crc))
        })
    }

    /// Makes a batch. Its checksum, and what was acknowledged before.
    fn make(&mut self, key: TopicIdPartition, records: i64, now_ms: i64) -> (u32, Option<(i64, u32)>) {
        let (name, id) = (self.name, self.id);
        let lane = self.lanes.entry(key).or_default();
        let sequence = lane.next_sequence;
        let mut builder = BatchBuilder::new(Codec::None);
        if let Some(id) = id {
            builder = builder.producer(id, 0, sequence);
        }
        for at in 0..records {
            let value = format!("{name}/{}", i64::from(sequence) + at);
            builder.append(1_700_000_000_000 + now_ms, None, Some(value.as_bytes()), &[]);
        }
        lane.next_sequence += records as i32;
        let bytes = builder.build(0, -1);
        let crc = BatchHeader::parse(&bytes).unwrap().crc();
        lane.batches.push_back(Batch { crc, bytes, is_sent: false, is_acknowledged: false });
        (crc, lane.acknowledged)
    }
}

impl World {
    fn producer(&mut self, client: usize) -> &mut Producer {
        match &mut self.clients[client].role {
            Role::Producer(producer) => producer,
            Role::Consumer(_) => unreachable!("a consumer's client"),
        }
    }

    /// Makes a batch and sends what is to be sent; how long until the next.
    pub fn producer_turn(&mut self, client: usize) -> i64 {
        let now_ms = self.now_ms();
        let image = self.clients[client].image.clone();
        let producer = self.producer(client);
        if producer.id.is_none() && producer.is_numbered() {
            if !std::mem::replace(&mut producer.is_asking, true) {
                let ids: Vec<i32> = self.plan.ids().collect();
                let node = self.chance.one_of(&ids);
                self.ask_node(client, node, Pending::ProducerId, Question::ProducerId);
            }
            return 50;
        }
        // Topics that are gone take their records with them.
        producer.lanes.retain(|key, _| image.topics.get(key.topic_id).is_some());
        if now_ms < HEAL_MS + 500 {
            let topics = image.topics.iter().filter(|topic| !is_offsets(&topic.name));
            let keys = topics.flat_map(|topic| {
                topic.partitions.keys().map(|p| TopicIdPartition { topic_id: topic.id, partition: *p })
            });
            let keys: Vec<_> = keys.collect();
            if !keys.is_empty() {
                let (key, records) = (self.chance.one_of(&keys), 1 + self.chance.below(3));
                let producer = self.producer(client);
                if producer.lanes.get(&key).is_none_or(|lane| lane.batches.len() < IN_FLIGHT) {
                    let (crc, after) = producer.make(key, records, now_ms);
                    self.checks.makes(key, crc, Sent { after, times: 0 });
                }
            }
        }
        let keys: Vec<_> = self.producer(client).lanes.keys().copied().collect();
        for key in keys {
            self.pump(client, key);
        }
        match self.chance.below(100) {
            _ if now_ms >= HEAL_MS + 500 => 50,
            0..3 => 300 + self.chance.below(1_000),
            _ => 4 + self.chance.below(40),
        }
    }

    /// Sends the batches of a partition that are not under way, in order.
    fn pump(&mut self, client: usize, key: TopicIdPartition) {
        let now_ms = self.now_ms();
        let Some(leader) = self.clients[client].leader(key) else { return self.refresh(client) };
        let producer = self.producer(client);
        let acks = producer.acks;
        let Some(lane) = producer.lanes.get_mut(&key) else { return };
        if lane.rests_until_ms > now_ms {
            return;
        }
        // What comes after one that is under way again waits for its turn, too: a leader takes them in order only.
        let first = lane.batches.iter().position(|batch| !batch.is_sent);
        let Some(first) = first else { return };
        let most = if lane.is_known && acks != Acks::Leader { IN_FLIGHT } else { 1 };
        let unsent: Vec<_> = lane.batches.iter_mut().take(most).skip(first).filter(|batch| !batch.is_sent).collect();
        let mut sends = Vec::new();
        for batch in unsent {
            batch.is_sent = true;
            sends.push((batch.crc, batch.bytes.clone()));
        }
        if acks == Acks::None {
            lane.batches.clear();
        }
        for (crc, bytes) in sends {
            self.checks.sends(key, crc);
            let question = Question::Produce { key, acks, bytes };
            if acks != Acks::None {
                self.ask_node(client, leader, Pending::Produce(key, crc), question);
            } else if !self.tell_node(client, leader, 0, question) {
                self.refresh(client);
            }
        }
    }

    pub fn producer_id_came(&mut self, client: usize, id: Option<i64>) {
        let producer = self.producer(client);
        producer.is_asking = false;
        producer.id = id;
        let has_gaps = producer.acks == Acks::LeaderNumbered;
        if let Some(id) = id
            && let Err(why) = self.checks.producer_id(id, has_gaps)
        {
            self.checks.lost(why);
        }
    }

    pub fn batch_answered(&mut self, client: usize, key: TopicIdPartition, crc: u32, result: Result<i64, ErrorCode>) {
        let (now_ms, has_deleted) = (self.now_ms(), self.checks.floor(key) > 0);
        let producer = self.producer(client);
        // As in Kafka, whoever deletes a producer's records has brokers forget it.
        let has_gaps = producer.acks == Acks::LeaderNumbered || has_deleted;
        let Some(lane) = producer.lanes.get_mut(&key) else { return };
        let Some(at) = lane.batches.iter().position(|batch| batch.crc == crc) else { return };
        match result {
            Ok(offset) => {
                // A broker remembers five batches: no more may follow one that is not acknowledged.
                lane.batches[at].is_acknowledged = true;
                lane.is_known = true;
                lane.acknowledged = Some((offset, crc));
                while lane.batches.front().is_some_and(|batch| batch.is_acknowledged) {
                    lane.batches.pop_front();
                }
                self.checks.acknowledged += 1;
            }
            // What was acknowledged before is lost.
            Err(ErrorCode::OutOfOrderSequenceNumber | ErrorCode::DuplicateSequenceNumber) if has_gaps => {
                producer.id = None;
                producer.lanes.clear();
            }
            Err(code) => {
                lane.batches[at].is_sent = false;
                lane.rests_until_ms = now_ms + 20;
                let is_ordinary = matches!(
                    code,
                    ErrorCode::NetworkException | ErrorCode::NotEnoughReplicas | ErrorCode::NotLeaderOrFollower
                );
                if self.talks && !is_ordinary {
                    let name = self.name(key);
                    self.say(|| format!("producer {client} hears {} for {crc} of {name}", code.name()));
                }
                self.refresh(client);
            }
        }
    }
}
