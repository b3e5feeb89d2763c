//! Group commit: syncs partitions whose records count only once they are on the disk.
//!
//! One sync of a partition is under way at a time; everything appended meanwhile shares the next one.

use crate::node::Node;
use crate::partitions::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Sees to it that what was appended to `cell` so far gets synced and its high watermark moves.
pub fn sync(node: &Arc<Node>, cell: &Arc<Cell>) {
    if cell.syncing.swap(true, Ordering::AcqRel) {
        return; // whoever syncs now looks again before it stops
    }
    let runtime = node.runtime.clone();
    let (node, cell) = (node.clone(), cell.clone());
    runtime.spawn_blocking(move || until_synced(&node, &cell));
}

/// As [`sync`], and returns when it is done; at once, when somebody else is at it. For a thread that may wait.
pub fn sync_now(node: &Arc<Node>, cell: &Arc<Cell>) {
    if !cell.syncing.swap(true, Ordering::AcqRel) {
        until_synced(node, cell);
    }
}

fn until_synced(node: &Arc<Node>, cell: &Arc<Cell>) {
    loop {
        loop {
            // A guard in the loop's own condition would live as long as its body.
            let request = cell.lock().sync_request();
            let Some(request) = request else { break };
            match request.run() {
                Ok(()) => cell.lock().synced(request.offset()),
                Err(error) => {
                    // A failed sync is final: what the kernel dropped cannot be synced again (fsyncgate).
                    cell.lock().fail();
                    node.log_failed(cell, &error);
                    return;
                }
            }
        }
        cell.syncing.store(false, Ordering::Release);
        // An append between the last look and the store would otherwise wait for the next one.
        let missed = cell.lock().is_behind() && !cell.syncing.swap(true, Ordering::AcqRel);
        if !missed {
            return;
        }
    }
}
