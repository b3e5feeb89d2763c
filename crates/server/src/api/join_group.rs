//! JoinGroup (11), versions 0–9: enters a group of the classic protocol, and waits for its next generation.
//!
//! Versions: 1 rebalance timeout, 4 members must know their id first (KIP-394), 5 static members (KIP-345), 6 flexible,
//! 7 protocol type in the answer, 8 reason (KIP-800), 9 leaders may skip the assignment (KIP-814).

use super::{Close, Cx, Reply};
use coordinator::request::{JoinReply, JoinRequest, Protocol};
use coordinator::{Reply as Answer, Request};
use std::ops::RangeInclusive;
use std::sync::Arc;
use wire::ErrorCode;
use wire::messages::join_group_request::JoinGroupRequest;
use wire::messages::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};

pub const VERSIONS: RangeInclusive<i16> = 0..=9;

/// Until then the name of the protocol cannot be null.
const NULLABLE_PROTOCOL_VERSION: i16 = 7;

pub async fn handle(cx: &Cx<'_>, request: JoinGroupRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let protocols = request
        .protocols
        .iter()
        .map(|protocol| Protocol { name: Arc::from(&*protocol.name), metadata: Arc::from(&*protocol.metadata) });
    let join = JoinRequest {
        version: cx.version(),
        group_id: request.group_id.to_string(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.as_deref().map(Into::into),
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols.collect(),
        client_id: cx.header.client_id.as_deref().unwrap_or("").to_owned(),
        client_host: format!("/{}", cx.peer.address.ip().to_canonical()),
        random: cx.node.groups.random_id(),
    };
    let joined = match cx.node.groups.ask(cx.node, &request.group_id, Request::Join(join)).await {
        Ok(Answer::Join(joined)) => joined,
        Ok(_) => JoinReply::refused(ErrorCode::UnknownServerError, &request.member_id),
        Err(error) => JoinReply::refused(error, &request.member_id),
    };
    let members = joined.members.iter().map(|member| JoinGroupResponseMember {
        member_id: (*member.member_id).into(),
        group_instance_id: member.instance_id.as_deref().map(Into::into),
        metadata: (&*member.metadata).into(),
    });
    let mut protocol_name = joined.protocol.as_deref().map(Into::into);
    if cx.version() < NULLABLE_PROTOCOL_VERSION {
        protocol_name.get_or_insert_default();
    }
    reply.send(&JoinGroupResponse {
        error_code: joined.error.code(),
        generation_id: joined.generation,
        protocol_type: joined.protocol_type.as_deref().map(Into::into),
        protocol_name,
        leader: (*joined.leader).into(),
        skip_assignment: joined.skip_assignment,
        member_id: (*joined.member_id).into(),
        members: members.collect(),
        ..Default::default()
    })
}
