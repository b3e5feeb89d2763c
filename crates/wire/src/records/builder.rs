//! Building batches: the producer's, the coordinators', the metadata log's, the cleaner's.

use super::batch::{
    ATTRIBUTES, BASE_SEQUENCE, BASE_TIMESTAMP, Batch, CODEC_MASK, CONTROL_BIT, CRC, DELETE_HORIZON_BIT, HEADER_SIZE,
    LAST_OFFSET_DELTA, LEADER_EPOCH, LENGTH, LOG_APPEND_TIME_BIT, LOG_OVERHEAD, MAGIC, MAGIC_AT, MAX_TIMESTAMP,
    PRODUCER_EPOCH, PRODUCER_ID, RECORD_COUNT, TRANSACTIONAL_BIT,
};
use super::codecs::{self, Compressor};
use super::compression::{Codec, TimestampType};
use super::error::BatchError;
use super::varint;
use super::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP};

/// Gathers records into one batch. Reusable: [`BatchBuilder::build`] leaves it empty, with its settings and memory.
///
/// ```
/// use wire::records::{Batch, BatchBuilder, Codec};
///
/// let mut builder = BatchBuilder::new(Codec::Lz4);
/// builder.append(1_700_000_000_000, Some(b"key"), Some(b"value"), &[("header", Some(b"x"))]);
/// let bytes = builder.build(0, -1);
/// assert_eq!(Batch::parse(&bytes)?.record_count(), 1);
/// # Ok::<(), wire::records::BatchError>(())
/// ```
pub struct BatchBuilder {
    codec: Codec,
    level: Option<i32>,
    attributes: i16,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    delete_horizon_ms: Option<i64>,
    log_append_time_ms: Option<i64>,
    /// Room for the header, then the records.
    bytes: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    last_offset_delta: i32,
    compressor: Compressor,
}

impl BatchBuilder {
    /// A batch of create-time records without a producer id.
    pub fn new(codec: Codec) -> BatchBuilder {
        let mut builder = BatchBuilder {
            codec,
            level: None,
            attributes: i16::from(codec.id()),
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            delete_horizon_ms: None,
            log_append_time_ms: None,
            bytes: Vec::new(),
            count: 0,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            last_offset_delta: -1,
            compressor: Compressor::new(),
        };
        builder.clear();
        builder
    }

    /// Compression level, see [`Codec::levels`]. `None` is Kafka's default.
    pub fn level(mut self, level: Option<i32>) -> BatchBuilder {
        self.level = level;
        self
    }

    /// Records that all have the time `ms`, given by the broker.
    pub fn log_append_time(mut self, ms: i64) -> BatchBuilder {
        self.attributes |= LOG_APPEND_TIME_BIT;
        self.log_append_time_ms = Some(ms);
        self
    }

    /// The idempotent producer that the batch is from.
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> BatchBuilder {
        self.set_producer(id, epoch, base_sequence);
        self
    }

    /// The same for a builder in use: sequence numbers go on from batch to batch.
    pub fn set_producer(&mut self, id: i64, epoch: i16, base_sequence: i32) {
        (self.producer_id, self.producer_epoch, self.base_sequence) = (id, epoch, base_sequence);
    }

    /// The records are part of a transaction.
    pub fn transactional(mut self) -> BatchBuilder {
        self.attributes |= TRANSACTIONAL_BIT;
        self
    }

    /// The records are control records (`crate::control`).
    pub fn control(mut self) -> BatchBuilder {
        self.attributes |= CONTROL_BIT;
        self
    }

    /// From this time on compaction may drop the batch's tombstones or markers (KIP-534). It takes the place of the base
    /// timestamp, so it must be set before the first record.
    pub fn delete_horizon(mut self, ms: i64) -> BatchBuilder {
        self.attributes |= DELETE_HORIZON_BIT;
        self.delete_horizon_ms = Some(ms);
        self
    }

    /// Adds a record at the next offset and says how large the batch is by now, not compressed.
    #[inline]
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> usize {
        self.append_at(self.last_offset_delta + 1, timestamp, key, value, headers)
    }

    /// As [`BatchBuilder::append`], at an offset of its own (from the base offset), higher than those before: what
    /// compaction leaves of a batch.
    #[inline]
    pub fn append_at(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> usize {
        debug_assert!(offset_delta > self.last_offset_delta);
        if self.count == 0 {
            self.base_timestamp = self.delete_horizon_ms.unwrap_or(timestamp);
        }
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        let headers_size: usize =
            headers.iter().map(|(key, value)| sized(Some(key.as_bytes())) + sized(*value)).sum::<usize>();
        let body_size = 1
            + varint::size(timestamp_delta)
            + varint::size(i64::from(offset_delta))
            + sized(key)
            + sized(value)
            + varint::size(headers.len() as i64)
            + headers_size;

        let out = &mut self.bytes;
        out.reserve(body_size + varint::size(body_size as i64));
        varint::put(out, body_size as i64);
        out.push(0);
        varint::put(out, timestamp_delta);
        varint::put(out, i64::from(offset_delta));
        put_nullable(out, key);
        put_nullable(out, value);
        varint::put(out, headers.len() as i64);
        for (key, value) in headers {
            put_nullable(out, Some(key.as_bytes()));
            put_nullable(out, *value);
        }

        self.count += 1;
        self.last_offset_delta = offset_delta;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.bytes.len()
    }

    /// Bytes of the batch so far, header included, not compressed.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Records so far.
    pub fn record_count(&self) -> i32 {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Keeps offsets after the last record that compaction removed. Not below the last record's.
    pub fn set_last_offset_delta(&mut self, delta: i32) {
        debug_assert!(delta >= self.last_offset_delta);
        self.last_offset_delta = delta;
    }

    /// Bytes that a record adds to a batch at most, not compressed.
    pub fn record_size_max(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, Option<&[u8]>)]) -> usize {
        // Length, attributes, timestamp delta, offset delta and header count at their longest.
        let fixed = 5 + 1 + 10 + 5 + 5;
        let headers: usize = headers.iter().map(|(key, value)| sized(Some(key.as_bytes())) + sized(*value)).sum();
        fixed + sized(key) + sized(value) + headers
    }

    /// Finishes the batch and empties the builder for the next one. `leader_epoch` is -1 for a producer. A batch without
    /// records is allowed (compaction keeps such), and is never compressed.
    pub fn build(&mut self, base_offset: i64, leader_epoch: i32) -> Vec<u8> {
        let mut bytes = if self.codec == Codec::None || self.count == 0 {
            let capacity = self.bytes.len();
            std::mem::replace(&mut self.bytes, Vec::with_capacity(capacity))
        } else {
            let mut out = Vec::with_capacity(HEADER_SIZE + self.bytes.len() / 2);
            out.resize(HEADER_SIZE, 0);
            self.compressor.compress(self.codec, self.level, &self.bytes[HEADER_SIZE..], &mut out);
            out
        };
        let attributes = if self.count == 0 { self.attributes & !CODEC_MASK } else { self.attributes };
        let length = i32::try_from(bytes.len() - LOG_OVERHEAD).expect("a batch stays below 2 GiB");
        let header = &mut bytes[..HEADER_SIZE];
        put(header, 0, base_offset.to_be_bytes());
        put(header, LENGTH, length.to_be_bytes());
        put(header, LEADER_EPOCH, leader_epoch.to_be_bytes());
        header[MAGIC_AT] = MAGIC as u8;
        put(header, ATTRIBUTES, attributes.to_be_bytes());
        put(header, LAST_OFFSET_DELTA, self.last_offset_delta.to_be_bytes());
        put(header, BASE_TIMESTAMP, self.base_timestamp.to_be_bytes());
        put(header, MAX_TIMESTAMP, self.log_append_time_ms.unwrap_or(self.max_timestamp).to_be_bytes());
        put(header, PRODUCER_ID, self.producer_id.to_be_bytes());
        put(header, PRODUCER_EPOCH, self.producer_epoch.to_be_bytes());
        put(header, BASE_SEQUENCE, self.base_sequence.to_be_bytes());
        put(header, RECORD_COUNT, self.count.to_be_bytes());
        write_crc(&mut bytes);
        self.clear();
        bytes
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(HEADER_SIZE, 0);
        self.count = 0;
        self.base_timestamp = self.delete_horizon_ms.unwrap_or(NO_TIMESTAMP);
        self.max_timestamp = NO_TIMESTAMP;
        self.last_offset_delta = -1;
    }

    /// Whose clock the batch's timestamps are from.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.log_append_time_ms.is_some() { TimestampType::LogAppendTime } else { TimestampType::CreateTime }
    }
}

pub(super) fn put<const SIZE: usize>(header: &mut [u8], at: usize, field: [u8; SIZE]) {
    header[at..at + SIZE].copy_from_slice(&field);
}

pub(super) fn write_crc(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[ATTRIBUTES..]);
    put(batch, CRC, crc.to_be_bytes());
}

#[inline(always)]
fn sized(bytes: Option<&[u8]>) -> usize {
    match bytes {
        None => 1,
        Some(bytes) => varint::size(bytes.len() as i64) + bytes.len(),
    }
}

#[inline(always)]
fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => out.push(1),
        Some(bytes) => {
            varint::put(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}

/// The same batch with its records compressed otherwise (`compression.type` of the topic is not the producer's). At most
/// `decompressed_max` bytes are decompressed. Offsets, timestamps and producer state stay as they are.
pub fn recompress(
    bytes: &[u8],
    to: Codec,
    level: Option<i32>,
    compressor: &mut Compressor,
    decompressed_max: usize,
) -> Result<Vec<u8>, BatchError> {
    let batch = Batch::parse(bytes)?;
    let from = batch.codec()?;
    let decompressed;
    let payload = match from {
        Codec::None => batch.payload(),
        _ => {
            decompressed = codecs::decompress(from, batch.payload(), decompressed_max)?;
            decompressed.as_slice()
        }
    };
    let mut out = Vec::with_capacity(HEADER_SIZE + payload.len());
    out.extend_from_slice(batch.header_bytes());
    compressor.compress(to, level, payload, &mut out);
    let length =
        i32::try_from(out.len() - LOG_OVERHEAD).map_err(|_| BatchError::TooLarge { limit: i32::MAX as usize })?;
    let attributes = batch.attributes() & !CODEC_MASK | i16::from(to.id());
    put(&mut out, LENGTH, length.to_be_bytes());
    put(&mut out, ATTRIBUTES, attributes.to_be_bytes());
    write_crc(&mut out);
    Ok(out)
}
