//! What a controller writes when it becomes the active one.

use wire::messages::{
    AbortTransactionRecord, BeginTransactionRecord, EndTransactionRecord, FeatureLevelRecord, MetadataRecord,
};

use super::{Context, configs};
use crate::image::features::{self, ELIGIBLE_LEADER_REPLICAS_VERSION, KRAFT_VERSION, METADATA_VERSION};
use crate::image::{ConfigResource, Image, MetadataVersion};

/// The records with which Kafka 4.3 begins a cluster: the feature levels of its release.
pub fn default_bootstrap_records() -> Vec<MetadataRecord<'static>> {
    let level = |feature: &&'static str| (*feature, features::level_in_release(feature, MetadataVersion::LATEST));
    bootstrap_records(MetadataVersion::LATEST, features::BESIDE_METADATA_VERSION.iter().map(level))
}

/// The records with which a cluster begins at these levels: `metadata.version`, then the others by name, without those
/// at level 0. `kraft.version` is the quorum's, and not among them.
pub fn bootstrap_records(
    metadata_version: MetadataVersion,
    levels: impl IntoIterator<Item = (&'static str, i16)>,
) -> Vec<MetadataRecord<'static>> {
    let mut others: Vec<(&'static str, i16)> = levels
        .into_iter()
        .filter(|(name, level)| *level > 0 && ![METADATA_VERSION, KRAFT_VERSION].contains(name))
        .collect();
    others.sort_unstable();
    let record = |(name, feature_level): (&'static str, i16)| {
        MetadataRecord::FeatureLevel(FeatureLevelRecord { name: name.into(), feature_level })
    };
    [(METADATA_VERSION, metadata_version.level())].into_iter().chain(others).map(record).collect()
}

/// An empty log gets the bootstrap records, in a transaction where they can be; an open transaction of a controller
/// that is gone is aborted. Everything else is as it was left.
pub fn activation_records(
    image: &Image,
    context: &Context<'_>,
    bootstrap: &[MetadataRecord<'static>],
) -> Vec<MetadataRecord<'static>> {
    let mut records = Vec::new();
    // A transaction that is aborted leaves the image as it was before it.
    let mut before = image;
    if let Some(unaborted) = image.before_transaction() {
        let reason = Some("Controller failover".into());
        records.push(MetadataRecord::AbortTransaction(AbortTransactionRecord { reason }));
        before = unaborted;
    }
    if !before.is_empty() {
        return records;
    }
    let level_of = |wanted: &str| {
        bootstrap.iter().find_map(|record| match record {
            MetadataRecord::FeatureLevel(feature) if feature.name == wanted => Some(feature.feature_level),
            _ => None,
        })
    };
    let in_transaction = level_of(METADATA_VERSION).is_some_and(|level| MetadataVersion(level).has_transactions());
    if in_transaction {
        let name = Some("Bootstrap records".into());
        records.push(MetadataRecord::BeginTransaction(BeginTransactionRecord { name }));
    }
    records.extend(bootstrap.iter().cloned());
    if level_of(ELIGIBLE_LEADER_REPLICAS_VERSION).is_some_and(|level| level >= 1) {
        // Eligible leader replicas need one min.insync.replicas for all: the cluster's.
        let value = context.settings.fixed_min_insync_replicas().to_string();
        let record = configs::record(&ConfigResource::default_broker(), configs::MIN_INSYNC_REPLICAS, Some(&value));
        records.push(MetadataRecord::Config(record));
    }
    if in_transaction {
        records.push(MetadataRecord::EndTransaction(EndTransactionRecord {}));
    }
    records
}
