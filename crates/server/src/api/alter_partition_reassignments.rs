//! AlterPartitionReassignments (45), versions 0–1: moves replicas, or takes that back (KIP-455). Version 1 can forbid that
//! the number of replicas changes (KIP-860).

use super::{Close, Cx, Reply, in_time};
use metadata::controller::ReassignPartition;
use std::ops::RangeInclusive;
use wire::ErrorCode;
use wire::messages::alter_partition_reassignments_request::AlterPartitionReassignmentsRequest;
use wire::messages::alter_partition_reassignments_response::{
    AlterPartitionReassignmentsResponse, ReassignablePartitionResponse, ReassignableTopicResponse,
};

pub const VERSIONS: RangeInclusive<i16> = 0..=1;

pub async fn handle(
    cx: &Cx<'_>,
    request: AlterPartitionReassignmentsRequest<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), Close> {
    let mut wanted = Vec::new();
    for topic in &request.topics {
        wanted.extend(topic.partitions.iter().map(|p| ReassignPartition {
            topic: topic.name.to_string(),
            partition: p.partition_index,
            replicas: p.replicas.as_ref().map(|ids| ids.values().collect()),
        }));
    }
    let may_change = request.allow_replication_factor_change;
    let done =
        in_time(cx.node, request.timeout_ms, cx.node.controller.alter_partition_reassignments(wanted, may_change))
            .await;
    let mut response =
        AlterPartitionReassignmentsResponse { allow_replication_factor_change: may_change, ..Default::default() };
    match done {
        Err(refusal) => {
            response.error_code = refusal.code.code();
            response.error_message = refusal.message.map(Into::into);
        }
        Ok(results) => {
            let mut topics: Vec<(String, Vec<ReassignablePartitionResponse<'static>>)> = Vec::new();
            for (topic, partition_index, result) in results {
                let refusal = result.err();
                let result = ReassignablePartitionResponse {
                    partition_index,
                    error_code: refusal.as_ref().map_or(ErrorCode::None, |r| r.code).code(),
                    error_message: refusal.and_then(|r| r.message).map(Into::into),
                    ..Default::default()
                };
                match topics.last_mut() {
                    Some((name, results)) if *name == topic => results.push(result),
                    _ => topics.push((topic, vec![result])),
                }
            }
            let topics = topics.into_iter().map(|(name, partitions)| ReassignableTopicResponse {
                name: name.into(),
                partitions: partitions.into(),
                ..Default::default()
            });
            response.responses = topics.collect();
        }
    }
    reply.send(&response)
}
