//! CreatePartitions (37), versions 0–3: more partitions for existing topics.

use super::{Close, Cx, Reply, in_time};
use metadata::controller::MorePartitions;
use std::ops::RangeInclusive;
use wire::messages::create_partitions_request::CreatePartitionsRequest;
use wire::messages::create_partitions_response::{CreatePartitionsResponse, CreatePartitionsTopicResult};

pub const VERSIONS: RangeInclusive<i16> = 0..=3;

pub async fn handle(cx: &Cx<'_>, request: CreatePartitionsRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let topics: Vec<MorePartitions> = request
        .topics
        .iter()
        .map(|t| MorePartitions {
            name: t.name.to_string(),
            count: t.count,
            assignments: t
                .assignments
                .as_ref()
                .map(|all| all.iter().map(|a| a.broker_ids.iter().map(|id| *id).collect()).collect()),
        })
        .collect();
    let names: Vec<String> = topics.iter().map(|t| t.name.clone()).collect();
    let done =
        in_time(cx.node, request.timeout_ms, cx.node.controller.create_partitions(topics, request.validate_only)).await;
    let results = match done.and_then(|reply| reply) {
        Ok(results) => results,
        Err(refusal) => names.into_iter().map(|name| (name, Err(refusal.clone()))).collect(),
    };
    let results = results.into_iter().map(|(name, result)| {
        let refusal = result.err();
        CreatePartitionsTopicResult {
            name: name.into(),
            error_code: refusal.as_ref().map_or(0, |r| r.code.code()),
            error_message: refusal.and_then(|r| r.message).map(Into::into),
            ..Default::default()
        }
    });
    reply.send(&CreatePartitionsResponse { results: results.collect(), ..Default::default() })
}
