//! What log compaction does to a batch: its keys are looked at, and some of its records go.
//!
//! Records that stay keep their bytes, so offset and timestamp deltas count from where they did; only a delete horizon
//! (KIP-534), which takes the place of the base timestamp, makes the timestamp deltas new.

use super::batch::{
    ATTRIBUTES, BASE_TIMESTAMP, Batch, CODEC_MASK, DELETE_HORIZON_BIT, HEADER_SIZE, LENGTH, LOG_OVERHEAD,
    MAX_TIMESTAMP, RECORD_COUNT,
};
use super::builder::{put, write_crc};
use super::codecs::{Compressor, Scratch};
use super::compression::Codec;
use super::error::BatchError;
use super::record::{DECOMPRESSED_MAX, take_record};
use super::varint::{self, take_i32, take_i64};
use super::{NO_TIMESTAMP, TimestampType};

/// Memory for working batches over, kept from one to the next.
#[derive(Default)]
pub struct Compaction {
    scratch: Scratch,
    compressor: Compressor,
    kept: Vec<u8>,
    dated: Vec<u8>,
}

/// What [`Compaction::filter`] left of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// All of it, as it is: nothing was written.
    Whole,
    /// A batch with so many records was written, whose largest timestamp is this.
    Part { records: i32, max_timestamp: i64 },
    /// No record: nothing was written.
    Nothing,
}

impl Compaction {
    pub fn new() -> Compaction {
        Compaction::default()
    }

    /// Shows offset and key of each record that has one to `see`.
    pub fn keys(&mut self, batch: &Batch<'_>, mut see: impl FnMut(i64, &[u8])) -> Result<(), BatchError> {
        let records = batch.records_in(&mut self.scratch, DECOMPRESSED_MAX)?;
        let mut rest = &*records.bytes;
        for index in 0..batch.record_count() {
            let record = take_record(&mut rest).map_err(|reason| BatchError::Record { index, reason })?;
            if let Some(key) = record.key {
                see(batch.base_offset() + i64::from(record.offset_delta), key);
            }
        }
        Ok(())
    }

    /// Appends what is left of `batch` to `out`: the records of which `keep` (offset, key, whether there is a value) says
    /// so. When tombstones are among them, or with `is_marker`, and the batch has no delete horizon yet, `horizon_ms`
    /// becomes it.
    pub fn filter(
        &mut self,
        batch: &Batch<'_>,
        horizon_ms: i64,
        is_marker: bool,
        mut keep: impl FnMut(i64, Option<&[u8]>, bool) -> bool,
        out: &mut Vec<u8>,
    ) -> Result<Left, BatchError> {
        let codec = batch.codec()?;
        let records = batch.records_in(&mut self.scratch, DECOMPRESSED_MAX)?;
        let bytes = &*records.bytes;
        self.kept.clear();
        let (mut rest, mut run) = (bytes, 0);
        let (mut count, mut has_tombstones, mut max_delta) = (0, false, i64::MIN);
        for index in 0..batch.record_count() {
            let from = bytes.len() - rest.len();
            let record = take_record(&mut rest).map_err(|reason| BatchError::Record { index, reason })?;
            let offset = batch.base_offset() + i64::from(record.offset_delta);
            if keep(offset, record.key, record.value.is_some()) {
                count += 1;
                has_tombstones |= record.value.is_none();
                max_delta = max_delta.max(record.timestamp_delta);
            } else {
                self.kept.extend_from_slice(&bytes[run..from]);
                run = bytes.len() - rest.len();
            }
        }
        if !rest.is_empty() {
            return Err(BatchError::Trailing);
        }
        if count == 0 {
            return Ok(Left::Nothing);
        }
        let is_whole = count == batch.record_count();
        let horizon = ((has_tombstones || is_marker) && !batch.has_delete_horizon()).then_some(horizon_ms);
        if is_whole && horizon.is_none() {
            return Ok(Left::Whole);
        }
        self.kept.extend_from_slice(&bytes[run..]);
        let payload = match horizon {
            None => &self.kept,
            Some(horizon) => {
                self.dated.clear();
                rebase(&self.kept, batch.base_timestamp().wrapping_sub(horizon), &mut self.dated);
                &self.dated
            }
        };
        let max_timestamp = match batch.timestamp_type() {
            TimestampType::LogAppendTime => batch.max_timestamp(),
            TimestampType::CreateTime => batch.base_timestamp().wrapping_add(max_delta),
        };
        let start = out.len();
        out.extend_from_slice(batch.header_bytes());
        match codec {
            Codec::None => out.extend_from_slice(payload),
            codec => self.compressor.compress(codec, None, payload, out),
        }
        let written = &mut out[start..];
        if let Some(horizon) = horizon {
            put(written, ATTRIBUTES, (batch.attributes() | DELETE_HORIZON_BIT).to_be_bytes());
            put(written, BASE_TIMESTAMP, horizon.to_be_bytes());
        }
        let length = i32::try_from(written.len() - LOG_OVERHEAD);
        let length = length.map_err(|_| BatchError::TooLarge { limit: i32::MAX as usize })?;
        put(written, LENGTH, length.to_be_bytes());
        put(written, MAX_TIMESTAMP, max_timestamp.to_be_bytes());
        put(written, RECORD_COUNT, count.to_be_bytes());
        write_crc(written);
        Ok(Left::Part { records: count, max_timestamp })
    }

    /// Appends `batch` without its records to `out`: it stays for its offsets and its producer's last sequence number.
    pub fn empty(batch: &Batch<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(batch.header_bytes());
        let written = &mut out[start..];
        put(written, LENGTH, ((HEADER_SIZE - LOG_OVERHEAD) as i32).to_be_bytes());
        put(written, ATTRIBUTES, (batch.attributes() & !CODEC_MASK & !DELETE_HORIZON_BIT).to_be_bytes());
        put(written, BASE_TIMESTAMP, NO_TIMESTAMP.to_be_bytes());
        put(written, RECORD_COUNT, 0i32.to_be_bytes());
        write_crc(written);
    }
}

/// Copies records that were read before, adding `shift` to their timestamp deltas.
fn rebase(mut records: &[u8], shift: i64, out: &mut Vec<u8>) {
    while let Some(length) = take_i32(&mut records) {
        let (body, after) = records.split_at((length.max(0) as usize).min(records.len()));
        records = after;
        let Some((attributes, mut rest)) = body.split_first() else { break };
        let Some(delta) = take_i64(&mut rest) else { break };
        let delta = delta.wrapping_add(shift);
        varint::put(out, (1 + varint::size(delta) + rest.len()) as i64);
        out.push(*attributes);
        varint::put(out, delta);
        out.extend_from_slice(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BatchBuilder, Record};
    use super::*;

    fn sample(codec: Codec) -> Vec<u8> {
        let mut builder = BatchBuilder::new(codec).producer(7, 2, 40);
        builder.append(1000, Some(b"a"), Some(b"one"), &[("h", Some(b"x"))]);
        builder.append(900, Some(b"b"), None, &[]);
        builder.append(1200, Some(b"c"), Some(&[b'v'; 300]), &[]);
        builder.append(1100, None, Some(b"no key"), &[]);
        builder.build(50, 3)
    }

    /// Offset, timestamp, key, value, and the number of headers.
    type Owned = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, usize);

    fn records(bytes: &[u8]) -> Vec<Owned> {
        let batch = Batch::parse(bytes).unwrap();
        assert!(batch.is_crc_valid() && batch.size() == bytes.len());
        let owned = |r: Record<'_>| {
            (r.offset, r.timestamp, r.key.map(<[u8]>::to_vec), r.value.map(<[u8]>::to_vec), r.headers.len())
        };
        batch.records().unwrap().iter().map(|r| owned(r.unwrap())).collect()
    }

    #[test]
    fn what_stays_is_as_it_was_and_what_goes_is_gone() {
        for codec in Codec::ALL {
            let bytes = sample(codec);
            let (batch, before) = (Batch::parse(&bytes).unwrap(), records(&bytes));
            let mut compaction = Compaction::new();
            for kept in 0..16u32 {
                let mut out = Vec::new();
                let keep = |offset: i64, _: Option<&[u8]>, _: bool| kept & (1 << (offset - 50)) != 0;
                let left = compaction.filter(&batch, 5000, false, keep, &mut out).unwrap();
                let expected: Vec<_> = before.iter().filter(|r| keep(r.0, None, true)).cloned().collect();
                if expected.is_empty() {
                    assert_eq!((left, out.len()), (Left::Nothing, 0));
                    continue;
                }
                assert_eq!(records(&out), expected, "{codec} {kept:b}");
                let max_timestamp = expected.iter().map(|r| r.1).max().unwrap();
                assert_eq!(left, Left::Part { records: expected.len() as i32, max_timestamp });
                let after = Batch::parse(&out).unwrap();
                let same = |b: &Batch<'_>| (b.base_offset(), b.last_offset(), b.leader_epoch(), b.last_sequence());
                assert_eq!(same(&after), same(&batch));
                assert_eq!((after.codec(), after.max_timestamp()), (batch.codec(), max_timestamp));
                // Only a tombstone among them needs the horizon.
                assert_eq!(after.delete_horizon_ms(), (kept & 2 != 0).then_some(5000));
                // A horizon stays once it is there, and nothing is written for nothing.
                let again = compaction.filter(&after, 9000, true, |_, _, _| true, &mut Vec::new()).unwrap();
                assert_eq!(again == Left::Whole, kept & 2 != 0);
            }
            let mut out = Vec::new();
            Compaction::empty(&batch, &mut out);
            let empty = Batch::parse(&out).unwrap();
            assert!(empty.is_crc_valid() && empty.is_empty() && out.len() == HEADER_SIZE);
            assert_eq!((empty.next_offset(), empty.last_sequence(), empty.max_timestamp()), (54, 43, 1200));
            let mut keys = Vec::new();
            compaction.keys(&batch, |offset, key| keys.push((offset, key.to_vec()))).unwrap();
            assert_eq!(keys, [(50, b"a".to_vec()), (51, b"b".to_vec()), (52, b"c".to_vec())]);
        }
    }

    #[test]
    fn broken_records_are_an_error_and_not_a_shorter_batch() {
        let mut bytes = sample(Codec::None);
        put(&mut bytes, RECORD_COUNT, 3i32.to_be_bytes());
        let filter = |bytes: &[u8]| {
            let batch = Batch::parse(bytes).unwrap();
            Compaction::new().filter(&batch, 0, false, |_, _, _| true, &mut Vec::new())
        };
        assert_eq!(filter(&bytes), Err(BatchError::Trailing));
        put(&mut bytes, RECORD_COUNT, 5i32.to_be_bytes());
        assert!(matches!(filter(&bytes), Err(BatchError::Record { index: 4, .. })));
    }
}
