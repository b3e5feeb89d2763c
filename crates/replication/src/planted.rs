//! Mistakes that a simulation plants to see whether it would find them. Without the feature `planted-bugs` there are none.

/// A mistake of replication that was made somewhere before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bug {
    #[default]
    None,
    /// A follower cuts its log at its own high watermark when the leader changes (KIP-101).
    TruncateToHighWatermark,
    /// A follower appends without looking whether its log is a prefix of the leader's (KIP-279).
    IgnoreDivergence,
    /// The high watermark follows the committed ISR while a larger one is proposed (KIP-497).
    ForgetProposedMembers,
    /// The high watermark follows the proposed ISR before the controller agreed to a smaller one (KIP-497).
    TrustProposedShrink,
    /// The high watermark follows a smaller ISR before the cluster's state tells of it, and of the settings that it was
    /// agreed to under.
    TrustAgreedShrink,
    /// A follower joins the ISR without having what is committed.
    ExpandBelowHighWatermark,
    /// A fetch under any broker epoch counts (KIP-903).
    IgnoreBrokerEpoch,
    /// The high watermark of a new leader is its log's end.
    NewLeaderCommitsAll,
    /// A follower reports its log's end before it is on the disk.
    FetchBeforeSync,
    /// A leader counts its own log's end before it is on the disk.
    CommitBeforeSync,
    /// A record counts as acknowledged by its offset alone, whoever led when it was appended.
    AcknowledgeByOffset,
    /// An answer is taken whatever has changed since it was asked for.
    TakeStaleAnswer,
    /// The high watermark moves below min.insync.replicas (KIP-966).
    CommitBelowMinIsr,
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
