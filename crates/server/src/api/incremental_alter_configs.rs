//! IncrementalAlterConfigs (44), versions 0–1: changes single settings (KIP-339). Each resource succeeds or fails as a whole.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use metadata::config::value::split_list;
use metadata::config::{Kind, table};
use metadata::controller::{AlterConfigsReply, AlterOp, ConfigChanges, Refusal};
use metadata::image::{ConfigResource, ResourceKind, Settings};
use wire::ErrorCode;
use wire::codec::{Decoder, Message};
use wire::messages::incremental_alter_configs_request::{AlterConfigsResource, IncrementalAlterConfigsRequest};
use wire::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};

use super::alter_configs::{
    Answers, Repeated, check_broker, check_id, check_keys, decided_elsewhere, repeated, resource_kind,
};
use super::{Close, Cx, Reply, forwarding};

pub const VERSIONS: RangeInclusive<i16> = 0..=1;

pub async fn handle(
    cx: &Cx<'_>,
    request: IncrementalAlterConfigsRequest<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), Close> {
    let node = cx.node;
    let repeated = repeated(request.resources.iter().map(|r| (r.resource_type, r.resource_name.to_string())));
    let mut answers = Answers::default();
    let (mut changes, mut resources) = (Vec::new(), Vec::new());
    for resource in request.resources.values() {
        match changes_of(cx, &resource, &repeated) {
            Ok(change) if change.resource.kind == ResourceKind::BrokerLogger => {
                let altered = node.loggers.alter(&change.changes, request.validate_only);
                answers.settle(resource.resource_type, &resource.resource_name, altered);
            }
            Ok(change) => {
                answers.wait_for(&change.resource);
                changes.push(change);
                resources.push(resource);
            }
            Err(refusal) => answers.refuse(resource.resource_type, &resource.resource_name, refusal),
        }
    }
    let decided = match changes.is_empty() {
        true => Ok(Vec::new()),
        false => {
            let rest =
                IncrementalAlterConfigsRequest { resources: resources.into(), validate_only: request.validate_only };
            match forwarding::ask_elsewhere(cx, &rest).await? {
                Some(answer) => Ok(read_answer(&answer, cx.version())?),
                None => node.controller.incremental_alter_configs(changes, request.validate_only).await,
            }
        }
    };
    let responses = answers.with(node, decided).map(|(resource_type, name, refusal)| AlterConfigsResourceResponse {
        error_code: refusal.as_ref().map_or(0, |r| r.code.code()),
        error_message: refusal.and_then(|r| r.message).map(Into::into),
        resource_type,
        resource_name: name.into(),
    });
    reply.send(&IncrementalAlterConfigsResponse { responses: responses.collect(), ..Default::default() })
}

fn read_answer(answer: &[u8], version: i16) -> Result<AlterConfigsReply, Close> {
    let answer = IncrementalAlterConfigsResponse::decode(&mut Decoder::new(answer), version);
    let answer = answer.map_err(|_| Close::NoController)?;
    let results = answer.responses.iter();
    Ok(results
        .filter_map(|r| decided_elsewhere(r.resource_type, &r.resource_name, r.error_code, r.error_message.as_deref()))
        .collect())
}

fn changes_of(cx: &Cx<'_>, resource: &AlterConfigsResource<'_>, repeated: &Repeated) -> Result<ConfigChanges, Refusal> {
    let name = &*resource.resource_name;
    let kind = resource_kind(resource.resource_type, name, repeated)?;
    let delete = AlterOp::Delete;
    check_keys(
        resource
            .configs
            .iter()
            .map(|c| (c.name.to_string(), c.value.is_none() && AlterOp::from_id(c.config_operation) != Some(delete))),
    )?;
    let mut changes = Vec::new();
    for change in resource.configs.iter() {
        let Some(op) = AlterOp::from_id(change.config_operation) else {
            let text = format!("Unknown operation {} for configuration {}", change.config_operation, change.name);
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        };
        changes.push((change.name.to_string(), op, change.value.as_ref().map(|value| value.to_string())));
    }
    let resource = ConfigResource::new(kind, name);
    match kind {
        ResourceKind::BrokerLogger => check_id(cx.node, name)?,
        ResourceKind::Broker => {
            changes.iter().try_for_each(appends_to_a_list)?;
            let current = cx.node.image().configs.get(&resource).map(|settings| Settings::clone(settings));
            check_broker(cx, name, &changed(current.unwrap_or_default(), &changes))?;
        }
        ResourceKind::Topic | ResourceKind::Group | ResourceKind::ClientMetrics => {}
    }
    Ok(ConfigChanges { resource, changes })
}

/// Only a list of the broker's own can be added to or taken from.
fn appends_to_a_list((name, op, _): &(String, AlterOp, Option<String>)) -> Result<(), Refusal> {
    let what = match op {
        AlterOp::Append => "append",
        AlterOp::Subtract => "subtract",
        AlterOp::Set | AlterOp::Delete => return Ok(()),
    };
    let text = match table::broker_key(name) {
        Some(key) if key.kind == Kind::List => return Ok(()),
        Some(_) => format!("Config value {what} is not allowed for config key: {name}"),
        None => format!("Unknown config name: {name}"),
    };
    Err(Refusal::new(ErrorCode::InvalidConfig, text))
}

/// A broker's settings as the changes leave them. What cannot be appended to stays: the controller says so.
fn changed(mut settings: Settings, changes: &[(String, AlterOp, Option<String>)]) -> Settings {
    for (name, op, operand) in changes {
        let key = table::broker_key(name);
        let operand = operand.as_deref().unwrap_or_default();
        match op {
            AlterOp::Set => {
                settings.insert(name.clone(), operand.to_owned());
            }
            AlterOp::Delete => {
                settings.remove(name);
            }
            AlterOp::Append | AlterOp::Subtract if key.is_some_and(|key| key.kind == Kind::List) => {
                let before = settings.get(name).map(String::as_str).or_else(|| key?.default).unwrap_or_default();
                let named = split_list(operand);
                let mut items = split_list(before);
                // Both may be long, and a request may have many of them.
                let taken: HashSet<&str> = named.iter().map(String::as_str).collect();
                items.retain(|item| !taken.contains(item.as_str()));
                if *op == AlterOp::Append {
                    items.extend(named);
                }
                settings.insert(name.clone(), items.join(","));
            }
            AlterOp::Append | AlterOp::Subtract => {}
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brokers_settings_are_checked_as_the_changes_leave_them() {
        let change = |name: &str, op, operand: Option<&str>| (name.to_owned(), op, operand.map(str::to_owned));
        let before = Settings::from([("log.retention.ms".to_owned(), "5".to_owned())]);
        let after = changed(
            before,
            &[
                change("log.retention.ms", AlterOp::Delete, None),
                change("log.segment.bytes", AlterOp::Set, Some("2000000")),
                change("log.cleanup.policy", AlterOp::Append, Some("compact")),
                change("log.retention.bytes", AlterOp::Append, Some("1")),
            ],
        );
        let expected = [("log.cleanup.policy", "delete,compact"), ("log.segment.bytes", "2000000")];
        assert!(after.iter().map(|(k, v)| (k.as_str(), v.as_str())).eq(expected), "{after:?}");
    }

    /// Each item compared with each other one would take an hour.
    #[test]
    fn long_lists_are_changed_as_short_ones() {
        let names = |from: u32, to: u32| (from..to).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        let (name, count) = ("log.cleanup.policy".to_owned(), 1_000_000);
        let before = Settings::from([(name.clone(), names(0, count))]);
        let after = changed(before, &[(name.clone(), AlterOp::Subtract, Some(names(1, count)))]);
        assert_eq!(after.get(&name).map(String::as_str), Some("0"));
    }
}
