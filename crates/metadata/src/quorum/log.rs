//! The metadata log on the disk: batches, snapshots, `quorum-state`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::{Disk, Fault, Log, LogConfig, OpenMode, RemoveRequest, SyncRequest};
use wire::Uuid;
use wire::control::{ControlRecord, control_batch};
use wire::messages::MetadataRecord;

use super::batches::data_batches;
use super::election::{self, Election};
use super::load::{Loaded, OpenError};
use super::snapshot::{self, SnapshotId};
use super::voters::KRaftVersion;
use crate::image::MetadataVersion;

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
            Log::create(disk.clone(), dir, config, Some(TOPIC_ID), mode, now_ms)?
        };
        if let Some(damage) = log.damage().first() {
            return Err(OpenError::Refused(format!(
                "{} is damaged at offset {}: {}",
                dir.display(),
                damage.offset,
                damage.reason
            )));
        }
        let start = loaded.snapshot.map_or(0, |id| id.end_offset);
        if log.log_end_offset() < start {
            // The snapshot is ahead of the log: it came whole, and the log begins anew behind it.
            log.truncate_fully_and_start_at(start)?;
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

    /// Makes an election durable.
    pub fn persist(&mut self, election: &Election, version: KRaftVersion) -> Result<(), Fault> {
        election::write(&*self.disk, &self.dir, election, version)
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

    /// Appends records, in as few batches as they fit into. Not durable yet.
    pub fn append(
        &mut self,
        records: &[MetadataRecord<'static>],
        metadata_version: MetadataVersion,
        epoch: i32,
        now_ms: i64,
    ) -> Result<(), Fault> {
        if records.is_empty() {
            return Ok(());
        }
        let bytes = data_batches(records, metadata_version, self.end_offset(), epoch, now_ms);
        self.append_batches(&bytes, now_ms)
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
