//! The questions and orders of an administrator: topics, configurations, offsets, the cluster itself.
//!
//! One method per order, with plain values in and out. What is not here goes through [`Client::send`] directly.

mod by_quorum;
mod cluster;
mod configs;
mod features;
mod groups;
mod log_dirs;
mod offsets;
mod quorum;
mod quotas;
mod records;
mod replica_records;
mod replicas;
mod topics;

pub use crate::group_offsets::CommittedOffset;
pub use cluster::{BrokerVersions, ClusterNode};
pub use configs::{ConfigChange, ConfigEntry, ConfigSynonym, Resource, ResourceType, SOURCE_DEFAULT};
pub use features::{FeatureRange, Features, FinalizedFeature, UpgradeType};
pub use groups::{GroupDescription, GroupListing, GroupMember};
pub use log_dirs::{LogDirDescription, ReplicaDescription};
pub(crate) use offsets::list_offsets;
pub use offsets::{Isolation, ListedOffset, OffsetAt, TopicPartition};
pub use quorum::{QuorumDescription, QuorumNode, ReplicaState};
pub use quotas::{QuotaEntity, QuotaMatch};
pub use replica_records::{ReplicaPosition, ReplicaRecords};
pub use replicas::{Election, PartitionResults, Reassignment};
pub use topics::{NewTopic, PartitionDescription, TopicDescription, TopicListing};

use crate::config::{Properties, Role};
use crate::{Client, ClientConfig, Error, config_providers};

/// An administrator's client.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
}

impl Admin {
    /// Reads the settings and the bootstrap addresses; connects when first needed.
    pub async fn open(properties: &Properties) -> Result<Admin, Error> {
        let properties = config_providers::resolve(properties)?;
        Ok(Admin { client: Client::open(ClientConfig::new(Role::Admin, &properties)?).await? })
    }

    /// The client below, for requests that have no method here.
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.client.config().request_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}
