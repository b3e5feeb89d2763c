//! DescribeGroups (15), versions 0–6: groups of the classic protocol and their members.
//!
//! Versions: 3 authorized operations (KIP-430), 4 static members (KIP-345), 5 flexible, 6 an error for groups that do not
//! exist, which were shown as dead before (KIP-1043).

use super::{Close, Cx, Reply, operations};
use coordinator::{DescribedGroup as Described, GroupState};
use std::ops::RangeInclusive;
use wire::ErrorCode;
use wire::messages::describe_groups_request::DescribeGroupsRequest;
use wire::messages::describe_groups_response::{DescribeGroupsResponse, DescribedGroup, DescribedGroupMember};

pub const VERSIONS: RangeInclusive<i16> = 0..=6;

const NOT_FOUND_VERSION: i16 = 6;

pub async fn handle(cx: &Cx<'_>, request: DescribeGroupsRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let mut described = Vec::with_capacity(request.groups.len());
    for group_id in &request.groups {
        let group = cx.node.groups.describe(cx.node, &group_id).await;
        described.push((group_id.to_string(), group));
    }
    let groups = described.iter().map(|(group_id, group)| match group {
        Ok(group) => answer(cx, group_id, group, request.include_authorized_operations),
        Err(error) => DescribedGroup {
            error_code: error.code(),
            group_id: group_id.into(),
            authorized_operations: operations::NOT_ASKED,
            ..Default::default()
        },
    });
    reply.send(&DescribeGroupsResponse { groups: groups.collect(), ..Default::default() })
}

fn answer<'a>(cx: &Cx<'_>, group_id: &'a str, group: &'a Described, with_operations: bool) -> DescribedGroup<'a> {
    let text = |text: &'a Option<std::sync::Arc<str>>| text.as_deref().unwrap_or("").into();
    let members = group.members.iter().map(|member| DescribedGroupMember {
        member_id: (*member.member_id).into(),
        group_instance_id: member.instance_id.as_deref().map(Into::into),
        client_id: (*member.client_id).into(),
        client_host: (*member.client_host).into(),
        member_metadata: (&*member.metadata).into(),
        member_assignment: (&*member.assignment).into(),
    });
    let error = match group.state {
        GroupState::Dead if cx.version() < NOT_FOUND_VERSION => ErrorCode::None,
        _ => group.error,
    };
    DescribedGroup {
        error_code: error.code(),
        error_message: group.message.as_deref().filter(|_| error != ErrorCode::None).map(Into::into),
        group_id: group_id.into(),
        group_state: group.state.name().into(),
        protocol_type: text(&group.protocol_type),
        protocol_data: text(&group.protocol),
        members: members.collect(),
        authorized_operations: match with_operations && error == ErrorCode::None {
            true => operations::GROUP,
            false => operations::NOT_ASKED,
        },
    }
}
