//! The controller's decisions: from an image and a request to records and a reply, with Kafka's codes and texts.
//!
//! Invariant: a decision changes nothing. What it decided becomes true when its records are applied, and a reply goes
//! out only after that ([`crate::machine`]).
//!
//! Reading order: [`command`] lists everything that can be asked; each subject has its file.

mod activation;
mod brokers;
mod command;
mod configs;
mod features;
mod heartbeats;
mod leadership;
mod names;
mod partition_change;
mod placement;
mod producer_ids;
mod reassignment;
mod settings;
mod topics;

use wire::messages::MetadataRecord;
use wire::{ErrorCode, Uuid};

pub use activation::{activation_records, bootstrap_records, default_bootstrap_records};
pub use brokers::{
    BrokerRegistration, check_broker_epoch, default_directory, fence_broker, register_broker, register_controller,
    unregister_broker,
};
pub use command::{Command, Controller, Decided, Reply};
pub use configs::{
    AlterConfigsReply, AlterOp, ConfigChanges, NewSettings, alter_configs, incremental_alter_configs,
    list_config_resources,
};
pub use features::{FeatureUpdate, UpgradeType, update_features};
pub use heartbeats::{BrokerHeartbeat, HeartbeatReply, Heartbeats};
pub use leadership::{
    AlterPartition, AlteredPartition, AssignedReplicas, ElectedPartition, ElectionType, alter_partitions,
    assign_replicas_to_dirs, elect_for_leaderless, elect_leaders,
};
pub use names::check_topic_name;
pub use placement::place;
pub use producer_ids::{PRODUCER_ID_BLOCK_SIZE, ProducerIdBlock, allocate_producer_ids};
pub use reassignment::{
    ReassignPartition, ReassignedPartition, alter_partition_reassignments, partition_reassignments,
};
pub use settings::NodeSettings;
pub use topics::{
    CreatePartitionsReply, CreateTopicsReply, CreatedTopic, DeletedTopic, MorePartitions, NewTopic, TopicRef,
    check_assignment, create_partitions, create_topics, delete_topics,
};

use crate::image::{Delta, Image};
use crate::machine;

/// Records and a reply.
pub type Decision<Reply> = machine::Decision<MetadataRecord<'static>, Reply>;

/// Where the controller's own log is; no topic may be called so.
pub const METADATA_TOPIC: &str = "__cluster_metadata";

/// As many partitions may one request create.
pub const MAX_PARTITIONS_PER_REQUEST: u64 = 10_000;

/// Why a request, or an item of it, is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: ErrorCode,
    /// `None` where Kafka sends no text.
    pub message: Option<String>,
}

impl Refusal {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Refusal { code, message: Some(message.into()) }
    }

    /// With the text that the code has by itself.
    pub fn with_default_text(code: ErrorCode) -> Self {
        Refusal::new(code, code.message())
    }

    pub fn without_text(code: ErrorCode) -> Self {
        Refusal { code, message: None }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.message.as_deref().unwrap_or(self.code.name()))
    }
}

/// What decisions know beside the image.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub cluster_id: &'a str,
    pub settings: &'a NodeSettings,
}

/// Chance, from the shell.
pub trait Random {
    fn next_u64(&mut self) -> u64;
}

impl<F: FnMut() -> u64> Random for F {
    fn next_u64(&mut self) -> u64 {
        self()
    }
}

impl dyn Random + '_ {
    /// Below `bound`; 0 when the bound is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        // The bias of the remainder is beneath notice for a few thousand brokers.
        self.next_u64().checked_rem(bound as u64).unwrap_or(0) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// An id that no command line takes for an option, and that is none of the reserved ones.
    fn topic_id(&mut self) -> Uuid {
        loop {
            let bits = u128::from(self.next_u64()) << 64 | u128::from(self.next_u64());
            let id = Uuid::from_random(bits);
            // The first six bits are the first character: '-' is 62.
            if id.0[0] >> 2 != 62 {
                return id;
            }
        }
    }
}

/// Takes a record into the image that the rest of the same decision is made on.
fn apply_decided(image: &mut Image, record: &MetadataRecord<'_>) {
    let offset = image.offset;
    if let Err(error) = image.replay(offset, record, &mut Delta::default()) {
        panic!("a decided record does not fit the state it was decided on: {error}");
    }
}
