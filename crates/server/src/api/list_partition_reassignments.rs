//! ListPartitionReassignments (46), version 0: which partitions are on the move (KIP-455).

use super::{Close, Cx, Reply, undecided};
use metadata::controller::partition_reassignments;
use std::ops::RangeInclusive;
use wire::ErrorCode;
use wire::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use wire::messages::list_partition_reassignments_response::{
    ListPartitionReassignmentsResponse, OngoingPartitionReassignment, OngoingTopicReassignment,
};

pub const VERSIONS: RangeInclusive<i16> = 0..=0;

pub async fn handle(
    cx: &Cx<'_>,
    request: ListPartitionReassignmentsRequest<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), Close> {
    if cx.node.controller.leader().id.is_none() {
        // What is known here may be long past.
        let refusal = undecided(cx.node, ErrorCode::NotController);
        return reply.send(&ListPartitionReassignmentsResponse {
            error_code: refusal.code.code(),
            error_message: refusal.message.map(Into::into),
            ..Default::default()
        });
    }
    let wanted: Option<Vec<(String, Vec<i32>)>> = request
        .topics
        .as_ref()
        .map(|topics| topics.iter().map(|t| (t.name.to_string(), t.partition_indexes.values().collect())).collect());
    let image = cx.node.image();
    let mut topics: Vec<(String, Vec<OngoingPartitionReassignment<'static>>)> = Vec::new();
    for (topic, partition_index, partition) in partition_reassignments(&image, wanted.as_deref()) {
        let ongoing = OngoingPartitionReassignment {
            partition_index,
            replicas: partition.replicas.to_vec().into(),
            adding_replicas: partition.adding_replicas.to_vec().into(),
            removing_replicas: partition.removing_replicas.to_vec().into(),
            ..Default::default()
        };
        match topics.last_mut() {
            Some((name, partitions)) if **name == *topic.name => partitions.push(ongoing),
            _ => topics.push((topic.name.to_string(), vec![ongoing])),
        }
    }
    let topics = topics.into_iter().map(|(name, partitions)| OngoingTopicReassignment {
        name: name.into(),
        partitions: partitions.into(),
        ..Default::default()
    });
    reply.send(&ListPartitionReassignmentsResponse { topics: topics.collect(), ..Default::default() })
}
