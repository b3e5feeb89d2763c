//! What the tests of this crate share.
#![allow(dead_code)] // each test uses a part of it
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

use std::path::Path;

use metadata::controller::{BrokerHeartbeat, BrokerRegistration, Command, NewTopic, Reply};
use metadata::image::features::SUPPORTED;
use metadata::image::{Endpoint, SupportedFeature};
use metadata::quorum::MetadataNode;
use wire::Uuid;

pub const CLUSTER: &str = "4L6g3nShT-eMCtK--X86sw";

/// Numbers that look random and are the same in each run.
pub fn chance(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

pub fn directory(n: u128) -> Uuid {
    Uuid::from_u128(n << 64 | 1 << 32)
}

pub fn registration(broker_id: i32, incarnation: u128) -> BrokerRegistration {
    BrokerRegistration {
        broker_id,
        cluster_id: CLUSTER.to_owned(),
        incarnation_id: Uuid::from_u128(incarnation),
        endpoints: vec![Endpoint {
            name: "PLAINTEXT".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 9092,
            security_protocol: 0,
        }],
        features: SUPPORTED
            .iter()
            .map(|(name, min, max)| SupportedFeature { name: (*name).to_owned(), min: *min, max: *max })
            .collect(),
        rack: None,
        is_migrating_zk_broker: false,
        log_dirs: vec![directory(broker_id as u128)],
        previous_broker_epoch: -1,
    }
}

pub fn topic(name: &str, num_partitions: i32, replication_factor: i16) -> NewTopic {
    NewTopic { name: name.to_owned(), num_partitions, replication_factor, ..NewTopic::default() }
}

pub fn create(topics: Vec<NewTopic>) -> Command {
    Command::CreateTopics { topics, validate_only: false }
}

pub fn heartbeat(broker_id: i32, broker_epoch: i64) -> BrokerHeartbeat {
    BrokerHeartbeat { broker_id, broker_epoch, current_metadata_offset: i64::MAX, ..BrokerHeartbeat::default() }
}

/// Submits commands one by one, syncs, and returns their replies.
pub fn run(node: &mut MetadataNode, commands: Vec<Command>) -> Vec<Reply> {
    let mut random = chance(7);
    let mut replies = Vec::new();
    for command in commands {
        node.submit([command], 1_000, &mut random).unwrap();
        replies.extend(node.sync().unwrap().into_iter().flat_map(|batch| batch.replies));
    }
    replies
}

/// Copies a directory with everything in it.
pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file below a directory with its bytes.
pub fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(contents(&entry.path()));
        } else {
            files.push((entry.path().display().to_string(), std::fs::read(entry.path()).unwrap()));
        }
    }
    files.sort();
    files
}
