//! The replicated log under the cluster's state: Kafka's `__cluster_metadata-0` in KRaft's format (KIP-595, 630, 853).
//!
//! Invariants: whatever is acknowledged is on the disk of a majority first; a directory that cannot be served is refused
//! before a byte of it is changed; a snapshot replaces log only once it is durable.
//!
//! Reading order: [`node`] is what a server drives, `following` what it does while others lead; `state` decides who does (`tally`),
//! `leadership` is what a leader knows of the others, `messages` what they say to each other; `log` and `snapshot` keep, `load` and
//! `opened` open, `format` begins; `election` is the `quorum-state` file.

mod batches;
mod election;
mod following;
mod format;
mod json;
mod leadership;
mod load;
mod log;
mod messages;
mod node;
mod opened;
mod snapshot;
mod state;
#[cfg(test)]
mod state_tests;
mod tally;
mod voter_update;
mod voters;

pub use batches::{BATCH_SIZE_MAX, Content, data_batches, encode as encode_record, fit_one_batch, version_of};
pub use election::Election;
pub use following::NextFetch;
pub use format::{Format, format};
pub use leadership::{Leadership, Progress};
pub use load::{Loaded, OpenError, load};
pub use log::MetadataLog;
pub use messages::{
    BeginEpoch, EndEpoch, FetchFrom, FetchRequest, Fetched, FetchedContent, Known, LogEnd, Outgoing, ReplicaKey,
    SnapshotPiece, SnapshotRequest, VoteReply, VoteRequest,
};
pub use node::{MetadataNode, Output, Present};
pub use opened::{MetadataOptions, Opened};
pub use snapshot::{
    BOOTSTRAP_FILE, SnapshotId, SnapshotJob, decode_snapshot, encode_snapshot, read_bootstrap, write_bootstrap,
};
pub use state::{Effect, Quorum, Timeouts};
pub use voter_update::VoterUpdate;
pub use voters::{KRaftVersion, QuorumRecords, Voter, VoterEndpoint, VoterSet};

/// The directory of the metadata log, within a log dir.
pub const METADATA_DIR: &str = "__cluster_metadata-0";
