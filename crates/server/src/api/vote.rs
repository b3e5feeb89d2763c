//! Vote (52), versions 0–2, on controllers' listeners: a candidate asks for this node's vote (KIP-595). Version 1 names
//! directories (KIP-853), 2 can ask beforehand (KIP-996).

use super::{Close, Cx, Reply};
use crate::quorum::{Request, convert};
use std::ops::RangeInclusive;
use wire::ErrorCode;
use wire::messages::{VoteRequest, VoteResponse};

pub const VERSIONS: RangeInclusive<i16> = 0..=2;
/// Answers say from this version on where the leader can be reached (KIP-853).
const ENDPOINTS_FROM: i16 = 1;

pub async fn handle(cx: &Cx<'_>, request: VoteRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let refused = |code: ErrorCode| VoteResponse { error_code: code.code(), ..Default::default() };
    if !cx.is_of_this_cluster(request.cluster_id.as_deref()) {
        return reply.send(&refused(ErrorCode::InconsistentClusterId));
    }
    let Some(request) = convert::read_vote_request(&request) else {
        return reply.send(&refused(ErrorCode::InvalidRequest));
    };
    match cx.node.controller.ask(|reply| Request::Vote { request, reply }).await {
        Ok(answer) => reply.send(&convert::vote_reply(&answer, cx.leader_address(ENDPOINTS_FROM))),
        Err(_) => reply.send(&refused(ErrorCode::BrokerNotAvailable)),
    }
}
