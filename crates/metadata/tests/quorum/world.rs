//! Machines, time and network.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::path::{Path, PathBuf};

use metadata::controller::{Command, NodeSettings, Reply, default_bootstrap_records};
use metadata::planted::Bug;
use metadata::quorum::{
    FetchFrom, FetchRequest, Fetched, Format, Known, MetadataNode, MetadataOptions, NextFetch, Outgoing, Present,
    SnapshotJob, SnapshotPiece, SnapshotRequest, Timeouts, VoteReply, VoteRequest, Voter, VoterSet, format,
};
use storage::testing::MemDisk;
use storage::{Disk, Fault, Shutdown};

use crate::checks::Checks;
use crate::common::{self, CLUSTER, chance, create, directory, topic};

const LOG_DIR: &str = "/data";
/// How long a fetch waits for something new, and when the asker gives it up, in ms.
pub const FETCH_WAIT: i64 = 200;
/// A turn whose sync takes long, in ms.
pub const SLOW_TURN: u64 = 400;
const FETCH_GIVEN_UP: i64 = 300;
pub const TIMEOUTS: Timeouts = Timeouts { election: 400, fetch: 800, backoff_max: 400 };

/// What a seed runs.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub voters: usize,
    observers: usize,
    /// Voters are named in the log, with their directories (KIP-853), and not in the configuration.
    dynamic: bool,
    /// Snapshots come so often that who is behind for a moment needs one.
    snapshots: bool,
    /// Leaders come and go.
    pub stormy: bool,
    bug: Bug,
}

impl Plan {
    pub fn of(seed: u64, bug: Bug) -> Plan {
        let mut random = chance(seed ^ 0x51_0d);
        Plan {
            seed,
            voters: [1, 3, 3, 3, 3, 5, 5, 5][(random() % 8) as usize],
            observers: (random() % 3) as usize,
            dynamic: random().is_multiple_of(3),
            snapshots: random().is_multiple_of(2),
            stormy: random().is_multiple_of(3),
            bug,
        }
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub acknowledged: u64,
    pub elections: u64,
    pub truncations: u64,
    /// Snapshots that came from a leader.
    pub installed: u64,
    pub power_cuts: u64,
    pub simulated_ms: i64,
    /// Of all that was committed.
    hash: u64,
}

impl Outcome {
    pub fn add(&mut self, other: &Outcome) {
        self.acknowledged += other.acknowledged;
        self.elections += other.elections;
        self.truncations += other.truncations;
        self.installed += other.installed;
        self.power_cuts += other.power_cuts;
        self.simulated_ms += other.simulated_ms;
        self.hash ^= other.hash;
    }
}

#[derive(Clone, Debug)]
enum Message {
    Ask(Outgoing),
    Voted(VoteRequest, VoteReply),
    Knows(Known),
    Fetch(FetchFrom, FetchRequest),
    Fetched(FetchFrom, FetchRequest, Fetched),
    FetchSnapshot(FetchFrom, SnapshotRequest),
    Snapshot(FetchFrom, SnapshotRequest, SnapshotPiece),
    /// Nobody listens there any more: the process that led this epoch has ended.
    Refused(i32),
}

#[derive(Debug)]
struct Delivery {
    at: i64,
    order: u64,
    from: usize,
    to: usize,
    /// The process that it is for: a restarted one does not get it.
    incarnation: u64,
    message: Message,
}

impl PartialEq for Delivery {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Delivery {}
impl PartialOrd for Delivery {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Delivery {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// A host: its disk stays, its processes come and go.
pub struct Machine {
    pub disk: MemDisk,
    pub node: Option<MetadataNode>,
    pub shutdown: Shutdown,
    incarnation: u64,
    /// Whom the fetch under way asks, and when it is given up.
    fetching: Option<(FetchFrom, i64)>,
    parked: Vec<(usize, FetchFrom, FetchRequest, i64)>,
    /// A turn is under way until then: what it appended is synced, and what it has to say is said, at its end.
    pub turn_ends: Option<i64>,
    /// The process stands still until then.
    pub frozen_until: i64,
    snapshot: Option<(i64, SnapshotJob)>,
    /// Fetches ask for one batch at a time: what they report then ends anywhere.
    one_by_one: bool,
}

pub struct World {
    pub plan: Plan,
    random: Box<dyn FnMut() -> u64>,
    pub now: i64,
    order: u64,
    pub machines: Vec<Machine>,
    network: BinaryHeap<Reverse<Delivery>>,
    /// No way from the one to the other.
    pub cut: BTreeSet<(usize, usize)>,
    /// Nothing goes wrong any more.
    pub calm: bool,
    pub asking: bool,
    pub checks: Checks,
    created: u32,
    pub power_cuts: u64,
    /// What went wrong, for whoever looks for the reason of a failure.
    pub story: Vec<String>,
}

impl World {
    pub fn run(plan: Plan) -> Result<Outcome, String> {
        let mut world = World::new(plan);
        world
            .live()
            .map_err(|violation| format!("{violation}\n{plan:?}\n{}\n{}", world.story.join("\n"), world.positions()))?;
        Ok(Outcome {
            acknowledged: world.checks.acknowledged.len() as u64,
            elections: world.checks.elections(),
            truncations: world.checks.truncations,
            installed: world.checks.installed,
            power_cuts: world.power_cuts,
            simulated_ms: world.now,
            hash: world.checks.hash(),
        })
    }

    fn new(plan: Plan) -> World {
        let machine = |id: usize| {
            let disk = MemDisk::new();
            disk.create_dir(Path::new(LOG_DIR)).unwrap();
            let voters = (plan.dynamic && id < plan.voters).then(|| voters(&plan));
            let how = Format { voters, bootstrap: default_bootstrap_records() };
            format(&disk, Path::new(LOG_DIR), &how, 1).unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            Machine {
                disk,
                node: None,
                shutdown: Shutdown::Clean,
                incarnation: 0,
                fetching: None,
                parked: Vec::new(),
                turn_ends: None,
                frozen_until: 0,
                snapshot: None,
                one_by_one: false,
            }
        };
        World {
            plan,
            random: Box::new(chance(plan.seed)),
            now: 1_000,
            order: 0,
            machines: (0..plan.voters + plan.observers).map(machine).collect(),
            network: BinaryHeap::new(),
            cut: BTreeSet::new(),
            calm: false,
            asking: true,
            checks: Checks::default(),
            created: 0,
            power_cuts: 0,
            story: Vec::new(),
        }
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        (self.random)() % bound
    }

    /// `percent` in a hundred.
    pub fn is(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn any(&mut self) -> usize {
        self.below(self.machines.len() as u64) as usize
    }

    pub fn say(&mut self, what: String) {
        self.story.push(format!("{}: {what}", self.now));
    }

    fn options(&self, id: usize) -> MetadataOptions {
        let Plan { dynamic, snapshots, bug, .. } = self.plan;
        let node_id = id as i32;
        MetadataOptions {
            votes: id < self.plan.voters,
            static_voters: (!dynamic).then(|| voters(&self.plan)),
            timeouts: TIMEOUTS,
            shutdown: self.machines[id].shutdown,
            settings: NodeSettings { node_id, bug, ..NodeSettings::default() },
            snapshot_bytes: if snapshots { 2_000 } else { 1 << 20 },
            segment_bytes: if snapshots { 4_096 } else { 1 << 16 },
            snapshots_kept: 1,
            ..MetadataOptions::new(PathBuf::from(LOG_DIR), CLUSTER.to_owned(), node_id, directory(id as u128 + 1))
        }
    }

    pub fn start(&mut self, id: usize) -> Result<(), String> {
        let refused = |error: metadata::quorum::OpenError| format!("{id} does not start: {error}");
        let opened = MetadataNode::open(self.machines[id].disk.arc(), self.options(id)).map_err(refused)?;
        let (now, random) = (self.now, &mut self.random);
        let node = opened.start(&mut Present { wall_ms: now, steady_ms: now, random }).map_err(refused)?;
        let machine = &mut self.machines[id];
        machine.node = Some(node);
        machine.incarnation += 1;
        machine.shutdown = Shutdown::Killed;
        self.machines[id].one_by_one = self.is(40);
        self.checks.restarted(id);
        self.end_turn(id)
    }

    /// Ends a process: by a kill, or with the power, when only what was synced stays.
    pub fn stop(&mut self, id: usize, power: bool) {
        let machine = &mut self.machines[id];
        machine.node = None;
        machine.parked.clear();
        machine.snapshot = None;
        machine.fetching = None;
        machine.turn_ends = None;
        machine.frozen_until = 0;
        if power {
            self.power_cuts += 1;
            machine.shutdown = Shutdown::PowerCut;
            machine.disk.power_cut(&mut *self.random);
        }
        self.say(format!("{id} ends{}", if power { " with the power" } else { "" }));
    }

    fn send(&mut self, from: usize, to: usize, message: Message) {
        if to >= self.machines.len() || self.cut.contains(&(from, to)) || (!self.calm && self.is(3)) {
            return;
        }
        let times = if !self.calm && self.is(3) { 2 } else { 1 };
        for _ in 0..times {
            let slow = match self.below(200) {
                _ if self.calm => 20,
                0 => 3_000,
                1..10 => 500,
                _ => 20,
            };
            let at = self.now + 1 + self.below(slow) as i64;
            self.order += 1;
            let (order, incarnation) = (self.order, self.machines[to].incarnation);
            self.network.push(Reverse(Delivery { at, order, from, to, incarnation, message: message.clone() }));
        }
    }

    /// Hands something to a node, when there is one.
    fn with<T>(
        &mut self,
        id: usize,
        f: impl FnOnce(&mut MetadataNode, &mut Present<'_>) -> Result<T, Fault>,
    ) -> Result<Option<T>, String> {
        let now = self.now;
        let Some(node) = self.machines[id].node.as_mut() else { return Ok(None) };
        let result = f(node, &mut Present { wall_ms: now, steady_ms: now, random: &mut self.random });
        result.map(Some).map_err(|fault| format!("{id} stops: {fault}"))
    }

    pub fn resign(&mut self, id: usize) -> Result<(), String> {
        self.with(id, |node, present| node.resign(present))?;
        self.handled(id)
    }

    /// Something was handled. What comes in a burst is handled in one turn.
    fn handled(&mut self, id: usize) -> Result<(), String> {
        if self.machines[id].turn_ends.is_some() {
            return Ok(());
        }
        if self.calm || !self.is(25) {
            return self.end_turn(id);
        }
        // Now and then the disk is slow.
        let slowest = if self.is(12) { SLOW_TURN } else { 30 };
        self.machines[id].turn_ends = Some(self.now + 1 + self.below(slowest) as i64);
        Ok(())
    }

    /// What a server does at the end of each turn of its metadata thread.
    fn end_turn(&mut self, id: usize) -> Result<(), String> {
        self.machines[id].turn_ends = None;
        self.serve_parked(id)?;
        self.with(id, |node, present| node.sync(present))?;
        self.put_out(id)?;
        self.serve_parked(id)?;
        self.put_out(id)?;
        self.fetch(id);
        self.check(id)
    }

    fn put_out(&mut self, id: usize) -> Result<(), String> {
        let Some(output) = self.with(id, |node, _| Ok(node.take_output()))? else { return Ok(()) };
        for (to, message) in output.messages {
            self.send(id, to.id as usize, Message::Ask(message));
        }
        for committed in output.committed {
            self.checks.published(id, &committed.state)?;
            for reply in committed.replies {
                if let Reply::CreateTopics(Ok(topics)) = reply {
                    let done = topics.into_iter().filter(|(_, result)| result.is_ok()).map(|(name, _)| name);
                    self.checks.acknowledged.extend(done);
                }
            }
        }
        if self.machines[id].snapshot.is_none()
            && let Some(Some(job)) = self.with(id, |node, present| Ok(node.snapshot_due(present.wall_ms)))?
        {
            let at = self.now + self.below(if self.calm { 10 } else { 200 }) as i64;
            self.machines[id].snapshot = Some((at, job));
        }
        Ok(())
    }

    fn write_snapshot(&mut self, id: usize) -> Result<(), String> {
        let now = self.now;
        let Some((_, job)) = self.machines[id].snapshot.take_if(|(at, _)| *at <= now) else { return Ok(()) };
        let written = job.run().map_err(|error| error.to_string())?;
        if !self.calm && self.is(5) {
            self.stop(id, true);
            return Ok(());
        }
        self.with(id, |node, present| node.snapshot_written(written, present.wall_ms))?;
        self.handled(id)
    }

    /// Answers fetches that need not wait any longer.
    fn serve_parked(&mut self, id: usize) -> Result<(), String> {
        for (from, whom, request, until) in std::mem::take(&mut self.machines[id].parked) {
            let fetched = match self.with(id, |node, present| node.fetch(&request, present))? {
                Some(None) if until <= self.now => self.with(id, |node, _| Ok(node.nothing_new()))?,
                fetched => fetched.flatten(),
            };
            match fetched {
                Some(fetched) => self.send(id, from, Message::Fetched(whom, request, fetched)),
                None => self.machines[id].parked.push((from, whom, request, until)),
            }
        }
        Ok(())
    }

    /// Sees to it that a fetch is under way where there is somebody to fetch from.
    fn fetch(&mut self, id: usize) {
        let now = self.now;
        let Some((from, next)) = self.machines[id].node.as_ref().and_then(MetadataNode::next_fetch) else { return };
        if self.machines[id].fetching.is_some_and(|(whom, until)| whom == from && until > now) {
            return;
        }
        let to = match from {
            FetchFrom::Leader(leader) => leader as usize,
            FetchFrom::Anybody => self.below(self.plan.voters as u64) as usize,
        };
        self.machines[id].fetching = Some((from, now + FETCH_GIVEN_UP));
        match next {
            NextFetch::Records(mut request) => {
                if !self.calm && self.machines[id].one_by_one {
                    request.max_bytes = 1;
                }
                self.send(id, to, Message::Fetch(from, request));
            }
            NextFetch::Snapshot(mut request) => {
                if self.is(50) {
                    request.max_bytes = 700;
                }
                self.send(id, to, Message::FetchSnapshot(from, request));
            }
        }
    }

    fn deliver(&mut self, delivery: Delivery) -> Result<(), String> {
        let Delivery { from, to: id, message, incarnation, .. } = delivery;
        let machine = &mut self.machines[id];
        if machine.frozen_until > self.now {
            let at = machine.frozen_until;
            self.network.push(Reverse(Delivery { at, from, to: id, message, ..delivery }));
            return Ok(());
        }
        if machine.node.is_none() || machine.incarnation != incarnation {
            let leads = FetchFrom::Leader(id as i32);
            let epoch = match message {
                Message::Fetch(whom, request) if whom == leads => Some(request.current_epoch),
                Message::FetchSnapshot(whom, request) if whom == leads => Some(request.current_epoch),
                _ => None,
            };
            if let Some(epoch) = epoch.filter(|_| self.is(50)) {
                self.send(id, from, Message::Refused(epoch));
            }
            return Ok(());
        }
        match message {
            Message::Ask(Outgoing::Vote(request)) => {
                if let Some(reply) = self.with(id, |node, present| node.vote(&request, present))? {
                    if reply.granted && !request.pre_vote {
                        self.checks.granted(id, &request)?;
                    }
                    self.send(id, from, Message::Voted(request, reply));
                }
            }
            Message::Ask(Outgoing::BeginEpoch(request)) => {
                if let Some(known) = self.with(id, |node, present| node.begin_epoch(&request, present))? {
                    self.send(id, from, Message::Knows(known));
                }
            }
            Message::Ask(Outgoing::EndEpoch(request)) => {
                if let Some(known) = self.with(id, |node, present| node.end_epoch(&request, present))? {
                    self.send(id, from, Message::Knows(known));
                }
            }
            Message::Voted(request, reply) => {
                self.with(id, |node, present| node.vote_answered(from as i32, &request, &reply, present))?;
            }
            Message::Knows(known) => {
                self.with(id, |node, present| node.heard(&known, present))?;
            }
            Message::Fetch(whom, request) => {
                self.checks.heard(id, from, self.now);
                match self.with(id, |node, present| node.fetch(&request, present))?.flatten() {
                    Some(fetched) => {
                        self.send(id, from, Message::Fetched(whom, request, fetched));
                    }
                    None => self.machines[id].parked.push((from, whom, request, self.now + FETCH_WAIT)),
                }
            }
            Message::Fetched(whom, request, fetched) => {
                self.machines[id].fetching = None;
                self.with(id, |node, present| node.fetch_answered(whom, &request, &fetched, present))?;
            }
            Message::FetchSnapshot(whom, request) => {
                self.checks.heard(id, from, self.now);
                if let Some(piece) = self.with(id, |node, present| node.fetch_snapshot(&request, present))? {
                    self.send(id, from, Message::Snapshot(whom, request, piece));
                }
            }
            Message::Snapshot(whom, request, piece) => {
                self.machines[id].fetching = None;
                self.with(id, |node, present| node.snapshot_answered(whom, &request, &piece, present))?;
            }
            Message::Refused(epoch) => {
                self.machines[id].fetching = None;
                self.with(id, |node, present| node.leader_ended(from as i32, epoch, present))?;
            }
        }
        self.handled(id)
    }

    pub fn step(&mut self) -> Result<(), String> {
        self.now += 1 + self.below(10) as i64;
        while self.network.peek().is_some_and(|Reverse(next)| next.at <= self.now) {
            let Some(Reverse(delivery)) = self.network.pop() else { break };
            self.deliver(delivery)?;
        }
        for id in 0..self.machines.len() {
            let (now, machine) = (self.now, &self.machines[id]);
            let Some(node) = machine.node.as_ref().filter(|_| machine.frozen_until <= now) else { continue };
            let due = node.wakes_at() <= now;
            let late = machine.parked.iter().any(|(.., until)| *until <= now);
            let stale = machine.fetching.is_none_or(|(_, until)| until <= now) && node.next_fetch().is_some();
            if machine.turn_ends.is_some_and(|at| at <= now) {
                self.end_turn(id)?;
            }
            if due {
                self.with(id, |node, present| node.tick(present))?;
            }
            if due || late || stale {
                self.handled(id)?;
            }
            self.write_snapshot(id)?;
            self.check_is_heard(id)?;
        }
        if self.asking && self.below(12) == 0 {
            self.ask()?;
        }
        if self.calm { Ok(()) } else { self.disturb() }
    }

    /// A client creates a topic at whoever decides.
    fn ask(&mut self) -> Result<(), String> {
        for id in 0..self.machines.len() {
            let machine = &self.machines[id];
            let active = machine.node.as_ref().filter(|node| node.is_active() && machine.frozen_until <= self.now);
            let Some(node) = active else { continue };
            self.created += 1;
            let commands = match node.image().cluster.broker(1) {
                // A broker to put the topic on.
                None => {
                    let mut broker = common::registration(1, u128::from(self.created));
                    broker.log_dirs = vec![directory(77)];
                    vec![Command::RegisterBroker(broker)]
                }
                Some(broker) => vec![
                    Command::Heartbeat(common::heartbeat(1, broker.epoch)),
                    create(vec![topic(&format!("topic-{}", self.created), 1, 1)]),
                ],
            };
            self.with(id, |node, present| node.submit(commands, present))?;
            self.handled(id)?;
        }
        Ok(())
    }
}

fn voters(plan: &Plan) -> VoterSet {
    let voter = |id: usize| Voter {
        id: id as i32,
        directory_id: if plan.dynamic { directory(id as u128 + 1) } else { wire::Uuid::ZERO },
        endpoints: Vec::new(),
    };
    VoterSet::new((0..plan.voters).map(voter).collect())
}
