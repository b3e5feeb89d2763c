//! One partition's log: segments in a directory, and everything derived from them.
//!
//! A plain struct with one owner. `append.rs` writes, `read.rs` finds and hands out regions, `lookup.rs` answers
//! questions about timestamps, epochs and transactions, `roll.rs` begins segments and drops old ones, `truncate.rs` cuts
//! the end, `compact.rs` says what to compact and takes the result, `copy.rs` makes a copy like its log, `sync.rs` brings things
//! to the disk, `write_back.rs` lets them be on their way before, `recovery.rs` opens what a crash left (`files.rs`, `replay.rs`).
//!
//! **Invariants.** After a [`Fault`] every call fails: what is in memory may be ahead of what is in the files, and is
//! never served. Offsets ascend over batches and segments. Only whole batches are ever served.

mod append;
mod compact;
mod copy;
mod files;
mod lookup;
mod read;
mod recovery;
mod replay;
mod roll;
mod sync;
mod truncate;
mod write_back;

pub(crate) use append::is_commit;
pub use append::{Append, Appended, Replicated};
pub use compact::Dirt;
pub use copy::CopyStep;
pub use lookup::TimestampOffset;
pub use read::{Read, ReadError};
pub use recovery::{Cut, Recovery};
pub use roll::{Deleted, RemoveRequest};
pub use sync::SyncRequest;
pub use write_back::WriteBack;

use crate::config::LogConfig;
use crate::disk::{Disk, Fault};
use crate::epochs::LeaderEpochs;
use crate::fds::{FdBudget, Folder};
use crate::planted::{self, Bug};
use crate::producers::{ActiveProducer, Producers};
use crate::segment::Segment;
use read::Hints;
use roll::Snapshots;
use std::path::Path;
use std::sync::Arc;
use sync::SyncState;
use wire::Uuid;

/// How the process that wrote the log before ended. It decides how much of the log is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shutdown {
    /// In order: the clean-shutdown marker is there. Only the end of the log is looked up.
    Clean,
    /// Killed, on a machine that has not been restarted since: all that was written is in the page cache or on the
    /// disk. The last batches are checked, and a torn one is cut off.
    Killed,
    /// Nothing is known, or the power was cut: everything from the recovery point on is checked.
    #[default]
    PowerCut,
}

/// What [`Log::open`] is told by the log directory's checkpoints.
#[derive(Clone, Debug, Default)]
pub struct OpenMode {
    pub shutdown: Shutdown,
    /// Everything before it is on the disk for certain.
    pub recovery_point: i64,
    /// Records before it are deleted.
    pub log_start_offset: i64,
    /// Whoever wrote the log begins each segment where the one before ends, and compacts nothing beyond the recovery point
    /// that the checkpoint has: what is missing between two segments beyond it was lost. Apache Kafka does neither.
    pub is_seamless: bool,
    /// Shared by all logs of the node.
    pub fds: Arc<FdBudget>,
    /// A number of the caller's choice, to spread time-based rolls by up to `segment.jitter.ms`.
    pub jitter_seed: u64,
}

/// Bytes of the log that are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Base offset of the segment.
    pub segment: i64,
    /// Where in the segment file it begins, and where the next good batch begins (0: not known).
    pub position: u64,
    pub end: u64,
    /// The first offset that is damaged.
    pub offset: i64,
    pub reason: String,
}

/// One partition's log.
#[derive(Debug)]
pub struct Log {
    folder: Folder,
    config: Arc<LogConfig>,
    topic_id: Option<Uuid>,
    jitter_ms: i64,
    jitter_seed: u64,
    /// Ascending, never empty; the last one is active.
    segments: Vec<Segment>,
    log_start_offset: i64,
    log_end_offset: i64,
    epochs: LeaderEpochs,
    producers: Producers,
    snapshots: Snapshots,
    hints: Hints,
    sync: SyncState,
    write_back: write_back::Progress,
    /// Files renamed to `.deleted`, with the time from which they may go.
    doomed: Vec<(i64, Vec<std::path::PathBuf>)>,
    damage: Vec<Damage>,
    fault: Option<Fault>,
}

impl Log {
    /// Makes a new log in `dir`, which is made too, beginning at offset `start`.
    ///
    /// Nothing is synced: [`LogDir::sync`](crate::LogDir::sync) covers a whole batch of new partitions.
    pub fn create(
        disk: Arc<dyn Disk>,
        dir: &Path,
        config: Arc<LogConfig>,
        topic_id: Option<Uuid>,
        open: OpenMode,
        now_ms: i64,
    ) -> Result<Log, Fault> {
        use crate::disk::Context;
        disk.create_dir(dir).context("create directory", dir)?;
        if let Some(topic_id) = topic_id {
            crate::partition_dir::write_metadata(&*disk, dir, topic_id).context("write partition.metadata in", dir)?;
        }
        Log::open(disk, dir, config, topic_id, open, now_ms).map(|(log, _)| log)
    }

    pub fn dir(&self) -> &Path {
        &self.folder.dir
    }

    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Takes new settings; they count from the next call on.
    pub fn set_config(&mut self, config: Arc<LogConfig>) {
        self.config = config;
        self.jitter_ms = jitter(&self.config, self.jitter_seed);
    }

    pub fn topic_id(&self) -> Option<Uuid> {
        self.topic_id
    }

    pub fn log_start_offset(&self) -> i64 {
        self.log_start_offset
    }

    pub fn log_end_offset(&self) -> i64 {
        self.log_end_offset
    }

    /// Base offset of the active segment.
    pub fn active_segment(&self) -> i64 {
        self.active().base_offset
    }

    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Bytes of all batches.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| u64::from(segment.size)).sum()
    }

    /// The damage that was found so far. Whoever has another copy of these records shall not lead from this one.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Why the log is offline, if it is.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// Producers with their epochs, sequence numbers and open transactions (KIP-664).
    pub fn active_producers(&self) -> Vec<ActiveProducer> {
        self.producers.active()
    }

    /// Forgets producers silent for `producer.id.expiration.ms`.
    pub fn expire_producers(&mut self, now_ms: i64) {
        self.snapshots.is_stale = true;
        self.producers.expire(now_ms, self.config.producer_id_expiration_ms);
    }

    /// Forgets decided transactions whose markers are below `high_watermark`; to be called as it moves.
    pub fn note_high_watermark(&mut self, high_watermark: i64) {
        self.producers.forget_replicated(high_watermark);
    }

    /// Gives back memory and descriptors that only a busy partition needs; for housekeeping on an idle one.
    pub fn rest(&mut self) {
        self.hints.clear();
        for segment in &mut self.segments {
            segment.rest();
            segment.log.close();
        }
    }

    /// Takes the log offline by hand, as when a sync of its files failed.
    pub fn fail(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    fn active(&self) -> &Segment {
        // `open` makes a segment where there is none, and nothing removes the last one.
        &self.segments[self.segments.len() - 1]
    }

    /// The segment that holds `offset`, or would.
    fn segment_of(&self, offset: i64) -> usize {
        self.segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1)
    }

    fn online(&self) -> Result<(), Fault> {
        match &self.fault {
            Some(fault) if !self.has(Bug::GoOnAfterFailedSync) => Err(fault.clone()),
            _ => Ok(()),
        }
    }

    /// Remembers a fault, so that nothing is served from here any more.
    fn note<T>(&mut self, result: Result<T, Fault>) -> Result<T, Fault> {
        if let Err(fault) = &result {
            self.fault.get_or_insert_with(|| fault.clone());
        }
        result
    }

    /// Whether a test planted this.
    fn has(&self, bug: Bug) -> bool {
        planted::is(self.config.bug, bug)
    }

    fn disk(&self) -> &dyn Disk {
        &*self.folder.disk
    }
}

/// Spreads time-based rolls of many partitions: a number below `segment.jitter.ms`, fixed for a log.
fn jitter(config: &LogConfig, seed: u64) -> i64 {
    let range = config.segment_jitter_ms.min(config.segment_ms);
    if range > 0 { (seed % range as u64) as i64 } else { 0 }
}
