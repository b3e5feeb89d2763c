//! Requests that nobody in good order sends: that name the same thing more than once, or what cannot be.
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod common;

use common::{Decider, directory, heartbeat, refusal, registration, topic};
use metadata::controller::{
    AlterOp, AlterPartition, BrokerHeartbeat, BrokerRegistration, Command, ConfigChanges, FeatureUpdate, NewTopic,
    ReassignPartition, Reply, UpgradeType, bootstrap_records,
};
use metadata::image::{
    ConfigResource, ControllerRegistration, LeaderRecoveryState, MetadataVersion, SupportedFeature, TopicIdPartition,
};
use wire::ErrorCode;

fn key(cluster: &Decider, topic: &str) -> TopicIdPartition {
    TopicIdPartition { topic_id: cluster.image().topics.by_name(topic).unwrap().id, partition: 0 }
}

fn epoch(cluster: &Decider, broker: i32) -> i64 {
    cluster.image().cluster.broker(broker).unwrap().epoch
}

#[test]
fn an_isr_is_changed_once_and_the_second_proposal_is_late() {
    let mut cluster = Decider::new(&[]).with_brokers(3);
    cluster.create_one(NewTopic { assignments: vec![(0, vec![1, 2, 3])], ..topic("t", -1, -1) }).unwrap();
    let before = cluster.partition("t", 0);
    let proposal = |isr: &[i32]| AlterPartition {
        key: key(&cluster, "t"),
        leader_epoch: before.leader_epoch,
        partition_epoch: before.partition_epoch,
        new_isr: isr.iter().map(|id| (*id, -1)).collect(),
        leader_recovery_state: LeaderRecoveryState::Recovered,
    };
    let partitions = vec![proposal(&[1, 2]), proposal(&[1, 3]), proposal(&[1, 2])];
    let decided = cluster.records.len();
    let command = Command::AlterPartitions { broker_id: 1, broker_epoch: epoch(&cluster, 1), partitions };
    let Reply::AlterPartitions(Ok(results)) = cluster.ask(command) else { panic!() };
    let results: Vec<_> = results.into_iter().map(|altered| altered.result).collect();
    let after = cluster.partition("t", 0);
    assert_eq!((&*after.isr, after.partition_epoch), (&[1, 2][..], before.partition_epoch + 1));
    let late = || Err(ErrorCode::InvalidUpdateVersion);
    assert_eq!(results, [Ok(after), late(), late()]);
    assert_eq!(cluster.records.len(), decided + 1);
}

#[test]
fn a_replica_is_in_the_directory_that_was_named_last() {
    let mut cluster = Decider::new(&[]);
    let (first, second) = (directory(1), directory(2));
    let request = BrokerRegistration { log_dirs: vec![first, second], ..registration(1, 1) };
    let epoch = cluster.register(request).unwrap();
    cluster.beat(heartbeat(1, epoch)).unwrap();
    cluster.create_one(topic("t", 1, 1)).unwrap();
    let key = key(&cluster, "t");
    // In a directory that is gone it cannot lead; in the other it can.
    let assignments = vec![(directory(77), vec![key]), (first, vec![key]), (second, vec![key])];
    let command = Command::AssignReplicasToDirs { broker_id: 1, broker_epoch: epoch, assignments };
    let Reply::AssignReplicasToDirs(Ok(results)) = cluster.ask(command) else { panic!() };
    assert!(results.iter().all(|(.., result)| result.is_ok()), "{results:?}");
    let partition = cluster.partition("t", 0);
    assert_eq!((&*partition.directories, partition.leader, &*partition.isr), (&[second][..], 1, &[1][..]));
}

#[test]
fn a_reassignment_is_decided_on_what_the_one_before_it_made() {
    let mut cluster = Decider::new(&[]).with_brokers(3);
    cluster.create_one(NewTopic { assignments: vec![(0, vec![1])], ..topic("t", -1, -1) }).unwrap();
    let to = |replicas: Option<Vec<i32>>| ReassignPartition { topic: "t".to_owned(), partition: 0, replicas };
    let partitions = vec![to(Some(vec![2])), to(None), to(Some(vec![3]))];
    let command = Command::AlterPartitionReassignments { partitions, allow_replication_factor_change: true };
    let Reply::AlterPartitionReassignments(results) = cluster.ask(command) else { panic!() };
    assert!(results.iter().all(|(.., result)| result.is_ok()), "{results:?}");
    let partition = cluster.partition("t", 0);
    assert_eq!((&*partition.replicas, &*partition.adding_replicas), (&[3, 1][..], &[3][..]));
}

#[test]
fn of_a_features_levels_the_last_counts() {
    let mut cluster = Decider::new(&[]).with_brokers(1);
    let to = |level, upgrade| FeatureUpdate { feature: "group.version".to_owned(), level, upgrade };
    let down = UpgradeType::SafeDowngrade;
    let command = |updates| Command::UpdateFeatures { updates, kraft_version: 1, validate_only: false };
    let decided = cluster.records.len();
    let reply = cluster.ask(command(vec![to(0, down), to(1, UpgradeType::Upgrade)]));
    assert_eq!(reply, Reply::UpdateFeatures(Ok(())));
    assert_eq!(cluster.records.len(), decided, "it is at level 1 already");
    let reply = cluster.ask(command(vec![to(99, down), to(0, down)]));
    assert_eq!(reply, Reply::UpdateFeatures(Ok(())));
    assert_eq!((cluster.image().features.level("group.version"), cluster.records.len()), (0, decided + 1));
}

#[test]
fn a_directory_that_is_none_takes_nobody_out_of_the_isr() {
    let mut cluster = Decider::new(&[]).with_brokers(2);
    cluster.create_one(topic("t", 1, 2)).unwrap();
    let before = cluster.partition("t", 0);
    let assignments = vec![(metadata::image::directory::UNASSIGNED, vec![key(&cluster, "t")])];
    let command = Command::AssignReplicasToDirs { broker_id: 2, broker_epoch: epoch(&cluster, 2), assignments };
    let Reply::AssignReplicasToDirs(Ok(_)) = cluster.ask(command) else { panic!() };
    assert_eq!(cluster.partition("t", 0).isr, before.isr);
}

#[test]
fn a_level_without_directories_takes_none() {
    let mut cluster = Decider::bootstrapped(&[], &bootstrap_records(MetadataVersion(14), [])).with_brokers(2);
    cluster.create_one(topic("t", 1, 2)).unwrap();
    let (before, assignments) = (cluster.partition("t", 0), vec![(directory(2), vec![key(&cluster, "t")])]);
    let command = Command::AssignReplicasToDirs { broker_id: 2, broker_epoch: epoch(&cluster, 2), assignments };
    let Reply::AssignReplicasToDirs(result) = cluster.ask(command) else { panic!() };
    let text = "Directory assignment is not supported yet.".to_owned();
    assert_eq!(refusal(result), (ErrorCode::UnsupportedVersion, text));
    assert_eq!(cluster.partition("t", 0), before);
}

/// A list in one record is bounded by nothing but the request, and no batch takes more than 8 MiB.
#[test]
fn registrations_of_boundless_lists_are_refused() {
    let mut cluster = Decider::new(&[]);
    let decided = cluster.records.len();
    let feature = registration(1, 1).features[0].clone();
    let features = vec![SupportedFeature { name: "x".repeat(30_000), ..feature }; 300];
    let mut broker = registration(1, 1);
    broker.features.extend(features.clone());
    assert_eq!(cluster.register(broker).unwrap_err().code, ErrorCode::PolicyViolation);
    let controller = ControllerRegistration {
        id: 1,
        incarnation_id: directory(1),
        zk_migration_ready: false,
        endpoints: Vec::new(),
        features,
    };
    let Reply::RegisterController(result) = cluster.ask(Command::RegisterController(controller)) else { panic!() };
    assert_eq!(result.unwrap_err().code, ErrorCode::PolicyViolation);
    let log_dirs = (1..=1_001).map(directory).collect();
    let refused = cluster.register(BrokerRegistration { log_dirs, ..registration(1, 1) });
    assert_eq!(refusal(refused).0, ErrorCode::InvalidRegistration);
    assert_eq!(cluster.records.len(), decided);
    assert!(cluster.register(registration(1, 1)).is_ok());
}

#[test]
fn a_directory_is_cordoned_once_however_often_it_is_named() {
    let mut cluster = Decider::new(&[]).with_brokers(1);
    let cordoned = |cluster: &Decider| cluster.image().cluster.broker(1).unwrap().cordoned_log_dirs.clone();
    let beat = heartbeat(1, epoch(&cluster, 1));
    let repeated = vec![directory(1); 1_000_000];
    cluster.beat(BrokerHeartbeat { cordoned_log_dirs: Some(repeated.clone()), ..beat.clone() }).unwrap();
    assert_eq!(cordoned(&cluster), [directory(1)]);
    let decided = cluster.records.len();
    cluster.beat(BrokerHeartbeat { cordoned_log_dirs: Some(repeated), ..beat }).unwrap();
    assert_eq!(cluster.records.len(), decided);
}

#[test]
fn a_list_has_each_value_once_and_loses_it_once_for_each_time_it_is_named() {
    let mut cluster = Decider::new(&[]).with_brokers(1);
    cluster.create_one(topic("t", 1, 1)).unwrap();
    const KEY: &str = "leader.replication.throttled.replicas";
    for (op, operand, expected) in [
        (AlterOp::Append, "0:1,1:1,0:1", "0:1,1:1"),
        (AlterOp::Append, "1:1,2:1", "0:1,1:1,2:1"),
        (AlterOp::Set, "0:1,1:1,0:1,0:1", "0:1,1:1,0:1,0:1"),
        (AlterOp::Subtract, "0:1,7:7,0:1", "1:1,0:1"),
    ] {
        let changes = vec![(KEY.to_owned(), op, Some(operand.to_owned()))];
        let changes = ConfigChanges { resource: ConfigResource::topic("t"), changes };
        cluster.ask(Command::IncrementalAlterConfigs { resources: vec![changes], validate_only: false });
        let image = cluster.image();
        assert_eq!(image.configs.value(&ConfigResource::topic("t"), KEY), Some(expected), "{op:?} {operand}");
    }
}
