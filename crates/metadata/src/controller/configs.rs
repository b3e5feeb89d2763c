//! Changing dynamic configuration.

use std::collections::{BTreeMap, BTreeSet};

use wire::ErrorCode;
use wire::messages::{ClearElrRecord, ConfigRecord, MetadataRecord, PartitionChangeRecord};

use super::{Context, Decision, NodeSettings, Refusal, check_topic_name};
use crate::image::{ConfigResource, Image, ResourceKind, Settings};

/// What IncrementalAlterConfigs does with one key (KIP-339).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlterOp {
    Set,
    Delete,
    /// To a list.
    Append,
    /// From a list.
    Subtract,
}

impl AlterOp {
    pub fn from_id(id: i8) -> Option<Self> {
        match id {
            0 => Some(AlterOp::Set),
            1 => Some(AlterOp::Delete),
            2 => Some(AlterOp::Append),
            3 => Some(AlterOp::Subtract),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            AlterOp::Set => "SET",
            AlterOp::Delete => "DELETE",
            AlterOp::Append => "APPEND",
            AlterOp::Subtract => "SUBTRACT",
        }
    }
}

/// The changes of one resource.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigChanges {
    pub resource: ConfigResource,
    /// Key, operation, operand (`None` only for `Delete`).
    pub changes: Vec<(String, AlterOp, Option<String>)>,
}

/// The new settings of one resource: whatever is not named goes back to its default.
#[derive(Clone, Debug, PartialEq)]
pub struct NewSettings {
    pub resource: ConfigResource,
    pub settings: Vec<(String, Option<String>)>,
}

/// One result for each item of the request, in its order; a resource that comes twice is refused twice.
pub type AlterConfigsReply = Vec<(ConfigResource, Result<(), Refusal>)>;

/// IncrementalAlterConfigs: each resource succeeds or fails as a whole.
pub fn incremental_alter_configs(
    image: &Image,
    context: &Context<'_>,
    resources: &[ConfigChanges],
    validate_only: bool,
) -> Decision<AlterConfigsReply> {
    let decide = |resources: &ConfigChanges| changed(image, context, resources);
    per_resource(resources, |changes| &changes.resource, decide, validate_only)
}

/// The legacy AlterConfigs, which replaces all settings of a resource.
pub fn alter_configs(
    image: &Image,
    context: &Context<'_>,
    resources: &[NewSettings],
    validate_only: bool,
) -> Decision<AlterConfigsReply> {
    let decide = |resource: &NewSettings| replaced(image, context, resource);
    per_resource(resources, |settings| &settings.resource, decide, validate_only)
}

/// ListConfigResources: the topics and brokers that there are, the groups and client metrics subscriptions that have
/// settings. An empty list of kinds means all.
pub fn list_config_resources(image: &Image, kinds: &[ResourceKind]) -> Vec<ConfigResource> {
    let wanted = |kind: ResourceKind| kinds.is_empty() || kinds.contains(&kind);
    let mut resources = Vec::new();
    if wanted(ResourceKind::Topic) {
        resources.extend(image.topics.iter().map(|topic| ConfigResource::topic(&topic.name)));
    }
    for kind in [ResourceKind::Broker, ResourceKind::BrokerLogger].into_iter().filter(|kind| wanted(*kind)) {
        let brokers = image.cluster.brokers().filter(|broker| !broker.fenced);
        resources.extend(brokers.map(|broker| ConfigResource::new(kind, &broker.id.to_string())));
    }
    let configured = image.configs.iter().map(|(resource, _)| resource);
    let of_settings = |kind| matches!(kind, ResourceKind::ClientMetrics | ResourceKind::Group) && wanted(kind);
    resources.extend(configured.filter(|resource| of_settings(resource.kind)).cloned());
    resources
}

type Records = Vec<MetadataRecord<'static>>;

fn per_resource<T>(
    items: &[T],
    resource_of: impl Fn(&T) -> &ConfigResource,
    decide: impl Fn(&T) -> Result<Records, Refusal>,
    validate_only: bool,
) -> Decision<AlterConfigsReply> {
    let mut times = BTreeMap::new();
    for item in items {
        *times.entry(resource_of(item)).or_insert(0) += 1;
    }
    let mut records = Vec::new();
    let mut results = Vec::new();
    for item in items {
        let resource = resource_of(item);
        let result = match times[resource] {
            1 => decide(item),
            _ => Err(Refusal::new(ErrorCode::InvalidRequest, "Each resource must appear at most once.")),
        };
        results.push((resource.clone(), result.map(|new_records| records.extend(new_records))));
    }
    if validate_only {
        records.clear();
    }
    Decision::new(records, results)
}

fn changed(image: &Image, context: &Context<'_>, resource: &ConfigChanges) -> Result<Records, Refusal> {
    let ConfigChanges { resource, changes } = resource;
    check_request(
        changes.iter().map(|(key, ..)| key.as_str()),
        changes.iter().filter(|(_, op, operand)| *op != AlterOp::Delete && operand.is_none()).map(|(key, ..)| &**key),
    )?;
    let current = image.configs.get(resource).cloned().unwrap_or_default();
    let mut new: BTreeMap<&str, Option<String>> = BTreeMap::new();
    for (key, op, operand) in changes {
        let value = match (op, operand) {
            (AlterOp::Delete, _) | (_, None) => None,
            (AlterOp::Set, Some(value)) => Some(value.to_owned()),
            (AlterOp::Append | AlterOp::Subtract, Some(operand)) => {
                Some(list_change(context, resource, key, *op, operand, current.get(key).map(String::as_str))?)
            }
        };
        new.insert(key, value);
    }
    // A broker's settings are written even if they stay: that makes brokers read their files again (KAFKA-14136).
    let always = resource.kind == ResourceKind::Broker;
    let altered = new.into_iter().filter(|(key, value)| always || current.get(*key) != value.as_ref());
    let records: Vec<_> = altered.map(|(key, value)| record(resource, key, value.as_deref())).collect();
    finish(image, context, resource, &current, records, Vec::new())
}

fn replaced(image: &Image, context: &Context<'_>, resource: &NewSettings) -> Result<Records, Refusal> {
    let NewSettings { resource, settings } = resource;
    check_request(
        settings.iter().map(|(key, _)| key.as_str()),
        settings.iter().filter(|(_, value)| value.is_none()).map(|(key, _)| key.as_str()),
    )?;
    let current = image.configs.get(resource).cloned().unwrap_or_default();
    let new: BTreeMap<&str, &Option<String>> = settings.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let always = resource.kind == ResourceKind::Broker;
    let altered = new.iter().filter(|(key, value)| always || current.get(**key) != value.as_ref());
    let explicit: Vec<_> = altered.map(|(key, value)| record(resource, key, value.as_deref())).collect();
    let dropped = current.keys().filter(|key| !new.contains_key(key.as_str()));
    let implicit: Vec<_> = dropped.map(|key| record(resource, key, None)).collect();
    finish(image, context, resource, &current, explicit, implicit)
}

fn finish(
    image: &Image,
    context: &Context<'_>,
    resource: &ConfigResource,
    current: &Settings,
    explicit: Vec<ConfigRecord<'static>>,
    implicit: Vec<ConfigRecord<'static>>,
) -> Result<Records, Refusal> {
    let mut all = current.clone();
    for record in explicit.iter().chain(&implicit) {
        match &record.value {
            Some(value) => all.insert(record.name.to_string(), value.to_string()),
            None => all.remove(&*record.name),
        };
    }
    check(image, context, resource, &all, current, &explicit)?;
    check_exists(image, resource)?;
    let mut records: Records = explicit.into_iter().chain(implicit).map(MetadataRecord::Config).collect();
    if let Some(clear) = elr_to_clear(image, resource, current, &all) {
        let kept = elr_to_keep(image, &clear.topic_name);
        records.push(MetadataRecord::ClearElr(clear));
        records.extend(kept);
    }
    Ok(records)
}

/// With nobody in sync, nothing was committed since the ELR was chosen, whatever the setting: whoever is in it has all that
/// is committed, and without it the partition would never be led again. Kafka clears it here, too, and leaves it so.
fn elr_to_keep(image: &Image, topic_name: &str) -> Records {
    let mut records = Vec::new();
    for topic in image.topics.iter().filter(|topic| topic_name.is_empty() || *topic.name == *topic_name) {
        for (index, partition) in topic.partitions.iter().filter(|(_, partition)| partition.isr.is_empty()) {
            if partition.elr.is_empty() && partition.last_known_elr.is_empty() {
                continue;
            }
            records.push(MetadataRecord::PartitionChange(PartitionChangeRecord {
                topic_id: topic.id,
                partition_id: *index,
                eligible_leader_replicas: Some(partition.elr.to_vec().into()),
                last_known_elr: Some(partition.last_known_elr.to_vec().into()),
                ..Default::default()
            }));
        }
    }
    records
}

/// A new min.insync.replicas makes the ELRs that were chosen under the old one meaningless (KIP-966).
fn elr_to_clear(
    image: &Image,
    resource: &ConfigResource,
    old: &Settings,
    new: &Settings,
) -> Option<ClearElrRecord<'static>> {
    if !image.features.is_elr_enabled() || old.get(MIN_INSYNC_REPLICAS) == new.get(MIN_INSYNC_REPLICAS) {
        return None;
    }
    match resource.kind {
        ResourceKind::Topic | ResourceKind::Broker => {
            let topic_name =
                if resource.kind == ResourceKind::Topic { resource.name.to_string() } else { String::new() };
            Some(ClearElrRecord { topic_name: topic_name.into() })
        }
        _ => None,
    }
}

pub(super) fn record(resource: &ConfigResource, key: &str, value: Option<&str>) -> ConfigRecord<'static> {
    ConfigRecord {
        resource_type: resource.kind.id(),
        resource_name: resource.name.to_string().into(),
        name: key.to_owned().into(),
        value: value.map(|value| value.to_owned().into()),
    }
}

/// Whether a resource may have these settings: `all` is how they will be, `before` how they are, `altered` what the
/// request named.
pub(super) fn check(
    image: &Image,
    context: &Context<'_>,
    resource: &ConfigResource,
    all: &Settings,
    before: &Settings,
    altered: &[ConfigRecord<'static>],
) -> Result<(), Refusal> {
    let too_long = altered.iter().any(|record| record.value.as_ref().is_some_and(|value| value.len() > MAX_VALUE));
    if too_long {
        let text = format!(
            "The configuration value cannot be added because it exceeds the maximum value size of {MAX_VALUE} bytes."
        );
        return Err(Refusal::new(ErrorCode::InvalidConfig, text));
    }
    if resource.kind == ResourceKind::Broker && image.features.is_elr_enabled() {
        check_min_isr_under_elr(resource, all, before, altered)?;
    }
    check_name(resource)?;
    context.settings.check(image, resource, all, before)
}

/// With ELR there is one min.insync.replicas for the cluster, and it is always there.
fn check_min_isr_under_elr(
    resource: &ConfigResource,
    all: &Settings,
    before: &Settings,
    altered: &[ConfigRecord<'static>],
) -> Result<(), Refusal> {
    let named = altered.iter().find(|record| record.name == MIN_INSYNC_REPLICAS);
    let refuse = |text: &str| Err(Refusal::new(ErrorCode::InvalidConfig, text));
    if !resource.name.is_empty() && named.is_some() {
        return refuse("Broker-level min.insync.replicas cannot be altered while ELR is enabled.");
    }
    // Replacing all settings can drop it without a word.
    let dropped = before.contains_key(MIN_INSYNC_REPLICAS) && !all.contains_key(MIN_INSYNC_REPLICAS);
    if resource.name.is_empty() && (dropped || named.is_some_and(|record| record.value.is_none())) {
        return refuse("Cluster-level min.insync.replicas cannot be removed while ELR is enabled.");
    }
    Ok(())
}

pub(super) const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

const MAX_VALUE: usize = i16::MAX as usize;

fn check_exists(image: &Image, resource: &ConfigResource) -> Result<(), Refusal> {
    let name = &*resource.name;
    match resource.kind {
        ResourceKind::Topic if image.topics.by_name(name).is_none() => {
            let text = format!("The topic '{name}' does not exist.");
            Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, text))
        }
        ResourceKind::Broker if !name.is_empty() => {
            let Ok(id) = name.parse::<i32>() else {
                return Err(Refusal::new(ErrorCode::InvalidRequest, format!("Invalid broker name {name}")));
            };
            if image.cluster.broker(id).is_none() && image.cluster.controller(id).is_none() {
                return Err(Refusal::new(ErrorCode::BrokerIdNotRegistered, format!("No node with id {id} found.")));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What a request may not say about any resource.
fn check_request<'a>(
    keys: impl Iterator<Item = &'a str>,
    without_value: impl Iterator<Item = &'a str>,
) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for key in keys {
        if !seen.insert(key) {
            return Err(Refusal::new(ErrorCode::InvalidRequest, "Error due to duplicate config keys"));
        }
    }
    let without_value: Vec<&str> = without_value.collect();
    if without_value.is_empty() {
        return Ok(());
    }
    let text = format!("Null value not supported for : {}", without_value.join(", "));
    Err(Refusal::new(ErrorCode::InvalidRequest, text))
}

fn list_change(
    context: &Context<'_>,
    resource: &ConfigResource,
    key: &str,
    op: AlterOp,
    operand: &str,
    current: Option<&str>,
) -> Result<String, Refusal> {
    if !NodeSettings::is_list(resource.kind, key) {
        let text = format!("Can't {} to key {key} because its type is not LIST.", op.name());
        return Err(Refusal::new(ErrorCode::InvalidConfig, text));
    }
    let default = context.settings.list_default(resource.kind, key);
    let current = current.map(str::to_owned).or(default).unwrap_or_default();
    let mut parts: Vec<&str> = current.split(',').filter(|part| !part.is_empty()).collect();
    // Both may be long, and a request may have many of them.
    match op {
        AlterOp::Append => {
            let mut seen: BTreeSet<&str> = parts.iter().copied().collect();
            parts.extend(operand.split(',').filter(|value| seen.insert(value)));
        }
        AlterOp::Subtract => {
            let mut times: BTreeMap<&str, usize> = BTreeMap::new();
            operand.split(',').for_each(|value| *times.entry(value).or_default() += 1);
            parts.retain(|part| match times.get_mut(part) {
                Some(left @ 1..) => {
                    *left -= 1;
                    false
                }
                _ => true,
            });
        }
        AlterOp::Set | AlterOp::Delete => {}
    }
    Ok(parts.join(","))
}

/// Names that a resource of this kind may have.
fn check_name(resource: &ConfigResource) -> Result<(), Refusal> {
    let name = &*resource.name;
    let invalid = |text: &str| Err(Refusal::new(ErrorCode::InvalidRequest, text));
    match resource.kind {
        ResourceKind::Topic if name.is_empty() => invalid("Default topic resources are not allowed."),
        ResourceKind::Topic => check_topic_name(name),
        ResourceKind::Broker if name.is_empty() => Ok(()),
        ResourceKind::Broker => match name.parse::<i32>() {
            Err(_) => invalid("Unable to parse broker name as a base 10 number."),
            Ok(id) if id < 0 => invalid("Invalid negative broker ID."),
            Ok(_) => Ok(()),
        },
        ResourceKind::Group if name.is_empty() => invalid("Default group resources are not allowed."),
        ResourceKind::Group | ResourceKind::ClientMetrics => Ok(()),
        ResourceKind::BrokerLogger => invalid(&format!("Unknown resource type {}", resource.kind.name())),
    }
}
