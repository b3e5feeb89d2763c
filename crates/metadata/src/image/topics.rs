//! Topics and partitions.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use wire::Uuid;
use wire::messages::{PartitionChangeRecord, PartitionRecord, TopicRecord};

use super::{ApplyError, Delta};

/// "Nobody leads": the partition is offline.
pub const NO_LEADER: i32 = -1;
/// In a partition change: the leader stays, and so does its epoch.
pub const NO_LEADER_CHANGE: i32 = -2;

/// Log directory ids that mean something other than a directory (KIP-858).
pub mod directory {
    use wire::Uuid;

    /// The replica's directory was never recorded (metadata.version below 3.7-IV2).
    pub const MIGRATING: Uuid = Uuid::ZERO;
    /// The replica has no directory yet: its broker chooses one.
    pub const UNASSIGNED: Uuid = Uuid::from_u128(1);
    /// The replica is in a directory that is offline and that nobody knows by id.
    pub const LOST: Uuid = Uuid::from_u128(2);

    /// The first hundred ids name no directory.
    pub fn is_reserved(id: Uuid) -> bool {
        id.as_u128() < 100
    }
}

/// Whether a leader was elected from outside the ISR and must first recover (KIP-704).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeaderRecoveryState {
    #[default]
    Recovered,
    Recovering,
}

impl LeaderRecoveryState {
    pub fn value(self) -> i8 {
        self as i8
    }

    pub fn from_value(value: i8) -> Option<Self> {
        match value {
            0 => Some(LeaderRecoveryState::Recovered),
            1 => Some(LeaderRecoveryState::Recovering),
            _ => None,
        }
    }
}

/// One partition as the controller registered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The first one is the preferred leader.
    pub replicas: Box<[i32]>,
    /// The log directory of each replica, in the replicas' order.
    pub directories: Box<[Uuid]>,
    pub isr: Box<[i32]>,
    pub removing_replicas: Box<[i32]>,
    pub adding_replicas: Box<[i32]>,
    /// Out of the ISR, but with everything below the high watermark (KIP-966).
    pub elr: Box<[i32]>,
    /// The last leader, once ISR and ELR are empty (KIP-966).
    pub last_known_elr: Box<[i32]>,
    /// A broker's id, or [`NO_LEADER`].
    pub leader: i32,
    /// Grows with every change of the leader.
    pub leader_epoch: i32,
    /// Grows with every change.
    pub partition_epoch: i32,
    pub leader_recovery_state: LeaderRecoveryState,
}

impl Partition {
    pub fn has_leader(&self) -> bool {
        self.leader != NO_LEADER
    }

    pub fn preferred_leader(&self) -> i32 {
        self.replicas.first().copied().unwrap_or(NO_LEADER)
    }

    /// The directory of one replica; `None` when the broker holds no replica.
    pub fn directory_of(&self, broker: i32) -> Option<Uuid> {
        self.replicas.iter().position(|id| *id == broker).map(|index| self.directories[index])
    }

    pub fn is_reassigning(&self) -> bool {
        !self.removing_replicas.is_empty() || !self.adding_replicas.is_empty()
    }

    pub(crate) fn from_record(record: &PartitionRecord<'_>) -> Result<Self, ApplyError> {
        let replicas: Box<[i32]> = record.replicas.values().collect();
        let directories: Box<[Uuid]> = record.directories.values().collect();
        let optional = |ids: &Option<wire::codec::Array<'_, i32>>| -> Box<[i32]> {
            ids.as_ref().map(|ids| ids.values().collect()).unwrap_or_default()
        };
        Ok(Partition {
            directories: directories_for(&replicas, directories)?,
            isr: record.isr.values().collect(),
            removing_replicas: record.removing_replicas.values().collect(),
            adding_replicas: record.adding_replicas.values().collect(),
            elr: optional(&record.eligible_leader_replicas),
            last_known_elr: optional(&record.last_known_elr),
            leader: record.leader,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
            leader_recovery_state: recovery_state(record.leader_recovery_state)?,
            replicas,
        })
    }

    pub(crate) fn to_record(&self, topic_id: Uuid, partition_id: i32) -> PartitionRecord<'static> {
        let optional = |ids: &[i32]| (!ids.is_empty()).then(|| ids.to_vec().into());
        PartitionRecord {
            partition_id,
            topic_id,
            replicas: self.replicas.to_vec().into(),
            isr: self.isr.to_vec().into(),
            removing_replicas: self.removing_replicas.to_vec().into(),
            adding_replicas: self.adding_replicas.to_vec().into(),
            leader: self.leader,
            leader_recovery_state: self.leader_recovery_state.value(),
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            directories: self.directories.to_vec().into(),
            eligible_leader_replicas: optional(&self.elr),
            last_known_elr: optional(&self.last_known_elr),
        }
    }

    /// The partition after a change: what the record leaves out stays as it is.
    pub fn merge(&self, change: &PartitionChangeRecord<'_>) -> Result<Self, ApplyError> {
        let merged = |ids: &Option<wire::codec::Array<'_, i32>>, old: &[i32]| -> Box<[i32]> {
            ids.as_ref().map_or_else(|| old.into(), |ids| ids.values().collect())
        };
        let replicas = merged(&change.replicas, &self.replicas);
        let directories = match &change.directories {
            Some(ids) => ids.values().collect(),
            None if replicas.len() == self.replicas.len() => self.directories.clone(),
            None => Box::default(),
        };
        let leader_changes = change.leader != NO_LEADER_CHANGE;
        Ok(Partition {
            directories: directories_for(&replicas, directories)?,
            isr: merged(&change.isr, &self.isr),
            removing_replicas: merged(&change.removing_replicas, &self.removing_replicas),
            adding_replicas: merged(&change.adding_replicas, &self.adding_replicas),
            elr: merged(&change.eligible_leader_replicas, &self.elr),
            last_known_elr: merged(&change.last_known_elr, &self.last_known_elr),
            leader: if leader_changes { change.leader } else { self.leader },
            leader_epoch: self.leader_epoch.wrapping_add(leader_changes as i32),
            partition_epoch: self.partition_epoch.wrapping_add(1),
            leader_recovery_state: match change.leader_recovery_state {
                -1 => self.leader_recovery_state,
                value => recovery_state(value)?,
            },
            replicas,
        })
    }
}

fn recovery_state(value: i8) -> Result<LeaderRecoveryState, ApplyError> {
    LeaderRecoveryState::from_value(value)
        .ok_or_else(|| ApplyError::new(format!("unknown leader recovery state {value}")))
}

/// Records below metadata.version 3.7-IV2 name no directories.
fn directories_for(replicas: &[i32], directories: Box<[Uuid]>) -> Result<Box<[Uuid]>, ApplyError> {
    match directories.len() {
        length if length == replicas.len() => Ok(directories),
        0 => Ok(vec![directory::MIGRATING; replicas.len()].into()),
        length => {
            Err(ApplyError::new(format!("a partition with {} replicas names {length} directories", replicas.len())))
        }
    }
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: Arc<str>,
    pub id: Uuid,
    /// By partition id. The ids run from 0 without gaps.
    pub partitions: OrdMap<i32, Arc<Partition>>,
}

impl Topic {
    pub fn partition(&self, id: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(&id)
    }
}

/// A partition, named in the order in which indexes keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicIdPartition {
    pub topic_id: Uuid,
    pub partition: i32,
}

/// All topics, with the indexes that decisions need.
#[derive(Clone, Debug, Default)]
pub struct Topics {
    by_id: OrdMap<Uuid, Arc<Topic>>,
    by_name: OrdMap<Arc<str>, Arc<Topic>>,
    /// Names with a '.' or '_', under the name with all of them as '_' (metrics cannot tell these apart).
    collisions: OrdSet<(Arc<str>, Arc<str>)>,
    /// Partitions by the brokers in their ISR.
    in_isr: OrdSet<(i32, TopicIdPartition)>,
    /// Partitions by the brokers in their ELR.
    in_elr: OrdSet<(i32, TopicIdPartition)>,
    /// Partitions by their leader, [`NO_LEADER`] included.
    led_by: OrdSet<(i32, TopicIdPartition)>,
    partition_count: usize,
}

/// Two sets of topics are equal when the topics are: the indexes follow from them.
impl PartialEq for Topics {
    fn eq(&self, other: &Self) -> bool {
        self.by_id == other.by_id
    }
}

impl Topics {
    pub fn get(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    pub fn by_name(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    pub fn partition(&self, partition: TopicIdPartition) -> Option<&Arc<Partition>> {
        self.get(partition.topic_id)?.partition(partition.partition)
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    /// In the order of their ids.
    pub fn iter_by_id(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_id.values()
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The number of partitions of all topics.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// Another topic whose metrics could not be told from this one's.
    pub fn colliding(&self, name: &str) -> Option<&Arc<str>> {
        let key: Arc<str> = collision_key(name)?.into();
        let from = (key.clone(), Arc::from(""));
        self.collisions.range(from..).next().filter(|(found, _)| *found == key).map(|(_, name)| name)
    }

    pub fn with_broker_in_isr(&self, broker: i32) -> impl Iterator<Item = TopicIdPartition> + '_ {
        of_broker(&self.in_isr, broker)
    }

    pub fn with_broker_in_elr(&self, broker: i32) -> impl Iterator<Item = TopicIdPartition> + '_ {
        of_broker(&self.in_elr, broker)
    }

    /// `NO_LEADER` gives the partitions that are offline.
    pub fn led_by(&self, broker: i32) -> impl Iterator<Item = TopicIdPartition> + '_ {
        of_broker(&self.led_by, broker)
    }

    pub(super) fn apply_topic(&mut self, record: &TopicRecord<'_>, delta: &mut Delta) -> Result<(), ApplyError> {
        if let Some(existing) = self.by_name(&record.name) {
            return Err(ApplyError::new(format!(
                "topic {} is created a second time: its id is {}, the new one {}",
                record.name, existing.id, record.topic_id
            )));
        }
        if let Some(existing) = self.get(record.topic_id) {
            return Err(ApplyError::new(format!("topic id {} belongs to {} already", record.topic_id, existing.name)));
        }
        let name: Arc<str> = Arc::from(&*record.name);
        if let Some(key) = collision_key(&name) {
            let key = if key == *name { name.clone() } else { Arc::from(key) };
            self.collisions.insert((key, name.clone()));
        }
        self.put(Arc::new(Topic { name, id: record.topic_id, partitions: OrdMap::new() }));
        delta.topic_created(record.topic_id);
        Ok(())
    }

    pub(super) fn apply_partition(
        &mut self,
        record: &PartitionRecord<'_>,
        delta: &mut Delta,
    ) -> Result<(), ApplyError> {
        let key = TopicIdPartition { topic_id: record.topic_id, partition: record.partition_id };
        if record.partition_id < 0 {
            return Err(ApplyError::new(format!("topic id {} has a partition {}", key.topic_id, key.partition)));
        }
        self.put_partition(key, Partition::from_record(record)?)?;
        delta.partition_changed(key);
        Ok(())
    }

    pub(super) fn apply_change(
        &mut self,
        record: &PartitionChangeRecord<'_>,
        delta: &mut Delta,
    ) -> Result<(), ApplyError> {
        let key = TopicIdPartition { topic_id: record.topic_id, partition: record.partition_id };
        let Some(old) = self.partition(key) else {
            return Err(ApplyError::new(format!(
                "partition {}:{} changes and is unknown",
                key.topic_id, key.partition
            )));
        };
        let new = old.merge(record)?;
        self.put_partition(key, new)?;
        delta.partition_changed(key);
        Ok(())
    }

    pub(super) fn apply_remove(&mut self, id: Uuid, delta: &mut Delta) -> Result<Arc<Topic>, ApplyError> {
        let Some(topic) = self.by_id.remove(&id) else {
            return Err(ApplyError::new(format!("topic id {id} is removed and is unknown")));
        };
        self.by_name.remove(&topic.name);
        if let Some(key) = collision_key(&topic.name) {
            self.collisions.remove(&(Arc::from(key), topic.name.clone()));
        }
        for (partition, old) in &topic.partitions {
            self.unindex(TopicIdPartition { topic_id: id, partition: *partition }, old);
        }
        self.partition_count -= topic.partitions.len();
        delta.topic_removed(&topic);
        Ok(topic)
    }

    /// KIP-966: the ELR of one topic, or of all, is forgotten.
    pub(super) fn apply_clear_elr(&mut self, name: &str, delta: &mut Delta) -> Result<(), ApplyError> {
        let topics: Vec<Arc<Topic>> = if name.is_empty() {
            self.by_id.values().cloned().collect()
        } else {
            let Some(topic) = self.by_name(name) else {
                return Err(ApplyError::new(format!("the ELR of topic {name} is cleared, and it is unknown")));
            };
            vec![topic.clone()]
        };
        for topic in topics {
            for (partition, old) in &topic.partitions {
                if old.elr.is_empty() && old.last_known_elr.is_empty() {
                    continue;
                }
                let key = TopicIdPartition { topic_id: topic.id, partition: *partition };
                let cleared = PartitionChangeRecord {
                    eligible_leader_replicas: Some(Vec::new().into()),
                    last_known_elr: Some(Vec::new().into()),
                    ..Default::default()
                };
                let new = old.merge(&cleared)?;
                self.put_partition(key, new)?;
                delta.partition_changed(key);
            }
        }
        Ok(())
    }

    fn put(&mut self, topic: Arc<Topic>) {
        self.by_name.insert(topic.name.clone(), topic.clone());
        self.by_id.insert(topic.id, topic);
    }

    fn put_partition(&mut self, key: TopicIdPartition, partition: Partition) -> Result<(), ApplyError> {
        let Some(topic) = self.get(key.topic_id) else {
            return Err(ApplyError::new(format!("partition {} belongs to no topic ({})", key.partition, key.topic_id)));
        };
        let mut topic = (**topic).clone();
        let partition = Arc::new(partition);
        match topic.partitions.insert(key.partition, partition.clone()) {
            Some(old) => self.unindex(key, &old),
            None => self.partition_count += 1,
        }
        for broker in &partition.isr {
            self.in_isr.insert((*broker, key));
        }
        for broker in &partition.elr {
            self.in_elr.insert((*broker, key));
        }
        self.led_by.insert((partition.leader, key));
        self.put(Arc::new(topic));
        Ok(())
    }

    fn unindex(&mut self, key: TopicIdPartition, old: &Partition) {
        for broker in &old.isr {
            self.in_isr.remove(&(*broker, key));
        }
        for broker in &old.elr {
            self.in_elr.remove(&(*broker, key));
        }
        self.led_by.remove(&(old.leader, key));
    }
}

/// `None` for names that can collide with no other.
fn collision_key(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

fn of_broker(index: &OrdSet<(i32, TopicIdPartition)>, broker: i32) -> impl Iterator<Item = TopicIdPartition> + '_ {
    let first = TopicIdPartition { topic_id: Uuid::ZERO, partition: i32::MIN };
    index.range((broker, first)..).take_while(move |(id, _)| *id == broker).map(|(_, key)| *key)
}
