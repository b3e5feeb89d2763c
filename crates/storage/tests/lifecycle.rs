//! Rolling, retention, record deletion, truncation and lookups.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use common::*;
use std::path::Path;
use std::sync::Arc;
use storage::testing::MemDisk;
use storage::{Log, LogConfig, OpenMode, Shutdown};
use wire::ErrorCode;
use wire::records::{BatchBuilder, Codec};

const DIR: &str = "/logs/t-0";

fn new_log(disk: &MemDisk, config: LogConfig) -> Log {
    Log::create(disk.arc(), Path::new(DIR), Arc::new(config), None, OpenMode::default(), NOW).unwrap()
}

/// A log of `count` batches of two records, a second apart.
fn filled(disk: &MemDisk, config: LogConfig, count: i64) -> Log {
    let mut log = new_log(disk, config);
    for n in 0..count {
        append_one(&mut log, batch(&[NOW + 1000 * n, NOW + 1000 * n + 1], 40), 0).unwrap();
    }
    log
}

fn names(disk: &MemDisk) -> Vec<String> {
    disk.paths().iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn a_new_log_has_the_files_that_kafka_makes() {
    let disk = MemDisk::new();
    let id = wire::Uuid([7; 16]);
    let made = Log::create(disk.arc(), Path::new(DIR), Arc::new(small()), Some(id), OpenMode::default(), NOW);
    let log = made.unwrap();
    let expected = [
        "00000000000000000000.index",
        "00000000000000000000.log",
        "00000000000000000000.timeindex",
        "partition.metadata",
    ];
    assert_eq!(names(&disk), expected);
    assert_eq!(storage::partition_dir::read_metadata(&disk, log.dir()).unwrap(), Some(id));
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.latest_epoch()), (0, 0, -1));
}

/// Appends until a write-back is due, and runs it.
fn fill_until_written_back(log: &mut Log, now_ms: i64) {
    loop {
        append_one(log, batch(&[NOW], 40), 0).unwrap();
        if let Some(write_back) = log.write_back(now_ms) {
            return write_back.run();
        }
    }
}

#[test]
fn the_page_that_appends_go_on_with_is_never_written_back() {
    let disk = MemDisk::new();
    let step = 10_000;
    let config = LogConfig { segment_bytes: 48_000, write_back_bytes: step, ..LogConfig::default() };
    let mut log = new_log(&disk, config);
    let path = Path::new(DIR).join("00000000000000000000.log");
    let started = || disk.written_back_until(&path);
    loop {
        append_one(&mut log, batch(&[NOW], 40), 0).unwrap();
        if log.segment_count() > 1 {
            break;
        }
        if let Some(write_back) = log.write_back(NOW) {
            write_back.run();
        }
        let (size, step) = (log.size_bytes(), u64::from(step));
        assert_eq!(started(), size.saturating_sub(step / 2) / step * step, "of {size} bytes");
    }
    assert_eq!(started(), 40_000);
    // What is appended after a cut is written back as if it had never been.
    log.truncate_to(1).unwrap();
    fill_until_written_back(&mut log, NOW);
    assert!(log.size_bytes() < u64::from(2 * step));
}

#[test]
fn a_log_that_is_written_fast_has_room_ahead_until_its_segment_is_finished() {
    let disk = MemDisk::new();
    let step = 2000;
    let config = LogConfig { segment_bytes: 32_000, write_back_bytes: step, ..LogConfig::default() };
    let mut log = new_log(&disk, config.clone());
    let path = Path::new(DIR).join("00000000000000000000.log");
    let room = || disk.room_until(&path);
    fill_until_written_back(&mut log, NOW);
    assert_eq!(room(), 0, "nobody knows yet how fast it is");
    fill_until_written_back(&mut log, NOW + 249);
    let ahead = log.size_bytes() + 8 * u64::from(step);
    assert_eq!(room(), ahead);
    fill_until_written_back(&mut log, NOW + 400);
    assert_eq!(room(), ahead, "there is enough");
    while log.size_bytes() + 5 * u64::from(step) < ahead {
        fill_until_written_back(&mut log, NOW + 1000);
    }
    fill_until_written_back(&mut log, NOW + 2000);
    assert_eq!(room(), ahead, "slow by now");
    fill_until_written_back(&mut log, NOW + 2001);
    assert_eq!(room(), 32_000, "never more than the segment takes");
    while log.segment_count() == 1 {
        append_one(&mut log, batch(&[NOW], 40), 0).unwrap();
    }
    assert_eq!(room(), 0);
    let next = Path::new(DIR).join(format!("{:020}.log", log.log_end_offset() - 1));
    fill_until_written_back(&mut log, NOW + 3002);
    fill_until_written_back(&mut log, NOW + 3003);
    assert!(disk.room_until(&next) > 0);
    // Who is killed leaves the room behind, and the next process gives it back.
    drop(log);
    let (mut log, _) = open(disk.arc(), Path::new(DIR), config, mode(Shutdown::Killed, 0));
    assert!(disk.room_until(&next) > 0);
    log.close().unwrap();
    assert_eq!(disk.room_until(&next), 0);
}

#[test]
fn segments_roll_by_the_records_own_time() {
    let disk = MemDisk::new();
    let config = LogConfig { segment_ms: 10_000, segment_bytes: 1 << 20, ..small() };
    let log = filled(&disk, config.clone(), 100);
    // One batch a second; a segment ends when the next batch is more than ten seconds after its first.
    assert_eq!(log.segment_count(), 10);
    let early = LogConfig { segment_jitter_ms: 5000, ..config };
    let mode = OpenMode { jitter_seed: 4000, ..OpenMode::default() };
    let other = MemDisk::new();
    let mut log = Log::create(other.arc(), Path::new(DIR), Arc::new(early), None, mode, NOW).unwrap();
    for n in 0..100 {
        append_one(&mut log, batch(&[NOW + 1000 * n], 40), 0).unwrap();
    }
    assert_eq!(log.segment_count(), 15, "four seconds earlier");
}

#[test]
fn segments_roll_when_an_index_is_full_or_offsets_go_too_far() {
    let disk = MemDisk::new();
    let config = LogConfig { segment_bytes: 1 << 30, index_max_bytes: 80, ..small() };
    let log = filled(&disk, config, 300);
    assert!(log.segment_count() > 8);
    let disk = MemDisk::new();
    let mut log = new_log(&disk, small());
    let far = |base: i64| {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.append(NOW, None, Some(b"x"), &[]);
        builder.build(base, 0)
    };
    assert_eq!(log.append_as_follower(&far(0), NOW).unwrap().unwrap().batches, 1);
    assert_eq!(log.append_as_follower(&far(i64::from(i32::MAX)), NOW).unwrap().unwrap().batches, 1);
    assert_eq!(log.segment_count(), 1);
    assert_eq!(log.append_as_follower(&far(i64::from(i32::MAX) + 1), NOW).unwrap().unwrap().batches, 1);
    assert_eq!((log.segment_count(), log.active_segment()), (2, i64::from(i32::MAX) + 1));
    assert_eq!(read_all(&log).len(), 3);
}

#[test]
fn an_idle_segment_rolls_by_its_age() {
    let disk = MemDisk::new();
    let mut log = filled(&disk, LogConfig { segment_ms: 50_000, ..small() }, 1);
    assert!(!log.roll_if_due(NOW + 50_000).unwrap());
    assert!(log.roll_if_due(NOW + 50_001).unwrap());
    assert!(!log.roll_if_due(NOW + 500_000).unwrap(), "an empty segment stays");
    assert_eq!((log.segment_count(), log.active_segment()), (2, 2));
}

#[test]
fn retention_by_size_keeps_at_least_that_much() {
    let disk = MemDisk::new();
    let mut log = filled(&disk, LogConfig { retention_bytes: 10_000, ..small() }, 300);
    let (before, segments) = (log.size_bytes(), log.segment_count());
    let deleted = log.retention(NOW, log.log_end_offset()).unwrap();
    assert_eq!((log.size_bytes(), log.segment_count()), (before - deleted.bytes, segments - deleted.segments));
    assert!((10_000..10_000 + 4096).contains(&log.size_bytes()), "{}", log.size_bytes());
    assert_eq!(read_all(&log)[0].0, log.log_start_offset());
    assert_eq!(log.retention(NOW, log.log_end_offset()).unwrap().segments, 0);
}

#[test]
fn retention_by_time_spares_what_is_not_replicated_and_may_empty_the_log() {
    let disk = MemDisk::new();
    let mut log = filled(&disk, LogConfig { retention_ms: 60_000, ..small() }, 300);
    let end = log.log_end_offset();
    assert_eq!(log.retention(NOW, end).unwrap().segments, 0);
    let spared = log.retention(NOW + 400_000, 100).unwrap();
    assert!(spared.segments > 0);
    assert!(log.log_start_offset() <= 100);
    log.retention(NOW + 200_000, end).unwrap();
    let first = log.offset_for_timestamp(0).unwrap().unwrap();
    assert!((NOW + 100_000..NOW + 140_000).contains(&first.timestamp), "{}", first.timestamp - NOW);
    log.retention(NOW + 1_000_000, end).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.size_bytes()), (end, end, 0));
    assert_eq!(append_one(&mut log, batch(&[NOW], 1), 0).unwrap().base_offset, end);
    let unlimited = LogConfig { retention_ms: -1, retention_bytes: -1, ..small() };
    log.set_config(Arc::new(unlimited));
    assert_eq!(log.retention(i64::MAX, end + 1).unwrap().segments, 0);
}

#[test]
fn dropped_files_stay_for_their_delay() {
    let disk = MemDisk::new();
    let mut log = filled(&disk, LogConfig { retention_bytes: 0, ..small() }, 100);
    let doomed = |disk: &MemDisk| names(disk).iter().filter(|name| name.ends_with(".deleted")).count();
    let deleted = log.retention(NOW, log.log_end_offset()).unwrap();
    assert_eq!(doomed(&disk), 3 * deleted.segments);
    assert!(log.remove_deleted(NOW + 999).is_none());
    log.remove_deleted(NOW + 1000).unwrap().run().unwrap();
    assert_eq!(doomed(&disk), 0);
    assert!(names(&disk).iter().filter(|name| name.ends_with(".snapshot")).count() <= 1);
}

#[test]
fn deleted_records_are_gone_after_a_restart_too() {
    let disk = MemDisk::new();
    let mut log = filled(&disk, small(), 200);
    let deleted = log.delete_records(151, NOW).unwrap();
    assert!(deleted.segments > 0);
    assert_eq!(log.log_start_offset(), 151);
    assert!(log.read(150, 100, 400, true).is_err());
    assert_eq!(log.read(151, 10, 400, true).unwrap().base_offset, 150, "batches are served whole");
    assert_eq!(log.offset_for_timestamp(0).unwrap().unwrap().offset, 151);
    assert_eq!(log.epochs()[0].start_offset, 151);
    assert_eq!(log.delete_records(10, NOW).unwrap().segments, 0);
    assert_eq!(log.log_start_offset(), 151);
    drop(log);
    let mode = OpenMode { log_start_offset: 151, ..mode(Shutdown::Killed, 0) };
    let (mut log, _) = open(disk.arc(), Path::new(DIR), small(), mode);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (151, 400));
    log.delete_records(i64::MAX, NOW).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (400, 400));
    assert!(log.read(400, 10, 400, true).unwrap().is_empty());
}

#[test]
fn truncation_drops_whole_batches_epochs_and_producers() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, small());
    for n in 0..300 {
        append_one(&mut log, produced(5, 0, 2 * n, 2, false), n / 100).unwrap();
    }
    let before = read_all(&log);
    log.truncate_to(1000).unwrap();
    assert_eq!(log.log_end_offset(), 600);
    for (to, end) in [(599, 598), (451, 450), (400, 400), (150, 150), (0, 0)] {
        log.truncate_to(to).unwrap();
        assert_eq!(log.log_end_offset(), end);
        assert_eq!(read_all(&log), before[..end as usize / 2]);
        let epochs = [0, 200, 400].iter().filter(|start| **start < end).count();
        assert_eq!(log.epochs().len(), epochs);
        let last = log.active_producers().first().map_or(-1, |producer| producer.last_sequence);
        assert_eq!(i64::from(last), end - 1);
        assert!(log.recovery_point() <= end);
        let (again, recovery) = open(disk.arc(), Path::new(DIR), small(), mode(Shutdown::Killed, 0));
        assert_eq!((again.log_end_offset(), recovery.cut), (end, None));
        assert_eq!(again.active_producers(), log.active_producers());
    }
    assert_eq!(append_one(&mut log, produced(5, 0, 0, 2, false), 7).unwrap().base_offset, 0);
    log.truncate_fully_and_start_at(1234).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.segment_count()), (1234, 1234, 1));
    assert!(log.epochs().is_empty() && log.active_producers().is_empty());
    assert_eq!(append_one(&mut log, batch(&[NOW], 4), 8).unwrap().base_offset, 1234);
    assert_eq!(read_all(&log).len(), 1);
}

/// What is copied from elsewhere keeps its records' times, which may be years old.
#[test]
fn a_producer_of_old_records_is_known_for_as_long_as_it_writes() {
    const DAY_MS: i64 = 24 * 3_600_000;
    let disk = MemDisk::new();
    disk.set_now_ms(NOW);
    let mut log = new_log(&disk, small());
    let old = || {
        let mut builder = BatchBuilder::new(Codec::None).producer(5, 0, 0);
        builder.append(NOW - 400 * DAY_MS, None, Some(b"value"), &[]);
        builder.build(0, -1)
    };
    append_one(&mut log, old(), 1).unwrap();
    log.expire_producers(NOW + DAY_MS - 1);
    assert!(append_one(&mut log, old(), 1).unwrap().duplicate);
    // After a kill too: the file tells when it was written.
    let (mut log, _) = open(disk.arc(), Path::new(DIR), small(), mode(Shutdown::Killed, 0));
    assert!(append_one(&mut log, old(), 1).unwrap().duplicate);
    log.expire_producers(NOW + DAY_MS);
    assert!(!append_one(&mut log, old(), 1).unwrap().duplicate, "a day of silence is enough");
}

#[test]
fn a_cut_below_the_start_offset_takes_it_along() {
    for (to, end) in [(6, 4), (4, 4), (1, 1)] {
        let disk = MemDisk::new();
        let mut log = new_log(&disk, small());
        for n in 0..10 {
            append_one(&mut log, batch(&[NOW + n; 4], 40), 1).unwrap();
        }
        log.delete_records(5, NOW).unwrap();
        log.truncate_to(to).unwrap();
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (end, end), "cut at {to}");
        assert_eq!(append_one(&mut log, batch(&[NOW], 40), 2).unwrap().base_offset, end);
        assert_eq!(read_all(&log).len(), 1);
        let (again, _) = open(disk.arc(), Path::new(DIR), small(), mode(Shutdown::Killed, 0));
        assert_eq!((again.log_end_offset(), again.latest_epoch()), (end + 1, 2));
    }
}

#[test]
fn records_are_found_by_their_time() {
    let disk = MemDisk::new();
    let mut log = filled(&disk, small(), 300);
    for n in [0, 1, 57, 150, 298, 299] {
        for (timestamp, offset) in [(1000 * n, 2 * n), (1000 * n - 500, 2 * n), (1000 * n + 1, 2 * n + 1)] {
            let found = log.offset_for_timestamp(NOW + timestamp).unwrap().unwrap();
            assert_eq!((found.offset, found.leader_epoch), (offset, 0), "{timestamp}");
        }
    }
    assert_eq!(log.offset_for_timestamp(NOW + 299_002).unwrap(), None);
    let latest = log.offset_of_max_timestamp().unwrap().unwrap();
    assert_eq!((latest.offset, latest.timestamp), (599, NOW + 299_001));
    // A late record, out of order, inside a compressed batch.
    let mut builder = BatchBuilder::new(Codec::Lz4);
    for timestamp in [5, 900_000, 900_000, 7] {
        builder.append(NOW + timestamp, None, Some(b"v"), &[]);
    }
    append_one(&mut log, builder.build(0, -1), 3).unwrap();
    append_one(&mut log, batch(&[NOW], 1), 3).unwrap();
    let latest = log.offset_of_max_timestamp().unwrap().unwrap();
    assert_eq!((latest.offset, latest.timestamp, latest.leader_epoch), (601, NOW + 900_000, 3));
    assert_eq!(log.offset_for_timestamp(NOW + 299_002).unwrap().unwrap().offset, 601);
    for shutdown in [Shutdown::Killed, Shutdown::PowerCut] {
        let (log, _) = open(disk.arc(), Path::new(DIR), small(), mode(shutdown, 300));
        assert_eq!(log.offset_of_max_timestamp().unwrap(), Some(latest));
        assert_eq!(log.offset_for_timestamp(NOW + 57_000).unwrap().unwrap().offset, 114);
    }
    let empty = new_log(&MemDisk::new(), small());
    assert_eq!((empty.offset_for_timestamp(0).unwrap(), empty.offset_of_max_timestamp().unwrap()), (None, None));
}

#[test]
fn a_follower_takes_the_leaders_offsets_and_refuses_what_cannot_follow() {
    let (disk, other) = (MemDisk::new(), MemDisk::new());
    let mut leader = new_log(&disk, small());
    for n in 0..200 {
        append_one(&mut leader, produced(5, 0, n, 1, n % 2 == 0), n / 60).unwrap_or_else(|code| {
            assert_eq!(code, ErrorCode::InvalidTxnState);
            append_one(&mut leader, produced(5, 0, n, 1, true), n / 60).unwrap()
        });
    }
    let mut follower = new_log(&other, small());
    while follower.log_end_offset() < leader.log_end_offset() {
        // Cut anywhere: a last batch that is not whole is left for the next time.
        let bytes = leader.read_bytes(follower.log_end_offset(), 777, 200).unwrap();
        follower.append_as_follower(&bytes, NOW).unwrap().unwrap();
    }
    assert_eq!(read_all(&follower), read_all(&leader));
    assert_eq!(follower.epochs(), leader.epochs());
    assert_eq!(follower.active_producers(), leader.active_producers());
    assert_eq!(follower.last_stable_offset(200), 0);
    let mut again = leader.read_bytes(199, 1000, 200).unwrap();
    assert_eq!(follower.append_as_follower(&again, NOW).unwrap(), Err(ErrorCode::OffsetOutOfRange));
    let last = again.len() - 1;
    again[last] ^= 1;
    assert_eq!(follower.append_as_follower(&again, NOW).unwrap(), Err(ErrorCode::CorruptMessage));
    // Offsets that reach beyond all numbers.
    for delta in [0, 1, i32::MAX] {
        let mut far = batch(&[NOW], 4);
        wire::records::stamp(&mut far, i64::MAX - i64::from(delta), 1);
        far[23..27].copy_from_slice(&delta.to_be_bytes());
        let crc = crc32c::crc32c(&far[21..]);
        far[17..21].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(follower.append_as_follower(&far, NOW).unwrap(), Err(ErrorCode::CorruptMessage), "{delta}");
    }
    assert_eq!(follower.log_end_offset(), 200);
}

#[test]
fn index_writes_are_few() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, LogConfig { segment_bytes: 1 << 30, snapshot_interval_bytes: 1 << 30, ..small() });
    append_one(&mut log, batch(&[NOW], 40), 0).unwrap();
    let before = disk.writes();
    for n in 0..3000 {
        append_one(&mut log, batch(&[NOW + n], 300), 0).unwrap();
    }
    assert!(disk.writes() - before < 3000 + 2 * 3000 / 128 + 2, "{}", disk.writes() - before);
}

#[test]
fn syncs_are_asked_for_by_messages_by_time_and_after_a_roll() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, LogConfig { flush_messages: 10, flush_ms: 500, segment_bytes: 1 << 20, ..small() });
    let done = |log: &mut Log| {
        let request = log.sync_request().unwrap();
        request.run().unwrap();
        log.synced(request.offset());
        assert_eq!(log.recovery_point(), log.log_end_offset());
        assert!(log.sync_request().is_none(), "nothing is left to sync");
    };
    done(&mut log);
    assert!(!log.sync_due(NOW));
    // The records' times, and when they came by the wall clock, have nothing to do with it.
    append_one(&mut log, batch(&[NOW; 9], 40), 0).unwrap();
    assert!(!log.sync_due(7), "it counts from now on");
    assert!(!log.sync_due(7 + 499));
    assert!(log.sync_due(7 + 500));
    append_one(&mut log, batch(&[NOW], 40), 0).unwrap();
    assert!(log.sync_due(NOW));
    done(&mut log);
    log.set_config(Arc::new(LogConfig { segment_bytes: 300, ..small() }));
    append_one(&mut log, batch(&[NOW], 40), 0).unwrap();
    assert_eq!(log.segment_count(), 2);
    assert!(log.sync_due(NOW), "a finished segment goes to the disk");
    done(&mut log);
}

/// A leader that appended nothing has noted an epoch at its log's end. The next leader may not know of it, and cutting at
/// the end is how the follower is told.
#[test]
fn a_cut_at_the_end_forgets_an_epoch_that_wrote_nothing() {
    let disk = MemDisk::new();
    let mut log = filled(&disk, small(), 2);
    log.assign_epoch(3, log.log_end_offset()).unwrap();
    assert_eq!(log.latest_epoch(), 3);
    log.truncate_to(log.log_end_offset()).unwrap();
    assert_eq!((log.latest_epoch(), log.log_end_offset()), (0, 4));
}
