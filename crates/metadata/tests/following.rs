//! A node that follows: whom it believes, and which answers it takes.
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod common;

use std::path::{Path, PathBuf};

use common::{CLUSTER, chance, directory, present, start};
use metadata::controller::default_bootstrap_records;
use metadata::image::MetadataVersion;
use metadata::quorum::{
    FetchFrom, FetchRequest, Fetched, FetchedContent, Format, Known, LogEnd, METADATA_DIR, MetadataNode,
    MetadataOptions, NextFetch, Outgoing, QuorumRecords, SnapshotId, Voter, VoterSet, encode_snapshot, format,
};
use storage::Disk;
use storage::testing::MemDisk;
use wire::ErrorCode;
use wire::control::{ControlRecord, control_batch};
use wire::messages::LeaderChangeMessage;

const LOG_DIR: &str = "/data";

/// Node 1 of the voters 1, 2 and 3; or an observer beside them.
fn node(votes: bool) -> MetadataNode {
    let disk = MemDisk::new();
    disk.create_dir(Path::new(LOG_DIR)).unwrap();
    let how = Format { voters: None, bootstrap: default_bootstrap_records() };
    format(&disk, Path::new(LOG_DIR), &how, 1).unwrap();
    open(&disk, votes)
}

fn open(disk: &MemDisk, votes: bool) -> MetadataNode {
    let ids = if votes { 1..=3 } else { 2..=4 };
    let options = MetadataOptions {
        votes,
        static_voters: Some(VoterSet::new(ids.map(|id| Voter { id, ..Voter::default() }).collect())),
        ..MetadataOptions::new(PathBuf::from(LOG_DIR), CLUSTER.to_owned(), 1, directory(1))
    };
    start(MetadataNode::open(disk.arc(), options).unwrap()).unwrap()
}

fn hear(node: &mut MetadataNode, epoch: i32, leader: i32) {
    let known = Known { error: ErrorCode::None, epoch, leader: Some(leader) };
    node.heard(&known, &mut present(&mut chance(1))).unwrap();
}

fn asked(node: &MetadataNode) -> (FetchFrom, FetchRequest) {
    match node.next_fetch() {
        Some((from, NextFetch::Records(request))) => (from, request),
        other => panic!("it asks for {other:?}"),
    }
}

fn answer(node: &mut MetadataNode, (from, request): (FetchFrom, FetchRequest), fetched: &Fetched) {
    node.fetch_answered(from, &request, fetched, &mut present(&mut chance(1))).unwrap();
}

/// What a leader answers; `high_watermark` is what it says of its own.
fn fetched(epoch: i32, leader: i32, high_watermark: i64, content: FetchedContent) -> Fetched {
    let known = Known { error: ErrorCode::None, epoch, leader: Some(leader) };
    Fetched { known, high_watermark, log_start_offset: 0, content }
}

fn batch(offset: i64, epoch: i32) -> FetchedContent {
    let record = ControlRecord::LeaderChange(LeaderChangeMessage { leader_id: epoch, ..Default::default() });
    FetchedContent::Records(control_batch(&[record], offset, epoch, 5).unwrap())
}

fn nothing() -> FetchedContent {
    FetchedContent::Records(Vec::new())
}

#[test]
fn a_refused_port_says_nothing_of_the_same_leader_in_a_later_epoch() {
    let mut node = node(false);
    hear(&mut node, 1, 2);
    // It was asked in epoch 1, ended, came back and was elected again before the refusal was heard of.
    hear(&mut node, 2, 2);
    node.leader_ended(2, 1, &mut present(&mut chance(1))).unwrap();
    assert_eq!(asked(&node).0, FetchFrom::Leader(2));
    node.leader_ended(2, 2, &mut present(&mut chance(1))).unwrap();
    assert_eq!(asked(&node).0, FetchFrom::Anybody);
}

#[test]
fn an_observer_believes_the_leader_itself_that_it_is_there() {
    let mut node = node(false);
    hear(&mut node, 1, 2);
    node.leader_ended(2, 1, &mut present(&mut chance(1))).unwrap();
    hear(&mut node, 1, 2);
    assert_eq!(asked(&node).0, FetchFrom::Anybody, "others may not know yet");
    let question = asked(&node);
    answer(&mut node, question, &fetched(1, 2, 0, nothing()));
    assert_eq!(asked(&node).0, FetchFrom::Leader(2));
}

#[test]
fn a_leader_that_says_it_leads_no_more_is_not_waited_for() {
    let mut node = node(true);
    hear(&mut node, 1, 2);
    let question = asked(&node);
    let known = Known { error: ErrorCode::NotLeaderOrFollower, epoch: 1, leader: None };
    answer(&mut node, question, &Fetched { known, ..fetched(1, 2, 0, nothing()) });
    assert_eq!((node.next_fetch(), node.quorum().leader()), (None, None));
    let messages = node.take_output().messages;
    assert!(messages.iter().all(|(_, message)| matches!(message, Outgoing::Vote(_))) && messages.len() == 2);
}

#[test]
fn an_answer_that_comes_twice_is_taken_once_though_the_log_ends_where_it_did() {
    let mut node = node(true);
    hear(&mut node, 1, 2);
    for offset in 0..2 {
        let question = asked(&node);
        answer(&mut node, question, &fetched(1, 2, 0, batch(offset, 1)));
    }
    hear(&mut node, 2, 3);
    let question = asked(&node);
    let diverging = fetched(2, 3, 2, FetchedContent::Diverging(LogEnd { epoch: 1, offset: 1 }));
    answer(&mut node, question, &diverging);
    assert_eq!((node.end_offset(), node.quorum().high_watermark()), (1, 0));
    let another = asked(&node);
    answer(&mut node, another, &fetched(2, 3, 2, batch(1, 2)));
    assert_eq!((node.end_offset(), node.quorum().high_watermark()), (2, 2));
    answer(&mut node, question, &diverging);
    assert_eq!((node.end_offset(), node.quorum().high_watermark()), (2, 2));
}

/// It fetched a snapshot that ends before its own log did, and was killed before it had cut that log.
#[test]
fn a_log_from_before_the_latest_snapshot_is_given_up_for_it() {
    let disk = MemDisk::new();
    disk.create_dir(Path::new(LOG_DIR)).unwrap();
    let mut follower = open(&disk, true);
    hear(&mut follower, 1, 2);
    for offset in 0..5 {
        let question = asked(&follower);
        answer(&mut follower, question, &fetched(1, 2, 0, batch(offset, 1)));
    }
    drop(follower);
    let id = SnapshotId { epoch: 2, end_offset: 3 };
    let quorum = QuorumRecords::default();
    let snapshot =
        encode_snapshot(default_bootstrap_records().into_iter(), MetadataVersion::LATEST, &quorum, id.epoch, 5, 5);
    disk.write_atomically(&Path::new(LOG_DIR).join(METADATA_DIR).join(id.file_name()), &snapshot, true).unwrap();
    let mut follower = open(&disk, true);
    hear(&mut follower, 2, 3);
    let (_, request) = asked(&follower);
    assert_eq!((request.offset, request.last_epoch, request.high_watermark), (3, 2, 3));
    let question = asked(&follower);
    answer(&mut follower, question, &fetched(2, 3, 4, batch(3, 2)));
    assert_eq!((follower.end_offset(), follower.quorum().high_watermark()), (4, 4));
}
