//! `.snapshot` files: the producers of a log up to the offset that names the file.
//!
//! Version 1, big-endian: version i16, CRC-32C u32 of what follows it, count i32, and 46 bytes a producer. Only the last
//! batch of a producer is kept, as Kafka does.

use crate::disk::{Access, Disk};
use crate::producers::{Batches, Producer, Producers, Remembered};
use std::io::{self, IoSlice};
use std::path::Path;
use wire::records::NO_SEQUENCE;

const VERSION: i16 = 1;
/// Version and CRC.
const BODY_AT: usize = 6;
const ENTRY_SIZE: usize = 46;
const BYTES_MAX: u64 = 1 << 30;

/// Bytes of a snapshot of so many producers.
pub(crate) fn size(producers: usize) -> usize {
    BODY_AT + 4 + producers * ENTRY_SIZE
}

pub(crate) fn encode(producers: &Producers) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size(producers.len()));
    bytes.extend(VERSION.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend((producers.len() as i32).to_be_bytes());
    for (producer_id, producer) in producers.iter() {
        let last = producer.batches.last();
        bytes.extend(producer_id.to_be_bytes());
        bytes.extend(producer.epoch.to_be_bytes());
        bytes.extend(last.map_or(NO_SEQUENCE, |batch| batch.last_sequence).to_be_bytes());
        bytes.extend(last.map_or(-1, |batch| batch.last_offset).to_be_bytes());
        bytes.extend(last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
        bytes.extend(producer.last_timestamp.to_be_bytes());
        bytes.extend(producer.coordinator_epoch.to_be_bytes());
        bytes.extend(producer.txn_first_offset.unwrap_or(-1).to_be_bytes());
    }
    let crc = crc32c::crc32c(&bytes[BODY_AT..]);
    bytes[2..BODY_AT].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// The producers in a snapshot; `None` when the bytes are not a whole, undamaged snapshot of version 1.
pub(crate) fn decode(bytes: &[u8]) -> Option<Producers> {
    let (head, body) = bytes.split_at_checked(BODY_AT)?;
    let [version @ .., a, b, c, d] = head else { return None };
    if *version != VERSION.to_be_bytes() || u32::from_be_bytes([*a, *b, *c, *d]) != crc32c::crc32c(body) {
        return None;
    }
    let (count, entries) = body.split_first_chunk::<4>()?;
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    if count.checked_mul(ENTRY_SIZE)? != entries.len() {
        return None;
    }
    let mut producers = Producers::default();
    for entry in entries.chunks_exact(ENTRY_SIZE) {
        let i64_at = |at: usize| entry[at..].first_chunk().copied().map_or(-1, i64::from_be_bytes);
        let i32_at = |at: usize| entry[at..].first_chunk().copied().map_or(-1, i32::from_be_bytes);
        let i16_at = |at: usize| entry[at..].first_chunk().copied().map_or(-1, i16::from_be_bytes);
        let (last_offset, timestamp, txn_first_offset) = (i64_at(14), i64_at(26), i64_at(38));
        let mut batches = Batches::default();
        if last_offset >= 0 {
            let (last_sequence, offset_delta) = (i32_at(10), i32_at(22));
            batches.push(Remembered { last_sequence, last_offset, offset_delta, timestamp });
        }
        let producer = Producer {
            epoch: i16_at(8),
            coordinator_epoch: i32_at(34),
            last_timestamp: timestamp,
            seen_ms: i64::MIN,
            txn_first_offset: (txn_first_offset >= 0).then_some(txn_first_offset),
            batches,
        };
        producers.restore(i64_at(0), producer);
    }
    Some(producers)
}

/// Reads a snapshot; `None` when it is damaged.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Producers>> {
    Ok(decode(&disk.read(path, BYTES_MAX)?))
}

/// Writes a snapshot. Torn writes are found by the CRC, so there is no detour through a temporary file.
pub(crate) fn write(disk: &dyn Disk, path: &Path, producers: &Producers) -> io::Result<()> {
    let file = disk.open(path, Access::Create)?;
    let bytes = encode(producers);
    file.truncate(0)?;
    file.write_at(&mut [IoSlice::new(&bytes)], 0)
}
