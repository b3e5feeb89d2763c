//! The records of a batch.
//!
//! ```text
//! length varint | attributes i8 | timestamp delta varlong | offset delta varint
//! | key length varint, key | value length varint, value
//! | header count varint, { key length varint, key, value length varint, value }
//! ```
//! A length of -1 is null (not for a header's key). The attributes have no meaning yet.

use std::borrow::Cow;

use super::batch::Batch;
use super::codecs::{self, Scratch};
use super::compression::Codec;
use super::error::BatchError;
use super::varint::{take_i32, take_i64};

/// Bytes that [`Batch::records`] decompresses at most: a batch in a log or an answer was accepted by a broker, so this
/// only keeps memory from running away.
pub const DECOMPRESSED_MAX: usize = 1 << 30;

/// One record, borrowed from the batch or from its decompressed payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub offset: i64,
    /// In ms: the producer's, or the broker's if the batch is of type LogAppendTime. -1 if there is none.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: RecordHeaders<'a>,
}

/// One header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader<'a> {
    /// UTF-8 as clients write it; nothing enforces that.
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

impl<'a> RecordHeader<'a> {
    /// The key as text, with replacement characters where it is not UTF-8.
    pub fn key_str(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.key)
    }
}

/// The headers of a record, still encoded. They were checked when the record was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RecordHeaders<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> RecordHeaders<'a> {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = RecordHeader<'a>> + use<'a> {
        let mut rest = self.bytes;
        (0..self.count).map_while(move |_| {
            let key = take_bytes(&mut rest)?;
            let value = take_nullable(&mut rest)?;
            Some(RecordHeader { key, value })
        })
    }
}

#[inline(always)]
fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_i32(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

#[inline(always)]
fn take_nullable<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match take_i32(rest)? {
        -1 => Some(None),
        length => {
            let (bytes, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            *rest = after;
            Some(Some(bytes))
        }
    }
}

/// A record's fields as they are stored.
#[derive(Clone, Copy)]
pub(super) struct RawRecord<'a> {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: RecordHeaders<'a>,
}

/// Why a record is no record.
pub(super) const CUT_OFF: &str = "the batch ends within it";
pub(super) const BAD_LENGTH: &str = "its length is invalid";
pub(super) const BAD_FIELDS: &str = "it has an invalid record structure";
pub(super) const BAD_OFFSET: &str = "its offset delta is not its place in the batch";
pub(super) const BAD_HEADERS: &str = "it has invalid headers";

/// Reads the fields of a record from its `body`, which is what follows its length, all of it.
#[inline(always)]
pub(super) fn parse_body(body: &[u8]) -> Result<RawRecord<'_>, &'static str> {
    let (_attributes, mut rest) = body.split_first().ok_or(BAD_FIELDS)?;
    let timestamp_delta = take_i64(&mut rest).ok_or(BAD_FIELDS)?;
    let offset_delta = take_i32(&mut rest).ok_or(BAD_FIELDS)?;
    let key = take_nullable(&mut rest).ok_or(BAD_FIELDS)?;
    let value = take_nullable(&mut rest).ok_or(BAD_FIELDS)?;
    let headers = if rest == [0] { RecordHeaders::default() } else { parse_headers(rest)? };
    Ok(RawRecord { timestamp_delta, offset_delta, key, value, headers })
}

/// Reads what follows the value: the number of headers, and so many headers, and nothing else.
#[inline(never)]
pub(super) fn parse_headers(mut bytes: &[u8]) -> Result<RecordHeaders<'_>, &'static str> {
    let count = take_i32(&mut bytes).ok_or(BAD_HEADERS)?;
    let count = usize::try_from(count).map_err(|_| BAD_HEADERS)?;
    let mut rest = bytes;
    // Each header takes two bytes at least, so a false count ends this early.
    for _ in 0..count {
        take_bytes(&mut rest).ok_or(BAD_HEADERS)?;
        take_nullable(&mut rest).ok_or(BAD_HEADERS)?;
    }
    if rest.is_empty() { Ok(RecordHeaders { count, bytes }) } else { Err(BAD_LENGTH) }
}

/// Bytes that the length of a record takes at most.
pub(super) const LENGTH_SIZE_MAX: usize = 5;

/// Takes the next record off the front of `rest`. [`CUT_OFF`] says that more bytes may make it whole.
#[inline(always)]
pub(super) fn take_record<'a>(rest: &mut &'a [u8]) -> Result<RawRecord<'a>, &'static str> {
    let length = take_i32(rest).ok_or(if rest.len() < LENGTH_SIZE_MAX { CUT_OFF } else { BAD_LENGTH })?;
    let length = usize::try_from(length).map_err(|_| BAD_LENGTH)?;
    let (body, after) = rest.split_at_checked(length).ok_or(CUT_OFF)?;
    let record = parse_body(body)?;
    *rest = after;
    Ok(record)
}

/// The records of one batch, decompressed if they were compressed. Iterate over `&records`.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    batch: Batch<'a>,
    pub(super) bytes: Cow<'a, [u8]>,
}

impl<'a> Batch<'a> {
    /// The batch's records. Borrows them if they are not compressed; otherwise decompresses them, at most
    /// [`DECOMPRESSED_MAX`] bytes. The records themselves are checked as they are iterated.
    pub fn records(&self) -> Result<Records<'a>, BatchError> {
        self.records_within(DECOMPRESSED_MAX)
    }

    /// As [`Batch::records`], with a limit of its own in bytes.
    pub fn records_within(&self, decompressed_max: usize) -> Result<Records<'a>, BatchError> {
        if self.record_count() < 0 {
            return Err(BatchError::Count(self.record_count()));
        }
        let bytes = match self.codec()? {
            Codec::None => Cow::Borrowed(self.payload()),
            // A batch that compaction emptied has no compressed stream either.
            _ if self.is_empty() && self.payload().is_empty() => Cow::Borrowed(self.payload()),
            codec => Cow::Owned(codecs::decompress(codec, self.payload(), decompressed_max)?),
        };
        Ok(Records { batch: *self, bytes })
    }

    /// As [`Batch::records_within`], but decompresses into `scratch`, which keeps the memory for the next batch.
    pub fn records_in<'s>(&self, scratch: &'s mut Scratch, decompressed_max: usize) -> Result<Records<'s>, BatchError>
    where
        'a: 's,
    {
        if self.record_count() < 0 {
            return Err(BatchError::Count(self.record_count()));
        }
        let bytes = match self.codec()? {
            Codec::None => self.payload(),
            _ if self.is_empty() && self.payload().is_empty() => self.payload(),
            codec => scratch.decompress(codec, self.payload(), decompressed_max)?,
        };
        Ok(Records { batch: *self, bytes: Cow::Borrowed(bytes) })
    }
}

impl Records<'_> {
    /// How many records the header promises.
    pub fn len(&self) -> usize {
        self.batch.record_count() as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all records, not compressed.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Gives each record in turn, or one error that ends it. Bytes left after the last record are an error too.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter { batch: self.batch, rest: &self.bytes, index: 0 }
    }
}

impl<'r> IntoIterator for &'r Records<'_> {
    type Item = Result<Record<'r>, BatchError>;
    type IntoIter = RecordIter<'r>;

    fn into_iter(self) -> RecordIter<'r> {
        self.iter()
    }
}

/// See [`Records::iter`].
#[derive(Clone, Debug)]
pub struct RecordIter<'r> {
    batch: Batch<'r>,
    rest: &'r [u8],
    index: i32,
}

impl<'r> Iterator for RecordIter<'r> {
    type Item = Result<Record<'r>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.batch.record_count() {
            return match std::mem::take(&mut self.rest) {
                [] => None,
                _ => Some(Err(BatchError::Trailing)),
            };
        }
        let index = self.index;
        match take_record(&mut self.rest) {
            Ok(raw) => {
                self.index += 1;
                Some(Ok(Record {
                    offset: self.batch.base_offset().wrapping_add(i64::from(raw.offset_delta)),
                    timestamp: self.batch.timestamp_of(raw.timestamp_delta),
                    key: raw.key,
                    value: raw.value,
                    headers: raw.headers,
                }))
            }
            Err(reason) => {
                self.index = self.batch.record_count();
                self.rest = &[];
                Some(Err(BatchError::Record { index, reason }))
            }
        }
    }
}
