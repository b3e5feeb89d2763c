//! Producer ids: handed out from blocks that the controller allocates, so that no id is ever given twice.
//!
//! The next block is fetched ahead: a producer that begins need not wait for a controller, who may be frozen just then.

use crate::node::Node;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Mutex;
use tracing::warn;
use wire::ErrorCode;

/// With fewer ids than these left the next block is fetched.
const LOW: i64 = 100;

/// The rest of the blocks that this broker was given. Lost with the process, as in Kafka: a block is never given again.
#[derive(Default)]
pub struct ProducerIds {
    blocks: Mutex<Blocks>,
    fetching: AtomicBool,
}

#[derive(Default)]
struct Blocks {
    now: Range<i64>,
    next: Range<i64>,
}

impl Blocks {
    fn take(&mut self) -> Option<i64> {
        if self.now.is_empty() {
            self.now = std::mem::take(&mut self.next);
        }
        self.now.next()
    }

    fn is_low(&self) -> bool {
        self.next.is_empty() && self.now.end - self.now.start < LOW
    }

    fn put(&mut self, block: Range<i64>) {
        if self.now.is_empty() {
            self.now = block;
        } else {
            self.next = block;
        }
    }
}

impl ProducerIds {
    /// The next id; waits for the controller when none is left.
    pub async fn next(&self, node: &Arc<Node>) -> Result<i64, ErrorCode> {
        let mut blocks = self.blocks.lock().await;
        if blocks.now.is_empty() && blocks.next.is_empty() {
            blocks.put(fetch(node).await?);
        }
        let id = blocks.take().ok_or(ErrorCode::UnknownServerError)?;
        let is_low = blocks.is_low();
        drop(blocks);
        if is_low {
            self.fetch_ahead(node);
        }
        Ok(id)
    }

    /// Fetches a block in the background, where that is not under way.
    pub fn fetch_ahead(&self, node: &Arc<Node>) {
        if self.fetching.swap(true, Ordering::AcqRel) {
            return;
        }
        let node = node.clone();
        tokio::spawn(async move {
            let ids = &node.producer_ids;
            match fetch(&node).await {
                // Whoever waited for a block meanwhile may have got one too: then this one comes after it.
                Ok(block) => {
                    let mut blocks = ids.blocks.lock().await;
                    if blocks.next.is_empty() {
                        blocks.put(block);
                    }
                }
                Err(error) => warn!(error = error.name(), "no producer ids could be fetched ahead"),
            }
            ids.fetching.store(false, Ordering::Release);
        });
    }
}

async fn fetch(node: &Arc<Node>) -> Result<Range<i64>, ErrorCode> {
    node.controller.allocate_producer_ids(node.node_id, node.broker_epoch()).await.map_err(|refusal| refusal.code)
}

#[cfg(test)]
mod tests {
    use super::Blocks;

    #[test]
    fn a_block_that_was_fetched_ahead_follows_the_first_and_is_asked_for_in_time() {
        let mut blocks = Blocks::default();
        assert!(blocks.is_low());
        assert_eq!(blocks.take(), None);
        blocks.put(0..150);
        assert!(!blocks.is_low());
        assert!((0..60).all(|id| blocks.take() == Some(id)));
        assert!(blocks.is_low());
        blocks.put(1000..1001);
        assert!(!blocks.is_low());
        assert!((60..150).all(|id| blocks.take() == Some(id)));
        assert_eq!((blocks.take(), blocks.take()), (Some(1000), None));
    }
}
