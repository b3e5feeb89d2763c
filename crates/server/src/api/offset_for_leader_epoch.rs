//! OffsetForLeaderEpoch (23), versions 2–4: where a leader epoch ended, for a client that checks whether what it read
//! was truncated meanwhile (KIP-320). Version 3 carries the replica id, 4 is flexible.

use super::{Close, Cx, Reply};
use std::ops::RangeInclusive;
use wire::ErrorCode;
use wire::messages::offset_for_leader_epoch_request::OffsetForLeaderEpochRequest;
use wire::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

pub const VERSIONS: RangeInclusive<i16> = 2..=4;

pub async fn handle(cx: &Cx<'_>, request: OffsetForLeaderEpochRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let topics = request.topics.iter().map(|topic| OffsetForLeaderTopicResult {
        topic: topic.topic.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|p| match end_offset(cx, &topic.topic, p.partition, p.current_leader_epoch, p.leader_epoch) {
                Ok((leader_epoch, end_offset)) => {
                    EpochEndOffset { partition: p.partition, leader_epoch, end_offset, ..Default::default() }
                }
                Err(error) => EpochEndOffset { partition: p.partition, error_code: error.code(), ..Default::default() },
            })
            .collect(),
        ..Default::default()
    });
    reply.send(&OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() })
}

fn end_offset(cx: &Cx<'_>, topic: &str, partition: i32, current: i32, epoch: i32) -> Result<(i32, i64), ErrorCode> {
    let cell = cx.node.leader(topic, partition, current)?;
    let partition = cell.lock();
    Ok(partition.log().epoch_end_offset(epoch))
}
