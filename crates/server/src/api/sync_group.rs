//! SyncGroup (14), versions 0–5: the leader hands in the assignment, everybody gets theirs.
//!
//! Versions: 3 static members (KIP-345), 4 flexible, 5 protocol type and name, which are mandatory then (KIP-559).

use super::{Close, Cx, Reply};
use coordinator::request::{SyncReply, SyncRequest};
use coordinator::{Reply as Answer, Request};
use std::ops::RangeInclusive;
use std::sync::Arc;
use wire::ErrorCode;
use wire::messages::sync_group_request::SyncGroupRequest;
use wire::messages::sync_group_response::SyncGroupResponse;

pub const VERSIONS: RangeInclusive<i16> = 0..=5;

const MANDATORY_PROTOCOL_VERSION: i16 = 5;

pub async fn handle(cx: &Cx<'_>, request: SyncGroupRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let synced = match sync(cx, &request).await {
        Ok(synced) => synced,
        Err(error) => SyncReply::refused(error),
    };
    reply.send(&SyncGroupResponse {
        error_code: synced.error.code(),
        protocol_type: synced.protocol_type.as_deref().map(Into::into),
        protocol_name: synced.protocol.as_deref().map(Into::into),
        assignment: (&*synced.assignment).into(),
        ..Default::default()
    })
}

async fn sync(cx: &Cx<'_>, request: &SyncGroupRequest<'_>) -> Result<SyncReply, ErrorCode> {
    let named = request.protocol_type.is_some() && request.protocol_name.is_some();
    if cx.version() >= MANDATORY_PROTOCOL_VERSION && !named {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    let assignments = request.assignments.iter().map(|a| (a.member_id.to_string(), Arc::from(&*a.assignment)));
    let sync = SyncRequest {
        group_id: request.group_id.to_string(),
        generation: request.generation_id,
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.as_deref().map(Into::into),
        protocol_type: request.protocol_type.as_deref().map(Into::into),
        protocol: request.protocol_name.as_deref().map(Into::into),
        assignments: assignments.collect(),
    };
    match cx.node.groups.ask(cx.node, &request.group_id, Request::Sync(sync)).await? {
        Answer::Sync(synced) => Ok(synced),
        _ => Err(ErrorCode::UnknownServerError),
    }
}
