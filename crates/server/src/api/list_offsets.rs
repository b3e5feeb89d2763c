//! ListOffsets (2), versions 1–11: offsets by timestamp, and the named ones (latest, earliest, max timestamp, ...).
//!
//! Versions: 2 brought isolation levels, 4 leader epochs, 7 max timestamp (KIP-734), 8 earliest local (KIP-405), 9 latest
//! tiered (KIP-1005), 11 earliest pending upload. Nothing is tiered here, so "local" is everything and nothing waits to be.

use super::fetch::DEBUGGER;
use super::{Close, Cx, Reply};
use crate::partitions::Cell;
use replication::Partition;
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use storage::ReadError;
use wire::ErrorCode;
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use wire::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};

pub const VERSIONS: RangeInclusive<i16> = 1..=11;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;
const NONE: Found = Found { timestamp: -1, offset: -1, epoch: -1 };

struct Found {
    timestamp: i64,
    offset: i64,
    epoch: i32,
}

pub async fn handle(cx: &Cx<'_>, request: ListOffsetsRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let committed = request.isolation_level == 1;
    let mut times: HashMap<(String, i32), u32> = HashMap::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            *times.entry((topic.name.to_string(), partition.partition_index)).or_default() += 1;
        }
    }
    let mut topics = Vec::new();
    for topic in &request.topics {
        let mut partitions = Vec::new();
        for partition in &topic.partitions {
            // What is named more than once is refused, once.
            let found = match times.insert((topic.name.to_string(), partition.partition_index), 0) {
                Some(1) => look_up(cx, &topic.name, &partition, committed, request.replica_id).await,
                Some(2..) => Err(ErrorCode::InvalidRequest),
                _ => continue,
            };
            partitions.push(answer(cx, partition.partition_index, found));
        }
        topics.push(ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: partitions.into(),
            ..Default::default()
        });
    }
    reply.send(&ListOffsetsResponse { topics: topics.into(), ..Default::default() })
}

fn answer(cx: &Cx<'_>, partition_index: i32, found: Result<Found, ErrorCode>) -> ListOffsetsPartitionResponse {
    let (error, found) = match found {
        Ok(found) => (ErrorCode::None, found),
        Err(error) => (error, NONE),
    };
    ListOffsetsPartitionResponse {
        partition_index,
        error_code: error.code(),
        timestamp: found.timestamp,
        offset: found.offset,
        // Older versions have no place for it, and none that may be left out silently.
        leader_epoch: if cx.version() >= 4 { found.epoch } else { -1 },
        ..Default::default()
    }
}

/// The oldest version that knows a named offset.
fn since(timestamp: i64) -> i16 {
    match timestamp {
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        EARLIEST_PENDING_UPLOAD => 11,
        LATEST | EARLIEST | 0.. => 1,
        _ => i16::MAX,
    }
}

async fn look_up(
    cx: &Cx<'_>,
    topic: &str,
    wanted: &ListOffsetsPartition,
    committed: bool,
    replica_id: i32,
) -> Result<Found, ErrorCode> {
    if cx.version() < since(wanted.timestamp) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let cell = match replica_id {
        DEBUGGER => cx.node.replica(topic, wanted.partition_index, wanted.current_leader_epoch)?,
        _ => cx.node.leader(topic, wanted.partition_index, wanted.current_leader_epoch)?,
    };
    let timestamp = wanted.timestamp;
    let ends = match replica_id {
        0.. | DEBUGGER => Ends::Replica,
        _ => Ends::Client { committed, not_available: not_available(cx.version()) },
    };
    if matches!(timestamp, LATEST | EARLIEST) {
        return named(&cell.lock(), timestamp, ends);
    }
    // Looking through a log may read from the disk, which is not for the reactor.
    let found = {
        let cell = cell.clone();
        cx.node.runtime.spawn_blocking(move || search(&cell, timestamp, ends)).await
    };
    match found {
        Ok(Ok(found)) => found,
        Ok(Err(ReadError::Fault(fault))) => {
            cx.node.log_failed(&cell, &fault);
            Err(ErrorCode::KafkaStorageError)
        }
        Ok(Err(ReadError::Damaged { .. })) => Err(ErrorCode::CorruptMessage),
        Ok(Err(ReadError::OffsetOutOfRange)) => Ok(NONE),
        Err(_) => Err(ErrorCode::UnknownServerError),
    }
}

fn named(partition: &Partition, timestamp: i64, ends: Ends) -> Result<Found, ErrorCode> {
    let log = partition.log();
    Ok(match timestamp {
        LATEST => Found { timestamp: -1, offset: ends.of(partition)?, epoch: partition.leader_epoch() },
        _ => {
            let offset = log.log_start_offset();
            Found { timestamp: -1, offset, epoch: log.epoch_of(offset).unwrap_or(-1) }
        }
    })
}

/// Up to where somebody may know of the log.
#[derive(Clone, Copy)]
enum Ends {
    /// A follower, or who compares replicas: all of it.
    Replica,
    Client {
        committed: bool,
        not_available: ErrorCode,
    },
}

impl Ends {
    /// # Errors
    /// While a new leader does not know yet what its predecessors had committed: offsets must not go back (KIP-207).
    fn of(self, partition: &Partition) -> Result<i64, ErrorCode> {
        match self {
            Ends::Replica => Ok(partition.log().log_end_offset()),
            Ends::Client { not_available, .. } if !partition.knows_committed() => Err(not_available),
            Ends::Client { committed: true, .. } => Ok(partition.last_stable_offset()),
            Ends::Client { .. } => Ok(partition.high_watermark()),
        }
    }
}

fn not_available(version: i16) -> ErrorCode {
    if version >= 5 { ErrorCode::OffsetNotAvailable } else { ErrorCode::LeaderNotAvailable }
}

fn search(cell: &Arc<Cell>, timestamp: i64, ends: Ends) -> Result<Result<Found, ErrorCode>, ReadError> {
    let partition = cell.lock();
    let log = partition.log();
    let found = match timestamp {
        EARLIEST_LOCAL => {
            let offset = log.log_start_offset();
            return Ok(Ok(Found { timestamp: -1, offset, epoch: log.epoch_of(offset).unwrap_or(-1) }));
        }
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => return Ok(Ok(NONE)),
        MAX_TIMESTAMP => log.offset_of_max_timestamp()?,
        _ => log.offset_for_timestamp(timestamp)?,
    };
    let readable = match ends {
        Ends::Replica => partition.log().log_end_offset(),
        Ends::Client { committed: true, .. } => partition.last_stable_offset(),
        Ends::Client { .. } => partition.high_watermark(),
    };
    Ok(match found {
        Some(found) if found.offset < readable => {
            Ok(Found { timestamp: found.timestamp, offset: found.offset, epoch: found.leader_epoch })
        }
        // What is there may turn out to be committed.
        Some(_) => ends.of(&partition).map(|_| NONE),
        None => Ok(NONE),
    })
}
