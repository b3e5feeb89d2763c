//! The metadata log on the disk: batches, snapshots, `quorum-state`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::{Disk, Fault, Log, LogConfig, OpenMode, ReadError, RemoveRequest, SyncRequest};
use wire::control::{ControlRecord, control_batch};
use wire::records::batches;
use wire::{ErrorCode, Uuid};

use super::batches::data_batches;
use super::election::{self, Election};
use super::load::{Loaded, OpenError};
use super::messages::LogEnd;
use super::snapshot::{self, SnapshotId};
use super::voters::KRaftVersion;
use crate::controller::Decided;

/// What a leader finds when it compares a replica's log with its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The replica's log is a beginning of this one.
    Same,
    /// It is not beyond the end that is given, or earlier.
    Diverging(LogEnd),
    /// What it lacks is only in a snapshot.
    Snapshot(SnapshotId),
}

/// The topic id of the metadata log.
const TOPIC_ID: Uuid = Uuid::ONE;

/// The log that holds the cluster's state. One owner.
#[derive(Debug)]
pub struct MetadataLog {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    log: Log,
    /// Ascending.
    snapshots: Vec<SnapshotId>,
    last_timestamp_ms: i64,
    bytes_after_snapshot: u64,
}

impl MetadataLog {
    /// Opens what [`load`](super::load) has read, for writing: cuts a torn end, drops what crashes left.
    ///
    /// # Errors
    /// Refuses a log that turns out not to be what was read: it is damaged where it was whole once.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        config: Arc<LogConfig>,
        mode: OpenMode,
        loaded: &Loaded,
        now_ms: i64,
    ) -> Result<Self, OpenError> {
        let fault = |action: &'static str| move |error: io::Error| Fault::new(action, dir, &error);
        let listing = snapshot::list(&*disk, dir).map_err(fault("list the snapshots in"))?;
        for name in &listing.leftovers {
            disk.remove_file(&dir.join(name)).map_err(fault("remove a snapshot's leftovers in"))?;
        }
        let exists = disk.open(&dir.join("partition.metadata"), storage::Access::Read).is_ok();
        let mut log = if exists {
            Log::open(disk.clone(), dir, config, Some(TOPIC_ID), mode, now_ms)?.0
        } else {
            let log = Log::create(disk.clone(), dir, config, Some(TOPIC_ID), mode, now_ms)?;
            // What is acknowledged from now on must not go with the name of its directory.
            if let Some(log_dir) = dir.parent() {
                disk.sync_dir(log_dir).map_err(fault("make durable"))?;
            }
            log
        };
        if let Some(damage) = log.damage().first() {
            return Err(OpenError::Refused(format!(
                "{} is damaged at offset {}: {}",
                dir.display(),
                damage.offset,
                damage.reason
            )));
        }
        if let Some(snapshot) = loaded.snapshot {
            let last_epoch = log.epoch_of(log.log_end_offset() - 1);
            let is_older = last_epoch.is_some_and(|epoch| epoch < snapshot.epoch);
            // The snapshot came from a leader, and a crash before the log was cut: it begins anew behind the snapshot. What
            // an older log has beyond that nobody committed.
            if log.log_end_offset() < snapshot.end_offset || is_older {
                log.truncate_fully_and_start_at(snapshot.end_offset)?;
            }
        }
        if log.log_end_offset() != loaded.end_offset {
            return Err(OpenError::Refused(format!(
                "{} ends at offset {}, and was read up to {}",
                dir.display(),
                log.log_end_offset(),
                loaded.end_offset
            )));
        }
        Ok(MetadataLog {
            disk,
            dir: dir.to_owned(),
            log,
            snapshots: listing.whole,
            last_timestamp_ms: loaded.last_timestamp_ms,
            bytes_after_snapshot: loaded.bytes_after_snapshot,
        })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The partition's log itself, for reads (followers' fetches, dumps).
    pub fn log(&self) -> &Log {
        &self.log
    }

    pub fn end_offset(&self) -> i64 {
        self.log.log_end_offset()
    }

    /// The first offset that is there; what came before is in a snapshot.
    pub fn start_offset(&self) -> i64 {
        self.log.log_start_offset()
    }

    /// Ascending.
    pub fn snapshots(&self) -> &[SnapshotId] {
        &self.snapshots
    }

    /// The epoch of the last record before `offset`.
    pub fn epoch_before(&self, offset: i64) -> i32 {
        self.log
            .epoch_of(offset - 1)
            .or_else(|| self.snapshots.iter().rev().find(|id| id.end_offset <= offset).map(|id| id.epoch))
            .unwrap_or(0)
    }

    /// The time of the last record in ms, -1 for none.
    pub fn last_timestamp_ms(&self) -> i64 {
        self.last_timestamp_ms
    }

    /// Bytes of records behind the last snapshot.
    pub fn bytes_after_snapshot(&self) -> u64 {
        self.bytes_after_snapshot
    }

    /// Writes an election down; with `sync` it is durable on return.
    pub fn persist(&mut self, election: &Election, version: KRaftVersion, sync: bool) -> Result<(), Fault> {
        election::write(&*self.disk, &self.dir, election, version, sync)
            .map_err(|error| Fault::new("write quorum-state in", &self.dir, &error))
    }

    /// Appends control records as one batch. Returns its offset. Not durable yet.
    pub fn append_control(&mut self, records: &[ControlRecord<'_>], epoch: i32, now_ms: i64) -> Result<i64, Fault> {
        let offset = self.end_offset();
        match control_batch(records, offset, epoch, now_ms) {
            Ok(bytes) => self.append_batches(&bytes, now_ms)?,
            Err(error) => panic!("a control record of our own cannot be written: {error}"),
        }
        Ok(offset)
    }

    /// Appends decisions, in as few batches as they fit into ([`data_batches`]). Not durable yet.
    pub fn append(&mut self, decisions: &[Decided], epoch: i32, now_ms: i64) -> Result<(), Fault> {
        if decisions.iter().all(|decided| decided.records.is_empty()) {
            return Ok(());
        }
        let bytes = data_batches(decisions, self.end_offset(), epoch, now_ms);
        self.append_batches(&bytes, now_ms)
    }

    /// Appends whole batches that the leader sent. Not durable yet.
    ///
    /// # Errors
    /// The disk's, in the outer result. The inner one says that the bytes are not what a leader may send: damaged, or not
    /// at the log's end. Nothing behind the wrong batch is taken then.
    pub fn append_from_leader(&mut self, bytes: &[u8], now_ms: i64) -> Result<Result<(), ErrorCode>, Fault> {
        let before = self.end_offset();
        if batches(bytes).next().is_some_and(|batch| batch.is_ok_and(|batch| batch.base_offset() != before)) {
            return Ok(Err(ErrorCode::OffsetOutOfRange));
        }
        let taken = self.log.append_as_follower(bytes, now_ms)?;
        self.last_timestamp_ms = now_ms;
        self.bytes_after_snapshot += bytes.len() as u64;
        Ok(taken.map(drop))
    }

    /// Records from `from` on, as whole batches where the first fits, up to the log's end.
    pub fn read(&self, from: i64, max_bytes: u32, upto: i64) -> Result<Vec<u8>, Fault> {
        match self.log.read_bytes(from, max_bytes, upto) {
            Ok(bytes) => Ok(bytes),
            Err(ReadError::Fault(fault)) => Err(fault),
            Err(error) => {
                Err(Fault::new("read", &self.dir, &io::Error::new(io::ErrorKind::InvalidData, error.to_string())))
            }
        }
    }

    /// Where this log and that of a replica which ends at `offset`, its last record being of `epoch`, part.
    pub fn compare(&self, offset: i64, epoch: i32) -> Comparison {
        if self.start_offset() == 0 && offset == 0 && epoch == 0 {
            return Comparison::Same;
        }
        if let Some(oldest) = self.snapshots.iter().find(|id| id.end_offset >= self.start_offset())
            && self.start_offset() > 0
        {
            let starts_elsewhere = offset == self.start_offset() && epoch != oldest.epoch;
            if offset < self.start_offset() || starts_elsewhere || epoch < oldest.epoch {
                // There is at least the one that was just found.
                return self.snapshots.last().map_or(Comparison::Same, |latest| Comparison::Snapshot(*latest));
            }
        }
        let end = self.end_of(epoch);
        if end.epoch == epoch && offset <= end.offset { Comparison::Same } else { Comparison::Diverging(end) }
    }

    /// Where the records of `epoch` end here, or those of the latest epoch before it.
    fn end_of(&self, epoch: i32) -> LogEnd {
        if epoch >= self.last_epoch() {
            return LogEnd { epoch: self.last_epoch(), offset: self.end_offset() };
        }
        match self.log.epoch_end_offset(epoch) {
            (found, offset) if found >= 0 && offset >= 0 => LogEnd { epoch: found, offset },
            // Nothing so old is in the log itself.
            _ => LogEnd { epoch: self.epoch_before(self.start_offset()), offset: self.start_offset() },
        }
    }

    /// The epoch of the last record.
    pub fn last_epoch(&self) -> i32 {
        self.epoch_before(self.end_offset())
    }

    /// Where the log ends.
    pub fn end(&self) -> LogEnd {
        LogEnd { epoch: self.last_epoch(), offset: self.end_offset() }
    }

    /// Where the log is to be cut so that it may agree with a leader's that says `diverging`.
    pub fn cut_for(&self, diverging: LogEnd) -> i64 {
        let own = self.end_of(diverging.epoch);
        if own.epoch == diverging.epoch { own.offset.min(diverging.offset) } else { own.offset }
    }

    /// Drops everything from `offset` on; durable on return.
    pub fn truncate_to(&mut self, offset: i64) -> Result<(), Fault> {
        self.log.truncate_to(offset)
    }

    /// Puts a snapshot from the leader in the place of everything that is here; durable on return.
    pub fn install(&mut self, id: SnapshotId, bytes: &[u8]) -> Result<(), Fault> {
        snapshot::write(&*self.disk, &self.dir, id, bytes)
            .map_err(|error| Fault::new("write a snapshot in", &self.dir, &error))?;
        self.log.truncate_fully_and_start_at(id.end_offset)?;
        self.snapshots.retain(|one| *one < id);
        self.snapshots.push(id);
        self.bytes_after_snapshot = 0;
        Ok(())
    }

    /// A part of a snapshot, and the size of the whole; `None` when there is no such snapshot.
    pub fn read_snapshot(
        &self,
        id: SnapshotId,
        position: u64,
        max_bytes: u32,
    ) -> Result<Option<(Vec<u8>, u64)>, Fault> {
        if !self.snapshots.contains(&id) {
            return Ok(None);
        }
        snapshot::read_part(&*self.disk, &self.dir, id, position, max_bytes)
            .map(Some)
            .map_err(|error| Fault::new("read a snapshot in", &self.dir, &error))
    }

    fn append_batches(&mut self, bytes: &[u8], now_ms: i64) -> Result<(), Fault> {
        if let Err(code) = self.log.append_as_follower(bytes, now_ms)? {
            panic!("the metadata log refused a batch of its own leader: {code}");
        }
        self.last_timestamp_ms = now_ms;
        self.bytes_after_snapshot += bytes.len() as u64;
        Ok(())
    }

    /// What is to be synced so that everything up to its offset is durable; `None` when all is.
    pub fn sync_request(&mut self) -> Option<SyncRequest> {
        self.log.sync_request()
    }

    /// A [`SyncRequest`] has run.
    pub fn synced(&mut self, offset: i64) {
        self.log.synced(offset);
    }

    /// A snapshot is durable; older ones and the log before them may go, by [`MetadataLog::clean`].
    pub fn snapshot_written(&mut self, id: SnapshotId, bytes_after: u64) {
        if self.snapshots.last().is_none_or(|last| *last < id) {
            self.snapshots.push(id);
            self.bytes_after_snapshot = bytes_after;
        }
    }

    /// Drops snapshots beyond the `keep` latest, and the segments that end before the oldest one that stays. Returns how
    /// many snapshots went.
    pub fn clean(&mut self, keep: usize, now_ms: i64) -> Result<usize, Fault> {
        let doomed = self.snapshots.len().saturating_sub(keep.max(1));
        if doomed == 0 {
            return Ok(0);
        }
        // First the start moves, durably enough that no opening needs what is removed then.
        let start = self.snapshots[doomed].end_offset;
        if start > self.start_offset() {
            self.log.delete_records(start, now_ms)?;
        }
        for id in self.snapshots.drain(..doomed) {
            snapshot::remove(&*self.disk, &self.dir, id)
                .map_err(|error| Fault::new("remove a snapshot in", &self.dir, &error))?;
        }
        Ok(doomed)
    }

    /// Files of segments that were dropped a while ago, to be removed on a thread that may wait; rolls by time, too.
    pub fn housekeeping(&mut self, now_ms: i64) -> Result<Option<RemoveRequest>, Fault> {
        self.log.roll_if_due(now_ms)?;
        Ok(self.log.remove_deleted(now_ms))
    }

    /// Ends in order; everything was synced before.
    pub fn close(mut self) -> Result<(), Fault> {
        self.log.close()
    }
}
