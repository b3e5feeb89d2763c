//! How a node comes up and goes down.
//!
//! Up: heed signals, bind, lock the log directories, read the metadata log, check that everything in it can be served, open
//! the partitions' logs; only then is anything written. Register, unfence, accept. Down: hand over, stop accepting, drain,
//! close the logs, leave the marks of a clean shutdown; each step has a deadline.

use crate::assignments;
use crate::broker_ids;
use crate::chance;
use crate::clock::Clock;
use crate::config::{BrokerConfig, ConfigError, Formats};
use crate::controller::Queue;
use crate::failed_dirs;
use crate::housekeeping::Housekeeping;
use crate::joining;
use crate::log_dirs::{LogDirs, OpenedLog};
use crate::net::listener;
use crate::net::reactors::Reactors;
use crate::net::vitals::Registry;
use crate::node::{Node, Process};
use crate::publisher::Publisher;
use crate::quorum::peers::Peers;
use crate::quorum::{self, MetadataThread};
use crate::reconciler::Reconciler;
use crate::registration::{self, Registration};
use crate::remote_controller::RemoteController;
use crate::replicas::Replicas;
use crate::stop::{Stop, Stopping};
use crate::{logging, takeover, threads};
use broker::Kept;
use metadata::controller::{METADATA_TOPIC, NodeSettings, default_bootstrap_records};
use metadata::image::Image;
use metadata::quorum::{
    Format, MetadataNode, MetadataOptions, Opened, Present, Voter, VoterEndpoint, VoterSet, format,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::{Disk, FdBudget, LogDir, MetaProperties, RealDisk, Shutdown};
use tokio::sync::oneshot;
use tracing::{info, warn};
use wire::{ErrorCode, Uuid};

/// Descriptors kept for what is neither a log that stays open nor a connection: sockets that listen, files in use on
/// [`threads::BLOCKING_THREADS`]. Where the limit is small, a quarter of it, but no fewer than those threads may need.
const RESERVED_FDS: u64 = 512;
const RESERVED_FDS_MIN: u64 = 96;
/// How long clients' open requests may take once the node stops.
const DRAIN: Duration = Duration::from_secs(2);
/// How often idle connections and overdue frames are looked for.
const SWEEP: Duration = Duration::from_secs(1);
const VERSION: &str = env!("CARGO_PKG_VERSION");

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// See [`crate::main`].
pub fn main(config: Result<BrokerConfig, ConfigError>) -> ExitCode {
    let started = Instant::now();
    let config = match config {
        Ok(config) => config,
        Err(e) => return refuse(&e),
    };
    let runtimes = match threads::reactors() {
        Ok(runtimes) => runtimes,
        Err(e) => return refuse(&e),
    };
    let reactors = match Reactors::new(&runtimes) {
        Ok(reactors) => reactors,
        Err(e) => return refuse(&e),
    };
    let runtime = &runtimes[0];
    let heeding = runtime.block_on(async { Stopping::on_signals() });
    let stop = match heeding {
        Ok(stop) => stop,
        Err(e) => return refuse(&e),
    };
    let loggers = match logging::init(&config.logging) {
        Ok(loggers) => loggers,
        Err(e) => return refuse(&format!("klamm.log.file: {e}")),
    };
    let code = runtime.block_on(async {
        match run(config, Process { loggers, stop, reactors }, started).await {
            Ok(Stop::Failed) => ExitCode::FAILURE,
            Ok(_) => ExitCode::SUCCESS,
            Err(e) => refuse(&*e),
        }
    });
    // Connections first: what they wait for is on the first one.
    for runtime in runtimes.into_iter().rev() {
        runtime.shutdown_timeout(DRAIN);
    }
    code
}

/// Says why the start fails, where whoever started it looks.
fn refuse(reason: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "Klamm does not start: {reason}");
    ExitCode::FAILURE
}

struct Bound {
    name: Arc<str>,
    is_controller: bool,
    listener: std::net::TcpListener,
    address: SocketAddr,
}

async fn run(mut config: BrokerConfig, process: Process, started: Instant) -> Result<Stop, Failure> {
    let stop = process.stop.clone();
    let (fds, connections_max) = share_descriptors();
    let mut bound = bind(&mut config)?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let dirs = lock(&disk, &config, &boot_id)?;
    let identity = tokio::select! {
        biased;
        stop = stop.wanted() => return Ok(stop),
        identity = identify(&disk, &mut config, dirs) => identity?,
    };
    let opened = open_metadata(&disk, &config, &identity, &fds)?;
    takeover::check(opened.image())?;
    let (clock, cluster_id) = (Clock, identity.cluster_id.clone());
    let shutdown = identity.shutdown();
    let clean_epoch = identity.clean_broker_epoch();
    let log_dir_ids: Vec<Uuid> = identity.log_dir_ids(&config);
    let incarnation_id = identity.incarnation_id;
    let joins = identity.is_new && config.roles.formats == Formats::AsQuorumSays;
    let dirs = Arc::new(LogDirs::new(disk, identity.dirs, fds, &config)?);
    // A node that is the whole quorum knows the cluster's state now, and can still refuse it.
    let logs = match opened.is_alone() {
        true => match open_logs(&dirs, &config, opened.image(), clock.now_ms(), &stop)? {
            Some(logs) => Some(logs),
            None => return Ok(stop.state()),
        },
        false => None,
    };
    for dir in dirs.iter() {
        for to in dir.log_dir.put_aside_nameless(METADATA_TOPIC)? {
            warn!(to = %to.display(), "a partition that a power cut left without a name is put aside");
        }
        dir.log_dir.begin(&boot_id)?;
    }
    let mut random = chance::random();
    let mut present = Present { wall_ms: clock.now_ms(), steady_ms: 0, random: &mut random };
    let metadata = opened.start(&mut present)?;
    let queue = Queue::new();
    let own = config.controller_endpoints();
    let voters = metadata.quorum().voters();
    let peers = Peers::new(
        cluster_id.clone(),
        joining::client_config(&config),
        own,
        voters,
        queue.sender.clone(),
        tokio::runtime::Handle::current(),
    );
    let handle = queue.handle(config.node_id, RemoteController::new(peers.clone()));
    let reconciler = Reconciler::new(dirs.clone());
    let housekeeping = Housekeeping::new(dirs.clone());
    let node = Arc::new(Node::new(config, cluster_id, handle, reconciler, housekeeping, process));
    let (publisher, publisher_thread) = Publisher::start(node.clone())?;
    let (caught_up, mut state) = oneshot::channel();
    let thread = MetadataThread {
        node: node.clone(),
        metadata,
        requests: queue.receiver,
        peers,
        publisher,
        leader: queue.leader,
        caught_up: Some(caught_up),
    };
    let metadata_thread = {
        let node = node.clone();
        std::thread::Builder::new().name("metadata".into()).spawn(move || {
            let _stop_on_panic = node.indispensable("metadata");
            quorum::run(thread)
        })?
    };
    let controllers = Registry::new(connections_max);
    let registry = Registry::new(connections_max);
    let mut voting = tokio::task::JoinSet::new();
    accept(&node, &bound, true, &controllers, &mut voting)?;
    let mut accepting = tokio::task::JoinSet::new();
    // A kill loses nothing that was written, as long as the machine went on.
    // As long as no log is open, the directories are as they were left.
    let mut left_clean = clean_epoch.filter(|_| shutdown == Shutdown::Clean && logs.is_none());
    let kept = match (shutdown, clean_epoch) {
        (Shutdown::Clean, Some(epoch)) => Kept::Until(epoch),
        (Shutdown::Killed, _) => Kept::All,
        _ => Kept::Unknown,
    };
    let registration = Registration::new(incarnation_id, log_dir_ids, kept);
    let served = serve(&node, &dirs, logs, &mut state, registration, &boot_id, &mut left_clean).await;
    let housekeeping = match served {
        Ok(Some(housekeeping)) => {
            accept(&node, &bound, false, &registry, &mut accepting)?;
            for registry in [&registry, &controllers] {
                spawn_sweeper(&node, registry);
            }
            if let Some(address) = node.config.metrics_listener {
                crate::metrics::serve(&node, address)?;
            }
            banner(&node, &bound, shutdown, started);
            node.stopped().await;
            Some(housekeeping)
        }
        Ok(None) => None,
        Err(failure) => {
            if joins {
                dirs.forget_identity();
            }
            node.controller.stop().await;
            return Err(failure);
        }
    };
    let why = node.stop_state();
    info!("stopping");
    // Whoever comes until the leaderships are handed over is still told who leads.
    if node.config.roles.broker && node.broker_epoch() >= 0 {
        registration::take_leave(&node).await;
    }
    accepting.shutdown().await;
    bound.retain(|bound| bound.is_controller);
    drain(&registry).await;
    node.controller.stop().await;
    node.cleaner.stop();
    node.housekeeping.stop();
    // The threads end by themselves now; what they still write is part of an orderly end.
    let ended = tokio::task::spawn_blocking(move || {
        let metadata = metadata_thread.join();
        let publisher = publisher_thread.join();
        let housekeeping = housekeeping.map(std::thread::JoinHandle::join);
        (metadata, publisher, housekeeping)
    });
    let closed: Result<(), Failure> = async {
        let (metadata, publisher, housekeeping) = ended.await?;
        let metadata = metadata.map_err(|_| "the metadata thread panicked")?;
        publisher.map_err(|_| "the publisher's thread panicked")?;
        housekeeping.transpose().map_err(|_| "the housekeeping thread panicked")?;
        voting.shutdown().await;
        drain(&controllers).await;
        drop(bound);
        metadata.close()?;
        match left_clean {
            _ if node.has_logs() || !node.config.roles.broker => node.housekeeping.close(&node),
            Some(epoch) => node.housekeeping.mark_clean(&node, epoch),
            None => {} // nobody has looked whether the logs are whole
        }
        Ok(())
    }
    .await;
    if let Err(failure) = closed {
        let _ = writeln!(io::stderr(), "Klamm did not end in order, and checks its logs at the next start: {failure}");
        return Ok(Stop::Failed);
    }
    info!("stopped");
    Ok(if why == Stop::Failed { why } else { node.stop_state() })
}

/// Takes up the cluster's state and, as a broker, registers; then the node serves. `None` when it is to stop before that.
async fn serve(
    node: &Arc<Node>,
    dirs: &Arc<LogDirs>,
    logs: Option<Logs>,
    state: &mut oneshot::Receiver<Arc<Image>>,
    registration: Registration,
    boot_id: &str,
    left_clean: &mut Option<i64>,
) -> Result<Option<std::thread::JoinHandle<()>>, Failure> {
    let roles = node.config.roles;
    if !roles.broker {
        for dir in dirs.iter() {
            dir.log_dir.loss_is_known(boot_id)?; // it holds the cluster's state alone, and that is synced
        }
        node.controller.publish().await.map_err(|e| e.name())?;
        spawn_controller_registration(node, chance::uuid());
        let housekeeping = spawn_housekeeping(node)?;
        return Ok(Some(housekeeping));
    }
    let Some(image) = joining::wait_for_state(node, state).await? else { return Ok(None) };
    let logs = match logs {
        Some(logs) => logs,
        None => {
            takeover::check(&image)?;
            *left_clean = None;
            let (dirs, node, image) = (dirs.clone(), node.clone(), image.clone());
            let now_ms = node.clock.now_ms();
            let open = move || open_logs(&dirs, &node.config, &image, now_ms, &node.stop);
            let Some(logs) = tokio::task::spawn_blocking(open).await?? else { return Ok(None) };
            logs
        }
    };
    if roles.controller {
        spawn_controller_registration(node, registration.incarnation_id);
    }
    registration::register(node, &registration).await.map_err(|refusal| refusal.to_string())?;
    for dir in dirs.iter() {
        dir.log_dir.loss_is_known(boot_id)?;
    }
    node.opened(logs);
    node.controller.publish().await.map_err(|e| e.name())?;
    node.put_aside_unclaimed();
    dirs.put_aside_unknown();
    registration::unfence(node).await.map_err(|refusal| refusal.to_string())?;
    if node.is_stopping() {
        return Ok(None);
    }
    let housekeeping = spawn_housekeeping(node)?;
    node.configure_cleaner();
    Replicas::start(node);
    if node.config.quorum.servers.len() > 1 || !roles.controller {
        node.producer_ids.fetch_ahead(node);
    }
    {
        let (node, registration) = (node.clone(), registration);
        tokio::spawn(async move { registration::live(&node, &registration).await });
    }
    {
        let node = node.clone();
        tokio::spawn(async move { failed_dirs::report(&node).await });
    }
    tokio::spawn(assignments::run(node.clone()));
    Ok(Some(housekeeping))
}

fn spawn_housekeeping(node: &Arc<Node>) -> io::Result<std::thread::JoinHandle<()>> {
    let node = node.clone();
    std::thread::Builder::new().name("housekeeping".into()).spawn(move || {
        let _stop_on_panic = node.indispensable("housekeeping");
        node.housekeeping.run(&node)
    })
}

/// Makes this controller known, as soon as there is an active one.
fn spawn_controller_registration(node: &Arc<Node>, incarnation_id: Uuid) {
    let node = node.clone();
    tokio::spawn(async move {
        while !node.is_stopping() {
            match registration::register_controller(&node, incarnation_id).await {
                Ok(()) => return,
                Err(refusal) if refusal.code == ErrorCode::UnsupportedVersion => return, // an older cluster has none
                Err(refusal) => warn!(%refusal, "this controller could not register yet"),
            }
        }
    });
}

fn accept(
    node: &Arc<Node>,
    bound: &[Bound],
    controllers: bool,
    registry: &Arc<Registry>,
    tasks: &mut tokio::task::JoinSet<io::Result<()>>,
) -> io::Result<()> {
    for b in bound.iter().filter(|b| b.is_controller == controllers) {
        let listener = b.listener.try_clone()?;
        tasks.spawn(listener::accept(node.clone(), b.name.clone(), b.is_controller, listener, registry.clone()));
    }
    Ok(())
}

/// Raises the limit on open files as far as it goes and shares it out: the logs' budget, and how many connections there
/// may be. Without the second, a flood of connections would leave the logs nothing to open.
fn share_descriptors() -> (Arc<FdBudget>, usize) {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let current = current.unwrap_or(1 << 20);
    let reserved = RESERVED_FDS.min(current / 4).max(RESERVED_FDS_MIN).min(current / 4 * 3);
    let left = current - reserved;
    let logs = FdBudget::new((left / 3) as usize);
    let connections = (left as usize).saturating_sub(logs.limit() + logs.lent_max());
    info!(
        open_files = current,
        for_logs = logs.limit(),
        for_connections = connections,
        "descriptors: shared out like this (ulimit -n raises it)"
    );
    (logs, connections)
}

/// Binds all listeners, before anything else: a port that is taken is the commonest mistake.
fn bind(config: &mut BrokerConfig) -> Result<Vec<Bound>, Failure> {
    let mut bound: Vec<Bound> = Vec::new();
    for at in 0..config.listeners.len() + config.controller_listeners.len() {
        let (is_controller, at) = match at.checked_sub(config.listeners.len()) {
            Some(at) => (true, at),
            None => (false, at),
        };
        let configured = if is_controller { &config.controller_listeners[at] } else { &config.listeners[at] }.clone();
        let name: Arc<str> = configured.name.as_str().into();
        let mut port = configured.port;
        let first = bound.len();
        for mut address in configured.addresses()? {
            address.set_port(port);
            match listener::bind(address) {
                Ok(listener) => {
                    let address = listener.local_addr()?;
                    port = address.port();
                    bound.push(Bound { name: name.clone(), is_controller, listener, address });
                }
                // A machine without IPv6, or without IPv4: the other family does.
                Err(e) if is_missing_family(&e) && configured.addresses()?.len() > 1 => {}
                Err(e) => return Err(format!("Socket server failed to bind to {address}: {e}.").into()),
            }
        }
        if bound.len() == first {
            return Err(format!("Socket server failed to bind to {configured}: no such address here.").into());
        }
        if is_controller {
            config.controller_listeners[at].port = port;
            continue;
        }
        config.listeners[at].port = port;
        for advertised in config.advertised.iter_mut().filter(|a| a.listener == configured.name && a.port == 0) {
            advertised.port = port;
        }
    }
    Ok(bound)
}

fn is_missing_family(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::AddrNotAvailable
        || e.kind() == io::ErrorKind::Unsupported
        || e.raw_os_error() == Some(97)
}

/// Locks every directory of `log.dirs`, and the metadata log's own where it has one.
fn lock(disk: &Arc<dyn Disk>, config: &BrokerConfig, boot_id: &str) -> Result<Vec<LogDir>, Failure> {
    let mut paths: Vec<&Path> = config.log_dirs.iter().map(|p| p.as_path()).collect();
    if !paths.contains(&config.metadata_log_dir.as_path()) {
        paths.push(&config.metadata_log_dir);
    }
    let opened = paths.into_iter().map(|path| LogDir::open(disk.clone(), path, boot_id));
    let mut dirs = opened.collect::<Result<Vec<_>, _>>()?;
    LogDir::agree(&mut dirs);
    Ok(dirs)
}

/// Whose directories these are.
struct Identity {
    cluster_id: String,
    /// The directories were prepared just now.
    is_new: bool,
    dirs: Vec<(Uuid, LogDir)>,
    metadata_dir_id: Uuid,
    /// Of this process, where it had to register to get an id.
    incarnation_id: Option<Uuid>,
}

impl Identity {
    /// How the directories were left: all of them in one way ([`LogDir::agree`]).
    fn shutdown(&self) -> Shutdown {
        self.dirs.first().map_or(Shutdown::PowerCut, |(_, dir)| dir.shutdown())
    }

    /// The epoch of the broker whose end all directories say was orderly.
    fn clean_broker_epoch(&self) -> Option<i64> {
        self.dirs.iter().map(|(_, d)| d.clean_shutdown_broker_epoch().unwrap_or(-1)).min()
    }

    /// The directories for partitions; that of the metadata log may be another.
    fn log_dir_ids(&self, config: &BrokerConfig) -> Vec<Uuid> {
        let of_partitions = |dir: &LogDir| config.log_dirs.iter().any(|path| path == dir.path());
        self.dirs.iter().filter(|(_, dir)| of_partitions(dir)).map(|(id, _)| *id).collect()
    }
}

/// Checks that the directories belong together and to this node; formats new ones where this node may. A broker that is
/// to be given an id has it in `config` then.
async fn identify(disk: &Arc<dyn Disk>, config: &mut BrokerConfig, mut dirs: Vec<LogDir>) -> Result<Identity, Failure> {
    let mut cluster_id: Option<String> = None;
    let wants_id = config.node_id < 0;
    for dir in &dirs {
        if let Some(id) = dir.meta().and_then(|meta| meta.node_id).filter(|_| config.node_id < 0) {
            config.set_node_id(id);
        }
        let (Some(meta), path) = (dir.meta(), dir.path().display()) else { continue };
        if let Some(id) = meta.node_id.filter(|id| *id != config.node_id) {
            if wants_id {
                return Err(format!(
                    "the log directories were written by brokers {} and {id}: they are mixed up, or partly copied from \
                     another broker",
                    config.node_id
                )
                .into());
            }
            return Err(format!(
                "Configured node.id `{}` doesn't match stored node.id `{id}` in meta.properties of {path}. If you moved your \
                 data, make sure that node.id matches; to start over, use another log.dirs.",
                config.node_id
            )
            .into());
        }
        match (&cluster_id, &meta.cluster_id) {
            (Some(one), Some(other)) if one != other => {
                return Err(format!("{path} belongs to cluster {other}, the other directories to {one}").into());
            }
            (None, Some(id)) => cluster_id = Some(id.clone()),
            _ => {}
        }
        if meta.version == 0 {
            return Err(format!(
                "{path} was written by a broker that used ZooKeeper (meta.properties has version 0): its topics are in \
                 ZooKeeper, not in the directory. Migrate the cluster to KRaft first, or use another log.dirs."
            )
            .into());
        }
    }
    if cluster_id.is_none() && config.roles.formats == Formats::Never {
        return Err(format!(
            "No `meta.properties` found in {} (have you run `kafka-storage.sh format` to format it?). A node with process.roles \
             never formats itself: a voter that lost its disk would vote twice.",
            config.metadata_log_dir.display()
        )
        .into());
    }
    let is_new = cluster_id.is_none();
    let cluster_id = match (cluster_id, config.roles.formats) {
        (Some(id), _) => {
            if config.zookeeper.is_some() {
                joining::check_cluster_id(config, &id).await?;
            }
            id
        }
        (None, Formats::AsQuorumSays) => joining::cluster_id(config).await?,
        (None, _) => chance::uuid().to_string(),
    };
    let now_ms = Clock.now_ms();
    let ids: Vec<Uuid> =
        dirs.iter().map(|d| d.meta().and_then(|m| m.directory_id).unwrap_or_else(chance::uuid)).collect();
    let at = dirs.iter().position(|d| d.path() == config.metadata_log_dir).unwrap_or(0);
    let mut incarnation_id = None;
    if config.node_id < 0 {
        let reserved = config.zookeeper.as_ref().and_then(|zookeeper| zookeeper.ids_above).unwrap_or_default();
        let of_partitions = |dir: &LogDir| config.log_dirs.iter().any(|path| path == dir.path());
        let log_dirs: Vec<Uuid> =
            dirs.iter().zip(&ids).filter(|(dir, _)| of_partitions(dir)).map(|(_, id)| *id).collect();
        let obtained = broker_ids::obtain(config, &cluster_id, &log_dirs, reserved).await?;
        config.set_node_id(obtained.id);
        incarnation_id = Some(obtained.incarnation_id);
    }
    if is_new && config.roles.formats == Formats::Alone {
        let endpoint = |(name, (host, port)): (String, (String, u16))| VoterEndpoint { name, host, port };
        let endpoints = config.controller_endpoints().into_iter().map(endpoint).collect();
        let voter = Voter { id: config.node_id, directory_id: ids[at], endpoints };
        let how = Format { voters: Some(VoterSet::new(vec![voter])), bootstrap: default_bootstrap_records() };
        format(&**disk, &config.metadata_log_dir, &how, now_ms)?;
    }
    // The metadata log's directory last: without its meta.properties a crash in between formats again.
    let order = (0..dirs.len()).filter(|i| *i != at).chain([at]);
    for i in order {
        if dirs[i].meta().is_none_or(|m| m.directory_id.is_none()) {
            let meta = MetaProperties {
                version: 1,
                cluster_id: Some(cluster_id.clone()),
                node_id: Some(config.node_id),
                directory_id: Some(ids[i]),
            };
            dirs[i].write_meta(&meta, now_ms)?;
        }
    }
    let metadata_dir_id = ids[at];
    Ok(Identity { cluster_id, is_new, dirs: ids.into_iter().zip(dirs).collect(), metadata_dir_id, incarnation_id })
}

fn open_metadata(
    disk: &Arc<dyn Disk>,
    config: &BrokerConfig,
    identity: &Identity,
    fds: &Arc<FdBudget>,
) -> Result<Opened, Failure> {
    let log = &config.metadata_log;
    let options = MetadataOptions {
        votes: config.roles.controller,
        static_voters: config.static_voters(),
        timeouts: config.quorum.timeouts,
        settings: NodeSettings { node_id: config.node_id, file: config.file.clone(), ..NodeSettings::default() },
        session_timeout_ms: config.broker_session_timeout.as_millis() as i64,
        shutdown: identity.shutdown(),
        fds: fds.clone(),
        segment_bytes: log.segment_bytes,
        segment_ms: log.segment_ms,
        snapshot_bytes: log.max_record_bytes_between_snapshots,
        snapshot_interval_ms: log.max_snapshot_interval.map_or(0, |d| d.as_millis() as i64),
        ..MetadataOptions::new(
            config.metadata_log_dir.clone(),
            identity.cluster_id.clone(),
            config.node_id,
            identity.metadata_dir_id,
        )
    };
    Ok(MetadataNode::open(disk.clone(), options)?)
}

type Logs = Vec<((Uuid, i32), OpenedLog)>;

/// Opens the logs of all partitions that this node holds, on as many threads as there are processors, and checks that
/// nothing in them needs what is not there. `None` when the node is to stop before that.
fn open_logs(
    dirs: &Arc<LogDirs>,
    config: &BrokerConfig,
    image: &Image,
    now_ms: i64,
    stop: &Stopping,
) -> Result<Option<Logs>, Failure> {
    let work: Vec<_> = image
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(move |(index, p)| (topic, *index, p)))
        .filter_map(|(topic, index, p)| Some((topic, index, p.directory_of(config.node_id)?)))
        .collect();
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(work.len().max(1));
    let next = std::sync::atomic::AtomicUsize::new(0);
    let configs = std::sync::Mutex::new(metadata::config::TopicConfigs::default());
    let open = || -> Result<Logs, Failure> {
        let mut logs = Vec::new();
        while let Some((topic, index, directory)) = work.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            let settings = {
                let mut configs = configs.lock().map_err(|_| "another thread panicked")?;
                crate::node::topic_config(&mut configs, config, image, &topic.name)
            };
            let log = dirs.open_log(topic, *index, *directory, &settings, now_ms)?;
            takeover::check_log(&topic.name, *index, log.partition.log())?;
            logs.push(((topic.id, *index), log));
            if stop.is_wanted() {
                break;
            }
        }
        Ok(logs)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(open)).collect();
        let mut all = Vec::with_capacity(work.len());
        for thread in threads {
            all.extend(thread.join().map_err(|_| "a thread that opened logs panicked")??);
        }
        Ok((all.len() == work.len()).then_some(all))
    })
}

fn spawn_sweeper(node: &Arc<Node>, registry: &Arc<Registry>) {
    let (node, registry) = (node.clone(), registry.clone());
    tokio::spawn(async move {
        let idle = node.config.connections_max_idle.unwrap_or(Duration::MAX);
        loop {
            tokio::time::sleep(SWEEP).await;
            registry.sweep(idle);
            registry.close_excess(&node.connection_limits());
        }
    });
}

/// Tells whoever started it where everything is.
fn banner(node: &Node, bound: &[Bound], shutdown: Shutdown, started: Instant) {
    let config = &node.config;
    let dirs: Vec<String> = config.log_dirs.iter().map(|d| d.display().to_string()).collect();
    let listeners: Vec<String> = bound.iter().map(|b| format!("{}://{}", b.name, b.address)).collect();
    let file = config.path.as_ref().map_or_else(|| "none: the defaults".to_owned(), |p| p.display().to_string());
    let partitions = node.partitions.table().cells().count();
    let left = match shutdown {
        Shutdown::Clean => "",
        Shutdown::Killed => ", recovered after a kill",
        Shutdown::PowerCut => ", recovered from the last checkpoints",
    };
    let (data, listeners, ms) = (dirs.join(", "), listeners.join(", "), started.elapsed().as_secs_f64() * 1000.0);
    // Whoever reads objects from standard output could not read this.
    if config.logging.format == logging::Format::Human {
        let _ = writeln!(
            io::stdout(),
            "Klamm {VERSION}, speaks Kafka 4.3: node {} of cluster {}\n  data       {data}  ({partitions} partitions{left})\n  \
             config     {file}\n  listeners  {listeners}\n  ready after {ms:.0} ms",
            node.node_id,
            node.cluster_id,
        );
    }
    info!(
        version = VERSION,
        node = node.node_id,
        cluster = node.cluster_id,
        data,
        config = file,
        listeners,
        ms = ms as u64,
        "Kafka Server started"
    );
    for remark in &config.remarks {
        warn!("{remark}");
    }
}

/// Gives clients the time to read their answers, then ends what is left.
async fn drain(registry: &Arc<Registry>) {
    let until = Instant::now() + DRAIN;
    registry.close_reading();
    while registry.len() > 0 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    registry.close_all();
}
