//! What a log is told about itself; Kafka's topic settings under Kafka's names.

use crate::planted::Bug;

/// Settings of one log. Times are in ms; -1 for a limit means none.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`
    pub segment_bytes: u32,
    /// `segment.ms`
    pub segment_ms: i64,
    /// `segment.jitter.ms`: at most so much earlier is a segment rolled by time.
    pub segment_jitter_ms: i64,
    /// `index.interval.bytes`
    pub index_interval_bytes: u32,
    /// `segment.index.bytes`
    pub index_max_bytes: u32,
    /// `retention.ms`
    pub retention_ms: i64,
    /// `retention.bytes`
    pub retention_bytes: i64,
    /// `max.message.bytes`; checked where a request is validated.
    pub max_message_bytes: u32,
    /// `flush.messages`
    pub flush_messages: i64,
    /// `flush.ms`
    pub flush_ms: i64,
    /// Whether `cleanup.policy` has `delete`.
    pub delete: bool,
    /// Whether `cleanup.policy` has `compact`.
    pub compact: bool,
    /// `min.cleanable.dirty.ratio`
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`; `i64::MAX` means none.
    pub max_compaction_lag_ms: i64,
    /// `delete.retention.ms`
    pub delete_retention_ms: i64,
    /// `preallocate`
    pub preallocate: bool,
    /// `file.delete.delay.ms`
    pub file_delete_delay_ms: i64,
    /// `producer.id.expiration.ms`
    pub producer_id_expiration_ms: i64,
    /// Bytes of an active segment whose write-back is started together ([`Log::write_back`](crate::Log::write_back)).
    pub write_back_bytes: u32,
    /// Bytes after which the producers are written to a snapshot, so that a restart has little to read.
    pub snapshot_interval_bytes: u32,
    /// What tests plant in the log.
    pub bug: Bug,
}

impl Default for LogConfig {
    /// Kafka's defaults.
    fn default() -> LogConfig {
        const HOUR_MS: i64 = 3_600_000;
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * HOUR_MS,
            segment_jitter_ms: 0,
            index_interval_bytes: 4096,
            index_max_bytes: 10 << 20,
            retention_ms: 7 * 24 * HOUR_MS,
            retention_bytes: -1,
            max_message_bytes: 1_048_588,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            delete: true,
            compact: false,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            delete_retention_ms: 24 * HOUR_MS,
            preallocate: false,
            file_delete_delay_ms: 60_000,
            producer_id_expiration_ms: 24 * HOUR_MS,
            write_back_bytes: 2 << 20,
            snapshot_interval_bytes: 16 << 20,
            bug: Bug::None,
        }
    }
}
