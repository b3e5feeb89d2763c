//! How consumers share out partitions: the group protocol `consumer`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wire::codec::Message;
use wire::messages::consumer_protocol_assignment as a;
use wire::messages::consumer_protocol_subscription as s;
use wire::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};

use super::assignor::{self, Assignment, MemberSubscription, TopicPartition};
use super::group::{BoxFuture, GroupProtocol, Member, Shares};
use crate::{Client, Error, Topics};

/// Shared between the consumer and the task that keeps its membership.
#[derive(Clone)]
pub(super) struct ConsumerProtocol {
    client: Client,
    assignors: Arc<[String]>,
    rack: Arc<str>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    topics: Vec<String>,
    /// Partitions of each topic that is subscribed to.
    counts: BTreeMap<String, i32>,
    owned: Vec<TopicPartition>,
    generation: i32,
}

impl ConsumerProtocol {
    pub fn new(client: Client, assignors: Vec<String>, rack: String) -> ConsumerProtocol {
        let state = State { generation: -1, ..State::default() };
        ConsumerProtocol { client, assignors: assignors.into(), rack: rack.into(), state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_topics(&self, topics: Vec<String>) {
        self.state().topics = topics;
    }

    pub fn set_owned(&self, owned: Vec<TopicPartition>) {
        self.state().owned = owned;
    }

    /// Says whether the partitions changed since a share was worked out.
    pub fn set_counts(&self, counts: BTreeMap<String, i32>) -> bool {
        let mut state = self.state();
        let changed = state.counts != counts;
        state.counts = counts;
        changed
    }

    /// Whether partitions are kept through a rebalance: only when every assignor that may be chosen allows it.
    pub fn is_cooperative(&self) -> bool {
        self.assignors.iter().all(|a| a == "cooperative-sticky")
    }

    /// Reads what was assigned.
    pub fn joined(&self, protocol: &str, generation: i32, assignment: &[u8]) -> Result<Vec<TopicPartition>, Error> {
        self.state().generation = generation;
        if assignment.is_empty() {
            return Ok(Vec::new());
        }
        let assignment = ConsumerProtocolAssignment::decode_value(assignment)
            .map_err(|e| Error::Protocol(format!("The assignment by {protocol} cannot be read: {e}")))?;
        let mut partitions = Vec::new();
        for topic in &assignment.assigned_partitions {
            partitions.extend(topic.partitions.to_vec().into_iter().map(|p| (topic.topic.to_string(), p)));
        }
        Ok(partitions)
    }
}

fn by_topic(partitions: &[TopicPartition]) -> BTreeMap<&str, Vec<i32>> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    topics
}

impl GroupProtocol for ConsumerProtocol {
    fn protocol_type(&self) -> &str {
        "consumer"
    }

    fn protocols(&mut self) -> Vec<(String, Vec<u8>)> {
        const VERSION: i16 = 3;
        let state = self.state();
        let owned = by_topic(&state.owned).into_iter().map(|(topic, partitions)| s::TopicPartition {
            topic: topic.into(),
            partitions: partitions.into(),
            ..Default::default()
        });
        let mut topics = state.topics.clone();
        topics.sort();
        let subscription = ConsumerProtocolSubscription {
            topics: topics.iter().map(|t| t.as_str().into()).collect(),
            owned_partitions: owned.collect(),
            generation_id: state.generation,
            rack_id: (!self.rack.is_empty()).then(|| (&*self.rack).into()),
            ..Default::default()
        };
        // Its strings are names of topics, which the broker keeps short.
        let metadata = subscription.encode_value(VERSION).unwrap_or_default();
        self.assignors.iter().map(|name| (name.clone(), metadata.clone())).collect()
    }

    fn assign<'f>(&'f mut self, protocol: &'f str, members: &'f [Member]) -> BoxFuture<'f, Result<Shares, Error>> {
        Box::pin(async move {
            let members: Vec<MemberSubscription> = members.iter().map(read_member).collect::<Result<_, _>>()?;
            let mut names: Vec<String> = members.iter().flat_map(|m| m.topics.clone()).collect();
            names.sort();
            names.dedup();
            let metadata = self.client.metadata(Topics::Names(&names), false, "metadata").await?;
            let counts: BTreeMap<String, i32> = metadata
                .topics
                .iter()
                .filter(|t| !t.partitions.is_empty())
                .map(|t| (t.name.clone(), t.partitions.len() as i32))
                .collect();
            let assignment: Assignment = match protocol {
                "roundrobin" => assignor::round_robin(&members, &counts),
                "cooperative-sticky" => assignor::cooperative_sticky(&members, &counts),
                _ => assignor::range(&members, &counts),
            };
            assignment.into_iter().map(|(member, partitions)| Ok((member, encode(&partitions)?))).collect()
        })
    }
}

fn read_member(member: &Member) -> Result<MemberSubscription, Error> {
    let subscription = ConsumerProtocolSubscription::decode_value(&member.metadata)
        .map_err(|e| Error::Protocol(format!("The subscription of {} cannot be read: {e}", member.id)))?;
    let mut owned = Vec::new();
    for topic in &subscription.owned_partitions {
        owned.extend(topic.partitions.to_vec().into_iter().map(|p| (topic.topic.to_string(), p)));
    }
    Ok(MemberSubscription {
        member_id: member.id.clone(),
        instance_id: member.instance_id.clone(),
        topics: subscription.topics.iter().map(|t| t.to_string()).collect(),
        owned,
        generation: subscription.generation_id,
    })
}

fn encode(partitions: &[TopicPartition]) -> Result<Vec<u8>, Error> {
    const VERSION: i16 = 1;
    let assigned = by_topic(partitions).into_iter().map(|(topic, partitions)| a::TopicPartition {
        topic: topic.into(),
        partitions: partitions.into(),
        ..Default::default()
    });
    let assignment = ConsumerProtocolAssignment { assigned_partitions: assigned.collect(), ..Default::default() };
    Ok(assignment.encode_value(VERSION)?)
}
