//! A log on the real file system: what it promises while nothing goes wrong.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use common::*;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use storage::{FdBudget, Log, LogConfig, OpenMode, ReadError, RealDisk, Shutdown};
use wire::ErrorCode;
use wire::codec::Records;

fn new_log(dir: &Path, config: LogConfig) -> Log {
    Log::create(Arc::new(RealDisk), dir, Arc::new(config), None, OpenMode::default(), NOW).unwrap()
}

#[test]
fn what_is_appended_is_read_back_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t-0");
    let mut log = new_log(&path, small());
    for n in 0..200 {
        let appended = append_one(&mut log, batch(&[NOW + n, NOW + n], 40), 3).unwrap();
        assert_eq!((appended.base_offset, appended.last_offset, appended.duplicate), (2 * n, 2 * n + 1, false));
    }
    assert!(log.segment_count() > 5);
    let before = read_all(&log);
    assert_eq!(before.len(), 200);
    assert_eq!(before.iter().map(|(base, _)| *base).collect::<Vec<_>>(), (0..400).step_by(2).collect::<Vec<_>>());
    for shutdown in [Shutdown::Clean, Shutdown::Killed, Shutdown::PowerCut] {
        if shutdown == Shutdown::Clean {
            log.close().unwrap();
        }
        drop(log);
        let (opened, recovery) = open(Arc::new(RealDisk), &path, small(), mode(shutdown, 0));
        assert_eq!(opened.log_end_offset(), 400);
        assert_eq!(read_all(&opened), before, "{shutdown:?}");
        assert_eq!((recovery.cut, recovery.damage.len()), (None, 0));
        log = opened;
    }
    assert_eq!(log.latest_epoch(), 3);
}

#[test]
fn a_read_is_a_region_of_the_file_and_stops_at_the_bound() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = new_log(dir.path(), LogConfig::default());
    for _ in 0..300 {
        append_one(&mut log, batch(&[NOW; 3], 50), 0).unwrap();
    }
    for (from, upto) in [(0, 900), (7, 900), (450, 600), (897, 900), (1, 3), (0, 1)] {
        let read = log.read(from, 1_000_000, upto, true).unwrap();
        let whole = upto / 3 - from / 3;
        assert_eq!(
            i64::from(read.length),
            whole * i64::from(read.first_batch_bytes.max(1)).min(i64::from(read.length))
        );
        if whole > 0 {
            assert_eq!(read.base_offset, from / 3 * 3);
            assert!(matches!(&read.records, Records::File(region) if region.length == read.length));
        } else {
            assert!(read.is_empty());
        }
    }
    assert_eq!(log.read(901, 10, 900, true), Err(ReadError::OffsetOutOfRange));
    assert_eq!(log.read(-1, 10, 900, true), Err(ReadError::OffsetOutOfRange));
    assert!(log.read(900, 10, 900, true).unwrap().is_empty());
    let first = log.read(0, 10, 900, true).unwrap();
    assert_eq!(first.length, first.first_batch_bytes, "the first batch is given whole");
    let refused = log.read(0, 10, 900, false).unwrap();
    assert!(refused.is_empty());
    assert_eq!(refused.first_batch_bytes, first.first_batch_bytes);
}

#[test]
fn batches_of_one_call_are_judged_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = new_log(dir.path(), small());
    let mut bytes: Vec<Vec<u8>> = vec![
        produced(7, 0, 0, 2, false),
        produced(7, 0, 2, 1, false),
        produced(7, 0, 2, 1, false),
        produced(7, 0, 9, 1, false),
        produced(7, 1, 5, 1, false),
        batch(&[NOW], 5000),
        produced(7, 1, 0, 1, false),
        produced(7, 0, 3, 1, false),
        produced(8, 4, 77, 1, false),
    ];
    let mut appends: Vec<_> = bytes
        .iter_mut()
        .map(|b| {
            let i = info(b);
            storage::Append::new(b, i)
        })
        .collect();
    log.append(&mut appends, 0, NOW).unwrap();
    let outcomes: Vec<_> = appends.iter().map(|a| a.outcome.map(|o| (o.base_offset, o.duplicate))).collect();
    assert_eq!(
        outcomes,
        [
            Ok((0, false)),
            Ok((2, false)),
            Ok((2, true)),
            Err(ErrorCode::OutOfOrderSequenceNumber),
            Err(ErrorCode::OutOfOrderSequenceNumber),
            Err(ErrorCode::RecordListTooLarge),
            Ok((3, false)),
            Err(ErrorCode::InvalidProducerEpoch),
            Ok((4, false)),
        ]
    );
    assert_eq!(read_all(&log).iter().map(|(base, _)| *base).collect::<Vec<_>>(), [0, 2, 3, 4]);
}

#[test]
fn the_last_five_batches_of_a_producer_are_known_by_their_sequence_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = new_log(dir.path(), small());
    for n in 0..7 {
        append_one(&mut log, produced(1, 0, 3 * n, 3, false), 0).unwrap();
    }
    for n in 2..7 {
        let again = append_one(&mut log, produced(1, 0, 3 * n, 3, false), 0).unwrap();
        assert_eq!(
            (again.base_offset, again.last_offset, again.duplicate),
            (3 * i64::from(n), 3 * i64::from(n) + 2, true)
        );
    }
    assert_eq!(append_one(&mut log, produced(1, 0, 3, 3, false), 0), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(append_one(&mut log, produced(1, 0, 18, 2, false), 0), Err(ErrorCode::OutOfOrderSequenceNumber));
}

#[test]
fn descriptors_stay_within_their_budget() {
    let dir = tempfile::tempdir().unwrap();
    let fds = FdBudget::new(3);
    let mode = OpenMode { fds: fds.clone(), ..OpenMode::default() };
    let mut log = Log::create(Arc::new(RealDisk), dir.path(), Arc::new(small()), None, mode, NOW).unwrap();
    for _ in 0..300 {
        append_one(&mut log, batch(&[NOW], 60), 0).unwrap();
    }
    assert!(log.segment_count() > 5);
    let Records::File(held) = log.read(0, 100, 300, true).unwrap().records else { panic!("not a file") };
    assert_eq!(read_all(&log).len(), 300);
    assert!(fds.open_files() <= 3, "{}", fds.open_files());
    let mut byte = [0; 1];
    std::os::unix::fs::FileExt::read_at(&*held.file, &mut byte, held.position).unwrap();
    log.rest();
    assert_eq!(fds.open_files(), 0);
}

#[test]
fn answers_that_nobody_takes_hold_no_more_descriptors_than_the_budget_lends() {
    let dir = tempfile::tempdir().unwrap();
    let fds = FdBudget::new(16);
    let mode = OpenMode { fds: fds.clone(), ..OpenMode::default() };
    let mut log = Log::create(Arc::new(RealDisk), dir.path(), Arc::new(small()), None, mode, NOW).unwrap();
    while log.segment_count() < 60 {
        append_one(&mut log, batch(&[NOW], 60), 0).unwrap();
    }
    let end = log.log_end_offset();
    let read = |offset| log.read(offset, 1 << 20, end, true).unwrap();
    let answers: Vec<_> = (0..end).map(read).collect();
    let held: HashSet<_> = answers.iter().filter_map(|read| held_file(&read.records)).collect();
    let open = open_descriptors_in(dir.path());
    assert!(open <= fds.limit() + fds.lent_max() + 1, "{open} open, {} in answers", held.len());
    assert!(answers.iter().all(|read| !read.is_empty() && read.records.len() == read.length as usize));
    drop(answers);
    assert!((0..end).all(|offset| held_file(&read(offset).records).is_some()), "lent again once they are back");
}

fn held_file(records: &Records<'_>) -> Option<*const std::fs::File> {
    match records {
        Records::File(region) => Some(Arc::as_ptr(&region.file)),
        Records::Bytes(_) => None,
    }
}

fn open_descriptors_in(dir: &Path) -> usize {
    let fds = std::fs::read_dir("/proc/self/fd").unwrap();
    fds.filter(|fd| std::fs::read_link(fd.as_ref().unwrap().path()).is_ok_and(|to| to.starts_with(dir))).count()
}

#[test]
fn every_offset_is_found_among_large_and_small_batches() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { segment_bytes: 1 << 20, ..LogConfig::default() };
    let mut log = new_log(dir.path(), config.clone());
    let (mut starts, mut end) = (Vec::new(), 0);
    for n in 0..600i64 {
        let (records, size) = [(3, 5000), (1, 20), (7, 2000), (1, 9000), (2, 10)][(n / 9 % 5) as usize];
        append_one(&mut log, batch(&vec![NOW + n; records], size), 0).unwrap();
        starts.push((end, end + records as i64));
        end += records as i64;
    }
    assert!(log.segment_count() > 2);
    for reopened in [false, true] {
        if reopened {
            log = open(Arc::new(RealDisk), dir.path(), config.clone(), mode(Shutdown::Killed, 0)).0;
        }
        for pass in [1, 7, 501] {
            for at in 0..end {
                let from = at * pass % end;
                let (base, _) = *starts.iter().find(|(_, next)| from < *next).unwrap();
                let read = log.read(from, 1, end, true).unwrap();
                assert_eq!((read.base_offset, read.length), (base, read.first_batch_bytes), "{from}");
            }
        }
        for upto in 0..end {
            let (base, next) = *starts.iter().rfind(|(_, next)| *next <= upto).unwrap_or(&(-1, 0));
            let read = log.read((next - 5).max(0), u32::MAX, upto, true).unwrap();
            let first = starts.iter().find(|(_, end)| (next - 5).max(0) < *end).unwrap().0;
            let expected = if base < 0 || first > base { -1 } else { first };
            assert_eq!(read.base_offset, expected, "{upto}");
        }
    }
}

#[test]
fn room_ahead_changes_nothing_that_can_be_read_and_is_given_back() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { write_back_bytes: 256 << 10, ..LogConfig::default() };
    let mut log = new_log(dir.path(), config.clone());
    let file = dir.path().join("00000000000000000000.log");
    let mut write_backs = 0;
    while write_backs < 4 {
        append_one(&mut log, batch(&[NOW; 10], 1000), 0).unwrap();
        if let Some(write_back) = log.write_back(NOW) {
            write_back.run();
            write_backs += 1;
        }
        assert_eq!(std::fs::metadata(&file).unwrap().len(), log.size_bytes());
    }
    let (size, batches) = (log.size_bytes(), read_all(&log));
    log.close().unwrap();
    let meta = std::fs::metadata(&file).unwrap();
    assert_eq!(meta.len(), size);
    assert!(meta.blocks() * 512 <= size + (128 << 10), "{} blocks for {size} bytes", meta.blocks());
    let (log, recovery) = open(Arc::new(RealDisk), dir.path(), config, mode(Shutdown::PowerCut, 0));
    assert_eq!((read_all(&log), recovery.cut), (batches, None));
}
