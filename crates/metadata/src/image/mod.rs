//! The cluster's state as one value. Cloning it is O(1): clones share everything that they have in common.
//!
//! Invariant: an image is exactly what the records up to its offset say, in their order, whichever way it came to be
//! (replayed from the log, loaded from a snapshot, decided on the active controller).
//!
//! Reading order: [`Image`], then `topics`, `cluster`, `configs`, `features`; `delta` says what changed, `snapshot` turns an
//! image back into records.

mod cluster;
mod configs;
mod delta;
pub mod features;
mod security;
mod snapshot;
mod topics;

use std::fmt;
use std::sync::Arc;

use wire::messages::MetadataRecord;

pub use cluster::{Broker, Cluster, ControllerRegistration, Endpoint, SupportedFeature};
pub use configs::{ConfigResource, Configs, ResourceKind, Settings};
pub use delta::{Delta, TopicDelta};
pub use features::{Features, MetadataVersion};
pub use security::{QuotaEntity, Security};
pub use topics::{
    LeaderRecoveryState, NO_LEADER, NO_LEADER_CHANGE, Partition, Topic, TopicIdPartition, Topics, directory,
};

use crate::machine::State;

/// A record that does not fit the image: the log is damaged, or its writer was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyError(String);

impl ApplyError {
    pub(crate) fn new(message: String) -> Self {
        ApplyError(message)
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ApplyError {}

/// The cluster's state.
#[derive(Clone, Debug)]
pub struct Image {
    pub topics: Topics,
    pub cluster: Cluster,
    pub configs: Configs,
    pub features: Features,
    pub security: Security,
    /// The first producer id that no broker has got; `None` before the first block.
    pub next_producer_id: Option<i64>,
    /// The offset of the last record in this image, -1 when there is none.
    pub offset: i64,
    /// The image as it was when the transaction that is open in the log began (KIP-868).
    before_transaction: Option<Arc<Image>>,
}

impl Default for Image {
    fn default() -> Self {
        Image {
            topics: Topics::default(),
            cluster: Cluster::default(),
            configs: Configs::default(),
            features: Features::default(),
            security: Security::default(),
            next_producer_id: None,
            offset: -1,
            before_transaction: None,
        }
    }
}

/// Equal states, wherever in the log they stand.
impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        self.topics == other.topics
            && self.cluster == other.cluster
            && self.configs == other.configs
            && self.features == other.features
            && self.security == other.security
            && self.next_producer_id == other.next_producer_id
            && self.before_transaction == other.before_transaction
    }
}

impl Image {
    /// The level that decides which records may be written.
    pub fn metadata_version(&self) -> MetadataVersion {
        self.features.metadata_version().unwrap_or(MetadataVersion::LATEST)
    }

    /// A transaction is open in the log: until its end readers should keep the image before it.
    pub fn is_in_transaction(&self) -> bool {
        self.before_transaction.is_some()
    }

    /// Nothing was ever recorded: the bootstrap records are still to be written.
    pub fn is_empty(&self) -> bool {
        self.features.metadata_version().is_none()
    }

    /// The image as it was when the transaction that is open in the log began.
    pub fn before_transaction(&self) -> Option<&Image> {
        self.before_transaction.as_deref()
    }

    fn begin_transaction(&mut self) -> Result<(), ApplyError> {
        if self.is_in_transaction() {
            return Err(ApplyError::new("a transaction begins inside of another".to_owned()));
        }
        self.before_transaction = Some(Arc::new(self.clone()));
        Ok(())
    }

    fn end_transaction(&mut self) -> Result<(), ApplyError> {
        match self.before_transaction.take() {
            Some(_) => Ok(()),
            None => Err(ApplyError::new("a transaction ends that did not begin".to_owned())),
        }
    }

    fn abort_transaction(&mut self, delta: &mut Delta) -> Result<(), ApplyError> {
        let Some(before) = self.before_transaction.take() else {
            return Err(ApplyError::new("a transaction is aborted that did not begin".to_owned()));
        };
        *self = (*before).clone();
        delta.rolled_back_to(self);
        Ok(())
    }

    fn apply_record(&mut self, record: &MetadataRecord<'_>, delta: &mut Delta) -> Result<(), ApplyError> {
        match record {
            MetadataRecord::Topic(record) => self.topics.apply_topic(record, delta),
            MetadataRecord::Partition(record) => self.topics.apply_partition(record, delta),
            MetadataRecord::PartitionChange(record) => self.topics.apply_change(record, delta),
            MetadataRecord::RemoveTopic(record) => {
                let topic = self.topics.apply_remove(record.topic_id, delta)?;
                self.configs.remove(&ConfigResource::topic(&topic.name), delta);
                Ok(())
            }
            MetadataRecord::ClearElr(record) => self.topics.apply_clear_elr(&record.topic_name, delta),
            MetadataRecord::Config(record) => self.configs.apply(record, delta),
            MetadataRecord::RegisterBroker(record) => {
                self.cluster.apply_register(record, delta);
                Ok(())
            }
            MetadataRecord::UnregisterBroker(record) => self.cluster.apply_unregister(record, delta),
            MetadataRecord::FenceBroker(record) => self.cluster.apply_fenced(record.id, record.epoch, true, delta),
            MetadataRecord::UnfenceBroker(record) => self.cluster.apply_fenced(record.id, record.epoch, false, delta),
            MetadataRecord::BrokerRegistrationChange(record) => self.cluster.apply_change(record, delta),
            MetadataRecord::RegisterController(record) => {
                self.cluster.apply_controller(record, delta);
                Ok(())
            }
            MetadataRecord::FeatureLevel(record) => self.features.apply(record, delta),
            MetadataRecord::ProducerIds(record) => {
                if self.next_producer_id.is_some_and(|next| record.next_producer_id <= next) {
                    return Err(ApplyError::new(format!(
                        "the next producer id goes back from {} to {}",
                        self.next_producer_id.unwrap_or_default(),
                        record.next_producer_id
                    )));
                }
                self.next_producer_id = Some(record.next_producer_id);
                delta.producer_ids = true;
                Ok(())
            }
            MetadataRecord::BeginTransaction(_) => self.begin_transaction(),
            MetadataRecord::EndTransaction(_) => self.end_transaction(),
            MetadataRecord::AbortTransaction(_) => self.abort_transaction(delta),
            // Kafka 4 keeps nothing of a migration from ZooKeeper either.
            MetadataRecord::ZkMigrationState(_) | MetadataRecord::NoOp(_) => Ok(()),
            _ => {
                delta.security = true;
                self.security.apply(record)
            }
        }
    }
}

impl State for Image {
    type Record = MetadataRecord<'static>;
    type Change = Delta;
    type Error = ApplyError;

    fn apply(&mut self, offset: i64, record: &Self::Record, change: &mut Delta) -> Result<(), ApplyError> {
        self.replay(offset, record, change)
    }
}

impl Image {
    /// Applies one record of the log or of a snapshot. `offset` is its place in the log (for a snapshot's records: the last
    /// offset that the snapshot covers).
    ///
    /// # Errors
    /// The record does not fit this image. The image may have changed in part and must be dropped.
    pub fn replay(&mut self, offset: i64, record: &MetadataRecord<'_>, delta: &mut Delta) -> Result<(), ApplyError> {
        self.apply_record(record, delta)?;
        self.offset = offset;
        Ok(())
    }
}
