//! Beginning segments, and dropping old ones.

use super::Log;
use crate::disk::{Context, Disk, Fault};
use crate::producer_snapshot;
use crate::segment::{
    DELETED_SUFFIX, LOG_SUFFIX, OFFSET_INDEX_SUFFIX, SNAPSHOT_SUFFIX, Segment, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX,
};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// A snapshot is written at most after so many times its own size of log.
const LOG_BYTES_PER_SNAPSHOT_BYTE: u64 = 64;

/// The producer snapshots that are on the disk.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// Ascending.
    pub offsets: Vec<i64>,
    /// Bytes appended since the last one.
    pub bytes_since: u64,
    /// The producers have changed since.
    pub is_stale: bool,
}

/// What [`Log::retention`] or [`Log::delete_records`] dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    pub segments: usize,
    pub bytes: u64,
}

/// Files to unlink, which takes its time for large ones: run it where waiting does no harm.
#[derive(Debug)]
pub struct RemoveRequest {
    disk: Arc<dyn Disk>,
    files: Vec<PathBuf>,
}

impl RemoveRequest {
    pub fn run(&self) -> Result<(), Fault> {
        for path in &self.files {
            match self.disk.remove_file(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.context("remove", path)?,
            }
        }
        Ok(())
    }
}

impl Log {
    /// Whether a batch of so many bytes, with this largest timestamp and last offset, needs a new segment.
    pub(super) fn must_roll(&mut self, batch: (u32, i64, i64), now_ms: i64) -> Result<bool, Fault> {
        let (last, jitter_ms) = (self.segments.len() - 1, self.jitter_ms);
        self.segments[last].is_full_for(batch, &self.config, jitter_ms, now_ms)
    }

    /// Begins a new segment at the log's end.
    pub(super) fn roll(&mut self, now_ms: i64) -> Result<(), Fault> {
        self.roll_for(self.log_end_offset, self.log_end_offset, now_ms)
    }

    /// Begins a new segment for a batch with these first and last offsets. It begins where the last batch ends, though a
    /// follower's next one may come from behind a gap that compaction left: otherwise nobody could tell that gap from an end
    /// which a power cut took. Only where an index cannot reach as far, it begins with the batch.
    pub(super) fn roll_for(&mut self, first_offset: i64, last_offset: i64, now_ms: i64) -> Result<(), Fault> {
        let end_offset = self.active().end_offset;
        let is_near = last_offset - end_offset <= i64::from(i32::MAX);
        let base_offset = if is_near { end_offset } else { first_offset };
        let last = self.segments.len() - 1;
        self.segments[last].seal()?;
        self.take_snapshot(base_offset)?;
        let segment = Segment::create(&self.folder, base_offset, &self.config, now_ms)?;
        self.segments.push(segment);
        self.sync.segment_rolled();
        Ok(())
    }

    /// Begins a new segment when the active one is `segment.ms` old; for housekeeping on a log without appends.
    pub fn roll_if_due(&mut self, now_ms: i64) -> Result<bool, Fault> {
        self.online()?;
        let (active, limit) = (self.active(), self.config.segment_ms.saturating_sub(self.jitter_ms));
        if active.size == 0 || now_ms.saturating_sub(active.touched_ms) <= limit {
            return Ok(false);
        }
        let rolled = self.roll(now_ms).map(|()| true);
        self.note(rolled)
    }

    /// Writes the producers to a snapshot now and then, so that a restart reads little of the log again.
    pub(super) fn snapshot_if_due(&mut self) -> Result<(), Fault> {
        let own = producer_snapshot::size(self.producers.len()) as u64 * LOG_BYTES_PER_SNAPSHOT_BYTE;
        if self.snapshots.bytes_since < own.max(u64::from(self.config.snapshot_interval_bytes)) {
            return Ok(());
        }
        self.take_snapshot(self.log_end_offset)
    }

    /// Writes the producers to a snapshot for `offset`. Between the segments' own, only the latest is kept, as Kafka
    /// wants it.
    pub(super) fn take_snapshot(&mut self, offset: i64) -> Result<(), Fault> {
        self.snapshots.bytes_since = 0;
        if self.snapshots.offsets.last().is_some_and(|last| *last >= offset) || offset <= self.log_start_offset {
            return Ok(());
        }
        let path = self.folder.path(offset, SNAPSHOT_SUFFIX);
        let base_offset = self.active().base_offset;
        let stray = self.snapshots.offsets.pop_if(|last| *last > base_offset);
        let unchanged = !std::mem::take(&mut self.snapshots.is_stale);
        match stray.map(|stray| self.folder.path(stray, SNAPSHOT_SUFFIX)) {
            // The same producers, further on: most logs have none at all.
            Some(old) if unchanged => self.disk().rename(&old, &path).context("rename", &old)?,
            old => {
                producer_snapshot::write(self.disk(), &path, &self.producers).context("write", &path)?;
                if let Some(old) = old {
                    super::files::remove_if_there(self.disk(), &old)?;
                }
            }
        }
        self.snapshots.offsets.push(offset);
        Ok(())
    }

    pub(super) fn remove_snapshot(&mut self, offset: i64) -> Result<(), Fault> {
        self.snapshots.offsets.retain(|at| *at != offset);
        let path = self.folder.path(offset, SNAPSHOT_SUFFIX);
        match self.disk().remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Fault::new("remove", path, &error)),
            _ => Ok(()),
        }
    }

    /// Drops segments that `retention.ms`, `retention.bytes` or the log start offset release, oldest first, none that
    /// holds offsets at or above `high_watermark`. Their files go after `file.delete.delay.ms`
    /// ([`Log::remove_deleted`]).
    pub fn retention(&mut self, now_ms: i64, high_watermark: i64) -> Result<Deleted, Fault> {
        self.online()?;
        self.note_high_watermark(high_watermark);
        let retained = self.retain(now_ms, high_watermark);
        self.note(retained)
    }

    fn retain(&mut self, now_ms: i64, high_watermark: i64) -> Result<Deleted, Fault> {
        let (retention_ms, retention_bytes) = match self.config.delete {
            true => (self.config.retention_ms, self.config.retention_bytes),
            false => (-1, -1),
        };
        let size: u64 = self.size_bytes();
        let mut excess = match u64::try_from(retention_bytes) {
            Ok(limit) => size.saturating_sub(limit),
            Err(_) => 0,
        };
        let mut count = 0;
        for (at, segment) in self.segments.iter().enumerate() {
            let next = self.segments.get(at + 1).map(|next| next.base_offset);
            let end = next.unwrap_or(self.log_end_offset);
            // The active segment goes only when it holds something.
            if end > high_watermark || next.is_none() && segment.size == 0 {
                break;
            }
            let before_start = next.is_some_and(|next| next <= self.log_start_offset);
            let too_old = retention_ms >= 0 && now_ms.saturating_sub(segment.largest_timestamp()) > retention_ms;
            let too_much = u64::from(segment.size) <= excess && excess > 0;
            if !(before_start || too_old || too_much) {
                break;
            }
            excess = excess.saturating_sub(u64::from(segment.size));
            count += 1;
        }
        self.drop_oldest(count, now_ms)
    }

    /// Moves the log start offset up to `before` and drops the segments that lie below it (DeleteRecords, and the
    /// metadata log after a snapshot). An offset below the log start offset changes nothing.
    pub fn delete_records(&mut self, before: i64, now_ms: i64) -> Result<Deleted, Fault> {
        self.online()?;
        if before <= self.log_start_offset {
            return Ok(Deleted::default());
        }
        let before = before.min(self.log_end_offset);
        let dropped = self.move_start(before).and_then(|()| {
            let count = self.segments.windows(2).take_while(|pair| pair[1].base_offset <= before).count();
            self.drop_oldest(count, now_ms)
        });
        self.note(dropped)
    }

    fn move_start(&mut self, start: i64) -> Result<(), Fault> {
        self.log_start_offset = start;
        if self.epochs.truncate_from_start(start) { self.store_epochs() } else { Ok(()) }
    }

    fn drop_oldest(&mut self, count: usize, now_ms: i64) -> Result<Deleted, Fault> {
        if count == 0 {
            return Ok(Deleted::default());
        }
        if count == self.segments.len() {
            self.roll(now_ms)?;
        }
        let start = self.segments[count].base_offset;
        let dropped: Vec<Segment> = self.segments.drain(..count).collect();
        let mut deleted = Deleted { segments: count, bytes: 0 };
        for segment in &dropped {
            deleted.bytes += u64::from(segment.size);
            self.doom(segment.base_offset, now_ms)?;
        }
        let stale: Vec<i64> = self.snapshots.offsets.iter().copied().filter(|at| *at < start).collect();
        for offset in stale {
            self.remove_snapshot(offset)?;
        }
        self.damage.retain(|damage| damage.segment >= start);
        if start > self.log_start_offset {
            self.move_start(start)?
        }
        Ok(deleted)
    }

    /// Renames the files of a segment, to be removed later: a reader may still hold them.
    pub(super) fn doom(&mut self, base_offset: i64, now_ms: i64) -> Result<(), Fault> {
        let mut files = Vec::new();
        for suffix in [LOG_SUFFIX, OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX] {
            let from = self.folder.path(base_offset, suffix);
            let to = self.folder.path(base_offset, &format!("{suffix}{DELETED_SUFFIX}"));
            match self.disk().rename(&from, &to) {
                Ok(()) => files.push(to),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Fault::new("rename", from, &error)),
            }
        }
        self.doomed.push((now_ms.saturating_add(self.config.file_delete_delay_ms), files));
        Ok(())
    }

    /// Files of dropped segments whose delay is over, to be removed by the caller.
    pub fn remove_deleted(&mut self, now_ms: i64) -> Option<RemoveRequest> {
        let due = self.doomed.iter().take_while(|(due_ms, _)| *due_ms <= now_ms).count();
        if due == 0 {
            return None;
        }
        let files = self.doomed.drain(..due).flat_map(|(_, files)| files).collect();
        Some(RemoveRequest { disk: self.folder.disk.clone(), files })
    }
}
