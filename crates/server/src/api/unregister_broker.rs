//! UnregisterBroker (64), version 0: takes a broker that is gone off the cluster's books. Its replicas stay assigned.

use super::{Close, Cx, Reply, undecided};
use std::ops::RangeInclusive;
use wire::messages::unregister_broker_request::UnregisterBrokerRequest;
use wire::messages::unregister_broker_response::UnregisterBrokerResponse;

pub const VERSIONS: RangeInclusive<i16> = 0..=0;

pub async fn handle(cx: &Cx<'_>, request: UnregisterBrokerRequest, reply: &mut Reply<'_>) -> Result<(), Close> {
    let done = cx.node.controller.unregister_broker(request.broker_id).await.map_err(|code| undecided(cx.node, code));
    let refusal = done.and_then(|result| result).err();
    reply.send(&UnregisterBrokerResponse {
        error_code: refusal.as_ref().map_or(0, |r| r.code.code()),
        error_message: refusal.and_then(|r| r.message).map(Into::into),
        ..Default::default()
    })
}
