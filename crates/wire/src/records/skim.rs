//! A record in a hurry: what `validate` must know of it, read from two loads instead of byte by byte.

use super::record::{BAD_OFFSET, parse_headers, take_record};

/// What `validate` wants to know of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Skimmed {
    /// Where the next record begins.
    pub(super) end: usize,
    pub(super) timestamp_delta: i64,
    pub(super) has_key: bool,
}

/// Length, attributes and the first three fields fit in this, when none is unusually long.
const FRONT: usize = 16;

/// Steps over the record at `at`, whose offset delta shall be `index`. `None` means that the record is none of the usual
/// ones, or close to the end of `bytes`, or broken: read it with care. (Usual: a length below 8 KiB, deltas and value of
/// up to three varint bytes, a key of up to two.)
#[inline(always)]
pub(super) fn skim(bytes: &[u8], at: usize, index: i32) -> Option<Skimmed> {
    let front: &[u8; FRONT] = bytes.get(at..at + FRONT)?.try_into().ok()?;
    let (length, after_length) = match front {
        [first, ..] if *first < 0x80 => (usize::from(*first), 1),
        [first, second, ..] if *second < 0x80 => (usize::from(first & 0x7f) | usize::from(*second) << 7, 2),
        _ => return None,
    };
    let end = at + after_length + length / 2;
    // The byte between length and deltas is the attributes, which mean nothing.
    let mut word = match after_length {
        1 => load(front, 2),
        _ => load(front, 3),
    };
    let mut used = after_length + 1;
    let (timestamp_delta, size) = varint(&mut word)?;
    used += size;
    let (offset_delta, size) = varint(&mut word)?;
    used += size;
    let (key, size) = varint(&mut word)?;
    used += size;
    // Zigzag: an odd number is negative, 1 is -1, and an even one is twice the value.
    let key_size = if key == 1 { 0 } else { key as usize / 2 };
    let value_at = at + used + key_size;
    let mut word = u64::from(u32::from_le_bytes(bytes.get(value_at..value_at + 4)?.try_into().ok()?));
    let (value, size) = varint(&mut word)?;
    let value_size = if value == 1 { 0 } else { value as usize / 2 };
    let headers_at = value_at + size + value_size;

    let odd_length = length & 1 | (key != 1 && key & 1 != 0) as usize | (value != 1 && value & 1 != 0) as usize;
    if odd_length != 0 || offset_delta != (index as u64) << 1 {
        return None;
    }
    // When the last byte is the header count, and zero, everything before it has added up to the record's length.
    if headers_at + 1 != end || *bytes.get(headers_at)? != 0 {
        skim_headers(bytes.get(headers_at..end)?)?;
    }
    let timestamp_delta = (timestamp_delta >> 1) as i64 ^ -((timestamp_delta & 1) as i64);
    Some(Skimmed { end, timestamp_delta, has_key: key != 1 })
}

/// What [`skim`] does, for every record there may be.
#[inline(never)]
pub(super) fn look(bytes: &[u8], at: usize, index: i32) -> Result<Skimmed, &'static str> {
    let mut rest = bytes.get(at..).unwrap_or_default();
    let record = take_record(&mut rest)?;
    if record.offset_delta != index {
        // Kafka gives the offsets anew when the batch is compressed, and stores them as they are when it is not.
        return Err(BAD_OFFSET);
    }
    let end = bytes.len() - rest.len();
    Ok(Skimmed { end, timestamp_delta: record.timestamp_delta, has_key: record.key.is_some() })
}

#[inline(never)]
fn skim_headers(bytes: &[u8]) -> Option<()> {
    parse_headers(bytes).ok().map(|_| ())
}

#[inline(always)]
fn load(front: &[u8; FRONT], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&front[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Takes a varint of up to three bytes off the low end of `word`; with it, how many bytes it took.
#[inline(always)]
fn varint(word: &mut u64) -> Option<(u64, usize)> {
    let bytes = *word;
    if bytes & 0x80 == 0 {
        *word = bytes >> 8;
        Some((bytes & 0x7f, 1))
    } else if bytes & 0x80_00 == 0 {
        *word = bytes >> 16;
        Some((bytes & 0x7f | bytes >> 1 & 0x3f80, 2))
    } else if bytes & 0x80_00_00 == 0 {
        *word = bytes >> 24;
        Some((bytes & 0x7f | bytes >> 1 & 0x3f80 | bytes >> 2 & 0x1f_c000, 3))
    } else {
        None
    }
}
