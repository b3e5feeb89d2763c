//! AlterReplicaLogDirs (34), versions 1–2: moves this broker's replicas to other log directories (KIP-113).

use super::{Close, Cx, Reply};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use wire::ErrorCode;
use wire::messages::alter_replica_log_dirs_request::AlterReplicaLogDirsRequest;
use wire::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsResponse,
};

pub const VERSIONS: RangeInclusive<i16> = 1..=2;

pub async fn handle(cx: &Cx<'_>, request: AlterReplicaLogDirsRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let mut asked = Vec::new();
    for dir in request.dirs.iter() {
        for topic in dir.topics.iter() {
            let one = |index: i32| (topic.name.to_string(), index, dir.path.to_string());
            asked.extend(topic.partitions.values().map(one));
        }
    }
    let node = cx.node.clone();
    let altered = cx.node.runtime.spawn_blocking(move || {
        let alter = |(topic, index, dir): (String, i32, String)| {
            let result = node.moves.alter(&node, &topic, index, &dir);
            (topic, index, result)
        };
        asked.into_iter().map(alter).collect::<Vec<_>>()
    });
    let mut topics: BTreeMap<String, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
    // A panic there has been told of by its thread.
    for (topic, partition_index, result) in altered.await.unwrap_or_default() {
        let error_code = result.err().unwrap_or(ErrorCode::None).code();
        let result = AlterReplicaLogDirPartitionResult { partition_index, error_code };
        topics.entry(topic).or_default().push(result);
    }
    let topic = |(name, partitions): (String, Vec<_>)| AlterReplicaLogDirTopicResult {
        topic_name: name.into(),
        partitions: partitions.into(),
    };
    reply.send(&AlterReplicaLogDirsResponse { results: topics.into_iter().map(topic).collect(), ..Default::default() })
}
