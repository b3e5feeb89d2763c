//! A connection to another broker, over the listener that brokers use among themselves.

use crate::node::Node;
use client::{ClientConfig, Dialogue, Error, Role};
use std::time::Duration;

/// The longest answer that is read: the first batch of an answer comes whole, however large it is.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// Connects to broker `id` as the cluster's state has it.
pub async fn connect(node: &Node, id: i32, client_id: String) -> Result<Dialogue, Error> {
    let settings = &node.config.replication;
    let image = node.image();
    let broker = image.cluster.broker(id);
    let endpoint = broker.and_then(|broker| broker.endpoint(&settings.inter_broker_listener));
    let Some(endpoint) = endpoint else {
        let why = format!("broker {id} has no listener {}", settings.inter_broker_listener);
        return Err(Error::Disconnected(why));
    };
    let config = ClientConfig {
        role: Role::Consumer,
        bootstrap_servers: Vec::new(),
        log_name: client_id.clone(),
        client_id,
        request_timeout: settings.replica_socket_timeout,
        api_timeout: settings.replica_socket_timeout,
        patience: None,
        first_answer_timeout: None,
        retry_backoff: Duration::ZERO,
        retry_backoff_max: Duration::ZERO,
        reconnect_backoff: Duration::ZERO,
        reconnect_backoff_max: Duration::ZERO,
        connection_setup_timeout: settings.replica_socket_timeout,
        metadata_max_age: Duration::MAX,
        frame_bytes_max: FRAME_BYTES_MAX,
    };
    let mut failure = Error::Disconnected(format!("{} has no address", endpoint.host));
    let addresses = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port)).await;
    let addresses = addresses.map_err(|e| Error::Disconnected(format!("{}: {e}", endpoint.host)))?;
    for address in addresses {
        match Dialogue::open(address, &endpoint.host, &config).await {
            Ok(dialogue) => return Ok(dialogue),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
