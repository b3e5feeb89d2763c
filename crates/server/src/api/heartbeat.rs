//! Heartbeat (12), versions 0–4: a member of a group is alive, and learns of rebalances.
//!
//! Versions: 3 static members (KIP-345), 4 flexible.

use super::{Close, Cx, Reply};
use coordinator::request;
use coordinator::{Reply as Answer, Request};
use std::ops::RangeInclusive;
use wire::ErrorCode;
use wire::messages::heartbeat_request::HeartbeatRequest;
use wire::messages::heartbeat_response::HeartbeatResponse;

pub const VERSIONS: RangeInclusive<i16> = 0..=4;

pub async fn handle(cx: &Cx<'_>, request: HeartbeatRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let heartbeat = Request::Heartbeat(request::HeartbeatRequest {
        group_id: request.group_id.to_string(),
        generation: request.generation_id,
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.as_deref().map(Into::into),
    });
    let error = match cx.node.groups.ask(cx.node, &request.group_id, heartbeat).await {
        Ok(Answer::Heartbeat(error)) | Err(error) => error,
        Ok(_) => ErrorCode::UnknownServerError,
    };
    reply.send(&HeartbeatResponse { error_code: error.code(), ..Default::default() })
}
