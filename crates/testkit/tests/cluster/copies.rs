//! Replicas that move to another log directory of their node (KIP-113), as the server's threads have them: a copy is made
//! piece by piece, the controller is told where it goes, and it takes the log's place.

use crate::dirs::is_assigned;
use crate::machine::Phase;
use crate::quorum::Asked;
use crate::world::{Happening, To, World};
use metadata::controller::{Command, Reply};
use metadata::image::TopicIdPartition;
use storage::{CopyStep, Fault, Log, OpenMode, Read, ReadError, Shutdown, partition_dir};
use wire::codec::Records;
use wire::{ErrorCode, Uuid};

const ASK_AGAIN_MS: i64 = 100;
/// As much may be copied at once when the copy takes the log's place, in so many pieces.
const LAST_PIECE: u32 = 1_000;
const LAST_PIECES: usize = 4;

/// A replica on its way.
pub struct Moving {
    /// Where it goes.
    pub dir: usize,
    pub log: Log,
    /// What was read for it, and how often the log had been truncated by then.
    read: Option<(Vec<u8>, u64)>,
    /// The controller knows where it goes.
    is_assigned: bool,
}

enum Step {
    Copied,
    Level,
    NotYet,
    Done,
}

enum Failed {
    /// The log cannot be read.
    Source(ReadError),
    Copy(Fault),
    /// The copy does not take what the log has.
    Refused(ErrorCode),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Failed {
        Failed::Copy(fault)
    }
}

impl From<ReadError> for Failed {
    fn from(error: ReadError) -> Failed {
        Failed::Source(error)
    }
}

impl Moving {
    pub fn new(dir: usize, log: Log) -> Moving {
        Moving { dir, log, read: None, is_assigned: false }
    }
}

impl World {
    /// Somebody asks for some replica of some node to be in another directory.
    pub fn move_replica(&mut self) {
        let ids: Vec<i32> = self.plan.ids().collect();
        let id = self.chance.one_of(&ids);
        let Some(to) = self.running(id) else { return };
        let process = self.process(to).unwrap();
        let keys: Vec<_> = process.cells.keys().copied().collect();
        let dirs = process.dirs.len();
        if keys.is_empty() || process.phase != Phase::Serving {
            return;
        }
        let (key, at) = (self.chance.one_of(&keys), self.chance.below(dirs as i64) as usize);
        if let Err(fault) = self.alter_dir(to, key, at) {
            self.fails(to, &fault);
        }
    }

    fn alter_dir(&mut self, to: To, key: TopicIdPartition, at: usize) -> Result<(), Fault> {
        let (wall_ms, config) = (self.wall_ms(to.id), self.plan.log_config());
        let unique = Uuid::from_u128(u128::from(self.chance.next()));
        let process = self.process(to).unwrap();
        if process.dirs[at].is_offline || process.is_failed(key) {
            return Ok(());
        }
        match process.copies.get(&key) {
            Some(copy) if copy.dir == at => return Ok(()),
            Some(_) => self.give_up_copy(to, key)?,
            None => {}
        }
        let machine = self.machines.get_mut(&to.id).unwrap();
        let disk = machine.disk.arc();
        let process = machine.process.as_mut().unwrap();
        let cell = &process.cells[&key];
        // As in Kafka: there might be a copy in the one that is offline.
        if cell.dir == at || process.dirs.iter().any(|dir| dir.is_offline) {
            return Ok(());
        }
        let (topic, index) = (cell.topic.clone(), cell.index);
        let dir = &process.dirs[at].log_dir;
        dir.forget(&[(topic.to_string(), index)].into())?;
        let path = dir.path().join(partition_dir::future_name(&topic, index, unique).unwrap());
        let mode = OpenMode { shutdown: Shutdown::Clean, ..OpenMode::default() };
        let log = Log::create(disk, &path, config, Some(key.topic_id), mode, wall_ms)?;
        dir.sync()?;
        self.say(|| format!("{topic}-{index} of {} is to go to directory {at}", to.id));
        self.begin_copy(to, key, Moving::new(at, log));
        Ok(())
    }

    pub fn begin_copy(&mut self, to: To, key: TopicIdPartition, copy: Moving) {
        self.process(to).unwrap().copies.insert(key, copy);
        self.at(1, to, Happening::Copy(key));
    }

    /// Deletes a copy that is not wanted any more.
    pub fn give_up_copy(&mut self, to: To, key: TopicIdPartition) -> Result<(), Fault> {
        let unique = Uuid::from_u128(u128::from(self.chance.next()));
        let Some(process) = self.process(to) else { return Ok(()) };
        let Some(copy) = process.copies.remove(&key) else { return Ok(()) };
        let (topic, index) =
            process.cells.get(&key).map_or(("gone".into(), 0), |cell| (cell.topic.clone(), cell.index));
        let dir = &process.dirs[copy.dir].log_dir;
        let path = dir.mark_copy_deleted(copy.log.dir(), &topic, index, unique)?;
        dir.remove(&path)?;
        self.assign_soon(to, key);
        Ok(())
    }

    /// Takes one step of a move.
    pub fn copy(&mut self, to: To, key: TopicIdPartition) {
        let delay_ms = 1 + self.chance.below(if self.is_healed() { 3 } else { 25 });
        let Some(copy) = self.process(to).and_then(|process| process.copies.get(&key)) else { return };
        let (dir, is_assigned) = (copy.dir, copy.is_assigned);
        match self.copy_step(to, key) {
            Ok(Step::Copied) => self.at(delay_ms, to, Happening::Copy(key)),
            Ok(Step::Level) if !is_assigned => self.assign_copy(to, key, dir),
            Ok(Step::Level | Step::NotYet) => self.at(2, to, Happening::Copy(key)),
            Ok(Step::Done) => {}
            // At the next start somebody goes on.
            Err(Failed::Source(ReadError::Fault(_))) => drop(self.process(to).unwrap().copies.remove(&key)),
            Err(Failed::Source(why)) => self.checks.lost(format!("a log on {} cannot be copied: {why:?}", to.id)),
            Err(Failed::Refused(code)) => {
                self.checks.lost(format!("a copy on {} refuses what its log has: {}", to.id, code.name()));
            }
            Err(Failed::Copy(fault)) => {
                self.process(to).unwrap().copies.remove(&key);
                self.fails(to, &fault);
            }
        }
    }

    fn assign_copy(&mut self, to: To, key: TopicIdPartition, at: usize) {
        let process = self.process(to).unwrap();
        let (broker_id, broker_epoch, id) = (to.id, process.broker_epoch, process.dirs[at].id);
        let command = Command::AssignReplicasToDirs { broker_id, broker_epoch, assignments: vec![(id, vec![key])] };
        self.ask_controller(to, Asked::Moved(key, at), command);
    }

    /// The controller knows where a replica goes, or does not.
    pub fn copy_assigned(&mut self, to: To, key: TopicIdPartition, at: usize, reply: Result<Reply, ErrorCode>) {
        let Some(process) = self.process(to) else { return };
        let Some(copy) = process.copies.get_mut(&key).filter(|copy| copy.dir == at) else { return };
        copy.is_assigned |= is_assigned(&reply);
        let delay_ms = if copy.is_assigned { 0 } else { ASK_AGAIN_MS };
        self.at(delay_ms, to, Happening::Copy(key));
    }

    fn copy_step(&mut self, to: To, key: TopicIdPartition) -> Result<Step, Failed> {
        let (wall_ms, steady_ms) = (self.wall_ms(to.id), self.steady_ms(to.id));
        let piece = 1 + self.chance.below(1_500) as u32;
        let process = self.process(to).unwrap();
        let (Some(copy), Some(cell)) = (process.copies.get_mut(&key), process.cells.get(&key)) else {
            return Ok(Step::Done);
        };
        let log = cell.partition.log();
        if let Some((bytes, truncations)) = copy.read.take() {
            if log.truncations() == truncations {
                append(&mut copy.log, &bytes, wall_ms)?;
            }
            if copy.log.sync_due(steady_ms) {
                sync(&mut copy.log)?;
            }
            return Ok(Step::Copied);
        }
        match log.next_for(&copy.log, piece)? {
            CopyStep::Append { read, truncations } => copy.read = Some((bytes(&read), truncations)),
            CopyStep::Start(at) => drop(copy.log.delete_records(at, wall_ms)?),
            CopyStep::Level if !copy.is_assigned => return Ok(Step::Level),
            CopyStep::Level => return self.take_place(to, key),
            CopyStep::Restart(at) => {
                copy.log.truncate_fully_and_start_at(at)?;
                let dir = copy.dir;
                process.write_checkpoints_of(dir)?;
            }
            CopyStep::Cut(at) => {
                copy.log.truncate_to(at)?;
                let dir = copy.dir;
                process.write_checkpoints_of(dir)?;
            }
        }
        Ok(Step::Copied)
    }

    /// Has the copy take the log's place, if it becomes level.
    fn take_place(&mut self, to: To, key: TopicIdPartition) -> Result<Step, Failed> {
        let wall_ms = self.wall_ms(to.id);
        let unique = Uuid::from_u128(u128::from(self.chance.next()));
        let is_removed = self.chance.is(50);
        let process = self.process(to).unwrap();
        let copy = process.copies.get_mut(&key).unwrap();
        sync(&mut copy.log)?;
        let at = copy.dir;
        process.write_checkpoints_of(at)?;
        let cell = process.cells.get_mut(&key).unwrap();
        // A sync of the log that is under way would look for its files under the old name.
        if cell.is_syncing {
            return Ok(Step::NotYet);
        }
        let copy = process.copies.get_mut(&key).unwrap();
        if !level_out(&mut copy.log, cell.partition.log(), wall_ms)? {
            return Ok(Step::NotYet);
        }
        if copy.log.recovery_point() < cell.partition.log().recovery_point() {
            sync(&mut copy.log)?;
        }
        copy.log.take_over(cell.partition.log())?;
        let (dir, source) = (&process.dirs[at].log_dir, &process.dirs[cell.dir].log_dir);
        copy.log.rename(&dir.partition_path(&cell.topic, cell.index))?;
        dir.sync()?;
        let left = source.mark_deleted(&cell.topic, cell.index, unique);
        let left = left.and_then(|path| source.sync().map(|()| path));
        let from = std::mem::replace(&mut cell.dir, at);
        let (topic, index) = (cell.topic.clone(), cell.index);
        if let Some(copy) = process.copies.remove(&key) {
            drop(process.cells.get_mut(&key).unwrap().partition.replace_log(copy.log));
        }
        let mut written = process.write_checkpoints_of(at);
        if !process.dirs[from].is_offline {
            written = written.and(process.write_checkpoints_of(from));
        }
        let left = match left {
            Ok(path) if is_removed => process.dirs[from].log_dir.remove(&path),
            left => left.map(drop),
        };
        self.checks.moved(to.id, key);
        self.say(|| format!("{topic}-{index} of {} is in directory {at} now", to.id));
        for fault in [written.err(), left.err()].into_iter().flatten() {
            self.fails(to, &fault);
        }
        self.sync(to, key);
        Ok(Step::Done)
    }
}

/// The last batches. Whether that was all.
fn level_out(copy: &mut Log, log: &Log, wall_ms: i64) -> Result<bool, Failed> {
    for _ in 0..=LAST_PIECES {
        match log.next_for(copy, LAST_PIECE)? {
            CopyStep::Level => return Ok(true),
            CopyStep::Append { read, .. } => append(copy, &bytes(&read), wall_ms)?,
            _ => break,
        }
    }
    Ok(false)
}

fn bytes(read: &Read) -> Vec<u8> {
    match &read.records {
        Records::Bytes(bytes) => bytes.to_vec(),
        Records::File(_) => unreachable!("a disk in memory has no files"),
    }
}

fn append(copy: &mut Log, bytes: &[u8], wall_ms: i64) -> Result<(), Failed> {
    copy.append_as_follower(bytes, wall_ms)?.map(drop).map_err(Failed::Refused)
}

fn sync(copy: &mut Log) -> Result<(), Fault> {
    if let Some(request) = copy.sync_request() {
        request.run()?;
        copy.synced(request.offset());
    }
    Ok(())
}
