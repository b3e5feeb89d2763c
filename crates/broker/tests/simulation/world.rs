//! Events and time.

use crate::checks::Checks;
use crate::node::Node;
use broker::FetchSettings;
use metadata::controller::{
    BrokerHeartbeat, BrokerRegistration, Command, Controller, NewTopic, NodeSettings, Reply, activation_records,
    default_bootstrap_records,
};
use metadata::image::features::SUPPORTED;
use metadata::image::{Delta, Endpoint, Image, Partition, SupportedFeature, TopicIdPartition};
use replication::planted::Bug;
use replication::{Durability, Settings};
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::SyncRequest;
use testkit::simulation::{Chance, Digest, Links, Schedule};
use wire::Uuid;
use wire::messages::fetch_request::FetchRequest;
use wire::messages::fetch_response::FetchResponse;

pub const IDS: [i32; 3] = [1, 2, 3];
pub const TOPIC: &str = "t";
const CLUSTER: &str = "4L6g3nShT-eMCtK--X86sw";
/// Faults happen before, the cluster heals after.
pub const HEAL_MS: i64 = 15_000;
const END_MS: i64 = 60_000;
pub const SESSION_MS: i64 = 1_500;
pub const LAG_MS: i64 = 1_000;

/// What a seed runs.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub durability: Durability,
    pub min_isr: u32,
    pub bug: Bug,
}

impl Plan {
    /// With records that are synced, any number of power cuts at once loses nothing; without, one at a time does, where
    /// two replicas have every record.
    pub fn of(seed: u64, bug: Bug) -> Plan {
        let durability = if seed.is_multiple_of(2) { Durability::Synced } else { Durability::PageCache };
        let min_isr = if durability == Durability::Synced && seed.is_multiple_of(4) { 1 } else { 2 };
        Plan { seed, durability, min_isr, bug }
    }

    pub fn settings(&self) -> Settings {
        Settings {
            min_insync_replicas: self.min_isr,
            replica_lag_time_max_ms: LAG_MS,
            bug: self.bug,
            ..Settings::new(self.durability)
        }
    }
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub acknowledged: usize,
    pub truncations: usize,
    /// Of all events, in order.
    pub digest: Digest,
}

/// A broker's process; what was meant for an earlier one is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct To {
    pub id: i32,
    pub process: u64,
}

pub enum Event {
    /// A broker applies the next state of the cluster.
    Apply(To),
    /// A command reaches the controller; the answer goes back.
    Command(To, Command),
    Replied(To, Reply),
    /// No answer came.
    Unanswered(To, Asked),
    FetchTurn(To, i32),
    Fetch {
        from: To,
        connection: u64,
        leader: i32,
        request: FetchRequest<'static>,
    },
    Fetched {
        to: To,
        connection: u64,
        leader: i32,
        response: FetchResponse<'static>,
    },
    FetchUnanswered {
        to: To,
        connection: u64,
        leader: i32,
    },
    Synced(To, SyncRequest),
    /// A broker's own clock: heartbeat, ISR, checkpoints.
    Beat(To),
    Produce,
    Fault,
    Restart(i32),
    ControllerTick,
}

/// What a broker asks the controller, one of each at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Registration,
    AlterPartition(u64),
}

pub struct World {
    pub plan: Plan,
    pub now_ms: i64,
    pub chance: Chance,
    pub key: TopicIdPartition,
    pub nodes: BTreeMap<i32, Node>,
    pub controller: Controller,
    /// Every state of the cluster, in order.
    pub states: Vec<(Arc<Image>, Arc<Delta>)>,
    pub links: Links,
    pub checks: Checks,
    pub talks: bool,
    pub processes: u64,
    pub values: u64,
    schedule: Schedule<Event>,
    digest: Digest,
}

impl World {
    /// Runs a plan to its end, or to what it broke.
    pub fn run(plan: Plan, talks: bool) -> Result<Outcome, String> {
        let mut world = World::new(plan, talks);
        while let Some(event) = world.schedule.take() {
            world.now_ms = world.schedule.now_ms();
            if world.now_ms > END_MS {
                break;
            }
            if world.is_healed() {
                world.links.heal();
            }
            world.handle(event)?;
            world.check()?;
        }
        world.check_end()?;
        Ok(Outcome {
            acknowledged: world.checks.acknowledged.len(),
            truncations: world.checks.truncations,
            digest: world.digest,
        })
    }

    fn new(plan: Plan, talks: bool) -> World {
        let file = [("min.insync.replicas".to_owned(), plan.min_isr.to_string())];
        let settings = NodeSettings { node_id: 100, file: file.into(), ..NodeSettings::default() };
        let controller = Controller::new(CLUSTER, settings, SESSION_MS, Image::default(), 0, 0);
        let mut world = World {
            plan,
            now_ms: 0,
            chance: Chance::new(plan.seed),
            key: TopicIdPartition { topic_id: Uuid::ZERO, partition: 0 },
            nodes: BTreeMap::new(),
            controller,
            states: Vec::new(),
            links: Links::default(),
            checks: Checks::default(),
            talks,
            processes: 0,
            values: 0,
            schedule: Schedule::default(),
            digest: Digest::default(),
        };
        let records = activation_records(&Image::default(), &world.controller.context(), &default_bootstrap_records());
        world.controller.write(records);
        let end_offset = world.controller.next_offset();
        let begun = world.controller.committed(end_offset).remove(0);
        world.states.push((begun.state, Arc::new(begun.change)));
        let mut epochs = BTreeMap::new();
        for id in IDS {
            let Reply::RegisterBroker(Ok(epoch)) = world.decide(Command::RegisterBroker(registration(id, 0, -1)))
            else {
                panic!("a broker cannot register")
            };
            epochs.insert(id, epoch);
            let beat = BrokerHeartbeat { current_metadata_offset: i64::MAX, ..heartbeat(id, epoch) };
            world.decide(Command::Heartbeat(beat));
        }
        let topic = NewTopic {
            name: TOPIC.to_owned(),
            num_partitions: 1,
            replication_factor: 3,
            assignments: Vec::new(),
            configs: Vec::new(),
        };
        world.decide(Command::CreateTopics { topics: vec![topic], validate_only: false });
        world.key.topic_id = world.image().topics.by_name(TOPIC).unwrap().id;
        for id in IDS {
            world.nodes.insert(id, Node::new(epochs[&id]));
            world.start(id);
            let applied = world.states.len() - 1;
            let epoch = epochs[&id];
            let process = world.nodes.get_mut(&id).unwrap().process.as_mut().unwrap();
            process.broker_epoch = Some(epoch);
            process.applied = applied;
            world.take_up(id);
        }
        world.after(100, Event::Produce);
        world.after(1_000, Event::Fault);
        world.after(100, Event::ControllerTick);
        world
    }

    pub fn is_healed(&self) -> bool {
        self.now_ms >= HEAL_MS
    }

    pub fn after(&mut self, delay_ms: i64, event: Event) {
        self.schedule.after(delay_ms, event);
    }

    pub fn say(&mut self, what: impl FnOnce() -> String) {
        if self.talks {
            let what = what();
            eprintln_line(&format!("{:>6} {what}", self.now_ms));
        }
    }

    pub fn image(&self) -> Arc<Image> {
        self.controller.image().clone()
    }

    /// The partition as the controller has it.
    pub fn partition(&self) -> Arc<Partition> {
        self.image().topics.partition(self.key).unwrap().clone()
    }

    /// Decides and commits; the brokers hear of it later.
    pub fn decide(&mut self, command: Command) -> Reply {
        let World { controller, chance, now_ms, .. } = self;
        controller.submit([command], *now_ms, &mut || chance.next());
        let end_offset = controller.next_offset();
        let mut committed = controller.committed(end_offset);
        let mut batch = committed.remove(0);
        if !batch.change.is_empty() {
            self.states.push((batch.state, Arc::new(batch.change)));
            for id in IDS {
                if let Some(to) = self.address(id) {
                    let delay_ms = self.delay_ms();
                    self.after(delay_ms, Event::Apply(to));
                }
            }
        }
        batch.replies.remove(0)
    }

    pub fn address(&self, id: i32) -> Option<To> {
        let process = self.nodes.get(&id)?.process.as_ref()?;
        Some(To { id, process: process.number })
    }

    fn handle(&mut self, event: Event) -> Result<(), String> {
        self.digest.mix(self.now_ms as u64);
        match event {
            Event::Apply(to) => self.if_running(to, Event::Apply, |world, to| world.apply(to.id)),
            Event::Command(from, command) => self.command(from, command),
            Event::Replied(to, reply) => self.replied(to, reply)?,
            Event::Unanswered(to, asked) => self.unanswered(to, asked),
            Event::FetchTurn(to, leader) => {
                self.if_running(
                    to,
                    move |to| Event::FetchTurn(to, leader),
                    move |world, to| world.fetch_turn(to, leader),
                );
            }
            Event::Fetch { from, connection, leader, request } => self.serve_fetch(from, connection, leader, request),
            Event::Fetched { to, connection, leader, response } => self.fetched(to, connection, leader, &response)?,
            Event::FetchUnanswered { to, connection, leader } => self.fetch_unanswered(to, connection, leader),
            Event::Synced(to, request) => self.synced(to, &request),
            Event::Beat(to) => self.if_running(to, Event::Beat, |world, to| world.beat(to)),
            Event::Produce => self.produce(),
            Event::Fault => self.fault(),
            Event::Restart(id) => self.restart(id),
            Event::ControllerTick => {
                self.decide(Command::Tick);
                self.after(100, Event::ControllerTick);
            }
        }
        Ok(())
    }

    /// Does something on a running process; later, on one that is stopped.
    fn if_running(&mut self, to: To, again: impl FnOnce(To) -> Event, act: impl FnOnce(&mut World, To)) {
        if self.address(to.id) != Some(to) {
            return;
        }
        let paused_ms = self.nodes[&to.id].paused_until_ms - self.now_ms;
        if paused_ms > 0 { self.after(paused_ms, again(to)) } else { act(self, to) }
    }

    pub fn fetch_settings(id: i32) -> FetchSettings {
        FetchSettings {
            node_id: id,
            max_wait_ms: 0,
            min_bytes: 1,
            max_bytes: 1 << 20,
            partition_max_bytes: 600,
            backoff_ms: 200,
        }
    }
}

#[allow(clippy::print_stderr)] // for whoever runs one seed
fn eprintln_line(line: &str) {
    eprintln!("{line}");
}

pub fn registration(broker_id: i32, incarnation: u64, previous_broker_epoch: i64) -> BrokerRegistration {
    BrokerRegistration {
        broker_id,
        cluster_id: CLUSTER.to_owned(),
        incarnation_id: Uuid::from_u128(1_000 + (broker_id as u128) + (u128::from(incarnation) << 32)),
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
        log_dirs: vec![Uuid::from_u128((broker_id as u128) << 64 | 1 << 32)],
        previous_broker_epoch,
    }
}

pub fn heartbeat(broker_id: i32, broker_epoch: i64) -> BrokerHeartbeat {
    BrokerHeartbeat { broker_id, broker_epoch, ..BrokerHeartbeat::default() }
}
