//! A broker's settings: how they must go together, and what may be changed while it runs.

use super::key::{Effect, Key, Update};
use super::layers::{Layers, Values, unit_synonyms, without_listener_prefix};
use super::remarks::is_default;
use super::table::{broker_key, quota_key, topic_key};
use super::value::Value;

/// Settings that are each valid and cannot be had together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The key to name: the one that is set where only one of them is.
    pub key: &'static str,
    /// Kafka's sentence.
    pub rule: String,
}

/// What is wrong with how these settings go together.
pub fn conflicts(layers: &Layers<'_>) -> Vec<Conflict> {
    let mut found = Vec::new();
    let mut conflict = |key, rule: &str| found.push(Conflict { key, rule: rule.to_owned() });
    let whole = |name: &str| match broker_key(name).and_then(|key| layers.value(key)) {
        Some(Value::Whole(n)) => n,
        _ => 0,
    };
    let finest = |topic: &str| match topic_key(topic).and_then(|key| layers.topic_default(key)) {
        Some(Value::Whole(n)) => n,
        _ => i64::MAX,
    };
    if finest("retention.ms") == 0 {
        let rule = "log.retention.ms must be unlimited (-1) or, greater than or equal to 1";
        conflict(set_of("log.retention.ms", layers), rule);
    }
    if finest("segment.ms") < 1 {
        conflict(set_of("log.roll.ms", layers), "log.roll.ms must be greater than or equal to 1");
    }
    if finest("segment.jitter.ms") < 0 {
        conflict(set_of("log.roll.jitter.ms", layers), "log.roll.jitter.ms must be greater than or equal to 0");
    }
    if whole("log.cleaner.min.compaction.lag.ms") > whole("log.cleaner.max.compaction.lag.ms") {
        let rule = "log.cleaner.min.compaction.lag.ms must not be above log.cleaner.max.compaction.lag.ms";
        conflict("log.cleaner.min.compaction.lag.ms", rule);
    }
    if whole("log.cleaner.dedupe.buffer.size") / whole("log.cleaner.threads").max(1) <= 1 << 20 {
        let rule = "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.";
        conflict("log.cleaner.dedupe.buffer.size", rule);
    }
    let wait = whole("replica.fetch.wait.max.ms");
    if wait > whole("replica.socket.timeout.ms") {
        let rule = "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary \
                    socket timeouts";
        conflict("replica.socket.timeout.ms", rule);
    }
    if wait > whole("replica.lag.time.max.ms") {
        let rule = "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent \
                    frequent changes in ISR";
        conflict("replica.fetch.wait.max.ms", rule);
    }
    let queued = whole("queued.max.request.bytes");
    if queued > 0 && queued < whole("socket.request.max.bytes") {
        let rule = "queued.max.request.bytes must be larger or equal to socket.request.max.bytes";
        conflict("queued.max.request.bytes", rule);
    }
    let overrides = broker_key("max.connections.per.ip.overrides").and_then(|key| layers.value(key));
    if whole("max.connections.per.ip") == 0 && overrides.is_none_or(|o| o.to_string().is_empty()) {
        let rule =
            "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.";
        conflict("max.connections.per.ip", rule);
    }
    if whole("group.min.session.timeout.ms") > whole("group.max.session.timeout.ms") {
        let rule =
            "group.min.session.timeout.ms must not be above group.max.session.timeout.ms: no member could join a group";
        conflict("group.min.session.timeout.ms", rule);
    }
    let protocols = "group.coordinator.rebalance.protocols";
    match broker_key(protocols).and_then(|key| layers.value(key)) {
        Some(Value::List(items)) if !items.iter().any(|item| item == "classic") => {
            conflict(protocols, "Disabling the 'classic' protocol is not supported.");
        }
        _ => {}
    }
    found
}

/// Of a key with coarser units, the one that the file sets.
fn set_of(finest: &'static str, layers: &Layers<'_>) -> &'static str {
    let set = unit_synonyms(finest).iter().find(|name| layers.fixed.value(name).is_some());
    set.copied().unwrap_or(finest)
}

/// Checks the settings made at run time for a broker, or for all of them, as they will be after a change. The error goes
/// out as INVALID_REQUEST; where Kafka refuses too, with its words.
///
/// `fixed` is the file of the broker that checks. Names that nobody knows are kept, as Kafka does: they may be meant for a
/// plugin. What protects something and is not there is refused.
pub fn validate_dynamic(own: &dyn Values, for_all_brokers: bool, fixed: &dyn Values) -> Result<(), String> {
    let mut names: Vec<String> = Vec::new();
    own.for_each(&mut |name, _| names.push(name.to_owned()));
    let refused = |text: &str, which: &dyn Fn(&str) -> bool| {
        let found: Vec<&str> = names.iter().map(String::as_str).filter(|name| which(name)).collect();
        if found.is_empty() { Ok(()) } else { Err(format!("{text}: [{}]", found.join(", "))) }
    };
    let update = |name: &str| key_of(name).map(|key| key.update);
    refused("Cannot update these configs dynamically", &|name| update(name) == Some(Update::ReadOnly))?;
    own.check(&mut |name, value| match key_of(name) {
        Some(key) => key.parse(value).map(drop),
        None => Ok(()),
    })?;
    if for_all_brokers {
        let text = "Cannot update these configs at default cluster level, broker id must be specified";
        let one_broker =
            |name: &str| update(name) == Some(Update::PerBroker) || without_listener_prefix(name).is_some();
        refused(text, &one_broker)?;
    }
    own.check(&mut is_served)?;
    let layers = match for_all_brokers {
        true => Layers { dynamic_broker: &(), dynamic_default: own, fixed },
        false => Layers { dynamic_broker: own, dynamic_default: &(), fixed },
    };
    match conflicts(&layers).into_iter().next() {
        Some(conflict) => Err(format!("requirement failed: {}", conflict.rule)),
        None => Ok(()),
    }
}

/// Keys that Kafka can change at run time and that this broker reads at its start only. A change is refused: it would be
/// kept, shown and have no effect. Config providers are among them also because whoever may change settings could
/// otherwise have any file of the broker's shown to him.
pub fn is_read_at_start_only(name: &str) -> bool {
    const KEYS: [&str; 6] = [
        "listeners",
        "listener.security.protocol.map",
        "max.connections",
        "max.connections.per.ip",
        "max.connections.per.ip.overrides",
        "producer.id.expiration.ms",
    ];
    KEYS.contains(&name) || name == "config.providers" || name.starts_with("config.providers.")
}

fn key_of(name: &str) -> Option<&'static Key> {
    broker_key(name).or_else(|| quota_key(name)).or_else(|| broker_key(without_listener_prefix(name)?))
}

fn is_served(name: &str, value: &str) -> Result<(), String> {
    match key_of(name).map(|key| (key, key.effect)) {
        Some((key, Effect::Refused(reason))) if !is_default(key, value) => {
            Err(format!("{name} cannot be set: {reason}"))
        }
        _ if is_read_at_start_only(name) => {
            Err(format!("{name} cannot be changed while this broker runs: set it in its file and start it again"))
        }
        Some((key, _)) if broker_key(name).is_none() && key.name.starts_with("max.connection") => {
            Err(format!("{name} cannot be set: limits of single listeners are not there yet"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn check(name: &str, value: &str, for_all: bool) -> Result<(), String> {
        let own = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        validate_dynamic(&own, for_all, &())
    }

    #[test]
    fn wrong_changes_are_refused_with_kafkas_words() {
        for (name, value, for_all, said) in [
            (
                "log.retention.ms",
                "abc",
                false,
                "Invalid value abc for configuration log.retention.ms: Not a number of type LONG",
            ),
            ("log.retention.hours", "1", false, "Cannot update these configs dynamically: [log.retention.hours]"),
            (
                "listeners",
                "PLAINTEXT://:1",
                true,
                "Cannot update these configs at default cluster level, broker id must be specified: [listeners]",
            ),
            (
                "log.retention.ms",
                "0",
                false,
                "requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
            ),
        ] {
            assert_eq!(check(name, value, for_all).unwrap_err(), said);
        }
    }

    #[test]
    fn what_would_protect_and_is_not_there_is_refused() {
        for name in [
            "max.connection.creation.rate",
            "listener.name.x.max.connections",
            "listener.name.x.max.connections.per.ip",
        ] {
            assert!(check(name, "5", false).unwrap_err().contains("cannot be set"), "{name}");
        }
        assert!(check("listener.name.x.ssl.keystore.location", "/x", false).is_err());
        for name in ["config.providers", "config.providers.file.class"] {
            assert!(check(name, "x", true).unwrap_err().contains("set it in its file"), "{name}");
        }
        assert!(check("max.connections", "5000", true).unwrap_err().contains("set it in its file"));
    }

    #[test]
    fn everything_else_that_kafka_takes_is_taken() {
        for (name, value) in [
            ("log.retention.ms", "1000"),
            ("nope", "1"),
            ("leader.replication.throttled.rate", "5"),
            ("log.cleanup.policy", "delete,compact"),
            ("num.io.threads", "16"),
        ] {
            assert_eq!(check(name, value, true), Ok(()), "{name}");
        }
    }
}
