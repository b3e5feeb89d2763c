//! The states of connectors and tasks, and which topics connectors used: Kafka's status topic, or memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use connect_api::Result;
use serde_json::{Value as Json, json};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::{TopicLog, now_ms};
use crate::config::WorkerConfig;
use crate::config::worker::TopicSpec;

/// A task of a connector.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    pub connector: String,
    pub task: usize,
}

impl TaskId {
    /// `name-0`; the name may have hyphens as well.
    pub fn parse(text: &str) -> Option<TaskId> {
        let (connector, task) = text.rsplit_once('-')?;
        Some(TaskId { connector: connector.to_owned(), task: task.parse().ok()? })
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.connector, self.task)
    }
}

/// What a connector or task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Unassigned,
    Running,
    Paused,
    Failed,
    Restarting,
    Stopped,
}

impl State {
    const ALL: [State; 6] =
        [State::Unassigned, State::Running, State::Paused, State::Failed, State::Restarting, State::Stopped];

    pub fn name(self) -> &'static str {
        match self {
            State::Unassigned => "UNASSIGNED",
            State::Running => "RUNNING",
            State::Paused => "PAUSED",
            State::Failed => "FAILED",
            State::Restarting => "RESTARTING",
            State::Stopped => "STOPPED",
        }
    }
}

/// A state, who tells it, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub state: State,
    pub worker_id: String,
    /// Of the group when it was told.
    pub generation: i32,
    /// What a failure came from.
    pub trace: Option<String>,
    /// Of the plugin.
    pub version: Option<String>,
}

impl Status {
    fn json(&self) -> Json {
        json!({
            "state": self.state.name(),
            "trace": self.trace,
            "worker_id": self.worker_id,
            "generation": self.generation,
            "version": self.version,
        })
    }

    fn read(json: &Json) -> Option<Status> {
        let word = json.get("state")?.as_str()?;
        let text = |name: &str| json.get(name).and_then(Json::as_str).map(str::to_owned);
        Some(Status {
            state: State::ALL.into_iter().find(|s| s.name() == word)?,
            worker_id: text("worker_id").unwrap_or_default(),
            generation: json.get("generation").and_then(Json::as_i64).unwrap_or(-1) as i32,
            trace: text("trace"),
            version: text("version"),
        })
    }
}

/// A topic that a connector has used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicUse {
    pub topic: String,
    pub connector: String,
    pub task: usize,
}

#[derive(Default)]
struct Known {
    connectors: BTreeMap<String, Status>,
    tasks: BTreeMap<TaskId, Status>,
    /// By connector and topic.
    topics: BTreeMap<(String, String), usize>,
}

enum Order {
    Write(String, Option<Json>),
    Flush(oneshot::Sender<()>),
}

/// The store.
pub struct Statuses {
    known: Arc<Mutex<Known>>,
    /// Records go out one after the other, and nobody waits for them.
    orders: Option<mpsc::UnboundedSender<Order>>,
    log: Option<Arc<TopicLog>>,
}

impl Statuses {
    /// In memory.
    pub fn memory() -> Statuses {
        Statuses { known: Arc::default(), orders: None, log: None }
    }

    /// Reads the topic, and goes on reading it.
    pub async fn topic(config: &WorkerConfig, spec: &TopicSpec) -> Result<Statuses> {
        let known: Arc<Mutex<Known>> = Arc::default();
        let read = known.clone();
        let reader = move |key: Option<&[u8]>, value: Option<&[u8]>, _| {
            let Some(key) = key else { return };
            let json = value.and_then(|v| serde_json::from_slice(v).ok());
            apply(&mut read.lock().unwrap_or_else(PoisonError::into_inner), &String::from_utf8_lossy(key), json);
        };
        let log = Arc::new(TopicLog::open(config, spec, "connect-statuses", Box::new(reader)).await?);
        let (orders, mut queue) = mpsc::unbounded_channel();
        let writer = log.clone();
        tokio::spawn(async move {
            while let Some(order) = queue.recv().await {
                match order {
                    Order::Write(key, value) => {
                        let value: Option<Vec<u8>> = value.map(|v: Json| v.to_string().into_bytes());
                        if let Err(error) = writer.send(key.as_bytes(), value.as_deref()).await {
                            warn!(target: "org.apache.kafka.connect.storage.KafkaStatusBackingStore", "Failed to write the status {key}: {error}");
                        }
                    }
                    Order::Flush(done) => drop(done.send(())),
                }
            }
        });
        Ok(Statuses { known, orders: Some(orders), log: Some(log) })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, key: String, value: Option<Json>) {
        match &self.orders {
            // What is known is what the topic has, so that no reader sees states go backwards.
            Some(orders) => drop(orders.send(Order::Write(key, value))),
            None => apply(&mut self.known(), &key, value),
        }
    }

    /// Waits until everything told so far is written, and what was written is known.
    pub async fn flush(&self) -> Result<()> {
        if let (Some(orders), Some(log)) = (&self.orders, &self.log) {
            let (done, flushed) = oneshot::channel();
            if orders.send(Order::Flush(done)).is_ok() {
                let _ = flushed.await;
            }
            log.read_to_end().await?;
        }
        Ok(())
    }

    pub fn connector(&self, name: &str) -> Option<Status> {
        self.known().connectors.get(name).cloned()
    }

    pub fn task(&self, id: &TaskId) -> Option<Status> {
        self.known().tasks.get(id).cloned()
    }

    /// The states of a connector's tasks.
    pub fn tasks(&self, connector: &str) -> Vec<(TaskId, Status)> {
        let known = self.known();
        known.tasks.iter().filter(|(id, _)| id.connector == connector).map(|(id, s)| (id.clone(), s.clone())).collect()
    }

    pub fn put_connector(&self, name: &str, status: &Status) {
        self.write(format!("status-connector-{name}"), Some(status.json()));
    }

    pub fn put_task(&self, id: &TaskId, status: &Status) {
        self.write(format!("status-task-{id}"), Some(status.json()));
    }

    /// Forgets a connector and its tasks.
    pub fn remove_connector(&self, name: &str) {
        for (id, _) in self.tasks(name) {
            self.remove_task(&id);
        }
        self.write(format!("status-connector-{name}"), None);
    }

    pub fn remove_task(&self, id: &TaskId) {
        self.write(format!("status-task-{id}"), None);
    }

    /// The topics that a connector has used since they were reset.
    pub fn topics(&self, connector: &str) -> Vec<String> {
        let known = self.known();
        known.topics.keys().filter(|(name, _)| name == connector).map(|(_, topic)| topic.clone()).collect()
    }

    pub fn put_topic(&self, used: &TopicUse) {
        let key = format!("status-topic-{}:connector-{}", used.topic, used.connector);
        let value = json!({"topic": {
            "name": used.topic,
            "connector": used.connector,
            "task": used.task,
            "discoverTimestamp": now_ms(),
        }});
        self.write(key, Some(value));
    }

    pub fn reset_topics(&self, connector: &str) {
        for topic in self.topics(connector) {
            self.write(format!("status-topic-{topic}:connector-{connector}"), None);
        }
    }
}

/// Takes a record in.
fn apply(known: &mut Known, key: &str, json: Option<Json>) {
    if let Some(name) = key.strip_prefix("status-connector-") {
        match json.as_ref().and_then(Status::read) {
            Some(status) => known.connectors.insert(name.to_owned(), status),
            None => known.connectors.remove(name),
        };
    } else if let Some(id) = key.strip_prefix("status-task-").and_then(TaskId::parse) {
        match json.as_ref().and_then(Status::read) {
            Some(status) => known.tasks.insert(id, status),
            None => known.tasks.remove(&id),
        };
    } else if let Some((topic, connector)) = key.strip_prefix("status-topic-").and_then(|k| k.split_once(":connector-"))
    {
        let id = (connector.to_owned(), topic.to_owned());
        match json.as_ref().and_then(|j| j.get("topic")) {
            Some(used) => known.topics.insert(id, used.get("task").and_then(Json::as_u64).unwrap_or(0) as usize),
            None => known.topics.remove(&id),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_and_forgotten() {
        let statuses = Statuses::memory();
        let status = Status {
            state: State::Failed,
            worker_id: "w:1".into(),
            generation: 3,
            trace: Some("why".into()),
            version: None,
        };
        let id = TaskId { connector: "a-b".into(), task: 1 };
        statuses.put_connector("a-b", &status);
        statuses.put_task(&id, &status);
        assert_eq!(statuses.connector("a-b"), Some(status.clone()));
        assert_eq!(statuses.tasks("a-b"), [(id.clone(), status)]);
        statuses.remove_connector("a-b");
        assert_eq!((statuses.connector("a-b"), statuses.task(&id)), (None, None));
    }

    #[test]
    fn topics_are_known_by_connector() {
        let statuses = Statuses::memory();
        statuses.put_topic(&TopicUse { topic: "t".into(), connector: "c".into(), task: 0 });
        assert_eq!(statuses.topics("c"), ["t"]);
        assert!(statuses.topics("d").is_empty());
        statuses.reset_topics("c");
        assert!(statuses.topics("c").is_empty());
    }
}
