//! What must hold after any commands in any order.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a helper that fails fails its test and shows its seed

mod common;

use std::collections::BTreeSet;

use common::commands::{below, command};
use common::{Decider, chance};
use metadata::controller::Command;
use metadata::image::features::METADATA_VERSION;
use metadata::image::{Delta, Image, MetadataVersion, NO_LEADER, Partition};
use metadata::quorum::{Content, QuorumRecords, decode_snapshot, encode_record, encode_snapshot};
use wire::messages::{FeatureLevelRecord, MetadataRecord};

const SEEDS: u64 = 150;
const BATCHES: usize = 40;

/// Runs random batches of commands and hands the image before, the delta and the image after each to `check`.
fn each_batch(seed: u64, check: impl FnMut(&Image, &Delta, &Image, &Decider)) -> Decider {
    println!("seed {seed}");
    each_batch_of(Decider::new(&[]), seed, check)
}

fn each_batch_of(cluster: Decider, seed: u64, mut check: impl FnMut(&Image, &Delta, &Image, &Decider)) -> Decider {
    let mut random = chance(seed);
    let mut cluster = cluster.with_brokers(2);
    for _ in 0..BATCHES {
        cluster.now_ms += below(&mut random, 4_000) as i64;
        let before = cluster.image();
        let commands: Vec<Command> = (0..1 + below(&mut random, 4)).map(|_| command(&before, &mut random)).collect();
        let (delta, _) = cluster.ask_all(commands);
        check(&before, &delta, &cluster.image(), &cluster);
    }
    cluster
}

#[test]
fn replaying_the_records_from_nothing_gives_the_live_state() {
    for seed in 0..SEEDS {
        let cluster = each_batch(seed, |_, _, _, _| {});
        let version = cluster.image().metadata_version();
        let mut image = Image::default();
        for (offset, record) in (0..).zip(&cluster.records) {
            let bytes = encode_record(record, version);
            let read = MetadataRecord::decode_value(&bytes).unwrap();
            assert_eq!(&read, record);
            image.replay(offset, &read, &mut Delta::default()).unwrap();
        }
        assert_eq!(image, *cluster.image());
    }
}

#[test]
fn a_cluster_of_any_version_since_3_3_is_written_in_records_that_it_reads() {
    for level in MetadataVersion::MINIMUM.level()..=MetadataVersion::LATEST.level() {
        println!("metadata.version {level}");
        let feature = FeatureLevelRecord { name: METADATA_VERSION.into(), feature_level: level };
        let bootstrap = [MetadataRecord::FeatureLevel(feature)];
        for seed in 0..4 {
            let cluster = each_batch_of(Decider::bootstrapped(&[], &bootstrap), seed, |_, _, _, _| {});
            let live = cluster.image();
            assert_eq!(live.metadata_version().level(), level);
            let mut image = Image::default();
            for (offset, record) in (0..).zip(&cluster.records) {
                let bytes = encode_record(record, live.metadata_version());
                let read = MetadataRecord::decode_value(&bytes).unwrap();
                image.replay(offset, &read, &mut Delta::default()).unwrap();
            }
            assert_eq!(image, *live);
        }
    }
}

#[test]
fn damaged_records_are_errors_and_never_panics() {
    let mut random = chance(5);
    let mut refused = 0;
    for seed in 0..40 {
        let cluster = each_batch(seed, |_, _, _, _| {});
        let version = cluster.image().metadata_version();
        let mut image = Image::default();
        for (offset, record) in (0..).zip(&cluster.records) {
            let mut bytes = encode_record(record, version);
            if below(&mut random, 8) == 0 {
                let at = below(&mut random, bytes.len() as u64) as usize;
                bytes[at] = below(&mut random, 256) as u8;
            }
            let before = image.clone();
            let applied = MetadataRecord::decode_value(&bytes)
                .is_ok_and(|read| image.replay(offset, &read, &mut Delta::default()).is_ok());
            if !applied {
                // A log with such a record is refused; here the rest is tried on what was before.
                image = before;
                refused += 1;
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn a_snapshot_gives_back_the_image() {
    for seed in 0..SEEDS {
        let cluster = each_batch(seed, |_, _, _, _| {});
        let image = cluster.image();
        let version = image.metadata_version();
        let bytes = encode_snapshot(image.to_records(), version, &QuorumRecords::default(), 3, 5, 7);
        let mut loaded = Image::default();
        let mut feed = |content: Content<'_>| match content {
            Content::Data(record) => {
                loaded.replay(0, &record, &mut Delta::default()).map_err(|error| error.to_string())
            }
            Content::Control(_) => Ok(()),
        };
        decode_snapshot(&bytes, &mut feed).unwrap();
        assert_eq!(loaded, *image);
        for length in [0, 1, bytes.len() / 2, bytes.len() - 75, bytes.len() - 1] {
            assert!(decode_snapshot(&bytes[..length], &mut |_| Ok(())).is_err(), "{length} of {}", bytes.len());
        }
    }
}

#[test]
fn whatever_differs_is_named_by_the_delta() {
    for seed in 0..SEEDS {
        each_batch(seed, |before, delta, after, _| {
            for topic in after.topics.iter() {
                let old = before.topics.get(topic.id);
                let named = delta.topics.get(&topic.id);
                assert_eq!(named.is_some_and(|named| named.created), old.is_none());
                for (id, partition) in &topic.partitions {
                    if old.and_then(|old| old.partition(*id)) != Some(partition) {
                        assert!(named.unwrap().partitions.contains(id));
                    }
                }
            }
            let gone = before.topics.iter().filter(|topic| after.topics.get(topic.id).is_none());
            assert_eq!(gone.map(|topic| topic.id).collect::<Vec<_>>().len(), delta.removed_topics.len());
            for broker in before.cluster.brokers().chain(after.cluster.brokers()) {
                if before.cluster.broker(broker.id) != after.cluster.broker(broker.id) {
                    assert!(delta.brokers.contains(&broker.id));
                }
            }
            for (resource, settings) in before.configs.iter().chain(after.configs.iter()) {
                let same = before.configs.get(resource) == after.configs.get(resource);
                assert!(same || delta.configs.contains(resource), "{settings:?}");
            }
        });
    }
}

/// ISR and ELR are disjoint subsets of the replicas; the leader is in sync, up, and the only one recovering.
fn check_partition(image: &Image, partition: &Partition) {
    let set = |ids: &[i32]| ids.iter().copied().collect::<BTreeSet<i32>>();
    let (replicas, isr, elr) = (set(&partition.replicas), set(&partition.isr), set(&partition.elr));
    assert_eq!(isr.len(), partition.isr.len());
    assert_eq!(elr.len(), partition.elr.len());
    assert!(isr.is_subset(&replicas) && elr.is_subset(&replicas) && isr.is_disjoint(&elr), "{partition:?}");
    assert_eq!(partition.directories.len(), partition.replicas.len());
    if partition.leader == NO_LEADER {
        assert!(isr.is_empty(), "{partition:?}");
    } else {
        assert!(isr.contains(&partition.leader), "{partition:?}");
        let broker = image.cluster.broker(partition.leader).unwrap();
        assert!(!broker.fenced, "{partition:?}");
        assert!(broker.has_online_dir(partition.directory_of(broker.id).unwrap()));
        assert!(partition.last_known_elr.is_empty(), "{partition:?}");
    }
}

#[test]
fn every_partition_is_led_by_a_live_member_of_its_isr_or_by_nobody() {
    for seed in 0..SEEDS {
        each_batch(seed, |_, _, after, _| {
            let mut count = 0;
            for topic in after.topics.iter() {
                for (id, partition) in &topic.partitions {
                    check_partition(after, partition);
                    let key = metadata::image::TopicIdPartition { topic_id: topic.id, partition: *id };
                    for broker in &partition.isr {
                        assert!(after.topics.with_broker_in_isr(*broker).any(|found| found == key));
                    }
                    assert!(after.topics.led_by(partition.leader).any(|found| found == key));
                    count += 1;
                }
            }
            assert_eq!(after.topics.partition_count(), count);
            let indexed: usize = (-1..=4).map(|id| after.topics.led_by(id).count()).sum();
            assert_eq!(indexed, count);
        });
    }
}

#[test]
fn epochs_of_a_partition_grow_with_what_they_count() {
    for seed in 0..SEEDS {
        each_batch(seed, |before, _, after, _| {
            for topic in after.topics.iter() {
                let Some(old_topic) = before.topics.get(topic.id) else { continue };
                for (id, old) in &old_topic.partitions {
                    let new = topic.partition(*id).unwrap();
                    assert!(new.leader_epoch >= old.leader_epoch && new.partition_epoch >= old.partition_epoch);
                    assert!(new.leader == old.leader || new.leader_epoch > old.leader_epoch);
                    assert!(new == old || new.partition_epoch > old.partition_epoch);
                }
            }
        });
    }
}
