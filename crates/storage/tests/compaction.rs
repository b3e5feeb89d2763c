//! Rules of compaction, one by one, and the crash in the middle of it.
#![allow(clippy::unwrap_used)] // tests
mod common;

use common::*;
use std::collections::BTreeMap;
use std::path::Path;
use storage::testing::{Failure, MemDisk, Operation};
use storage::{Append, Cleaned, CleanerLimits, CleaningError, Log, LogConfig, OpenMode, Shutdown, clean};
use wire::records::{Batch, BatchBuilder, BatchInfo, Codec};

const DIR: &str = "/logs/t-0";
const LIMITS: CleanerLimits = CleanerLimits { map_bytes: 1 << 20, load_factor: 0.9, io_bytes: 1 << 16 };
const DAY: i64 = 86_400_000;

fn config() -> LogConfig {
    LogConfig { compact: true, delete: false, segment_bytes: 600, ..small() }
}

fn new_log(disk: &MemDisk, config: LogConfig) -> Log {
    storage::Disk::create_dir(disk, Path::new(DIR)).unwrap();
    open(disk.arc(), Path::new(DIR), config, OpenMode::default()).0
}

/// A batch of keys and values.
fn keyed(records: &[(&str, Option<&str>)]) -> Vec<u8> {
    keyed_with(BatchBuilder::new(Codec::None), records)
}

fn keyed_with(mut builder: BatchBuilder, records: &[(&str, Option<&str>)]) -> Vec<u8> {
    for (key, value) in records {
        builder.append(NOW, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    }
    builder.build(0, -1)
}

fn put(log: &mut Log, records: &[(&str, Option<&str>)]) {
    append_one(log, keyed(records), 1).unwrap();
}

fn roll(log: &mut Log) {
    let config = log.config().clone();
    log.set_config(LogConfig { segment_ms: -1, ..config.clone() }.into());
    log.roll_if_due(NOW).unwrap();
    log.set_config(config.into());
}

/// Ends the active segment and brings everything to the disk.
fn roll_and_sync(log: &mut Log) {
    roll(log);
    sync(log);
}

fn sync(log: &mut Log) {
    if let Some(request) = log.sync_request() {
        request.run().unwrap();
        log.synced(request.offset());
    }
}

fn try_compact(
    log: &mut Log,
    checkpoint: Option<i64>,
    limits: CleanerLimits,
    now_ms: i64,
) -> Result<Cleaned, CleaningError> {
    let end = log.log_end_offset();
    let dirt = log.dirt(checkpoint, end, now_ms).unwrap();
    let plan = log.plan_cleaning(&dirt)?;
    clean(&plan, limits, [1; 16], now_ms, &mut |_| true, &mut |replacement| Ok(log.replace(replacement, now_ms)?))
}

fn compact(log: &mut Log, now_ms: i64) -> Cleaned {
    try_compact(log, None, LIMITS, now_ms).unwrap()
}

/// Offset, key and value of all records.
type Content = Vec<(i64, Option<String>, Option<String>)>;

fn content(log: &Log) -> Content {
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let mut all = Vec::new();
    for (_, bytes) in read_all(log) {
        let batch = Batch::parse(&bytes).unwrap();
        if batch.is_control() {
            continue;
        }
        for record in &batch.records().unwrap() {
            let record = record.unwrap();
            all.push((record.offset, text(record.key), text(record.value)));
        }
    }
    all
}

/// What a reader of the whole log ends up with.
fn state(log: &Log) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    for (_, key, value) in content(log) {
        match value {
            Some(value) => _ = state.insert(key.unwrap(), value),
            None => _ = state.remove(&key.unwrap()),
        }
    }
    state
}

fn offsets(log: &Log) -> Vec<i64> {
    content(log).iter().map(|record| record.0).collect()
}

#[test]
fn the_last_value_of_each_key_stays_with_its_offset() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, config());
    put(&mut log, &[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))]);
    put(&mut log, &[("a", Some("2")), ("b", Some("2"))]);
    roll_and_sync(&mut log);
    put(&mut log, &[("a", Some("3"))]);
    roll_and_sync(&mut log);
    put(&mut log, &[("a", Some("4"))]);
    let cleaned = compact(&mut log, NOW);
    assert_eq!((cleaned.end_offset, cleaned.keys, cleaned.records_before, cleaned.records_after), (6, 3, 6, 3));
    // The active segment was not looked at, and the first two are one now.
    assert_eq!(offsets(&log), [2, 4, 5, 6]);
    assert_eq!(log.segment_count(), 2);
    let files = || disk.paths().iter().filter(|path| path.to_string_lossy().ends_with(".deleted")).count();
    assert_eq!(files(), 6, "two old segments with their indexes");
    log.remove_deleted(NOW + 1000).unwrap().run().unwrap();
    assert_eq!(files(), 0);
    drop(log);
    let (log, recovery) = open(disk.arc(), Path::new(DIR), config(), mode(Shutdown::Killed, 6));
    assert!(recovery.is_quiet(), "{recovery:?}");
    assert_eq!(offsets(&log), [2, 4, 5, 6]);
}

/// The segment that was written last is not the active one after a roll, and what is remembered of it is outdated.
#[test]
fn places_that_were_remembered_are_forgotten() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, config());
    put(&mut log, &[("a", Some("1"))]);
    put(&mut log, &[("b", Some("a longer value than the other one"))]);
    put(&mut log, &[("a", Some("2"))]);
    roll_and_sync(&mut log);
    compact(&mut log, NOW);
    assert_eq!(offsets(&log), [1, 2]);
}

#[test]
fn tombstones_stay_until_their_horizon() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, config());
    put(&mut log, &[("a", Some("1")), ("b", Some("1"))]);
    put(&mut log, &[("a", None), ("b", Some("2"))]);
    roll_and_sync(&mut log);
    put(&mut log, &[("end", Some(""))]);
    compact(&mut log, NOW);
    assert_eq!(offsets(&log), [2, 3, 4]);
    let horizon = |log: &Log| Batch::parse(&read_all(log)[0].1).unwrap().delete_horizon_ms();
    assert_eq!(horizon(&log), Some(NOW + DAY));
    compact(&mut log, NOW + DAY - 1);
    assert_eq!((offsets(&log), horizon(&log)), (vec![2, 3, 4], Some(NOW + DAY)), "the horizon does not move");
    compact(&mut log, NOW + DAY);
    assert_eq!(offsets(&log), [3, 4]);
}

#[test]
fn records_without_a_key_go_and_the_end_of_the_round_stays() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, config());
    append_one(&mut log, batch(&[NOW, NOW], 10), 1).unwrap();
    roll_and_sync(&mut log);
    put(&mut log, &[("end", Some(""))]);
    let cleaned = compact(&mut log, NOW);
    assert_eq!(cleaned.without_key, 2);
    let batches = read_all(&log);
    let first = Batch::parse(&batches[0].1).unwrap();
    assert!(first.is_empty() && first.next_offset() == 2, "the last batch of the round is kept without records");
    assert_eq!(offsets(&log), [2]);
}

#[test]
fn the_last_batch_of_a_producer_keeps_its_sequence_number() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, config());
    let send = |log: &mut Log, sequence, key: &str| {
        let builder = BatchBuilder::new(Codec::None).producer(9, 0, sequence);
        append_one(log, keyed_with(builder, &[(key, Some("x")), (key, Some("y"))]), 1)
    };
    send(&mut log, 0, "a").unwrap();
    send(&mut log, 2, "a").unwrap();
    put(&mut log, &[("a", Some("newest"))]);
    roll_and_sync(&mut log);
    put(&mut log, &[("end", Some(""))]);
    compact(&mut log, NOW);
    let batches = read_all(&log);
    let first = Batch::parse(&batches[0].1).unwrap();
    assert!(first.is_empty() && (first.base_offset(), first.last_sequence()) == (2, 3), "{first:?}");
    assert_eq!(offsets(&log), [4, 5]);
    log.close().unwrap();
    drop(log);
    for path in disk.paths().into_iter().filter(|path| path.to_string_lossy().ends_with(".snapshot")) {
        storage::Disk::remove_file(&disk, &path).unwrap();
    }
    let (mut log, _) = open(disk.arc(), Path::new(DIR), config(), mode(Shutdown::Clean, 6));
    assert!(send(&mut log, 2, "a").unwrap().duplicate, "it was sent again");
    assert_eq!(send(&mut log, 5, "a").unwrap_err(), wire::ErrorCode::OutOfOrderSequenceNumber);
    assert!(send(&mut log, 4, "a").is_ok());
}

#[test]
fn aborted_records_go_and_markers_stay_as_long_as_they_are_needed() {
    let disk = MemDisk::new();
    // Producers expire at once, so that none keeps a batch of its own.
    let config = LogConfig { producer_id_expiration_ms: 0, ..config() };
    let mut log = new_log(&disk, config.clone());
    let send = |log: &mut Log, id, records: &[(&str, Option<&str>)]| {
        let builder = BatchBuilder::new(Codec::None).producer(id, 0, 0).transactional();
        append_one(log, keyed_with(builder, records), 1).unwrap()
    };
    put(&mut log, &[("a", Some("good"))]); // 0
    send(&mut log, 1, &[("a", Some("aborted")), ("b", Some("aborted"))]); // 1, 2
    send(&mut log, 2, &[("c", Some("committed"))]); // 3
    append_one(&mut log, marker(1, 0, false, 0), 1).unwrap(); // 4
    append_one(&mut log, marker(2, 0, true, 0), 1).unwrap(); // 5
    put(&mut log, &[("d", Some("1"))]); // 6
    roll_and_sync(&mut log);
    put(&mut log, &[("end", Some(""))]); // 7
    log.expire_producers(i64::MAX);
    compact(&mut log, NOW);
    assert_eq!(offsets(&log), [0, 3, 6, 7]);
    let markers = |log: &Log| -> Vec<(i64, Option<i64>)> {
        let control = |(base, bytes): &(i64, Vec<u8>)| {
            let batch = Batch::parse(bytes).unwrap();
            batch.is_control().then(|| (*base, batch.delete_horizon_ms()))
        };
        read_all(log).iter().filter_map(control).collect()
    };
    assert_eq!(markers(&log), [(4, None), (5, None)], "batches of both were there");
    assert_eq!(log.aborted_transactions(0, 8).unwrap().len(), 1);
    // Nothing is left of the aborted one; the other still has its record.
    compact(&mut log, NOW);
    assert_eq!(markers(&log), [(4, Some(NOW + DAY)), (5, None)]);
    assert_eq!(log.aborted_transactions(0, 8).unwrap(), []);
    compact(&mut log, NOW + DAY);
    assert_eq!(markers(&log), [(5, None)]);
    put(&mut log, &[("c", Some("newer"))]);
    roll_and_sync(&mut log);
    put(&mut log, &[("end", Some(""))]);
    compact(&mut log, NOW);
    assert_eq!(markers(&log), [(5, None)]);
    compact(&mut log, NOW);
    assert_eq!(markers(&log), [(5, Some(NOW + DAY))]);
    compact(&mut log, NOW + DAY);
    assert_eq!(markers(&log), []);
}

#[test]
fn nothing_beyond_an_open_transaction_or_within_the_lag_is_cleaned() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, config());
    put(&mut log, &[("a", Some("1"))]);
    roll_and_sync(&mut log);
    let open = BatchBuilder::new(Codec::None).producer(1, 0, 0).transactional();
    append_one(&mut log, keyed_with(open, &[("a", Some("2"))]), 1).unwrap();
    roll_and_sync(&mut log);
    put(&mut log, &[("a", Some("3"))]);
    roll_and_sync(&mut log);
    assert_eq!(log.dirt(None, 3, NOW).unwrap().end, 1);
    append_one(&mut log, marker(1, 0, true, 0), 1).unwrap();
    sync(&mut log);
    assert_eq!(log.dirt(None, 4, NOW).unwrap().end, 3);
    // What is not on the disk for certain does not make anything older go.
    put(&mut log, &[("a", Some("4"))]);
    roll(&mut log);
    assert_eq!(log.dirt(None, 5, NOW).unwrap().end, 3);
    sync(&mut log);
    assert_eq!(log.dirt(None, 5, NOW).unwrap().end, 5);
    log.set_config(LogConfig { min_compaction_lag_ms: 1000, ..config() }.into());
    assert_eq!(log.dirt(None, 5, NOW + 999).unwrap().end, 0);
    assert_eq!(log.dirt(None, 5, NOW + 1000).unwrap().end, 5);
    log.set_config(LogConfig { max_compaction_lag_ms: 1000, ..config() }.into());
    let overdue = |log: &mut Log, now_ms| log.dirt(None, 5, now_ms).unwrap().overdue_ms;
    assert_eq!((overdue(&mut log, NOW + 900), overdue(&mut log, NOW + 1500)), (0, 500));
    // A checkpoint that is not in the log counts for nothing.
    assert!(log.dirt(Some(77), 5, NOW).unwrap().is_reset);
    let dirt = log.dirt(Some(5), 5, NOW).unwrap();
    assert_eq!((dirt.first_dirty, dirt.dirty_bytes, dirt.ratio()), (5, 0, 0.0));
}

#[test]
fn more_keys_than_fit_take_several_passes() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, config());
    let key = |at: usize| format!("key-{}", at % 700);
    for at in 0..2100 {
        put(&mut log, &[(&key(at), Some(&at.to_string())), ("often", Some(&at.to_string()))]);
    }
    roll_and_sync(&mut log);
    put(&mut log, &[("end", Some(""))]);
    let before = state(&log);
    let limits = CleanerLimits { map_bytes: 150 * 24, ..LIMITS };
    let (mut passes, mut checkpoint) = (0, 0);
    while checkpoint < 4200 {
        let cleaned = try_compact(&mut log, Some(checkpoint), limits, NOW).unwrap();
        assert!(cleaned.end_offset > checkpoint && cleaned.keys <= 150);
        checkpoint = cleaned.end_offset;
        passes += 1;
        assert_eq!(state(&log), before);
    }
    assert!(passes >= 2100 / 150, "{passes}");
    assert_eq!(content(&log).len(), 702, "every key once");
}

#[test]
fn readers_go_on_and_what_changed_meanwhile_is_not_overwritten() {
    let disk = MemDisk::new();
    let config = LogConfig { compact: true, delete: true, ..config() };
    let mut log = new_log(&disk, config);
    for at in 0..40 {
        put(&mut log, &[("a", Some(&"v".repeat(at)))]);
    }
    roll_and_sync(&mut log);
    put(&mut log, &[("end", Some(""))]);
    let dirt = log.dirt(None, 41, NOW).unwrap();
    let plan = log.plan_cleaning(&dirt).unwrap();
    let run = |log: &mut Log, disturb: &mut dyn FnMut(&mut Log)| {
        let replace = &mut |replacement: &storage::Replacement| {
            disturb(log);
            Ok(log.replace(replacement, NOW)?)
        };
        clean(&plan, LIMITS, [1; 16], NOW, &mut |_| true, replace)
    };
    let stopped = run(&mut log, &mut |log| _ = log.delete_records(20, NOW).unwrap());
    assert_eq!(stopped, Err(CleaningError::Stopped));
    assert_eq!(log.log_start_offset(), 20);
    assert_eq!(offsets(&log).first(), Some(&20));
    let temporary = |path: &std::path::PathBuf| {
        let name = path.to_string_lossy();
        name.ends_with(".cleaned") || name.ends_with(".swap")
    };
    assert!(!disk.paths().iter().any(temporary));
    // A truncation and new records under the same offsets.
    let dirt = log.dirt(None, 41, NOW).unwrap();
    let plan = log.plan_cleaning(&dirt).unwrap();
    let run = |log: &mut Log, disturb: &mut dyn FnMut(&mut Log)| {
        let replace = &mut |replacement: &storage::Replacement| {
            disturb(log);
            Ok(log.replace(replacement, NOW)?)
        };
        clean(&plan, LIMITS, [1; 16], NOW, &mut |_| true, replace)
    };
    let stopped = run(&mut log, &mut |log| log.truncate_to(35).unwrap());
    // It may have met the file's new end.
    assert!(matches!(stopped, Err(CleaningError::Stopped | CleaningError::Damaged(_))) && !log.is_current(&plan));
    assert_eq!(log.log_end_offset(), 35);
    // And a cleaner that is told to stop leaves nothing behind.
    roll_and_sync(&mut log);
    put(&mut log, &[("end", Some(""))]);
    let dirt = log.dirt(None, 36, NOW).unwrap();
    let plan = log.plan_cleaning(&dirt).unwrap();
    let mut steps = 30;
    let stop = &mut |_| {
        steps -= 1;
        steps > 0
    };
    let stopped = clean(&plan, LIMITS, [1; 16], NOW, stop, &mut |r| Ok(log.replace(r, NOW)?));
    assert_eq!(stopped, Err(CleaningError::Stopped));
    assert!(!disk.paths().iter().any(temporary));
    compact(&mut log, NOW);
    assert_eq!(offsets(&log), [34, 35]);
}

#[test]
fn damage_is_reported_and_nothing_is_changed() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, config());
    put(&mut log, &[("a", Some("1"))]);
    put(&mut log, &[("a", Some("2"))]);
    roll_and_sync(&mut log);
    put(&mut log, &[("end", Some(""))]);
    let path = Path::new(DIR).join("00000000000000000000.log");
    disk.edit(&path, |bytes| bytes[65] ^= 1);
    let before = disk.bytes(&path);
    let damaged = try_compact(&mut log, None, LIMITS, NOW).unwrap_err();
    assert!(matches!(&damaged, CleaningError::Damaged(damage) if damage.segment == 0), "{damaged:?}");
    assert_eq!(disk.bytes(&path), before);
    assert!(log.fault().is_none());
}

#[test]
fn a_full_disk_ends_the_cleaning_and_not_the_log() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, config());
    for at in 0..50 {
        put(&mut log, &[(&at.to_string(), Some("value"))]);
    }
    roll_and_sync(&mut log);
    put(&mut log, &[("end", Some(""))]);
    let before = content(&log);
    disk.set_capacity(Some(disk.paths().iter().map(|path| disk.bytes(path).unwrap().len() as u64).sum::<u64>() + 200));
    let full = try_compact(&mut log, None, LIMITS, NOW).unwrap_err();
    assert!(matches!(full, CleaningError::Fault(fault) if fault.kind == std::io::ErrorKind::StorageFull));
    assert!(log.fault().is_none() && content(&log) == before);
    assert!(!disk.paths().iter().any(|path| path.to_string_lossy().contains(".cleaned")));
}

/// Fails each operation of a cleaning in turn, then kills the process or cuts the power.
#[test]
fn a_crash_at_any_point_leaves_the_log_as_before_or_as_after() {
    let operations = [
        Operation::Open,
        Operation::Write,
        Operation::Truncate,
        Operation::Sync,
        Operation::SyncDir,
        Operation::Rename,
        Operation::Remove,
    ];
    let mut crashes = 0;
    for operation in operations {
        for cut in [false, true] {
            for after in 0.. {
                let disk = MemDisk::new();
                let mut log = new_log(&disk, config());
                storage::Disk::sync_dir(&disk, Path::new("/logs")).unwrap();
                storage::Disk::sync_dir(&disk, Path::new("/")).unwrap();
                for at in 0..16 {
                    put(&mut log, &[(&(at % 3).to_string(), Some(&at.to_string()))]);
                }
                let aborted = BatchBuilder::new(Codec::None).producer(5, 0, 0).transactional();
                append_one(&mut log, keyed_with(aborted, &[("0", Some("aborted"))]), 1).unwrap();
                append_one(&mut log, marker(5, 0, false, 0), 1).unwrap();
                roll_and_sync(&mut log);
                put(&mut log, &[("end", Some("x"))]);
                sync(&mut log);
                let committed = |log: &Log| {
                    let aborted = log.aborted_transactions(0, log.log_end_offset()).unwrap();
                    let mut state = BTreeMap::new();
                    for (offset, key, value) in content(log) {
                        if value.as_deref() == Some("aborted") {
                            assert!(aborted.iter().any(|txn| (txn.first_offset..txn.last_offset).contains(&offset)));
                            continue;
                        }
                        state.insert(key.unwrap(), value.unwrap());
                    }
                    state
                };
                let (before, end) = (committed(&log), log.log_end_offset());
                let error = std::io::ErrorKind::Other;
                disk.fail(Failure { operation, path: String::new(), after, error, torn_bytes: 3 });
                let result = try_compact(&mut log, None, LIMITS, NOW);
                if result.is_ok() {
                    disk.clear_failures();
                    assert_eq!(content(&log).len(), 4);
                }
                drop(log);
                disk.clear_failures();
                let shutdown = if cut { Shutdown::PowerCut } else { Shutdown::Killed };
                if cut {
                    let mut seed = after as u64 * 7 + operation as u64 + 1;
                    disk.power_cut(|| {
                        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        seed >> 33
                    });
                }
                let (mut log, recovery) = open(disk.arc(), Path::new(DIR), config(), mode(shutdown, end));
                let context = format!("{operation:?} {after} {cut}: {recovery:?}");
                assert!(recovery.cut.is_none() && recovery.damage.is_empty(), "{context}");
                assert_eq!((committed(&log), log.log_end_offset()), (before.clone(), end), "{context}");
                let left = |suffix: &str| disk.paths().iter().any(|path| path.to_string_lossy().ends_with(suffix));
                assert!(!left(".cleaned") && !left(".swap") && !left(".deleted"), "{context}");
                // And it can be cleaned again.
                sync(&mut log);
                try_compact(&mut log, None, LIMITS, NOW).unwrap();
                assert_eq!((committed(&log), content(&log).len()), (before, 4), "{context}");
                if result.is_ok() {
                    break;
                }
                crashes += 1;
            }
        }
    }
    assert!(crashes > 60, "{crashes}");
}

#[test]
fn compressed_batches_keep_their_codec_and_whole_ones_their_bytes() {
    for codec in Codec::ALL {
        let disk = MemDisk::new();
        let mut log = new_log(&disk, config());
        let send = |log: &mut Log, records: &[(&str, Option<&str>)]| {
            let mut bytes = keyed_with(BatchBuilder::new(codec), records);
            let info = BatchInfo::of_header(&Batch::parse(&bytes).unwrap()).unwrap();
            let mut appends = [Append::new(&mut bytes, info)];
            log.append(&mut appends, 1, NOW).unwrap();
            bytes
        };
        let whole = send(&mut log, &[("a", Some("1")), ("b", Some("1"))]);
        send(&mut log, &[("c", Some("1")), ("d", Some("1"))]);
        send(&mut log, &[("c", Some("2"))]);
        roll_and_sync(&mut log);
        put(&mut log, &[("end", Some(""))]);
        compact(&mut log, NOW);
        let batches = read_all(&log);
        assert_eq!(batches[0].1, whole);
        let part = Batch::parse(&batches[1].1).unwrap();
        assert_eq!((part.codec().unwrap(), part.record_count(), part.last_offset()), (codec, 1, 3));
        assert_eq!(offsets(&log), [0, 1, 3, 4, 5]);
    }
}
