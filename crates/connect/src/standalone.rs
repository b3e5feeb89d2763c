//! A worker that is alone: connectors come with the command line and through REST, and are kept in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use connect_api::{Error, Plugins, Properties, Result};
use serde_json::Value as Json;
use tokio::sync::mpsc;
use tracing::{error, info};

use crate::config::{Mode, WorkerConfig};
use crate::herder::{Herder, Refusal};
use crate::rest;
use crate::run::{self, LOGGER};
use crate::store::{Configs, Offsets, Statuses};
use crate::worker::{Request, Worker};

/// The exit code when a connector of the command line could not be made.
const CONNECTOR_ERROR: u8 = 3;

/// Runs a worker with the settings of a file and the connectors of others (`.properties` or JSON), until it is told to
/// stop. Exit codes are Kafka's: 2 when the worker cannot start, 3 when a connector cannot.
pub fn standalone(plugins: Plugins, worker: &Path, connectors: &[PathBuf]) -> u8 {
    let (worker, connectors) = (worker.to_owned(), connectors.to_vec());
    run::to_the_end(|loggers| async move {
        let properties = run::load(&worker)?;
        let config = WorkerConfig::standalone(&properties)?;
        let herder = start(config, plugins, loggers).await?;
        for file in &connectors {
            if let Err(error) = create(&herder, file).await {
                error!(target: LOGGER, "Failed to create connector for {}: {}", file.display(), error.trace().trim_end());
                error!(target: LOGGER, "Stopping after connector error");
                herder.stop().await;
                return Ok(CONNECTOR_ERROR);
            }
        }
        run::until_told().await;
        info!(target: LOGGER, "Kafka Connect stopping");
        herder.stop().await;
        info!(target: LOGGER, "Kafka Connect stopped");
        Ok(0)
    })
}

async fn start(config: WorkerConfig, plugins: Plugins, loggers: Arc<crate::herder::Loggers>) -> Result<Arc<Herder>> {
    run::tell_jars(&config);
    let cluster_id = run::cluster_id(&config).await?;
    let server = rest::bind(&config.listeners).await?;
    let Mode::Standalone { offsets } = &config.mode else {
        return Err(Error::config("These are not the settings of a worker that is alone"));
    };
    let offsets = Offsets::file(offsets)?;
    let (requests, mut asked) = mpsc::unbounded_channel();
    let worker = Worker::new(config, plugins, offsets, Statuses::memory(), requests)?;
    // Nobody needs to be told: what changes is done by whoever changes it.
    let (events, _) = mpsc::unbounded_channel();
    let herder = Arc::new(Herder::new(worker, Arc::new(Configs::memory(events)), cluster_id, loggers, None));
    herder.ready.store(true, Relaxed);
    server.serve(&herder);
    let asking = herder.clone();
    tokio::spawn(async move {
        while let Some(Request::Reconfigure(name)) = asked.recv().await {
            asking.reconfigure_requested(&name).await;
        }
    });
    info!(target: LOGGER, "Kafka Connect started");
    Ok(herder)
}

/// Makes the connector of a file.
async fn create(herder: &Arc<Herder>, file: &Path) -> Result<()> {
    let properties = connector_file(file)?;
    let name = properties.get("name").cloned().unwrap_or_default();
    match herder.put_connector(&name, properties, None, true).await {
        Ok(_) => {
            info!(target: LOGGER, "Created connector {name}");
            Ok(())
        }
        Err(Refusal::Status(_, message) | Refusal::Elsewhere(message)) => Err(Error::connect(message)),
    }
}

/// The settings in a file: JSON with `name` and `config`, JSON with settings alone, or `.properties`.
fn connector_file(path: &Path) -> Result<Properties> {
    let is_json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
    if !is_json {
        return run::load(path);
    }
    let failed = |why: String| Error::connect(format!("The connector's file {} cannot be read: {why}", path.display()));
    let bytes = std::fs::read(path).map_err(|e| failed(e.to_string()))?;
    let json: Json = serde_json::from_slice(&bytes).map_err(|e| failed(e.to_string()))?;
    let (object, name) = match json.get("config") {
        Some(config @ Json::Object(_)) => (config, json.get("name")),
        _ => (&json, None),
    };
    let Json::Object(object) = object else { return Err(failed("it holds no object".to_owned())) };
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut properties: Properties =
        object.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), text(v))).collect();
    if let Some(name) = name.and_then(Json::as_str) {
        properties.insert("name".to_owned(), name.to_owned());
    }
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connectors_come_in_three_shapes() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            connector_file(&path)
        };
        let wanted: Properties = [("name", "c"), ("tasks.max", "1")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert_eq!(read("a.properties", "name=c\ntasks.max=1\n").unwrap(), wanted);
        assert_eq!(read("a.json", r#"{"name":"c","tasks.max":1}"#).unwrap(), wanted);
        assert_eq!(read("b.json", r#"{"name":"c","config":{"tasks.max":"1"}}"#).unwrap(), wanted);
        assert!(read("c.json", "[").is_err() && read("d.json", "[]").is_err());
    }
}
