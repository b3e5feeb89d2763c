//! What clients are told of leaders while a node ends, is silent, or takes its leave.

use crate::nodes::{Cluster, said, wait};
use client::{ClientConfig, Connection, Role};
use wire::ErrorCode;
use wire::messages::{
    DescribeClusterRequest, DescribeClusterResponse, MetadataRequest, MetadataResponse,
    metadata_request::MetadataRequestTopic,
};

const TOPIC: &str = "followed";

/// One answer of Metadata.
#[derive(Debug)]
struct Told {
    brokers: Vec<i32>,
    /// Error and leader of each partition.
    leaders: Vec<(i16, i32)>,
}

async fn connect(address: &str) -> Connection {
    let config = ClientConfig::bare(Role::Admin, "failover");
    Connection::open(address.parse().unwrap(), "127.0.0.1", &config).await.unwrap()
}

async fn metadata(connection: &Connection) -> Told {
    let topic = MetadataRequestTopic { name: Some(TOPIC.into()), ..Default::default() };
    let request = MetadataRequest { topics: Some([topic].into_iter().collect()), ..Default::default() };
    let reply = connection.call(&request).await.unwrap();
    let response: MetadataResponse<'_> = reply.decode().unwrap();
    Told {
        brokers: response.brokers.iter().map(|broker| broker.node_id).collect(),
        leaders: response
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|p| (p.error_code, p.leader_id)).collect::<Vec<_>>())
            .collect(),
    }
}

async fn brokers_that_serve(connection: &Connection) -> Vec<i32> {
    let reply = connection.call(&DescribeClusterRequest { endpoint_type: 1, ..Default::default() }).await.unwrap();
    let response: DescribeClusterResponse<'_> = reply.decode().unwrap();
    response.brokers.iter().map(|broker| broker.broker_id).collect()
}

/// A topic of six partitions, and of the nodes that do not decide the one that leads some: it and the third node.
fn prepare(cluster: &Cluster) -> (usize, usize) {
    let create = ["--create", "--topic", TOPIC, "--replica-assignment", "1:2:3,2:3:1,3:1:2,1:3:2,2:1:3,3:2:1"];
    wait("the topic is made", || cluster.tool("kafka-topics", &create).status.success().then_some(()));
    cluster.wait_for_full_isr(TOPIC);
    cluster.wait_for_preferred_leaders(TOPIC);
    let controller = cluster.controller();
    let leader = (1..=3).find(|id| *id != controller).unwrap();
    let leads = cluster.partitions(TOPIC).iter().filter(|(id, ..)| *id == leader.to_string()).count();
    assert_eq!(leads, 2, "{:?}", cluster.partitions(TOPIC));
    let other = (1..=3).find(|id| *id != controller && *id != leader).unwrap();
    (leader, other)
}

/// The first answer after the end names the new leaders, and still lists the node: librdkafka would stall otherwise.
#[test]
fn the_first_answer_after_a_kill_has_new_leaders_and_the_old_broker() {
    let mut cluster = Cluster::start();
    let (leader, other) = prepare(&cluster);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connection = connect(&cluster.nodes[other - 1].address).await;
        assert_eq!(metadata(&connection).await.brokers, [1, 2, 3]);
        cluster.nodes[leader - 1].kill();
        let told = metadata(&connection).await;
        let dead = leader as i32;
        assert!(
            told.leaders.iter().all(|(error, id)| *error == 0 && *id >= 1 && *id != dead),
            "{told:?}\n{}",
            cluster.logs()
        );
        assert_eq!(told.brokers, [1, 2, 3]);
        assert!(!brokers_that_serve(&connection).await.contains(&dead));
    });
}

#[test]
fn a_silent_leader_is_not_named_until_it_answers_again() {
    let cluster = Cluster::start();
    let (leader, other) = prepare(&cluster);
    let frozen = &cluster.nodes[leader - 1];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connection = connect(&cluster.nodes[other - 1].address).await;
        frozen.freeze();
        let told = metadata(&connection).await;
        frozen.thaw();
        let unknown = (ErrorCode::LeaderNotAvailable.code(), -1);
        assert!(told.leaders.iter().all(|(_, id)| *id != leader as i32), "{told:?}");
        assert!(told.leaders.iter().filter(|told| **told == unknown).count() >= 2, "{told:?}");
        loop {
            let told = metadata(&connection).await;
            if told.leaders.iter().filter(|(error, id)| *error == 0 && *id == leader as i32).count() == 2 {
                break;
            }
            tokio::task::yield_now().await;
        }
    });
}

/// The others say at once how far they know, however seldom they beat otherwise.
#[test]
fn a_node_that_takes_its_leave_need_not_wait_for_heartbeats() {
    let cluster =
        Cluster::start_with(|_| "broker.heartbeat.interval.ms=60000\nbroker.session.timeout.ms=180000\n".to_owned());
    let (leader, _) = prepare(&cluster);
    let mut cluster = cluster;
    cluster.nodes[leader - 1].stop();
    let log = cluster.nodes[leader - 1].log();
    assert!(log.contains("stopped") && !log.contains("no controlled shutdown"), "{log}");
    let led = cluster.partitions(TOPIC);
    assert!(led.iter().all(|(id, isr, _)| *id != leader.to_string() && isr.len() == 2), "{led:?}");
    assert!(said(cluster.tool("kafka-topics", &["--list"])).contains(TOPIC));
}
