//! One partition's log on disk, and the directory it lies in: Kafka's files, byte for byte.
//!
//! **Invariants.** Nothing here knows sockets, threads, clocks or chance: time is an argument, the disk is behind
//! [`Disk`]. No file is mapped. What a file claims is checked against its length before memory is taken for it. After a
//! failed write or sync the log is offline, and nothing of it is served.
//!
//! Reading order: `disk` (the seam), `segment` with its indexes, [`log`](Log) and the files beneath it, `producers`,
//! `epochs`, `cleaner`; then [`LogDir`] with `checkpoint`, `meta_properties` and `partition_dir`.

mod cleaner;
mod config;
mod disk;
mod epochs;
mod fds;
mod index_file;
mod log;
mod log_dir;
mod offset_index;
mod producer_snapshot;
mod producers;
mod real_disk;
mod scan;
mod segment;
mod time_index;
mod txn_index;

pub mod checkpoint;
pub mod meta_properties;
pub mod partition_dir;
pub mod planted;
#[cfg(feature = "testing")]
pub mod testing;

pub use checkpoint::{Checkpoint, Offsets};
pub use cleaner::{Cleaned, CleanerLimits, CleaningError, CleaningPlan, Pace, Replace, Replacement, clean};
pub use config::LogConfig;
pub use disk::{Access, Disk, DiskFile, Entry, Fault, LockGuard};
pub use epochs::EpochStart;
pub use fds::FdBudget;
pub use log::{
    Append, Appended, CopyStep, Cut, Damage, Deleted, Dirt, Log, OpenMode, Read, ReadError, Recovery, RemoveRequest,
    Replicated, Shutdown, SyncRequest, TimestampOffset, WriteBack,
};
pub use log_dir::{Claim, LogDir, LogDirError};
pub use meta_properties::MetaProperties;
pub use partition_dir::DirName;
pub use producers::{ActiveProducer, BATCHES_KEPT};
pub use real_disk::RealDisk;
pub use txn_index::AbortedTxn;
