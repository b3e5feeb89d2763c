//! Brings the ISRs that leaders propose to the controller: all that wait in one request, one request at a time.

use super::key;
use crate::node::Node;
use crate::partitions::Cell;
use metadata::controller::{AlterPartition, Command, Reply};
use metadata::image::{LeaderRecoveryState, TopicIdPartition};
use replication::{Agreed, Proposal};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tracing::{debug, info};
use wire::ErrorCode;

/// The rest after a request that failed.
const REST: Duration = Duration::from_millis(50);
/// Without an answer for this long, the request is sent again.
const PATIENCE: Duration = Duration::from_secs(10);

struct Change {
    cell: Arc<Cell>,
    proposal: Proposal,
    /// The ISR that it is to change.
    before: Vec<i32>,
}

/// Partitions with something to propose.
#[derive(Default)]
pub struct IsrChanges {
    waiting: Mutex<HashMap<TopicIdPartition, Arc<Cell>>>,
    wake: Notify,
}

impl IsrChanges {
    pub fn add(&self, cell: &Arc<Cell>) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(key(cell), cell.clone());
        self.wake.notify_one();
    }

    fn take(&self) -> Vec<Change> {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting
            .into_values()
            .filter_map(|cell| {
                let (proposal, before) = {
                    let partition = cell.lock();
                    (partition.proposal()?, partition.isr().to_vec())
                };
                Some(Change { cell, proposal, before })
            })
            .collect()
    }
}

/// Runs until the node stops.
pub async fn run(node: Arc<Node>) {
    let mut stopped = std::pin::pin!(node.stopped());
    loop {
        tokio::select! {
            () = node.replicas.isr_changes.wake.notified() => {}
            _ = &mut stopped => return,
        }
        let changes = node.replicas.isr_changes.take();
        if changes.is_empty() {
            continue;
        }
        let again = tokio::select! {
            again = propose(&node, changes) => again,
            _ = &mut stopped => return,
        };
        if !again.is_empty() {
            tokio::time::sleep(REST).await;
            again.iter().for_each(|cell| node.replicas.propose(cell));
        }
    }
}

/// Asks the controller; the partitions that are to be asked for again.
async fn propose(node: &Arc<Node>, changes: Vec<Change>) -> Vec<Arc<Cell>> {
    let partitions = changes.iter().map(|Change { cell, proposal, .. }| AlterPartition {
        key: key(cell),
        leader_epoch: proposal.leader_epoch,
        partition_epoch: proposal.partition_epoch,
        new_isr: proposal.isr.clone(),
        // A log is recovered when it is opened: whoever leads has done it (KIP-704).
        leader_recovery_state: LeaderRecoveryState::Recovered,
    });
    let command = Command::AlterPartitions {
        broker_id: node.node_id,
        broker_epoch: node.broker_epoch(),
        partitions: partitions.collect(),
    };
    let reply = match tokio::time::timeout(PATIENCE, node.controller.submit(command)).await {
        Ok(Ok(Reply::AlterPartitions(Ok(results)))) => Ok(results),
        Ok(Ok(Reply::AlterPartitions(Err(refusal)))) => Err(refusal.code),
        Ok(Ok(_)) => Err(ErrorCode::UnknownServerError),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(ErrorCode::RequestTimedOut),
    };
    let steady_ms = node.clock.steady_ms();
    let (mut again, mut moves) = (Vec::new(), Moves::new());
    for change in changes {
        let result = match &reply {
            Ok(results) => {
                let found = results.iter().find(|altered| altered.key == key(&change.cell));
                let result = found.map_or(Err(ErrorCode::UnknownServerError), |altered| altered.result.clone());
                result.map(|partition| broker::agreed(&partition))
            }
            Err(code) => Err(*code),
        };
        count(node, &change, &result, &mut moves);
        let Change { cell, proposal, .. } = change;
        if cell.lock().proposal_answered(&proposal, result.as_ref().map_err(|code| *code), steady_ms) {
            again.push(cell);
        }
    }
    for ((left, joined), partitions) in moves {
        info!(partitions, ?left, ?joined, "ISRs changed");
    }
    again
}

/// Brokers that left ISRs and that joined them, and in how many partitions they did.
type Moves = BTreeMap<(Vec<i32>, Vec<i32>), usize>;

fn count(node: &Node, change: &Change, result: &Result<Agreed, ErrorCode>, moves: &mut Moves) {
    let (stats, Change { cell, proposal, before }) = (&node.replicas.stats, change);
    let now = match result {
        Ok(now) => &now.isr,
        Err(error) => {
            stats.failed_isr_updates.fetch_add(1, Ordering::Relaxed);
            return debug!(topic = %cell.topic, partition = cell.index, ?before, proposed = ?proposal.isr, error = error.name(),
                "a change of the ISR was not made");
        }
    };
    if now.len() < before.len() {
        stats.isr_shrinks.fetch_add(1, Ordering::Relaxed);
    }
    if now.len() > before.len() {
        stats.isr_expands.fetch_add(1, Ordering::Relaxed);
    }
    debug!(topic = %cell.topic, partition = cell.index, ?before, isr = ?now, "the ISR changed");
    let left = before.iter().filter(|id| !now.contains(id)).copied().collect();
    let joined = now.iter().filter(|id| !before.contains(id)).copied().collect();
    *moves.entry((left, joined)).or_default() += 1;
}
