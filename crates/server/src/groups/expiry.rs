//! Every `offsets.retention.check.interval.ms`: offsets that nobody used for `offsets.retention.minutes`, and groups that
//! have nothing left, are forgotten.

use crate::node::Node;
use coordinator::expirable;
use std::sync::Arc;

/// Runs until the node stops.
pub async fn run(node: &Arc<Node>) {
    let interval = node.config.offsets_retention_check_interval;
    let mut stopped = std::pin::pin!(node.stopped());
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => expire(node).await,
            _ = &mut stopped => return,
        }
    }
}

async fn expire(node: &Arc<Node>) {
    let retention_ms = node.config.offsets_retention_ms;
    for slot in node.groups.slots.load_full().values() {
        // A copy of the store costs nothing, and looking through it holds up nobody.
        let Ok(store) = slot.with_shard(|shard| shard.store().clone()) else { continue };
        let now_ms = node.clock.now_ms();
        let groups = tokio::task::spawn_blocking(move || expirable(&store, now_ms, retention_ms)).await;
        for group in groups.unwrap_or_default() {
            slot.expire(node, &group, retention_ms);
            tokio::task::yield_now().await;
        }
    }
}
