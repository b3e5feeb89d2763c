//! Tells the controller of log directories that failed, and which replicas are in them (KIP-858): it takes the leadership
//! from those, so that clients see that nobody leads.

use crate::log_dirs::Dir;
use crate::node::Node;
use metadata::controller::{BrokerHeartbeat, Command, Reply};
use metadata::image::TopicIdPartition;
use std::sync::Arc;
use std::time::Duration;
use tracing::{error, warn};
use wire::Uuid;

/// A controller that does not answer is asked again after so long.
const TELL_AGAIN: Duration = Duration::from_millis(200);

/// The ids of the directories that failed.
pub fn ids(node: &Node) -> Vec<Uuid> {
    offline(node).map(|dir| dir.id).collect()
}

fn offline(node: &Node) -> impl Iterator<Item = &Arc<Dir>> {
    node.housekeeping.dirs.iter().filter(|dir| dir.is_offline())
}

/// Runs until the node stops, or stops it: while the controller does not know of a failure, it may have this broker lead
/// what it lost.
pub async fn report(node: &Arc<Node>) {
    let mut stopped = std::pin::pin!(node.stopped());
    loop {
        tokio::select! {
            () = node.housekeeping.dir_failed.notified() => {}
            _ = &mut stopped => return,
        }
        let told = tokio::time::timeout(node.config.log_dir_failure_timeout, until_told(node));
        let told = tokio::select! {
            told = told => told,
            _ = &mut stopped => return,
        };
        if told.is_err() {
            let dirs: Vec<_> = offline(node).map(|dir| dir.path().display().to_string()).collect();
            error!("Shutting down because couldn't communicate offline log dir {} with controllers", dirs.join(", "));
            return node.fail();
        }
    }
}

async fn until_told(node: &Arc<Node>) {
    while let Err(why) = tell(node).await {
        warn!(%why, "the controller could not be told of a failed log directory yet");
        tokio::time::sleep(TELL_AGAIN).await;
    }
}

async fn tell(node: &Arc<Node>) -> Result<(), String> {
    // With one directory the controller knows where replicas are; of several nobody has told it yet.
    let table = node.partitions.table();
    let in_dir = |dir: &Arc<Dir>| -> Vec<TopicIdPartition> {
        let cells = table.cells().filter(|cell| cell.is_in(dir.path()));
        cells.map(|cell| TopicIdPartition { topic_id: cell.topic_id, partition: cell.index }).collect()
    };
    let assignments: Vec<_> = offline(node).map(|dir| (dir.id, in_dir(dir))).collect();
    drop(table);
    let (broker_id, broker_epoch) = (node.node_id, node.broker_epoch());
    let assign = Command::AssignReplicasToDirs { broker_id, broker_epoch, assignments };
    node.controller.submit(assign).await.map_err(|e| e.name().to_owned())?;
    let heartbeat = BrokerHeartbeat {
        broker_id,
        broker_epoch,
        current_metadata_offset: node.image().offset,
        offline_log_dirs: ids(node),
        ..Default::default()
    };
    match node.controller.submit(Command::Heartbeat(heartbeat)).await.map_err(|e| e.name().to_owned())? {
        Reply::Heartbeat(Ok(_)) => Ok(()),
        Reply::Heartbeat(Err(refusal)) => Err(refusal.message.unwrap_or_else(|| refusal.code.name().to_owned())),
        _ => Err("the controller gave another reply".to_owned()),
    }
}
