//! What the controller needs of its node's configuration.

use std::collections::BTreeMap;

use wire::ErrorCode;

use super::Refusal;
use crate::config::key::{Key, Kind, Update};
use crate::config::layers::Layers;
use crate::config::table;
use crate::config::value::Value;
use crate::config::{client_metrics, group, topic};
use crate::image::{ConfigResource, Image, ResourceKind, Settings};
use crate::planted::Bug;

/// The settings of the node that runs the controller.
#[derive(Clone, Debug, Default)]
pub struct NodeSettings {
    pub node_id: i32,
    /// The properties file with its overrides.
    pub file: BTreeMap<String, String>,
    /// What tests plant in the quorum and the controller.
    pub bug: Bug,
}

impl NodeSettings {
    /// Partitions of a topic that does not say how many it wants.
    pub fn num_partitions(&self) -> i32 {
        self.fixed_number("num.partitions").and_then(|count| i32::try_from(count).ok()).unwrap_or(1)
    }

    /// Replicas of a topic that does not say how many it wants.
    pub fn replication_factor(&self) -> i16 {
        self.fixed_number("default.replication.factor").and_then(|factor| i16::try_from(factor).ok()).unwrap_or(1)
    }

    /// `min.insync.replicas` as the file says, for clusters in which nobody set it.
    pub fn fixed_min_insync_replicas(&self) -> i64 {
        self.fixed_number("min.insync.replicas").unwrap_or(1)
    }

    /// `min.insync.replicas` of one topic, from whichever layer sets it.
    pub fn min_insync_replicas(&self, image: &Image, topic: &str) -> usize {
        match self.topic_value(image, topic, "min.insync.replicas") {
            Some(Value::Whole(count)) => usize::try_from(count).unwrap_or(1),
            _ => 1,
        }
    }

    pub fn unclean_leader_election(&self, image: &Image, topic: &str) -> bool {
        self.topic_value(image, topic, "unclean.leader.election.enable") == Some(Value::Boolean(true))
    }

    fn fixed_number(&self, name: &str) -> Option<i64> {
        match Layers::of_file(&self.file).value(table::broker_key(name)?) {
            Some(Value::Whole(value)) => Some(value),
            _ => None,
        }
    }

    fn topic_value(&self, image: &Image, topic: &str, key: &str) -> Option<Value> {
        self.layers(image).topic_value(settings_of(image, ConfigResource::topic(topic)), key)
    }

    fn layers<'a>(&'a self, image: &'a Image) -> Layers<'a> {
        Layers {
            dynamic_broker: settings_of(image, ConfigResource::broker(self.node_id)),
            dynamic_default: settings_of(image, ConfigResource::default_broker()),
            fixed: &self.file,
        }
    }

    pub(super) fn is_list(kind: ResourceKind, key: &str) -> bool {
        let key = match kind {
            ResourceKind::Topic => table::topic_key(key),
            ResourceKind::Broker => table::broker_key(key),
            ResourceKind::Group => table::group_key(key),
            // Kafka does not know the types of these.
            ResourceKind::ClientMetrics | ResourceKind::BrokerLogger => None,
        };
        key.is_some_and(|key| key.kind == Kind::List)
    }

    /// What a list is before anybody changed it.
    pub(super) fn list_default(&self, kind: ResourceKind, key: &str) -> Option<String> {
        let text = |key: Option<&Key>| key.and_then(|key| key.default).map(str::to_owned);
        match kind {
            ResourceKind::Topic => text(table::topic_key(key)),
            ResourceKind::Broker => self.file.get(key).cloned().or_else(|| text(table::broker_key(key))),
            ResourceKind::Group => text(table::group_key(key)),
            _ => None,
        }
    }

    /// Whether a resource may have these settings: `all` is how they will be, `before` how they are.
    pub(super) fn check(
        &self,
        image: &Image,
        resource: &ConfigResource,
        all: &Settings,
        before: &Settings,
    ) -> Result<(), Refusal> {
        let invalid = |text: String| Refusal::new(ErrorCode::InvalidConfig, text);
        match resource.kind {
            ResourceKind::Topic => topic::validate_all(all, before, &self.layers(image)).map_err(invalid),
            ResourceKind::Group => group::validate_all(all, &self.layers(image)).map_err(invalid),
            ResourceKind::ClientMetrics => {
                client_metrics::validate_all(&resource.name, all).map_err(|(code, text)| Refusal::new(code, text))
            }
            ResourceKind::Broker => check_broker(all, resource.name.is_empty()),
            ResourceKind::BrokerLogger => Ok(()),
        }
    }
}

/// Settings of a broker, or the defaults of all. Keys that Kafka does not know are kept: they may be a plugin's.
fn check_broker(all: &Settings, is_default: bool) -> Result<(), Refusal> {
    let refuse = |text: String| Err(Refusal::new(ErrorCode::InvalidRequest, text));
    let named = |wanted: &dyn Fn(&str, &Key) -> bool| {
        let known = all.keys().filter_map(|name| Some((name, table::broker_key(without_listener(name))?)));
        known.filter(|(name, key)| wanted(name, key)).map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let fixed = named(&|_, key| key.update == Update::ReadOnly);
    if !fixed.is_empty() {
        return refuse(format!("Cannot update these configs dynamically: [{fixed}]"));
    }
    let of_a_listener =
        named(&|name, key| name == key.name && name.starts_with("ssl.") && key.update == Update::PerBroker);
    if !of_a_listener.is_empty() {
        return refuse(format!(
            "These security configs can be dynamically updated only per-listener using the listener prefix: \
             [{of_a_listener}]"
        ));
    }
    for (name, value) in all {
        if let Some(Err(text)) = table::broker_key(without_listener(name)).map(|key| key.parse(value)) {
            return refuse(text);
        }
    }
    let own = named(&|_, key| key.update == Update::PerBroker);
    if is_default && !own.is_empty() {
        return refuse(format!(
            "Cannot update these configs at default cluster level, broker id must be specified: [{own}]"
        ));
    }
    Ok(())
}

/// `listener.name.NAME.key` is `key` for one listener.
fn without_listener(name: &str) -> &str {
    name.strip_prefix("listener.name.").and_then(|rest| rest.split_once('.')).map_or(name, |(_, key)| key)
}

fn settings_of(image: &Image, resource: ConfigResource) -> &Settings {
    static NONE: Settings = Settings::new();
    image.configs.get(&resource).map_or(&NONE, |settings| &**settings)
}
