//! Reading: from an offset to a region of a segment file.

use super::{Damage, Log};
use crate::disk::{Context, Fault};
use crate::fds::lock;
use crate::scan::Stop;
use crate::segment::{Place, Segment};
use std::fmt;
use std::sync::Mutex;
use wire::codec::{FileRegion, Records};

/// A read that is copied for want of descriptors gets no more than this, or its first batch.
const COPY_MAX: u32 = 64 << 10;
/// Batches at the end of the log whose places are remembered: what consumers at the tail ask for.
const RECENT_MAX: usize = 64;

/// What [`Log::read`] found: whole batches, except that the last one may be cut off by `max_bytes`.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// A region of the segment file; the bytes themselves on a simulated disk.
    pub records: Records<'static>,
    /// Bytes of `records`.
    pub length: u32,
    /// Bytes of the first batch, also when it was too large and `records` is empty. 0 when there is none.
    pub first_batch_bytes: u32,
    /// Base offset of the first batch: may be below the offset asked for. -1 when there is none.
    pub base_offset: i64,
    /// Bytes that could be read from here to the end of this segment or to the bound.
    pub available: u32,
}

impl Read {
    fn empty() -> Read {
        let records = Records::Bytes(std::borrow::Cow::Borrowed(&[]));
        Read { records, length: 0, first_batch_bytes: 0, base_offset: -1, available: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// Why nothing could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// Below the log start offset or beyond the end.
    OffsetOutOfRange,
    /// The bytes there are not what was written. The log is kept as it is.
    Damaged(Damage),
    /// The disk failed: the owner shall take the log offline ([`Log::fail`]).
    Fault(Fault),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::OffsetOutOfRange => f.write_str("the offset is not in the log"),
            ReadError::Damaged(damage) => write!(
                f,
                "damaged batch at offset {}, position {} of segment {}: {}",
                damage.offset, damage.position, damage.segment, damage.reason
            ),
            ReadError::Fault(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> ReadError {
        ReadError::Fault(fault)
    }
}

/// Places that were looked up or written lately; only to save looking again.
#[derive(Debug, Default)]
pub(super) struct Hints {
    recent: Recent,
    /// Segment, upper bound and its position, as the last bounded read found it.
    bound: Mutex<Option<(i64, i64, u32)>>,
}

/// The last batches of the active segment, in a ring.
#[derive(Debug, Default)]
struct Recent {
    segment: i64,
    ring: Vec<RecentBatch>,
    /// Where the oldest entry is.
    oldest: usize,
}

/// Offsets are relative to the segment's.
#[derive(Clone, Copy, Debug)]
struct RecentBatch {
    base: u32,
    last: u32,
    position: u32,
}

impl Hints {
    /// A batch is going to be at `position` of the active segment.
    pub fn note(&mut self, segment: i64, base_offset: i64, last_offset: i64, position: u32) {
        let recent = &mut self.recent;
        if recent.segment != segment {
            recent.clear();
            recent.segment = segment;
        }
        let (base, last) = ((base_offset - segment) as u32, (last_offset - segment) as u32);
        let entry = RecentBatch { base, last, position };
        if recent.ring.len() < RECENT_MAX {
            recent.ring.push(entry);
        } else {
            recent.ring[recent.oldest] = entry;
            recent.oldest = (recent.oldest + 1) % RECENT_MAX;
        }
    }

    pub fn clear(&mut self) {
        self.recent.clear();
        self.recent.ring.shrink_to_fit();
        *lock(&self.bound) = None;
    }

    /// Segments before the one at `active` have changed.
    pub fn forget_before(&mut self, active: i64) {
        if self.recent.segment < active {
            self.recent.clear();
        }
        *lock(&self.bound) = None;
    }
}

impl Recent {
    fn clear(&mut self) {
        self.ring.clear();
        self.oldest = 0;
    }

    fn get(&self, at: usize) -> RecentBatch {
        self.ring[(self.oldest + at) % self.ring.len()]
    }

    /// The first batch whose last offset is `offset` or later, if the ring knows; and where that batch ends, unless it
    /// is the segment's last.
    fn find(&self, segment: i64, offset: i64) -> Option<(RecentBatch, Option<u32>)> {
        if self.segment != segment || self.ring.is_empty() {
            return None;
        }
        let wanted = u32::try_from(offset - segment).ok()?;
        let (mut low, mut high) = (0, self.ring.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle).last < wanted { low = middle + 1 } else { high = middle }
        }
        if low == self.ring.len() || low == 0 && self.get(0).base > wanted {
            return None;
        }
        let end = (low + 1 < self.ring.len()).then(|| self.get(low + 1).position);
        Some((self.get(low), end))
    }
}

impl Log {
    /// Finds the batches from `from` on, up to `upto` (exclusive; batches are never split by it) and about `max_bytes`
    /// of them, in one segment. With `whole_first_batch` the first batch is given whole however large it is; without,
    /// a first batch larger than `max_bytes` gives an empty answer.
    ///
    /// At the log's end this costs no system call; further back, a page of the index and a few headers are read.
    pub fn read(&self, from: i64, max_bytes: u32, upto: i64, whole_first_batch: bool) -> Result<Read, ReadError> {
        self.online()?;
        if from < self.log_start_offset || from > self.log_end_offset {
            return Err(ReadError::OffsetOutOfRange);
        }
        if from >= upto.min(self.log_end_offset) {
            return Ok(Read::empty());
        }
        for at in self.segment_of(from)..self.segments.len() {
            let segment = &self.segments[at];
            let Some(place) = self.place_of(segment, from)? else { continue };
            let end = self.clear_of_damage(segment, &place, self.bound(at, upto)?)?;
            let available = end.saturating_sub(place.position);
            if available < place.size {
                return Ok(Read::empty());
            }
            let length = match place.size {
                size if size <= max_bytes => available.min(max_bytes),
                size if whole_first_batch => size,
                _ => 0,
            };
            let (records, length) = self.region(segment, place.position, length, place.size)?;
            return Ok(Read {
                records,
                length,
                first_batch_bytes: place.size,
                base_offset: place.base_offset,
                available,
            });
        }
        Ok(Read::empty())
    }

    /// Like [`Log::read`] with the bytes themselves: for machines that replay a log.
    pub fn read_bytes(&self, from: i64, max_bytes: u32, upto: i64) -> Result<Vec<u8>, ReadError> {
        let read = self.read(from, max_bytes, upto, true)?;
        match read.records {
            Records::Bytes(bytes) => Ok(bytes.into_owned()),
            Records::File(region) => {
                let segment = &self.segments[self.segment_of(read.base_offset)];
                self.bytes(segment, region.position as u32, region.length).map_err(ReadError::Fault)
            }
        }
    }

    /// Whether a read from `from` on meets bytes that were written moments ago, and so are in the page cache.
    pub fn is_hot(&self, from: i64) -> bool {
        from >= self.log_end_offset || self.hints.recent.find(self.active().base_offset, from).is_some()
    }

    fn place_of(&self, segment: &Segment, from: i64) -> Result<Option<Place>, ReadError> {
        if let Some((batch, end)) = self.hints.recent.find(segment.base_offset, from) {
            return Ok(Some(Place {
                position: batch.position,
                size: end.unwrap_or(segment.size) - batch.position,
                base_offset: segment.base_offset + i64::from(batch.base),
                last_offset: segment.base_offset + i64::from(batch.last),
                max_timestamp: -1,
                leader_epoch: -1,
            }));
        }
        segment.find(from).map_err(|stop| self.read_error(segment, from, stop))
    }

    /// The position in a segment from which on nothing may be read.
    fn bound(&self, at: usize, upto: i64) -> Result<u32, ReadError> {
        let segment = &self.segments[at];
        let next = self.segments.get(at + 1).map_or(self.log_end_offset, |next| next.base_offset);
        if upto >= next {
            return Ok(segment.size);
        }
        if let Some((batch, _)) = self.hints.recent.find(segment.base_offset, upto) {
            return Ok(batch.position);
        }
        let mut known = lock(&self.hints.bound);
        match *known {
            Some((base_offset, offset, position)) if (base_offset, offset) == (segment.base_offset, upto) => {
                return Ok(position);
            }
            _ => {}
        }
        let position = match segment.find(upto) {
            Ok(place) => place.map_or(segment.size, |place| place.position),
            // What comes before the damage can be read.
            Err(Stop::Bad { position, .. }) => return Ok(position as u32),
            Err(stop) => return Err(self.read_error(segment, upto, stop)),
        };
        *known = Some((segment.base_offset, upto, position));
        Ok(position)
    }

    /// The end of what may be read in one piece from `place` on.
    fn clear_of_damage(&self, segment: &Segment, place: &Place, end: u32) -> Result<u32, ReadError> {
        let (mut end, position) = (end, u64::from(place.position));
        for damage in self.damage.iter().filter(|damage| damage.segment == segment.base_offset) {
            if (damage.position..damage.end).contains(&position) {
                return Err(ReadError::Damaged(damage.clone()));
            }
            if damage.position > position {
                end = end.min(damage.position as u32);
            }
        }
        Ok(end)
    }

    /// The bytes from `position` on, and how many: fewer than `length` where they have to be copied.
    fn region(
        &self,
        segment: &Segment,
        position: u32,
        length: u32,
        first_batch: u32,
    ) -> Result<(Records<'static>, u32), Fault> {
        if length == 0 {
            return Ok((Records::Bytes(std::borrow::Cow::Borrowed(&[])), 0));
        }
        let file = segment.file()?;
        match file.as_file() {
            Some(_) if self.folder.budget.is_stretched() => {
                let length = length.min(first_batch.max(COPY_MAX));
                Ok((Records::Bytes(self.bytes(segment, position, length)?.into()), length))
            }
            Some(file) => {
                let region =
                    FileRegion { file: file.clone(), position: u64::from(position), length, prefer_copy: false };
                Ok((Records::File(region), length))
            }
            None => Ok((Records::Bytes(self.bytes(segment, position, length)?.into()), length)),
        }
    }

    pub(super) fn bytes(&self, segment: &Segment, position: u32, length: u32) -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0; length as usize];
        let read = segment.file()?.read_at(&mut bytes, u64::from(position));
        let read = read.context("read", &segment.log)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    pub(super) fn read_error(&self, segment: &Segment, offset: i64, stop: Stop) -> ReadError {
        match stop {
            Stop::Io(error) => ReadError::Fault(Fault::new("read", segment.log.path(), &error)),
            Stop::Bad { position, reason } => {
                ReadError::Damaged(Damage { segment: segment.base_offset, position, end: 0, offset, reason })
            }
        }
    }
}
