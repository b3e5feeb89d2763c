//! One partition's next state: who leads it, who is in sync, when brokers come and go.

use wire::Uuid;
use wire::messages::PartitionChangeRecord;

use super::NodeSettings;
use crate::image::{Image, LeaderRecoveryState, NO_LEADER, NO_LEADER_CHANGE, Partition, TopicIdPartition};
use crate::planted::{self, Bug};

/// Who may be elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    /// The first replica, if it is in sync.
    Preferred,
    /// A replica in sync, when the leader is not there.
    Online,
    /// As `Online`, and rather any replica than none.
    Unclean,
}

/// A change of one partition, on its way to a record.
pub struct PartitionChange<'a> {
    image: &'a Image,
    key: TopicIdPartition,
    partition: &'a Partition,
    min_isr: usize,
    elr_enabled: bool,
    acceptable_leader: &'a dyn Fn(i32) -> bool,
    pub election: Election,
    pub isr: Vec<i32>,
    pub replicas: Vec<i32>,
    pub removing_replicas: Vec<i32>,
    pub adding_replicas: Vec<i32>,
    pub leader_recovery_state: LeaderRecoveryState,
    /// A broker that lost its page cache: whatever it has is not known to be complete.
    pub unclean_shutdown: Option<i32>,
    /// A replica moves to another directory.
    pub directory: Option<(i32, Uuid)>,
    elr: Vec<i32>,
    bug: Bug,
}

impl<'a> PartitionChange<'a> {
    /// Begins with the partition as it is. `acceptable_leader` says which brokers are up; that a replica's directory is
    /// online is looked at here.
    pub fn new(
        image: &'a Image,
        settings: &NodeSettings,
        key: TopicIdPartition,
        topic: &str,
        partition: &'a Partition,
        acceptable_leader: &'a dyn Fn(i32) -> bool,
    ) -> Self {
        let first =
            image.topics.get(key.topic_id).and_then(|topic| topic.partition(0)).map_or(partition, |first| first);
        let min_isr = settings.min_insync_replicas(image, topic).min(first.replicas.len());
        let unclean = settings.unclean_leader_election(image, topic);
        PartitionChange {
            image,
            key,
            partition,
            min_isr,
            elr_enabled: image.features.is_elr_enabled(),
            acceptable_leader,
            election: if unclean { Election::Unclean } else { Election::Online },
            isr: partition.isr.to_vec(),
            replicas: partition.replicas.to_vec(),
            removing_replicas: partition.removing_replicas.to_vec(),
            adding_replicas: partition.adding_replicas.to_vec(),
            leader_recovery_state: partition.leader_recovery_state,
            unclean_shutdown: None,
            directory: None,
            elr: partition.elr.to_vec(),
            bug: settings.bug,
        }
    }

    /// The record, or `None` when nothing changes.
    pub fn build(mut self) -> Option<PartitionChangeRecord<'static>> {
        let mut record = PartitionChangeRecord {
            topic_id: self.key.topic_id,
            partition_id: self.key.partition,
            ..Default::default()
        };
        self.complete_reassignment();
        self.choose_elr();
        let elected_uncleanly = self.elect(&mut record);
        if record.leader == NO_LEADER_CHANGE && !contains_all(&self.replicas, &self.partition.replicas) {
            // A replica leaves: its fetches must be fenced by a new leader epoch.
            record.leader = self.partition.leader;
        }
        if elected_uncleanly || !self.elr_enabled {
            self.elr.clear();
        }
        if self.elr != *self.partition.elr {
            record.eligible_leader_replicas = Some(self.elr.clone().into());
        }
        // Without ELR the last member of the ISR stays in it: somebody must be able to lead again.
        if !elected_uncleanly && (!self.isr.is_empty() || self.elr_enabled) && self.isr != *self.partition.isr {
            record.isr = Some(self.isr.clone().into());
        }
        self.raise_epoch_on_isr_shrink(&mut record);
        self.remember_last_leader(&mut record);
        self.assign(&mut record);
        let recovery_changed = self.leader_recovery_state != self.partition.leader_recovery_state;
        if recovery_changed && record.leader_recovery_state == -1 {
            record.leader_recovery_state = self.leader_recovery_state.value();
        }
        let unchanged = PartitionChangeRecord {
            topic_id: self.key.topic_id,
            partition_id: self.key.partition,
            ..Default::default()
        };
        (record != unchanged).then_some(record)
    }

    /// Once all that will stay are in sync, a reassignment is done (KIP-455).
    fn complete_reassignment(&mut self) {
        if self.adding_replicas.is_empty() && self.removing_replicas.is_empty() {
            return;
        }
        let removing = &self.removing_replicas;
        let staying = |id: &i32| !removing.contains(id);
        let isr: Vec<i32> = self.isr.iter().copied().filter(staying).collect();
        let replicas: Vec<i32> = self.replicas.iter().copied().filter(staying).collect();
        if isr.is_empty() || replicas.is_empty() || !contains_all(&isr, &replicas) {
            return;
        }
        self.isr = isr;
        self.replicas = replicas;
        self.removing_replicas.clear();
        self.adding_replicas.clear();
    }

    /// Below min ISR those who left the ISR stay eligible, except after an unclean shutdown (KIP-966).
    fn choose_elr(&mut self) {
        if !self.elr_enabled {
            return;
        }
        if self.isr.len() >= self.min_isr {
            self.elr.clear();
            return;
        }
        for id in &self.partition.isr {
            if !self.elr.contains(id) && !planted::is(self.bug, Bug::ForgetEligible) {
                self.elr.push(*id);
            }
        }
        let keeps = planted::is(self.bug, Bug::KeepUncleanEligible);
        let (isr, replicas, unclean) = (&self.isr, &self.replicas, self.unclean_shutdown.filter(|_| !keeps));
        self.elr.retain(|id| !isr.contains(id) && replicas.contains(id) && Some(*id) != unclean);
        self.elr.sort_unstable();
    }

    fn is_acceptable(&self, replica: i32) -> bool {
        let directory_is_online = || {
            self.image.cluster.broker(replica).is_some_and(|broker| {
                let told = self.directory.filter(|(id, _)| *id == replica).map(|(_, directory)| directory);
                let directory = told.or_else(|| self.partition.directory_of(replica));
                directory.is_none_or(|directory| broker.has_online_dir(directory))
            })
        };
        (self.acceptable_leader)(replica) && directory_is_online()
    }

    /// Whether the replica has all that is committed, and is up.
    fn is_valid_leader(&self, replica: i32) -> bool {
        let complete = self.isr.contains(&replica) || (self.isr.is_empty() && self.elr.contains(&replica));
        complete && self.is_acceptable(replica)
    }

    fn elected(&self) -> (i32, bool) {
        let preferred = self.replicas.first().copied().filter(|_| self.election == Election::Preferred);
        let clean = preferred
            .into_iter()
            .chain([self.partition.leader])
            .chain(self.replicas.iter().copied())
            .find(|replica| self.is_valid_leader(*replica));
        if let Some(leader) = clean {
            return (leader, false);
        }
        if let Some(leader) = self.last_known_leader() {
            return (leader, true);
        }
        if (self.election == Election::Unclean || planted::is(self.bug, Bug::ElectUncleanUnasked))
            && let Some(leader) = self.replicas.iter().copied().find(|replica| self.is_acceptable(*replica))
        {
            return (leader, true);
        }
        (NO_LEADER, false)
    }

    /// Nobody is known to be complete; the last leader is the nearest to it (KIP-966, balanced recovery).
    fn last_known_leader(&self) -> Option<i32> {
        if !self.elr_enabled || !self.elr.is_empty() || !self.isr.is_empty() {
            return None;
        }
        match *self.partition.last_known_elr {
            // It may have been moved away meanwhile.
            [leader] if self.replicas.contains(&leader) && self.is_acceptable(leader) => Some(leader),
            _ => None,
        }
    }

    /// Returns whether the election was unclean.
    fn elect(&mut self, record: &mut PartitionChangeRecord<'static>) -> bool {
        let (leader, unclean) = self.elected();
        if leader == self.partition.leader {
            return false;
        }
        record.leader = leader;
        if self.elr.contains(&leader) {
            self.isr = vec![leader];
            self.elr.retain(|id| *id != leader);
            // Who leads may commit alone now; they were chosen under a higher min.insync.replicas.
            if self.isr.len() >= self.min_isr {
                self.elr.clear();
            }
        }
        if unclean {
            record.isr = Some(vec![leader].into());
            if self.partition.leader_recovery_state != LeaderRecoveryState::Recovering {
                record.leader_recovery_state = LeaderRecoveryState::Recovering.value();
            }
        }
        unclean
    }

    fn raise_epoch_on_isr_shrink(&self, record: &mut PartitionChangeRecord<'static>) {
        if !self.image.metadata_version().raises_epoch_on_isr_shrink() || record.leader != NO_LEADER_CHANGE {
            return;
        }
        if record.isr.is_some() && !contains_all(&self.isr, &self.partition.isr) {
            record.leader = self.partition.leader;
        }
    }

    fn remember_last_leader(&self, record: &mut PartitionChangeRecord<'static>) {
        if !self.elr_enabled {
            return;
        }
        let old = self.partition;
        let becomes_empty = record.isr.as_ref().is_some_and(|isr| isr.is_empty());
        let will_have_leader = record.leader >= 0 || (old.leader != NO_LEADER && record.leader != NO_LEADER);
        // Where nobody could lead, because the directory of who is in sync is not known, that one is the last.
        let last = [old.leader].into_iter().chain(old.isr.iter().copied()).find(|id| *id >= 0);
        if becomes_empty && *old.last_known_elr != *last.as_slice() {
            record.last_known_elr = Some(last.into_iter().collect::<Vec<_>>().into());
        } else if will_have_leader && !old.last_known_elr.is_empty() {
            record.last_known_elr = Some(Vec::new().into());
        }
    }

    fn assign(&self, record: &mut PartitionChangeRecord<'static>) {
        let old = self.partition;
        if !self.replicas.is_empty() {
            if self.image.metadata_version().has_directories() {
                let directories: Vec<Uuid> = self.replicas.iter().map(|replica| self.directory_for(*replica)).collect();
                if directories != *old.directories {
                    record.directories = Some(directories.into());
                }
            }
            if self.replicas != *old.replicas {
                record.replicas = Some(self.replicas.clone().into());
            }
        }
        if self.removing_replicas != *old.removing_replicas {
            record.removing_replicas = Some(self.removing_replicas.clone().into());
        }
        if self.adding_replicas != *old.adding_replicas {
            record.adding_replicas = Some(self.adding_replicas.clone().into());
        }
    }

    fn directory_for(&self, replica: i32) -> Uuid {
        match self.directory {
            Some((id, directory)) if id == replica => directory,
            _ => self.partition.directory_of(replica).unwrap_or_else(|| super::default_directory(self.image, replica)),
        }
    }
}

fn contains_all(all: &[i32], some: &[i32]) -> bool {
    some.iter().all(|id| all.contains(id))
}
