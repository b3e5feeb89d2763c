//! Answers to clients and nodes that speak older versions: what only newer ones have a place for is left out.

use client::{ClientConfig, Connection, Role};
use tokio::runtime::Runtime;
use wire::codec::Records;
use wire::messages::begin_quorum_epoch_request as begin;
use wire::messages::describe_quorum_request as describe;
use wire::messages::end_quorum_epoch_request as end;
use wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic, ReplicaState};
use wire::messages::fetch_snapshot_request as snapshot;
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use wire::messages::vote_request as vote;
use wire::messages::{
    BeginQuorumEpochResponse, DescribeQuorumResponse, ElectLeadersRequest, ElectLeadersResponse,
    EndQuorumEpochResponse, FetchResponse, FetchSnapshotResponse, MetadataRequest, MetadataResponse, ProduceResponse,
    VoteResponse,
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

/// A replica that does not lead says so in every version, and who leads where the version has a place for it.
#[test]
fn who_asks_the_wrong_broker_is_told_so_in_every_version() {
    let cluster = Cluster::start();
    let create = ["--create", "--topic", "elsewhere", "--replica-assignment", "2:1:3"];
    wait("the topic is made", || cluster.tool("kafka-topics", &create).status.success().then_some(()));
    cluster.wait_for_full_isr("elsewhere");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connection = connect(&runtime, &cluster.nodes[0].address);
    let id = wait("the first broker knows the leader", || {
        let topic = MetadataRequestTopic { name: Some("elsewhere".into()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![topic].into()), ..Default::default() };
        let reply = runtime.block_on(connection.call(&request)).unwrap();
        let response: MetadataResponse<'_> = reply.decode().unwrap();
        let topic = response.topics.first().unwrap();
        (topic.partitions.first()?.leader_id == 2).then_some(topic.topic_id)
    });

    let mut batch = BatchBuilder::new(Codec::None);
    batch.append(0, None, Some(b"value"), &[]);
    let batch = batch.build(0, -1);
    for version in 3..=13 {
        let data = PartitionProduceData { index: 0, records: Some(Records::Bytes((&*batch).into())) };
        let by_id = version >= 13;
        let topic = TopicProduceData {
            name: if by_id { "" } else { "elsewhere" }.into(),
            topic_id: if by_id { id } else { Uuid::ZERO },
            partition_data: vec![data].into(),
        };
        let request =
            ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic].into(), ..Default::default() };
        let reply = runtime.block_on(connection.call_at(version, &request)).unwrap();
        let response: ProduceResponse<'_> = reply.decode().unwrap();
        let topic = response.responses.first().unwrap();
        let partition = topic.partition_responses.first().unwrap();
        let hinted = if version >= 10 { 2 } else { -1 };
        let told = (partition.error_code, partition.current_leader.leader_id, response.node_endpoints.is_empty());
        assert_eq!(told, (ErrorCode::NotLeaderOrFollower.code(), hinted, version < 10), "Produce v{version}");
    }
    for version in 4..=18 {
        let request = fetch(version, ("elsewhere", id));
        let reply = runtime.block_on(connection.call_at(version, &request)).unwrap();
        let response: FetchResponse<'_> = reply.decode().unwrap();
        let topic = response.responses.first().unwrap();
        let partition = topic.partitions.first().unwrap();
        let hinted = if version >= 16 { 2 } else { -1 };
        let told = (partition.error_code, partition.current_leader.leader_id, response.node_endpoints.is_empty());
        assert_eq!(told, (ErrorCode::NotLeaderOrFollower.code(), hinted, version < 16), "Fetch v{version}");
    }
    for version in 0..=2 {
        let request = ElectLeadersRequest { timeout_ms: 0, ..Default::default() };
        let reply = runtime.block_on(connection.call_at(version, &request)).unwrap();
        reply.decode::<ElectLeadersResponse<'_>>().unwrap();
    }
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
