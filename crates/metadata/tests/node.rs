//! The metadata log across crashes, power cuts, failing disks, snapshots.
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod common;

use std::path::{Path, PathBuf};

use common::commands::{below, command};
use common::{CLUSTER, chance, create, directory, heartbeat, present, registration, run, start, submit, sync, topic};
use metadata::controller::{Command, Decided, Reply, default_bootstrap_records};
use metadata::image::{Image, MetadataVersion};
use metadata::quorum::{
    FetchRequest, FetchedContent, Format, LogEnd, MetadataNode, MetadataOptions, OpenError, ReplicaKey, Voter,
    VoterEndpoint, VoterSet, VoterUpdate, data_batches, format,
};
use storage::testing::{Failure, MemDisk, Operation};
use storage::{Disk, Shutdown};
use wire::messages::{FeatureLevelRecord, MetadataRecord};
use wire::records::{BatchBuilder, Codec};
use wire::{ErrorCode, Uuid};

const LOG_DIR: &str = "/data";
const SEGMENT: &str = "/data/__cluster_metadata-0/00000000000000000000.log";

fn options() -> MetadataOptions {
    MetadataOptions::new(PathBuf::from(LOG_DIR), CLUSTER.to_owned(), 1, directory(1))
}

fn formatted() -> MemDisk {
    let disk = MemDisk::new();
    let endpoint = VoterEndpoint { name: "CONTROLLER".to_owned(), host: "localhost".to_owned(), port: 9093 };
    let voter = Voter { id: 1, directory_id: directory(1), endpoints: vec![endpoint] };
    disk.create_dir(Path::new(LOG_DIR)).unwrap();
    let how = Format { voters: Some(VoterSet::new(vec![voter])), bootstrap: default_bootstrap_records() };
    format(&disk, Path::new(LOG_DIR), &how, 1).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

fn open_with(disk: &MemDisk, options: MetadataOptions) -> MetadataNode {
    start(MetadataNode::open(disk.arc(), options).unwrap()).unwrap()
}

fn open(disk: &MemDisk) -> MetadataNode {
    open_with(disk, options())
}

/// A copy of what a process sees on the disk.
fn copy(disk: &MemDisk) -> MemDisk {
    let target = MemDisk::new();
    for path in disk.paths() {
        match disk.bytes(&path) {
            Some(bytes) => {
                target.create_dir(path.parent().unwrap()).unwrap();
                target.write_atomically(&path, &bytes, true).unwrap();
            }
            None => target.create_dir(&path).unwrap(),
        }
    }
    target
}

/// A broker that serves, and a few topics.
fn prepare(node: &mut MetadataNode) -> i64 {
    let Some(Reply::RegisterBroker(Ok(epoch))) = run(node, vec![Command::RegisterBroker(registration(1, 1))]).pop()
    else {
        panic!("the broker registers")
    };
    run(node, vec![Command::Heartbeat(heartbeat(1, epoch)), create(vec![topic("first", 2, 1)])]);
    epoch
}

fn names(image: &Image) -> Vec<String> {
    image.topics.iter().map(|topic| topic.name.to_string()).collect()
}

#[test]
fn a_fresh_directory_becomes_a_cluster_with_the_features_of_4_3() {
    let disk = formatted();
    let opened = MetadataNode::open(disk.arc(), options()).unwrap();
    assert!(opened.image().is_empty());
    let node = start(opened).unwrap();
    assert_eq!(node.image().metadata_version(), MetadataVersion::LATEST);
    assert_eq!(node.epoch(), 1);
    assert_eq!(node.quorum().voters().get(1).unwrap().endpoints[0].port, 9093);
    // Leader change, version and voters, then the bootstrap records.
    assert_eq!(node.end_offset(), 3 + 9);
    assert_eq!(node.quorum().high_watermark(), node.end_offset());
    assert!(!node.image().is_in_transaction());
}

#[test]
fn replies_come_only_after_the_sync_and_in_the_order_of_the_commands() {
    let disk = formatted();
    let mut node = open(&disk);
    prepare(&mut node);
    let mut random = chance(3);
    submit(&mut node, [create(vec![topic("a", 1, 1)]), create(vec![topic("a", 1, 1)])], &mut random).unwrap();
    submit(&mut node, [Command::Tick], &mut random).unwrap();
    assert_eq!(names(node.image()), ["first"]);
    let request = node.sync_request().unwrap();
    let before = disk.syncs();
    node.synced(request.offset() - 1, &mut present(&mut random)).unwrap();
    assert!(node.take_output().committed.is_empty());
    request.run().unwrap();
    assert!(disk.syncs() > before);
    node.synced(request.offset(), &mut present(&mut random)).unwrap();
    let batches = node.take_output().committed;
    let replies: Vec<&Reply> = batches.iter().flat_map(|batch| &batch.replies).collect();
    assert!(matches!(replies[0], Reply::CreateTopics(Ok(results)) if results[0].1.is_ok()));
    assert!(matches!(replies[1], Reply::CreateTopics(Ok(results)) if results[0].1.is_err()));
    assert_eq!(replies[2], &Reply::Done);
    assert_eq!(names(node.image()), ["a", "first"]);
    assert_eq!(batches[0].change.topics.len(), 1);
}

#[test]
fn a_log_cut_anywhere_opens_as_the_batches_that_are_whole() {
    let disk = formatted();
    let mut node = open(&disk);
    let length = || disk.bytes(Path::new(SEGMENT)).unwrap().len();
    // The image after each batch, with the length of the log that holds it.
    let mut states = vec![(length(), (**node.image()).clone())];
    let mut random = chance(11);
    prepare(&mut node);
    states.push((length(), (**node.image()).clone()));
    for _ in 0..12 {
        let next = command(&node.image().clone(), &mut random);
        submit(&mut node, [next], &mut random).unwrap();
        sync(&mut node).unwrap();
        states.push((length(), (**node.image()).clone()));
    }
    drop(node);
    let first = states[1].0;
    for cut in first..=length() {
        let disk = copy(&disk);
        disk.edit(Path::new(SEGMENT), |bytes| bytes.truncate(cut));
        let expected = &states.iter().rev().find(|(length, _)| *length <= cut).unwrap().1;
        let node = open_with(&disk, MetadataOptions { shutdown: Shutdown::Killed, ..options() });
        assert_eq!(**node.image(), *expected, "cut at {cut}");
        assert_eq!(node.epoch(), 2);
    }
}

#[test]
fn a_torn_end_is_cut_off_and_the_log_goes_on_behind_the_last_whole_batch() {
    let disk = formatted();
    let mut node = open(&disk);
    prepare(&mut node);
    let image = node.image().clone();
    drop(node);
    for garbage in [vec![0; 4_000], vec![0xff; 70], b"not a batch at all".to_vec()] {
        let disk = copy(&disk);
        disk.edit(Path::new(SEGMENT), |bytes| bytes.extend(&garbage));
        let mut node = open(&disk);
        assert_eq!(**node.image(), *image);
        run(&mut node, vec![create(vec![topic("more", 1, 1)])]);
        drop(node);
        assert_eq!(names(open(&disk).image()), ["first", "more"]);
    }
}

#[test]
fn after_a_power_cut_everything_acknowledged_is_there_and_nothing_is_there_by_halves() {
    for seed in 0..60 {
        println!("seed {seed}");
        let disk = formatted();
        let mut node = open(&disk);
        prepare(&mut node);
        let mut random = chance(seed);
        let mut acknowledged = node.end_offset();
        for _ in 0..below(&mut random, 30) {
            let next = command(&node.image().clone(), &mut random);
            submit(&mut node, [next], &mut random).unwrap();
            if below(&mut random, 2) == 0 {
                sync(&mut node).unwrap();
                acknowledged = node.end_offset();
            }
        }
        let written = copy(&disk);
        disk.power_cut(&mut random);
        drop(node);
        drop(open(&disk));
        // What was in flight may survive or not, but only whole batches, and none without those before it.
        let (survived, end_offset) = first_epoch(&disk);
        assert!(end_offset >= acknowledged, "seed {seed}: {end_offset} of {acknowledged}");
        assert!(first_epoch(&written).0.starts_with(&survived), "seed {seed}");
    }
}

/// The batches of epoch 1, and the offset after them.
fn first_epoch(disk: &MemDisk) -> (Vec<u8>, i64) {
    let bytes = disk.bytes(Path::new(SEGMENT)).unwrap();
    let (mut length, mut end_offset) = (0, 0);
    for batch in wire::records::batches(&bytes).map(Result::unwrap) {
        if batch.leader_epoch() == 1 {
            length += batch.size();
            end_offset = batch.next_offset();
        }
    }
    (bytes[..length].to_vec(), end_offset)
}

/// What voter 1 says of itself.
fn update(port: u16) -> VoterUpdate {
    let endpoint = VoterEndpoint { name: "CONTROLLER".to_owned(), host: "localhost".to_owned(), port };
    let voter = Voter { id: 1, directory_id: directory(1), endpoints: vec![endpoint] };
    VoterUpdate { current_epoch: 1, voter, kraft_versions: 0..=1 }
}

fn said(node: &mut MetadataNode, update: &VoterUpdate) -> ErrorCode {
    node.update_voter(update, &mut present(&mut chance(5))).unwrap().error
}

#[test]
fn a_voter_that_moved_is_written_to_the_log_once() {
    let disk = formatted();
    let mut node = open(&disk);
    prepare(&mut node);
    let end_offset = node.end_offset();
    assert_eq!(said(&mut node, &update(9093)), ErrorCode::None);
    assert_eq!(node.end_offset(), end_offset, "it is where it was");

    assert_eq!(said(&mut node, &update(9094)), ErrorCode::None);
    assert_eq!(node.end_offset(), end_offset + 1);
    assert_eq!(node.quorum().voters().get(1).unwrap().endpoints[0].port, 9094);
    assert_eq!(said(&mut node, &update(9095)), ErrorCode::RequestTimedOut, "the change before is not committed");
    sync(&mut node).unwrap();
    assert_eq!(said(&mut node, &update(9094)), ErrorCode::None);
    assert_eq!(node.end_offset(), end_offset + 1);

    // What is decided next has its place behind it.
    run(&mut node, vec![create(vec![topic("after", 1, 1)])]);
    let image = node.image().clone();
    assert_eq!(names(&image), ["after", "first"]);
    drop(node);
    let node = open(&disk);
    assert_eq!(**node.image(), *image);
    assert_eq!(node.quorum().voters().get(1).unwrap().endpoints[0].port, 9094);
}

#[test]
fn a_voter_that_could_not_take_part_is_refused() {
    let mut node = open(&formatted());
    let end_offset = node.end_offset();
    let good = update(9094);
    let voter = |change: fn(&mut Voter)| {
        let mut update = good.clone();
        change(&mut update.voter);
        update
    };
    let elsewhere = voter(|voter| voter.endpoints[0].name = "OTHER".to_owned());
    assert_eq!(said(&mut node, &elsewhere), ErrorCode::InvalidRequest);
    assert_eq!(said(&mut node, &voter(|voter| voter.endpoints.clear())), ErrorCode::InvalidRequest);
    let old = VoterUpdate { kraft_versions: 0..=0, ..good.clone() };
    assert_eq!(said(&mut node, &old), ErrorCode::InvalidRequest);
    assert_eq!(said(&mut node, &voter(|voter| voter.id = 2)), ErrorCode::VoterNotFound);
    let lost_its_disk = voter(|voter| voter.directory_id = directory(9));
    assert_eq!(said(&mut node, &lost_its_disk), ErrorCode::VoterNotFound);
    assert_eq!(said(&mut node, &VoterUpdate { current_epoch: 0, ..good.clone() }), ErrorCode::FencedLeaderEpoch);
    assert_eq!(said(&mut node, &VoterUpdate { current_epoch: 2, ..good }), ErrorCode::UnknownLeaderEpoch);
    assert_eq!(node.end_offset(), end_offset);
}

#[test]
fn static_voters_are_where_the_configuration_says() {
    let disk = MemDisk::new();
    disk.create_dir(Path::new(LOG_DIR)).unwrap();
    format(&disk, Path::new(LOG_DIR), &Format { voters: None, bootstrap: default_bootstrap_records() }, 1).unwrap();
    let voters = VoterSet::new(vec![Voter { directory_id: Uuid::ZERO, ..update(9093).voter }]);
    let mut node = open_with(&disk, MetadataOptions { static_voters: Some(voters), ..options() });
    let end_offset = node.end_offset();
    assert_eq!(said(&mut node, &update(9094)), ErrorCode::None);
    assert_eq!(said(&mut node, &VoterUpdate { kraft_versions: 1..=1, ..update(9093) }), ErrorCode::InvalidRequest);
    assert_eq!(node.end_offset(), end_offset);
    assert_eq!(node.quorum().voters().get(1).unwrap().endpoints[0].port, 9093);
}

#[test]
fn a_snapshot_replaces_the_log_before_it() {
    let disk = formatted();
    let small = || MetadataOptions { segment_bytes: 2_000, snapshot_bytes: 3_000, snapshots_kept: 1, ..options() };
    let mut node = open_with(&disk, small());
    prepare(&mut node);
    let mut snapshots = 0;
    for n in 0..120 {
        run(&mut node, vec![create(vec![topic(&format!("t{n}"), 1, 1)])]);
        if let Some(job) = node.snapshot_due(1_000) {
            // The log goes on while the snapshot is written.
            run(&mut node, vec![create(vec![topic(&format!("meanwhile{n}"), 1, 1)])]);
            let id = job.run().unwrap();
            assert!(node.snapshot_due(1_000).is_none());
            node.snapshot_written(id, 1_000).unwrap();
            snapshots += 1;
        }
    }
    assert!(snapshots > 2, "{snapshots}");
    assert_eq!(node.log().snapshots().len(), 1);
    assert!(node.log().start_offset() > 0);
    if let Some(removal) = node.housekeeping(i64::MAX / 2).unwrap() {
        removal.run().unwrap();
    }
    let image = node.image().clone();
    assert_eq!(image.topics.len(), 1 + 120 + snapshots);
    drop(node);
    assert!(disk.bytes(Path::new(SEGMENT)).is_none(), "the first segment is gone");
    let node = open_with(&disk, small());
    assert_eq!(**node.image(), *image);
    assert_eq!(node.quorum().voters().get(1).unwrap().directory_id, directory(1));
}

/// No CRC covers a batch's base offset. When the power goes, the sector that it is in may be all that is lost.
#[test]
fn a_batch_that_lost_its_base_offset_to_a_power_cut_is_a_torn_end() {
    let disk = formatted();
    let mut node = open(&disk);
    prepare(&mut node);
    let (length, image) = (disk.bytes(Path::new(SEGMENT)).unwrap().len(), node.image().clone());
    for name in ["a", "b"] {
        run(&mut node, vec![create(vec![topic(name, 1, 1)])]);
    }
    drop(node);
    disk.edit(Path::new(SEGMENT), |bytes| bytes[length..length + 8].fill(0));
    let node = open_with(&disk, MetadataOptions { shutdown: Shutdown::PowerCut, ..options() });
    assert_eq!(names(node.image()), names(&image));
}

#[test]
fn a_segment_whose_predecessor_lost_its_end_to_a_power_cut_is_not_there() {
    let small = || MetadataOptions { segment_bytes: 2_000, ..options() };
    let disk = formatted();
    let mut node = open_with(&disk, small());
    prepare(&mut node);
    let (mut names_before, mut end) = (names(node.image()), 0);
    for n in 0.. {
        let length = disk.bytes(Path::new(SEGMENT)).unwrap().len();
        if length == end {
            break; // this one went to the next segment
        }
        (names_before, end) = (names(node.image()), length);
        run(&mut node, vec![create(vec![topic(&format!("t{n:02}"), 1, 1)])]);
    }
    names_before.pop();
    drop(node);
    disk.edit(Path::new(SEGMENT), |bytes| bytes.truncate(end - 10));
    let copy = copy(&disk);
    let killed = MetadataNode::open(copy.arc(), MetadataOptions { shutdown: Shutdown::Killed, ..small() });
    assert!(start(killed.unwrap()).is_err(), "no power was cut: it was there once");
    let node = open_with(&disk, MetadataOptions { shutdown: Shutdown::PowerCut, ..small() });
    assert_eq!(names(node.image()), names_before);
}

#[test]
fn a_leader_whose_log_begins_earlier_again_after_a_crash_still_knows_where_epochs_ended() {
    let small = || MetadataOptions { snapshots_kept: 1, shutdown: Shutdown::Killed, ..options() };
    let disk = formatted();
    let mut node = open_with(&disk, small());
    prepare(&mut node);
    let first_epoch_ends = node.end_offset();
    drop(node);
    let mut node = open_with(&disk, small());
    run(&mut node, vec![create(vec![topic("second", 1, 1)])]);
    let id = node.snapshot_now(1_000).unwrap().run().unwrap();
    node.snapshot_written(id, 1_000).unwrap();
    assert_eq!((node.log().start_offset(), id.epoch), (id.end_offset, 2));
    drop(node);
    let mut node = open_with(&disk, small());
    assert_eq!(node.log().start_offset(), 0);
    // A replica that went on in the first epoch, where nobody followed it.
    let request = FetchRequest {
        replica: ReplicaKey { id: 9, directory_id: directory(9) },
        current_epoch: node.epoch(),
        offset: first_epoch_ends + 1,
        last_epoch: 1,
        high_watermark: 0,
        max_bytes: 1,
    };
    let answer = node.fetch(&request, &mut present(&mut chance(1))).unwrap().unwrap();
    let end = LogEnd { epoch: 1, offset: first_epoch_ends };
    assert_eq!(answer.content, FetchedContent::Diverging(end));
}

#[test]
fn a_fetch_from_before_all_offsets_is_refused_and_stops_nobody() {
    let mut node = open(&formatted());
    prepare(&mut node);
    for (offset, last_epoch) in [(-5, node.epoch()), (i64::MIN, node.epoch()), (0, -1)] {
        let replica = ReplicaKey { id: 9, directory_id: directory(9) };
        let (current_epoch, high_watermark, max_bytes) = (node.epoch(), 0, 1);
        let request = FetchRequest { replica, current_epoch, offset, last_epoch, high_watermark, max_bytes };
        let answer = node.fetch(&request, &mut present(&mut chance(1))).unwrap().unwrap();
        assert_eq!(answer.known.error, ErrorCode::InvalidRequest, "{offset}, {last_epoch}");
    }
}

#[test]
fn a_snapshot_is_due_by_time_only_when_there_is_something_new() {
    let disk = formatted();
    let mut node = open(&disk);
    prepare(&mut node);
    assert!(node.snapshot_due(1_000 + 3_599_999).is_none());
    let id = node.snapshot_due(1_000 + 3_600_000).unwrap().run().unwrap();
    node.snapshot_written(id, 1_000).unwrap();
    assert!(node.snapshot_due(1_000 + 9 * 3_600_000).is_none());
}

#[test]
fn a_snapshot_that_a_crash_left_half_written_is_dropped() {
    let disk = formatted();
    let mut node = open(&disk);
    prepare(&mut node);
    let job = node.snapshot_now(1_000).unwrap();
    disk.fail(Failure {
        operation: Operation::Sync,
        path: ".checkpoint.part".to_owned(),
        after: 0,
        error: std::io::ErrorKind::Other,
        torn_bytes: 0,
    });
    assert!(job.run().is_err());
    node.snapshot_failed();
    let image = node.image().clone();
    drop(node);
    let left = |disk: &MemDisk| disk.paths().iter().filter(|path| path.display().to_string().contains(".part")).count();
    assert_eq!(left(&disk), 1);
    let mut node = open(&disk);
    assert_eq!((left(&disk), &**node.image()), (0, &*image));
    assert!(node.snapshot_now(1_000).is_some());
}

#[test]
fn a_failing_sync_acknowledges_nothing() {
    let disk = formatted();
    let mut node = open(&disk);
    prepare(&mut node);
    disk.fail(Failure {
        operation: Operation::Sync,
        path: ".log".to_owned(),
        after: 0,
        error: std::io::ErrorKind::Other,
        torn_bytes: 0,
    });
    submit(&mut node, [create(vec![topic("lost", 1, 1)])], &mut chance(3)).unwrap();
    assert!(sync(&mut node).is_err());
    assert_eq!(names(node.image()), ["first"]);
}

#[test]
fn a_failing_write_stops_the_node() {
    let disk = formatted();
    let mut node = open(&disk);
    prepare(&mut node);
    disk.fail(Failure {
        operation: Operation::Write,
        path: ".log".to_owned(),
        after: 0,
        error: std::io::ErrorKind::StorageFull,
        torn_bytes: 20,
    });
    assert!(submit(&mut node, [create(vec![topic("lost", 1, 1)])], &mut chance(3)).is_err());
    assert!(submit(&mut node, [create(vec![topic("later", 1, 1)])], &mut chance(3)).is_err());
    drop(node);
    disk.clear_failures();
    assert_eq!(names(open(&disk).image()), ["first"]);
}

/// Appends bytes to the log of a closed node and says how opening refuses it, having changed nothing.
fn refusal_of(bytes: Vec<u8>) -> String {
    let disk = formatted();
    let node = open(&disk);
    drop(node);
    disk.edit(Path::new(SEGMENT), |log| log.extend(bytes));
    let see =
        |disk: &MemDisk| -> Vec<_> { disk.paths().into_iter().map(|path| (path.clone(), disk.bytes(&path))).collect() };
    let before = see(&disk);
    let reason = match MetadataNode::open(disk.arc(), options()) {
        Err(OpenError::Refused(reason)) => reason,
        Err(other) => panic!("not refused but failed: {other}"),
        Ok(_) => panic!("not refused"),
    };
    assert_eq!(see(&disk), before);
    reason
}

fn feature(name: &'static str, level: i16) -> Vec<u8> {
    let record = MetadataRecord::FeatureLevel(FeatureLevelRecord { name: name.into(), feature_level: level });
    let decided = Decided { records: vec![record], metadata_version: MetadataVersion::LATEST };
    data_batches(&[decided], 12, 1, 5)
}

#[test]
fn what_a_newer_program_wrote_is_refused_untouched() {
    let raw = |value: &[u8]| {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.append(5, None, Some(value), &[]);
        builder.build(12, 1)
    };
    let cases = [
        (feature("metadata.version", 31), "metadata.version is at level 31"),
        (feature("metadata.version", 6), "metadata.version is at level 6"),
        (feature("group.version", 2), "group.version is at level 2, and this program knows levels 0 to 1"),
        (raw(&[1, 99, 0, 0]), "record at offset 12"),
        (raw(&[1, 2, 1, 0]), "record at offset 12"),
        (raw(&[2, 2, 0, 0]), "record at offset 12"),
    ];
    for (bytes, expected) in cases {
        let reason = refusal_of(bytes);
        println!("{reason}");
        assert!(reason.starts_with("/data/__cluster_metadata-0") && reason.contains(expected), "{reason}");
    }
}

#[test]
fn the_directory_of_another_voter_is_refused() {
    let disk = formatted();
    drop(open(&disk));
    let other_node = MetadataOptions { node_id: 7, ..options() };
    let other_directory = MetadataOptions { directory_id: Uuid::from_u128(9 << 80), ..options() };
    for options in [other_node, other_directory] {
        let refused = MetadataNode::open(disk.arc(), options).err().unwrap();
        assert!(matches!(refused, OpenError::Refused(_)));
    }
}

#[test]
fn a_controller_that_dies_in_its_first_records_begins_again() {
    let disk = formatted();
    drop(open(&disk));
    let whole = disk.bytes(Path::new(SEGMENT)).unwrap().len();
    for cut in [0, 60, 174, whole - 1] {
        let disk = copy(&disk);
        disk.edit(Path::new(SEGMENT), |bytes| bytes.truncate(cut));
        let node = open(&disk);
        assert_eq!(node.image().metadata_version(), MetadataVersion::LATEST, "cut at {cut}");
        drop(node);
        assert!(!open(&disk).image().is_in_transaction());
    }
}

#[test]
fn opening_writes_the_new_epoch_and_nothing_else() {
    let disk = formatted();
    let mut node = open(&disk);
    prepare(&mut node);
    let (image, end) = (node.image().clone(), node.end_offset());
    drop(node);
    let node = open(&disk);
    assert_eq!(node.end_offset(), end + 1);
    assert_eq!(**node.image(), *image);
}
