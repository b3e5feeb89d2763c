//! What a seed runs.

use crate::producer::Acks;
use coordinator::Config;
use replication::planted::Bug;
use replication::{Durability, Settings};
use std::sync::Arc;
use storage::LogConfig;
use testkit::simulation::Chance;

/// Faults happen before, the cluster heals after.
pub const HEAL_MS: i64 = 12_000;
/// By then it has to be whole again.
pub const END_MS: i64 = 60_000;
pub const SESSION_MS: i64 = 1_500;
pub const LAG_MS: i64 = 1_000;
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub nodes: i32,
    /// The first so many of them vote.
    pub voters: i32,
    pub durability: Durability,
    pub min_isr: u32,
    /// Those with acks=all, at least one, and then the others.
    pub producers: [Option<Acks>; 5],
    pub consumers: usize,
    /// Reassignments are taken back, which may leave a partition with one replica in sync: where that is in the page cache
    /// alone, no power is cut.
    pub takes_back: bool,
    pub bug: Bug,
}

impl Plan {
    /// With records that are synced, any number of power cuts at once loses nothing; without, one at a time does, where
    /// two replicas have every record.
    pub fn of(seed: u64) -> Plan {
        let mut chance = Chance::new(seed ^ 0x5eed);
        let nodes = chance.one_of(&[3, 3, 4, 5]);
        let voters = if nodes == 5 { chance.one_of(&[3, 5]) } else { 3 };
        let durability = if chance.is(60) { Durability::Synced } else { Durability::PageCache };
        let min_isr = if durability == Durability::Synced && chance.is(30) { 1 } else { 2 };
        let (with_all, others) = (1 + chance.below(3) as usize, chance.below(3) as usize);
        let mut producers = [None; 5];
        producers[..with_all].fill(Some(Acks::All));
        for producer in producers.iter_mut().skip(with_all).take(others) {
            *producer = Some(chance.one_of(&[Acks::Leader, Acks::Leader, Acks::LeaderNumbered, Acks::None]));
        }
        Plan {
            seed,
            nodes,
            voters,
            durability,
            min_isr,
            producers,
            consumers: 1 + chance.below(3) as usize,
            takes_back: durability == Durability::Synced || chance.is(50),
            bug: Bug::None,
        }
    }

    pub fn ids(&self) -> std::ops::RangeInclusive<i32> {
        1..=self.nodes
    }

    pub fn is_synced(&self) -> bool {
        self.durability == Durability::Synced
    }

    pub fn settings(&self) -> Settings {
        Settings {
            min_insync_replicas: self.min_isr,
            replica_lag_time_max_ms: LAG_MS,
            bug: self.bug,
            ..Settings::new(self.durability)
        }
    }

    /// Small segments, so that truncation and recovery meet more than one.
    pub fn log_config(&self) -> Arc<LogConfig> {
        Arc::new(LogConfig {
            segment_bytes: 4_000,
            index_interval_bytes: 500,
            snapshot_interval_bytes: 2_000,
            retention_ms: -1,
            ..LogConfig::default()
        })
    }

    pub fn group_config(&self) -> Config {
        Config { min_session_timeout_ms: 100, initial_rebalance_delay_ms: 50, ..Config::default() }
    }
}
