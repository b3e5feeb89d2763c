//! What a shard is told by the broker's configuration, and the limits of its own.

use crate::planted::Bug;

/// Settings of the group coordinator. Times in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `group.min.session.timeout.ms`
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`
    pub max_session_timeout_ms: i32,
    /// `group.max.size`
    pub max_size: i32,
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay_ms: i32,
    /// `offset.metadata.max.bytes`; Kafka counts UTF-16 units.
    pub offset_metadata_max_bytes: i32,
    pub limits: Limits,
    /// What tests plant in the coordinator.
    pub bug: Bug,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            max_size: i32::MAX,
            initial_rebalance_delay_ms: 3_000,
            offset_metadata_max_bytes: 4_096,
            limits: Limits::default(),
            bug: Bug::None,
        }
    }
}

/// Bounds that Kafka does not have, so that what clients say cannot fill the memory. Far above what is used.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of a group id, a member id, a group instance id, a client id or a protocol's name that somebody joins with.
    pub name_bytes: usize,
    /// Protocols that one member may offer.
    pub protocols: usize,
    /// Members of one group, those included that were only given an id yet.
    pub members: usize,
    /// Bytes of all members' protocol metadata in one group.
    pub metadata_bytes: usize,
    /// Ids given to members that have not joined with them yet, over all groups of the shard.
    pub pending_members: usize,
    /// Bytes of one record: what the partition accepts as a batch, less its header.
    pub record_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            name_bytes: 4_096,
            protocols: 128,
            members: 20_000,
            metadata_bytes: 64 << 20,
            pending_members: 100_000,
            record_bytes: 1_048_588 - 128,
        }
    }
}
