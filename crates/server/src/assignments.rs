//! Tells the controller in which log directory a replica is, where that is not what the cluster's state says (KIP-858): it
//! was made where the broker chose, or it moved.

use crate::node::Node;
use crate::partitions::Cell;
use crate::replicas;
use metadata::controller::{Command, Reply};
use metadata::image::{TopicIdPartition, directory};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tracing::warn;
use wire::{ErrorCode, Uuid};

/// Partitions in one request.
const REQUEST_MAX: usize = 2000;
/// A controller that does not answer is asked again after so long.
const AGAIN: Duration = Duration::from_millis(500);

/// Replicas whose directory the controller may not know.
#[derive(Default)]
pub struct Assignments {
    pending: Mutex<BTreeMap<TopicIdPartition, Arc<Cell>>>,
    wake: Notify,
}

impl Assignments {
    /// Has the controller told where this replica is by then, if it does not know.
    pub fn add(&self, cell: &Arc<Cell>) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.insert(replicas::key(cell), cell.clone());
        self.wake.notify_one();
    }

    /// The first of them.
    fn take(&self) -> Vec<Arc<Cell>> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = pending.keys().nth(REQUEST_MAX).copied().map(|key| pending.split_off(&key)).unwrap_or_default();
        let taken = std::mem::replace(&mut *pending, rest);
        taken.into_values().collect()
    }
}

/// Runs until the node stops.
pub async fn run(node: Arc<Node>) {
    let mut stopped = std::pin::pin!(node.stopped());
    loop {
        let cells = node.assignments.take();
        if cells.is_empty() {
            tokio::select! {
                () = node.assignments.wake.notified() => continue,
                _ = &mut stopped => return,
            }
        }
        let Err(why) = tell(&node, &cells).await else { continue };
        warn!(%why, "the controller could not be told in which log directories replicas are yet");
        cells.iter().for_each(|cell| node.assignments.add(cell));
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            _ = &mut stopped => return,
        }
    }
}

async fn tell(node: &Arc<Node>, cells: &[Arc<Cell>]) -> Result<(), String> {
    let image = node.image();
    let mut by_dir: BTreeMap<Uuid, Vec<TopicIdPartition>> = BTreeMap::new();
    for cell in cells {
        let key = replicas::key(cell);
        let told = image.topics.partition(key).and_then(|partition| partition.directory_of(node.node_id));
        let Some(told) = told else { continue };
        let id = node.housekeeping.dirs.id_of(cell);
        // A replica on its way is told of where it goes, once it can.
        if id != told && !directory::is_reserved(id) && !node.moves.goes_to(key, told) {
            by_dir.entry(id).or_default().push(key);
        }
    }
    for (dir, keys) in by_dir {
        assign(node, dir, keys).await?;
    }
    Ok(())
}

/// Tells the controller that these replicas of this broker are in this directory.
pub async fn assign(node: &Arc<Node>, dir: Uuid, keys: Vec<TopicIdPartition>) -> Result<(), String> {
    if !node.image().metadata_version().has_directories() {
        return Ok(()); // nobody is to be told
    }
    let (broker_id, broker_epoch) = (node.node_id, node.broker_epoch());
    let command = Command::AssignReplicasToDirs { broker_id, broker_epoch, assignments: vec![(dir, keys)] };
    match node.controller.submit(command).await.map_err(|code| code.name().to_owned())? {
        Reply::AssignReplicasToDirs(Ok(results)) => {
            let is_final = |code: &ErrorCode| {
                // It is gone, or not this broker's any more.
                let gone =
                    [ErrorCode::UnknownTopicId, ErrorCode::UnknownTopicOrPartition, ErrorCode::NotLeaderOrFollower];
                gone.contains(code)
            };
            let failed = results.into_iter().filter_map(|(_, _, result)| result.err()).find(|code| !is_final(code));
            failed.map_or(Ok(()), |code| Err(code.name().to_owned()))
        }
        Reply::AssignReplicasToDirs(Err(refusal)) => {
            Err(refusal.message.unwrap_or_else(|| refusal.code.name().to_owned()))
        }
        _ => Err("the controller gave another reply".to_owned()),
    }
}
