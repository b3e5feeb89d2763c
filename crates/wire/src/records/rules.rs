//! What the produce path asks of a batch, what it learns about one, and how it says no.

use std::fmt;

use super::batch::BatchHeader;
use super::compression::{Codec, TimestampType};
use super::error::BatchError;
use crate::ErrorCode;

/// Most entries of [`Refusal::record_errors`]. Kafka lists every bad record, which may take ten times the batch.
pub const RECORD_ERRORS_MAX: usize = 100;

/// What a topic and a Produce version demand of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `max.message.bytes`: bytes of the whole batch, as it comes.
    pub max_message_bytes: usize,
    /// `message.timestamp.type`. Timestamps are only looked at with CreateTime.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how old a record may be (KIP-937).
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far in the future a record may be (KIP-937).
    pub timestamp_after_max_ms: i64,
    /// The broker's clock, ms since 1970.
    pub now_ms: i64,
    /// The topic is compacted: every record needs a key.
    pub compacted: bool,
    /// The batch comes from this broker itself and may hold control records.
    pub allow_control: bool,
    /// False for Produce versions before 7, which do not know zstd.
    pub zstd_allowed: bool,
    /// Bytes that the records may decompress to. Beyond 16 MiB there is also a limit of 2048 times the compressed size.
    pub max_decompressed_bytes: usize,
}

impl Rules {
    /// A topic with Kafka's defaults, at the time `now_ms`.
    pub const fn new(now_ms: i64) -> Rules {
        Rules {
            max_message_bytes: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            now_ms,
            compacted: false,
            allow_control: false,
            zstd_allowed: true,
            max_decompressed_bytes: 256 << 20,
        }
    }
}

/// What was learnt about an accepted batch, so that nobody has to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchInfo {
    /// Bytes of the whole batch.
    pub size: usize,
    pub base_offset: i64,
    pub last_offset_delta: i32,
    pub record_count: i32,
    pub base_timestamp: i64,
    /// The largest timestamp of the records, -1 if none has one. Found in the records, whatever the header says.
    pub max_timestamp: i64,
    /// Offset, from the base offset, of the first record with that timestamp.
    pub offset_of_max_timestamp_delta: i32,
    /// Whether the header says another `max_timestamp`: call [`stamp_max_timestamp`](super::stamp_max_timestamp)
    /// before the batch is stored (unless it gets a log append time), as Kafka does.
    pub max_timestamp_differs: bool,
    /// -1 without idempotence.
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub is_transactional: bool,
    pub is_control: bool,
    pub codec: Codec,
    pub timestamp_type: TimestampType,
    pub leader_epoch: i32,
}

impl BatchInfo {
    /// What the header alone says, for batches that were accepted before: `max_timestamp` is believed, and taken to be
    /// the last record's. Fails for a codec that does not exist.
    pub fn of_header(header: &BatchHeader<'_>) -> Result<BatchInfo, BatchError> {
        Ok(BatchInfo {
            size: header.size(),
            base_offset: header.base_offset(),
            last_offset_delta: header.last_offset_delta(),
            record_count: header.record_count(),
            base_timestamp: header.base_timestamp(),
            max_timestamp: header.max_timestamp(),
            offset_of_max_timestamp_delta: header.last_offset_delta(),
            max_timestamp_differs: false,
            producer_id: header.producer_id(),
            producer_epoch: header.producer_epoch(),
            base_sequence: header.base_sequence(),
            is_transactional: header.is_transactional(),
            is_control: header.is_control(),
            codec: header.codec()?,
            timestamp_type: header.timestamp_type(),
            leader_epoch: header.leader_epoch(),
        })
    }

    /// Sequence number of the last record, -1 if the batch has none.
    pub fn last_sequence(&self) -> i32 {
        match self.base_sequence {
            super::NO_SEQUENCE => super::NO_SEQUENCE,
            base => super::increment_sequence(base, self.last_offset_delta),
        }
    }
}

/// Why a batch was not accepted, in the words of the Produce answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: ErrorCode,
    pub message: String,
    /// The records that are to blame (KIP-467), the first [`RECORD_ERRORS_MAX`] of them. Empty when the batch is.
    pub record_errors: Vec<RecordError>,
}

/// One entry of `record_errors` in a Produce answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// The record's place in the batch, from 0.
    pub batch_index: i32,
    pub message: String,
}

impl Refusal {
    #[cold]
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into(), record_errors: Vec::new() }
    }

    #[cold]
    pub(super) fn invalid(message: impl Into<String>) -> Refusal {
        Refusal::new(ErrorCode::InvalidRecord, message)
    }
}

impl From<BatchError> for Refusal {
    #[cold]
    fn from(error: BatchError) -> Refusal {
        Refusal::new(error.code(), error.to_string())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code.name())
    }
}

impl std::error::Error for Refusal {}
