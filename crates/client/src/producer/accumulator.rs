//! Records that wait: batches by partition, what of them may go out now, and what becomes of them afterwards.
//!
//! Invariants (with idempotence): the batches of a partition get their sequence numbers in the order they were made, and
//! after a failure nothing new goes out before everything in flight has come back; so a repeated batch is always the
//! next one that the broker expects. A batch that may have been written keeps its numbers to its end, whatever happens to
//! the producer's identity meanwhile: under others it might be written twice.

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
    /// Producer id and epoch; none when they have to be asked for, at first and after a batch was lost for good.
    pub identity: Option<Identity>,
    pub in_flight: HashMap<i32, usize>,
    pub refresh_wanted: bool,
    pub closing: bool,
    spare: Vec<BatchBuilder>,
}

/// Producer id and epoch.
type Identity = (i64, i16);

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
    /// Under which its batches are numbered; the producer's, as soon as nothing is left of the one before.
    identity: Option<Identity>,
    next_sequence: i32,
    /// Numbered batches that have not come to their end.
    unresolved: BTreeSet<u64>,
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
        let identity = self.identity;
        let mut requests: HashMap<i32, (usize, Vec<Outgoing>)> = HashMap::new();
        let hurry = self.closing || self.starving > 0;
        for (name, topic) in &mut self.topics {
            let count = topic.partitions.len();
            // No partition is always first in line.
            let first = random::below(count);
            for index in (0..count).map(|i| (i + first) % count) {
                let p = &mut topic.partitions[index];
                let ready = match p.ready(config, now, self.flush_upto, hurry, identity) {
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
                let may_number = p.may_number(config, identity);
                if let Some(mut batch) = p.take(may_number) {
                    if let Some(identity) = identity
                        && batch.stamp.is_none()
                    {
                        p.number(&mut batch, identity);
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
                    while queue.front().is_some_and(|b| b.created + limit <= now)
                        && let Some(batch) = queue.pop_front()
                    {
                        p.unresolved.remove(&batch.number);
                        gone.push((name.clone(), index as i32, batch));
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
            self.spend(batch.stamp);
            self.close(&batch);
            drained.expired.push((batch, partition, Err(Error::Timeout(why))));
        }
    }

    /// Everything that waits, when nothing more can be sent.
    pub fn abandon(&mut self, error: &Error) -> Vec<Finished> {
        let mut all = Vec::new();
        for topic in self.topics.values_mut() {
            for (index, p) in topic.partitions.iter_mut().enumerate() {
                let batches = p.again.drain(..).chain(p.full.drain(..)).chain(p.filling.take());
                let from = all.len();
                all.extend(batches.map(|b| (b, index as i32)));
                for (batch, _) in &all[from..] {
                    p.unresolved.remove(&batch.number);
                }
            }
        }
        all.iter().for_each(|(batch, _)| self.close(batch));
        all.into_iter().map(|(batch, partition)| (batch, partition, Err(error.clone()))).collect()
    }

    /// These numbers are lost, and with them the order: what is numbered from now on needs another identity.
    fn spend(&mut self, lost: Option<Stamp>) {
        if lost.is_some_and(|stamp| self.identity == Some((stamp.producer_id, stamp.epoch))) {
            self.identity = None;
        }
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
                p.unresolved.remove(&batch.number);
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
        // Behind another one it is no surprise, which may be on its way yet, or to another broker; otherwise the broker
        // lost track of this producer, or we of a batch.
        let surprising = out_of_sequence && p.unresolved.first() == Some(&batch.number);
        let again = match out_of_sequence {
            true => config.idempotence && !(surprising && batch.doubtful),
            false => error.is_retriable(),
        };
        p.recovering |= batch.stamp.is_some() || again;
        if again && batch.attempts <= config.retries && in_time {
            batch.doubtful |= !out_of_sequence;
            let pause = config.client.retry_backoff.saturating_mul(1 << (batch.attempts - 1).min(10));
            batch.not_before = Some(Instant::now() + pause.min(config.client.retry_backoff_max));
            let lost = surprising.then_some(batch.stamp).flatten();
            if lost.is_some() {
                // It is certainly nowhere, and gets other numbers.
                p.unresolved.remove(&batch.number);
                batch.stamp = None;
            }
            let at = p.again.partition_point(|b| b.number < batch.number);
            p.again.insert(at, batch);
            self.spend(lost);
            return None;
        }
        p.unresolved.remove(&batch.number);
        self.spend(batch.stamp);
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
    /// Whether a batch may get numbers under this identity now.
    fn may_number(&self, config: &ProducerConfig, identity: Option<Identity>) -> bool {
        !config.idempotence
            || identity.is_some_and(|identity| self.identity == Some(identity) || self.unresolved.is_empty())
    }

    /// Gives a batch the next sequence number.
    fn number(&mut self, batch: &mut Batch, identity: Identity) {
        if self.identity != Some(identity) {
            (self.identity, self.next_sequence) = (Some(identity), 0);
        }
        let (producer_id, epoch) = identity;
        batch.stamp = Some(Stamp { producer_id, epoch, sequence: self.next_sequence });
        self.next_sequence = increment_sequence(self.next_sequence, batch.count());
        self.unresolved.insert(batch.number);
    }

    /// The batch to be sent again first: one that has numbers, where none may be given out.
    fn first_again(&self, may_number: bool) -> Option<usize> {
        self.again.iter().position(|batch| may_number || batch.stamp.is_some())
    }

    fn ready(
        &mut self,
        config: &ProducerConfig,
        now: Instant,
        flush_upto: u64,
        hurry: bool,
        identity: Option<Identity>,
    ) -> Ready {
        if self.recovering && self.in_flight > 0 {
            return Ready::No;
        }
        self.recovering = false;
        let may_number = self.may_number(config, identity);
        if let Some(batch) = self.first_again(may_number).map(|at| &self.again[at]) {
            return match batch.not_before {
                Some(at) if at > now => Ready::At(at),
                _ => Ready::Now(batch.size()),
            };
        }
        if !may_number {
            return Ready::No;
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

    fn take(&mut self, may_number: bool) -> Option<Batch> {
        if let Some(at) = self.first_again(may_number) {
            return self.again.remove(at);
        }
        self.full.pop_front().or_else(|| self.filling.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Properties;

    const WRITTEN: Written = Written { base_offset: Some(0), log_append_time: None };

    /// A producer of one topic with so many partitions, and what goes out next.
    struct Desk {
        config: ProducerConfig,
        state: State,
    }

    impl Desk {
        fn new(partitions: usize) -> Desk {
            let settings = [("bootstrap.servers", "localhost:9092"), ("linger.ms", "0"), ("retry.backoff.ms", "0")];
            let properties: Properties = settings.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            let mut state = State { identity: Some((7, 0)), ..State::default() };
            let partitions = (0..partitions).map(|_| Partition { leader: Some(1), ..Partition::default() }).collect();
            let topic = Topic {
                id: Uuid::ZERO,
                partitions,
                available: Vec::new(),
                sticky: Sticky::default(),
                updated: Instant::now(),
            };
            state.topics.insert("t".to_owned(), topic);
            Desk { config: ProducerConfig::new(&properties).unwrap(), state }
        }

        fn append(&mut self, partition: i32) {
            let record = super::super::ProducerRecord { topic: "t", value: Some(b"v"), ..Default::default() };
            self.state.append(&self.config, partition, 100, &record, 0, super::super::Told::Nobody);
        }

        fn drain(&mut self) -> Vec<Outgoing> {
            let drained = self.state.drain(&self.config, Instant::now());
            let mut all: Vec<Outgoing> = drained.requests.into_iter().flat_map(|(_, request)| request).collect();
            all.sort_by_key(|o| o.partition);
            self.state.in_flight.clear();
            all
        }

        fn send(&mut self, partition: i32) -> Outgoing {
            self.append(partition);
            self.drain().pop().unwrap()
        }

        fn back(&mut self, sent: Outgoing, result: Result<Written, Error>) -> Option<Finished> {
            self.state.came_back(&self.config, sent, result)
        }
    }

    fn numbers(sent: &Outgoing) -> (i64, i32) {
        let stamp = sent.batch.stamp.unwrap();
        (stamp.producer_id, stamp.sequence)
    }

    fn out_of_order() -> Result<Written, Error> {
        Err(Error::code(ErrorCode::OutOfOrderSequenceNumber))
    }

    fn disconnected() -> Result<Written, Error> {
        Err(Error::Disconnected("gone".into()))
    }

    #[test]
    fn a_gap_behind_a_batch_that_is_on_its_way_to_another_broker_costs_no_identity() {
        let mut desk = Desk::new(1);
        let first = desk.send(0);
        let second = desk.send(0);
        assert!(desk.back(second, out_of_order()).is_none());
        assert_eq!(desk.state.identity, Some((7, 0)), "the first one is not back yet");
        assert!(desk.drain().is_empty());
        assert!(desk.back(first, disconnected()).is_none());
        let again: Vec<_> = desk.drain().iter().map(numbers).collect();
        assert_eq!(again, [(7, 0)]);
        let again: Vec<_> = desk.drain().iter().map(numbers).collect();
        assert_eq!(again, [(7, 1)]);
    }

    #[test]
    fn what_may_have_been_written_keeps_its_numbers_when_the_identity_is_lost_elsewhere() {
        let mut desk = Desk::new(2);
        let (mine, other) = (desk.send(0), desk.send(1));
        assert!(desk.back(mine, disconnected()).is_none());
        // The other partition's broker lost track of the producer. That batch is certainly not written.
        assert!(desk.back(other, out_of_order()).is_none());
        assert_eq!(desk.state.identity, None);
        let again = desk.drain();
        assert_eq!(again.iter().map(|o| (o.partition, numbers(o))).collect::<Vec<_>>(), [(0, (7, 0))]);
        desk.state.identity = Some((8, 0));
        desk.append(0);
        let renumbered = desk.drain();
        assert_eq!(renumbered.iter().map(|o| (o.partition, numbers(o))).collect::<Vec<_>>(), [(1, (8, 0))]);
        for sent in again {
            assert!(desk.back(sent, Ok(WRITTEN)).is_some());
        }
        assert_eq!(desk.drain().iter().map(numbers).collect::<Vec<_>>(), [(8, 0)], "then the new one takes over");
    }

    #[test]
    fn a_batch_that_may_have_been_written_and_is_out_of_order_fails() {
        let mut desk = Desk::new(1);
        let sent = desk.send(0);
        assert!(desk.back(sent, disconnected()).is_none());
        let again = desk.drain().pop().unwrap();
        let (_, _, result) = desk.back(again, out_of_order()).unwrap();
        assert_eq!(result.unwrap_err().error_code(), Some(ErrorCode::OutOfOrderSequenceNumber));
        assert_eq!(desk.state.identity, None);
        desk.state.identity = Some((8, 0));
        assert_eq!(numbers(&desk.send(0)), (8, 0));
    }
}
