//! LeaveGroup (13), versions 0–5: members leave, or are removed by an administrator.
//!
//! Versions: 3 several members at once, static ones by their instance (KIP-345), 4 flexible, 5 reason (KIP-800).

use super::{Close, Cx, Reply};
use coordinator::request::{LeaveReply, LeaveRequest, LeavingMember};
use coordinator::{Reply as Answer, Request};
use std::ops::RangeInclusive;
use wire::ErrorCode;
use wire::messages::leave_group_request::LeaveGroupRequest;
use wire::messages::leave_group_response::{LeaveGroupResponse, MemberResponse};

pub const VERSIONS: RangeInclusive<i16> = 0..=5;

const SEVERAL_MEMBERS_VERSION: i16 = 3;

pub async fn handle(cx: &Cx<'_>, request: LeaveGroupRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let several = cx.version() >= SEVERAL_MEMBERS_VERSION;
    let members = match several {
        true => request
            .members
            .iter()
            .map(|member| LeavingMember {
                member_id: member.member_id.to_string(),
                instance_id: member.group_instance_id.as_deref().map(Into::into),
            })
            .collect(),
        false => vec![LeavingMember { member_id: request.member_id.to_string(), instance_id: None }],
    };
    let leave = Request::Leave(LeaveRequest { group_id: request.group_id.to_string(), members });
    let left = match cx.node.groups.ask(cx.node, &request.group_id, leave).await {
        Ok(Answer::Leave(left)) => left,
        Ok(_) => LeaveReply { error: ErrorCode::UnknownServerError, members: Vec::new() },
        Err(error) => LeaveReply { error, members: Vec::new() },
    };
    if !several {
        // The one member's error is that of the request.
        let error = left.members.first().map_or(left.error, |(_, error)| *error);
        return reply.send(&LeaveGroupResponse { error_code: error.code(), ..Default::default() });
    }
    let members = left.members.into_iter().map(|(member, error)| MemberResponse {
        member_id: member.member_id.into(),
        group_instance_id: member.instance_id.map(Into::into),
        error_code: error.code(),
    });
    reply.send(&LeaveGroupResponse { error_code: left.error.code(), members: members.collect(), ..Default::default() })
}
