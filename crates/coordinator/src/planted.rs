//! Mistakes that tests plant to see whether they would find them. Without the feature `planted-bugs` there are none.

/// A mistake of a group coordinator that was made somewhere before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bug {
    #[default]
    None,
    /// Expiry does not look at commits that are on their way to the log, and takes them along (G1).
    ExpireFreshCommit,
    /// A fetch shows offsets that are not committed yet (G1, T3).
    ShowUncommittedOffsets,
    /// A request is answered before its records are committed (S1).
    AnswerBeforeCommit,
    /// Members get their assignments before these are committed (S1).
    AssignBeforeCommit,
    /// A member of an earlier generation may commit offsets.
    IgnoreGeneration,
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
