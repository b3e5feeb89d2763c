//! Reassignments: replicas are added, removed and brought back, and in the end each partition is where it was asked for last.

use crate::admin::Wish;
use crate::quorum::CONTROLLER_PATIENCE_MS;
use crate::world::World;
use metadata::controller::{Command, ReassignPartition};
use metadata::image::{Partition, TopicIdPartition};
use storage::DirName;

/// Where a partition's replicas were asked to be.
#[derive(Default)]
pub struct Placement {
    agreed: Option<Vec<i32>>,
    /// All that was agreed upon so far. A reassignment that is taken back leaves one of them.
    earlier: Vec<Vec<i32>>,
    /// The number of a taking back that nobody answered: it may come to pass whenever.
    taking_back: Option<u64>,
    /// Asked for, and nobody knows whether it was done, or in which order.
    open: Vec<Vec<i32>>,
    /// What was asked for last, and how long it may take to be answered.
    asks: u64,
    asks_until_ms: i64,
}

impl Placement {
    fn asked(&mut self, number: u64, replicas: Vec<i32>, now_ms: i64) {
        self.open.push(replicas);
        self.asks = number;
        self.asks_until_ms = now_ms + CONTROLLER_PATIENCE_MS;
    }

    /// The controller said yes or no.
    pub fn answered(&mut self, number: u64, replicas: Vec<i32>, is_agreed: bool) {
        // The order of what was asked for later is not known.
        if number != self.asks {
            return;
        }
        self.asks_until_ms = 0;
        if let Some(at) = self.open.iter().rposition(|open| *open == replicas) {
            self.open.remove(at);
        }
        if self.taking_back == Some(number) {
            self.taking_back = None;
        }
        if is_agreed {
            self.earlier.push(replicas.clone());
            self.agreed = Some(replicas);
        }
    }

    /// In any order: what is taken back leaves the one that what was open had made.
    fn allows(&self, replicas: &[i32]) -> bool {
        let is_same = |ids: &Vec<i32>| ids.len() == replicas.len() && ids.iter().all(|id| replicas.contains(id));
        let may_be_back = self.taking_back.is_some() && self.earlier.iter().any(is_same);
        self.agreed.as_ref().is_none_or(is_same) || self.open.iter().any(is_same) || may_be_back
    }
}

/// The replicas that stay when a reassignment is taken back.
fn original(partition: &Partition) -> Vec<i32> {
    partition.replicas.iter().copied().filter(|id| !partition.adding_replicas.contains(id)).collect()
}

impl World {
    /// Asks for other replicas of some partition, or has a reassignment taken back.
    pub fn reassign(&mut self) {
        let latest = self.latest.clone();
        let mut found = Vec::new();
        for topic in latest.topics.iter() {
            found.extend(topic.partitions.iter().map(|(index, partition)| (topic, *index, partition)));
        }
        let at = self.chance.below(found.len() as i64) as usize;
        let Some((topic, index, partition)) = found.into_iter().nth(at) else { return };
        let key = TopicIdPartition { topic_id: topic.id, partition: index };
        let now_ms = self.now_ms();
        if self.checks.placement(key).asks_until_ms > now_ms {
            return;
        }
        self.made += 1;
        let number = self.made;
        let takes_back = self.plan.takes_back && partition.is_reassigning() && self.chance.is(50);
        let target = if takes_back { None } else { Some(self.target()) };
        let outcome = target.clone().unwrap_or_else(|| original(partition));
        self.say(|| format!("{}-{index} ({:?}) shall be on {target:?}", topic.name, partition.replicas));
        self.checks.placement(key).asked(number, outcome.clone(), now_ms);
        if target.is_none() {
            self.checks.placement(key).taking_back.get_or_insert(number);
        }
        let wanted = ReassignPartition { topic: topic.name.to_string(), partition: index, replicas: target };
        let command =
            Command::AlterPartitionReassignments { partitions: vec![wanted], allow_replication_factor_change: true };
        self.wish(Wish::Replicas(key, number, outcome), command);
    }

    /// Mostly three replicas. Two are the least where the page cache of one may be lost.
    fn target(&mut self) -> Vec<i32> {
        let least = if self.plan.is_synced() && !self.plan.loses_disks { 1 } else { 2 };
        let count =
            if self.chance.is(60) { 3 } else { least + self.chance.below(i64::from(self.plan.nodes) - least + 1) };
        let mut ids: Vec<i32> = self.plan.ids().collect();
        let mut target = Vec::new();
        while (target.len() as i64) < count {
            let at = self.chance.below(ids.len() as i64) as usize;
            target.push(ids.swap_remove(at));
        }
        target
    }

    /// Why a partition is not where it was asked for yet.
    pub fn is_placed(&self, key: TopicIdPartition, partition: &Partition) -> Result<(), String> {
        let placement = self.checks.placements.get(&key);
        if partition.is_reassigning() {
            return Err(format!("{} is on the move: {partition:?}", self.name(key)));
        }
        // Another topic of the name may have been asked for.
        let is_lasting =
            self.latest.topics.get(key.topic_id).is_some_and(|topic| crate::admin::is_lasting(&topic.name));
        match placement.filter(|placement| is_lasting && !placement.allows(&partition.replicas)) {
            Some(placement) => Err(format!(
                "{} is on {:?}, and {:?} was agreed upon, {:?} asked for",
                self.name(key),
                partition.replicas,
                placement.agreed,
                placement.open
            )),
            None => Ok(()),
        }
    }

    /// Nodes have the replicas that are theirs, and no others.
    pub fn are_placed(&self) -> Result<(), String> {
        for (id, machine) in &self.machines {
            let Some(process) = &machine.process else { continue };
            for (key, cell) in &process.cells {
                let partition = self.latest.topics.partition(*key);
                if !partition.is_some_and(|partition| partition.replicas.contains(id)) {
                    return Err(format!("{id} still has {}-{}", cell.topic, cell.index));
                }
            }
            for (at, dir) in process.dirs.iter().enumerate() {
                for (path, name) in dir.log_dir.directories().map_err(|fault| fault.to_string())? {
                    let is_held = |topic: &str, partition: i32| {
                        let mut cells = process.cells.values();
                        cells.any(|cell| cell.dir == at && *cell.topic == *topic && cell.index == partition)
                    };
                    let is_wanted = match name {
                        DirName::Partition { topic, partition } => {
                            topic == metadata::controller::METADATA_TOPIC || is_held(&topic, partition)
                        }
                        DirName::Future { .. } => process.copies.values().any(|copy| copy.log.dir() == path),
                        _ => true,
                    };
                    if !is_wanted {
                        return Err(format!("{id} has {} on its disk, and nobody asked for it", path.display()));
                    }
                }
            }
        }
        Ok(())
    }
}
