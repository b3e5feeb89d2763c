//! Dynamic configuration, by resource.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use wire::messages::ConfigRecord;

use super::{ApplyError, Delta};

/// What a configuration belongs to; the numbers are Kafka's, in records and requests alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    Topic = 2,
    Broker = 4,
    BrokerLogger = 8,
    ClientMetrics = 16,
    Group = 32,
}

impl ResourceKind {
    pub fn from_id(id: i8) -> Option<Self> {
        match id {
            2 => Some(ResourceKind::Topic),
            4 => Some(ResourceKind::Broker),
            8 => Some(ResourceKind::BrokerLogger),
            16 => Some(ResourceKind::ClientMetrics),
            32 => Some(ResourceKind::Group),
            _ => None,
        }
    }

    pub fn id(self) -> i8 {
        self as i8
    }

    /// Kafka's constant, as its texts show it.
    pub fn name(self) -> &'static str {
        match self {
            ResourceKind::Topic => "TOPIC",
            ResourceKind::Broker => "BROKER",
            ResourceKind::BrokerLogger => "BROKER_LOGGER",
            ResourceKind::ClientMetrics => "CLIENT_METRICS",
            ResourceKind::Group => "GROUP",
        }
    }
}

/// A topic, a broker (the empty name is the default of all brokers), a group, ...
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigResource {
    pub kind: ResourceKind,
    pub name: Arc<str>,
}

impl ConfigResource {
    pub fn new(kind: ResourceKind, name: &str) -> Self {
        ConfigResource { kind, name: name.into() }
    }

    pub fn topic(name: &str) -> Self {
        Self::new(ResourceKind::Topic, name)
    }

    pub fn broker(id: i32) -> Self {
        Self::new(ResourceKind::Broker, &id.to_string())
    }

    /// The defaults of all brokers of the cluster.
    pub fn default_broker() -> Self {
        Self::new(ResourceKind::Broker, "")
    }
}

/// The settings of one resource, by key.
pub type Settings = BTreeMap<String, String>;

/// All dynamic configuration. A resource without settings is not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configs {
    resources: OrdMap<ConfigResource, Arc<Settings>>,
}

impl Configs {
    pub fn get(&self, resource: &ConfigResource) -> Option<&Arc<Settings>> {
        self.resources.get(resource)
    }

    pub fn value(&self, resource: &ConfigResource, key: &str) -> Option<&str> {
        self.get(resource)?.get(key).map(String::as_str)
    }

    /// In the order of kind and name.
    pub fn iter(&self) -> impl Iterator<Item = (&ConfigResource, &Arc<Settings>)> {
        self.resources.iter()
    }

    pub(super) fn apply(&mut self, record: &ConfigRecord<'_>, delta: &mut Delta) -> Result<(), ApplyError> {
        let Some(kind) = ResourceKind::from_id(record.resource_type) else {
            return Err(ApplyError::new(format!(
                "setting {} of {} belongs to a resource of the unknown type {}",
                record.name, record.resource_name, record.resource_type
            )));
        };
        let resource = ConfigResource::new(kind, &record.resource_name);
        let mut settings = self.resources.get(&resource).cloned().unwrap_or_default();
        let own = Arc::make_mut(&mut settings);
        match &record.value {
            Some(value) => own.insert(record.name.to_string(), value.to_string()),
            None => own.remove(&*record.name),
        };
        if settings.is_empty() {
            self.resources.remove(&resource);
        } else {
            self.resources.insert(resource.clone(), settings);
        }
        delta.configs.insert(resource);
        Ok(())
    }

    pub(super) fn remove(&mut self, resource: &ConfigResource, delta: &mut Delta) {
        if self.resources.remove(resource).is_some() {
            delta.configs.insert(resource.clone());
        }
    }
}
