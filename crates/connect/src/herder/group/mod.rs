//! The group of workers: who leads, who runs what, and following it.
//!
//! Reading order: `protocol` (what is told), `assignor` (what the leader decides), this file (what a member knows),
//! `member` (what it does about it), `signature`.

mod assignor;
mod member;
mod protocol;
mod signature;
mod work;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::consumer::group::{BoxFuture, GroupProtocol, Member, Shares};
use connect_api::{Error, Properties, Result};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{Answer, Herder, Refusal};
use crate::base64;
use crate::config::Distributed;
use crate::config::worker::Protocol;
use crate::rest;
use crate::store::{Configs, TaskId, now_ms};
use assignor::Memory;
pub use member::run;
use protocol::{Assignment, WorkerState};
use work::Work;

const LOGGER: &str = "org.apache.kafka.connect.runtime.distributed.DistributedHerder";

/// The headers of a signed request.
pub const SIGNATURE: &str = "x-connect-authorization";
pub const ALGORITHM: &str = "x-connect-request-signature-algorithm";
const HMAC: &str = "HmacSHA256";

/// What a member knows.
#[derive(Debug, Default)]
struct State {
    /// None while the group gathers for the first time.
    leader_url: Option<String>,
    is_leader: bool,
    protocol: Option<Protocol>,
    owned: Work,
    /// As the leader: who has what, by URL.
    owners: BTreeMap<String, Work>,
    memory: Memory,
}

/// This worker's place in the group; clones share it.
#[derive(Clone)]
pub struct Group {
    settings: Arc<Distributed>,
    url: Arc<str>,
    configs: Arc<Configs>,
    state: Arc<Mutex<State>>,
}

impl Group {
    pub fn new(settings: Distributed, url: String, configs: Arc<Configs>) -> Group {
        Group { settings: Arc::new(settings), url: url.into(), configs, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn id(&self) -> &str {
        &self.settings.group_id
    }

    /// Refuses when another worker leads.
    pub fn lead(&self) -> Answer<()> {
        let state = self.state();
        match &state.leader_url {
            _ if state.is_leader => Ok(()),
            Some(url) => Err(Refusal::Elsewhere(url.clone())),
            None => Err(Refusal::conflict(
                "Cannot complete request momentarily due to no known leader URL, likely because a rebalance was underway.",
            )),
        }
    }

    /// Refuses when another worker runs the connector.
    pub fn owns_connector(&self, name: &str) -> Answer<()> {
        self.owns(|work| work.connectors.contains(name), || format!("Connector {name} is not assigned to a worker"))
    }

    /// Refuses when another worker runs the task.
    pub fn owns_task(&self, id: &TaskId) -> Answer<()> {
        self.owns(|work| work.tasks.contains(id), || format!("Task {id} is not assigned to a worker"))
    }

    fn owns(&self, has: impl Fn(&Work) -> bool, missing: impl Fn() -> String) -> Answer<()> {
        let state = self.state();
        if has(&state.owned) {
            return Ok(());
        }
        match (state.is_leader, state.owners.iter().find(|(_, work)| has(work)), &state.leader_url) {
            (true, Some((url, _)), _) => Err(Refusal::Elsewhere(url.clone())),
            (false, _, Some(leader)) => Err(Refusal::Elsewhere(leader.clone())),
            _ => Err(Refusal::conflict(missing())),
        }
    }

    /// The tasks of a connector that this worker is to run.
    pub fn owned_tasks(&self, name: &str) -> Vec<TaskId> {
        self.state().owned.tasks.iter().filter(|id| id.connector == name).cloned().collect()
    }

    /// Hands the tasks of a connector that runs here to the leader, who writes them down.
    pub async fn publish_tasks(&self, herder: &Herder, name: &str, tasks: &[Properties]) -> Result<()> {
        const ATTEMPTS: usize = 20;
        const PAUSE: Duration = Duration::from_millis(250);
        let body = serde_json::json!(tasks).to_string();
        let mut failure = Error::connect("no worker leads the group");
        for _ in 0..ATTEMPTS {
            let (leads, url) = {
                let state = self.state();
                (state.is_leader, state.leader_url.clone())
            };
            if leads {
                return herder.configs.put_tasks(name, tasks).await;
            }
            if let Some(url) = url {
                let target = format!("{url}connectors/{}/tasks", rest::encode(name));
                let headers = self.signed(body.as_bytes());
                match rest::send("POST", &target, &headers, body.clone()).await {
                    Ok((200..=299, _)) => return Ok(()),
                    Ok((status, answer)) => failure = Error::connect(format!("{target} answered {status}: {answer}")),
                    Err(error) => failure = Error::connect(format!("{target} cannot be reached")).caused_by(error),
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(Error::connect(format!("The tasks of {name} could not be handed to the leader")).caused_by(failure))
    }

    /// The headers that sign a request between workers; none where they are not signed.
    fn signed(&self, body: &[u8]) -> Vec<(&'static str, String)> {
        let key = self.configs.with(|c| c.session_key.clone());
        match (self.state().protocol, key) {
            (Some(Protocol::Sessioned), Some(key)) => {
                vec![(SIGNATURE, base64::encode(&signature::sign(&key.key, body))), (ALGORITHM, HMAC.to_owned())]
            }
            _ => Vec::new(),
        }
    }

    /// Refuses a request between workers that is not signed as it must be.
    pub fn check_signature(&self, given: Option<&str>, algorithm: Option<&str>, body: &[u8]) -> Answer<()> {
        if self.state().protocol != Some(Protocol::Sessioned) {
            return Ok(());
        }
        let Some(given) = given else {
            return Err(Refusal::bad_request("Internal request missing required signature"));
        };
        if algorithm != Some(HMAC) {
            return Err(Refusal::bad_request(format!(
                "This worker does not support the '{}' key signing algorithm used by other workers.",
                algorithm.unwrap_or_default()
            )));
        }
        let Some(key) = self.configs.with(|c| c.session_key.clone()) else {
            let why = "This worker is still starting up and has not been able to read a session key from the config topic yet";
            return Err(Refusal::Status(503, why.to_owned()));
        };
        match base64::decode(given) {
            Some(given) if signature::verify(&key.key, body, &given) => Ok(()),
            _ => Err(Refusal::Status(403, "Internal request contained invalid signature.".to_owned())),
        }
    }

    /// As the leader of a group that signs: sees to it that there is a key, and that it is not too old.
    async fn renew_key(&self) {
        {
            let state = self.state();
            if !state.is_leader || state.protocol != Some(Protocol::Sessioned) {
                return;
            }
        }
        let created = self.configs.with(|c| c.session_key.as_ref().map(|k| k.created));
        let fresh = created.is_some_and(|at| now_ms() - at < self.settings.key_ttl.as_millis() as i64);
        if fresh {
            return;
        }
        let written = match signature::new_key() {
            Ok(key) => self.configs.put_session_key(&key).await,
            Err(error) => Err(error.into()),
        };
        match written {
            Ok(()) => info!(target: LOGGER, "A new key for requests between workers was written"),
            Err(error) => warn!(target: LOGGER, "No key for requests between workers could be written: {error}"),
        }
    }
}

impl GroupProtocol for Group {
    fn protocol_type(&self) -> &str {
        "connect"
    }

    fn protocols(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut state = WorkerState {
            url: self.url.to_string(),
            offset: self.configs.with(|c| c.offset),
            owned: self.state().owned.clone(),
            marked: true,
        };
        let offered = Protocol::ALL.into_iter().rev().filter(|p| *p <= self.settings.protocol);
        offered
            .map(|protocol| {
                if protocol == Protocol::Eager {
                    state.owned = Work::default();
                }
                (protocol.name().to_owned(), state.write(protocol))
            })
            .collect()
    }

    fn assign<'f>(
        &'f mut self,
        protocol: &'f str,
        members: &'f [Member],
    ) -> BoxFuture<'f, std::result::Result<Shares, client::Error>> {
        Box::pin(async move {
            let unreadable = |why: String| client::Error::Protocol(why);
            let protocol = Protocol::of_name(protocol).ok_or_else(|| unreadable(format!("no protocol {protocol}")))?;
            // Nobody is further than who has just read everything.
            self.configs.refresh().await.map_err(|e| unreadable(e.to_string()))?;
            let mut known = BTreeMap::new();
            for member in members {
                let state = WorkerState::read(&member.metadata)
                    .map_err(|why| unreadable(format!("the metadata of {}: {why}", member.id)))?;
                if !state.marked {
                    error!(
                        target: LOGGER,
                        "The worker at {} in the group {} is a Java worker. It gets nothing to run: it has other connectors than \
                         the workers of Klamm. Give the two groups of their own (group.id, and topics of their own)",
                        state.url, self.settings.group_id
                    );
                }
                known.insert(member.id.clone(), state);
            }
            let (configured, offset) = self.configs.with(|c| (Work::configured(c), c.offset));
            let leader = known.iter().find(|(_, s)| *s.url == *self.url).map(|(id, _)| id.clone()).unwrap_or_default();
            let owned: BTreeMap<String, Work> =
                known.iter().filter(|(_, s)| s.marked).map(|(id, s)| (id.clone(), s.owned.clone())).collect();
            let mut state = self.state();
            let delay = if protocol == Protocol::Eager { Duration::ZERO } else { self.settings.rebalance_delay_max };
            let (shares, delay) = assignor::assign(&owned, &configured, &mut state.memory, delay, Instant::now());
            state.owners.clear();
            let encoded = known
                .iter()
                .map(|(id, member)| {
                    let share = shares.get(id).cloned().unwrap_or_default();
                    let mut work = member.owned.without(&share.revoked);
                    work.add(&share.assigned);
                    state.owners.entry(member.url.clone()).or_default().add(&work);
                    let assignment = Assignment {
                        leader: leader.clone(),
                        leader_url: self.url.to_string(),
                        offset,
                        assigned: share.assigned,
                        revoked: share.revoked,
                        delay,
                        marked: true,
                    };
                    (id.clone(), assignment.write(protocol))
                })
                .collect();
            Ok(encoded)
        })
    }
}
