//! What there is to run: `/connector-plugins`.

use std::sync::Arc;

use connect_api::{ConfigDef, Properties, TaskKind};
use serde_json::{Value as Json, json};

use super::answers;
use crate::config::connector;
use crate::herder::{Answer, Herder, Refusal};

/// The plugins, sorted by name and kind; connectors first.
pub fn list(herder: &Herder, connectors_only: bool) -> Json {
    let plugins = &herder.worker.plugins;
    let entry = |class: &str, kind: &str, version: &str| json!({"class": class, "type": kind, "version": version});
    let mut all = Vec::new();
    for kind in [TaskKind::Sink, TaskKind::Source] {
        let mut found: Vec<_> = plugins.connectors_of(kind).collect();
        found.sort_by_key(|p| p.class);
        all.extend(found.iter().map(|p| entry(p.class, kind.name(), p.version)));
    }
    if !connectors_only {
        all.extend(plugins.transforms().iter().map(|p| entry(p.class, "transformation", p.version)));
        all.extend(plugins.predicates().iter().map(|p| entry(p.class, "predicate", p.version)));
        all.extend(plugins.converters().iter().map(|p| entry(p.class, "converter", p.version)));
        all.extend(plugins.header_converters().iter().map(|p| entry(p.class, "header_converter", p.version)));
    }
    Json::Array(all)
}

/// What a plugin of any kind declares.
pub fn config(herder: &Herder, name: &str) -> Answer<Json> {
    let plugins = &herder.worker.plugins;
    let keys = |def: &ConfigDef| def.keys().iter().map(answers::config_key).collect::<Vec<_>>();
    if let Some(plugin) = plugins.find_connector(name) {
        let connector = (plugin.new)();
        let own = connector.config();
        let common = connector::definition(connector.kind());
        let rest = common.keys().iter().filter(|k| own.key(&k.name).is_none()).map(answers::config_key);
        return Ok(Json::Array(keys(&own).into_iter().chain(rest).collect()));
    }
    let def = plugins
        .find_converter(name)
        .map(|p| (p.new)().config())
        .or_else(|| plugins.find_header_converter(name).map(|p| (p.new)().config()))
        .or_else(|| plugins.find_transform(name).map(|p| (p.new)().config()))
        .or_else(|| plugins.find_predicate(name).map(|p| (p.new)().config()));
    let def = def.ok_or_else(|| Refusal::not_found(format!("Unknown plugin {name}.")))?;
    Ok(Json::Array(keys(&def)))
}

/// Holds settings against what a connector declares.
pub async fn validate(herder: &Arc<Herder>, name: &str, properties: Properties) -> Answer<Json> {
    if let Some(class) = properties.get("connector.class") {
        let plugins = &herder.worker.plugins;
        let found = (plugins.find_connector(class.trim()), plugins.find_connector(name));
        let is_same = match found {
            (Some(given), Some(asked)) => given.class == asked.class,
            _ => false,
        };
        // As with Kafka, where it is not known what is meant: an alias is the end of the class's name.
        let alias = |name: &str| name.strip_suffix("Connector").unwrap_or(name).to_owned();
        if !is_same && !alias(class.trim()).ends_with(&alias(name)) {
            return Err(Refusal::bad_request(format!(
                "Included connector type {class} does not match request type {name}"
            )));
        }
    }
    let herder = herder.clone();
    let infos = tokio::task::spawn_blocking(move || herder.validate(&properties)).await;
    let infos = infos.map_err(|e| Refusal::Status(500, format!("The connector panicked: {e}")))??;
    Ok(answers::config_infos(&infos))
}
