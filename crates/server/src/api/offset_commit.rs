//! OffsetCommit (8), versions 2–10: a group's positions, kept in its partition of `__consumer_offsets`.
//!
//! Versions: up to 4 a retention time of its own, 6 leader epochs (KIP-320), 7 static members (KIP-345), 8 flexible, 9 an
//! error for groups that do not exist (KIP-848), 10 topics by id (KIP-848).

use super::{Close, Cx, Reply};
use coordinator::request::{CommitPartition, CommitRequest, CommitTopic};
use coordinator::{Reply as Answer, Request};
use metadata::image::Image;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use wire::ErrorCode;
use wire::messages::offset_commit_request::{OffsetCommitRequest, OffsetCommitRequestTopic};
use wire::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

pub const VERSIONS: RangeInclusive<i16> = 2..=10;

const TOPIC_IDS_VERSION: i16 = 10;

pub async fn handle(cx: &Cx<'_>, request: OffsetCommitRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let image = cx.node.image();
    let by_id = cx.version() >= TOPIC_IDS_VERSION;
    let found: Vec<_> = request.topics.iter().map(|topic| find(&image, &topic, by_id)).collect();
    let topics: Vec<CommitTopic> = found
        .iter()
        .filter_map(|topic| topic.as_ref().ok())
        .filter(|topic| !topic.partitions.is_empty())
        .cloned()
        .collect();
    let outcome = match topics.is_empty() {
        true => Ok(Vec::new()),
        false => commit(cx, &request, topics).await,
    };
    let mut outcome = outcome.map(VecDeque::from);
    let responses = request.topics.iter().zip(found).map(|(topic, found)| {
        let partitions = topic.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let error = match &found {
                Err(error) => *error,
                Ok(found) if !found.partitions.iter().any(|known| known.index == index) => {
                    ErrorCode::UnknownTopicOrPartition
                }
                // The coordinator answers what it was given, in order.
                Ok(_) => match &mut outcome {
                    Ok(errors) => errors.pop_front().unwrap_or(ErrorCode::UnknownServerError),
                    Err(error) => *error,
                },
            };
            OffsetCommitResponsePartition { partition_index: index, error_code: error.code() }
        });
        OffsetCommitResponseTopic {
            partitions: partitions.collect(),
            name: topic.name.clone(),
            topic_id: topic.topic_id,
        }
    });
    let topics = responses.collect();
    reply.send(&OffsetCommitResponse { topics, ..Default::default() })
}

/// The topic with those of its partitions that exist.
fn find(image: &Image, topic: &OffsetCommitRequestTopic<'_>, by_id: bool) -> Result<CommitTopic, ErrorCode> {
    let known = match by_id {
        true => image.topics.get(topic.topic_id).ok_or(ErrorCode::UnknownTopicId)?,
        false => image.topics.by_name(&topic.name).ok_or(ErrorCode::UnknownTopicOrPartition)?,
    };
    let partitions = topic.partitions.iter().filter(|partition| known.partition(partition.partition_index).is_some());
    let partitions = partitions.map(|partition| CommitPartition {
        index: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.as_deref().map(Into::into),
    });
    Ok(CommitTopic { name: Arc::clone(&known.name), id: known.id, partitions: partitions.collect() })
}

/// The error of each partition that was handed over, in order.
async fn commit(
    cx: &Cx<'_>,
    request: &OffsetCommitRequest<'_>,
    topics: Vec<CommitTopic>,
) -> Result<Vec<ErrorCode>, ErrorCode> {
    let commit = CommitRequest {
        version: cx.version(),
        group_id: request.group_id.to_string(),
        generation: request.generation_id_or_member_epoch,
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.as_deref().map(Into::into),
        retention_ms: request.retention_time_ms,
        topics,
    };
    match cx.node.groups.ask(cx.node, &request.group_id, Request::CommitOffsets(commit)).await? {
        Answer::CommitOffsets(committed) => {
            Ok(committed.topics.iter().flat_map(|topic| &topic.partitions).map(|(_, error)| *error).collect())
        }
        _ => Err(ErrorCode::UnknownServerError),
    }
}
