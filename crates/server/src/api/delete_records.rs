//! DeleteRecords (21), versions 0–2: moves a partition's log start offset; -1 stands for the high watermark.

use super::{Close, Cx, Reply};
use crate::internal_topics;
use std::ops::RangeInclusive;
use wire::ErrorCode;
use wire::messages::delete_records_request::DeleteRecordsRequest;
use wire::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

pub const VERSIONS: RangeInclusive<i16> = 0..=2;
const HIGH_WATERMARK: i64 = -1;

pub async fn handle(cx: &Cx<'_>, request: DeleteRecordsRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let topics = request.topics.iter().map(|topic| DeleteRecordsTopicResult {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|p| {
                let deleted = delete(cx, &topic.name, p.partition_index, p.offset);
                DeleteRecordsPartitionResult {
                    partition_index: p.partition_index,
                    low_watermark: *deleted.as_ref().unwrap_or(&-1),
                    error_code: deleted.err().unwrap_or(ErrorCode::None).code(),
                    ..Default::default()
                }
            })
            .collect(),
        ..Default::default()
    });
    reply.send(&DeleteRecordsResponse { topics: topics.collect(), ..Default::default() })
}

/// The new log start offset.
fn delete(cx: &Cx<'_>, topic: &str, index: i32, offset: i64) -> Result<i64, ErrorCode> {
    if internal_topics::is_internal(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let cell = cx.node.leader(topic, index, -1)?;
    let deletes = cx.node.partitions.table().by_name(topic).is_some_and(|t| t.config.delete);
    // Kafka: only a topic with the delete policy may lose records at its start.
    if !deletes {
        return Err(ErrorCode::PolicyViolation);
    }
    let mut partition = cell.lock();
    let high_watermark = partition.high_watermark();
    let before = if offset == HIGH_WATERMARK { high_watermark } else { offset };
    if !(0..=high_watermark).contains(&before) {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    if let Err(fault) = partition.log_mut().delete_records(before, cx.node.clock.now_ms()) {
        drop(partition);
        cx.node.log_failed(&cell, &fault);
        return Err(ErrorCode::KafkaStorageError);
    }
    let start = partition.log().log_start_offset();
    drop(partition);
    cx.node.housekeeping.checkpoint_soon();
    Ok(start)
}
