//! Answers that depend on the request's version, or on which broker is asked, as Apache Kafka 4.3.1 gives them.

use client::{ClientConfig, Connection, Role};
use tokio::runtime::Runtime;
use wire::codec::Records;
use wire::messages::begin_quorum_epoch_request as begin;
use wire::messages::describe_quorum_request as describe;
use wire::messages::end_quorum_epoch_request as end;
use wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic, ReplicaState};
use wire::messages::fetch_snapshot_request as snapshot;
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::metadata_response::MetadataResponsePartition;
use wire::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use wire::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic};
use wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use wire::messages::vote_request as vote;
use wire::messages::{
    BeginQuorumEpochResponse, DescribeQuorumResponse, ElectLeadersRequest, ElectLeadersResponse,
    EndQuorumEpochResponse, FetchResponse, FetchSnapshotResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    HeartbeatRequest, HeartbeatResponse, InitProducerIdRequest, InitProducerIdResponse, ListOffsetsResponse,
    MetadataRequest, MetadataResponse, OffsetFetchResponse, ProduceResponse, VoteResponse,
};
use wire::records::{BatchBuilder, Codec};
use wire::{ErrorCode, Uuid};

use super::nodes::{Cluster, wait};

/// The metadata log's name and id.
const METADATA: (&str, Uuid) = ("__cluster_metadata", Uuid::from_u128(1));

fn connect(runtime: &Runtime, address: &str) -> Connection {
    let config = ClientConfig::bare(Role::Consumer, "old");
    runtime.block_on(Connection::open(address.parse().unwrap(), "127.0.0.1", &config)).unwrap()
}

/// A fetch of node 3: a consumer might be served by a replica that does not lead.
fn fetch(version: i16, (name, id): (&'static str, Uuid)) -> FetchRequest<'static> {
    let partition = FetchPartition { partition_max_bytes: 1000, ..Default::default() };
    let by_id = version >= 13;
    let topic = FetchTopic {
        topic: if by_id { "" } else { name }.into(),
        topic_id: if by_id { id } else { Uuid::ZERO },
        partitions: vec![partition].into(),
        ..Default::default()
    };
    let mut request = FetchRequest { max_bytes: 1000, topics: vec![topic].into(), ..Default::default() };
    if version >= 15 {
        request.replica_state = ReplicaState { replica_id: 3, replica_epoch: -1 };
    } else {
        request.replica_id = 3;
    }
    request
}

/// The topic's id and its first partition, as Metadata tells them in this version.
fn metadata(
    runtime: &Runtime,
    connection: &Connection,
    version: i16,
    name: &'static str,
) -> (Uuid, MetadataResponsePartition<'static>) {
    let topic = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![topic].into()), ..Default::default() };
    let reply = runtime.block_on(connection.call_at(version, &request)).unwrap();
    let response: MetadataResponse<'_> = reply.decode().unwrap();
    let topic = response.topics.first().unwrap();
    let partition = topic.partitions.first().unwrap();
    let partition = MetadataResponsePartition {
        error_code: partition.error_code,
        leader_id: partition.leader_id,
        replica_nodes: partition.replica_nodes.to_vec().into(),
        ..Default::default()
    };
    (topic.topic_id, partition)
}

/// A broker that does not lead a topic, whose leader is node 2, says so.
fn tells_who_leads(runtime: &Runtime, connection: &Connection, topic: &'static str, id: Uuid) {
    let mut batch = BatchBuilder::new(Codec::None);
    batch.append(0, None, Some(b"value"), &[]);
    let batch = batch.build(0, -1);
    for version in 3..=13 {
        let data = PartitionProduceData { index: 0, records: Some(Records::Bytes((&*batch).into())) };
        let by_id = version >= 13;
        let data = TopicProduceData {
            name: if by_id { "" } else { topic }.into(),
            topic_id: if by_id { id } else { Uuid::ZERO },
            partition_data: vec![data].into(),
        };
        let request =
            ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![data].into(), ..Default::default() };
        let reply = runtime.block_on(connection.call_at(version, &request)).unwrap();
        let response: ProduceResponse<'_> = reply.decode().unwrap();
        let told = response.responses.first().unwrap();
        let partition = told.partition_responses.first().unwrap();
        let hinted = if version >= 10 { (2, vec![2]) } else { (-1, vec![]) };
        let endpoints: Vec<i32> = response.node_endpoints.iter().map(|node| node.node_id).collect();
        assert_eq!(partition.error_code, ErrorCode::NotLeaderOrFollower.code(), "Produce v{version}");
        assert_eq!((partition.current_leader.leader_id, endpoints), hinted, "Produce v{version}");
    }
    for version in 4..=18 {
        let request = fetch(version, (topic, id));
        let reply = runtime.block_on(connection.call_at(version, &request)).unwrap();
        let response: FetchResponse<'_> = reply.decode().unwrap();
        let told = response.responses.first().unwrap();
        let partition = told.partitions.first().unwrap();
        let hinted = if version >= 16 { (2, vec![2]) } else { (-1, vec![]) };
        let endpoints: Vec<i32> = response.node_endpoints.iter().map(|node| node.node_id).collect();
        assert_eq!(partition.error_code, ErrorCode::NotLeaderOrFollower.code(), "Fetch v{version}");
        assert_eq!((partition.current_leader.leader_id, endpoints), hinted, "Fetch v{version}");
    }
}

/// The error and the offset that ListOffsets has for the end of partition 0.
fn latest_offset(runtime: &Runtime, connection: &Connection, topic: &'static str, replica_id: i32) -> (ErrorCode, i64) {
    let partition = ListOffsetsPartition { current_leader_epoch: -1, timestamp: -1, ..Default::default() };
    let topic = ListOffsetsTopic { name: topic.into(), partitions: vec![partition].into() };
    let request = ListOffsetsRequest { replica_id, topics: vec![topic].into(), ..Default::default() };
    let reply = runtime.block_on(connection.call(&request)).unwrap();
    let response: ListOffsetsResponse<'_> = reply.decode().unwrap();
    let topic = response.topics.first().unwrap();
    let partition = topic.partitions.first().unwrap();
    (ErrorCode::from_code(partition.error_code), partition.offset)
}

/// Who is not to be asked says so in every version, and who leads where the version has a place for it.
#[test]
fn who_asks_the_wrong_broker_is_told_so_in_every_version() {
    let mut cluster = Cluster::start();
    for (topic, replicas) in [("elsewhere", "2:1:3"), ("not-here", "2:3")] {
        let create = ["--create", "--topic", topic, "--replica-assignment", replicas];
        wait("the topic is made", || cluster.tool("kafka-topics", &create).status.success().then_some(()));
        cluster.wait_for_full_isr(topic);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connection = connect(&runtime, &cluster.nodes[0].address);
    for topic in ["elsewhere", "not-here"] {
        let id = wait("the first broker knows the leader", || {
            let (id, partition) = metadata(&runtime, &connection, 12, topic);
            (partition.leader_id == 2).then_some(id)
        });
        tells_who_leads(&runtime, &connection, topic, id);
    }
    for replica_id in [-1, -2] {
        let (error, _) = latest_offset(&runtime, &connection, "elsewhere", replica_id);
        // Who compares replicas may ask any of them.
        let expected = if replica_id == -2 { ErrorCode::None } else { ErrorCode::NotLeaderOrFollower };
        assert_eq!(error, expected, "ListOffsets of {replica_id}");
    }
    assert_eq!(latest_offset(&runtime, &connection, "not-here", -1).0, ErrorCode::NotLeaderOrFollower);
    for version in 0..=2 {
        let request = ElectLeadersRequest { timeout_ms: 0, ..Default::default() };
        let reply = runtime.block_on(connection.call_at(version, &request)).unwrap();
        reply.decode::<ElectLeadersResponse<'_>>().unwrap();
    }

    // The oldest clients find every replica among the brokers that are listed.
    cluster.nodes[2].kill();
    wait("the dead replica is left out", || {
        let (_, partition) = metadata(&runtime, &connection, 0, "elsewhere");
        let told = (ErrorCode::from_code(partition.error_code), partition.leader_id, partition.replica_nodes.to_vec());
        (told == (ErrorCode::ReplicaNotAvailable, 2, vec![2, 1])).then_some(())
    });
}

/// The quorum answers nodes of every version (Apache Kafka's before 3.9 know no directories or endpoints of voters).
#[test]
fn the_quorum_answers_in_every_version() {
    let cluster = Cluster::start();
    let leader = cluster.controller();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let follower = cluster.nodes.iter().find(|node| node.id != leader).unwrap();
    let broker = connect(&runtime, &follower.address);
    for version in 0..=2 {
        let partitions = vec![describe::PartitionData { partition_index: 0 }].into();
        let topics = vec![describe::TopicData { topic_name: METADATA.0.into(), partitions }].into();
        let request = describe::DescribeQuorumRequest { topics };
        let reply = runtime.block_on(broker.call_at(version, &request)).unwrap();
        let response: DescribeQuorumResponse<'_> = reply.decode().unwrap();
        let topic = response.topics.first().unwrap();
        let partition = topic.partitions.first().unwrap();
        assert_eq!(
            (partition.leader_id, partition.current_voters.len()),
            (leader as i32, 3),
            "DescribeQuorum v{version}"
        );
        assert_eq!(response.nodes.len(), if version >= 2 { 3 } else { 0 }, "DescribeQuorum v{version}");
    }

    // What is asked here belongs to an epoch that is over, so that it changes nothing.
    let over = ErrorCode::FencedLeaderEpoch.code();
    let connection = connect(&runtime, &follower.controller);
    for version in 0..=2 {
        let partition = vote::PartitionData { replica_id: leader as i32, ..Default::default() };
        let topic = vote::TopicData { topic_name: METADATA.0.into(), partitions: vec![partition].into() };
        let request =
            vote::VoteRequest { topics: vec![topic].into(), voter_id: follower.id as i32, ..Default::default() };
        let reply = runtime.block_on(connection.call_at(version, &request)).unwrap();
        let response: VoteResponse<'_> = reply.decode().unwrap();
        assert_eq!(response.topics.first().unwrap().partitions.first().unwrap().error_code, over, "Vote v{version}");
        assert_eq!(response.node_endpoints.is_empty(), version < 1, "Vote v{version}");
    }
    for version in 0..=1 {
        let partition = begin::PartitionData { leader_id: leader as i32, ..Default::default() };
        let topic = begin::TopicData { topic_name: METADATA.0.into(), partitions: vec![partition].into() };
        let request = begin::BeginQuorumEpochRequest {
            topics: vec![topic].into(),
            voter_id: follower.id as i32,
            ..Default::default()
        };
        let reply = runtime.block_on(connection.call_at(version, &request)).unwrap();
        let response: BeginQuorumEpochResponse<'_> = reply.decode().unwrap();
        let told = response.topics.first().unwrap().partitions.first().unwrap().error_code;
        assert_eq!((told, response.node_endpoints.is_empty()), (over, version < 1), "BeginQuorumEpoch v{version}");

        let partition = end::PartitionData { leader_id: leader as i32, ..Default::default() };
        let topic = end::TopicData { topic_name: METADATA.0.into(), partitions: vec![partition].into() };
        let request = end::EndQuorumEpochRequest { topics: vec![topic].into(), ..Default::default() };
        let reply = runtime.block_on(connection.call_at(version, &request)).unwrap();
        let response: EndQuorumEpochResponse<'_> = reply.decode().unwrap();
        let told = response.topics.first().unwrap().partitions.first().unwrap().error_code;
        assert_eq!((told, response.node_endpoints.is_empty()), (over, version < 1), "EndQuorumEpoch v{version}");

        let partition = snapshot::PartitionSnapshot { current_leader_epoch: 0, ..Default::default() };
        let topic = snapshot::TopicSnapshot { name: METADATA.0.into(), partitions: vec![partition].into() };
        let request = snapshot::FetchSnapshotRequest {
            replica_id: -1,
            max_bytes: 1000,
            topics: vec![topic].into(),
            ..Default::default()
        };
        let reply = runtime.block_on(connection.call_at(version, &request)).unwrap();
        let response: FetchSnapshotResponse<'_> = reply.decode().unwrap();
        let told = response.topics.first().unwrap().partitions.first().unwrap().error_code;
        assert_eq!((told, response.node_endpoints.is_empty()), (over, version < 1), "FetchSnapshot v{version}");
    }
    for version in 12..=18 {
        let reply = runtime.block_on(connection.call_at(version, &fetch(version, METADATA))).unwrap();
        let response: FetchResponse<'_> = reply.decode().unwrap();
        let topic = response.responses.first().unwrap();
        let partition = topic.partitions.first().unwrap();
        assert_eq!(partition.current_leader.leader_id, leader as i32, "Fetch v{version}");
        assert_eq!(response.node_endpoints.is_empty(), version < 16, "Fetch v{version}");
    }
}

#[test]
fn what_is_asked_twice_or_by_halves_is_answered_as_kafka_does() {
    let cluster = Cluster::start();
    let create = ["--create", "--topic", "odd", "--replica-assignment", "1:2:3"];
    wait("the topic is made", || cluster.tool("kafka-topics", &create).status.success().then_some(()));
    cluster.wait_for_full_isr("odd");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connection = connect(&runtime, &cluster.nodes[0].address);

    let topic = || MetadataRequestTopic { name: Some("odd".into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![topic(), topic()].into()), ..Default::default() };
    let reply = runtime.block_on(connection.call(&request)).unwrap();
    let response: MetadataResponse<'_> = reply.decode().unwrap();
    assert_eq!(response.topics.len(), 1);

    let partition = |timestamp| ListOffsetsPartition { current_leader_epoch: -1, timestamp, ..Default::default() };
    let partitions = vec![partition(-1), partition(-2)].into();
    let topics = vec![ListOffsetsTopic { name: "odd".into(), partitions }].into();
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    let reply = runtime.block_on(connection.call(&request)).unwrap();
    let response: ListOffsetsResponse<'_> = reply.decode().unwrap();
    let topic = response.topics.first().unwrap();
    let told: Vec<i16> = topic.partitions.iter().map(|partition| partition.error_code).collect();
    assert_eq!(told, [ErrorCode::InvalidRequest.code()]);

    for (producer_id, producer_epoch) in [(5, -1), (-1, 5)] {
        let request =
            InitProducerIdRequest { transactional_id: None, producer_id, producer_epoch, ..Default::default() };
        let reply = runtime.block_on(connection.call(&request)).unwrap();
        let response: InitProducerIdResponse = reply.decode().unwrap();
        assert_eq!(response.error_code, ErrorCode::InvalidRequest.code(), "{producer_id}, {producer_epoch}");
    }

    // An answer that may have 1,000 bytes is not held back for more than those: nothing more comes.
    let mut batch = BatchBuilder::new(Codec::None);
    batch.append(0, None, Some(&[0; 2000]), &[]);
    let batch = batch.build(0, -1);
    let data = PartitionProduceData { index: 0, records: Some(Records::Bytes((&*batch).into())) };
    let topic = TopicProduceData { name: "odd".into(), partition_data: vec![data].into(), ..Default::default() };
    let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic].into(), ..Default::default() };
    runtime.block_on(connection.call_at(12, &request)).unwrap();
    let partition = FetchPartition { partition_max_bytes: 1000, ..Default::default() };
    let topic = FetchTopic { topic: "odd".into(), partitions: vec![partition].into(), ..Default::default() };
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms: i32::MAX,
        min_bytes: 1_000_000,
        max_bytes: 1000,
        topics: vec![topic].into(),
        ..Default::default()
    };
    let reply = runtime.block_on(connection.call_at(12, &request)).unwrap();
    let response: FetchResponse<'_> = reply.decode().unwrap();
    let topic = response.responses.first().unwrap();
    let partition = topic.partitions.first().unwrap();
    assert!(partition.records.as_ref().is_some_and(|records| records.len() > 2000));
}

/// Kafka refuses an empty group id before it asks who coordinates it.
#[test]
fn an_empty_group_id_is_refused_by_every_broker() {
    let cluster = Cluster::start();
    let create = ["--create", "--topic", "any"];
    wait("the cluster serves", || cluster.tool("kafka-topics", &create).status.success().then_some(()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for node in &cluster.nodes {
        let connection = connect(&runtime, &node.address);
        let request = HeartbeatRequest { member_id: "m".into(), ..Default::default() };
        let reply = runtime.block_on(connection.call(&request)).unwrap();
        let response: HeartbeatResponse = reply.decode().unwrap();
        assert_eq!(response.error_code, ErrorCode::InvalidGroupId.code(), "node {}", node.id);
    }
}

/// Java's consumers before 3.9 know no COORDINATOR_NOT_AVAILABLE there, and end (KAFKA-17267).
#[test]
fn an_offset_fetch_that_waits_in_vain_for_a_commit_sends_to_the_coordinator_again() {
    let cluster =
        Cluster::start_with(|_| "offsets.commit.timeout.ms=1000\noffsets.topic.num.partitions=1\n".to_owned());
    let create = ["--create", "--topic", "read"];
    wait("the topic is made", || cluster.tool("kafka-topics", &create).status.success().then_some(()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = connect(&runtime, &cluster.nodes[0].address);
    let coordinator = wait("there is a coordinator", || {
        let request = FindCoordinatorRequest { coordinator_keys: vec!["g".into()].into(), ..Default::default() };
        let reply = runtime.block_on(first.call(&request)).unwrap();
        let response: FindCoordinatorResponse<'_> = reply.decode().unwrap();
        let found = response.coordinators.first().unwrap();
        (found.error_code == 0).then_some(found.node_id as usize)
    });
    cluster.wait_for_full_isr("__consumer_offsets");
    let commit = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "read".into(),
            partitions: vec![OffsetCommitRequestPartition { committed_offset: 1, ..Default::default() }].into(),
            ..Default::default()
        }]
        .into(),
        ..Default::default()
    };
    let connection = connect(&runtime, &cluster.nodes[coordinator - 1].address);
    let controller = cluster.controller();
    let frozen = cluster.nodes.iter().find(|node| node.id != coordinator && node.id != controller).unwrap();
    frozen.freeze();
    let other = connect(&runtime, &cluster.nodes[coordinator - 1].address);
    let end = || latest_offset(&runtime, &connection, "__consumer_offsets", -2).1;
    let before = end();
    let pending = runtime.block_on(other.start(8, &commit)).unwrap();
    wait("the commit is written, and waits for a follower", || (end() > before).then_some(()));
    for version in [7, 8] {
        let mut request = OffsetFetchRequest { require_stable: true, ..Default::default() };
        if version < 8 {
            request.group_id = "g".into();
            let topic = OffsetFetchRequestTopic { name: "read".into(), partition_indexes: vec![0].into() };
            request.topics = Some(vec![topic].into());
        } else {
            let group = OffsetFetchRequestGroup { group_id: "g".into(), topics: None, ..Default::default() };
            request.groups = vec![group].into();
        }
        let reply = runtime.block_on(connection.call_at(version, &request)).unwrap();
        let response: OffsetFetchResponse<'_> = reply.decode().unwrap();
        let error = response.groups.first().map_or(response.error_code, |group| group.error_code);
        assert_eq!(error, ErrorCode::NotCoordinator.code(), "OffsetFetch v{version}");
    }
    drop(pending);
    frozen.thaw();
}
