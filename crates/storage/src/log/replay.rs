//! Rebuilding what is known of producers: from a snapshot and the log after it.

use super::Log;
use super::append::marker_of;
use crate::disk::{Context, Fault};
use crate::planted::Bug;
use crate::producer_snapshot;
use crate::producers::{DataBatch, Producers};
use crate::scan::{Scan, Stop};
use crate::segment::{SNAPSHOT_SUFFIX, TXN_INDEX_SUFFIX};
use crate::txn_index;
use wire::records::Batch;

/// Bytes of headers read at once.
const CHUNK: usize = 256 << 10;
/// Bytes before a producer snapshot that are searched for the batches which it does not name.
const WINDOW_BYTES: u32 = 2 << 20;

impl Log {
    /// Rebuilds the producers from the latest snapshot that is not beyond `usable`, and the log after it.
    pub(super) fn reload_producers(&mut self, now_ms: i64, usable: i64) -> Result<(), Fault> {
        self.producers.clear();
        let end = self.log_end_offset.min(usable);
        let end = if self.has(Bug::UseLaterSnapshot) { i64::MAX } else { end };
        let beyond = |offset: &i64| *offset > end || *offset <= self.log_start_offset;
        for offset in self.snapshots.offsets.iter().copied().filter(beyond).collect::<Vec<_>>() {
            self.remove_snapshot(offset)?;
        }
        let mut from = self.log_start_offset;
        while let Some(offset) = self.snapshots.offsets.last().copied() {
            let path = self.folder.path(offset, SNAPSHOT_SUFFIX);
            match producer_snapshot::read(self.disk(), &path).context("read", &path)? {
                Some(producers) => {
                    self.producers = producers;
                    from = offset;
                    self.remember_window(offset)?;
                    break;
                }
                None => self.remove_snapshot(offset)?,
            }
        }
        let bases: Vec<i64> = self.segments.iter().map(|segment| segment.base_offset).collect();
        let stray = |offset: &i64| *offset != from && bases.binary_search(offset).is_err();
        for offset in self.snapshots.offsets.iter().copied().filter(stray).collect::<Vec<_>>() {
            self.remove_snapshot(offset)?;
        }
        for at in self.segment_of(from)..self.segments.len() {
            self.replay_producers(at, from)?;
        }
        self.snapshots.is_stale = true;
        self.producers.expire(now_ms, self.config.producer_id_expiration_ms);
        Ok(())
    }

    /// A snapshot names the last batch of each producer, as Kafka's does. The ones before it, which a client may send
    /// again, are looked up in the log shortly before `offset`.
    fn remember_window(&mut self, offset: i64) -> Result<(), Fault> {
        if self.producers.len() == 0 {
            return Ok(());
        }
        let last = self.segment_of(offset - 1);
        let end = self.segments[last].offsets.lookup(offset - 1);
        let mut first = (last, end.context("read the index of", &self.segments[last].log)?);
        let mut bytes = WINDOW_BYTES;
        // Near a segment's beginning the segment before is looked at too.
        while bytes > first.1 && first.0 > 0 {
            bytes -= first.1;
            first = (first.0 - 1, self.segments[first.0 - 1].size);
        }
        let mut window = Producers::default();
        for at in first.0..=last {
            let segment = &self.segments[at];
            let from = if at == first.0 { first.1.saturating_sub(bytes) } else { 0 };
            let position = segment.offsets.lookup_position(from).context("read the index of", &segment.log)?;
            let (file, size) = (segment.file()?, u64::from(segment.size));
            let mut scan = Scan::new(&*file, u64::from(position), size, segment.base_offset, CHUNK);
            loop {
                match scan.next() {
                    Ok(Some((_, header))) if header.base_offset() < offset => {
                        if header.has_producer_id() && !header.is_control() {
                            window.apply(&DataBatch::of(&header), i64::MIN);
                        }
                    }
                    Err(Stop::Io(error)) => return Err(Fault::new("read", segment.log.path(), &error)),
                    Ok(_) | Err(Stop::Bad { .. }) => break,
                }
            }
        }
        self.producers.remember(&window);
        Ok(())
    }

    /// Applies the batches of a segment from offset `from` on to the producers, and adds to its transaction index what
    /// a crash took from it.
    fn replay_producers(&mut self, at: usize, from: i64) -> Result<(), Fault> {
        let segment = &self.segments[at];
        let (path, size, base_offset) = (segment.log.path(), u64::from(segment.size), segment.base_offset);
        let written_ms = segment.touched_ms;
        if segment.size == 0 {
            return Ok(());
        }
        let file = segment.file()?;
        let mut position = u64::from(segment.offsets.lookup(from).context("read the index of", &path)?);
        let mut indexed: Option<Vec<i64>> = None;
        let txn_path = self.folder.path(base_offset, TXN_INDEX_SUFFIX);
        self.snapshots.bytes_since = 0;
        loop {
            let mut scan = Scan::new(&*file, position, size, base_offset, CHUNK);
            let stop = loop {
                let (batch_at, header) = match scan.next() {
                    Ok(Some(found)) => found,
                    Ok(None) => break None,
                    Err(Stop::Bad { position, .. }) => break Some(position),
                    Err(Stop::Io(error)) => return Err(Fault::new("read", path, &error)),
                };
                if header.last_offset() < from {
                    continue;
                }
                self.snapshots.bytes_since += header.size() as u64;
                if !header.has_producer_id() {
                    continue;
                }
                if !header.is_control() {
                    self.producers.apply(&DataBatch::of(&header), written_ms);
                    continue;
                }
                let bytes = self.bytes(&self.segments[at], batch_at as u32, header.size() as u32)?;
                let Some(marker) = Batch::parse(&bytes).ok().as_ref().and_then(marker_of) else {
                    continue;
                };
                let Some(aborted) = self.producers.apply_marker(&marker) else { continue };
                if indexed.is_none() {
                    let known = txn_index::read(self.disk(), &txn_path).context("read", &txn_path)?;
                    indexed = Some(known.iter().map(|txn| txn.last_offset).collect());
                }
                if indexed.as_ref().is_some_and(|known| known.binary_search(&aborted.last_offset).is_err()) {
                    self.sync.txn_index_changed();
                    txn_index::append(self.disk(), &txn_path, &aborted).context("append to", &txn_path)?;
                }
            };
            // Behind damage that recovery found the log goes on.
            let damage = stop.and_then(|bad| self.damage.iter().find(|damage| damage.position == bad));
            match damage {
                Some(damage) if damage.segment == base_offset && damage.end > position => position = damage.end,
                _ => return Ok(()),
            }
        }
    }
}
