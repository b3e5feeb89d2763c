//! BeginQuorumEpoch (53), versions 0–1, on controllers' listeners: the leader of an epoch makes itself known (KIP-595).
//! Version 1 says where it can be reached (KIP-853).

use super::{Close, Cx, Reply};
use crate::quorum::{Request, convert};
use std::ops::RangeInclusive;
use wire::ErrorCode;
use wire::messages::{BeginQuorumEpochRequest, BeginQuorumEpochResponse};

pub const VERSIONS: RangeInclusive<i16> = 0..=1;
/// Answers say from this version on where the leader can be reached (KIP-853).
const ENDPOINTS_FROM: i16 = 1;

pub async fn handle(cx: &Cx<'_>, request: BeginQuorumEpochRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let refused = |code: ErrorCode| BeginQuorumEpochResponse { error_code: code.code(), ..Default::default() };
    if !cx.is_of_this_cluster(request.cluster_id.as_deref()) {
        return reply.send(&refused(ErrorCode::InconsistentClusterId));
    }
    let Some((request, address)) = convert::read_begin_request(&request) else {
        return reply.send(&refused(ErrorCode::InvalidRequest));
    };
    if let Some(address) = address {
        cx.node.controller.remote().learn(request.leader, address);
    }
    match cx.node.controller.ask(|reply| Request::BeginEpoch { request, reply }).await {
        Ok(known) => reply.send(&convert::begin_reply(&known, cx.leader_address(ENDPOINTS_FROM))),
        Err(_) => reply.send(&refused(ErrorCode::BrokerNotAvailable)),
    }
}
