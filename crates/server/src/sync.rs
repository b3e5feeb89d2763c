//! Group commit: syncs partitions whose records count only once they are on the disk.
//!
//! One sync of a partition is under way at a time; everything appended meanwhile shares the next one.

use crate::node::Node;
use crate::partitions::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use storage::SyncRequest;

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
    let mut is_asked = true;
    loop {
        while let Some(request) = due(cell, is_asked, node.clock.steady_ms()) {
            is_asked = false;
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

/// What is to be synced now: what was asked for, and then for as long as something more is due. A log in the page cache that
/// goes on growing would be synced for ever otherwise.
fn due(cell: &Cell, is_asked: bool, steady_ms: i64) -> Option<SyncRequest> {
    let mut partition = cell.lock();
    let is_due = is_asked || partition.is_behind() || partition.log_mut().sync_due(steady_ms);
    if is_due { partition.sync_request() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use replication::{Assignment, Durability, Partition, Settings};
    use std::path::Path;
    use storage::testing::MemDisk;
    use storage::{Append, Fault, Log, LogConfig, OpenMode};
    use wire::Uuid;
    use wire::records::{BatchBuilder, BatchHeader, BatchInfo, Codec};

    const NOW: i64 = 1_700_000_000_000;

    fn cell(durability: Durability) -> Cell {
        let config = Arc::new(LogConfig { segment_bytes: 300, ..LogConfig::default() });
        let log = Log::create(MemDisk::new().arc(), Path::new("/t-0"), config, None, OpenMode::default(), NOW);
        let mut partition = Partition::new(1, log.unwrap(), Settings::new(durability), Arc::default(), 0);
        partition.assign(&Assignment::sole(1, 0), NOW).unwrap();
        Cell::new("t".into(), Uuid::ZERO, 0, "/".into(), partition)
    }

    fn append(cell: &Cell) -> bool {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.append(NOW, None, Some(b"value"), &[]);
        let mut bytes = builder.build(0, -1);
        let info = BatchInfo::of_header(&BatchHeader::parse(&bytes).unwrap()).unwrap();
        cell.lock().append(&mut [Append::new(&mut bytes, info)], true, NOW, NOW).unwrap().wants_sync
    }

    fn run(cell: &Cell, request: Option<SyncRequest>) {
        let request = request.unwrap();
        request.run().unwrap();
        cell.lock().synced(request.offset());
    }

    #[test]
    fn what_comes_meanwhile_is_synced_where_it_counts_only_then() {
        for durability in [Durability::PageCache, Durability::Synced] {
            let cell = cell(durability);
            run(&cell, due(&cell, true, NOW));
            assert!(due(&cell, true, NOW).is_none(), "there is nothing");
            assert_eq!(append(&cell), durability == Durability::Synced);
            let request = due(&cell, true, NOW);
            append(&cell);
            run(&cell, request);
            assert_eq!(due(&cell, false, NOW).is_some(), durability == Durability::Synced);
            // A segment that is full is brought to the disk in any case.
            while !append(&cell) {}
            run(&cell, due(&cell, false, NOW));
        }
    }

    /// As that of a topic that is deleted: whoever syncs it must come to an end.
    #[test]
    fn nothing_is_due_of_a_log_that_went_offline() {
        let cell = cell(Durability::Synced);
        append(&cell);
        assert!(cell.lock().is_behind());
        let gone = Fault::new("use", "/t-0", &std::io::ErrorKind::NotFound.into());
        cell.lock().log_mut().fail(gone);
        assert!(due(&cell, true, NOW).is_none() && !cell.lock().is_behind());
    }
}
