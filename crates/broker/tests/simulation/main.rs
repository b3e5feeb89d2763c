//! Three replicas of one partition under everything that goes wrong: the product's own partitions, logs, fetchers and
//! controller, on disks in memory and over a network that loses, delays and overtakes, all of it drawn from a seed.
//!
//! After every event: what was committed is never lost nor changed, high watermarks never go back, whoever may be elected
//! has everything that is committed (`checks.rs`). At the end all faults stop, and the cluster must become whole again.
//!
//! `SIMULATION_SEED=7` runs one seed and tells its events; `SIMULATION_SEEDS=1000..2000` runs others than CI does.
//!
//! Reading order: `world.rs` (events and time), `node.rs` (a broker and its process), `network.rs` (who says what to whom),
//! `faults.rs`, `checks.rs`.
#![allow(clippy::unwrap_used)] // what fails here fails the test

mod checks;
mod faults;
mod network;
mod node;
mod world;

use replication::planted::Bug;
use std::ops::Range;
use world::{Plan, World};

/// Seeds of a run in CI.
const SEEDS: Range<u64> = 0..120;
/// A planted bug must be found within so many.
const SEEDS_FOR_BUGS: u64 = 400;

fn seeds() -> Range<u64> {
    let number = |text: &str| text.trim().parse::<u64>().expect("a number");
    if let Ok(seed) = std::env::var("SIMULATION_SEED") {
        return number(&seed)..number(&seed) + 1;
    }
    match std::env::var("SIMULATION_SEEDS") {
        Ok(range) => {
            let (from, to) = range.split_once("..").expect("a range such as 1000..2000");
            number(from)..number(to)
        }
        Err(_) => SEEDS,
    }
}

#[test]
fn nothing_committed_is_lost_and_the_cluster_heals() {
    let talks = std::env::var("SIMULATION_SEED").is_ok();
    let (mut acknowledged, mut cuts) = (0, 0);
    for seed in seeds() {
        match World::run(Plan::of(seed, Bug::None), talks) {
            Ok(outcome) => {
                acknowledged += outcome.acknowledged;
                cuts += outcome.truncations;
            }
            Err(violation) => panic!(
                "seed {seed}: {violation}\nrerun: SIMULATION_SEED={seed} cargo test -p broker --test simulation nothing_committed"
            ),
        }
    }
    let runs = seeds().count();
    assert!(
        runs < 10 || acknowledged > 50 * runs && cuts > 0,
        "a run of nothing: {acknowledged} acknowledged, {cuts} cuts"
    );
}

#[test]
fn a_seed_runs_the_same_way_each_time() {
    for seed in 0..3 {
        let run = || World::run(Plan::of(seed, Bug::None), false).unwrap();
        assert_eq!(run(), run(), "seed {seed}");
    }
}

/// Each mistake that the product must not make is made, and found.
#[test]
fn every_planted_bug_is_found() {
    let bugs = [
        Bug::TruncateToHighWatermark,
        Bug::IgnoreDivergence,
        Bug::ForgetProposedMembers,
        Bug::TrustProposedShrink,
        Bug::ExpandBelowHighWatermark,
        Bug::IgnoreBrokerEpoch,
        Bug::NewLeaderCommitsAll,
        Bug::FetchBeforeSync,
        Bug::CommitBeforeSync,
        Bug::AcknowledgeByOffset,
        Bug::TakeStaleAnswer,
        Bug::CommitBelowMinIsr,
    ];
    let found_at = |bug: Bug| (0..SEEDS_FOR_BUGS).find(|seed| World::run(Plan::of(*seed, bug), false).is_err());
    let missed: Vec<Bug> = bugs.into_iter().filter(|bug| found_at(*bug).is_none()).collect();
    assert!(missed.is_empty(), "not found within {SEEDS_FOR_BUGS} seeds: {missed:?}");
}
