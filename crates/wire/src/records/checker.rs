//! What is asked of every record, and the records that did not meet it.

use super::NO_TIMESTAMP;
use super::batch::Batch;
use super::compression::TimestampType;
use super::rules::{RECORD_ERRORS_MAX, RecordError, Refusal, Rules};
use crate::ErrorCode;

/// What the loop over the records finds out.
pub(super) struct Summary {
    pub(super) max_timestamp: i64,
    pub(super) offset_of_max_timestamp_delta: i32,
}

/// What each record is held against, and what was found so far.
pub(super) struct Checker {
    base_timestamp: i64,
    needs_key: bool,
    earliest: i64,
    latest: i64,
    summary: Summary,
    errors: RecordErrors,
}

impl Checker {
    pub(super) fn new(batch: &Batch<'_>, rules: &Rules) -> Checker {
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

    /// Notes a record; a missing key or a bad timestamp does not keep from looking at the next one.
    #[inline(always)]
    pub(super) fn record(&mut self, index: i32, timestamp_delta: i64, has_key: bool) {
        let timestamp = self.base_timestamp.wrapping_add(timestamp_delta);
        if timestamp > self.summary.max_timestamp {
            self.summary = Summary { max_timestamp: timestamp, offset_of_max_timestamp_delta: index };
        }
        if self.needs_key && !has_key {
            self.errors.no_key(index);
        } else if (timestamp < self.earliest || timestamp > self.latest) && timestamp != NO_TIMESTAMP {
            self.errors.timestamp(index, timestamp, self.earliest, self.latest);
        }
    }

    pub(super) fn finish(self) -> Result<Summary, Refusal> {
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
