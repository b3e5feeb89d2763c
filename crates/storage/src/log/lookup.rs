//! Questions about timestamps, leader epochs and transactions.

use super::{Log, ReadError};
use crate::disk::{Context, Fault};
use crate::epochs::EpochStart;
use crate::scan::{Scan, Stop};
use crate::segment::{Place, Segment, TXN_INDEX_SUFFIX};
use crate::txn_index::{self, AbortedTxn};
use wire::records::{Batch, BatchError};

/// Headers read at once when a segment is searched by time.
const SEARCH_CHUNK: usize = 16 << 10;

/// A record that was found by its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Ms since the epoch.
    pub timestamp: i64,
    pub offset: i64,
    pub leader_epoch: i32,
}

impl Log {
    /// The first record with a timestamp of `timestamp` or later.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<TimestampOffset>, ReadError> {
        self.online()?;
        for segment in &self.segments[self.segment_of(self.log_start_offset)..] {
            if segment.max_timestamp.0 < timestamp {
                continue;
            }
            if let Some(found) = self.search_by_time(segment, timestamp)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The first record that has the largest timestamp of all (KIP-734).
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampOffset>, ReadError> {
        self.online()?;
        let mut latest: Option<(&Segment, (i64, i64))> = None;
        for segment in &self.segments {
            let max = self.live_max_timestamp(segment)?;
            if max.0 >= 0 && latest.is_none_or(|(_, latest)| max.0 > latest.0) {
                latest = Some((segment, max));
            }
        }
        let Some((segment, (timestamp, offset))) = latest else { return Ok(None) };
        match segment.find(offset).map_err(|stop| self.read_error(segment, offset, stop))? {
            Some(place) => self.search_batch(segment, &place, timestamp),
            None => Ok(None),
        }
    }

    /// The largest timestamp of records that are not deleted, and the last offset of its batch.
    fn live_max_timestamp(&self, segment: &Segment) -> Result<(i64, i64), ReadError> {
        let start = self.log_start_offset;
        if segment.base_offset >= start || segment.max_timestamp.0 < 0 {
            return Ok(segment.max_timestamp);
        }
        // Records of the first segment are deleted, perhaps the one with the largest timestamp.
        let (mut max, mut from) = ((-1, segment.base_offset), start);
        while let Some(place) = segment.find(from).map_err(|stop| self.read_error(segment, from, stop))? {
            let timestamp = match place.base_offset < start {
                false => place.max_timestamp,
                true => {
                    let mut live_max = -1;
                    self.look_through(segment, &place, |offset, timestamp| {
                        live_max = if offset >= start { timestamp.max(live_max) } else { live_max };
                        false
                    })?;
                    live_max
                }
            };
            if timestamp > max.0 {
                max = (timestamp, place.last_offset);
            }
            from = place.last_offset + 1;
        }
        Ok(max)
    }

    fn search_by_time(&self, segment: &Segment, timestamp: i64) -> Result<Option<TimestampOffset>, ReadError> {
        let path = segment.log.path();
        let start = segment.times.lookup(timestamp).context("read the time index of", &path)?;
        let position = segment.offsets.lookup(start).context("read the offset index of", &path)?;
        let file = segment.file()?;
        let (base_offset, size) = (segment.base_offset, u64::from(segment.size));
        let mut scan = Scan::new(&*file, u64::from(position), size, base_offset, SEARCH_CHUNK);
        loop {
            let found = scan.next().map_err(|stop| self.read_error(segment, start, stop))?;
            let Some((at, header)) = found else { return Ok(None) };
            if header.max_timestamp() < timestamp || header.last_offset() < self.log_start_offset {
                continue;
            }
            let place = Place::of(at as u32, &header);
            if let Some(found) = self.search_batch(segment, &place, timestamp)? {
                return Ok(Some(found));
            }
        }
    }

    /// The first record of a batch with `timestamp` or later.
    fn search_batch(
        &self,
        segment: &Segment,
        place: &Place,
        timestamp: i64,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let wanted = |offset, at| at >= timestamp && offset >= self.log_start_offset;
        let found = self.look_through(segment, place, wanted)?;
        let leader_epoch = place.leader_epoch;
        Ok(found.map(|(offset, timestamp)| TimestampOffset { timestamp, offset, leader_epoch }))
    }

    /// Shows offset and timestamp of a batch's records to `wanted` until it says yes.
    fn look_through(
        &self,
        segment: &Segment,
        place: &Place,
        mut wanted: impl FnMut(i64, i64) -> bool,
    ) -> Result<Option<(i64, i64)>, ReadError> {
        let bytes = self.bytes(segment, place.position, place.size)?;
        let damaged = |error: BatchError| {
            let stop = Stop::Bad { position: u64::from(place.position), reason: error.to_string() };
            self.read_error(segment, place.base_offset, stop)
        };
        let batch = Batch::parse(&bytes).and_then(|batch| batch.check_crc().map(|()| batch)).map_err(damaged)?;
        let records = batch.records().map_err(damaged)?;
        for record in records.iter() {
            let record = record.map_err(damaged)?;
            if wanted(record.offset, record.timestamp) {
                return Ok(Some((record.offset, record.timestamp)));
            }
        }
        Ok(None)
    }

    /// The end of what a `read_committed` consumer may see: the high watermark, or the first offset of a transaction
    /// that is open, or whose marker is not below the high watermark.
    pub fn last_stable_offset(&self, high_watermark: i64) -> i64 {
        self.first_unstable_offset(high_watermark).map_or(high_watermark, |first| first.min(high_watermark))
    }

    pub fn first_unstable_offset(&self, high_watermark: i64) -> Option<i64> {
        let first = self.producers.first_unstable_offset(high_watermark)?;
        Some(first.max(self.log_start_offset))
    }

    /// Aborted transactions that concern a read of `[from, upto)`.
    pub fn aborted_transactions(&self, from: i64, upto: i64) -> Result<Vec<AbortedTxn>, Fault> {
        self.online()?;
        let mut aborted = Vec::new();
        for segment in &self.segments[self.segment_of(from)..] {
            let path = self.folder.path(segment.base_offset, TXN_INDEX_SUFFIX);
            for txn in txn_index::read(self.disk(), &path).context("read", &path)? {
                if txn.last_offset >= from && txn.first_offset < upto {
                    aborted.push(txn);
                }
                if txn.last_stable_offset >= upto {
                    return Ok(aborted);
                }
            }
        }
        Ok(aborted)
    }

    /// The leader epoch of the last assignment, -1 when there was none.
    pub fn latest_epoch(&self) -> i32 {
        self.epochs.latest().map_or(-1, |latest| latest.epoch)
    }

    /// The history of leader epochs.
    pub fn epochs(&self) -> &[EpochStart] {
        self.epochs.entries()
    }

    /// The leader epoch that wrote `offset`.
    pub fn epoch_of(&self, offset: i64) -> Option<i32> {
        self.epochs.epoch_of(offset)
    }

    /// The largest epoch not above `epoch`, and the offset where it ends; `(-1, -1)` when `epoch` is not known
    /// (OffsetForLeaderEpoch, KIP-101 and KIP-279).
    pub fn epoch_end_offset(&self, epoch: i32) -> (i32, i64) {
        self.epochs.end_offset(epoch, self.log_end_offset)
    }

    /// Notes that `epoch` begins at `start_offset`; a known or older epoch changes nothing.
    pub fn assign_epoch(&mut self, epoch: i32, start_offset: i64) -> Result<(), Fault> {
        self.online()?;
        if self.epochs.assign(epoch, start_offset) { self.store_epochs() } else { Ok(()) }
    }

    pub(super) fn store_epochs(&mut self) -> Result<(), Fault> {
        self.sync.epochs_changed();
        let dir = self.folder.dir.clone();
        let stored = self.epochs.store(self.disk(), &dir).context("write leader-epoch-checkpoint in", &dir);
        self.note(stored)
    }
}
