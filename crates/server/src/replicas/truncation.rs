//! What has to be written down when a follower's log was cut, before anything is appended to it again.
//!
//! The offsets beyond the cut get other records. A recovery point beyond it would call those synced, a cleaner checkpoint
//! would call them compacted.

use crate::node::Node;
use crate::partitions::Cell;
use std::sync::Arc;

/// Writes the checkpoints of `cell`, whose log ends at `to` now. May wait for the disk.
pub fn write_down(node: &Arc<Node>, cell: &Arc<Cell>, to: i64) {
    node.housekeeping.log_was_cut(node, cell);
    node.cleaner.log_was_cut(node, cell, to);
}
