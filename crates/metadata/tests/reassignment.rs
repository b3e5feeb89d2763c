//! Moving replicas: from the request to the end that the leader's AlterPartition brings.
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod common;

use common::{Decider, directory, refusal, registration, topic};
use metadata::controller::{
    AlterPartition, BrokerHeartbeat, BrokerRegistration, Command, ElectionType, NewTopic, ReassignPartition, Refusal,
    Reply, partition_reassignments,
};
use metadata::image::{LeaderRecoveryState, Partition, TopicIdPartition};
use wire::ErrorCode;

/// Five brokers, and topic t with one partition on these.
fn cluster(replicas: &[i32]) -> Decider {
    let mut cluster = Decider::new(&[]).with_brokers(5);
    cluster.create_one(NewTopic { assignments: vec![(0, replicas.to_vec())], ..topic("t", -1, -1) }).unwrap();
    cluster
}

fn wanted(replicas: Option<&[i32]>) -> ReassignPartition {
    ReassignPartition { topic: "t".to_owned(), partition: 0, replicas: replicas.map(<[i32]>::to_vec) }
}

fn reassign(cluster: &mut Decider, partitions: Vec<ReassignPartition>) -> Vec<Result<(), Refusal>> {
    let command = Command::AlterPartitionReassignments { partitions, allow_replication_factor_change: true };
    let Reply::AlterPartitionReassignments(results) = cluster.ask(command) else { panic!() };
    results.into_iter().map(|(_, _, result)| result).collect()
}

/// The leader says who is in sync.
fn in_sync(cluster: &mut Decider, isr: &[i32]) -> Result<Partition, ErrorCode> {
    let image = cluster.image();
    let key = TopicIdPartition { topic_id: image.topics.by_name("t").unwrap().id, partition: 0 };
    let partition = cluster.partition("t", 0);
    let proposal = AlterPartition {
        key,
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        new_isr: isr.iter().map(|id| (*id, -1)).collect(),
        leader_recovery_state: LeaderRecoveryState::Recovered,
    };
    let broker_epoch = image.cluster.broker(partition.leader).unwrap().epoch;
    let command = Command::AlterPartitions { broker_id: partition.leader, broker_epoch, partitions: vec![proposal] };
    let Reply::AlterPartitions(Ok(mut results)) = cluster.ask(command) else { panic!() };
    results.remove(0).result
}

/// Replicas, ISR, adding, removing, leader.
type Seen = (Vec<i32>, Vec<i32>, Vec<i32>, Vec<i32>, i32);

fn seen(cluster: &Decider) -> Seen {
    let p = cluster.partition("t", 0);
    let all = [&p.replicas, &p.isr, &p.adding_replicas, &p.removing_replicas].map(|ids| ids.to_vec());
    let [replicas, isr, adding, removing] = all;
    (replicas, isr, adding, removing, p.leader)
}

#[test]
fn replicas_move_when_all_that_stay_are_in_sync() {
    let mut cluster = cluster(&[1, 2, 3]);
    assert_eq!(reassign(&mut cluster, vec![wanted(Some(&[3, 4, 5]))]), [Ok(())]);
    assert_eq!(seen(&cluster), (vec![3, 4, 5, 1, 2], vec![1, 2, 3], vec![4, 5], vec![1, 2], 1));
    let image = cluster.image();
    assert_eq!(partition_reassignments(&image, None).len(), 1);
    assert_eq!(
        partition_reassignments(&image, Some(&[("t".to_owned(), vec![0, 7]), ("u".to_owned(), vec![0])])).len(),
        1
    );
    assert!(partition_reassignments(&image, Some(&[("t".to_owned(), vec![1])])).is_empty());
    assert_eq!(*in_sync(&mut cluster, &[1, 2, 3, 4]).unwrap().isr, [1, 2, 3, 4]);
    // The leader goes with this one: it is told to look at the metadata.
    assert_eq!(in_sync(&mut cluster, &[1, 2, 3, 4, 5]), Err(ErrorCode::NewLeaderElected));
    assert_eq!(seen(&cluster), (vec![3, 4, 5], vec![3, 4, 5], vec![], vec![], 3));
    assert_eq!(cluster.partition("t", 0).leader_epoch, 1);
    assert!(partition_reassignments(&cluster.image(), None).is_empty());
}

#[test]
fn fewer_replicas_and_another_order_are_there_at_once() {
    let mut cluster = cluster(&[1, 2, 3]);
    assert_eq!(reassign(&mut cluster, vec![wanted(Some(&[2, 1]))]), [Ok(())]);
    assert_eq!(seen(&cluster), (vec![2, 1], vec![1, 2], vec![], vec![], 1));
    let before = cluster.partition("t", 0);
    assert_eq!(reassign(&mut cluster, vec![wanted(Some(&[2, 1]))]), [Ok(())]);
    assert_eq!(cluster.partition("t", 0), before, "the same once more changes nothing");
}

#[test]
fn a_reassignment_can_be_taken_back_and_replaced() {
    let mut cluster = cluster(&[1, 2]);
    let none = Refusal::with_default_text(ErrorCode::NoReassignmentInProgress);
    assert_eq!(reassign(&mut cluster, vec![wanted(None)]), [Err(none.clone())]);
    reassign(&mut cluster, vec![wanted(Some(&[3, 4]))]);
    in_sync(&mut cluster, &[1, 2, 3]).unwrap();
    // What comes instead keeps in mind which replicas are new, and drops what was new and has nothing yet.
    assert_eq!(reassign(&mut cluster, vec![wanted(Some(&[3, 1, 5]))]), [Ok(())]);
    assert_eq!(seen(&cluster), (vec![3, 1, 5, 2], vec![1, 2, 3], vec![3, 5], vec![2], 1));
    assert_eq!(reassign(&mut cluster, vec![wanted(None)]), [Ok(())]);
    assert_eq!(seen(&cluster), (vec![1, 2], vec![1, 2], vec![], vec![], 1));
    assert_eq!(reassign(&mut cluster, vec![wanted(None)]), [Err(none)]);
}

#[test]
fn twice_in_one_request_is_as_one_after_the_other() {
    let mut cluster = cluster(&[1, 2]);
    let both = vec![wanted(Some(&[3, 4])), wanted(Some(&[1, 5]))];
    assert_eq!(reassign(&mut cluster, both), [Ok(()), Ok(())]);
    assert_eq!(seen(&cluster), (vec![1, 5, 2], vec![1, 2], vec![5], vec![2], 1));
    assert_eq!(reassign(&mut cluster, vec![wanted(None)]), [Ok(())]);
    assert_eq!(seen(&cluster).0, [1, 2]);
}

#[test]
fn going_back_is_refused_when_it_would_lose_what_was_acknowledged() {
    let mut cluster = cluster(&[1, 2]);
    reassign(&mut cluster, vec![wanted(Some(&[3, 4]))]);
    in_sync(&mut cluster, &[1, 2, 3]).unwrap();
    // Brokers 1 and 2 end; 3 alone is in sync.
    for id in [1, 2] {
        let broker_epoch = cluster.image().cluster.broker(id).unwrap().epoch;
        cluster.ask(Command::BrokerGone { broker_id: id, broker_epoch });
    }
    assert_eq!((seen(&cluster).1, seen(&cluster).4), (vec![3], 3));
    let refused = refusal(reassign(&mut cluster, vec![wanted(None)]).remove(0));
    let text = "Unable to revert partition assignment for t:0 because it would require an unclean leader election.";
    assert_eq!(refused, (ErrorCode::InvalidReplicaAssignment, text.to_owned()));
}

/// Replica 3 came with a reassignment and is alone in sync; 2, of the old ones, is up, without its directory.
fn only_a_new_replica_can_lead(setting: (&str, &str)) -> Decider {
    let configs = vec![(setting.0.to_owned(), Some(setting.1.to_owned()))];
    let mut cluster = Decider::new(&[]).with_brokers(5);
    cluster.create_one(NewTopic { assignments: vec![(0, vec![1, 2])], configs, ..topic("t", -1, -1) }).unwrap();
    let registration = BrokerRegistration { log_dirs: vec![directory(2), directory(102)], ..registration(2, 2) };
    let current_metadata_offset = cluster.image().offset;
    let epoch = |cluster: &Decider, id| cluster.image().cluster.broker(id).unwrap().epoch;
    cluster.ask(Command::RegisterBroker(registration));
    reassign(&mut cluster, vec![wanted(Some(&[3, 4]))]);
    in_sync(&mut cluster, &[1, 2, 3]).unwrap();
    let broker_epoch = epoch(&cluster, 1);
    cluster.ask(Command::BrokerGone { broker_id: 1, broker_epoch });
    let known = BrokerHeartbeat { current_metadata_offset, ..common::heartbeat(2, epoch(&cluster, 2)) };
    cluster.beat(BrokerHeartbeat { offline_log_dirs: vec![directory(2)], ..known }).unwrap();
    assert!(cluster.image().cluster.is_active(2));
    assert_eq!((seen(&cluster).1, seen(&cluster).4), (vec![3], 3));
    cluster
}

#[test]
fn going_back_is_refused_where_an_eligible_replica_has_no_directory() {
    let mut cluster = only_a_new_replica_can_lead(("min.insync.replicas", "2"));
    let before = cluster.partition("t", 0);
    assert_eq!(*before.elr, [2], "the case is the one that is meant");
    let refused = refusal(reassign(&mut cluster, vec![wanted(None)]).remove(0));
    let text = "Unable to revert partition assignment for t:0 because it would require an unclean leader election.";
    assert_eq!(refused, (ErrorCode::InvalidReplicaAssignment, text.to_owned()));
    assert_eq!(cluster.partition("t", 0), before);
}

#[test]
fn going_back_is_refused_where_not_even_an_unclean_election_finds_a_leader() {
    let mut cluster = only_a_new_replica_can_lead(("unclean.leader.election.enable", "true"));
    let before = cluster.partition("t", 0);
    let refused = refusal(reassign(&mut cluster, vec![wanted(None)]).remove(0));
    let text = "Unable to revert partition assignment for t:0 because none of the replicas that would stay is online.";
    assert_eq!(refused, (ErrorCode::InvalidReplicaAssignment, text.to_owned()));
    assert_eq!(cluster.partition("t", 0), before);
    // Broker 1 comes back, and may have lost records: that is what was allowed.
    comes_back(&mut cluster, 1, -1);
    assert_eq!(reassign(&mut cluster, vec![wanted(None)]), [Ok(())]);
    assert_eq!(seen(&cluster), (vec![1, 2], vec![1], vec![], vec![], 1));
}

/// Replica 3 came with a reassignment, was alone in sync, and ended.
fn led_by_a_new_replica_that_ended() -> Decider {
    let mut cluster = cluster(&[1, 2]);
    reassign(&mut cluster, vec![wanted(Some(&[3, 4]))]);
    in_sync(&mut cluster, &[1, 2, 3]).unwrap();
    for id in [1, 2, 3] {
        let broker_epoch = cluster.image().cluster.broker(id).unwrap().epoch;
        cluster.ask(Command::BrokerGone { broker_id: id, broker_epoch });
    }
    assert_eq!((&*cluster.partition("t", 0).elr, seen(&cluster).4), (&[3][..], -1));
    cluster
}

fn comes_back(cluster: &mut Decider, id: i32, previous_broker_epoch: i64) {
    let broker_epoch = cluster.start_broker(id, 100 + id as u128, previous_broker_epoch);
    let current_metadata_offset = cluster.image().offset;
    cluster.beat(BrokerHeartbeat { current_metadata_offset, ..common::heartbeat(id, broker_epoch) }).unwrap();
}

#[test]
fn a_new_replica_that_is_eligible_stays_until_others_are_in_sync() {
    let mut cluster = led_by_a_new_replica_that_ended();
    assert_eq!(reassign(&mut cluster, vec![wanted(Some(&[4, 1]))]), [Ok(())]);
    assert_eq!(seen(&cluster), (vec![4, 1, 2, 3], vec![], vec![4], vec![2, 3], -1));
    let epoch = cluster.image().cluster.broker(3).unwrap().epoch;
    comes_back(&mut cluster, 3, epoch);
    assert_eq!((seen(&cluster).1, seen(&cluster).4), (vec![3], 3), "it alone has what was acknowledged");
    comes_back(&mut cluster, 1, -1);
    in_sync(&mut cluster, &[3, 4]).unwrap();
    assert_eq!(in_sync(&mut cluster, &[3, 4, 1]), Err(ErrorCode::NewLeaderElected));
    assert_eq!(seen(&cluster), (vec![4, 1], vec![4, 1], vec![], vec![], 4));
}

#[test]
fn whoever_led_last_stays_where_nobody_is_eligible() {
    let mut cluster = led_by_a_new_replica_that_ended();
    // It may have lost records: it is not eligible any more, and the nearest to it.
    let broker_epoch = cluster.start_broker(3, 103, -1);
    assert!(cluster.partition("t", 0).elr.is_empty());
    assert_eq!(reassign(&mut cluster, vec![wanted(Some(&[4, 1]))]), [Ok(())]);
    assert_eq!(seen(&cluster).0, [4, 1, 2, 3]);
    let current_metadata_offset = cluster.image().offset;
    cluster.beat(BrokerHeartbeat { current_metadata_offset, ..common::heartbeat(3, broker_epoch) }).unwrap();
    assert_eq!((seen(&cluster).1, seen(&cluster).4), (vec![3], 3));
}

#[test]
fn what_cannot_be_is_refused_with_kafkas_texts() {
    let mut cluster = cluster(&[1, 2]);
    let at = |topic: &str, partition| ReassignPartition { topic: topic.to_owned(), partition, replicas: Some(vec![1]) };
    for (wanted, code, text) in [
        (at("u", 0), ErrorCode::UnknownTopicOrPartition, "Unable to find a topic named u."),
        (at("t", 9), ErrorCode::UnknownTopicOrPartition, "Unable to find partition t:9."),
        (
            wanted(Some(&[])),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes an empty replica list.",
        ),
        (
            wanted(Some(&[1, 9])),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes broker 9, but no such broker is registered.",
        ),
        (
            wanted(Some(&[1, 1])),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes the broker 1 more than once.",
        ),
    ] {
        assert_eq!(refusal(reassign(&mut cluster, vec![wanted]).remove(0)), (code, text.to_owned()));
    }
    let command = Command::AlterPartitionReassignments {
        partitions: vec![wanted(Some(&[1, 2, 3]))],
        allow_replication_factor_change: false,
    };
    let Reply::AlterPartitionReassignments(mut results) = cluster.ask(command) else { panic!() };
    let text = "The replication factor is changed from 2 to 3".to_owned();
    assert_eq!(refusal(results.remove(0).2), (ErrorCode::InvalidReplicationFactor, text));
}

#[test]
fn an_election_takes_no_leader_away() {
    let mut cluster = cluster(&[2, 1]);
    let epoch = |cluster: &Decider, id| cluster.image().cluster.broker(id).unwrap().epoch;
    cluster.ask(Command::BrokerGone { broker_id: 2, broker_epoch: epoch(&cluster, 2) });
    let before = cluster.partition("t", 0);
    assert_eq!(before.leader, 1);
    let elect = Command::ElectLeaders { election: ElectionType::Preferred, partitions: None };
    let refused = Refusal::with_default_text(ErrorCode::PreferredLeaderNotAvailable);
    assert_eq!(cluster.ask(elect), Reply::ElectLeaders(Ok(vec![("t".to_owned(), 0, Err(refused))])));
    assert_eq!(cluster.partition("t", 0), before);
}
