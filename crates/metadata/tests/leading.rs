//! A node that leads others: what is committed while they have a part of what it decided.
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod common;

use std::ops::Range;
use std::path::{Path, PathBuf};

use common::{CLUSTER, chance, directory, present, start};
use metadata::controller::{AlterOp, Command, ConfigChanges, default_bootstrap_records};
use metadata::image::{ConfigResource, Image};
use metadata::quorum::{
    FetchRequest, FetchedContent, Format, Known, MetadataNode, MetadataOptions, Opened, Outgoing, Present, ReplicaKey,
    VoteReply, Voter, VoterSet, format,
};
use storage::Disk;
use storage::testing::MemDisk;
use wire::ErrorCode;
use wire::records::batches;

const LOG_DIR: &str = "/data";

/// Node 1 of the voters 1, 2 and 3, before it starts.
fn opened(disk: &MemDisk) -> Opened {
    let options = MetadataOptions {
        static_voters: Some(VoterSet::new((1..=3).map(|id| Voter { id, ..Voter::default() }).collect())),
        ..MetadataOptions::new(PathBuf::from(LOG_DIR), CLUSTER.to_owned(), 1, directory(1))
    };
    MetadataNode::open(disk.arc(), options).unwrap()
}

/// Gives the node the vote of voter 2 whenever it asks, until it leads.
fn elect(node: &mut MetadataNode) {
    let mut random = chance(1);
    let mut later = Present { wall_ms: 1_000, steady_ms: 60_000, random: &mut random };
    node.tick(&mut later).unwrap();
    while !node.quorum().is_leader() {
        for (to, message) in node.take_output().messages {
            let Outgoing::Vote(request) = message else { continue };
            let known = Known { error: ErrorCode::None, epoch: request.epoch, leader: None };
            let reply = VoteReply { granted: true, known };
            if to.id == 2 {
                node.vote_answered(2, &request, &reply, &mut later).unwrap();
            }
        }
    }
    node.sync(&mut later).unwrap();
}

/// Voter 2 asks for what comes at `offset`, so that it has everything before. Returns where the answer's first batch ends.
fn fetch(node: &mut MetadataNode, offset: i64) -> Option<i64> {
    let request = FetchRequest {
        replica: ReplicaKey { id: 2, directory_id: directory(2) },
        current_epoch: node.epoch(),
        offset,
        last_epoch: if offset == 0 { 0 } else { node.epoch() },
        high_watermark: i64::MAX,
        max_bytes: 1,
    };
    let fetched = node.fetch(&request, &mut present(&mut chance(1))).unwrap()?;
    let FetchedContent::Records(bytes) = fetched.content else { panic!("{fetched:?}") };
    let first = batches(&bytes).next()?.unwrap();
    Some(first.next_offset())
}

fn committed(disk: &MemDisk) -> Image {
    opened(disk).image().clone()
}

/// What is decided together may take several batches of the log, and a majority may have the first of them only.
#[test]
fn a_snapshot_has_everything_before_its_end_also_where_half_of_what_was_decided_is_committed() {
    let disk = MemDisk::new();
    disk.create_dir(Path::new(LOG_DIR)).unwrap();
    let how = Format { voters: None, bootstrap: default_bootstrap_records() };
    format(&disk, Path::new(LOG_DIR), &how, 1).unwrap();
    let mut node = start(opened(&disk)).unwrap();
    elect(&mut node);
    let mut end = 0;
    while let Some(next) = fetch(&mut node, end) {
        end = next;
        node.sync(&mut present(&mut chance(1))).unwrap();
    }
    assert!(node.is_active() && node.quorum().high_watermark() == end);

    let set = |n: i32| (format!("plugin.setting.{n}"), AlterOp::Set, Some("x".repeat(32_000)));
    let command = |settings: Range<i32>| {
        let changes =
            ConfigChanges { resource: ConfigResource::default_broker(), changes: settings.map(set).collect() };
        Command::IncrementalAlterConfigs { resources: vec![changes], validate_only: false }
    };
    common::submit(&mut node, [command(0..200), command(200..400)], &mut chance(1)).unwrap();
    node.sync(&mut present(&mut chance(1))).unwrap();
    let middle = fetch(&mut node, end).unwrap();
    assert!(fetch(&mut node, middle).is_some(), "there is a second batch");
    assert_eq!(node.quorum().high_watermark(), middle);

    let id = node.snapshot_now(1_000).unwrap().run().unwrap();
    let with_snapshot = committed(&disk);
    disk.remove_file(&node.log().dir().join(id.file_name())).unwrap();
    assert!(with_snapshot == committed(&disk), "the snapshot at {id} lacks what is committed before {middle}");
}
