//! A node: its disk, and the process that is there or not.

use crate::broker::Cell;
use crate::copies::Moving;
use crate::dirs::{Dir, Fate, Found, Name, Volume};
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
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::testing::MemDisk;
use storage::{Disk, Fault, Log, LogDir, Shutdown};
use wire::Uuid;

/// What every clock of the cluster shows in the beginning.
const EPOCH_MS: i64 = 1_700_000_000_000;

pub struct Machine {
    /// All directories are on it.
    pub disk: MemDisk,
    pub volumes: Vec<Volume>,
    replaced: u32,
    pub votes: bool,
    pub process: Option<Process>,
    /// Starts of the machine itself: what the kernel's boot id tells.
    pub boots: u64,
    /// Its process stands still.
    pub paused_until_ms: i64,
    /// What its wall clock shows beside the others'.
    pub skew_ms: i64,
    /// It lost what was not synced, or is about to, and is not in sync again everywhere.
    pub is_tainted: bool,
    /// It lost a directory, or is about to, and is not in sync again everywhere.
    pub has_lost_disk: bool,
    /// Something of its disk is to fail.
    pub is_failing: bool,
    /// A process noted that a directory failed, and the next one knows.
    pub has_noted: bool,
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
    /// The first has the metadata log.
    pub dirs: Vec<Dir>,
    pub shutdown: Shutdown,
    /// Where partitions were found at the start, as long as nobody has claimed them.
    pub found: BTreeMap<Name, Found>,

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
    pub opened: BTreeMap<TopicIdPartition, (Cell, Option<(usize, Log)>)>,
    /// Of replicas on their way to another directory.
    pub copies: BTreeMap<TopicIdPartition, Moving>,
    /// Replicas whose directory the controller may not know.
    pub unassigned: BTreeSet<TopicIdPartition>,
    pub is_assigning: bool,
    pub fetchers: BTreeMap<i32, Following>,
    pub is_altering: bool,
    pub waiting: Vec<Waiting>,
    pub slots: BTreeMap<i32, Slot>,
    pub producer_ids: Range<i64>,
}

impl Machine {
    pub fn new(id: i32, plan: &Plan) -> Machine {
        let disk = MemDisk::new();
        let volumes = (0..plan.volumes[id as usize - 1]).map(|at| Volume {
            path: PathBuf::from(format!("/data-{at}")),
            id: directory(id, at, 0),
            broken: None,
            is_left_out: false,
        });
        let volumes: Vec<Volume> = volumes.collect();
        for volume in &volumes {
            disk.create_dir(&volume.path).unwrap();
        }
        format_first(&disk, &volumes[0].path);
        Machine {
            disk,
            volumes,
            replaced: 0,
            votes: id <= plan.voters,
            process: None,
            boots: 0,
            paused_until_ms: 0,
            skew_ms: 0,
            is_tainted: false,
            has_lost_disk: false,
            is_failing: false,
            has_noted: false,
            must_have: BTreeMap::new(),
        }
    }

    fn boot_id(&self) -> String {
        format!("boot {}", self.boots)
    }

    /// The cluster knows what this node may have lost.
    pub fn loss_is_known(&self) -> Result<(), Fault> {
        let boot_id = self.boot_id();
        let mut dirs = self.process.iter().flat_map(|process| &process.dirs).filter(|dir| !dir.is_offline);
        dirs.try_for_each(|dir| dir.log_dir.loss_is_known(&boot_id))
    }

    /// Some directory does not work, whether somebody has noticed or not.
    pub fn is_broken(&self) -> bool {
        self.volumes.iter().any(|volume| volume.broken.is_some())
    }

    /// What is known to be broken is repaired, as an operator would. Whether records may be lost.
    fn repair(&mut self, id: i32, mut random: impl FnMut() -> u64) -> bool {
        let mut may_have_lost = false;
        for (at, volume) in self.volumes.iter_mut().enumerate() {
            let Some(fate) = volume.broken.take() else {
                volume.is_left_out &= !random().is_multiple_of(3);
                continue;
            };
            may_have_lost = true;
            self.disk.mend(&volume.path);
            match fate {
                Fate::Mended => self.disk.power_cut_below(&volume.path, &mut random),
                Fate::Replaced => {
                    self.replaced += 1;
                    self.disk.replace_below(&volume.path);
                    volume.id = directory(id, at, self.replaced);
                    if at == 0 {
                        format_first(&self.disk, &volume.path);
                    }
                }
                Fate::LeftOut => {
                    self.disk.power_cut_below(&volume.path, &mut random);
                    volume.is_left_out = true;
                }
            }
            if fate != Fate::Mended {
                self.must_have.clear();
            }
        }
        may_have_lost
    }
}

/// Makes a directory that of the metadata log.
fn format_first(disk: &MemDisk, path: &Path) {
    let how = Format { voters: None, bootstrap: default_bootstrap_records() };
    format(disk, path, &how, EPOCH_MS).unwrap();
    disk.sync_volume(Path::new("/")).unwrap();
}

/// The id of a node's log directory, which may be there in the place of others.
fn directory(id: i32, at: usize, replaced: u32) -> Uuid {
    Uuid::from_u128((id as u128) << 64 | 1 << 32 | (at as u128) << 16 | u128::from(replaced))
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
        let volume = &self.machines[&id].volumes[0];
        MetadataOptions {
            votes: self.machines[&id].votes,
            static_voters: Some(VoterSet::new(voters.collect())),
            timeouts: Timeouts { election: 500, fetch: 1_000, backoff_max: 500 },
            settings: NodeSettings { node_id: id, file, bug: self.plan.metadata_bug, ..NodeSettings::default() },
            session_timeout_ms: crate::plan::SESSION_MS,
            shutdown,
            snapshot_bytes: 6_000,
            segment_bytes: 8_192,
            snapshots_kept: 1,
            ..MetadataOptions::new(volume.path.clone(), CLUSTER.to_owned(), id, volume.id)
        }
    }

    /// Begins a process, as the server does: the directory, the metadata log, and nothing served yet.
    pub fn start(&mut self, id: i32) {
        if self.machines[&id].process.is_some() {
            return;
        }
        self.made += 1;
        let number = self.made;
        let World { machines, chance, checks, .. } = self;
        let machine = machines.get_mut(&id).unwrap();
        machine.paused_until_ms = 0;
        machine.is_failing = false;
        machine.disk.clear_failures();
        machine.disk.set_capacity(None);
        let has_noted = std::mem::take(&mut machine.has_noted);
        let may_have_lost = machine.repair(id, || chance.next());
        if may_have_lost || has_noted {
            checks.power_cut(id);
        }
        if may_have_lost {
            // Nobody noticed, or nobody could write it down: the disk is back because the machine was started again.
            machine.boots += u64::from(!has_noted);
            if !self.plan.is_synced() {
                machine.must_have.clear();
            }
        }
        let (disk, boot_id) = (machine.disk.arc(), machine.boot_id());
        let volumes = machine.volumes.iter().filter(|volume| !volume.is_left_out);
        let (ids, paths): (Vec<Uuid>, Vec<&Path>) = volumes.map(|volume| (volume.id, &*volume.path)).unzip();
        let opened = paths.iter().map(|path| LogDir::open(disk.clone(), path, &boot_id).unwrap());
        let mut log_dirs: Vec<LogDir> = opened.collect();
        LogDir::agree(&mut log_dirs);
        let shutdown = log_dirs[0].shutdown();
        let dirs: Vec<Dir> =
            ids.into_iter().zip(log_dirs).map(|(id, log_dir)| Dir::new(id, log_dir).unwrap()).collect();
        let found = crate::dirs::find(&dirs).unwrap();
        let opened = MetadataNode::open(disk, self.options(id, shutdown)).unwrap();
        for dir in &dirs {
            dir.log_dir.put_aside_nameless(METADATA_TOPIC).unwrap();
            dir.log_dir.begin(&boot_id).unwrap();
        }
        let (wall_ms, steady_ms) = (self.wall_ms(id), self.steady_ms(id));
        let chance = &mut self.chance;
        let mut random = || chance.next();
        let metadata = opened.start(&mut Present { wall_ms, steady_ms, random: &mut random }).unwrap();
        let process = Process {
            number,
            phase: Phase::Waiting,
            dirs,
            shutdown,
            found,
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
            copies: BTreeMap::new(),
            unassigned: BTreeSet::new(),
            is_assigning: false,
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
        self.close(to);
    }

    /// Ends with the logs closed: what works of the disk knows of it.
    pub fn close(&mut self, to: To) {
        let Some(process) = self.process(to) else { return };
        let mut faults = Vec::new();
        for cell in process.cells.values_mut() {
            cell.partition.resign();
            if cell.partition.log().fault().is_none() {
                faults.extend(cell.partition.log_mut().close().err());
            }
        }
        faults.extend(process.copies.values_mut().filter_map(|copy| copy.log.close().err()));
        for fault in faults {
            self.fails(to, &fault);
        }
        let Some(process) = self.process(to) else { return };
        let mut faults: Vec<Fault> = process.write_checkpoints().err().into_iter().collect();
        for dir in process.dirs.iter().filter(|dir| !dir.is_offline) {
            faults.extend(dir.log_dir.mark_clean(process.broker_epoch).err());
        }
        for fault in faults {
            self.fails(to, &fault);
        }
        self.end_process(to);
    }

    /// The process ends, if it has not ended yet.
    pub fn end_process(&mut self, to: To) {
        if self.process(to).is_some() {
            self.end(to.id);
        }
    }
}

impl Process {
    /// The index of the offsets topic's partition that a group belongs to.
    pub fn group_partition(&self, group: &str) -> Option<i32> {
        let topic = self.image.topics.by_name(OFFSETS_TOPIC)?;
        Some(coordinator::partition_for(group, topic.partitions.len().max(1) as i32))
    }
}
