//! A worker in a group: connectors come through REST, and everything is kept in topics.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use connect_api::{Error, Plugins, Result};
use tokio::sync::{Notify, mpsc};
use tracing::info;

use crate::config::{Mode, WorkerConfig};
use crate::herder::group::{self, Group};
use crate::herder::{Herder, Loggers};
use crate::rest;
use crate::run::{self, LOGGER};
use crate::store::{Configs, Offsets, Statuses};
use crate::worker::Worker;

/// Runs a worker with the settings of a file until it is told to stop. Exit code 2 when it cannot start or go on.
pub fn distributed(plugins: Plugins, worker: &Path) -> u8 {
    let worker = worker.to_owned();
    run::to_the_end(|loggers| async move {
        let config = WorkerConfig::distributed(&run::load(&worker)?)?;
        serve(config, plugins, loggers).await?;
        info!(target: LOGGER, "Kafka Connect stopped");
        Ok(0)
    })
}

async fn serve(config: WorkerConfig, plugins: Plugins, loggers: Arc<Loggers>) -> Result<()> {
    let Mode::Distributed(settings) = config.mode.clone() else {
        return Err(Error::config("These are not the settings of a worker in a group"));
    };
    run::tell_jars(&config);
    let cluster_id = run::cluster_id(&config).await?;
    let server = rest::bind(&config.listeners).await?;
    let (events_to, mut events) = mpsc::unbounded_channel();
    let (offsets, statuses, configs) = tokio::try_join!(
        Offsets::topic(&config, &settings.offsets),
        Statuses::topic(&config, &settings.statuses),
        Configs::topic(&config, &settings.configs, events_to),
    )?;
    // What was there before is not news: the first assignment is made from it.
    while events.try_recv().is_ok() {}
    let configs = Arc::new(configs);
    let group = Group::new(*settings, config.advertised_url(), configs.clone());
    let (requests, asked) = mpsc::unbounded_channel();
    let worker = Worker::new(config, plugins, offsets, statuses, requests)?;
    let herder = Arc::new(Herder::new(worker, configs, cluster_id, loggers, Some(group.clone())));
    server.serve(&herder);
    let stop = Arc::new(Notify::new());
    let mut member = tokio::spawn(group::run(herder.clone(), group, events, asked, stop.clone()));
    info!(target: LOGGER, "Kafka Connect started");
    let over = |ended: std::result::Result<Result<()>, tokio::task::JoinError>| match ended {
        Ok(result) => result,
        Err(error) => Err(Error::connect(format!("The herder panicked: {error}"))),
    };
    tokio::select! {
        ended = &mut member => {
            herder.stop().await;
            over(ended)
        }
        () = run::until_told() => {
            info!(target: LOGGER, "Kafka Connect stopping");
            herder.ready.store(false, Relaxed);
            stop.notify_one();
            over(member.await)
        }
    }
}
