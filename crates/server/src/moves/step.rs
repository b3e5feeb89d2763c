//! One step of a replica's move: a piece is copied, or the copy takes the log's place.

use super::{Move, lock};
use crate::chance;
use crate::log_dirs::Dir;
use crate::node::Node;
use std::borrow::Cow;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use storage::{CopyStep, Fault, Log, Read, ReadError};
use tracing::info;
use wire::codec::Records;

/// As much may be copied with the partition locked, in so many pieces.
const LAST_PIECE: u32 = 256 << 10;
const LAST_PIECES: usize = 4;

/// What became of a step.
pub enum Step {
    Copied(u64),
    /// The copy ends where the log ended a moment ago, and the controller has yet to hear where it is.
    Level,
    /// Somebody was faster, or at the same.
    NotYet,
    /// The copy is the log now.
    Done,
}

pub enum Failed {
    GivenUp,
    /// The log's directory is offline.
    SourceOffline,
    /// The log cannot be read, for good.
    Source(String),
    Copy(Fault),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Failed {
        Failed::Copy(fault)
    }
}

impl Move {
    /// Takes one step, of about so many bytes. On a thread that may wait.
    pub fn step(&self, node: &Arc<Node>, piece: u32) -> Result<Step, Failed> {
        let mut guard = lock(&self.copy);
        if self.is_given_up() {
            return Err(Failed::GivenUp);
        }
        let Some(copy) = guard.as_mut() else { return Ok(Step::Done) };
        let now_ms = node.clock.now_ms();
        let step = self.copy_piece(node, copy, piece)?;
        if let Some(write_back) = copy.write_back(now_ms) {
            write_back.run();
        }
        if copy.sync_due(node.clock.steady_ms()) {
            sync(copy)?;
        }
        self.look(copy);
        match step {
            Step::Level if self.is_assigned.load(Ordering::Acquire) => {
                // As little as possible is left to be written with the partition locked.
                sync(copy)?;
                self.look(copy);
                node.housekeeping.checkpoint_dir(node, &self.dir)?;
                self.take_place(node, &mut guard)
            }
            step => Ok(step),
        }
    }

    fn copy_piece(&self, node: &Arc<Node>, copy: &mut Log, piece: u32) -> Result<Step, Failed> {
        let now_ms = node.clock.now_ms();
        let (next, end) = {
            let partition = self.cell.lock();
            let log = partition.log();
            (log.next_for(copy, piece)?, log.log_end_offset())
        };
        let restart = match next {
            CopyStep::Level => return Ok(Step::Level),
            CopyStep::Append { read, truncations } => {
                let bytes = bytes(&read)?;
                // What was cut meanwhile may have been written over while it was read.
                if self.cell.lock().log().truncations() != truncations {
                    return Ok(Step::Copied(0));
                }
                append(copy, &bytes, now_ms)?;
                let is_level = copy.log_end_offset() >= end;
                return Ok(if is_level { Step::Level } else { Step::Copied(bytes.len() as u64) });
            }
            CopyStep::Start(at) => {
                copy.delete_records(at, now_ms)?;
                return Ok(Step::Copied(0));
            }
            CopyStep::Restart(at) => Some(at),
            CopyStep::Cut(at) => {
                copy.truncate_to(at)?;
                None
            }
        };
        if let Some(at) = restart {
            copy.truncate_fully_and_start_at(at)?;
        }
        self.look(copy);
        // Other records are coming to these offsets: nobody may take those for synced.
        node.housekeeping.checkpoint_dir(node, &self.dir)?;
        Ok(Step::Copied(0))
    }

    /// Has the copy take the log's place, if it can have become level with the partition locked.
    fn take_place(&self, node: &Arc<Node>, copy: &mut Option<Log>) -> Result<Step, Failed> {
        let cell = &self.cell;
        // A sync of the log that is under way would look for its files under the old name.
        if cell.syncing.swap(true, Ordering::AcqRel) {
            return Ok(Step::NotYet);
        }
        let taken = self.take_place_at_once(node, copy);
        cell.syncing.store(false, Ordering::Release);
        if cell.lock().is_behind() {
            node.sync(cell); // whoever came meanwhile believed that it was being done
        }
        let Some((source, left)) = taken? else { return Ok(Step::NotYet) };
        node.housekeeping.moved(node, cell, &source, left);
        info!(topic = %cell.topic, partition = cell.index, from = %source.path().display(), to = %self.dir.path().display(),
            "the replica is in its new log directory");
        Ok(Step::Done)
    }

    /// The directory that the log was in, and what became of it there; none when the copy did not become level.
    fn take_place_at_once(&self, node: &Arc<Node>, place: &mut Option<Log>) -> Result<Option<Left>, Failed> {
        let (cell, dir) = (&self.cell, &self.dir);
        let Some(copy) = place.as_mut() else { return Ok(None) };
        let mut partition = cell.lock();
        if self.is_given_up() {
            return Err(Failed::GivenUp);
        }
        if partition.log().fault().is_some() {
            return Err(Failed::SourceOffline);
        }
        let Some(source) = node.housekeeping.dirs.by_path(&cell.log_dir()).cloned() else { return Ok(None) };
        if !self.level_out(copy, partition.log(), node.clock.now_ms())? {
            return Ok(None);
        }
        // What counted because it was on the disk is on this one as well.
        if copy.recovery_point() < partition.log().recovery_point() {
            sync(copy)?;
        }
        copy.take_over(partition.log())?;
        copy.rename(&dir.log_dir.partition_path(&cell.topic, cell.index))?;
        dir.log_dir.sync()?;
        let left = source.mark_deleted(&cell.topic, cell.index, chance::uuid());
        let left = left.and_then(|path| source.log_dir.sync().map(|()| path));
        if let Some(copy) = place.take() {
            drop(partition.replace_log(copy));
        }
        cell.moved_to(dir.path());
        Ok(Some((source, left)))
    }

    /// The last batches. Whether that was all.
    fn level_out(&self, copy: &mut Log, log: &Log, now_ms: i64) -> Result<bool, Failed> {
        for _ in 0..=LAST_PIECES {
            match log.next_for(copy, LAST_PIECE)? {
                CopyStep::Level => return Ok(true),
                CopyStep::Append { read, .. } => append(copy, &bytes(&read)?, now_ms)?,
                _ => break,
            }
        }
        Ok(false)
    }
}

/// Where the log was, and where its files are there now.
type Left = (Arc<Dir>, Result<PathBuf, Fault>);

impl From<ReadError> for Failed {
    fn from(error: ReadError) -> Failed {
        match error {
            ReadError::Fault(_) => Failed::SourceOffline,
            error => Failed::Source(error.to_string()),
        }
    }
}

fn bytes(read: &Read) -> Result<Cow<'_, [u8]>, Failed> {
    match &read.records {
        Records::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
        Records::File(region) => {
            let mut bytes = vec![0; region.length as usize];
            let read = region.file.read_exact_at(&mut bytes, region.position);
            read.map_err(|error| Failed::Source(error.to_string()))?;
            Ok(Cow::Owned(bytes))
        }
    }
}

fn append(copy: &mut Log, bytes: &[u8], now_ms: i64) -> Result<(), Failed> {
    match copy.append_as_follower(bytes, now_ms)? {
        Ok(_) => Ok(()),
        Err(code) => Err(Failed::Source(format!("at offset {}: {}", copy.log_end_offset(), code.name()))),
    }
}

fn sync(copy: &mut Log) -> Result<(), Fault> {
    if let Some(request) = copy.sync_request() {
        request.run()?;
        copy.synced(request.offset());
    }
    Ok(())
}
