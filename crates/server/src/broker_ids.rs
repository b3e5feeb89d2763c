//! An id for a broker whose file has none: `broker.id=-1`, or no `broker.id`, beside `zookeeper.connect`.
//!
//! Ids begin above `reserved.broker.max.id`, as Kafka's do that had them from ZooKeeper. The controller is who sees to it that
//! nobody has an id twice: the broker registers with the next free one before it writes it down, and takes the one after
//! it where another broker was faster. A process that ends in between leaves an id that nobody has; brokers that are
//! registered keep theirs, however long they are away.

use crate::api::describe_cluster::{BROKERS, CONTROLLERS};
use crate::chance;
use crate::config::BrokerConfig;
use crate::config::zoo::FIRST_NODE_ID;
use crate::joining;
use crate::quorum::convert::Address;
use crate::quorum::peers::connect;
use crate::registration;
use crate::remote_controller::exchange;
use client::{ClientConfig, Connection, Error};
use metadata::controller::{Command, Reply};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tracing::info;
use wire::messages::{DescribeClusterRequest, DescribeClusterResponse};
use wire::{ErrorCode, Uuid};

/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(100);

/// An id that this broker has registered with, and as which incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Obtained {
    pub id: i32,
    pub incarnation_id: Uuid,
}

/// Has an id given to the broker that has the directories `log_dirs`, of which none has one. Those above `reserved` are
/// given out.
///
/// # Errors
/// No active controller answers in time, or it does not take this broker.
pub async fn obtain(
    config: &BrokerConfig,
    cluster_id: &str,
    log_dirs: &[Uuid],
    reserved: i32,
) -> Result<Obtained, String> {
    let client = joining::client_config(config);
    let deadline = Instant::now() + config.quorum.registration_timeout;
    let incarnation_id = chance::uuid();
    let mut taken = reserved;
    loop {
        let asked = async {
            let controller = active_controller(&client, &config.quorum.servers).await?;
            let id = highest(&controller).await?.max(taken) + 1;
            let request = registration::request(config, id, cluster_id, incarnation_id, log_dirs.to_vec(), -1);
            Ok::<_, Error>((id, exchange(&controller, &Command::RegisterBroker(request)).await?))
        };
        let why = match asked.await {
            Ok((id, _)) if id >= FIRST_NODE_ID => {
                return Err("no id is free for this broker: give it one, as broker.id=0".to_owned());
            }
            Ok((id, Reply::RegisterBroker(Ok(_)))) => {
                info!(broker = id, "this broker was given an id");
                return Ok(Obtained { id, incarnation_id });
            }
            Ok((id, Reply::RegisterBroker(Err(refusal)))) => match refusal.code {
                ErrorCode::DuplicateBrokerRegistration => {
                    taken = id;
                    continue;
                }
                ErrorCode::NotController => refusal.to_string(),
                _ => return Err(format!("the controller does not register this broker: {refusal}")),
            },
            Ok((_, reply)) => return Err(format!("the controller answered {reply:?}")),
            Err(error) => error.to_string(),
        };
        if Instant::now() >= deadline {
            return Err(format!("the quorum gave this broker no id ({why}); start it first, or set broker.id"));
        }
        sleep(AGAIN).await;
    }
}

/// A connection to the controller that leads, which any of `servers` can name.
async fn active_controller(client: &ClientConfig, servers: &[Address]) -> Result<Connection, Error> {
    let mut why = Error::Disconnected("no address of the quorum is known".to_owned());
    for server in servers {
        match leader_of(client, server).await {
            Ok(leader) => return connect(client, &leader).await,
            Err(error) => why = error,
        }
    }
    Err(why)
}

async fn leader_of(client: &ClientConfig, server: &Address) -> Result<Address, Error> {
    let connection = connect(client, server).await?;
    let request = DescribeClusterRequest { endpoint_type: CONTROLLERS, ..Default::default() };
    let reply = connection.call(&request).await?;
    let response: DescribeClusterResponse<'_> = reply.decode()?;
    Error::check(ErrorCode::from_code(response.error_code), response.error_message.as_deref())?;
    let leader = response.brokers.iter().find(|node| node.broker_id == response.controller_id);
    let address = leader.and_then(|node| Some((node.host.to_string(), u16::try_from(node.port).ok()?)));
    address.ok_or_else(|| Error::Disconnected(format!("{} knows no active controller", connection.peer())))
}

/// The highest id of a broker, whether it is there or away; of those that are handed out.
async fn highest(controller: &Connection) -> Result<i32, Error> {
    let request = DescribeClusterRequest { endpoint_type: BROKERS, include_fenced_brokers: true, ..Default::default() };
    let reply = controller.call(&request).await?;
    let response: DescribeClusterResponse<'_> = reply.decode()?;
    Error::check(ErrorCode::from_code(response.error_code), response.error_message.as_deref())?;
    Ok(response.brokers.iter().map(|broker| broker.broker_id).filter(|id| *id < FIRST_NODE_ID).max().unwrap_or(-1))
}
