//! Creating and deleting topics, and giving them more partitions.

use std::collections::{BTreeMap, BTreeSet};

use wire::messages::{ConfigRecord, MetadataRecord, RemoveTopicRecord, TopicRecord};
use wire::{ErrorCode, Uuid};

use super::{
    Context, Decision, MAX_PARTITIONS_PER_REQUEST, Random, Refusal, check_topic_name, configs, default_directory, place,
};
use crate::image::{ConfigResource, Image, LeaderRecoveryState, Partition};

/// A topic to create.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewTopic {
    pub name: String,
    /// -1: the default; with assignments it must be -1.
    pub num_partitions: i32,
    /// -1: the default; with assignments it must be -1.
    pub replication_factor: i16,
    /// Partition index and its replicas; empty: the controller chooses.
    pub assignments: Vec<(i32, Vec<i32>)>,
    pub configs: Vec<(String, Option<String>)>,
}

/// A topic that was created (or, with `validate_only`, would be).
#[derive(Clone, Debug, PartialEq)]
pub struct CreatedTopic {
    pub topic_id: Uuid,
    pub num_partitions: i32,
    pub replication_factor: i16,
}

/// One result per topic, in the order of the request; a name that came twice has one result.
pub type CreateTopicsReply = Result<Vec<(String, Result<CreatedTopic, Refusal>)>, Refusal>;

/// CreateTopics: each topic succeeds or fails by itself.
///
/// # Errors
/// The whole request with POLICY_VIOLATION when it asks for more than 10,000 partitions.
pub fn create_topics(
    image: &Image,
    context: &Context<'_>,
    topics: &[NewTopic],
    validate_only: bool,
    random: &mut dyn Random,
) -> Decision<CreateTopicsReply> {
    let requested: u64 = topics.iter().map(|topic| partitions_of(topic, context)).sum();
    if requested > MAX_PARTITIONS_PER_REQUEST {
        return Decision::reply(Err(too_many_partitions()));
    }
    let mut seen = BTreeMap::new();
    for topic in topics {
        *seen.entry(topic.name.as_str()).or_insert(0) += 1;
    }
    let mut records = Vec::new();
    let mut results = Vec::new();
    // Names that this request makes: they may collide with each other's, too.
    let mut batch = image.clone();
    for topic in topics {
        let result = match seen.insert(&topic.name, 0) {
            Some(1) => create_topic(&batch, context, topic, random),
            Some(0) => continue,
            _ => Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name.")),
        };
        results.push((
            topic.name.clone(),
            result.map(|(created, new_records)| {
                for record in &new_records {
                    super::apply_decided(&mut batch, record);
                }
                records.extend(new_records);
                created
            }),
        ));
    }
    if validate_only {
        records.clear();
    }
    Decision::new(records, Ok(results))
}

fn partitions_of(topic: &NewTopic, context: &Context<'_>) -> u64 {
    let count = match (topic.assignments.len(), topic.num_partitions) {
        (0, -1) => context.settings.num_partitions(),
        (0, count) => count,
        (count, _) => i32::try_from(count).unwrap_or(i32::MAX),
    };
    u64::try_from(count).unwrap_or(0)
}

fn too_many_partitions() -> Refusal {
    Refusal::new(ErrorCode::PolicyViolation, "Excessively large number of partitions per request.")
}

type NewRecords = Vec<MetadataRecord<'static>>;

fn create_topic(
    image: &Image,
    context: &Context<'_>,
    topic: &NewTopic,
    random: &mut dyn Random,
) -> Result<(CreatedTopic, NewRecords), Refusal> {
    if topic.name == super::METADATA_TOPIC {
        let text = format!("Creation of internal topic {} is prohibited.", super::METADATA_TOPIC);
        return Err(Refusal::new(ErrorCode::InvalidRequest, text));
    }
    check_topic_name(&topic.name)?;
    if image.topics.by_name(&topic.name).is_some() {
        let text = format!("Topic '{}' already exists.", topic.name);
        return Err(Refusal::new(ErrorCode::TopicAlreadyExists, text));
    }
    if let Some(other) = image.topics.colliding(&topic.name) {
        let text = format!("Topic '{}' collides with existing topic: {other}", topic.name);
        return Err(Refusal::new(ErrorCode::InvalidTopicException, text));
    }
    let config_records = creation_configs(image, context, topic)?;
    let partitions =
        if topic.assignments.is_empty() { placed(image, context, topic, random)? } else { assigned(image, topic)? };
    let topic_id = new_topic_id(image, random);
    let created = CreatedTopic {
        topic_id,
        num_partitions: partitions.len() as i32,
        replication_factor: partitions.first().map_or(0, |first| first.replicas.len() as i16),
    };
    let mut records = vec![MetadataRecord::Topic(TopicRecord { name: topic.name.clone().into(), topic_id })];
    records.extend(config_records);
    for (index, partition) in (0..).zip(&partitions) {
        records.push(MetadataRecord::Partition(partition.to_record(topic_id, index)));
    }
    Ok((created, records))
}

/// Chance may be poor (a simulation's, a seed used twice); ids must not meet for that.
fn new_topic_id(image: &Image, random: &mut dyn Random) -> Uuid {
    loop {
        let id = random.topic_id();
        if image.topics.get(id).is_none() {
            return id;
        }
    }
}

/// The settings of a new topic, checked as a whole. Of a key that comes twice the last value counts.
fn creation_configs(image: &Image, context: &Context<'_>, topic: &NewTopic) -> Result<NewRecords, Refusal> {
    let nulls: Vec<&str> =
        topic.configs.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name.as_str()).collect();
    if !nulls.is_empty() {
        let text = format!("Null value not supported for topic configs: {}", nulls.join(","));
        return Err(Refusal::new(ErrorCode::InvalidConfig, text));
    }
    let settings: BTreeMap<String, String> =
        topic.configs.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect();
    if settings.is_empty() {
        return Ok(Vec::new());
    }
    let resource = ConfigResource::topic(&topic.name);
    let records: Vec<ConfigRecord<'static>> =
        settings.iter().map(|(name, value)| configs::record(&resource, name, Some(value))).collect();
    configs::check(image, context, &resource, &settings, &Default::default(), &records)?;
    Ok(records.into_iter().map(MetadataRecord::Config).collect())
}

fn placed(
    image: &Image,
    context: &Context<'_>,
    topic: &NewTopic,
    random: &mut dyn Random,
) -> Result<Vec<Partition>, Refusal> {
    if topic.replication_factor < -1 || topic.replication_factor == 0 {
        let text = "Replication factor must be larger than 0, or -1 to use the default value.";
        return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, text));
    }
    if topic.num_partitions < -1 || topic.num_partitions == 0 {
        let text = "Number of partitions was set to an invalid non-positive value.";
        return Err(Refusal::new(ErrorCode::InvalidPartitions, text));
    }
    let or_default = |value: i32, default: i32| if value == -1 { default } else { value };
    let count = or_default(topic.num_partitions, context.settings.num_partitions());
    let factor = match topic.replication_factor {
        -1 => context.settings.replication_factor(),
        factor => factor,
    };
    let unable = |reason: &str| {
        let text = format!("Unable to replicate the partition {factor} time(s): {reason}");
        Refusal::new(ErrorCode::InvalidReplicationFactor, text)
    };
    let replicas = place(image, usize::try_from(count).unwrap_or(0), factor, random)
        .map_err(|refusal| unable(refusal.message.as_deref().unwrap_or_default()))?;
    replicas
        .iter()
        .map(|replicas| {
            new_partition(image, replicas)
                .ok_or_else(|| unable("All brokers are currently fenced or in controlled shutdown."))
        })
        .collect()
}

fn assigned(image: &Image, topic: &NewTopic) -> Result<Vec<Partition>, Refusal> {
    if topic.replication_factor != -1 {
        let text = "A manual partition assignment was specified, but replication factor was not set to -1.";
        return Err(Refusal::new(ErrorCode::InvalidRequest, text));
    }
    if topic.num_partitions != -1 {
        let text = "A manual partition assignment was specified, but numPartitions was not set to -1.";
        return Err(Refusal::new(ErrorCode::InvalidRequest, text));
    }
    let invalid = |text: String| Refusal::new(ErrorCode::InvalidReplicaAssignment, text);
    let mut partitions = BTreeMap::new();
    let mut factor = None;
    for (index, replicas) in &topic.assignments {
        if partitions.contains_key(index) {
            return Err(invalid(format!("Found multiple manual partition assignments for partition {index}")));
        }
        check_assignment(image, replicas, factor)?;
        factor = Some(replicas.len());
        partitions.insert(*index, assigned_partition(image, *index, replicas)?);
    }
    if partitions.keys().zip(0..).any(|(index, expected)| *index != expected) {
        return Err(invalid("partitions should be a consecutive 0-based integer sequence".to_owned()));
    }
    Ok(partitions.into_values().collect())
}

fn assigned_partition(image: &Image, index: i32, replicas: &[i32]) -> Result<Partition, Refusal> {
    new_partition(image, replicas).ok_or_else(|| {
        let text = format!(
            "All brokers specified in the manual partition assignment for partition {index} are fenced or in \
             controlled shutdown."
        );
        Refusal::new(ErrorCode::InvalidReplicaAssignment, text)
    })
}

/// Kafka's checks of an assignment by hand.
///
/// # Errors
/// INVALID_REPLICA_ASSIGNMENT.
pub fn check_assignment(image: &Image, replicas: &[i32], factor: Option<usize>) -> Result<(), Refusal> {
    let invalid = |text: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text));
    if replicas.is_empty() {
        return invalid("The manual partition assignment includes an empty replica list.".to_owned());
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    let mut previous = None;
    for id in sorted {
        if image.cluster.broker(id).is_none() {
            return invalid(format!(
                "The manual partition assignment includes broker {id}, but no such broker is registered."
            ));
        }
        if previous == Some(id) {
            return invalid(format!("The manual partition assignment includes the broker {id} more than once."));
        }
        previous = Some(id);
    }
    match factor {
        Some(factor) if factor != replicas.len() => invalid(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with \
             previous partitions, which have {factor} replica(s).",
            replicas.len()
        )),
        _ => Ok(()),
    }
}

/// `None` when no replica could lead.
fn new_partition(image: &Image, replicas: &[i32]) -> Option<Partition> {
    let isr: Box<[i32]> = replicas.iter().copied().filter(|id| image.cluster.is_active(*id)).collect();
    Some(Partition {
        replicas: replicas.into(),
        directories: replicas.iter().map(|id| default_directory(image, *id)).collect(),
        leader: *isr.first()?,
        isr,
        removing_replicas: Box::default(),
        adding_replicas: Box::default(),
        elr: Box::default(),
        last_known_elr: Box::default(),
        leader_epoch: 0,
        partition_epoch: 0,
        leader_recovery_state: LeaderRecoveryState::Recovered,
    })
}

/// A topic by its name or by its id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicRef {
    Name(String),
    Id(Uuid),
}

/// What became of one topic of DeleteTopics.
#[derive(Clone, Debug, PartialEq)]
pub struct DeletedTopic {
    /// `None` for an id that belongs to no topic.
    pub name: Option<String>,
    /// Zero for a name that belongs to no topic.
    pub topic_id: Uuid,
    pub result: Result<(), Refusal>,
}

/// DeleteTopics, by name or id. A topic that is named twice, in whatever way, is not deleted.
pub fn delete_topics(image: &Image, topics: &[TopicRef]) -> Decision<Vec<DeletedTopic>> {
    let mut times: BTreeMap<&TopicRef, usize> = BTreeMap::new();
    for topic in topics {
        *times.entry(topic).or_insert(0) += 1;
    }
    let mut by_id = BTreeSet::new();
    for topic in times.keys() {
        if let TopicRef::Id(id) = topic {
            by_id.insert(*id);
        }
    }
    let mut records = Vec::new();
    let mut results = Vec::new();
    for (topic, times) in times {
        let found = match topic {
            TopicRef::Name(name) => image.topics.by_name(name),
            TopicRef::Id(id) => image.topics.get(*id),
        };
        let (name, topic_id) = match topic {
            TopicRef::Name(name) => (Some(name.clone()), found.map_or(Uuid::ZERO, |topic| topic.id)),
            TopicRef::Id(id) => (found.map(|topic| topic.name.to_string()), *id),
        };
        let invalid = |text: &str| Err(Refusal::new(ErrorCode::InvalidRequest, text));
        let result = match (topic, found) {
            (TopicRef::Name(_), _) if times > 1 => invalid("Duplicate topic name."),
            (TopicRef::Id(_), _) if times > 1 => invalid("Duplicate topic id."),
            (TopicRef::Name(_), None) => Err(Refusal::with_default_text(ErrorCode::UnknownTopicOrPartition)),
            (TopicRef::Id(_), None) => Err(Refusal::with_default_text(ErrorCode::UnknownTopicId)),
            (TopicRef::Name(_), Some(topic)) if by_id.contains(&topic.id) => {
                invalid("The provided topic name maps to an ID that was already supplied.")
            }
            (_, Some(topic)) => {
                records.push(MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: topic.id }));
                Ok(())
            }
        };
        results.push(DeletedTopic { name, topic_id, result });
    }
    Decision::new(records, results)
}

/// More partitions for a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct MorePartitions {
    pub name: String,
    /// How many the topic shall have in all.
    pub count: i32,
    /// The replicas of each new partition; `None`: the controller chooses.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// One result per topic; a name that came twice has one result.
pub type CreatePartitionsReply = Result<Vec<(String, Result<(), Refusal>)>, Refusal>;

/// CreatePartitions: each topic succeeds or fails by itself.
pub fn create_partitions(
    image: &Image,
    topics: &[MorePartitions],
    validate_only: bool,
    random: &mut dyn Random,
) -> Decision<CreatePartitionsReply> {
    let mut times = BTreeMap::new();
    let mut requested = 0;
    for topic in topics {
        *times.entry(topic.name.as_str()).or_insert(0) += 1;
        let now = image.topics.by_name(&topic.name).map_or(0, |topic| topic.partitions.len() as i64);
        requested += u64::try_from(i64::from(topic.count) - now).unwrap_or(0);
    }
    if requested > MAX_PARTITIONS_PER_REQUEST {
        return Decision::reply(Err(too_many_partitions()));
    }
    let mut records = Vec::new();
    let mut results = Vec::new();
    for topic in topics {
        let result = match times.insert(&topic.name, 0) {
            Some(1) => more_partitions(image, topic, random),
            Some(0) => continue,
            _ => Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name.")),
        };
        results.push((topic.name.clone(), result.map(|new_records| records.extend(new_records))));
    }
    if validate_only {
        records.clear();
    }
    Decision::new(records, Ok(results))
}

fn more_partitions(image: &Image, wanted: &MorePartitions, random: &mut dyn Random) -> Result<NewRecords, Refusal> {
    let Some(topic) = image.topics.by_name(&wanted.name) else {
        return Err(Refusal::without_text(ErrorCode::UnknownTopicOrPartition));
    };
    let now = topic.partitions.len();
    let count = usize::try_from(wanted.count).unwrap_or(0);
    if count == now {
        return Err(Refusal::new(ErrorCode::InvalidPartitions, format!("Topic already has {now} partition(s).")));
    }
    if count < now {
        let text = format!(
            "The topic {} currently has {now} partition(s); {} would not be an increase.",
            wanted.name, wanted.count
        );
        return Err(Refusal::new(ErrorCode::InvalidPartitions, text));
    }
    let additional = count - now;
    let factor = topic.partitions.values().next().map_or(0, |partition| partition.replicas.len());
    let partitions: Vec<Partition> = match &wanted.assignments {
        Some(assignments) => {
            if assignments.len() != additional {
                let text = format!(
                    "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
                    assignments.len()
                );
                return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text));
            }
            let assign = |(index, replicas): (usize, &Vec<i32>)| {
                check_assignment(image, replicas, Some(factor))?;
                assigned_partition(image, (now + index) as i32, replicas)
            };
            assignments.iter().enumerate().map(assign).collect::<Result<_, _>>()?
        }
        None => {
            let replicas = place(image, additional, i16::try_from(factor).unwrap_or(i16::MAX), random)?;
            let fenced = || {
                let text = format!(
                    "Unable to replicate the partition {factor} time(s): All brokers are currently fenced or in \
                     controlled shutdown."
                );
                Refusal::new(ErrorCode::InvalidReplicationFactor, text)
            };
            let new = |replicas: &Vec<i32>| new_partition(image, replicas).ok_or_else(fenced);
            replicas.iter().map(new).collect::<Result<_, _>>()?
        }
    };
    let id = topic.id;
    Ok((now as i32..)
        .zip(&partitions)
        .map(|(index, partition)| MetadataRecord::Partition(partition.to_record(id, index)))
        .collect())
}
