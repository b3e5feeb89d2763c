use std::path::Path;

use metadata::config::table;

use super::*;

/// As in Apache Kafka 4.x's own `config/server.properties`.
const COMBINED: &[(&str, &str)] = &[
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("controller.quorum.bootstrap.servers", "localhost:9093"),
    ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
    ("inter.broker.listener.name", "PLAINTEXT"),
    ("advertised.listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093"),
    ("controller.listener.names", "CONTROLLER"),
    (
        "listener.security.protocol.map",
        "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
    ),
    ("num.network.threads", "3"),
    ("num.io.threads", "8"),
    ("socket.send.buffer.bytes", "102400"),
    ("socket.receive.buffer.bytes", "102400"),
    ("socket.request.max.bytes", "104857600"),
    ("log.dirs", "/tmp/kraft-combined-logs"),
    ("num.partitions", "1"),
    ("num.recovery.threads.per.data.dir", "1"),
    ("offsets.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("log.retention.hours", "168"),
    ("log.segment.bytes", "1073741824"),
    ("log.retention.check.interval.ms", "300000"),
];

fn config(settings: &[(&str, &str)]) -> Result<BrokerConfig, ConfigError> {
    let properties = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    BrokerConfig::new(properties, None)
}

/// The combined file with changes; an empty value removes the key.
fn combined(changes: &[(&str, &str)]) -> Result<BrokerConfig, ConfigError> {
    let mut settings: Properties = COMBINED.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    for (key, value) in changes {
        match *value {
            "" => settings.remove(*key),
            value => settings.insert((*key).to_owned(), value.to_owned()),
        };
    }
    BrokerConfig::new(settings, None)
}

fn refused(result: Result<BrokerConfig, ConfigError>) -> String {
    result.expect_err("it was taken").to_string()
}

#[test]
fn without_a_file_only_this_machine_is_let_in() {
    let c = load(None, &[]).unwrap();
    let loopback: Vec<SocketAddr> = vec!["127.0.0.1:9092".parse().unwrap(), "[::1]:9092".parse().unwrap()];
    assert_eq!(c.listeners[0].addresses().unwrap(), loopback);
    assert_eq!((c.advertised[0].host.as_str(), c.advertised[0].port), ("localhost", 9092));
    assert_eq!((c.node_id, c.roles.embedded, c.offsets_topic.replication_factor), (1, true, 1));
    assert_eq!(c.log_dirs.len(), 1);
    assert!(c.log_dirs[0].ends_with("klamm") || c.log_dirs[0] == Path::new("/tmp/kafka-logs"));
    assert_eq!(config(&[]).unwrap().log_dirs, [Path::new("/tmp/kafka-logs")]);
    assert_eq!(c.remarks, Vec::<String>::new());
    assert_eq!(c.metrics_listener, None);
}

#[test]
fn apache_kafkas_own_file_works() {
    let c = combined(&[]).unwrap();
    assert_eq!(c.listeners, [Listener { name: "PLAINTEXT".into(), host: String::new(), port: 9092 }]);
    assert_eq!(c.controller_listeners, [Listener { name: "CONTROLLER".into(), host: String::new(), port: 9093 }]);
    assert_eq!(c.advertised, [Advertised { listener: "PLAINTEXT".into(), host: "localhost".into(), port: 9092 }]);
    let roles = Roles { broker: true, controller: true, embedded: false, formats: Formats::Never };
    assert_eq!(c.roles, roles);
    assert_eq!(c.file["broker.id"], "1");
}

#[test]
fn a_static_quorum_of_this_node_alone_works() {
    let voters = ("controller.quorum.voters", "1@127.0.0.1:9093");
    assert!(combined(&[voters, ("controller.quorum.bootstrap.servers", "")]).is_ok());
}

#[test]
fn the_packaged_file_works_for_one_node_and_lets_nobody_else_in() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/standalone.properties");
    let c = load(Some(&path), &[]).unwrap();
    assert!(c.roles.embedded && c.listeners.iter().all(Listener::is_loopback));
    assert_eq!(c.remarks, Vec::<String>::new());
}

#[test]
fn the_packaged_file_shows_the_defaults_of_what_is_commented_out() {
    let text = include_str!("../../../../config/standalone.properties");
    let shown = text.lines().filter_map(|line| line.strip_prefix('#')?.split_once('='));
    let mut seen = 0;
    for (name, value) in shown.filter(|(name, _)| name.contains('.') && !name.contains(' ')) {
        let key = table::broker_key(name).unwrap_or_else(|| panic!("{name} is not a setting"));
        let as_an_example =
            ["advertised.listeners", "klamm.metrics.listener", "klamm.log.file", "klamm.log.levels"].contains(&name);
        assert!(as_an_example || value == key.default.unwrap_or(""), "{name} has another default than {value}");
        seen += 1;
    }
    assert!(seen > 15);
}

#[test]
fn the_packaged_file_of_a_cluster_is_that_of_a_broker() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/server.properties");
    let c = load(Some(&path), &[]).unwrap();
    assert_eq!((c.roles.broker, c.roles.controller, c.roles.formats), (true, false, Formats::AsQuorumSays));
    assert_eq!((c.node_id, c.quorum.servers.as_slice()), (0, &[("localhost".to_owned(), 2181)][..]));
    assert_eq!(c.zookeeper.unwrap().connect, "localhost:2181");
    assert!(c.listeners.iter().all(Listener::is_loopback));
    assert_eq!(c.remarks, Vec::<String>::new());
}

#[test]
fn a_zoo_cfg_is_a_controller_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("zoo.cfg");
    let data = dir.path().display();
    std::fs::write(&file, format!("dataDir={data}\nclientPort=2182\nclientPortAddress=localhost\n")).unwrap();
    let c = load_zoo(&file).unwrap();
    assert_eq!((c.roles.broker, c.roles.controller, c.roles.formats), (false, true, Formats::Alone));
    let listener = Listener { name: zoo::CLIENT_LISTENER.into(), host: "localhost".into(), port: 2182 };
    assert_eq!(c.controller_listeners, [listener]);
    assert_eq!((c.node_id, c.listeners.len()), (i32::MAX, 0));
    std::fs::write(dir.path().join("myid"), "2").unwrap();
    let servers = "server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888\n";
    std::fs::write(&file, format!("dataDir={data}\n{servers}")).unwrap();
    let c = load_zoo(&file).unwrap();
    assert_eq!((c.node_id, c.roles.formats), (i32::MAX - 2, Formats::Never));
    assert_eq!(c.static_voters().map(|voters| voters.iter().count()), Some(3));
    std::fs::create_dir(dir.path().join("version-2")).unwrap();
    assert!(refused(load_zoo(&file)).contains("Apache ZooKeeper's data"));
}

#[test]
fn overrides_beat_the_file_and_ids_stand_in_for_each_other() {
    let over = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    let c = load(None, &[over("broker.id", "7"), over("num.partitions", "3")]).unwrap();
    assert_eq!((c.node_id, c.num_partitions, c.file["node.id"].as_str()), (7, 3, "7"));
    assert!(
        refused(combined(&[("broker.id", "2")])).contains("You must set `node.id` to the same value as `broker.id`")
    );
    assert!(refused(combined(&[("node.id", "")])).contains("Missing required configuration \"node.id\""));
}

#[test]
fn log_dirs_beat_log_dir() {
    let dirs = |s: &[(&str, &str)]| config(s).unwrap().log_dirs;
    assert_eq!(dirs(&[("log.dir", "/a")]), [Path::new("/a")]);
    assert_eq!(dirs(&[("log.dir", "/a"), ("log.dirs", "/b, /c")]), [Path::new("/b"), Path::new("/c")]);
    let c = config(&[("log.dirs", "/b,/c"), ("metadata.log.dir", "/m")]).unwrap();
    assert_eq!(c.metadata_log_dir, Path::new("/m"));
}

/// Every sentence names the key, and the value or what is allowed.
#[test]
fn wrong_values_are_told_with_key_value_and_what_is_allowed() {
    for (key, value, said) in [
        ("log.retention.ms", "abc", "Invalid value abc for configuration log.retention.ms: Not a number of type LONG"),
        ("num.partitions", "-3", "Invalid value -3 for configuration num.partitions: Value must be at least 1"),
        (
            "listeners",
            "PLAINTEXT:/x",
            "Invalid value PLAINTEXT:/x for configuration listeners: Unable to parse PLAINTEXT:/x",
        ),
        ("listeners", "PLAINTEXT://:99999", "each entry is NAME://host:port"),
        ("listeners", "FOO://:9092", "No security protocol defined for listener FOO"),
        ("listeners", "PLAINTEXT://:1,PLAINTEXT://:2", "Each listener must have a different name"),
        ("listeners", "PLAINTEXT://0.0.0.0:9092", "cannot use the nonroutable meta-address 0.0.0.0"),
        ("advertised.listeners", "SSL://x:1", "advertised.listeners"),
        ("listener.security.protocol.map", "PLAINTEXT", "each entry is NAME:PROTOCOL"),
        ("listener.security.protocol.map", "PLAINTEXT:FOO", "Invalid security protocol `FOO`"),
        ("inter.broker.listener.name", "X", "inter.broker.listener.name"),
        ("log.roll.ms", "0", "log.roll.ms must be greater than or equal to 1"),
        ("log.retention.minutes", "0", "log.retention.ms must be unlimited (-1) or, greater than or equal to 1"),
        ("queued.max.request.bytes", "5", "must be larger or equal to socket.request.max.bytes"),
        ("max.connections.per.ip", "0", "max.connections.per.ip.overrides"),
        ("max.connections.per.ip.overrides", "x", "must be host:limit"),
        (
            "listener.name.plaintext.max.connections",
            "x",
            "Invalid value x for configuration max.connections: Not a number of type INT",
        ),
        ("offsets.topic.compression.codec", "9", "0 (none), 1 (gzip)"),
        ("default.replication.factor", "0", "Value must be between 1 and 32767"),
        ("klamm.metrics.listener", "9404", "127.0.0.1:9404"),
        ("klamm.log.format", "xml", "String must be one of: human, json"),
        ("klamm.log.levels", "root", "each entry is LOGGER=LEVEL"),
        ("klamm.log.levels", "root=LOUD", "each entry is LOGGER=LEVEL"),
        ("group.min.session.timeout.ms", "1800001", "group.max.session.timeout.ms"),
        ("broker.id", "-2", "Value must be at least 0"),
        ("replica.socket.timeout.ms", "400", "replica.fetch.wait.max.ms"),
    ] {
        let message = refused(config(&[(key, value)]));
        assert!(message.contains(said) && message.contains(key), "{key}={value}: {message}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let wrong = config(&[("num.partitions", "x"), ("log.segment.bytes", "1")]).unwrap_err();
    assert_eq!(wrong.0.len(), 2, "{wrong}");
}

#[test]
fn what_protects_and_is_not_there_refuses_the_start_by_name() {
    for (key, value) in [
        ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
        ("listeners", "SSL://127.0.0.1:9092"),
        ("listeners", "SASL_PLAINTEXT://127.0.0.1:9092"),
        ("security.inter.broker.protocol", "SASL_PLAINTEXT"),
        ("sasl.enabled.mechanisms", "SCRAM-SHA-256"),
        ("listener.name.plaintext.scram-sha-256.sasl.jaas.config", "x"),
        ("listener.name.plaintext.ssl.keystore.location", "/x"),
        ("ssl.client.auth", "required"),
        ("client.quota.callback.class", "x.Y"),
        ("create.topic.policy.class.name", "x.Y"),
        ("remote.log.storage.system.enable", "true"),
        ("quota.producer.default", "1000"),
        ("connections.max.reauth.ms", "1000"),
        ("port", "9092"),
        // A slip of the pen must not open what was meant to be closed.
        ("authoriser.class.name", "x.Y"),
    ] {
        let message = refused(config(&[(key, value)]));
        assert!(message.contains(key), "{key}={value}: {message}");
    }
    let secret = refused(config(&[("ssl.key.password", "geheim")]));
    assert!(secret.contains("ssl.key.password") && !secret.contains("geheim"), "{secret}");
}

#[test]
fn a_protecting_setting_at_its_default_is_no_reason_to_refuse() {
    let defaults =
        [("ssl.client.auth", "none"), ("authorizer.class.name", ""), ("max.connection.creation.rate", "2147483647")];
    assert!(config(&defaults).is_ok());
}

#[test]
fn what_a_node_is_must_fit_the_quorum_that_it_names() {
    let bootstrap = "controller.quorum.bootstrap.servers";
    for (changes, named) in [
        (&[("controller.quorum.voters", "2@a:9093")][..], "controller.quorum.voters"),
        (&[(bootstrap, "")], bootstrap),
        (&[("process.roles", "broker")], "controller.listener.names"),
        (&[("process.roles", "controller")], "listeners"),
        (
            &[
                ("process.roles", "broker"),
                ("listeners", "PLAINTEXT://:9092"),
                ("controller.quorum.voters", "1@a:9093"),
            ],
            "controller.quorum.voters",
        ),
    ] {
        let message = refused(combined(changes));
        assert!(message.contains(named), "{changes:?}: {message}");
    }
}

#[test]
fn nodes_of_all_kinds_know_where_the_quorum_is() {
    let voters = ("controller.quorum.voters", "1@a:9093,2@b:9193,3@c:9093");
    let c = combined(&[voters]).unwrap();
    assert_eq!(c.static_voters().unwrap().len(), 3);
    assert!(c.quorum.servers.contains(&("b".to_owned(), 9193)));
    let broker = [("process.roles", "broker"), ("listeners", "PLAINTEXT://:9092")];
    let c = combined(&broker).unwrap();
    assert_eq!((c.roles.controller, c.roles.formats), (false, Formats::AsQuorumSays));
    assert_eq!(c.inter_broker_listener, "PLAINTEXT");
    let controller = [
        ("process.roles", "controller"),
        ("listeners", "CONTROLLER://:9093"),
        ("advertised.listeners", "CONTROLLER://localhost:9093"),
    ];
    let c = combined(&controller).unwrap();
    assert_eq!((c.roles.broker, c.listeners.len(), c.controller_listeners.len()), (false, 0, 1));
}

#[test]
fn what_has_no_effect_is_told_and_does_not_keep_from_starting() {
    let c = config(&[("num.network.threads", "9"), ("log.retension.ms", "1")]).unwrap();
    assert_eq!(c.remarks.len(), 2, "{:?}", c.remarks);
}

#[test]
fn listeners_open_to_the_network_are_warned_of_by_name() {
    let open = |listener: &str| config(&[("listeners", listener)]).unwrap().remarks;
    assert!(open("PLAINTEXT://127.0.0.1:9092").is_empty());
    assert!(open("PLAINTEXT://192.0.2.1:9092")[0].contains("PLAINTEXT://192.0.2.1:9092"));
}

#[test]
fn stored_settings_that_protect_refuse_too() {
    let stored = Properties::from([("listener.name.x.ssl.keystore.location".to_owned(), "/x".to_owned())]);
    assert_eq!(guard::stored_broker_refusals(&stored).len(), 1);
    let limit = Properties::from([("listeners".to_owned(), "PLAINTEXT://:1".to_owned())]);
    assert!(guard::stored_broker_refusals(&limit)[0].starts_with("listeners would"));
    let harmless = Properties::from([("log.retention.ms".to_owned(), "5".to_owned())]);
    assert!(guard::stored_broker_refusals(&harmless).is_empty());
    let tiered = Properties::from([("remote.storage.enable".to_owned(), "true".to_owned())]);
    assert!(guard::stored_topic_refusal("t", &tiered).is_some());
    assert!(guard::stored_topic_refusal("t", &Properties::new()).is_none());
}

#[test]
fn a_file_that_is_not_there_is_named() {
    assert!(refused(load(Some(Path::new("/no/such/file")), &[])).contains("/no/such/file"));
}

#[test]
fn values_come_from_config_providers() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    let class = |name: &str| format!("org.apache.kafka.common.config.provider.{name}");
    let provider = format!(
        "config.providers=file\nconfig.providers.file.class={}\nconfig.providers.file.param.allowed.paths={at}\n",
        class("FileConfigProvider")
    );
    std::fs::write(folder.path().join("values"), "rack=r1\nid=x").unwrap();
    let path = folder.path().join("server.properties");
    std::fs::write(&path, format!("{provider}broker.rack=${{file:{at}/values:rack}}\n")).unwrap();
    let c = load(Some(&path), &[]).unwrap();
    assert_eq!((c.rack.as_deref(), c.file["broker.rack"].as_str()), (Some("r1"), "r1"));
    assert!(c.remarks.iter().all(|remark| !remark.contains("config.providers")), "{:?}", c.remarks);

    let override_ = |value: String| load(Some(&path), &[("broker.rack".to_owned(), value)]);
    assert_eq!(override_(format!("${{file:{at}/values:id}}")).unwrap().rack.as_deref(), Some("x"));
    let none = refused(override_(format!("${{file:{at}/none:id}}")));
    assert!(none.starts_with(&format!("Could not read properties from file {at}/none: ")), "{none}");
}

#[test]
fn stored_config_providers_refuse_the_start() {
    let stored = Properties::from([("config.providers.file.class".to_owned(), "x".to_owned())]);
    assert_eq!(guard::stored_broker_refusals(&stored).len(), 1);
}

#[test]
fn consumers_are_sent_where_a_class_of_kafkas_says_and_no_other() {
    let selector = |class: &str| config(&[("replica.selector.class", class)]).map(|c| c.replication.replica_selector);
    let package = "org.apache.kafka.common.replica";
    assert_eq!(config(&[]).unwrap().replication.replica_selector, broker::ReplicaSelector::Leader);
    assert_eq!(selector(&format!("{package}.LeaderSelector")).unwrap(), broker::ReplicaSelector::Leader);
    assert_eq!(selector(&format!("{package}.RackAwareReplicaSelector")).unwrap(), broker::ReplicaSelector::RackAware);
    let refused = selector("com.example.Nearest").unwrap_err().to_string();
    assert!(refused.contains("com.example.Nearest") && refused.contains("RackAwareReplicaSelector"), "{refused}");
}
