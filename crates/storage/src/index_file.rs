//! A file of fixed-size, ascending entries: the common half of the offset and the time index.
//!
//! Entries are gathered in memory and written a hundred at a time, for a write per entry would cost more than the
//! batch it points to. What a crash takes is rebuilt from the end of the log. No file is mapped: lookups read a page of
//! 4 KiB and keep it, so that a consumer who reads on costs one read per page.

use crate::disk::Access;
use crate::fds::{FileSlot, Folder, lock};
use std::io::{self, IoSlice};
use std::sync::Mutex;

/// Entries kept in memory before they are written; bounds what recovery after a crash has to scan.
pub(crate) const PENDING_MAX: u32 = 128;
/// Bytes that a lookup reads at once.
const PAGE_BYTES: usize = 4096;

#[derive(Debug)]
pub(crate) struct IndexFile<const SIZE: usize> {
    slot: FileSlot,
    /// Entries in the file.
    written: u32,
    /// Entries after those.
    pending: Vec<[u8; SIZE]>,
    page: Mutex<Option<Page<SIZE>>>,
}

/// Entries `first..` of the file, as many as one read brought.
#[derive(Debug)]
struct Page<const SIZE: usize> {
    first: u32,
    entries: Box<[[u8; SIZE]]>,
}

impl<const SIZE: usize> IndexFile<SIZE> {
    const PAGE_ENTRIES: u32 = (PAGE_BYTES / SIZE) as u32;

    /// Makes the file, empty.
    pub fn create(slot: FileSlot) -> io::Result<IndexFile<SIZE>> {
        slot.once(Access::Create)?.truncate(0)?;
        Ok(IndexFile { slot, written: 0, pending: Vec::new(), page: Mutex::default() })
    }

    /// An existing file of `len` bytes. Apache Kafka reserves an active index in full, so zeros may follow the last
    /// entry; a torn entry may end the file.
    pub fn open(slot: FileSlot, len: u64, is_zero: impl Fn(&[u8; SIZE]) -> bool) -> io::Result<IndexFile<SIZE>> {
        let written = u32::try_from(len / SIZE as u64).unwrap_or(u32::MAX);
        let mut index = IndexFile { slot, written, pending: Vec::new(), page: Mutex::default() };
        if written > 0 {
            let file = index.slot.once(Access::Read)?;
            let read = |at: u32| -> io::Result<[u8; SIZE]> {
                let mut entry = [0; SIZE];
                file.read_at(&mut entry, u64::from(at) * SIZE as u64)?;
                Ok(entry)
            };
            if is_zero(&read(written - 1)?) {
                let (mut low, mut high) = (0, written - 1);
                while low < high {
                    let middle = low + (high - low) / 2;
                    if is_zero(&read(middle)?) { high = middle } else { low = middle + 1 }
                }
                index.written = low;
            }
        }
        Ok(index)
    }

    /// See [`FileSlot::rehome`].
    pub fn rehome(&mut self, folder: &Folder) {
        self.slot.rehome(folder);
    }

    pub fn len(&self) -> u32 {
        self.written + self.pending.len() as u32
    }

    pub fn push(&mut self, entry: [u8; SIZE]) {
        self.pending.push(entry);
    }

    /// Whether it is time to [`IndexFile::flush`].
    pub fn is_flush_due(&self) -> bool {
        self.pending.len() >= PENDING_MAX as usize
    }

    /// Writes what is in memory. Not a sync.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let position = u64::from(self.written) * SIZE as u64;
        self.slot.once(Access::Create)?.write_at(&mut [IoSlice::new(self.pending.as_flattened())], position)?;
        self.written += self.pending.len() as u32;
        self.pending.clear();
        // The cached page may end where these entries begin.
        *lock(&self.page) = None;
        Ok(())
    }

    /// Keeps the first `count` entries.
    pub fn truncate(&mut self, count: u32) -> io::Result<()> {
        if count >= self.written {
            self.pending.truncate((count - self.written) as usize);
            return Ok(());
        }
        self.pending.clear();
        self.written = count;
        *lock(&self.page) = None;
        self.slot.once(Access::Create)?.truncate(u64::from(count) * SIZE as u64)
    }

    /// Writes everything and cuts the file after its last entry, as Kafka leaves an index at a roll and a clean close.
    pub fn trim(&mut self) -> io::Result<()> {
        self.flush()?;
        let file = self.slot.once(Access::Create)?;
        let len = u64::from(self.written) * SIZE as u64;
        if file.len()? != len { file.truncate(len) } else { Ok(()) }
    }

    /// Gives back memory and descriptor that only lookups need.
    pub fn rest(&mut self) {
        *lock(&self.page) = None;
        self.slot.close();
        self.pending.shrink_to_fit();
    }

    pub fn get(&self, at: u32) -> io::Result<Option<[u8; SIZE]>> {
        if at >= self.len() {
            return Ok(None);
        }
        if at >= self.written {
            return Ok(Some(self.pending[(at - self.written) as usize]));
        }
        let mut entry = [0; SIZE];
        let read = self.slot.once(Access::Read)?.read_at(&mut entry, u64::from(at) * SIZE as u64)?;
        if read < SIZE { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(Some(entry)) }
    }

    /// The number of leading entries for which `follows` holds, given the entry before. Looks at each entry in turn,
    /// for an index that cannot be trusted.
    pub fn leading(&self, follows: impl Fn(Option<&[u8; SIZE]>, &[u8; SIZE]) -> bool) -> io::Result<u32> {
        let (mut count, mut previous) = (0, None);
        while count < self.written {
            for entry in &self.read_page(count)?.entries {
                if !follows(previous.as_ref(), entry) {
                    return Ok(count);
                }
                previous = Some(*entry);
                count += 1;
            }
        }
        for entry in &self.pending {
            if !follows(previous.as_ref(), entry) {
                break;
            }
            previous = Some(*entry);
            count += 1;
        }
        Ok(count)
    }

    /// Where the entries end for which `before` holds. It must hold for a prefix of them.
    pub fn partition(&self, before: impl Fn(&[u8; SIZE]) -> bool) -> io::Result<Parted<SIZE>> {
        if self.pending.first().is_some_and(&before) {
            let count = self.pending.partition_point(&before);
            let (last, next) = (Some(self.pending[count - 1]), self.pending.get(count).copied());
            return Ok(Parted { count: self.written + count as u32, last, next });
        }
        let next = self.pending.first().copied();
        let (mut low, mut high) = (0, self.written);
        if high == 0 {
            return Ok(Parted { count: 0, last: None, next });
        }
        let mut cached = lock(&self.page);
        if let Some(page) = &*cached {
            match page.search(&before) {
                Search::Here(found) => return Ok(found),
                Search::Below => high = page.first,
                Search::Above => {
                    low = page.first + page.entries.len() as u32;
                    if low == self.written {
                        return Ok(Parted { count: low, last: page.entries.last().copied(), next });
                    }
                    // A reader who goes on needs the page after it.
                    let after = self.read_page(low)?;
                    match after.search(&before) {
                        Search::Below => {
                            let (last, next) = (page.entries.last().copied(), after.entries.first().copied());
                            return Ok(Parted { count: low, last, next });
                        }
                        Search::Here(found) => {
                            *cached = Some(after);
                            return Ok(found);
                        }
                        Search::Above => {
                            low += after.entries.len() as u32;
                            if low == self.written {
                                let last = after.entries.last().copied();
                                *cached = Some(after);
                                return Ok(Parted { count: low, last, next });
                            }
                        }
                    }
                }
            }
        }
        // Whole pages are left out by their first entry.
        let file = self.slot.get()?;
        while high - low > Self::PAGE_ENTRIES {
            let middle = low + (high - low) / 2;
            let mut entry = [0; SIZE];
            file.read_at(&mut entry, u64::from(middle) * SIZE as u64)?;
            if before(&entry) { low = middle } else { high = middle }
        }
        let page = self.read_page(low)?;
        let answer = match page.search(&before) {
            Search::Here(found) => found,
            Search::Above => {
                let (count, last) = (low + page.entries.len() as u32, page.entries.last().copied());
                Parted { count, last, next: next.filter(|_| count == self.written) }
            }
            Search::Below => {
                let last = if low == 0 { None } else { self.get(low - 1)? };
                Parted { count: low, last, next: page.entries.first().copied() }
            }
        };
        *cached = Some(page);
        Ok(answer)
    }

    fn read_page(&self, first: u32) -> io::Result<Page<SIZE>> {
        let count = (self.written - first).min(Self::PAGE_ENTRIES) as usize;
        let mut entries = vec![[0; SIZE]; count].into_boxed_slice();
        let position = u64::from(first) * SIZE as u64;
        let read = self.slot.get()?.read_at(entries.as_flattened_mut(), position)?;
        if read < count * SIZE {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Page { first, entries })
    }
}

/// What [`IndexFile::partition`] found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parted<const SIZE: usize> {
    /// Entries before.
    pub count: u32,
    /// The last of them.
    pub last: Option<[u8; SIZE]>,
    /// The entry after that, if it was at hand.
    pub next: Option<[u8; SIZE]>,
}

enum Search<const SIZE: usize> {
    /// The page's first entry is not before.
    Below,
    Here(Parted<SIZE>),
    /// All of the page is before.
    Above,
}

impl<const SIZE: usize> Page<SIZE> {
    fn search(&self, before: impl Fn(&[u8; SIZE]) -> bool) -> Search<SIZE> {
        match self.entries.partition_point(before) {
            0 => Search::Below,
            count if count == self.entries.len() => Search::Above,
            count => Search::Here(Parted {
                count: self.first + count as u32,
                last: Some(self.entries[count - 1]),
                next: Some(self.entries[count]),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;
    use crate::fds::Folder;
    use crate::testing::MemDisk;
    use std::path::Path;

    fn slot() -> FileSlot {
        let disk = MemDisk::new();
        disk.create_dir(Path::new("/t-0")).unwrap();
        let folder = Folder { disk: disk.arc(), budget: Default::default(), dir: Path::new("/t-0").into() };
        folder.slot(0, ".index")
    }

    /// Even numbers, so that lookups fall on entries and between them.
    fn entry(at: u32) -> [u8; 8] {
        u64::from(2 * at).to_be_bytes()
    }

    fn check(index: &IndexFile<8>, len: u32, wanted: u32) {
        let found = index.partition(|entry| u64::from_be_bytes(*entry) <= u64::from(wanted)).unwrap();
        let count = (wanted / 2 + 1).min(len);
        assert_eq!((found.count, found.last), (count, (count > 0).then(|| entry(count - 1))), "{wanted} of {len}");
        assert!(found.next.is_none_or(|next| next == entry(count) && count < len), "{wanted} of {len}");
    }

    #[test]
    fn lookups_find_their_place_in_any_order_and_over_any_number_of_pages() {
        let mut index = IndexFile::create(slot()).unwrap();
        let mut seed = 7u32;
        for len in 0..4000 {
            if len % 13 == 0 || len % 512 < 2 {
                check(&index, len, 2 * len);
                check(&index, len, 0);
            }
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if len > 0 {
                check(&index, len, (seed >> 8) % (2 * len + 3));
            }
            index.push(entry(len));
            if index.is_flush_due() {
                index.flush().unwrap();
            }
        }
        for wanted in 0..8000 {
            check(&index, 4000, wanted);
        }
        for wanted in (0..8000).rev().step_by(37) {
            check(&index, 4000, wanted);
        }
        for len in [3999, 3900, 2048, 1024, 1023, 513, 512, 1, 0] {
            index.truncate(len).unwrap();
            assert_eq!(index.len(), len);
            for wanted in (0..2 * len).step_by(101).chain([2 * len]) {
                check(&index, len, wanted);
            }
        }
    }

    #[test]
    fn reserved_zeros_and_torn_entries_are_no_entries() {
        for (len, zeros) in [(0, 5), (1, 0), (1, 1), (700, 3), (700, 1 << 20)] {
            let slot = slot();
            let mut index = IndexFile::<8>::create(slot.clone()).unwrap();
            (0..len).for_each(|at| index.push(entry(at + 1)));
            index.flush().unwrap();
            let bytes = u64::from(len) * 8 + zeros;
            slot.get().unwrap().truncate(bytes).unwrap();
            let mut index = IndexFile::<8>::open(slot.clone(), bytes, |entry| *entry == [0; 8]).unwrap();
            assert_eq!(index.len(), len);
            index.trim().unwrap();
            assert_eq!(slot.get().unwrap().len().unwrap(), u64::from(len) * 8);
        }
    }
}
