//! `.timeindex`: from timestamps to offsets.
//!
//! An entry is 12 bytes: the largest timestamp of the segment so far, and the last offset (relative to the base) of the
//! batch that has it. Timestamps and offsets both ascend.

use crate::fds::FileSlot;
use crate::index_file::IndexFile;
use std::io;

pub(crate) const ENTRY_SIZE: usize = 12;

#[derive(Debug)]
pub(crate) struct TimeIndex {
    base_offset: i64,
    file: IndexFile<ENTRY_SIZE>,
    last: Option<(i64, u32)>,
}

fn decode(entry: &[u8; ENTRY_SIZE]) -> (i64, u32) {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *entry;
    (i64::from_be_bytes([a, b, c, d, e, f, g, h]), u32::from_be_bytes([i, j, k, l]))
}

fn encode(timestamp: i64, relative: u32) -> [u8; ENTRY_SIZE] {
    let ([a, b, c, d, e, f, g, h], [i, j, k, l]) = (timestamp.to_be_bytes(), relative.to_be_bytes());
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

impl TimeIndex {
    pub fn create(base_offset: i64, slot: FileSlot) -> io::Result<TimeIndex> {
        Ok(TimeIndex { base_offset, file: IndexFile::create(slot)?, last: None })
    }

    pub fn open(base_offset: i64, slot: FileSlot, len: u64) -> io::Result<TimeIndex> {
        let file = IndexFile::open(slot, len, |entry| *entry == [0; ENTRY_SIZE])?;
        let mut index = TimeIndex { base_offset, file, last: None };
        index.load_last()?;
        Ok(index)
    }

    fn load_last(&mut self) -> io::Result<()> {
        let count = self.file.len();
        self.last = if count == 0 { None } else { self.file.get(count - 1)?.as_ref().map(decode) };
        Ok(())
    }

    pub fn len(&self) -> u32 {
        self.file.len()
    }

    /// The largest timestamp that has an entry, and its batch's last offset.
    pub fn last(&self) -> Option<(i64, i64)> {
        self.last.map(|(timestamp, relative)| (timestamp, self.base_offset + i64::from(relative)))
    }

    /// Adds an entry when `timestamp` is larger than all before it.
    pub fn push(&mut self, timestamp: i64, offset: i64) {
        if timestamp < 0 || self.last.is_some_and(|(last, _)| timestamp <= last) {
            return;
        }
        let relative = (offset - self.base_offset) as u32;
        self.last = Some((timestamp, relative));
        self.file.push(encode(timestamp, relative));
    }

    /// An offset before which no record of the segment has a timestamp of `timestamp` or later.
    pub fn lookup(&self, timestamp: i64) -> io::Result<i64> {
        let found = self.file.partition(|entry| decode(entry).0 < timestamp)?;
        Ok(found.last.map_or(self.base_offset, |entry| self.base_offset + i64::from(decode(&entry).1)))
    }

    /// Keeps the entries of offsets below `offset`.
    pub fn truncate_to(&mut self, offset: i64) -> io::Result<()> {
        let wanted = offset - self.base_offset;
        let found = self.file.partition(|entry| i64::from(decode(entry).1) < wanted)?;
        self.file.truncate(found.count)?;
        self.load_last()
    }

    /// Keeps the leading entries that ascend and lie below `offset`; what a power cut left behind them is junk.
    pub fn keep_ascending(&mut self, offset: i64) -> io::Result<()> {
        let wanted = offset - self.base_offset;
        let count = self.file.leading(|previous, entry| {
            let (previous, (timestamp, relative)) = (previous.map(decode), decode(entry));
            let follows = previous.is_none_or(|before| timestamp > before.0 && relative >= before.1);
            follows && i64::from(relative) < wanted
        })?;
        self.file.truncate(count)?;
        self.load_last()
    }

    pub fn file(&mut self) -> &mut IndexFile<ENTRY_SIZE> {
        &mut self.file
    }
}
