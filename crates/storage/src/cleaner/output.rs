//! The segment that a cleaning writes: `.cleaned` files beside the ones that it is made of.

use crate::config::LogConfig;
use crate::disk::{Access, Context, DiskFile, Fault};
use crate::fds::Folder;
use crate::offset_index::OffsetIndex;
use crate::segment::{LOG_SUFFIX, OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX};
use crate::time_index::TimeIndex;
use crate::txn_index::{self, AbortedTxn};
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

pub(crate) const CLEANED_SUFFIX: &str = ".cleaned";

/// The suffixes of a segment's files, and of the same ones in the making.
pub(crate) const FILES: [(&str, &str); 4] = [
    (LOG_SUFFIX, ".log.cleaned"),
    (OFFSET_INDEX_SUFFIX, ".index.cleaned"),
    (TIME_INDEX_SUFFIX, ".timeindex.cleaned"),
    (TXN_INDEX_SUFFIX, ".txnindex.cleaned"),
];

/// See the module. Dropped without [`Output::finish`] it leaves files that the next opening removes.
pub(super) struct Output {
    folder: Folder,
    base_offset: i64,
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    /// Whole batches that are not written yet.
    pub pending: Vec<u8>,
    written: u64,
    offsets: OffsetIndex,
    times: TimeIndex,
    max_timestamp: (i64, i64),
    bytes_since_entry: u32,
    has_txns: bool,
}

/// A new segment whose files are on the disk.
#[derive(Debug)]
pub(crate) struct Finished {
    pub base_offset: i64,
    pub size: u32,
    pub offset_index_len: u64,
    pub time_index_len: u64,
    pub has_txns: bool,
}

impl Output {
    pub fn create(folder: &Folder, base_offset: i64) -> Result<Output, Fault> {
        let path = folder.path(base_offset, FILES[0].1);
        remove(folder, base_offset)?;
        let open = || -> io::Result<_> {
            let file = folder.disk.open(&path, Access::Create)?;
            let offsets = OffsetIndex::create(base_offset, folder.slot(base_offset, FILES[1].1))?;
            Ok((file, offsets, TimeIndex::create(base_offset, folder.slot(base_offset, FILES[2].1))?))
        };
        let (file, offsets, times) = open().context("create", &path)?;
        Ok(Output {
            folder: folder.clone(),
            base_offset,
            file,
            path,
            pending: Vec::new(),
            written: 0,
            offsets,
            times,
            max_timestamp: (-1, base_offset),
            bytes_since_entry: 0,
            has_txns: false,
        })
    }

    /// Takes the batch into account that was put at the end of `pending`.
    pub fn note(&mut self, size: usize, last_offset: i64, max_timestamp: i64, config: &LogConfig) -> Result<(), Fault> {
        if max_timestamp > self.max_timestamp.0 {
            self.max_timestamp = (max_timestamp, last_offset);
        }
        let position = self.written + (self.pending.len() - size) as u64;
        let end = u32::try_from(position + size as u64).map_err(|_| {
            let error = io::Error::new(io::ErrorKind::FileTooLarge, "a cleaned segment above 4 GiB");
            Fault::new("write", &self.path, &error)
        })?;
        if self.bytes_since_entry > config.index_interval_bytes {
            self.times.push(self.max_timestamp.0, self.max_timestamp.1);
            self.offsets.push(last_offset, end - size as u32);
            if self.offsets.file().is_flush_due() {
                let flushed = self.times.file().flush().and_then(|()| self.offsets.file().flush());
                flushed.context("write the indexes of", &self.path)?;
            }
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry = self.bytes_since_entry.saturating_add(size as u32);
        Ok(())
    }

    /// Writes what is pending; says how many bytes.
    pub fn write(&mut self) -> Result<u64, Fault> {
        let len = self.pending.len() as u64;
        if len > 0 {
            self.file.write_at(&mut [IoSlice::new(&self.pending)], self.written).context("write", &self.path)?;
            // A hint: the sync at the end shall not find everything still to be done.
            let _ = self.file.start_write_back(self.written, len);
            self.written += len;
            self.pending.clear();
        }
        Ok(len)
    }

    pub fn add_txn(&mut self, txn: &AbortedTxn) -> Result<(), Fault> {
        self.has_txns = true;
        let path = self.folder.path(self.base_offset, FILES[3].1);
        txn_index::append(&*self.folder.disk, &path, txn).context("append to", &path)
    }

    /// Brings everything to the disk.
    pub fn finish(mut self) -> Result<Finished, Fault> {
        self.write()?;
        self.times.push(self.max_timestamp.0, self.max_timestamp.1);
        let trimmed = self.times.file().trim().and_then(|()| self.offsets.file().trim());
        trimmed.context("finish the indexes of", &self.path)?;
        self.file.sync().context("sync", &self.path)?;
        for (_, suffix) in &FILES[1..] {
            if *suffix == FILES[3].1 && !self.has_txns {
                continue;
            }
            let path = self.folder.path(self.base_offset, suffix);
            self.folder.disk.open(&path, Access::Write).and_then(|file| file.sync()).context("sync", &path)?;
        }
        Ok(Finished {
            base_offset: self.base_offset,
            size: self.written as u32,
            offset_index_len: u64::from(self.offsets.len()) * crate::offset_index::ENTRY_SIZE as u64,
            time_index_len: u64::from(self.times.len()) * crate::time_index::ENTRY_SIZE as u64,
            has_txns: self.has_txns,
        })
    }
}

/// Removes the files of a segment in the making.
pub(crate) fn remove(folder: &Folder, base_offset: i64) -> Result<(), Fault> {
    for (_, suffix) in FILES {
        let path = folder.path(base_offset, suffix);
        match folder.disk.remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.context("remove", &path)?,
        }
    }
    Ok(())
}
