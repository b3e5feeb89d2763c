//! Offsets of partitions by time.

use std::collections::BTreeMap;

use tokio::time::{Instant, sleep};
use wire::ErrorCode;
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wire::messages::{ListOffsetsRequest, ListOffsetsResponse};

use super::Admin;
use crate::{Client, Error, To, Topics};

/// Which offset of a partition is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetAt {
    Latest,
    Earliest,
    /// The record with the largest timestamp (KIP-734).
    MaxTimestamp,
    /// The first offset on the broker's own disk (KIP-405).
    EarliestLocal,
    /// The last offset in the remote tier (KIP-1005).
    LatestTiered,
    /// The first offset not yet in the remote tier (KIP-1023).
    EarliestPendingUpload,
    /// The first record with this timestamp or a later one, in ms.
    Timestamp(i64),
}

impl OffsetAt {
    /// The number that stands for it in ListOffsets, and the version that first knows it.
    fn wire(self) -> (i64, i16) {
        match self {
            OffsetAt::Latest => (-1, 0),
            OffsetAt::Earliest => (-2, 0),
            OffsetAt::MaxTimestamp => (-3, 7),
            OffsetAt::EarliestLocal => (-4, 8),
            OffsetAt::LatestTiered => (-5, 9),
            OffsetAt::EarliestPendingUpload => (-6, 11),
            OffsetAt::Timestamp(ms) => (ms, 0),
        }
    }
}

/// What a reader may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    #[default]
    ReadUncommitted,
    ReadCommitted,
}

/// An offset that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// -1 when there is none (no record with that timestamp).
    pub offset: i64,
    pub timestamp: i64,
    pub leader_epoch: i32,
}

/// A topic and a partition.
pub type TopicPartition = (String, i32);

impl Admin {
    /// The offsets of each partition that is asked for, from their leaders; per partition a refusal is kept.
    pub async fn list_offsets(
        &self,
        wanted: &[(TopicPartition, OffsetAt)],
        isolation: Isolation,
    ) -> Result<BTreeMap<TopicPartition, Result<ListedOffset, Error>>, Error> {
        list_offsets(&self.client, wanted, isolation).await
    }
}

/// As [`Admin::list_offsets`]; consumers use it too.
pub(crate) async fn list_offsets(
    client: &Client,
    wanted: &[(TopicPartition, OffsetAt)],
    isolation: Isolation,
) -> Result<BTreeMap<TopicPartition, Result<ListedOffset, Error>>, Error> {
    const CALL: &str = "listOffsets";
    let deadline = Instant::now() + client.config().api_timeout;
    let mut found = BTreeMap::new();
    let mut left: Vec<(TopicPartition, OffsetAt)> = wanted.to_vec();
    let mut pause = client.config().retry_backoff;
    loop {
        let mut names: Vec<String> = left.iter().map(|w| w.0.0.clone()).collect();
        names.sort();
        names.dedup();
        let metadata = client.metadata(Topics::Names(&names), false, CALL).await?;
        let mut by_leader: BTreeMap<i32, Vec<(TopicPartition, OffsetAt, i32)>> = BTreeMap::new();
        let mut again: Vec<(TopicPartition, OffsetAt)> = Vec::new();
        let mut why = None;
        for (tp, at) in left {
            let topic = metadata.topic(&tp.0);
            let partition = topic.and_then(|t| t.partitions.iter().find(|p| p.index == tp.1));
            match (topic, partition) {
                (_, Some(p)) if p.leader.is_some() => {
                    by_leader.entry(p.leader.unwrap_or_default()).or_default().push((tp, at, p.leader_epoch));
                }
                (Some(t), _) if t.error != ErrorCode::None && !t.error.is_retriable() => {
                    found.insert(tp, Err(Error::code(t.error)));
                }
                (_, p) => {
                    let code = match p {
                        Some(_) => ErrorCode::LeaderNotAvailable,
                        None => ErrorCode::UnknownTopicOrPartition,
                    };
                    why = Some(Error::code(code));
                    again.push((tp, at));
                }
            }
        }
        for (leader, partitions) in by_leader {
            match ask(client, leader, &partitions, isolation).await {
                Ok(answers) => {
                    for (tp, at, _) in partitions {
                        match answers.get(&tp) {
                            Some(Err(error)) if error.is_retriable() => {
                                why = Some(error.clone());
                                again.push((tp, at));
                            }
                            Some(answer) => {
                                found.insert(tp, answer.clone());
                            }
                            None => {
                                let missing = Error::Protocol(format!("No offset was told for {}-{}", tp.0, tp.1));
                                found.insert(tp, Err(missing));
                            }
                        }
                    }
                }
                Err(error) if error.is_retriable() => {
                    why = Some(error);
                    again.extend(partitions.into_iter().map(|(tp, at, _)| (tp, at)));
                }
                Err(error) => {
                    for (tp, ..) in partitions {
                        found.insert(tp, Err(error.clone()));
                    }
                }
            }
        }
        if again.is_empty() {
            return Ok(found);
        }
        if Instant::now() + pause > deadline {
            for (tp, _) in again {
                found.insert(tp, Err(why.clone().unwrap_or(Error::Timeout("No offset was told in time".into()))));
            }
            return Ok(found);
        }
        sleep(pause).await;
        pause = (pause * 2).min(client.config().retry_backoff_max);
        left = again;
    }
}

type Answers = BTreeMap<TopicPartition, Result<ListedOffset, Error>>;

async fn ask(
    client: &Client,
    leader: i32,
    partitions: &[(TopicPartition, OffsetAt, i32)],
    isolation: Isolation,
) -> Result<Answers, Error> {
    let connection = client.connect(&To::Node(leader), "listOffsets").await?;
    let version = connection.version(wire::ApiKey::ListOffsets)?;
    let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for ((topic, partition), at, leader_epoch) in partitions {
        let (timestamp, since) = at.wire();
        if version < since {
            return Err(Error::Unsupported(format!(
                "The broker does not support LIST_OFFSETS version {since} that timestamp {timestamp} needs"
            )));
        }
        topics.entry(topic).or_default().push(ListOffsetsPartition {
            partition_index: *partition,
            current_leader_epoch: *leader_epoch,
            timestamp,
            ..Default::default()
        });
    }
    let topics = topics.into_iter().map(|(name, partitions)| ListOffsetsTopic {
        name: name.into(),
        partitions: partitions.into(),
        ..Default::default()
    });
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: if version >= 2 { isolation as i8 } else { 0 },
        topics: topics.collect(),
        timeout_ms: i32::try_from(client.config().request_timeout.as_millis()).unwrap_or(i32::MAX),
        ..Default::default()
    };
    let reply = connection.call_at(version, &request).await?;
    let response: ListOffsetsResponse<'_> = reply.decode()?;
    let mut answers = BTreeMap::new();
    for topic in &response.topics {
        for p in &topic.partitions {
            let listed = ListedOffset { offset: p.offset, timestamp: p.timestamp, leader_epoch: p.leader_epoch };
            let answer = Error::check(ErrorCode::from_code(p.error_code), None).map(|()| listed);
            answers.insert((topic.name.to_string(), p.partition_index), answer);
        }
    }
    Ok(answers)
}
