//! What all rooms of a running broker share.

use crate::assignments::Assignments;
use crate::cleaner::{Cleaner, CleanerSettings};
use crate::clock::Clock;
use crate::cold_reads::ColdReads;
use crate::config::BrokerConfig;
use crate::controller::ControllerHandle;
use crate::departed::Departed;
use crate::fetch_sessions::FetchSessions;
use crate::groups::Groups;
use crate::housekeeping::Housekeeping;
use crate::internal_topics;
use crate::joining;
use crate::leader_checks::LeaderChecks;
use crate::log_dirs::OpenedLog;
use crate::logging::loggers::Loggers;
use crate::metrics::Metrics;
use crate::moves::Moves;
use crate::net::limits::Limits;
use crate::net::reactors::Reactors;
use crate::net::works::Works;
use crate::partitions::{Cell, Partitions};
use crate::producer_ids::ProducerIds;
use crate::reconciler::Reconciler;
use crate::replicas::Replicas;
use crate::stop::{Stop, Stopping};
use crate::telemetry::Telemetry;
use arc_swap::{ArcSwap, Guard};
use metadata::config::remarks::remarks_at_run_time;
use metadata::config::table::broker_key;
use metadata::config::{Layers, TopicConfig, TopicConfigs, Value};
use metadata::controller::{NewTopic, Refusal};
use metadata::image::{ConfigResource, Delta, Image};
use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tracing::{debug, error, warn};
use wire::{ErrorCode, Uuid};

/// A fetch session unused for this long may give its slot away (`min.incremental.fetch.session.eviction.ms`).
const FETCH_SESSION_EVICTION_MS: i64 = 120_000;
/// Closed connections, and damage, are told of at most this often.
const REPORTS_EVERY: Duration = Duration::from_secs(1);

/// Anybody may make up names of settings; so many remarks on them are enough.
const REMARKS_MAX: usize = 1000;

/// Where this node's metadata log stands, for the metrics.
#[derive(Debug, Default)]
pub struct LogOffsets {
    pub high_watermark: AtomicI64,
    pub end_offset: AtomicI64,
}

/// A running broker.
pub struct Node {
    pub config: BrokerConfig,
    pub node_id: i32,
    pub cluster_id: String,
    pub clock: Clock,
    pub controller: ControllerHandle,
    pub partitions: Partitions,
    pub replicas: Replicas,
    pub fetch_sessions: FetchSessions,
    pub groups: Groups,
    pub producer_ids: ProducerIds,
    pub cold_reads: ColdReads,
    pub housekeeping: Housekeeping,
    pub cleaner: Cleaner,
    pub moves: Moves,
    pub assignments: Assignments,
    /// The first reactor's: for threads that are none, and for what may wait.
    pub runtime: Handle,
    pub reactors: Reactors,
    pub works: Works,
    pub metrics: Metrics,
    pub metadata_log: LogOffsets,
    pub leader_checks: LeaderChecks,
    pub departed: Departed,
    /// A broker is about to stop, and waits until the others have said how far they know.
    pub somebody_leaves: Notify,
    pub telemetry: Telemetry,
    pub loggers: Arc<Loggers>,
    limits: ArcSwap<Limits>,
    limits_turn: Mutex<()>,
    /// What was said of settings made at run time.
    remarks: Mutex<HashSet<String>>,
    reconciler: Mutex<Reconciler>,
    broker_epoch: AtomicI64,
    image: ArcSwap<Image>,
    pub stop: Stopping,
    has_logs: AtomicBool,
    refusals: Throttle,
    damage_reports: Throttle,
}

/// What a process has, whatever it serves.
pub struct Process {
    pub loggers: Arc<Loggers>,
    pub stop: Stopping,
    pub reactors: Reactors,
}

impl Node {
    /// To be called within the first reactor's runtime.
    pub fn new(
        config: BrokerConfig,
        cluster_id: String,
        controller: ControllerHandle,
        reconciler: Reconciler,
        housekeeping: Housekeeping,
        process: Process,
    ) -> Node {
        let Process { loggers, stop, reactors } = process;
        let slots = config.max_incremental_fetch_session_cache_slots;
        Node {
            node_id: config.node_id,
            cluster_id,
            clock: Clock,
            controller,
            partitions: Partitions::default(),
            replicas: Replicas::default(),
            fetch_sessions: FetchSessions::new(slots, FETCH_SESSION_EVICTION_MS),
            groups: Groups::new(&config),
            producer_ids: ProducerIds::default(),
            cold_reads: ColdReads::new(Handle::current()),
            housekeeping,
            moves: Moves::default(),
            assignments: Assignments::default(),
            cleaner: Cleaner::new(CleanerSettings::of(&Layers::of_file(&config.file))),
            runtime: Handle::current(),
            reactors,
            works: Works::new(config.queued_max_request_bytes, config.socket_request_max_bytes),
            telemetry: Telemetry::new(config.telemetry_max_bytes),
            metrics: Metrics::new(
                config.listeners.iter().chain(&config.controller_listeners).map(|l| l.name.as_str().into()),
            ),
            metadata_log: LogOffsets::default(),
            leader_checks: LeaderChecks::new(joining::client_config(&config)),
            departed: Departed::default(),
            somebody_leaves: Notify::new(),
            loggers,
            limits: ArcSwap::from_pointee(limits(&config, &Image::default())),
            limits_turn: Mutex::default(),
            remarks: Mutex::default(),
            reconciler: Mutex::new(reconciler),
            broker_epoch: AtomicI64::new(-1),
            image: ArcSwap::from_pointee(Image::default()),
            stop,
            has_logs: AtomicBool::new(false),
            refusals: Throttle::new(REPORTS_EVERY),
            damage_reports: Throttle::new(REPORTS_EVERY),
            config,
        }
    }

    /// The epoch of this broker's registration; -1 before it.
    pub fn broker_epoch(&self) -> i64 {
        self.broker_epoch.load(Ordering::Relaxed)
    }

    pub fn set_broker_epoch(&self, epoch: i64) {
        self.broker_epoch.store(epoch, Ordering::Relaxed);
    }

    /// The cluster's state as this node last applied it.
    pub fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// Takes in a state before the node serves: nothing is opened.
    pub fn publish_ahead(&self, image: Arc<Image>) {
        self.image.store(image);
    }

    /// Takes in a new state: partitions first, so that whoever sees the state finds them.
    pub fn publish(self: &Arc<Node>, image: Arc<Image>, delta: &Delta) {
        if !self.config.roles.broker {
            return self.image.store(image);
        }
        self.spread_followers(&image);
        let commands = broker::reconcile(&image, delta, self.node_id);
        let (before, serves) = (self.image(), |image: &Image, id| image.cluster.broker(id).is_some_and(|b| !b.fenced));
        for id in &delta.brokers {
            self.departed.changed(*id, serves(&before, *id), serves(&image, *id));
        }
        self.carry_out(image.clone(), commands);
        let leaves = |id: &i32| image.cluster.broker(*id).is_some_and(|broker| broker.in_controlled_shutdown);
        if delta.brokers.iter().any(leaves) {
            self.somebody_leaves.notify_one();
        }
        if delta.configs.iter().any(|resource| {
            *resource == ConfigResource::default_broker() || *resource == ConfigResource::broker(self.node_id)
        }) {
            self.remark(&image);
            self.configure_cleaner();
            let node = self.clone();
            // Hosts may be named in the limits, and names take a while to look up.
            self.runtime.spawn_blocking(move || node.configure_limits());
        }
        self.groups.follow(self, delta);
    }

    /// Takes in the state that the node begins with.
    pub fn publish_all(self: &Arc<Node>, image: Arc<Image>) {
        if !self.config.roles.broker {
            return self.image.store(image);
        }
        self.spread_followers(&image);
        let commands = broker::reconcile_all(&image, self.node_id);
        self.carry_out(image.clone(), commands);
        self.groups.take_up(self);
        self.configure_limits();
        self.remark(&self.image());
    }

    fn spread_followers(&self, image: &Image) {
        let fetchers = |layers: &Layers<'_>| layers.value(broker_key("num.replica.fetchers")?);
        if let Some(Value::Whole(count)) = self.with_layers(image, fetchers) {
            self.replicas.set_fetchers(usize::try_from(count).unwrap_or(1));
        }
    }

    /// Says once which of the settings made at run time do nothing, and which nobody knows.
    fn remark(&self, image: &Image) {
        let mut said = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        for resource in [ConfigResource::default_broker(), ConfigResource::broker(self.node_id)] {
            let settings = image.configs.get(&resource).map(|settings| &**settings);
            for remark in remarks_at_run_time(&settings) {
                if said.len() < REMARKS_MAX && said.insert(remark.clone()) {
                    warn!("set at run time: {remark}");
                }
            }
        }
    }

    /// The limits on connections, as the settings have them now.
    pub fn connection_limits(&self) -> Guard<Arc<Limits>> {
        self.limits.load()
    }

    fn configure_limits(&self) {
        // One after the other: the last has the latest settings.
        let _turn = self.limits_turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.limits.store(Arc::new(limits(&self.config, &self.image())));
    }

    /// Logs that were opened ahead of the state that says what becomes of them.
    pub fn opened(&self, logs: Vec<((Uuid, i32), OpenedLog)>) {
        self.reconciler.lock().unwrap_or_else(PoisonError::into_inner).opened(logs);
        self.has_logs.store(true, Ordering::Release);
    }

    /// Puts aside what was opened and is not this node's any more.
    pub fn put_aside_unclaimed(&self) {
        self.reconciler.lock().unwrap_or_else(PoisonError::into_inner).put_aside_unclaimed();
    }

    /// Whether the logs of this node's partitions are open.
    pub fn has_logs(&self) -> bool {
        self.has_logs.load(Ordering::Acquire)
    }

    /// Starts the cleaner, or has it follow its settings.
    pub fn configure_cleaner(self: &Arc<Node>) {
        let settings = self.with_layers(&self.image(), CleanerSettings::of);
        if let Err(e) = self.cleaner.configure(self, settings) {
            error!(error = %e, "the log cleaner's threads cannot be started");
        }
    }

    fn carry_out(self: &Arc<Node>, image: Arc<Image>, commands: Vec<broker::Command>) {
        let active = image.cluster.brokers().filter(|broker| broker.is_active());
        self.housekeeping.dirs.brokers.set(active.map(|broker| (broker.id, broker.epoch)));
        self.reconciler.lock().unwrap_or_else(PoisonError::into_inner).carry_out(self, &image, commands);
        self.image.store(image);
    }

    /// The leader's replica of a partition, when this node has it and `epoch` (-1: any) fits.
    pub fn leader(&self, topic: &str, partition: i32, epoch: i32) -> Result<Arc<Cell>, ErrorCode> {
        let cell = self.cell(topic, partition)?;
        cell.lock().check_epoch(epoch)?;
        Ok(cell)
    }

    /// The replica of a partition, leader or not, for somebody who knows it under this epoch (-1: any).
    ///
    /// # Errors
    /// Kafka's: there is no such partition here, or the epoch is another one.
    pub fn replica(&self, topic: &str, partition: i32, epoch: i32) -> Result<Arc<Cell>, ErrorCode> {
        let cell = self.cell(topic, partition)?;
        cell.lock().check_reader_epoch(epoch)?;
        Ok(cell)
    }

    fn cell(&self, topic: &str, partition: i32) -> Result<Arc<Cell>, ErrorCode> {
        let table = self.partitions.table();
        let topic = table.by_name(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        topic.replica(partition).cloned()
    }

    /// The layers of this broker's settings.
    pub fn with_layers<T>(&self, image: &Image, f: impl FnOnce(&Layers<'_>) -> T) -> T {
        with_layers(&self.config, image, f)
    }

    /// Has what was appended to `cell` synced, and its high watermark moved.
    pub fn sync(self: &Arc<Node>, cell: &Arc<Cell>) {
        crate::sync::sync(self, cell);
    }

    /// A topic with the broker's defaults.
    pub fn default_topic(&self, name: &str) -> NewTopic {
        NewTopic { name: name.to_owned(), num_partitions: -1, replication_factor: -1, ..Default::default() }
    }

    /// The topic of group state, as the broker's settings have it.
    pub fn group_offsets_topic(&self) -> NewTopic {
        let settings = &self.config.offsets_topic;
        let set = |name: &str, value: String| (name.to_owned(), Some(value));
        NewTopic {
            name: internal_topics::GROUP_OFFSETS.to_owned(),
            num_partitions: settings.num_partitions,
            replication_factor: settings.replication_factor,
            assignments: Vec::new(),
            configs: vec![
                set("cleanup.policy", "compact".to_owned()),
                set("compression.type", "producer".to_owned()),
                set("segment.bytes", settings.segment_bytes.to_string()),
            ],
        }
    }

    /// Creates one topic, or finds that somebody did.
    pub async fn create_topic(&self, topic: NewTopic) -> Result<(), Refusal> {
        let results = self.controller.create_topics(vec![topic], false).await.map_err(Refusal::with_default_text)??;
        match results.into_iter().next() {
            Some((_, Err(refusal))) if refusal.code != ErrorCode::TopicAlreadyExists => Err(refusal),
            _ => Ok(()),
        }
    }

    /// A log failed, and with it its directory; unless the log is being deleted, which whoever still used it may meet as a
    /// fault. Not to be called with a partition locked.
    pub fn log_failed(self: &Arc<Node>, cell: &Cell, fault: &dyn std::fmt::Display) {
        if !cell.dropped.load(Ordering::Acquire) {
            self.log_dir_failed(&cell.log_dir(), fault);
        }
    }

    /// A log directory cannot be used any more. Without another one, or without the metadata log, the node stops.
    pub fn log_dir_failed(self: &Arc<Node>, dir: &Path, fault: &dyn std::fmt::Display) {
        self.housekeeping.log_dir_failed(self, dir, fault);
    }

    /// Stops the node, because it cannot go on.
    pub fn fail(&self) {
        self.stop.fail();
    }

    /// Held by a thread that the node cannot do without: if the thread panics, the node stops.
    pub fn indispensable(self: &Arc<Node>, thread: &'static str) -> Indispensable {
        Indispensable { node: self.clone(), thread }
    }

    pub fn is_stopping(&self) -> bool {
        self.stop.is_wanted()
    }

    pub fn stop_state(&self) -> Stop {
        self.stop.state()
    }

    /// Completes when the node is to stop.
    pub async fn stopped(&self) -> Stop {
        self.stop.wanted().await
    }

    /// Says that a partition's log is damaged where somebody wanted to read it.
    pub fn report_damage(&self, cell: &Cell, damage: &storage::Damage) {
        if let Some(unsaid) = self.damage_reports.admit() {
            error!(topic = %cell.topic, partition = cell.index, offset = damage.offset, segment = damage.segment,
                position = damage.position, reason = %damage.reason, unsaid, "the log is damaged here: it is not served");
        }
    }

    /// Says why a connection was closed, at most a few times a second: anybody can send garbage.
    pub fn log_close(&self, peer: &crate::net::connection::Peer, close: &crate::api::Close) {
        if close.is_ordinary() {
            debug!(peer = %peer.address, listener = %peer.listener, "connection ended: {close}");
        } else {
            self.metrics.refused_connection();
            if let Some(unsaid) = self.refusals.admit() {
                warn!(peer = %peer.address, listener = %peer.listener, unsaid, "connection closed: {close}");
            }
        }
    }
}

/// The layers of a broker's settings, as the file and the cluster's state have them.
pub fn with_layers<T>(config: &BrokerConfig, image: &Image, f: impl FnOnce(&Layers<'_>) -> T) -> T {
    let own = image.configs.get(&ConfigResource::broker(config.node_id)).map(|s| &**s);
    let default = image.configs.get(&ConfigResource::default_broker()).map(|s| &**s);
    f(&Layers { dynamic_broker: &own, dynamic_default: &default, fixed: &config.file })
}

fn limits(config: &BrokerConfig, image: &Image) -> Limits {
    let listeners: Vec<&str> = config.listeners.iter().map(|listener| listener.name.as_str()).collect();
    let (limits, errors) = with_layers(config, image, |layers| Limits::of(layers, &listeners));
    for why in errors {
        warn!("max.connections.per.ip.overrides: {why}");
    }
    limits
}

/// A topic's settings, all layers counted in.
pub fn topic_config(configs: &mut TopicConfigs, config: &BrokerConfig, image: &Image, topic: &str) -> Arc<TopicConfig> {
    let own = image.configs.get(&ConfigResource::topic(topic)).map(|s| &**s);
    with_layers(config, image, |layers| configs.get(&own, layers))
}

/// Lets one event through in a while, and counts those that were held back.
struct Throttle {
    every: Duration,
    state: Mutex<(Option<Instant>, u64)>,
}

impl Throttle {
    fn new(every: Duration) -> Throttle {
        Throttle { every, state: Mutex::default() }
    }

    /// `Some` lets the event through, with how many before it were not.
    fn admit(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0.is_some_and(|last| last.elapsed() < self.every) {
            state.1 += 1;
            return None;
        }
        state.0 = Some(Instant::now());
        Some(std::mem::take(&mut state.1))
    }
}

/// See [`Node::indispensable`].
pub struct Indispensable {
    node: Arc<Node>,
    thread: &'static str,
}

impl Drop for Indispensable {
    fn drop(&mut self) {
        if std::thread::panicking() {
            error!(thread = self.thread, "a thread that the node cannot do without panicked: the node stops");
            self.node.fail();
        }
    }
}
