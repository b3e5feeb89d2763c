//! AlterPartition and ElectLeaders: changes of one partition that somebody asks for.

use wire::messages::{MetadataRecord, PartitionChangeRecord};
use wire::{ErrorCode, Uuid};

use super::brokers::check_broker_epoch;
use super::partition_change::{Election, PartitionChange};
use super::{Context, Decision, Refusal, apply_decided};
use crate::image::{
    Broker, Image, LeaderRecoveryState, NO_LEADER, NO_LEADER_CHANGE, Partition, Topic, TopicIdPartition,
};
use crate::planted::{self, Bug};
use std::collections::BTreeSet;

/// A leader proposes the ISR of one of its partitions.
#[derive(Clone, Debug, PartialEq)]
pub struct AlterPartition {
    pub key: TopicIdPartition,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    /// Broker ids with their epochs; -1 for an epoch that is not checked (KIP-903).
    pub new_isr: Vec<(i32, i64)>,
    pub leader_recovery_state: LeaderRecoveryState,
}

/// The partition as it is after an AlterPartition.
#[derive(Clone, Debug, PartialEq)]
pub struct AlteredPartition {
    pub key: TopicIdPartition,
    pub result: Result<Partition, ErrorCode>,
}

/// AlterPartition of one broker, each partition by itself.
pub fn alter_partitions(
    image: &Image,
    context: &Context<'_>,
    broker_id: i32,
    broker_epoch: i64,
    partitions: &[AlterPartition],
) -> Decision<Result<Vec<AlteredPartition>, Refusal>> {
    if let Err(refusal) = check_broker_epoch(image, broker_id, broker_epoch) {
        return Decision::reply(Err(refusal));
    }
    let mut draft = Altered::new(image);
    let mut results = Vec::new();
    for proposal in partitions {
        let result = alter_partition(context, broker_id, proposal, &mut draft);
        results.push(AlteredPartition { key: proposal.key, result });
    }
    Decision::new(draft.records, Ok(results))
}

/// The state as a request leaves it so far: a partition that comes twice is decided the second time on what the first one
/// made of it.
struct Altered {
    image: Image,
    records: Vec<MetadataRecord<'static>>,
}

impl Altered {
    fn new(image: &Image) -> Altered {
        Altered { image: image.clone(), records: Vec::new() }
    }

    fn push(&mut self, record: PartitionChangeRecord<'static>) {
        let record = MetadataRecord::PartitionChange(record);
        apply_decided(&mut self.image, &record);
        self.records.push(record);
    }
}

fn alter_partition(
    context: &Context<'_>,
    broker_id: i32,
    proposal: &AlterPartition,
    altered: &mut Altered,
) -> Result<Partition, ErrorCode> {
    let image = &altered.image;
    let Some(topic) = image.topics.get(proposal.key.topic_id) else { return Err(ErrorCode::UnknownTopicId) };
    let Some(partition) = topic.partition(proposal.key.partition) else {
        return Err(ErrorCode::UnknownTopicOrPartition);
    };
    check_proposal(image, broker_id, partition, proposal, context.settings.bug)?;
    let acceptable = |id: i32| image.cluster.is_active(id);
    let mut change = PartitionChange::new(image, context.settings, proposal.key, &topic.name, partition, &acceptable);
    change.isr = proposal.new_isr.iter().map(|(id, _)| *id).collect();
    change.leader_recovery_state = proposal.leader_recovery_state;
    let Some(record) = change.build() else { return Ok((**partition).clone()) };
    let new = partition.merge(&record).map_err(|_| ErrorCode::UnknownServerError)?;
    let leader_moves = record.leader != NO_LEADER_CHANGE && record.leader != broker_id;
    altered.push(record);
    // The change ended a reassignment in which the leader has no place: it must look at the metadata again.
    if leader_moves { Err(ErrorCode::NewLeaderElected) } else { Ok(new) }
}

fn check_proposal(
    image: &Image,
    broker_id: i32,
    partition: &Partition,
    proposal: &AlterPartition,
    bug: Bug,
) -> Result<(), ErrorCode> {
    // A leader that knows more than we do has spoken to a newer controller.
    if proposal.leader_epoch > partition.leader_epoch || proposal.partition_epoch > partition.partition_epoch {
        return Err(ErrorCode::NotController);
    }
    if proposal.leader_epoch < partition.leader_epoch && !planted::is(bug, Bug::IgnoreLeaderEpoch) {
        return Err(ErrorCode::FencedLeaderEpoch);
    }
    if broker_id != partition.leader {
        return Err(ErrorCode::InvalidRequest);
    }
    if proposal.partition_epoch < partition.partition_epoch && !planted::is(bug, Bug::IgnorePartitionEpoch) {
        return Err(ErrorCode::InvalidUpdateVersion);
    }
    let mut isr: Vec<i32> = proposal.new_isr.iter().map(|(id, _)| *id).collect();
    let has_leader = isr.contains(&partition.leader);
    let known = isr.iter().all(|id| partition.replicas.contains(id));
    isr.sort_unstable();
    let twice = isr.windows(2).any(|pair| pair[0] == pair[1]);
    let recovering = proposal.leader_recovery_state == LeaderRecoveryState::Recovering;
    let was_recovered = partition.leader_recovery_state == LeaderRecoveryState::Recovered;
    if !has_leader || !known || twice || (recovering && (isr.len() > 1 || was_recovered)) {
        return Err(ErrorCode::InvalidRequest);
    }
    let eligible = |(id, epoch): &(i32, i64)| {
        let is_current = |known: i64| *epoch == -1 || known == *epoch || planted::is(bug, Bug::StaleBrokerJoins);
        let may_join = |active: bool| active || planted::is(bug, Bug::FencedBrokerJoins);
        image.cluster.broker(*id).is_some_and(|broker| may_join(broker.is_active()) && is_current(broker.epoch))
    };
    if proposal.new_isr.iter().all(eligible) { Ok(()) } else { Err(ErrorCode::IneligibleReplica) }
}

/// What ElectLeaders asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElectionType {
    Preferred,
    Unclean,
}

/// A partition and what became of it.
pub type ElectedPartition = (String, i32, Result<(), Refusal>);

/// ElectLeaders. `None` means every partition; then those that need no election are left out of the reply.
pub fn elect_leaders(
    image: &Image,
    context: &Context<'_>,
    election: ElectionType,
    partitions: Option<&[(String, Vec<i32>)]>,
) -> Decision<Vec<ElectedPartition>> {
    let mut records = Vec::new();
    let mut results = Vec::new();
    match partitions {
        Some(topics) => {
            let mut named = BTreeSet::new();
            for (name, ids) in topics {
                // Twice over would raise the epoch twice, from the same state.
                for id in ids.iter().filter(|id| named.insert((name, **id))) {
                    let result = elect(image, context, name, *id, election, &mut records);
                    results.push((name.clone(), *id, result));
                }
            }
        }
        None => {
            for topic in image.topics.iter() {
                for id in topic.partitions.keys() {
                    let result = elect(image, context, &topic.name, *id, election, &mut records);
                    if !matches!(&result, Err(refusal) if refusal.code == ErrorCode::ElectionNotNeeded) {
                        results.push((topic.name.to_string(), *id, result));
                    }
                }
            }
        }
    }
    Decision::new(records, results)
}

/// Gives partitions that nobody leads a leader, where one is up that may be elected: where unclean elections were allowed
/// only after the last one that was in sync had gone, nothing else would.
pub fn elect_for_leaderless(image: &Image, context: &Context<'_>) -> Vec<MetadataRecord<'static>> {
    let acceptable = |id: i32| image.cluster.is_active(id);
    let elected = |key: TopicIdPartition| {
        let topic = image.topics.get(key.topic_id)?;
        let partition = topic.partition(key.partition)?;
        let change = PartitionChange::new(image, context.settings, key, &topic.name, partition, &acceptable);
        change.build().filter(|record| record.leader >= 0).map(MetadataRecord::PartitionChange)
    };
    image.topics.led_by(NO_LEADER).filter_map(elected).collect()
}

fn elect(
    image: &Image,
    context: &Context<'_>,
    name: &str,
    id: i32,
    election: ElectionType,
    records: &mut Vec<MetadataRecord<'static>>,
) -> Result<(), Refusal> {
    let unknown = |text: String| Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, text));
    let Some(topic) = image.topics.by_name(name) else { return unknown(format!("No such topic as {name}")) };
    let Some(partition) = topic.partition(id) else { return unknown(format!("No such partition as {name}-{id}")) };
    let (not_needed, kind, unavailable) = match election {
        ElectionType::Preferred => (
            partition.leader == partition.preferred_leader(),
            Election::Preferred,
            ErrorCode::PreferredLeaderNotAvailable,
        ),
        ElectionType::Unclean => (partition.has_leader(), Election::Unclean, ErrorCode::EligibleLeadersNotAvailable),
    };
    if not_needed {
        return Err(Refusal::with_default_text(ErrorCode::ElectionNotNeeded));
    }
    match election_record(image, context, topic, id, partition, kind) {
        Some(record) => {
            records.push(record);
            Ok(())
        }
        None => Err(Refusal::with_default_text(unavailable)),
    }
}

fn election_record(
    image: &Image,
    context: &Context<'_>,
    topic: &Topic,
    id: i32,
    partition: &Partition,
    election: Election,
) -> Option<MetadataRecord<'static>> {
    let key = TopicIdPartition { topic_id: topic.id, partition: id };
    let acceptable = |id: i32| image.cluster.is_active(id);
    let mut change = PartitionChange::new(image, context.settings, key, &topic.name, partition, &acceptable);
    change.election = election;
    // A leader that is about to go is better than none, which nobody asked for.
    change.build().filter(|record| record.leader != NO_LEADER).map(MetadataRecord::PartitionChange)
}

/// What became of each replica that was assigned to a directory.
pub type AssignedReplicas = Vec<(Uuid, TopicIdPartition, Result<(), ErrorCode>)>;

/// A broker says in which of its directories replicas are (AssignReplicasToDirs).
pub fn assign_replicas_to_dirs(
    image: &Image,
    context: &Context<'_>,
    broker_id: i32,
    broker_epoch: i64,
    assignments: &[(Uuid, Vec<TopicIdPartition>)],
) -> Decision<Result<AssignedReplicas, Refusal>> {
    if !image.metadata_version().has_directories() {
        let text = "Directory assignment is not supported yet.";
        return Decision::reply(Err(Refusal::new(ErrorCode::UnsupportedVersion, text)));
    }
    let broker = match check_broker_epoch(image, broker_id, broker_epoch) {
        Ok(broker) => broker,
        Err(refusal) => return Decision::reply(Err(refusal)),
    };
    let mut draft = Altered::new(image);
    let mut results = Vec::new();
    for (directory, partitions) in assignments {
        let online = broker.has_online_dir(*directory);
        for key in partitions {
            let result = assign(context, broker, *key, *directory, online, &mut draft);
            results.push((*directory, *key, result));
        }
    }
    Decision::new(draft.records, Ok(results))
}

fn assign(
    context: &Context<'_>,
    broker: &Broker,
    key: TopicIdPartition,
    directory: Uuid,
    online: bool,
    altered: &mut Altered,
) -> Result<(), ErrorCode> {
    let image = &altered.image;
    let Some(topic) = image.topics.get(key.topic_id) else { return Err(ErrorCode::UnknownTopicId) };
    let Some(partition) = topic.partition(key.partition) else { return Err(ErrorCode::UnknownTopicOrPartition) };
    let Some(known) = partition.directory_of(broker.id) else { return Err(ErrorCode::NotLeaderOrFollower) };
    let (broker_id, bug) = (broker.id, context.settings.bug);
    // A replica in a directory that is offline can neither lead nor be in sync.
    let acceptable = |id: i32| image.cluster.is_active(id) && (online || id != broker_id);
    let mut change = PartitionChange::new(image, context.settings, key, &topic.name, partition, &acceptable);
    change.directory = Some((broker_id, directory));
    if !online {
        change.isr.retain(|id| *id != broker_id);
    }
    // What is not in the directory any more that is lost was made anew: it need not have what was committed before.
    let is_new = known != directory && !broker.has_online_dir(known);
    change.unclean_shutdown = Some(broker_id).filter(|_| is_new);
    if let Some(record) = change.build()
        && !planted::is(bug, Bug::LoseAssignment)
    {
        altered.push(record);
    }
    Ok(())
}
