//! ElectLeaders (43), versions 0–2: has the controller elect leaders, the preferred ones or (from 1 on) uncleanly.

use super::{Close, Cx, Reply, in_time};
use metadata::controller::{ElectedPartition, ElectionType, Refusal};
use std::ops::RangeInclusive;
use wire::ErrorCode;
use wire::messages::elect_leaders_request::ElectLeadersRequest;
use wire::messages::elect_leaders_response::{ElectLeadersResponse, PartitionResult, ReplicaElectionResult};

pub const VERSIONS: RangeInclusive<i16> = 0..=2;
/// An answer can carry an error of its own from this version on; before, its partitions do.
const WHOLE_ERROR_FROM: i16 = 1;

pub async fn handle(cx: &Cx<'_>, request: ElectLeadersRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let partitions: Option<Vec<(String, Vec<i32>)>> = request
        .topic_partitions
        .as_ref()
        .map(|topics| topics.iter().map(|t| (t.topic.to_string(), t.partitions.values().collect())).collect());
    let all_refused = |refusal: Refusal| {
        let named = partitions.iter().flatten().flat_map(|(topic, ids)| ids.iter().map(move |id| (topic, *id)));
        named.map(|(topic, id)| (topic.clone(), id, Err(refusal.clone()))).collect()
    };
    let (error, results) = match election(request.election_type) {
        None => {
            let refusal = Refusal::new(ErrorCode::InvalidRequest, "There is no such type of election.");
            (ErrorCode::InvalidRequest, all_refused(refusal))
        }
        Some(election) => {
            let elected = cx.node.controller.elect_leaders(election, partitions.clone());
            match in_time(cx.node, request.timeout_ms, elected).await {
                Ok(Ok(results)) => (ErrorCode::None, results),
                Ok(Err(refusal)) | Err(refusal) => (refusal.code, all_refused(refusal)),
            }
        }
    };
    reply.send(&ElectLeadersResponse {
        error_code: if cx.version() >= WHOLE_ERROR_FROM { error.code() } else { 0 },
        replica_election_results: by_topic(results).into(),
        ..Default::default()
    })
}

fn election(kind: i8) -> Option<ElectionType> {
    match kind {
        0 => Some(ElectionType::Preferred),
        1 => Some(ElectionType::Unclean),
        _ => None,
    }
}

fn by_topic(results: Vec<ElectedPartition>) -> Vec<ReplicaElectionResult<'static>> {
    let mut topics: Vec<(String, Vec<PartitionResult<'static>>)> = Vec::new();
    for (topic, partition_id, result) in results {
        let refusal = result.err();
        let result = PartitionResult {
            partition_id,
            error_code: refusal.as_ref().map_or(0, |r| r.code.code()),
            error_message: refusal.and_then(|r| r.message).map(Into::into),
            ..Default::default()
        };
        match topics.last_mut() {
            Some((name, results)) if *name == topic => results.push(result),
            _ => topics.push((topic, vec![result])),
        }
    }
    let topics = topics.into_iter().map(|(topic, results)| ReplicaElectionResult {
        topic: topic.into(),
        partition_result: results.into(),
        ..Default::default()
    });
    topics.collect()
}
