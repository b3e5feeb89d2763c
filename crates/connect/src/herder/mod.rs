//! What is to run: the connectors that were asked for, who runs them, and the answers to whoever asks.
//!
//! A herder that is alone does everything at once. One in a group writes what is asked for to the topics, and does its
//! share of it when it reads it back ([`group`]).

mod changes;
pub mod group;
mod loggers;
mod offsets;
mod validate;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use connect_api::{Error, Properties, Result, TaskKind};

use crate::store::{Configs, State, Status, TaskId};
use crate::worker::Worker;
use group::Group;
pub use loggers::{Level, Loggers};
pub use offsets::Change;
pub use validate::ConfigInfos;

/// Why a request is refused.
#[derive(Debug)]
pub enum Refusal {
    /// With this HTTP status and message.
    Status(u16, String),
    /// Somebody else can do it: the URL of that worker.
    Elsewhere(String),
}

impl Refusal {
    pub fn not_found(message: impl Into<String>) -> Refusal {
        Refusal::Status(404, message.into())
    }

    pub fn bad_request(message: impl Into<String>) -> Refusal {
        Refusal::Status(400, message.into())
    }

    pub fn conflict(message: impl Into<String>) -> Refusal {
        Refusal::Status(409, message.into())
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let cause = error.cause.as_ref().map_or_else(String::new, |c| format!(": {}", c.message));
        Refusal::Status(500, format!("{}{cause}", error.message))
    }
}

/// The answer to a request.
pub type Answer<T> = std::result::Result<T, Refusal>;

/// A connector, as REST answers have it.
#[derive(Debug)]
pub struct ConnectorInfo {
    pub name: String,
    pub config: Properties,
    pub tasks: Vec<TaskId>,
    pub kind: Option<TaskKind>,
}

/// What a connector and its tasks are doing.
#[derive(Debug)]
pub struct ConnectorState {
    pub name: String,
    pub connector: Status,
    pub tasks: Vec<(TaskId, Status)>,
    pub kind: Option<TaskKind>,
}

/// Decides what runs.
pub struct Herder {
    pub worker: Arc<Worker>,
    pub configs: Arc<Configs>,
    pub cluster_id: String,
    pub loggers: Arc<Loggers>,
    /// None when this worker is alone.
    pub group: Option<Group>,
    /// Whether requests are answered yet.
    pub ready: AtomicBool,
    /// One change of what runs here at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Herder {
    pub fn new(
        worker: Arc<Worker>,
        configs: Arc<Configs>,
        cluster_id: String,
        loggers: Arc<Loggers>,
        group: Option<Group>,
    ) -> Herder {
        Herder {
            worker,
            configs,
            cluster_id,
            loggers,
            group,
            ready: AtomicBool::new(false),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// The names of all connectors.
    pub fn names(&self) -> Vec<String> {
        self.configs.with(|c| c.connectors.keys().cloned().collect())
    }

    /// A connector's settings, as they were given.
    pub fn config(&self, name: &str) -> Answer<Properties> {
        let config = self.configs.with(|c| c.connectors.get(name).cloned());
        config.ok_or_else(|| Refusal::not_found(format!("Connector {name} not found")))
    }

    pub fn info(&self, name: &str) -> Answer<ConnectorInfo> {
        let config = self.config(name)?;
        let tasks = self.configs.with(|c| c.tasks_of(name));
        Ok(ConnectorInfo { name: name.to_owned(), kind: self.kind_of(&config), config, tasks })
    }

    /// Whether a connector is a source or a sink; unknown when its class is.
    pub fn kind_of(&self, config: &Properties) -> Option<TaskKind> {
        let plugin = self.worker.plugins.find_connector(config.get("connector.class")?.trim())?;
        Some((plugin.new)().kind())
    }

    pub fn state(&self, name: &str) -> Answer<ConnectorState> {
        let statuses = &self.worker.statuses;
        let status = statuses.connector(name).filter(|_| self.configs.with(|c| c.connectors.contains_key(name)));
        let connector = status.ok_or_else(|| Refusal::not_found(format!("No status found for connector {name}")))?;
        let wanted = self.configs.with(|c| c.tasks_of(name));
        let tasks = statuses.tasks(name).into_iter().filter(|(id, _)| wanted.contains(id)).collect();
        let kind = self.config(name).ok().and_then(|c| self.kind_of(&c));
        Ok(ConnectorState { name: name.to_owned(), connector, tasks, kind })
    }

    pub fn task_state(&self, id: &TaskId) -> Answer<Status> {
        let status = self.worker.statuses.task(id);
        status.ok_or_else(|| Refusal::not_found(format!("No status found for task {id}")))
    }

    /// The tasks of a connector with their settings.
    pub fn tasks(&self, name: &str) -> Answer<Vec<(TaskId, Properties)>> {
        self.config(name)?;
        Ok(self.configs.with(|c| {
            c.tasks_of(name).into_iter().filter_map(|id| Some((id.clone(), c.tasks.get(&id)?.clone()))).collect()
        }))
    }

    pub fn topics(&self, name: &str) -> Answer<Vec<String>> {
        if !self.worker.config.topic_tracking {
            return Err(Refusal::Status(403, "Topic tracking is disabled.".to_owned()));
        }
        Ok(self.worker.statuses.topics(name))
    }

    pub fn reset_topics(&self, name: &str) -> Answer<()> {
        let config = &self.worker.config;
        if !config.topic_tracking {
            return Err(Refusal::Status(403, "Topic tracking is disabled.".to_owned()));
        }
        if !config.topic_tracking_reset {
            return Err(Refusal::Status(403, "Topic tracking reset is disabled.".to_owned()));
        }
        self.worker.statuses.reset_topics(name);
        Ok(())
    }

    /// Ends everything that runs here, and tells it.
    pub async fn stop(&self) {
        let _turn = self.turn.lock().await;
        self.worker.stop().await;
        if let Err(error) = self.worker.statuses.flush().await {
            tracing::warn!(target: "org.apache.kafka.connect.runtime.AbstractHerder", "The last states were not written: {error}");
        }
    }

    /// Starts a connector here, instead of what may run under its name, and works out its tasks.
    async fn start_here(&self, name: &str) -> Result<()> {
        let (config, target) = self.configs.with(|c| (c.connectors.get(name).cloned(), c.target(name)));
        let Some(config) = config else { return Ok(()) };
        self.worker.stop_connector(name, false).await;
        self.worker.start_connector(name, &config, target).await?;
        self.reconfigure(name).await
    }

    /// Asks a connector that runs here for its tasks, and has them run when they changed.
    async fn reconfigure(&self, name: &str) -> Result<()> {
        if self.configs.with(|c| c.target(name)) != crate::store::TargetState::Started {
            return Ok(());
        }
        let wanted = self.worker.task_configs(name).await?;
        let (current, count) = self.configs.with(|c| (c.task_configs(name), c.tasks_of(name).len()));
        if current == wanted && count == wanted.len() && !wanted.is_empty() {
            return Ok(());
        }
        match &self.group {
            Some(group) => group.publish_tasks(self, name, &wanted).await,
            None => {
                self.stop_tasks_here(name).await;
                self.configs.put_tasks(name, &wanted).await?;
                self.start_tasks_here(name).await;
                Ok(())
            }
        }
    }

    /// Stops the tasks of a connector that run here, for good or until they are started again.
    async fn stop_tasks_here(&self, name: &str) {
        let running: Vec<TaskId> = self.worker.running_tasks().into_iter().filter(|id| id.connector == name).collect();
        self.worker.stop_tasks(&running, true).await;
        for id in running {
            self.worker.statuses.remove_task(&id);
        }
    }

    /// Starts all tasks of a connector that do not run.
    async fn start_tasks_here(&self, name: &str) {
        let wanted = self.configs.with(|c| c.tasks_of(name));
        let running = self.worker.running_tasks();
        for id in wanted.iter().filter(|id| !running.contains(id)) {
            self.start_task_here(id).await;
        }
    }

    async fn start_task_here(&self, id: &TaskId) {
        let known = self.configs.with(|c| {
            let connector = c.connectors.get(&id.connector)?.clone();
            Some((connector, c.tasks.get(id)?.clone(), c.target(&id.connector)))
        });
        let Some((connector, mut task, target)) = known else { return };
        // What every connector has is also known to its tasks.
        for name in ["name", "connector.class"] {
            if let Some(value) = connector.get(name) {
                task.entry(name.to_owned()).or_insert_with(|| value.clone());
            }
        }
        self.worker.start_task(id, &connector, &task, target).await;
    }

    /// What the state of something is while it is being started again.
    fn restarting(&self) -> Status {
        self.worker.status(State::Restarting, None, None)
    }
}
