//! Moving replicas (KIP-455): AlterPartitionReassignments and what ListPartitionReassignments tells.
//!
//! A reassignment adds the new replicas to the old ones and notes which are coming and which are to go. When all that
//! stay are in sync, AlterPartition ends it (`partition_change`).

use wire::ErrorCode;
use wire::messages::{MetadataRecord, PartitionChangeRecord};

use super::partition_change::PartitionChange;
use super::{Context, Decision, Refusal, apply_decided, check_assignment};
use crate::image::{Image, Partition, Topic, TopicIdPartition};

/// Where one partition's replicas shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReassignPartition {
    pub topic: String,
    pub partition: i32,
    /// In the order of preference; `None` takes back what is under way.
    pub replicas: Option<Vec<i32>>,
}

/// A partition and what became of it.
pub type ReassignedPartition = (String, i32, Result<(), Refusal>);

/// AlterPartitionReassignments, each partition by itself.
pub fn alter_partition_reassignments(
    image: &Image,
    context: &Context<'_>,
    partitions: &[ReassignPartition],
    allow_replication_factor_change: bool,
) -> Decision<Vec<ReassignedPartition>> {
    // A partition that comes twice is decided the second time on what the first one made of it.
    let mut image = image.clone();
    let mut records = Vec::new();
    let mut results = Vec::new();
    for wanted in partitions {
        let decided = reassign(&image, context, wanted, allow_replication_factor_change);
        let result = decided.map(|record| {
            if let Some(record) = record.map(MetadataRecord::PartitionChange) {
                apply_decided(&mut image, &record);
                records.push(record);
            }
        });
        results.push((wanted.topic.clone(), wanted.partition, result));
    }
    Decision::new(records, results)
}

fn reassign(
    image: &Image,
    context: &Context<'_>,
    wanted: &ReassignPartition,
    allow_replication_factor_change: bool,
) -> Result<Option<PartitionChangeRecord<'static>>, Refusal> {
    let unknown = |text: String| Refusal::new(ErrorCode::UnknownTopicOrPartition, text);
    let (name, index) = (wanted.topic.as_str(), wanted.partition);
    let topic = image.topics.by_name(name).ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
    let partition =
        topic.partition(index).ok_or_else(|| unknown(format!("Unable to find partition {name}:{index}.")))?;
    match &wanted.replicas {
        None => taken_back(image, context, topic, index, partition),
        Some(target) => {
            let stay = partition.replicas.iter().filter(|id| !partition.removing_replicas.contains(id));
            let (old, new) = (stay.count(), target.len());
            if !allow_replication_factor_change && old != new {
                let text = format!("The replication factor is changed from {old} to {new}");
                return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, text));
            }
            check_assignment(image, target, None)?;
            Ok(moved(partition, target).record(image, context, topic, index, partition))
        }
    }
}

/// The replicas from before the reassignment that is under way.
fn original_replicas(partition: &Partition) -> impl Iterator<Item = i32> + '_ {
    partition.replicas.iter().copied().filter(|id| !partition.adding_replicas.contains(id))
}

/// What a partition becomes.
struct Change {
    replicas: Vec<i32>,
    isr: Vec<i32>,
    adding: Vec<i32>,
    removing: Vec<i32>,
}

impl Change {
    fn record(
        self,
        image: &Image,
        context: &Context<'_>,
        topic: &Topic,
        index: i32,
        partition: &Partition,
    ) -> Option<PartitionChangeRecord<'static>> {
        let key = TopicIdPartition { topic_id: topic.id, partition: index };
        let acceptable = |id: i32| image.cluster.is_active(id);
        let mut change = PartitionChange::new(image, context.settings, key, &topic.name, partition, &acceptable);
        change.replicas = self.replicas;
        change.isr = self.isr;
        change.adding_replicas = self.adding;
        change.removing_replicas = self.removing;
        change.build()
    }
}

/// The target first, then those that go once it is complete. What an earlier reassignment was adding is still being added
/// where the target has it; where not, it goes at once, unless it is in sync already and may be needed: nobody else may have
/// all that is committed, while it is in the ISR, eligible, or was the last to lead (KIP-966).
fn moved(partition: &Partition, target: &[i32]) -> Change {
    let original: Vec<i32> = original_replicas(partition).collect();
    let mut adding: Vec<i32> = target.iter().copied().filter(|id| !original.contains(id)).collect();
    let may_lead = [&partition.isr, &partition.elr, &partition.last_known_elr];
    let is_kept = |id: &i32| original.contains(id) || may_lead.iter().any(|ids| ids.contains(id));
    let others = partition.replicas.iter().copied().filter(|id| !target.contains(id));
    let mut removing: Vec<i32> = others.filter(is_kept).collect();
    adding.sort_unstable();
    removing.sort_unstable();
    let replicas = target.iter().chain(&removing).copied().collect();
    Change { replicas, isr: partition.isr.to_vec(), adding, removing }
}

/// The replicas from before the reassignment. When none of them is in sync any more, one has to be elected at once: an
/// eligible one (KIP-966), or any where unclean elections are allowed, which loses what was acknowledged since. Where nobody
/// can be, the new replicas stay: they may be the only ones that will ever lead again.
fn taken_back(
    image: &Image,
    context: &Context<'_>,
    topic: &Topic,
    index: i32,
    partition: &Partition,
) -> Result<Option<PartitionChangeRecord<'static>>, Refusal> {
    if !partition.is_reassigning() {
        return Err(Refusal::with_default_text(ErrorCode::NoReassignmentInProgress));
    }
    let replicas: Vec<i32> = original_replicas(partition).collect();
    let isr: Vec<i32> = partition.isr.iter().copied().filter(|id| replicas.contains(id)).collect();
    let needs_election = isr.is_empty();
    let change = Change { replicas, isr, adding: Vec::new(), removing: Vec::new() };
    let record = change.record(image, context, topic, index, partition);
    if needs_election && record.as_ref().is_none_or(|record| record.leader < 0) {
        let why = match context.settings.unclean_leader_election(image, &topic.name) {
            true => "none of the replicas that would stay is online.",
            false => "it would require an unclean leader election.",
        };
        let text = format!("Unable to revert partition assignment for {}:{index} because {why}", topic.name);
        return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text));
    }
    Ok(record)
}

/// The partitions on the move: of the named ones, or of all. Names that nobody has are passed over.
pub fn partition_reassignments<'a>(
    image: &'a Image,
    wanted: Option<&[(String, Vec<i32>)]>,
) -> Vec<(&'a Topic, i32, &'a Partition)> {
    let all = |topic: &'a Topic| topic.partitions.iter().map(move |(index, partition)| (topic, *index, &**partition));
    let found: Vec<(&'a Topic, i32, &'a Partition)> = match wanted {
        None => image.topics.iter().flat_map(|topic| all(topic)).collect(),
        Some(wanted) => wanted
            .iter()
            .filter_map(|(name, indexes)| Some((image.topics.by_name(name)?, indexes)))
            .flat_map(|(topic, indexes)| {
                indexes.iter().filter_map(|index| Some((&**topic, *index, &**topic.partition(*index)?)))
            })
            .collect(),
    };
    found.into_iter().filter(|(_, _, partition)| partition.is_reassigning()).collect()
}
