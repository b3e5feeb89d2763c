//! PushTelemetry (72), version 0: a client's metrics (KIP-714).

use super::get_telemetry_subscriptions::client;
use super::{Close, Cx, Reply};
use std::ops::RangeInclusive;
use wire::messages::push_telemetry_request::PushTelemetryRequest;
use wire::messages::push_telemetry_response::PushTelemetryResponse;
use wire::records::Codec;
use wire::{ErrorCode, Uuid};

pub const VERSIONS: RangeInclusive<i16> = 0..=0;

pub async fn handle(cx: &Cx<'_>, request: PushTelemetryRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let id = request.client_instance_id;
    if id == Uuid::ZERO || id == Uuid::ONE {
        return answer(reply, Err(ErrorCode::InvalidRequest));
    }
    let (node, client) = (cx.node.clone(), client(cx, id));
    let about = (request.subscription_id, request.terminating);
    let codec = u8::try_from(request.compression_type).ok().and_then(Codec::from_id);
    // What is too large is refused, and not copied for it.
    let bytes = request.metrics.get(..node.telemetry.max_bytes() + 1).unwrap_or(&request.metrics).to_vec();
    // Decompressing and reading a megabyte takes a while.
    let push = move || node.telemetry.push(&node.image(), id, &client, about, codec, &bytes);
    answer(reply, cx.node.runtime.spawn_blocking(push).await.unwrap_or(Err(ErrorCode::UnknownServerError)))
}

fn answer(reply: &mut Reply<'_>, result: Result<(), ErrorCode>) -> Result<(), Close> {
    let error_code = result.err().unwrap_or(ErrorCode::None).code();
    reply.send(&PushTelemetryResponse { throttle_time_ms: 0, error_code })
}
