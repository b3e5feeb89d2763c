//! ListGroups (16), versions 0–5: the groups that this broker coordinates.
//!
//! Versions: 3 flexible, 4 states, as a filter and in the answer (KIP-518), 5 types, likewise (KIP-848).

use super::{Close, Cx, Reply};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use wire::codec::{Array, Str};
use wire::messages::list_groups_request::ListGroupsRequest;
use wire::messages::list_groups_response::{ListGroupsResponse, ListedGroup};

pub const VERSIONS: RangeInclusive<i16> = 0..=5;

pub async fn handle(cx: &Cx<'_>, request: ListGroupsRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let (states, types) = (filter(&request.states_filter), filter(&request.types_filter));
    let passes = |filter: &BTreeSet<String>, name: &str| filter.is_empty() || filter.contains(&name.to_lowercase());
    let groups = match cx.node.groups.list().await {
        Ok(groups) => groups,
        Err(error) => return reply.send(&ListGroupsResponse { error_code: error.code(), ..Default::default() }),
    };
    let listed = groups
        .iter()
        .filter(|group| passes(&states, group.state.name()) && passes(&types, group.kind.name()))
        .map(|group| ListedGroup {
            group_id: (*group.group_id).into(),
            protocol_type: (*group.protocol_type).into(),
            group_state: group.state.name().into(),
            group_type: group.kind.name().into(),
        });
    reply.send(&ListGroupsResponse { groups: listed.collect(), ..Default::default() })
}

/// Names are compared without case.
fn filter(names: &Array<'_, Str<'_>>) -> BTreeSet<String> {
    names.iter().map(|name| name.trim().to_lowercase()).collect()
}
