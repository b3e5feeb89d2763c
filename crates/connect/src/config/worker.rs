//! The worker's settings: Kafka's names, defaults and messages.

use std::path::PathBuf;
use std::time::Duration;

use client::config_providers;
use connect_api::{Config, ConfigDef, ConfigKey, Error, Importance, Kind, Properties, Result, Validator};

use super::Listener;

/// What connectors may override of the clients' settings (`connector.client.config.override.policy`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OverridePolicy {
    All,
    None,
    /// Who they log in as, and nothing else.
    Principal,
    /// What `connector.client.config.override.allowlist` names.
    Allowlist(Vec<String>),
}

impl OverridePolicy {
    pub fn name(&self) -> &'static str {
        match self {
            OverridePolicy::All => "All",
            OverridePolicy::None => "None",
            OverridePolicy::Principal => "Principal",
            OverridePolicy::Allowlist(_) => "Allowlist",
        }
    }
}

/// A worker among others.
#[derive(Clone, Debug)]
pub struct Distributed {
    pub group_id: String,
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    pub rebalance_timeout: Duration,
    /// How long connectors of a worker that left stay where nobody runs them, to wait for it (KIP-415).
    pub rebalance_delay_max: Duration,
    pub protocol: Protocol,
    pub offsets: TopicSpec,
    pub configs: TopicSpec,
    pub statuses: TopicSpec,
    /// How long a key that workers sign requests with lives.
    pub key_ttl: Duration,
}

/// How workers share out connectors, the oldest first (`connect.protocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// Everything stops for every rebalance.
    Eager,
    /// Only what moves stops.
    Compatible,
    /// And requests between workers are signed.
    Sessioned,
}

/// One of the worker's own topics.
#[derive(Clone, Debug)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: Option<i32>,
    pub replication_factor: Option<i16>,
    pub configs: Vec<(String, String)>,
}

/// Where a worker keeps what it knows.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Alone; offsets in a file, the rest in memory.
    Standalone { offsets: PathBuf },
    /// In a group; everything in topics.
    Distributed(Box<Distributed>),
}

/// The settings of a worker.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// As given, with what config providers know filled in.
    pub properties: Properties,
    pub listeners: Vec<Listener>,
    /// Where other workers find this one: a host and a port.
    pub advertised: (String, u16),
    pub offset_flush_interval: Duration,
    pub offset_flush_timeout: Duration,
    pub shutdown_timeout: Duration,
    pub topic_creation: bool,
    pub topic_tracking: bool,
    pub topic_tracking_reset: bool,
    pub override_policy: OverridePolicy,
    pub plugin_path: Vec<PathBuf>,
    pub mode: Mode,
}

/// Settings of Java's that have no meaning here; they are accepted as they come.
fn common() -> ConfigDef {
    use Importance::{High, Low};
    let ms = |name: &str, default: &str, doc: &str| {
        ConfigKey::with_default(name, Kind::Long, default, Low, doc).validator(Validator::AtLeast(0.0))
    };
    ConfigDef::new()
        .define(ConfigKey::with_default(
            "bootstrap.servers",
            Kind::List,
            "localhost:9092",
            High,
            "Brokers to begin with.",
        ))
        .define(ConfigKey::required("key.converter", Kind::Class, High, "Turns keys into bytes and back."))
        .define(ConfigKey::required("value.converter", Kind::Class, High, "Turns values into bytes and back."))
        .define(ConfigKey::with_default(
            "header.converter",
            Kind::Class,
            "org.apache.kafka.connect.storage.SimpleHeaderConverter",
            Low,
            "Turns the values of headers into bytes and back.",
        ))
        .define(ms("offset.flush.interval.ms", "60000", "How often offsets are written."))
        .define(ms("offset.flush.timeout.ms", "5000", "How long writing offsets may take."))
        .define(ms("task.shutdown.graceful.timeout.ms", "5000", "How long tasks have to stop."))
        .define(ConfigKey::with_default("listeners", Kind::List, "http://:8083", Low, "Where the REST server listens."))
        .define(ConfigKey::optional(
            "rest.advertised.host.name",
            Kind::String,
            Low,
            "Where other workers find this one.",
        ))
        .define(ConfigKey::optional("rest.advertised.port", Kind::Int, Low, "Where other workers find this one."))
        .define(ConfigKey::optional(
            "plugin.path",
            Kind::List,
            Low,
            "Folders of Java plugins, which this worker cannot run.",
        ))
        .define(ConfigKey::with_default(
            "connector.client.config.override.policy",
            Kind::String,
            "All",
            Low,
            "What connectors may override of the clients' settings.",
        ))
        .define(ConfigKey::with_default(
            "connector.client.config.override.allowlist",
            Kind::List,
            "",
            Low,
            "The clients' settings that connectors may override by the policy Allowlist.",
        ))
        .define(ConfigKey::with_default("topic.creation.enable", Kind::Boolean, "true", Low, "Sources create topics."))
        .define(ConfigKey::with_default(
            "topic.tracking.enable",
            Kind::Boolean,
            "true",
            Low,
            "Which topics are used is kept.",
        ))
        .define(ConfigKey::with_default(
            "topic.tracking.allow.reset",
            Kind::Boolean,
            "true",
            Low,
            "And may be forgotten.",
        ))
}

fn standalone() -> ConfigDef {
    common().define(ConfigKey::required(
        "offset.storage.file.filename",
        Kind::String,
        Importance::High,
        "The file that offsets are kept in.",
    ))
}

fn distributed() -> ConfigDef {
    use Importance::{High, Low, Medium};
    let mut def = common();
    for (name, doc) in [
        ("group.id", "The group that the worker belongs to."),
        ("offset.storage.topic", "The topic that offsets are kept in."),
        ("config.storage.topic", "The topic that connectors are kept in."),
        ("status.storage.topic", "The topic that states are kept in."),
    ] {
        def = def.define(ConfigKey::required(name, Kind::String, High, doc).validator(Validator::NonEmpty));
    }
    for (name, default) in [
        ("session.timeout.ms", "10000"),
        ("heartbeat.interval.ms", "3000"),
        ("rebalance.timeout.ms", "60000"),
        ("scheduled.rebalance.max.delay.ms", "300000"),
        ("inter.worker.key.ttl.ms", "3600000"),
    ] {
        let key = ConfigKey::with_default(name, Kind::Int, default, Medium, "In ms.");
        def = def.define(key.validator(Validator::AtLeast(0.0)));
    }
    for (name, default) in [
        ("offset.storage.partitions", "25"),
        ("status.storage.partitions", "5"),
        ("offset.storage.replication.factor", "3"),
        ("config.storage.replication.factor", "3"),
        ("status.storage.replication.factor", "3"),
    ] {
        let check = Validator::check(|value| match value {
            connect_api::Setting::Integer(-1 | 1..) => Ok(()),
            _ => Err("Number must be -1 (the broker's default) or more than 0".to_owned()),
        });
        def = def.define(ConfigKey::with_default(name, Kind::Int, default, Low, "Of the topic.").validator(check));
    }
    def.define(
        ConfigKey::with_default(
            "connect.protocol",
            Kind::String,
            "sessioned",
            Low,
            "How workers share out connectors.",
        )
        .validator(Validator::OneOf(&["eager", "compatible", "sessioned"])),
    )
    .define(
        ConfigKey::with_default("exactly.once.source.support", Kind::String, "disabled", High, "Only `disabled` yet.")
            .validator(Validator::check(|value| match value.as_str() {
                Some(text) if text.eq_ignore_ascii_case("disabled") => Ok(()),
                _ => Err("this worker does not write records and offsets in one transaction; only `disabled` works"
                    .to_owned()),
            })),
    )
}

impl WorkerConfig {
    /// Reads the settings of a worker that is alone.
    pub fn standalone(properties: &Properties) -> Result<WorkerConfig> {
        let properties = resolve(properties)?;
        let config = standalone().parse(&properties)?;
        let offsets = config.string("offset.storage.file.filename").unwrap_or_default().into();
        WorkerConfig::new(properties, &config, Mode::Standalone { offsets })
    }

    /// Reads the settings of a worker in a group.
    pub fn distributed(properties: &Properties) -> Result<WorkerConfig> {
        let properties = resolve(properties)?;
        let config = distributed().parse(&properties)?;
        let ms = |name: &str| Duration::from_millis(config.integer(name).unsigned_abs());
        let topic = |kind: &str, partitions: Option<i64>| TopicSpec {
            name: config.string(&format!("{kind}.storage.topic")).unwrap_or_default().to_owned(),
            partitions: partitions.filter(|n| *n > 0).map(|n| n as i32),
            replication_factor: Some(config.integer(&format!("{kind}.storage.replication.factor")) as i16)
                .filter(|n| *n > 0),
            configs: prefixed(&properties, &format!("{kind}.storage."))
                .into_iter()
                .filter(|(name, _)| !["topic", "partitions", "replication.factor"].contains(&name.as_str()))
                .filter(|(name, _)| name != "cleanup.policy")
                .chain([("cleanup.policy".to_owned(), "compact".to_owned())])
                .collect(),
        };
        let mode = Distributed {
            group_id: config.string("group.id").unwrap_or_default().to_owned(),
            session_timeout: ms("session.timeout.ms"),
            heartbeat_interval: ms("heartbeat.interval.ms"),
            rebalance_timeout: ms("rebalance.timeout.ms"),
            rebalance_delay_max: ms("scheduled.rebalance.max.delay.ms"),
            protocol: match config.string("connect.protocol") {
                Some("eager") => Protocol::Eager,
                Some("compatible") => Protocol::Compatible,
                _ => Protocol::Sessioned,
            },
            offsets: topic("offset", Some(config.integer("offset.storage.partitions"))),
            configs: topic("config", Some(1)),
            statuses: topic("status", Some(config.integer("status.storage.partitions"))),
            key_ttl: ms("inter.worker.key.ttl.ms"),
        };
        WorkerConfig::new(properties, &config, Mode::Distributed(Box::new(mode)))
    }

    fn new(properties: Properties, config: &Config, mode: Mode) -> Result<WorkerConfig> {
        let listeners: Vec<Listener> =
            config.list("listeners").iter().map(|l| Listener::parse(l)).collect::<Result<_>>()?;
        let first = listeners.first().ok_or_else(|| {
            Error::config("Invalid value [] for configuration listeners: At least one listener must be configured.")
        })?;
        let host = config.string("rest.advertised.host.name").map(str::to_owned).unwrap_or_else(|| first.host.clone());
        let host = if host.is_empty() || host == "0.0.0.0" || host == "::" { own_address() } else { host };
        let port = match config.get("rest.advertised.port") {
            connect_api::Setting::Integer(port) => *port as u16,
            _ => first.port,
        };
        let ms = |name: &str| Duration::from_millis(config.integer(name).unsigned_abs());
        let policy = config.string("connector.client.config.override.policy").unwrap_or("All");
        let short = policy.rsplit('.').next().unwrap_or(policy).trim_end_matches("ConnectorClientConfigOverridePolicy");
        let override_policy = match short {
            "All" => OverridePolicy::All,
            "None" => OverridePolicy::None,
            "Principal" => OverridePolicy::Principal,
            "Allowlist" => {
                OverridePolicy::Allowlist(config.list("connector.client.config.override.allowlist").to_vec())
            }
            _ => {
                return Err(Error::config(format!(
                    "Invalid value {policy} for configuration connector.client.config.override.policy: it is one of All, \
                     None, Principal, Allowlist"
                )));
            }
        };
        Ok(WorkerConfig {
            listeners,
            advertised: (host, port),
            offset_flush_interval: ms("offset.flush.interval.ms"),
            offset_flush_timeout: ms("offset.flush.timeout.ms"),
            shutdown_timeout: ms("task.shutdown.graceful.timeout.ms"),
            topic_creation: config.boolean("topic.creation.enable"),
            topic_tracking: config.boolean("topic.tracking.enable"),
            topic_tracking_reset: config.boolean("topic.tracking.allow.reset"),
            override_policy,
            plugin_path: config.list("plugin.path").iter().map(PathBuf::from).collect(),
            mode,
            properties,
        })
    }

    /// What states and other workers call this one: `host:port`.
    pub fn worker_id(&self) -> String {
        format!("{}:{}", self.advertised.0, self.advertised.1)
    }

    /// Where other workers send requests to.
    pub fn advertised_url(&self) -> String {
        let (host, port) = &self.advertised;
        if host.contains(':') { format!("http://[{host}]:{port}/") } else { format!("http://{host}:{port}/") }
    }

    /// The settings of a client of the worker: what the worker has without a prefix, then what it has under one
    /// (`producer.`), which connectors may override.
    pub fn client_properties(&self, prefix: &str) -> Properties {
        let mut properties = Properties::new();
        let shared = |name: &str| {
            ["bootstrap.servers", "client.dns.lookup", "security.protocol"].contains(&name)
                || ["sasl.", "ssl."].iter().any(|p| name.starts_with(p))
        };
        properties.extend(self.properties.iter().filter(|(n, _)| shared(n)).map(|(n, v)| (n.clone(), v.clone())));
        properties.entry("bootstrap.servers".to_owned()).or_insert_with(|| "localhost:9092".to_owned());
        properties.extend(prefixed(&self.properties, prefix));
        properties
    }
}

fn resolve(properties: &Properties) -> Result<Properties> {
    config_providers::resolve(properties).map_err(|e| Error::config(e.to_string()))
}

/// The settings that begin so, without that beginning.
pub fn prefixed(properties: &Properties, prefix: &str) -> Properties {
    let named = properties.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
    named.map(|(name, value)| (name[prefix.len()..].to_owned(), value.clone())).collect()
}

/// The address that this machine has towards others: what it would send from. Nothing is sent.
fn own_address() -> String {
    let found = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    found.map_or_else(|_| "127.0.0.1".to_owned(), |address| address.ip().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let error = WorkerConfig::standalone(&given(&[("value.converter", "x")])).unwrap_err();
        assert_eq!(error.message, "Missing required configuration \"key.converter\" which has no default value.");
        let complete = [
            ("key.converter", "x"),
            ("value.converter", "x"),
            ("group.id", "g"),
            ("offset.storage.topic", "o"),
            ("config.storage.topic", "c"),
            ("status.storage.topic", "s"),
        ];
        let mut properties = given(&complete);
        let config = WorkerConfig::distributed(&properties).unwrap();
        assert_eq!(config.listeners, [Listener { host: String::new(), port: 8083 }]);
        properties.insert("exactly.once.source.support".into(), "enabled".into());
        assert!(WorkerConfig::distributed(&properties).unwrap_err().message.contains("exactly.once.source.support"));
    }

    #[test]
    fn clients_get_what_is_theirs() {
        let properties = given(&[
            ("bootstrap.servers", "a:1"),
            ("key.converter", "x"),
            ("value.converter", "x"),
            ("offset.storage.file.filename", "/tmp/o"),
            ("producer.linger.ms", "7"),
            ("ssl.protocol", "TLS"),
        ]);
        let config = WorkerConfig::standalone(&properties).unwrap();
        let client = config.client_properties("producer.");
        assert_eq!(client, given(&[("bootstrap.servers", "a:1"), ("linger.ms", "7"), ("ssl.protocol", "TLS")]));
    }
}
