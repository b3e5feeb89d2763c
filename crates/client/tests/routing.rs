//! Where a client sends a request, against nodes that answer as Apache Kafka's do.
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod node;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use client::admin::NewTopic;
use node::{admin, deserted, listener, node, run};
use wire::codec::{Encoder, Message};
use wire::messages::create_topics_response::CreatableTopicResult;
use wire::messages::describe_cluster_response::DescribeClusterBroker;
use wire::messages::describe_quorum_response::{PartitionData, TopicData};
use wire::messages::metadata_response::MetadataResponseBroker;
use wire::messages::{CreateTopicsResponse, DescribeClusterResponse, DescribeQuorumResponse, MetadataResponse};
use wire::{ApiKey, ErrorCode};

#[test]
fn a_controller_that_is_gone_is_asked_for_again() {
    run(async {
        let (listener, port) = listener().await;
        let gone = deserted().await;
        let asked = Arc::new(AtomicUsize::new(0));
        let answer = move |key: ApiKey, version: i16, _: &[u8], e: &mut Encoder| match key {
            // Apache Kafka's brokers name any broker that is not fenced, and a dead one for nine seconds.
            ApiKey::Metadata => {
                let broker = |node_id, port: u16| MetadataResponseBroker {
                    node_id,
                    host: "127.0.0.1".into(),
                    port: i32::from(port),
                    ..Default::default()
                };
                let controller_id = if asked.fetch_add(1, Ordering::Relaxed) < 2 { 3 } else { 1 };
                let brokers = vec![broker(1, port), broker(3, gone)].into();
                MetadataResponse { brokers, controller_id, ..Default::default() }.encode(e, version).unwrap();
            }
            _ => {
                let topics = vec![CreatableTopicResult { name: "made".into(), ..Default::default() }].into();
                CreateTopicsResponse { topics, ..Default::default() }.encode(e, version).unwrap();
            }
        };
        tokio::spawn(node(listener, &[(ApiKey::Metadata, 12), (ApiKey::CreateTopics, 7)], Arc::new(answer)));
        let topic = NewTopic { name: "made".to_owned(), ..NewTopic::default() };
        admin(port).await.create_topic(&topic).await.unwrap();
    });
}

#[test]
fn controllers_are_asked_for_the_one_that_leads() {
    const APIS: &[(ApiKey, i16)] = &[(ApiKey::DescribeCluster, 2), (ApiKey::DescribeQuorum, 2)];
    run(async {
        let ((follower, first), (leader, second)) = (listener().await, listener().await);
        let ports = [first, second];
        let controller = move |id: i32| {
            move |key: ApiKey, version: i16, _: &[u8], e: &mut Encoder| match key {
                ApiKey::DescribeCluster => {
                    let controller = |at: usize| DescribeClusterBroker {
                        broker_id: at as i32 + 1,
                        host: "127.0.0.1".into(),
                        port: i32::from(ports[at]),
                        ..Default::default()
                    };
                    let brokers = (0..2).map(controller).collect();
                    let response =
                        DescribeClusterResponse { endpoint_type: 2, controller_id: 2, brokers, ..Default::default() };
                    response.encode(e, version).unwrap();
                }
                // Apache Kafka's controllers that do not lead send nothing on.
                _ if id == 1 => {
                    let error_code = ErrorCode::NotLeaderOrFollower.code();
                    DescribeQuorumResponse { error_code, ..Default::default() }.encode(e, version).unwrap();
                }
                _ => {
                    let partitions = vec![PartitionData { leader_id: 2, ..Default::default() }].into();
                    let topics = vec![TopicData { topic_name: "__cluster_metadata".into(), partitions }].into();
                    DescribeQuorumResponse { topics, ..Default::default() }.encode(e, version).unwrap();
                }
            }
        };
        tokio::spawn(node(follower, APIS, Arc::new(controller(1))));
        tokio::spawn(node(leader, APIS, Arc::new(controller(2))));
        let quorum = admin(first).await.describe_quorum().await.unwrap();
        assert_eq!(quorum.leader_id, 2);
    });
}
