//! DescribeQuorum (55), versions 0–2: who keeps the cluster's state, and how far each is (KIP-595). Version 1 tells times
//! (KIP-836), 2 directories and endpoints (KIP-853).

use super::{Close, Cx, Reply, undecided};
use crate::quorum::{Description, ReplicaState as Progress};
use metadata::controller::{METADATA_TOPIC, Refusal};
use std::ops::RangeInclusive;
use wire::messages::describe_quorum_request::DescribeQuorumRequest;
use wire::messages::describe_quorum_response::{
    DescribeQuorumResponse, Listener, Node, PartitionData, ReplicaState, TopicData,
};
use wire::{ErrorCode, Uuid};

pub const VERSIONS: RangeInclusive<i16> = 0..=2;
const DIRECTORIES_FROM: i16 = 2;

pub async fn handle(cx: &Cx<'_>, request: DescribeQuorumRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let view = match cx.node.controller.describe().await {
        Ok(view) if view.leader.is_here => view,
        _ => {
            let refusal = match cx.node.controller.leader().id {
                Some(_) => Refusal::with_default_text(ErrorCode::NotLeaderOrFollower),
                None => undecided(cx.node, ErrorCode::NotController),
            };
            return reply.send(&DescribeQuorumResponse {
                error_code: refusal.code.code(),
                error_message: refusal.message.map(Into::into),
                ..Default::default()
            });
        }
    };
    let now_ms = cx.node.clock.now_ms();
    let asked_well = request.topics.len() == 1
        && request.topics.iter().all(|topic| {
            topic.topic_name == METADATA_TOPIC
                && topic.partitions.len() == 1
                && topic.partitions.iter().all(|partition| partition.partition_index == 0)
        });
    let topics = request.topics.iter().map(|topic| TopicData {
        topic_name: topic.topic_name.to_string().into(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| match asked_well {
                true => described(&view, now_ms, cx.version()),
                false => PartitionData {
                    partition_index: partition.partition_index,
                    error_code: ErrorCode::UnknownTopicOrPartition.code(),
                    ..Default::default()
                },
            })
            .collect(),
    });
    let nodes = view.voters.iter().map(|voter| Node {
        node_id: voter.id,
        listeners: voter
            .endpoints
            .iter()
            .map(|endpoint| Listener {
                name: endpoint.name.clone().into(),
                host: endpoint.host.clone().into(),
                port: endpoint.port,
            })
            .collect(),
    });
    let nodes = if asked_well && cx.version() >= DIRECTORIES_FROM { nodes.collect() } else { Default::default() };
    reply.send(&DescribeQuorumResponse { topics: topics.collect(), nodes, ..Default::default() })
}

fn described(view: &Description, now_ms: i64, version: i16) -> PartitionData<'static> {
    let state = |progress: &Progress| ReplicaState {
        replica_id: progress.replica.id,
        replica_directory_id: if version >= DIRECTORIES_FROM { progress.replica.directory_id } else { Uuid::ZERO },
        log_end_offset: progress.log_end_offset,
        last_fetch_timestamp: progress.last_fetch_ms.map_or(-1, |ago| now_ms - ago),
        last_caught_up_timestamp: progress.last_caught_up_ms.map_or(-1, |ago| now_ms - ago),
    };
    PartitionData {
        partition_index: 0,
        leader_id: view.leader.id.unwrap_or(-1),
        leader_epoch: view.leader.epoch,
        high_watermark: view.high_watermark,
        current_voters: view.voter_states.iter().map(state).collect(),
        observers: view.observer_states.iter().map(state).collect(),
        ..Default::default()
    }
}
