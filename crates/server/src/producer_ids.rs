//! Producer ids: handed out from blocks that the controller allocates, so that no id is ever given twice.

use crate::node::Node;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::Mutex;
use wire::ErrorCode;

/// The rest of the block that this broker was given. Lost with the process, as in Kafka: a block is never given again.
#[derive(Default)]
pub struct ProducerIds(Mutex<Range<i64>>);

impl ProducerIds {
    /// The next id; waits for the controller when the block is used up.
    pub async fn next(&self, node: &Arc<Node>) -> Result<i64, ErrorCode> {
        let mut block = self.0.lock().await;
        if let Some(id) = block.next() {
            return Ok(id);
        }
        *block = node.controller.allocate_producer_ids(node.node_id, node.broker_epoch()).await.map_err(|r| r.code)?;
        block.next().ok_or(ErrorCode::UnknownServerError)
    }
}
