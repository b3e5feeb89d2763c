//! A node: its disk, and the process that is there or not.

use crate::broker::Cell;
use crate::groups::Slot;
use crate::plan::{OFFSETS_TOPIC, Plan};
use crate::quorum::{Asked, Parked, Publication, Waiter};
use crate::replicas::{Following, Waiting};
use crate::world::{CLUSTER, Event, Happening, To, World};
use broker::Kept;
use metadata::controller::{METADATA_TOPIC, NodeSettings, default_bootstrap_records};
use metadata::image::{Image, TopicIdPartition};
use metadata::quorum::{Format, MetadataNode, MetadataOptions, Present, Timeouts, Voter, VoterSet, format};
use replication::Brokers;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::testing::MemDisk;
use storage::{Checkpoint, Disk, LogDir, Offsets, Shutdown};
use wire::Uuid;

pub const DIR: &str = "/data";
/// What every clock of the cluster shows in the beginning.
const EPOCH_MS: i64 = 1_700_000_000_000;

pub struct Machine {
    pub disk: MemDisk,
    pub votes: bool,
    pub process: Option<Process>,
    /// Starts of the machine itself: what the kernel's boot id tells.
    pub boots: u64,
    /// Its process stands still.
    pub paused_until_ms: i64,
    /// What its wall clock shows beside the others'.
    pub skew_ms: i64,
    /// It lost what was not synced, and is not in sync again everywhere.
    pub is_tainted: bool,
    /// Where logs end at least when they are opened again: behind what this node had acknowledged as a leader, and, after a
    /// power cut, behind what was committed, where it had all of that on its disk.
    pub must_have: BTreeMap<TopicIdPartition, i64>,
}

/// Where a broker's life stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// For the cluster's state.
    Waiting,
    Registering,
    /// For a state that has its registration.
    Registered,
    Serving,
}

pub struct Process {
    pub number: u64,
    pub phase: Phase,
    pub dir: LogDir,
    pub recovery_points: Offsets,
    pub high_watermarks: Offsets,

    pub metadata: MetadataNode,
    /// Of the commands in flight, in their order; `None` where nobody asked.
    pub replies: VecDeque<Option<(To, u64)>>,
    pub parked: Vec<Parked>,
    /// When the fetch that is under way is given up.
    pub fetching_until_ms: i64,
    pub wakes_at_ms: i64,
    pub publications: VecDeque<Publication>,
    pub is_publishing: bool,

    /// The state that this node acts on.
    pub image: Arc<Image>,
    pub broker_epoch: i64,
    pub kept: Kept,
    pub wants_shut_down: bool,
    pub asked: BTreeMap<u64, Asked>,
    pub waiters: Vec<Waiter>,
    pub brokers: Arc<Brokers>,
    pub cells: BTreeMap<TopicIdPartition, Cell>,
    /// Logs that were opened ahead of the orders to hold them.
    pub opened: BTreeMap<TopicIdPartition, Cell>,
    pub fetchers: BTreeMap<i32, Following>,
    pub is_altering: bool,
    pub waiting: Vec<Waiting>,
    pub slots: BTreeMap<i32, Slot>,
    pub producer_ids: Range<i64>,
}

impl Machine {
    pub fn new(id: i32, plan: &Plan) -> Machine {
        let disk = MemDisk::new();
        disk.create_dir(Path::new(DIR)).unwrap();
        let how = Format { voters: None, bootstrap: default_bootstrap_records() };
        format(&disk, Path::new(DIR), &how, EPOCH_MS).unwrap();
        disk.sync_volume(Path::new("/")).unwrap();
        Machine {
            disk,
            votes: id <= plan.voters,
            process: None,
            boots: 0,
            paused_until_ms: 0,
            skew_ms: 0,
            is_tainted: false,
            must_have: BTreeMap::new(),
        }
    }

    fn boot_id(&self) -> String {
        format!("boot {}", self.boots)
    }

    /// The cluster knows what this node may have lost.
    pub fn loss_is_known(&self) -> Result<(), storage::Fault> {
        let boot_id = self.boot_id();
        self.process.as_ref().map_or(Ok(()), |process| process.dir.loss_is_known(&boot_id))
    }
}

/// The id of a node's log directory.
pub fn directory(id: i32) -> Uuid {
    Uuid::from_u128((id as u128) << 64 | 1 << 32)
}

impl World {
    pub fn wall_ms(&self, id: i32) -> i64 {
        EPOCH_MS + self.now_ms() + self.machines[&id].skew_ms
    }

    /// A clock that never goes back, and has an origin of its own.
    pub fn steady_ms(&self, id: i32) -> i64 {
        self.now_ms() + i64::from(id) * 100_000
    }

    fn options(&self, id: i32, shutdown: Shutdown) -> MetadataOptions {
        let voters = (1..=self.plan.voters).map(|id| Voter { id, ..Voter::default() });
        let file = [
            ("min.insync.replicas", self.plan.min_isr.to_string()),
            ("default.replication.factor", "3".to_owned()),
            ("num.partitions", "2".to_owned()),
        ];
        let file = file.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        MetadataOptions {
            votes: self.machines[&id].votes,
            static_voters: Some(VoterSet::new(voters.collect())),
            timeouts: Timeouts { election: 500, fetch: 1_000, backoff_max: 500 },
            settings: NodeSettings { node_id: id, file, ..NodeSettings::default() },
            session_timeout_ms: crate::plan::SESSION_MS,
            shutdown,
            snapshot_bytes: 6_000,
            segment_bytes: 8_192,
            snapshots_kept: 1,
            ..MetadataOptions::new(PathBuf::from(DIR), CLUSTER.to_owned(), id, directory(id))
        }
    }

    /// Begins a process, as the server does: the directory, the metadata log, and nothing served yet.
    pub fn start(&mut self, id: i32) {
        if self.machines[&id].process.is_some() {
            return;
        }
        self.made += 1;
        let number = self.made;
        let machine = self.machines.get_mut(&id).unwrap();
        machine.paused_until_ms = 0;
        machine.disk.clear_failures();
        machine.disk.set_capacity(None);
        let (disk, boot_id) = (machine.disk.arc(), machine.boot_id());
        let dir = LogDir::open(disk.clone(), Path::new(DIR), &boot_id).unwrap();
        let shutdown = dir.shutdown();
        let recovery_points = dir.checkpoint(Checkpoint::RecoveryPoint).unwrap();
        let high_watermarks = dir.checkpoint(Checkpoint::HighWatermark).unwrap();
        let opened = MetadataNode::open(disk, self.options(id, shutdown)).unwrap();
        dir.put_aside_nameless(METADATA_TOPIC).unwrap();
        dir.begin(&boot_id).unwrap();
        let (wall_ms, steady_ms) = (self.wall_ms(id), self.steady_ms(id));
        let chance = &mut self.chance;
        let mut random = || chance.next();
        let metadata = opened.start(&mut Present { wall_ms, steady_ms, random: &mut random }).unwrap();
        let process = Process {
            number,
            phase: Phase::Waiting,
            dir,
            recovery_points,
            high_watermarks,
            metadata,
            replies: VecDeque::new(),
            parked: Vec::new(),
            fetching_until_ms: 0,
            wakes_at_ms: i64::MAX,
            publications: VecDeque::new(),
            is_publishing: false,
            image: Arc::default(),
            broker_epoch: -1,
            kept: Kept::Unknown,
            wants_shut_down: false,
            asked: BTreeMap::new(),
            waiters: Vec::new(),
            brokers: Arc::default(),
            cells: BTreeMap::new(),
            opened: BTreeMap::new(),
            fetchers: BTreeMap::new(),
            is_altering: false,
            waiting: Vec::new(),
            slots: BTreeMap::new(),
            producer_ids: 0..0,
        };
        self.machines.get_mut(&id).unwrap().process = Some(process);
        self.checks.started(id);
        self.say(|| format!("{id} starts as {number} after {shutdown:?}"));
        let to = To { id, process: number };
        self.metadata_settles(to);
        self.at(50, to, Happening::Beat);
        self.at(100, to, Happening::Watch);
    }

    /// A fault that the node cannot go on with: the process ends by itself.
    pub fn node_fails(&mut self, to: To, why: &dyn std::fmt::Display) {
        self.say(|| format!("{} fails: {why}", to.id));
        self.end(to.id);
    }

    /// The process is gone, whatever it was doing. It comes back after a while.
    pub fn end(&mut self, id: i32) {
        let back_ms = match self.chance.below(100) {
            _ if self.is_healed() => 20,
            0..30 => 20,
            _ => 20 + self.chance.below(2_500),
        };
        let Some(ended) = self.running(id) else { return };
        let process = self.machines.get_mut(&id).unwrap().process.take().unwrap();
        let acknowledged = self.acknowledged_by(ended, &process);
        self.must_have(id, acknowledged);
        self.fetches_arrive_late(ended, process.fetchers, back_ms);
        let machine = self.machines.get_mut(&id).unwrap();
        machine.paused_until_ms = 0;
        self.say(|| format!("{id} ends, back in {back_ms} ms"));
        self.after(back_ms, Event::Restart(id));
        self.connections_break(ended);
        // Its system refuses connections now, which others may notice.
        for other in self.plan.ids().filter(|other| *other != id) {
            if let Some(to) = self.running(other)
                && self.chance.is(70)
            {
                let delay_ms = self.delay_ms();
                self.at(delay_ms, to, Happening::Ended(ended));
            }
        }
    }

    /// A node's logs have everything before these offsets.
    pub fn must_have(&mut self, id: i32, ends: Vec<(TopicIdPartition, i64)>) {
        let must_have = &mut self.machines.get_mut(&id).unwrap().must_have;
        for (key, end) in ends {
            let known = must_have.entry(key).or_default();
            *known = end.max(*known);
        }
    }

    /// Ends in order: everything is brought to the disk.
    pub fn stop_in_order(&mut self, to: To) {
        self.say(|| format!("{} stops in order", to.id));
        self.with_metadata(to, |metadata, present| metadata.resign(present));
        self.metadata_settles(to);
        let Some(process) = self.process(to) else { return };
        let mut closed = Ok(());
        for cell in process.cells.values_mut() {
            cell.partition.resign();
            closed = closed.and(cell.partition.log_mut().close());
        }
        if closed.is_ok() {
            closed = process.write_checkpoints().and_then(|()| process.dir.mark_clean(process.broker_epoch));
        }
        match closed {
            Ok(()) => self.end(to.id),
            Err(fault) => self.node_fails(to, &fault),
        }
    }
}

impl Process {
    /// The index of the offsets topic's partition that a group belongs to.
    pub fn group_partition(&self, group: &str) -> Option<i32> {
        let topic = self.image.topics.by_name(OFFSETS_TOPIC)?;
        Some(coordinator::partition_for(group, topic.partitions.len().max(1) as i32))
    }

    pub fn write_checkpoints(&self) -> Result<(), storage::Fault> {
        let name = |cell: &Cell| (cell.topic.to_string(), cell.index);
        let recovery_points = self.cells.values().map(|c| (name(c), c.partition.log().recovery_point())).collect();
        let high_watermarks = self.cells.values().map(|c| (name(c), c.partition.high_watermark())).collect();
        self.dir.write_checkpoint(Checkpoint::RecoveryPoint, &recovery_points)?;
        self.dir.write_checkpoint(Checkpoint::HighWatermark, &high_watermarks)
    }
}
