//! `.index`: from offsets to positions in the segment file.
//!
//! An entry is 8 bytes: the **last** offset of a batch relative to the segment's base, and the position where that batch
//! begins. An entry is added for the first batch after every `index.interval.bytes`.

use crate::fds::FileSlot;
use crate::index_file::IndexFile;
use std::io;

pub(crate) const ENTRY_SIZE: usize = 8;

#[derive(Debug)]
pub(crate) struct OffsetIndex {
    base_offset: i64,
    file: IndexFile<ENTRY_SIZE>,
    last: Option<(u32, u32)>,
}

fn decode(entry: &[u8; ENTRY_SIZE]) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = *entry;
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

fn encode(relative: u32, position: u32) -> [u8; ENTRY_SIZE] {
    let ([a, b, c, d], [e, f, g, h]) = (relative.to_be_bytes(), position.to_be_bytes());
    [a, b, c, d, e, f, g, h]
}

impl OffsetIndex {
    pub fn create(base_offset: i64, slot: FileSlot) -> io::Result<OffsetIndex> {
        Ok(OffsetIndex { base_offset, file: IndexFile::create(slot)?, last: None })
    }

    pub fn open(base_offset: i64, slot: FileSlot, len: u64) -> io::Result<OffsetIndex> {
        // Position 0 needs no entry: Kafka writes the first one after index.interval.bytes.
        let file = IndexFile::open(slot, len, |entry| decode(entry).1 == 0)?;
        let mut index = OffsetIndex { base_offset, file, last: None };
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

    /// Last offset and position of the last batch that has an entry.
    pub fn last(&self) -> Option<(i64, u32)> {
        self.last.map(|(relative, position)| (self.base_offset + i64::from(relative), position))
    }

    /// Adds the batch at `position` whose last offset is `offset`; both must be beyond the last entry's.
    pub fn push(&mut self, offset: i64, position: u32) {
        let relative = (offset - self.base_offset) as u32;
        self.last = Some((relative, position));
        self.file.push(encode(relative, position));
    }

    /// Where to begin looking for the batch that holds `offset`: the position of an indexed batch that is not beyond
    /// it, or the segment's beginning.
    pub fn lookup(&self, offset: i64) -> io::Result<u32> {
        self.lookup_both(offset).map(|(position, _)| position)
    }

    /// Like [`OffsetIndex::lookup`], with the position of the next indexed batch if that is at hand: it is the one that
    /// holds `offset`, or lies behind it.
    pub fn lookup_both(&self, offset: i64) -> io::Result<(u32, Option<u32>)> {
        match self.last {
            Some((relative, position)) if self.base_offset + i64::from(relative) <= offset => Ok((position, None)),
            None => Ok((0, None)),
            Some(_) => {
                let wanted = offset - self.base_offset;
                let found = self.file.partition(|entry| i64::from(decode(entry).0) <= wanted)?;
                let position = |entry: [u8; ENTRY_SIZE]| decode(&entry).1;
                Ok((found.last.map_or(0, position), found.next.map(position)))
            }
        }
    }

    /// The position of an indexed batch at `position` or before, or the segment's beginning.
    pub fn lookup_position(&self, position: u32) -> io::Result<u32> {
        let found = self.file.partition(|entry| decode(entry).1 <= position)?;
        Ok(found.last.map_or(0, |entry| decode(&entry).1))
    }

    /// Keeps the entries of offsets below `offset`.
    pub fn truncate_to(&mut self, offset: i64) -> io::Result<()> {
        let wanted = offset - self.base_offset;
        let found = self.file.partition(|entry| i64::from(decode(entry).0) < wanted)?;
        self.file.truncate(found.count)?;
        self.load_last()
    }

    /// Keeps the first `count` entries.
    pub fn truncate_len(&mut self, count: u32) -> io::Result<()> {
        self.file.truncate(count)?;
        self.load_last()
    }

    /// Keeps the leading entries that ascend and point into a log of `log_len` bytes; what a power cut left behind them
    /// is junk.
    pub fn keep_ascending(&mut self, log_len: u64) -> io::Result<()> {
        let count = self.file.leading(|previous, entry| {
            let (previous, (relative, position)) = (previous.map(decode), decode(entry));
            let follows = previous.is_none_or(|before| relative > before.0 && position > before.1);
            follows && position > 0 && u64::from(position) < log_len
        })?;
        self.truncate_len(count)
    }

    pub fn file(&mut self) -> &mut IndexFile<ENTRY_SIZE> {
        &mut self.file
    }
}
