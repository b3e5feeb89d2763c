//! What the tests of this crate share.
#![allow(dead_code)] // each test uses a part of it
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

pub mod commands;

use std::path::Path;
use std::sync::Arc;

use metadata::controller::{
    AlterOp, BrokerHeartbeat, BrokerRegistration, Command, ConfigChanges, Controller, CreatedTopic, HeartbeatReply,
    NewTopic, NodeSettings, Random, Refusal, Reply, activation_records, default_bootstrap_records,
};
use metadata::image::features::SUPPORTED;
use metadata::image::{ConfigResource, Delta, Endpoint, Image, Partition, SupportedFeature};
use metadata::machine::Committed;
use metadata::planted::Bug;
use metadata::quorum::{MetadataNode, OpenError, Opened, Present};
use storage::Fault;
use wire::messages::MetadataRecord;
use wire::{ErrorCode, Uuid};

pub const CLUSTER: &str = "4L6g3nShT-eMCtK--X86sw";

/// Numbers that look random and are the same in each run.
pub fn chance(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

pub fn directory(n: u128) -> Uuid {
    Uuid::from_u128(n << 64 | 1 << 32)
}

pub fn registration(broker_id: i32, incarnation: u128) -> BrokerRegistration {
    BrokerRegistration {
        broker_id,
        cluster_id: CLUSTER.to_owned(),
        incarnation_id: Uuid::from_u128(incarnation),
        endpoints: vec![Endpoint {
            name: "PLAINTEXT".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 9092,
            security_protocol: 0,
        }],
        features: SUPPORTED
            .iter()
            .map(|(name, min, max)| SupportedFeature { name: (*name).to_owned(), min: *min, max: *max })
            .collect(),
        rack: None,
        is_migrating_zk_broker: false,
        log_dirs: vec![directory(broker_id as u128)],
        previous_broker_epoch: -1,
    }
}

pub fn topic(name: &str, num_partitions: i32, replication_factor: i16) -> NewTopic {
    NewTopic { name: name.to_owned(), num_partitions, replication_factor, ..NewTopic::default() }
}

pub fn create(topics: Vec<NewTopic>) -> Command {
    Command::CreateTopics { topics, validate_only: false }
}

pub fn heartbeat(broker_id: i32, broker_epoch: i64) -> BrokerHeartbeat {
    BrokerHeartbeat { broker_id, broker_epoch, current_metadata_offset: i64::MAX, ..BrokerHeartbeat::default() }
}

/// Submits commands one by one, syncs, and returns their replies.
pub fn run(node: &mut MetadataNode, commands: Vec<Command>) -> Vec<Reply> {
    let mut random = chance(7);
    let mut replies = Vec::new();
    for command in commands {
        submit(node, [command], &mut random).unwrap();
        replies.extend(sync(node).unwrap().into_iter().flat_map(|batch| batch.replies));
    }
    replies
}

/// The time of all tests, for wall and steady clock.
pub const NOW_MS: i64 = 1_000;

pub fn present(random: &mut dyn Random) -> Present<'_> {
    Present { wall_ms: NOW_MS, steady_ms: NOW_MS, random }
}

pub fn start(opened: Opened) -> Result<MetadataNode, OpenError> {
    let mut node = opened.start(&mut present(&mut chance(5)))?;
    node.sync(&mut present(&mut chance(5)))?;
    node.take_output();
    Ok(node)
}

pub fn submit(
    node: &mut MetadataNode,
    commands: impl IntoIterator<Item = Command>,
    random: &mut dyn Random,
) -> Result<(), Fault> {
    assert!(node.submit(commands, &mut present(random))?);
    Ok(())
}

/// Syncs, and gives what that committed.
pub fn sync(node: &mut MetadataNode) -> Result<Vec<Committed<Image, Reply>>, Fault> {
    node.sync(&mut present(&mut chance(5)))?;
    Ok(node.take_output().committed)
}

/// Copies a directory with everything in it.
pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file below a directory with its bytes.
pub fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(contents(&entry.path()));
        } else {
            files.push((entry.path().display().to_string(), std::fs::read(entry.path()).unwrap()));
        }
    }
    files.sort();
    files
}

/// A controller without a log: what it decides is committed at once.
pub struct Decider {
    pub controller: Controller,
    pub random: Box<dyn FnMut() -> u64>,
    pub now_ms: i64,
    /// Everything that was decided so far.
    pub records: Vec<MetadataRecord<'static>>,
}

impl Decider {
    /// Controller and settings of node 100; an activated, empty cluster.
    pub fn new(file: &[(&str, &str)]) -> Decider {
        Decider::bootstrapped(file, &default_bootstrap_records())
    }

    /// As [`Decider::new`], with bootstrap records of one's own.
    pub fn bootstrapped(file: &[(&str, &str)], bootstrap: &[MetadataRecord<'static>]) -> Decider {
        let file = file.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Decider::of(NodeSettings { node_id: 100, file, ..NodeSettings::default() }, bootstrap)
    }

    /// An activated, empty cluster whose controller makes a mistake.
    pub fn planted(bug: Bug) -> Decider {
        let settings = NodeSettings { node_id: 100, bug, ..NodeSettings::default() };
        Decider::of(settings, &default_bootstrap_records())
    }

    fn of(settings: NodeSettings, bootstrap: &[MetadataRecord<'static>]) -> Decider {
        let controller = Controller::new(CLUSTER, settings, 9_000, Image::default(), 0, 0);
        let mut decider = Decider { controller, random: Box::new(chance(1)), now_ms: 0, records: Vec::new() };
        let context = decider.controller.context();
        let records = activation_records(&Image::default(), &context, bootstrap);
        decider.records.extend(decider.controller.write(records).records);
        let end_offset = decider.controller.next_offset();
        decider.controller.committed(end_offset);
        decider
    }

    pub fn image(&self) -> Arc<Image> {
        self.controller.image().clone()
    }

    pub fn ask(&mut self, command: Command) -> Reply {
        self.ask_all(vec![command]).1.remove(0)
    }

    /// One batch: its changes and its replies.
    pub fn ask_all(&mut self, commands: Vec<Command>) -> (Delta, Vec<Reply>) {
        let decided = self.controller.submit(commands, self.now_ms, &mut self.random);
        self.records.extend(decided.into_iter().flat_map(|decided| decided.records));
        let end_offset = self.controller.next_offset();
        let mut committed = self.controller.committed(end_offset);
        assert_eq!(committed.len(), 1);
        let batch = committed.remove(0);
        (batch.change, batch.replies)
    }

    /// Time passes, in which the controller looks at what comes, and nothing does.
    pub fn wait(&mut self, ms: i64) {
        let until = self.now_ms + ms;
        while self.now_ms < until {
            self.now_ms = until.min(self.now_ms + 250);
            self.ask_all(Vec::new());
        }
    }

    /// Registers and unfences brokers 1 to `count`.
    pub fn with_brokers(mut self, count: i32) -> Decider {
        for id in 1..=count {
            self.start_broker(id, id as u128, -1);
        }
        self
    }

    pub fn register(&mut self, request: BrokerRegistration) -> Result<i64, Refusal> {
        match self.ask(Command::RegisterBroker(request)) {
            Reply::RegisterBroker(result) => result,
            other => panic!("an answer to something else: {other:?}"),
        }
    }

    /// Registers and unfences; returns the epoch.
    pub fn start_broker(&mut self, id: i32, incarnation: u128, previous_broker_epoch: i64) -> i64 {
        let request = BrokerRegistration { previous_broker_epoch, ..registration(id, incarnation) };
        let epoch = self.register(request).unwrap();
        self.beat(heartbeat(id, epoch)).unwrap();
        epoch
    }

    pub fn beat(&mut self, request: BrokerHeartbeat) -> Result<HeartbeatReply, Refusal> {
        match self.ask(Command::Heartbeat(request)) {
            Reply::Heartbeat(result) => result,
            other => panic!("an answer to something else: {other:?}"),
        }
    }

    pub fn create_one(&mut self, topic: NewTopic) -> Result<CreatedTopic, Refusal> {
        match self.ask(create(vec![topic])) {
            Reply::CreateTopics(Ok(mut results)) => results.remove(0).1,
            other => panic!("an answer to something else: {other:?}"),
        }
    }

    pub fn partition(&self, topic: &str, id: i32) -> Partition {
        (**self.image().topics.by_name(topic).unwrap().partition(id).unwrap()).clone()
    }
}

/// The code and the text of a refusal.
pub fn refusal<T: std::fmt::Debug>(result: Result<T, Refusal>) -> (ErrorCode, String) {
    let refusal = result.unwrap_err();
    (refusal.code, refusal.message.unwrap_or_default())
}

/// Key, operation, operand.
pub type Change<'a> = (&'a str, AlterOp, Option<&'a str>);

pub fn change(resource: ConfigResource, changes: &[Change<'_>]) -> Command {
    let changes = changes.iter().map(|(key, op, value)| ((*key).to_owned(), *op, value.map(str::to_owned))).collect();
    Command::IncrementalAlterConfigs { resources: vec![ConfigChanges { resource, changes }], validate_only: false }
}

pub fn changed(cluster: &mut Decider, resource: ConfigResource, changes: &[Change<'_>]) -> Result<(), Refusal> {
    match cluster.ask(change(resource, changes)) {
        Reply::IncrementalAlterConfigs(mut results) => results.remove(0).1,
        other => panic!("{other:?}"),
    }
}
