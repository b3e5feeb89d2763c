//! What a seed runs.

use crate::producer::Acks;
use coordinator::Config;
use metadata::image::{ConfigResource, Image};
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
/// By then the controller has to know of a failed log directory.
pub const CONTROLLER_TOLD_MS: i64 = 2_000;
pub const LAG_MS: i64 = 1_000;
pub const MIN_ISR: &str = "min.insync.replicas";
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
    /// Log directories of each node.
    pub volumes: [usize; 5],
    /// Log directories are lost with all that was on them, one at a time: what is committed is on others.
    pub loses_disks: bool,
    /// Consumers read from followers as well.
    pub reads_followers: bool,
    /// Topics get other min.insync.replicas. With 1 a single replica may have what is committed.
    pub changes_min_isr: bool,
    /// Records at the beginning of partitions are deleted.
    pub deletes_records: bool,
    pub bug: Bug,
    pub storage_bug: storage::planted::Bug,
    pub metadata_bug: metadata::planted::Bug,
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
        let consumers = 1 + chance.below(3) as usize;
        let takes_back = durability == Durability::Synced || chance.is(50);
        let loses_disks = min_isr == 2 && chance.is(60) && (durability == Durability::Synced || !takes_back);
        let volumes = if chance.is(70) { [0; 5].map(|_| 1 + chance.below(3) as usize) } else { [1; 5] };
        let (reads_followers, deletes_records) = (chance.is(40), chance.is(40));
        let changes_min_isr = durability == Durability::Synced && min_isr == 2 && !loses_disks && chance.is(50);
        Plan {
            seed,
            nodes,
            voters,
            durability,
            min_isr,
            producers,
            consumers,
            takes_back: takes_back && !loses_disks,
            volumes,
            loses_disks,
            reads_followers,
            changes_min_isr,
            deletes_records,
            bug: Bug::None,
            storage_bug: storage::planted::Bug::None,
            metadata_bug: metadata::planted::Bug::None,
        }
    }

    pub fn ids(&self) -> std::ops::RangeInclusive<i32> {
        1..=self.nodes
    }

    pub fn is_synced(&self) -> bool {
        self.durability == Durability::Synced
    }

    /// Of a topic's replicas, as a state of the cluster has it.
    pub fn settings(&self, image: &Image, topic: &str) -> Settings {
        let own = image.configs.value(&ConfigResource::topic(topic), MIN_ISR).and_then(|value| value.parse().ok());
        Settings {
            min_insync_replicas: own.unwrap_or(self.min_isr),
            replica_lag_time_max_ms: LAG_MS,
            followers_are_read: self.reads_followers,
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
            bug: self.storage_bug,
            ..LogConfig::default()
        })
    }

    pub fn group_config(&self) -> Config {
        Config { min_session_timeout_ms: 100, initial_rebalance_delay_ms: 50, ..Config::default() }
    }
}
