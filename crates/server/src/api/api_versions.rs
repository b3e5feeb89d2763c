//! ApiVersions (18), versions 0–4: what this broker serves, and the cluster's features.
//!
//! A client may ask with a version that is not known here: it is answered with version 0, UNSUPPORTED_VERSION and the
//! ranges, so that it can ask again. Version 3 is flexible and names the client's software (KIP-511).

use super::{Close, Cx, Reply, Scope, served};
use ::metadata::image::features;
use std::ops::RangeInclusive;
use wire::ErrorCode;
use wire::messages::api_versions_request::ApiVersionsRequest;
use wire::messages::api_versions_response::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};

pub const VERSIONS: RangeInclusive<i16> = 0..=4;

pub async fn handle(cx: &Cx<'_>, request: ApiVersionsRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    if cx.version() >= 3
        && !(is_software(&request.client_software_name) && is_software(&request.client_software_version))
    {
        return reply.send(&ApiVersionsResponse { error_code: ErrorCode::InvalidRequest.code(), ..Default::default() });
    }
    if cx.version() >= 3 {
        cx.peer.connection.is_of(&request.client_software_name, &request.client_software_version);
    }
    let image = cx.node.image();
    let kraft_version = cx.node.controller.leader().kraft_version;
    reply.send(&ApiVersionsResponse {
        error_code: 0,
        api_keys: ranges(cx.peer.scope()),
        supported_features: features::SUPPORTED
            .iter()
            // Before version 4 a minimum of 0 could not be said.
            .filter(|(_, min, _)| cx.version() >= 4 || *min > 0)
            .map(|(name, min, max)| SupportedFeatureKey { name: (*name).into(), min_version: *min, max_version: *max })
            .collect(),
        finalized_features_epoch: image.offset,
        finalized_features: image
            .features
            .iter()
            .chain((kraft_version > 0).then_some((features::KRAFT_VERSION, kraft_version)))
            .map(|(name, level)| FinalizedFeatureKey {
                name: name.to_string().into(),
                max_version_level: level,
                min_version_level: level,
            })
            .collect(),
        ..Default::default()
    })
}

/// The answer to a version that is not served.
pub fn unsupported(scope: Scope) -> ApiVersionsResponse<'static> {
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: ranges(scope),
        ..Default::default()
    }
}

fn ranges<'a>(scope: Scope) -> wire::codec::Array<'a, ApiVersion> {
    served(scope)
        .map(|(key, versions)| ApiVersion {
            api_key: key as i16,
            min_version: *versions.start(),
            max_version: *versions.end(),
            ..Default::default()
        })
        .collect()
}

/// What KIP-511 allows in a software's name and version.
fn is_software(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.chars().all(inner) && edge(name.chars().next()) && edge(name.chars().last())
}

#[cfg(test)]
mod tests {
    use super::is_software;

    #[test]
    fn software_names_follow_kip_511() {
        assert!(is_software("apache-kafka-java") && is_software("4.3.1") && is_software("x"));
        for bad in ["", "-a", "a-", "a b", "ä", ".a", "a_b"] {
            assert!(!is_software(bad), "{bad}");
        }
    }
}
