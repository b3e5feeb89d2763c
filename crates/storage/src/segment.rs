//! One segment: a `.log` file, its offset and time index, and what is known of them.

use crate::config::LogConfig;
use crate::disk::{Access, Context, DiskFile, Fault};
use crate::fds::{FileSlot, Folder};
use crate::offset_index::OffsetIndex;
use crate::planted::{self, Bug};
use crate::scan::{Scan, Stop};
use crate::time_index::TimeIndex;
use std::sync::Arc;
use wire::records::{BatchHeader, HEADER_SIZE};

pub(crate) const LOG_SUFFIX: &str = ".log";
pub(crate) const OFFSET_INDEX_SUFFIX: &str = ".index";
pub(crate) const TIME_INDEX_SUFFIX: &str = ".timeindex";
pub(crate) const TXN_INDEX_SUFFIX: &str = ".txnindex";
pub(crate) const SNAPSHOT_SUFFIX: &str = ".snapshot";
pub(crate) const DELETED_SUFFIX: &str = ".deleted";

/// Bytes read at once to find a batch near a known one: `index.interval.bytes` of Kafka's default.
const LOOKUP_CHUNK: usize = 4096;

#[derive(Debug)]
pub(crate) struct Segment {
    pub base_offset: i64,
    /// Behind its last batch, as far as batches were noted since it was opened: all of them in the active segment.
    pub end_offset: i64,
    /// Bytes of whole batches in the log file.
    pub size: u32,
    pub log: FileSlot,
    pub offsets: OffsetIndex,
    pub times: TimeIndex,
    /// The largest timestamp and the last offset of the batch that has it; `(-1, base offset)` without any.
    pub max_timestamp: (i64, i64),
    /// The first batch's largest timestamp, once it was asked for.
    pub first_timestamp: Option<i64>,
    /// When the segment was made or last written before it was opened, ms since the epoch.
    pub touched_ms: i64,
    /// Index entries were written since the last sync.
    pub unsynced_indexes: bool,
    /// The file may have blocks beyond its end, to be given back when nothing more is appended.
    pub has_room: bool,
    bytes_since_entry: u32,
}

/// Where a batch is, as its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub position: u32,
    pub size: u32,
    pub base_offset: i64,
    pub last_offset: i64,
    pub max_timestamp: i64,
    pub leader_epoch: i32,
}

impl Place {
    pub fn of(position: u32, header: &BatchHeader<'_>) -> Place {
        Place {
            position,
            size: header.size() as u32,
            base_offset: header.base_offset(),
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp(),
            leader_epoch: header.leader_epoch(),
        }
    }
}

impl Segment {
    /// Makes an empty segment; files that are there are emptied.
    pub fn create(folder: &Folder, base_offset: i64, config: &LogConfig, now_ms: i64) -> Result<Segment, Fault> {
        let log = folder.slot(base_offset, LOG_SUFFIX);
        let make = || {
            let file = log.create()?;
            file.truncate(0)?;
            if config.preallocate {
                file.preallocate(u64::from(config.segment_bytes))?;
            }
            let offsets = OffsetIndex::create(base_offset, folder.slot(base_offset, OFFSET_INDEX_SUFFIX))?;
            let times = TimeIndex::create(base_offset, folder.slot(base_offset, TIME_INDEX_SUFFIX))?;
            Ok((offsets, times))
        };
        let (offsets, times) = make().context("create segment", &log)?;
        Ok(Segment {
            base_offset,
            end_offset: base_offset,
            size: 0,
            offsets,
            times,
            max_timestamp: (-1, base_offset),
            first_timestamp: None,
            touched_ms: now_ms,
            unsynced_indexes: false,
            has_room: config.preallocate,
            bytes_since_entry: 0,
            log,
        })
    }

    /// A segment whose files are there. Lengths come from the directory's listing, so the log file stays closed.
    pub fn open(
        folder: &Folder,
        base_offset: i64,
        size: u32,
        touched_ms: i64,
        offset_index_len: u64,
        time_index_len: u64,
    ) -> Result<Segment, Fault> {
        let log = folder.slot(base_offset, LOG_SUFFIX);
        let offsets = OffsetIndex::open(base_offset, folder.slot(base_offset, OFFSET_INDEX_SUFFIX), offset_index_len);
        let times = TimeIndex::open(base_offset, folder.slot(base_offset, TIME_INDEX_SUFFIX), time_index_len);
        let offsets = offsets.context("read offset index of", &log)?;
        let times = times.context("read time index of", &log)?;
        let max_timestamp = times.last().unwrap_or((-1, base_offset));
        Ok(Segment {
            base_offset,
            end_offset: base_offset,
            size,
            log,
            offsets,
            times,
            max_timestamp,
            first_timestamp: None,
            touched_ms,
            unsynced_indexes: false,
            has_room: false,
            bytes_since_entry: 0,
        })
    }

    /// The folder has another name now.
    pub fn rehome(&mut self, folder: &Folder) {
        self.log.rehome(folder);
        self.offsets.file().rehome(folder);
        self.times.file().rehome(folder);
    }

    pub fn file(&self) -> Result<Arc<dyn DiskFile>, Fault> {
        self.log.get().context("open", &self.log)
    }

    /// Takes a batch at the end into account: size, largest timestamp, indexes.
    pub fn note_batch(
        &mut self,
        last_offset: i64,
        max_timestamp: i64,
        size: u32,
        config: &LogConfig,
    ) -> Result<(), Fault> {
        if max_timestamp > self.max_timestamp.0 {
            self.max_timestamp = (max_timestamp, last_offset);
        }
        if self.size == 0 {
            self.first_timestamp = Some(max_timestamp);
        }
        if self.bytes_since_entry > config.index_interval_bytes {
            let (timestamp, offset) = self.max_timestamp;
            self.times.push(timestamp, offset);
            self.offsets.push(last_offset, self.size);
            if self.offsets.file().is_flush_due() {
                self.flush_indexes()?;
            }
            self.bytes_since_entry = 0;
        }
        self.size += size;
        self.end_offset = last_offset + 1;
        self.bytes_since_entry = self.bytes_since_entry.saturating_add(size);
        Ok(())
    }

    /// Writes the indexes' last entries: the time index first, for recovery believes that it reaches as far as the
    /// offset index.
    pub fn flush_indexes(&mut self) -> Result<(), Fault> {
        self.unsynced_indexes = true;
        let flushed = self.times.file().flush().and_then(|()| self.offsets.file().flush());
        flushed.context("write the indexes of", &self.log)
    }

    /// The next batch gets an index entry, so that no lookup has to cross what lies before it.
    pub fn force_entry(&mut self, config: &LogConfig) {
        self.bytes_since_entry = config.index_interval_bytes.saturating_add(1);
    }

    /// Begins again at `position`, where [`Segment::note_batch`] is to be called for the batches that follow.
    pub fn rewind(&mut self, position: u32) {
        self.size = position;
        self.end_offset = self.base_offset;
        self.bytes_since_entry = 0;
        self.max_timestamp = self.times.last().unwrap_or((-1, self.base_offset));
        self.first_timestamp = None;
    }

    /// Empties both indexes, to fill them anew.
    pub fn reset_indexes(&mut self) -> Result<(), Fault> {
        let reset = self.offsets.truncate_len(0).and_then(|()| self.times.truncate_to(self.base_offset));
        reset.context("reset the indexes of", &self.log)?;
        self.rewind(0);
        Ok(())
    }

    /// Whether a batch must go to a new segment (`segment.bytes`, `segment.ms`, full indexes, offsets too far away).
    pub fn is_full_for(
        &mut self,
        batch: (u32, i64, i64),
        config: &LogConfig,
        jitter_ms: i64,
        now_ms: i64,
    ) -> Result<bool, Fault> {
        let (size, max_timestamp, last_offset) = batch;
        if self.size.saturating_add(size) > config.segment_bytes && self.size > 0 {
            return Ok(true);
        }
        if last_offset - self.base_offset > i64::from(i32::MAX) {
            return Ok(true);
        }
        if self.size == 0 {
            return Ok(false);
        }
        let offset_entries_max = config.index_max_bytes / crate::offset_index::ENTRY_SIZE as u32;
        let time_entries_max = config.index_max_bytes / crate::time_index::ENTRY_SIZE as u32;
        if self.offsets.len() >= offset_entries_max || self.times.len() + 1 >= time_entries_max {
            return Ok(true);
        }
        // As in Kafka: by the records' own time when they have one, by the segment's age otherwise.
        let begin = self.first_timestamp()?;
        let (since, now) = if begin >= 0 { (begin, max_timestamp) } else { (self.touched_ms, now_ms) };
        let waited = now.saturating_sub(since);
        Ok(waited > config.segment_ms.saturating_sub(jitter_ms))
    }

    pub fn first_timestamp(&mut self) -> Result<i64, Fault> {
        if let Some(timestamp) = self.first_timestamp {
            return Ok(timestamp);
        }
        let timestamp = match self.find(self.base_offset) {
            Ok(first) => first.map_or(-1, |place| place.max_timestamp),
            Err(Stop::Io(error)) => return Err(Fault::new("read", self.log.path(), &error)),
            // A damaged first batch is no reason to refuse new ones: the segment's age decides.
            Err(Stop::Bad { .. }) => -1,
        };
        self.first_timestamp = Some(timestamp);
        Ok(timestamp)
    }

    /// The first batch whose last offset is `offset` or later; `None` when the segment ends before.
    pub fn find(&self, offset: i64) -> Result<Option<Place>, Stop> {
        let file = self.log.get()?;
        let (position, next) = self.offsets.lookup_both(offset)?;
        // Where batches are large each has an entry, and the next one is the batch that is looked for.
        if let Some(next) = next.filter(|next| *next as usize > position as usize + 2 * LOOKUP_CHUNK) {
            let mut header = [0; HEADER_SIZE];
            file.read_at(&mut header, u64::from(next))?;
            let left = u64::from(self.size.saturating_sub(next));
            let holds = |header: &BatchHeader<'_>| {
                header.base_offset() <= offset && header.last_offset() >= offset && header.size() as u64 <= left
            };
            if let Some(header) = BatchHeader::parse(&header).ok().filter(holds) {
                return Ok(Some(Place::of(next, &header)));
            }
        }
        let mut scan = Scan::new(&*file, u64::from(position), u64::from(self.size), self.base_offset, LOOKUP_CHUNK);
        while let Some((at, header)) = scan.next()? {
            if header.last_offset() >= offset {
                return Ok(Some(Place::of(at as u32, &header)));
            }
        }
        Ok(None)
    }

    /// The largest timestamp, or the file's own time when no record has one.
    pub fn largest_timestamp(&self) -> i64 {
        if self.max_timestamp.0 >= 0 { self.max_timestamp.0 } else { self.touched_ms }
    }

    /// Leaves the files as Kafka leaves those of a segment that takes no more: no room beyond the end, indexes trimmed, the
    /// largest timestamp in the time index.
    pub fn seal(&mut self) -> Result<(), Fault> {
        let (timestamp, offset) = self.max_timestamp;
        self.times.push(timestamp, offset);
        let sealed = self.times.file().trim().and_then(|()| self.offsets.file().trim());
        sealed.context("finish the indexes of", &self.log)?;
        if std::mem::take(&mut self.has_room) {
            let file = self.log.once(Access::Write).context("open", &self.log)?;
            file.truncate(u64::from(self.size)).context("trim", &self.log)?;
        }
        self.rest();
        Ok(())
    }

    /// Cuts the file at `position`, where the batch of `offset` begins, and the indexes with it; the file's end is on the
    /// disk then. The segment must be rescanned from its last index entry afterwards.
    pub fn cut(&mut self, offset: i64, position: u32, config: &LogConfig) -> Result<(), Fault> {
        let path = self.log.path();
        let file = self.file()?;
        file.truncate(u64::from(position)).context("truncate", &path)?;
        if !planted::is(config.bug, Bug::TruncateWithoutSync) {
            file.sync().context("sync", &path)?;
        }
        self.offsets.truncate_to(offset).context("truncate the offset index of", &path)?;
        self.times.truncate_to(offset).context("truncate the time index of", &path)
    }

    /// Gives back memory and descriptors that only lookups need.
    pub fn rest(&mut self) {
        self.offsets.file().rest();
        self.times.file().rest();
    }
}
