//! A node's replica of the metadata log with what it adds up to: what a server's metadata thread drives. It votes, leads
//! and decides, or follows and applies; which of these, [`Quorum`] says.
//!
//! ```text
//! MetadataNode::open        reads only, may refuse
//!   .start                  a sole voter leads at once: elects itself, writes the epoch's first records, syncs
//! loop: what came in        vote, begin_epoch, end_epoch, fetch; vote_answered, fetch_answered, ...; tick
//!       submit(commands)    decides them together, appends their records; only while this node leads
//!       sync                what was appended is on the disk now: that may commit it
//!       take_output         messages to send, states to publish, replies to give
//!       next_fetch          what to ask the leader for next
//!       snapshot_due        a job for another thread; then snapshot_written
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use storage::{Disk, Fault, FdBudget, LogConfig, OpenMode, RemoveRequest, Shutdown, SyncRequest};
use wire::control::ControlRecord;
use wire::messages::MetadataRecord;
use wire::records::batches;
use wire::{ErrorCode, Uuid};

use super::METADATA_DIR;
use super::batches::{Content, visit};
use super::load::{Loaded, OpenError, load};
use super::log::{Comparison, MetadataLog};
use super::messages::{
    BeginEpoch, EndEpoch, FetchFrom, FetchRequest, Fetched, FetchedContent, Known, Outgoing, ReplicaKey, SnapshotPiece,
    SnapshotRequest, VoteReply, VoteRequest,
};
use super::snapshot::{SnapshotId, SnapshotJob, decode_snapshot, read_bootstrap};
use super::state::{Beginning, Effect, Moment, Quorum, Timeouts};
use super::voters::{QuorumRecords, VoterSet};
use crate::controller::{
    Command, Context, Controller, NodeSettings, Random, Reply, activation_records, default_bootstrap_records,
};
use crate::image::{Delta, Image};
use crate::machine::Committed;

/// As much of the log is applied in one go, in bytes.
const APPLY_BYTES: u32 = 1 << 20;
/// A fetch asks for as much at most, in bytes.
const FETCH_BYTES: u32 = 8 << 20;
/// A snapshot larger than this, in bytes, is none.
const SNAPSHOT_BYTES_MAX: u64 = 8 << 30;

/// What a node knows about itself and its metadata log before it opens it.
#[derive(Clone, Debug)]
pub struct MetadataOptions {
    /// The log dir that holds the metadata log.
    pub log_dir: PathBuf,
    pub cluster_id: String,
    pub node_id: i32,
    /// `directory.id` of the log dir.
    pub directory_id: Uuid,
    /// Whether this node has the controller role: others only observe.
    pub votes: bool,
    /// `controller.quorum.voters`, when it is configured.
    pub static_voters: Option<VoterSet>,
    pub timeouts: Timeouts,
    pub settings: NodeSettings,
    /// `broker.session.timeout.ms`
    pub session_timeout_ms: i64,
    /// How the process before this one ended.
    pub shutdown: Shutdown,
    pub fds: Arc<FdBudget>,
    /// `metadata.log.segment.bytes`
    pub segment_bytes: u32,
    /// `metadata.log.segment.ms`
    pub segment_ms: i64,
    /// `metadata.log.max.record.bytes.between.snapshots`
    pub snapshot_bytes: u64,
    /// `metadata.log.max.snapshot.interval.ms`; 0 for none.
    pub snapshot_interval_ms: i64,
    /// How many snapshots are kept.
    pub snapshots_kept: usize,
}

impl MetadataOptions {
    /// Kafka's defaults.
    pub fn new(log_dir: PathBuf, cluster_id: String, node_id: i32, directory_id: Uuid) -> Self {
        MetadataOptions {
            log_dir,
            cluster_id,
            node_id,
            directory_id,
            votes: true,
            static_voters: None,
            timeouts: Timeouts::default(),
            settings: NodeSettings { node_id, ..NodeSettings::default() },
            session_timeout_ms: 9_000,
            shutdown: Shutdown::default(),
            fds: Arc::default(),
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            snapshot_bytes: 20 << 20,
            snapshot_interval_ms: 3_600_000,
            snapshots_kept: 3,
        }
    }
}

/// The present and chance, as the shell has them.
pub struct Present<'a> {
    /// ms since 1970, for the timestamps of records.
    pub wall_ms: i64,
    /// ms on a clock that never goes back, for timeouts and sessions.
    pub steady_ms: i64,
    pub random: &'a mut dyn Random,
}

/// A metadata log that was read and can be served, and that nothing has written to yet.
pub struct Opened {
    disk: Arc<dyn Disk>,
    options: MetadataOptions,
    loaded: Loaded,
    voters: VoterSet,
    bootstrap: Vec<MetadataRecord<'static>>,
}

impl Opened {
    /// What the log says, committed or not; empty before the first activation.
    pub fn image(&self) -> &Image {
        &self.loaded.image
    }

    pub fn voters(&self) -> &VoterSet {
        &self.voters
    }

    /// Whether this node is the quorum: then it leads as soon as it starts.
    pub fn is_alone(&self) -> bool {
        self.options.votes && self.voters.len() == 1
    }

    /// Takes its place in the quorum. A sole voter is the active controller on return, with everything durable.
    pub fn start(self, present: &mut Present<'_>) -> Result<MetadataNode, OpenError> {
        let is_alone = self.is_alone();
        let Opened { disk, options, loaded, voters, bootstrap } = self;
        let dir = options.log_dir.join(METADATA_DIR);
        let config = LogConfig {
            segment_bytes: options.segment_bytes,
            segment_ms: options.segment_ms,
            retention_ms: -1,
            retention_bytes: -1,
            max_message_bytes: super::batches::BATCH_SIZE_MAX as u32,
            ..LogConfig::default()
        };
        let mode = OpenMode {
            shutdown: options.shutdown,
            log_start_offset: 0,
            fds: options.fds.clone(),
            ..OpenMode::default()
        };
        let log = MetadataLog::open(disk, &dir, Arc::new(config), mode, &loaded, present.wall_ms)?;
        let snapshot_end = loaded.snapshot.map_or(0, |id| id.end_offset);
        // What a sole voter has on its disk, it has committed.
        let (image, next) =
            if is_alone { (loaded.image, loaded.end_offset) } else { (loaded.snapshot_image, snapshot_end) };
        let beginning = Beginning {
            me: ReplicaKey { id: options.node_id, directory_id: options.directory_id },
            timeouts: options.timeouts,
            voters,
            records: loaded.quorum,
            voters_not_in_log: loaded.voters_not_in_log,
            election: loaded.election,
            committed: snapshot_end,
        };
        let mut moment = Moment { now: present.steady_ms, end: log.end(), random: &mut *present.random };
        let mut quorum = Quorum::new(beginning, &mut moment);
        let effects = if is_alone { quorum.lead_alone(&mut moment) } else { Vec::new() };
        let mut node = MetadataNode {
            quorum,
            log,
            quorum_history: loaded.quorum_history,
            bootstrap,
            state: State::Standby(Standby { published: Arc::new(image), next, unpublished: None }),
            output: Output::default(),
            download: None,
            last_snapshot_ms: present.wall_ms,
            snapshotting: None,
            options,
        };
        node.carry_out(effects, present)?;
        node.sync(present)?;
        Ok(node)
    }
}

/// What is to be done outside, in this order: send, then publish and reply, then look whether the leadership was lost.
#[derive(Default)]
pub struct Output {
    pub messages: Vec<(ReplicaKey, Outgoing)>,
    /// Each element is a batch of records with the state after it, what it changed, and the replies that may go now, one for
    /// each command in the order in which they were submitted.
    pub committed: Vec<Committed<Image, Reply>>,
    /// This node decides no more: commands that got no reply get none, and what became of them is not known.
    pub deposed: bool,
}

enum State {
    Standby(Standby),
    Active(Controller),
}

/// A node that applies what others decide.
struct Standby {
    published: Arc<Image>,
    /// Everything before is applied.
    next: i64,
    /// The image in the middle of a transaction, with what changed since the one that is published.
    unpublished: Option<Box<(Image, Delta)>>,
}

/// A snapshot that is being fetched.
struct Download {
    id: SnapshotId,
    bytes: Vec<u8>,
}

/// What to ask another node for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextFetch {
    Records(FetchRequest),
    Snapshot(SnapshotRequest),
}

/// See the module.
pub struct MetadataNode {
    options: MetadataOptions,
    quorum: Quorum,
    log: MetadataLog,
    /// As [`Loaded::quorum_history`], for when the log is cut.
    quorum_history: Vec<(i64, QuorumRecords)>,
    /// What an empty log begins with.
    bootstrap: Vec<MetadataRecord<'static>>,
    state: State,
    output: Output,
    download: Option<Download>,
    last_snapshot_ms: i64,
    /// The snapshot that is being written, and where the counter of bytes stood when it began.
    snapshotting: Option<(SnapshotId, u64)>,
}

impl MetadataNode {
    /// Reads the metadata log and checks that it is for this program and this node. Writes nothing.
    pub fn open(disk: Arc<dyn Disk>, options: MetadataOptions) -> Result<Opened, OpenError> {
        let loaded = load(&*disk, &options.log_dir.join(METADATA_DIR))?;
        let (id, directory_id) = (options.node_id, options.directory_id);
        let voters = loaded.voters(id, directory_id, options.votes, options.static_voters.as_ref())?;
        let bootstrap = match read_bootstrap(&*disk, &options.log_dir) {
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return Err(OpenError::Refused(error.to_string()));
            }
            Err(error) => return Err(Fault::new("read bootstrap.checkpoint in", &options.log_dir, &error).into()),
            Ok(records) => records.unwrap_or_else(default_bootstrap_records),
        };
        Ok(Opened { disk, options, loaded, voters, bootstrap })
    }

    /// What is committed.
    pub fn image(&self) -> &Arc<Image> {
        match &self.state {
            State::Standby(standby) => &standby.published,
            State::Active(controller) => controller.image(),
        }
    }

    /// The active controller, while this node is it.
    pub fn controller(&self) -> Option<&Controller> {
        match &self.state {
            State::Active(controller) => Some(controller),
            State::Standby(_) => None,
        }
    }

    pub fn is_active(&self) -> bool {
        self.controller().is_some()
    }

    pub fn quorum(&self) -> &Quorum {
        &self.quorum
    }

    pub fn log(&self) -> &MetadataLog {
        &self.log
    }

    /// The epoch that this node is in.
    pub fn epoch(&self) -> i32 {
        self.quorum.epoch()
    }

    pub fn end_offset(&self) -> i64 {
        self.log.end_offset()
    }

    /// What has come of everything since the last call.
    pub fn take_output(&mut self) -> Output {
        std::mem::take(&mut self.output)
    }

    /// When [`MetadataNode::tick`] has something to do, in `steady_ms`.
    pub fn wakes_at(&self) -> i64 {
        self.quorum.wakes_at()
    }

    /// Decides commands together and appends what they decided. The replies come out with the output, one for each command in
    /// order, once their records are on the disks of a majority. `false` when this node is not the active controller: then
    /// nothing was decided.
    ///
    /// # Errors
    /// The disk's: then nothing more is decided or answered, and the node must stop.
    pub fn submit(
        &mut self,
        commands: impl IntoIterator<Item = Command>,
        present: &mut Present<'_>,
    ) -> Result<bool, Fault> {
        let State::Active(controller) = &mut self.state else { return Ok(false) };
        let version = controller.image().metadata_version();
        let records = controller.submit(commands, present.steady_ms, present.random);
        self.log.append(&records, version, self.quorum.epoch(), present.wall_ms)?;
        Ok(true)
    }

    /// Time has passed.
    pub fn tick(&mut self, present: &mut Present<'_>) -> Result<(), Fault> {
        let effects = self.quorum.tick(&mut moment(&self.log, present));
        self.carry_out(effects, present)
    }

    /// Vote.
    pub fn vote(&mut self, request: &VoteRequest, present: &mut Present<'_>) -> Result<VoteReply, Fault> {
        let (reply, effects) = self.quorum.vote(request, &mut moment(&self.log, present));
        self.carry_out(effects, present)?;
        Ok(reply)
    }

    /// The answer to a Vote of this node.
    pub fn vote_answered(
        &mut self,
        from: i32,
        asked: &VoteRequest,
        reply: &VoteReply,
        present: &mut Present<'_>,
    ) -> Result<(), Fault> {
        let effects = self.quorum.vote_answered(from, asked, reply, &mut moment(&self.log, present));
        self.carry_out(effects, present)
    }

    /// BeginQuorumEpoch.
    pub fn begin_epoch(&mut self, request: &BeginEpoch, present: &mut Present<'_>) -> Result<Known, Fault> {
        let (known, effects) = self.quorum.begin_epoch(request, &mut moment(&self.log, present));
        self.carry_out(effects, present)?;
        Ok(known)
    }

    /// EndQuorumEpoch.
    pub fn end_epoch(&mut self, request: &EndEpoch, present: &mut Present<'_>) -> Result<Known, Fault> {
        let (known, effects) = self.quorum.end_epoch(request, &mut moment(&self.log, present));
        self.carry_out(effects, present)?;
        Ok(known)
    }

    /// Another node says who leads.
    pub fn heard(&mut self, known: &Known, present: &mut Present<'_>) -> Result<(), Fault> {
        let effects = self.quorum.heard(known, &mut moment(&self.log, present));
        self.carry_out(effects, present)
    }

    /// The leader's process has ended, as its system said: nobody listens any more where it did.
    pub fn leader_ended(&mut self, leader: i32, present: &mut Present<'_>) -> Result<(), Fault> {
        self.quorum.leader_ended(leader, &mut moment(&self.log, present));
        self.tick(present)
    }

    /// Fetch, from another replica. `None` while there is nothing new for it: then it should be asked again when something
    /// was appended or committed, and answered by [`MetadataNode::nothing_new`] when its patience ends.
    pub fn fetch(&mut self, request: &FetchRequest, present: &mut Present<'_>) -> Result<Option<Fetched>, Fault> {
        if let Some(refused) = self.refuses(request.current_epoch) {
            return Ok(Some(self.fetched(refused, FetchedContent::Records(Vec::new()))));
        }
        let none = self.quorum.known(ErrorCode::None);
        match self.log.compare(request.offset, request.last_epoch) {
            Comparison::Diverging(end) => return Ok(Some(self.fetched(none, FetchedContent::Diverging(end)))),
            Comparison::Snapshot(id) => return Ok(Some(self.fetched(none, FetchedContent::Snapshot(id)))),
            Comparison::Same => {}
        }
        if self.quorum.fetched(request.replica, request.offset, &moment(&self.log, present)) {
            self.settle(present)?;
        }
        let end = self.log.end_offset();
        if request.offset >= end && self.quorum.high_watermark() <= request.high_watermark {
            return Ok(None);
        }
        let bytes = match request.offset < end {
            true => self.log.read(request.offset, request.max_bytes.min(FETCH_BYTES), end)?,
            false => Vec::new(),
        };
        Ok(Some(self.fetched(none, FetchedContent::Records(bytes))))
    }

    /// The answer to a fetch that waited in vain.
    pub fn nothing_new(&self) -> Fetched {
        let error = if self.quorum.is_leader() { ErrorCode::None } else { ErrorCode::NotLeaderOrFollower };
        self.fetched(self.quorum.known(error), FetchedContent::Records(Vec::new()))
    }

    /// FetchSnapshot.
    pub fn fetch_snapshot(
        &mut self,
        request: &SnapshotRequest,
        present: &mut Present<'_>,
    ) -> Result<SnapshotPiece, Fault> {
        let piece = |known: Known, size: u64, bytes: Vec<u8>| SnapshotPiece {
            known,
            id: request.id,
            size,
            position: request.position,
            bytes,
        };
        if let Some(refused) = self.refuses(request.current_epoch) {
            return Ok(piece(refused, 0, Vec::new()));
        }
        // Whoever fetches a snapshot is alive, although its log does not grow.
        self.quorum.fetched(request.replica, -1, &moment(&self.log, present));
        let max_bytes = request.max_bytes.min(FETCH_BYTES);
        Ok(match self.log.read_snapshot(request.id, request.position, max_bytes)? {
            None => piece(self.quorum.known(ErrorCode::SnapshotNotFound), 0, Vec::new()),
            Some((_, size)) if request.position >= size => {
                piece(self.quorum.known(ErrorCode::PositionOutOfRange), size, Vec::new())
            }
            Some((bytes, size)) => piece(self.quorum.known(ErrorCode::None), size, bytes),
        })
    }

    /// Why a request that names this epoch (-1: none) cannot be served by this node.
    fn refuses(&self, epoch: i32) -> Option<Known> {
        let error = match epoch {
            epoch if epoch >= 0 && epoch < self.epoch() => ErrorCode::FencedLeaderEpoch,
            epoch if epoch > self.epoch() => ErrorCode::UnknownLeaderEpoch,
            _ if !self.quorum.is_leader() => ErrorCode::NotLeaderOrFollower,
            _ => return None,
        };
        Some(self.quorum.known(error))
    }

    fn fetched(&self, known: Known, content: FetchedContent) -> Fetched {
        Fetched {
            known,
            high_watermark: self.quorum.high_watermark(),
            log_start_offset: self.log.start_offset(),
            content,
        }
    }

    /// What to ask for next, and whom; `None` while this node follows nobody.
    pub fn next_fetch(&self) -> Option<(FetchFrom, NextFetch)> {
        let from = self.quorum.fetch_from()?;
        let (replica, current_epoch) = (self.quorum.me(), self.epoch());
        let next = match &self.download {
            Some(download) if matches!(from, FetchFrom::Leader(_)) => NextFetch::Snapshot(SnapshotRequest {
                replica,
                current_epoch,
                id: download.id,
                position: download.bytes.len() as u64,
                max_bytes: FETCH_BYTES,
            }),
            _ => NextFetch::Records(FetchRequest {
                replica,
                current_epoch,
                offset: self.log.end_offset(),
                last_epoch: self.log.last_epoch(),
                high_watermark: self.quorum.high_watermark(),
                max_bytes: FETCH_BYTES,
            }),
        };
        Some((from, next))
    }

    /// The answer to a fetch of this node.
    pub fn fetch_answered(
        &mut self,
        from: FetchFrom,
        asked: &FetchRequest,
        answer: &Fetched,
        present: &mut Present<'_>,
    ) -> Result<(), Fault> {
        self.heard(&answer.known, present)?;
        let is_current = matches!(from, FetchFrom::Leader(id) if self.quorum.fetch_from() == Some(FetchFrom::Leader(id)))
            && answer.known.epoch == self.epoch()
            && asked.current_epoch == self.epoch()
            && asked.offset == self.log.end_offset();
        if answer.known.error != ErrorCode::None || !is_current {
            return Ok(());
        }
        // Only of a log that agrees with the leader's is what the leader committed a part.
        let mut agreed = self.quorum.high_watermark();
        match &answer.content {
            FetchedContent::Records(bytes) => {
                self.append_from_leader(bytes, present)?;
                agreed = answer.high_watermark;
            }
            FetchedContent::Diverging(end) => {
                let cut = self.log.cut_for(*end);
                if cut < self.quorum.high_watermark() {
                    let text = format!(
                        "the leader of epoch {} has another log from offset {cut} on, and everything before {} is committed here",
                        self.epoch(),
                        self.quorum.high_watermark()
                    );
                    return Err(self.fault("follow the leader with", text));
                }
                self.log.truncate_to(cut)?;
                self.forget_quorum_records(present);
            }
            FetchedContent::Snapshot(id) => self.download = Some(Download { id: *id, bytes: Vec::new() }),
        }
        let end = self.log.end_offset();
        self.quorum.leader_answered(agreed, end, &mut moment(&self.log, present));
        self.settle(present)
    }

    /// The answer to a FetchSnapshot of this node.
    pub fn snapshot_answered(
        &mut self,
        from: FetchFrom,
        asked: &SnapshotRequest,
        piece: &SnapshotPiece,
        present: &mut Present<'_>,
    ) -> Result<(), Fault> {
        self.heard(&piece.known, present)?;
        let Some(download) = &mut self.download else { return Ok(()) };
        let is_current = self.quorum.fetch_from() == Some(from)
            && piece.known.epoch == self.quorum.epoch()
            && asked.id == download.id
            && asked.position == download.bytes.len() as u64;
        if !is_current {
            return Ok(());
        }
        if piece.known.error != ErrorCode::None || piece.size > SNAPSHOT_BYTES_MAX || piece.bytes.is_empty() {
            // The next fetch says what there is now.
            self.download = None;
            return Ok(());
        }
        download.bytes.extend_from_slice(&piece.bytes);
        let is_whole = download.bytes.len() as u64 >= piece.size;
        let (hw, end) = (self.quorum.high_watermark(), self.log.end_offset());
        self.quorum.leader_answered(hw, end, &mut moment(&self.log, present));
        match self.download.take_if(|_| is_whole) {
            Some(download) => self.install(&download, present),
            None => Ok(()),
        }
    }

    fn install(&mut self, download: &Download, present: &mut Present<'_>) -> Result<(), Fault> {
        let id = download.id;
        let State::Standby(standby) = &mut self.state else { return Ok(()) };
        let (mut image, mut records) = (Image::default(), QuorumRecords::default());
        let mut delta = Delta::default();
        let read = decode_snapshot(&download.bytes, &mut |content| match content {
            Content::Control(control) => records.apply(&control),
            Content::Data(record) => {
                image.replay(id.end_offset - 1, &record, &mut delta).map_err(|error| error.to_string())
            }
        });
        if let Err(reason) = read {
            return Err(self.fault("use the leader's snapshot in", reason));
        }
        if id.end_offset <= standby.next {
            return Ok(()); // there is nothing in it that is not here
        }
        image.offset = id.end_offset - 1;
        self.log.install(id, &download.bytes)?;
        let change = Delta::between(&standby.published, &image);
        let image = Arc::new(image);
        *standby = Standby { published: image.clone(), next: id.end_offset, unpublished: None };
        self.quorum_history = vec![(id.end_offset, records.clone())];
        self.quorum.follow_records(records, present.steady_ms);
        self.quorum.installed(id.end_offset);
        self.output.committed.push(Committed { state: image, change, replies: Vec::new() });
        Ok(())
    }

    fn append_from_leader(&mut self, bytes: &[u8], present: &mut Present<'_>) -> Result<(), Fault> {
        if bytes.is_empty() {
            return Ok(());
        }
        let before = self.log.end_offset();
        // What is not a batch any more is the beginning of the next answer.
        if let Err(error) = self.log.append_from_leader(bytes, present.wall_ms)?
            && self.log.end_offset() == before
        {
            return Err(self.fault("append what the leader sent to", error.message().to_owned()));
        }
        let mut records = self.quorum.records().clone();
        let after = self.log.end_offset();
        for batch in batches(bytes).map_while(Result::ok).take_while(|batch| batch.base_offset() < after) {
            if batch.is_control() {
                let read = visit(&batch, &mut |offset, content| {
                    if let Content::Control(control) = content {
                        records.apply(&control)?;
                        if matches!(control, ControlRecord::KRaftVersion(_) | ControlRecord::KRaftVoters(_)) {
                            self.quorum_history.push((offset, records.clone()));
                        }
                    }
                    Ok(())
                });
                read.map_err(|reason| self.fault("append what the leader sent to", reason))?;
            }
        }
        if records != *self.quorum.records() {
            self.quorum.follow_records(records, present.steady_ms);
        }
        if let Some(request) = self.log.sync_request() {
            request.run()?;
            self.log.synced(request.offset());
        }
        Ok(())
    }

    /// The log was cut: the quorum's records may have been among what went.
    fn forget_quorum_records(&mut self, present: &Present<'_>) {
        let end = self.log.end_offset();
        while self.quorum_history.len() > 1 && self.quorum_history.last().is_some_and(|(offset, _)| *offset >= end) {
            self.quorum_history.pop();
        }
        if let Some((_, records)) = self.quorum_history.last() {
            self.quorum.follow_records(records.clone(), present.steady_ms);
        }
    }

    /// What must be synced before what was appended counts; `None` when nothing is.
    pub fn sync_request(&mut self) -> Option<SyncRequest> {
        self.log.sync_request()
    }

    /// Everything below `offset` is on the disk.
    pub fn synced(&mut self, offset: i64, present: &mut Present<'_>) -> Result<(), Fault> {
        self.log.synced(offset);
        self.quorum.synced(offset);
        self.settle(present)
    }

    /// Syncs here and now.
    pub fn sync(&mut self, present: &mut Present<'_>) -> Result<(), Fault> {
        if let Some(request) = self.log.sync_request() {
            request.run()?;
        }
        self.synced(self.log.end_offset(), present)
    }

    fn carry_out(&mut self, effects: Vec<Effect>, present: &mut Present<'_>) -> Result<(), Fault> {
        for effect in effects {
            match effect {
                Effect::Persist(election) => self.log.persist(&election, self.quorum.kraft_version())?,
                Effect::AppendControl { epoch, records } => {
                    self.log.append_control(&records, epoch, present.wall_ms)?;
                }
                Effect::Send { to, message } => self.output.messages.push((to, message)),
            }
        }
        self.settle(present)
    }

    /// Brings the state in line with what is committed, and with who leads.
    fn settle(&mut self, present: &mut Present<'_>) -> Result<(), Fault> {
        if !self.quorum.is_leader() && self.is_active() {
            let published = self.image().clone();
            let next = published.offset + 1;
            self.state = State::Standby(Standby { published, next, unpublished: None });
            self.output.deposed = true;
        }
        if !matches!(self.quorum.fetch_from(), Some(FetchFrom::Leader(_))) {
            self.download = None;
        }
        let committed = self.quorum.high_watermark();
        match &mut self.state {
            State::Active(controller) => self.output.committed.extend(controller.committed(committed)),
            State::Standby(_) => self.apply(committed)?,
        }
        if self.quorum.may_decide() && !self.is_active() {
            self.activate(present)?;
        }
        Ok(())
    }

    /// Applies what another node's controller decided, up to `committed`.
    fn apply(&mut self, committed: i64) -> Result<(), Fault> {
        let State::Standby(standby) = &mut self.state else { return Ok(()) };
        if standby.next >= committed {
            return Ok(());
        }
        let (mut image, mut delta) =
            standby.unpublished.take().map_or_else(|| ((*standby.published).clone(), Delta::default()), |begun| *begun);
        let mut next = standby.next;
        let mut wrong = None;
        while next < committed && wrong.is_none() {
            let bytes = self.log.read(next, APPLY_BYTES, committed)?;
            let before = next;
            for batch in batches(&bytes).map_while(Result::ok) {
                let read = visit(&batch, &mut |offset, content| match content {
                    Content::Data(record) if offset >= before => {
                        image.replay(offset, &record, &mut delta).map_err(|error| error.to_string())
                    }
                    _ => Ok(()),
                });
                if let Err(reason) = read {
                    wrong = Some(reason);
                    break;
                }
                next = batch.next_offset();
                image.offset = next - 1;
            }
            if next == before && wrong.is_none() {
                wrong = Some(format!("there is no whole batch at offset {next}"));
            }
        }
        let unsupported = image.features.unsupported();
        if let Some(reason) = wrong.or(unsupported) {
            return Err(self.fault("apply", reason));
        }
        let State::Standby(standby) = &mut self.state else { return Ok(()) };
        standby.next = next;
        if image.is_in_transaction() {
            standby.unpublished = Some(Box::new((image, delta)));
            return Ok(());
        }
        standby.published = Arc::new(image);
        let state = standby.published.clone();
        self.output.committed.push(Committed { state, change: delta, replies: Vec::new() });
        Ok(())
    }

    /// Everything that came before this epoch is committed and applied: this node decides from here on.
    fn activate(&mut self, present: &mut Present<'_>) -> Result<(), Fault> {
        let State::Standby(standby) = &mut self.state else { return Ok(()) };
        let image = match standby.unpublished.take() {
            Some(begun) => begun.0,
            None => (*standby.published).clone(),
        };
        let context = Context { cluster_id: &self.options.cluster_id, settings: &self.options.settings };
        let records = activation_records(&image, &context, &self.bootstrap);
        let version = image.metadata_version();
        let mut controller = Controller::new(
            &self.options.cluster_id,
            self.options.settings.clone(),
            self.options.session_timeout_ms,
            image,
            self.log.end_offset(),
            present.steady_ms,
        );
        let records = controller.write(records);
        self.state = State::Active(controller);
        self.log.append(&records, version, self.quorum.epoch(), present.wall_ms)
    }

    fn fault(&self, action: &'static str, reason: String) -> Fault {
        Fault::new(action, self.log.dir(), &std::io::Error::new(std::io::ErrorKind::InvalidData, reason))
    }

    /// Gives the leadership up, for others to take it at once. What was decided and is not committed gets no reply.
    pub fn resign(&mut self, present: &mut Present<'_>) -> Result<(), Fault> {
        let effects = self.quorum.resign(&mut moment(&self.log, present));
        self.carry_out(effects, present)
    }

    /// A snapshot that is due, to be run on another thread. Answer with [`MetadataNode::snapshot_written`], or with
    /// [`MetadataNode::snapshot_failed`].
    pub fn snapshot_due(&mut self, now_ms: i64) -> Option<SnapshotJob> {
        let bytes = self.log.bytes_after_snapshot();
        let interval = self.options.snapshot_interval_ms;
        let by_time = interval > 0 && now_ms - self.last_snapshot_ms >= interval;
        let due = bytes >= self.options.snapshot_bytes || (bytes > 0 && by_time);
        if due && self.snapshotting.is_none() { self.snapshot_now(now_ms) } else { None }
    }

    /// A snapshot of what is committed; `None` when there is one already, or when that state is not to be kept.
    pub fn snapshot_now(&mut self, now_ms: i64) -> Option<SnapshotJob> {
        let image = self.image().clone();
        let end_offset = match &self.state {
            State::Active(_) => self.quorum.high_watermark(),
            State::Standby(standby) => standby.next,
        };
        if image.is_in_transaction() || end_offset == 0 || image.offset + 1 > end_offset {
            return None;
        }
        if matches!(&self.state, State::Standby(standby) if standby.unpublished.is_some()) {
            return None;
        }
        let id = SnapshotId { epoch: self.log.epoch_before(end_offset), end_offset };
        if self.log.snapshots().last().is_some_and(|last| *last >= id) {
            return None;
        }
        let quorum = self.quorum_history.iter().rev().find(|(offset, _)| *offset < end_offset);
        let quorum = quorum.map_or_else(|| self.quorum.records().clone(), |(_, records)| records.clone());
        self.snapshotting = Some((id, self.log.bytes_after_snapshot()));
        self.last_snapshot_ms = now_ms;
        Some(SnapshotJob {
            disk: self.log.disk().clone(),
            dir: self.log.dir().to_owned(),
            id,
            image,
            quorum,
            last_timestamp_ms: self.log.last_timestamp_ms(),
            now_ms,
        })
    }

    /// The snapshot is durable: log and snapshots that it replaces are dropped.
    pub fn snapshot_written(&mut self, id: SnapshotId, now_ms: i64) -> Result<(), Fault> {
        let began = match self.snapshotting.take() {
            Some((_, bytes)) => bytes,
            None => 0,
        };
        let since = self.log.bytes_after_snapshot().saturating_sub(began);
        self.log.snapshot_written(id, since);
        self.log.clean(self.options.snapshots_kept, now_ms).map(drop)
    }

    /// The snapshot could not be written; it is tried again when it is due again.
    pub fn snapshot_failed(&mut self) {
        self.snapshotting = None;
    }

    /// What to do now and then: rolls the log by time; the request removes files that were dropped a while ago.
    pub fn housekeeping(&mut self, now_ms: i64) -> Result<Option<RemoveRequest>, Fault> {
        self.log.housekeeping(now_ms)
    }

    /// Ends in order; everything was synced before.
    pub fn close(self) -> Result<(), Fault> {
        self.log.close()
    }
}

fn moment<'a>(log: &MetadataLog, present: &'a mut Present<'_>) -> Moment<'a> {
    Moment { now: present.steady_ms, end: log.end(), random: &mut *present.random }
}
