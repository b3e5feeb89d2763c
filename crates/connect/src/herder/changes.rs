//! Requests that change what runs.

use connect_api::Properties;
use tracing::{info, warn};

use super::{Answer, ConnectorInfo, ConnectorState, Herder, Loggers, Refusal};
use crate::store::{RestartRequest, State, TargetState, TaskId};

const LOGGER: &str = "org.apache.kafka.connect.runtime.AbstractHerder";

impl Herder {
    /// Validates off the runtime's threads.
    async fn check(self: &std::sync::Arc<Self>, config: &Properties) -> Answer<()> {
        let (herder, config) = (self.clone(), config.clone());
        let infos = tokio::task::spawn_blocking(move || herder.validate(&config));
        infos.await.map_err(|e| Refusal::Status(500, format!("The connector panicked: {e}")))??.check()
    }

    /// A new connector, or new settings for one. Says whether it is new.
    pub async fn put_connector(
        self: &std::sync::Arc<Self>,
        name: &str,
        mut config: Properties,
        target: Option<TargetState>,
        replace: bool,
    ) -> Answer<(bool, ConnectorInfo)> {
        self.lead()?;
        config.entry("name".to_owned()).or_insert_with(|| name.to_owned());
        self.check(&config).await?;
        let _turn = self.turn.lock().await;
        let exists = self.configs.with(|c| c.connectors.contains_key(name));
        if exists && !replace {
            return Err(Refusal::conflict(format!("Connector {name} already exists")));
        }
        if !exists && self.kind_of(&config) == Some(connect_api::TaskKind::Sink) {
            self.check_group(name, &config)?;
        }
        self.configs.put_connector(name, &config, target).await?;
        if self.group.is_none() {
            // The tasks of a connector that changed are worked out anew, and run with what is set now.
            self.stop_tasks_here(name).await;
            self.configs.put_tasks(name, &[]).await?;
            self.start_here(name).await?;
        }
        Ok((!exists, self.info(name)?))
    }

    /// A sink's group must not be the workers' own.
    fn check_group(&self, name: &str, config: &Properties) -> Answer<()> {
        let group = crate::worker::Worker::sink_group(name, config);
        match &self.group {
            Some(own) if own.id() == group => Err(Refusal::bad_request(format!(
                "Consumer group for sink connector named {name} conflicts with Connect worker group {group}"
            ))),
            _ => Ok(()),
        }
    }

    /// Changes some settings of a connector; null takes one away.
    pub async fn patch_connector(
        self: &std::sync::Arc<Self>,
        name: &str,
        patch: Vec<(String, Option<String>)>,
    ) -> Answer<ConnectorInfo> {
        self.lead()?;
        let mut config = self.config(name)?;
        for (key, value) in patch {
            match value {
                Some(value) => config.insert(key, value),
                None => config.remove(&key),
            };
        }
        Ok(self.put_connector(name, config, None, true).await?.1)
    }

    pub async fn delete_connector(&self, name: &str) -> Answer<()> {
        self.lead()?;
        let _turn = self.turn.lock().await;
        self.config(name)?;
        if self.group.is_none() {
            self.stop_tasks_here(name).await;
            self.worker.stop_connector(name, false).await;
        }
        self.configs.remove_connector(name).await?;
        if self.group.is_none() {
            self.forget(name);
        }
        Ok(())
    }

    /// Forgets the states of a connector that is gone.
    pub(super) fn forget(&self, name: &str) {
        self.worker.statuses.reset_topics(name);
        self.worker.statuses.remove_connector(name);
    }

    /// Pauses or resumes a connector and its tasks.
    pub async fn set_target(&self, name: &str, target: TargetState) -> Answer<()> {
        if !self.configs.with(|c| c.connectors.contains_key(name)) {
            return Err(Refusal::not_found(format!("Unknown connector {name}")));
        }
        let _turn = self.turn.lock().await;
        let before = self.configs.with(|c| c.target(name));
        self.configs.put_target(name, target).await?;
        if self.group.is_none() && before != target {
            self.worker.set_target(name, target).await;
            self.reconfigure(name).await?;
        }
        Ok(())
    }

    /// Stops a connector: it keeps its settings and offsets, and has no tasks.
    pub async fn stop_connector(&self, name: &str) -> Answer<()> {
        self.lead()?;
        self.config(name)?;
        let _turn = self.turn.lock().await;
        self.configs.put_target(name, TargetState::Stopped).await?;
        self.configs.put_tasks(name, &[]).await?;
        if self.group.is_none() {
            self.stop_tasks_here(name).await;
            self.worker.set_target(name, TargetState::Stopped).await;
        }
        Ok(())
    }

    /// Starts a connector again, without its tasks.
    pub async fn restart_connector(&self, name: &str) -> Answer<()> {
        self.config(name)?;
        self.owns_connector(name)?;
        let _turn = self.turn.lock().await;
        self.worker.statuses.put_connector(name, &self.restarting());
        self.start_here(name).await?;
        Ok(())
    }

    /// Starts a connector again with its tasks, or only what failed of them; answers what is being started.
    pub async fn restart(&self, request: &RestartRequest) -> Answer<ConnectorState> {
        let name = &request.connector;
        if !self.configs.with(|c| c.connectors.contains_key(name)) {
            return Err(Refusal::not_found(format!("Unknown connector: {name}")));
        }
        self.lead()?;
        let mut plan = self.state(name)?;
        let restarting = |state: &mut State| {
            if !request.only_failed || *state == State::Failed {
                *state = State::Restarting;
            }
        };
        restarting(&mut plan.connector.state);
        if request.include_tasks {
            plan.tasks.iter_mut().for_each(|(_, status)| restarting(&mut status.state));
        }
        match &self.group {
            Some(_) => self.configs.put_restart(request).await?,
            None => {
                let _turn = self.turn.lock().await;
                self.restart_here(request).await;
            }
        }
        Ok(plan)
    }

    /// Starts again what runs here of it.
    pub(super) async fn restart_here(&self, request: &RestartRequest) {
        let name = &request.connector;
        let statuses = &self.worker.statuses;
        let meant = |state: Option<State>| !request.only_failed || state == Some(State::Failed);
        let owned = self.owned_tasks(name);
        let tasks: Vec<TaskId> = match request.include_tasks {
            true => owned.into_iter().filter(|id| meant(statuses.task(id).map(|s| s.state))).collect(),
            false => Vec::new(),
        };
        let connector = self.owns_connector(name).is_ok() && meant(statuses.connector(name).map(|s| s.state));
        if connector {
            statuses.put_connector(name, &self.restarting());
        }
        for id in &tasks {
            statuses.put_task(id, &self.restarting());
        }
        self.worker.stop_tasks(&tasks, false).await;
        if connector && let Err(error) = self.start_here(name).await {
            warn!(target: LOGGER, "Connector {name} was not restarted: {}", error.trace().trim_end());
        }
        let running = self.worker.running_tasks();
        for id in tasks.iter().filter(|id| !running.contains(id)) {
            self.start_task_here(id).await;
        }
        info!(target: LOGGER, "Completed restart of {name} with {} tasks", tasks.len());
    }

    pub async fn restart_task(&self, id: &TaskId) -> Answer<()> {
        if !self.configs.with(|c| c.tasks_of(&id.connector).contains(id)) {
            let known = self.configs.with(|c| c.connectors.contains_key(&id.connector));
            let what =
                if known { format!("Task {id} not found") } else { format!("Unknown connector {}", id.connector) };
            return Err(Refusal::not_found(what));
        }
        self.owns_task(id)?;
        let _turn = self.turn.lock().await;
        self.worker.stop_tasks(std::slice::from_ref(id), false).await;
        self.worker.statuses.put_task(id, &self.restarting());
        self.start_task_here(id).await;
        Ok(())
    }

    /// The settings of a connector's tasks, from the worker that runs the connector.
    pub async fn put_tasks(&self, name: &str, tasks: &[Properties]) -> Answer<()> {
        if self.group.is_none() {
            let message = "Kafka Connect in standalone mode does not support externally setting task configurations.";
            return Err(Refusal::Status(500, message.to_owned()));
        }
        self.lead()?;
        self.config(name)?;
        self.configs.put_tasks(name, tasks).await?;
        Ok(())
    }

    /// Works out the tasks of a connector that asked for it.
    pub async fn reconfigure_requested(&self, name: &str) {
        let _turn = self.turn.lock().await;
        if let Err(error) = self.reconfigure(name).await {
            warn!(target: LOGGER, "The tasks of {name} could not be worked out: {}", error.trace().trim_end());
        }
    }

    /// Sets a logger's level on every worker.
    pub async fn set_cluster_level(&self, name: &str, level: &str) -> Answer<()> {
        match (&self.group, Loggers::parse(level)) {
            (Some(_), _) => self.configs.put_logger(name, level).await?,
            (None, Some(level)) => drop(self.loggers.set(name, level)),
            (None, None) => {}
        }
        Ok(())
    }

    /// Refuses when another worker leads.
    pub fn lead(&self) -> Answer<()> {
        self.group.as_ref().map_or(Ok(()), |group| group.lead())
    }

    fn owns_connector(&self, name: &str) -> Answer<()> {
        self.group.as_ref().map_or(Ok(()), |group| group.owns_connector(name))
    }

    fn owns_task(&self, id: &TaskId) -> Answer<()> {
        self.group.as_ref().map_or(Ok(()), |group| group.owns_task(id))
    }

    /// The tasks of a connector that this worker is to run.
    fn owned_tasks(&self, name: &str) -> Vec<TaskId> {
        match &self.group {
            Some(group) => group.owned_tasks(name),
            None => self.configs.with(|c| c.tasks_of(name)),
        }
    }
}
