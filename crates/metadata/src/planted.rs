//! Mistakes that tests plant to see whether they would find them. Without the feature `planted-bugs` there are none.

/// A mistake of a quorum or of a controller that was made somewhere before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bug {
    #[default]
    None,
    /// A vote is given to a candidate whose log is behind (Raft §5.4.1).
    VoteForShorterLog,
    /// A second candidate gets the vote of an epoch (Raft §5.2).
    VoteTwice,
    /// A vote is answered before it is on the disk (Raft §5.2; S1).
    VoteBeforeSync,
    /// A node that follows forgets whom it voted for (Raft §5.2).
    ForgetVote,
    /// Votes count that an earlier epoch gave (R9).
    CountOldVotes,
    /// A record of an earlier epoch is committed by counting replicas alone (Raft §5.4.2, figure 8; R10).
    CommitEarlierEpoch,
    /// The majority that commits has observers in it (KIP-595).
    CountObservers,
    /// A leader counts its own log before it is on the disk (S1, S5).
    CountUnsyncedLeader,
    /// A follower reports its log's end before it is on the disk (S1).
    FetchBeforeSync,
    /// Logs that differ are not told apart (KIP-279).
    IgnoreDivergence,
    /// A follower cuts its log at its own high watermark where it differs from the leader's (R1, KIP-101).
    TruncateToHighWatermark,
    /// The high watermark of a leader whose log is known to differ is taken.
    TrustDivergingLeader,
    /// An answer is taken whatever has changed since it was asked for (R9).
    TakeStaleAnswer,
    /// Whoever doubts its leader is talked back into following it by others who do not hear it either.
    BelieveHearsay,
    /// A leader decides before everything of earlier epochs is committed (R10).
    DecideBeforeCommitted,
    /// Records are applied before they are committed (Raft §5.3).
    ApplyUncommitted,
    /// A snapshot is named after the log's end, and holds what is committed (KIP-630; S5).
    SnapshotBeyondCommitted,
    /// Log is dropped for a snapshot that is not on the disk (S5).
    SnapshotBeforeSync,
    /// A leader that comes back leads on in its epoch (KIP-595).
    LeadAgain,
    /// A leader that no majority hears goes on leading (KIP-595).
    NeverResign,
    /// Whoever misses its leader stands for election without asking whether others do (KIP-996).
    SkipPreVote,
    /// Whoever asks for a vote, even in vain, puts off the election of others.
    AnyVoteRequestCalms,
    /// A replica joins the ISR under the epoch of a process that is gone (R4, KIP-903).
    StaleBrokerJoins,
    /// A fenced broker, or one that is about to stop, joins the ISR (R5, KAFKA-13916).
    FencedBrokerJoins,
    /// A change of the ISR is taken though the partition has changed since (R7).
    IgnorePartitionEpoch,
    /// A leader of an earlier epoch changes the ISR (KIP-497).
    IgnoreLeaderEpoch,
    /// A broker that lost its page cache stays eligible (R3, KIP-966).
    KeepUncleanEligible,
    /// Who leaves an ISR that is too small is not eligible any more (R3, KIP-966).
    ForgetEligible,
    /// A replica that is not in sync is elected though nobody asked for it.
    ElectUncleanUnasked,
    /// What is in a failed log directory stays in sync, and leads (KIP-858).
    KeepOfflineInSync,
    /// Where a replica is is agreed to and not written down (KIP-858).
    LoseAssignment,
}

/// Whether `bug` is planted.
#[cfg(feature = "planted-bugs")]
pub(crate) fn is(planted: Bug, bug: Bug) -> bool {
    planted == bug
}

/// Whether `bug` is planted: never, in the product.
#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn is(_planted: Bug, _bug: Bug) -> bool {
    false
}
