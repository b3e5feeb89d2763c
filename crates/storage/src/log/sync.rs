//! Bringing what was written to the disk: requests that run anywhere, without the log.

use super::Log;
use crate::disk::{Access, Context, Disk, DiskFile, Fault};
use crate::fds::lock;
use crate::planted::Bug;
use crate::segment::{LOG_SUFFIX, OFFSET_INDEX_SUFFIX, SNAPSHOT_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

#[derive(Debug)]
pub(super) struct SyncState {
    /// Everything before it is on the disk for certain.
    recovery_point: i64,
    /// What requests have finished; shared with them.
    done: Arc<Mutex<Done>>,
    unsynced_records: i64,
    /// When there was first something unsynced, on a clock that nobody sets.
    unsynced_since_ms: Option<i64>,
    /// A segment was rolled and is not synced.
    rolled: bool,
    /// Names in the directory changed.
    names: bool,
    epochs: bool,
    txn_index: bool,
    /// What says whose log it is may not be on the disk yet.
    identity: bool,
    /// The log was closed: every file of the active segment counts.
    closing: bool,
}

/// A truncation makes what older requests report worthless: the offsets may be in use for other records by then.
#[derive(Debug, Default)]
struct Done {
    truncations: u64,
    offset: i64,
}

impl SyncState {
    pub fn new(recovery_point: i64) -> SyncState {
        SyncState {
            recovery_point,
            done: Arc::new(Mutex::new(Done { truncations: 0, offset: recovery_point })),
            unsynced_records: 0,
            unsynced_since_ms: None,
            rolled: false,
            names: false,
            epochs: false,
            txn_index: false,
            identity: false,
            closing: false,
        }
    }

    pub fn note(&mut self, records: i64) {
        self.unsynced_records = self.unsynced_records.saturating_add(records.max(1));
    }

    /// The log was made a moment ago.
    pub fn created(&mut self) {
        self.segment_rolled();
        self.identity = true;
    }

    pub fn segment_rolled(&mut self) {
        self.rolled = true;
        self.names = true;
    }

    pub fn epochs_changed(&mut self) {
        self.epochs = true;
        self.names = true;
    }

    pub fn txn_index_changed(&mut self) {
        self.txn_index = true;
        self.names = true;
    }

    /// After a crash nobody knows what the process before had synced.
    pub fn unknown(&mut self) {
        (self.rolled, self.names, self.epochs, self.txn_index, self.identity) = (true, true, true, true, true);
    }

    pub fn closed(&mut self) {
        self.closing = true;
        self.names = true;
    }

    /// How often the log was truncated since it was opened.
    pub fn truncations(&self) -> u64 {
        lock(&self.done).truncations
    }

    pub fn truncated(&mut self, end: i64) {
        let mut done = lock(&self.done);
        done.truncations += 1;
        done.offset = done.offset.min(end);
        self.recovery_point = self.recovery_point.min(end);
    }
}

/// Files to sync. Run it on a thread that may wait, then tell the log: [`Log::synced`], or [`Log::fail`] with the fault.
#[derive(Debug)]
pub struct SyncRequest {
    disk: Arc<dyn Disk>,
    dir: Option<Arc<Path>>,
    files: Vec<(PathBuf, Option<Arc<dyn DiskFile>>)>,
    offset: i64,
    truncations: u64,
    done: Arc<Mutex<Done>>,
}

impl SyncRequest {
    /// Everything before this offset is on the disk once the request has run.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Syncs. May take long.
    ///
    /// # Errors
    /// A [`Fault`] that is final: it must not be tried again, for the kernel forgets what it could not write.
    pub fn run(&self) -> Result<(), Fault> {
        for (path, file) in &self.files {
            let synced = match file {
                Some(file) => file.sync(),
                None => match self.disk.open(path, Access::Write) {
                    // Retention was faster.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    file => file.and_then(|file| file.sync()),
                },
            };
            synced.context("sync", path)?;
        }
        if let Some(dir) = &self.dir {
            self.disk.sync_dir(dir).context("sync directory", dir)?;
        }
        let mut done = lock(&self.done);
        if done.truncations == self.truncations {
            done.offset = done.offset.max(self.offset);
        }
        Ok(())
    }
}

impl Log {
    /// Everything before it is on the disk for certain: goes to `recovery-point-offset-checkpoint`.
    pub fn recovery_point(&self) -> i64 {
        self.sync.recovery_point
    }

    /// Whether `flush.messages` or `flush.ms` ask for a sync, or a segment was finished and is not on the disk yet. To be asked
    /// after each append, for `flush.ms` counts from then on, and now and then.
    pub fn sync_due(&mut self, steady_ms: i64) -> bool {
        let unsynced = self.sync.unsynced_records;
        if unsynced == 0 {
            return self.sync.rolled;
        }
        let since_ms = *self.sync.unsynced_since_ms.get_or_insert(steady_ms);
        let waited = steady_ms.saturating_sub(since_ms);
        self.sync.rolled || unsynced >= self.config.flush_messages || waited >= self.config.flush_ms
    }

    /// What is not on the disk yet; `None` when everything is.
    pub fn sync_request(&mut self) -> Option<SyncRequest> {
        let from = self.sync.recovery_point;
        if self.online().is_err() || from >= self.log_end_offset && !self.sync.names {
            return None;
        }
        let mut files = Vec::with_capacity(1);
        let last = self.segments.len() - 1;
        // A segment that was synced and then rolled has its last index entries from the roll.
        let first = match self.has(Bug::SyncActiveSegmentOnly) {
            true => last,
            false => self.segment_of(if self.sync.rolled { from - 1 } else { from }),
        };
        for (at, segment) in self.segments.iter_mut().enumerate().skip(first) {
            let path = |suffix| self.folder.path(segment.base_offset, suffix);
            files.push((path(LOG_SUFFIX), segment.log.opened()));
            let indexes = std::mem::take(&mut segment.unsynced_indexes);
            if at < last || self.sync.closing {
                files.push((path(OFFSET_INDEX_SUFFIX), None));
                files.push((path(TIME_INDEX_SUFFIX), None));
                files.push((path(TXN_INDEX_SUFFIX), None));
                continue;
            }
            if indexes {
                files.push((path(OFFSET_INDEX_SUFFIX), None));
                files.push((path(TIME_INDEX_SUFFIX), None));
            }
            if self.sync.txn_index {
                files.push((path(TXN_INDEX_SUFFIX), None));
            }
        }
        for snapshot in self.snapshots.offsets.iter().filter(|offset| **offset >= from) {
            files.push((self.folder.path(*snapshot, SNAPSHOT_SUFFIX), None));
        }
        if self.sync.epochs {
            files.push((self.folder.dir.join(crate::epochs::FILE_NAME), None));
        }
        if self.sync.identity {
            files.push((self.folder.dir.join(crate::partition_dir::METADATA_FILE), None));
        }
        let dir = self.sync.names.then(|| self.folder.dir.clone());
        let state = &mut self.sync;
        state.unsynced_since_ms = None;
        (state.unsynced_records, state.rolled, state.names, state.epochs, state.txn_index, state.identity) =
            (0, false, false, false, false, false);
        Some(SyncRequest {
            disk: self.folder.disk.clone(),
            dir,
            files,
            offset: self.log_end_offset,
            truncations: lock(&state.done).truncations,
            done: state.done.clone(),
        })
    }

    /// A request that covers `offset` has run. What was truncated meanwhile does not count.
    pub fn synced(&mut self, offset: i64) {
        let done = lock(&self.sync.done).offset.min(self.log_end_offset);
        let synced = if self.has(Bug::RecoveryPointAhead) { self.log_end_offset } else { offset.min(done) };
        self.sync.recovery_point = self.sync.recovery_point.max(synced);
    }
}
