//! DescribeConfigs (32), versions 1–4: settings with where they come from. Version 3 adds types and documentation.
//!
//! A broker describes topics, groups, client metrics and the defaults of all brokers from the cluster's state, and itself;
//! for another broker the client has to ask that one.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use metadata::config::describe::{self, Entry, Wanted};
use metadata::config::{Kind, Layers};
use metadata::controller::{Refusal, check_topic_name};
use metadata::image::{ConfigResource, Image, ResourceKind, Settings};
use wire::ErrorCode;
use wire::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::alter_configs::duplicate;
use super::{Close, Cx, Reply};
use crate::node::Node;

pub const VERSIONS: RangeInclusive<i16> = 1..=4;

/// Settings in one answer at most: a few bytes of a request ask for kilobytes. Enough for ten thousand topics.
const MAX_ENTRIES: usize = 500_000;
/// Resources after which others get their turn on the thread.
const TURN: usize = 64;

pub async fn handle(cx: &Cx<'_>, request: DescribeConfigsRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let image = cx.node.image();
    let mut seen = HashSet::new();
    let (mut results, mut entries) = (Vec::new(), 0);
    for (at, resource) in request.resources.iter().enumerate() {
        if at % TURN == TURN - 1 {
            tokio::task::yield_now().await;
        }
        let described = match seen.insert((resource.resource_type, resource.resource_name.to_string())) {
            false => Err(duplicate()),
            true if entries > MAX_ENTRIES => {
                Err(Refusal::new(ErrorCode::InvalidRequest, format!("More than {MAX_ENTRIES} settings in one answer.")))
            }
            true => described(cx.node, &image, &resource),
        };
        entries += described.as_ref().map_or(0, Vec::len);
        results.push(result(&request, &resource, described));
    }
    reply.send(&DescribeConfigsResponse { results: results.into(), ..Default::default() })
}

fn described(node: &Node, image: &Image, resource: &DescribeConfigsResource<'_>) -> Result<Vec<Entry>, Refusal> {
    let name = &*resource.resource_name;
    let invalid = |text: String| Err(Refusal::new(ErrorCode::InvalidRequest, text));
    let Some(kind) = ResourceKind::from_id(resource.resource_type) else {
        return invalid(format!("Unexpected resource type {} for resource {name}", resource.resource_type));
    };
    let keys: Option<HashSet<String>> =
        resource.configuration_keys.as_ref().map(|keys| keys.iter().map(|key| key.to_string()).collect());
    let keys = keys.filter(|keys| !keys.is_empty());
    let wanted: Wanted<'_> = &|key| keys.as_ref().is_none_or(|keys| keys.contains(key));
    let own = |resource: ConfigResource| image.configs.get(&resource).cloned().unwrap_or_default();
    let with_layers = |describe: fn(&Settings, &Layers<'_>, Wanted<'_>) -> Vec<Entry>| {
        let own = own(ConfigResource::new(kind, name));
        Ok(node.with_layers(image, |layers| describe(&own, layers, wanted)))
    };
    match kind {
        ResourceKind::Topic => {
            check_topic_name(name)?;
            if image.topics.by_name(name).is_none() {
                return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, ""));
            }
            with_layers(|own, layers, wanted| describe::topic(own, layers, wanted))
        }
        ResourceKind::Broker if name.is_empty() => {
            with_layers(|_, layers, wanted| describe::broker_defaults(layers, wanted))
        }
        ResourceKind::Broker => {
            check_broker(node, name, " or empty string,")?;
            with_layers(|_, layers, wanted| describe::broker(layers, wanted))
        }
        ResourceKind::Group if name.is_empty() => invalid("Group name must not be empty".to_owned()),
        ResourceKind::Group => with_layers(|own, layers, wanted| describe::group(own, layers, wanted)),
        ResourceKind::ClientMetrics if name.is_empty() => {
            invalid("Client metrics subscription name must not be empty".to_owned())
        }
        ResourceKind::ClientMetrics => with_layers(|own, _, wanted| describe::client_metrics(own, wanted)),
        ResourceKind::BrokerLogger if name.is_empty() => invalid("Broker id must not be empty".to_owned()),
        ResourceKind::BrokerLogger => {
            check_broker(node, name, "")?;
            Ok(node.loggers.describe(wanted))
        }
    }
}

/// Whether `name` is this broker.
fn check_broker(node: &Node, name: &str, or: &str) -> Result<(), Refusal> {
    let invalid = |text: String| Err(Refusal::new(ErrorCode::InvalidRequest, text));
    match name.parse::<i32>() {
        Err(_) => invalid(format!("Broker id must be an integer, but it is: {name}")),
        Ok(id) if id != node.node_id => {
            invalid(format!("Unexpected broker id, expected {}{or} but received {name}", node.node_id))
        }
        Ok(_) => Ok(()),
    }
}

fn result(
    request: &DescribeConfigsRequest<'_>,
    resource: &DescribeConfigsResource<'_>,
    described: Result<Vec<Entry>, Refusal>,
) -> DescribeConfigsResult<'static> {
    let (entries, code, message) = match described {
        Ok(entries) => (entries, 0, String::new()),
        Err(refusal) => (Vec::new(), refusal.code.code(), refusal.message.unwrap_or_default()),
    };
    DescribeConfigsResult {
        error_code: code,
        error_message: Some(message.into()),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.to_string().into(),
        configs: entries.into_iter().map(|entry| setting(request, entry)).collect(),
    }
}

fn setting(request: &DescribeConfigsRequest<'_>, entry: Entry) -> DescribeConfigsResourceResult<'static> {
    let synonyms = if request.include_synonyms { entry.synonyms } else { Vec::new() };
    DescribeConfigsResourceResult {
        name: entry.name.into(),
        value: entry.value.map(Into::into),
        read_only: entry.read_only,
        config_source: entry.source as i8,
        is_sensitive: entry.sensitive,
        synonyms: synonyms
            .into_iter()
            .map(|synonym| DescribeConfigsSynonym {
                name: synonym.name.into(),
                value: synonym.value.map(Into::into),
                source: synonym.source as i8,
            })
            .collect(),
        config_type: entry.kind.map_or(0, Kind::id),
        documentation: entry.documentation.filter(|_| request.include_documentation).map(Into::into),
    }
}
