//! DescribeConfigs against what Apache Kafka 4.3.1 answered to the same settings, file and dynamic.

use std::collections::BTreeMap;

use metadata::config::describe::{self, Entry};
use metadata::config::{Kind, Layers, Source};

type Settings = BTreeMap<String, String>;

fn settings(pairs: &[(&str, &str)]) -> Settings {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn file() -> Settings {
    settings(&[
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("broker.id", "1"),
        ("controller.quorum.voters", "1@127.0.0.1:29193"),
        ("listeners", "PLAINTEXT://127.0.0.1:29192,CONTROLLER://127.0.0.1:29193"),
        ("advertised.listeners", "PLAINTEXT://127.0.0.1:29192"),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"),
        ("controller.listener.names", "CONTROLLER"),
        ("log.dirs", "/data"),
        ("offsets.topic.replication.factor", "1"),
        ("num.partitions", "3"),
        ("log.retention.hours", "48"),
        ("log.segment.bytes", "2097152"),
        ("group.consumer.session.timeout.ms", "46000"),
        ("ssl.keystore.password", "secret"),
        ("my.own", "hello"),
        ("listener.name.plaintext.ssl.keystore.password", "secret2"),
        ("listener.name.plaintext.max.connections", "100"),
        ("internal.metadata.delete.delay.millis", "1000"),
    ])
}

fn of_this_broker() -> Settings {
    settings(&[
        ("nope", "1"),
        ("log.retention.ms", "90000000"),
        ("num.io.threads", "16"),
        ("log.cleanup.policy", "delete,compact"),
        ("leader.replication.throttled.rate", "5"),
        ("max.connections", "5000"),
        ("listener.name.plaintext.max.connections", "200"),
        ("listener.name.plaintext.ssl.keystore.location", "/x"),
    ])
}

fn of_all_brokers() -> Settings {
    settings(&[
        ("log.retention.ms", "80000000"),
        ("nope", "1"),
        ("leader.replication.throttled.rate", "5"),
        ("min.insync.replicas", "1"),
    ])
}

fn source_name(source: Source) -> &'static str {
    match source {
        Source::DynamicTopic => "DYNAMIC_TOPIC_CONFIG",
        Source::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
        Source::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        Source::StaticBroker => "STATIC_BROKER_CONFIG",
        Source::Default => "DEFAULT_CONFIG",
        Source::DynamicBrokerLogger => "DYNAMIC_BROKER_LOGGER_CONFIG",
        Source::ClientMetrics => "DYNAMIC_CLIENT_METRICS_CONFIG",
        Source::Group => "DYNAMIC_GROUP_CONFIG",
    }
}

fn as_kafka_printed(resource: &str, name: &str, entry: &Entry) -> String {
    let or_null = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".into());
    let synonym = |s: &describe::Synonym| format!("{}:{}={};", source_name(s.source), s.name, or_null(&s.value));
    [
        resource,
        name,
        &entry.name,
        &or_null(&entry.value),
        source_name(entry.source),
        &entry.read_only.to_string(),
        &entry.sensitive.to_string(),
        entry.kind.map_or("UNKNOWN", Kind::name),
        &entry.synonyms.iter().map(synonym).collect::<String>(),
    ]
    .join("\t")
}

#[test]
fn descriptions_are_those_of_kafka() {
    let (file, own, all) = (file(), of_this_broker(), of_all_brokers());
    let layers = Layers { dynamic_broker: &own, dynamic_default: &all, fixed: &file };
    let everything: describe::Wanted<'_> = &|_| true;
    let topic = settings(&[
        ("retention.ms", "5000"),
        ("cleanup.policy", "compact, delete"),
        ("leader.replication.throttled.replicas", "0:1"),
        ("internal.segment.bytes", "100"),
    ]);
    let group = settings(&[("consumer.session.timeout.ms", "50000")]);
    let metrics = settings(&[("interval.ms", "5000"), ("metrics", "org.apache")]);
    let mut ours = Vec::new();
    for (resource, name, entries) in [
        ("TOPIC", "t", describe::topic(&topic, &layers, everything)),
        ("BROKER", "1", describe::broker(&layers, everything)),
        ("BROKER", "", describe::broker_defaults(&layers, everything)),
        ("GROUP", "g", describe::group(&group, &layers, everything)),
        ("GROUP", "unknown", describe::group(&(), &layers, everything)),
        ("CLIENT_METRICS", "m", describe::client_metrics(&metrics, everything)),
        ("CLIENT_METRICS", "unknown", describe::client_metrics(&(), everything)),
    ] {
        ours.extend(entries.iter().map(|entry| as_kafka_printed(resource, name, entry)));
    }
    // Kafka shows the default of the hours as their value once the milliseconds are set at run time, though it says itself
    // that the file sets them.
    let odd = |line: &str| line.starts_with("BROKER\t1\tlog.retention.hours\t");
    ours.retain(|line| !odd(line));
    let kafka = include_str!("fixtures/config/describe-4.3.1.tsv").lines();
    let kafka: Vec<&str> = kafka.filter(|line| !line.starts_with('#') && !odd(line)).collect();
    let missing: Vec<_> = kafka.iter().filter(|line| !ours.iter().any(|o| o == *line)).collect();
    let extra: Vec<_> = ours.iter().filter(|line| !kafka.contains(&line.as_str())).collect();
    assert!(missing.is_empty() && extra.is_empty(), "only Kafka has\n{missing:#?}\nonly here\n{extra:#?}");
    assert!(ours.len() > 400);
}

#[test]
fn only_what_is_asked_for_is_described() {
    let entries = describe::topic(&(), &Layers::of_file(&()), &|name| name == "retention.ms");
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].value.as_deref(), entries[0].documentation.is_some()), (Some("604800000"), true));
}
