//! What nodes of the quorum say to each other, apart from the bytes of it (KIP-595, 853, 996).

use wire::{ErrorCode, Uuid};

use super::snapshot::SnapshotId;

/// A node of the quorum. A voter that lost its disk is another one, so the directory belongs to its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplicaKey {
    /// -1 where nobody is meant.
    pub id: i32,
    /// Zero where it is not known.
    pub directory_id: Uuid,
}

impl ReplicaKey {
    /// Whether both can mean the same node: a directory that is not known fits any.
    pub fn fits(self, other: ReplicaKey) -> bool {
        let unknown = self.directory_id.is_zero() || other.directory_id.is_zero();
        self.id == other.id && (unknown || self.directory_id == other.directory_id)
    }
}

/// Where a log ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogEnd {
    /// The epoch of the last record.
    pub epoch: i32,
    /// The offset after it.
    pub offset: i64,
}

/// Vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteRequest {
    /// The epoch that the candidate stands for; for a pre-vote the one that it is in.
    pub epoch: i32,
    pub candidate: ReplicaKey,
    /// Whom the candidate takes the receiver for; id -1 when it does not say.
    pub voter: ReplicaKey,
    pub end: LogEnd,
    /// Asks whether it would get the vote, and changes nothing (KIP-996).
    pub pre_vote: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteReply {
    pub granted: bool,
    pub known: Known,
}

/// What the sender of an answer knows of the leadership.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub error: ErrorCode,
    pub epoch: i32,
    pub leader: Option<i32>,
}

/// BeginQuorumEpoch: the leader of an epoch makes itself known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeginEpoch {
    pub epoch: i32,
    pub leader: i32,
    pub voter: ReplicaKey,
}

/// EndQuorumEpoch: the leader of an epoch gives up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndEpoch {
    pub epoch: i32,
    pub leader: i32,
    /// Who should stand for election, the best first.
    pub successors: Vec<i32>,
}

/// What a node has to send to a voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    Vote(VoteRequest),
    BeginEpoch(BeginEpoch),
    EndEpoch(EndEpoch),
}

/// Whom a node fetches from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchFrom {
    Leader(i32),
    /// No leader is known: any address of the quorum, which may know.
    Anybody,
}

/// Fetch, as one replica of the metadata log sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    pub replica: ReplicaKey,
    /// The epoch that the sender is in; -1 when it does not say.
    pub current_epoch: i32,
    pub offset: i64,
    /// The epoch of the last record before `offset`.
    pub last_epoch: i32,
    /// What the sender knows to be committed; `i64::MAX` when it does not say (before version 18).
    pub high_watermark: i64,
    /// As many bytes at most, but a whole batch.
    pub max_bytes: u32,
}

/// The answer to a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    pub known: Known,
    pub high_watermark: i64,
    pub log_start_offset: i64,
    pub content: FetchedContent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchedContent {
    /// Whole batches; none when there is nothing new, or in an error.
    Records(Vec<u8>),
    /// The logs differ: the sender's ends at the latest there.
    Diverging(LogEnd),
    /// What the fetch asks for is only in a snapshot.
    Snapshot(SnapshotId),
}

/// FetchSnapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotRequest {
    pub replica: ReplicaKey,
    pub current_epoch: i32,
    pub id: SnapshotId,
    pub position: u64,
    pub max_bytes: u32,
}

/// A piece of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPiece {
    pub known: Known,
    pub id: SnapshotId,
    /// Of the whole snapshot, in bytes.
    pub size: u64,
    pub position: u64,
    pub bytes: Vec<u8>,
}
