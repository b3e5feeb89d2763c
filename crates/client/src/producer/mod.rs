//! Sending records: gathered into batches by partition, sent to the leaders, tried again, reported.
//!
//! Records of one partition are written in the order they were handed over. With idempotence (the default) none is
//! written twice, whatever fails in between. Reading order: `accumulator` (what waits, and the rules), `sender`.

mod accumulator;
mod batch;
mod config;
pub mod partitioner;
mod sender;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;
use wire::ErrorCode;

pub use config::ProducerConfig;

use crate::config::Properties;
use crate::{Client, Error, Topics};
use accumulator::State;

/// A record to be sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProducerRecord<'a> {
    pub topic: &'a str,
    /// Chosen by the key, or for a while the same, when not given.
    pub partition: Option<i32>,
    /// Now, when not given. In ms.
    pub timestamp: Option<i64>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

impl ProducerRecord<'_> {
    /// Bytes that the record takes in a batch at most: what Java's client holds against `max.request.size`.
    fn size_max(&self) -> usize {
        const OVERHEAD: usize = 21;
        let varint = |n: usize| {
            // Lengths are written zigzag.
            let bits = usize::BITS - (n << 1).leading_zeros();
            bits.div_ceil(7).max(1) as usize
        };
        let sized = |bytes: Option<&[u8]>| bytes.map_or(1, |b| varint(b.len()) + b.len());
        let headers: usize = self.headers.iter().map(|(k, v)| sized(Some(k.as_bytes())) + sized(*v)).sum();
        OVERHEAD + sized(self.key) + sized(self.value) + varint(self.headers.len()) + headers
    }
}

/// Where a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub partition: i32,
    /// Not known with acks 0.
    pub offset: Option<i64>,
    pub timestamp: i64,
}

/// Called once, when the fate of a record is known; it must not wait for anything.
pub type Delivery = Box<dyn FnOnce(Result<Delivered, Error>) + Send + Sync>;

/// Told what becomes of records that were handed over together; it must not wait for anything.
pub trait Tally: Send + Sync {
    /// So many more of them have come to their end, in the order they were handed over.
    fn settled(&self, count: usize, result: Result<(), &Error>);
}

/// Who hears what becomes of a record.
pub(crate) enum Told<'t> {
    Nobody,
    One(Delivery),
    Tally(&'t Arc<dyn Tally>),
}

/// A handle; the producer ends when it is closed or the handle is dropped.
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    config: ProducerConfig,
    client: Client,
    state: Mutex<State>,
    /// There is something for the sender to do.
    wake: Notify,
    /// Memory was freed, a batch was reported.
    freed: Notify,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.state().closing = true;
        self.shared.wake.notify_one();
    }
}

impl Producer {
    /// Reads the settings and starts the sender on the current runtime.
    pub async fn open(properties: &Properties) -> Result<Producer, Error> {
        Producer::with(ProducerConfig::new(properties)?).await
    }

    /// As [`open`](Self::open), with settings that are read already.
    pub async fn with(config: ProducerConfig) -> Result<Producer, Error> {
        let client = Client::open(config.client.clone()).await?;
        let shared =
            Arc::new(Shared { config, client, state: Mutex::default(), wake: Notify::new(), freed: Notify::new() });
        tokio::spawn(sender::run(shared.clone()));
        Ok(Producer { shared })
    }

    pub fn config(&self) -> &ProducerConfig {
        &self.shared.config
    }

    /// The client below.
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// Hands a record over; waits for metadata and memory at most `max.block.ms`. What becomes of it is told to
    /// `delivery`, unless this fails, when it is dropped.
    pub async fn send(&self, record: &ProducerRecord<'_>, delivery: Option<Delivery>) -> Result<(), Error> {
        self.hand_over(record, delivery.map_or(Told::Nobody, Told::One)).await
    }

    /// Hands records over in this order, each as [`send`](Self::send) does, at less cost: what becomes of them is told by
    /// the batch. Fails at a record that cannot be handed over, with its place; those before it were, and those after it
    /// were not.
    pub async fn send_all(&self, records: &[ProducerRecord<'_>], tally: &Arc<dyn Tally>) -> Result<(), (usize, Error)> {
        let mut done = 0;
        loop {
            done += self.hand_over_while_there_is_room(&records[done..], tally);
            // What has to wait, or is wrong, goes the way of single records.
            let Some(next) = records.get(done) else { return Ok(()) };
            self.hand_over(next, Told::Tally(tally)).await.map_err(|e| (done, e))?;
            done += 1;
        }
    }

    /// How many were handed over.
    fn hand_over_while_there_is_room(&self, records: &[ProducerRecord<'_>], tally: &Arc<dyn Tally>) -> usize {
        let shared = &*self.shared;
        let config = &shared.config;
        let limit = config.max_request_size.min(config.buffer_memory).saturating_sub(wire::records::HEADER_SIZE);
        let (now, now_ms) = (Instant::now(), now_ms());
        let mut ripe = false;
        let mut done = 0;
        {
            let mut state = shared.state();
            for record in records {
                let size = record.size_max();
                if state.closing || size > limit || state.buffered + size > config.buffer_memory {
                    break;
                }
                let Ok(partition) = choose_partition(&mut state, config, record, size, now) else { break };
                let timestamp = record.timestamp.unwrap_or(now_ms);
                ripe |= state.append(config, partition, size, record, timestamp, Told::Tally(tally));
                done += 1;
            }
        }
        if ripe {
            shared.wake.notify_one();
        }
        done
    }

    async fn hand_over(&self, record: &ProducerRecord<'_>, told: Told<'_>) -> Result<(), Error> {
        let shared = &*self.shared;
        let config = &shared.config;
        let size = record.size_max();
        let alone = size + wire::records::HEADER_SIZE;
        for (limit, name) in [(config.max_request_size, "max.request.size"), (config.buffer_memory, "buffer.memory")] {
            if alone > limit {
                let why = match name {
                    "max.request.size" => format!(
                        "The message is {alone} bytes when serialized which is larger than {limit}, which is the value of the max.request.size configuration."
                    ),
                    _ => format!(
                        "The message is {alone} bytes when serialized which is larger than the total memory buffer you have configured with the buffer.memory configuration."
                    ),
                };
                return Err(Error::refused(ErrorCode::MessageTooLarge, Some(&why)));
            }
        }
        let mut told = Some(told);
        let mut deadline = None;
        loop {
            let freed = shared.freed.notified();
            let lacking = {
                let mut state = shared.state();
                if state.closing {
                    return Err(Error::IllegalArgument(
                        "Cannot perform operation after producer has been closed".into(),
                    ));
                }
                match choose_partition(&mut state, config, record, size, Instant::now()) {
                    Ok(partition) if state.buffered + size <= config.buffer_memory => {
                        let timestamp = record.timestamp.unwrap_or_else(now_ms);
                        let told = told.take().unwrap_or(Told::Nobody);
                        let ripe = state.append(config, partition, size, record, timestamp, told);
                        drop(state);
                        if ripe {
                            shared.wake.notify_one();
                        }
                        return Ok(());
                    }
                    Ok(_) => {
                        state.starving += 1;
                        Lacking::Memory
                    }
                    Err(lacking) => lacking,
                }
            };
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + config.max_block);
            match lacking {
                Lacking::Memory => {
                    shared.wake.notify_one();
                    let waited = timeout_at(deadline, freed).await;
                    shared.state().starving -= 1;
                    if waited.is_err() {
                        let state = shared.state();
                        return Err(Error::Timeout(format!(
                            "Failed to allocate {size} bytes within the configured max blocking time {} ms. Total memory: {} bytes. Available memory: {} bytes. Poolable size: {} bytes",
                            config.max_block.as_millis(),
                            config.buffer_memory,
                            config.buffer_memory.saturating_sub(state.buffered),
                            config.batch_size
                        )));
                    }
                }
                Lacking::Topic => self.await_topic(record, deadline).await?,
                Lacking::Partition(count) => {
                    let partition = record.partition.unwrap_or_default();
                    if partition < 0 {
                        let why = format!(
                            "Invalid partition: {partition}. Partition number should always be non-negative or null."
                        );
                        return Err(Error::IllegalArgument(why));
                    }
                    if Instant::now() + config.client.retry_backoff > deadline {
                        return Err(Error::Timeout(format!(
                            "Partition {partition} of topic {} with partition count {count} is not present in metadata after {} ms.",
                            record.topic,
                            config.max_block.as_millis()
                        )));
                    }
                    sleep(config.client.retry_backoff).await;
                    self.await_topic(record, deadline).await?;
                }
            }
        }
    }

    /// Asks for the topic until it is there (it may be made by the asking), or the time is over.
    async fn await_topic(&self, record: &ProducerRecord<'_>, deadline: Instant) -> Result<(), Error> {
        let shared = &*self.shared;
        let names = [record.topic.to_owned()];
        let absent = || {
            let ms = shared.config.max_block.as_millis();
            Error::Timeout(format!("Topic {} not present in metadata after {ms} ms.", record.topic))
        };
        let mut pause = shared.config.client.retry_backoff;
        loop {
            let metadata =
                match timeout_at(deadline, shared.client.metadata(Topics::Names(&names), true, "metadata")).await {
                    Ok(Ok(metadata)) => metadata,
                    Ok(Err(error)) if error.is_retriable() => return Err(absent()),
                    Ok(Err(error)) => return Err(error),
                    Err(_) => return Err(absent()),
                };
            match metadata.topic(record.topic) {
                Some(topic) if topic.error == ErrorCode::None && !topic.partitions.is_empty() => {
                    shared.state().learn(&metadata, &names);
                    return Ok(());
                }
                Some(topic) if topic.error != ErrorCode::None && !topic.error.is_retriable() => {
                    let why = match topic.error {
                        ErrorCode::InvalidTopicException => format!("Invalid topics: [{}]", record.topic),
                        ErrorCode::TopicAuthorizationFailed => {
                            format!("Not authorized to access topics: [{}]", record.topic)
                        }
                        code => code.message().to_owned(),
                    };
                    return Err(Error::refused(topic.error, Some(&why)));
                }
                topic => {
                    let code = topic.map_or(ErrorCode::UnknownTopicOrPartition, |t| t.error);
                    warn!(
                        target: "org.apache.kafka.clients.NetworkClient",
                        "[{}] The metadata response from the cluster reported a recoverable issue with correlation id {} : {{{}={}}}",
                        shared.config.client.log_name, metadata.correlation_id, record.topic, code.name()
                    );
                }
            }
            if Instant::now() + pause > deadline {
                return Err(absent());
            }
            sleep(pause).await;
            pause = (pause * 2).min(shared.config.client.retry_backoff_max);
        }
    }

    /// Waits until everything handed over so far is reported.
    pub async fn flush(&self) {
        let upto = {
            let mut state = self.shared.state();
            let upto = state.last_number();
            state.flush_upto = state.flush_upto.max(upto);
            upto
        };
        self.shared.wake.notify_one();
        loop {
            let freed = self.shared.freed.notified();
            if self.shared.state().open.first().is_none_or(|first| *first > upto) {
                return;
            }
            freed.await;
        }
    }

    /// Sends what waits, for at most `limit`; what is left then fails.
    pub async fn close(&self, limit: Duration) {
        self.shared.state().closing = true;
        if tokio::time::timeout(limit, self.flush()).await.is_err() {
            let error = Error::Disconnected("Producer is closed forcefully.".into());
            let left = self.shared.state().abandon(&error);
            sender::report(&self.shared, left);
        }
    }
}

enum Lacking {
    Memory,
    Topic,
    /// The topic has only so many.
    Partition(usize),
}

fn choose_partition(
    state: &mut State,
    config: &ProducerConfig,
    record: &ProducerRecord<'_>,
    size: usize,
    now: Instant,
) -> Result<i32, Lacking> {
    let topic = state.topics.get_mut(record.topic).ok_or(Lacking::Topic)?;
    let count = topic.partitions.len();
    if now.saturating_duration_since(topic.updated) > config.client.metadata_max_age {
        state.refresh_wanted = true;
    }
    match (record.partition, record.key) {
        (Some(p), _) if usize::try_from(p).is_ok_and(|p| p < count) => Ok(p),
        (Some(_), _) => Err(Lacking::Partition(count)),
        (None, Some(key)) => Ok(partitioner::for_key(key, count)),
        (None, None) => Ok(topic.sticky.next(size, config.batch_size, count, &topic.available)),
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
