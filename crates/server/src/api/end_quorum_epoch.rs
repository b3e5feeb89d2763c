//! EndQuorumEpoch (54), versions 0–1, on controllers' listeners: the leader of an epoch gives up, and names who should
//! follow it (KIP-595).

use super::{Close, Cx, Reply};
use crate::quorum::{Request, convert};
use std::ops::RangeInclusive;
use wire::ErrorCode;
use wire::messages::{EndQuorumEpochRequest, EndQuorumEpochResponse};

pub const VERSIONS: RangeInclusive<i16> = 0..=1;
/// Answers say from this version on where the leader can be reached (KIP-853).
const ENDPOINTS_FROM: i16 = 1;

pub async fn handle(cx: &Cx<'_>, request: EndQuorumEpochRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let refused = |code: ErrorCode| EndQuorumEpochResponse { error_code: code.code(), ..Default::default() };
    if !cx.is_of_this_cluster(request.cluster_id.as_deref()) {
        return reply.send(&refused(ErrorCode::InconsistentClusterId));
    }
    let Some(request) = convert::read_end_request(&request) else {
        return reply.send(&refused(ErrorCode::InvalidRequest));
    };
    match cx.node.controller.ask(|reply| Request::EndEpoch { request, reply }).await {
        Ok(known) => reply.send(&convert::end_reply(&known, cx.leader_address(ENDPOINTS_FROM))),
        Err(_) => reply.send(&refused(ErrorCode::BrokerNotAvailable)),
    }
}
