//! Mistakes that tests plant to see whether they would find them. Without the feature `planted-bugs` there are none.

/// A mistake of a log that was made somewhere before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bug {
    #[default]
    None,
    /// A sync leaves out the segment that was finished meanwhile (S1).
    SyncActiveSegmentOnly,
    /// The recovery point goes to the log's end, whatever was synced (S5).
    RecoveryPointAhead,
    /// After a failed sync the log goes on, and the next sync succeeds (S7).
    GoOnAfterFailedSync,
    /// A torn end is left in the file, behind what counts (S8).
    KeepTornEnd,
    /// Damage to what was on the disk cuts off everything behind it (S8).
    CutAtDamage,
    /// A truncation is not on the disk before the next append.
    TruncateWithoutSync,
    /// Leader epochs outlive the truncation of their records (R12, KAFKA-10432).
    KeepEpochs,
    /// Producers stand where they stood before a truncation.
    KeepProducers,
    /// A snapshot of producers that is newer than the log is believed.
    UseLaterSnapshot,
    /// Only the last batch of a producer is known when it comes again (P3).
    RememberOneBatch,
    /// A batch may leave out sequence numbers (P1).
    AcceptGaps,
    /// A batch that comes again is appended again (P1).
    AppendDuplicates,
    /// The cleaner drops the latest record of a key along with the others.
    DropLatest,
    /// The cleaner drops tombstones and markers at once (T10, KAFKA-8351).
    DropTombstonesEarly,
    /// The cleaner counts records of transactions that are not decided (T10).
    CleanUndecided,
    /// A copy that has all but the last batches counts as level with its log (KIP-113).
    LevelTooEarly,
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
