//! The directories in which a broker keeps its logs.

use wire::ErrorCode;
use wire::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use wire::messages::{
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, DescribeLogDirsRequest, DescribeLogDirsResponse,
};

use super::{Admin, TopicPartition};
use crate::{Error, Reply, To};

/// One directory of `log.dirs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDirDescription {
    pub path: String,
    pub error: Option<Error>,
    pub replicas: Vec<ReplicaDescription>,
}

/// A partition's replica in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaDescription {
    pub partition: TopicPartition,
    /// In bytes.
    pub size: i64,
    /// Records behind the high watermark; behind the current replica for a future one.
    pub offset_lag: i64,
    pub is_future: bool,
}

impl Admin {
    /// The directories of one broker, with all replicas in them.
    pub async fn log_dirs(&self, broker: i32) -> Result<Vec<LogDirDescription>, Error> {
        let build = |_| Ok(DescribeLogDirsRequest { topics: None });
        let read = |reply: &Reply| {
            let response: DescribeLogDirsResponse<'_> = reply.decode()?;
            Error::check(ErrorCode::from_code(response.error_code), None)?;
            let mut dirs = Vec::new();
            for dir in &response.results {
                let mut replicas = Vec::new();
                for topic in &dir.topics {
                    replicas.extend(topic.partitions.iter().map(|p| ReplicaDescription {
                        partition: (topic.name.to_string(), p.partition_index),
                        size: p.partition_size,
                        offset_lag: p.offset_lag,
                        is_future: p.is_future_key,
                    }));
                }
                let error = Error::check(ErrorCode::from_code(dir.error_code), None).err();
                dirs.push(LogDirDescription { path: dir.log_dir.to_string(), error, replicas });
            }
            Ok(dirs)
        };
        self.client.send(&To::Node(broker), "describeLogDirs", build, read).await
    }

    /// Has one broker move its replicas of these partitions to the named directories (KIP-113). The result says of each
    /// whether that has begun.
    pub async fn alter_log_dirs(
        &self,
        broker: i32,
        moves: &[(TopicPartition, String)],
    ) -> Result<Vec<(TopicPartition, Result<(), Error>)>, Error> {
        let build = |_| {
            let one = |((topic, index), path): &(TopicPartition, String)| {
                let partitions = vec![*index].into();
                let topic = AlterReplicaLogDirTopic { name: topic.clone().into(), partitions };
                AlterReplicaLogDir { path: path.clone().into(), topics: vec![topic].into() }
            };
            Ok(AlterReplicaLogDirsRequest { dirs: moves.iter().map(one).collect::<Vec<_>>().into() })
        };
        let read = |reply: &Reply| {
            let response: AlterReplicaLogDirsResponse<'_> = reply.decode()?;
            let mut results = Vec::new();
            for topic in &response.results {
                results.extend(topic.partitions.iter().map(|p| {
                    let result = Error::check(ErrorCode::from_code(p.error_code), None);
                    ((topic.topic_name.to_string(), p.partition_index), result)
                }));
            }
            Ok(results)
        };
        self.client.send(&To::Node(broker), "alterReplicaLogDirs", build, read).await
    }
}
