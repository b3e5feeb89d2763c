//! AssignReplicasToDirs (73), version 0, on controllers' listeners: in which of its directories a broker has replicas
//! (KIP-858).

use super::{Close, Cx, Reply, decide};
use metadata::controller::{Command, Reply as Decided};
use metadata::image::TopicIdPartition;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use wire::messages::assign_replicas_to_dirs_response::{DirectoryData, PartitionData, TopicData};
use wire::messages::{AssignReplicasToDirsRequest, AssignReplicasToDirsResponse};
use wire::{ErrorCode, Uuid};

pub const VERSIONS: RangeInclusive<i16> = 0..=0;

pub async fn handle(cx: &Cx<'_>, request: AssignReplicasToDirsRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let mut assignments = Vec::new();
    for directory in request.directories.iter() {
        let mut keys = Vec::new();
        for topic in directory.topics.iter() {
            let key = |partition: i32| TopicIdPartition { topic_id: topic.topic_id, partition };
            keys.extend(topic.partitions.iter().map(|partition| key(partition.partition_index)));
        }
        assignments.push((directory.id, keys));
    }
    let (broker_id, broker_epoch) = (request.broker_id, request.broker_epoch);
    let command = Command::AssignReplicasToDirs { broker_id, broker_epoch, assignments };
    let assigned = decide(cx, command, |decided| match decided {
        Decided::AssignReplicasToDirs(result) => Some(result),
        _ => None,
    })
    .await;
    let mut directories: BTreeMap<Uuid, BTreeMap<Uuid, Vec<PartitionData>>> = BTreeMap::new();
    let error_code = match assigned {
        Ok(assigned) => {
            for (directory, key, result) in assigned {
                let error_code = result.err().unwrap_or(ErrorCode::None).code();
                let topic = directories.entry(directory).or_default().entry(key.topic_id).or_default();
                topic.push(PartitionData { partition_index: key.partition, error_code });
            }
            0
        }
        Err(refusal) => refusal.code.code(),
    };
    let topic =
        |(topic_id, partitions): (Uuid, Vec<PartitionData>)| TopicData { topic_id, partitions: partitions.into() };
    let directory =
        |(id, topics): (Uuid, BTreeMap<_, _>)| DirectoryData { id, topics: topics.into_iter().map(topic).collect() };
    reply.send(&AssignReplicasToDirsResponse {
        error_code,
        directories: directories.into_iter().map(directory).collect(),
        ..Default::default()
    })
}
