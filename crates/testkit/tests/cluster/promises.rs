//! What producers sent, what they were told of it, and whether that was kept.

use crate::checks::Checks;
use crate::machine::Process;
use crate::world::{To, World};
use metadata::image::TopicIdPartition;
use replication::Role;
use std::collections::BTreeMap;
use std::ops::Range;
use wire::records::batches;

/// A batch that a producer sends to a partition.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// What the producer had been told of before it made the batch: an offset, and the checksum of what was appended there.
    pub after: Option<(i64, u32)>,
    pub times: usize,
}

/// An acknowledgement.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    pub offset: i64,
    /// The offset behind the batch.
    pub end: i64,
    pub crc: u32,
    /// That of the leader when it appended the batch, or found that it had it.
    pub epoch: i32,
    pub by: To,
    /// acks=all: it is committed. Otherwise the leader has it.
    pub all: bool,
}

/// Of each partition.
#[derive(Default)]
pub struct Promises {
    /// By checksum.
    sent: BTreeMap<(TopicIdPartition, u32), Sent>,
    given: BTreeMap<TopicIdPartition, Vec<Promise>>,
    /// Given since the last look.
    fresh: Vec<(TopicIdPartition, Promise)>,
}

impl Promises {
    pub fn was_sent(&self, key: TopicIdPartition, crc: u32) -> bool {
        self.sent.contains_key(&(key, crc))
    }
}

impl Checks {
    pub fn makes(&mut self, key: TopicIdPartition, crc: u32, sent: Sent) {
        self.promises.sent.insert((key, crc), sent);
    }

    pub fn sends(&mut self, key: TopicIdPartition, crc: u32) {
        if let Some(sent) = self.promises.sent.get_mut(&(key, crc)) {
            sent.times += 1;
        }
    }

    pub fn promise(&mut self, key: TopicIdPartition, promise: Promise) {
        self.promises.fresh.push((key, promise));
    }

    /// The end of what this process has acknowledged in the leadership that it has now.
    pub fn acknowledged_end(&self, key: TopicIdPartition, by: To, epoch: i32) -> Option<i64> {
        let given = self.promises.given.get(&key)?.iter().rev();
        given.filter(|promise| promise.by == by && promise.epoch == epoch).map(|promise| promise.end).max()
    }
}

impl World {
    /// What is acknowledged now is committed, or at least in the leader's log.
    pub fn check_promises(&mut self) -> Result<(), String> {
        for (key, promise) in std::mem::take(&mut self.checks.promises.fresh) {
            let Promise { offset, crc, by, .. } = promise;
            let found = match promise.all {
                true => self.checks.committed_crc(key, offset),
                false => self.crc_at(by.id, key, offset),
            };
            // Of a process that ended over something in the same moment it shows later.
            let machine = &self.machines[&by.id];
            let is_failed = machine.process.as_ref().is_some_and(|process| process.is_failed(key));
            let is_failed = is_failed || machine.is_broken();
            let is_deleted = offset < self.checks.floor(key);
            if found != Some(crc) && self.running(by.id) == Some(by) && !is_failed && !is_deleted {
                return Err(format!("{} acknowledges {promise:?}, and {found:?} is there", self.name(key)));
            }
            self.checks.promises.given.entry(key).or_default().push(promise);
        }
        Ok(())
    }

    fn crc_at(&self, id: i32, key: TopicIdPartition, offset: i64) -> Option<u32> {
        let log = self.machines[&id].process.as_ref()?.cells.get(&key)?.partition.log();
        let bytes = log.read_bytes(offset, 1, log.log_end_offset()).ok()?;
        let batch = batches(&bytes).next()?.ok()?;
        (batch.base_offset() == offset).then(|| batch.crc())
    }

    /// Other records than were acknowledged are committed only where the leadership that acknowledged them ended.
    pub fn check_kept_in(&self, key: TopicIdPartition, offsets: Range<i64>) -> Result<(), String> {
        let given = self.checks.promises.given.get(&key).into_iter().flatten();
        for promise in given.filter(|promise| offsets.contains(&promise.offset)) {
            let found = self.checks.committed_crc(key, promise.offset);
            if found != Some(promise.crc) && (promise.all || !self.leadership_ended(key, promise)) {
                return Err(format!(
                    "{} has {found:?} at {}, and {promise:?} was acknowledged",
                    self.name(key),
                    promise.offset
                ));
            }
        }
        Ok(())
    }

    fn leadership_ended(&self, key: TopicIdPartition, promise: &Promise) -> bool {
        self.running(promise.by.id) != Some(promise.by)
            || self.checks.was_led_by_another(key, promise.epoch, promise.by.id)
    }

    /// What a process must have on its disk when it ends: what it has acknowledged as a leader.
    pub fn acknowledged_by(&self, to: To, process: &Process) -> Vec<(TopicIdPartition, i64)> {
        let led = process.cells.iter().filter_map(|(key, cell)| match cell.partition.role() {
            Role::Leader { epoch } => Some((*key, self.checks.acknowledged_end(*key, to, epoch)?)),
            Role::Follower { .. } => None,
        });
        led.collect()
    }

    /// In the end: every acknowledgement was kept, or the leadership that gave it ended.
    pub fn check_kept(&self) -> Result<(), String> {
        let topics = self.latest.topics.iter();
        let keys = topics
            .flat_map(|topic| topic.partitions.keys().map(|p| TopicIdPartition { topic_id: topic.id, partition: *p }));
        keys.into_iter().try_for_each(|key| self.check_kept_in(key, 0..i64::MAX))
    }

    /// In the end: no batch is there more often than it was sent, nor before one that was acknowledged when it was made.
    pub fn check_sent(&self) -> Result<(), String> {
        let mut found: BTreeMap<(TopicIdPartition, u32), usize> = BTreeMap::new();
        for (key, offset, crc) in self.checks.all_committed() {
            let Some(sent) = self.checks.promises.sent.get(&(key, crc)) else { continue };
            let count = found.entry((key, crc)).or_default();
            *count += 1;
            if *count > sent.times {
                return Err(format!(
                    "{} has {crc} {count} times, and it was sent {} times",
                    self.name(key),
                    sent.times
                ));
            }
            if let Some((before, other)) = sent.after
                && before >= offset
                && self.checks.committed_crc(key, before) == Some(other)
            {
                return Err(format!(
                    "{} has {crc} at {offset}, and it was made after {other} was acknowledged at {before}",
                    self.name(key)
                ));
            }
        }
        Ok(())
    }
}
