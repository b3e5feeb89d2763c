//! Connectors that do nothing, or fail when they are told to: for tests of whoever watches them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use connect_api::{
    ConfigDef, ConfigKey, Connector, ConnectorContext, Error, Importance, Kind, Properties, Result, SinkContext,
    SinkRecord, SinkTask, SourceContext, SourceRecord, SourceTask, Task, TaskKind, Validator,
};

const MODE: &str = "mock_mode";
const DELAY: &str = "delay_ms";
const CONNECTOR_FAILURE: &str = "connector-failure";
const TASK_FAILURE: &str = "task-failure";

fn definition() -> ConfigDef {
    ConfigDef::new()
        .define(
            ConfigKey::optional(MODE, Kind::String, Importance::Medium, "What fails; nothing when not set.")
                .validator(Validator::OneOf(&[CONNECTOR_FAILURE, TASK_FAILURE])),
        )
        .define(
            ConfigKey::with_default(DELAY, Kind::Long, "15000", Importance::Medium, "After how many ms it fails.")
                .validator(Validator::AtLeast(0.0)),
        )
}

/// `MockSourceConnector` and `MockSinkConnector`.
pub struct Mock {
    kind: TaskKind,
    properties: Properties,
}

impl Mock {
    pub fn new(kind: TaskKind) -> Mock {
        Mock { kind, properties: Properties::new() }
    }
}

impl Connector for Mock {
    fn kind(&self) -> TaskKind {
        self.kind
    }

    fn config(&self) -> ConfigDef {
        definition()
    }

    fn start(&mut self, properties: &Properties, context: ConnectorContext) -> Result<()> {
        let config = definition().parse(properties)?;
        self.properties.clone_from(properties);
        if config.string(MODE) == Some(CONNECTOR_FAILURE) {
            let delay = Duration::from_millis(config.integer(DELAY).unsigned_abs());
            std::thread::spawn(move || {
                std::thread::sleep(delay);
                context.raise(Error::connect("The mock connector fails, as it was told to"));
            });
        }
        Ok(())
    }

    fn task_configs(&self, _: usize) -> Result<Vec<Properties>> {
        Ok(vec![self.properties.clone()])
    }

    fn task(&self) -> Task {
        match self.kind {
            TaskKind::Source => Task::Source(Box::new(MockSourceTask::default())),
            TaskKind::Sink => Task::Sink(Box::new(MockSinkTask::default())),
        }
    }
}

/// When a task fails, if it does.
fn fails_at(properties: &Properties) -> Result<Option<Instant>> {
    let config = definition().parse(properties)?;
    let delay = Duration::from_millis(config.integer(DELAY).unsigned_abs());
    Ok((config.string(MODE) == Some(TASK_FAILURE)).then(|| Instant::now() + delay))
}

fn fail_when_due(at: Option<Instant>) -> Result<()> {
    match at {
        Some(at) if at <= Instant::now() => Err(Error::connect("The mock task fails, as it was told to")),
        _ => Ok(()),
    }
}

#[derive(Default)]
struct MockSourceTask {
    fails_at: Option<Instant>,
    context: Option<Arc<dyn SourceContext>>,
}

impl SourceTask for MockSourceTask {
    fn start(&mut self, properties: &Properties, context: Arc<dyn SourceContext>) -> Result<()> {
        self.fails_at = fails_at(properties)?;
        self.context = Some(context);
        Ok(())
    }

    fn poll(&mut self) -> Result<Vec<SourceRecord>> {
        const PAUSE: Duration = Duration::from_millis(200);
        if let Some(context) = &self.context {
            let left = self.fails_at.map_or(PAUSE, |at| at.saturating_duration_since(Instant::now()));
            context.wait(left.min(PAUSE));
        }
        fail_when_due(self.fails_at).map(|()| Vec::new())
    }
}

#[derive(Default)]
struct MockSinkTask {
    fails_at: Option<Instant>,
}

impl SinkTask for MockSinkTask {
    fn start(&mut self, properties: &Properties, _: Arc<dyn SinkContext>) -> Result<()> {
        self.fails_at = fails_at(properties)?;
        Ok(())
    }

    fn put(&mut self, _: &[SinkRecord]) -> Result<()> {
        fail_when_due(self.fails_at)
    }
}
