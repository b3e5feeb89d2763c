//! What the tests of this crate share.
#![allow(dead_code)] // each test program uses its own part
#![allow(clippy::unwrap_used)] // helpers of tests
use std::path::Path;
use std::sync::Arc;
use storage::{Append, Appended, Disk, Log, LogConfig, OpenMode, Recovery, Shutdown};
use wire::ErrorCode;
use wire::records::{Batch, BatchBuilder, BatchInfo, Codec};

pub const NOW: i64 = 1_700_000_000_000;

/// A batch of records with these timestamps, values numbered.
pub fn batch(timestamps: &[i64], value_size: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    for (at, timestamp) in timestamps.iter().enumerate() {
        let value = vec![b'a' + (at % 26) as u8; value_size];
        builder.append(*timestamp, None, Some(&value), &[]);
    }
    builder.build(0, -1)
}

/// An idempotent producer's batch.
pub fn produced(id: i64, epoch: i16, sequence: i32, records: usize, transactional: bool) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None).producer(id, epoch, sequence);
    if transactional {
        builder = builder.transactional();
    }
    for _ in 0..records {
        builder.append(NOW, None, Some(b"value"), &[]);
    }
    builder.build(0, -1)
}

/// The end of a transaction.
pub fn marker(id: i64, epoch: i16, commit: bool, coordinator_epoch: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None).producer(id, epoch, -1).transactional().control();
    let key = [0, 0, 0, u8::from(commit)];
    let mut value = vec![0, 0];
    value.extend(coordinator_epoch.to_be_bytes());
    builder.append(NOW, Some(&key), Some(&value), &[]);
    builder.build(0, -1)
}

pub fn info(bytes: &[u8]) -> BatchInfo {
    BatchInfo::of_header(&Batch::parse(bytes).unwrap()).unwrap()
}

pub fn append_one(log: &mut Log, mut bytes: Vec<u8>, epoch: i32) -> Result<Appended, ErrorCode> {
    let info = info(&bytes);
    let mut appends = [Append::new(&mut bytes, info)];
    log.append(&mut appends, epoch, NOW).unwrap();
    let [append] = appends;
    append.outcome
}

/// Small segments and dense indexes, so that little data reaches every path.
pub fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 4096,
        index_interval_bytes: 200,
        snapshot_interval_bytes: 1500,
        retention_ms: -1,
        file_delete_delay_ms: 1000,
        ..LogConfig::default()
    }
}

pub fn open(disk: Arc<dyn Disk>, dir: &Path, config: LogConfig, mode: OpenMode) -> (Log, Recovery) {
    Log::open(disk, dir, Arc::new(config), None, mode, NOW).unwrap()
}

pub fn mode(shutdown: Shutdown, recovery_point: i64) -> OpenMode {
    OpenMode { shutdown, recovery_point, ..OpenMode::default() }
}

/// Base offsets of all batches that a reader sees, checked to be whole and undamaged, with their bytes.
pub fn read_all(log: &Log) -> Vec<(i64, Vec<u8>)> {
    let mut from = log.log_start_offset();
    let mut batches = Vec::new();
    while from < log.log_end_offset() {
        let bytes = log.read_bytes(from, 1000, log.log_end_offset()).unwrap();
        let before = from;
        for batch in wire::records::batches(&bytes) {
            let batch = batch.unwrap();
            assert!(batch.is_crc_valid(), "batch at {} is damaged", batch.base_offset());
            if batch.last_offset() < from {
                continue;
            }
            batches.push((batch.base_offset(), batch.bytes().to_vec()));
            from = batch.next_offset();
        }
        assert!(from > before, "no progress at {from} of {}", log.log_end_offset());
    }
    batches
}
