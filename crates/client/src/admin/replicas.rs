//! Where replicas are and who leads: elections and reassignments.

use std::collections::HashMap;

use wire::ErrorCode;
use wire::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use wire::messages::elect_leaders_request::TopicPartitions;
use wire::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ElectLeadersRequest, ElectLeadersResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::{Admin, TopicPartition};
use crate::{Error, To};

/// Where a partition's replicas are going.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassignment {
    pub replicas: Vec<i32>,
    pub adding: Vec<i32>,
    pub removing: Vec<i32>,
}

/// What ElectLeaders is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    /// The first replica shall lead.
    Preferred,
    /// Anybody shall lead where nobody does, whatever is lost by it (KIP-460).
    Unclean,
}

/// Partitions, each with what became of it.
pub type PartitionResults = Vec<(TopicPartition, Result<(), Error>)>;

impl Admin {
    /// Has leaders elected; `None` is every partition, of which the answer names those that needed an election.
    pub async fn elect_leaders(
        &self,
        election: Election,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<PartitionResults, Error> {
        let build = |version: i16| {
            if version == 0 && election != Election::Preferred {
                return Err(Error::Unsupported("Can't elect leaders uncleanly with this version of the broker".into()));
            }
            Ok(ElectLeadersRequest {
                election_type: if election == Election::Preferred { 0 } else { 1 },
                topic_partitions: partitions.map(|all| {
                    let topics = by_topic(all).into_iter();
                    topics
                        .map(|(topic, ids)| TopicPartitions {
                            topic: topic.into(),
                            partitions: ids.into(),
                            ..Default::default()
                        })
                        .collect()
                }),
                timeout_ms: self.timeout_ms(),
                ..Default::default()
            })
        };
        let read = |reply: &crate::Reply| {
            let response: ElectLeadersResponse<'_> = reply.decode()?;
            let mut results = PartitionResults::new();
            for topic in &response.replica_election_results {
                results.extend(topic.partition_result.iter().map(|p| {
                    let code = ErrorCode::from_code(p.error_code);
                    ((topic.topic.to_string(), p.partition_id), Error::check(code, p.error_message.as_deref()))
                }));
            }
            match ErrorCode::from_code(response.error_code) {
                ErrorCode::None => one_to_ask_again(results),
                code => Err(Error::code(code)),
            }
        };
        self.client.send(&To::Controller, "electLeaders", build, read).await
    }

    /// Moves replicas; `None` takes back what is under way.
    pub async fn alter_reassignments(
        &self,
        targets: &[(TopicPartition, Option<Vec<i32>>)],
        allow_replication_factor_change: bool,
    ) -> Result<PartitionResults, Error> {
        let build = |version: i16| {
            if version == 0 && !allow_replication_factor_change {
                return Err(Error::Unsupported(
                    "The broker does not support disallowing a change of the replication factor.".into(),
                ));
            }
            let mut topics: Vec<ReassignableTopic<'_>> = Vec::new();
            for ((topic, partition_index), replicas) in targets {
                let replicas = replicas.as_ref().map(|ids| ids.clone().into());
                let partition =
                    ReassignablePartition { partition_index: *partition_index, replicas, ..Default::default() };
                topics.push(ReassignableTopic {
                    name: topic.as_str().into(),
                    partitions: vec![partition].into(),
                    ..Default::default()
                });
            }
            Ok(AlterPartitionReassignmentsRequest {
                topics: topics.into(),
                timeout_ms: self.timeout_ms(),
                allow_replication_factor_change,
                ..Default::default()
            })
        };
        let read = |reply: &crate::Reply| {
            let response: AlterPartitionReassignmentsResponse<'_> = reply.decode()?;
            Error::check(ErrorCode::from_code(response.error_code), response.error_message.as_deref())?;
            let mut results = PartitionResults::new();
            for topic in &response.responses {
                results.extend(topic.partitions.iter().map(|p| {
                    let code = ErrorCode::from_code(p.error_code);
                    ((topic.name.to_string(), p.partition_index), Error::check(code, p.error_message.as_deref()))
                }));
            }
            one_to_ask_again(results)
        };
        self.client.send(&To::Controller, "alterPartitionReassignments", build, read).await
    }

    /// Reassignments under way, by topic and partition.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the broker cannot tell (before Kafka 2.4).
    pub async fn list_reassignments(&self) -> Result<HashMap<TopicPartition, Reassignment>, Error> {
        let build = |_| Ok(ListPartitionReassignmentsRequest { timeout_ms: self.timeout_ms(), ..Default::default() });
        let read = |reply: &crate::Reply| {
            let response: ListPartitionReassignmentsResponse<'_> = reply.decode()?;
            Error::check(ErrorCode::from_code(response.error_code), response.error_message.as_deref())?;
            let mut all = HashMap::new();
            for topic in &response.topics {
                for p in &topic.partitions {
                    let reassignment = Reassignment {
                        replicas: p.replicas.to_vec(),
                        adding: p.adding_replicas.to_vec(),
                        removing: p.removing_replicas.to_vec(),
                    };
                    all.insert((topic.name.to_string(), p.partition_index), reassignment);
                }
            }
            Ok(all)
        };
        self.client.send(&To::Controller, "listPartitionReassignments", build, read).await
    }
}

/// Only the wrong node's answer is none: another one is asked.
fn one_to_ask_again(results: PartitionResults) -> Result<PartitionResults, Error> {
    let wrong_node = |e: &&Error| e.error_code() == Some(ErrorCode::NotController);
    match results.iter().filter_map(|(_, result)| result.as_ref().err()).find(wrong_node) {
        Some(error) => Err(error.clone()),
        None => Ok(results),
    }
}

fn by_topic(partitions: &[TopicPartition]) -> Vec<(&str, Vec<i32>)> {
    let mut topics: Vec<(&str, Vec<i32>)> = Vec::new();
    for (topic, partition) in partitions {
        match topics.iter_mut().find(|(name, _)| name == topic) {
            Some((_, ids)) => ids.push(*partition),
            None => topics.push((topic, vec![*partition])),
        }
    }
    topics
}
