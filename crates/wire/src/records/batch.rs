//! One batch as a view over its bytes, and how batches follow each other.
//!
//! ```text
//!  0 base offset   i64    21 attributes       i16    43 producer id     i64
//!  8 length        i32    23 last offset delta i32   51 producer epoch  i16
//! 12 leader epoch  i32    27 base timestamp   i64    53 base sequence   i32
//! 16 magic         i8     35 max timestamp    i64    57 record count    i32
//! 17 crc           u32    (the crc covers everything from 21 to the end)
//! ```

use std::ops::Deref;

use super::NO_SEQUENCE;
use super::compression::{Codec, TimestampType};
use super::error::BatchError;

/// Bytes before the first record of a batch.
pub const HEADER_SIZE: usize = 61;
/// Bytes that the length field of a batch does not count: base offset and the length itself.
pub const LOG_OVERHEAD: usize = 12;
/// The format version that is stored and served.
pub const MAGIC: i8 = 2;

pub(super) const LENGTH: usize = 8;
pub(super) const LEADER_EPOCH: usize = 12;
pub(super) const MAGIC_AT: usize = 16;
pub(super) const CRC: usize = 17;
pub(super) const ATTRIBUTES: usize = 21;
pub(super) const LAST_OFFSET_DELTA: usize = 23;
pub(super) const BASE_TIMESTAMP: usize = 27;
pub(super) const MAX_TIMESTAMP: usize = 35;
pub(super) const PRODUCER_ID: usize = 43;
pub(super) const PRODUCER_EPOCH: usize = 51;
pub(super) const BASE_SEQUENCE: usize = 53;
pub(super) const RECORD_COUNT: usize = 57;

pub(super) const CODEC_MASK: i16 = 0x07;
pub(super) const LOG_APPEND_TIME_BIT: i16 = 0x08;
pub(super) const TRANSACTIONAL_BIT: i16 = 0x10;
pub(super) const CONTROL_BIT: i16 = 0x20;
pub(super) const DELETE_HORIZON_BIT: i16 = 0x40;

/// The 61 bytes before a batch's records, for those who have not read (or do not need) the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader<'a>(&'a [u8; HEADER_SIZE]);

impl<'a> BatchHeader<'a> {
    /// Looks at the front of `bytes`. Checks magic and length; nothing else, so the CRC may be wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<BatchHeader<'a>, BatchError> {
        // A message set of an older format may be shorter than our header: it shall be called by its name.
        if let Some(&magic) = bytes.get(MAGIC_AT)
            && magic as i8 != MAGIC
        {
            return Err(BatchError::Magic(magic as i8));
        }
        let Some(header) = bytes.first_chunk::<HEADER_SIZE>() else {
            return Err(BatchError::Truncated { needed: HEADER_SIZE, available: bytes.len() });
        };
        let header = BatchHeader(header);
        if header.length() < (HEADER_SIZE - LOG_OVERHEAD) as i32 {
            return Err(BatchError::Length(header.length()));
        }
        Ok(header)
    }

    fn field<const SIZE: usize>(self, at: usize) -> [u8; SIZE] {
        let mut field = [0; SIZE];
        field.copy_from_slice(&self.0[at..at + SIZE]);
        field
    }

    /// The header's own bytes.
    pub fn header_bytes(self) -> &'a [u8; HEADER_SIZE] {
        self.0
    }

    /// Offset of the first record as the batch was appended; compaction may have removed that record.
    pub fn base_offset(self) -> i64 {
        i64::from_be_bytes(self.field(0))
    }

    /// The length field as it is: bytes after it.
    pub fn length(self) -> i32 {
        i32::from_be_bytes(self.field(LENGTH))
    }

    /// Bytes of the whole batch, header included. At least [`HEADER_SIZE`].
    pub fn size(self) -> usize {
        LOG_OVERHEAD + self.length() as usize
    }

    /// Epoch of the leader that appended the batch; -1 as producers send it.
    pub fn leader_epoch(self) -> i32 {
        i32::from_be_bytes(self.field(LEADER_EPOCH))
    }

    pub fn magic(self) -> i8 {
        self.0[MAGIC_AT] as i8
    }

    /// The stored CRC-32C, of everything from the attributes to the end.
    pub fn crc(self) -> u32 {
        u32::from_be_bytes(self.field(CRC))
    }

    pub fn attributes(self) -> i16 {
        i16::from_be_bytes(self.field(ATTRIBUTES))
    }

    /// How the payload is compressed.
    pub fn codec(self) -> Result<Codec, BatchError> {
        let id = (self.attributes() & CODEC_MASK) as u8;
        Codec::from_id(id).ok_or(BatchError::UnknownCodec(id))
    }

    pub fn timestamp_type(self) -> TimestampType {
        match self.attributes() & LOG_APPEND_TIME_BIT {
            0 => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        }
    }

    pub fn is_transactional(self) -> bool {
        self.attributes() & TRANSACTIONAL_BIT != 0
    }

    pub fn is_control(self) -> bool {
        self.attributes() & CONTROL_BIT != 0
    }

    /// Whether the base timestamp is the time from which compaction may drop tombstones and markers (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.attributes() & DELETE_HORIZON_BIT != 0
    }

    /// The delete horizon in ms, if the batch has one (KIP-534).
    pub fn delete_horizon_ms(self) -> Option<i64> {
        self.has_delete_horizon().then(|| self.base_timestamp())
    }

    /// Last offset minus base offset, as the batch was appended.
    pub fn last_offset_delta(self) -> i32 {
        i32::from_be_bytes(self.field(LAST_OFFSET_DELTA))
    }

    /// Offset of the last record as the batch was appended.
    pub fn last_offset(self) -> i64 {
        self.base_offset().wrapping_add(i64::from(self.last_offset_delta()))
    }

    /// The offset after this batch.
    pub fn next_offset(self) -> i64 {
        self.last_offset().wrapping_add(1)
    }

    /// What the records' timestamp deltas count from, in ms: the first record's create time, or the delete horizon.
    pub fn base_timestamp(self) -> i64 {
        i64::from_be_bytes(self.field(BASE_TIMESTAMP))
    }

    /// The largest timestamp of the batch's records in ms, or the append time of all of them.
    pub fn max_timestamp(self) -> i64 {
        i64::from_be_bytes(self.field(MAX_TIMESTAMP))
    }

    pub fn producer_id(self) -> i64 {
        i64::from_be_bytes(self.field(PRODUCER_ID))
    }

    /// Whether an idempotent producer (or a transaction marker) wrote the batch.
    pub fn has_producer_id(self) -> bool {
        self.producer_id() >= 0
    }

    pub fn producer_epoch(self) -> i16 {
        i16::from_be_bytes(self.field(PRODUCER_EPOCH))
    }

    pub fn base_sequence(self) -> i32 {
        i32::from_be_bytes(self.field(BASE_SEQUENCE))
    }

    /// Sequence number of the last record; they wrap to 0 after `i32::MAX`. -1 when the batch has none.
    pub fn last_sequence(self) -> i32 {
        match self.base_sequence() {
            NO_SEQUENCE => NO_SEQUENCE,
            base => increment_sequence(base, self.last_offset_delta()),
        }
    }

    /// Records in the batch as the header counts them; fewer than offsets once compaction went over it.
    pub fn record_count(self) -> i32 {
        i32::from_be_bytes(self.field(RECORD_COUNT))
    }
}

/// `sequence + increment`, wrapping to 0 after `i32::MAX` as sequence numbers do.
pub const fn increment_sequence(sequence: i32, increment: i32) -> i32 {
    ((sequence as i64 + increment as i64) & 0x7fff_ffff) as i32
}

/// A whole batch: as many bytes as its length says. Derefs to its [`BatchHeader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    header: BatchHeader<'a>,
    bytes: &'a [u8],
}

impl<'a> Deref for Batch<'a> {
    type Target = BatchHeader<'a>;

    fn deref(&self) -> &BatchHeader<'a> {
        &self.header
    }
}

impl<'a> Batch<'a> {
    /// The batch at the front of `bytes`; more may follow. Checks magic and length, not the CRC.
    pub fn parse(bytes: &'a [u8]) -> Result<Batch<'a>, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        match bytes.get(..header.size()) {
            Some(bytes) => Ok(Batch { header, bytes }),
            None => Err(BatchError::Truncated { needed: header.size(), available: bytes.len() }),
        }
    }

    /// The whole batch.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The records, compressed as the codec says.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[HEADER_SIZE..]
    }

    /// The CRC-32C that the bytes have.
    pub fn computed_crc(&self) -> u32 {
        crc32c::crc32c(&self.bytes[ATTRIBUTES..])
    }

    pub fn is_crc_valid(&self) -> bool {
        self.crc() == self.computed_crc()
    }

    /// Refuses a batch whose CRC is wrong.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let (stored, computed) = (self.crc(), self.computed_crc());
        if stored == computed { Ok(()) } else { Err(BatchError::Crc { stored, computed }) }
    }

    /// The timestamp that all records share when the broker's clock set it.
    pub fn log_append_time(&self) -> Option<i64> {
        (self.timestamp_type() == TimestampType::LogAppendTime).then(|| self.max_timestamp())
    }

    /// Create time of a record with this delta, or the batch's append time.
    pub(super) fn timestamp_of(&self, delta: i64) -> i64 {
        match self.log_append_time() {
            Some(time) => time,
            None => self.base_timestamp().wrapping_add(delta),
        }
    }

    /// Whether compaction took all records of the batch, which stays to keep its producer's state.
    pub fn is_empty(&self) -> bool {
        self.record_count() == 0
    }
}

/// Steps over the batches in `bytes`, which begin with a batch. A last batch that is not whole ends the iteration, for
/// Fetch answers are cut anywhere; bytes that are no batch give one error and end it.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { rest: bytes }
}

/// See [`batches`].
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    rest: &'a [u8],
}

impl<'a> Batches<'a> {
    /// What has not been stepped over: after the end, the part of a batch that was cut off.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        match Batch::parse(self.rest) {
            Ok(batch) => {
                self.rest = &self.rest[batch.size()..];
                Some(Ok(batch))
            }
            Err(BatchError::Truncated { .. }) => None,
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}
