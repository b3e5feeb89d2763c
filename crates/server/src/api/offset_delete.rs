//! OffsetDelete (47), version 0: forgets offsets of topics that a group does not subscribe to (KIP-496).

use super::{Close, Cx, Reply};
use coordinator::request::{DeleteOffsetsReply, DeleteOffsetsRequest};
use coordinator::{Reply as Answer, Request};
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use wire::ErrorCode;
use wire::messages::offset_delete_request::OffsetDeleteRequest;
use wire::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

pub const VERSIONS: RangeInclusive<i16> = 0..=0;

pub async fn handle(cx: &Cx<'_>, request: OffsetDeleteRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let image = cx.node.image();
    let mut topics: Vec<(Arc<str>, Vec<i32>)> = Vec::new();
    for topic in &request.topics {
        let Some(known) = image.topics.by_name(&topic.name) else { continue };
        let partitions = topic.partitions.iter().map(|partition| partition.partition_index);
        topics.push((known.name.clone(), partitions.filter(|index| known.partition(*index).is_some()).collect()));
    }
    let delete = DeleteOffsetsRequest { group_id: request.group_id.to_string(), topics };
    let deleted = match cx.node.groups.ask(cx.node, &request.group_id, Request::DeleteOffsets(delete)).await {
        Ok(Answer::DeleteOffsets(deleted)) => deleted,
        Ok(_) => DeleteOffsetsReply { error: ErrorCode::UnknownServerError, topics: Vec::new() },
        Err(error) => DeleteOffsetsReply { error, topics: Vec::new() },
    };
    if deleted.error != ErrorCode::None {
        return reply.send(&OffsetDeleteResponse { error_code: deleted.error.code(), ..Default::default() });
    }
    let errors: HashMap<(&str, i32), ErrorCode> = deleted
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|(index, error)| ((&*topic.name, *index), *error)))
        .collect();
    let topics = request.topics.iter().map(|topic| OffsetDeleteResponseTopic {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| {
                let error = errors.get(&(&*topic.name, partition.partition_index));
                let error = error.copied().unwrap_or(ErrorCode::UnknownTopicOrPartition);
                OffsetDeleteResponsePartition { partition_index: partition.partition_index, error_code: error.code() }
            })
            .collect(),
    });
    let topics = topics.collect();
    reply.send(&OffsetDeleteResponse { topics, ..Default::default() })
}
