//! UpdateFeatures (57), versions 0–2: raises or lowers feature levels (KIP-584), all or none.

use super::{Close, Cx, Reply, in_time};
use metadata::controller::{FeatureUpdate, UpgradeType};
use std::ops::RangeInclusive;
use wire::messages::update_features_request::UpdateFeaturesRequest;
use wire::messages::update_features_response::{UpdatableFeatureResult, UpdateFeaturesResponse};

pub const VERSIONS: RangeInclusive<i16> = 0..=2;

pub async fn handle(cx: &Cx<'_>, request: UpdateFeaturesRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let has_upgrade_type = cx.version() >= 1;
    let updates: Vec<FeatureUpdate> = request
        .feature_updates
        .iter()
        .map(|update| FeatureUpdate {
            feature: update.feature.to_string(),
            level: update.max_version_level,
            upgrade: match (has_upgrade_type, update.allow_downgrade) {
                (true, _) => UpgradeType::from_id(update.upgrade_type),
                (false, true) => UpgradeType::SafeDowngrade,
                (false, false) => UpgradeType::Upgrade,
            },
        })
        .collect();
    let names: Vec<String> = updates.iter().map(|update| update.feature.clone()).collect();
    let kraft_version = cx.node.controller.leader().kraft_version;
    let asked = cx.node.controller.update_features(updates, kraft_version, request.validate_only);
    let refusal = match in_time(cx.node, request.timeout_ms, asked).await {
        Ok(Ok(())) => None,
        Ok(Err(refusal)) => {
            let why = refusal.message.unwrap_or_default();
            Some((
                refusal.code,
                format!("The update failed for all features since the following feature had an error: {why}"),
            ))
        }
        Err(refusal) => Some((refusal.code, refusal.message.unwrap_or_default())),
    };
    let results = match refusal {
        None => names
            .into_iter()
            .map(|name| UpdatableFeatureResult { feature: name.into(), ..Default::default() })
            .collect(),
        Some(_) => Default::default(),
    };
    let (error_code, error_message) = match refusal {
        None => (0, None),
        Some((code, message)) => (code.code(), Some(message.into())),
    };
    reply.send(&UpdateFeaturesResponse { error_code, error_message, results, ..Default::default() })
}
