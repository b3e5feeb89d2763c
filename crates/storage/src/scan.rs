//! Stepping over the batches of a segment file, by their headers alone or with their bytes.

use crate::disk::DiskFile;
use std::io;
use wire::records::{Batch, BatchHeader, HEADER_SIZE};

/// Why a scan ended before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    Io(io::Error),
    /// Bytes at `position` that are no batch which could follow the one before.
    Bad {
        position: u64,
        reason: String,
    },
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Io(error)
    }
}

/// Steps over the batches in `[position, end)` of a file. Every header is checked to be a possible successor of the one
/// before; [`Scan::next_whole`] also checks the CRC. Memory follows the bytes that are there, not what a header claims.
pub(crate) struct Scan<'a> {
    file: &'a dyn DiskFile,
    position: u64,
    end: u64,
    /// Offsets below this one are in earlier batches.
    expected: i64,
    /// Bytes to read at once while batches are small.
    chunk: usize,
    last_size: u64,
    buf: Vec<u8>,
    buf_at: u64,
}

impl<'a> Scan<'a> {
    pub fn new(file: &'a dyn DiskFile, position: u64, end: u64, expected: i64, chunk: usize) -> Scan<'a> {
        Scan { file, position, end, expected, chunk, last_size: 0, buf: Vec::new(), buf_at: 0 }
    }

    /// The next batch's position and header; `None` at the end.
    pub fn next(&mut self) -> Result<Option<(u64, BatchHeader<'_>)>, Stop> {
        let Some((at, size)) = self.step(false)? else { return Ok(None) };
        let from = (at - self.buf_at) as usize;
        self.last_size = size;
        match BatchHeader::parse(&self.buf[from..]) {
            Ok(header) => Ok(Some((at, header))),
            Err(error) => Err(Stop::Bad { position: at, reason: error.to_string() }),
        }
    }

    /// The next batch's position and bytes, CRC checked; `None` at the end.
    pub fn next_whole(&mut self) -> Result<Option<(u64, Batch<'_>)>, Stop> {
        let Some((at, size)) = self.step(true)? else { return Ok(None) };
        let from = (at - self.buf_at) as usize;
        let checked = Batch::parse(&self.buf[from..from + size as usize]).and_then(|b| b.check_crc().map(|()| b));
        match checked {
            Ok(batch) => Ok(Some((at, batch))),
            Err(error) => {
                self.position = at;
                Err(Stop::Bad { position: at, reason: error.to_string() })
            }
        }
    }

    /// Checks the next header, reads what is wanted of the batch, and steps over it: its position and size.
    fn step(&mut self, whole: bool) -> Result<Option<(u64, u64)>, Stop> {
        let at = self.position;
        if at >= self.end {
            return Ok(None);
        }
        let bad = |reason: String| Err(Stop::Bad { position: at, reason });
        self.fill(HEADER_SIZE, whole)?;
        let header = match BatchHeader::parse(&self.buf[(at - self.buf_at) as usize..]) {
            Ok(header) => header,
            Err(error) => return bad(error.to_string()),
        };
        let (base, delta, size, next) =
            (header.base_offset(), header.last_offset_delta(), header.size() as u64, header.next_offset());
        if base < self.expected {
            return bad(format!("base offset {base} where at least {} must follow", self.expected));
        }
        if delta < 0 || next <= base {
            return bad(format!("last offset delta {delta} after base offset {base}"));
        }
        if size > self.end - at {
            return bad(format!("a batch of {size} bytes where {} are left", self.end - at));
        }
        if whole {
            self.fill(size as usize, true)?;
        }
        self.expected = next;
        self.position = at + size;
        Ok(Some((at, size)))
    }

    /// Sees to it that `need` bytes at the position are in the buffer, or as many as the file has.
    fn fill(&mut self, need: usize, whole: bool) -> io::Result<()> {
        let have = (self.buf_at + self.buf.len() as u64).saturating_sub(self.position);
        let left = self.end - self.position;
        if self.position >= self.buf_at && have >= (need as u64).min(left) {
            return Ok(());
        }
        // Headers far apart: reading what lies between them would be a waste.
        let want = if whole || self.last_size < self.chunk as u64 { need.max(self.chunk) } else { need };
        let want = (want as u64).min(left) as usize;
        self.buf.resize(want, 0);
        let read = self.file.read_at(&mut self.buf, self.position)?;
        self.buf.truncate(read);
        self.buf_at = self.position;
        Ok(())
    }
}
