//! Record batches, format version ("magic") 2: what producers send, logs keep and consumers read.
//!
//! A batch is a 61-byte header and a payload of records, which is compressed as a whole or not at all. The bytes of a
//! batch are the same in a Produce request, in a segment file and in a Fetch answer, so the broker looks at them
//! ([`validate`]), stamps what lies outside the checksum ([`stamp`]) and never rebuilds them unless it must
//! ([`recompress`]). The older message sets (magic 0 and 1) are recognised only to be refused.
//!
//! **Invariant:** nothing here trusts a length, count or size that a batch claims: memory grows only with bytes that are
//! there, and decompression stops at a limit. Uncompressed batches are checked and iterated without an allocation.
//!
//! Reading order: `batch` (the header and how batches follow each other), `record` (what is inside), `validate` (the
//! produce path, with `rules`, `checker`, `skim` and `stream`), `stamp` and `builder` (writing), `codecs` (the five compressions and their framings).

mod batch;
mod builder;
mod checker;
mod codecs;
mod compaction;
mod compression;
mod error;
mod record;
mod rules;
mod skim;
mod stamp;
mod stream;
mod validate;
mod varint;
mod window;

pub use batch::{Batch, BatchHeader, Batches, HEADER_SIZE, LOG_OVERHEAD, MAGIC, batches, increment_sequence};
pub use builder::{BatchBuilder, recompress};
pub use codecs::{Compressor, Scratch, decompress};
pub use compaction::{Compaction, Left};
pub use compression::{Codec, TimestampType};
pub use error::BatchError;
pub use record::{DECOMPRESSED_MAX, Record, RecordHeader, RecordHeaders, RecordIter, Records};
pub use rules::{BatchInfo, RECORD_ERRORS_MAX, RecordError, Refusal, Rules};
pub use stamp::{stamp, stamp_log_append_time, stamp_max_timestamp};
pub use validate::validate;

/// "No timestamp", in records and in the header of a batch without records.
pub const NO_TIMESTAMP: i64 = -1;
/// "No producer id": the batch comes from a producer without idempotence.
pub const NO_PRODUCER_ID: i64 = -1;
/// "No producer epoch", beside [`NO_PRODUCER_ID`].
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// "No sequence number", beside [`NO_PRODUCER_ID`] and in control batches.
pub const NO_SEQUENCE: i32 = -1;
