//! A connector on this worker: started, paused, asked for the settings of its tasks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use connect_api::{Connector, ConnectorContext, Error, Properties, Result, TaskKind};

use crate::config::ConnectorConfig;
use crate::store::TargetState;

/// A connector and what it was started with. Its calls may block: they are made on threads of their own.
pub struct RunningConnector {
    pub kind: TaskKind,
    pub class: &'static str,
    pub version: &'static str,
    connector: Mutex<Box<dyn Connector>>,
    properties: Properties,
    context: ConnectorContext,
    started: Mutex<bool>,
}

impl RunningConnector {
    pub fn new(
        class: &'static str,
        version: &'static str,
        connector: Box<dyn Connector>,
        properties: Properties,
        context: ConnectorContext,
    ) -> RunningConnector {
        let kind = connector.kind();
        RunningConnector {
            kind,
            class,
            version,
            connector: Mutex::new(connector),
            properties,
            context,
            started: Mutex::new(false),
        }
    }

    fn connector(&self) -> MutexGuard<'_, Box<dyn Connector>> {
        self.connector.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts or stops it, as is wanted.
    pub async fn go(self: &Arc<Self>, target: TargetState) -> Result<()> {
        let this = self.clone();
        blocking(move || {
            let mut started = this.started.lock().unwrap_or_else(PoisonError::into_inner);
            let wanted = target == TargetState::Started;
            if wanted && !*started {
                this.connector().start(&this.properties, this.context.clone())?;
            } else if !wanted && *started {
                this.connector().stop();
            }
            *started = wanted;
            Ok(())
        })
        .await
    }

    /// The settings of its tasks, with what every task has.
    pub async fn task_configs(self: &Arc<Self>) -> Result<Vec<Properties>> {
        let this = self.clone();
        blocking(move || {
            let config = ConnectorConfig::new(this.kind, &this.properties)?;
            let mut tasks = this.connector().task_configs(config.tasks_max)?;
            if tasks.len() > config.tasks_max && config.enforce_tasks_max {
                return Err(Error::connect(format!(
                    "The connector {} has generated {} tasks, which is greater than {}, the maximum number of tasks it is \
                     configured to create. Set tasks.max to at least {}, or tasks.max.enforce to false to allow it.",
                    config.name,
                    tasks.len(),
                    config.tasks_max,
                    tasks.len()
                )));
            }
            for task in &mut tasks {
                let class = this.class.strip_suffix("Connector").unwrap_or(this.class);
                task.insert("task.class".to_owned(), format!("{class}Task"));
                for name in ["topics", "topics.regex"] {
                    if let (TaskKind::Sink, Some(value)) = (this.kind, this.properties.get(name)) {
                        task.insert(name.to_owned(), value.clone());
                    }
                }
            }
            Ok(tasks)
        })
        .await
    }
}

/// Runs what may block off the runtime's threads; a panic is an error of whoever panicked.
pub async fn blocking<T: Send + 'static>(f: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(f).await {
        Ok(result) => result,
        Err(error) => Err(Error::connect(format!("The plugin panicked: {error}"))),
    }
}
