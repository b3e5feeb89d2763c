//! The shapes of answers.

use serde_json::{Map, Value as Json, json};

use crate::herder::{ConfigInfos, ConnectorInfo, ConnectorState};
use crate::store::{Status, TaskId};
use connect_api::{ConfigKey, Preset, TaskKind};

pub fn task_id(id: &TaskId) -> Json {
    json!({"connector": id.connector, "task": id.task})
}

pub fn info(info: &ConnectorInfo) -> Json {
    json!({
        "name": info.name,
        "config": info.config,
        "tasks": info.tasks.iter().map(task_id).collect::<Vec<_>>(),
        "type": kind(info.kind),
    })
}

fn kind(kind: Option<TaskKind>) -> &'static str {
    kind.map_or("unknown", TaskKind::name)
}

/// Where something runs and how: with a trace when it failed.
fn status(status: &Status) -> Map<String, Json> {
    let mut map = Map::new();
    map.insert("state".to_owned(), json!(status.state.name()));
    map.insert("worker_id".to_owned(), json!(status.worker_id));
    if let Some(version) = &status.version {
        map.insert("version".to_owned(), json!(version));
    }
    if let Some(trace) = &status.trace {
        map.insert("trace".to_owned(), json!(trace));
    }
    map
}

pub fn task_state(id: &TaskId, of: &Status) -> Json {
    let mut map = Map::new();
    map.insert("id".to_owned(), json!(id.task));
    map.extend(status(of));
    Json::Object(map)
}

pub fn state(state: &ConnectorState) -> Json {
    json!({
        "name": state.name,
        "connector": status(&state.connector),
        "tasks": state.tasks.iter().map(|(id, s)| task_state(id, s)).collect::<Vec<_>>(),
        "type": kind(state.kind),
    })
}

pub fn config_key(key: &ConfigKey) -> Json {
    let default = match &key.default {
        Preset::Text(text) => Some(text.as_str()),
        Preset::Required | Preset::Null => None,
    };
    json!({
        "name": key.name,
        "type": key.kind.name(),
        "required": key.default == Preset::Required,
        "default_value": default,
        "importance": key.importance.name(),
        "documentation": key.documentation,
        "group": key.group,
        "order_in_group": key.order,
        "width": key.width.name(),
        "display_name": key.display_name,
        "dependents": key.dependents,
    })
}

pub fn config_infos(infos: &ConfigInfos) -> Json {
    let configs = infos.entries.iter().map(|entry| {
        json!({
            "definition": entry.key.as_ref().map(config_key),
            "value": {
                "name": entry.value.name,
                "value": entry.value.value,
                "recommended_values": entry.value.recommended,
                "errors": entry.value.errors,
                "visible": entry.value.visible,
            },
        })
    });
    json!({
        "name": infos.name,
        "error_count": infos.error_count(),
        "groups": infos.groups,
        "configs": configs.collect::<Vec<_>>(),
    })
}
