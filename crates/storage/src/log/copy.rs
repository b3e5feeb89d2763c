//! A copy of a log in another log directory, which is to take its place (KIP-113).
//!
//! The copy gets the log's batches as they are, like a follower. Where the log was cut meanwhile, both have the history of
//! leader epochs, which says where the copy parts from it.

use super::{Log, Read, ReadError};
use crate::disk::{Context, Fault};
use crate::planted::Bug;
use std::path::Path;

/// What a copy needs next to become like its log.
#[derive(Debug, PartialEq)]
pub enum CopyStep {
    /// Nothing: it ends where the log ends.
    Level,
    /// To begin anew at this offset ([`Log::truncate_fully_and_start_at`]).
    Restart(i64),
    /// To be cut here ([`Log::truncate_to`]).
    Cut(i64),
    /// To begin here ([`Log::delete_records`]).
    Start(i64),
    /// These batches ([`Log::append_as_follower`]), as long as the log was truncated as often as it was.
    Append { read: Read, truncations: u64 },
}

impl Log {
    /// What `copy` needs next. Nothing is read but places: `max_bytes` bounds what is to be copied, a batch goes whole.
    ///
    /// # Errors
    /// Of reading this log.
    pub fn next_for(&self, copy: &Log, max_bytes: u32) -> Result<CopyStep, ReadError> {
        let (start, end) = (self.log_start_offset, self.log_end_offset);
        let append = |read| CopyStep::Append { read, truncations: self.truncations() };
        let is_empty = copy.log_start_offset == copy.log_end_offset;
        if copy.log_end_offset < start {
            let read = self.read(start, max_bytes, end, true)?;
            // The log may begin inside of a batch.
            let base = if read.is_empty() { start } else { read.base_offset.min(start) };
            let is_there = is_empty && copy.log_end_offset == base;
            return Ok(if is_there { append(read) } else { CopyStep::Restart(base) });
        }
        if let Some(to) = self.parts_from(copy).filter(|_| !is_empty) {
            return Ok(if to <= copy.log_start_offset { CopyStep::Restart(start) } else { CopyStep::Cut(to) });
        }
        if copy.log_start_offset < start {
            return Ok(CopyStep::Start(start));
        }
        let is_near = self.has(Bug::LevelTooEarly) && copy.log_end_offset >= self.active().base_offset;
        if copy.log_end_offset == end || is_near {
            return Ok(CopyStep::Level);
        }
        if copy.log_end_offset > end {
            return Ok(CopyStep::Restart(start)); // an empty one
        }
        let read = self.read(copy.log_end_offset, max_bytes, end, true)?;
        match read.base_offset < copy.log_end_offset {
            true if is_empty => Ok(CopyStep::Restart(read.base_offset)),
            true => Ok(CopyStep::Cut(read.base_offset)),
            false => Ok(append(read)),
        }
    }

    /// How often the log was truncated since it was opened.
    pub fn truncations(&self) -> u64 {
        self.sync.truncations()
    }

    /// Where `copy` has what is not in this log any more.
    fn parts_from(&self, copy: &Log) -> Option<i64> {
        let to = match self.epoch_end_offset(copy.latest_epoch()) {
            (-1, _) => self.log_end_offset,
            (epoch, end) if epoch == copy.latest_epoch() => end,
            // Of the newer epoch nothing is left here; the copy is asked again once it has ended with the older one.
            (epoch, end) => match copy.epoch_end_offset(epoch) {
                (-1, _) => copy.log_start_offset,
                (_, copys) => copys.min(end),
            },
        };
        (to < copy.log_end_offset).then_some(to)
    }

    /// Takes from the log whose place this copy takes, with which it is level, what is not in its batches: its settings, leader
    /// epochs in which nothing was written, and producers that may be older than what is left of the log.
    pub fn take_over(&mut self, of: &Log) -> Result<(), Fault> {
        self.online()?;
        self.set_config(of.config.clone());
        if self.epochs != of.epochs {
            self.epochs = of.epochs.clone();
            self.store_epochs()?;
        }
        if self.producers == of.producers {
            return Ok(());
        }
        self.producers = of.producers.clone();
        self.snapshots.is_stale = true;
        let end = self.log_end_offset;
        let taken = self.remove_snapshot(end).and_then(|()| self.take_snapshot(end));
        self.note(taken)
    }

    /// Gives the log's directory another name, which is durable once the directory above is synced
    /// ([`LogDir::sync`](crate::LogDir::sync)).
    pub fn rename(&mut self, to: &Path) -> Result<(), Fault> {
        self.online()?;
        let from = self.folder.dir.clone();
        let renamed = self.disk().rename(&from, to).context("rename", &*from);
        self.note(renamed)?;
        self.folder.dir = to.into();
        for segment in &mut self.segments {
            segment.rehome(&self.folder);
        }
        for path in self.doomed.iter_mut().flat_map(|(_, files)| files) {
            *path = to.join(path.file_name().unwrap_or_default());
        }
        Ok(())
    }
}
