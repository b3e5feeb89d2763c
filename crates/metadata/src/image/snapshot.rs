//! An image as the records of a snapshot, in the order in which Kafka writes them.

use wire::messages::{ConfigRecord, FeatureLevelRecord, MetadataRecord, ProducerIdsRecord, TopicRecord};

use super::Image;
use super::features::METADATA_VERSION;

impl Image {
    /// The records that make this image out of an empty one. `metadata.version` comes first, for it says how the
    /// rest is to be read. Lazily, so that a snapshot never needs a second copy of the state.
    ///
    /// # Panics
    /// Inside of a transaction: such an image is not to be kept.
    pub fn to_records(&self) -> impl Iterator<Item = MetadataRecord<'static>> + '_ {
        assert!(!self.is_in_transaction(), "a snapshot inside of a transaction would keep what may be aborted");
        self.feature_records()
            .chain(self.cluster_records())
            .chain(self.topic_records())
            .chain(self.config_records())
            .chain(self.security.quota_records().map(MetadataRecord::ClientQuota))
            .chain(self.producer_ids_record())
            .chain(self.security.verbatim_records())
    }

    fn feature_records(&self) -> impl Iterator<Item = MetadataRecord<'static>> + '_ {
        let record = |(name, feature_level): (&str, i16)| {
            MetadataRecord::FeatureLevel(FeatureLevelRecord { name: name.to_owned().into(), feature_level })
        };
        let metadata_version = self.features.metadata_version().map(|level| (METADATA_VERSION, level.level()));
        let others = self.features.iter().filter(|(name, _)| *name != METADATA_VERSION);
        metadata_version.into_iter().chain(others).map(record)
    }

    fn cluster_records(&self) -> impl Iterator<Item = MetadataRecord<'static>> + '_ {
        let brokers = self.cluster.brokers().map(|broker| MetadataRecord::RegisterBroker(broker.to_record()));
        let controllers = self.cluster.controllers().map(|node| MetadataRecord::RegisterController(node.to_record()));
        brokers.chain(controllers)
    }

    fn topic_records(&self) -> impl Iterator<Item = MetadataRecord<'static>> + '_ {
        self.topics.iter_by_id().flat_map(|topic| {
            let record = TopicRecord { name: topic.name.to_string().into(), topic_id: topic.id };
            let partitions = topic
                .partitions
                .iter()
                .map(|(id, partition)| MetadataRecord::Partition(partition.to_record(topic.id, *id)));
            std::iter::once(MetadataRecord::Topic(record)).chain(partitions)
        })
    }

    fn config_records(&self) -> impl Iterator<Item = MetadataRecord<'static>> + '_ {
        self.configs.iter().flat_map(|(resource, settings)| {
            settings.iter().map(|(key, value)| {
                MetadataRecord::Config(ConfigRecord {
                    resource_type: resource.kind.id(),
                    resource_name: resource.name.to_string().into(),
                    name: key.clone().into(),
                    value: Some(value.clone().into()),
                })
            })
        })
    }

    fn producer_ids_record(&self) -> impl Iterator<Item = MetadataRecord<'static>> + '_ {
        self.next_producer_id.into_iter().map(|next_producer_id| {
            MetadataRecord::ProducerIds(ProducerIdsRecord { broker_id: -1, broker_epoch: -1, next_producer_id })
        })
    }
}
