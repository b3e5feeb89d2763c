//! A node's log directories, as the server has them: where partitions are, what becomes of a directory that fails, and what
//! the controller is told of it (KIP-858).

use crate::broker::Cell;
use crate::groups;
use crate::machine::Process;
use crate::plan::CONTROLLER_TOLD_MS;
use crate::quorum::Asked;
use crate::world::{Happening, To, World};
use metadata::controller::{BrokerHeartbeat, Command, METADATA_TOPIC, Reply};
use metadata::image::{Image, Topic, TopicIdPartition, directory};
use replication::Partition;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::{Checkpoint, Claim, DirName, Disk, Fault, Log, LogDir, Offsets, OpenMode, Shutdown, partition_dir};
use wire::{ErrorCode, Uuid};

/// What is told to the controller in vain is told again after so long.
const TELL_AGAIN_MS: i64 = 100;

/// One of `log.dirs`, as a machine has it. The first has the metadata log as well.
pub struct Volume {
    pub path: PathBuf,
    pub id: Uuid,
    /// Nothing works on it, and this comes of it when the node starts again.
    pub broken: Option<Fate>,
    /// It is not in `log.dirs` any more.
    pub is_left_out: bool,
}

/// What becomes of a broken directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It comes back without what was not synced.
    Mended,
    /// An empty one takes its place.
    Replaced,
    /// The node goes on without it.
    LeftOut,
}

/// A directory in use.
pub struct Dir {
    pub id: Uuid,
    pub log_dir: LogDir,
    pub is_offline: bool,
    pub recovery_points: Offsets,
    log_starts: Offsets,
    high_watermarks: Offsets,
}

/// Where a partition was found at the start.
#[derive(Default)]
pub struct Found {
    dirs: Vec<usize>,
    copies: Vec<(usize, PathBuf)>,
}

pub type Name = (String, i32);

impl Dir {
    pub fn new(id: Uuid, log_dir: LogDir) -> Result<Dir, Fault> {
        Ok(Dir {
            id,
            is_offline: false,
            recovery_points: log_dir.checkpoint(Checkpoint::RecoveryPoint)?,
            log_starts: log_dir.checkpoint(Checkpoint::LogStart)?,
            high_watermarks: log_dir.checkpoint(Checkpoint::HighWatermark)?,
            log_dir,
        })
    }
}

/// Partitions and copies in these directories.
pub fn find(dirs: &[Dir]) -> Result<BTreeMap<Name, Found>, Fault> {
    let mut found: BTreeMap<Name, Found> = BTreeMap::new();
    for (at, dir) in dirs.iter().enumerate() {
        for (path, name) in dir.log_dir.directories()? {
            match name {
                DirName::Partition { topic, .. } if topic == METADATA_TOPIC => {}
                DirName::Partition { topic, partition } => found.entry((topic, partition)).or_default().dirs.push(at),
                DirName::Future { topic, partition } => {
                    found.entry((topic, partition)).or_default().copies.push((at, path));
                }
                DirName::Deleted => dir.log_dir.remove(&path)?,
                _ => {}
            }
        }
    }
    Ok(found)
}

impl Process {
    fn count_in(&self, at: usize) -> usize {
        let cells = self.cells.values().chain(self.opened.values().map(|(cell, _)| cell));
        cells.filter(|cell| cell.dir == at).count() + self.copies.values().filter(|copy| copy.dir == at).count()
    }

    /// The assigned directory, or the one with the fewest partitions.
    fn choose(&self, assigned: Uuid) -> Result<usize, Fault> {
        let online = || (0..self.dirs.len()).filter(|at| !self.dirs[*at].is_offline);
        let chosen = online().find(|at| self.dirs[*at].id == assigned && !directory::is_reserved(assigned));
        let none = || Fault::new("use", "any of log.dirs", &std::io::Error::other("all log directories are offline"));
        chosen.or_else(|| online().min_by_key(|at| self.count_in(*at))).ok_or_else(none)
    }

    /// The directory that counts, of those that have the partition. The others are put aside.
    fn only_one(&self, found: Vec<usize>, topic: &Topic, index: i32, assigned: Uuid) -> Result<Option<usize>, Fault> {
        let mut here = Vec::new();
        for at in found {
            if self.dirs[at].log_dir.claim(&topic.name, index, topic.id)? == Claim::Ours {
                here.push(at);
            }
        }
        if here.is_empty() {
            return Ok(None);
        }
        let one = here.iter().position(|at| self.dirs[*at].id == assigned).unwrap_or(0);
        let one = here.swap_remove(one);
        for at in here {
            let dir = &self.dirs[at].log_dir;
            dir.put_aside(&dir.partition_path(&topic.name, index), topic.id)?;
        }
        Ok(Some(one))
    }

    pub fn is_failed(&self, key: TopicIdPartition) -> bool {
        self.cells.get(&key).is_some_and(|cell| cell.partition.log().fault().is_some())
    }

    /// Writes the checkpoints of all directories that work.
    pub fn write_checkpoints(&self) -> Result<(), Fault> {
        let mut online = (0..self.dirs.len()).filter(|at| !self.dirs[*at].is_offline);
        online.try_for_each(|at| self.write_checkpoints_of(at))
    }

    /// What checkpoints say of the partitions in a directory and of the copies that are on their way to it.
    pub fn write_checkpoints_of(&self, at: usize) -> Result<(), Fault> {
        for which in [Checkpoint::RecoveryPoint, Checkpoint::LogStart, Checkpoint::HighWatermark] {
            let copies = self.copies.iter().filter(|(_, copy)| copy.dir == at).filter_map(|(key, copy)| {
                let cell = self.cells.get(key)?;
                Some((cell, &copy.log, cell.partition.high_watermark().min(copy.log.log_end_offset())))
            });
            let cells = self.cells.values().filter(|cell| cell.dir == at);
            let cells = cells.map(|cell| (cell, cell.partition.log(), cell.partition.high_watermark()));
            let offset = |log: &Log, high_watermark: i64| match which {
                Checkpoint::LogStart => Some(log.log_start_offset()).filter(|start| *start > 0),
                Checkpoint::HighWatermark => Some(high_watermark),
                _ => Some(log.recovery_point()),
            };
            let offsets = copies.chain(cells).filter_map(|(cell, log, high_watermark)| {
                Some(((cell.topic.to_string(), cell.index), offset(log, high_watermark)?))
            });
            self.dirs[at].log_dir.write_checkpoint(which, &offsets.collect())?;
        }
        Ok(())
    }

    /// The id of the directory that a partition is in.
    pub fn directory_of(&self, key: TopicIdPartition) -> Option<Uuid> {
        self.cells.get(&key).map(|cell| self.dirs[cell.dir].id)
    }

    fn goes_to(&self, key: TopicIdPartition, id: Uuid) -> bool {
        self.copies.get(&key).is_some_and(|copy| self.dirs[copy.dir].id == id)
    }
}

impl World {
    /// Opens a partition's log ahead of its use, where it is, or makes it.
    pub fn open_cell(&mut self, to: To, image: &Image, topic: &Topic, index: i32, assigned: Uuid) -> Result<(), Fault> {
        let settings = self.plan.settings(image, &topic.name);
        let (wall_ms, config) = (self.wall_ms(to.id), self.plan.log_config());
        let key = TopicIdPartition { topic_id: topic.id, partition: index };
        if self.process(to).is_none() {
            return Ok(()); // it ended over another partition
        }
        let machine = self.machines.get_mut(&to.id).unwrap();
        let disk: Arc<dyn Disk> = machine.disk.arc();
        let process = machine.process.as_mut().unwrap();
        let name = (topic.name.to_string(), index);
        let found = process.found.remove(&name).unwrap_or_default();
        let here = process.only_one(found.dirs, topic, index, assigned)?;
        let at = here.map_or_else(|| process.choose(assigned), Ok)?;
        let dir = &process.dirs[at];
        let path = dir.log_dir.partition_path(&topic.name, index);
        let open = |dir: &Dir, path: &Path| {
            let mode = OpenMode {
                shutdown: dir.log_dir.shutdown(),
                recovery_point: dir.recovery_points.get(&name).copied().unwrap_or(0),
                log_start_offset: dir.log_starts.get(&name).copied().unwrap_or(0),
                ..OpenMode::default()
            };
            Log::open(disk.clone(), path, config.clone(), Some(topic.id), mode, wall_ms).map(|(log, _)| log)
        };
        let is_there = here.is_some();
        let log = if is_there {
            open(dir, &path)?
        } else {
            // What is there under its name makes room.
            dir.log_dir.claim(&topic.name, index, topic.id)?;
            dir.log_dir.forget(&[name.clone()].into())?;
            let mode = OpenMode { shutdown: Shutdown::Clean, ..OpenMode::default() };
            Log::create(disk.clone(), &path, config.clone(), Some(topic.id), mode, wall_ms)?
        };
        let high_watermark = if is_there { dir.high_watermarks.get(&name).copied().unwrap_or(0) } else { 0 };
        let mut copy = None;
        for (at, path) in found.copies {
            let dir = &process.dirs[at];
            let is_ours = partition_dir::read_metadata(&*disk, &path).ok().flatten() == Some(topic.id);
            if copy.is_none() && here.is_some_and(|here| here != at) && is_ours {
                copy = Some((at, open(dir, &path)?));
            } else {
                dir.log_dir.put_aside(&path, topic.id)?;
            }
        }
        let (start, end) = (log.log_start_offset(), log.log_end_offset());
        let partition = Partition::new(to.id, log, settings, process.brokers.clone(), high_watermark);
        let is_new = !is_there;
        let cell = Cell { topic: topic.name.clone(), index, dir: at, partition, is_syncing: false, is_new };
        process.opened.insert(key, (cell, copy));
        let must_have = machine.must_have.remove(&key).unwrap_or(0);
        self.checks.opened(to.id, key);
        self.say(|| {
            format!(
                "{} opens {}-{index} ({is_there}) in directory {at} from {start} to {end}, {high_watermark} committed",
                to.id, topic.name
            )
        });
        if end < must_have {
            self.checks.lost(format!(
                "{}-{index} on {} ends at {end}, and {must_have} was committed or acknowledged",
                topic.name, to.id
            ));
        }
        Ok(())
    }

    /// Partitions that nobody claimed after the start belong to topics that were deleted meanwhile, or moved elsewhere.
    pub fn put_aside_unknown(&mut self, to: To) {
        let machine = self.machines.get_mut(&to.id).unwrap();
        let disk = machine.disk.arc();
        let Some(process) = machine.process.as_mut() else { return };
        machine.must_have.clear();
        process.opened.clear();
        process.found.clear();
        let known: BTreeSet<_> = process.cells.values().map(|c| (c.dir, c.topic.to_string(), c.index)).collect();
        let copies: BTreeSet<PathBuf> = process.copies.values().map(|copy| copy.log.dir().to_owned()).collect();
        let mut failed = None;
        for (at, dir) in process.dirs.iter().enumerate().filter(|(_, dir)| !dir.is_offline) {
            let Ok(found) = dir.log_dir.directories() else { continue };
            for (path, name) in found {
                let is_known = match name {
                    DirName::Partition { topic, partition } => {
                        topic == METADATA_TOPIC || known.contains(&(at, topic, partition))
                    }
                    DirName::Future { .. } => copies.contains(&path),
                    _ => true,
                };
                if !is_known {
                    let id = partition_dir::read_metadata(&*disk, &path).ok().flatten().unwrap_or(Uuid::ZERO);
                    failed = failed.or(dir.log_dir.put_aside(&path, id).err());
                }
            }
        }
        if let Some(fault) = failed {
            self.fails(to, &fault);
        }
    }

    /// A fault of a log directory, which is offline from now on. Without the metadata log's, or without any, the node ends.
    pub fn fails(&mut self, to: To, fault: &Fault) {
        let Some(process) = self.process(to) else { return };
        let Some(at) = process.dirs.iter().position(|dir| fault.path.starts_with(dir.log_dir.path())) else {
            return self.node_fails(to, fault);
        };
        if std::mem::replace(&mut process.dirs[at].is_offline, true) {
            return;
        }
        self.say(|| format!("directory {at} of {} fails: {fault}", to.id));
        let process = self.process(to).unwrap();
        let is_noted =
            LogDir::distrust_first(process.dirs[at..=at].iter().chain(&process.dirs).map(|dir| &dir.log_dir)).is_ok();
        self.machines.get_mut(&to.id).unwrap().has_noted |= is_noted;
        let process = self.process(to).unwrap();
        let dir = process.dirs[at].log_dir.path();
        let offline = Fault::new("use", dir, &std::io::Error::other("the log directory is offline"));
        for cell in process.cells.values_mut().filter(|cell| cell.dir == at) {
            cell.partition.log_mut().fail(offline.clone());
            cell.partition.fail();
        }
        let ended: Vec<_> = process.copies.iter().filter(|(_, copy)| copy.dir == at).map(|(key, _)| *key).collect();
        process.copies.retain(|_, copy| copy.dir != at);
        for key in ended {
            self.assign_soon(to, key);
        }
        let process = self.process(to).unwrap();
        if at == 0 || process.dirs.iter().all(|dir| dir.is_offline) {
            // What works is closed in order, or not.
            return if self.chance.is(50) { self.close(to) } else { self.node_fails(to, fault) };
        }
        let until_ms = self.now_ms() + CONTROLLER_TOLD_MS;
        self.follow_groups(to);
        self.at(0, to, Happening::TellFailed(until_ms));
    }

    /// Tells the controller which replicas are in directories that failed, then of the directories.
    pub fn tell_failed(&mut self, to: To, until_ms: i64) {
        if self.now_ms() >= until_ms {
            return self.node_fails(to, &"the controller is not told of a failed directory");
        }
        let Some(process) = self.process(to) else { return };
        let offline = process.dirs.iter().enumerate().filter(|(_, dir)| dir.is_offline);
        let assignments = offline.map(|(at, dir)| {
            let cells = process.cells.iter().filter(|(_, cell)| cell.dir == at);
            (dir.id, cells.map(|(key, _)| *key).collect())
        });
        let (broker_id, broker_epoch) = (to.id, process.broker_epoch);
        let command = Command::AssignReplicasToDirs { broker_id, broker_epoch, assignments: assignments.collect() };
        self.ask_controller(to, Asked::LostReplicas(until_ms), command);
    }

    /// The controller knows which replicas are lost, and is to know of the directories.
    pub fn lost_replicas_told(&mut self, to: To, until_ms: i64, reply: Result<Reply, ErrorCode>) {
        let Some(process) = self.process(to) else { return };
        if reply.is_err() {
            return self.at(TELL_AGAIN_MS, to, Happening::TellFailed(until_ms));
        }
        let beat = BrokerHeartbeat {
            broker_id: to.id,
            broker_epoch: process.broker_epoch,
            current_metadata_offset: process.image.offset,
            offline_log_dirs: process.offline_dirs(),
            ..BrokerHeartbeat::default()
        };
        self.ask_controller(to, Asked::LostDirs(until_ms), Command::Heartbeat(beat));
    }

    pub fn lost_dirs_told(&mut self, to: To, until_ms: i64, reply: Result<Reply, ErrorCode>) {
        if !matches!(reply, Ok(Reply::Heartbeat(Ok(_)))) {
            self.at(TELL_AGAIN_MS, to, Happening::TellFailed(until_ms));
        }
    }

    /// Has the controller told where a replica is by then, if it does not know.
    pub fn assign_soon(&mut self, to: To, key: TopicIdPartition) {
        let Some(process) = self.process(to) else { return };
        process.unassigned.insert(key);
        if !std::mem::replace(&mut process.is_assigning, true) {
            self.at(1, to, Happening::Assign);
        }
    }

    pub fn assign(&mut self, to: To) {
        let Some(process) = self.process(to) else { return };
        process.is_assigning = false;
        let keys = std::mem::take(&mut process.unassigned);
        let mut by_dir: BTreeMap<Uuid, Vec<TopicIdPartition>> = BTreeMap::new();
        for key in &keys {
            let told = process.image.topics.partition(*key).and_then(|partition| partition.directory_of(to.id));
            let (Some(told), Some(id)) = (told, process.directory_of(*key)) else { continue };
            if id != told && !process.goes_to(*key, told) {
                by_dir.entry(id).or_default().push(*key);
            }
        }
        let (broker_id, broker_epoch) = (to.id, process.broker_epoch);
        if !by_dir.is_empty() {
            process.is_assigning = true;
            let assignments = by_dir.into_iter().collect();
            let command = Command::AssignReplicasToDirs { broker_id, broker_epoch, assignments };
            self.ask_controller(to, Asked::Assignments(keys), command);
        }
    }

    pub fn assigned(&mut self, to: To, keys: BTreeSet<TopicIdPartition>, reply: Result<Reply, ErrorCode>) {
        let Some(process) = self.process(to) else { return };
        let failed = !is_assigned(&reply);
        if failed {
            process.unassigned.extend(keys);
        }
        process.is_assigning = !process.unassigned.is_empty();
        if process.is_assigning {
            self.at(if failed { TELL_AGAIN_MS } else { 0 }, to, Happening::Assign);
        }
    }

    /// Where the controller believes a replica to be, and where it is on its way to, is compared with where it is.
    pub fn look_at_directory(&mut self, to: To, key: TopicIdPartition, told: Uuid) {
        let Some(process) = self.process(to) else { return };
        if process.directory_of(key).is_some_and(|id| id != told) && !process.goes_to(key, told) {
            self.assign_soon(to, key);
        }
    }

    /// Every replica is in the directory that the controller knows, and none is on its way.
    pub fn are_directories_known(&self) -> Result<(), String> {
        for (id, machine) in &self.machines {
            let Some(process) = &machine.process else { continue };
            if let Some(dir) = process.dirs.iter().position(|dir| dir.is_offline) {
                return Err(format!("directory {dir} of {id} is offline"));
            }
            if let Some(key) = process.copies.keys().next() {
                return Err(format!("{} of {id} is on its way to another directory", self.name(*key)));
            }
            for key in process.cells.keys() {
                let known = self.latest.topics.partition(*key).and_then(|partition| partition.directory_of(*id));
                let is_in = process.directory_of(*key);
                if known != is_in {
                    return Err(format!(
                        "{} of {id} is in {is_in:?}, and the controller knows {known:?}",
                        self.name(*key)
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Process {
    pub fn offline_dirs(&self) -> Vec<Uuid> {
        self.dirs.iter().filter(|dir| dir.is_offline).map(|dir| dir.id).collect()
    }

    /// Coordinators that this node may have: those of partitions that it leads, and that work.
    pub fn led_offsets(&self) -> impl Iterator<Item = (&TopicIdPartition, &Cell)> {
        let works = |cell: &Cell| cell.partition.is_leader() && cell.partition.log().fault().is_none();
        self.cells.iter().filter(move |(_, cell)| groups::is_offsets(&cell.topic) && works(cell))
    }
}

/// Whether all that was asked for is done, or not to be done any more.
pub fn is_assigned(reply: &Result<Reply, ErrorCode>) -> bool {
    let gone = [ErrorCode::UnknownTopicId, ErrorCode::UnknownTopicOrPartition, ErrorCode::NotLeaderOrFollower];
    match reply {
        Ok(Reply::AssignReplicasToDirs(Ok(results))) => {
            results.iter().all(|(_, _, result)| result.as_ref().err().is_none_or(|code| gone.contains(code)))
        }
        _ => false,
    }
}
