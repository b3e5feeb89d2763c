//! What runs here: connectors, and tasks on a thread each. What is to run is the herder's business.

mod connector;
mod dead_letters;
mod errors;
mod metrics;
mod pipeline;
mod signal;
mod sink;
mod source;
mod submitted;
mod topics;

use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::config_providers::ConfigProviders;
use client::consumer::{Consumer, Subscription};
use client::producer::Producer;
use connect_api::{ConnectorContext, Error, Plugins, Properties, Result, Task, TaskKind};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use crate::config::worker::{OverridePolicy, prefixed};
use crate::config::{ConnectorConfig, WorkerConfig};
use crate::store::{Offsets, State, Status, Statuses, TargetState, TaskId};
pub use connector::{RunningConnector, blocking};
use dead_letters::DeadLetterQueue;
use errors::Errors;
use metrics::{Sample, TaskMetrics};
use pipeline::{Converters, Transforms};
use signal::{Signal, Wanted};
use sink::SinkRun;
use source::SourceRun;
use submitted::Submitted;
use topics::TopicCreation;

const LOGGER: &str = "org.apache.kafka.connect.runtime.Worker";

/// What a connector asks for by itself.
#[derive(Debug)]
pub enum Request {
    /// Its tasks are to be worked out anew.
    Reconfigure(String),
}

/// What the thread of a task does; it tells when the task runs or pauses.
type Work = Box<dyn FnOnce(&dyn Fn(Wanted)) -> Result<()> + Send>;

/// A task on this worker.
struct RunningTask {
    kind: TaskKind,
    signal: Signal,
    metrics: Arc<TaskMetrics>,
    /// True when the thread is over.
    ended: watch::Receiver<bool>,
}

/// Runs connectors and tasks.
pub struct Worker {
    pub config: WorkerConfig,
    pub plugins: Plugins,
    pub offsets: Offsets,
    pub statuses: Statuses,
    /// Of the group, for states.
    pub generation: AtomicI32,
    providers: ConfigProviders,
    requests: mpsc::UnboundedSender<Request>,
    connectors: Mutex<BTreeMap<String, Arc<RunningConnector>>>,
    tasks: Mutex<BTreeMap<TaskId, RunningTask>>,
}

impl Worker {
    pub fn new(
        config: WorkerConfig,
        plugins: Plugins,
        offsets: Offsets,
        statuses: Statuses,
        requests: mpsc::UnboundedSender<Request>,
    ) -> Result<Arc<Worker>> {
        let providers = ConfigProviders::new(&config.properties).map_err(|e| Error::config(e.to_string()))?;
        Ok(Arc::new(Worker {
            config,
            plugins,
            offsets,
            statuses,
            generation: AtomicI32::new(0),
            providers,
            requests,
            connectors: Mutex::default(),
            tasks: Mutex::default(),
        }))
    }

    fn connectors(&self) -> MutexGuard<'_, BTreeMap<String, Arc<RunningConnector>>> {
        self.connectors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, BTreeMap<TaskId, RunningTask>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Settings with what config providers know filled in.
    pub fn resolved(&self, properties: &Properties) -> Result<Properties> {
        self.providers.resolve(properties).map_err(|e| Error::config(e.to_string()))
    }

    /// The plugin behind a connector's class, by any of its names.
    pub fn connector_plugin(&self, class: &str) -> Result<connect_api::Plugin<dyn connect_api::Connector>> {
        self.plugins.find_connector(class.trim()).ok_or_else(|| {
            let known: Vec<&str> = self.plugins.connectors().iter().map(|p| p.class).collect();
            let jars = match self.config.plugin_path.is_empty() {
                true => "",
                false => {
                    ". Connectors in jars (plugin.path) need a Java worker, which works with the same brokers in a group of its \
                     own"
                }
            };
            Error::connect(format!(
                "Failed to find any class that implements Connector and which name matches {class}, available connectors \
                 are: {}{jars}",
                known.join(", ")
            ))
        })
    }

    /// A state of something on this worker, as of now.
    pub fn status(&self, state: State, trace: Option<String>, version: Option<&str>) -> Status {
        Status {
            state,
            worker_id: self.config.worker_id(),
            generation: self.generation.load(Relaxed),
            trace,
            version: version.map(str::to_owned),
        }
    }

    pub fn running_connectors(&self) -> Vec<String> {
        self.connectors().keys().cloned().collect()
    }

    pub fn running_tasks(&self) -> Vec<TaskId> {
        self.tasks().keys().cloned().collect()
    }

    /// Starts a connector, and tells its state either way.
    pub async fn start_connector(
        self: &Arc<Self>,
        name: &str,
        properties: &Properties,
        target: TargetState,
    ) -> Result<()> {
        info!(target: LOGGER, "Creating connector {name} of type {}", properties.get("connector.class").map_or("", |c| c));
        let started = self.try_start_connector(name, properties, target).await;
        match started {
            Ok(()) => Ok(()),
            Err(error) => {
                error!(target: LOGGER, "Failed to start connector {name}: {}", error.trace().trim_end());
                self.statuses.put_connector(name, &self.status(State::Failed, Some(error.trace()), None));
                Err(error)
            }
        }
    }

    async fn try_start_connector(
        self: &Arc<Self>,
        name: &str,
        properties: &Properties,
        target: TargetState,
    ) -> Result<()> {
        let properties = self.resolved(properties)?;
        let class = properties.get("connector.class").map_or("", |c| c.as_str());
        let plugin = self.connector_plugin(class)?;
        let (worker, this, failing) = (Arc::downgrade(self), name.to_owned(), name.to_owned());
        let (requests, version) = (self.requests.clone(), plugin.version);
        let context = ConnectorContext::new(
            move || drop(requests.send(Request::Reconfigure(this.clone()))),
            move |error| {
                if let Some(worker) = worker.upgrade() {
                    let status = worker.status(State::Failed, Some(error.trace()), Some(version));
                    worker.statuses.put_connector(&failing, &status);
                }
            },
        );
        let connector = RunningConnector::new(plugin.class, plugin.version, (plugin.new)(), properties, context);
        let connector = Arc::new(connector);
        self.connectors().insert(name.to_owned(), connector.clone());
        connector.go(target).await?;
        self.statuses.put_connector(name, &self.status(state_of(target), None, Some(plugin.version)));
        info!(target: LOGGER, "Finished creating connector {name}");
        Ok(())
    }

    /// Stops a connector, and tells it unless it is gone for good.
    pub async fn stop_connector(&self, name: &str, tell: bool) {
        let Some(connector) = self.connectors().remove(name) else { return };
        if let Err(error) = connector.go(TargetState::Stopped).await {
            warn!(target: LOGGER, "Stopping connector {name} failed: {}", error.trace().trim_end());
        }
        if tell {
            self.statuses.put_connector(name, &self.status(State::Unassigned, None, Some(connector.version)));
        }
        info!(target: LOGGER, "Stopped connector {name}");
    }

    /// The settings of a connector's tasks, as it wants them now.
    pub async fn task_configs(&self, name: &str) -> Result<Vec<Properties>> {
        let connector = self.connectors().get(name).cloned();
        match connector {
            Some(connector) => connector.task_configs().await,
            None => Err(Error::connect(format!("Connector {name} not found in this worker."))),
        }
    }

    /// Has a connector and its tasks here go on, pause or stop. What is stopped has no tasks, which is not decided here.
    pub async fn set_target(&self, name: &str, target: TargetState) {
        let connector = self.connectors().get(name).cloned();
        if let Some(connector) = connector {
            let status = match connector.go(target).await {
                Ok(()) => self.status(state_of(target), None, Some(connector.version)),
                Err(error) => self.status(State::Failed, Some(error.trace()), Some(connector.version)),
            };
            self.statuses.put_connector(name, &status);
        }
        for (id, task) in &*self.tasks() {
            if id.connector == name && target != TargetState::Stopped {
                task.signal.set(if target == TargetState::Paused { Wanted::Pause } else { Wanted::Run });
            }
        }
    }

    /// Starts a task on a thread of its own, and tells its state either way.
    pub async fn start_task(
        self: &Arc<Self>,
        id: &TaskId,
        connector: &Properties,
        task: &Properties,
        target: TargetState,
    ) {
        info!(target: LOGGER, "Creating task {id}");
        if let Err(error) = self.try_start_task(id, connector, task, target).await {
            error!(target: LOGGER, "Failed to start task {id}: {}", error.trace().trim_end());
            self.statuses.put_task(id, &self.status(State::Failed, Some(error.trace()), None));
        }
    }

    async fn try_start_task(
        self: &Arc<Self>,
        id: &TaskId,
        connector: &Properties,
        task: &Properties,
        target: TargetState,
    ) -> Result<()> {
        let (connector, properties) = (self.resolved(connector)?, self.resolved(task)?);
        let plugin = self.connector_plugin(connector.get("connector.class").map_or("", |c| c))?;
        let handle = Handle::current();
        let wanted = if target == TargetState::Started { Wanted::Run } else { Wanted::Pause };
        let signal = Signal::new(handle.clone(), wanted);
        let metrics = Arc::new(TaskMetrics::default());
        let instance = (plugin.new)();
        let kind = instance.kind();
        let config = ConnectorConfig::new(kind, &connector)?;
        let converters = Converters::new(&connector, &self.config.properties, &self.plugins)?;
        let transforms = Transforms::new(&config.steps, &self.plugins)?;
        let dead_letters = match &config.errors.dead_letters {
            None => None,
            Some(settings) => {
                let producer = self.client_properties(Client::DeadLetters, id, &connector)?;
                let admin = self.client_properties(Client::Admin, id, &connector)?;
                Some(DeadLetterQueue::open(settings.clone(), &producer, &admin, metrics.clone()).await?)
            }
        };
        let errors = Errors::new(id.clone(), config.errors.clone(), dead_letters, metrics.clone(), signal.clone());
        let errors = Arc::new(errors);
        let (over, ended) = watch::channel(false);
        let running = RunningTask { kind, signal: signal.clone(), metrics: metrics.clone(), ended };
        let (worker, version) = (self.clone(), plugin.version);
        let work: Work = match instance.task() {
            Task::Source(task) => {
                let producer = self.client_properties(Client::Producer, id, &connector)?;
                let producer = Producer::open(&producer).await.map_err(|e| Error::config(e.to_string()))?;
                let creation = match self.config.topic_creation {
                    true => {
                        TopicCreation::open(&connector, &self.client_properties(Client::Admin, id, &connector)?).await?
                    }
                    false => None,
                };
                let submitted = Arc::new(Submitted::default());
                self.spawn_commits(id, &submitted, &metrics, &signal);
                let mut run = SourceRun {
                    id: id.clone(),
                    task,
                    converters,
                    transforms,
                    errors,
                    producer,
                    creation,
                    worker: self.clone(),
                    signal,
                    submitted,
                    metrics,
                    handle: handle.clone(),
                };
                Box::new(move |told| run.run(&properties, told))
            }
            Task::Sink(task) => {
                let consumer = self.client_properties(Client::Consumer, id, &connector)?;
                let consumer = Consumer::open(&consumer).await.map_err(|e| Error::config(e.to_string()))?;
                let subscription = subscription(&config)?;
                let mut run = SinkRun {
                    id: id.clone(),
                    task,
                    converters,
                    transforms,
                    errors,
                    consumer,
                    worker: self.clone(),
                    signal,
                    metrics,
                    handle: handle.clone(),
                    topics: HashSet::new(),
                };
                Box::new(move |told| {
                    let result = run.run(&properties, subscription, told);
                    // The group hears that this member is gone, and goes on without it.
                    run.handle.clone().block_on(run.consumer.close());
                    result
                })
            }
        };
        let thread = id.clone();
        self.tasks().insert(id.clone(), running);
        let spawned = std::thread::Builder::new().name(format!("task-{id}")).spawn(move || {
            run_task(&worker, &thread, version, wanted, work);
            let _ = over.send(true);
        });
        if let Err(error) = spawned {
            self.tasks().remove(id);
            return Err(Error::connect(format!("The system gives no thread for task {id}")).caused_by(error));
        }
        Ok(())
    }

    /// Writes a source's offsets now and then, for as long as its task is alive.
    fn spawn_commits(
        self: &Arc<Self>,
        id: &TaskId,
        submitted: &Arc<Submitted>,
        metrics: &Arc<TaskMetrics>,
        signal: &Signal,
    ) {
        let (worker, id) = (self.clone(), id.clone());
        let (submitted, metrics, signal) = (submitted.clone(), metrics.clone(), signal.clone());
        tokio::spawn(async move {
            let interval = worker.config.offset_flush_interval.max(Duration::from_millis(1));
            loop {
                tokio::time::sleep(interval).await;
                if signal.is_stopping() || Arc::strong_count(&submitted) == 1 {
                    return;
                }
                source::commit(&worker, &id, &submitted, &metrics).await;
            }
        });
    }

    /// Has tasks stop, and waits for them at most `task.shutdown.graceful.timeout.ms`. What does not stop in time is left
    /// alone: it ends with its next call.
    pub async fn stop_tasks(&self, ids: &[TaskId], tell: bool) {
        let stopping: Vec<(TaskId, RunningTask)> = {
            let mut tasks = self.tasks();
            ids.iter().filter_map(|id| Some((id.clone(), tasks.remove(id)?))).collect()
        };
        for (_, task) in &stopping {
            task.signal.set(Wanted::Stop);
        }
        let deadline = tokio::time::Instant::now() + self.config.shutdown_timeout;
        for (id, mut task) in stopping {
            info!(target: LOGGER, "Stopping task {id}");
            let ended = tokio::time::timeout_at(deadline, task.ended.wait_for(|e| *e)).await.is_ok();
            if !ended {
                error!(target: LOGGER, "Graceful stop of task {id} failed.");
            }
            let failed = self.statuses.task(&id).is_some_and(|s| s.state == State::Failed);
            if tell && !failed {
                let version = self.statuses.task(&id).and_then(|s| s.version);
                self.statuses.put_task(&id, &self.status(State::Unassigned, None, version.as_deref()));
            }
        }
    }

    /// Stops everything.
    pub async fn stop(&self) {
        self.stop_tasks(&self.running_tasks(), true).await;
        for name in self.running_connectors() {
            self.stop_connector(&name, true).await;
        }
    }

    /// The page of metrics.
    pub fn metrics_page(&self) -> String {
        let state = |status: Option<Status>| status.map_or("unassigned", |s| lower(s.state));
        let connectors: Vec<_> = self
            .connectors()
            .iter()
            .map(|(name, c)| (name.clone(), c.kind.name(), state(self.statuses.connector(name))))
            .collect();
        let tasks = self.tasks();
        let samples: Vec<Sample<'_>> = tasks
            .iter()
            .map(|(id, task)| Sample {
                id,
                source: task.kind == TaskKind::Source,
                state: state(self.statuses.task(id)),
                metrics: &task.metrics,
            })
            .collect();
        metrics::page(&connectors, &samples)
    }

    /// The settings of a task's client: fixed ones, the worker's, and those that the connector overrides where it may.
    pub fn client_properties(&self, client: Client, id: &TaskId, connector: &Properties) -> Result<Properties> {
        let (kind, fixed) = match client {
            Client::Producer => ("producer", SOURCE_PRODUCER),
            Client::DeadLetters => ("producer", SOURCE_PRODUCER),
            Client::Consumer => ("consumer", SINK_CONSUMER),
            Client::Admin => ("admin", &[][..]),
        };
        let mut properties: Properties = fixed.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let name = match client {
            Client::Producer => format!("connector-producer-{id}"),
            Client::DeadLetters => format!("connector-dlq-producer-{id}"),
            Client::Consumer => format!("connector-consumer-{id}"),
            Client::Admin => format!("connector-adminclient-{id}"),
        };
        properties.insert("client.id".to_owned(), name);
        if client == Client::Consumer {
            properties.insert("group.id".to_owned(), format!("connect-{}", id.connector));
        }
        properties.extend(self.config.client_properties(&format!("{kind}.")));
        let overrides = prefixed(connector, &format!("{kind}.override."));
        if let Some(refused) = overrides.keys().find(|name| !self.may_override(name)) {
            return Err(Error::config(format!(
                "The '{}' policy does not allow '{refused}' to be overridden in the connector configuration.",
                self.config.override_policy.name()
            )));
        }
        properties.extend(overrides);
        Ok(properties)
    }

    /// Whether connectors may set this of a client's settings.
    pub fn may_override(&self, name: &str) -> bool {
        match &self.config.override_policy {
            OverridePolicy::All => true,
            OverridePolicy::None => false,
            OverridePolicy::Principal => ["sasl.jaas.config", "sasl.mechanism", "security.protocol"].contains(&name),
            OverridePolicy::Allowlist(names) => names.iter().any(|n| n == name),
        }
    }

    /// The group that a sink's tasks read in.
    pub fn sink_group(connector: &str, properties: &Properties) -> String {
        properties.get("consumer.override.group.id").cloned().unwrap_or_else(|| format!("connect-{connector}"))
    }
}

/// Which client of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Producer,
    DeadLetters,
    Consumer,
    Admin,
}

/// Nothing is lost and nothing overtakes: as long as it takes, one request at a time.
const SOURCE_PRODUCER: &[(&str, &str)] = &[
    ("max.block.ms", "9223372036854775807"),
    ("acks", "all"),
    ("max.in.flight.requests.per.connection", "1"),
    ("delivery.timeout.ms", "2147483647"),
    ("enable.idempotence", "false"),
];

const SINK_CONSUMER: &[(&str, &str)] = &[("enable.auto.commit", "false"), ("auto.offset.reset", "earliest")];

fn state_of(target: TargetState) -> State {
    match target {
        TargetState::Started => State::Running,
        TargetState::Paused => State::Paused,
        TargetState::Stopped => State::Stopped,
    }
}

fn lower(state: State) -> &'static str {
    match state {
        State::Unassigned => "unassigned",
        State::Running => "running",
        State::Paused => "paused",
        State::Failed => "failed",
        State::Restarting => "restarting",
        State::Stopped => "stopped",
    }
}

fn subscription(config: &ConnectorConfig) -> Result<Subscription> {
    match &config.topics_regex {
        None => Ok(Subscription::Topics(config.topics.clone())),
        Some(regex) => {
            let pattern = client::pattern::Pattern::new(regex).map_err(Error::config)?;
            Ok(Subscription::Matching(Arc::new(move |topic| pattern.matches(topic))))
        }
    }
}

/// The thread of a task: tells its states, whatever happens in it.
fn run_task(worker: &Worker, id: &TaskId, version: &str, wanted: Wanted, work: Work) {
    let put = |state, trace| worker.statuses.put_task(id, &worker.status(state, trace, Some(version)));
    let told = |wanted: Wanted| {
        let state = if wanted == Wanted::Pause { State::Paused } else { State::Running };
        info!(target: "org.apache.kafka.connect.runtime.WorkerTask", "WorkerTask{{id={id}}} {}", state.name());
        put(state, None);
    };
    if wanted == Wanted::Run {
        told(Wanted::Run);
    }
    let result = catch_unwind(AssertUnwindSafe(|| work(&told)));
    let error = match result {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Error::connect(format!("The task panicked: {}", text.unwrap_or("no message")))
        }
    };
    let trace = error.trace();
    error!(
        target: "org.apache.kafka.connect.runtime.WorkerTask",
        "WorkerTask{{id={id}}} Task threw an uncaught and unrecoverable exception. Task is being killed and will not recover \
         until manually restarted: {}",
        trace.trim_end()
    );
    put(State::Failed, Some(trace));
}
