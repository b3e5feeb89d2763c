//! What DescribeConfigs answers: each setting with its value, where that comes from, and what else could have set it.

use super::key::{Key, Kind, Update};
use super::layers::{Layers, Values, group_synonym, topic_synonym, unit_synonyms, without_listener_prefix};
use super::table::{broker_key, broker_keys, client_metrics_keys, group_keys, quota_key, topic_keys};
use super::value::Value;

/// Where a value comes from; the numbers are the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    DynamicTopic = 1,
    DynamicBroker = 2,
    DynamicDefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
    DynamicBrokerLogger = 6,
    ClientMetrics = 7,
    Group = 8,
}

/// A value that counts, or would if those before it were not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    pub name: String,
    pub value: Option<String>,
    pub source: Source,
}

/// One setting as DescribeConfigs answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    /// `None` is null: not set, or secret.
    pub value: Option<String>,
    pub source: Source,
    pub read_only: bool,
    pub sensitive: bool,
    /// `None` for a setting that Kafka does not know.
    pub kind: Option<Kind>,
    pub documentation: Option<&'static str>,
    /// From the strongest; the first is what counts.
    pub synonyms: Vec<Synonym>,
}

/// Which settings are asked for.
pub type Wanted<'a> = &'a dyn Fn(&str) -> bool;

/// A topic's settings, by name. `own` are those set for the topic itself.
pub fn topic(own: &dyn Values, layers: &Layers<'_>, wanted: Wanted<'_>) -> Vec<Entry> {
    let keys = topic_keys().iter().filter(|key| wanted(key.name) && (!key.internal || own.value(key.name).is_some()));
    keys.map(|key| {
        let value = layers.topic_value(own, key.name);
        let inherited = topic_synonym(key.name).map(|broker| broker_synonyms(broker, layers)).unwrap_or_default();
        resource_entry(key, own, value, Source::DynamicTopic, inherited)
    })
    .collect()
}

/// A group's settings, by name (KIP-848, KIP-932, KIP-1071).
pub fn group(own: &dyn Values, layers: &Layers<'_>, wanted: Wanted<'_>) -> Vec<Entry> {
    let keys = group_keys().iter().filter(|key| wanted(key.name));
    keys.map(|key| {
        let broker = group_synonym(key.name).and_then(broker_key);
        let own_default =
            || Synonym { name: key.name.to_owned(), value: key.default.map(str::to_owned), source: Source::Default };
        let inherited = broker.map_or_else(|| vec![own_default()], |broker| broker_synonyms(broker.name, layers));
        let set = own.value(key.name).and_then(|text| key.parse(text).ok());
        let value = set.or_else(|| broker.and_then(|b| layers.value(b))).or_else(|| default(key));
        resource_entry(key, own, value, Source::Group, inherited)
    })
    .collect()
}

/// The settings of a client metrics subscription, by name (KIP-714).
pub fn client_metrics(own: &dyn Values, wanted: Wanted<'_>) -> Vec<Entry> {
    let keys = client_metrics_keys().iter().filter(|key| wanted(key.name));
    keys.map(|key| {
        let set = own.value(key.name).and_then(|text| key.parse(text).ok());
        resource_entry(key, own, set.or_else(|| default(key)), Source::ClientMetrics, Vec::new())
    })
    .collect()
}

/// A broker's settings, by name: all that Kafka shows, and what else its file says.
pub fn broker(layers: &Layers<'_>, wanted: Wanted<'_>) -> Vec<Entry> {
    let mut names: Vec<String> =
        broker_keys().iter().filter(|key| !key.internal).map(|key| key.name.to_owned()).collect();
    for layer in [layers.fixed, layers.dynamic_default, layers.dynamic_broker] {
        layer.for_each(&mut |name, _| names.push(name.to_owned()));
    }
    names.sort_unstable();
    names.dedup();
    names.into_iter().filter(|name| wanted(name)).map(|name| broker_entry(name, layers)).collect()
}

/// What was set at run time for all brokers, by name.
pub fn broker_defaults(layers: &Layers<'_>, wanted: Wanted<'_>) -> Vec<Entry> {
    let mut names = Vec::new();
    layers.dynamic_default.for_each(&mut |name, _| names.push(name.to_owned()));
    names.sort_unstable();
    let only = Layers { dynamic_broker: &(), dynamic_default: layers.dynamic_default, fixed: &() };
    let entry = |name| {
        let mut entry = broker_entry(name, &only);
        entry.synonyms.retain(|synonym| synonym.source == Source::DynamicDefaultBroker);
        entry
    };
    names.into_iter().filter(|name| wanted(name)).map(entry).collect()
}

fn default(key: &Key) -> Option<Value> {
    key.default.and_then(|text| key.parse(text).ok())
}

fn resource_entry(
    key: &'static Key,
    own: &dyn Values,
    value: Option<Value>,
    source: Source,
    inherited: Vec<Synonym>,
) -> Entry {
    let value = value.map(|v| v.to_string());
    let set = own.value(key.name).map(|_| Synonym { name: key.name.to_owned(), value: value.clone(), source });
    let synonyms: Vec<Synonym> = set.into_iter().chain(inherited).collect();
    Entry {
        name: key.name.to_owned(),
        value,
        source: synonyms.first().map_or(Source::Default, |s| s.source),
        read_only: false,
        sensitive: key.is_sensitive(),
        kind: Some(key.kind),
        documentation: Some(key.doc),
        synonyms,
    }
}

fn broker_entry(name: String, layers: &Layers<'_>) -> Entry {
    let key = base_key(&name);
    let sensitive = key.is_none_or(Key::is_sensitive);
    let synonyms = broker_synonyms(&name, layers);
    let own_key = own_key(&name);
    let value = match own_key {
        _ if sensitive => None,
        Some(key) => layers.value(key).map(|v| v.to_string()),
        // Set for one listener: there is no default under this name.
        None => synonyms.first().and_then(|s| s.value.clone()),
    };
    Entry {
        value,
        source: synonyms.first().map_or(Source::Default, |s| s.source),
        read_only: own_key.is_none_or(|key| key.update == Update::ReadOnly),
        sensitive,
        kind: key.map(|key| key.kind),
        documentation: key.map(|key| key.doc),
        synonyms,
        name,
    }
}

/// The key of this very name: the broker's quotas are settings that can only be made at run time.
fn own_key(name: &str) -> Option<&'static Key> {
    broker_key(name).or_else(|| quota_key(name))
}

/// As [`own_key`], or what is set here for one listener.
fn base_key(name: &str) -> Option<&'static Key> {
    own_key(name).or_else(|| broker_key(without_listener_prefix(name)?))
}

/// What sets a broker's key, from the strongest. Kafka leaves out what comes before the first that has the very name
/// asked for: the hours of a retention that is described in milliseconds show only behind a value in milliseconds.
fn broker_synonyms(name: &str, layers: &Layers<'_>) -> Vec<Synonym> {
    let own_name = [name];
    let mut names: Vec<&str> = match unit_synonyms(name) {
        [] => own_name.to_vec(),
        units => units.to_vec(),
    };
    names.extend(without_listener_prefix(name));
    let mut all = Vec::new();
    let mut add = |name: &str, value: Option<&str>, source| {
        let Some(value) = value else { return };
        let secret = base_key(name).is_none_or(Key::is_sensitive);
        all.push(Synonym { name: name.to_owned(), value: (!secret).then(|| value.to_owned()), source });
    };
    for (layer, source) in [
        (layers.dynamic_broker, Source::DynamicBroker),
        (layers.dynamic_default, Source::DynamicDefaultBroker),
        (layers.fixed, Source::StaticBroker),
    ] {
        names.iter().for_each(|name| add(name, layer.value(name), source));
    }
    for name in &names {
        add(name, broker_key(name).and_then(|key| key.default), Source::Default);
    }
    let first = all.iter().position(|s: &Synonym| s.name == name).unwrap_or(all.len());
    all.split_off(first)
}
