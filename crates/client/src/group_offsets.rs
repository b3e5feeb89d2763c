//! The offsets that a group has committed.

use std::collections::BTreeMap;

use tokio::time::sleep;
use wire::ErrorCode;
use wire::codec::{Message, Request};
use wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use wire::messages::{OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse};

use crate::admin::TopicPartition;
use crate::consumer::group::Identity;
use crate::{Client, Error, Reply, To};

/// Topics go by their names up to here; later versions want ids.
const NAMED_UNTIL: i16 = 9;

/// An offset that was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    pub offset: i64,
    /// Of the last record that was read, where the member told it.
    pub leader_epoch: Option<i32>,
}

/// A group's offsets at its coordinator. Requests go on until they are answered: who waits sets the limit.
#[derive(Clone, Debug)]
pub(crate) struct GroupOffsets {
    pub client: Client,
    pub group: String,
}

impl GroupOffsets {
    /// The committed offsets of these partitions, or of all; partitions without one are left out. `stable`: not before the
    /// transactions are over that may change them (KIP-447), where the broker can wait for that.
    pub async fn committed(
        &self,
        partitions: Option<&[TopicPartition]>,
        stable: bool,
    ) -> Result<BTreeMap<TopicPartition, CommittedOffset>, Error> {
        let topics = partitions.map(|partitions| {
            let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
            for (topic, partition) in partitions {
                topics.entry(topic).or_default().push(*partition);
            }
            topics
        });
        let build = |version: i16| {
            let mut request = OffsetFetchRequest { require_stable: stable && version >= 7, ..Default::default() };
            if version >= 8 {
                let mut group = OffsetFetchRequestGroup {
                    group_id: self.group.as_str().into(),
                    topics: None,
                    ..Default::default()
                };
                if let Some(topics) = &topics {
                    let named = topics.iter().map(|(name, partitions)| OffsetFetchRequestTopics {
                        name: (*name).into(),
                        partition_indexes: partitions.clone().into(),
                        ..Default::default()
                    });
                    group.topics = Some(named.collect());
                }
                request.groups = vec![group].into();
            } else {
                request.group_id = self.group.as_str().into();
                request.topics = None;
                if let Some(topics) = &topics {
                    let named = topics.iter().map(|(name, partitions)| OffsetFetchRequestTopic {
                        name: (*name).into(),
                        partition_indexes: partitions.clone().into(),
                        ..Default::default()
                    });
                    request.topics = Some(named.collect());
                }
            }
            request
        };
        self.ask("offsetFetch", build, read_fetched).await
    }

    /// Commits offsets as this member, or as nobody where there is no group to be a member of.
    pub async fn commit(
        &self,
        identity: Option<Identity>,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Result<(), Error> {
        if offsets.is_empty() {
            return Ok(());
        }
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition<'_>>> = BTreeMap::new();
        for ((topic, partition), offset) in offsets {
            topics.entry(topic).or_default().push(OffsetCommitRequestPartition {
                partition_index: *partition,
                committed_offset: *offset,
                committed_metadata: Some("".into()),
                ..Default::default()
            });
        }
        let build = |_| {
            let topics = topics.iter().map(|(name, partitions)| OffsetCommitRequestTopic {
                name: (*name).into(),
                partitions: partitions.clone().into(),
                ..Default::default()
            });
            let mut request = OffsetCommitRequest {
                group_id: self.group.as_str().into(),
                topics: topics.collect(),
                ..Default::default()
            };
            if let Some(identity) = &identity {
                request.generation_id_or_member_epoch = identity.generation;
                request.member_id = identity.member_id.clone().into();
                request.group_instance_id = identity.instance_id.clone().map(Into::into);
            }
            request
        };
        let read = |reply: &Reply| {
            let response: OffsetCommitResponse<'_> = reply.decode()?;
            for topic in &response.topics {
                for p in &topic.partitions {
                    Error::check(ErrorCode::from_code(p.error_code), None)?;
                }
            }
            Ok(())
        };
        self.ask("offsetCommit", build, read).await
    }

    async fn ask<'q, R, T>(
        &self,
        call: &str,
        build: impl Fn(i16) -> R,
        read: impl Fn(&Reply) -> Result<T, Error>,
    ) -> Result<T, Error>
    where
        R: Request + Message<'q>,
    {
        let to = To::Group(self.group.clone());
        let config = self.client.config();
        let mut pause = config.retry_backoff;
        loop {
            let result = async {
                let connection = self.client.connect(&to, call).await?;
                let version = connection.version(R::KEY)?.min(NAMED_UNTIL);
                read(&connection.call_at(version, &build(version)).await?)
            }
            .await;
            match result {
                Err(error) if error.is_retriable() => {
                    self.client.forget(&to, &error);
                    sleep(pause).await;
                    pause = (pause * 2).min(config.retry_backoff_max);
                }
                result => return result,
            }
        }
    }
}

fn read_fetched(reply: &Reply) -> Result<BTreeMap<TopicPartition, CommittedOffset>, Error> {
    let response: OffsetFetchResponse<'_> = reply.decode()?;
    Error::check(ErrorCode::from_code(response.error_code), None)?;
    let mut found = BTreeMap::new();
    let mut note = |topic: &str, partition: i32, (offset, epoch): (i64, i32), error: i16| {
        Error::check(ErrorCode::from_code(error), None)?;
        if offset >= 0 {
            let committed = CommittedOffset { offset, leader_epoch: (epoch >= 0).then_some(epoch) };
            found.insert((topic.to_owned(), partition), committed);
        }
        Ok::<(), Error>(())
    };
    for topic in &response.topics {
        for p in &topic.partitions {
            note(&topic.name, p.partition_index, (p.committed_offset, p.committed_leader_epoch), p.error_code)?;
        }
    }
    for group in &response.groups {
        Error::check(ErrorCode::from_code(group.error_code), None)?;
        for topic in &group.topics {
            for p in &topic.partitions {
                note(&topic.name, p.partition_index, (p.committed_offset, p.committed_leader_epoch), p.error_code)?;
            }
        }
    }
    Ok(found)
}
