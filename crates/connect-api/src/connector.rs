//! What divides work into tasks.

use std::sync::Arc;

use crate::{ConfigDef, Error, Properties, Result, SinkTask, SourceMap, SourceTask, Validated};

/// Which way records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    Source,
    Sink,
}

impl TaskKind {
    /// As in REST answers.
    pub fn name(self) -> &'static str {
        match self {
            TaskKind::Source => "source",
            TaskKind::Sink => "sink",
        }
    }
}

/// A task that a connector made.
pub enum Task {
    Source(Box<dyn SourceTask>),
    Sink(Box<dyn SinkTask>),
}

/// What the worker does for a running connector; may be cloned and called from any thread.
#[derive(Clone)]
pub struct ConnectorContext {
    reconfigure: Arc<dyn Fn() + Send + Sync>,
    fail: Arc<dyn Fn(Error) + Send + Sync>,
}

impl ConnectorContext {
    /// Made by the worker from what is to happen on [`request_task_reconfiguration`](Self::request_task_reconfiguration)
    /// and on [`raise`](Self::raise).
    pub fn new(
        reconfigure: impl Fn() + Send + Sync + 'static,
        fail: impl Fn(Error) + Send + Sync + 'static,
    ) -> ConnectorContext {
        ConnectorContext { reconfigure: Arc::new(reconfigure), fail: Arc::new(fail) }
    }

    /// Has the worker ask for [`Connector::task_configs`] again.
    pub fn request_task_reconfiguration(&self) {
        (self.reconfigure)();
    }

    /// Tells the worker that the connector cannot go on: it is marked as failed.
    pub fn raise(&self, error: Error) {
        (self.fail)(error);
    }
}

/// Divides the work of moving data in or out into tasks. One connector lives on one worker at a time; its tasks may live
/// on others, and know only the settings that [`task_configs`](Self::task_configs) gave them.
pub trait Connector: Send {
    fn kind(&self) -> TaskKind;

    /// The connector's own settings.
    fn config(&self) -> ConfigDef;

    /// More than what the declarations say, such as settings that exclude each other: errors are added to `values`.
    fn validate(&self, properties: &Properties, values: &mut Vec<Validated>) {
        let _ = (properties, values);
    }

    /// Begins to watch what it connects to, if there is anything to watch.
    fn start(&mut self, properties: &Properties, context: ConnectorContext) -> Result<()>;

    /// The settings of each task, at most `max` of them.
    fn task_configs(&self, max: usize) -> Result<Vec<Properties>>;

    /// A task that is not started yet.
    fn task(&self) -> Task;

    fn stop(&mut self) {}

    /// Called before the offsets of a source are changed from outside (`PATCH` and `DELETE …/offsets`), while it is
    /// stopped. Says whether the offsets were looked at; an error refuses them. A missing offset means from the start.
    fn alter_offsets(&self, properties: &Properties, offsets: &[(SourceMap, Option<SourceMap>)]) -> Result<bool> {
        let _ = (properties, offsets);
        Ok(false)
    }
}
