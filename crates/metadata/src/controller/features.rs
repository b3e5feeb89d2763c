//! UpdateFeatures: raising and lowering feature levels (KIP-584), all of a request or none.

use std::collections::BTreeMap;

use wire::ErrorCode;
use wire::messages::{FeatureLevelRecord, MetadataRecord};

use super::{Context, Decision, Refusal, configs};
use crate::image::features::{
    ELIGIBLE_LEADER_REPLICAS_VERSION, KRAFT_VERSION, METADATA_VERSION, dependency, supported,
};
use crate::image::{ConfigResource, Image, MetadataVersion, ResourceKind};

/// How a level may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeType {
    /// A number that is none of the others.
    Unknown,
    Upgrade,
    /// Only where nothing is lost.
    SafeDowngrade,
    UnsafeDowngrade,
}

impl UpgradeType {
    pub fn from_id(id: i8) -> Self {
        match id {
            1 => UpgradeType::Upgrade,
            2 => UpgradeType::SafeDowngrade,
            3 => UpgradeType::UnsafeDowngrade,
            _ => UpgradeType::Unknown,
        }
    }
}

/// The level that a feature is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureUpdate {
    pub feature: String,
    pub level: i16,
    pub upgrade: UpgradeType,
}

/// UpdateFeatures. `kraft_version` is the quorum's level: it is not in the image, because it is the quorum that keeps it.
pub fn update_features(
    image: &Image,
    context: &Context<'_>,
    kraft_version: i16,
    updates: &[FeatureUpdate],
    validate_only: bool,
) -> Decision<Result<(), Refusal>> {
    // Of a feature that comes twice the last update counts.
    let last: BTreeMap<&str, &FeatureUpdate> = updates.iter().map(|update| (&*update.feature, update)).collect();
    let mut records = Vec::new();
    for update in updates.iter().filter(|update| std::ptr::eq(*update, last[&*update.feature])) {
        match updated(image, context, kraft_version, &last, update) {
            Ok(None) => {}
            Ok(Some(record)) => {
                let enables_elr = record.name == ELIGIBLE_LEADER_REPLICAS_VERSION && record.feature_level > 0;
                records.push(MetadataRecord::FeatureLevel(record));
                if enables_elr {
                    records.extend(one_min_insync_replicas(image, context));
                }
            }
            Err(refusal) => return Decision::reply(Err(refusal)),
        }
    }
    match validate_only {
        true => Decision::reply(Ok(())),
        false => Decision::new(records, Ok(())),
    }
}

/// The record that makes a change; none where the level is the wanted one.
fn updated(
    image: &Image,
    context: &Context<'_>,
    kraft_version: i16,
    all: &BTreeMap<&str, &FeatureUpdate>,
    update: &FeatureUpdate,
) -> Result<Option<FeatureLevelRecord<'static>>, Refusal> {
    let (name, level) = (update.feature.as_str(), update.level);
    let refuse = |why: String| {
        let text = format!("Invalid update version {level} for feature {name}. {why}");
        Err(Refusal::new(ErrorCode::InvalidUpdateVersion, text))
    };
    let current = match name {
        KRAFT_VERSION => kraft_version,
        _ => image.features.level(name),
    };
    if update.upgrade == UpgradeType::Unknown {
        return refuse("The controller does not support the given upgrade type.".to_owned());
    }
    if level < 0 {
        return refuse("A feature version cannot be less than 0.".to_owned());
    }
    if let Some(why) = not_supported(image, context, name, level) {
        return refuse(why);
    }
    if level < current && update.upgrade == UpgradeType::Upgrade {
        return refuse(
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe \
             downgrade."
                .to_owned(),
        );
    }
    if level > current && update.upgrade != UpgradeType::Upgrade {
        return refuse("Can't downgrade to a newer version.".to_owned());
    }
    if supported(name).is_none() {
        return refuse(format!("Feature {name} not found."));
    }
    match name {
        KRAFT_VERSION if level < current => refuse("Can't downgrade the version of this feature.".to_owned()),
        KRAFT_VERSION if level > current => refuse(
            "This controller's voters are named in its configuration, and moving them into the log is not served yet."
                .to_owned(),
        ),
        METADATA_VERSION if level < current => {
            lowered(MetadataVersion(current), MetadataVersion(level), update.upgrade)
        }
        _ => {
            if let Some((needed, at)) = dependency(name, level) {
                let planned = all.get(needed).map(|other| other.level);
                if planned.unwrap_or_else(|| image.features.level(needed)) < at {
                    let text = format!("{name} could not be set to {level} because it depends on {needed} level {at}");
                    return Err(Refusal::new(ErrorCode::InvalidUpdateVersion, text));
                }
            }
            let record = FeatureLevelRecord { name: name.to_owned().into(), feature_level: level };
            Ok((level != current).then_some(record))
        }
    }
}

/// `metadata.version` goes down only where no record or field would be lost by it.
fn lowered(
    from: MetadataVersion,
    to: MetadataVersion,
    upgrade: UpgradeType,
) -> Result<Option<FeatureLevelRecord<'static>>, Refusal> {
    if from.loses_metadata_down_to(to) {
        let why = match upgrade {
            UpgradeType::UnsafeDowngrade => "Unsafe metadata downgrade is not supported in this version.",
            _ => "Refusing to perform the requested downgrade because it might delete metadata information.",
        };
        let text = format!("Unsupported metadata.version downgrade from {} to {}. {why}", from.level(), to.level());
        return Err(Refusal::new(ErrorCode::InvalidUpdateVersion, text));
    }
    Ok(Some(FeatureLevelRecord { name: METADATA_VERSION.into(), feature_level: to.level() }))
}

/// Who cannot work with a level, if anybody: this controller, another one, or a broker. Nobody minds level 0 of what it
/// does not know.
fn not_supported(image: &Image, context: &Context<'_>, name: &str, level: i16) -> Option<String> {
    let reason = |who: String, range: Option<(i16, i16)>| match range {
        Some((min, max)) if (min..=max).contains(&level) => None,
        Some((min, max)) => Some(format!("{who} only supports versions {min}-{max}")),
        None if level == 0 => None,
        None => Some(format!("{who} does not support this feature.")),
    };
    let of = |all: &[crate::image::SupportedFeature]| {
        all.iter().find(|feature| feature.name == name).map(|feature| (feature.min, feature.max))
    };
    let own = context.settings.node_id;
    reason(format!("Local controller {own}"), supported(name))
        .or_else(|| {
            let mut others = image.cluster.controllers().filter(|controller| controller.id != own);
            others.find_map(|controller| reason(format!("Controller {}", controller.id), of(&controller.features)))
        })
        .or_else(|| {
            let mut brokers = image.cluster.brokers();
            brokers.find_map(|broker| reason(format!("Broker {}", broker.id), of(&broker.features)))
        })
}

/// Eligible leader replicas need one `min.insync.replicas` for all: the cluster's, and no broker's own (KIP-966).
fn one_min_insync_replicas(image: &Image, context: &Context<'_>) -> Vec<MetadataRecord<'static>> {
    let mut records = Vec::new();
    let cluster = ConfigResource::default_broker();
    if image.configs.value(&cluster, configs::MIN_INSYNC_REPLICAS).is_none() {
        let value = context.settings.fixed_min_insync_replicas().to_string();
        records.push(MetadataRecord::Config(configs::record(&cluster, configs::MIN_INSYNC_REPLICAS, Some(&value))));
    }
    for (resource, settings) in image.configs.iter() {
        let is_broker = resource.kind == ResourceKind::Broker && *resource != cluster;
        if is_broker && settings.contains_key(configs::MIN_INSYNC_REPLICAS) {
            records.push(MetadataRecord::Config(configs::record(resource, configs::MIN_INSYNC_REPLICAS, None)));
        }
    }
    records
}
