//! A broker: its disk, and the process that is there or not.

use crate::world::{Asked, Event, IDS, To, World, heartbeat, registration};
use broker::Fetcher;
use metadata::controller::Command;
use replication::{Ack, Brokers, Partition, Role};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use storage::testing::MemDisk;
use storage::{Append, Log, LogConfig, OpenMode, Shutdown, SyncRequest};
use wire::records::{BatchBuilder, BatchHeader, BatchInfo, Codec};

const DIR: &str = "/data/t-0";

pub struct Node {
    pub disk: MemDisk,
    pub process: Option<Process>,
    /// How the last process ended.
    pub shutdown: Shutdown,
    /// Since when all that it acknowledged is known to be on its disk: the epoch of its last registration that nothing was
    /// lost after (KIP-966).
    pub complete_since: Option<i64>,
    /// The checkpoints that are on the disk.
    pub recovery_point: i64,
    pub high_watermark: i64,
    pub paused_until_ms: i64,
    /// What was committed when the power was cut, where this broker had all of it on its disk.
    pub must_have: i64,
    /// It lost what was not synced, and is not in sync again.
    pub is_tainted: bool,
    is_new: bool,
}

pub struct Process {
    pub number: u64,
    pub partition: Partition,
    pub brokers: Arc<Brokers>,
    /// Of the cluster's states, the one that it sees.
    pub applied: usize,
    /// It takes roles once it has applied its own registration.
    pub has_roles: bool,
    pub broker_epoch: Option<i64>,
    pub wants_shut_down: bool,
    pub fetchers: BTreeMap<i32, Following>,
    /// The number of the AlterPartition under way.
    pub altering: Option<(u64, replication::Proposal)>,
    pub alterations: u64,
    pub is_syncing: bool,
    pub waiting: Vec<Waiting>,
}

/// An append that somebody waits for.
pub struct Waiting {
    pub ack: Ack,
    pub bytes: Vec<u8>,
    /// Whoever waits does not always look at once.
    pub looks_at_ms: i64,
    pub until_ms: i64,
}

pub struct Following {
    pub fetcher: Fetcher,
    pub connection: u64,
    pub in_flight: bool,
}

impl Node {
    pub fn new(epoch: i64) -> Node {
        Node {
            disk: MemDisk::new(),
            process: None,
            shutdown: Shutdown::Clean,
            complete_since: Some(epoch),
            recovery_point: 0,
            high_watermark: 0,
            paused_until_ms: 0,
            must_have: 0,
            is_tainted: false,
            is_new: true,
        }
    }

    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }
}

impl World {
    /// Begins a process: opens the log, and waits to be registered.
    pub fn start(&mut self, id: i32) {
        self.processes += 1;
        let (number, settings) = (self.processes, self.plan.settings());
        let node = self.nodes.get_mut(&id).unwrap();
        let mode = OpenMode { shutdown: node.shutdown, recovery_point: node.recovery_point, ..OpenMode::default() };
        // Small segments, so that truncation and recovery meet more than one.
        let config = Arc::new(LogConfig { segment_bytes: 2_000, index_interval_bytes: 300, ..LogConfig::default() });
        let dir = Path::new(DIR);
        let log = if std::mem::take(&mut node.is_new) {
            node.disk.arc().create_dir(Path::new("/data")).unwrap();
            let mut log = Log::create(node.disk.arc(), dir, config, None, mode, 0).unwrap();
            node.disk.arc().sync_dir(Path::new("/data")).unwrap();
            node.disk.arc().sync_dir(Path::new("/")).unwrap();
            log.sync_request().inspect(|request| request.run().unwrap());
            log
        } else {
            Log::open(node.disk.arc(), dir, config, None, mode, 0).unwrap().0
        };
        let brokers = Arc::new(Brokers::default());
        let partition = Partition::new(id, log, settings, brokers.clone(), node.high_watermark);
        node.process = Some(Process {
            number,
            partition,
            brokers,
            applied: 0,
            has_roles: false,
            broker_epoch: None,
            wants_shut_down: false,
            fetchers: BTreeMap::new(),
            altering: None,
            alterations: 0,
            is_syncing: false,
            waiting: Vec::new(),
        });
        node.paused_until_ms = 0;
        self.checks.restarted(id);
        let end = self.process(id).unwrap().partition.log().log_end_offset();
        let must_have = std::mem::take(&mut self.nodes.get_mut(&id).unwrap().must_have);
        if end < must_have {
            self.checks.lost(format!("a power cut took the log of {id} back to {end}, and {must_have} was committed"));
        }
        self.say(|| format!("{id} starts, its log ends at {end}"));
    }

    pub fn restart(&mut self, id: i32) {
        if self.nodes[&id].process.is_some() {
            return;
        }
        self.start(id);
        self.register(id);
    }

    pub fn register(&mut self, id: i32) {
        let Some(to) = self.address(id) else { return };
        let previous = self.nodes[&id].complete_since.unwrap_or(-1);
        let command = Command::RegisterBroker(registration(id, to.process, previous));
        self.ask(to, command, Asked::Registration);
    }

    pub fn process(&mut self, id: i32) -> Option<&mut Process> {
        self.nodes.get_mut(&id)?.process.as_mut()
    }

    /// Sees the state that it has come to, and all roles in it.
    pub fn take_up(&mut self, id: i32) {
        let to = self.address(id).unwrap();
        self.process(id).unwrap().has_roles = true;
        self.follow_state(id);
        self.beat(to);
    }

    pub fn apply(&mut self, id: i32) {
        let last = self.states.len() - 1;
        let Some(process) = self.process(id) else { return };
        // Before its registration nobody sends it anything.
        if process.broker_epoch.is_none() || process.applied >= last {
            return;
        }
        process.applied += 1;
        if process.has_roles {
            self.follow_state(id);
        }
        let epoch = self.process(id).unwrap().broker_epoch.unwrap();
        let applied = self.nodes[&id].process.as_ref().unwrap().applied;
        if !self.nodes[&id].process.as_ref().unwrap().has_roles && self.states[applied].0.offset >= epoch {
            self.take_up(id);
        }
    }

    /// What the server's reconciler does.
    fn follow_state(&mut self, id: i32) {
        let (now_ms, key) = (self.now_ms, self.key);
        let applied = self.nodes[&id].process.as_ref().unwrap().applied;
        let image = self.states[applied].0.clone();
        let Some(registered) = image.topics.partition(key) else { return };
        let assignment = broker::assignment(registered);
        let process = self.process(id).unwrap();
        let active = image.cluster.brokers().filter(|broker| broker.is_active());
        process.brokers.set(active.map(|broker| (broker.id, broker.epoch)));
        process.partition.assign(&assignment, now_ms).unwrap();
        let role = process.partition.role();
        let leader = match role {
            Role::Follower { leader, .. } if leader >= 0 => Some(leader),
            _ => None,
        };
        for (from, following) in &mut process.fetchers {
            if Some(*from) != leader {
                following.fetcher.remove(key);
            }
        }
        self.say(|| {
            format!(
                "{id} sees epoch {} of {:?}, isr {:?}: {role:?}",
                assignment.partition_epoch, assignment.leader, assignment.isr
            )
        });
        if let Some(leader) = leader {
            let settings = World::fetch_settings(id);
            let process = self.process(id).unwrap();
            process.fetchers.entry(leader).or_insert_with(|| Following {
                fetcher: Fetcher::new(settings),
                connection: 0,
                in_flight: false,
            });
            self.place(id, leader);
            let to = self.address(id).unwrap();
            self.after(0, Event::FetchTurn(to, leader));
        }
        self.sync(id);
    }

    /// Has the partition fetched from where its log ends, if it may be.
    pub fn place(&mut self, id: i32, leader: i32) {
        let key = self.key;
        let Some(process) = self.process(id) else { return };
        let position = process.partition.position().filter(|position| position.leader == leader);
        let Some(following) = process.fetchers.get_mut(&leader) else { return };
        match position {
            Some(position) => match following.fetcher.position(key) {
                Some(known) if known.leader_epoch == position.leader_epoch => following.fetcher.advance(key, position),
                _ => following.fetcher.add(key, position),
            },
            None => following.fetcher.remove(key),
        }
    }

    /// Begins a sync where one is due.
    pub fn sync(&mut self, id: i32) {
        let (Some(to), delay_ms) = (self.address(id), 1 + self.chance.below(12)) else { return };
        let is_idle = self.chance.is(2);
        let process = self.process(id).unwrap();
        if process.is_syncing || !process.partition.is_behind() && !is_idle {
            return;
        }
        if let Some(request) = process.partition.sync_request() {
            process.is_syncing = true;
            self.after(delay_ms, Event::Synced(to, request));
        }
    }

    pub fn synced(&mut self, to: To, request: &SyncRequest) {
        if self.address(to.id) != Some(to) {
            return;
        }
        request.run().unwrap();
        let process = self.process(to.id).unwrap();
        process.is_syncing = false;
        process.partition.synced(request.offset());
        let leaders: Vec<i32> = process.fetchers.keys().copied().collect();
        for leader in leaders {
            self.place(to.id, leader);
            self.after(0, Event::FetchTurn(to, leader));
        }
        self.sync(to.id);
    }

    /// Heartbeat, ISR, checkpoints.
    pub fn beat(&mut self, to: To) {
        let now_ms = self.now_ms;
        let checkpoint = self.chance.is(30);
        let applied = self.nodes[&to.id].process.as_ref().unwrap().applied;
        let metadata_offset = self.states[applied].0.offset;
        let node = self.nodes.get_mut(&to.id).unwrap();
        let process = node.process.as_mut().unwrap();
        process.partition.tick(now_ms);
        if checkpoint {
            node.recovery_point = process.partition.log().recovery_point();
            node.high_watermark = process.partition.high_watermark();
        }
        let (epoch, want_shut_down) = (process.broker_epoch, process.wants_shut_down);
        if let Some(epoch) = epoch {
            let beat = metadata::controller::BrokerHeartbeat {
                current_metadata_offset: metadata_offset,
                want_shut_down,
                ..heartbeat(to.id, epoch)
            };
            self.send(to, Command::Heartbeat(beat));
        }
        self.propose(to.id);
        self.sync(to.id);
        // What was lost on its way comes now.
        if self.process(to.id).unwrap().applied < self.states.len() - 1 {
            self.after(5, Event::Apply(to));
        }
        let delay_ms = 200 + self.chance.below(100);
        self.after(delay_ms, Event::Beat(to));
    }

    /// A client sends one batch to whom it takes for the leader.
    pub fn produce(&mut self) {
        let leader = self.partition().leader;
        let id = if leader < 0 || self.chance.is(20) { self.chance.one_of(&IDS) } else { leader };
        let (records, all) = (1 + self.chance.below(3), self.chance.is(80));
        let pause_ms = match self.chance.below(100) {
            _ if self.is_healed() => 500,
            0..3 => 500 + self.chance.below(3_000),
            _ => 5 + self.chance.below(40),
        };
        self.after(pause_ms, Event::Produce);
        let late_ms = if self.chance.is(20) { self.chance.below(8_000) } else { 0 };
        let now_ms = self.now_ms;
        if self.nodes[&id].paused_until_ms > now_ms {
            return;
        }
        let mut builder = BatchBuilder::new(Codec::None);
        for _ in 0..records {
            self.values += 1;
            builder.append(self.values as i64, None, Some(format!("value {}", self.values).as_bytes()), &[]);
        }
        let mut bytes = builder.build(0, -1);
        let info = BatchInfo::of_header(&BatchHeader::parse(&bytes).unwrap()).unwrap();
        let Some(process) = self.process(id) else { return };
        let mut appends = [Append::new(&mut bytes, info)];
        let epoch = process.partition.append(&mut appends, all, now_ms, now_ms).unwrap().epoch;
        let [append] = appends;
        if let Ok(appended) = append.outcome {
            let ack = Ack { offset: appended.last_offset + 1, epoch, all };
            let looks_at_ms = now_ms + late_ms;
            process.waiting.push(Waiting { ack, bytes, looks_at_ms, until_ms: now_ms + 8_000 });
            self.say(|| format!("{id} appends {}..={} in epoch {epoch}", appended.base_offset, appended.last_offset));
            self.sync(id);
        }
    }
}
