//! What single replicas have, for comparing them.

use std::time::Duration;

use wire::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use wire::messages::{FetchRequest, FetchResponse};
use wire::{ApiKey, ErrorCode, Uuid};

use super::Admin;
use crate::{Error, To};

/// The replica id of somebody who debugs: brokers answer with what they have, whether they lead or not.
const DEBUGGER: i32 = -2;
const TOPIC_IDS_FROM: i16 = 13;
const REPLICA_STATE_FROM: i16 = 15;

/// Where to read a partition from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaPosition {
    pub topic: String,
    pub topic_id: Uuid,
    pub partition: i32,
    pub offset: i64,
}

/// What a replica has at a position, up to what it knows to be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaRecords {
    pub topic: String,
    pub partition: i32,
    pub error: ErrorCode,
    pub high_watermark: i64,
    /// Batches; the last one may be cut.
    pub records: Vec<u8>,
}

impl Admin {
    /// Reads partitions from broker `node`, up to `max_bytes` of each.
    ///
    /// # Errors
    /// The broker does not answer, or refuses the request as a whole.
    pub async fn read_replicas(
        &self,
        node: i32,
        positions: &[ReplicaPosition],
        max_bytes: i32,
        max_wait: Duration,
    ) -> Result<Vec<ReplicaRecords>, Error> {
        let connection = self.client.connect(&To::Node(node), "fetch").await?;
        let mut version = connection.version(ApiKey::Fetch)?;
        if positions.iter().any(|at| at.topic_id.is_zero()) {
            version = version.min(TOPIC_IDS_FROM - 1);
        }
        let topics = positions.chunk_by(|a, b| a.topic == b.topic).map(|same| FetchTopic {
            topic: same[0].topic.as_str().into(),
            topic_id: same[0].topic_id,
            partitions: same
                .iter()
                .map(|at| FetchPartition {
                    partition: at.partition,
                    current_leader_epoch: -1,
                    fetch_offset: at.offset,
                    partition_max_bytes: max_bytes,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        });
        let mut request = FetchRequest {
            max_wait_ms: i32::try_from(max_wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: 1,
            max_bytes: i32::MAX,
            topics: topics.collect(),
            ..Default::default()
        };
        match version >= REPLICA_STATE_FROM {
            true => {
                request.replica_state = ReplicaState { replica_id: DEBUGGER, replica_epoch: -1, ..Default::default() }
            }
            false => request.replica_id = DEBUGGER,
        }
        let patience = self.client.config().request_timeout + max_wait;
        let reply = connection.start_within(version, &request, patience).await?.reply().await?;
        let response: FetchResponse<'_> = reply.decode()?;
        Error::check(ErrorCode::from_code(response.error_code), None)?;
        let mut found = Vec::new();
        for topic in &response.responses {
            let name = match topic.topic.is_empty() {
                false => Some(topic.topic.to_string()),
                true => positions.iter().find(|at| at.topic_id == topic.topic_id).map(|at| at.topic.clone()),
            };
            let Some(name) = name else { continue };
            found.extend(topic.partitions.iter().map(|p| ReplicaRecords {
                topic: name.clone(),
                partition: p.partition_index,
                error: ErrorCode::from_code(p.error_code),
                high_watermark: p.high_watermark,
                records: p.records.as_ref().and_then(|r| r.borrowed()).unwrap_or_default().to_vec(),
            }));
        }
        Ok(found)
    }
}
