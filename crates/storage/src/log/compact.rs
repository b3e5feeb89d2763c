//! Compaction as the log sees it: how much of it is dirty, what is to be cleaned, and taking the result.

use super::Log;
use super::files::SWAP_SUFFIX;
use crate::cleaner::{CLEANED_SUFFIX, CleaningError, CleaningPlan, FILES, LastRecord, Replacement, Source};
use crate::disk::{Context, Fault};
use crate::planted::Bug;
use crate::segment::{Segment, TXN_INDEX_SUFFIX};

/// How much of a log there is to clean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirt {
    /// Where the part begins that was never cleaned.
    pub first_dirty: i64,
    /// Where the part begins that must be left alone.
    pub end: i64,
    pub clean_bytes: u64,
    pub dirty_bytes: u64,
    /// By how much the oldest dirty records exceed `max.compaction.lag.ms`; 0 when they do not.
    pub overdue_ms: i64,
    /// The checkpoint was beyond the log, and should be written anew.
    pub is_reset: bool,
}

impl Dirt {
    /// The share of the log that is dirty and may be cleaned.
    pub fn ratio(&self) -> f64 {
        match self.clean_bytes + self.dirty_bytes {
            0 => 0.0,
            total => self.dirty_bytes as f64 / total as f64,
        }
    }
}

impl Log {
    /// Looks at how much there is to clean. `checkpoint` is where the last cleaning ended.
    ///
    /// Never cleaned are the active segment, what lies beyond the last stable offset or within `min.compaction.lag.ms`,
    /// and what is not on the disk for certain: a record must not go because of one that a power cut may take.
    pub fn dirt(&mut self, checkpoint: Option<i64>, high_watermark: i64, now_ms: i64) -> Result<Dirt, Fault> {
        self.online()?;
        let (start, log_end) = (self.log_start_offset, self.log_end_offset);
        let known = checkpoint.filter(|offset| (start..=log_end).contains(offset));
        let first_dirty = known.unwrap_or(start);
        let decided = match self.has(Bug::CleanUndecided) {
            true => high_watermark,
            false => self.last_stable_offset(high_watermark),
        };
        let mut uncleanable = decided.min(self.active().base_offset).min(self.recovery_point());
        let (first, active) = (self.segment_of(first_dirty), self.segments.len() - 1);
        let lag_ms = self.config.min_compaction_lag_ms;
        if lag_ms > 0 {
            let young = |segment: &&Segment| segment.largest_timestamp() > now_ms.saturating_sub(lag_ms);
            if let Some(segment) = self.segments[first.min(active)..active].iter().find(young) {
                uncleanable = uncleanable.min(segment.base_offset);
            }
        }
        let last = self.segment_of(uncleanable);
        let end = self.segments[last].base_offset;
        let bytes = |segments: &[Segment]| segments.iter().map(|segment| u64::from(segment.size)).sum();
        let dirty = first.min(last)..last;
        let mut overdue_ms = 0;
        if self.config.max_compaction_lag_ms < i64::MAX {
            let limit = now_ms.saturating_sub(self.config.max_compaction_lag_ms.max(0));
            for segment in &mut self.segments[first.min(active)..active] {
                match segment.first_timestamp()? {
                    timestamp if timestamp > 0 => overdue_ms = overdue_ms.max(limit - timestamp),
                    _ => {}
                }
            }
        }
        Ok(Dirt {
            first_dirty,
            end,
            clean_bytes: bytes(&self.segments[..dirty.start]),
            dirty_bytes: bytes(&self.segments[dirty]),
            overdue_ms,
            is_reset: checkpoint.is_some() && known.is_none(),
        })
    }

    /// What is to be done to clean this log, for [`clean`](crate::clean). It stays valid whatever happens to the log
    /// meanwhile: a result that does not fit any more is not taken.
    ///
    /// # Errors
    /// Damaged, when the log is; nothing of what is left of it is rewritten.
    pub fn plan_cleaning(&self, dirt: &Dirt) -> Result<CleaningPlan, CleaningError> {
        self.online()?;
        if let Some(damage) = self.damage.first() {
            return Err(CleaningError::Damaged(damage.clone()));
        }
        let upto = self.segments.partition_point(|segment| segment.base_offset < dirt.end);
        let source = |(at, segment): (usize, &Segment)| Source {
            base_offset: segment.base_offset,
            next_offset: self.segments.get(at + 1).map_or(self.log_end_offset, |next| next.base_offset),
            size: segment.size,
            offset_entries: segment.offsets.len(),
            time_entries: segment.times.len(),
            touched_ms: segment.touched_ms,
        };
        let first = &self.segments[self.segment_of(dirt.first_dirty)];
        let position = first.offsets.lookup(dirt.first_dirty).context("read the offset index of", &first.log);
        let last_record = |(id, producer): (i64, &crate::producers::Producer)| {
            let data_offset = producer.batches.last().map(|batch| batch.last_offset);
            (id, LastRecord { data_offset, epoch: producer.epoch })
        };
        Ok(CleaningPlan {
            folder: self.folder.clone(),
            config: self.config.clone(),
            first_dirty: dirt.first_dirty,
            end: dirt.end,
            sources: self.segments[..upto].iter().enumerate().map(source).collect(),
            bases: self.segments.iter().map(|segment| segment.base_offset).collect(),
            first_dirty_position: position?,
            last_records: self.producers.iter().map(last_record).collect(),
            truncations: self.sync.truncations(),
        })
    }

    /// Whether the log was not truncated since. Otherwise what looked like damage may be new records.
    pub fn is_current(&self, plan: &CleaningPlan) -> bool {
        plan.truncations == self.sync.truncations()
    }

    /// Takes a cleaned segment in the place of the old ones, whose files go after `file.delete.delay.ms`. False when the
    /// old ones are not there any more. The recovery point that the log had when it was looked at must be in its checkpoint:
    /// a gap beyond that one looks like a loss (`OpenMode::is_seamless`).
    pub fn replace(&mut self, replacement: &Replacement, now_ms: i64) -> Result<bool, Fault> {
        self.online()?;
        let replaced = self.try_replace(replacement, now_ms);
        self.note(replaced)
    }

    fn try_replace(&mut self, replacement: &Replacement, now_ms: i64) -> Result<bool, Fault> {
        let (finished, sources) = (&replacement.finished, &replacement.sources);
        let first = self.segments.partition_point(|segment| segment.base_offset < finished.base_offset);
        let upto = first + sources.len();
        // The active segment is never among them.
        let here = self.segments.get(first..upto).filter(|_| upto < self.segments.len());
        let is_same = |(segment, source): (&Segment, &Source)| {
            segment.base_offset == source.base_offset && segment.size == source.size
        };
        if replacement.truncations != self.sync.truncations()
            || !here.is_some_and(|here| here.iter().zip(sources).all(is_same))
        {
            return Ok(false);
        }
        // What a crash leaves of this is in order: see `files.rs`.
        self.rename_all(replacement, CLEANED_SUFFIX, SWAP_SUFFIX)?;
        for source in sources {
            self.doom(source.base_offset, now_ms)?;
        }
        self.rename_all(replacement, SWAP_SUFFIX, "")?;
        let (base_offset, size) = (finished.base_offset, finished.size);
        let touched_ms = sources.iter().map(|source| source.touched_ms).max().unwrap_or(now_ms);
        let (offsets_len, times_len) = (finished.offset_index_len, finished.time_index_len);
        let segment = Segment::open(&self.folder, base_offset, size, touched_ms, offsets_len, times_len)?;
        self.segments.splice(first..upto, [segment]);
        self.hints.forget_before(self.active().base_offset);
        for source in &sources[1..] {
            // The latest one is what a restart begins with.
            if self.snapshots.offsets.last() != Some(&source.base_offset) {
                self.remove_snapshot(source.base_offset)?;
            }
        }
        Ok(true)
    }

    /// The log first, then what belongs to it.
    fn rename_all(&self, replacement: &Replacement, from: &str, to: &str) -> Result<(), Fault> {
        let finished = &replacement.finished;
        for (suffix, _) in FILES.iter().filter(|file| file.0 != TXN_INDEX_SUFFIX || finished.has_txns) {
            let path = |state: &str| self.folder.path(finished.base_offset, &format!("{suffix}{state}"));
            let from = path(from);
            self.disk().rename(&from, &path(to)).context("rename", &from)?;
        }
        Ok(())
    }
}
