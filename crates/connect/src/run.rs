//! What workers of both kinds share: how they begin and how they end.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use client::admin::Admin;
use connect_api::{Error, Properties, Result};
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;
use tracing::{error, warn};

use crate::config::WorkerConfig;
use crate::herder::Loggers;

pub const LOGGER: &str = "org.apache.kafka.connect.cli.AbstractConnectCli";

/// The exit code when a worker cannot start.
const ERROR: u8 = 2;

/// Runs a worker to its end; an error is logged and is exit code 2.
pub fn to_the_end<F: Future<Output = Result<u8>>>(worker: impl FnOnce(Arc<Loggers>) -> F) -> u8 {
    let loggers = Arc::new(Loggers::new(LevelFilter::INFO));
    // Only fails when whoever calls has a subscriber, which then prints.
    let _ = tracing::subscriber::set_global_default(crate::log::Printer::new(loggers.clone()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let code = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(worker(loggers));
            // A task that did not stop in time, or a thread that reads standard input, keeps nobody here.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(Error::connect("The system gives no event queue").caused_by(error)),
    };
    let code = code.unwrap_or_else(|error: Error| {
        error!(target: LOGGER, "Stopping due to error: {}", error.trace().trim_end());
        ERROR
    });
    let _ = std::io::stdout().flush();
    code
}

/// Waits for a signal to stop: SIGTERM, SIGINT, and SIGHUP unless the process was started to ignore it (`nohup`).
pub async fn until_told() {
    tokio::select! {
        () = heard(SignalKind::terminate()) => {}
        () = heard(SignalKind::interrupt()) => {}
        () = heard(SignalKind::hangup()), if !ignores_hangup() => {}
    }
}

async fn heard(kind: SignalKind) {
    match signal(kind) {
        Ok(mut signals) => drop(signals.recv().await),
        Err(_) => std::future::pending().await,
    }
}

/// Whether SIGHUP is ignored; also where the system does not tell.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_none_or(|ignored| ignored & 1 << (SignalKind::hangup().as_raw_value() - 1) != 0)
}

/// Reads a `.properties` file.
pub fn load(path: &Path) -> Result<Properties> {
    client::properties::load(path)
        .map_err(|e| Error::connect(format!("The settings in {} cannot be read", path.display())).caused_by(e))
}

/// Asks the brokers who they are.
pub async fn cluster_id(config: &WorkerConfig) -> Result<String> {
    let failed = |e: client::Error| {
        Error::connect("Failed to connect to and describe Kafka cluster. Check worker's broker connection and security properties.")
            .caused_by(Error::connect(format!("{}: {e}", e.class())))
    };
    let mut properties = config.client_properties("admin.");
    properties.entry("client.id".to_owned()).or_insert_with(|| "connect-admin".to_owned());
    let admin = Admin::open(&properties).await.map_err(failed)?;
    Ok(admin.cluster_id().await.map_err(failed)?.unwrap_or_default())
}

/// Java's plugins do not run here, which whoever set `plugin.path` should know.
pub fn tell_jars(config: &WorkerConfig) {
    for jar in crate::plugin_path::jars(&config.plugin_path) {
        warn!(
            target: "org.apache.kafka.connect.runtime.isolation.PluginScanner",
            "{} on plugin.path is not loaded: this worker runs connectors that are compiled into it, and no Java. A Java \
             worker, in a group of its own, runs it with the same brokers",
            jar.display()
        );
    }
}
