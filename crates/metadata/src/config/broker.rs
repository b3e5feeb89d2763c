//! A broker's settings: how they must go together, and what may be changed while it runs.

use super::key::{Effect, Key, Update};
use super::layers::{Layers, Values, unit_synonyms, without_listener_prefix};
use super::remarks::is_default;
use super::table::{broker_key, quota_key, topic_key};
use super::value::{Value, parse_host_limits};

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
    let overrides = overrides.map(|value| value.to_string()).unwrap_or_default();
    if parse_host_limits(&overrides).is_none() {
        let rule = "each entry of max.connections.per.ip.overrides must be host:limit, with a limit of 0 or more";
        conflict("max.connections.per.ip.overrides", rule);
    }
    if whole("max.connections.per.ip") == 0 && overrides.is_empty() {
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
/// `now` are the layers of the broker that checks, before the change. Names that nobody knows are kept, as Kafka does: they
/// may be meant for a plugin. What protects something and is not there is refused.
pub fn validate_dynamic(own: &dyn Values, for_all_brokers: bool, now: &Layers<'_>) -> Result<(), String> {
    let mut names: Vec<String> = Vec::new();
    own.for_each(&mut |name, _| names.push(name.to_owned()));
    let refused = |text: &str, which: &dyn Fn(&str) -> bool| {
        let found: Vec<&str> = names.iter().map(String::as_str).filter(|name| which(name)).collect();
        if found.is_empty() { Ok(()) } else { Err(format!("{text}: [{}]", found.join(", "))) }
    };
    let update = |name: &str| key_of(name).map(|key| key.update);
    refused("Cannot update these configs dynamically", &|name| update(name) == Some(Update::ReadOnly))?;
    let text = "These security configs can be dynamically updated only per-listener using the listener prefix";
    refused(text, &|name| ONLY_FOR_LISTENERS.contains(&name))?;
    own.check(&mut |name, value| match key_of(name) {
        Some(key) => key.parse(value).map(drop),
        None => Ok(()),
    })?;
    if for_all_brokers {
        let text = "Cannot update these configs at default cluster level, broker id must be specified";
        let of_one_listener =
            |name: &str| without_listener_prefix(name).is_some_and(|base| !OF_ALL_BROKERS.contains(&base));
        refused(text, &|name: &str| update(name) == Some(Update::PerBroker) || of_one_listener(name))?;
    }
    own.check(&mut is_served)?;
    let after = match for_all_brokers {
        true => Layers { dynamic_default: own, ..*now },
        false => Layers { dynamic_broker: own, ..*now },
    };
    if let Some(conflict) = conflicts(&after).into_iter().next() {
        return Err(format!("requirement failed: {}", conflict.rule));
    }
    threads_change_slowly(now, &after)
        .map_err(|why| format!("Invalid value org.apache.kafka.common.config.ConfigException: {why} for configuration Invalid dynamic configuration"))
}

/// Secrets and stores of keys belong to a listener.
const ONLY_FOR_LISTENERS: [&str; 9] = [
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
];

/// Settings of one listener that may be the same on all brokers.
const OF_ALL_BROKERS: [&str; 3] = ["max.connections", "max.connection.creation.rate", "num.network.threads"];

/// A pool of threads may at most double and halve at once: more is taken for a mistake.
fn threads_change_slowly(now: &Layers<'_>, after: &Layers<'_>) -> Result<(), String> {
    const POOLS: [&str; 5] = [
        "num.io.threads",
        "num.network.threads",
        "num.replica.fetchers",
        "num.recovery.threads.per.data.dir",
        "background.threads",
    ];
    let whole = |layers: &Layers<'_>, name: &str| match broker_key(name).and_then(|key| layers.value(key)) {
        Some(Value::Whole(n)) => n,
        _ => 0,
    };
    for name in POOLS {
        let (old, new) = (whole(now, name), whole(after, name));
        let failed = |rule: &str| {
            Err(format!(
                "Dynamic thread count update validation failed for {name}={new}, value should {rule} the current value {old}"
            ))
        };
        if new > old.saturating_mul(2) {
            return failed("not be greater than double");
        }
        if new < old / 2 {
            return failed("be at least half");
        }
    }
    let (old, new) = (whole(now, "log.cleaner.threads"), whole(after, "log.cleaner.threads"));
    match () {
        () if new < 1 && old >= 1 => Err("Log cleaner threads should be at least 1".to_owned()),
        () if new < old / 2 => {
            Err(format!("Log cleaner threads cannot be reduced to less than half the current value {old}"))
        }
        () if old >= 1 && new > old.saturating_mul(2) => {
            Err(format!("Log cleaner threads cannot be increased to more than double the current value {old}"))
        }
        () => Ok(()),
    }
}

/// Keys that Kafka can change at run time and that this broker reads at its start only. A change is refused: it would be
/// kept, shown and have no effect. Config providers are among them also because whoever may change settings could
/// otherwise have any file of the broker's shown to him.
pub fn is_read_at_start_only(name: &str) -> bool {
    const KEYS: [&str; 3] = ["config.providers", "listeners", "listener.security.protocol.map"];
    KEYS.contains(&name) || name.starts_with("config.providers.")
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
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn check(name: &str, value: &str, for_all: bool) -> Result<(), String> {
        let own = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        validate_dynamic(&own, for_all, &Layers::of_file(&()))
    }

    #[test]
    fn wrong_changes_are_refused_with_kafkas_words() {
        let threads = |rule: &str| {
            format!(
                "Invalid value org.apache.kafka.common.config.ConfigException: {rule} for configuration Invalid dynamic \
                 configuration"
            )
        };
        let too_many = "Dynamic thread count update validation failed for num.io.threads=17, value should not be greater \
                        than double the current value 8";
        let too_few = "Dynamic thread count update validation failed for num.io.threads=3, value should be at least half \
                       the current value 8";
        let cleaners = "Log cleaner threads cannot be increased to more than double the current value 1";
        let default_level = "Cannot update these configs at default cluster level, broker id must be specified";
        let only_listeners =
            "These security configs can be dynamically updated only per-listener using the listener prefix";
        for (name, value, for_all, said) in [
            (
                "log.retention.ms",
                "abc",
                false,
                "Invalid value abc for configuration log.retention.ms: Not a number of type LONG".to_owned(),
            ),
            (
                "log.retention.hours",
                "1",
                false,
                "Cannot update these configs dynamically: [log.retention.hours]".to_owned(),
            ),
            ("listeners", "PLAINTEXT://:1", true, format!("{default_level}: [listeners]")),
            (
                "listener.name.x.ssl.keystore.type",
                "PEM",
                true,
                format!("{default_level}: [listener.name.x.ssl.keystore.type]"),
            ),
            ("ssl.keystore.location", "/x", false, format!("{only_listeners}: [ssl.keystore.location]")),
            (
                "log.retention.ms",
                "0",
                false,
                "requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1".to_owned(),
            ),
            (
                "listener.name.x.max.connections",
                "-1",
                true,
                "Invalid value -1 for configuration max.connections: Value must be at least 0".to_owned(),
            ),
            (
                "max.connections.per.ip.overrides",
                "127.0.0.1",
                true,
                "requirement failed: each entry of max.connections.per.ip.overrides must be host:limit, with a limit of 0 or \
                 more"
                    .to_owned(),
            ),
            ("num.io.threads", "17", true, threads(too_many)),
            ("num.io.threads", "3", false, threads(too_few)),
            ("log.cleaner.threads", "3", true, threads(cleaners)),
        ] {
            assert_eq!(check(name, value, for_all).unwrap_err(), said);
        }
    }

    #[test]
    fn threads_are_compared_with_what_they_are_now() {
        let set = |n: &str| BTreeMap::from([("num.io.threads".to_owned(), n.to_owned())]);
        let (file, default, own) = (set("4"), set("16"), set("20"));
        let now = Layers { dynamic_broker: &(), dynamic_default: &default, fixed: &file };
        assert_eq!(validate_dynamic(&set("32"), false, &now), Ok(()));
        assert!(validate_dynamic(&(), true, &now).unwrap_err().contains("=4, value should be at least half"));
        let now = Layers { dynamic_broker: &own, ..now };
        assert_eq!(validate_dynamic(&(), true, &now), Ok(()), "what is set for this broker stays");
    }

    #[test]
    fn what_would_protect_and_is_not_there_is_refused() {
        let refused = |name: &str| check(name, "/x", false).unwrap_err();
        assert!(refused("listener.name.x.ssl.keystore.location").contains("cannot be set: TLS"));
        for name in ["config.providers", "config.providers.file.class", "listener.security.protocol.map"] {
            assert!(refused(name).contains("set it in its file"), "{name}");
        }
    }

    #[test]
    fn everything_else_that_kafka_takes_is_taken() {
        for (name, value) in [
            ("log.retention.ms", "1000"),
            ("nope", "1"),
            ("leader.replication.throttled.rate", "5"),
            ("log.cleanup.policy", "delete,compact"),
            ("num.io.threads", "16"),
            ("max.connections", "5000"),
            ("max.connection.creation.rate", "5"),
            ("listener.name.x.max.connections", "5"),
            ("producer.id.expiration.ms", "5000"),
        ] {
            assert_eq!(check(name, value, true), Ok(()), "{name}");
        }
    }
}
