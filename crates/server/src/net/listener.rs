//! Listening sockets: binding, accepting, and the limits on connections.

use super::connection::{self, Peer};
use super::vitals::{Refusal, Registered, Registry};
use crate::node::Node;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tracing::warn;

/// Connections that the kernel may hold before they are accepted; Kafka's `socket.listen.backlog.size` is 50.
const BACKLOG: i32 = 1024;
/// While there are no descriptors or no memory for another connection, accepting pauses this long.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(200);

/// Binds a listening socket. `IPV6_V6ONLY` stays off for the wildcard, so that `[::]` serves both families as in Java.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts until the node stops.
pub async fn accept(
    node: Arc<Node>,
    name: Arc<str>,
    is_controller: bool,
    listener: std::net::TcpListener,
    registry: Arc<Registry>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut told = false;
    loop {
        if registry.is_full() {
            if !std::mem::replace(&mut told, true) {
                warn!(listener = %name, connections = registry.len(), "no descriptors for more connections: they wait (ulimit -n raises it)");
            }
            tokio::time::sleep(EXHAUSTED_PAUSE).await;
            continue;
        }
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(e) if is_of_one_connection(&e) => continue,
            Err(e) => {
                warn!(listener = %name, error = %e, "cannot accept connections for now");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
                continue;
            }
        };
        let Some(registered) = admit(&node, &registry, &name, &stream, address.ip()).await else {
            continue; // dropped, which closes it
        };
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let connection = node.metrics.listeners.connected(&name);
        let peer = Peer::new(address, name.clone(), connection, is_controller);
        if connection::serve(&node, stream, peer, registered).is_err() {
            continue;
        }
    }
}

/// Waits while there are too many connections or they come too fast, with the others in the kernel's hands, as in Kafka;
/// `None` where too many came from this address.
async fn admit(
    node: &Node,
    registry: &Arc<Registry>,
    listener: &Arc<str>,
    stream: &TcpStream,
    address: IpAddr,
) -> Option<Registered> {
    loop {
        match registry.register(stream, address, listener, &node.connection_limits()) {
            Ok(registered) => return Some(registered),
            Err(Refusal::Wait(pause)) => tokio::time::sleep(pause).await,
            Err(Refusal::Address) => return None,
        }
    }
}

/// Errors that concern the connection that was about to be accepted, not the listener.
fn is_of_one_connection(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
