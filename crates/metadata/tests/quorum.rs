//! The quorum as a whole: several nodes over simulated disks, network and time, driven by a seed. Crashes, power cuts, lost,
//! delayed and repeated messages, cut links, restarts. After every step the invariants of KRaft are checked; at the end the
//! network heals and the quorum must elect a leader and commit again.
//!
//! A failing seed prints how to run it again: `SEED=n cargo test -p metadata --test quorum`. `SEEDS=n` runs more of them.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a helper that fails fails its test and shows its seed

mod common;

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::path::{Path, PathBuf};

use common::{CLUSTER, chance, create, directory, topic};
use metadata::controller::Reply;
use metadata::image::Image;
use metadata::quorum::{
    FetchFrom, FetchRequest, Fetched, Format, Known, MetadataNode, MetadataOptions, NextFetch, Outgoing, Present,
    SnapshotPiece, SnapshotRequest, Timeouts, VoteReply, VoteRequest, Voter, VoterSet, format,
};
use storage::testing::MemDisk;
use storage::{Disk, Shutdown};
use wire::records::batches;

const LOG_DIR: &str = "/data";

#[derive(Clone, Debug)]
enum Message {
    Ask(Outgoing),
    Voted(VoteRequest, VoteReply),
    Knows(Known),
    Fetch(FetchRequest),
    Fetched(FetchFrom, FetchRequest, Fetched),
    FetchSnapshot(SnapshotRequest),
    Snapshot(FetchFrom, SnapshotRequest, SnapshotPiece),
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
        (other.at, other.order).cmp(&(self.at, self.order)) // the earliest first
    }
}

struct Machine {
    disk: MemDisk,
    node: Option<MetadataNode>,
    incarnation: u64,
    /// When the fetch that is under way is given up.
    fetching_until: i64,
    parked: Vec<(usize, FetchRequest, i64)>,
    high_watermark: i64,
}

struct Simulation {
    seed: u64,
    random: Box<dyn FnMut() -> u64>,
    now: i64,
    order: u64,
    machines: Vec<Machine>,
    votes: usize,
    network: BinaryHeap<Delivery>,
    cut: BTreeSet<(usize, usize)>,
    calm: bool,
    asking: bool,
    /// The leader of each epoch.
    leaders: BTreeMap<i32, usize>,
    /// Committed batches by base offset: epoch and checksum.
    committed: BTreeMap<i64, (i32, u32)>,
    /// The name of each topic whose creation was acknowledged.
    acknowledged: BTreeSet<String>,
    created: u32,
    steps: Vec<String>,
}

impl Simulation {
    fn new(seed: u64, voters: usize, observers: usize) -> Simulation {
        let machines = (0..voters + observers)
            .map(|_| {
                let disk = MemDisk::new();
                disk.create_dir(Path::new(LOG_DIR)).unwrap();
                let how = Format { voters: None, bootstrap: metadata::controller::default_bootstrap_records() };
                format(&disk, Path::new(LOG_DIR), &how, 1).unwrap();
                disk.sync_dir(Path::new("/")).unwrap();
                Machine { disk, node: None, incarnation: 0, fetching_until: 0, parked: Vec::new(), high_watermark: 0 }
            })
            .collect();
        let mut simulation = Simulation {
            seed,
            random: Box::new(chance(seed)),
            now: 1_000,
            order: 0,
            machines,
            votes: voters,
            network: BinaryHeap::new(),
            cut: BTreeSet::new(),
            calm: false,
            asking: true,
            leaders: BTreeMap::new(),
            committed: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            created: 0,
            steps: Vec::new(),
        };
        for id in 0..simulation.machines.len() {
            simulation.start(id);
        }
        simulation
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.random)() % bound
    }

    fn options(&self, id: usize) -> MetadataOptions {
        let set = VoterSet::new((0..self.votes as i32).map(|id| Voter { id, ..Voter::default() }).collect());
        MetadataOptions {
            votes: id < self.votes,
            static_voters: Some(set),
            timeouts: Timeouts { election: 1_000, fetch: 2_000, backoff_max: 1_000 },
            shutdown: Shutdown::PowerCut,
            snapshot_bytes: 2_000,
            segment_bytes: 4_096,
            snapshots_kept: 1,
            ..MetadataOptions::new(PathBuf::from(LOG_DIR), CLUSTER.to_owned(), id as i32, directory(id as u128 + 1))
        }
    }

    fn start(&mut self, id: usize) {
        let opened = MetadataNode::open(self.machines[id].disk.arc(), self.options(id)).unwrap();
        let (now, random) = (self.now, &mut self.random);
        let node = opened.start(&mut Present { wall_ms: now, steady_ms: now, random }).unwrap();
        let machine = &mut self.machines[id];
        machine.node = Some(node);
        machine.incarnation += 1;
        machine.fetching_until = 0;
        machine.high_watermark = 0;
        self.after(id);
    }

    /// Ends a process: by a kill, or with the power, when only what was synced stays.
    fn stop(&mut self, id: usize, power: bool) {
        let machine = &mut self.machines[id];
        machine.node = None;
        machine.parked.clear();
        if power {
            let random = &mut self.random;
            machine.disk.power_cut(&mut **random);
        }
    }

    fn send(&mut self, from: usize, to: usize, message: Message) {
        if to >= self.machines.len() || self.cut.contains(&(from, to)) {
            return;
        }
        if !self.calm && self.below(100) < 3 {
            return;
        }
        let times = if !self.calm && self.below(100) < 2 { 2 } else { 1 };
        for _ in 0..times {
            let slow = if !self.calm && self.below(100) < 5 { 1_000 } else { 20 };
            let at = self.now + 1 + self.below(slow) as i64;
            self.order += 1;
            let (order, incarnation) = (self.order, self.machines[to].incarnation);
            self.network.push(Delivery { at, order, from, to, incarnation, message: message.clone() });
        }
    }

    fn with<T>(&mut self, id: usize, f: impl FnOnce(&mut MetadataNode, &mut Present<'_>) -> T) -> Option<T> {
        let now = self.now;
        let node = self.machines[id].node.as_mut()?;
        Some(f(node, &mut Present { wall_ms: now, steady_ms: now, random: &mut self.random }))
    }

    /// What a server does after everything that its metadata thread handled.
    fn after(&mut self, id: usize) {
        self.with(id, |node, present| node.sync(present).unwrap());
        let Some(output) = self.with(id, |node, _| node.take_output()) else { return };
        for (to, message) in output.messages {
            self.send(id, to.id as usize, Message::Ask(message));
        }
        for committed in output.committed {
            for reply in committed.replies {
                if let Reply::CreateTopics(Ok(topics)) = reply {
                    let done = topics.into_iter().filter(|(_, result)| result.is_ok()).map(|(name, _)| name);
                    self.acknowledged.extend(done);
                }
            }
        }
        if let Some(Some(job)) = self.with(id, |node, present| node.snapshot_due(present.wall_ms)) {
            let written = job.run().unwrap();
            self.with(id, |node, present| node.snapshot_written(written, present.wall_ms).unwrap());
        }
        let parked = std::mem::take(&mut self.machines[id].parked);
        for (from, request, until) in parked {
            let late = until <= self.now;
            match self.with(id, |node, present| node.fetch(&request, present).unwrap()) {
                Some(Some(fetched)) => self.answer_fetch(id, from, request, fetched),
                Some(None) if late => {
                    let Some(fetched) = self.with(id, |node, _| node.nothing_new()) else { continue };
                    self.answer_fetch(id, from, request, fetched);
                }
                _ => self.machines[id].parked.push((from, request, until)),
            }
        }
        self.fetch(id);
        self.check(id);
    }

    fn answer_fetch(&mut self, id: usize, to: usize, request: FetchRequest, fetched: Fetched) {
        self.send(id, to, Message::Fetched(FetchFrom::Leader(id as i32), request, fetched));
    }

    fn fetch(&mut self, id: usize) {
        if self.machines[id].fetching_until > self.now {
            return;
        }
        let Some(Some((from, next))) = self.with(id, |node, _| node.next_fetch()) else { return };
        let to = match from {
            FetchFrom::Leader(leader) => leader as usize,
            FetchFrom::Anybody => self.below(self.votes as u64) as usize,
        };
        self.machines[id].fetching_until = self.now + 700;
        match next {
            NextFetch::Records(request) => self.send(id, to, Message::Fetch(request)),
            NextFetch::Snapshot(request) => self.send(id, to, Message::FetchSnapshot(request)),
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let Delivery { from, to: id, message, incarnation, .. } = delivery;
        if self.machines[id].incarnation != incarnation || self.machines[id].node.is_none() {
            return;
        }
        match message {
            Message::Ask(Outgoing::Vote(request)) => {
                if let Some(reply) = self.with(id, |node, present| node.vote(&request, present).unwrap()) {
                    self.send(id, from, Message::Voted(request, reply));
                }
            }
            Message::Ask(Outgoing::BeginEpoch(request)) => {
                if let Some(known) = self.with(id, |node, present| node.begin_epoch(&request, present).unwrap()) {
                    self.send(id, from, Message::Knows(known));
                }
            }
            Message::Ask(Outgoing::EndEpoch(request)) => {
                if let Some(known) = self.with(id, |node, present| node.end_epoch(&request, present).unwrap()) {
                    self.send(id, from, Message::Knows(known));
                }
            }
            Message::Voted(request, reply) => {
                self.with(id, |node, present| node.vote_answered(from as i32, &request, &reply, present).unwrap());
            }
            Message::Knows(known) => {
                self.with(id, |node, present| node.heard(&known, present).unwrap());
            }
            Message::Fetch(request) => {
                let answer = self.with(id, |node, present| node.fetch(&request, present).unwrap());
                match answer {
                    Some(Some(fetched)) => self.answer_fetch(id, from, request, fetched),
                    Some(None) => {
                        let until = self.now + 500;
                        self.machines[id].parked.push((from, request, until));
                    }
                    None => {}
                }
            }
            Message::Fetched(whom, request, fetched) => {
                self.machines[id].fetching_until = 0;
                self.with(id, |node, present| node.fetch_answered(whom, &request, &fetched, present).unwrap());
            }
            Message::FetchSnapshot(request) => {
                if let Some(piece) = self.with(id, |node, present| node.fetch_snapshot(&request, present).unwrap()) {
                    self.send(id, from, Message::Snapshot(FetchFrom::Leader(id as i32), request, piece));
                }
            }
            Message::Snapshot(whom, request, piece) => {
                self.machines[id].fetching_until = 0;
                self.with(id, |node, present| node.snapshot_answered(whom, &request, &piece, present).unwrap());
            }
        }
        self.after(id);
    }

    fn step(&mut self) {
        self.now += 1 + self.below(10) as i64;
        while self.network.peek().is_some_and(|next| next.at <= self.now) {
            let delivery = self.network.pop().unwrap();
            self.deliver(delivery);
        }
        for id in 0..self.machines.len() {
            let due = self.machines[id].node.as_ref().is_some_and(|node| node.wakes_at() <= self.now);
            let late = self.machines[id].parked.iter().any(|(.., until)| *until <= self.now);
            if due {
                self.with(id, |node, present| node.tick(present).unwrap());
            }
            if due || late || self.machines[id].fetching_until <= self.now {
                self.after(id);
            }
        }
        if self.asking && self.below(10) == 0 {
            self.ask();
        }
        if !self.calm {
            self.disturb();
        }
    }

    /// A client creates a topic at whoever decides.
    fn ask(&mut self) {
        let active: Vec<usize> = (0..self.machines.len())
            .filter(|id| self.machines[*id].node.as_ref().is_some_and(MetadataNode::is_active))
            .collect();
        for id in active {
            self.created += 1;
            let mut broker = common::registration(1, u128::from(self.created));
            broker.log_dirs = vec![directory(77)];
            // A broker to put the topic on.
            let name = format!("topic-{}", self.created);
            let exists = self.machines[id].node.as_ref().is_some_and(|node| node.image().cluster.broker(1).is_some());
            let commands = match exists {
                false => vec![metadata::controller::Command::RegisterBroker(broker)],
                true => {
                    let epoch = self.machines[id].node.as_ref().and_then(|n| Some(n.image().cluster.broker(1)?.epoch));
                    vec![
                        metadata::controller::Command::Heartbeat(common::heartbeat(1, epoch.unwrap_or(-1))),
                        create(vec![topic(&name, 1, 1)]),
                    ]
                }
            };
            self.with(id, |node, present| node.submit(commands, present).unwrap());
            self.after(id);
        }
    }

    fn disturb(&mut self) {
        let id = self.below(self.machines.len() as u64) as usize;
        match self.below(400) {
            0 | 1 if self.machines[id].node.is_some() => {
                let power = self.below(2) == 0;
                self.steps.push(format!("{}: {} ends, power {power}", self.now, id));
                self.stop(id, power);
            }
            2 => {
                let other = self.below(self.machines.len() as u64) as usize;
                self.steps.push(format!("{}: {id} to {other} is cut", self.now));
                self.cut.insert((id, other));
            }
            3 => self.cut.clear(),
            4 => {
                self.with(id, |node, present| node.resign(present).unwrap());
                self.after(id);
            }
            5..=20 if self.machines[id].node.is_none() => {
                self.steps.push(format!("{}: {id} starts", self.now));
                self.start(id);
            }
            _ => {}
        }
    }

    fn check(&mut self, id: usize) {
        let seed = self.seed;
        let Some(node) = &self.machines[id].node else { return };
        let quorum = node.quorum();
        if quorum.is_leader() {
            let leader = *self.leaders.entry(node.epoch()).or_insert(id);
            assert_eq!(leader, id, "seed {seed}: two leaders of epoch {}: {:#?}", node.epoch(), self.steps);
        }
        let high_watermark = quorum.high_watermark();
        let before = self.machines[id].high_watermark;
        assert!(
            high_watermark >= before,
            "seed {seed}: the high watermark of {id} fell from {before} to {high_watermark}"
        );
        assert!(high_watermark <= node.end_offset(), "seed {seed}: more is committed at {id} than is there");
        // Each offset is committed once, with the same content everywhere.
        let from = before.max(node.log().start_offset());
        let mut next = from;
        while next < high_watermark {
            let bytes = node.log().read(next, 1 << 20, high_watermark).unwrap();
            for batch in batches(&bytes).map_while(Result::ok) {
                let this = (batch.leader_epoch(), batch.crc());
                let first = *self.committed.entry(batch.base_offset()).or_insert(this);
                assert_eq!(
                    first,
                    this,
                    "seed {seed}: offset {} is committed twice, with different content: {:#?}",
                    batch.base_offset(),
                    self.steps
                );
                next = batch.next_offset();
            }
            assert!(!bytes.is_empty());
        }
        self.machines[id].high_watermark = high_watermark;
    }

    /// Everything works again: the quorum elects, commits, and all that was acknowledged is there, everywhere.
    fn heal(&mut self) {
        self.calm = true;
        self.cut.clear();
        for id in 0..self.machines.len() {
            if self.machines[id].node.is_none() {
                self.start(id);
            }
        }
        let until = self.now + 20_000;
        let before = self.acknowledged.len();
        while self.now < until {
            self.step();
        }
        // What was acknowledged last is on its way to those that follow.
        self.asking = false;
        while self.now < until + 3_000 {
            self.step();
        }
        let seed = self.seed;
        let hint = format!("SEED={seed} cargo test -p metadata --test quorum");
        assert!(self.acknowledged.len() > before, "{hint}: nothing is decided any more: {:#?}", self.steps);
        let images: Vec<&Image> =
            self.machines.iter().map(|machine| &**machine.node.as_ref().unwrap().image()).collect();
        for (id, image) in images.iter().enumerate() {
            for name in &self.acknowledged {
                let steps = &self.steps;
                assert!(
                    image.topics.by_name(name).is_some(),
                    "{hint}: {name} was acknowledged, not at {id}: {steps:#?}"
                );
            }
            assert_eq!(image, &images[0], "{hint}: {id} and 0 have come to different states");
        }
    }
}

fn run(seed: u64) {
    let mut random = chance(seed);
    let voters = [1, 3, 3, 3, 5][(random() % 5) as usize];
    let mut simulation = Simulation::new(seed, voters, (random() % 3) as usize);
    for _ in 0..3_000 {
        simulation.step();
    }
    simulation.heal();
}

#[test]
fn a_quorum_agrees_whatever_happens_to_it() {
    if let Ok(seed) = std::env::var("SEED") {
        return run(seed.parse().unwrap());
    }
    let seeds: u64 = std::env::var("SEEDS").map_or(12, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        let outcome = std::panic::catch_unwind(|| run(seed));
        if let Err(panic) = outcome {
            eprintln!("again with: SEED={seed} cargo test -p metadata --test quorum");
            std::panic::resume_unwind(panic);
        }
    }
}
