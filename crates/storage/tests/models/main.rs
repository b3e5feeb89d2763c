//! Logs against models, by random histories; and each mistake of [`storage::planted`] made, and found by them.
//!
//! `PROPTEST_CASES=5000 cargo test --release -p storage --test models a_log` runs more histories; what fails is shrunk and
//! printed.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // tests

#[path = "../common/mod.rs"]
mod common;
mod compaction;
mod damage;
mod log;

use std::fmt::Debug;
use std::panic::catch_unwind;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use storage::planted::Bug;

/// A planted bug must be found within so many histories.
const HISTORIES: u32 = 1_500;

/// How many histories it took until one fails, if one does.
fn found_after<T: Debug>(
    histories: impl Strategy<Value = T>,
    run: impl Fn(&T) + std::panic::RefUnwindSafe,
) -> Option<u32> {
    let mut runner =
        TestRunner::new_with_rng(ProptestConfig::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    (0..HISTORIES).find(|_| {
        let history = histories.new_tree(&mut runner).unwrap().current();
        catch_unwind(std::panic::AssertUnwindSafe(|| run(&history))).is_err()
    })
}

/// Each mistake that the product must not make is made, and found.
#[test]
fn every_planted_bug_is_found() {
    let by_log = |bug: Bug| {
        let histories = (log::steps(), 1..600u32, 600..6000u32);
        found_after(histories, |(steps, interval, segment)| log::run(steps, *interval, *segment, bug))
    };
    let by_compaction = |bug: Bug| found_after(compaction::steps(), |steps| compaction::run(steps, bug));
    let by_damage = |bug: Bug| found_after(damage::damage(), |damage| damage::run(*damage, bug));
    let mut missed = Vec::new();
    let mut note = |bug: Bug, found: Option<u32>| {
        eprintln!("{bug:?}: found by history {found:?}");
        missed.extend(Some(bug).filter(|_| found.is_none()));
    };
    for bug in [
        Bug::SyncActiveSegmentOnly,
        Bug::RecoveryPointAhead,
        Bug::GoOnAfterFailedSync,
        Bug::KeepTornEnd,
        Bug::TruncateWithoutSync,
        Bug::KeepEpochs,
        Bug::KeepProducers,
        Bug::UseLaterSnapshot,
        Bug::RememberOneBatch,
        Bug::AcceptGaps,
        Bug::AppendDuplicates,
    ] {
        note(bug, by_log(bug));
    }
    for bug in [Bug::DropLatest, Bug::DropTombstonesEarly, Bug::CleanUndecided] {
        note(bug, by_compaction(bug));
    }
    note(Bug::CutAtDamage, by_damage(Bug::CutAtDamage));
    assert!(missed.is_empty(), "not found within {HISTORIES} histories: {missed:?}");
}
