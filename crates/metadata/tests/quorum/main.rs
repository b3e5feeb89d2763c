//! The quorum as a whole: the product's own nodes over simulated disks, network and time, all of it drawn from a seed.
//! Kills, power cuts in the middle of what was not synced yet, frozen processes, lost, late and repeated messages, links
//! that are cut in one direction or both, restarts. After every turn of a node the invariants of Raft and KRaft are checked
//! (`checks.rs`); at the end the quorum has to work with a minority gone, become whole, and leave a leader alone whom only
//! one voter does not hear (`faults.rs`). Each mistake of [`metadata::planted`] that is a quorum's is planted and found.
//!
//! `SEED=7` runs one seed and tells what happened; `SEEDS=1000..2000` runs others than CI does; with `BUG=VoteTwice` a bug
//! is planted: `SEED=7 BUG=VoteTwice cargo test -p metadata --test quorum whatever_happens -- --nocapture`.
//!
//! Reading order: `world.rs` (machines, time and network), `faults.rs`, `checks.rs`.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // what fails here fails the test, and shows its seed

mod checks;
#[path = "../common/mod.rs"]
mod common;
mod faults;
mod world;

use std::ops::Range;
use std::panic::catch_unwind;

use metadata::planted::Bug;
use world::{Outcome, Plan, World};

/// Seeds of a run in CI.
const SEEDS: Range<u64> = 0..100;
/// A planted bug must be found within so many.
const SEEDS_FOR_BUGS: u64 = 300;

const BUGS: [Bug; 22] = [
    Bug::VoteForShorterLog,
    Bug::VoteTwice,
    Bug::VoteBeforeSync,
    Bug::ForgetVote,
    Bug::CountOldVotes,
    Bug::CommitEarlierEpoch,
    Bug::CountObservers,
    Bug::CountUnsyncedLeader,
    Bug::FetchBeforeSync,
    Bug::IgnoreDivergence,
    Bug::TruncateToHighWatermark,
    Bug::TrustDivergingLeader,
    Bug::TakeStaleAnswer,
    Bug::BelieveHearsay,
    Bug::DecideBeforeCommitted,
    Bug::ApplyUncommitted,
    Bug::SnapshotBeyondCommitted,
    Bug::SnapshotBeforeSync,
    Bug::LeadAgain,
    Bug::NeverResign,
    Bug::SkipPreVote,
    Bug::AnyVoteRequestCalms,
];

fn seeds() -> Range<u64> {
    let number = |text: &str| text.trim().parse::<u64>().expect("a number");
    if let Ok(seed) = std::env::var("SEED") {
        return number(&seed)..number(&seed) + 1;
    }
    match std::env::var("SEEDS") {
        Ok(range) => {
            let (from, to) = range.split_once("..").expect("a range such as 1000..2000");
            number(from)..number(to)
        }
        Err(_) => SEEDS,
    }
}

fn planted() -> Bug {
    let name = std::env::var("BUG").unwrap_or_default();
    let named = BUGS.into_iter().find(|bug| format!("{bug:?}") == name);
    assert!(name.is_empty() || named.is_some(), "BUG={name} is not one of {BUGS:?}");
    named.unwrap_or_default()
}

/// Runs a seed: what it came to, or what was wrong.
fn run(seed: u64, bug: Bug) -> Result<Outcome, String> {
    let outcome = catch_unwind(|| World::run(Plan::of(seed, bug)));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
    })
}

#[test]
fn a_quorum_agrees_whatever_happens_to_it() {
    let mut sum = Outcome::default();
    for seed in seeds() {
        match run(seed, planted()) {
            Ok(outcome) => sum.add(&outcome),
            Err(violation) => {
                panic!("SEED={seed}: {violation}\nagain: SEED={seed} cargo test -p metadata --test quorum")
            }
        }
    }
    eprintln!("{sum:?}");
    let runs = seeds().count() as u64;
    let happened = sum.acknowledged > 20 * runs && sum.elections > 2 * runs && sum.truncations > 0 && sum.installed > 0;
    assert!(runs < 10 || happened, "a run of nothing: {sum:?}");
}

#[test]
fn a_seed_runs_the_same_way_each_time() {
    for seed in 0..4 {
        assert_eq!(run(seed, Bug::None), run(seed, Bug::None), "seed {seed}");
    }
}

/// Each mistake that the product must not make is made, and found.
#[test]
fn every_planted_bug_is_found() {
    let mut missed = Vec::new();
    for bug in BUGS {
        match (0..SEEDS_FOR_BUGS).find_map(|seed| Some((seed, run(seed, bug).err()?))) {
            Some((seed, violation)) => {
                eprintln!("{bug:?}: seed {seed}: {}", violation.lines().next().unwrap_or_default());
            }
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found within {SEEDS_FOR_BUGS} seeds: {missed:?}");
}
