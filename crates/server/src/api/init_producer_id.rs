//! InitProducerId (22), versions 0–5: an id for an idempotent producer (KIP-98).
//!
//! A producer without a transactional id always gets a fresh id with epoch 0, whatever it had before. Transactional
//! producers are refused, with the code that no client takes for one that passes: this broker does not coordinate
//! transactions.

use super::{Close, Cx, Reply};
use std::ops::RangeInclusive;
use wire::ErrorCode;
use wire::messages::init_producer_id_request::InitProducerIdRequest;
use wire::messages::init_producer_id_response::InitProducerIdResponse;

pub const VERSIONS: RangeInclusive<i16> = 0..=5;

pub async fn handle(cx: &Cx<'_>, request: InitProducerIdRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let id = match request.transactional_id {
        Some(_) => Err(ErrorCode::TransactionalIdAuthorizationFailed),
        // A producer that had an id names both.
        None if (request.producer_id < 0) != (request.producer_epoch < 0) => Err(ErrorCode::InvalidRequest),
        None => cx.node.producer_ids.next(cx.node).await,
    };
    reply.send(&match id {
        Ok(producer_id) => InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() },
        Err(error) => InitProducerIdResponse {
            error_code: error.code(),
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        },
    })
}
