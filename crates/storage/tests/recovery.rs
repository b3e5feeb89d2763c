//! What opening a log makes of each kind of crash and damage, on the simulated disk.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use common::*;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::testing::{Failure, MemDisk, Operation};
use storage::{Log, LogConfig, OpenMode, ReadError, Shutdown};

const DIR: &str = "/logs/t-0";

fn file(base_offset: i64, suffix: &str) -> PathBuf {
    Path::new(DIR).join(format!("{base_offset:020}{suffix}"))
}

fn on(disk: &MemDisk, config: LogConfig, shutdown: Shutdown, recovery_point: i64) -> (Log, storage::Recovery) {
    use storage::Disk;
    disk.create_dir(Path::new(DIR)).unwrap();
    open(disk.arc(), Path::new(DIR), config, mode(shutdown, recovery_point))
}

/// A log of `batches` one-record batches with 40-byte values, offsets 0.., everything synced.
fn synced(disk: &MemDisk, config: LogConfig, batches: i64) -> Log {
    let (mut log, _) = on(disk, config, Shutdown::Clean, 0);
    for n in 0..batches {
        append_one(&mut log, batch(&[NOW + n], 40), 1).unwrap();
    }
    sync(&mut log);
    log
}

fn sync(log: &mut Log) {
    if let Some(request) = log.sync_request() {
        request.run().unwrap();
        log.synced(request.offset());
    }
}

fn one_segment() -> LogConfig {
    LogConfig { segment_bytes: 1 << 20, ..small() }
}

/// Position of the batch with this base offset in the file of a log in one segment.
fn position_of(log: &Log, offset: i64) -> usize {
    read_all(log).iter().take_while(|(base, _)| *base < offset).map(|(_, bytes)| bytes.len()).sum()
}

#[test]
fn a_torn_last_write_is_cut_off_after_a_kill() {
    let disk = MemDisk::new();
    let log = synced(&disk, one_segment(), 1000);
    let before = read_all(&log);
    let last = position_of(&log, 999);
    drop(log);
    for torn in [last + 1, last + 11, last + 60, last + 61, last + 90] {
        disk.edit(&file(0, ".log"), |bytes| bytes.truncate(torn));
        let (mut log, recovery) = on(&disk, one_segment(), Shutdown::Killed, 0);
        assert_eq!(log.log_end_offset(), 999);
        assert_eq!(read_all(&log), before[..999]);
        let cut = recovery.cut.unwrap();
        assert_eq!((cut.offset, cut.position, cut.bytes, cut.saved), (999, last as u64, (torn - last) as u64, None));
        assert!(recovery.checked_bytes < 45_000, "{} bytes were checked", recovery.checked_bytes);
        append_one(&mut log, batch(&[NOW + 999], 40), 1).unwrap();
        assert_eq!(read_all(&log), before);
    }
}

#[test]
fn files_named_for_offsets_that_cannot_be_are_refused() {
    let last = i64::MAX - i64::from(i32::MAX) - 1;
    for (base_offset, suffix) in
        [(i64::MAX, ".log"), (last + 1, ".log"), (i64::MAX, ".log.swap"), (i64::MAX, ".snapshot")]
    {
        let disk = MemDisk::new();
        drop(synced(&disk, one_segment(), 5));
        let named = file(base_offset, suffix);
        storage::Disk::open(&disk, &named, storage::Access::Create).unwrap();
        let mode = mode(Shutdown::Killed, 0);
        let opened = Log::open(disk.arc(), Path::new(DIR), Arc::new(one_segment()), None, mode, NOW);
        let said = opened.map(drop).unwrap_err().to_string();
        let why = format!(
            "could not take for a segment's {}: no log has offsets so large: move the file elsewhere",
            named.display()
        );
        assert_eq!(said, why);
        assert!(disk.bytes(&named).is_some(), "it stays where it is");
    }
    // The last that can be is opened and written to, as far as its offsets go.
    let disk = MemDisk::new();
    drop(on(&disk, one_segment(), Shutdown::Clean, 0));
    let from = |log_start_offset| OpenMode { log_start_offset, ..mode(Shutdown::Killed, 0) };
    storage::Disk::remove_file(&disk, &file(0, ".log")).unwrap();
    let (mut log, _) = Log::open(disk.arc(), Path::new(DIR), Arc::new(one_segment()), None, from(last), NOW).unwrap();
    append_one(&mut log, batch(&[NOW], 40), 1).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (last, last + 1));
    let disk = MemDisk::new();
    drop(on(&disk, one_segment(), Shutdown::Clean, 0));
    storage::Disk::remove_file(&disk, &file(0, ".log")).unwrap();
    let opened = Log::open(disk.arc(), Path::new(DIR), Arc::new(one_segment()), None, from(last + 1), NOW);
    assert!(opened.map(drop).unwrap_err().to_string().contains("no log has offsets so large"));
}

#[test]
fn zeros_behind_the_last_batch_are_cut_off() {
    let disk = MemDisk::new();
    drop(synced(&disk, one_segment(), 50));
    for shutdown in [Shutdown::Killed, Shutdown::PowerCut] {
        disk.edit(&file(0, ".log"), |bytes| bytes.resize(bytes.len() + 10_000, 0));
        let (log, recovery) = on(&disk, one_segment(), shutdown, 50);
        assert_eq!((log.log_end_offset(), recovery.cut.unwrap().bytes), (50, 10_000));
        assert_eq!(read_all(&log).len(), 50);
    }
}

#[test]
fn damage_below_the_recovery_point_is_kept_reported_and_never_served() {
    let disk = MemDisk::new();
    let log = synced(&disk, one_segment(), 100);
    let (before, from) = (read_all(&log), position_of(&log, 60));
    drop(log);
    for at in [from + 80, from + 9, from + 16] {
        disk.edit(&file(0, ".log"), |bytes| bytes[at] ^= 0x55);
        let (mut log, recovery) = on(&disk, one_segment(), Shutdown::PowerCut, 100);
        // The last index entries are not believed, so the damage is looked at even below the recovery point.
        assert_eq!((recovery.damage.len(), recovery.cut), (1, None));
        let damage = log.damage()[0].clone();
        assert_eq!((damage.segment, damage.position, damage.offset), (0, from as u64, 60));
        assert_eq!(damage.end, from as u64 + before[60].1.len() as u64);
        assert_eq!(log.log_end_offset(), 100);
        assert!(matches!(log.read(60, 1000, 100, true), Err(ReadError::Damaged(found)) if found.offset == 60));
        let read = log.read_bytes(50, 100_000, 100).unwrap();
        let ends_before_it = wire::records::batches(&read).last().unwrap().unwrap().base_offset();
        assert_eq!(ends_before_it, 59);
        let (behind, _) = wire::records::batches(&log.read_bytes(61, 100_000, 100).unwrap())
            .fold((0, 61), |(n, at), batch| (n + 1, batch.unwrap().base_offset().max(at)));
        assert_eq!(behind, 39);
        append_one(&mut log, batch(&[NOW], 40), 1).unwrap();
        drop(log);
        disk.edit(&file(0, ".log"), |bytes| {
            bytes[at] ^= 0x55;
            bytes.truncate(before.iter().map(|(_, batch)| batch.len()).sum());
        });
    }
}

/// What was damaged is not there any more then, and comes again.
#[test]
fn a_log_that_is_cut_inside_of_damage_ends_where_that_begins() {
    let disk = MemDisk::new();
    let (mut log, _) = on(&disk, one_segment(), Shutdown::Clean, 0);
    for n in 0..20 {
        append_one(&mut log, batch(&[NOW + n; 5], 40), 1).unwrap();
    }
    sync(&mut log);
    let (before, from) = (read_all(&log), position_of(&log, 60));
    drop(log);
    disk.edit(&file(0, ".log"), |bytes| bytes[from + 16] ^= 0x55);
    let (mut log, recovery) = on(&disk, one_segment(), Shutdown::PowerCut, 100);
    assert_eq!((recovery.damage.len(), log.log_end_offset()), (1, 100));
    log.truncate_to(62).unwrap();
    assert_eq!((log.log_end_offset(), log.damage().len()), (60, 0));
    for (_, bytes) in &before[12..] {
        log.append_as_follower(bytes, NOW).unwrap().unwrap();
    }
    assert_eq!(read_all(&log), before);
}

#[test]
fn holes_above_the_recovery_point_end_the_log_and_what_followed_is_set_aside() {
    let disk = MemDisk::new();
    let log = synced(&disk, one_segment(), 100);
    let (before, from) = (read_all(&log), position_of(&log, 60));
    let total: usize = before.iter().map(|(_, batch)| batch.len()).sum();
    drop(log);
    disk.edit(&file(0, ".log"), |bytes| bytes[from..from + 20].fill(0));
    let (log, recovery) = on(&disk, one_segment(), Shutdown::PowerCut, 50);
    assert_eq!(log.log_end_offset(), 60);
    assert_eq!(read_all(&log), before[..60]);
    let cut = recovery.cut.unwrap();
    assert_eq!((cut.offset, cut.bytes), (60, (total - from) as u64));
    assert_eq!(disk.bytes(&cut.saved.unwrap()).unwrap().len(), total - from);
}

#[test]
fn a_segment_whose_end_is_missing_ends_the_log_unless_others_may_have_compacted_it() {
    for (compact, is_seamless) in [(false, false), (false, true), (true, true), (true, false)] {
        let disk = MemDisk::new();
        let log = synced(&disk, small(), 100);
        let before = read_all(&log);
        drop(log);
        let logs = logs(&disk);
        let size = before[0].1.len();
        disk.edit(&logs[0], |bytes| bytes.truncate(size * 3));
        let config = LogConfig { compact, ..small() };
        let (log, recovery) = after_power_cut(&disk, config, 0, is_seamless);
        if compact && !is_seamless {
            assert_eq!((log.log_end_offset(), recovery.cut), (100, None));
        } else {
            assert_eq!(read_all(&log), before[..3]);
            assert_eq!(recovery.cut.unwrap().reason, "the end of the segment is missing");
            let aside = logs[1].with_extension("log.cut-0");
            assert!(disk.bytes(&aside).is_some(), "what follows is kept in a file beside");
        }
    }
}

fn logs(disk: &MemDisk) -> Vec<PathBuf> {
    let mut logs: Vec<PathBuf> =
        disk.paths().into_iter().filter(|path| path.to_string_lossy().ends_with(".log")).collect();
    logs.sort();
    logs
}

fn after_power_cut(disk: &MemDisk, config: LogConfig, at: i64, is_seamless: bool) -> (Log, storage::Recovery) {
    open(disk.arc(), Path::new(DIR), config, OpenMode { is_seamless, ..mode(Shutdown::PowerCut, at) })
}

/// A batch that a leader had at `offset`.
fn at(offset: i64) -> Vec<u8> {
    let mut bytes = batch(&[NOW + offset], 40);
    wire::records::stamp(&mut bytes, offset, 1);
    bytes
}

/// The leader's log was compacted: offsets are missing between batches, and so between the follower's segments. None of
/// that is synced here, but all of it is there.
#[test]
fn what_a_follower_has_of_a_compacted_log_does_not_look_lost() {
    let disk = MemDisk::new();
    let config = LogConfig { compact: true, ..small() };
    let (mut log, _) = on(&disk, config.clone(), Shutdown::Clean, 0);
    for offset in (0..400).step_by(7) {
        log.append_as_follower(&at(offset), NOW).unwrap().unwrap();
        if offset % 5 == 0 {
            // Where nothing is to be cut, the end moves into the gap all the same.
            log.append_as_follower(&at(offset + 5), NOW).unwrap().unwrap();
            log.truncate_to(offset + 3).unwrap();
            assert!(log.roll_if_due(NOW + (offset + 1) * 1_000_000_000).unwrap());
        }
    }
    // So far away that an index needs another segment.
    log.append_as_follower(&at(5_000_000_000), NOW).unwrap().unwrap();
    let before = read_all(&log);
    assert!(log.segment_count() > 10, "{}", log.segment_count());
    drop(log);
    let (log, recovery) = after_power_cut(&disk, config.clone(), 0, true);
    assert_eq!((read_all(&log), recovery.cut), (before.clone(), None));
    drop(log);
    let logs = logs(&disk);
    let size = before[0].1.len();
    disk.edit(&logs[3], |bytes| bytes.truncate(bytes.len() - size));
    let (log, recovery) = after_power_cut(&disk, config, 0, true);
    let kept = read_all(&log);
    assert_eq!(kept, before[..kept.len()]);
    assert_eq!(recovery.cut.unwrap().reason, "the end of the segment is missing");
    assert!(kept.len() < before.len());
}

#[test]
fn the_same_hole_after_a_kill_is_damage_for_the_page_cache_has_survived() {
    let disk = MemDisk::new();
    let config = LogConfig { index_interval_bytes: 1 << 20, ..one_segment() };
    let log = synced(&disk, config.clone(), 100);
    let from = position_of(&log, 60);
    drop(log);
    disk.edit(&file(0, ".log"), |bytes| bytes[from..from + 20].fill(0));
    let (log, recovery) = on(&disk, config, Shutdown::Killed, 50);
    assert_eq!((log.log_end_offset(), recovery.cut, recovery.damage.len()), (100, None, 1));
}

#[test]
fn only_what_follows_the_recovery_point_is_checked_after_a_power_cut() {
    let disk = MemDisk::new();
    let log = synced(&disk, small(), 400);
    let (before, size) = (read_all(&log), log.size_bytes());
    assert!(log.segment_count() > 8);
    drop(log);
    let (log, recovery) = on(&disk, small(), Shutdown::PowerCut, 350);
    assert_eq!(read_all(&log), before);
    assert!(recovery.checked_bytes < size / 4, "{} of {size} bytes were checked", recovery.checked_bytes);
    assert!(recovery.checked_bytes > size / 10);
}

#[test]
fn missing_and_broken_indexes_are_made_anew() {
    let disk = MemDisk::new();
    let mut log = synced(&disk, small(), 400);
    let before = read_all(&log);
    let active = log.active_segment();
    log.close().unwrap();
    sync(&mut log);
    drop(log);
    let indexes: Vec<PathBuf> =
        disk.paths().into_iter().filter(|path| path.to_string_lossy().ends_with("index")).collect();
    let originals: Vec<Vec<u8>> = indexes.iter().map(|path| disk.bytes(path).unwrap()).collect();
    use storage::Disk;
    disk.remove_file(&indexes[0]).unwrap();
    disk.remove_file(&indexes[5]).unwrap();
    disk.edit(&file(active, ".index"), |bytes| bytes.fill(0x41));
    let (mut log, recovery) = on(&disk, small(), Shutdown::Clean, 0);
    assert!(recovery.rebuilt_indexes >= 3);
    assert_eq!(read_all(&log), before);
    assert_eq!(log.offset_for_timestamp(NOW + 123).unwrap().unwrap().offset, 123);
    log.close().unwrap();
    let rebuilt: Vec<Vec<u8>> = indexes.iter().map(|path| disk.bytes(path).unwrap()).collect();
    assert_eq!(rebuilt, originals);
}

#[test]
fn an_index_that_kafka_reserved_in_full_is_read_up_to_its_zeros() {
    let disk = MemDisk::new();
    let mut log = synced(&disk, one_segment(), 200);
    let before = read_all(&log);
    log.close().unwrap();
    drop(log);
    for suffix in [".index", ".timeindex"] {
        disk.edit(&file(0, suffix), |bytes| bytes.resize((10 << 20) / 12 * 12, 0));
    }
    let (mut log, recovery) = on(&disk, one_segment(), Shutdown::Killed, 0);
    assert!(recovery.is_quiet(), "{recovery:?}");
    assert!(recovery.checked_bytes < 2000);
    assert_eq!(read_all(&log), before);
    log.close().unwrap();
    assert!(disk.bytes(&file(0, ".index")).unwrap().len() < 1000, "trimmed at a clean close");
}

#[test]
fn leader_epochs_are_gathered_from_the_log_when_their_file_is_unreadable() {
    let disk = MemDisk::new();
    let (mut log, _) = on(&disk, small(), Shutdown::Clean, 0);
    for n in 0..100 {
        append_one(&mut log, batch(&[NOW], 40), n / 30).unwrap();
    }
    let epochs = log.epochs().to_vec();
    assert_eq!(epochs.len(), 4);
    drop(log);
    for broken in ["", "0\n2\n0 0\n", "1\n0\n", "0\n1\nx y\n", "0\n2\n3 0\n2 5\n"] {
        disk.edit(&Path::new(DIR).join("leader-epoch-checkpoint"), |bytes| *bytes = broken.into());
        let (log, recovery) = on(&disk, small(), Shutdown::PowerCut, 100);
        assert!(recovery.rebuilt_epochs);
        assert_eq!(log.epochs(), epochs);
    }
    for shutdown in [Shutdown::Clean, Shutdown::Killed, Shutdown::PowerCut] {
        use storage::Disk;
        disk.remove_file(&Path::new(DIR).join("leader-epoch-checkpoint")).unwrap();
        let (log, recovery) = on(&disk, small(), shutdown, 100);
        assert_eq!((log.epochs(), recovery.rebuilt_epochs), (&*epochs, true), "{shutdown:?}");
    }
}

/// A follower that asks where an old epoch ended must not hear where the log began before the crash.
#[test]
fn leader_epochs_reach_back_to_a_start_that_went_back_in_a_crash() {
    let disk = MemDisk::new();
    let (mut log, _) = on(&disk, one_segment(), Shutdown::Clean, 0);
    for n in 0..100 {
        append_one(&mut log, batch(&[NOW], 40), n / 30).unwrap();
    }
    let epochs = log.epochs().to_vec();
    log.delete_records(70, NOW).unwrap();
    assert_eq!(log.epoch_end_offset(0), (0, 70));
    drop(log);
    let (log, recovery) = on(&disk, one_segment(), Shutdown::Killed, 0);
    assert_eq!((log.log_start_offset(), recovery.rebuilt_epochs), (0, true));
    assert_eq!((log.epochs(), log.epoch_end_offset(0)), (&*epochs, (0, 30)));
}

#[test]
fn producers_are_known_after_every_kind_of_restart() {
    for shutdown in [Shutdown::Clean, Shutdown::Killed, Shutdown::PowerCut] {
        let disk = MemDisk::new();
        let (mut log, _) = on(&disk, small(), Shutdown::Clean, 0);
        for n in 0..300 {
            append_one(&mut log, produced(1 + i64::from(n % 3), 2, n / 3 * 2, 2, false), 0).unwrap();
        }
        let before = log.active_producers();
        if shutdown == Shutdown::Clean {
            log.close().unwrap();
        }
        sync(&mut log);
        drop(log);
        let (mut log, _) = on(&disk, small(), shutdown, 200);
        assert_eq!(log.active_producers(), before, "{shutdown:?}");
        for n in 0..5 {
            let again = append_one(&mut log, produced(3, 2, 198 - 2 * n, 2, false), 0).unwrap();
            assert_eq!((again.base_offset, again.duplicate), (598 - 6 * i64::from(n), true), "{shutdown:?}");
        }
        assert!(!append_one(&mut log, produced(3, 2, 200, 2, false), 0).unwrap().duplicate);
    }
}

#[test]
fn a_torn_producer_snapshot_is_passed_over() {
    let disk = MemDisk::new();
    let (mut log, _) = on(&disk, small(), Shutdown::Clean, 0);
    for n in 0..200 {
        append_one(&mut log, produced(9, 0, n, 1, false), 0).unwrap();
    }
    let before = log.active_producers();
    drop(log);
    let mut snapshots: Vec<PathBuf> =
        disk.paths().into_iter().filter(|path| path.to_string_lossy().ends_with(".snapshot")).collect();
    let last = snapshots.pop().unwrap();
    disk.edit(&last, |bytes| bytes.truncate(20));
    disk.edit(snapshots.last().unwrap(), |bytes| bytes[15] ^= 1);
    let (log, _) = on(&disk, small(), Shutdown::Killed, 0);
    assert_eq!(log.active_producers(), before);
    assert!(disk.bytes(&last).is_none());
}

#[test]
fn transactions_and_their_index_survive_a_power_cut() {
    let disk = MemDisk::new();
    let (mut log, _) = on(&disk, small(), Shutdown::Clean, 0);
    append_one(&mut log, produced(1, 0, 0, 3, true), 0).unwrap(); // 0..3
    append_one(&mut log, produced(2, 0, 0, 1, true), 0).unwrap(); // 3
    append_one(&mut log, marker(1, 0, false, 5), 0).unwrap(); // 4
    append_one(&mut log, produced(1, 0, 3, 1, true), 0).unwrap(); // 5
    append_one(&mut log, marker(2, 0, true, 5), 0).unwrap(); // 6
    append_one(&mut log, produced(3, 0, 0, 1, false), 0).unwrap(); // 7
    let check = |log: &Log| {
        assert_eq!(log.last_stable_offset(8), 5, "the second transaction of producer 1 is open");
        let aborted = log.aborted_transactions(0, 8).unwrap();
        assert_eq!(aborted.len(), 1);
        let txn = aborted[0];
        assert_eq!((txn.producer_id, txn.first_offset, txn.last_offset, txn.last_stable_offset), (1, 0, 4, 3));
        assert!(log.aborted_transactions(5, 8).unwrap().is_empty());
    };
    check(&log);
    assert_eq!(log.last_stable_offset(4), 0, "a marker at the high watermark is not replicated yet");
    assert_eq!(log.last_stable_offset(6), 3);
    sync(&mut log);
    drop(log);
    disk.edit(&file(0, ".txnindex"), |bytes| bytes.truncate(17));
    for shutdown in [Shutdown::PowerCut, Shutdown::Killed, Shutdown::Clean] {
        let (log, _) = on(&disk, small(), shutdown, 0);
        if shutdown == Shutdown::PowerCut {
            check(&log);
        } else {
            assert_eq!(log.aborted_transactions(0, 8).unwrap().len(), 1);
        }
        assert_eq!(disk.bytes(&file(0, ".txnindex")).unwrap().len(), 34);
    }
}

/// Offsets beyond a cut are in use again: what the index said of them must not come back.
#[test]
fn a_transaction_that_was_cut_off_is_not_aborted_after_a_power_cut() {
    use storage::Disk;
    for seed in 0..16u64 {
        let disk = MemDisk::new();
        let (mut log, _) = on(&disk, small(), Shutdown::Clean, 0);
        ["/", "/logs"].iter().for_each(|dir| disk.sync_dir(Path::new(dir)).unwrap());
        append_one(&mut log, produced(9, 0, 0, 1, false), 1).unwrap(); // 0
        append_one(&mut log, produced(1, 0, 0, 1, true), 1).unwrap(); // 1
        append_one(&mut log, marker(1, 0, false, 5), 1).unwrap(); // 2
        sync(&mut log);
        log.truncate_to(1).unwrap();
        append_one(&mut log, produced(1, 0, 0, 1, true), 2).unwrap(); // 1
        append_one(&mut log, marker(1, 0, true, 5), 2).unwrap(); // 2
        sync(&mut log);
        drop(log);
        let mut random = seed;
        disk.power_cut(|| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random >> 33
        });
        let (log, _) = on(&disk, small(), Shutdown::PowerCut, 3);
        assert_eq!((log.log_end_offset(), log.aborted_transactions(0, 3).unwrap()), (3, vec![]), "seed {seed}");
    }
}

#[test]
fn a_failed_or_short_write_takes_the_log_offline_and_leaves_no_tail() {
    for (torn_bytes, error) in [(0, ErrorKind::StorageFull), (70, ErrorKind::StorageFull), (100, ErrorKind::Other)] {
        let disk = MemDisk::new();
        let mut log = synced(&disk, one_segment(), 10);
        let len = disk.bytes(&file(0, ".log")).unwrap().len();
        disk.fail(Failure { operation: Operation::Write, path: ".log".into(), after: 0, error, torn_bytes });
        let mut bytes = batch(&[NOW], 40);
        let info = info(&bytes);
        let mut appends = [storage::Append::new(&mut bytes, info)];
        let fault = log.append(&mut appends, 1, NOW).unwrap_err();
        assert_eq!((fault.kind, fault.action), (error, "append to"));
        assert_eq!(appends[0].outcome, Err(wire::ErrorCode::KafkaStorageError));
        assert!(matches!(log.read(0, 100, 10, true), Err(ReadError::Fault(_))));
        assert!(log.append(&mut appends, 1, NOW).is_err(), "offline for good");
        assert!(log.sync_request().is_none());
        assert_eq!(disk.bytes(&file(0, ".log")).unwrap().len(), len);
        drop(log);
        let (log, _) = on(&disk, one_segment(), Shutdown::Killed, 10);
        assert_eq!(read_all(&log).len(), 10);
    }
}

#[test]
fn a_full_disk_takes_the_log_offline() {
    let disk = MemDisk::new();
    let mut log = synced(&disk, one_segment(), 10);
    let used: usize = disk.paths().iter().map(|path| disk.bytes(path).unwrap().len()).sum();
    disk.set_capacity(Some(used as u64 + 50));
    let mut bytes = batch(&[NOW], 40);
    let info = info(&bytes);
    assert_eq!(
        log.append(&mut [storage::Append::new(&mut bytes, info)], 1, NOW).unwrap_err().kind,
        ErrorKind::StorageFull
    );
    assert!(log.fault().is_some());
}

#[test]
fn a_failed_sync_is_final_and_moves_nothing() {
    let disk = MemDisk::new();
    let mut log = synced(&disk, one_segment(), 10);
    append_one(&mut log, batch(&[NOW], 40), 1).unwrap();
    let request = log.sync_request().unwrap();
    disk.fail(Failure {
        operation: Operation::Sync,
        path: ".log".into(),
        after: 0,
        error: ErrorKind::Other,
        torn_bytes: 0,
    });
    let fault = request.run().unwrap_err();
    log.synced(request.offset());
    assert_eq!(log.recovery_point(), 10, "what was not synced is not believed, whoever claims it");
    log.fail(fault);
    assert!(log.read(0, 100, 11, true).is_err());
    assert!(log.sync_request().is_none());
}

#[test]
fn a_sync_that_a_truncation_overtook_counts_no_more() {
    let disk = MemDisk::new();
    let mut log = synced(&disk, one_segment(), 10);
    for _ in 0..10 {
        append_one(&mut log, batch(&[NOW], 40), 1).unwrap();
    }
    let request = log.sync_request().unwrap();
    log.truncate_to(5).unwrap();
    for _ in 0..10 {
        append_one(&mut log, batch(&[NOW + 1], 40), 2).unwrap();
    }
    request.run().unwrap();
    log.synced(request.offset());
    assert_eq!(log.recovery_point(), 5);
}

#[test]
fn segments_that_a_crashed_compaction_left_are_completed() {
    use storage::Disk;
    let disk = MemDisk::new();
    let log = synced(&disk, small(), 200);
    let before = read_all(&log);
    drop(log);
    let mut bases: Vec<i64> =
        disk.paths().iter().filter_map(|path| path.file_name()?.to_str()?.strip_suffix(".log")?.parse().ok()).collect();
    bases.sort_unstable();
    let (first, second) = (bases[0], bases[1]);
    // The swap file holds a part of what two segments held.
    let kept: Vec<_> = before.iter().filter(|(base, _)| *base < bases[2] && base % 3 == 2).collect();
    let bytes: Vec<u8> = kept.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    let end = kept.last().unwrap().0;
    assert!(end > second);
    disk.open(&file(first, ".log.swap"), storage::Access::Create).unwrap();
    disk.edit(&file(first, ".log.swap"), |file| *file = bytes);
    disk.open(&file(7, ".log.cleaned"), storage::Access::Create).unwrap();
    disk.open(&file(7, ".index.deleted"), storage::Access::Create).unwrap();
    let (log, _) = on(&disk, LogConfig { compact: true, ..small() }, Shutdown::PowerCut, 0);
    let expected: Vec<_> = before.iter().filter(|(base, _)| *base >= bases[2] || base % 3 == 2).cloned().collect();
    assert_eq!(read_all(&log), expected);
    assert!(!disk.paths().iter().any(|path| path.to_string_lossy().ends_with("swap")));
    assert!(disk.bytes(&file(7, ".log.cleaned")).is_none() && disk.bytes(&file(7, ".index.deleted")).is_none());
}

#[test]
fn a_log_that_ends_before_its_start_offset_begins_anew_there() {
    let disk = MemDisk::new();
    drop(synced(&disk, small(), 20));
    let mode = OpenMode { log_start_offset: 50, ..mode(Shutdown::PowerCut, 0) };
    let (mut log, recovery) = open(disk.arc(), Path::new(DIR), small(), mode);
    assert!(recovery.restarted);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (50, 50));
    assert_eq!(append_one(&mut log, batch(&[NOW], 40), 3).unwrap().base_offset, 50);
}
