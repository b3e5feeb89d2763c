//! Looks whether a leader is still there before an answer names it.
//!
//! A client asks who leads because its connection to the leader has just broken, and it asks within the millisecond: the
//! controller has not heard of it yet. Told the old leader again, librdkafka would ask no more for a second. So whoever would
//! be named is asked for a sign of life first. The sockets of a process that ends are closed one after the other, the one that
//! listens perhaps last, so that only an answer proves that it lives: a process none of whose threads is left gives none.
//!
//! Where it has ended, the answer waits for the new leader. Where it is silent (frozen, or cut off from here), a client that
//! was sent there would be stuck until its own timeout: nobody is named then, and the client asks again, until the controller
//! has had the time to judge. A leader that it keeps is named again, silent or not.

use crate::node::Node;
use crate::quorum::convert::Address;
use crate::quorum::peers::{connect, is_deserted};
use client::{ClientConfig, Connection, Error};
use metadata::image::Broker;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use wire::messages::ApiVersionsRequest;

/// How long an answer waits for the new leader where the old one has ended.
const PATIENCE: Duration = Duration::from_millis(500);
/// A broker that gives no sign of life for so long is silent.
const SILENCE: Duration = Duration::from_millis(500);
/// As long has a broker that was absent the last time.
const SILENCE_AGAIN: Duration = Duration::from_millis(20);
const AGAIN: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    There,
    /// Nobody listens there any more.
    Ended,
    Silent,
}

/// How each broker was found the last time.
#[derive(Debug)]
pub struct LeaderChecks {
    client: ClientConfig,
    brokers: Mutex<HashMap<i32, Arc<Sight>>>,
}

impl LeaderChecks {
    /// With how this node reaches others.
    pub fn new(client: ClientConfig) -> LeaderChecks {
        LeaderChecks { client, brokers: Mutex::default() }
    }

    fn of(&self, broker: i32) -> Arc<Sight> {
        self.brokers.lock().unwrap_or_else(PoisonError::into_inner).entry(broker).or_default().clone()
    }
}

/// One broker, as this node sees it. Whoever comes while somebody looks waits for the next look, which serves all that wait:
/// what was seen before one asked proves nothing.
#[derive(Debug, Default)]
struct Sight {
    begun: AtomicU64,
    last: tokio::sync::Mutex<Look>,
}

#[derive(Debug, Default)]
struct Look {
    /// Which look it was, and what it found. A look that is given up has neither.
    found: Option<(u64, Found)>,
    /// Since when it has not been there.
    absent: Option<Instant>,
    connection: Option<(Address, Connection)>,
}

/// The brokers among `leaders` that no answer should name now. Waits for the cluster's state where one of them has ended.
pub async fn absent(node: &Arc<Node>, leaders: BTreeSet<i32>) -> BTreeSet<i32> {
    let mut others = leaders.into_iter().filter(|leader| *leader != node.node_id && *leader >= 0);
    let (first, second) = (others.next(), others.next());
    let (Some(first), None) = (first, second) else {
        let mut looks = JoinSet::new();
        for leader in first.into_iter().chain(second).chain(others) {
            let node = node.clone();
            looks.spawn(async move { is_absent(&node, leader).await.then_some(leader) });
        }
        return looks.join_all().await.into_iter().flatten().collect();
    };
    BTreeSet::from_iter(is_absent(node, first).await.then_some(first))
}

async fn is_absent(node: &Node, leader: i32) -> bool {
    let image = node.image();
    let Some(broker) = image.cluster.broker(leader).filter(|broker| !broker.fenced) else { return false };
    let Some((found, since)) = look_for(node, broker).await else { return false };
    if found == Found::There || since.elapsed() > node.config.broker_session_timeout {
        return false;
    }
    let serves = |node: &Node| {
        let image = node.image();
        image.cluster.broker(leader).is_some_and(|now| !now.fenced && now.epoch == broker.epoch)
    };
    let until = Instant::now() + PATIENCE;
    while found == Found::Ended && serves(node) && Instant::now() < until {
        sleep(AGAIN).await;
    }
    serves(node)
}

/// Whether the process of this broker has ended, for certain.
pub async fn has_ended(node: &Node, broker: &Broker) -> bool {
    look_for(node, broker).await.is_some_and(|(found, _)| found == Found::Ended)
}

/// `None` where the broker has no address.
async fn look_for(node: &Node, broker: &Broker) -> Option<(Found, Instant)> {
    let endpoint = broker.endpoint(&node.config.inter_broker_listener).or(broker.endpoints.first())?;
    let checks = &node.leader_checks;
    Some(checks.of(broker.id).look(&checks.client, &(endpoint.host.clone(), endpoint.port)).await)
}

impl Sight {
    /// What a look finds that begins now or later, and since when it is so.
    async fn look(&self, config: &ClientConfig, address: &Address) -> (Found, Instant) {
        let before = self.begun.load(Ordering::Acquire);
        let mut last = self.last.lock().await;
        let found = match last.found {
            Some((number, found)) if number > before => found,
            _ => {
                let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
                let patience = if last.absent.is_some() { SILENCE_AGAIN } else { SILENCE };
                let found = timeout(patience, last.sign_of_life(config, address)).await.unwrap_or(Found::Silent);
                if found == Found::Silent {
                    last.connection = None;
                }
                last.found = Some((number, found));
                found
            }
        };
        let now = Instant::now();
        if found == Found::There {
            last.absent = None;
            return (found, now);
        }
        (found, *last.absent.get_or_insert(now))
    }
}

impl Look {
    /// Asks for the simplest answer there is, until somebody gives it or nobody listens.
    async fn sign_of_life(&mut self, config: &ClientConfig, address: &Address) -> Found {
        loop {
            let connection = match &self.connection {
                Some((to, connection)) if to == address && connection.is_open() => connection.clone(),
                _ => match connect(config, address).await {
                    Ok(connection) => {
                        // To open it took an answer.
                        self.connection = Some((address.clone(), connection));
                        return Found::There;
                    }
                    Err(_) if is_deserted(address).await => return Found::Ended,
                    Err(_) => {
                        sleep(AGAIN).await;
                        continue;
                    }
                },
            };
            match connection.call_at(0, &ApiVersionsRequest::default()).await {
                Err(Error::Disconnected(_) | Error::Timeout(_)) => self.connection = None,
                // Whatever it says, it says it.
                _ => return Found::There,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::Role;
    use tokio::net::TcpListener;

    /// Connections that are taken prove nothing: the process that listens may be ending.
    #[tokio::test]
    async fn a_process_that_ends_is_told_from_one_that_is_silent() {
        let config = ClientConfig::bare(Role::Admin, "test");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = ("127.0.0.1".to_owned(), listener.local_addr().unwrap().port());
        let ending = tokio::spawn(async move {
            for _ in 0..3 {
                drop(listener.accept().await.unwrap());
            }
        });
        assert_eq!(Sight::default().look(&config, &address).await.0, Found::Ended);
        ending.await.unwrap();

        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = ("127.0.0.1".to_owned(), silent.local_addr().unwrap().port());
        let sight = Sight::default();
        let (found, since) = sight.look(&config, &address).await;
        assert_eq!(found, Found::Silent);
        assert_eq!(sight.look(&config, &address).await, (Found::Silent, since), "since the first time");
    }
}
