//! FetchSnapshot (59), versions 0–1, on controllers' listeners: a piece of a snapshot of the metadata log (KIP-630).

use super::{Close, Cx, Reply};
use crate::quorum::{Request, convert};
use std::ops::RangeInclusive;
use wire::ErrorCode;
use wire::messages::{FetchSnapshotRequest, FetchSnapshotResponse};

pub const VERSIONS: RangeInclusive<i16> = 0..=1;
/// Answers say from this version on where the leader can be reached (KIP-853).
const ENDPOINTS_FROM: i16 = 1;

pub async fn handle(cx: &Cx<'_>, request: FetchSnapshotRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let refused = |code: ErrorCode| FetchSnapshotResponse { error_code: code.code(), ..Default::default() };
    if !cx.is_of_this_cluster(request.cluster_id.as_deref()) {
        return reply.send(&refused(ErrorCode::InconsistentClusterId));
    }
    let Some(request) = convert::read_snapshot_request(&request) else {
        return reply.send(&refused(ErrorCode::UnknownTopicOrPartition));
    };
    match cx.node.controller.ask(|reply| Request::FetchSnapshot { request, reply }).await {
        Ok(piece) => reply.send(&convert::snapshot_piece(piece, cx.leader_address(ENDPOINTS_FROM))),
        Err(_) => reply.send(&refused(ErrorCode::BrokerNotAvailable)),
    }
}
