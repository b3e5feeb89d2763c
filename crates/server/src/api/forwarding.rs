//! Requests that only the active controller can answer, sent on to it as they came (KIP-590).

use super::{Close, Cx, Reply};
use client::Error;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use wire::codec::{Decoder, Encoder, Message, Request};
use wire::header::write_request_header;
use wire::messages::{CreateTopicsResponse, DefaultPrincipalData, EnvelopeRequest, EnvelopeResponse};
use wire::{ApiKey, ErrorCode};

/// As long is a controller looked for that answers.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(50);
/// As long a client waits at most for this node to know what the controller did.
const CATCH_UP: Duration = Duration::from_secs(2);

/// Whether requests of this kind are the controller's.
pub fn is_forwarded(key: ApiKey) -> bool {
    matches!(
        key,
        ApiKey::CreateTopics
            | ApiKey::DeleteTopics
            | ApiKey::CreatePartitions
            | ApiKey::AlterConfigs
            | ApiKey::IncrementalAlterConfigs
            | ApiKey::ElectLeaders
            | ApiKey::AlterPartitionReassignments
            | ApiKey::ListPartitionReassignments
            | ApiKey::AlterClientQuotas
            | ApiKey::UpdateFeatures
            | ApiKey::UnregisterBroker
            | ApiKey::DescribeQuorum
    )
}

/// Whether this request has to go to another node as it is. A controller that does not lead sends on as well what tools ask
/// of it: any of them will do for `--bootstrap-controller`. Changes of settings are not among them: a part of them may be
/// for this very node, which sends on the others ([`ask_elsewhere`]).
pub fn goes_elsewhere(cx: &Cx<'_>, key: ApiKey) -> bool {
    let is_of_settings = matches!(key, ApiKey::AlterConfigs | ApiKey::IncrementalAlterConfigs);
    is_forwarded(key) && !is_of_settings && !cx.node.controller.is_here()
}

/// Sends a request on, and its answer back. `false` when this node has to answer itself: it became the controller meanwhile,
/// or there is none that could be asked.
pub async fn forward(cx: &Cx<'_>, key: ApiKey, body: &[u8], reply: &mut Reply<'_>) -> Result<bool, Close> {
    let Some(answer) = answer_from_elsewhere(cx, key, body).await? else { return Ok(false) };
    known_here(cx, key, &answer).await;
    reply.send_bytes(&answer)?;
    Ok(true)
}

/// The body of the controller's answer to `request`, a part of what the client asked. `None` when this node has to
/// answer itself, as in [`forward`].
pub async fn ask_elsewhere<'m, Q: Request + Message<'m>>(cx: &Cx<'_>, request: &Q) -> Result<Option<Vec<u8>>, Close> {
    let mut body = Encoder::new();
    request.encode(&mut body, cx.version())?;
    let Some(mut answer) = answer_from_elsewhere(cx, Q::KEY, body.bytes()).await? else { return Ok(None) };
    let (_, header) =
        wire::header::parse_response_header(&answer, Q::KEY, cx.version()).map_err(|_| Close::NoController)?;
    Ok(Some(answer.split_off(header)))
}

/// The controller's answer, with its header and without its length; `None` where no other node is the controller.
async fn answer_from_elsewhere(cx: &Cx<'_>, key: ApiKey, body: &[u8]) -> Result<Option<Vec<u8>>, Close> {
    let request_data = as_it_came(cx, key, body)?;
    let principal =
        DefaultPrincipalData { r#type: "User".into(), name: "ANONYMOUS".into(), token_authenticated: false };
    let request = EnvelopeRequest {
        request_data: request_data.as_slice().into(),
        request_principal: Some(versioned(&principal)?.into()),
        client_host_address: match cx.peer.address.ip() {
            std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
            std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
        }
        .into(),
    };
    let deadline = Instant::now() + PATIENCE;
    while let Some(leader) = cx.node.controller.leader_elsewhere(deadline).await {
        match ask(cx, leader, &request).await {
            Ok(answer) => return Ok(Some(answer)),
            Err(ErrorCode::NotController) if Instant::now() < deadline => sleep(AGAIN).await,
            Err(ErrorCode::NotController) => break,
            Err(_) => return Err(Close::NoController),
        }
    }
    Ok(None)
}

/// A client's request with its header.
fn as_it_came(cx: &Cx<'_>, key: ApiKey, body: &[u8]) -> Result<Vec<u8>, Close> {
    let mut e = Encoder::new();
    let header = cx.header;
    write_request_header(&mut e, key, header.version, header.correlation_id, header.client_id.as_deref())?;
    e.put(body);
    Ok(e.into_bytes())
}

/// The answer, with its header and without its length.
async fn ask(cx: &Cx<'_>, leader: i32, request: &EnvelopeRequest<'_>) -> Result<Vec<u8>, ErrorCode> {
    let lost = |_: Error| ErrorCode::NotController;
    let connection = cx.node.controller.remote().for_clients(leader).await.map_err(lost)?;
    let answer = connection.call(request).await.map_err(lost)?;
    let answer: EnvelopeResponse<'_> = answer.decode().map_err(lost)?;
    match (ErrorCode::from_code(answer.error_code), answer.response_data) {
        (ErrorCode::None, Some(data)) => Ok(data.into_owned()),
        (ErrorCode::None, None) => Err(ErrorCode::UnknownServerError),
        (error, _) => Err(error),
    }
}

/// Waits until this node knows topics that were created, so that whoever made them finds them here.
async fn known_here(cx: &Cx<'_>, key: ApiKey, answer: &[u8]) {
    if key != ApiKey::CreateTopics || cx.version() < 7 {
        return; // before version 7 the answer does not say which topic was made
    }
    let Ok((_, body)) = wire::header::parse_response_header(answer, key, cx.version()) else { return };
    let Some(body) = answer.get(body..) else { return };
    let Ok(response) = CreateTopicsResponse::decode(&mut Decoder::new(body), cx.version()) else { return };
    let made: Vec<_> =
        response.topics.iter().filter(|topic| topic.error_code == 0).map(|topic| topic.topic_id).collect();
    let all_known = async {
        while !made.iter().all(|id| id.is_zero() || cx.node.image().topics.get(*id).is_some()) {
            sleep(Duration::from_millis(2)).await;
        }
    };
    let _ = timeout(CATCH_UP, all_known).await;
}

/// A message with its version before it, as principals are written.
fn versioned(principal: &DefaultPrincipalData<'_>) -> Result<Vec<u8>, Close> {
    let mut e = Encoder::new();
    principal.encode(&mut e, 0)?;
    let mut bytes = 0_i16.to_be_bytes().to_vec();
    bytes.extend_from_slice(e.bytes());
    Ok(bytes)
}
