//! OffsetFetch (9), versions 1–10: the positions that groups have committed.
//!
//! Versions: 2 everything a group has (null topics) and an error for the group, 5 leader epochs (KIP-320), 6 flexible, 7
//! stable offsets only (KIP-447), 8 several groups (KIP-709), 10 topics by id (KIP-848).

use super::{Close, Cx, Reply};
use coordinator::request::{FetchReplyTopic, FetchRequest, FetchTopic, FetchedOffset};
use coordinator::{Reply as Answer, Request};
use metadata::image::Image;
use std::ops::RangeInclusive;
use std::sync::Arc;
use wire::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};
use wire::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use wire::{ErrorCode, Uuid};

pub const VERSIONS: RangeInclusive<i16> = 1..=10;

/// From here on a group has an error of its own.
const GROUP_ERROR_VERSION: i16 = 2;
const SEVERAL_GROUPS_VERSION: i16 = 8;
const TOPIC_IDS_VERSION: i16 = 10;

pub async fn handle(cx: &Cx<'_>, request: OffsetFetchRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    if cx.version() < SEVERAL_GROUPS_VERSION {
        return one_group(cx, &request, reply).await;
    }
    let image = cx.node.image();
    let mut groups = Vec::with_capacity(request.groups.len());
    for group in &request.groups {
        let (error, topics) = match fetch_group(cx, &image, &group, request.require_stable).await {
            Ok(topics) => (ErrorCode::None, topics),
            Err(error) => (error, Vec::new()),
        };
        groups.push(OffsetFetchResponseGroup {
            group_id: group.group_id.to_string().into(),
            topics: topics.into(),
            error_code: error.code(),
        });
    }
    reply.send(&OffsetFetchResponse { groups: groups.into(), ..Default::default() })
}

async fn fetch(
    cx: &Cx<'_>,
    group_id: &str,
    topics: Option<Vec<FetchTopic>>,
    require_stable: bool,
) -> Result<Vec<FetchReplyTopic>, ErrorCode> {
    let fetch = FetchRequest { group_id: group_id.to_owned(), topics, require_stable };
    let fetched = match cx.node.groups.ask(cx.node, group_id, Request::FetchOffsets(fetch)).await {
        Ok(Answer::FetchOffsets(fetched)) if fetched.error == ErrorCode::None => Ok(fetched.topics),
        Ok(Answer::FetchOffsets(fetched)) => Err(fetched.error),
        Ok(_) => Err(ErrorCode::UnknownServerError),
        Err(error) => Err(error),
    };
    fetched.map_err(|error| match error {
        // Java's consumers before 3.9 end over it here (KAFKA-17267), and ask again after the other.
        ErrorCode::CoordinatorNotAvailable => ErrorCode::NotCoordinator,
        error => error,
    })
}

async fn one_group(cx: &Cx<'_>, request: &OffsetFetchRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let topics = request.topics.as_ref().map(|topics| {
        let topics = topics.iter().map(|topic| FetchTopic {
            name: Arc::from(&*topic.name),
            id: Uuid::ZERO,
            partitions: topic.partition_indexes.values().collect(),
        });
        topics.collect::<Vec<_>>()
    });
    let (error, topics) = match fetch(cx, &request.group_id, topics.clone(), request.require_stable).await {
        Ok(topics) => (ErrorCode::None, topics),
        // The oldest version says it for each partition.
        Err(error) if cx.version() < GROUP_ERROR_VERSION => (ErrorCode::None, all_refused(topics, error)),
        Err(error) => (error, Vec::new()),
    };
    let topics = topics.iter().map(|topic| OffsetFetchResponseTopic {
        name: (*topic.name).into(),
        partitions: topic
            .partitions
            .iter()
            .map(|fetched| OffsetFetchResponsePartition {
                partition_index: fetched.index,
                committed_offset: fetched.offset,
                committed_leader_epoch: fetched.leader_epoch,
                metadata: Some(fetched.metadata.as_deref().unwrap_or("").into()),
                error_code: fetched.error.code(),
            })
            .collect(),
    });
    reply.send(&OffsetFetchResponse { error_code: error.code(), topics: topics.collect(), ..Default::default() })
}

fn all_refused(topics: Option<Vec<FetchTopic>>, error: ErrorCode) -> Vec<FetchReplyTopic> {
    let refused = |topic: FetchTopic| FetchReplyTopic {
        name: topic.name,
        id: topic.id,
        partitions: topic.partitions.into_iter().map(|index| nothing(index, error)).collect(),
    };
    topics.into_iter().flatten().map(refused).collect()
}

fn nothing(index: i32, error: ErrorCode) -> FetchedOffset {
    FetchedOffset { index, offset: -1, leader_epoch: -1, metadata: None, error }
}

async fn fetch_group(
    cx: &Cx<'_>,
    image: &Image,
    group: &OffsetFetchRequestGroup<'_>,
    require_stable: bool,
) -> Result<Vec<OffsetFetchResponseTopics<'static>>, ErrorCode> {
    let by_id = cx.version() >= TOPIC_IDS_VERSION;
    let Some(asked) = &group.topics else {
        let topics = fetch(cx, &group.group_id, None, require_stable).await?;
        // Topics that are gone have no id to name them by.
        let id = |topic: &FetchReplyTopic| image.topics.by_name(&topic.name).map(|known| known.id);
        let topics = topics.into_iter().filter_map(|topic| match by_id {
            true => id(&topic).map(|id| response(topic, id)),
            false => Some(response(topic, Uuid::ZERO)),
        });
        return Ok(topics.collect());
    };
    let mut topics = Vec::new();
    let mut unknown = Vec::new();
    for topic in asked {
        let partitions: Vec<i32> = topic.partition_indexes.values().collect();
        let known = image.topics.get(topic.topic_id).filter(|_| by_id);
        match known {
            Some(known) => topics.push(FetchTopic { name: known.name.clone(), id: known.id, partitions }),
            None if by_id => {
                let partitions =
                    partitions.into_iter().map(|index| nothing(index, ErrorCode::UnknownTopicId)).collect();
                unknown.push(FetchReplyTopic { name: Arc::from(""), id: topic.topic_id, partitions });
            }
            None => topics.push(FetchTopic { name: Arc::from(&*topic.name), id: Uuid::ZERO, partitions }),
        }
    }
    let fetched = fetch(cx, &group.group_id, Some(topics), require_stable).await?;
    Ok(fetched
        .into_iter()
        .chain(unknown)
        .map(|topic| {
            let id = topic.id;
            response(topic, id)
        })
        .collect())
}

fn response(topic: FetchReplyTopic, topic_id: Uuid) -> OffsetFetchResponseTopics<'static> {
    let partitions = topic.partitions.into_iter().map(|fetched| OffsetFetchResponsePartitions {
        partition_index: fetched.index,
        committed_offset: fetched.offset,
        committed_leader_epoch: fetched.leader_epoch,
        metadata: Some(fetched.metadata.as_deref().unwrap_or("").to_owned().into()),
        error_code: fetched.error.code(),
    });
    OffsetFetchResponseTopics { name: topic.name.to_string().into(), topic_id, partitions: partitions.collect() }
}
