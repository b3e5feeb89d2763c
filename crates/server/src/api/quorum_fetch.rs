//! Fetch (1) on controllers' listeners: a replica of the metadata log asks for what comes next (KIP-595). What is served
//! there of other partitions is nothing.

use super::{Close, Cx, Reply};
use crate::quorum::{Request, convert};
use std::time::Duration;
use wire::messages::{FetchRequest, FetchResponse};
use wire::{ApiKey, ErrorCode};

/// A fetch may wait no longer for news, in ms: whoever asks for more may be gone.
const WAIT_MAX_MS: i32 = 5_000;
/// Answers can tell of the leader and of divergence from this version on (KIP-595).
const QUORUM_FROM: i16 = 12;
/// They say from this version on where the leader can be reached (KIP-951).
const ENDPOINTS_FROM: i16 = 16;

pub async fn handle(cx: &Cx<'_>, request: FetchRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let refused = |code: ErrorCode| FetchResponse { error_code: code.code(), ..Default::default() };
    if cx.version() < QUORUM_FROM {
        return Err(Close::Version { key: ApiKey::Fetch as i16, version: cx.version() });
    }
    if !cx.is_of_this_cluster(request.cluster_id.as_deref()) {
        return reply.send(&refused(ErrorCode::InconsistentClusterId));
    }
    let wait = Duration::from_millis(request.max_wait_ms.clamp(0, WAIT_MAX_MS) as u64);
    let Some(request) = convert::read_fetch_request(&request, cx.version()) else {
        return reply.send(&refused(ErrorCode::UnknownTopicOrPartition));
    };
    match cx.node.controller.ask(|reply| Request::Fetch { request, wait, reply }).await {
        Ok(fetched) => reply.send(&convert::fetched(fetched, cx.leader_address(ENDPOINTS_FROM))),
        Err(_) => reply.send(&refused(ErrorCode::BrokerNotAvailable)),
    }
}
