//! Fetch (1) on controllers' listeners: a replica of the metadata log asks for what comes next (KIP-595). What is served
//! there of other partitions is nothing.

use super::{Close, Cx, Reply};
use crate::quorum::{Request, convert};
use std::time::Duration;
use wire::ErrorCode;
use wire::messages::{FetchRequest, FetchResponse};

/// A fetch may wait no longer for news, in ms: whoever asks for more may be gone.
const WAIT_MAX_MS: i32 = 5_000;

pub async fn handle(cx: &Cx<'_>, request: FetchRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let refused = |code: ErrorCode| FetchResponse { error_code: code.code(), ..Default::default() };
    if !cx.is_of_this_cluster(request.cluster_id.as_deref()) {
        return reply.send(&refused(ErrorCode::InconsistentClusterId));
    }
    let wait = Duration::from_millis(request.max_wait_ms.clamp(0, WAIT_MAX_MS) as u64);
    let Some(request) = convert::read_fetch_request(&request, cx.version()) else {
        return reply.send(&refused(ErrorCode::UnknownTopicOrPartition));
    };
    match cx.node.controller.ask(|reply| Request::Fetch { request, wait, reply }).await {
        Ok(fetched) => reply.send(&convert::fetched(fetched, cx.leader_address())),
        Err(_) => reply.send(&refused(ErrorCode::BrokerNotAvailable)),
    }
}
