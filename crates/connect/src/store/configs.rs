//! Which connectors there are, with the settings of their tasks, and what is wanted of them: Kafka's config topic, or
//! memory for a worker that is alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use connect_api::{Properties, Result};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tracing::warn;

use super::{TaskId, TopicLog, now_ms};
use crate::config::WorkerConfig;
use crate::config::worker::TopicSpec;

/// What is wanted of a connector and its tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetState {
    #[default]
    Started,
    Paused,
    /// Without tasks.
    Stopped,
}

impl TargetState {
    fn read(json: &Json) -> Option<TargetState> {
        // Workers that do not know the second field take a stopped connector for a paused one.
        let word = json.get("state.v2").or(json.get("state"))?.as_str()?;
        match word {
            "STARTED" => Some(TargetState::Started),
            "PAUSED" => Some(TargetState::Paused),
            "STOPPED" => Some(TargetState::Stopped),
            _ => None,
        }
    }

    fn json(self) -> Json {
        let (old, new) = match self {
            TargetState::Started => ("STARTED", "STARTED"),
            TargetState::Paused => ("PAUSED", "PAUSED"),
            TargetState::Stopped => ("PAUSED", "STOPPED"),
        };
        json!({"state": old, "state.v2": new})
    }
}

/// What workers sign requests to each other with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionKey {
    pub key: Vec<u8>,
    /// In ms.
    pub created: i64,
}

/// A connector is to be started again, with its tasks or some of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartRequest {
    pub connector: String,
    pub only_failed: bool,
    pub include_tasks: bool,
}

/// Everything that is known.
#[derive(Clone, Debug, Default)]
pub struct ConfigsState {
    /// The offset after the last record that was read; -1 before any. Java's workers compare it with theirs.
    pub offset: i64,
    pub session_key: Option<SessionKey>,
    pub connectors: BTreeMap<String, Properties>,
    pub tasks: BTreeMap<TaskId, Properties>,
    pub targets: BTreeMap<String, TargetState>,
    /// How many tasks each connector has, which is also how many of `tasks`.
    counts: BTreeMap<String, usize>,
    /// Connectors whose tasks are incomplete: their writer died half way.
    inconsistent: BTreeSet<String>,
    /// Tasks that were written and not committed.
    deferred: BTreeMap<String, BTreeMap<usize, Properties>>,
}

impl ConfigsState {
    /// The tasks of a connector, in order; none while they are incomplete.
    pub fn tasks_of(&self, connector: &str) -> Vec<TaskId> {
        if self.inconsistent.contains(connector) {
            return Vec::new();
        }
        let count = self.counts.get(connector).copied().unwrap_or(0);
        (0..count).map(|task| TaskId { connector: connector.to_owned(), task }).collect()
    }

    /// The settings of a connector's tasks, in order.
    pub fn task_configs(&self, connector: &str) -> Vec<Properties> {
        self.tasks_of(connector).iter().filter_map(|id| self.tasks.get(id).cloned()).collect()
    }

    pub fn target(&self, connector: &str) -> TargetState {
        self.targets.get(connector).copied().unwrap_or_default()
    }
}

/// What changed.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigEvent {
    Connector(String),
    Removed(String),
    Tasks(String),
    Target(String),
    Restart(RestartRequest),
    Logger { name: String, level: String },
    SessionKey,
}

/// The store; who opened it is told of every change after the first reading.
pub struct Configs {
    state: Arc<Mutex<ConfigsState>>,
    events: mpsc::UnboundedSender<ConfigEvent>,
    log: Option<TopicLog>,
}

impl Configs {
    /// In memory.
    pub fn memory(events: mpsc::UnboundedSender<ConfigEvent>) -> Configs {
        let state = ConfigsState { offset: -1, ..ConfigsState::default() };
        Configs { state: Arc::new(Mutex::new(state)), events, log: None }
    }

    /// Reads the topic, and goes on reading it.
    pub async fn topic(
        config: &WorkerConfig,
        spec: &TopicSpec,
        events: mpsc::UnboundedSender<ConfigEvent>,
    ) -> Result<Configs> {
        let state = Arc::new(Mutex::new(ConfigsState { offset: -1, ..ConfigsState::default() }));
        let (read, tell) = (state.clone(), events.clone());
        let reader = move |key: Option<&[u8]>, value: Option<&[u8]>, offset: i64| {
            let mut state = read.lock().unwrap_or_else(PoisonError::into_inner);
            state.offset = offset + 1;
            let event = apply(&mut state, key, value);
            drop(state);
            if let Some(event) = event {
                // Nobody listens while the topic is read for the first time.
                let _ = tell.send(event);
            }
        };
        let log = TopicLog::open(config, spec, "connect-configs", Box::new(reader)).await?;
        if log.partition_count() != 1 {
            return Err(connect_api::Error::config(format!(
                "Topic '{}' supplied via the 'config.storage.topic' property is required to have a single partition in \
                 order to guarantee consistency of connector configurations, but found {} partitions.",
                spec.name,
                log.partition_count()
            )));
        }
        Ok(Configs { state, events, log: Some(log) })
    }

    fn locked(&self) -> MutexGuard<'_, ConfigsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what is known.
    pub fn with<T>(&self, f: impl FnOnce(&ConfigsState) -> T) -> T {
        f(&self.locked())
    }

    /// Waits until everything that was written before is known.
    pub async fn refresh(&self) -> Result<()> {
        match &self.log {
            Some(log) => log.read_to_end().await,
            None => Ok(()),
        }
    }

    /// A new or changed connector, with what is wanted of it when that is to change.
    pub async fn put_connector(&self, name: &str, properties: &Properties, target: Option<TargetState>) -> Result<()> {
        let mut records = Vec::new();
        if let Some(target) = target {
            records.push((format!("target-state-{name}"), Some(target.json())));
        }
        records.push((format!("connector-{name}"), Some(json!({"properties": properties}))));
        self.write(records).await
    }

    pub async fn remove_connector(&self, name: &str) -> Result<()> {
        self.write(vec![(format!("connector-{name}"), None), (format!("target-state-{name}"), None)]).await
    }

    /// The settings of all tasks of a connector, instead of what it had.
    pub async fn put_tasks(&self, connector: &str, tasks: &[Properties]) -> Result<()> {
        let mut records: Vec<_> = tasks
            .iter()
            .enumerate()
            .map(|(i, properties)| (format!("task-{connector}-{i}"), Some(json!({"properties": properties}))))
            .collect();
        records.push((format!("commit-{connector}"), Some(json!({"tasks": tasks.len()}))));
        self.write(records).await
    }

    pub async fn put_target(&self, connector: &str, target: TargetState) -> Result<()> {
        self.write(vec![(format!("target-state-{connector}"), Some(target.json()))]).await
    }

    pub async fn put_restart(&self, request: &RestartRequest) -> Result<()> {
        let value = json!({"include-tasks": request.include_tasks, "only-failed": request.only_failed});
        self.write(vec![(format!("restart-connector-{}", request.connector), Some(value))]).await
    }

    pub async fn put_logger(&self, name: &str, level: &str) -> Result<()> {
        self.write(vec![(format!("logger-cluster-{name}"), Some(json!({"level": level})))]).await
    }

    pub async fn put_session_key(&self, key: &[u8]) -> Result<()> {
        let value = json!({
            "key": crate::base64::encode(key),
            "algorithm": "HmacSHA256",
            "creation-timestamp": now_ms(),
        });
        self.write(vec![("session-key".to_owned(), Some(value))]).await
    }

    async fn write(&self, records: Vec<(String, Option<Json>)>) -> Result<()> {
        let records: Vec<(String, Option<Vec<u8>>)> =
            records.into_iter().map(|(key, value)| (key, value.map(|v| v.to_string().into_bytes()))).collect();
        match &self.log {
            Some(log) => {
                log.send_all(records.iter().map(|(k, v)| (k.as_bytes(), v.as_deref()))).await?;
                log.read_to_end().await
            }
            None => {
                for (key, value) in records {
                    let event = apply(&mut self.locked(), Some(key.as_bytes()), value.as_deref());
                    if let Some(event) = event {
                        let _ = self.events.send(event);
                    }
                }
                Ok(())
            }
        }
    }
}

/// Takes a record in.
fn apply(state: &mut ConfigsState, key: Option<&[u8]>, value: Option<&[u8]>) -> Option<ConfigEvent> {
    let key = String::from_utf8_lossy(key?);
    let json = value.and_then(|v| serde_json::from_slice::<Json>(v).ok()).filter(|v| !v.is_null());
    if value.is_some() && json.is_none() {
        warn!(target: "org.apache.kafka.connect.storage.KafkaConfigBackingStore", "Ignoring a record of the config topic that is no JSON: {key}");
        return None;
    }
    if let Some(name) = key.strip_prefix("connector-") {
        return match json {
            Some(json) => {
                state.connectors.insert(name.to_owned(), properties(&json)?);
                Some(ConfigEvent::Connector(name.to_owned()))
            }
            None => {
                state.connectors.remove(name)?;
                state.counts.remove(name);
                state.deferred.remove(name);
                state.inconsistent.remove(name);
                state.tasks.retain(|id, _| id.connector != name);
                Some(ConfigEvent::Removed(name.to_owned()))
            }
        };
    }
    if let Some(name) = key.strip_prefix("target-state-") {
        return match json {
            Some(json) => {
                let target = TargetState::read(&json)?;
                let old = state.targets.insert(name.to_owned(), target);
                let changed = old.unwrap_or_default() != target && state.connectors.contains_key(name);
                changed.then(|| ConfigEvent::Target(name.to_owned()))
            }
            None => {
                state.targets.remove(name);
                None
            }
        };
    }
    if let Some(name) = key.strip_prefix("restart-connector-") {
        let json = json?;
        let flag = |name: &str| json.get(name).and_then(Json::as_bool).unwrap_or(false);
        return Some(ConfigEvent::Restart(RestartRequest {
            connector: name.to_owned(),
            only_failed: flag("only-failed"),
            include_tasks: flag("include-tasks"),
        }));
    }
    if let Some(name) = key.strip_prefix("logger-cluster-") {
        let level = json?.get("level")?.as_str()?.to_owned();
        return Some(ConfigEvent::Logger { name: name.to_owned(), level });
    }
    if key == "session-key" {
        let json = json?;
        let key = crate::base64::decode(json.get("key")?.as_str()?)?;
        state.session_key = Some(SessionKey { key, created: json.get("creation-timestamp")?.as_i64()? });
        return Some(ConfigEvent::SessionKey);
    }
    if let Some(name) = key.strip_prefix("commit-") {
        let count = usize::try_from(json?.get("tasks")?.as_u64()?).ok()?;
        return commit(state, name, count);
    }
    if let Some(id) = key.strip_prefix("task-").and_then(TaskId::parse) {
        let properties = properties(&json?)?;
        state.deferred.entry(id.connector).or_default().insert(id.task, properties);
    }
    None
}

/// All tasks of a connector were written before.
fn commit(state: &mut ConfigsState, name: &str, count: usize) -> Option<ConfigEvent> {
    // A connector that was removed meanwhile has no tasks.
    if !state.connectors.contains_key(name) {
        return None;
    }
    let written = state.deferred.remove(name).unwrap_or_default();
    let complete = (0..count).all(|i| written.contains_key(&i));
    state.counts.insert(name.to_owned(), if complete { count } else { 0 });
    if !complete {
        state.inconsistent.insert(name.to_owned());
        return None;
    }
    state.inconsistent.remove(name);
    state.tasks.retain(|id, _| id.connector != name);
    for (task, properties) in written.into_iter().take_while(|(i, _)| *i < count) {
        state.tasks.insert(TaskId { connector: name.to_owned(), task }, properties);
    }
    Some(ConfigEvent::Tasks(name.to_owned()))
}

fn properties(json: &Json) -> Option<Properties> {
    let Json::Object(object) = json.get("properties")? else { return None };
    let text = |value: &Json| match value {
        Json::String(text) => Some(text.clone()),
        Json::Null => None,
        other => Some(other.to_string()),
    };
    Some(object.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(state: &mut ConfigsState, key: &str, value: Option<&str>) -> Option<ConfigEvent> {
        apply(state, Some(key.as_bytes()), value.map(str::as_bytes))
    }

    #[test]
    fn tasks_count_from_their_commit_on() {
        let mut state = ConfigsState::default();
        let event = tell(&mut state, "connector-c", Some(r#"{"properties":{"a":"b"}}"#));
        assert_eq!(event, Some(ConfigEvent::Connector("c".into())));
        assert_eq!(tell(&mut state, "task-c-0", Some(r#"{"properties":{"x":"y"}}"#)), None);
        assert!(state.tasks_of("c").is_empty());
        assert_eq!(tell(&mut state, "commit-c", Some(r#"{"tasks":1}"#)), Some(ConfigEvent::Tasks("c".into())));
        assert_eq!(state.task_configs("c").len(), 1);
        // A commit whose tasks are not all there.
        assert_eq!(tell(&mut state, "commit-c", Some(r#"{"tasks":2}"#)), None);
        assert!(state.tasks_of("c").is_empty());
        assert_eq!(tell(&mut state, "connector-c", None), Some(ConfigEvent::Removed("c".into())));
        assert!(state.connectors.is_empty());
    }

    #[test]
    fn a_stopped_connector_looks_paused_to_old_workers() {
        assert_eq!(TargetState::Stopped.json().to_string(), r#"{"state":"PAUSED","state.v2":"STOPPED"}"#);
        for target in [TargetState::Started, TargetState::Paused, TargetState::Stopped] {
            assert_eq!(TargetState::read(&target.json()), Some(target));
        }
        assert_eq!(TargetState::read(&json!({"state": "PAUSED"})), Some(TargetState::Paused));
    }

    #[test]
    fn rubbish_in_the_topic_changes_nothing() {
        let mut state = ConfigsState::default();
        for (key, value) in [("connector-c", "x"), ("commit-c", "{}"), ("session-key", "{\"key\":1}"), ("foo", "{}")] {
            assert_eq!(tell(&mut state, key, Some(value)), None);
        }
        assert!(state.connectors.is_empty());
    }
}
