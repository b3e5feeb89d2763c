//! What the cleaner remembers of a log that changes while it is cleaned.

use super::*;
use replication::{Durability, Partition, Settings};
use storage::testing::MemDisk;
use storage::{Append, Log, LogConfig, OpenMode};
use wire::records::{BatchBuilder, BatchHeader, BatchInfo, Codec};

fn cleaner() -> Cleaner {
    Cleaner::new(CleanerSettings {
        enable: true,
        threads: 1,
        dedupe_buffer_size: 1 << 20,
        io_buffer_size: 1 << 20,
        load_factor: 0.9,
        io_max_bytes_per_second: f64::MAX,
        backoff: Duration::ZERO,
    })
}

/// A partition of small segments.
fn cell() -> Cell {
    let config = LogConfig { compact: true, segment_bytes: 300, ..LogConfig::default() };
    let dir = Path::new("/data/t-0");
    let log = Log::create(MemDisk::new().arc(), dir, Arc::new(config), None, OpenMode::default(), 0).unwrap();
    let partition = Partition::new(1, log, Settings::new(Durability::PageCache), Arc::default(), 0);
    Cell::new("t".into(), Uuid([1; 16]), 0, "/data".into(), partition)
}

/// Appends so many records and brings them to the disk.
fn fill(cell: &Cell, records: usize) {
    let mut partition = cell.lock();
    let log = partition.log_mut();
    for at in 0..records {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.append(1, Some(&[at as u8 % 3]), Some(b"value"), &[]);
        let mut bytes = builder.build(0, -1);
        let info = BatchInfo::of_header(&BatchHeader::parse(&bytes).unwrap()).unwrap();
        let mut appends = [Append::new(&mut bytes, info)];
        log.append(&mut appends, 1, 1).unwrap();
        appends[0].outcome.unwrap();
    }
    if let Some(request) = log.sync_request() {
        request.run().unwrap();
        log.synced(request.offset());
    }
}

fn plan(cell: &Cell) -> CleaningPlan {
    let mut partition = cell.lock();
    let end = partition.log().log_end_offset();
    let dirt = partition.log_mut().dirt(None, end, 1).unwrap();
    assert!(dirt.end > 10, "{dirt:?}");
    partition.log().plan_cleaning(&dirt).unwrap()
}

fn known(cleaner: &Cleaner, cell: &Cell) -> Option<i64> {
    lock(&cleaner.state).checkpoints.get(&(cell.topic_id, cell.index)).copied()
}

#[test]
fn a_log_that_only_grew_is_clean_up_to_where_it_was_cleaned() {
    let (cleaner, cell) = (cleaner(), cell());
    fill(&cell, 30);
    let plan = plan(&cell);
    fill(&cell, 10);
    cleaner.note_cleaned(&cell, &plan, 20);
    assert_eq!(known(&cleaner, &cell), Some(20));
}

#[test]
fn a_log_that_was_cut_and_grew_again_while_it_was_cleaned_is_not_clean() {
    let (cleaner, cell) = (cleaner(), cell());
    fill(&cell, 30);
    let plan = plan(&cell);
    cell.lock().log_mut().truncate_to(5).unwrap();
    fill(&cell, 40);
    cleaner.note_cleaned(&cell, &plan, 20);
    assert_eq!(known(&cleaner, &cell), None, "from 5 on there are other records");
}
