//! A whole cluster under everything that goes wrong: nodes with the product's own quorum, controller, partitions, logs,
//! fetchers and group coordinators, on disks in memory and over a network that loses, delays and overtakes; idempotent
//! producers and consumers in a group, which keep a history. All of it is drawn from a seed.
//!
//! After every event: what is committed in the metadata log and in every partition is never lost nor changed, an epoch has one
//! leader, high watermarks never go back, whoever may be elected has everything that is committed; every acknowledgement is
//! held against what is committed, every committed batch against what its producer sent before it (`checks.rs`). Then all
//! faults stop, and the cluster has to become whole again: everything sent is acknowledged, replicas are equal, groups have
//! read everything (`healed.rs`).
//!
//! `SIMULATION_SEED=7` runs one seed and tells its events; `SIMULATION_SEEDS=1000..2000` runs others than CI does; optimized
//! it runs many times as fast: `cargo test --profile simulation -p testkit --test cluster`.
//!
//! Reading order: `world.rs` (events and time), `plan.rs`, `machine.rs` (a node and its process), `quorum.rs`, `broker.rs`,
//! `dirs.rs`, `copies.rs`, `replicas.rs`, `produce.rs`, `groups.rs` (what the server's threads do), `clients.rs`, `producer.rs`, `consumer.rs`,
//! `admin.rs`, `moves.rs`, `faults.rs`.
#![allow(clippy::unwrap_used)] // what fails here fails the test

mod admin;
mod broker;
mod checks;
mod clients;
mod consumer;
mod copies;
mod dirs;
mod faults;
mod groups;
mod healed;
mod machine;
mod moves;
mod plan;
mod produce;
mod producer;
mod promises;
mod quorum;
mod replicas;
mod world;

use plan::Plan;
use replication::planted::Bug;
use std::ops::Range;
use testkit::simulation::{only_seed, run, seeds};
use world::World;

/// Seeds of a run in CI.
const SEEDS: Range<u64> = 0..300;
/// A planted bug must be found within so many.
const SEEDS_FOR_BUGS: u64 = 10_000;

#[test]
fn nothing_promised_is_broken_and_the_cluster_heals() {
    let talks = only_seed().is_some();
    let started = std::time::Instant::now();
    let runs = run(seeds(SEEDS), |seed| World::run(Plan::of(seed), talks));
    let failures: Vec<String> = runs.failed.iter().map(|(seed, why)| format!("seed {seed}: {why}")).collect();
    assert!(
        failures.is_empty(),
        "{}\nrerun one: SIMULATION_SEED={} cargo test -p testkit --test cluster nothing_promised",
        failures.join("\n"),
        runs.failed.keys().next().unwrap()
    );
    let outcomes = runs.done;
    let sum = |of: fn(&world::Outcome) -> usize| outcomes.values().map(of).sum::<usize>();
    let (acknowledged, consumed, cuts) = (sum(|o| o.acknowledged), sum(|o| o.consumed), sum(|o| o.truncations));
    let moves = sum(|o| o.moves);
    say(&format!(
        "{} seeds in {:.1} s: {acknowledged} batches acknowledged, {consumed} consumed, {cuts} logs cut, {moves} moved, {} events, {} s of the cluster",
        outcomes.len(),
        started.elapsed().as_secs_f64(),
        sum(|o| o.events),
        sum(|o| o.seconds),
    ));
    let runs = outcomes.len();
    assert!(
        runs < 10 || acknowledged > 100 * runs && consumed > 100 * runs && cuts > 0 && moves > 0,
        "a run of nothing"
    );
}

#[test]
fn a_seed_runs_the_same_way_each_time() {
    for seed in 0..3 {
        let run = || World::run(Plan::of(seed), false).unwrap();
        assert_eq!(run(), run(), "seed {seed}");
    }
}

/// Each mistake of replication is made, and found.
#[test]
fn planted_bugs_of_replication_are_found() {
    let bugs = [
        Bug::TruncateToHighWatermark,
        Bug::IgnoreDivergence,
        Bug::ForgetProposedMembers,
        Bug::TrustProposedShrink,
        Bug::TrustAgreedShrink,
        Bug::ExpandBelowHighWatermark,
        Bug::IgnoreBrokerEpoch,
        Bug::NewLeaderCommitsAll,
        Bug::FetchBeforeSync,
        Bug::CommitBeforeSync,
        Bug::AcknowledgeByOffset,
        Bug::TakeStaleAnswer,
        Bug::CommitBelowMinIsr,
    ];
    find(&bugs, |bug, plan| Plan { bug, ..plan }, SEEDS_FOR_BUGS);
}

/// Each mistake about log directories that fail, are lost, and are moved between.
#[test]
fn planted_bugs_of_log_directories_are_found() {
    use metadata::planted::Bug::{KeepOfflineInSync, KeepUncleanEligible, LoseAssignment};
    let of_metadata = [KeepOfflineInSync, KeepUncleanEligible, LoseAssignment];
    find(&of_metadata, |metadata_bug, plan| Plan { metadata_bug, ..plan }, SEEDS.end);
    let of_storage = [storage::planted::Bug::LevelTooEarly];
    find(&of_storage, |storage_bug, plan| Plan { storage_bug, ..plan }, SEEDS.end);
}

/// Runs each of `bugs` until it is found.
fn find<B: Copy + std::fmt::Debug + Sync>(bugs: &[B], planted: impl Fn(B, Plan) -> Plan + Sync, seeds: u64) {
    let found_at = run(0..bugs.len() as u64, |at| {
        let bug = bugs[at as usize];
        // By an invariant here, or by an assertion of the product.
        let is_found = |seed: &u64| {
            let run = || World::run(planted(bug, Plan::of(*seed)), false);
            !matches!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)), Ok(Ok(_)))
        };
        (0..seeds).find(is_found).ok_or_else(|| format!("{bug:?}"))
    });
    say(&format!("found at seeds {:?}", found_at.done));
    assert!(found_at.failed.is_empty(), "not found within {seeds} seeds: {:?}", found_at.failed);
}

#[allow(clippy::print_stderr)] // for whoever runs seeds by hand
fn say(line: &str) {
    eprintln!("{line}");
}
