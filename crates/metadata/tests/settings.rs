//! What the controller decides of settings, with the codes and texts of Apache Kafka 4.3.1.
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod common;

use common::{Change, Decider, changed, refusal, topic};
use metadata::controller::{AlterOp, Command, ConfigChanges, NewSettings, Refusal, Reply, list_config_resources};
use metadata::image::{ConfigResource, ResourceKind};
use wire::ErrorCode;

#[test]
fn settings_are_set_deleted_appended_and_subtracted() {
    let mut cluster = Decider::new(&[]).with_brokers(1);
    cluster.create_one(topic("t", 1, 1)).unwrap();
    let resource = || ConfigResource::topic("t");
    changed(
        &mut cluster,
        resource(),
        &[("retention.ms", AlterOp::Set, Some("5")), ("cleanup.policy", AlterOp::Append, Some("compact"))],
    )
    .unwrap();
    let value = |cluster: &Decider, key: &str| cluster.image().configs.value(&resource(), key).map(str::to_owned);
    assert_eq!(value(&cluster, "cleanup.policy").as_deref(), Some("delete,compact"));
    changed(
        &mut cluster,
        resource(),
        &[("retention.ms", AlterOp::Delete, None), ("cleanup.policy", AlterOp::Subtract, Some("delete"))],
    )
    .unwrap();
    assert_eq!(value(&cluster, "cleanup.policy").as_deref(), Some("compact"));
    assert_eq!(value(&cluster, "retention.ms"), None);
    // What stays as it is writes nothing.
    let before = cluster.records.len();
    changed(&mut cluster, resource(), &[("cleanup.policy", AlterOp::Set, Some("compact"))]).unwrap();
    assert_eq!(cluster.records.len(), before);
}

#[test]
fn settings_that_kafka_refuses_are_refused_with_its_texts() {
    let mut cluster = Decider::new(&[]).with_brokers(1);
    cluster.create_one(topic("t", 1, 1)).unwrap();
    use AlterOp::*;
    use ErrorCode::{BrokerIdNotRegistered, InvalidConfig, InvalidRequest, UnknownTopicOrPartition};
    let long = "x".repeat(40_000);
    let cases: Vec<(ConfigResource, Change<'_>, ErrorCode, &str)> = vec![
        (
            ConfigResource::topic("nosuch"),
            ("retention.ms", Set, Some("1")),
            UnknownTopicOrPartition,
            "The topic 'nosuch' does not exist.",
        ),
        (
            ConfigResource::topic(""),
            ("retention.ms", Set, Some("1")),
            InvalidRequest,
            "Default topic resources are not allowed.",
        ),
        (ConfigResource::topic("t"), ("nope", Set, Some("1")), InvalidConfig, "Unknown topic config name: nope"),
        (
            ConfigResource::topic("t"),
            ("retention.ms", Append, Some("1")),
            InvalidConfig,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            ConfigResource::topic("t"),
            ("retention.ms", Set, None),
            InvalidRequest,
            "Null value not supported for : retention.ms",
        ),
        (
            ConfigResource::default_broker(),
            ("num.partitions", Set, Some("3")),
            InvalidRequest,
            "Cannot update these configs dynamically: [num.partitions]",
        ),
        (
            ConfigResource::default_broker(),
            ("listeners", Set, Some("PLAINTEXT://:1")),
            InvalidRequest,
            "Cannot update these configs at default cluster level, broker id must be specified: [listeners]",
        ),
        (
            ConfigResource::default_broker(),
            ("log.retention.ms", Set, Some("abc")),
            InvalidRequest,
            "Invalid value abc for configuration log.retention.ms: Not a number of type LONG",
        ),
        (
            ConfigResource::broker(1),
            ("ssl.keystore.location", Set, Some("x")),
            InvalidRequest,
            "These security configs can be dynamically updated only per-listener using the listener prefix: \
             [ssl.keystore.location]",
        ),
        (
            ConfigResource::new(ResourceKind::Group, "g"),
            ("foo", Set, Some("5")),
            InvalidConfig,
            "Unknown group config name: foo",
        ),
        (
            ConfigResource::new(ResourceKind::ClientMetrics, "m"),
            ("foo", Set, Some("5")),
            InvalidRequest,
            "Unknown client metrics configuration: foo",
        ),
        (
            ConfigResource::topic("t"),
            ("retention.ms", Set, Some(&long)),
            InvalidConfig,
            "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.",
        ),
        (
            ConfigResource::new(ResourceKind::Broker, "x"),
            ("log.retention.ms", Set, Some("1")),
            InvalidRequest,
            "Unable to parse broker name as a base 10 number.",
        ),
        (
            ConfigResource::broker(-1),
            ("log.retention.ms", Set, Some("1")),
            InvalidRequest,
            "Invalid negative broker ID.",
        ),
        (
            ConfigResource::broker(9),
            ("log.retention.ms", Set, Some("1")),
            BrokerIdNotRegistered,
            "No node with id 9 found.",
        ),
        (
            ConfigResource::broker(1),
            ("min.insync.replicas", Set, Some("2")),
            InvalidConfig,
            "Broker-level min.insync.replicas cannot be altered while ELR is enabled.",
        ),
        (
            ConfigResource::default_broker(),
            ("min.insync.replicas", Delete, None),
            InvalidConfig,
            "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.",
        ),
        (
            ConfigResource::new(ResourceKind::Group, ""),
            ("consumer.session.timeout.ms", Set, Some("50000")),
            InvalidRequest,
            "Default group resources are not allowed.",
        ),
    ];
    for (resource, one, code, text) in cases {
        assert_eq!(refusal(changed(&mut cluster, resource, &[one])), (code, text.to_owned()));
    }
    let key_twice = [("retention.ms", Set, Some("1")), ("retention.ms", Set, Some("2"))];
    let refused = refusal(changed(&mut cluster, ConfigResource::topic("t"), &key_twice));
    assert_eq!(refused, (InvalidRequest, "Error due to duplicate config keys".to_owned()));
    let twice = ConfigChanges { resource: ConfigResource::topic("t"), changes: Vec::new() };
    let command = Command::IncrementalAlterConfigs { resources: vec![twice.clone(), twice], validate_only: false };
    let Reply::IncrementalAlterConfigs(results) = cluster.ask(command) else { panic!() };
    let refused = Refusal::new(InvalidRequest, "Each resource must appear at most once.");
    assert_eq!(results, [0, 1].map(|_| (ConfigResource::topic("t"), Err(refused.clone()))));
}

#[test]
fn the_legacy_request_replaces_all_settings_of_a_resource() {
    let mut cluster = Decider::new(&[]).with_brokers(1);
    cluster.create_one(topic("t", 1, 1)).unwrap();
    changed(&mut cluster, ConfigResource::topic("t"), &[("retention.ms", AlterOp::Set, Some("5"))]).unwrap();
    let settings = vec![("segment.ms".to_owned(), Some("7".to_owned()))];
    let resources = vec![NewSettings { resource: ConfigResource::topic("t"), settings }];
    let Reply::AlterConfigs(results) = cluster.ask(Command::AlterConfigs { resources, validate_only: false }) else {
        panic!()
    };
    assert_eq!(results, [(ConfigResource::topic("t"), Ok(()))]);
    let image = cluster.image();
    let settings: Vec<_> = image.configs.get(&ConfigResource::topic("t")).unwrap().iter().collect();
    assert_eq!(settings, [(&"segment.ms".to_owned(), &"7".to_owned())]);

    // What would drop the cluster's min.insync.replicas unsaid is refused, as Kafka does.
    let mut replace = |settings: &[(&str, &str)]| {
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned()))).collect();
        let resources = vec![NewSettings { resource: ConfigResource::default_broker(), settings }];
        match cluster.ask(Command::AlterConfigs { resources, validate_only: false }) {
            Reply::AlterConfigs(mut results) => results.remove(0).1,
            other => panic!("{other:?}"),
        }
    };
    let text = "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.";
    let without = replace(&[("log.retention.ms", "5")]);
    assert_eq!(refusal(without), (ErrorCode::InvalidConfig, text.to_owned()));
    replace(&[("log.retention.ms", "5"), ("min.insync.replicas", "1")]).unwrap();
}

#[test]
fn resources_are_listed_by_kind() {
    let mut cluster = Decider::new(&[]).with_brokers(1);
    cluster.create_one(topic("t", 1, 1)).unwrap();
    let group = ConfigResource::new(ResourceKind::Group, "g");
    changed(&mut cluster, group.clone(), &[("consumer.session.timeout.ms", AlterOp::Set, Some("50000"))]).unwrap();
    let image = cluster.image();
    assert_eq!(list_config_resources(&image, &[ResourceKind::Group]), [group]);
    assert_eq!(list_config_resources(&image, &[ResourceKind::Broker]), [ConfigResource::broker(1)]);
    assert_eq!(list_config_resources(&image, &[]).len(), 4);
}
