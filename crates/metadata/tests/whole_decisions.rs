//! A decision is in the log as a whole or not at all, and as it was decided.
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod common;

use std::path::{Path, PathBuf};

use common::{CLUSTER, chance, directory, heartbeat, registration, run, start, submit, sync};
use metadata::controller::{
    AlterOp, Command, ConfigChanges, FeatureUpdate, Reply, UpgradeType, bootstrap_records, default_bootstrap_records,
};
use metadata::image::features::METADATA_VERSION;
use metadata::image::{ConfigResource, MetadataVersion, ResourceKind};
use metadata::quorum::{BATCH_SIZE_MAX, Format, MetadataNode, MetadataOptions, Voter, VoterEndpoint, VoterSet, format};
use storage::Disk;
use storage::testing::MemDisk;
use wire::ErrorCode;
use wire::messages::MetadataRecord;

const LOG_DIR: &str = "/data";
const SEGMENT: &str = "/data/__cluster_metadata-0/00000000000000000000.log";

fn formatted(bootstrap: Vec<MetadataRecord<'static>>) -> MemDisk {
    let disk = MemDisk::new();
    let endpoint = VoterEndpoint { name: "CONTROLLER".to_owned(), host: "localhost".to_owned(), port: 9093 };
    let voter = Voter { id: 1, directory_id: directory(1), endpoints: vec![endpoint] };
    disk.create_dir(Path::new(LOG_DIR)).unwrap();
    let how = Format { voters: Some(VoterSet::new(vec![voter])), bootstrap };
    format(&disk, Path::new(LOG_DIR), &how, 1).unwrap();
    disk
}

fn open(disk: &MemDisk) -> MetadataNode {
    let options = MetadataOptions::new(PathBuf::from(LOG_DIR), CLUSTER.to_owned(), 1, directory(1));
    start(MetadataNode::open(disk.arc(), options).unwrap()).unwrap()
}

/// Settings of so many resources, 30,000 bytes each.
fn settings(name: &str, count: usize) -> Command {
    let resources = (0..count).map(|n| ConfigChanges {
        resource: ConfigResource::new(ResourceKind::ClientMetrics, &format!("{name}-{n}")),
        changes: vec![("metrics".to_owned(), AlterOp::Set, Some("m".repeat(30_000)))],
    });
    Command::IncrementalAlterConfigs { resources: resources.collect(), validate_only: false }
}

fn altered(reply: Reply) -> Vec<ErrorCode> {
    let Reply::IncrementalAlterConfigs(results) = reply else { panic!("an answer to something else: {reply:?}") };
    results.into_iter().map(|(_, result)| result.err().map_or(ErrorCode::None, |refusal| refusal.code)).collect()
}

#[test]
fn what_does_not_fit_into_one_batch_is_refused_as_a_whole() {
    let mut node = open(&formatted(default_bootstrap_records()));
    let end_offset = node.end_offset();
    let too_many = BATCH_SIZE_MAX / 30_000 + 1;
    let reply = run(&mut node, vec![settings("s", too_many)]).remove(0);
    assert_eq!(altered(reply.clone()), vec![ErrorCode::PolicyViolation; too_many]);
    let Reply::IncrementalAlterConfigs(results) = reply else { panic!() };
    let text = results[0].1.as_ref().unwrap_err().message.clone();
    assert_eq!(text.as_deref(), Some("Unable to perform excessively large batch operation."));
    assert_eq!(node.end_offset(), end_offset);

    let reply = run(&mut node, vec![settings("s", too_many - 2)]).remove(0);
    assert_eq!(altered(reply), vec![ErrorCode::None; too_many - 2]);
}

#[test]
fn no_batch_ends_within_a_decision() {
    let disk = formatted(default_bootstrap_records());
    let mut node = open(&disk);
    let before = node.end_offset();
    let count = BATCH_SIZE_MAX * 5 / 8 / 30_000;
    submit(&mut node, ["a", "b", "c"].map(|name| settings(name, count)), &mut chance(1)).unwrap();
    sync(&mut node).unwrap();
    let bytes = disk.bytes(Path::new(SEGMENT)).unwrap();
    let ends = wire::records::batches(&bytes).map(|batch| batch.unwrap().next_offset());
    let decided: Vec<i64> = (1..=3).map(|n| before + n * count as i64).collect();
    assert_eq!(ends.filter(|end| *end > before).collect::<Vec<_>>(), decided);
}

#[test]
fn what_is_decided_on_a_new_level_is_written_at_it() {
    let old = MetadataVersion(14);
    assert!(!old.has_directories() && MetadataVersion::LATEST.has_directories());
    let disk = formatted(bootstrap_records(old, []));
    let mut node = open(&disk);
    let Some(Reply::RegisterBroker(Ok(epoch))) =
        run(&mut node, vec![Command::RegisterBroker(registration(1, 1))]).pop()
    else {
        panic!("the broker registers")
    };
    run(&mut node, vec![Command::Heartbeat(heartbeat(1, epoch))]);
    let level = MetadataVersion::LATEST.level();
    let update = FeatureUpdate { feature: METADATA_VERSION.to_owned(), level, upgrade: UpgradeType::Upgrade };
    let upgrade = Command::UpdateFeatures { updates: vec![update], kraft_version: 1, validate_only: false };
    // The second is decided before the first is committed.
    submit(&mut node, [upgrade, Command::RegisterBroker(registration(2, 2))], &mut chance(1)).unwrap();
    let replies: Vec<Reply> = sync(&mut node).unwrap().into_iter().flat_map(|batch| batch.replies).collect();
    assert_eq!(replies[0], Reply::UpdateFeatures(Ok(())));
    let image = node.image().clone();
    assert_eq!(image.cluster.broker(2).unwrap().log_dirs, [directory(2)]);
    drop(node);
    assert_eq!(**open(&disk).image(), *image);
}
