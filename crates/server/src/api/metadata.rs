//! Metadata (3), versions 0–13: brokers, topics, partitions and their leaders.
//!
//! A topic that does not exist is created when both the client and `auto.create.topics.enable` allow it; unlike Apache
//! Kafka, which answers UNKNOWN_TOPIC_OR_PARTITION first, the answer waits for it. Versions: 4 brought
//! `allow_auto_topic_creation`, 5 offline replicas, 7 leader epochs, 9 is flexible, 10 has topic ids, 12 asks by id.

use super::{Close, Cx, Reply, listed, operations};
use crate::{auto_create, internal_topics, leader_checks};
use ::metadata::image::{Image, Partition, Topic};
use std::collections::{BTreeSet, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use wire::codec::Array;
use wire::messages::metadata_request::MetadataRequest;
use wire::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use wire::{ErrorCode, Uuid};

pub const VERSIONS: RangeInclusive<i16> = 0..=13;

pub async fn handle(cx: &Cx<'_>, request: MetadataRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let node = cx.node;
    if let Some(topics) = &request.topics
        && request.allow_auto_topic_creation
    {
        let missing: Vec<String> = {
            let image = node.image();
            let asked = topics.iter().filter(|t| t.topic_id == Uuid::ZERO);
            asked
                .filter_map(|t| t.name.as_deref().filter(|n| image.topics.by_name(n).is_none()).map(str::to_owned))
                .collect()
        };
        auto_create::topics(node, missing).await;
    }
    let absent = leader_checks::absent(node, leaders(&node.image(), &request, cx.version())).await;
    let image = node.image();
    let asked = Asked {
        image: &image,
        absent: &absent,
        listener: &cx.peer.listener,
        version: cx.version(),
        operations: if request.include_topic_authorized_operations { operations::TOPIC } else { operations::NOT_ASKED },
    };
    // Version 0 has no null: an empty list means all.
    let all = match &request.topics {
        None => true,
        Some(topics) => topics.is_empty() && cx.version() == 0,
    };
    let mut seen = HashSet::new();
    let topics: Array<'_, _> = match &request.topics {
        Some(topics) if !all => topics
            .iter()
            .filter(|t| seen.insert((t.name.as_deref().map(str::to_owned), t.topic_id)))
            .map(|t| match t.name.as_deref() {
                Some(name) if t.topic_id == Uuid::ZERO => asked.by_name(name),
                _ => asked.by_id(t.topic_id),
            })
            .collect(),
        _ => image.topics.iter().map(|topic| asked.topic(topic)).collect(),
    };
    reply.send(&MetadataResponse {
        brokers: listed(node, &cx.peer.listener)
            .into_iter()
            .map(|b| MetadataResponseBroker {
                node_id: b.id,
                host: b.host.into(),
                port: b.port,
                rack: b.rack.map(Into::into),
                ..Default::default()
            })
            .collect(),
        cluster_id: Some(node.cluster_id.as_str().into()),
        controller_id: node.node_id,
        topics,
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            operations::CLUSTER
        } else {
            operations::NOT_ASKED
        },
        ..Default::default()
    })
}

/// Who leads what is asked for.
fn leaders(image: &Image, request: &MetadataRequest<'_>, version: i16) -> BTreeSet<i32> {
    let of = |topic: &Arc<Topic>| topic.partitions.values().map(|partition| partition.leader).collect::<BTreeSet<_>>();
    match &request.topics {
        Some(topics) if version > 0 || !topics.is_empty() => topics
            .iter()
            .filter_map(|t| match t.name.as_deref() {
                Some(name) if t.topic_id == Uuid::ZERO => image.topics.by_name(name),
                _ => image.topics.get(t.topic_id),
            })
            .flat_map(of)
            .collect(),
        _ => image.cluster.brokers().map(|broker| broker.id).collect(),
    }
}

struct Asked<'i> {
    image: &'i Image,
    /// Leaders that are not to be named.
    absent: &'i BTreeSet<i32>,
    listener: &'i str,
    version: i16,
    operations: i32,
}

impl<'i> Asked<'i> {
    fn by_name<'a>(&self, name: &str) -> MetadataResponseTopic<'a>
    where
        'i: 'a,
    {
        match self.image.topics.by_name(name) {
            Some(topic) => self.topic(topic),
            None => {
                let valid = ::metadata::controller::check_topic_name(name).is_ok();
                let error = if valid { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::InvalidTopicException };
                MetadataResponseTopic {
                    error_code: error.code(),
                    name: Some(name.to_owned().into()),
                    is_internal: internal_topics::is_internal(name),
                    topic_authorized_operations: self.operations,
                    ..Default::default()
                }
            }
        }
    }

    fn by_id<'a>(&self, id: Uuid) -> MetadataResponseTopic<'a>
    where
        'i: 'a,
    {
        match self.image.topics.get(id) {
            Some(topic) => self.topic(topic),
            None => MetadataResponseTopic {
                error_code: ErrorCode::UnknownTopicId.code(),
                // Before version 12 a name cannot be null.
                name: (self.version < 12).then(|| "".into()),
                topic_id: id,
                topic_authorized_operations: self.operations,
                ..Default::default()
            },
        }
    }

    fn topic<'a>(&self, topic: &'i Arc<Topic>) -> MetadataResponseTopic<'a>
    where
        'i: 'a,
    {
        MetadataResponseTopic {
            error_code: 0,
            name: Some(topic.name.as_ref().into()),
            topic_id: topic.id,
            is_internal: internal_topics::is_internal(&topic.name),
            partitions: topic.partitions.iter().map(|(index, p)| self.partition(*index, p)).collect(),
            topic_authorized_operations: self.operations,
            ..Default::default()
        }
    }

    fn partition<'a>(&self, index: i32, partition: &Partition) -> MetadataResponsePartition<'a> {
        let is_alive = |id: i32| self.image.cluster.broker(id).is_some_and(|b| !b.fenced);
        let leader = self.image.cluster.broker(partition.leader).filter(|b| !b.fenced && !self.absent.contains(&b.id));
        let error = match leader {
            None => ErrorCode::LeaderNotAvailable,
            Some(leader) if leader.endpoint(self.listener).is_none() && self.version >= 6 => {
                ErrorCode::ListenerNotFound
            }
            Some(leader) if leader.endpoint(self.listener).is_none() => ErrorCode::LeaderNotAvailable,
            Some(_) => ErrorCode::None,
        };
        let is_led = error == ErrorCode::None;
        // The oldest clients look up every replica among the brokers, and have an error for those that are not there.
        let is_listed = |id: &i32| {
            let broker = self.image.cluster.broker(*id);
            self.version > 0 || broker.is_some_and(|b| !b.fenced && b.endpoint(self.listener).is_some())
        };
        let replicas: Vec<i32> = partition.replicas.iter().copied().filter(is_listed).collect();
        let isr: Vec<i32> = partition.isr.iter().copied().filter(is_listed).collect();
        let error = match error {
            ErrorCode::None if replicas.len() < partition.replicas.len() || isr.len() < partition.isr.len() => {
                ErrorCode::ReplicaNotAvailable
            }
            error => error,
        };
        MetadataResponsePartition {
            error_code: error.code(),
            partition_index: index,
            leader_id: if is_led { partition.leader } else { -1 },
            leader_epoch: partition.leader_epoch,
            replica_nodes: replicas.into(),
            isr_nodes: isr.into(),
            offline_replicas: partition.replicas.iter().copied().filter(|id| !is_alive(*id)).collect(),
            ..Default::default()
        }
    }
}
