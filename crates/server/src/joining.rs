//! How a node that is not the whole quorum comes into the cluster: it learns the cluster's id, and waits for its state.

use crate::config::BrokerConfig;
use crate::node::Node;
use crate::quorum::convert::Address;
use crate::quorum::peers::connect;
use client::{ClientConfig, Error, Role};
use metadata::image::Image;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};
use wire::messages::{DescribeClusterRequest, DescribeClusterResponse};

/// How often somebody who waits is told that it goes on.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How long a new broker looks for the quorum.
const FIND_WITHIN: Duration = Duration::from_secs(6);
const AGAIN: Duration = Duration::from_millis(100);
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// DescribeCluster about the controllers (KIP-919).
const CONTROLLERS: i8 = 2;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How this node reaches others of the quorum.
pub fn client_config(config: &BrokerConfig) -> ClientConfig {
    let mut client = ClientConfig::bare(Role::Admin, &format!("klamm-{}", config.node_id));
    client.bootstrap_servers = config.quorum.servers.clone();
    client.request_timeout = config.quorum.request_timeout;
    client.connection_setup_timeout = config.quorum.request_timeout.min(CONNECT_WITHIN);
    client
}

fn listed(servers: &[Address]) -> String {
    let all: Vec<String> = servers.iter().map(|(host, port)| format!("{host}:{port}")).collect();
    all.join(", ")
}

/// The id of the cluster that the quorum is of.
///
/// # Errors
/// Nobody answers, or somebody who is not of a quorum.
pub async fn cluster_id(config: &BrokerConfig) -> Result<String, Failure> {
    let client = client_config(config);
    let servers = &config.quorum.servers;
    let deadline = Instant::now() + FIND_WITHIN;
    loop {
        let mut why = String::new();
        for server in servers {
            match ask(&client, server).await {
                Ok(id) => return Ok(id),
                Err(error) => why = error.to_string(),
            }
        }
        if Instant::now() > deadline {
            return Err(format!(
                "no controller answers at {} ({why}). Start it first; or start the broker without a properties file, then it \
                 needs no other process.",
                listed(servers)
            )
            .into());
        }
        sleep(AGAIN).await;
    }
}

async fn ask(client: &ClientConfig, server: &Address) -> Result<String, Error> {
    let connection = connect(client, server).await?;
    let request = DescribeClusterRequest { endpoint_type: CONTROLLERS, ..Default::default() };
    let reply = connection.call(&request).await?;
    let response: DescribeClusterResponse<'_> = reply.decode()?;
    match response.cluster_id.is_empty() {
        true => Err(Error::Protocol(format!("{} does not say which cluster it is of", connection.peer()))),
        false => Ok(response.cluster_id.to_string()),
    }
}

/// Waits until this node has the cluster's state. `None` when it is to stop before that.
///
/// # Errors
/// Nobody of the quorum could be followed for as long as a registration may take.
pub async fn wait_for_state(
    node: &Arc<Node>,
    state: &mut oneshot::Receiver<Arc<Image>>,
) -> Result<Option<Arc<Image>>, Failure> {
    let deadline = Instant::now() + node.config.quorum.registration_timeout;
    let mut told = false;
    loop {
        tokio::select! {
            image = timeout(TELL_EVERY, &mut *state) => match image {
                Ok(Ok(image)) => {
                    if told {
                        info!("this node has the cluster's state");
                    }
                    return Ok(Some(image));
                }
                Ok(Err(_)) => return Ok(None), // the metadata thread ended, and said why
                Err(_) => {}
            },
            _ = node.stopped() => return Ok(None),
        }
        let servers = listed(&node.config.quorum.servers);
        if Instant::now() >= deadline {
            return Err(format!(
                "this node could not get the cluster's state from the quorum at {servers} in time \
                 (initial.broker.registration.timeout.ms). Is a majority of the controllers running?"
            )
            .into());
        }
        told = true;
        warn!(%servers, "waiting for the quorum: it has no leader yet, or cannot be reached");
    }
}
