//! FindCoordinator (10), versions 0–6: which broker coordinates a group.
//!
//! Versions: 1 kinds of coordinators, 3 flexible, 4 several keys (KIP-699), 6 share groups (KIP-932). Only groups are
//! coordinated here; other kinds are refused for good, so that clients do not ask again and again: Java's with the text
//! that it shows, from version 4 on; librdkafka, which asks in older ones, with the only code that ends its asking.

use super::{Close, Cx, Endpoint, Reply, endpoints};
use crate::leader_checks;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use wire::ErrorCode;
use wire::messages::find_coordinator_request::FindCoordinatorRequest;
use wire::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};

pub const VERSIONS: RangeInclusive<i16> = 0..=6;

const SEVERAL_KEYS_VERSION: i16 = 4;
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub async fn handle(cx: &Cx<'_>, request: FindCoordinatorRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    if cx.version() < SEVERAL_KEYS_VERSION {
        let found = match request.key_type {
            TRANSACTION => Err(ErrorCode::TransactionalIdAuthorizationFailed),
            _ => find(cx, request.key_type, &request.key).await,
        };
        let (error, message, at) = parts(request.key_type, found);
        return reply.send(&FindCoordinatorResponse {
            error_code: error.code(),
            error_message: Some(message.into()),
            node_id: at.id,
            host: at.host.into(),
            port: at.port,
            ..Default::default()
        });
    }
    let mut coordinators = Vec::with_capacity(request.coordinator_keys.len());
    for key in &request.coordinator_keys {
        let found = find(cx, request.key_type, &key).await;
        let (error, message, at) = parts(request.key_type, found);
        coordinators.push(Coordinator {
            key: key.to_string().into(),
            node_id: at.id,
            host: at.host.into(),
            port: at.port,
            error_code: error.code(),
            // Kafka says nothing here when all is well, where the older versions say NONE.
            error_message: Some(if error == ErrorCode::None { "".into() } else { message.into() }),
        });
    }
    reply.send(&FindCoordinatorResponse { coordinators: coordinators.into(), ..Default::default() })
}

async fn find(cx: &Cx<'_>, key_type: i8, key: &str) -> Result<Endpoint, ErrorCode> {
    if key_type != GROUP {
        return Err(ErrorCode::InvalidRequest);
    }
    let leader = cx.node.groups.coordinator_of(cx.node, key).await?;
    let absent = leader_checks::absent(cx.node, BTreeSet::from([leader])).await;
    let leader = cx.node.groups.coordinator_of(cx.node, key).await?;
    let at = endpoints(cx.node, &cx.peer.listener, &BTreeSet::from([leader])).pop();
    at.filter(|at| !absent.contains(&at.id)).ok_or(ErrorCode::CoordinatorNotAvailable)
}

fn parts(key_type: i8, found: Result<Endpoint, ErrorCode>) -> (ErrorCode, String, Endpoint) {
    let nobody = Endpoint { id: -1, host: String::new(), port: -1, rack: None };
    match found {
        Ok(at) => (ErrorCode::None, ErrorCode::None.name().to_owned(), at),
        Err(error) if key_type == TRANSACTION => {
            (error, "This broker does not coordinate transactions: leave transactional.id out".to_owned(), nobody)
        }
        Err(error) => (error, error.message().to_owned(), nobody),
    }
}
