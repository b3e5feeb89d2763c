//! DeleteGroups (42), versions 0–2 (2: flexible): groups that nobody is in, with their offsets (KIP-229).

use super::{Close, Cx, Reply};
use coordinator::{Reply as Answer, Request};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use wire::ErrorCode;
use wire::messages::delete_groups_request::DeleteGroupsRequest;
use wire::messages::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};

pub const VERSIONS: RangeInclusive<i16> = 0..=2;

pub async fn handle(cx: &Cx<'_>, request: DeleteGroupsRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let groups: BTreeSet<String> = request.groups_names.iter().map(|group_id| group_id.to_string()).collect();
    let mut results = Vec::with_capacity(groups.len());
    for group_id in groups {
        let delete = Request::DeleteGroups(vec![group_id.clone()]);
        let error = match cx.node.groups.ask(cx.node, &group_id, delete).await {
            Ok(Answer::DeleteGroups(deleted)) => deleted.first().map_or(ErrorCode::None, |(_, error)| *error),
            Ok(_) => ErrorCode::UnknownServerError,
            Err(error) => error,
        };
        results.push(DeletableGroupResult { group_id: group_id.into(), error_code: error.code() });
    }
    reply.send(&DeleteGroupsResponse { results: results.into(), ..Default::default() })
}
