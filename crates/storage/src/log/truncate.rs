//! Cutting the end of the log: a follower drops what its leader does not have.
//!
//! A cut is on the disk before the next append. Otherwise a power cut could bring back old batches between new ones,
//! with offsets, epochs and CRCs in order: a log that differs from its leader's and that nothing can tell from it.

use super::write_back::Progress;
use super::{Damage, Log};
use crate::disk::{Context, Fault};
use crate::planted::Bug;
use crate::segment::{Segment, TXN_INDEX_SUFFIX};
use crate::txn_index;

impl Log {
    /// Drops everything from `offset` on; a batch that holds `offset` goes whole. An offset at or beyond the end cuts
    /// nothing, but an epoch that wrote nothing yet is forgotten: the leader that begins next may not know of it. A cut
    /// below the log start offset takes that with it: what comes next begins there. Recovery point and log start offset
    /// may go back: their checkpoints must be written before the next append.
    pub fn truncate_to(&mut self, offset: i64) -> Result<(), Fault> {
        self.online()?;
        if offset >= self.log_end_offset {
            let end = self.log_end_offset;
            return if self.epochs.truncate_from_end(end) { self.store_epochs() } else { Ok(()) };
        }
        let truncated = if offset < self.log_start_offset { self.restart_at(offset) } else { self.cut_at(offset) };
        self.note(truncated)
    }

    /// Drops everything; the next batch gets `offset`.
    pub fn truncate_fully_and_start_at(&mut self, offset: i64) -> Result<(), Fault> {
        self.online()?;
        let truncated = self.restart_at(offset);
        self.note(truncated)
    }

    fn restart_at(&mut self, offset: i64) -> Result<(), Fault> {
        let now_ms = self.active().touched_ms;
        self.hints.clear();
        let bases: Vec<i64> = self.segments.iter().map(|segment| segment.base_offset).collect();
        // From the end: whatever a crash leaves is the beginning of the log.
        for base_offset in bases.into_iter().rev() {
            self.doom(base_offset, now_ms)?;
        }
        self.sync_names()?;
        for snapshot in std::mem::take(&mut self.snapshots.offsets) {
            self.remove_snapshot(snapshot)?;
        }
        self.segments = vec![Segment::create(&self.folder, offset, &self.config, now_ms)?];
        self.log_start_offset = offset;
        self.log_end_offset = offset;
        self.producers.clear();
        self.damage.clear();
        self.epochs.clear();
        self.sync.truncated(offset);
        self.write_back = Progress::default();
        self.sync.segment_rolled();
        self.store_epochs()
    }

    fn cut_at(&mut self, offset: i64) -> Result<(), Fault> {
        self.hints.clear();
        let keep = self.segment_of(offset);
        let now_ms = self.active().touched_ms;
        if self.segments.len() > keep + 1 {
            for segment in self.segments.split_off(keep + 1).into_iter().rev() {
                self.doom(segment.base_offset, now_ms)?;
            }
            self.sync_names()?;
        }
        let segment = &mut self.segments[keep];
        let place = segment.find(offset);
        let path = segment.log.path();
        // Damage before the offset does not keep us from cutting: where it was found before, the log ends where it begins.
        let (position, end) = match place {
            Ok(Some(place)) => (place.position, place.base_offset),
            Ok(None) => (segment.size, offset),
            Err(crate::scan::Stop::Bad { position, .. }) => {
                let base_offset = segment.base_offset;
                let known = |damage: &&Damage| damage.segment == base_offset && damage.position == position;
                (position as u32, self.damage.iter().find(known).map_or(offset, |damage| damage.offset))
            }
            Err(crate::scan::Stop::Io(error)) => return Err(Fault::new("read", path, &error)),
        };
        segment.cut(end, position, &self.config)?;
        self.log_end_offset = end;
        self.log_start_offset = self.log_start_offset.min(end);
        let txn_path = self.folder.path(self.segments[keep].base_offset, TXN_INDEX_SUFFIX);
        txn_index::truncate_to(self.disk(), &txn_path, end).context("truncate", &txn_path)?;
        // Until that is on the disk, nothing beyond the cut counts as synced: its entries would be those of before.
        self.sync.txn_index_changed();
        self.damage.retain(|damage| damage.offset < end);
        self.sync.truncated(end);
        self.write_back = Progress::default();
        self.recount_active(position)?;
        if !self.has(Bug::KeepEpochs) && self.epochs.truncate_from_end(end) {
            self.store_epochs()?;
        }
        if self.has(Bug::KeepProducers) {
            return Ok(());
        }
        // Without a clock here, nobody expires.
        self.reload_producers(i64::MIN, i64::MAX)
    }

    fn sync_names(&self) -> Result<(), Fault> {
        self.disk().sync_dir(&self.folder.dir).context("sync directory", &self.folder.dir)
    }
}
