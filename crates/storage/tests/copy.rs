//! A copy of a log becomes like it, whatever happens to the log meanwhile, and takes its place.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use common::*;
use std::path::Path;
use std::sync::Arc;
use storage::testing::MemDisk;
use storage::{CopyStep, Log, OpenMode, Shutdown};
use wire::codec::Records;

const DIR: &str = "/a/t-0";
const COPY: &str = "/b/t-0.00000000000000000000000000000001-future";
const MOVED: &str = "/b/t-0";

fn create(disk: &MemDisk, dir: &str) -> Log {
    Log::create(disk.arc(), Path::new(dir), Arc::new(small()), None, OpenMode::default(), NOW).unwrap()
}

fn fill(log: &mut Log, count: i64, epoch: i32) {
    for n in 0..count {
        append_one(log, batch(&[NOW + n, NOW + n + 1], 40), epoch).unwrap();
    }
}

/// Takes one step; false when there was none to take.
fn step(log: &Log, copy: &mut Log) -> bool {
    match log.next_for(copy, 300).unwrap() {
        CopyStep::Level => return false,
        CopyStep::Restart(at) => copy.truncate_fully_and_start_at(at).unwrap(),
        CopyStep::Cut(at) => copy.truncate_to(at).unwrap(),
        CopyStep::Start(at) => drop(copy.delete_records(at, NOW).unwrap()),
        CopyStep::Append { read, truncations } => {
            assert_eq!(truncations, log.truncations());
            let Records::Bytes(bytes) = read.records else { panic!("a simulated disk gives bytes") };
            copy.append_as_follower(&bytes, NOW).unwrap().unwrap();
        }
    }
    true
}

fn level(log: &Log, copy: &mut Log) {
    for _ in 0..10_000 {
        if !step(log, copy) {
            return assert_alike(log, copy);
        }
    }
    panic!("the copy never gets there: {:?}", log.next_for(copy, 300));
}

fn assert_alike(log: &Log, copy: &Log) {
    let ends = |log: &Log| (log.log_start_offset(), log.log_end_offset());
    assert_eq!(ends(log), ends(copy));
    assert_eq!(read_all(log), read_all(copy));
    assert_eq!(log.epochs(), copy.epochs());
}

#[test]
fn a_copy_becomes_like_its_log_over_many_segments_and_epochs() {
    let disk = MemDisk::new();
    let (mut log, mut copy) = (create(&disk, DIR), create(&disk, COPY));
    for epoch in 0..4 {
        fill(&mut log, 100, epoch);
        level(&log, &mut copy);
    }
    assert!(copy.segment_count() > 3);
}

#[test]
fn a_copy_is_cut_where_its_log_was() {
    let disk = MemDisk::new();
    for to in [0, 1, 7, 40, 100, 133, 199, 250] {
        for after in [0, 3, 90] {
            let (mut log, mut copy) = (create(&disk, DIR), create(&disk, COPY));
            for of in 0..3 {
                fill(&mut log, 40, of);
            }
            level(&log, &mut copy);
            log.truncate_to(to).unwrap();
            fill(&mut log, after, 5);
            level(&log, &mut copy);
            storage::Disk::remove_dir(&*disk.arc(), Path::new("/a")).unwrap();
            storage::Disk::remove_dir(&*disk.arc(), Path::new("/b")).unwrap();
        }
    }
}

#[test]
fn a_copy_begins_where_its_log_begins() {
    let disk = MemDisk::new();
    let (mut log, mut copy) = (create(&disk, DIR), create(&disk, COPY));
    fill(&mut log, 100, 0);
    // Inside of a batch, before anything is copied.
    log.delete_records(101, NOW).unwrap();
    level(&log, &mut copy);
    assert_eq!(copy.log_start_offset(), 101);
    // Beyond what is copied so far.
    fill(&mut log, 100, 0);
    log.delete_records(333, NOW).unwrap();
    level(&log, &mut copy);
    // All of it.
    log.delete_records(400, NOW).unwrap();
    level(&log, &mut copy);
    log.truncate_fully_and_start_at(1000).unwrap();
    level(&log, &mut copy);
    fill(&mut log, 10, 3);
    level(&log, &mut copy);
    assert_eq!((copy.log_start_offset(), copy.log_end_offset()), (1000, 1020));
}

/// A follower that was told of an epoch asks for it, whether anything was written in it or not.
#[test]
fn a_copy_knows_the_epochs_in_which_nothing_was_written() {
    let disk = MemDisk::new();
    let (mut log, mut copy) = (create(&disk, DIR), create(&disk, COPY));
    log.assign_epoch(3, 0).unwrap();
    assert_eq!(log.next_for(&copy, 300), Ok(CopyStep::Level));
    copy.take_over(&log).unwrap();
    copy.rename(Path::new(MOVED)).unwrap();
    assert_eq!((copy.latest_epoch(), copy.epoch_end_offset(3)), (3, (3, 0)));
}

#[test]
fn a_copy_takes_the_logs_place_under_its_name() {
    let disk = MemDisk::new();
    let (mut log, mut copy) = (create(&disk, DIR), create(&disk, COPY));
    append_one(&mut log, produced(9, 0, 0, 2, false), 0).unwrap();
    fill(&mut log, 200, 0);
    // Of this producer's batches nothing is left, and it is known all the same.
    log.delete_records(300, NOW).unwrap();
    level(&log, &mut copy);
    assert!(copy.active_producers().is_empty());
    copy.take_over(&log).unwrap();
    copy.rename(Path::new(MOVED)).unwrap();
    assert_eq!(copy.dir(), Path::new(MOVED));
    assert_alike(&log, &copy);
    let before = copy.segment_count();
    fill(&mut log, 100, 1);
    fill(&mut copy, 100, 1);
    assert!(copy.segment_count() > before);
    assert_eq!(read_all(&log), read_all(&copy));
    assert!(disk.paths().iter().all(|path| !path.starts_with(COPY)), "{:?}", disk.paths());
    append_one(&mut copy, produced(9, 0, 2, 2, false), 1).unwrap();
    copy.sync_request().unwrap().run().unwrap();
    let end = copy.log_end_offset();
    drop(copy);
    let mode = OpenMode { log_start_offset: 300, ..mode(Shutdown::Killed, end) };
    let (copy, recovery) = open(disk.arc(), Path::new(MOVED), small(), mode);
    assert!(recovery.is_quiet(), "{recovery:?}");
    assert_eq!(copy.log_end_offset(), end);
    assert_eq!(copy.active_producers().len(), 1);
}
