//! DeleteRecords (21), versions 0–2: moves a partition's log start offset; -1 stands for the high watermark. The answer waits
//! until the replicas on live brokers have done it too.

use super::{Close, Cx, Reply};
use crate::internal_topics;
use crate::partitions::Cell;
use replication::Park;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use wire::ErrorCode;
use wire::messages::delete_records_request::DeleteRecordsRequest;
use wire::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

pub const VERSIONS: RangeInclusive<i16> = 0..=2;
const HIGH_WATERMARK: i64 = -1;
/// Kafka's low watermark where there is none to tell.
const UNKNOWN: i64 = -1;

/// A deletion that this node, as the leader, has done.
struct Deletion {
    cell: Arc<Cell>,
    before: i64,
}

pub async fn handle(cx: &Cx<'_>, request: DeleteRecordsRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let park = Park::new(1);
    let mut deletions = Vec::new();
    for topic in request.topics.iter() {
        for p in topic.partitions.iter() {
            deletions.push(delete(cx, &topic.name, p.partition_index, p.offset, &park));
        }
    }
    park.credit(1); // its own unit, which kept it from being released before the last deletion was parked
    let longest = Duration::from_millis(request.timeout_ms.max(0) as u64);
    let _ = tokio::time::timeout(longest, park.released()).await; // what is still open then is told below
    park.finish();
    let mut deletions = deletions.into_iter();
    let topics = request.topics.iter().map(|topic| DeleteRecordsTopicResult {
        name: topic.name.clone(),
        partitions: (topic.partitions.iter().zip(&mut deletions))
            .map(|(p, deletion)| {
                let (low_watermark, error) =
                    deletion.map_or_else(|code| (UNKNOWN, code), |deletion| outcome(&deletion));
                DeleteRecordsPartitionResult {
                    partition_index: p.partition_index,
                    low_watermark,
                    error_code: error.code(),
                    ..Default::default()
                }
            })
            .collect(),
        ..Default::default()
    });
    reply.send(&DeleteRecordsResponse { topics: topics.collect(), ..Default::default() })
}

/// Deletes on this node, and has `park` wait for the others.
fn delete(cx: &Cx<'_>, topic: &str, index: i32, offset: i64, park: &Arc<Park>) -> Result<Deletion, ErrorCode> {
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
    if let Err(fault) = partition.delete_records(before, cx.node.clock.now_ms()) {
        drop(partition);
        cx.node.log_failed(&cell, &fault);
        return Err(ErrorCode::KafkaStorageError);
    }
    park.expect(1);
    partition.park_deletion(before, park.clone());
    drop(partition);
    cx.node.housekeeping.checkpoint_soon();
    Ok(Deletion { cell, before })
}

/// The low watermark, and whether it is where it was to be.
fn outcome(deletion: &Deletion) -> (i64, ErrorCode) {
    let partition = deletion.cell.lock();
    match partition.deleted(deletion.before) {
        Some(Ok(low_watermark)) => (low_watermark, ErrorCode::None),
        Some(Err(code)) => (UNKNOWN, code),
        None => (partition.low_watermark(), ErrorCode::RequestTimedOut),
    }
}
