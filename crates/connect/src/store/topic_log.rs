//! A compacted topic that every worker reads from its beginning: what a worker knows, it has from there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::admin::{Admin, ConfigEntry, Isolation, NewTopic, OffsetAt, Resource, ResourceType, TopicPartition};
use client::consumer::{Consumer, Polled, Seek};
use client::producer::{Producer, ProducerRecord};
use client::{Properties, Topics};
use connect_api::{Error, Result};
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{error, info, warn};
use wire::ErrorCode;

use crate::config::WorkerConfig;
use crate::config::worker::TopicSpec;

/// Told every record, in order: key, value and offset.
pub type Reader = Box<dyn Fn(Option<&[u8]>, Option<&[u8]>, i64) + Send + Sync>;

/// A request to tell when everything up to here is read.
type Catch = (BTreeMap<TopicPartition, i64>, oneshot::Sender<()>);

/// A topic of the worker's own.
pub struct TopicLog {
    topic: String,
    producer: Producer,
    admin: Admin,
    partitions: Vec<TopicPartition>,
    catches: mpsc::UnboundedSender<Catch>,
    wake: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for TopicLog {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How long a topic may take to be there after it was made.
const PATIENCE: Duration = Duration::from_secs(60);

impl TopicLog {
    /// Makes the topic where it is missing, and begins to read it.
    pub async fn open(config: &WorkerConfig, spec: &TopicSpec, client_id: &str, reader: Reader) -> Result<TopicLog> {
        let failed = |e: client::Error| {
            Error::connect(format!("The topic {} cannot be used", spec.name)).caused_by(of_client(&e))
        };
        let with = |prefix: &str, more: &[(&str, &str)]| {
            let mut properties = config.client_properties(prefix);
            properties.insert("client.id".into(), format!("{client_id}-{}", prefix.trim_end_matches('.')));
            properties.extend(more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
            properties
        };
        let admin = Admin::open(&with("admin.", &[])).await.map_err(failed)?;
        let count = ensure(&admin, spec).await?;
        let partitions: Vec<TopicPartition> = (0..count).map(|p| (spec.name.clone(), p)).collect();
        let producer: Properties = with(
            "producer.",
            &[
                ("acks", "all"),
                ("enable.idempotence", "false"),
                ("max.in.flight.requests.per.connection", "1"),
                ("delivery.timeout.ms", "2147483647"),
                ("linger.ms", "0"),
            ],
        );
        let producer = Producer::open(&producer).await.map_err(failed)?;
        let mut consumer = with("consumer.", &[("auto.offset.reset", "earliest"), ("enable.auto.commit", "false")]);
        consumer.remove("group.id");
        let mut consumer = Consumer::open(&consumer).await.map_err(failed)?;
        consumer.assign(partitions.iter().cloned());
        for partition in &partitions {
            consumer.seek(partition, Seek::Beginning);
        }
        let (catches, requests) = mpsc::unbounded_channel();
        let wake = Arc::new(Notify::new());
        let task = tokio::spawn(read(consumer, reader, requests, wake.clone(), spec.name.clone()));
        let log = TopicLog { topic: spec.name.clone(), producer, admin, partitions, catches, wake, task };
        log.read_to_end().await?;
        info!(target: "org.apache.kafka.connect.util.KafkaBasedLog", "Finished reading KafkaBasedLog for topic {}", spec.name);
        Ok(log)
    }

    /// How many partitions the topic has.
    pub fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    /// Waits until everything that is in the topic now was told to the reader.
    pub async fn read_to_end(&self) -> Result<()> {
        let asked: Vec<(TopicPartition, OffsetAt)> =
            self.partitions.iter().map(|p| (p.clone(), OffsetAt::Latest)).collect();
        let ends = self.admin.list_offsets(&asked, Isolation::ReadUncommitted).await.map_err(|e| self.failed(&e))?;
        let mut wanted = BTreeMap::new();
        for (partition, end) in ends {
            wanted.insert(partition, end.map_err(|e| self.failed(&e))?.offset);
        }
        let (done, caught_up) = oneshot::channel();
        let gone = || Error::connect(format!("The topic {} is not read any more", self.topic));
        self.catches.send((wanted, done)).map_err(|_| gone())?;
        self.wake.notify_one();
        caught_up.await.map_err(|_| gone())
    }

    /// Writes a record, and returns when it is written.
    pub async fn send(&self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.send_all([(key, value)].into_iter()).await
    }

    /// Writes records in this order, and returns when all are written.
    pub async fn send_all<'r>(&self, records: impl Iterator<Item = (&'r [u8], Option<&'r [u8]>)>) -> Result<()> {
        let mut pending = Vec::new();
        for (key, value) in records {
            let (done, delivered) = oneshot::channel();
            let record = ProducerRecord { topic: &self.topic, key: Some(key), value, ..ProducerRecord::default() };
            let delivery = Box::new(move |result: std::result::Result<_, client::Error>| {
                let _ = done.send(result);
            });
            self.producer.send(&record, Some(delivery)).await.map_err(|e| self.failed(&e))?;
            pending.push(delivered);
        }
        for delivered in pending {
            let result = delivered.await.map_err(|_| Error::connect("the producer was closed"))?;
            result.map_err(|e| self.failed(&e))?;
        }
        Ok(())
    }

    fn failed(&self, error: &client::Error) -> Error {
        Error::connect(format!("The topic {} cannot be used", self.topic)).caused_by(of_client(error))
    }
}

/// A client's error under its Java name.
pub fn of_client(error: &client::Error) -> Error {
    let kind = match error.is_retriable() {
        true => connect_api::ErrorKind::Other("org.apache.kafka.common.errors.RetriableException"),
        false => connect_api::ErrorKind::Other("org.apache.kafka.common.KafkaException"),
    };
    Error::new(kind, format!("{}: {error}", error.class()))
}

/// Tells records to the reader for as long as the log lives.
async fn read(
    mut consumer: Consumer,
    reader: Reader,
    mut requests: mpsc::UnboundedReceiver<Catch>,
    wake: Arc<Notify>,
    topic: String,
) {
    let mut waiting: Vec<Catch> = Vec::new();
    loop {
        // The end may be reached without a record: what was there is compacted away.
        let limit = if waiting.is_empty() { Duration::from_secs(3600) } else { Duration::from_millis(100) };
        match consumer.poll_events(limit, &wake).await {
            Ok(Polled::Records(batches)) => {
                for batch in &batches {
                    for record in batch.iter() {
                        reader(record.key, record.value, record.offset);
                    }
                }
            }
            Ok(_) => {}
            Err(error) => {
                error!(target: "org.apache.kafka.connect.util.KafkaBasedLog", "Error polling {topic}: {error}");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        while let Ok(catch) = requests.try_recv() {
            waiting.push(catch);
        }
        for (mut wanted, done) in std::mem::take(&mut waiting) {
            wanted.retain(|partition, end| consumer.position(partition).is_none_or(|at| at < *end));
            match wanted.is_empty() {
                true => drop(done.send(())),
                false => waiting.push((wanted, done)),
            }
        }
    }
}

/// Makes the topic where it is missing and says how many partitions it has. One that is not compacted is refused, for it
/// would forget.
async fn ensure(admin: &Admin, spec: &TopicSpec) -> Result<i32> {
    let failed =
        |e: &client::Error| Error::connect(format!("The topic {} cannot be made", spec.name)).caused_by(of_client(e));
    let names = [spec.name.clone()];
    let begun = tokio::time::Instant::now();
    let mut made = false;
    loop {
        let metadata =
            admin.client().metadata(Topics::Names(&names), false, "metadata").await.map_err(|e| failed(&e))?;
        match metadata.topic(&spec.name) {
            Some(topic) if topic.error == ErrorCode::None && topic.partitions.iter().all(|p| p.leader.is_some()) => {
                if !made {
                    check_compacted(admin, &spec.name).await?;
                }
                return Ok(topic.partitions.len() as i32);
            }
            Some(topic) if !topic.error.is_retriable() && topic.error != ErrorCode::None => {
                return Err(failed(&client::Error::code(topic.error)));
            }
            _ if !made => {
                let new = NewTopic {
                    name: spec.name.clone(),
                    partitions: spec.partitions,
                    replication_factor: spec.replication_factor,
                    assignment: None,
                    configs: spec.configs.clone(),
                };
                match admin.create_topic(&new).await {
                    Ok(()) => info!(target: "org.apache.kafka.connect.util.TopicAdmin", "Created topic {}", spec.name),
                    Err(error) if error.error_code() == Some(ErrorCode::TopicAlreadyExists) => {}
                    Err(error) => return Err(failed(&error)),
                }
                made = true;
            }
            _ => {}
        }
        if begun.elapsed() > PATIENCE {
            return Err(Error::connect(format!("The topic {} has no leader", spec.name)));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn check_compacted(admin: &Admin, topic: &str) -> Result<()> {
    let resource = Resource { kind: ResourceType::Topic, name: topic.to_owned() };
    let described: Vec<Vec<ConfigEntry>> = match admin.describe_configs(&[resource]).await {
        Ok(described) => described,
        Err(error) => {
            warn!(target: "org.apache.kafka.connect.util.TopicAdmin", "Unable to check the cleanup policy of {topic}: {error}");
            return Ok(());
        }
    };
    let policy = described.into_iter().flatten().find(|e| e.name == "cleanup.policy").and_then(|e| e.value);
    match policy {
        Some(policy) if policy.trim() != "compact" => Err(Error::config(format!(
            "Topic '{topic}' is required to have 'cleanup.policy=compact' to guarantee consistency and durability of what \
             Connect keeps there, but found the topic currently has 'cleanup.policy={policy}'. Continuing would likely \
             result in eventually losing connectors, offsets or states and in problems restarting this Connect cluster \
             in the future. Change the topic to use 'cleanup.policy=compact'."
        ))),
        _ => Ok(()),
    }
}
