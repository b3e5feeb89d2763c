//! What the controller decides, with the codes and texts of Apache Kafka 4.3.1.
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod common;

use common::{Decider, changed, create, directory, heartbeat, refusal, registration, topic};
use metadata::controller::{
    AlterOp, AlterPartition, BrokerHeartbeat, BrokerRegistration, Command, ConfigChanges, DeletedTopic, ElectionType,
    MorePartitions, NewTopic, PRODUCER_ID_BLOCK_SIZE, ProducerIdBlock, Refusal, Reply, TopicRef,
};
use metadata::image::{ConfigResource, LeaderRecoveryState, NO_LEADER, TopicIdPartition, directory as ids};
use wire::messages::MetadataRecord;
use wire::{ErrorCode, Uuid};

#[test]
fn a_topic_gets_its_partitions_its_settings_and_an_id_of_its_own() {
    let mut cluster = Decider::new(&[]).with_brokers(1);
    let wanted =
        NewTopic { configs: vec![("retention.ms".to_owned(), Some("60000".to_owned()))], ..topic("army", 2, 1) };
    let created = cluster.create_one(wanted).unwrap();
    assert_eq!((created.num_partitions, created.replication_factor), (2, 1));
    let image = cluster.image();
    let army = image.topics.by_name("army").unwrap();
    assert_eq!(army.id, created.topic_id);
    assert_eq!(image.topics.get(army.id).unwrap().name, army.name);
    assert_eq!(image.configs.value(&ConfigResource::topic("army"), "retention.ms"), Some("60000"));
    let partition = cluster.partition("army", 1);
    assert_eq!((&*partition.replicas, &*partition.isr, partition.leader), (&[1][..], &[1][..], 1));
    assert_eq!((partition.leader_epoch, partition.partition_epoch), (0, 0));
    assert_eq!(*partition.directories, [directory(1)]);
    // Topic, then settings, then partitions, as Kafka writes them.
    let names: Vec<&str> = cluster.records.iter().rev().take(4).map(|record| record.name()).collect();
    assert_eq!(names, ["PartitionRecord", "PartitionRecord", "ConfigRecord", "TopicRecord"]);
}

#[test]
fn the_defaults_of_partitions_and_replicas_come_from_the_nodes_file() {
    let file = [("num.partitions", "4"), ("default.replication.factor", "2")];
    let mut cluster = Decider::new(&file).with_brokers(3);
    let created = cluster.create_one(topic("t", -1, -1)).unwrap();
    assert_eq!((created.num_partitions, created.replication_factor), (4, 2));
}

#[test]
fn what_kafka_refuses_to_create_is_refused_with_its_texts() {
    let mut cluster = Decider::new(&[]).with_brokers(1);
    cluster.create_one(topic("army", 1, 1)).unwrap();
    cluster.create_one(topic("a_b", 1, 1)).unwrap();
    let configured = |name: &str, value: Option<&str>| NewTopic {
        configs: vec![(name.to_owned(), value.map(str::to_owned))],
        ..topic("new", 1, 1)
    };
    let assigned = |assignments: &[(i32, &[i32])]| NewTopic {
        assignments: assignments.iter().map(|(index, replicas)| (*index, replicas.to_vec())).collect(),
        ..topic("new", -1, -1)
    };
    use ErrorCode::{
        InvalidConfig, InvalidPartitions, InvalidReplicaAssignment, InvalidReplicationFactor, InvalidRequest,
        InvalidTopicException, TopicAlreadyExists,
    };
    let cases: Vec<(NewTopic, ErrorCode, &str)> = vec![
        (topic("army", 1, 1), TopicAlreadyExists, "Topic 'army' already exists."),
        (topic("a.b", 1, 1), InvalidTopicException, "Topic 'a.b' collides with existing topic: a_b"),
        (
            topic("a/x", 1, 1),
            InvalidTopicException,
            "Topic name is invalid: 'a/x' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
        ),
        (
            topic("__cluster_metadata", 1, 1),
            InvalidRequest,
            "Creation of internal topic __cluster_metadata is prohibited.",
        ),
        (
            topic("new", 1, 29),
            InvalidReplicationFactor,
            "Unable to replicate the partition 29 time(s): The target replication factor of 29 cannot be reached because \
             only 1 broker(s) are registered or some brokers have all their log directories cordoned.",
        ),
        (
            topic("new", 1, 0),
            InvalidReplicationFactor,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ),
        (topic("new", 0, 1), InvalidPartitions, "Number of partitions was set to an invalid non-positive value."),
        (configured("nonsense", Some("1")), InvalidConfig, "Unknown topic config name: nonsense"),
        (
            configured("segment.bytes", Some("10000")),
            InvalidConfig,
            "Invalid value 10000 for configuration segment.bytes: Value must be at least 1048576",
        ),
        (configured("retention.ms", None), InvalidConfig, "Null value not supported for topic configs: retention.ms"),
        (
            NewTopic { num_partitions: 1, ..assigned(&[(0, &[1])]) },
            InvalidRequest,
            "A manual partition assignment was specified, but numPartitions was not set to -1.",
        ),
        (
            NewTopic { replication_factor: 1, ..assigned(&[(0, &[1])]) },
            InvalidRequest,
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        ),
        (
            assigned(&[(0, &[1]), (2, &[1])]),
            InvalidReplicaAssignment,
            "partitions should be a consecutive 0-based integer sequence",
        ),
        (
            assigned(&[(0, &[9])]),
            InvalidReplicaAssignment,
            "The manual partition assignment includes broker 9, but no such broker is registered.",
        ),
        (
            assigned(&[(0, &[1, 1])]),
            InvalidReplicaAssignment,
            "The manual partition assignment includes the broker 1 more than once.",
        ),
        (
            assigned(&[(0, &[])]),
            InvalidReplicaAssignment,
            "The manual partition assignment includes an empty replica list.",
        ),
        (
            assigned(&[(0, &[1]), (0, &[1])]),
            InvalidReplicaAssignment,
            "Found multiple manual partition assignments for partition 0",
        ),
    ];
    let before = cluster.image();
    for (wanted, code, text) in cases {
        assert_eq!(refusal(cluster.create_one(wanted)), (code, text.to_owned()));
    }
    assert_eq!(*cluster.image(), *before);
}

#[test]
fn topics_of_one_request_see_each_other_and_fail_alone() {
    let mut cluster = Decider::new(&[]).with_brokers(1);
    let topics = vec![topic("a.b", 1, 1), topic("a_b", 1, 1), topic("c", 1, 1), topic("c", 2, 1), topic("d", 1, 1)];
    let Reply::CreateTopics(Ok(results)) = cluster.ask(create(topics)) else { panic!() };
    let short: Vec<(&str, Option<String>)> =
        results.iter().map(|(name, result)| (&**name, result.clone().err().and_then(|error| error.message))).collect();
    assert_eq!(
        short,
        [
            ("a.b", None),
            ("a_b", Some("Topic 'a_b' collides with existing topic: a.b".to_owned())),
            ("c", Some("Duplicate topic name.".to_owned())),
            ("d", None),
        ]
    );
    assert_eq!(cluster.image().topics.iter().map(|topic| topic.name.to_string()).collect::<Vec<_>>(), ["a.b", "d"]);
}

#[test]
fn validate_only_answers_as_if_and_changes_nothing() {
    let mut cluster = Decider::new(&[]).with_brokers(1);
    let before = cluster.records.len();
    let command = Command::CreateTopics { topics: vec![topic("t", 3, 1)], validate_only: true };
    let Reply::CreateTopics(Ok(results)) = cluster.ask(command) else { panic!() };
    assert_eq!(results[0].1.as_ref().unwrap().num_partitions, 3);
    assert_eq!(cluster.records.len(), before);
    cluster.create_one(topic("t", 1, 1)).unwrap();
    let more = vec![MorePartitions { name: "t".to_owned(), count: 3, assignments: None }];
    let command = Command::CreatePartitions { topics: more, validate_only: true };
    assert_eq!(cluster.ask(command), Reply::CreatePartitions(Ok(vec![("t".to_owned(), Ok(()))])));
    assert_eq!(cluster.image().topics.partition_count(), 1);
}

#[test]
fn one_request_creates_at_most_ten_thousand_partitions() {
    let mut cluster = Decider::new(&[]).with_brokers(1);
    let policy = Refusal::new(ErrorCode::PolicyViolation, "Excessively large number of partitions per request.");
    let reply = cluster.ask(create(vec![topic("a", 6_000, 1), topic("b", 4_001, 1)]));
    assert_eq!(reply, Reply::CreateTopics(Err(policy.clone())));
    cluster.create_one(topic("c", 1, 1)).unwrap();
    let more = vec![MorePartitions { name: "c".to_owned(), count: i32::MAX, assignments: None }];
    let reply = cluster.ask(Command::CreatePartitions { topics: more, validate_only: false });
    assert_eq!(reply, Reply::CreatePartitions(Err(policy)));
    assert!(cluster.create_one(topic("d", 10_000, 1)).is_ok());
}

#[test]
fn nothing_is_placed_while_every_broker_is_fenced() {
    let mut cluster = Decider::new(&[]);
    cluster.register(registration(1, 1)).unwrap();
    let (code, text) = refusal(cluster.create_one(topic("t", 1, 1)));
    assert_eq!(code, ErrorCode::InvalidReplicationFactor);
    assert_eq!(text, "Unable to replicate the partition 1 time(s): All brokers are currently fenced.");
}

#[test]
fn replicas_are_spread_evenly_over_brokers_and_racks() {
    let mut cluster = Decider::new(&[]);
    for id in 1..=6 {
        let rack = Some(format!("rack-{}", id % 3));
        let epoch = cluster.register(BrokerRegistration { rack, ..registration(id, id as u128) }).unwrap();
        cluster.beat(heartbeat(id, epoch)).unwrap();
    }
    cluster.create_one(topic("t", 60, 3)).unwrap();
    let image = cluster.image();
    let (mut leads, mut holds) = ([0; 7], [0; 7]);
    for partition in image.topics.by_name("t").unwrap().partitions.values() {
        leads[partition.leader as usize] += 1;
        let mut racks: Vec<i32> = partition.replicas.iter().map(|id| id % 3).collect();
        racks.sort_unstable();
        assert_eq!(racks, [0, 1, 2], "one replica in each rack: {:?}", partition.replicas);
        partition.replicas.iter().for_each(|id| holds[*id as usize] += 1);
    }
    assert!(leads[1..].iter().all(|count| (5..=15).contains(count)), "{leads:?}");
    assert!(holds[1..].iter().all(|count| (20..=40).contains(count)), "{holds:?}");
}

#[test]
fn fenced_brokers_get_replicas_only_when_there_are_too_few_others_and_never_lead() {
    let mut cluster = Decider::new(&[]).with_brokers(3);
    let epoch = cluster.image().cluster.broker(2).unwrap().epoch;
    cluster.beat(BrokerHeartbeat { want_fence: true, ..heartbeat(2, epoch) }).unwrap();
    cluster.create_one(topic("two", 30, 2)).unwrap();
    cluster.create_one(topic("three", 30, 3)).unwrap();
    for id in 0..30 {
        assert!(!cluster.partition("two", id).replicas.contains(&2));
        let partition = cluster.partition("three", id);
        assert_eq!((partition.replicas.len(), partition.replicas[2]), (3, 2));
        assert!(partition.leader != 2 && !partition.isr.contains(&2));
    }
}

#[test]
fn a_broker_whose_directories_are_all_cordoned_takes_no_new_replica() {
    let mut cluster = Decider::new(&[]).with_brokers(2);
    let epoch = cluster.image().cluster.broker(2).unwrap().epoch;
    let cordoned = |ids: Vec<Uuid>| BrokerHeartbeat { cordoned_log_dirs: Some(ids), ..heartbeat(2, epoch) };
    cluster.beat(cordoned(vec![directory(2)])).unwrap();
    cluster.create_one(topic("t", 20, 1)).unwrap();
    assert!((0..20).all(|id| cluster.partition("t", id).leader == 1));
    assert_eq!(refusal(cluster.create_one(topic("u", 1, 2))).0, ErrorCode::InvalidReplicationFactor);
    cluster.beat(cordoned(vec![])).unwrap();
    cluster.create_one(topic("u", 1, 2)).unwrap();
}

#[test]
fn a_broker_that_is_unregistered_is_forgotten_and_out_of_sync() {
    let mut cluster = Decider::new(&[]).with_brokers(2);
    let assignments = vec![(0, vec![1, 2])];
    cluster.create_one(NewTopic { assignments, ..topic("t", -1, -1) }).unwrap();
    assert_eq!(cluster.ask(Command::UnregisterBroker(1)), Reply::UnregisterBroker(Ok(())));
    assert!(cluster.image().cluster.broker(1).is_none());
    let partition = cluster.partition("t", 0);
    assert_eq!((partition.leader, &*partition.isr, &*partition.replicas), (2, &[2][..], &[1, 2][..]));
    let text = "Broker ID 1 is not currently registered";
    let refused = Refusal::new(ErrorCode::BrokerIdNotRegistered, text);
    assert_eq!(cluster.ask(Command::UnregisterBroker(1)), Reply::UnregisterBroker(Err(refused)));
}

#[test]
fn topics_are_deleted_by_name_or_by_id_and_their_settings_with_them() {
    let mut cluster = Decider::new(&[]).with_brokers(1);
    let configs = vec![("retention.ms".to_owned(), Some("1".to_owned()))];
    let a = cluster.create_one(NewTopic { configs, ..topic("a", 1, 1) }).unwrap().topic_id;
    let b = cluster.create_one(topic("b", 1, 1)).unwrap().topic_id;
    let c = cluster.create_one(topic("c", 1, 1)).unwrap().topic_id;
    let unknown = Uuid::from_u128(99 << 80);
    let name = |name: &str| TopicRef::Name(name.to_owned());
    let topics = vec![name("a"), TopicRef::Id(b), name("nosuch"), TopicRef::Id(unknown), name("c"), TopicRef::Id(c)];
    let Reply::DeleteTopics(mut results) = cluster.ask(Command::DeleteTopics(topics)) else { panic!() };
    results.sort_by_key(|result| (result.name.clone(), result.topic_id));
    let deleted = |name: Option<&str>, topic_id: Uuid, result: Result<(), (ErrorCode, &str)>| DeletedTopic {
        name: name.map(str::to_owned),
        topic_id,
        result: result.map_err(|(code, text)| Refusal::new(code, text)),
    };
    let twice = "The provided topic name maps to an ID that was already supplied.";
    assert_eq!(
        results,
        [
            deleted(None, unknown, Err((ErrorCode::UnknownTopicId, ErrorCode::UnknownTopicId.message()))),
            deleted(Some("a"), a, Ok(())),
            deleted(Some("b"), b, Ok(())),
            deleted(Some("c"), c, Err((ErrorCode::InvalidRequest, twice))),
            deleted(Some("c"), c, Ok(())),
            deleted(
                Some("nosuch"),
                Uuid::ZERO,
                Err((ErrorCode::UnknownTopicOrPartition, ErrorCode::UnknownTopicOrPartition.message()))
            ),
        ]
    );
    let image = cluster.image();
    assert!(image.topics.is_empty());
    assert_eq!(image.configs.get(&ConfigResource::topic("a")), None);
    assert_eq!(image.topics.with_broker_in_isr(1).count(), 0);
}

#[test]
fn partitions_are_added_as_kafka_does() {
    let mut cluster = Decider::new(&[]).with_brokers(2);
    cluster.create_one(topic("army", 3, 2)).unwrap();
    let mut more = |count: i32, assignments: Option<Vec<Vec<i32>>>| {
        let topics = vec![MorePartitions { name: "army".to_owned(), count, assignments }];
        match cluster.ask(Command::CreatePartitions { topics, validate_only: false }) {
            Reply::CreatePartitions(Ok(mut results)) => results.remove(0).1,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        refusal(more(2, None)),
        (
            ErrorCode::InvalidPartitions,
            "The topic army currently has 3 partition(s); 2 would not be an increase.".to_owned()
        )
    );
    assert_eq!(refusal(more(3, None)), (ErrorCode::InvalidPartitions, "Topic already has 3 partition(s).".to_owned()));
    assert_eq!(
        refusal(more(5, Some(vec![vec![1, 2]]))).1,
        "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified."
    );
    assert_eq!(
        refusal(more(4, Some(vec![vec![7, 8]]))),
        (
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes broker 7, but no such broker is registered.".to_owned()
        )
    );
    assert!(refusal(more(4, Some(vec![vec![1]]))).1.contains("which have 2 replica(s)"));
    more(5, Some(vec![vec![2, 1], vec![1, 2]])).unwrap();
    more(6, None).unwrap();
    assert_eq!(*cluster.partition("army", 3).replicas, [2, 1]);
    assert_eq!(cluster.partition("army", 5).replicas.len(), 2);
    let unknown = vec![MorePartitions { name: "nosuch".to_owned(), count: 2, assignments: None }];
    let reply = cluster.ask(Command::CreatePartitions { topics: unknown, validate_only: false });
    let expected = Err(Refusal::without_text(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(reply, Reply::CreatePartitions(Ok(vec![("nosuch".to_owned(), expected)])));
}

#[test]
fn a_broker_registers_under_the_offset_of_its_record_and_keeps_it_for_its_life() {
    let mut cluster = Decider::new(&[]);
    let offset = cluster.controller.next_offset();
    assert_eq!(cluster.register(registration(1, 1)), Ok(offset));
    assert!(cluster.image().cluster.broker(1).unwrap().fenced);
    // The same process again, with a new listener: it keeps its epoch.
    assert_eq!(cluster.register(registration(1, 1)), Ok(offset));
    let text = "Another broker is registered with that broker id. If the broker was recently restarted this should \
                self-resolve once the heartbeat manager expires the broker's session.";
    let another = cluster.register(registration(1, 2));
    assert_eq!(refusal(another), (ErrorCode::DuplicateBrokerRegistration, text.to_owned()));
    cluster.wait(9_000);
    let next = cluster.controller.next_offset();
    assert_eq!(cluster.register(registration(1, 2)), Ok(next));
    let MetadataRecord::RegisterBroker(record) = cluster.records.last().unwrap() else { panic!() };
    assert_eq!((record.broker_epoch, record.fenced, record.features.len()), (next, true, 7));
}

#[test]
fn registrations_that_kafka_refuses_are_refused_with_its_texts() {
    let mut cluster = Decider::new(&[]).with_brokers(1);
    let good = || registration(2, 2);
    use ErrorCode::{InconsistentClusterId, InvalidRegistration, UnsupportedVersion};
    let mut without_metadata_version = good();
    without_metadata_version.features.retain(|feature| feature.name != "metadata.version");
    let mut old = good();
    old.features.iter_mut().filter(|feature| feature.name == "metadata.version").for_each(|feature| feature.max = 20);
    let mut no_groups = good();
    no_groups.features.retain(|feature| feature.name != "group.version");
    let cases = [
        (
            BrokerRegistration { cluster_id: "other".to_owned(), ..good() },
            InconsistentClusterId,
            format!("Expected cluster ID {}, but got cluster ID other", common::CLUSTER),
        ),
        (BrokerRegistration { broker_id: -1, ..good() }, InvalidRegistration, "Broker ID -1 is negative".to_owned()),
        (
            BrokerRegistration { log_dirs: vec![], ..good() },
            InvalidRegistration,
            "No directories specified in request".to_owned(),
        ),
        (
            BrokerRegistration { log_dirs: vec![ids::LOST], ..good() },
            InvalidRegistration,
            "Reserved directory ID in request".to_owned(),
        ),
        (
            BrokerRegistration { log_dirs: vec![directory(2), directory(2)], ..good() },
            InvalidRegistration,
            "Duplicate directory ID in request".to_owned(),
        ),
        (
            BrokerRegistration { log_dirs: vec![directory(1)], ..good() },
            InvalidRegistration,
            format!("Broker 1 is already registered with directory {}", directory(1)),
        ),
        (
            without_metadata_version,
            InvalidRegistration,
            "Request features do not contain 'metadata.version'".to_owned(),
        ),
        (
            old,
            UnsupportedVersion,
            "Unable to register because the broker does not support finalized version 30 of metadata.version. The \
             broker wants a version between 7 and 20, inclusive."
                .to_owned(),
        ),
        (
            no_groups,
            UnsupportedVersion,
            "Unable to register because the broker does not support finalized version 1 of group.version. The broker \
             wants a version between 0 and 0, inclusive."
                .to_owned(),
        ),
    ];
    for (request, code, text) in cases {
        assert_eq!(refusal(cluster.register(request)), (code, text));
    }
}

/// The transcript of Apache Kafka 4.3.1: a node's controlled shutdown, and its start afterwards.
#[test]
fn a_sole_broker_shuts_down_and_comes_back_as_its_partitions_leader() {
    let mut cluster = Decider::new(&[]).with_brokers(1);
    cluster.create_one(topic("army", 3, 1)).unwrap();
    let epoch = cluster.image().cluster.broker(1).unwrap().epoch;
    let before = cluster.records.len();
    let stop = BrokerHeartbeat { want_shut_down: true, ..heartbeat(1, epoch) };
    let reply = cluster.beat(stop.clone()).unwrap();
    assert!(reply.in_controlled_shutdown && !reply.should_shut_down && !reply.is_fenced);
    let reply = cluster.beat(stop).unwrap();
    assert!(reply.should_shut_down && reply.is_fenced);
    let late = cluster.beat(heartbeat(1, epoch)).unwrap();
    assert!(late.is_fenced, "what it said before it wanted to stop comes late, and it is gone");
    let shown: Vec<String> = cluster.records[before..]
        .iter()
        .map(|record| match record {
            MetadataRecord::BrokerRegistrationChange(change) => {
                format!("broker fenced={} shutdown={}", change.fenced, change.in_controlled_shutdown)
            }
            MetadataRecord::PartitionChange(change) => {
                let ids = |ids: &Option<wire::codec::Array<'_, i32>>| ids.as_ref().map(|ids| ids.to_vec());
                format!(
                    "partition {} isr={:?} leader={} elr={:?} last={:?}",
                    change.partition_id,
                    ids(&change.isr),
                    change.leader,
                    ids(&change.eligible_leader_replicas),
                    ids(&change.last_known_elr)
                )
            }
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        shown,
        [
            "broker fenced=0 shutdown=1",
            "partition 0 isr=Some([]) leader=-1 elr=Some([1]) last=Some([1])",
            "partition 1 isr=Some([]) leader=-1 elr=Some([1]) last=Some([1])",
            "partition 2 isr=Some([]) leader=-1 elr=Some([1]) last=Some([1])",
            "broker fenced=1 shutdown=0",
        ]
    );
    cluster.start_broker(1, 2, epoch);
    let partition = cluster.partition("army", 0);
    assert_eq!((partition.leader, partition.leader_epoch, partition.partition_epoch), (1, 2, 2));
    assert_eq!((&*partition.isr, &*partition.elr, &*partition.last_known_elr), (&[1][..], &[][..], &[][..]));
    assert_eq!(partition.leader_recovery_state, LeaderRecoveryState::Recovered);
}

#[test]
fn a_broker_that_ended_uncleanly_leads_again_only_as_the_last_known_leader_and_must_recover() {
    let mut cluster = Decider::new(&[]).with_brokers(1);
    cluster.create_one(topic("army", 1, 1)).unwrap();
    cluster.wait(60_000);
    cluster.register(registration(1, 2)).unwrap();
    let partition = cluster.partition("army", 0);
    assert_eq!((partition.leader, &*partition.isr, &*partition.elr), (NO_LEADER, &[][..], &[][..]));
    assert_eq!(*partition.last_known_elr, [1]);
    let epoch = cluster.image().cluster.broker(1).unwrap().epoch;
    cluster.beat(heartbeat(1, epoch)).unwrap();
    let partition = cluster.partition("army", 0);
    assert_eq!((partition.leader, &*partition.isr), (1, &[1][..]));
    assert_eq!(partition.leader_recovery_state, LeaderRecoveryState::Recovering);
    // The leader says that it has recovered.
    let key = TopicIdPartition { topic_id: cluster.image().topics.by_name("army").unwrap().id, partition: 0 };
    let proposal = AlterPartition {
        key,
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        new_isr: vec![(1, epoch)],
        leader_recovery_state: LeaderRecoveryState::Recovered,
    };
    let command = Command::AlterPartitions { broker_id: 1, broker_epoch: epoch, partitions: vec![proposal] };
    let Reply::AlterPartitions(Ok(results)) = cluster.ask(command) else { panic!() };
    assert_eq!(results[0].result.as_ref().unwrap().leader_recovery_state, LeaderRecoveryState::Recovered);
    assert_eq!(cluster.partition("army", 0).partition_epoch, partition.partition_epoch + 1);
}

#[test]
fn a_partition_that_nobody_leads_gets_a_leader_once_an_unclean_election_is_allowed() {
    let mut cluster = Decider::new(&[]).with_brokers(2);
    cluster.create_one(NewTopic { assignments: vec![(0, vec![1, 2])], ..topic("t", -1, -1) }).unwrap();
    for id in [2, 1] {
        let broker_epoch = cluster.image().cluster.broker(id).unwrap().epoch;
        cluster.ask(Command::BrokerGone { broker_id: id, broker_epoch });
    }
    let epoch = cluster.image().cluster.broker(2).unwrap().epoch;
    cluster.beat(heartbeat(2, epoch)).unwrap();
    cluster.ask(Command::ElectForLeaderless);
    let before = cluster.partition("t", 0);
    assert_eq!((before.leader, before.isr.contains(&2), before.elr.contains(&2)), (NO_LEADER, false, false));
    let allow = ("unclean.leader.election.enable".to_owned(), AlterOp::Set, Some("true".to_owned()));
    let changes = ConfigChanges { resource: ConfigResource::topic("t"), changes: vec![allow] };
    cluster.ask(Command::IncrementalAlterConfigs { resources: vec![changes], validate_only: false });
    cluster.ask(Command::ElectForLeaderless);
    let after = cluster.partition("t", 0);
    assert_eq!((after.leader, &*after.isr, after.leader_epoch), (2, &[2][..], before.leader_epoch + 1));
    assert_eq!(after.leader_recovery_state, LeaderRecoveryState::Recovering);
    cluster.ask(Command::ElectForLeaderless);
    assert_eq!(cluster.partition("t", 0), after, "it has a leader");
}

#[test]
fn when_a_broker_dies_another_in_sync_leads_and_the_dead_one_leaves_the_isr() {
    let mut cluster = Decider::new(&[]).with_brokers(3);
    let assignments = vec![(0, vec![1, 2, 3]), (1, vec![2, 3, 1])];
    cluster.create_one(NewTopic { assignments, ..topic("t", -1, -1) }).unwrap();
    // Brokers 2 and 3 are heard, broker 1 is not.
    cluster.wait(5_000);
    for id in [2, 3] {
        let epoch = cluster.image().cluster.broker(id).unwrap().epoch;
        cluster.beat(heartbeat(id, epoch)).unwrap();
    }
    cluster.wait(4_000);
    cluster.ask(Command::Tick);
    assert!(cluster.image().cluster.broker(1).unwrap().fenced);
    let (first, second) = (cluster.partition("t", 0), cluster.partition("t", 1));
    assert_eq!((first.leader, &*first.isr, first.leader_epoch), (2, &[2, 3][..], 1));
    assert_eq!((second.leader, &*second.isr, second.leader_epoch), (2, &[2, 3][..], 0));
    // It comes back, catches up, and gets its leadership when asked for.
    let epoch = cluster.start_broker(1, 11, -1);
    let mut isr: Vec<(i32, i64)> = [2, 3].map(|id| (id, cluster.image().cluster.broker(id).unwrap().epoch)).to_vec();
    isr.push((1, epoch));
    let key = TopicIdPartition { topic_id: cluster.image().topics.by_name("t").unwrap().id, partition: 0 };
    let proposal = AlterPartition {
        key,
        leader_epoch: 1,
        partition_epoch: 1,
        new_isr: isr.clone(),
        leader_recovery_state: LeaderRecoveryState::Recovered,
    };
    let alter = |proposal: AlterPartition, by: (i32, i64)| Command::AlterPartitions {
        broker_id: by.0,
        broker_epoch: by.1,
        partitions: vec![proposal],
    };
    for (proposal, by, expected) in [
        (AlterPartition { leader_epoch: 0, ..proposal.clone() }, isr[0], ErrorCode::FencedLeaderEpoch),
        (AlterPartition { leader_epoch: 2, ..proposal.clone() }, isr[0], ErrorCode::NotController),
        (AlterPartition { partition_epoch: 0, ..proposal.clone() }, isr[0], ErrorCode::InvalidUpdateVersion),
        (proposal.clone(), isr[1], ErrorCode::InvalidRequest),
        (AlterPartition { new_isr: vec![(2, -1), (1, 0)], ..proposal.clone() }, isr[0], ErrorCode::IneligibleReplica),
    ] {
        let Reply::AlterPartitions(Ok(results)) = cluster.ask(alter(proposal, by)) else { panic!() };
        assert_eq!(results[0].result, Err(expected));
    }
    let Reply::AlterPartitions(Ok(results)) = cluster.ask(alter(proposal, isr[0])) else { panic!() };
    assert_eq!(*results[0].result.as_ref().unwrap().isr, [2, 3, 1]);
    let elect = |partitions| Command::ElectLeaders { election: ElectionType::Preferred, partitions };
    let twice = vec![("t".to_owned(), vec![0, 0]), ("t".to_owned(), vec![0])];
    let epoch = cluster.partition("t", 0).leader_epoch;
    let reply = cluster.ask(elect(Some(twice)));
    assert_eq!(reply, Reply::ElectLeaders(Ok(vec![("t".to_owned(), 0, Ok(()))])));
    assert_eq!((cluster.partition("t", 0).leader, cluster.partition("t", 0).leader_epoch), (1, epoch + 1));
    assert_eq!(cluster.ask(elect(None)), Reply::ElectLeaders(Ok(Vec::new())));
    let reply = cluster.ask(elect(Some(vec![("t".to_owned(), vec![0, 7])])));
    let not_needed = Refusal::with_default_text(ErrorCode::ElectionNotNeeded);
    let unknown = Refusal::new(ErrorCode::UnknownTopicOrPartition, "No such partition as t-7");
    let expected = vec![("t".to_owned(), 0, Err(not_needed)), ("t".to_owned(), 7, Err(unknown))];
    assert_eq!(reply, Reply::ElectLeaders(Ok(expected)));
}

#[test]
fn a_failed_log_directory_takes_its_partitions_offline_and_no_others() {
    let mut cluster = Decider::new(&[]);
    let request = BrokerRegistration { log_dirs: vec![directory(1), directory(2)], ..registration(1, 1) };
    let epoch = cluster.register(request).unwrap();
    cluster.beat(heartbeat(1, epoch)).unwrap();
    cluster.create_one(topic("t", 2, 1)).unwrap();
    assert_eq!(*cluster.partition("t", 0).directories, [ids::UNASSIGNED]);
    let topic_id = cluster.image().topics.by_name("t").unwrap().id;
    let assignments =
        [0, 1].map(|n| (directory(n + 1), vec![TopicIdPartition { topic_id, partition: n as i32 }])).to_vec();
    let command = Command::AssignReplicasToDirs { broker_id: 1, broker_epoch: epoch, assignments };
    let Reply::AssignReplicasToDirs(Ok(results)) = cluster.ask(command) else { panic!() };
    assert!(results.iter().all(|(_, _, result)| result.is_ok()));
    assert_eq!(*cluster.partition("t", 1).directories, [directory(2)]);
    let failed = BrokerHeartbeat { offline_log_dirs: vec![directory(2)], ..heartbeat(1, epoch) };
    cluster.beat(failed.clone()).unwrap();
    assert_eq!((cluster.partition("t", 0).leader, cluster.partition("t", 1).leader), (1, NO_LEADER));
    assert_eq!(cluster.image().cluster.broker(1).unwrap().log_dirs, [directory(1)]);
    let before = cluster.records.len();
    cluster.beat(failed).unwrap();
    assert_eq!(cluster.records.len(), before, "a failure is recorded once");
}

#[test]
fn a_broker_that_comes_and_loses_a_directory_is_not_elected_for_what_is_in_it() {
    let mut cluster = Decider::new(&[]);
    let epoch = cluster.start_broker(1, 1, -1);
    cluster.create_one(topic("t", 1, 1)).unwrap();
    cluster.beat(BrokerHeartbeat { want_fence: true, ..heartbeat(1, epoch) }).unwrap();
    assert_eq!(cluster.partition("t", 0).leader, NO_LEADER);
    let failed = BrokerHeartbeat { offline_log_dirs: vec![directory(1)], ..heartbeat(1, epoch) };
    assert!(cluster.beat(failed).unwrap().is_fenced, "its directories first");
    assert_eq!(cluster.partition("t", 0).leader, NO_LEADER);
}

/// Brokers with two directories each, and a topic whose replicas are in the first of each.
fn with_two_directories(ids: &[i32]) -> (Decider, Vec<i64>, TopicIdPartition) {
    let mut cluster = Decider::new(&[]);
    let dirs = |id: i32| vec![directory(id as u128), directory(100 + id as u128)];
    let mut epochs = Vec::new();
    for id in ids {
        let request = BrokerRegistration { log_dirs: dirs(*id), ..registration(*id, *id as u128) };
        epochs.push(cluster.register(request).unwrap());
        cluster.beat(heartbeat(*id, *epochs.last().unwrap())).unwrap();
    }
    cluster.create_one(NewTopic { assignments: vec![(0, ids.to_vec())], ..topic("t", -1, -1) }).unwrap();
    let key = TopicIdPartition { topic_id: cluster.image().topics.by_name("t").unwrap().id, partition: 0 };
    for (id, epoch) in ids.iter().zip(&epochs) {
        let assignments = vec![(directory(*id as u128), vec![key])];
        cluster.ask(Command::AssignReplicasToDirs { broker_id: *id, broker_epoch: *epoch, assignments });
    }
    (cluster, epochs, key)
}

#[test]
fn a_broker_that_lost_all_its_directories_is_fenced_once_and_stays_so() {
    let (mut cluster, epochs, _) = with_two_directories(&[1, 2]);
    let offline_log_dirs = vec![directory(1), directory(101)];
    let failed = BrokerHeartbeat { offline_log_dirs, ..heartbeat(1, epochs[0]) };
    assert!(cluster.beat(failed.clone()).unwrap().is_fenced);
    let after = cluster.partition("t", 0);
    assert_eq!((after.leader, &*after.isr), (2, &[2][..]));
    assert!(cluster.image().cluster.broker(1).unwrap().fenced);
    let before = cluster.records.len();
    assert!(cluster.beat(failed.clone()).unwrap().is_fenced);
    assert_eq!(cluster.records.len(), before, "there is nothing more to say");
    assert!(cluster.beat(BrokerHeartbeat { want_shut_down: true, ..failed }).unwrap().should_shut_down);
}

#[test]
fn a_broker_that_stops_and_loses_a_directory_in_one_breath_changes_each_partition_once() {
    let (mut cluster, epochs, _) = with_two_directories(&[1, 2]);
    let before = cluster.partition("t", 0);
    let leaves = BrokerHeartbeat { want_shut_down: true, ..heartbeat(1, epochs[0]) };
    cluster.beat(BrokerHeartbeat { offline_log_dirs: vec![directory(1)], ..leaves }).unwrap();
    let after = cluster.partition("t", 0);
    assert_eq!((after.leader, &*after.isr), (2, &[2][..]));
    assert_eq!((after.leader_epoch, after.partition_epoch), (before.leader_epoch + 1, before.partition_epoch + 1));
    assert_eq!(cluster.image().cluster.broker(1).unwrap().log_dirs, [directory(101)]);
}

#[test]
fn a_broker_that_stops_because_it_lost_all_its_directories_hands_over_first() {
    let (mut cluster, epochs, _) = with_two_directories(&[1, 2]);
    let offline_log_dirs = vec![directory(1), directory(101)];
    let leaves = BrokerHeartbeat { offline_log_dirs, want_shut_down: true, ..heartbeat(1, epochs[0]) };
    assert!(cluster.beat(leaves.clone()).unwrap().in_controlled_shutdown);
    assert_eq!(cluster.partition("t", 0).leader, 2);
    cluster.beat(heartbeat(2, epochs[1])).unwrap();
    assert!(cluster.beat(leaves).unwrap().should_shut_down);
}

/// As in Kafka 4.3.1, whose controller asks of a proposed member that it is registered, neither fenced nor shutting down,
/// and of the right epoch, and nothing else (`ineligibleReplicasForIsr`); elections do look at directories.
#[test]
fn a_leader_is_believed_that_a_replica_is_in_sync_whatever_its_directory_and_nobody_elects_it() {
    let (mut cluster, epochs, key) = with_two_directories(&[1, 2]);
    cluster.beat(BrokerHeartbeat { offline_log_dirs: vec![directory(2)], ..heartbeat(2, epochs[1]) }).unwrap();
    let before = cluster.partition("t", 0);
    assert_eq!((before.leader, &*before.isr), (1, &[1][..]));
    let proposal = AlterPartition {
        key,
        leader_epoch: before.leader_epoch,
        partition_epoch: before.partition_epoch,
        new_isr: vec![(1, epochs[0]), (2, epochs[1])],
        leader_recovery_state: LeaderRecoveryState::Recovered,
    };
    let command = Command::AlterPartitions { broker_id: 1, broker_epoch: epochs[0], partitions: vec![proposal] };
    let Reply::AlterPartitions(Ok(results)) = cluster.ask(command) else { panic!() };
    assert_eq!(*results[0].result.as_ref().unwrap().isr, [1, 2]);
    cluster.beat(BrokerHeartbeat { want_fence: true, ..heartbeat(1, epochs[0]) }).unwrap();
    assert_eq!(cluster.partition("t", 0).leader, NO_LEADER);
}

/// Kafka forgets them, and the partition is led again only by an unclean election that somebody asks for.
#[test]
fn the_only_ones_who_may_lead_may_do_so_under_another_min_isr() {
    let (mut cluster, epochs, _) = with_two_directories(&[1, 2]);
    let set = |cluster: &mut Decider, resource: ConfigResource, value: &str| {
        changed(cluster, resource, &[("min.insync.replicas", AlterOp::Set, Some(value))]).unwrap();
    };
    set(&mut cluster, ConfigResource::topic("t"), "2");
    for (broker_id, broker_epoch) in [(2, epochs[1]), (1, epochs[0])] {
        cluster.ask(Command::BrokerGone { broker_id, broker_epoch });
    }
    let before = cluster.partition("t", 0);
    assert_eq!((before.leader, &*before.isr, &*before.elr), (NO_LEADER, &[][..], &[1, 2][..]));
    set(&mut cluster, ConfigResource::topic("t"), "1");
    set(&mut cluster, ConfigResource::default_broker(), "2");
    let after = cluster.partition("t", 0);
    assert_eq!((&*after.elr, &*after.last_known_elr), (&*before.elr, &*before.last_known_elr));
    cluster.beat(heartbeat(2, epochs[1])).unwrap();
    let led = cluster.partition("t", 0);
    assert_eq!((led.leader, &*led.isr), (2, &[2][..]));
    assert!(led.elr.is_empty(), "2 may commit alone under 1, and the other has none of that: {led:?}");
}

/// Its broker ended in order, and goes on without the directory: what it makes anew has nothing of what was committed.
#[test]
fn a_replica_made_anew_in_place_of_a_lost_directory_is_not_eligible() {
    let (mut cluster, epochs, key) = with_two_directories(&[1, 2]);
    let min_isr = [("min.insync.replicas", AlterOp::Set, Some("2"))];
    changed(&mut cluster, ConfigResource::topic("t"), &min_isr).unwrap();
    cluster.beat(BrokerHeartbeat { offline_log_dirs: vec![directory(2)], ..heartbeat(2, epochs[1]) }).unwrap();
    assert_eq!(*cluster.partition("t", 0).elr, [2], "it may have all of it, where it is");
    cluster.ask(Command::BrokerGone { broker_id: 2, broker_epoch: epochs[1] });
    let without =
        BrokerRegistration { log_dirs: vec![directory(102)], previous_broker_epoch: epochs[1], ..registration(2, 22) };
    let broker_epoch = cluster.register(without).unwrap();
    cluster.beat(heartbeat(2, broker_epoch)).unwrap();
    let assignments = vec![(directory(102), vec![key])];
    cluster.ask(Command::AssignReplicasToDirs { broker_id: 2, broker_epoch, assignments });
    cluster.ask(Command::BrokerGone { broker_id: 1, broker_epoch: epochs[0] });
    let after = cluster.partition("t", 0);
    assert_eq!((after.leader, &*after.isr, &*after.elr), (NO_LEADER, &[][..], &[1][..]));
}

#[test]
fn producer_ids_are_given_in_blocks_that_never_meet() {
    let mut cluster = Decider::new(&[]).with_brokers(2);
    let epochs = [1, 2].map(|id| (id, cluster.image().cluster.broker(id).unwrap().epoch));
    let mut next = 0;
    for _ in 0..3 {
        for (broker_id, broker_epoch) in epochs {
            let reply = cluster.ask(Command::AllocateProducerIds { broker_id, broker_epoch });
            assert_eq!(reply, Reply::AllocateProducerIds(Ok(ProducerIdBlock { first: next, count: 1000 })));
            next += PRODUCER_ID_BLOCK_SIZE;
        }
    }
    let stale = cluster.ask(Command::AllocateProducerIds { broker_id: 1, broker_epoch: 0 });
    let text = format!("Expected broker epoch {}, but got broker epoch 0", epochs[0].1);
    assert_eq!(stale, Reply::AllocateProducerIds(Err(Refusal::new(ErrorCode::StaleBrokerEpoch, text))));
}

#[test]
fn the_first_records_of_a_cluster_are_those_of_kafka() {
    let cluster = Decider::new(&[("min.insync.replicas", "2")]);
    let names: Vec<&str> = cluster.records.iter().map(|record| record.name()).collect();
    assert_eq!(names[0], "BeginTransactionRecord");
    assert_eq!(names[1..7], ["FeatureLevelRecord"; 6]);
    assert_eq!(names[7..], ["ConfigRecord", "EndTransactionRecord"]);
    let image = cluster.image();
    assert_eq!(image.configs.value(&ConfigResource::default_broker(), "min.insync.replicas"), Some("2"));
    assert!(!image.is_in_transaction() && image.features.is_elr_enabled());
}

#[test]
fn a_replica_in_sync_whose_broker_lost_its_disk_leads_once_its_new_directory_is_told() {
    let mut cluster = Decider::new(&[]).with_brokers(2);
    cluster.create_one(NewTopic { assignments: vec![(0, vec![1, 2])], ..topic("t", -1, -1) }).unwrap();
    let key = TopicIdPartition { topic_id: cluster.image().topics.by_name("t").unwrap().id, partition: 0 };
    let epoch_of = |cluster: &Decider, id| cluster.image().cluster.broker(id).unwrap().epoch;
    let broker_epoch = epoch_of(&cluster, 2);
    cluster.ask(Command::BrokerGone { broker_id: 2, broker_epoch });
    let new = BrokerRegistration { log_dirs: vec![directory(22)], ..registration(2, 22) };
    let epoch = cluster.register(new).unwrap();
    cluster.beat(heartbeat(2, epoch)).unwrap();
    let before = cluster.partition("t", 0);
    let first = epoch_of(&cluster, 1);
    let proposal = AlterPartition {
        key,
        leader_epoch: before.leader_epoch,
        partition_epoch: before.partition_epoch,
        new_isr: vec![(1, first), (2, epoch)],
        leader_recovery_state: LeaderRecoveryState::Recovered,
    };
    cluster.ask(Command::AlterPartitions { broker_id: 1, broker_epoch: first, partitions: vec![proposal] });
    cluster.ask(Command::BrokerGone { broker_id: 1, broker_epoch: first });
    assert_eq!(cluster.partition("t", 0).leader, NO_LEADER, "where it is has not been told");
    let assignments = vec![(directory(22), vec![key])];
    cluster.ask(Command::AssignReplicasToDirs { broker_id: 2, broker_epoch: epoch, assignments });
    let after = cluster.partition("t", 0);
    assert_eq!((after.leader, &*after.isr, &*after.directories), (2, &[2][..], &[directory(1), directory(22)][..]));
}
