//! UpdateRaftVoter (82), version 0, on controllers' listeners: a voter says where it can be reached and which levels of
//! `kraft.version` it knows (KIP-853).

use super::{Close, Cx, Reply};
use crate::quorum::{Request, convert};
use std::ops::RangeInclusive;
use wire::ErrorCode;
use wire::messages::{UpdateRaftVoterRequest, UpdateRaftVoterResponse};

pub const VERSIONS: RangeInclusive<i16> = 0..=0;

pub async fn handle(cx: &Cx<'_>, request: UpdateRaftVoterRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let refused = |code: ErrorCode| UpdateRaftVoterResponse { error_code: code.code(), ..Default::default() };
    if !cx.is_of_this_cluster(request.cluster_id.as_deref()) {
        return reply.send(&refused(ErrorCode::InconsistentClusterId));
    }
    let update = convert::read_voter_update(&request);
    match cx.node.controller.ask(|reply| Request::UpdateVoter { update, reply }).await {
        Ok(known) => reply.send(&convert::voter_update_reply(&known, cx.leader_address(0))),
        Err(_) => reply.send(&refused(ErrorCode::BrokerNotAvailable)),
    }
}
