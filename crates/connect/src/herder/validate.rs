//! Holding a connector's settings against everything that is declared for them.

use client::consumer::ConsumerConfig;
use client::producer::ProducerConfig;
use client::{ClientConfig, Role};
use connect_api::{ConfigDef, ConfigKey, Plugins, Preset, Properties, Validated};

use super::{Answer, Herder, Refusal};
use crate::config::connector::{check_topics, definition, enriched};
use crate::config::worker::prefixed;
use connect_api::TaskKind;

/// A declaration and what was given for it.
#[derive(Debug)]
pub struct Entry {
    /// `None` for the settings of clients.
    pub key: Option<ConfigKey>,
    pub value: Validated,
}

/// Everything about a connector's settings.
#[derive(Debug)]
pub struct ConfigInfos {
    /// The class, as it was asked for.
    pub name: String,
    pub groups: Vec<String>,
    pub entries: Vec<Entry>,
}

impl ConfigInfos {
    pub fn error_count(&self) -> usize {
        self.entries.iter().map(|e| e.value.errors.len()).sum()
    }

    /// Refuses when there are errors, and tells all of them.
    pub fn check(&self) -> Answer<()> {
        let errors: Vec<&str> = self.entries.iter().flat_map(|e| &e.value.errors).map(String::as_str).collect();
        if errors.is_empty() {
            return Ok(());
        }
        Err(Refusal::bad_request(format!(
            "Connector configuration is invalid and contains the following {} error(s):\n{}\nYou can also find the above list \
             of errors at the endpoint `/connector-plugins/{{connectorType}}/config/validate`",
            errors.len(),
            errors.join("\n")
        )))
    }
}

impl Herder {
    /// Looks at a connector's settings. Connectors may look at what they connect to: this is not for the runtime's
    /// threads.
    pub fn validate(&self, given: &Properties) -> Answer<ConfigInfos> {
        let properties = self.worker.resolved(given)?;
        let Some(class) = properties.get("connector.class").map(|c| c.trim()) else {
            let pairs: Vec<String> = given.iter().map(|(k, v)| format!("{k}={v}")).collect();
            return Err(Refusal::bad_request(format!(
                "Connector config {{{}}} contains no connector type",
                pairs.join(", ")
            )));
        };
        let plugin = self.worker.connector_plugin(class).map_err(|e| Refusal::bad_request(e.message))?;
        let connector = (plugin.new)();
        let kind = connector.kind();
        let plugins = &self.worker.plugins;
        let def = with_converters(definition(kind), &properties, &self.worker.config.properties, plugins);
        let common = enriched(def, &properties, plugins);
        let own = connector.config();
        let mut values = common.validate(&properties);
        // Converters are looked at apart, under the names of their own settings.
        for value in &mut values {
            let inner = CONVERTERS.iter().find_map(|c| value.name.strip_prefix(c)?.strip_prefix('.'));
            if let Some(inner) = inner {
                let (full, own) = (format!("configuration {}:", value.name), format!("configuration {inner}:"));
                value.errors.iter_mut().for_each(|e| *e = e.replace(&full, &own));
            }
        }
        if kind == TaskKind::Sink {
            check_topics(&properties, &mut values);
        }
        let mut own_values = own.validate(&properties);
        connector.validate(&properties, &mut own_values);
        let mut entries: Vec<Entry> = paired(common, values);
        // What a connector declares anew is its own.
        entries.retain(|e| own.key(&e.value.name).is_none());
        entries.extend(paired(own, own_values));
        self.add_overrides(kind, &properties, &mut entries);
        let mut groups: Vec<String> = Vec::new();
        for group in entries.iter().filter_map(|e| e.key.as_ref()?.group.clone()) {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        Ok(ConfigInfos { name: class.to_owned(), groups, entries })
    }

    /// What the connector overrides of the settings of the clients that its tasks use: held against the worker's policy, and
    /// against what the clients themselves take.
    fn add_overrides(&self, kind: TaskKind, properties: &Properties, entries: &mut Vec<Entry>) {
        let has_dead_letters =
            properties.get("errors.deadletterqueue.topic.name").is_some_and(|topic| !topic.is_empty());
        let creates_topics = properties.keys().any(|name| name.starts_with("topic.creation."));
        let is_source = kind == TaskKind::Source;
        let uses_admin = if is_source { creates_topics } else { has_dead_letters };
        let used = [
            (is_source || has_dead_letters, "producer", check_producer as fn(&Properties) -> Result<(), client::Error>),
            (!is_source, "consumer", check_consumer),
            (uses_admin, "admin", check_admin),
        ];
        for (_, client, check) in used.into_iter().filter(|(is_used, ..)| *is_used) {
            let overrides = prefixed(properties, &format!("{client}.override."));
            let mut all = self.worker.config.client_properties(&format!("{client}."));
            all.extend(overrides.clone());
            let refused = check(&all).err().map(|error| error.to_string()).unwrap_or_default();
            for (name, value) in overrides {
                let mut errors = Vec::new();
                if !self.worker.may_override(&name) {
                    errors.push(format!(
                        "The '{}' policy does not allow '{name}' to be overridden in the connector configuration.",
                        self.worker.config.override_policy.name()
                    ));
                }
                if refused.contains(&format!(" for configuration {name}: ")) {
                    errors.push(refused.clone());
                }
                let name = format!("{client}.override.{name}");
                let value = Validated { name, value: Some(value), recommended: Vec::new(), errors, visible: true };
                entries.push(Entry { key: None, value });
            }
        }
    }
}

fn check_producer(properties: &Properties) -> Result<(), client::Error> {
    ProducerConfig::new(properties).map(drop)
}

fn check_consumer(properties: &Properties) -> Result<(), client::Error> {
    ConsumerConfig::new(properties).map(drop)
}

fn check_admin(properties: &Properties) -> Result<(), client::Error> {
    ClientConfig::new(Role::Admin, properties).map(drop)
}

/// Declarations with what was given for each.
fn paired(def: ConfigDef, values: Vec<Validated>) -> Vec<Entry> {
    let keys = def.keys().to_vec();
    keys.into_iter().zip(values).map(|(key, value)| Entry { key: Some(key), value }).collect()
}

const CONVERTERS: [&str; 3] = ["key.converter", "value.converter", "header.converter"];

/// Has classes of converters looked up, with the worker's for defaults, and declares what those converters declare that
/// the connector names itself.
fn with_converters(mut def: ConfigDef, properties: &Properties, worker: &Properties, plugins: &Plugins) -> ConfigDef {
    for name in CONVERTERS {
        let find = move |plugins: &Plugins, class: &str| match name {
            "header.converter" => plugins.find_header_converter(class).map(|p| (p.new)().config()),
            _ => plugins.find_converter(class).map(|p| (p.new)().config()),
        };
        if let Some(mut key) = def.key(name).cloned() {
            let known = plugins.clone();
            key.default = match (worker.get(name), name) {
                (Some(class), _) => Preset::Text(class.trim().to_owned()),
                (None, "header.converter") => Preset::Text(SIMPLE_HEADERS.to_owned()),
                (None, _) => Preset::Null,
            };
            let classes = match name {
                "header.converter" => {
                    plugins.header_converters().iter().map(|p| p.class.to_owned()).collect::<Vec<_>>()
                }
                _ => plugins.converters().iter().map(|p| p.class.to_owned()).collect(),
            };
            let check = connect_api::Validator::check(move |value| match value.as_str() {
                Some(class) if find(&known, class).is_none() => Err(format!("Class {class} could not be found.")),
                _ => Ok(()),
            });
            def = def.define(key.recommend(classes).validator(check));
        }
        let inner = properties.get(name).and_then(|class| find(plugins, class.trim())).unwrap_or_default();
        for key in inner.keys().iter().filter(|k| k.name != "converter.type") {
            def = def.define(ConfigKey { name: format!("{name}.{}", key.name), ..key.clone() });
        }
    }
    def
}

const SIMPLE_HEADERS: &str = "org.apache.kafka.connect.storage.SimpleHeaderConverter";
