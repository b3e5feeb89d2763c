//! Groups: which there are, who is in them, what they have committed.

use std::collections::{BTreeMap, BTreeSet};

use wire::codec::Message;
use wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use wire::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerProtocolAssignment, DeleteGroupsRequest,
    DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, ListGroupsRequest, ListGroupsResponse,
    OffsetDeleteRequest, OffsetDeleteResponse, consumer_group_describe_response, describe_groups_response,
};
use wire::{ApiKey, ErrorCode};

use super::{Admin, TopicPartition};
use crate::group_offsets::{CommittedOffset, GroupOffsets};
use crate::{Error, Node, Reply, To};

/// A group as ListGroups tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    pub id: String,
    /// `consumer`, `connect`, ...; empty for groups that only hold offsets.
    pub protocol_type: String,
    /// `Stable`, `Empty`, ...; none where the broker does not tell (before Kafka 2.6).
    pub state: Option<String>,
    /// `Classic`, `Consumer`, `Share`, `Streams`; none where the broker does not tell (before Kafka 3.8).
    pub group_type: Option<String>,
}

/// A group of consumers and its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    pub id: String,
    pub coordinator: Node,
    pub state: String,
    /// Whether it is of the newer kind (KIP-848), whose members have epochs and targets.
    pub is_consumer_type: bool,
    /// How partitions are shared out; empty without members.
    pub assignor: String,
    pub members: Vec<GroupMember>,
    pub epoch: Option<i32>,
    pub target_epoch: Option<i32>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    pub id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub host: String,
    pub assignment: BTreeSet<TopicPartition>,
    /// In groups of the newer kind: what it is moving to, and its epoch.
    pub target: Option<BTreeSet<TopicPartition>>,
    pub epoch: Option<i32>,
    /// In groups of the newer kind: whether the member speaks the newer protocol.
    pub upgraded: Option<bool>,
}

impl Admin {
    /// The groups of all brokers, in the order in which these tell them; only those in one of `states` and of one of
    /// `types`, where any are given. Fails when a broker cannot tell.
    pub async fn list_groups(&self, states: &[String], types: &[String]) -> Result<Vec<GroupListing>, Error> {
        const CALL: &str = "listGroups";
        let mut all: BTreeMap<String, GroupListing> = BTreeMap::new();
        let mut order = Vec::new();
        for broker in self.brokers().await? {
            let build = |version: i16| {
                if version < 4 && !states.is_empty() || version < 5 && !types.is_empty() {
                    return Err(Error::Unsupported(format!(
                        "The broker only supports ListGroups v{version}, which cannot filter as asked"
                    )));
                }
                Ok(ListGroupsRequest {
                    states_filter: states.iter().map(|s| s.as_str().into()).collect(),
                    types_filter: types.iter().map(|t| t.as_str().into()).collect(),
                })
            };
            let read = |reply: &Reply| {
                let response: ListGroupsResponse<'_> = reply.decode()?;
                Error::check(ErrorCode::from_code(response.error_code), None)?;
                let told = |text: &str| (!text.is_empty()).then(|| text.to_owned());
                let groups = response.groups.iter().map(|g| GroupListing {
                    id: g.group_id.to_string(),
                    protocol_type: g.protocol_type.to_string(),
                    state: told(&g.group_state),
                    group_type: told(&g.group_type).map(|name| capitalized(&name)),
                });
                Ok(groups.collect::<Vec<_>>())
            };
            for group in self.client.send(&To::Node(broker.node.id), CALL, build, read).await? {
                if !all.contains_key(&group.id) {
                    order.push(group.id.clone());
                }
                all.insert(group.id.clone(), group);
            }
        }
        Ok(order.iter().filter_map(|id| all.remove(id)).collect())
    }

    /// One group of consumers, from its coordinator; GROUP_ID_NOT_FOUND when there is none.
    pub async fn describe_group(&self, id: &str) -> Result<GroupDescription, Error> {
        const CALL: &str = "describeConsumerGroups";
        let to = To::Group(id.to_owned());
        let coordinator = self.client.coordinator_node(id, CALL).await?;
        let connection = self.client.connect(&to, CALL).await?;
        if connection.version(ApiKey::ConsumerGroupDescribe).is_ok() {
            let build =
                |_| Ok(ConsumerGroupDescribeRequest { group_ids: vec![id.into()].into(), ..Default::default() });
            let read = |reply: &Reply| {
                let response: ConsumerGroupDescribeResponse<'_> = reply.decode()?;
                let group = response.groups.first().ok_or_else(|| nothing_about(id))?;
                Error::check(ErrorCode::from_code(group.error_code), group.error_message.as_deref())?;
                Ok(newer(&group, coordinator.clone()))
            };
            match self.client.send(&to, CALL, build, read).await {
                // Then it is of the classic kind.
                Err(Error::Api { code: ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion, .. }) => {}
                described => return described,
            }
        }
        let build = |_| Ok(DescribeGroupsRequest { groups: vec![id.into()].into(), ..Default::default() });
        let read = |reply: &Reply| {
            let response: DescribeGroupsResponse<'_> = reply.decode()?;
            let group = response.groups.first().ok_or_else(|| nothing_about(id))?;
            Error::check(ErrorCode::from_code(group.error_code), group.error_message.as_deref())?;
            if !["", "consumer"].contains(&&*group.protocol_type) {
                return Err(Error::IllegalArgument(format!(
                    "GroupId {id} is not a consumer group ({}).",
                    group.protocol_type
                )));
            }
            classic(&group, coordinator.clone())
        };
        self.client.send(&to, CALL, build, read).await
    }

    /// What a group has committed: everything.
    pub async fn group_offsets(&self, group: &str) -> Result<BTreeMap<TopicPartition, CommittedOffset>, Error> {
        self.in_time("listConsumerGroupOffsets", self.offsets_of(group).committed(None, false)).await
    }

    /// Commits offsets for a group that has no members.
    pub async fn alter_group_offsets(&self, group: &str, offsets: &BTreeMap<TopicPartition, i64>) -> Result<(), Error> {
        self.in_time("alterConsumerGroupOffsets", self.offsets_of(group).commit(None, offsets)).await
    }

    /// Deletes what a group has committed for these partitions; tells of each partition how that went.
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Result<(), Error>>, Error> {
        let mut topics: BTreeMap<&str, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
        for (topic, partition) in partitions {
            let partition = OffsetDeleteRequestPartition { partition_index: *partition };
            topics.entry(topic).or_default().push(partition);
        }
        let build = |_| {
            let topics = topics.iter().map(|(name, partitions)| OffsetDeleteRequestTopic {
                name: (*name).into(),
                partitions: partitions.clone().into(),
            });
            Ok(OffsetDeleteRequest { group_id: group.into(), topics: topics.collect() })
        };
        let read = |reply: &Reply| {
            let response: OffsetDeleteResponse<'_> = reply.decode()?;
            Error::check(ErrorCode::from_code(response.error_code), None)?;
            let mut results = BTreeMap::new();
            for topic in &response.topics {
                for p in &topic.partitions {
                    let result = Error::check(ErrorCode::from_code(p.error_code), None);
                    results.insert((topic.name.to_string(), p.partition_index), result);
                }
            }
            Ok(results)
        };
        self.client.send(&To::Group(group.to_owned()), "deleteConsumerGroupOffsets", build, read).await
    }

    /// Deletes a group and what it has committed.
    pub async fn delete_group(&self, group: &str) -> Result<(), Error> {
        let build = |_| Ok(DeleteGroupsRequest { groups_names: vec![group.into()].into() });
        let read = |reply: &Reply| {
            let response: DeleteGroupsResponse<'_> = reply.decode()?;
            response.results.iter().try_for_each(|r| Error::check(ErrorCode::from_code(r.error_code), None))
        };
        self.client.send(&To::Group(group.to_owned()), "deleteConsumerGroups", build, read).await
    }

    fn offsets_of(&self, group: &str) -> GroupOffsets {
        GroupOffsets { client: self.client.clone(), group: group.to_owned() }
    }

    /// Ends what would go on asking.
    async fn in_time<T>(&self, call: &str, asking: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match tokio::time::timeout(self.client.config().api_timeout, asking).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout(format!("Timed out waiting for the answer. Call: {call}"))),
        }
    }
}

/// `Classic` for `classic`: brokers tell types in small letters, people read them in Java's.
fn capitalized(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn nothing_about(group: &str) -> Error {
    Error::Protocol(format!("The answer says nothing about group {group}"))
}

fn classic(group: &describe_groups_response::DescribedGroup<'_>, coordinator: Node) -> Result<GroupDescription, Error> {
    let member = |m: &describe_groups_response::DescribedGroupMember<'_>| {
        let mut assignment = BTreeSet::new();
        if !m.member_assignment.is_empty() {
            let shares = ConsumerProtocolAssignment::decode_value(&m.member_assignment)
                .map_err(|e| Error::Protocol(format!("The assignment of {} cannot be read: {e}", m.member_id)))?;
            for topic in &shares.assigned_partitions {
                assignment.extend(topic.partitions.to_vec().into_iter().map(|p| (topic.topic.to_string(), p)));
            }
        }
        Ok(GroupMember {
            id: m.member_id.to_string(),
            instance_id: m.group_instance_id.as_deref().map(str::to_owned),
            client_id: m.client_id.to_string(),
            host: m.client_host.to_string(),
            assignment,
            target: None,
            epoch: None,
            upgraded: None,
        })
    };
    Ok(GroupDescription {
        id: group.group_id.to_string(),
        coordinator,
        state: group.group_state.to_string(),
        is_consumer_type: false,
        assignor: group.protocol_data.to_string(),
        members: group.members.iter().map(|m| member(&m)).collect::<Result<_, Error>>()?,
        epoch: None,
        target_epoch: None,
    })
}

fn newer(group: &consumer_group_describe_response::DescribedGroup<'_>, coordinator: Node) -> GroupDescription {
    let shares = |assignment: &consumer_group_describe_response::Assignment<'_>| -> BTreeSet<TopicPartition> {
        let mut all = BTreeSet::new();
        for topic in &assignment.topic_partitions {
            all.extend(topic.partitions.to_vec().into_iter().map(|p| (topic.topic_name.to_string(), p)));
        }
        all
    };
    let members = group.members.iter().map(|m| GroupMember {
        id: m.member_id.to_string(),
        instance_id: m.instance_id.as_deref().map(str::to_owned),
        client_id: m.client_id.to_string(),
        host: m.client_host.to_string(),
        assignment: shares(&m.assignment),
        target: Some(shares(&m.target_assignment)),
        epoch: Some(m.member_epoch),
        upgraded: match m.member_type {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
    });
    GroupDescription {
        id: group.group_id.to_string(),
        coordinator,
        state: group.group_state.to_string(),
        is_consumer_type: true,
        assignor: group.assignor_name.to_string(),
        members: members.collect(),
        epoch: Some(group.group_epoch),
        target_epoch: Some(group.assignment_epoch),
    }
}
