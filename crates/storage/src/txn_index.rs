//! `.txnindex`: the aborted transactions whose markers are in a segment. The file exists only when there are any.
//!
//! An entry is 34 bytes: version (0), producer id, first and last offset of the transaction, and the last stable offset
//! after its marker. Entries ascend by last offset.

use crate::disk::{Access, Disk};
use std::io::{self, IoSlice};
use std::path::Path;

const ENTRY_SIZE: usize = 34;
/// A segment of 2 GiB holds fewer markers than this.
const BYTES_MAX: u64 = 2 << 30;

/// A transaction that was aborted: a `read_committed` consumer drops the producer's records from `first_offset` up to
/// the marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTxn {
    pub producer_id: i64,
    pub first_offset: i64,
    /// Offset of the marker.
    pub last_offset: i64,
    pub last_stable_offset: i64,
}

impl AbortedTxn {
    fn encode(&self) -> [u8; ENTRY_SIZE] {
        let mut entry = [0; ENTRY_SIZE];
        let fields = [self.producer_id, self.first_offset, self.last_offset, self.last_stable_offset];
        for (part, field) in entry[2..].chunks_exact_mut(8).zip(fields) {
            part.copy_from_slice(&field.to_be_bytes());
        }
        entry
    }

    fn decode(entry: &[u8]) -> AbortedTxn {
        let field = |at: usize| entry[at..].first_chunk().copied().map_or(0, i64::from_be_bytes);
        AbortedTxn {
            producer_id: field(2),
            first_offset: field(10),
            last_offset: field(18),
            last_stable_offset: field(26),
        }
    }
}

/// All entries of the file; none when there is no file. A torn last entry is left out.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<AbortedTxn>> {
    match disk.read(path, BYTES_MAX) {
        Ok(bytes) => Ok(bytes.chunks_exact(ENTRY_SIZE).map(AbortedTxn::decode).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

pub(crate) fn append(disk: &dyn Disk, path: &Path, txn: &AbortedTxn) -> io::Result<()> {
    let file = disk.open(path, Access::Create)?;
    let end = file.len()? / ENTRY_SIZE as u64 * ENTRY_SIZE as u64;
    file.write_at(&mut [IoSlice::new(&txn.encode())], end)
}

/// Drops the transactions whose markers are at `offset` or later, and what does not follow the entry before.
pub(crate) fn truncate_to(disk: &dyn Disk, path: &Path, offset: i64) -> io::Result<()> {
    let entries = read(disk, path)?;
    let mut previous = -1;
    let follows = |txn: &&AbortedTxn| {
        let follows = txn.last_offset > previous && txn.last_offset < offset;
        previous = txn.last_offset;
        follows
    };
    let keep = entries.iter().take_while(follows).count();
    if keep == entries.len() {
        return Ok(());
    }
    disk.open(path, Access::Write)?.truncate((keep * ENTRY_SIZE) as u64)
}
