//! What a follower hears that has not heard of its leader's epoch yet.

use client::{ClientConfig, Connection, Role};
use wire::ErrorCode;
use wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic, ReplicaState};
use wire::messages::fetch_response::FetchResponse;
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::{MetadataRequest, MetadataResponse};

use super::nodes::{Cluster, wait};

/// A fetch of the third broker, as part of a session.
fn fetch(topic: wire::Uuid, epoch: i32, session: (i32, i32)) -> FetchRequest<'static> {
    let partition = FetchPartition {
        current_leader_epoch: epoch,
        last_fetched_epoch: -1,
        log_start_offset: 0,
        partition_max_bytes: 1000,
        ..Default::default()
    };
    let topics = vec![FetchTopic { topic_id: topic, partitions: vec![partition].into(), ..Default::default() }];
    FetchRequest {
        replica_state: ReplicaState { replica_id: 3, replica_epoch: -1 },
        max_bytes: 1000,
        session_id: session.0,
        session_epoch: session.1,
        topics: if session.1 == 0 { topics.into() } else { Default::default() },
        ..Default::default()
    }
}

#[test]
fn a_follower_is_not_fenced_before_it_can_have_heard_of_the_epoch() {
    let mut cluster = Cluster::start();
    let create = ["--create", "--topic", "epochs", "--replica-assignment", "2:1:3"];
    wait("the topic is made", || cluster.tool("kafka-topics", &create).status.success().then_some(()));
    cluster.wait_for_full_isr("epochs");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = ClientConfig::bare(Role::Consumer, "follower");
    let address = cluster.nodes[0].address.parse().unwrap();
    let connection = runtime.block_on(Connection::open(address, "127.0.0.1", &config)).unwrap();
    // The topic's id, and the leader and its epoch as the first broker knows them.
    let known = || {
        let topic = MetadataRequestTopic { name: Some("epochs".into()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![topic].into()), ..Default::default() };
        let reply = runtime.block_on(connection.call(&request)).unwrap();
        let response: MetadataResponse<'_> = reply.decode().unwrap();
        let topic = response.topics.first().unwrap();
        let partition = topic.partitions.first().unwrap();
        (topic.topic_id, partition.leader_id, partition.leader_epoch)
    };
    let ask = |request: &FetchRequest<'static>| {
        let reply = runtime.block_on(connection.call(request)).unwrap();
        let response: FetchResponse<'_> = reply.decode().unwrap();
        assert_eq!(response.error_code, 0);
        let code = response.responses.first().map(|topic| topic.partitions.first().unwrap().error_code);
        (response.session_id, code.map(ErrorCode::from_code))
    };
    cluster.nodes[1].kill();
    let (topic, epoch) = wait("the first broker leads", || {
        let (topic, leader, epoch) = known();
        (leader == 1).then_some((topic, epoch))
    });
    let (session, told) = ask(&fetch(topic, epoch, (0, 0)));
    assert_eq!(told, Some(ErrorCode::None));

    // The preferred replica comes back, and leads under another epoch.
    cluster.nodes[1].start();
    wait("another epoch has begun", || (known().2 > epoch).then_some(()));
    assert_eq!(ask(&fetch(topic, epoch, (session, 1))).1, None, "it is about to hear of the epoch");
    let mut asked = 1;
    wait("who does not hear of it is fenced in the end", || {
        asked += 1;
        ask(&fetch(topic, epoch, (session, asked))).1.map(|code| assert_eq!(code, ErrorCode::FencedLeaderEpoch))
    });
    // A first answer has to speak of every partition.
    assert_eq!(ask(&fetch(topic, epoch, (0, 0))).1, Some(ErrorCode::FencedLeaderEpoch));
}
