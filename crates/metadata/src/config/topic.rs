//! A topic's settings: checks with Kafka's texts, and the typed form that partitions work with.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::layers::{Layers, Values};
use super::table::{broker_key, topic_key};
use super::value::Value;
use wire::records::{Codec, TimestampType};

/// Checks one setting of a topic. The error is what Kafka's client prints (code INVALID_CONFIG).
pub fn validate(name: &str, value: &str) -> Result<(), String> {
    match topic_key(name) {
        Some(key) => key.parse(value).map(drop),
        None => Err(format!("Unknown topic config name: {name}")),
    }
}

/// Checks all of a topic's own settings together, as they will be after a change (`LogConfig.validate`).
///
/// `before` are the settings as they were. Names are looked at first, then values, then how they go together.
pub fn validate_all(own: &dyn Values, before: &dyn Values, layers: &Layers<'_>) -> Result<(), String> {
    own.check(&mut |name, _| match topic_key(name) {
        Some(_) => Ok(()),
        None => Err(format!("Unknown topic config name: {name}")),
    })?;
    own.check(&mut validate)?;
    let whole = |name| whole(layers, own, name);
    let (min, max) = (whole("min.compaction.lag.ms"), whole("max.compaction.lag.ms"));
    if min > max {
        return Err(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        ));
    }
    let was_tiered = boolean(layers, before, "remote.storage.enable");
    if boolean(layers, own, "remote.storage.enable") && !was_tiered {
        return Err(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log \
                    storage."
                .to_owned(),
        );
    }
    Ok(())
}

/// `compression.type` of a topic, with the level where one is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Batches stay as they were sent.
    Producer,
    /// Batches are stored with this codec (`Codec::None` for uncompressed); the level is `None` for the codec's default.
    Stored(Codec, Option<i32>),
}

/// A topic's settings, typed. Sizes are in bytes, times in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy` has `delete`.
    pub delete: bool,
    /// `cleanup.policy` has `compact`.
    pub compact: bool,
    pub compression: Compression,
    pub delete_retention_ms: i64,
    pub file_delete_delay_ms: i64,
    /// `i64::MAX` never syncs because of a number of messages.
    pub flush_messages: i64,
    /// `i64::MAX` never syncs because of time.
    pub flush_ms: i64,
    pub index_interval_bytes: u32,
    pub max_compaction_lag_ms: i64,
    pub max_message_bytes: u32,
    pub message_timestamp_type: TimestampType,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_after_max_ms: i64,
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: i64,
    pub min_insync_replicas: u32,
    pub preallocate: bool,
    /// `None` sets no limit.
    pub retention_bytes: Option<u64>,
    /// `None` keeps records forever.
    pub retention_ms: Option<i64>,
    pub segment_bytes: u32,
    pub segment_index_bytes: u32,
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
    pub unclean_leader_election_enable: bool,
    pub remote_storage_enable: bool,
    /// The broker's `producer.id.expiration.ms`: every log follows it.
    pub producer_id_expiration_ms: i64,
}

impl TopicConfig {
    /// The settings that count for a topic with these settings of its own.
    ///
    /// Never fails: what was stored and does not parse is passed over, as [`Layers::value`] says.
    pub fn new(own: &dyn Values, layers: &Layers<'_>) -> TopicConfig {
        let whole = |name| whole(layers, own, name);
        let size = |name| u32::try_from(whole(name)).unwrap_or(0);
        let boolean = |name| boolean(layers, own, name);
        let policies = match layers.topic_value(own, "cleanup.policy") {
            Some(Value::List(items)) => items,
            _ => Vec::new(),
        };
        let segment_bytes = match layers.topic_value(own, "internal.segment.bytes") {
            Some(Value::Whole(n)) => u32::try_from(n).unwrap_or(0),
            _ => size("segment.bytes"),
        };
        TopicConfig {
            delete: policies.iter().any(|p| p == "delete"),
            compact: policies.iter().any(|p| p == "compact"),
            compression: compression(own, layers),
            delete_retention_ms: whole("delete.retention.ms"),
            file_delete_delay_ms: whole("file.delete.delay.ms"),
            flush_messages: whole("flush.messages"),
            flush_ms: whole("flush.ms"),
            index_interval_bytes: size("index.interval.bytes"),
            max_compaction_lag_ms: whole("max.compaction.lag.ms"),
            max_message_bytes: size("max.message.bytes"),
            message_timestamp_type: match text(layers, own, "message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            message_timestamp_before_max_ms: whole("message.timestamp.before.max.ms"),
            message_timestamp_after_max_ms: whole("message.timestamp.after.max.ms"),
            min_cleanable_dirty_ratio: match layers.topic_value(own, "min.cleanable.dirty.ratio") {
                Some(Value::Double(ratio)) => ratio,
                _ => 0.5,
            },
            min_compaction_lag_ms: whole("min.compaction.lag.ms"),
            min_insync_replicas: size("min.insync.replicas"),
            preallocate: boolean("preallocate"),
            retention_bytes: u64::try_from(whole("retention.bytes")).ok(),
            retention_ms: Some(whole("retention.ms")).filter(|ms| *ms >= 0),
            segment_bytes,
            segment_index_bytes: size("segment.index.bytes"),
            segment_jitter_ms: whole("segment.jitter.ms"),
            segment_ms: whole("segment.ms"),
            unclean_leader_election_enable: boolean("unclean.leader.election.enable"),
            remote_storage_enable: boolean("remote.storage.enable"),
            producer_id_expiration_ms: match broker_key("producer.id.expiration.ms").and_then(|key| layers.value(key)) {
                Some(Value::Whole(ms)) => ms,
                _ => i64::MAX,
            },
        }
    }

    /// What a topic has where neither it nor the broker sets anything.
    pub fn kafka_defaults() -> TopicConfig {
        TopicConfig::new(&(), &Layers::of_file(&()))
    }
}

fn compression(own: &dyn Values, layers: &Layers<'_>) -> Compression {
    let level = |name, default: i64| match layers.topic_value(own, name) {
        Some(Value::Whole(n)) if n != default => i32::try_from(n).ok(),
        _ => None,
    };
    match text(layers, own, "compression.type").as_str() {
        "uncompressed" => Compression::Stored(Codec::None, None),
        "gzip" => Compression::Stored(Codec::Gzip, level("compression.gzip.level", -1)),
        "snappy" => Compression::Stored(Codec::Snappy, None),
        "lz4" => Compression::Stored(Codec::Lz4, level("compression.lz4.level", 9)),
        "zstd" => Compression::Stored(Codec::Zstd, level("compression.zstd.level", 3)),
        _ => Compression::Producer,
    }
}

fn whole(layers: &Layers<'_>, own: &dyn Values, name: &str) -> i64 {
    match layers.topic_value(own, name) {
        Some(Value::Whole(n)) => n,
        // Only flush.ms has neither a broker's value nor a default of the broker's.
        _ => i64::MAX,
    }
}

fn boolean(layers: &Layers<'_>, own: &dyn Values, name: &str) -> bool {
    layers.topic_value(own, name) == Some(Value::Boolean(true))
}

fn text(layers: &Layers<'_>, own: &dyn Values, name: &str) -> String {
    layers.topic_value(own, name).map(|v| v.to_string()).unwrap_or_default()
}

/// Typed settings, shared: ten thousand partitions have few distinct ones.
///
/// Made anew when the broker's own layers change, because every topic's settings may be other ones then.
#[derive(Debug, Default)]
pub struct TopicConfigs {
    known: HashMap<Vec<(String, String)>, Weak<TopicConfig>>,
    defaults: Option<Arc<TopicConfig>>,
}

impl TopicConfigs {
    /// The settings for a topic with these settings of its own. Always pass the same layers.
    pub fn get(&mut self, own: &dyn Values, layers: &Layers<'_>) -> Arc<TopicConfig> {
        let mut pairs = Vec::new();
        own.for_each(&mut |name, value| pairs.push((name.to_owned(), value.to_owned())));
        if pairs.is_empty() {
            let defaults = self.defaults.get_or_insert_with(|| Arc::new(TopicConfig::new(&(), layers)));
            return Arc::clone(defaults);
        }
        pairs.sort_unstable();
        if let Some(known) = self.known.get(&pairs).and_then(Weak::upgrade) {
            return known;
        }
        if self.known.len() >= 64 && self.known.len().is_power_of_two() {
            self.known.retain(|_, config| config.strong_count() > 0);
        }
        let config = Arc::new(TopicConfig::new(own, layers));
        self.known.insert(pairs, Arc::downgrade(&config));
        config
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn props(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn check(pairs: &[(&str, &str)]) -> Result<(), String> {
        validate_all(&props(pairs), &(), &Layers::of_file(&()))
    }

    #[test]
    fn wrong_settings_are_refused_with_kafkas_words() {
        for (pairs, said) in [
            (&[("nonsense", "1")][..], "Unknown topic config name: nonsense"),
            (
                &[("segment.bytes", "10000")],
                "Invalid value 10000 for configuration segment.bytes: Value must be at least 1048576",
            ),
            (&[("retention.ms", "abc")], "Invalid value abc for configuration retention.ms: Not a number of type LONG"),
            (
                &[("min.compaction.lag.ms", "5"), ("max.compaction.lag.ms", "4")],
                "conflict topic config setting min.compaction.lag.ms (5) > max.compaction.lag.ms (4)",
            ),
            (
                &[("remote.storage.enable", "true")],
                "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
            ),
        ] {
            assert_eq!(check(pairs).unwrap_err(), said);
        }
        assert_eq!(check(&[("cleanup.policy", "compact,delete"), ("retention.ms", "-1")]), Ok(()));
    }

    #[test]
    fn an_unknown_name_is_told_before_a_wrong_value() {
        let said = check(&[("a.wrong.name", "1"), ("retention.ms", "abc"), ("zzz", "1")]).unwrap_err();
        assert_eq!(said, "Unknown topic config name: a.wrong.name");
    }

    #[test]
    fn defaults_are_those_of_kafka() {
        let c = TopicConfig::kafka_defaults();
        assert!(c.delete && !c.compact && !c.preallocate && !c.unclean_leader_election_enable);
        assert_eq!((c.segment_bytes, c.segment_ms, c.segment_jitter_ms), (1 << 30, 604_800_000, 0));
        assert_eq!((c.retention_ms, c.retention_bytes), (Some(604_800_000), None));
        assert_eq!((c.flush_messages, c.flush_ms), (i64::MAX, i64::MAX));
        assert_eq!((c.max_message_bytes, c.min_insync_replicas), (1_048_588, 1));
        assert_eq!(c.compression, Compression::Producer);
    }

    #[test]
    fn own_settings_count_and_the_brokers_fill_in() {
        let fixed = props(&[
            ("compression.type", "zstd"),
            ("compression.zstd.level", "7"),
            ("log.flush.scheduler.interval.ms", "9"),
            ("producer.id.expiration.ms", "11"),
        ]);
        let own = props(&[
            ("cleanup.policy", "compact"),
            ("retention.ms", "-1"),
            ("message.timestamp.type", "LogAppendTime"),
        ]);
        let c = TopicConfig::new(&own, &Layers::of_file(&fixed));
        assert!(c.compact && !c.delete);
        assert_eq!(c.retention_ms, None);
        assert_eq!(c.compression, Compression::Stored(Codec::Zstd, Some(7)));
        assert_eq!(c.message_timestamp_type, TimestampType::LogAppendTime);
        assert_eq!((c.flush_ms, c.producer_id_expiration_ms), (9, 11));
        let (file, default) =
            (props(&[("producer.id.expiration.ms", "11")]), props(&[("producer.id.expiration.ms", "12")]));
        let layers = Layers { dynamic_broker: &(), dynamic_default: &default, fixed: &file };
        assert_eq!(TopicConfig::new(&own, &layers).producer_id_expiration_ms, 12);
    }

    #[test]
    fn equal_settings_are_shared() {
        let (mut configs, layers) = (TopicConfigs::default(), Layers::of_file(&()));
        let own = props(&[("retention.ms", "5")]);
        let (a, b) = (configs.get(&own, &layers), configs.get(&own.clone(), &layers));
        assert!(Arc::ptr_eq(&a, &b));
        assert!(Arc::ptr_eq(&configs.get(&(), &layers), &configs.get(&(), &layers)));
        assert!(!Arc::ptr_eq(&a, &configs.get(&(), &layers)));
    }
}
