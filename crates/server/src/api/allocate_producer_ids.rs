//! AllocateProducerIds (67), version 0, on controllers' listeners: a block of producer ids for one broker (KIP-730).

use super::{Close, Cx, Reply, decide};
use metadata::controller::{Command, Reply as Decided};
use std::ops::RangeInclusive;
use wire::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};

pub const VERSIONS: RangeInclusive<i16> = 0..=0;

pub async fn handle(cx: &Cx<'_>, request: AllocateProducerIdsRequest, reply: &mut Reply<'_>) -> Result<(), Close> {
    let command = Command::AllocateProducerIds { broker_id: request.broker_id, broker_epoch: request.broker_epoch };
    let allocated = decide(cx, command, |decided| match decided {
        Decided::AllocateProducerIds(result) => Some(result),
        _ => None,
    })
    .await;
    reply.send(&match allocated {
        Ok(block) => AllocateProducerIdsResponse {
            producer_id_start: block.first,
            producer_id_len: block.count,
            ..Default::default()
        },
        Err(refusal) => AllocateProducerIdsResponse { error_code: refusal.code.code(), ..Default::default() },
    })
}
