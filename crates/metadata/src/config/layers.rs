//! Which value counts: a broker's settings come in layers, and some keys stand in for others.
//!
//! From the strongest: what was set for this broker at run time, what was set for all brokers at run time, what its
//! file says, the default. A key of a topic has a broker key as its default (`segment.bytes`: `log.segment.bytes`), and
//! some broker keys have coarser units that count where the finer one is not set (`log.retention.ms`, `.minutes`,
//! `.hours`).

use std::collections::BTreeMap;

use super::key::Key;
use super::table::{broker_key, topic_key};
use super::value::Value;

/// Settings by name, wherever they are kept.
pub trait Values {
    fn value(&self, name: &str) -> Option<&str>;
    fn for_each(&self, f: &mut dyn FnMut(&str, &str));

    /// The first error that `check` finds, in the order of the settings.
    fn check(&self, check: &mut dyn FnMut(&str, &str) -> Result<(), String>) -> Result<(), String> {
        let mut result = Ok(());
        self.for_each(&mut |name, value| {
            if result.is_ok() {
                result = check(name, value);
            }
        });
        result
    }
}

impl Values for BTreeMap<String, String> {
    fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }

    fn for_each(&self, f: &mut dyn FnMut(&str, &str)) {
        self.iter().for_each(|(name, value)| f(name, value));
    }
}

impl Values for imbl::OrdMap<String, String> {
    fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }

    fn for_each(&self, f: &mut dyn FnMut(&str, &str)) {
        self.iter().for_each(|(name, value)| f(name, value));
    }
}

/// No settings.
impl Values for () {
    fn value(&self, _: &str) -> Option<&str> {
        None
    }

    fn for_each(&self, _: &mut dyn FnMut(&str, &str)) {}
}

impl<V: Values + ?Sized> Values for Option<&V> {
    fn value(&self, name: &str) -> Option<&str> {
        (*self)?.value(name)
    }

    fn for_each(&self, f: &mut dyn FnMut(&str, &str)) {
        if let Some(values) = self {
            values.for_each(f);
        }
    }
}

/// The layers of a broker's settings above the defaults.
#[derive(Clone, Copy)]
pub struct Layers<'a> {
    /// Set at run time for this broker.
    pub dynamic_broker: &'a dyn Values,
    /// Set at run time for all brokers.
    pub dynamic_default: &'a dyn Values,
    /// The file with its overrides.
    pub fixed: &'a dyn Values,
}

impl<'a> Layers<'a> {
    /// Only what the file says.
    pub fn of_file(fixed: &'a dyn Values) -> Layers<'a> {
        Layers { dynamic_broker: &(), dynamic_default: &(), fixed }
    }

    fn in_order(&self) -> [&'a dyn Values; 3] {
        [self.dynamic_broker, self.dynamic_default, self.fixed]
    }

    /// The value of a broker key that counts, `None` where it is not set and has no default. A value that does not parse
    /// (it was stored by a version with other rules) is passed over.
    pub fn value(&self, key: &Key) -> Option<Value> {
        let set = self.in_order().into_iter().find_map(|layer| key.parse(layer.value(key.name)?).ok());
        set.or_else(|| key.default.and_then(|text| key.parse(text).ok()))
    }

    /// As [`Layers::value`], with the coarser units counted in: `log.retention.ms` from `log.retention.hours`.
    fn value_in_finest_unit(&self, name: &str) -> Option<Value> {
        let key = broker_key(name)?;
        let units = unit_synonyms(name);
        if units.is_empty() {
            return self.value(key);
        }
        let keys = || units.iter().filter_map(|unit| broker_key(unit));
        let set = |layer: &dyn Values| keys().find_map(|key| in_ms(key, key.parse(layer.value(key.name)?).ok()?));
        let default = || keys().find_map(|key| in_ms(key, key.parse(key.default?).ok()?));
        self.in_order().into_iter().find_map(set).or_else(default)
    }

    /// The value that is set for one listener only (`listener.name.NAME.KEY`, with the name in lower case); the broker's own
    /// value of the key does not stand in for it.
    pub fn listener_value(&self, listener: &str, key: &Key) -> Option<Value> {
        let name = format!("listener.name.{}.{}", listener.to_ascii_lowercase(), key.name);
        self.in_order().into_iter().find_map(|layer| key.parse(layer.value(&name)?).ok())
    }

    /// The value a topic has where it has none of its own.
    pub fn topic_default(&self, key: &Key) -> Option<Value> {
        match topic_synonym(key.name) {
            Some(broker) => self.value_in_finest_unit(broker),
            None => key.default.and_then(|text| key.parse(text).ok()),
        }
    }

    /// The value of a topic's key that counts, given the topic's own settings.
    pub fn topic_value(&self, own: &dyn Values, name: &str) -> Option<Value> {
        let key = topic_key(name)?;
        own.value(name).and_then(|text| key.parse(text).ok()).or_else(|| self.topic_default(key))
    }
}

fn in_ms(key: &Key, value: Value) -> Option<Value> {
    let unit = match key.name {
        name if name.ends_with(".minutes") => 60_000,
        name if name.ends_with(".hours") => 3_600_000,
        _ => 1,
    };
    match value {
        // Any negative retention means forever.
        Value::Whole(n) if n < 0 => Some(Value::Whole(-1)),
        Value::Whole(n) => Some(Value::Whole(n.saturating_mul(unit))),
        _ => None,
    }
}

/// Keys of which the first that is set counts; empty for most.
pub fn unit_synonyms(broker_key: &str) -> &'static [&'static str] {
    const GROUPS: [&[&str]; 4] = [
        &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
        &["log.roll.ms", "log.roll.hours"],
        &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
    ];
    // The flush scheduler stands in for the interval, but not the other way round.
    let group = |g: &&&[&str]| g.contains(&broker_key) && broker_key != "log.flush.scheduler.interval.ms";
    GROUPS.iter().find(group).copied().unwrap_or(&[])
}

/// The broker key that a topic's key takes its default from.
pub fn topic_synonym(topic_key: &str) -> Option<&'static str> {
    Some(match topic_key {
        "cleanup.policy" => "log.cleanup.policy",
        "compression.gzip.level" => "compression.gzip.level",
        "compression.lz4.level" => "compression.lz4.level",
        "compression.type" => "compression.type",
        "compression.zstd.level" => "compression.zstd.level",
        "delete.retention.ms" => "log.cleaner.delete.retention.ms",
        "file.delete.delay.ms" => "log.segment.delete.delay.ms",
        "flush.messages" => "log.flush.interval.messages",
        "flush.ms" => "log.flush.interval.ms",
        "index.interval.bytes" => "log.index.interval.bytes",
        "local.retention.bytes" => "log.local.retention.bytes",
        "local.retention.ms" => "log.local.retention.ms",
        "max.compaction.lag.ms" => "log.cleaner.max.compaction.lag.ms",
        "max.message.bytes" => "message.max.bytes",
        "message.timestamp.after.max.ms" => "log.message.timestamp.after.max.ms",
        "message.timestamp.before.max.ms" => "log.message.timestamp.before.max.ms",
        "message.timestamp.type" => "log.message.timestamp.type",
        "min.cleanable.dirty.ratio" => "log.cleaner.min.cleanable.ratio",
        "min.compaction.lag.ms" => "log.cleaner.min.compaction.lag.ms",
        "min.insync.replicas" => "min.insync.replicas",
        "preallocate" => "log.preallocate",
        "retention.bytes" => "log.retention.bytes",
        "retention.ms" => "log.retention.ms",
        "segment.bytes" => "log.segment.bytes",
        "segment.index.bytes" => "log.index.size.max.bytes",
        "segment.jitter.ms" => "log.roll.jitter.ms",
        "segment.ms" => "log.roll.ms",
        "unclean.leader.election.enable" => "unclean.leader.election.enable",
        _ => return None,
    })
}

/// The broker key that a group's key takes its default from; three have none.
pub fn group_synonym(group_key: &str) -> Option<&'static str> {
    match group_key {
        "share.auto.offset.reset" | "share.isolation.level" | "share.renew.acknowledge.enable" => None,
        name => {
            let broker = |key: &&&Key| key.name.strip_prefix("group.") == Some(name);
            super::table::broker_keys().iter().find(broker).map(|key| key.name)
        }
    }
}

/// The base name of a setting for one listener: `ssl.keystore.location` of `listener.name.internal.ssl.keystore.location`.
pub fn without_listener_prefix(name: &str) -> Option<&str> {
    name.strip_prefix("listener.name.")?.split_once('.').map(|(_, base)| base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn props(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn retention(
        broker: &[(&str, &str)],
        default: &[(&str, &str)],
        fixed: &[(&str, &str)],
        own: &[(&str, &str)],
    ) -> i64 {
        let (broker, default, fixed) = (props(broker), props(default), props(fixed));
        let layers = Layers { dynamic_broker: &broker, dynamic_default: &default, fixed: &fixed };
        match layers.topic_value(&props(own), "retention.ms") {
            Some(Value::Whole(ms)) => ms,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn stronger_layers_win() {
        let (ms, hours, week) = ("log.retention.ms", "log.retention.hours", 604_800_000);
        assert_eq!(retention(&[], &[], &[], &[]), week);
        assert_eq!(retention(&[], &[], &[(hours, "2")], &[]), 7_200_000);
        assert_eq!(retention(&[], &[(ms, "5")], &[(ms, "6")], &[]), 5);
        assert_eq!(retention(&[(ms, "4")], &[(ms, "5")], &[], &[]), 4);
        assert_eq!(retention(&[(ms, "4")], &[], &[], &[("retention.ms", "3")]), 3);
    }

    #[test]
    fn finer_units_win_within_a_layer() {
        let minutes = ("log.retention.minutes", "1");
        assert_eq!(retention(&[], &[], &[minutes, ("log.retention.hours", "1")], &[]), 60_000);
        assert_eq!(retention(&[], &[], &[minutes, ("log.retention.ms", "7")], &[]), 7);
        assert_eq!(retention(&[], &[], &[("log.retention.hours", "-1")], &[]), -1);
    }

    #[test]
    fn a_stored_value_that_does_not_parse_is_passed_over() {
        assert_eq!(retention(&[], &[("log.retention.ms", "8")], &[], &[("retention.ms", "abc")]), 8);
    }

    #[test]
    fn every_synonym_is_in_the_table_and_has_the_same_default() {
        let nothing = Layers::of_file(&());
        for key in super::super::table::topic_keys() {
            let Some(broker) = topic_synonym(key.name) else { continue };
            assert!(broker_key(broker).is_some(), "{broker}");
            let own = key.default.map(|text| key.parse(text).unwrap());
            assert_eq!(nothing.topic_default(key), own, "{} and {broker}", key.name);
        }
    }

    #[test]
    fn groups_take_their_defaults_from_the_broker() {
        assert_eq!(group_synonym("consumer.session.timeout.ms"), Some("group.consumer.session.timeout.ms"));
        assert_eq!(group_synonym("share.isolation.level"), None);
    }
}
