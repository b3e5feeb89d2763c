//! Three replicas of one partition under everything that goes wrong: the product's own partitions, logs, fetchers and
//! controller, on disks in memory and over a network that loses, delays and overtakes, all of it drawn from a seed.
//!
//! After every event: what was committed is never lost nor changed, high watermarks never go back, whoever may be elected
//! has everything that is committed (`checks.rs`). At the end all faults stop, and the cluster must become whole again.
//!
//! It is about replication alone, closely; `crates/testkit/tests/cluster` runs everything together.
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
use testkit::simulation::{only_seed, run, seeds};
use world::{Plan, World};

/// Seeds of a run in CI.
const SEEDS: Range<u64> = 0..120;
/// A planted bug must be found among these.
const SEEDS_FOR_BUGS: Range<u64> = 1200..1600;

#[test]
fn nothing_committed_is_lost_and_the_cluster_heals() {
    let talks = only_seed().is_some();
    let runs = run(seeds(SEEDS), |seed| World::run(Plan::of(seed, Bug::None), talks));
    if let Some((seed, violation)) = runs.failed.first_key_value() {
        panic!(
            "seed {seed}: {violation}\nrerun: SIMULATION_SEED={seed} cargo test -p broker --test simulation nothing_committed"
        );
    }
    let acknowledged: usize = runs.done.values().map(|outcome| outcome.acknowledged).sum();
    let cuts: usize = runs.done.values().map(|outcome| outcome.truncations).sum();
    let runs = runs.done.len();
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
    let found_at = run(0..bugs.len() as u64, |at| {
        let bug = bugs[at as usize];
        let is_found = |seed: &u64| World::run(Plan::of(*seed, bug), false).is_err();
        SEEDS_FOR_BUGS.clone().find(is_found).ok_or_else(|| format!("{bug:?}"))
    });
    assert!(found_at.failed.is_empty(), "not found within seeds {SEEDS_FOR_BUGS:?}: {:?}", found_at.failed);
}
