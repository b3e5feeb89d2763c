//! ListConfigResources (74), versions 0–1: the resources that can have settings (KIP-1142). Version 0 was
//! ListClientMetricsResources and lists those only.

use std::ops::RangeInclusive;

use metadata::controller::list_config_resources;
use metadata::image::ResourceKind;
use wire::ErrorCode;
use wire::messages::list_config_resources_request::ListConfigResourcesRequest;
use wire::messages::list_config_resources_response::{ConfigResource, ListConfigResourcesResponse};

use super::{Close, Cx, Reply};

pub const VERSIONS: RangeInclusive<i16> = 0..=1;

pub async fn handle(cx: &Cx<'_>, request: ListConfigResourcesRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let kinds: Option<Vec<ResourceKind>> = match cx.version() {
        0 => Some(vec![ResourceKind::ClientMetrics]),
        _ => request.resource_types.values().map(ResourceKind::from_id).collect(),
    };
    let Some(kinds) = kinds else {
        let error_code = ErrorCode::UnsupportedVersion.code();
        return reply.send(&ListConfigResourcesResponse { error_code, ..Default::default() });
    };
    // The defaults of all brokers are a resource without a name, which Kafka does not list.
    let resources = list_config_resources(&cx.node.image(), &kinds).into_iter().filter(|r| !r.name.is_empty());
    let config_resources = resources.map(|resource| ConfigResource {
        resource_type: resource.kind.id(),
        resource_name: resource.name.to_string().into(),
    });
    reply.send(&ListConfigResourcesResponse { config_resources: config_resources.collect(), ..Default::default() })
}
