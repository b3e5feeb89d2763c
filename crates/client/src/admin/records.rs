//! Records: delete those before an offset.

use std::collections::BTreeMap;

use wire::ErrorCode;
use wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use super::{Admin, TopicPartition};
use crate::{Error, Reply, To, Topics};

impl Admin {
    /// Deletes the records before an offset of each partition (-1: before its high watermark), at the partitions'
    /// leaders; tells the first offset that is left, or why nothing was deleted.
    pub async fn delete_records(
        &self,
        before: &BTreeMap<TopicPartition, i64>,
    ) -> Result<BTreeMap<TopicPartition, Result<i64, Error>>, Error> {
        const CALL: &str = "deleteRecords";
        let mut results = BTreeMap::new();
        let mut by_leader: BTreeMap<i32, BTreeMap<&str, Vec<DeleteRecordsPartition>>> = BTreeMap::new();
        let mut names: Vec<String> = before.keys().map(|tp| tp.0.clone()).collect();
        names.dedup();
        let metadata = self.client.metadata(Topics::Names(&names), false, CALL).await?;
        for (tp, offset) in before {
            let partition = metadata.topic(&tp.0).and_then(|t| t.partitions.iter().find(|p| p.index == tp.1));
            match partition.map(|p| p.leader) {
                Some(Some(leader)) => {
                    let partition = DeleteRecordsPartition { partition_index: tp.1, offset: *offset };
                    by_leader.entry(leader).or_default().entry(&tp.0).or_default().push(partition);
                }
                Some(None) => drop(results.insert(tp.clone(), Err(Error::code(ErrorCode::LeaderNotAvailable)))),
                None => drop(results.insert(tp.clone(), Err(Error::code(ErrorCode::UnknownTopicOrPartition)))),
            }
        }
        for (leader, topics) in by_leader {
            let build = |_| {
                let topics = topics.iter().map(|(name, partitions)| DeleteRecordsTopic {
                    name: (*name).into(),
                    partitions: partitions.clone().into(),
                });
                Ok(DeleteRecordsRequest { topics: topics.collect(), timeout_ms: self.timeout_ms() })
            };
            let read = |reply: &Reply| {
                let response: DeleteRecordsResponse<'_> = reply.decode()?;
                let mut found = Vec::new();
                for topic in &response.topics {
                    for p in &topic.partitions {
                        let result = Error::check(ErrorCode::from_code(p.error_code), None);
                        found.push(((topic.name.to_string(), p.partition_index), result.map(|()| p.low_watermark)));
                    }
                }
                Ok(found)
            };
            results.extend(self.client.send(&To::Node(leader), CALL, build, read).await?);
        }
        Ok(results)
    }
}
