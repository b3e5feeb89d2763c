//! A topic's settings as its logs need them.

use crate::config::Replication;
use broker::ReplicaSelector;
use metadata::config::TopicConfig;
use replication::{Durability, Settings};
use storage::LogConfig;

/// What a log is told of its topic's settings.
pub fn log_config(topic: &TopicConfig) -> LogConfig {
    LogConfig {
        segment_bytes: topic.segment_bytes,
        // As in Kafka: what is in the active segment is never compacted.
        segment_ms: if topic.compact { topic.segment_ms.min(topic.max_compaction_lag_ms) } else { topic.segment_ms },
        segment_jitter_ms: topic.segment_jitter_ms,
        index_interval_bytes: topic.index_interval_bytes,
        index_max_bytes: topic.segment_index_bytes,
        retention_ms: topic.retention_ms.unwrap_or(-1),
        retention_bytes: topic.retention_bytes.map_or(-1, |b| b as i64),
        max_message_bytes: topic.max_message_bytes,
        flush_messages: topic.flush_messages,
        flush_ms: topic.flush_ms,
        delete: topic.delete,
        compact: topic.compact,
        min_cleanable_dirty_ratio: topic.min_cleanable_dirty_ratio,
        min_compaction_lag_ms: topic.min_compaction_lag_ms,
        max_compaction_lag_ms: topic.max_compaction_lag_ms,
        delete_retention_ms: topic.delete_retention_ms,
        preallocate: topic.preallocate,
        file_delete_delay_ms: topic.file_delete_delay_ms,
        producer_id_expiration_ms: topic.producer_id_expiration_ms,
        ..LogConfig::default()
    }
}

/// `flush.messages=1` means that a record counts only once it is on the disk. Larger numbers are hints for write-back,
/// as in Kafka.
fn durability(topic: &TopicConfig) -> Durability {
    if topic.flush_messages <= 1 { Durability::Synced } else { Durability::PageCache }
}

/// What a replica is told of its topic's settings, and of its node's.
pub fn replica_settings(topic: &TopicConfig, node: &Replication) -> Settings {
    Settings {
        min_insync_replicas: topic.min_insync_replicas,
        replica_lag_time_max_ms: node.replica_lag_time_max_ms,
        followers_are_read: node.replica_selector != ReplicaSelector::Leader,
        ..Settings::new(durability(topic))
    }
}
