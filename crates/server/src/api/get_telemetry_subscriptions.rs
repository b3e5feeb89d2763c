//! GetTelemetrySubscriptions (71), version 0: which metrics a client is to push, and how often (KIP-714).
//!
//! A client that comes without an instance id gets one. Advertised always: the broker takes the metrics itself.

use super::{Close, Cx, Reply};
use crate::chance;
use crate::telemetry::CODECS;
use metadata::config::client_metrics::Client;
use std::ops::RangeInclusive;
use wire::Uuid;
use wire::messages::get_telemetry_subscriptions_request::GetTelemetrySubscriptionsRequest;
use wire::messages::get_telemetry_subscriptions_response::GetTelemetrySubscriptionsResponse;

pub const VERSIONS: RangeInclusive<i16> = 0..=0;

pub async fn handle(
    cx: &Cx<'_>,
    request: GetTelemetrySubscriptionsRequest,
    reply: &mut Reply<'_>,
) -> Result<(), Close> {
    let telemetry = &cx.node.telemetry;
    let id = match request.client_instance_id {
        Uuid::ZERO => chance::uuid(),
        id => id,
    };
    let asked = match telemetry.get(&cx.node.image(), id, &client(cx, id)) {
        Ok(asked) => asked,
        Err(error) => {
            return reply.send(&GetTelemetrySubscriptionsResponse { error_code: error.code(), ..Default::default() });
        }
    };
    reply.send(&GetTelemetrySubscriptionsResponse {
        throttle_time_ms: 0,
        error_code: 0,
        client_instance_id: id,
        subscription_id: asked.subscription_id,
        accepted_compression_types: CODECS.iter().map(|codec| codec.id() as i8).collect(),
        push_interval_ms: asked.interval_ms,
        telemetry_max_bytes: telemetry.max_bytes() as i32,
        delta_temporality: true,
        requested_metrics: asked.metrics.into_iter().map(Into::into).collect(),
    })
}

/// The client behind a request, as subscriptions see it.
pub(super) fn client(cx: &Cx<'_>, id: Uuid) -> Client {
    const UNKNOWN: &str = "unknown";
    let (software_name, software_version) = cx.peer.connection.software().unwrap_or((UNKNOWN, UNKNOWN));
    Client {
        instance_id: id.to_string(),
        id: cx.header.client_id.as_deref().map(str::to_owned),
        software_name: software_name.to_owned(),
        software_version: software_version.to_owned(),
        source_address: cx.peer.address.ip().to_canonical().to_string(),
        source_port: cx.peer.address.port().to_string(),
    }
}
