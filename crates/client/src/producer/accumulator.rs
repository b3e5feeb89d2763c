//! Records that wait: batches by partition, what of them may go out now, and what becomes of them afterwards.
//!
//! Invariant (with idempotence): the batches of a partition get their sequence numbers in the order they were made, and
//! after a failure nothing new goes out before everything in flight has come back; so a repeated batch is always the
//! next one that the broker expects.

use std::collections::{BTreeSet, HashMap, VecDeque};

use tokio::time::Instant;
use wire::records::{BatchBuilder, increment_sequence};
use wire::{ErrorCode, Uuid};

use super::ProducerConfig;
use super::batch::{Batch, Stamp, Written};
use super::partitioner::Sticky;
use crate::metadata::Metadata;
use crate::{Error, random};

#[derive(Default)]
pub(super) struct State {
    pub topics: HashMap<String, Topic>,
    /// Bytes of all records that are not reported yet.
    pub buffered: usize,
    /// Numbers of the batches that are not reported yet.
    pub open: BTreeSet<u64>,
    next_number: u64,
    /// Batches up to this number do not linger.
    pub flush_upto: u64,
    /// Somebody waits for memory: nothing lingers.
    pub starving: usize,
    /// Producer id and epoch.
    pub identity: Option<(i64, i16)>,
    /// A batch was lost for good: a new epoch is needed before anything is sent.
    pub identity_spent: bool,
    pub in_flight: HashMap<i32, usize>,
    pub refresh_wanted: bool,
    pub closing: bool,
    spare: Vec<BatchBuilder>,
}

pub(super) struct Topic {
    pub id: Uuid,
    pub partitions: Vec<Partition>,
    /// Partitions that have a leader.
    pub available: Vec<i32>,
    pub sticky: Sticky,
    pub updated: Instant,
}

#[derive(Default)]
pub(super) struct Partition {
    pub leader: Option<i32>,
    filling: Option<Batch>,
    full: VecDeque<Batch>,
    /// Sent before, by number.
    again: VecDeque<Batch>,
    in_flight: usize,
    next_sequence: i32,
    /// Something failed since: wait for all that is in flight.
    recovering: bool,
}

/// A batch that goes out, and where it belongs.
pub(super) struct Outgoing {
    pub topic: String,
    pub topic_id: Uuid,
    pub partition: i32,
    pub batch: Batch,
}

/// A batch that came to its end, to be reported when the state is not locked any more.
pub(super) type Finished = (Batch, i32, Result<Written, Error>);

#[derive(Default)]
pub(super) struct Drained {
    pub requests: Vec<(i32, Vec<Outgoing>)>,
    pub expired: Vec<Finished>,
    /// When to look again, if nothing happens before.
    pub wake: Option<Instant>,
}

impl Drained {
    fn wake_at(&mut self, at: Instant) {
        self.wake = Some(self.wake.map_or(at, |w| w.min(at)));
    }
}

impl State {
    /// Adds a record to its partition's batch. Says whether there is something to send at once.
    pub fn append(
        &mut self,
        config: &ProducerConfig,
        partition: i32,
        size: usize,
        record: &super::ProducerRecord<'_>,
        timestamp: i64,
        told: super::Told<'_>,
    ) -> bool {
        let number = self.next_number + 1;
        let spare = &mut self.spare;
        let Some(p) = self.topics.get_mut(record.topic).and_then(|t| t.partitions.get_mut(partition as usize)) else {
            return false;
        };
        let mut ripe = config.linger.is_zero();
        if p.filling.as_ref().is_some_and(|b| b.count() > 0 && b.size() + size > config.batch_size)
            && let Some(full) = p.filling.take()
        {
            p.full.push_back(full);
            ripe = true;
        }
        let batch = match &mut p.filling {
            Some(batch) => batch,
            none => {
                self.next_number = number;
                self.open.insert(number);
                let builder = spare
                    .pop()
                    .unwrap_or_else(|| BatchBuilder::new(config.compression).level(config.compression_level));
                none.insert(Batch::new(number, builder))
            }
        };
        batch.push(timestamp, record.key, record.value, record.headers, told);
        batch.reserved += size;
        self.buffered += size;
        // A new batch sets the time at which the sender has to wake up.
        ripe || batch.count() == 1
    }

    pub fn last_number(&self) -> u64 {
        self.next_number
    }

    pub fn give_back(&mut self, builder: BatchBuilder) {
        const SPARE_MAX: usize = 16;
        if self.spare.len() < SPARE_MAX {
            self.spare.push(builder);
        }
    }

    /// Takes over where partitions are led.
    pub fn learn(&mut self, metadata: &Metadata, wanted: &[String]) {
        for known in metadata.topics.iter().filter(|t| wanted.contains(&t.name) && !t.partitions.is_empty()) {
            let topic = self.topics.entry(known.name.clone()).or_insert_with(|| Topic {
                id: known.id,
                partitions: Vec::new(),
                available: Vec::new(),
                sticky: Sticky::default(),
                updated: Instant::now(),
            });
            topic.id = known.id;
            topic.updated = Instant::now();
            let count = known.partitions.last().map_or(0, |p| p.index as usize + 1);
            if topic.partitions.len() < count {
                topic.partitions.resize_with(count, Partition::default);
            }
            for p in &known.partitions {
                topic.partitions[p.index as usize].leader = p.leader;
            }
            topic.available = known.partitions.iter().filter(|p| p.leader.is_some()).map(|p| p.index).collect();
        }
    }

    /// Chooses what goes out now: at most one batch of a partition in a request, and one request to each broker.
    pub fn drain(&mut self, config: &ProducerConfig, now: Instant) -> Drained {
        let mut drained = Drained::default();
        self.expire(config, now, &mut drained);
        let everything_back = self.in_flight.values().all(|n| *n == 0);
        if config.idempotence && (self.identity.is_none() || self.identity_spent) {
            if self.identity_spent && everything_back {
                self.identity_spent = false;
                self.forget_sequences();
            }
            return drained;
        }
        let mut requests: HashMap<i32, (usize, Vec<Outgoing>)> = HashMap::new();
        let hurry = self.closing || self.starving > 0;
        for (name, topic) in &mut self.topics {
            let count = topic.partitions.len();
            // No partition is always first in line.
            let first = random::below(count);
            for index in (0..count).map(|i| (i + first) % count) {
                let p = &mut topic.partitions[index];
                let ready = match p.ready(config, now, self.flush_upto, hurry) {
                    Ready::Now(size) => size,
                    Ready::At(at) => {
                        drained.wake_at(at);
                        continue;
                    }
                    Ready::No => continue,
                };
                let Some(leader) = p.leader else {
                    self.refresh_wanted = true;
                    drained.wake_at(now + config.client.retry_backoff);
                    continue;
                };
                if self.in_flight.get(&leader).is_some_and(|n| *n >= config.max_in_flight) {
                    continue;
                }
                let (bytes, request) = requests.entry(leader).or_default();
                if *bytes > 0 && *bytes + ready > config.max_request_size {
                    continue;
                }
                *bytes += ready;
                if let Some(mut batch) = p.take() {
                    if let Some((producer_id, epoch)) = self.identity
                        && batch.stamp.is_none()
                    {
                        batch.stamp = Some(Stamp { producer_id, epoch, sequence: p.next_sequence });
                        p.next_sequence = increment_sequence(p.next_sequence, batch.count());
                    }
                    batch.attempts += 1;
                    p.in_flight += 1;
                    request.push(Outgoing { topic: name.clone(), topic_id: topic.id, partition: index as i32, batch });
                }
            }
        }
        for (node, (_, request)) in requests {
            *self.in_flight.entry(node).or_default() += 1;
            drained.requests.push((node, request));
        }
        drained
    }

    /// Gives up batches that are older than records may get.
    fn expire(&mut self, config: &ProducerConfig, now: Instant, drained: &mut Drained) {
        let limit = config.delivery_timeout;
        let mut gone: Vec<(String, i32, Batch)> = Vec::new();
        for (name, topic) in &mut self.topics {
            for (index, p) in topic.partitions.iter_mut().enumerate() {
                let mut next: Option<Instant> = None;
                for queue in [&mut p.again, &mut p.full] {
                    while queue.front().is_some_and(|b| b.created + limit <= now) {
                        gone.extend(queue.pop_front().map(|b| (name.clone(), index as i32, b)));
                    }
                    next = next.or(queue.front().map(|b| b.created + limit));
                }
                if p.filling.as_ref().is_some_and(|b| b.created + limit <= now) {
                    gone.extend(p.filling.take().map(|b| (name.clone(), index as i32, b)));
                }
                if let Some(at) = next {
                    drained.wake_at(at);
                }
            }
        }
        for (topic, partition, batch) in gone {
            let why = format!(
                "Expiring {} record(s) for {topic}-{partition}:{} ms has passed since batch creation",
                batch.count(),
                (now - batch.created).as_millis()
            );
            self.identity_spent |= batch.stamp.is_some();
            self.close(&batch);
            drained.expired.push((batch, partition, Err(Error::Timeout(why))));
        }
    }

    /// A new epoch begins at sequence number 0 everywhere.
    fn forget_sequences(&mut self) {
        self.identity = None;
        for p in self.topics.values_mut().flat_map(|t| &mut t.partitions) {
            p.next_sequence = 0;
            p.again.iter_mut().for_each(|b| b.stamp = None);
        }
    }

    /// Everything that waits, when nothing more can be sent.
    pub fn abandon(&mut self, error: &Error) -> Vec<Finished> {
        let mut all = Vec::new();
        for topic in self.topics.values_mut() {
            for (index, p) in topic.partitions.iter_mut().enumerate() {
                let batches = p.again.drain(..).chain(p.full.drain(..)).chain(p.filling.take());
                all.extend(batches.map(|b| (b, index as i32)));
            }
        }
        all.iter().for_each(|(batch, _)| self.close(batch));
        all.into_iter().map(|(batch, partition)| (batch, partition, Err(error.clone()))).collect()
    }

    fn close(&mut self, batch: &Batch) {
        self.open.remove(&batch.number);
        self.buffered = self.buffered.saturating_sub(batch.reserved);
    }

    /// A batch came back. It is at its end, or waits to be sent again.
    pub fn came_back(
        &mut self,
        config: &ProducerConfig,
        sent: Outgoing,
        result: Result<Written, Error>,
    ) -> Option<Finished> {
        let Outgoing { topic, partition, mut batch, .. } = sent;
        let queue = self.topics.get_mut(&topic).and_then(|t| t.partitions.get_mut(partition as usize));
        let Some(p) = queue else {
            self.close(&batch);
            return Some((batch, partition, result));
        };
        p.in_flight = p.in_flight.saturating_sub(1);
        let error = match result {
            Ok(written) => {
                self.close(&batch);
                return Some((batch, partition, Ok(written)));
            }
            Err(error) => error,
        };
        let out_of_sequence = matches!(
            error.error_code(),
            Some(ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId | ErrorCode::InvalidProducerEpoch)
        );
        self.refresh_wanted |= error.is_retriable();
        let in_time = batch.created.elapsed() < config.delivery_timeout;
        if (error.is_retriable() || out_of_sequence && config.idempotence)
            && batch.attempts <= config.retries
            && in_time
        {
            // Behind a batch that failed it is no surprise; otherwise the broker lost track of this producer.
            self.identity_spent |= out_of_sequence && !p.recovering;
            p.recovering = true;
            let pause = config.client.retry_backoff.saturating_mul(1 << (batch.attempts - 1).min(10));
            batch.not_before = Some(Instant::now() + pause.min(config.client.retry_backoff_max));
            let at = p.again.partition_point(|b| b.number < batch.number);
            p.again.insert(at, batch);
            return None;
        }
        // The numbers of this batch are lost, and with them the order: what follows needs a new epoch.
        self.identity_spent |= batch.stamp.is_some();
        p.recovering |= batch.stamp.is_some();
        self.close(&batch);
        Some((batch, partition, Err(error)))
    }
}

enum Ready {
    /// This many bytes.
    Now(usize),
    At(Instant),
    No,
}

impl Partition {
    fn ready(&mut self, config: &ProducerConfig, now: Instant, flush_upto: u64, hurry: bool) -> Ready {
        if self.recovering && self.in_flight > 0 {
            return Ready::No;
        }
        self.recovering = false;
        if let Some(batch) = self.again.front() {
            return match batch.not_before {
                Some(at) if at > now => Ready::At(at),
                _ => Ready::Now(batch.size()),
            };
        }
        if let Some(batch) = self.full.front() {
            return Ready::Now(batch.size());
        }
        match &self.filling {
            None => Ready::No,
            Some(b) if hurry || b.number <= flush_upto || b.created + config.linger <= now => Ready::Now(b.size()),
            Some(b) => Ready::At(b.created + config.linger),
        }
    }

    fn take(&mut self) -> Option<Batch> {
        self.again.pop_front().or_else(|| self.full.pop_front()).or_else(|| self.filling.take())
    }
}
