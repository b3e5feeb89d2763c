//! What a broker is started with: a properties file and overrides, checked, typed, and refused where they ask for
//! protection that is not there.
//!
//! [`load`] reads, [`BrokerConfig::new`] checks. The raw settings stay in [`BrokerConfig::file`], the lowest layer above
//! the defaults for whoever computes dynamic settings (`metadata::config::Layers`). Nothing here writes.
//!
//! Reading order: this file, [`listeners`], [`quorum`], [`guard`].

pub mod guard;
mod listeners;
mod logging;
mod quorum;
mod reader;
mod replication;
#[cfg(test)]
mod tests;
pub mod zoo;
pub mod zookeeper;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use client::{Properties, config_providers, properties};
use metadata::config::broker::conflicts;
use metadata::config::{Layers, table};
use metadata::quorum::VoterSet;
use wire::records::Codec;

pub use listeners::{Advertised, Listener};
pub use quorum::{Formats, QuorumSettings, Roles};
pub use replication::Replication;

use crate::logging::LogSettings;
use crate::net::limits::Limits;
use reader::Reader;
use zoo::ZooConfig;
use zookeeper::ZooKeeper;

/// The name of the only listener when nothing is configured.
pub const DEFAULT_LISTENER: &str = "PLAINTEXT";

/// Everything that is wrong with a configuration, one sentence each.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    fn one(sentence: String) -> ConfigError {
        ConfigError(vec![sentence])
    }
}

/// What a broker is started with. Sizes are in bytes; the names are those of the keys.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// The settings as they were given, secrets included: for [`metadata::config::Layers`] and DescribeConfigs, never for
    /// a log. `node.id` and `broker.id` stand in for each other, as Kafka has it.
    pub file: Properties,
    /// Where they were read from; `None` without a file.
    pub path: Option<PathBuf>,
    /// Sentences to log once at start: settings without effect, names that nobody knows, listeners open to the network.
    pub remarks: Vec<String>,

    /// The `zoo.cfg` that this was made of, where the process stands in ZooKeeper's place.
    pub zoo: Option<Arc<ZooConfig>>,
    /// Where the cluster is found, of a broker that says so by `zookeeper.connect`.
    pub zookeeper: Option<ZooKeeper>,
    /// -1 while it has yet to be given one ([`ZooKeeper::ids_above`]).
    pub node_id: i32,
    pub rack: Option<String>,
    pub roles: Roles,
    /// Where clients and brokers connect to.
    pub listeners: Vec<Listener>,
    /// Where controllers and `--bootstrap-controller` connect to; empty without `process.roles`.
    pub controller_listeners: Vec<Listener>,
    /// What clients are told, one for each of `listeners`.
    pub advertised: Vec<Advertised>,
    /// The listener over which brokers reach each other (`inter.broker.listener.name`).
    pub inter_broker_listener: String,
    pub quorum: QuorumSettings,

    pub log_dirs: Vec<PathBuf>,
    /// One of `log_dirs`, or a directory of its own.
    pub metadata_log_dir: PathBuf,
    /// Threads that move replicas between log directories; as many as there are directories where nothing is said.
    pub alter_log_dirs_threads: usize,
    /// A broker that cannot tell the controller of a failed log directory for this long stops.
    pub log_dir_failure_timeout: Duration,
    pub log_retention_check_interval: Duration,
    pub log_flush_offset_checkpoint_interval: Duration,
    pub replica_high_watermark_checkpoint_interval: Duration,
    pub producer_id_expiration_check_interval: Duration,
    pub replication: Replication,

    pub auto_create_topics_enable: bool,
    pub delete_topic_enable: bool,
    pub num_partitions: i32,

    pub socket_request_max_bytes: usize,
    /// Of what a client pushes at once, compressed and not.
    pub telemetry_max_bytes: i32,
    /// `None`: connections may be idle for ever.
    pub connections_max_idle: Option<Duration>,
    /// Memory for large requests in flight; `None` takes the built-in budget.
    pub queued_max_request_bytes: Option<u64>,
    pub max_request_partition_size_limit: i32,
    pub max_incremental_fetch_session_cache_slots: usize,
    pub fetch_max_bytes: i32,

    pub group_min_session_timeout_ms: i32,
    pub group_max_session_timeout_ms: i32,
    pub group_initial_rebalance_delay_ms: i32,
    pub group_max_size: i32,
    pub offset_metadata_max_bytes: i32,
    pub offsets_commit_timeout: Duration,
    pub offsets_load_buffer_size: usize,
    pub offsets_retention_ms: i64,
    pub offsets_retention_check_interval: Duration,
    pub offsets_topic: OffsetsTopic,

    pub broker_session_timeout: Duration,
    pub metadata_log: MetadataLog,

    pub logging: LogSettings,
    /// Where GET /metrics answers (`klamm.metrics.listener`).
    pub metrics_listener: Option<SocketAddr>,
}

/// How `__consumer_offsets` is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetsTopic {
    pub num_partitions: i32,
    pub replication_factor: i16,
    pub segment_bytes: u32,
    pub compression: Codec,
}

/// How the metadata log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataLog {
    pub segment_bytes: u32,
    pub segment_ms: i64,
    pub max_record_bytes_between_snapshots: u64,
    /// `None`: snapshots are made by size only.
    pub max_snapshot_interval: Option<Duration>,
}

/// Reads a file (none: the defaults), with the `--override`s on top of it and the environment below, fills in what config
/// providers have, and checks the whole.
pub fn load(path: Option<&Path>, overrides: &[(String, String)]) -> Result<BrokerConfig, ConfigError> {
    let mut settings = match path {
        None => Properties::new(),
        Some(path) => {
            let said =
                |why: String| ConfigError::one(format!("cannot read the configuration {}: {why}", path.display()));
            properties::load(path).map_err(|e| said(e.to_string()))?
        }
    };
    settings.extend(overrides.iter().cloned());
    for (name, value) in from_environment() {
        settings.entry(name).or_insert(value);
    }
    let mut settings = config_providers::resolve(&settings).map_err(|e| ConfigError::one(e.to_string()))?;
    if path.is_none() && !settings.contains_key("log.dirs") && !settings.contains_key("log.dir") {
        settings.extend(data_home().map(|dir| ("log.dirs".to_owned(), dir)));
    }
    BrokerConfig::new(settings, path.map(Path::to_owned))
}

/// Klamm's own settings that the environment has: `KLAMM_LOG_FORMAT` is `klamm.log.format`.
fn from_environment() -> impl Iterator<Item = (String, String)> {
    let own = table::broker_keys().iter().map(|key| key.name).filter(|name| name.starts_with("klamm."));
    own.filter_map(|name| {
        let value = std::env::var(name.replace('.', "_").to_ascii_uppercase()).ok()?;
        (!value.is_empty()).then(|| (name.to_owned(), value))
    })
}

/// Reads a `zoo.cfg`, for the process in ZooKeeper's place.
pub fn load_zoo(path: &Path) -> Result<BrokerConfig, ConfigError> {
    let zoo = ZooConfig::load(path)?;
    if let Some(why) = zoo.foreign_data() {
        return Err(ConfigError::one(why));
    }
    let mut config = BrokerConfig::new(zoo.settings(), Some(path.to_owned()))?;
    config.remarks.extend(zoo.remarks.iter().cloned());
    if zoo.is_standalone() {
        config.roles.formats = Formats::Alone;
    }
    config.zoo = Some(Arc::new(zoo));
    Ok(config)
}

/// Where the data goes when nobody said anything: with the user's other data, because `/tmp`, Kafka's default, is
/// emptied by many systems when they start.
fn data_home() -> Option<String> {
    let absolute = |name: &str| std::env::var(name).ok().filter(|dir| dir.starts_with('/'));
    let data = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| format!("{home}/.local/share")))?;
    // A comma would make two directories of it.
    Some(format!("{data}/klamm")).filter(|dir| !dir.contains(','))
}

impl BrokerConfig {
    /// Checks and types `file`. Every sentence of the error names a key, its value and what is allowed or to be done.
    pub fn new(mut file: Properties, path: Option<PathBuf>) -> Result<BrokerConfig, ConfigError> {
        let mut errors = guard::refusals(&file);
        errors.extend(reader::wrong_values(&file));
        if !errors.is_empty() {
            return Err(ConfigError(errors));
        }
        let zookeeper = zookeeper::fill_in(&mut file).map_err(ConfigError)?;
        let wants_id = zookeeper.as_ref().is_some_and(|zookeeper| zookeeper.ids_above.is_some());
        reader::fill_in_node_id(&mut file, wants_id).map_err(ConfigError::one)?;
        let mut reader = Reader::new(&file);
        let config = read(&mut reader, path);
        match (config, reader.errors) {
            (Some(mut config), errors) if errors.is_empty() => {
                config.remarks = guard::remarks(&file, &config);
                config.remarks.extend(logging::remarks(&config.logging));
                config.zookeeper = zookeeper;
                config.file = file;
                if wants_id {
                    config.set_node_id(-1);
                }
                Ok(config)
            }
            (_, errors) => Err(ConfigError(errors)),
        }
    }

    /// The id that the node was given, or -1 while it has none.
    pub fn set_node_id(&mut self, id: i32) {
        self.node_id = id;
        for key in ["node.id", "broker.id"] {
            self.file.insert(key.to_owned(), id.to_string());
        }
    }

    /// `controller.quorum.voters`, where that is configured.
    pub fn static_voters(&self) -> Option<VoterSet> {
        quorum::static_voters(&self.file)
    }

    /// This node's controller listeners as other nodes reach them: their names, hosts and ports.
    pub fn controller_endpoints(&self) -> Vec<(String, (String, u16))> {
        let host = |listener: &Listener| match listener.host.as_str() {
            "" | "0.0.0.0" | "::" => listeners::this_host(),
            host => host.to_owned(),
        };
        self.controller_listeners.iter().map(|l| (l.name.clone(), (host(l), l.port))).collect()
    }

    /// The listener of this name.
    pub fn listener(&self, name: &str) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.name == name)
    }
}

fn read(r: &mut Reader<'_>, path: Option<PathBuf>) -> Option<BrokerConfig> {
    let roles = Roles::read(r);
    let listeners = listeners::read(r, roles);
    quorum::check(r, roles, listeners.as_ref().map_or(&[], |l| &l.broker));
    for conflict in conflicts(&Layers::of_file(r.file)) {
        r.wrong(conflict.key, &conflict.rule);
    }
    let metrics_listener = metrics_listener(r);
    let logging = logging::read(r);
    r.short("default.replication.factor");
    let log_dirs = log_dirs(r);
    let listeners = listeners?;
    for wrong in Limits::of(&Layers::of_file(r.file), &[]).1 {
        r.wrong("max.connections.per.ip.overrides", &wrong);
    }
    Some(BrokerConfig {
        file: Properties::new(),
        path,
        remarks: Vec::new(),
        zoo: None,
        zookeeper: None,

        node_id: r.int("node.id"),
        rack: r.text("broker.rack"),
        roles,
        listeners: listeners.broker,
        controller_listeners: listeners.controller,
        advertised: listeners.advertised,
        inter_broker_listener: listeners.inter_broker,
        quorum: quorum::settings(r),

        alter_log_dirs_threads: match r.size("num.replica.alter.log.dirs.threads") {
            0 => log_dirs.len(),
            threads => threads,
        },
        metadata_log_dir: r.text("metadata.log.dir").map_or_else(|| log_dirs[0].clone(), PathBuf::from),
        log_dirs,
        log_dir_failure_timeout: r.ms("log.dir.failure.timeout.ms"),
        log_retention_check_interval: r.ms("log.retention.check.interval.ms"),
        log_flush_offset_checkpoint_interval: r.ms("log.flush.offset.checkpoint.interval.ms"),
        replica_high_watermark_checkpoint_interval: r.ms("replica.high.watermark.checkpoint.interval.ms"),
        producer_id_expiration_check_interval: r.ms("producer.id.expiration.check.interval.ms"),
        replication: Replication::read(r),

        auto_create_topics_enable: r.boolean("auto.create.topics.enable"),
        delete_topic_enable: r.boolean("delete.topic.enable"),
        num_partitions: r.int("num.partitions"),

        socket_request_max_bytes: r.size("socket.request.max.bytes"),
        telemetry_max_bytes: r.int("telemetry.max.bytes"),
        connections_max_idle: r.ms_unless_endless("connections.max.idle.ms"),
        queued_max_request_bytes: u64::try_from(r.whole("queued.max.request.bytes")).ok().filter(|bytes| *bytes > 0),
        max_request_partition_size_limit: r.int("max.request.partition.size.limit"),
        max_incremental_fetch_session_cache_slots: r.size("max.incremental.fetch.session.cache.slots"),
        fetch_max_bytes: r.int("fetch.max.bytes"),

        group_min_session_timeout_ms: r.int("group.min.session.timeout.ms"),
        group_max_session_timeout_ms: r.int("group.max.session.timeout.ms"),
        group_initial_rebalance_delay_ms: r.int("group.initial.rebalance.delay.ms"),
        group_max_size: r.int("group.max.size"),
        offset_metadata_max_bytes: r.int("offset.metadata.max.bytes"),
        offsets_commit_timeout: r.ms("offsets.commit.timeout.ms"),
        offsets_load_buffer_size: r.size("offsets.load.buffer.size"),
        offsets_retention_ms: r.whole("offsets.retention.minutes").saturating_mul(60_000),
        offsets_retention_check_interval: r.ms("offsets.retention.check.interval.ms"),
        offsets_topic: offsets_topic(r, roles),

        broker_session_timeout: r.ms("broker.session.timeout.ms"),
        metadata_log: MetadataLog {
            segment_bytes: r.size("metadata.log.segment.bytes") as u32,
            segment_ms: r.whole("metadata.log.segment.ms"),
            max_record_bytes_between_snapshots: r.size("metadata.log.max.record.bytes.between.snapshots") as u64,
            max_snapshot_interval: Some(r.ms("metadata.log.max.snapshot.interval.ms")).filter(|d| !d.is_zero()),
        },

        logging,
        metrics_listener,
    })
}

/// Without replicas elsewhere three copies cannot be made: an embedded quorum has one, unless the file says otherwise.
fn offsets_topic(r: &mut Reader<'_>, roles: Roles) -> OffsetsTopic {
    let key = "offsets.topic.replication.factor";
    let replication_factor = if roles.embedded && !r.is_set(key) { 1 } else { r.short(key) };
    let key = "offsets.topic.compression.codec";
    let codec = usize::try_from(r.whole(key)).ok().and_then(|id| Codec::ALL.get(id).copied());
    if codec.is_none() {
        r.wrong(key, "Unknown compression type id; it is 0 (none), 1 (gzip), 2 (snappy), 3 (lz4) or 4 (zstd)");
    }
    OffsetsTopic {
        num_partitions: r.int("offsets.topic.num.partitions"),
        replication_factor,
        segment_bytes: r.size("offsets.topic.segment.bytes") as u32,
        compression: codec.unwrap_or_default(),
    }
}

fn log_dirs(r: &mut Reader<'_>) -> Vec<PathBuf> {
    let dirs = if r.is_set("log.dirs") { r.list("log.dirs") } else { r.list("log.dir") };
    dirs.into_iter().map(PathBuf::from).collect()
}

fn metrics_listener(r: &mut Reader<'_>) -> Option<SocketAddr> {
    let key = "klamm.metrics.listener";
    let text = r.text(key)?;
    let address = text.parse().ok().or_else(|| text.replace("localhost:", "127.0.0.1:").parse().ok());
    if address.is_none() {
        r.wrong(key, "it is an address and a port, as 127.0.0.1:9404 or [::1]:9404");
    }
    address
}
