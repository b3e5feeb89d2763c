//! A cluster as a client sees it: its nodes, a connection to each, and requests that find their way.
//!
//! Connections are made when they are first needed and again when they broke, with a growing pause. Until the first
//! metadata arrives only the bootstrap servers are known; they have the ids -1, -2, ... as in Kafka's clients.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::warn;
use wire::codec::{Message, Request};
use wire::messages::{DescribeClusterRequest, FindCoordinatorRequest};
use wire::{ApiKey, ErrorCode};

use crate::connection::plain;
use crate::metadata::CONTROLLERS;
use crate::{ClientConfig, Connection, Error, Metadata, Node, Reply, Role, Topics};

/// Metadata takes topics by their ids from this version on.
const TOPIC_IDS_FROM: i16 = 12;
/// Where Kafka's clients log about connections.
const NETWORK: &str = "org.apache.kafka.clients.NetworkClient";
/// What is waited for inside of an operation ends before the operation does, and says more.
const GRACE: Duration = Duration::from_secs(1);

/// A handle; clones share nodes and connections.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: ClientConfig,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    bootstrap: Vec<Arc<Slot>>,
    nodes: BTreeMap<i32, Arc<Slot>>,
    controller: Option<i32>,
    /// Coordinators have connections of their own: joining a group may take minutes, and a broker answers one request of a
    /// connection at a time.
    coordinators: HashMap<(i8, String), Arc<Slot>>,
}

/// One node and the connection to it.
#[derive(Debug)]
struct Slot {
    id: i32,
    host: String,
    port: u16,
    state: tokio::sync::Mutex<SlotState>,
}

#[derive(Debug, Default)]
struct SlotState {
    connection: Option<Connection>,
    failures: u32,
    not_before: Option<Instant>,
}

/// Which node a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// Whichever answers.
    Any,
    /// Whichever broker answers; where the bootstrap addresses are controllers', the one that leads (KIP-919).
    AnyOrLeader,
    Node(i32),
    /// The controller that metadata names; where the bootstrap addresses are controllers', the one that leads.
    Controller,
    /// The coordinator of a group.
    Group(String),
    /// The coordinator of a transactional id.
    Transaction(String),
}

impl Client {
    /// Reads the bootstrap addresses; connects to nobody yet.
    pub async fn open(config: ClientConfig) -> Result<Client, Error> {
        let mut bootstrap = Vec::new();
        for (host, port) in &config.bootstrap_servers {
            match resolve(host, *port).await {
                Ok(_) => bootstrap.push(Slot::new(-1 - bootstrap.len() as i32, host, *port)),
                Err(_) => warn!(
                    target: "org.apache.kafka.clients.ClientUtils",
                    "Couldn't resolve server {host}:{port} from bootstrap.servers as DNS resolution failed for {host}"
                ),
            }
        }
        if bootstrap.is_empty() {
            return Err(Error::Config("No resolvable bootstrap urls given in bootstrap.servers".into()));
        }
        let known = Mutex::new(Known { bootstrap, ..Known::default() });
        Ok(Client { shared: Arc::new(Shared { config, known }) })
    }

    pub fn config(&self) -> &ClientConfig {
        &self.shared.config
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to whichever node answers. `call` names the operation in the error.
    pub async fn any(&self, call: &str) -> Result<Connection, Error> {
        let config = self.config();
        let limit = config.patience.map_or(config.api_timeout, |p| p.min(config.api_timeout));
        self.any_within(limit, call).await
    }

    /// As [`any`](Self::any), giving up when every address has refused for so long. An attempt that is under way is waited
    /// for, but never longer than an operation may take.
    pub async fn any_within(&self, limit: Duration, call: &str) -> Result<Connection, Error> {
        let config = self.config();
        let begun = Instant::now();
        let deadline = begun + config.api_timeout.max(limit);
        let mut pause = config.reconnect_backoff;
        loop {
            let slots: Vec<Arc<Slot>> = {
                let known = self.known();
                known.nodes.values().chain(&known.bootstrap).cloned().collect()
            };
            for slot in &slots {
                if let Ok(state) = slot.state.try_lock()
                    && let Some(connection) = state.connection.as_ref().filter(|c| c.is_open())
                {
                    return Ok(connection.clone());
                }
            }
            let mut refusals: Vec<String> = Vec::new();
            for slot in &slots {
                let why = match timeout_at(deadline, slot.connect(config)).await {
                    Ok(Ok(connection)) => return Ok(connection),
                    Ok(Err(Error::Disconnected(why))) => why,
                    Ok(Err(error)) => return Err(error),
                    Err(_) => format!("{}:{} (no answer in time)", slot.host, slot.port),
                };
                if !refusals.contains(&why) {
                    refusals.push(why);
                }
            }
            if begun.elapsed() + pause > limit {
                return Err(Error::Unreachable(format!(
                    "Timed out waiting for a node assignment. Call: {call}. No broker answered: {}",
                    refusals.join(", ")
                )));
            }
            sleep(pause).await;
            pause = (pause * 2).min(config.reconnect_backoff_max);
        }
    }

    /// A connection to a node that metadata named. One attempt, after the pause that earlier failures call for.
    pub async fn node(&self, id: i32) -> Result<Connection, Error> {
        let slot = self.known().nodes.get(&id).cloned();
        match slot {
            Some(slot) => slot.connect(self.config()).await,
            None => Err(Error::Disconnected(format!("node {id} is not known"))),
        }
    }

    /// Whether a connection to this node is open at this moment.
    pub fn is_connected(&self, id: i32) -> bool {
        let slot = self.known().nodes.get(&id).cloned();
        slot.is_some_and(|s| s.state.try_lock().is_ok_and(|s| s.connection.as_ref().is_some_and(Connection::is_open)))
    }

    /// Asks any node about topics and nodes, and remembers the nodes. `create`: topics that do not exist are created,
    /// where the broker does that.
    pub async fn metadata(&self, topics: Topics<'_>, create: bool, call: &str) -> Result<Metadata, Error> {
        self.retried(call, || async {
            let connection = self.any(call).await?;
            if matches!(topics, Topics::Ids(_)) && connection.version(ApiKey::Metadata)? < TOPIC_IDS_FROM {
                return Err(Error::Unsupported("The node does not know topics by their ids".into()));
            }
            let reply = connection.call(&topics.request(create)).await?;
            let metadata = Metadata::read(&reply)?;
            self.learn(&metadata);
            Ok(metadata)
        })
        .await
    }

    /// Remembers the nodes of a metadata answer.
    fn learn(&self, metadata: &Metadata) {
        let mut known = self.known();
        known.controller = metadata.controller;
        let nodes = std::mem::take(&mut known.nodes);
        for node in &metadata.nodes {
            let slot = match nodes.get(&node.id) {
                Some(slot) if slot.host == node.host && slot.port == node.port => slot.clone(),
                _ => self.adopt(&known, node),
            };
            known.nodes.insert(node.id, slot);
        }
    }

    /// A slot for a new node; the bootstrap connection goes on serving when it leads to the same address.
    fn adopt(&self, known: &Known, node: &Node) -> Arc<Slot> {
        let slot = Slot::new(node.id, &node.host, node.port);
        let same = known.bootstrap.iter().find(|b| b.host == node.host && b.port == node.port);
        if let Some(bootstrap) = same
            && let (Ok(mut from), Ok(mut to)) = (bootstrap.state.try_lock(), slot.state.try_lock())
        {
            to.connection = from.connection.take();
        }
        slot
    }

    /// Sends a request where it belongs and reads the answer, again and again while that may help and there is time.
    ///
    /// `build` gets the version that was agreed on; `read` gets the answer and the node that sent it.
    pub async fn send<'q, R, T>(
        &self,
        to: &To,
        call: &str,
        build: impl Fn(i16) -> Result<R, Error>,
        read: impl Fn(&Reply) -> Result<T, Error>,
    ) -> Result<T, Error>
    where
        R: Request + Message<'q>,
    {
        self.retried(call, || async {
            let result = async {
                let connection = self.connect(to, call).await?;
                let version = connection.version(R::KEY)?;
                read(&connection.call_at(version, &build(version)?).await?)
            };
            let result = result.await;
            if let Err(error) = &result {
                self.forget(to, error);
            }
            result
        })
        .await
    }

    /// A connection to where `to` points.
    pub async fn connect(&self, to: &To, call: &str) -> Result<Connection, Error> {
        match to {
            To::Any => self.any(call).await,
            To::AnyOrLeader => {
                let any = self.any(call).await?;
                match any.version(ApiKey::Metadata) {
                    Ok(_) => Ok(any),
                    Err(_) => self.controller(call).await,
                }
            }
            To::Node(id) => {
                if !self.known().nodes.contains_key(id) {
                    self.metadata(Topics::None, false, call).await?;
                }
                self.node(*id).await
            }
            To::Controller => self.controller(call).await,
            To::Group(id) => self.coordinator(0, id, call).await,
            To::Transaction(id) => self.coordinator(1, id, call).await,
        }
    }

    async fn controller(&self, call: &str) -> Result<Connection, Error> {
        let known = self.known().controller;
        let controller = match known {
            Some(id) => id,
            None => {
                let connection = self.any(call).await?;
                let found = match connection.version(ApiKey::Metadata) {
                    Ok(_) => self.metadata(Topics::None, false, call).await?,
                    Err(_) => self.controllers(&connection).await?,
                };
                found.controller.ok_or(Error::Api { code: ErrorCode::NotController, message: None })?
            }
        };
        self.node(controller).await
    }

    /// Asks a controller for the controllers, and remembers them.
    async fn controllers(&self, connection: &Connection) -> Result<Metadata, Error> {
        let request = DescribeClusterRequest { endpoint_type: CONTROLLERS, ..Default::default() };
        let metadata = Metadata::of_controllers(&connection.call(&request).await?)?;
        self.learn(&metadata);
        Ok(metadata)
    }

    /// The node that coordinates a group.
    pub async fn coordinator_node(&self, group: &str, call: &str) -> Result<Node, Error> {
        let slot = self.retried(call, || self.coordinator_slot(0, group, call)).await?;
        Ok(Node { id: slot.id, host: slot.host.clone(), port: slot.port, rack: None })
    }

    async fn coordinator(&self, key_type: i8, id: &str, call: &str) -> Result<Connection, Error> {
        self.coordinator_slot(key_type, id, call).await?.connect(self.config()).await
    }

    /// The node that coordinates a group or transaction, where known or found.
    async fn coordinator_slot(&self, key_type: i8, id: &str, call: &str) -> Result<Arc<Slot>, Error> {
        let known = self.known().coordinators.get(&(key_type, id.to_owned())).cloned();
        if let Some(slot) = known {
            return Ok(slot);
        }
        let connection = self.any(call).await?;
        let version = connection.version(ApiKey::FindCoordinator)?;
        let mut request = FindCoordinatorRequest { key_type, ..Default::default() };
        match version {
            4.. => request.coordinator_keys = vec![id.into()].into(),
            _ => request.key = id.into(),
        }
        let reply = connection.call_at(version, &request).await?;
        let response: wire::messages::FindCoordinatorResponse<'_> = reply.decode()?;
        let slot = match response.coordinators.first() {
            Some(found) => {
                Error::check(ErrorCode::from_code(found.error_code), found.error_message.as_deref())?;
                Slot::new(found.node_id, &found.host, found.port as u16)
            }
            None => {
                Error::check(ErrorCode::from_code(response.error_code), response.error_message.as_deref())?;
                Slot::new(response.node_id, &response.host, response.port as u16)
            }
        };
        self.known().coordinators.insert((key_type, id.to_owned()), slot.clone());
        Ok(slot)
    }

    /// Forgets what an error shows to be out of date.
    pub fn forget(&self, to: &To, error: &Error) {
        let gone = matches!(error, Error::Disconnected(_) | Error::Timeout(_));
        let code = error.error_code();
        let mut known = self.known();
        match to {
            To::Controller | To::AnyOrLeader
                if gone || matches!(code, Some(ErrorCode::NotController | ErrorCode::NotLeaderOrFollower)) =>
            {
                known.controller = None;
            }
            To::Group(id) | To::Transaction(id)
                if gone
                    || code == Some(ErrorCode::NotCoordinator)
                    || code == Some(ErrorCode::CoordinatorNotAvailable) =>
            {
                let key_type = i8::from(matches!(to, To::Transaction(_)));
                known.coordinators.remove(&(key_type, id.clone()));
            }
            _ => {}
        }
    }

    /// Repeats what failed in a way that time may heal, until the time of one operation is over.
    async fn retried<T, F: Future<Output = Result<T, Error>>>(
        &self,
        call: &str,
        f: impl Fn() -> F,
    ) -> Result<T, Error> {
        let config = self.config();
        let begun = Instant::now();
        let deadline = begun + config.api_timeout;
        let mut pause = config.retry_backoff;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let error = match timeout_at(deadline + GRACE, f()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => error,
                Err(_) => Error::Timeout(format!("Timed out waiting for an answer. Call: {call}")),
            };
            let was_waited_for = match &error {
                Error::Unreachable(_) => true,
                // By the broker.
                Error::Api { code: ErrorCode::RequestTimedOut, .. } => {
                    config.patience.is_some_and(|patience| begun.elapsed() >= patience)
                }
                _ => false,
            };
            if was_waited_for || !error.is_retriable() || Instant::now() + pause >= deadline {
                return Err(match error {
                    Error::Disconnected(why) => Error::Timeout(format!(
                        "Timed out after {} ms and {attempts} attempt(s). Call: {call}. The last one failed: {why}",
                        begun.elapsed().as_millis()
                    )),
                    error => error,
                });
            }
            sleep(pause).await;
            pause = (pause * 2).min(config.retry_backoff_max);
        }
    }
}

impl Slot {
    fn new(id: i32, host: &str, port: u16) -> Arc<Slot> {
        Arc::new(Slot { id, host: host.to_owned(), port, state: tokio::sync::Mutex::default() })
    }

    async fn connect(&self, config: &ClientConfig) -> Result<Connection, Error> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            if connection.is_open() {
                return Ok(connection.clone());
            }
            state.connection = None;
        }
        if let Some(at) = state.not_before {
            sleep_until(at).await;
        }
        match self.attempt(config).await {
            Ok(connection) => {
                state.failures = 0;
                state.not_before = None;
                state.connection = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                let pause = config.reconnect_backoff.saturating_mul(1 << state.failures.min(10));
                state.failures += 1;
                state.not_before = Some(Instant::now() + jittered(pause.min(config.reconnect_backoff_max)));
                Err(error)
            }
        }
    }

    async fn attempt(&self, config: &ClientConfig) -> Result<Connection, Error> {
        let (id, log_name) = (self.id, &config.log_name);
        let addresses = match resolve(&self.host, self.port).await {
            Ok(addresses) => addresses,
            Err(error) => {
                warn!(target: NETWORK, "[{log_name}] Error connecting to node {}:{} (id: {id} rack: null isFenced: false): {}", self.host, self.port, plain(&error));
                return Err(Error::Disconnected(format!("{}: the name cannot be resolved", self.host)));
            }
        };
        let mut failure = Error::Disconnected(format!("{}: no address", self.host));
        let mut first = None;
        for address in addresses {
            match Connection::open(address, &self.host, config).await {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    if first.is_none() {
                        first = Some(address);
                        failure = error;
                    }
                }
            }
        }
        let literal = self.host.parse::<IpAddr>().is_ok();
        let host = if literal { "" } else { self.host.as_str() };
        let address = first.map_or_else(String::new, |a| a.to_string());
        warn!(target: NETWORK, "[{log_name}] Connection to node {id} ({host}/{address}) could not be established. Node may not be available.");
        if id < 0 && config.role != Role::Admin {
            warn!(target: NETWORK, "[{log_name}] Bootstrap broker {}:{} (id: {id} rack: null isFenced: false) disconnected", self.host, self.port);
        }
        Err(failure)
    }
}

/// The addresses of a host, IPv4 first as Java has them.
async fn resolve(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    // No need to start a thread for the resolver.
    if host.eq_ignore_ascii_case("localhost") {
        let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return Ok(both.map(|a| SocketAddr::new(a, port)).to_vec());
    }
    let mut addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    match addresses.is_empty() {
        true => Err(std::io::ErrorKind::NotFound.into()),
        false => Ok(addresses),
    }
}

/// Up to a fifth more or less, so that many clients do not come back at the same moment.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.8 + 0.4 * crate::random::unit())
}
