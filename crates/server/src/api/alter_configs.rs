//! AlterConfigs (33), versions 0–2: replaces all settings of a resource. Deprecated by IncrementalAlterConfigs since 2.3,
//! and still what old clients send.
//!
//! What both have in common is here: the checks that a broker makes before the controller decides, and putting the two
//! together in the order of the request.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;

use metadata::config::broker::validate_dynamic;
use metadata::controller::{AlterConfigsReply, NewSettings, Refusal};
use metadata::image::{ConfigResource, ResourceKind, Settings};
use wire::ErrorCode;
use wire::codec::{Decoder, Message};
use wire::messages::alter_configs_request::{AlterConfigsRequest, AlterConfigsResource};
use wire::messages::alter_configs_response::{AlterConfigsResourceResponse, AlterConfigsResponse};

use super::{Close, Cx, Reply, Scope, forwarding, undecided};
use crate::node::Node;

pub const VERSIONS: RangeInclusive<i16> = 0..=2;

pub async fn handle(cx: &Cx<'_>, request: AlterConfigsRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let node = cx.node;
    let repeated = repeated(request.resources.iter().map(|r| (r.resource_type, r.resource_name.to_string())));
    let mut answers = Answers::default();
    let (mut settings, mut resources) = (Vec::new(), Vec::new());
    for resource in request.resources.values() {
        match new_settings(cx, &resource, &repeated) {
            Ok(new) => {
                answers.wait_for(&new.resource);
                settings.push(new);
                resources.push(resource);
            }
            Err(refusal) => answers.refuse(resource.resource_type, &resource.resource_name, refusal),
        }
    }
    let decided = match settings.is_empty() {
        true => Ok(Vec::new()),
        false => {
            let rest = AlterConfigsRequest { resources: resources.into(), validate_only: request.validate_only };
            match forwarding::ask_elsewhere(cx, &rest).await? {
                Some(answer) => Ok(read_answer(&answer, cx.version())?),
                None => node.controller.alter_configs(settings, request.validate_only).await,
            }
        }
    };
    let responses = answers.with(node, decided).map(|(resource_type, name, refusal)| AlterConfigsResourceResponse {
        error_code: refusal.as_ref().map_or(0, |r| r.code.code()),
        error_message: refusal.and_then(|r| r.message).map(Into::into),
        resource_type,
        resource_name: name.into(),
    });
    reply.send(&AlterConfigsResponse { responses: responses.collect(), ..Default::default() })
}

fn read_answer(answer: &[u8], version: i16) -> Result<AlterConfigsReply, Close> {
    let answer = AlterConfigsResponse::decode(&mut Decoder::new(answer), version).map_err(|_| Close::NoController)?;
    let results = answer.responses.iter();
    Ok(results
        .filter_map(|r| decided_elsewhere(r.resource_type, &r.resource_name, r.error_code, r.error_message.as_deref()))
        .collect())
}

fn new_settings(cx: &Cx<'_>, resource: &AlterConfigsResource<'_>, repeated: &Repeated) -> Result<NewSettings, Refusal> {
    let name = &*resource.resource_name;
    let kind = resource_kind(resource.resource_type, name, repeated)?;
    check_keys(resource.configs.iter().map(|c| (c.name.to_string(), c.value.is_none())))?;
    if kind == ResourceKind::BrokerLogger {
        let text = "AlterConfigs is deprecated and does not support the resource type BROKER_LOGGER";
        return Err(Refusal::new(ErrorCode::InvalidRequest, text));
    }
    let settings: Vec<(String, Option<String>)> =
        resource.configs.iter().map(|c| (c.name.to_string(), c.value.as_ref().map(|v| v.to_string()))).collect();
    if kind == ResourceKind::Broker {
        let all: Settings = settings.iter().filter_map(|(k, v)| Some((k.clone(), v.clone()?))).collect();
        check_broker(cx, name, &all)?;
    }
    Ok(NewSettings { resource: ConfigResource::new(kind, name), settings })
}

/// Resources that a request names more than once.
pub(super) type Repeated = HashSet<(i8, String)>;

pub(super) fn repeated(resources: impl Iterator<Item = (i8, String)>) -> Repeated {
    let mut seen = HashSet::new();
    resources.filter(|resource| !seen.insert(resource.clone())).collect()
}

pub(super) fn duplicate() -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, "Each resource must appear at most once.")
}

/// The kind of a resource that may be changed here.
pub(super) fn resource_kind(id: i8, name: &str, repeated: &Repeated) -> Result<ResourceKind, Refusal> {
    if !repeated.is_empty() && repeated.contains(&(id, name.to_owned())) {
        return Err(duplicate());
    }
    ResourceKind::from_id(id)
        .ok_or_else(|| Refusal::new(ErrorCode::InvalidRequest, format!("Unknown resource type {id}")))
}

/// Refuses a key that comes twice, and null where a value belongs. Takes names with whether they are null and must not be.
pub(super) fn check_keys(keys: impl Iterator<Item = (String, bool)>) -> Result<(), Refusal> {
    let (mut seen, mut nulls) = (HashSet::new(), Vec::new());
    for (key, is_null) in keys {
        if !seen.insert(key.clone()) {
            return Err(Refusal::new(ErrorCode::InvalidRequest, "Error due to duplicate config keys"));
        }
        if is_null {
            nulls.push(key);
        }
    }
    match nulls.is_empty() {
        true => Ok(()),
        false => {
            Err(Refusal::new(ErrorCode::InvalidRequest, format!("Null value not supported for : {}", nulls.join(","))))
        }
    }
}

/// What the controller, being another node, says of a resource.
pub(super) fn decided_elsewhere(
    resource_type: i8,
    name: &str,
    error_code: i16,
    error_message: Option<&str>,
) -> Option<(ConfigResource, Result<(), Refusal>)> {
    let result = match ErrorCode::from_code(error_code) {
        ErrorCode::None => Ok(()),
        code => Err(Refusal { code, message: error_message.map(str::to_owned) }),
    };
    Some((ConfigResource::new(ResourceKind::from_id(resource_type)?, name), result))
}

/// Checks that a broker's settings, as they will be, are those of this broker or of all, and that they can be had. Only the
/// broker itself knows its file: what came to a controller has been to the broker, or goes around it (KIP-919).
pub(super) fn check_broker(cx: &Cx<'_>, name: &str, all: &Settings) -> Result<(), Refusal> {
    if cx.peer.scope() == Scope::Controller {
        return Ok(());
    }
    let node = cx.node;
    if !name.is_empty() {
        check_id(node, name)?;
    }
    let invalid = |text: String| Err(Refusal::new(ErrorCode::InvalidRequest, text));
    node.with_layers(&node.image(), |now| validate_dynamic(all, name.is_empty(), now)).or_else(invalid)
}

/// Whether `name` is this node's id.
pub(super) fn check_id(node: &Node, name: &str) -> Result<(), Refusal> {
    let invalid = |text: String| Err(Refusal::new(ErrorCode::InvalidRequest, text));
    match name.parse::<i32>() {
        Err(_) => invalid(format!("Node id must be an integer, but it is: {name}")),
        Ok(id) if id != node.node_id => {
            invalid(format!("Unexpected broker id, expected {}, but received {name}", node.node_id))
        }
        Ok(_) => Ok(()),
    }
}

/// What came of a resource that the controller is not asked about; `None` for the others.
type Settled = Option<Result<(), Refusal>>;

/// The answers to a request's resources, in its order: what was refused here, and what the controller says.
#[derive(Default)]
pub(super) struct Answers {
    resources: Vec<(i8, String, Settled)>,
}

impl Answers {
    pub fn wait_for(&mut self, resource: &ConfigResource) {
        self.resources.push((resource.kind.id(), resource.name.to_string(), None));
    }

    pub fn refuse(&mut self, resource_type: i8, name: &str, refusal: Refusal) {
        self.settle(resource_type, name, Err(refusal));
    }

    pub fn settle(&mut self, resource_type: i8, name: &str, result: Result<(), Refusal>) {
        self.resources.push((resource_type, name.to_owned(), Some(result)));
    }

    /// Type, name and refusal of each resource.
    pub fn with(
        self,
        node: &Node,
        decided: Result<AlterConfigsReply, ErrorCode>,
    ) -> impl Iterator<Item = (i8, String, Option<Refusal>)> {
        let (decided, failed) = match decided {
            Ok(decided) => (decided, None),
            Err(code) => (Vec::new(), Some(undecided(node, code))),
        };
        let mut decided: BTreeMap<(i8, String), Option<Refusal>> = decided
            .into_iter()
            .map(|(resource, result)| ((resource.kind.id(), resource.name.to_string()), result.err()))
            .collect();
        self.resources.into_iter().map(move |(resource_type, name, settled)| {
            let refusal = match (settled, decided.remove(&(resource_type, name.clone()))) {
                (Some(settled), _) => settled.err(),
                (None, Some(decided)) => decided,
                (None, None) => failed.clone(),
            };
            (resource_type, name, refusal)
        })
    }
}
