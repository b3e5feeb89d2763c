//! Topics: list, describe, create, delete, add partitions.

use std::collections::BTreeMap;

use wire::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
use wire::messages::delete_topics_request::DeleteTopicState;
use wire::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use wire::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
};
use wire::{ApiKey, ErrorCode, Uuid};

use super::Admin;
use crate::{Error, To, Topics};

/// A topic by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicListing {
    pub name: String,
    pub id: Uuid,
    pub is_internal: bool,
}

/// A topic and its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    pub name: String,
    pub id: Uuid,
    pub is_internal: bool,
    /// By index.
    pub partitions: Vec<PartitionDescription>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDescription {
    pub index: i32,
    pub leader: Option<i32>,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
    /// Eligible leader replicas (KIP-966); none where the broker cannot tell.
    pub elr: Option<Vec<i32>>,
    pub last_known_elr: Option<Vec<i32>>,
}

/// A topic to be made. Counts that are not given are the broker's defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    pub name: String,
    pub partitions: Option<i32>,
    pub replication_factor: Option<i16>,
    /// Replicas by partition, instead of the counts.
    pub assignment: Option<BTreeMap<i32, Vec<i32>>>,
    pub configs: Vec<(String, String)>,
}

impl Admin {
    /// All topics that may be seen, in the broker's order.
    pub async fn list_topics(&self, call: &str) -> Result<Vec<TopicListing>, Error> {
        let metadata = self.client.metadata(Topics::All, false, call).await?;
        let seen = metadata.topics.into_iter().filter(|t| t.error != ErrorCode::TopicAuthorizationFailed);
        Ok(seen.map(|t| TopicListing { name: t.name, id: t.id, is_internal: t.is_internal }).collect())
    }

    /// Topics by name. Brokers that know DescribeTopicPartitions answer by pages of at most `page` partitions and tell the
    /// eligible leader replicas.
    pub async fn describe_topics(&self, names: &[String], page: i32) -> Result<Vec<TopicDescription>, Error> {
        const CALL: &str = "describeTopics";
        let connection = self.client.any(CALL).await?;
        if connection.version(ApiKey::DescribeTopicPartitions).is_err() {
            let metadata = self.client.metadata(Topics::Names(names), false, CALL).await?;
            return metadata.topics.into_iter().map(from_metadata).collect();
        }
        let mut names = names.to_vec();
        names.sort();
        let mut described: Vec<TopicDescription> = Vec::new();
        let mut cursor: Option<(String, i32)> = None;
        loop {
            let from = cursor.as_ref().map_or("", |c| c.0.as_str());
            let request = || DescribeTopicPartitionsRequest {
                topics: names
                    .iter()
                    .filter(|n| n.as_str() >= from)
                    .map(|n| TopicRequest { name: n.as_str().into(), ..Default::default() })
                    .collect(),
                response_partition_limit: page,
                cursor: cursor.as_ref().map(|(topic, partition)| Cursor {
                    topic_name: topic.as_str().into(),
                    partition_index: *partition,
                    ..Default::default()
                }),
                ..Default::default()
            };
            let (topics, next) = self.client.send(&To::Any, CALL, |_| Ok(request()), read_described).await??;
            for topic in topics {
                match described.last_mut() {
                    Some(last) if last.name == topic.name => last.partitions.extend(topic.partitions),
                    _ => described.push(topic),
                }
            }
            match next {
                // A cursor that does not move on would be asked for for ever.
                Some(next) if Some(&next) != cursor.as_ref() => cursor = Some(next),
                _ => return Ok(described),
            }
        }
    }

    /// Topics by id.
    pub async fn describe_topics_by_id(&self, ids: &[Uuid]) -> Result<Vec<TopicDescription>, Error> {
        let metadata = self.client.metadata(Topics::Ids(ids), false, "describeTopicsWithIds").await?;
        metadata.topics.into_iter().map(from_metadata).collect()
    }

    /// Makes a topic.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<(), Error> {
        let read = |reply: &crate::Reply| {
            let response: CreateTopicsResponse<'_> = reply.decode()?;
            decided(
                response
                    .topics
                    .iter()
                    .map(|t| Error::check(ErrorCode::from_code(t.error_code), t.error_message.as_deref())),
            )
        };
        let build = |version: i16| {
            if version < 4
                && topic.assignment.is_none()
                && (topic.partitions.is_none() || topic.replication_factor.is_none())
            {
                return Err(Error::Unsupported(
                    "Creating topics with default partitions/replication factor are only supported in CreateTopicRequest version 4+. The following topics need values for partitions and replicas: ".to_owned()
                        + &format!("[{}]", topic.name),
                ));
            }
            Ok(CreateTopicsRequest {
                topics: vec![topic.to_wire()].into(),
                timeout_ms: self.timeout_ms(),
                ..Default::default()
            })
        };
        self.client.send(&To::Controller, "createTopics", build, read).await?
    }

    /// Deletes a topic.
    pub async fn delete_topic(&self, name: &str) -> Result<(), Error> {
        let read = |reply: &crate::Reply| {
            let response: DeleteTopicsResponse<'_> = reply.decode()?;
            decided(
                response
                    .responses
                    .iter()
                    .map(|t| Error::check(ErrorCode::from_code(t.error_code), t.error_message.as_deref())),
            )
        };
        let build = |version: i16| {
            let mut request = DeleteTopicsRequest { timeout_ms: self.timeout_ms(), ..Default::default() };
            match version {
                6.. => {
                    let state = DeleteTopicState { name: Some(name.into()), ..Default::default() };
                    request.topics = vec![state].into();
                }
                _ => request.topic_names = vec![name.into()].into(),
            }
            Ok(request)
        };
        self.client.send(&To::Controller, "deleteTopics", build, read).await?
    }

    /// Raises a topic's number of partitions to `count`; `assignment` names the replicas of the new ones.
    pub async fn create_partitions(
        &self,
        name: &str,
        count: i32,
        assignment: Option<&[Vec<i32>]>,
    ) -> Result<(), Error> {
        let read = |reply: &crate::Reply| {
            let response: CreatePartitionsResponse<'_> = reply.decode()?;
            decided(
                response
                    .results
                    .iter()
                    .map(|t| Error::check(ErrorCode::from_code(t.error_code), t.error_message.as_deref())),
            )
        };
        let build = |_| {
            let assignments = assignment.map(|all| {
                all.iter()
                    .map(|ids| CreatePartitionsAssignment { broker_ids: ids.clone().into(), ..Default::default() })
                    .collect()
            });
            let topic = CreatePartitionsTopic { name: name.into(), count, assignments, ..Default::default() };
            Ok(CreatePartitionsRequest {
                topics: vec![topic].into(),
                timeout_ms: self.timeout_ms(),
                ..Default::default()
            })
        };
        self.client.send(&To::Controller, "createPartitions", build, read).await?
    }
}

impl NewTopic {
    fn to_wire(&self) -> CreatableTopic<'_> {
        let assignments = self.assignment.iter().flatten().map(|(index, ids)| CreatableReplicaAssignment {
            partition_index: *index,
            broker_ids: ids.clone().into(),
            ..Default::default()
        });
        let configs = self.configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: name.as_str().into(),
            value: Some(value.as_str().into()),
            ..Default::default()
        });
        let assigned = self.assignment.is_some();
        CreatableTopic {
            name: self.name.as_str().into(),
            num_partitions: if assigned { -1 } else { self.partitions.unwrap_or(-1) },
            replication_factor: if assigned { -1 } else { self.replication_factor.unwrap_or(-1) },
            assignments: assignments.collect(),
            configs: configs.collect(),
            ..Default::default()
        }
    }
}

/// What the controller decided about the things of a request. Only the wrong node's answer is none: another one is asked.
fn decided(mut results: impl Iterator<Item = Result<(), Error>>) -> Result<Result<(), Error>, Error> {
    let refused = results.find_map(Result::err);
    match refused {
        Some(error) if error.error_code() == Some(ErrorCode::NotController) => Err(error),
        Some(error) => Ok(Err(error)),
        None => Ok(Ok(())),
    }
}

type Described = (Vec<TopicDescription>, Option<(String, i32)>);

/// The outer error may heal; that a topic cannot be described is an answer.
fn read_described(reply: &crate::Reply) -> Result<Result<Described, Error>, Error> {
    let response: DescribeTopicPartitionsResponse<'_> = reply.decode()?;
    let mut topics = Vec::with_capacity(response.topics.len());
    for topic in &response.topics {
        if let Err(refused) = Error::check(ErrorCode::from_code(topic.error_code), None) {
            return Ok(Err(refused));
        }
        let partitions = topic
            .partitions
            .iter()
            .map(|p| PartitionDescription {
                index: p.partition_index,
                leader: (p.leader_id >= 0).then_some(p.leader_id),
                replicas: p.replica_nodes.to_vec(),
                isr: p.isr_nodes.to_vec(),
                elr: Some(p.eligible_leader_replicas.as_ref().map(|e| e.to_vec()).unwrap_or_default()),
                last_known_elr: Some(p.last_known_elr.as_ref().map(|e| e.to_vec()).unwrap_or_default()),
            })
            .collect();
        topics.push(TopicDescription {
            name: topic.name.as_deref().unwrap_or_default().to_owned(),
            id: topic.topic_id,
            is_internal: topic.is_internal,
            partitions,
        });
    }
    let next = response.next_cursor.as_ref().map(|c| (c.topic_name.to_string(), c.partition_index));
    Ok(Ok((topics, next)))
}

fn from_metadata(topic: crate::metadata::Topic) -> Result<TopicDescription, Error> {
    Error::check(topic.error, None)?;
    let partitions = topic.partitions.into_iter().map(|p| PartitionDescription {
        index: p.index,
        leader: p.leader,
        replicas: p.replicas,
        isr: p.isr,
        elr: None,
        last_known_elr: None,
    });
    Ok(TopicDescription {
        name: topic.name,
        id: topic.id,
        is_internal: topic.is_internal,
        partitions: partitions.collect(),
    })
}
