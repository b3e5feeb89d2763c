//! Configurations: describe, change, and what has one.

use wire::messages::describe_configs_request::DescribeConfigsResource;
use wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use wire::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    ListConfigResourcesRequest, ListConfigResourcesResponse,
};
use wire::{ApiKey, ErrorCode};

use super::Admin;
use crate::{Error, To};

/// The kinds of things that have a configuration, by Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i8)]
pub enum ResourceType {
    Topic = 2,
    Broker = 4,
    BrokerLogger = 8,
    ClientMetrics = 16,
    Group = 32,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    pub kind: ResourceType,
    pub name: String,
}

/// Where a value is from, when it is Kafka's own default.
pub const SOURCE_DEFAULT: i8 = 5;

/// A setting and where its value is from (Kafka's numbers of `ConfigSource`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: String,
    pub value: Option<String>,
    pub source: i8,
    pub is_sensitive: bool,
    pub is_read_only: bool,
    pub synonyms: Vec<ConfigSynonym>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSynonym {
    pub name: String,
    pub value: Option<String>,
    pub source: i8,
}

impl Admin {
    /// All settings of each resource, in the broker's order. Settings of one broker are asked of that broker.
    pub async fn describe_configs(&self, resources: &[Resource]) -> Result<Vec<Vec<ConfigEntry>>, Error> {
        let mut all = Vec::with_capacity(resources.len());
        // One broker answers for itself alone; everything else goes out in one request.
        let shared = !resources.iter().any(|r| matches!(r.kind, ResourceType::Broker | ResourceType::BrokerLogger));
        let groups: Vec<&[Resource]> = if shared { vec![resources] } else { resources.chunks(1).collect() };
        for group in groups.into_iter().filter(|g| !g.is_empty()) {
            let to = self.owner(&group[0], "describeConfigs").await?;
            let build = |_| {
                let resources = group.iter().map(|r| DescribeConfigsResource {
                    resource_type: r.kind as i8,
                    resource_name: r.name.as_str().into(),
                    configuration_keys: None,
                    ..Default::default()
                });
                Ok(DescribeConfigsRequest {
                    resources: resources.collect(),
                    include_synonyms: true,
                    ..Default::default()
                })
            };
            let mut found = self.client.send(&to, "describeConfigs", build, read_configs).await?;
            for resource in group {
                let at = found.iter().position(|(r, _)| r.0 == resource.kind as i8 && r.1 == resource.name);
                let at = at.ok_or_else(|| {
                    Error::Protocol(format!("The broker did not tell the configuration of {}", resource.name))
                })?;
                all.push(found.swap_remove(at).1);
            }
        }
        Ok(all)
    }
}

/// What happens to a setting (KIP-339).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    Set(String),
    /// Back to what holds without it.
    Delete,
}

impl Admin {
    /// Changes some settings of a resource, all or none of them. Settings of one broker are changed by that broker.
    pub async fn alter_configs(&self, resource: &Resource, changes: &[(String, ConfigChange)]) -> Result<(), Error> {
        let build = |_| {
            let configs = changes.iter().map(|(name, change)| {
                let (config_operation, value) = match change {
                    ConfigChange::Set(value) => (0, Some(value.as_str().into())),
                    ConfigChange::Delete => (1, None),
                };
                AlterableConfig { name: name.as_str().into(), config_operation, value }
            });
            let resource = AlterConfigsResource {
                resource_type: resource.kind as i8,
                resource_name: resource.name.as_str().into(),
                configs: configs.collect(),
            };
            Ok(IncrementalAlterConfigsRequest { resources: vec![resource].into(), ..Default::default() })
        };
        let read = |reply: &crate::Reply| {
            let response: IncrementalAlterConfigsResponse<'_> = reply.decode()?;
            let results = response.responses.iter();
            Ok(results
                .map(|r| Error::check(ErrorCode::from_code(r.error_code), r.error_message.as_deref()))
                .find(Result::is_err)
                .unwrap_or(Ok(())))
        };
        let to = self.owner(resource, "incrementalAlterConfigs").await?;
        self.client.send(&to, "incrementalAlterConfigs", build, read).await?
    }

    /// The names of the resources of a kind that have settings of their own (KIP-1142).
    pub async fn list_config_resources(&self, kind: ResourceType) -> Result<Vec<String>, Error> {
        let build = |version: i16| match version {
            0 if kind != ResourceType::ClientMetrics => {
                Err(Error::Unsupported("The v0 ListConfigResources only supports CLIENT_METRICS".to_owned()))
            }
            0 => Ok(ListConfigResourcesRequest::default()),
            _ => Ok(ListConfigResourcesRequest { resource_types: vec![kind as i8].into() }),
        };
        let read = |reply: &crate::Reply| {
            let response: ListConfigResourcesResponse<'_> = reply.decode()?;
            Error::check(ErrorCode::from_code(response.error_code), None)?;
            Ok(response.config_resources.iter().map(|r| r.resource_name.to_string()).collect())
        };
        self.client.send(&To::AnyOrLeader, "listConfigResources", build, read).await
    }
}

impl Admin {
    /// Who answers for a resource's settings: a broker for its own; but a controller, where we talk to one, for everybody.
    async fn owner(&self, resource: &Resource, call: &str) -> Result<To, Error> {
        let id = match (resource.kind, resource.name.parse()) {
            (ResourceType::Broker | ResourceType::BrokerLogger, Ok(id)) => id,
            _ => return Ok(To::AnyOrLeader),
        };
        // Controllers serve no Metadata, and so know no way to a broker.
        let is_broker = self.client.any(call).await?.version(ApiKey::Metadata).is_ok();
        Ok(if is_broker { To::Node(id) } else { To::AnyOrLeader })
    }
}

type Found = Vec<((i8, String), Vec<ConfigEntry>)>;

fn read_configs(reply: &crate::Reply) -> Result<Found, Error> {
    let response: DescribeConfigsResponse<'_> = reply.decode()?;
    let mut found = Vec::with_capacity(response.results.len());
    for result in &response.results {
        Error::check(ErrorCode::from_code(result.error_code), result.error_message.as_deref())?;
        let entries = result.configs.iter().map(|c| ConfigEntry {
            name: c.name.to_string(),
            value: c.value.as_deref().map(str::to_owned),
            source: c.config_source,
            is_sensitive: c.is_sensitive,
            is_read_only: c.read_only,
            synonyms: c
                .synonyms
                .iter()
                .map(|s| ConfigSynonym {
                    name: s.name.to_string(),
                    value: s.value.as_deref().map(str::to_owned),
                    source: s.source,
                })
                .collect(),
        });
        found.push(((result.resource_type, result.resource_name.to_string()), entries.collect()));
    }
    Ok(found)
}
