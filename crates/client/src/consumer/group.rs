//! Membership in a classic group: joining, syncing, heartbeats, leaving. What the members share out is not its business:
//! a [`GroupProtocol`] says what a member offers and what the leader decides (consumers share partitions, Connect's
//! workers share connectors).
//!
//! A task of its own keeps the membership alive, so that a slow application does not look dead. It tells what happens in
//! [`GroupEvent`]s; before every rebalance it asks the owner to give up what it must.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use wire::codec::Bytes;
use wire::messages::join_group_request::JoinGroupRequestProtocol;
use wire::messages::leave_group_request::MemberIdentity;
use wire::messages::sync_group_request::SyncGroupRequestAssignment;
use wire::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
    SyncGroupResponse,
};
use wire::{ApiKey, ErrorCode};

use super::config::GroupConfig;
use crate::{Client, Error, To};

/// JoinGroup knows static members from this version on (KIP-345).
const STATIC_MEMBERS_FROM: i16 = 5;

/// A member as JoinGroup tells the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: String,
    pub instance_id: Option<String>,
    pub metadata: Vec<u8>,
}

/// What each member gets, by its id.
pub type Shares = Vec<(String, Vec<u8>)>;

/// A future that a trait can return.
pub type BoxFuture<'f, T> = Pin<Box<dyn Future<Output = T> + Send + 'f>>;

/// What the members of a group share out among themselves.
pub trait GroupProtocol: Send + Sync {
    /// All members have the same: `consumer`, `connect`.
    fn protocol_type(&self) -> &str;

    /// Names and metadata of what this member can follow, the best first.
    fn protocols(&mut self) -> Vec<(String, Vec<u8>)>;

    /// This member leads: the assignment of each member by its id.
    fn assign<'f>(&'f mut self, protocol: &'f str, members: &'f [Member]) -> BoxFuture<'f, Result<Shares, Error>>;
}

/// Who this member is, for commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// -1 while it is no member.
    pub generation: i32,
    pub member_id: String,
    pub instance_id: Option<String>,
}

/// What happens to a member.
#[derive(Debug)]
pub enum GroupEvent {
    /// The group gathers again. Give up what must be given up, then answer. `lost`: this member was put out of the group,
    /// so others may have its share already.
    Rebalancing { lost: bool, ready: oneshot::Sender<()> },
    /// A share was assigned.
    Joined { protocol: String, assignment: Vec<u8>, is_leader: bool },
    /// Nothing helps any more; the membership is over.
    Failed(Error),
}

enum Order {
    Rejoin,
    Leave(oneshot::Sender<()>),
}

/// A member of a group; dropped, it stops without a word (the session then times out).
#[derive(Debug)]
pub struct Membership {
    events: mpsc::Receiver<GroupEvent>,
    orders: mpsc::Sender<Order>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    identity: Mutex<Identity>,
    polled: Mutex<Instant>,
}

impl Shared {
    fn identity(&self) -> Identity {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update(&self, f: impl FnOnce(&mut Identity)) {
        f(&mut self.identity.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn polled(&self) -> Instant {
        *self.polled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Membership {
    /// Begins to join.
    pub fn start(client: Client, config: GroupConfig, protocol: Box<dyn GroupProtocol>) -> Membership {
        let (events_to, events) = mpsc::channel(8);
        let (orders, orders_from) = mpsc::channel(8);
        let identity = Identity { generation: -1, member_id: String::new(), instance_id: config.instance_id.clone() };
        let shared = Arc::new(Shared { identity: Mutex::new(identity), polled: Mutex::new(Instant::now()) });
        let to = To::Group(config.id.clone());
        let task =
            Task { client, config, protocol, to, shared: shared.clone(), events: events_to, orders: orders_from };
        Membership { events, orders, shared, task: tokio::spawn(task.run()) }
    }

    /// The next thing that happens. Safe to give up.
    pub async fn event(&mut self) -> GroupEvent {
        match self.events.recv().await {
            Some(event) => event,
            None => GroupEvent::Failed(Error::Closed),
        }
    }

    /// Something that has happened already.
    pub fn event_now(&mut self) -> Option<GroupEvent> {
        self.events.try_recv().ok()
    }

    /// The owner is alive.
    pub fn polled(&self) {
        *self.shared.polled.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub fn identity(&self) -> Identity {
        self.shared.identity()
    }

    /// Joins again, for instance because the subscription changed.
    pub fn rejoin(&self) {
        let _ = self.orders.try_send(Order::Rejoin);
    }

    /// Leaves the group (a static member stays, to come back).
    pub async fn leave(self) {
        let (done, left) = oneshot::channel();
        if self.orders.send(Order::Leave(done)).await.is_ok() {
            let _ = timeout(Duration::from_secs(5), left).await;
        }
    }
}

struct Task {
    client: Client,
    config: GroupConfig,
    protocol: Box<dyn GroupProtocol>,
    to: To,
    shared: Arc<Shared>,
    events: mpsc::Sender<GroupEvent>,
    orders: mpsc::Receiver<Order>,
}

/// Why a stretch of membership ended.
enum Ended {
    Rejoin {
        lost: bool,
    },
    Leave(oneshot::Sender<()>),
    /// Nobody listens any more.
    Abandoned,
}

impl Task {
    async fn run(mut self) {
        let mut lost = false;
        let mut first = true;
        loop {
            let ended = match self.gather(lost, first).await {
                Ok(ended) => ended,
                Err(error) => {
                    let _ = self.events.send(GroupEvent::Failed(error)).await;
                    return;
                }
            };
            first = false;
            match ended {
                Ended::Rejoin { lost: was_lost } => lost = was_lost,
                Ended::Abandoned => return,
                Ended::Leave(done) => {
                    self.leave().await;
                    let _ = done.send(());
                    return;
                }
            }
        }
    }

    /// One generation: prepare, join, sync, and stay until something changes.
    async fn gather(&mut self, lost: bool, first: bool) -> Result<Ended, Error> {
        if !first && let Some(ended) = self.prepare(lost).await {
            return Ok(ended);
        }
        loop {
            tokio::select! {
                joined = join(&self.client, &self.config, &mut *self.protocol, &self.to, &self.shared) => match joined {
                    Ok(joined) => {
                        if self.events.send(joined).await.is_err() {
                            return Ok(Ended::Abandoned);
                        }
                        break;
                    }
                    Err(error) => match error.error_code() {
                        // The others go on without waiting for this member's share.
                        Some(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration) => {}
                        Some(ErrorCode::UnknownMemberId) => self.shared.update(|i| {
                            i.member_id.clear();
                            i.generation = -1;
                        }),
                        _ if error.is_retriable() => {
                            self.client.forget(&self.to, &error);
                            sleep(self.client.config().retry_backoff).await;
                        }
                        _ => return Err(error),
                    },
                },
                order = self.orders.recv() => match order {
                    Some(Order::Leave(done)) => return Ok(Ended::Leave(done)),
                    Some(Order::Rejoin) => {}
                    None => return Ok(Ended::Abandoned),
                },
            }
        }
        self.stay().await
    }

    /// Asks the owner to give up what it must; the group hears from this member meanwhile.
    async fn prepare(&mut self, lost: bool) -> Option<Ended> {
        let (ready, mut given_up) = oneshot::channel();
        if self.events.send(GroupEvent::Rebalancing { lost, ready }).await.is_err() {
            return Some(Ended::Abandoned);
        }
        let deadline = Instant::now() + self.config.max_poll_interval;
        loop {
            tokio::select! {
                _ = &mut given_up => return None,
                () = sleep_until(deadline) => return None,
                order = self.orders.recv() => match order {
                    Some(Order::Leave(done)) => return Some(Ended::Leave(done)),
                    Some(Order::Rejoin) => {}
                    None => return Some(Ended::Abandoned),
                },
                () = sleep(self.config.heartbeat_interval), if !lost => {
                    let _ = self.heartbeat().await;
                }
            }
        }
    }

    /// Heartbeats until the group changes.
    async fn stay(&mut self) -> Result<Ended, Error> {
        let mut heard = Instant::now();
        let mut pause = self.config.heartbeat_interval;
        loop {
            tokio::select! {
                order = self.orders.recv() => return Ok(match order {
                    Some(Order::Leave(done)) => Ended::Leave(done),
                    Some(Order::Rejoin) => Ended::Rejoin { lost: false },
                    None => Ended::Abandoned,
                }),
                () = sleep(pause) => {}
            }
            if self.shared.polled().elapsed() > self.config.max_poll_interval {
                self.await_owner().await;
                return Ok(Ended::Rejoin { lost: true });
            }
            pause = self.config.heartbeat_interval;
            match self.heartbeat().await {
                Ok(()) => heard = Instant::now(),
                Err(error) => match error.error_code() {
                    Some(ErrorCode::RebalanceInProgress) => return Ok(Ended::Rejoin { lost: false }),
                    Some(ErrorCode::IllegalGeneration) => return Ok(Ended::Rejoin { lost: true }),
                    Some(ErrorCode::UnknownMemberId) => {
                        self.shared.update(|i| {
                            i.member_id.clear();
                            i.generation = -1;
                        });
                        return Ok(Ended::Rejoin { lost: true });
                    }
                    _ if error.is_retriable() => {
                        self.client.forget(&self.to, &error);
                        if heard.elapsed() > self.config.session_timeout {
                            return Ok(Ended::Rejoin { lost: true });
                        }
                        pause = self.client.config().retry_backoff;
                    }
                    _ => return Err(error),
                },
            }
        }
    }

    /// The owner does not poll: its share goes to others until it does.
    async fn await_owner(&mut self) {
        tracing::warn!(
            target: "org.apache.kafka.clients.consumer.internals.ConsumerCoordinator",
            "[{}] consumer poll timeout has expired. This means the time between subsequent calls to poll() was longer than the configured max.poll.interval.ms",
            self.client.config().log_name
        );
        let seen = self.shared.polled();
        self.leave().await;
        while self.shared.polled() == seen {
            sleep(self.client.config().retry_backoff).await;
        }
    }

    async fn heartbeat(&self) -> Result<(), Error> {
        let identity = self.shared.identity();
        let request = HeartbeatRequest {
            group_id: self.config.id.as_str().into(),
            generation_id: identity.generation,
            member_id: identity.member_id.as_str().into(),
            group_instance_id: identity.instance_id.as_deref().map(Into::into),
            ..Default::default()
        };
        let connection = self.client.connect(&self.to, "heartbeat").await?;
        let reply = connection.call(&request).await?;
        let response: HeartbeatResponse = reply.decode()?;
        Error::check(ErrorCode::from_code(response.error_code), None)
    }

    async fn leave(&self) {
        let identity = self.shared.identity();
        if identity.member_id.is_empty() || identity.instance_id.is_some() {
            return;
        }
        let Ok(connection) = self.client.connect(&self.to, "leaveGroup").await else { return };
        let Ok(version) = connection.version(ApiKey::LeaveGroup) else { return };
        let mut request = LeaveGroupRequest { group_id: self.config.id.as_str().into(), ..Default::default() };
        match version {
            3.. => {
                let member = MemberIdentity { member_id: identity.member_id.as_str().into(), ..Default::default() };
                request.members = vec![member].into();
            }
            _ => request.member_id = identity.member_id.as_str().into(),
        }
        // Whether it was heard or not, this member is gone.
        let _ = connection.call_at(version, &request).await;
        self.shared.update(|i| {
            i.generation = -1;
            i.member_id.clear();
        });
    }
}

/// JoinGroup, then SyncGroup.
async fn join(
    client: &Client,
    config: &GroupConfig,
    protocol: &mut dyn GroupProtocol,
    to: &To,
    shared: &Shared,
) -> Result<GroupEvent, Error> {
    let connection = client.connect(to, "joinGroup").await?;
    let version = connection.version(ApiKey::JoinGroup)?;
    if version < STATIC_MEMBERS_FROM && shared.identity().instance_id.is_some() {
        return Err(Error::Unsupported(format!(
            "The broker join group protocol version {version} does not support usage of config group.instance.id."
        )));
    }
    let offered = protocol.protocols();
    let ms = |d: Duration| i32::try_from(d.as_millis()).unwrap_or(i32::MAX);
    let reply = loop {
        let identity = shared.identity();
        let request = JoinGroupRequest {
            group_id: config.id.as_str().into(),
            session_timeout_ms: ms(config.session_timeout),
            rebalance_timeout_ms: ms(config.max_poll_interval),
            member_id: identity.member_id.as_str().into(),
            group_instance_id: identity.instance_id.as_deref().map(Into::into),
            protocol_type: protocol.protocol_type().into(),
            protocols: offered
                .iter()
                .map(|(name, metadata)| JoinGroupRequestProtocol {
                    name: name.as_str().into(),
                    metadata: Bytes::Borrowed(metadata),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        // The answer comes when all members have joined.
        let limit = config.max_poll_interval + Duration::from_secs(5);
        let reply = connection.start_within(version, &request, limit).await?.reply().await?;
        let response: JoinGroupResponse<'_> = reply.decode()?;
        match ErrorCode::from_code(response.error_code) {
            ErrorCode::None => break reply,
            ErrorCode::MemberIdRequired => {
                let id = response.member_id.to_string();
                shared.update(|i| i.member_id = id);
            }
            code => return Err(Error::code(code)),
        }
    };
    let joined: JoinGroupResponse<'_> = reply.decode()?;
    let generation = joined.generation_id;
    let member_id = joined.member_id.to_string();
    shared.update(|i| {
        i.generation = generation;
        i.member_id.clone_from(&member_id);
    });
    let name = joined.protocol_name.as_deref().unwrap_or_default().to_owned();
    let is_leader = joined.leader == joined.member_id;
    let mut shares = Vec::new();
    if is_leader && !joined.skip_assignment {
        let members: Vec<Member> = joined
            .members
            .iter()
            .map(|m| Member {
                id: m.member_id.to_string(),
                instance_id: m.group_instance_id.as_deref().map(str::to_owned),
                metadata: m.metadata.to_vec(),
            })
            .collect();
        shares = protocol.assign(&name, &members).await?;
    }
    let assignment = sync(client, config, to, shared, protocol.protocol_type(), &name, &shares).await?;
    Ok(GroupEvent::Joined { protocol: name, assignment, is_leader })
}

async fn sync(
    client: &Client,
    config: &GroupConfig,
    to: &To,
    shared: &Shared,
    protocol_type: &str,
    protocol: &str,
    shares: &[(String, Vec<u8>)],
) -> Result<Vec<u8>, Error> {
    let identity = shared.identity();
    let connection = client.connect(to, "syncGroup").await?;
    let version = connection.version(ApiKey::SyncGroup)?;
    let request = SyncGroupRequest {
        group_id: config.id.as_str().into(),
        generation_id: identity.generation,
        member_id: identity.member_id.as_str().into(),
        group_instance_id: identity.instance_id.as_deref().map(Into::into),
        protocol_type: Some(protocol_type.into()),
        protocol_name: Some(protocol.into()),
        assignments: shares
            .iter()
            .map(|(member, assignment)| SyncGroupRequestAssignment {
                member_id: member.as_str().into(),
                assignment: Bytes::Borrowed(assignment),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let limit = config.max_poll_interval + Duration::from_secs(5);
    let reply = connection.start_within(version, &request, limit).await?.reply().await?;
    let response: SyncGroupResponse<'_> = reply.decode()?;
    Error::check(ErrorCode::from_code(response.error_code), None)?;
    Ok(response.assignment.to_vec())
}
