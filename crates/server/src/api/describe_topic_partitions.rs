//! DescribeTopicPartitions (75), version 0 (KIP-966): partitions with their eligible leader replicas, in pages.
//!
//! Topics come in the order of their names; a page ends after `response_partition_limit` partitions (at most
//! `max.request.partition.size.limit`), and the cursor names the first partition of the next.

use super::{Close, Cx, Reply, operations};
use crate::internal_topics;
use ::metadata::image::{Image, Partition};
use std::ops::RangeInclusive;
use std::sync::Arc;
use wire::ErrorCode;
use wire::messages::describe_topic_partitions_request::DescribeTopicPartitionsRequest;
use wire::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};

pub const VERSIONS: RangeInclusive<i16> = 0..=0;

pub async fn handle(
    cx: &Cx<'_>,
    request: DescribeTopicPartitionsRequest<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), Close> {
    let image = cx.node.image();
    let from = request.cursor.as_ref().map(|c| (c.topic_name.to_string(), c.partition_index.max(0)));
    let all = request.topics.is_empty();
    let mut names: Vec<String> = if all {
        image.topics.iter().map(|t| t.name.to_string()).collect()
    } else {
        request.topics.iter().map(|t| t.name.to_string()).collect()
    };
    names.sort_unstable();
    names.dedup();
    if let Some((topic, _)) = &from {
        names.retain(|n| n >= topic);
    }
    let limit = cx.node.config.max_request_partition_size_limit;
    let mut left = request.response_partition_limit.clamp(1, limit) as usize;
    let mut topics = Vec::new();
    let mut next_cursor = None;
    for name in names {
        let first = from.as_ref().filter(|(topic, _)| *topic == name).map_or(0, |(_, p)| *p);
        let Some(topic) = image.topics.by_name(&name) else {
            // A topic that went away between two pages, or was deleted while all were listed, is simply not there.
            if !all && first == 0 {
                topics.push(unknown(&name));
            }
            continue;
        };
        if left == 0 {
            next_cursor = Some(Cursor { topic_name: name.into(), partition_index: first, ..Default::default() });
            break;
        }
        let mut partitions = topic.partitions.range(first..);
        let page: Vec<_> = partitions.by_ref().take(left).map(|(index, p)| partition(&image, *index, p)).collect();
        left -= page.len();
        next_cursor = partitions.next().map(|(partition_index, _)| Cursor {
            topic_name: name.clone().into(),
            partition_index: *partition_index,
            ..Default::default()
        });
        topics.push(DescribeTopicPartitionsResponseTopic {
            name: Some(name.clone().into()),
            topic_id: topic.id,
            is_internal: internal_topics::is_internal(&name),
            partitions: page.into(),
            topic_authorized_operations: operations::TOPIC,
            ..Default::default()
        });
        if next_cursor.is_some() {
            break;
        }
    }
    reply.send(&DescribeTopicPartitionsResponse { topics: topics.into(), next_cursor, ..Default::default() })
}

fn unknown(name: &str) -> DescribeTopicPartitionsResponseTopic<'static> {
    let valid = ::metadata::controller::check_topic_name(name).is_ok();
    let error = if valid { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::InvalidTopicException };
    DescribeTopicPartitionsResponseTopic {
        error_code: error.code(),
        name: Some(name.to_owned().into()),
        topic_authorized_operations: operations::NOT_ASKED,
        ..Default::default()
    }
}

fn partition<'a>(image: &Image, index: i32, p: &Arc<Partition>) -> DescribeTopicPartitionsResponsePartition<'a> {
    let is_alive = |id: i32| image.cluster.broker(id).is_some_and(|b| !b.fenced);
    let led = p.has_leader() && is_alive(p.leader);
    DescribeTopicPartitionsResponsePartition {
        partition_index: index,
        leader_id: if led { p.leader } else { -1 },
        leader_epoch: p.leader_epoch,
        replica_nodes: p.replicas.to_vec().into(),
        isr_nodes: p.isr.to_vec().into(),
        eligible_leader_replicas: Some(p.elr.to_vec().into()),
        last_known_elr: Some(p.last_known_elr.to_vec().into()),
        offline_replicas: p.replicas.iter().copied().filter(|id| !is_alive(*id)).collect(),
        ..Default::default()
    }
}
