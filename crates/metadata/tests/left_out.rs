//! What records leave out, and what they say by being empty: as Apache Kafka replays them.
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod common;

use common::{Decider, directory, topic};
use metadata::image::{Delta, directory::MIGRATING};
use wire::messages::{BrokerRegistrationChangeRecord, MetadataRecord, PartitionChangeRecord};

#[test]
fn a_change_without_directories_keeps_them_and_one_with_none_forgets_them() {
    let mut cluster = Decider::new(&[]).with_brokers(2);
    cluster.create_one(topic("t", 1, 2)).unwrap();
    let partition = cluster.partition("t", 0);
    let kept = partition.merge(&PartitionChangeRecord::default()).unwrap();
    assert_eq!(kept.directories, partition.directories);
    let none = PartitionChangeRecord { directories: Some(Vec::new().into()), ..Default::default() };
    assert_eq!(*partition.merge(&none).unwrap().directories, [MIGRATING; 2]);
    let one = PartitionChangeRecord { directories: Some(vec![directory(1)].into()), ..Default::default() };
    assert!(partition.merge(&one).is_err(), "there are two replicas");
}

/// No record can say that a broker has no directory left: the field has no null, and left out it is empty.
#[test]
fn a_change_of_a_broker_without_directories_keeps_them() {
    let cluster = Decider::new(&[]).with_brokers(1);
    let mut image = (*cluster.image()).clone();
    let before = image.cluster.broker(1).unwrap().clone();
    let change = BrokerRegistrationChangeRecord {
        broker_id: 1,
        broker_epoch: before.epoch,
        in_controlled_shutdown: 1,
        ..Default::default()
    };
    let offset = image.offset + 1;
    image.replay(offset, &MetadataRecord::BrokerRegistrationChange(change), &mut Delta::default()).unwrap();
    let after = image.cluster.broker(1).unwrap();
    assert_eq!((&after.log_dirs, after.in_controlled_shutdown), (&before.log_dirs, true));
}
