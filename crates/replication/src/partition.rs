//! One partition's replica on this node: its log, its role, its high watermark and the requests that wait for it.

use crate::acks::{Ack, Waiting};
use crate::assignment::Assignment;
use crate::brokers::Brokers;
use crate::leader::Leader;
use crate::park::{Lot, Park};
use crate::planted::{self, Bug};
use std::cmp::Ordering;
use std::sync::Arc;
use storage::{Append, Fault, Log, Read, ReadError, SyncRequest, WriteBack};
use wire::ErrorCode;
use wire::codec::Records;

/// So long after an epoch began a follower may not have heard of it yet.
const EPOCH_NEWS_MS: i64 = 3_000;

/// When a record counts as there, on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// In the page cache, as Kafka does: survives the process, and with replicas the machine.
    PageCache,
    /// On the disk: what is reported and counted follows what was synced, in groups (`flush.messages=1`).
    Synced,
}

/// What a replica is told about its topic and its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub durability: Durability,
    /// `min.insync.replicas`
    pub min_insync_replicas: u32,
    /// `replica.lag.time.max.ms`
    pub replica_lag_time_max_ms: i64,
    /// Consumers may be sent to followers (KIP-392), which therefore hear of a new high watermark at once and not with
    /// the next record.
    pub followers_are_read: bool,
    pub bug: Bug,
}

impl Settings {
    /// Kafka's defaults.
    pub fn new(durability: Durability) -> Settings {
        Settings {
            durability,
            min_insync_replicas: 1,
            replica_lag_time_max_ms: 30_000,
            followers_are_read: false,
            bug: Bug::None,
        }
    }
}

/// A replica that leads its partition, follows a leader elsewhere, or has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Leader {
        epoch: i32,
    },
    /// Nobody leads, or somebody else does (`leader` is -1 when nobody).
    Follower {
        leader: i32,
        epoch: i32,
    },
}

/// A plain struct with one owner at a time; the server keeps it behind a mutex that is never held while waiting.
pub struct Partition {
    pub(crate) me: i32,
    log: Log,
    pub(crate) settings: Settings,
    pub(crate) brokers: Arc<Brokers>,
    /// The leader that is followed, and the epoch; without meaning while this replica leads.
    following: (i32, i32),
    /// While this replica leads.
    pub(crate) leader: Option<Leader>,
    high_watermark: i64,
    /// The time as it was last told, in ms on a clock that nobody sets: by it followers are late.
    pub(crate) now_ms: i64,
    /// When this replica heard of the present leader epoch, by the steady clock.
    epoch_begun_ms: i64,
    /// Bytes appended and not yet credited to the fetches that wait for them.
    uncredited_bytes: i64,
    fetches: Lot,
    replica_fetches: Lot,
    pub(crate) acks: Waiting<Ack>,
    /// The offsets before which there are to be no records anywhere.
    pub(crate) deletions: Waiting<i64>,
}

/// What a successful append leaves to do.
#[derive(Debug, Default)]
pub struct Appended {
    /// A sync is due: somebody must take [`Partition::sync_request`], run it elsewhere, and report [`Partition::synced`].
    pub wants_sync: bool,
    /// Bytes whose write-back is worth starting now, elsewhere.
    pub write_back: Option<WriteBack>,
    /// Bytes that were accepted.
    pub bytes: usize,
    /// The leader epoch under which.
    pub epoch: i32,
}

impl Partition {
    /// A replica of broker `me` over an open log. `high_watermark` is what was last written down of it: with replicas
    /// elsewhere, nothing beyond is known to be committed until a leader finds it to be.
    pub fn new(me: i32, log: Log, settings: Settings, brokers: Arc<Brokers>, high_watermark: i64) -> Partition {
        let end = log.log_end_offset();
        Partition {
            me,
            high_watermark: high_watermark.clamp(log.log_start_offset(), end.max(log.log_start_offset())),
            log,
            settings,
            brokers,
            following: (-1, -1),
            leader: None,
            now_ms: i64::MIN,
            epoch_begun_ms: i64::MIN,
            uncredited_bytes: 0,
            fetches: Lot::default(),
            replica_fetches: Lot::default(),
            acks: Waiting::default(),
            deletions: Waiting::default(),
        }
    }

    /// The broker that this replica is on.
    pub fn id(&self) -> i32 {
        self.me
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// For housekeeping (retention, rolls, record deletion, configuration); appends go through [`Partition::append`].
    pub fn log_mut(&mut self) -> &mut Log {
        &mut self.log
    }

    /// Goes on with a copy of the log that is level with it, and gives the log back (KIP-113).
    pub fn replace_log(&mut self, copy: Log) -> Log {
        debug_assert_eq!(copy.log_end_offset(), self.log.log_end_offset(), "a copy that is not level");
        std::mem::replace(&mut self.log, copy)
    }

    pub fn into_log(mut self) -> Log {
        self.release_all();
        self.log
    }

    pub fn role(&self) -> Role {
        match &self.leader {
            Some(leader) => Role::Leader { epoch: leader.epoch },
            None => Role::Follower { leader: self.following.0, epoch: self.following.1 },
        }
    }

    pub fn leader_epoch(&self) -> i32 {
        match self.role() {
            Role::Leader { epoch } | Role::Follower { epoch, .. } => epoch,
        }
    }

    pub fn is_leader(&self) -> bool {
        self.leader.is_some()
    }

    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// The end of what a `read_committed` consumer may see.
    pub fn last_stable_offset(&self) -> i64 {
        self.log.last_stable_offset(self.high_watermark)
    }

    pub fn durability(&self) -> Durability {
        self.settings.durability
    }

    /// Takes new settings; they count from now on.
    pub fn set_settings(&mut self, settings: Settings) {
        let was = std::mem::replace(&mut self.settings, settings);
        if was != settings {
            self.advance();
            self.settle_acks();
        }
    }

    /// As [`Partition::assign`], with the settings of the same state. Both count at once: with the new ISR and the old
    /// min.insync.replicas, or the other way about, more would be committed than whoever is eligible has (KIP-966).
    pub fn assign_under(&mut self, settings: Settings, assignment: &Assignment, steady_ms: i64) -> Result<(), Fault> {
        let was = std::mem::replace(&mut self.settings, settings);
        self.assign(assignment, steady_ms)?;
        if was != settings {
            self.advance();
            self.settle_acks();
        }
        Ok(())
    }

    /// Takes the role that the cluster's state has for this replica. A state that is known, or older than what is known,
    /// changes nothing. Whoever waits here for something that the new role cannot give is released.
    pub fn assign(&mut self, assignment: &Assignment, steady_ms: i64) -> Result<(), Fault> {
        self.now_ms = self.now_ms.max(steady_ms);
        let (me, now_ms) = (self.me, self.now_ms);
        match assignment.leader_epoch.cmp(&self.leader_epoch()) {
            Ordering::Less => return Ok(()),
            Ordering::Equal => {}
            Ordering::Greater => self.epoch_begun_ms = now_ms,
        }
        if assignment.leader != me {
            let is_known = self.leader.is_none() && self.following == (assignment.leader, assignment.leader_epoch);
            if !is_known {
                self.follow(assignment.leader, assignment.leader_epoch);
                if planted::is(self.settings.bug, Bug::TruncateToHighWatermark) {
                    self.truncate_to_high_watermark()?;
                }
            }
            return Ok(());
        }
        match &mut self.leader {
            Some(leader) if leader.epoch == assignment.leader_epoch => leader.update(me, assignment, now_ms),
            before => {
                let log_end = self.log.log_end_offset();
                self.log.assign_epoch(assignment.leader_epoch, log_end)?;
                let was_leader = before.is_some();
                *before = Some(Leader::new(me, assignment, before.take(), log_end, now_ms));
                // Those who fetch must learn of the epoch; what was appended in an unbroken leadership is still to come.
                self.fetches.release_all();
                self.replica_fetches.release_all();
                if !was_leader {
                    self.acks.credit_all();
                    self.uncredited_bytes = 0;
                }
                if planted::is(self.settings.bug, Bug::NewLeaderCommitsAll) {
                    self.high_watermark = log_end;
                }
            }
        }
        self.advance();
        self.settle_acks();
        self.settle_deletions();
        Ok(())
    }

    fn follow(&mut self, leader: i32, epoch: i32) {
        self.leader = None;
        self.following = (leader, epoch);
        self.release_all();
    }

    /// Neither leads nor knows who does: the replica is about to close.
    pub fn resign(&mut self) {
        self.follow(-1, self.leader_epoch());
    }

    /// Whether a request that names `epoch` (-1: none) may be served by this leader (KIP-320).
    pub fn check_epoch(&self, epoch: i32) -> Result<(), ErrorCode> {
        self.check_reader_epoch(epoch)?;
        if self.is_leader() { Ok(()) } else { Err(ErrorCode::NotLeaderOrFollower) }
    }

    /// Whether a consumer that names `epoch` (-1: none) may read from this replica, be it a follower (KIP-392).
    pub fn check_reader_epoch(&self, epoch: i32) -> Result<(), ErrorCode> {
        let current = self.leader_epoch();
        match epoch {
            0.. if epoch < current => Err(ErrorCode::FencedLeaderEpoch),
            _ if epoch > current => Err(ErrorCode::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    /// Whether a follower that names `epoch`, an earlier one than the present, may simply not have heard of this one yet.
    pub fn is_epoch_news_to(&self, epoch: i32, steady_ms: i64) -> bool {
        (0..self.leader_epoch()).contains(&epoch) && steady_ms.saturating_sub(self.epoch_begun_ms) <= EPOCH_NEWS_MS
    }

    /// Appends validated batches with one write; each batch's outcome is in the batch. `all`: the producer waits for all
    /// replicas in sync, and there must be enough of them. `now_ms` is the wall clock's, for what is written; `steady_ms` that of a clock that nobody sets.
    ///
    /// # Errors
    /// A [`Fault`] of the log directory: nothing of these batches counts, and the log is offline.
    pub fn append(
        &mut self,
        batches: &mut [Append<'_>],
        all: bool,
        now_ms: i64,
        steady_ms: i64,
    ) -> Result<Appended, Fault> {
        let refusal = match &self.leader {
            None => Some(ErrorCode::NotLeaderOrFollower),
            Some(_) if all && self.is_under_min_isr() => Some(ErrorCode::NotEnoughReplicas),
            Some(_) => None,
        };
        let epoch = self.leader_epoch();
        if let Some(code) = refusal {
            for batch in batches {
                batch.outcome = Err(code);
            }
            return Ok(Appended { epoch, ..Appended::default() });
        }
        if let Err(fault) = self.log.append(batches, epoch, now_ms) {
            self.release_all();
            return Err(fault);
        }
        let bytes = batches.iter().filter(|b| matches!(&b.outcome, Ok(a) if !a.duplicate)).map(|b| b.bytes.len()).sum();
        self.uncredited_bytes += bytes as i64;
        self.replica_fetches.credit(bytes as i64);
        self.advance();
        Ok(Appended {
            wants_sync: self.log.sync_due(steady_ms) || self.is_behind(),
            write_back: self.log.write_back(now_ms),
            bytes,
            epoch,
        })
    }

    /// Whether this leader knows that all of its predecessors' records are committed. Until then its high watermark may
    /// be behind theirs.
    pub fn knows_committed(&self) -> bool {
        self.leader.as_ref().is_none_or(|leader| self.high_watermark >= leader.start_offset)
    }

    /// Parks a consumer's Fetch; it is credited the bytes that become readable.
    pub fn park_fetch(&mut self, request: Arc<Park>) {
        self.fetches.park(request);
    }

    /// Parks a follower's Fetch; it is credited the bytes that are appended.
    pub fn park_replica_fetch(&mut self, request: Arc<Park>) {
        self.replica_fetches.park(request);
    }

    fn readable_end(&self, committed: bool) -> i64 {
        if committed { self.last_stable_offset() } else { self.high_watermark }
    }

    /// Reads what a consumer may see from `from` on: up to the high watermark, or to the last stable offset.
    pub fn read(&self, from: i64, max_bytes: u32, committed: bool, whole_first_batch: bool) -> Result<Read, ReadError> {
        self.log.read(from, max_bytes, self.readable_end(committed), whole_first_batch)
    }

    /// Reads what a follower may see: everything. What was written moments ago is better copied than sent from the file.
    pub fn read_as_replica(&self, from: i64, max_bytes: u32, whole_first_batch: bool) -> Result<Read, ReadError> {
        let mut read = self.log.read(from, max_bytes, self.log.log_end_offset(), whole_first_batch)?;
        if let Records::File(region) = &mut read.records {
            region.prefer_copy = self.log.is_hot(from);
        }
        Ok(read)
    }

    /// The bytes that [`Partition::read`] could give from `from` on; a position it would refuse counts as plenty, so
    /// that the refusal is not kept waiting.
    pub fn readable_bytes(&self, from: i64, committed: bool) -> i64 {
        self.bytes_between(from, self.readable_end(committed))
    }

    /// As [`Partition::readable_bytes`], for a follower.
    pub fn replica_readable_bytes(&self, from: i64) -> i64 {
        self.bytes_between(from, self.log.log_end_offset())
    }

    fn bytes_between(&self, from: i64, upto: i64) -> i64 {
        if from == upto {
            return 0;
        }
        self.log.read(from, u32::MAX, upto, true).map_or(i64::MAX, |read| i64::from(read.available))
    }

    /// Where this replica's log ends as far as it counts for anybody.
    pub(crate) fn own_end(&self) -> i64 {
        match self.settings.durability {
            Durability::Synced if !planted::is(self.settings.bug, Bug::CommitBeforeSync) => self.synced_end(),
            _ => self.log.log_end_offset(),
        }
    }

    fn synced_end(&self) -> i64 {
        self.log.recovery_point().min(self.log.log_end_offset())
    }

    /// Whether something was appended that counts only once it is synced, and is not. Of a log that is offline nothing ever is.
    pub fn is_behind(&self) -> bool {
        self.settings.durability == Durability::Synced
            && self.synced_end() < self.log.log_end_offset()
            && self.log.fault().is_none()
    }

    /// What must be synced, with the offset that it covers; to be run without holding the partition.
    pub fn sync_request(&mut self) -> Option<SyncRequest> {
        self.log.sync_request()
    }

    /// Everything before `offset` is on the disk.
    pub fn synced(&mut self, offset: i64) {
        self.log.synced(offset);
        self.advance();
        self.settle_acks();
    }

    /// A sync failed: the log directory cannot be trusted any more, nothing is acknowledged from it.
    pub fn fail(&mut self) {
        self.release_all();
    }

    /// Moves a leader's high watermark as far as everybody who counts has come.
    pub(crate) fn advance(&mut self) {
        let own_end = self.own_end();
        if own_end <= self.high_watermark || self.log.fault().is_some() {
            return;
        }
        let Some(leader) = &self.leader else { return };
        if self.is_under_min_isr() && !planted::is(self.settings.bug, Bug::CommitBelowMinIsr) {
            return; // the eligible leader replicas must have all that is committed (KIP-966)
        }
        let end = leader.committed_end(own_end, &self.view());
        if end <= self.high_watermark {
            return;
        }
        let bytes = self.bytes_up_to(end);
        self.high_watermark = end;
        self.log.note_high_watermark(end);
        self.uncredited_bytes = (self.uncredited_bytes - bytes).max(0);
        self.fetches.credit(bytes);
        if self.settings.followers_are_read {
            self.replica_fetches.release_all();
        }
        self.settle_acks();
    }

    /// The uncredited bytes before `end`, roughly where that is not all of them; never none, for what was appended under
    /// another role is not counted.
    fn bytes_up_to(&self, end: i64) -> i64 {
        let log_end = self.log.log_end_offset();
        if end >= log_end {
            return self.uncredited_bytes.max(1);
        }
        let (part, whole) = (end - self.high_watermark, log_end - self.high_watermark);
        let bytes = i128::from(self.uncredited_bytes) * i128::from(part) / i128::from(whole.max(1));
        (bytes as i64).max(1)
    }

    /// As a follower: what the leader counts as committed, as far as it is here. Old news changes nothing.
    pub(crate) fn follow_high_watermark(&mut self, leaders: i64) {
        let end = leaders.min(self.log.log_end_offset());
        if end > self.high_watermark {
            let bytes = self.bytes_up_to(end);
            self.high_watermark = end;
            self.log.note_high_watermark(end);
            self.uncredited_bytes = (self.uncredited_bytes - bytes).max(0);
            self.fetches.credit(bytes);
        }
    }

    /// A follower appended what its leader sent.
    pub(crate) fn took(&mut self, bytes: usize) {
        self.uncredited_bytes += bytes as i64;
    }

    /// The log ends at `end` now. Whether something committed was cut.
    pub(crate) fn was_truncated(&mut self, end: i64) -> bool {
        let below = end < self.high_watermark;
        self.high_watermark = self.high_watermark.min(end);
        below
    }

    /// The log is empty and begins at `offset`.
    pub(crate) fn started_anew_at(&mut self, offset: i64) {
        self.high_watermark = offset;
    }

    pub(crate) fn release_all(&mut self) {
        self.fetches.release_all();
        self.replica_fetches.release_all();
        self.acks.credit_all();
        self.deletions.credit_all();
        self.uncredited_bytes = 0;
    }

    pub(crate) fn release_replica_fetches(&mut self) {
        self.replica_fetches.release_all();
    }
}
