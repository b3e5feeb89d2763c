//! How a node that is not the whole quorum comes into the cluster: it learns the cluster's id, and waits for its state.

use crate::api::describe_cluster::CONTROLLERS;
use crate::config::BrokerConfig;
use crate::node::Node;
use crate::quorum::convert::Address;
use crate::quorum::peers::connect;
use client::{ClientConfig, Error, Role};
use metadata::image::Image;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};
use wire::messages::{DescribeClusterRequest, DescribeClusterResponse};

/// How often somebody who waits is told that it goes on.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How long a new broker looks for the quorum, where no setting says so.
const FIND_WITHIN: Duration = Duration::from_secs(6);
/// How long a ZooKeeper may take to say that it is one.
const ZOOKEEPER_ANSWERS_WITHIN: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(100);
/// Bytes of an answer that are looked at.
const ANSWER_MAX: u64 = 4096;
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

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
    let deadline = Instant::now() + config.zookeeper.as_ref().map_or(FIND_WITHIN, |zookeeper| zookeeper.timeout);
    loop {
        let mut why = String::new();
        for server in servers {
            match ask(&client, server).await {
                Ok(id) => return Ok(id),
                Err(error) => {
                    if let Some(version) = zookeeper_version(server).await {
                        return Err(is_zookeeper(server, &version).into());
                    }
                    why = error.to_string();
                }
            }
        }
        if Instant::now() > deadline {
            if let Some(zookeeper) = &config.zookeeper {
                return Err(format!(
                    "nobody answers at {}, where zookeeper.connect looks for the cluster ({why}). Start bin/zkServer.sh start \
                     first; or start the broker without a properties file, then it needs no other process.",
                    zookeeper.connect
                )
                .into());
            }
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

/// What Apache ZooKeeper says of itself to `srvr`, if it is that which answers: it has no words for Kafka's protocol.
async fn zookeeper_version((host, port): &Address) -> Option<String> {
    let asked = async {
        let mut stream = TcpStream::connect((host.as_str(), *port)).await?;
        stream.write_all(b"srvr").await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = timeout(ZOOKEEPER_ANSWERS_WITHIN, asked).await.ok()?.ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let version = answer.lines().next()?.strip_prefix("Zookeeper version: ")?;
    // A process of ours that is about to start or to stop.
    (!version.contains("klamm")).then(|| version.split(',').next().unwrap_or(version).to_owned())
}

fn is_zookeeper((host, port): &Address, version: &str) -> String {
    format!(
        "Apache ZooKeeper {version} answers at {host}:{port}, and this broker needs the process that bin/zkServer.sh starts \
         there instead: stop ZooKeeper, or give that process another clientPort in conf/zoo.cfg and name it in \
         zookeeper.connect. A cluster that ZooKeeper holds is not taken over: migrate it to KRaft with Apache Kafka 3.9 first."
    )
}

/// Checks that the quorum is of the cluster that this broker's directories belong to.
///
/// # Errors
/// It is of another one, or nobody answers.
pub async fn check_cluster_id(config: &BrokerConfig, stored: &str) -> Result<(), Failure> {
    let found = cluster_id(config).await?;
    if found == stored {
        return Ok(());
    }
    Err(format!(
        "The Cluster ID {found} doesn't match stored clusterId {stored} in meta.properties. The broker is trying to join the wrong \
         cluster. Configured zookeeper.connect may be wrong; to begin anew, use another log.dirs."
    )
    .into())
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
