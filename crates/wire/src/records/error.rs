//! What can be wrong with the bytes of a batch.

use std::fmt;

use super::compression::Codec;
use crate::ErrorCode;

/// Bytes that are not a sound record batch. [`BatchError::code`] is what a client gets to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// The length field says less than a header needs.
    Length(i32),
    /// Fewer bytes are there than the batch needs.
    Truncated { needed: usize, available: usize },
    /// Another format than magic 2.
    Magic(i8),
    /// The checksum in the header is not that of the bytes.
    Crc { stored: u32, computed: u32 },
    /// The attributes name a compression that does not exist.
    UnknownCodec(u8),
    /// The payload is not what its codec writes.
    Compression { codec: Codec, reason: &'static str },
    /// The payload would decompress to more than is allowed, in bytes.
    TooLarge { limit: usize },
    /// The header has a negative record count.
    Count(i32),
    /// A record (counted from 0) breaks the format.
    Record { index: i32, reason: &'static str },
    /// Bytes are left after the last record.
    Trailing,
}

impl BatchError {
    /// The error code that names this to a client.
    pub const fn code(&self) -> ErrorCode {
        match self {
            BatchError::Length(_) | BatchError::Crc { .. } => ErrorCode::CorruptMessage,
            BatchError::UnknownCodec(_) => ErrorCode::UnsupportedCompressionType,
            BatchError::TooLarge { .. } => ErrorCode::MessageTooLarge,
            BatchError::Truncated { .. }
            | BatchError::Magic(_)
            | BatchError::Compression { .. }
            | BatchError::Count(_)
            | BatchError::Record { .. }
            | BatchError::Trailing => ErrorCode::InvalidRecord,
        }
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchError::Length(length) => {
                write!(
                    f,
                    "Record batch is corrupt (its length {length} is smaller than the minimum allowed overhead 49)"
                )
            }
            BatchError::Truncated { needed, available } => {
                write!(f, "Record batch is cut off: it needs {needed} bytes, {available} are there")
            }
            BatchError::Magic(magic) => {
                write!(f, "Record batch has magic {magic}, only record batches with magic version 2 are supported")
            }
            BatchError::Crc { stored, computed } => {
                write!(f, "Record is corrupt (stored crc = {stored}, computed crc = {computed})")
            }
            BatchError::UnknownCodec(id) => write!(f, "Unknown compression type id: {id}"),
            BatchError::Compression { codec, reason } => {
                write!(f, "Failed to decompress the record batch ({codec}): {reason}")
            }
            BatchError::TooLarge { limit } => {
                write!(f, "The records of the batch decompress to more than the {limit} bytes that are allowed for it")
            }
            BatchError::Count(count) => write!(f, "Invalid reported count for record batch: {count}"),
            BatchError::Record { index, reason } => write!(f, "Invalid record at index {index}: {reason}"),
            BatchError::Trailing => f.write_str("Incorrect declared batch size, records still remaining in the batch"),
        }
    }
}

impl std::error::Error for BatchError {}
