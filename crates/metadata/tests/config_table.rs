//! The table of settings against Apache Kafka 4.3.1's own: names, types, defaults, ranges, update modes, and what its
//! `ConfigDef` makes of some two thousand values.

#![allow(clippy::unwrap_used)] // clippy sees tests only where they are marked as such, not their helpers

use metadata::config::table;
use metadata::config::{Effect, Importance, Key, Kind, Update, Valid};

fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
}

fn printed_valid(key: &Key) -> String {
    match key.valid {
        Valid::Any => String::new(),
        Valid::AtLeast(least) => format!("[{least},...]"),
        Valid::Range(least, most) => format!("[{least},...,{most}]"),
        Valid::Between(least, most) => format!("[{least},...,{most}]"),
        Valid::OneOf(values) => format!("[{}]", values.join(", ")),
        Valid::OneOfIgnoringCase(values) => format!("(case insensitive) [{}]", values.join(", ")),
        Valid::Items { of: [], .. } => String::new(),
        Valid::Items { of, .. } => format!("[{}]", of.join(", ")),
        Valid::NotEmpty => "non-empty string".into(),
        Valid::GzipLevel => "[1,...,9] or -1".into(),
        Valid::ThrottledReplicas => "[partitionId]:[brokerId],[partitionId]:[brokerId],...".into(),
        Valid::Voters | Valid::Endpoints => "non-empty list".into(),
        Valid::OffsetReset => "[latest, earliest, by_duration:PnDTnHnMn.nS]".into(),
    }
}

fn assert_row(key: &Key, row: &[&str]) {
    let name = row[0];
    assert_eq!(key.kind.name().to_lowercase(), row[1], "type of {name}");
    let default = if key.required { "(required)" } else { key.default.unwrap_or("null") };
    assert_eq!(default, row[2], "default of {name}");
    // Any string is "non-null": there is nothing to check.
    let valid = if row[3] == "non-null string" { "" } else { row[3] };
    assert_eq!(printed_valid(key), valid, "valid values of {name}");
    let importance = match key.importance {
        Importance::High => "high",
        Importance::Medium => "medium",
        Importance::Low => "low",
    };
    assert_eq!(importance, row[4], "importance of {name}");
    assert_eq!(key.internal, row[5] == "internal", "internal flag of {name}");
}

fn assert_table(keys: &[&Key], text: &'static str) {
    for row in rows(text) {
        let key = keys.iter().find(|key| key.name == row[0]).unwrap_or_else(|| panic!("{} is missing", row[0]));
        assert_row(key, &row);
        let update = match key.update {
            Update::ReadOnly => "read-only",
            Update::PerBroker => "per-broker",
            Update::ClusterWide => "cluster-wide",
        };
        if let Some(expected) = row.get(6) {
            assert_eq!(update, *expected, "update mode of {}", row[0]);
        }
    }
    let known: Vec<&str> = rows(text).map(|row| row[0]).collect();
    let extra = keys.iter().filter(|key| !known.contains(&key.name) && !key.name.starts_with("klamm."));
    assert_eq!(extra.map(|key| key.name).collect::<Vec<_>>(), Vec::<&str>::new(), "keys that Kafka does not have");
}

#[test]
fn broker_keys_are_those_of_kafka() {
    assert_table(table::broker_keys(), include_str!("fixtures/config/broker.tsv"));
}

#[test]
fn topic_keys_are_those_of_kafka() {
    assert_table(table::topic_keys(), include_str!("fixtures/config/topic.tsv"));
}

#[test]
fn group_keys_are_those_of_kafka() {
    assert_table(table::group_keys(), include_str!("fixtures/config/group.tsv"));
}

#[test]
fn client_metrics_keys_are_those_of_kafka() {
    assert_table(table::client_metrics_keys(), include_str!("fixtures/config/client-metrics.tsv"));
}

#[test]
fn quota_keys_are_those_of_kafka() {
    for text in [
        include_str!("fixtures/config/quota-broker.tsv"),
        include_str!("fixtures/config/quota-ip.tsv"),
        include_str!("fixtures/config/quota-user.tsv"),
    ] {
        for row in rows(text) {
            assert_row(table::quota_key(row[0]).expect(row[0]), &row);
        }
    }
}

#[test]
fn values_are_read_and_refused_as_kafka_does() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for row in rows(include_str!("fixtures/config/values-4.3.1.tsv")) {
        let [kind, name, value, outcome, said] = row[..] else { panic!("{row:?}") };
        let key = if kind == "topic" { table::topic_key(name) } else { table::broker_key(name) };
        let ours = match key.expect(name).parse(value) {
            Ok(value) => ("ok", value.to_string()),
            Err(message) => ("error", message),
        };
        if ours != (outcome, said.to_owned()) {
            wrong.push(format!("{name}={value:?}\n  Kafka: {outcome} {said}\n  here:  {} {}", ours.0, ours.1));
        }
        seen += 1;
    }
    assert!(seen > 2000, "{seen} rows");
    assert!(wrong.is_empty(), "{} of {seen} differ:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

#[test]
fn every_key_says_in_one_sentence_what_it_is_for() {
    let all = [
        table::broker_keys(),
        table::topic_keys(),
        table::group_keys(),
        table::client_metrics_keys(),
        table::quota_keys(),
    ];
    for key in all.into_iter().flatten() {
        assert!(key.doc.len() > 10 && key.doc.ends_with('.'), "{}: {:?}", key.name, key.doc);
        let default = key.default.map(|text| key.parse(text));
        assert!(default.is_none_or(|parsed| parsed.is_ok()), "the default of {} is not valid", key.name);
    }
}

#[test]
fn secrets_are_passwords() {
    let secret = |name: &str| table::broker_key(name).expect(name).kind == Kind::Password;
    assert!(["sasl.jaas.config", "ssl.key.password", "delegation.token.secret.key"].into_iter().all(secret));
}

#[test]
fn no_key_of_today_is_among_the_retired() {
    for old in table::retired::KEYS {
        assert!(table::broker_key(old.name).is_none(), "{}", old.name);
    }
}

/// All source of the broker, but for the table and the tests that stand in it.
fn source() -> String {
    let mut text = String::new();
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders: Vec<_> =
        ["metadata", "broker", "coordinator", "server"].map(|name| crates.join(name).join("src")).into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("config/table") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
                let file = std::fs::read_to_string(path).unwrap();
                text += file.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            }
        }
    }
    text
}

#[test]
fn every_key_that_works_is_read_somewhere() {
    let source = source();
    assert!(source.contains("\"log.retention.ms\""));
    let keys = [table::broker_keys(), table::topic_keys(), table::group_keys()].concat();
    let idle: Vec<&str> = keys
        .iter()
        .filter(|key| matches!(key.effect, Effect::Works) && !source.contains(&format!("\"{}\"", key.name)))
        .map(|key| key.name)
        .collect();
    assert!(idle.is_empty(), "nothing reads {idle:?}: they need a reason for having no effect");
}
