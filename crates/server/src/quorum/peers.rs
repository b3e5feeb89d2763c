//! The other nodes of the quorum, as this one reaches them: what it has to say to voters, and its fetches.
//!
//! Each voter has a task of its own, which sends one request at a time; a voter that does not answer delays nobody else. What
//! a task hears goes into the metadata thread's queue. Messages that find a queue full are dropped: the quorum says again
//! what matters.

use super::convert::{self, Address};
use super::{Answer, Request};
use client::{ClientConfig, Connection, Error};
use metadata::quorum::{FetchFrom, NextFetch, Outgoing, ReplicaKey, VoteReply, VoterSet};
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tracing::warn;
use wire::messages::{
    BeginQuorumEpochResponse, EndQuorumEpochResponse, FetchResponse, FetchSnapshotResponse, VoteResponse,
};
use wire::{ApiKey, ErrorCode};

/// Messages that may wait for one voter.
const QUEUE: usize = 16;
/// How long a leader may hold a fetch that brings nothing, in ms; Kafka's followers say the same.
const FETCH_WAIT_MS: i32 = 500;
/// How long the question whether anybody listens at an address may take.
const PROBE: Duration = Duration::from_millis(250);

/// See the module.
pub struct Peers {
    cluster_id: String,
    config: ClientConfig,
    /// This node's controller listeners, as others reach them: name and address.
    own: Vec<(String, Address)>,
    bootstrap: Vec<Address>,
    /// Which of them is asked next.
    next: AtomicUsize,
    addresses: Mutex<HashMap<i32, Address>>,
    /// Where something else than a controller answered.
    strangers: Mutex<HashSet<Address>>,
    voices: Mutex<HashMap<i32, mpsc::Sender<(ReplicaKey, Outgoing)>>>,
    answers: mpsc::Sender<Request>,
    runtime: Handle,
    fetching: tokio::sync::Mutex<Option<(Address, Connection)>>,
}

impl Peers {
    pub fn new(
        cluster_id: String,
        config: ClientConfig,
        own: Vec<(String, Address)>,
        voters: &VoterSet,
        answers: mpsc::Sender<Request>,
        runtime: Handle,
    ) -> Arc<Peers> {
        let peers = Peers {
            cluster_id,
            bootstrap: config.bootstrap_servers.clone(),
            config,
            own,
            next: AtomicUsize::new(0),
            addresses: Mutex::default(),
            strangers: Mutex::default(),
            voices: Mutex::default(),
            answers,
            runtime,
            fetching: tokio::sync::Mutex::new(None),
        };
        peers.learn_voters(voters);
        Arc::new(peers)
    }

    /// Remembers where voters are.
    pub fn learn_voters(&self, voters: &VoterSet) {
        for voter in voters.iter() {
            if let Some(endpoint) = voter.endpoints.first() {
                self.learn(voter.id, (endpoint.host.clone(), endpoint.port));
            }
        }
    }

    /// Remembers where a node of the quorum is.
    pub fn learn(&self, id: i32, address: Address) {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).insert(id, address);
    }

    /// Where a node of the quorum is, as far as known.
    pub fn address(&self, id: i32) -> Option<Address> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn anybody(&self) -> Option<Address> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.bootstrap.get(next.checked_rem(self.bootstrap.len())?).cloned()
    }

    /// A connection to a node of the quorum.
    ///
    /// # Errors
    /// Besides those of connecting, what listens there is no controller, which is logged the first time.
    pub async fn connect(&self, address: &Address) -> Result<Connection, Error> {
        let connection = connect(&self.config, address).await?;
        if let Err(error) = connection.version(ApiKey::Vote) {
            if self.strangers.lock().unwrap_or_else(PoisonError::into_inner).insert(address.clone()) {
                let (host, port) = address;
                warn!(
                    %error,
                    "{host}:{port} is not a controller's: controller.quorum.voters and controller.quorum.bootstrap.servers \
                     name controllers' listeners"
                );
            }
            return Err(error);
        }
        Ok(connection)
    }

    /// Sends a message to a voter, and its answer to the metadata thread.
    pub fn send(self: &Arc<Peers>, to: ReplicaKey, message: Outgoing) {
        let mut voices = self.voices.lock().unwrap_or_else(PoisonError::into_inner);
        let voice = voices.entry(to.id).or_insert_with(|| {
            let (sender, messages) = mpsc::channel(QUEUE);
            let peers = self.clone();
            self.runtime.spawn(async move { peers.speak(to.id, messages).await });
            sender
        });
        let _ = voice.try_send((to, message)); // see the module
    }

    async fn speak(self: Arc<Peers>, id: i32, mut messages: mpsc::Receiver<(ReplicaKey, Outgoing)>) {
        let mut connection: Option<Connection> = None;
        while let Some((to, message)) = messages.recv().await {
            if connection.as_ref().is_none_or(|connection| !connection.is_open()) {
                let Some(address) = self.address(id) else { continue };
                connection = self.connect(&address).await.ok();
            }
            let Some(open) = &connection else { continue };
            match self.ask(open, to, &message).await {
                Ok(answer) => {
                    let _ = self.answers.send(Request::Answer(answer)).await; // the node is ending
                }
                Err(Error::Unsupported(_)) => {}
                Err(_) => connection = None,
            }
        }
    }

    async fn ask(&self, connection: &Connection, to: ReplicaKey, message: &Outgoing) -> Result<Answer, Error> {
        match message {
            Outgoing::Vote(request) => {
                // Before version 2 nobody can be asked for a pre-vote, and so nobody refuses it (KIP-996).
                if request.pre_vote && connection.version(ApiKey::Vote)? < 2 {
                    let known = metadata::quorum::Known { error: ErrorCode::None, epoch: -1, leader: None };
                    let reply = VoteReply { granted: true, known };
                    return Ok(Answer::Voted { from: to.id, asked: *request, reply });
                }
                let reply = connection.call(&convert::vote_request(request, &self.cluster_id)).await?;
                let response = reply.decode::<VoteResponse<'_>>()?;
                if let Some(leader) = response.node_endpoints.iter().next() {
                    self.learn(leader.node_id, (leader.host.to_string(), leader.port));
                }
                Ok(Answer::Voted { from: to.id, asked: *request, reply: convert::read_vote_reply(&response) })
            }
            Outgoing::BeginEpoch(request) => {
                let request = convert::begin_request(request, &self.cluster_id, &self.own);
                let reply = connection.call(&request).await?;
                Ok(Answer::Heard(convert::read_begin_reply(&reply.decode::<BeginQuorumEpochResponse<'_>>()?)))
            }
            Outgoing::EndEpoch(request) => {
                let request = convert::end_request(request, &self.cluster_id, &self.own);
                let reply = connection.call(&request).await?;
                Ok(Answer::Heard(convert::read_end_reply(&reply.decode::<EndQuorumEpochResponse<'_>>()?)))
            }
        }
    }

    /// Fetches once; the metadata thread hears of it under `generation`.
    pub fn fetch(self: &Arc<Peers>, generation: u64, from: FetchFrom, next: NextFetch) -> AbortHandle {
        let peers = self.clone();
        let fetch = async move {
            let answer = match peers.fetch_once(generation, from, next).await {
                Ok(answer) => answer,
                Err(ended) => Answer::FetchFailed { generation, ended },
            };
            let _ = peers.answers.send(Request::Answer(answer)).await; // the node is ending
        };
        self.runtime.spawn(fetch).abort_handle()
    }

    /// # Errors
    /// No answer; with the leader's id and epoch when nobody listens any more where it was.
    async fn fetch_once(
        &self,
        generation: u64,
        from: FetchFrom,
        next: NextFetch,
    ) -> Result<Answer, Option<(i32, i32)>> {
        let address = match from {
            FetchFrom::Leader(id) => self.address(id).or_else(|| self.anybody()),
            FetchFrom::Anybody => self.anybody(),
        };
        let address = address.ok_or(None)?;
        match self.fetch_at(&address, generation, from, next).await {
            Ok(answer) => Ok(answer),
            Err(_) => {
                *self.fetching.lock().await = None;
                match from {
                    FetchFrom::Leader(id)
                        if self.address(id).as_ref() == Some(&address) && is_deserted(&address).await =>
                    {
                        Err(Some((id, next.epoch())))
                    }
                    _ => Err(None),
                }
            }
        }
    }

    async fn fetch_at(
        &self,
        address: &Address,
        generation: u64,
        from: FetchFrom,
        next: NextFetch,
    ) -> Result<Answer, Error> {
        let mut slot = self.fetching.lock().await;
        let connection = match &*slot {
            Some((to, connection)) if to == address && connection.is_open() => connection.clone(),
            _ => {
                let connection = self.connect(address).await?;
                *slot = Some((address.clone(), connection.clone()));
                connection
            }
        };
        drop(slot);
        match next {
            NextFetch::Records(asked) => {
                let version = connection.version(ApiKey::Fetch)?;
                let request = convert::fetch_request(&asked, &self.cluster_id, version, FETCH_WAIT_MS);
                let reply = connection.call_at(version, &request).await?;
                let (fetched, leader) = convert::read_fetched(&reply.decode::<FetchResponse<'_>>()?);
                if let Some((id, address)) = leader {
                    self.learn(id, address);
                }
                Ok(Answer::Fetched { generation, from, asked, fetched: Box::new(fetched) })
            }
            NextFetch::Snapshot(asked) => {
                let reply = connection.call(&convert::snapshot_request(&asked, &self.cluster_id)).await?;
                let piece = convert::read_snapshot_piece(&reply.decode::<FetchSnapshotResponse<'_>>()?);
                Ok(Answer::Snapshot { generation, from, asked, piece: Box::new(piece) })
            }
        }
    }
}

/// A connection to `address`, at the first of its addresses that answers.
///
/// # Errors
/// The last one's.
pub async fn connect(config: &ClientConfig, (host, port): &Address) -> Result<Connection, Error> {
    let lookup = tokio::net::lookup_host((host.as_str(), *port)).await;
    let found = lookup.map_err(|error| Error::Disconnected(format!("{host}:{port} ({error})")))?;
    let mut last = Error::Disconnected(format!("{host} has no address"));
    for address in found {
        match Connection::open(address, host, config).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Whether the system at `address` says that no process listens there. A system that says nothing may be cut off.
pub async fn is_deserted((host, port): &Address) -> bool {
    let Ok(Ok(found)) = timeout(PROBE, tokio::net::lookup_host((host.as_str(), *port))).await else { return false };
    let mut refused = false;
    for address in found {
        match timeout(PROBE, TcpStream::connect(address)).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => refused = true,
            _ => return false,
        }
    }
    refused
}
