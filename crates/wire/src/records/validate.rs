//! The produce path: everything that is checked before a producer's batch may enter a log. The rules and their order
//! are those of Kafka's `ProduceRequest`, `UnifiedLog` and `LogValidator`; where ours are stricter, the rule says so.
//!
//! The cost matters more here than anywhere else in this crate: one pass of the CRC, then one loop that reads the few
//! bytes before each key and steps over the rest.

use super::NO_PRODUCER_ID;
use super::batch::{Batch, CODEC_MASK, CONTROL_BIT, LOG_APPEND_TIME_BIT, MAGIC, TRANSACTIONAL_BIT};
use super::checker::{Checker, Summary};
use super::codecs::Scratch;
use super::compression::{Codec, TimestampType};
use super::error::BatchError;
use super::rules::{BatchInfo, Refusal, Rules};
use super::skim::{look, skim};
use super::stream::check_compressed;
use crate::ErrorCode;

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

fn check_records(batch: &Batch<'_>, rules: &Rules) -> Result<Summary, Refusal> {
    let mut checker = Checker::new(batch, rules);
    let bytes = batch.payload();
    let mut at = 0;
    for index in 0..batch.record_count() {
        let record = match skim(bytes, at, index) {
            Some(record) => record,
            None => look(bytes, at, index).map_err(|reason| BatchError::Record { index, reason })?,
        };
        checker.record(index, record.timestamp_delta, record.has_key);
        at = record.end;
    }
    if at < bytes.len() {
        return Err(BatchError::Trailing.into());
    }
    checker.finish()
}
