//! The produce path: everything that is checked before a producer's batch may enter a log. The rules and their order
//! are those of Kafka's `ProduceRequest`, `UnifiedLog` and `LogValidator`; where ours are stricter, the rule says so.
//!
//! The cost matters more here than anywhere else in this crate: one pass of the CRC, then one loop that reads the few
//! bytes before each key and steps over the rest.

use std::fmt;

use super::batch::{Batch, BatchHeader, CODEC_MASK, CONTROL_BIT, LOG_APPEND_TIME_BIT, MAGIC, TRANSACTIONAL_BIT};
use super::codecs::{Scratch, Stream};
use super::compression::{Codec, TimestampType};
use super::error::BatchError;
use super::record::{CUT_OFF, RawRecord, take_record};
use super::{NO_PRODUCER_ID, NO_TIMESTAMP};
use crate::ErrorCode;

/// Most entries of [`Refusal::record_errors`]. Kafka lists every bad record, which may take ten times the batch.
pub const RECORD_ERRORS_MAX: usize = 100;

/// A payload may decompress to this many times its size...
const RATIO_MAX: usize = 1024;
/// ...but to this many bytes in any case: small batches of repetitive records reach any ratio.
const RATIO_FLOOR: usize = 16 << 20;

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
    /// Bytes that the records may decompress to. Beyond 16 MiB there is also a limit of 1024 times the compressed size.
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
    fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into(), record_errors: Vec::new() }
    }

    #[cold]
    fn invalid(message: impl Into<String>) -> Refusal {
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

/// Looks at all of `bytes` as one batch from a producer and says what is in it, or why it is refused. Changes nothing
/// and allocates nothing, unless it refuses or the batch is compressed (then `scratch` grows once).
pub fn validate(bytes: &[u8], rules: &Rules, scratch: &mut Scratch) -> Result<BatchInfo, Refusal> {
    let batch = exactly_one_batch(bytes)?;
    let codec = batch.codec()?;
    if codec == Codec::Zstd && !rules.zstd_allowed {
        let message = "Produce requests before version 7 are not allowed to use ZStandard compression";
        return Err(Refusal::new(ErrorCode::UnsupportedCompressionType, message));
    }
    check_envelope(&batch, rules)?;
    batch.check_crc()?;
    check_header(&batch, rules)?;
    let summary = match codec {
        Codec::None => check_records(&batch, rules)?,
        _ => check_compressed(&batch, codec, rules, scratch)?,
    };
    Ok(BatchInfo {
        max_timestamp: summary.max_timestamp,
        offset_of_max_timestamp_delta: summary.offset_of_max_timestamp_delta,
        max_timestamp_differs: summary.max_timestamp != batch.max_timestamp(),
        ..BatchInfo::of_header(&batch)?
    })
}

/// `bytes` must be a whole batch and nothing else. (Kafka overlooks less than a batch at the end.)
fn exactly_one_batch(bytes: &[u8]) -> Result<Batch<'_>, Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::invalid("Produce requests must have at least one record batch per partition"));
    }
    let batch = Batch::parse(bytes).map_err(|error| match error {
        BatchError::Magic(_) => {
            Refusal::invalid("Produce requests are only allowed to contain record batches with magic version 2")
        }
        other => other.into(),
    })?;
    if batch.size() < bytes.len() {
        return Err(Refusal::invalid(
            "Produce requests are only allowed to contain exactly one record batch per partition",
        ));
    }
    debug_assert_eq!(batch.magic(), MAGIC);
    Ok(batch)
}

/// What is judged before the CRC is computed.
fn check_envelope(batch: &Batch<'_>, rules: &Rules) -> Result<(), Refusal> {
    if batch.base_offset() != 0 {
        let message = format!("The baseOffset of the record batch should be 0, but it is {}", batch.base_offset());
        return Err(Refusal::invalid(message));
    }
    if batch.size() > rules.max_message_bytes {
        let message = format!(
            "The record batch size is {} bytes which exceeds the maximum configured value of {}.",
            batch.size(),
            rules.max_message_bytes
        );
        return Err(Refusal::new(ErrorCode::MessageTooLarge, message));
    }
    Ok(())
}

/// The header's fields against each other.
fn check_header(batch: &Batch<'_>, rules: &Rules) -> Result<(), Refusal> {
    let last = i64::from(batch.last_offset_delta());
    let count = batch.record_count();
    if last < 0 {
        return Err(Refusal::invalid(format!("Batch has an invalid offset range: [0, {last}]")));
    }
    if count <= 0 {
        return Err(BatchError::Count(count).into());
    }
    if last + 1 != i64::from(count) {
        let message = format!("Inconsistent batch offset range [0, {last}] and count of records {count}");
        return Err(Refusal::invalid(message));
    }
    if batch.is_control() && !rules.allow_control {
        return Err(Refusal::invalid("Clients are not allowed to write control records"));
    }
    // Kafka overlooks bits that have no meaning yet, and the delete horizon, which is the cleaner's to set.
    let known = CODEC_MASK | LOG_APPEND_TIME_BIT | TRANSACTIONAL_BIT | CONTROL_BIT;
    if batch.attributes() & !known != 0 {
        let message = format!("Record batch has attributes that producers may not set: {:#06x}", batch.attributes());
        return Err(Refusal::invalid(message));
    }
    if batch.timestamp_type() == TimestampType::LogAppendTime {
        let message = "Invalid timestamp type. Producer should not set timestamp type to LogAppendTime.";
        return Err(Refusal::new(ErrorCode::InvalidTimestamp, message));
    }
    check_producer(batch)
}

/// A producer id must come with an epoch and, unless a coordinator writes a marker, with a sequence number.
fn check_producer(batch: &Batch<'_>) -> Result<(), Refusal> {
    let (id, epoch, sequence) = (batch.producer_id(), batch.producer_epoch(), batch.base_sequence());
    if id < NO_PRODUCER_ID {
        return Err(Refusal::invalid(format!("Invalid producer id {id} in record batch")));
    }
    if id == NO_PRODUCER_ID {
        // Kafka lets this pass; nothing could ever end such a transaction.
        return match batch.is_transactional() {
            true => Err(Refusal::invalid("Transactional record batch without a producer id")),
            false => Ok(()),
        };
    }
    if epoch < 0 {
        return Err(Refusal::invalid(format!("Invalid producer epoch {epoch} in record batch with producerId {id}")));
    }
    if sequence < 0 && !batch.is_control() {
        return Err(Refusal::invalid(format!(
            "Invalid sequence number {sequence} in record batch with producerId {id}"
        )));
    }
    Ok(())
}

/// What the loop over the records finds out.
struct Summary {
    max_timestamp: i64,
    offset_of_max_timestamp_delta: i32,
}

/// What each record is held against, and what was found so far.
struct Checker {
    base_timestamp: i64,
    needs_key: bool,
    earliest: i64,
    latest: i64,
    summary: Summary,
    errors: RecordErrors,
}

impl Checker {
    fn new(batch: &Batch<'_>, rules: &Rules) -> Checker {
        let (earliest, latest) = match rules.timestamp_type {
            TimestampType::CreateTime => (
                rules.now_ms.saturating_sub(rules.timestamp_before_max_ms),
                rules.now_ms.saturating_add(rules.timestamp_after_max_ms),
            ),
            TimestampType::LogAppendTime => (i64::MIN, i64::MAX),
        };
        Checker {
            base_timestamp: batch.base_timestamp(),
            needs_key: rules.compacted && !batch.is_control(),
            earliest,
            latest,
            summary: Summary { max_timestamp: NO_TIMESTAMP, offset_of_max_timestamp_delta: batch.last_offset_delta() },
            errors: RecordErrors::default(),
        }
    }

    /// Errors here are the batch's end: what follows cannot be trusted. A bad key or timestamp is noted instead.
    #[inline(always)]
    fn record(&mut self, index: i32, record: &RawRecord<'_>) -> Result<(), Refusal> {
        if record.offset_delta != index {
            // Kafka gives the offsets anew when the batch is compressed, and stores them as they are when it is not.
            return Err(BatchError::Record { index, reason: "its offset delta is not its place in the batch" }.into());
        }
        let timestamp = self.base_timestamp.wrapping_add(record.timestamp_delta);
        if timestamp > self.summary.max_timestamp {
            self.summary = Summary { max_timestamp: timestamp, offset_of_max_timestamp_delta: index };
        }
        if self.needs_key && record.key.is_none() {
            self.errors.no_key(index);
        } else if (timestamp < self.earliest || timestamp > self.latest) && timestamp != NO_TIMESTAMP {
            self.errors.timestamp(index, timestamp, self.earliest, self.latest);
        }
        Ok(())
    }

    fn finish(self) -> Result<Summary, Refusal> {
        if self.errors.total == 0 { Ok(self.summary) } else { Err(self.errors.into_refusal()) }
    }
}

/// Records that are sound but not acceptable.
#[derive(Default)]
struct RecordErrors {
    total: usize,
    has_timestamp_error: bool,
    listed: Vec<RecordError>,
}

impl RecordErrors {
    #[cold]
    #[inline(never)]
    fn no_key(&mut self, index: i32) {
        self.push(index, || "Compacted topic cannot accept message without key".to_string());
    }

    #[cold]
    #[inline(never)]
    fn timestamp(&mut self, index: i32, timestamp: i64, earliest: i64, latest: i64) {
        self.has_timestamp_error = true;
        self.push(index, || {
            format!(
                "Timestamp {timestamp} of message with offset {index} is out of range. The timestamp should be within \
                 [{earliest}, {latest}]"
            )
        });
    }

    fn push(&mut self, batch_index: i32, message: impl FnOnce() -> String) {
        self.total += 1;
        if self.listed.len() < RECORD_ERRORS_MAX {
            self.listed.push(RecordError { batch_index, message: message() });
        }
    }

    fn into_refusal(self) -> Refusal {
        let (code, message) = if self.has_timestamp_error {
            let message = "One or more records have been rejected due to invalid timestamp";
            (ErrorCode::InvalidTimestamp, message.to_string())
        } else {
            let first: Vec<&str> = self.listed.iter().take(3).map(|error| error.message.as_str()).collect();
            let message = format!(
                "One or more records have been rejected due to {} record errors in total, and only showing the first \
                 three errors at most: {first:?}",
                self.total
            );
            (ErrorCode::InvalidRecord, message)
        };
        Refusal { code, message, record_errors: self.listed }
    }
}

fn check_records(batch: &Batch<'_>, rules: &Rules) -> Result<Summary, Refusal> {
    let mut checker = Checker::new(batch, rules);
    let mut rest = batch.payload();
    for index in 0..batch.record_count() {
        let record = take_record(&mut rest).map_err(|reason| BatchError::Record { index, reason })?;
        checker.record(index, &record)?;
    }
    if !rest.is_empty() {
        return Err(BatchError::Trailing.into());
    }
    checker.finish()
}

fn check_compressed(batch: &Batch<'_>, codec: Codec, rules: &Rules, scratch: &mut Scratch) -> Result<Summary, Refusal> {
    let by_ratio = batch.payload().len().saturating_mul(RATIO_MAX).max(RATIO_FLOOR);
    let mut stream = scratch.stream(codec, batch.payload(), by_ratio.min(rules.max_decompressed_bytes));
    let mut checker = Checker::new(batch, rules);
    for index in 0..batch.record_count() {
        check_streamed(&mut stream, index, &mut checker)?;
    }
    if !stream.unread().is_empty() || stream.fill()? {
        return Err(BatchError::Trailing.into());
    }
    checker.finish()
}

/// One record out of a stream, once all of it is there.
fn check_streamed(stream: &mut Stream<'_>, index: i32, checker: &mut Checker) -> Result<(), Refusal> {
    loop {
        let mut rest = stream.unread();
        let before = rest.len();
        let reason = match take_record(&mut rest) {
            Ok(record) => {
                checker.record(index, &record)?;
                let taken = before - rest.len();
                stream.consume(taken);
                return Ok(());
            }
            Err(reason) => reason,
        };
        if reason != CUT_OFF || !stream.fill()? {
            return Err(BatchError::Record { index, reason }.into());
        }
    }
}
