//! Events and time.

use crate::checks::Checks;
use crate::clients::{Answer, Client, ClientEvent, Question};
use crate::machine::{Machine, Process};
use crate::plan::{END_MS, HEAL_MS, Plan};
use crate::quorum::Message;
use metadata::controller::{Command, Reply};
use metadata::image::{Image, TopicIdPartition};
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::SyncRequest;
use testkit::simulation::{Chance, Digest, Links, Schedule};
use wire::ErrorCode;
use wire::messages::fetch_request::FetchRequest;
use wire::messages::fetch_response::FetchResponse;

pub const CLUSTER: &str = "4L6g3nShT-eMCtK--X86sw";
/// Some ten thousand are usual: nodes that keep each other busy without end are a failure.
const EVENTS_MAX: usize = 500_000;
/// Between looks whether the cluster is whole again.
const LOOK_MS: i64 = 250;

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub acknowledged: usize,
    pub consumed: usize,
    pub truncations: usize,
    /// Replicas that came to another log directory of their node.
    pub moves: usize,
    pub events: usize,
    /// Of the cluster's time.
    pub seconds: usize,
    pub digest: Digest,
}

/// A node's process; what was meant for an earlier one is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct To {
    pub id: i32,
    pub process: u64,
}

/// A client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Caller {
    pub client: usize,
    pub connection: u64,
}

pub enum Event {
    At(To, Happening),
    Client(usize, ClientEvent),
    Restart(i32),
    Fault,
    Admin,
    Look,
}

/// What comes to pass in a process.
pub enum Happening {
    /// The metadata thread's clock.
    Wake,
    Publish,
    /// The broker's clocks: heartbeat; ISR and checkpoints.
    Beat,
    Watch,
    Synced(TopicIdPartition, SyncRequest),
    FetchTurn(i32),
    /// No answer came over this connection to this leader.
    FetchUnanswered(i32, u64),
    FetchOvertaken(i32, u64),
    FetchNoMore(i32, TopicIdPartition),
    /// No answer came to what was asked of the controller.
    Unanswered(u64),
    Propose,
    /// The controller is to hear of a failed directory by then, and of where replicas are.
    TellFailed(i64),
    Assign,
    /// A replica on its way to another directory.
    Copy(TopicIdPartition),
    /// Somebody wants what is before this offset to be gone.
    DeleteRecords(TopicIdPartition, i64),
    /// Somebody who waits here is out of patience.
    Patience,
    ShardTick,
    Packet(To, Body),
    Asked(Caller, u64, Question),
    /// A process that was there refuses connections now.
    Ended(To),
}

/// What nodes say to each other.
pub enum Body {
    Quorum(Message),
    Command(u64, Command),
    Replied(u64, Result<Reply, ErrorCode>),
    Fetch(u64, FetchRequest<'static>),
    Fetched(u64, FetchResponse<'static>),
    Range(TopicIdPartition, i32),
    Ranged(TopicIdPartition, Result<(i64, i64), ErrorCode>),
}

pub struct World {
    pub plan: Plan,
    pub chance: Chance,
    pub schedule: Schedule<Event>,
    pub links: Links,
    pub machines: BTreeMap<i32, Machine>,
    pub clients: Vec<Client>,
    pub checks: Checks,
    pub talks: bool,
    /// Processes and connections so far.
    pub made: u64,
    /// The newest state that any node knows to be committed.
    pub latest: Arc<Image>,
    pub digest: Digest,
}

impl World {
    /// Runs a plan to its end, or to what it broke.
    pub fn run(plan: Plan, talks: bool) -> Result<Outcome, String> {
        let mut world = World {
            plan,
            chance: Chance::new(plan.seed),
            schedule: Schedule::default(),
            links: Links::default(),
            machines: BTreeMap::new(),
            clients: Vec::new(),
            checks: Checks::default(),
            talks,
            made: 0,
            latest: Arc::default(),
            digest: Digest::default(),
        };
        world.begin();
        let mut events = 0;
        while let Some(event) = world.schedule.take() {
            events += 1;
            if events > EVENTS_MAX {
                return Err(format!("{events} events, and no end by {} ms", world.now_ms()));
            }
            let is_look = matches!(event, Event::Look);
            world.digest.mix(world.now_ms() as u64);
            world.handle(event);
            world.check()?;
            if is_look && world.is_healed() {
                match world.is_whole() {
                    Ok(()) => break,
                    Err(why) if world.now_ms() >= END_MS => return Err(format!("it does not heal: {why}")),
                    Err(_) => {}
                }
            }
        }
        world.check_end()?;
        Ok(Outcome {
            acknowledged: world.checks.acknowledged,
            consumed: world.checks.consumed,
            truncations: world.checks.truncations,
            moves: world.checks.moves,
            events,
            seconds: (world.now_ms() / 1_000) as usize,
            digest: world.digest,
        })
    }

    fn begin(&mut self) {
        for id in self.plan.ids() {
            self.machines.insert(id, Machine::new(id, &self.plan));
            self.start(id);
        }
        self.make_clients();
        self.after(500, Event::Admin);
        self.after(2_500, Event::Fault);
        self.after(LOOK_MS, Event::Look);
    }

    pub fn now_ms(&self) -> i64 {
        self.schedule.now_ms()
    }

    pub fn is_healed(&self) -> bool {
        self.now_ms() >= HEAL_MS
    }

    pub fn after(&mut self, delay_ms: i64, event: Event) {
        self.schedule.after(delay_ms, event);
    }

    pub fn at(&mut self, delay_ms: i64, to: To, what: Happening) {
        self.schedule.after(delay_ms, Event::At(to, what));
    }

    pub fn say(&mut self, what: impl FnOnce() -> String) {
        if self.talks {
            let what = what();
            crate::say(&format!("{:>6} {what}", self.now_ms()));
        }
    }

    /// How a partition is called.
    pub fn name(&self, key: TopicIdPartition) -> String {
        let topic = self.latest.topics.get(key.topic_id).map_or("deleted", |topic| &*topic.name);
        format!("{topic}-{}", key.partition)
    }

    /// The process, while it runs.
    pub fn process(&mut self, to: To) -> Option<&mut Process> {
        self.machines.get_mut(&to.id)?.process.as_mut().filter(|process| process.number == to.process)
    }

    pub fn running(&self, id: i32) -> Option<To> {
        let process = self.machines.get(&id)?.process.as_ref()?;
        Some(To { id, process: process.number })
    }

    /// Mostly quick, sometimes slow, now and then very slow.
    pub fn delay_ms(&mut self) -> i64 {
        match self.chance.below(100) {
            _ if self.is_healed() => 1 + self.chance.below(5),
            0..88 => 1 + self.chance.below(10),
            88..98 => self.chance.below(150),
            _ => self.chance.below(2_000),
        }
    }

    pub fn is_lost(&mut self, from: i32, to: i32) -> bool {
        self.links.is_cut(from, to, self.now_ms()) || !self.is_healed() && self.chance.is(1)
    }

    /// Says something to another node's process.
    pub fn send(&mut self, from: To, to: i32, body: Body) {
        let Some(process) = self.running(to) else { return };
        if from.id == to {
            return self.at(0, process, Happening::Packet(from, body));
        }
        if !self.is_lost(from.id, to) {
            let delay_ms = self.delay_ms();
            self.at(delay_ms, process, Happening::Packet(from, body));
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::At(to, what) => self.happens(to, what),
            Event::Client(client, event) => self.client_event(client, event),
            Event::Restart(id) => self.start(id),
            Event::Fault => self.fault(),
            Event::Admin => self.administrate(),
            Event::Look => self.after(LOOK_MS, Event::Look),
        }
    }

    fn happens(&mut self, to: To, what: Happening) {
        if self.process(to).is_none() {
            return;
        }
        // A process that stands still does what is due when it goes on.
        let paused_ms = self.machines[&to.id].paused_until_ms - self.now_ms();
        if paused_ms > 0 {
            return self.at(paused_ms, to, what);
        }
        match what {
            Happening::Wake => self.metadata_wakes(to),
            Happening::Publish => self.publish(to),
            Happening::Beat => self.beat(to),
            Happening::Watch => self.watch(to),
            Happening::Synced(key, request) => self.synced(to, key, &request),
            Happening::FetchTurn(leader) => self.fetch_turn(to, leader),
            Happening::FetchUnanswered(leader, connection) => self.fetch_unanswered(to, leader, connection),
            Happening::FetchOvertaken(leader, connection) => self.fetch_overtaken(to, leader, connection),
            Happening::FetchNoMore(leader, key) => self.fetch_no_more(to, leader, key),
            Happening::Unanswered(number) => self.replied(to, number, Err(ErrorCode::RequestTimedOut)),
            Happening::Propose => self.propose(to),
            Happening::TellFailed(until_ms) => self.tell_failed(to, until_ms),
            Happening::Assign => self.assign(to),
            Happening::Copy(key) => self.copy(to, key),
            Happening::DeleteRecords(key, before) => self.delete_records(to, key, before),
            Happening::Patience => {}
            Happening::ShardTick => self.shard_tick(to),
            Happening::Asked(caller, token, question) => self.asked(to, caller, token, question),
            Happening::Ended(process) => self.has_ended(to, process),
            Happening::Packet(from, body) => match body {
                Body::Quorum(message) => self.quorum_message(to, from, message),
                Body::Command(number, command) => self.command(to, from, number, command),
                Body::Replied(number, reply) => self.replied(to, number, reply),
                Body::Fetch(connection, request) => self.serve_fetch(to, from, connection, request),
                Body::Fetched(connection, response) => self.fetched(to, from.id, connection, &response),
                Body::Range(key, epoch) => self.serve_range(to, from, key, epoch),
                Body::Ranged(key, range) => self.ranged(to, from.id, key, range),
            },
        }
        self.serve_waiting(to);
    }

    /// Answers a client, unless its connection or the way to it is gone.
    pub fn answer(&mut self, from: To, caller: Caller, token: u64, answer: Answer) {
        if !self.links.is_cut(from.id, crate::clients::PLACE, self.now_ms()) {
            self.back_to(caller, token, answer);
        }
    }
}
