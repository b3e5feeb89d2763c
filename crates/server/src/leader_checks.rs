//! Looks whether a leader is still there before an answer names it.
//!
//! A client asks who leads because its connection to the leader has just broken, and it asks within the millisecond: the
//! controller has not heard of it yet. Told the old leader again, librdkafka would ask no more for a second. So whoever would
//! be named is asked for first: the listening socket of a process goes with it, before its connections do. Where it is gone,
//! the answer waits for the new leader.

use crate::node::Node;
use crate::quorum::peers::is_deserted;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A broker that was there so recently is not looked for again.
const FRESH: Duration = Duration::from_millis(10);
/// How long an answer waits for a new leader.
const PATIENCE: Duration = Duration::from_millis(500);
const AGAIN: Duration = Duration::from_millis(2);
/// A process that ends closes its sockets one after the other, the one that listens perhaps last: a second look is taken
/// after so long.
const SECOND_LOOK: Duration = Duration::from_millis(2);

/// When each broker was found to be there last.
#[derive(Debug, Default)]
pub struct LeaderChecks(Mutex<HashMap<i32, Instant>>);

impl LeaderChecks {
    fn is_fresh(&self, broker: i32) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&broker).is_some_and(|at| at.elapsed() < FRESH)
    }

    fn seen(&self, broker: i32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(broker, Instant::now());
    }
}

/// Waits, where one of these brokers has ended, until the cluster's state has it or the patience is over.
pub async fn settle(node: &Node, leaders: BTreeSet<i32>) {
    for leader in leaders {
        if leader != node.node_id && leader >= 0 && !node.leader_checks.is_fresh(leader) {
            settle_one(node, leader).await;
        }
    }
}

async fn settle_one(node: &Node, leader: i32) {
    let image = node.image();
    let Some(broker) = image.cluster.broker(leader).filter(|broker| !broker.fenced) else { return };
    let Some(endpoint) = broker.endpoint(&node.config.inter_broker_listener).or(broker.endpoints.first()) else {
        return;
    };
    let address = (endpoint.host.clone(), endpoint.port);
    if !is_deserted(&address).await {
        tokio::time::sleep(SECOND_LOOK).await;
        if !is_deserted(&address).await {
            return node.leader_checks.seen(leader);
        }
    }
    let deadline = Instant::now() + PATIENCE;
    let serves = |node: &Node| {
        let image = node.image();
        image.cluster.broker(leader).is_some_and(|now| !now.fenced && now.epoch == broker.epoch)
    };
    while serves(node) && Instant::now() < deadline {
        tokio::time::sleep(AGAIN).await;
    }
}
