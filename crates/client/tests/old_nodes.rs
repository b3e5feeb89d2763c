//! What a client asks of nodes that speak older versions, and what it does not.
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod node;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::consumer::{Consumer, Subscription};
use client::{Error, Properties, Topics};
use node::{admin, listener, node, run};
use wire::codec::{Decoder, Encoder, Message};
use wire::messages::metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
use wire::messages::offset_fetch_response::OffsetFetchResponseGroup;
use wire::messages::{FindCoordinatorResponse, MetadataResponse, OffsetFetchRequest, OffsetFetchResponse};
use wire::{ApiKey, Uuid};

/// A cluster of one node with the topic "t", whose only partition has the leader epoch 7.
fn answer(port: u16, key: ApiKey, version: i16, e: &mut Encoder) {
    match key {
        ApiKey::Metadata => {
            let broker = MetadataResponseBroker {
                node_id: 1,
                host: "127.0.0.1".into(),
                port: i32::from(port),
                ..Default::default()
            };
            let partition = MetadataResponsePartition {
                leader_id: 1,
                leader_epoch: 7,
                replica_nodes: vec![1].into(),
                isr_nodes: vec![1].into(),
                ..Default::default()
            };
            let topic = MetadataResponseTopic {
                name: Some("t".into()),
                partitions: vec![partition].into(),
                ..Default::default()
            };
            let response = MetadataResponse {
                brokers: vec![broker].into(),
                controller_id: 1,
                topics: vec![topic].into(),
                ..Default::default()
            };
            response.encode(e, version).unwrap();
        }
        ApiKey::FindCoordinator => {
            let response = FindCoordinatorResponse {
                node_id: 1,
                host: "127.0.0.1".into(),
                port: i32::from(port),
                ..Default::default()
            };
            response.encode(e, version).unwrap();
        }
        other => panic!("{other:?} was asked"),
    }
}

/// The port of such a node that serves `apis` at these versions.
async fn serving(apis: &'static [(ApiKey, i16)]) -> u16 {
    let (listener, port) = listener().await;
    let answers = move |key, version, _: &[u8], e: &mut Encoder| answer(port, key, version, e);
    tokio::spawn(node(listener, apis, Arc::new(answers)));
    port
}

fn properties(port: u16, more: &[(&str, &str)]) -> Properties {
    let servers = ("bootstrap.servers".to_owned(), format!("127.0.0.1:{port}"));
    let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Properties::from([servers]).into_iter().chain(more).collect()
}

#[test]
fn leader_epochs_count_from_the_version_that_has_them_right() {
    run(async {
        for (apis, epoch) in [(&[(ApiKey::Metadata, 8)], -1), (&[(ApiKey::Metadata, 9)], 7)] {
            let port = serving(apis).await;
            let consumer = Consumer::open(&properties(port, &[])).await.unwrap();
            let names = ["t".to_owned()];
            let metadata = consumer.client().metadata(Topics::Names(&names), false, "test").await.unwrap();
            assert_eq!(metadata.topics[0].partitions[0].leader_epoch, epoch, "{apis:?}");
        }
    });
}

#[test]
fn a_static_member_does_not_join_as_an_ordinary_one() {
    const APIS: &[(ApiKey, i16)] = &[
        (ApiKey::Metadata, 8),
        (ApiKey::FindCoordinator, 2),
        (ApiKey::JoinGroup, 4),
        (ApiKey::SyncGroup, 2),
        (ApiKey::Heartbeat, 2),
    ];
    run(async {
        let port = serving(APIS).await;
        let properties = properties(port, &[("group.id", "g"), ("group.instance.id", "i")]);
        let mut consumer = Consumer::open(&properties).await.unwrap();
        consumer.subscribe(Subscription::Topics(vec!["t".to_owned()])).unwrap();
        let refused = loop {
            match consumer.poll(Duration::from_secs(1)).await {
                Ok(records) => assert!(records.is_empty()),
                Err(refused) => break refused,
            }
        };
        let why = "The broker join group protocol version 4 does not support usage of config group.instance.id.";
        assert!(matches!(&refused, Error::Unsupported(text) if text == why), "{refused:?}");
    });
}

#[test]
fn a_groups_offsets_are_told_while_transactions_are_open() {
    const APIS: &[(ApiKey, i16)] = &[(ApiKey::Metadata, 12), (ApiKey::FindCoordinator, 3), (ApiKey::OffsetFetch, 8)];
    run(async {
        let (listener, port) = listener().await;
        let asked = Arc::new(AtomicBool::new(false));
        let seen = asked.clone();
        let answers = move |key: ApiKey, version: i16, body: &[u8], e: &mut Encoder| match key {
            ApiKey::OffsetFetch => {
                let request = OffsetFetchRequest::decode(&mut Decoder::new(body), version).unwrap();
                assert!(!request.require_stable);
                seen.store(true, Ordering::Relaxed);
                let group = OffsetFetchResponseGroup { group_id: "g".into(), ..Default::default() };
                OffsetFetchResponse { groups: vec![group].into(), ..Default::default() }.encode(e, version).unwrap();
            }
            _ => answer(port, key, version, e),
        };
        tokio::spawn(node(listener, APIS, Arc::new(answers)));
        assert!(admin(port).await.group_offsets("g").await.unwrap().is_empty());
        assert!(asked.load(Ordering::Relaxed));
    });
}

#[test]
fn what_a_node_cannot_tell_is_not_told_as_nothing() {
    const APIS: &[(ApiKey, i16)] = &[(ApiKey::Metadata, 11), (ApiKey::DescribeCluster, 1)];
    run(async {
        let port = serving(APIS).await;
        let admin = admin(port).await;
        assert!(matches!(admin.list_reassignments().await, Err(Error::Unsupported(_))));
        assert!(matches!(admin.nodes(true).await, Err(Error::Unsupported(_))));
        let consumer = Consumer::open(&properties(port, &[])).await.unwrap();
        let by_id = consumer.client().metadata(Topics::Ids(&[Uuid::from_u128(9)]), false, "test").await;
        assert!(matches!(by_id, Err(Error::Unsupported(_))), "{by_id:?}");
    });
}
