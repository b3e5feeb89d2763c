//! Feature levels (KIP-584): what there is, and changing them.

use wire::ErrorCode;
use wire::messages::update_features_request::FeatureUpdateKey;
use wire::messages::{ApiVersionsRequest, ApiVersionsResponse, UpdateFeaturesRequest, UpdateFeaturesResponse};

use super::Admin;
use crate::{Error, To};

/// The levels of a feature that a node can work with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureRange {
    pub name: String,
    pub min: i16,
    pub max: i16,
}

/// The level that holds for a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalizedFeature {
    pub name: String,
    pub level: i16,
}

/// What a node tells of features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    pub supported: Vec<FeatureRange>,
    pub finalized: Vec<FinalizedFeature>,
    /// Which state of the cluster this is; `None` where the node knows none.
    pub epoch: Option<i64>,
}

/// How a level may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum UpgradeType {
    Upgrade = 1,
    /// Only where nothing is lost.
    SafeDowngrade = 2,
    UnsafeDowngrade = 3,
}

impl Admin {
    /// The features of the node with this id, or of whichever answers.
    pub async fn features(&self, node: Option<i32>) -> Result<Features, Error> {
        let build = |_| {
            let client_software_name = "klamm".into();
            let client_software_version = env!("CARGO_PKG_VERSION").into();
            Ok(ApiVersionsRequest { client_software_name, client_software_version, ..Default::default() })
        };
        let read = |reply: &crate::Reply| {
            let response: ApiVersionsResponse<'_> = reply.decode()?;
            Error::check(ErrorCode::from_code(response.error_code), None)?;
            let supported = response.supported_features.iter().map(|f| FeatureRange {
                name: f.name.to_string(),
                min: f.min_version,
                max: f.max_version,
            });
            let finalized = response
                .finalized_features
                .iter()
                .map(|f| FinalizedFeature { name: f.name.to_string(), level: f.max_version_level });
            Ok(Features {
                supported: supported.collect(),
                finalized: finalized.collect(),
                epoch: Some(response.finalized_features_epoch).filter(|epoch| *epoch >= 0),
            })
        };
        let to = node.map_or(To::AnyOrLeader, To::Node);
        self.client.send(&to, "describeFeatures", build, read).await
    }

    /// Changes levels, all or none: the outer error says that nothing is known of the outcome, the inner one that nothing
    /// was changed, and why.
    pub async fn update_features(
        &self,
        updates: &[(String, i16, UpgradeType)],
        validate_only: bool,
    ) -> Result<Result<(), Error>, Error> {
        let timeout_ms = self.timeout_ms();
        let build = |version: i16| {
            if version == 0 && (validate_only || updates.iter().any(|u| u.2 == UpgradeType::UnsafeDowngrade)) {
                let why = "UpdateFeatures of version 0 knows neither dry runs nor unsafe downgrades";
                return Err(Error::Unsupported(why.to_owned()));
            }
            let updates = updates.iter().map(|(name, level, upgrade)| FeatureUpdateKey {
                feature: name.as_str().into(),
                max_version_level: *level,
                allow_downgrade: version == 0 && *upgrade != UpgradeType::Upgrade,
                upgrade_type: if version == 0 { 1 } else { *upgrade as i8 },
            });
            Ok(UpdateFeaturesRequest { timeout_ms, feature_updates: updates.collect(), validate_only })
        };
        let read = |reply: &crate::Reply| {
            let response: UpdateFeaturesResponse<'_> = reply.decode()?;
            let code = ErrorCode::from_code(response.error_code);
            if code == ErrorCode::NotController {
                return Err(Error::code(code));
            }
            let mut results = vec![Error::check(code, response.error_message.as_deref())];
            results.extend(
                response
                    .results
                    .iter()
                    .map(|r| Error::check(ErrorCode::from_code(r.error_code), r.error_message.as_deref())),
            );
            Ok(results.into_iter().find(Result::is_err).unwrap_or(Ok(())))
        };
        self.client.send(&To::AnyOrLeader, "updateFeatures", build, read).await
    }
}
