//! Envelope (58), version 0, on controllers' listeners: a client's request, as a broker got it (KIP-590).

use super::{Close, Cx, Reply, dispatch, forwarding};
use std::ops::RangeInclusive;
use wire::codec::Encoder;
use wire::header::parse_request_header;
use wire::messages::{EnvelopeRequest, EnvelopeResponse};
use wire::{ApiKey, ErrorCode};

pub const VERSIONS: RangeInclusive<i16> = 0..=0;

pub async fn handle(cx: &Cx<'_>, request: EnvelopeRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let refused = |code: ErrorCode| EnvelopeResponse { error_code: code.code(), response_data: None };
    if !cx.node.controller.is_here() {
        return reply.send(&refused(ErrorCode::NotController));
    }
    let Ok((header, body)) = parse_request_header(&request.request_data) else {
        return reply.send(&refused(ErrorCode::InvalidRequest));
    };
    if !ApiKey::try_from(header.key).is_ok_and(forwarding::is_forwarded) {
        return reply.send(&refused(ErrorCode::InvalidRequest));
    }
    let mut out = Encoder::new();
    let Some(body) = request.request_data.get(body..) else { return reply.send(&refused(ErrorCode::InvalidRequest)) };
    match Box::pin(dispatch(cx.node, cx.peer, &header, body, &mut out)).await {
        // Without the frame's length.
        Ok(_) => {
            let answer = out.bytes().get(4..).unwrap_or_default();
            reply.send(&EnvelopeResponse { error_code: 0, response_data: Some(answer.into()) })
        }
        Err(Close::Version { .. }) => reply.send(&refused(ErrorCode::UnsupportedVersion)),
        Err(_) => reply.send(&refused(ErrorCode::InvalidRequest)),
    }
}
