//! DescribeProducers (61), version 0 (KIP-664): the producers that a partition knows.

use super::{Close, Cx, Reply};
use std::ops::RangeInclusive;
use wire::ErrorCode;
use wire::messages::describe_producers_request::DescribeProducersRequest;
use wire::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};

pub const VERSIONS: RangeInclusive<i16> = 0..=0;

pub async fn handle(cx: &Cx<'_>, request: DescribeProducersRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let topics = request.topics.iter().map(|topic| TopicResponse {
        name: topic.name.clone(),
        partitions: topic.partition_indexes.iter().map(|index| describe(cx, &topic.name, *index)).collect(),
        ..Default::default()
    });
    reply.send(&DescribeProducersResponse { topics: topics.collect(), ..Default::default() })
}

fn describe(cx: &Cx<'_>, topic: &str, partition_index: i32) -> PartitionResponse<'static> {
    let refused = |error: ErrorCode| PartitionResponse {
        partition_index,
        error_code: error.code(),
        error_message: Some(error.message().into()),
        ..Default::default()
    };
    if metadata::controller::check_topic_name(topic).is_err() {
        return refused(ErrorCode::InvalidTopicException);
    }
    let cell = match cx.node.leader(topic, partition_index, -1) {
        Ok(cell) => cell,
        Err(error) => return refused(error),
    };
    let partition = cell.lock();
    PartitionResponse {
        partition_index,
        active_producers: partition
            .log()
            .active_producers()
            .into_iter()
            .map(|p| ProducerState {
                producer_id: p.producer_id,
                producer_epoch: p.producer_epoch as i32,
                last_sequence: p.last_sequence,
                last_timestamp: p.last_timestamp,
                coordinator_epoch: p.coordinator_epoch,
                current_txn_start_offset: p.current_txn_start_offset.unwrap_or(-1),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}
