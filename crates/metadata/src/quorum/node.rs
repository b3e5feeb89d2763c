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

use std::sync::Arc;

use storage::{Fault, RemoveRequest, SyncRequest};
use wire::ErrorCode;
use wire::messages::MetadataRecord;

use super::log::{Comparison, MetadataLog};
use super::messages::{
    BeginEpoch, EndEpoch, FetchFrom, FetchRequest, Fetched, FetchedContent, Known, Outgoing, ReplicaKey, SnapshotPiece,
    SnapshotRequest, VoteReply, VoteRequest,
};
use super::opened::MetadataOptions;
use super::snapshot::{SnapshotId, SnapshotJob};
use super::state::{Effect, Moment, Quorum};
use super::voters::QuorumRecords;
use crate::controller::{Command, Context, Controller, Random, Reply, activation_records};
use crate::image::{Delta, Image};
use crate::machine::Committed;
use crate::planted::{self, Bug};

/// A fetch asks for as much at most, in bytes.
pub(super) const FETCH_BYTES: u32 = 8 << 20;

/// The present and chance, as the shell has them.
pub struct Present<'a> {
    /// ms since 1970, for the timestamps of records.
    pub wall_ms: i64,
    /// ms on a clock that never goes back, for timeouts and sessions.
    pub steady_ms: i64,
    pub random: &'a mut dyn Random,
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

pub(super) enum State {
    Standby(Standby),
    Active(Controller),
}

/// A node that applies what others decide.
pub(super) struct Standby {
    pub published: Arc<Image>,
    /// Everything before is applied.
    pub next: i64,
    /// The image in the middle of a transaction, with what changed since the one that is published.
    pub unpublished: Option<Box<(Image, Delta)>>,
}

/// A snapshot that is being fetched.
pub(super) struct Download {
    pub id: SnapshotId,
    pub bytes: Vec<u8>,
}

/// See the module.
pub struct MetadataNode {
    pub(super) options: MetadataOptions,
    pub(super) quorum: Quorum,
    pub(super) log: MetadataLog,
    /// As [`Loaded::quorum_history`], for when the log is cut.
    pub(super) quorum_history: Vec<(i64, QuorumRecords)>,
    /// What an empty log begins with.
    pub(super) bootstrap: Vec<MetadataRecord<'static>>,
    pub(super) state: State,
    pub(super) output: Output,
    pub(super) download: Option<Download>,
    pub(super) last_snapshot_ms: i64,
    /// The snapshot that is being written, and where the counter of bytes stood when it began.
    pub(super) snapshotting: Option<(SnapshotId, u64)>,
}

impl MetadataNode {
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
        let decisions = controller.submit(commands, present.steady_ms, present.random);
        self.log.append(&decisions, self.quorum.epoch(), present.wall_ms)?;
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

    /// The process of `leader`, which led `epoch` when it was asked, has ended, as its system said: nobody listens any more
    /// where it did.
    pub fn leader_ended(&mut self, leader: i32, epoch: i32, present: &mut Present<'_>) -> Result<(), Fault> {
        self.quorum.leader_ended(leader, epoch, &mut moment(&self.log, present));
        self.tick(present)
    }

    /// Fetch, from another replica. `None` while there is nothing new for it: then it should be asked again when something
    /// was appended or committed, and answered by [`MetadataNode::nothing_new`] when its patience ends.
    pub fn fetch(&mut self, request: &FetchRequest, present: &mut Present<'_>) -> Result<Option<Fetched>, Fault> {
        if let Some(refused) = self.refuses(request.current_epoch) {
            return Ok(Some(self.fetched(refused, FetchedContent::Records(Vec::new()))));
        }
        if request.offset < 0 || request.last_epoch < 0 {
            let refused = self.quorum.known(ErrorCode::InvalidRequest);
            return Ok(Some(self.fetched(refused, FetchedContent::Records(Vec::new()))));
        }
        let none = self.quorum.known(ErrorCode::None);
        match self.log.compare(request.offset, request.last_epoch) {
            Comparison::Diverging(end) if !self.has(Bug::IgnoreDivergence) => {
                return Ok(Some(self.fetched(none, FetchedContent::Diverging(end))));
            }
            Comparison::Snapshot(id) => return Ok(Some(self.fetched(none, FetchedContent::Snapshot(id)))),
            Comparison::Same | Comparison::Diverging(_) => {}
        }
        if self.quorum.fetched(request.replica, request.offset, &moment(&self.log, present)) {
            self.settle(present)?;
        }
        let end = self.log.end_offset();
        if request.offset >= end && self.quorum.told_high_watermark() <= request.high_watermark {
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
    pub(super) fn refuses(&self, epoch: i32) -> Option<Known> {
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
            high_watermark: self.quorum.told_high_watermark(),
            log_start_offset: self.log.start_offset(),
            content,
        }
    }

    /// What must be synced before what was appended counts; `None` when nothing is.
    pub fn sync_request(&mut self) -> Option<SyncRequest> {
        let is_needed = self.quorum.is_leader() || !self.has(Bug::FetchBeforeSync);
        self.log.sync_request().filter(|_| is_needed)
    }

    /// Everything below `offset` is on the disk.
    pub fn synced(&mut self, offset: i64, present: &mut Present<'_>) -> Result<(), Fault> {
        self.log.synced(offset);
        self.quorum.synced(offset);
        self.settle(present)
    }

    /// Syncs here and now.
    pub fn sync(&mut self, present: &mut Present<'_>) -> Result<(), Fault> {
        if let Some(request) = self.sync_request() {
            request.run()?;
        }
        self.synced(self.log.end_offset(), present)
    }

    pub(super) fn carry_out(&mut self, effects: Vec<Effect>, present: &mut Present<'_>) -> Result<(), Fault> {
        for effect in effects {
            match effect {
                Effect::Persist(election) => {
                    let sync = !self.has(Bug::VoteBeforeSync);
                    self.log.persist(&election, self.quorum.kraft_version(), sync)?;
                }
                Effect::AppendControl { epoch, records } => {
                    self.log.append_control(&records, epoch, present.wall_ms)?;
                }
                Effect::Send { to, message } => self.output.messages.push((to, message)),
            }
        }
        self.settle(present)
    }

    /// Brings the state in line with what is committed, and with who leads.
    pub(super) fn settle(&mut self, present: &mut Present<'_>) -> Result<(), Fault> {
        if !self.quorum.is_leader() && self.is_active() {
            let published = self.image().clone();
            let next = published.offset + 1;
            self.state = State::Standby(Standby { published, next, unpublished: None });
            self.output.deposed = true;
        }
        if !matches!(self.quorum.fetch_from(), Some(FetchFrom::Leader(_))) {
            self.download = None;
        }
        let committed = match self.has(Bug::ApplyUncommitted) && !self.is_active() {
            true => self.log.end_offset(),
            false => self.quorum.high_watermark(),
        };
        match &mut self.state {
            State::Active(controller) => self.output.committed.extend(controller.committed(committed)),
            State::Standby(_) => self.apply(committed)?,
        }
        if self.quorum.may_decide() && !self.is_active() {
            self.activate(present)?;
        }
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
        let mut controller = Controller::new(
            &self.options.cluster_id,
            self.options.settings.clone(),
            self.options.session_timeout_ms,
            image,
            self.log.end_offset(),
            present.steady_ms,
        );
        let decided = controller.write(records);
        self.state = State::Active(controller);
        self.log.append(&[decided], self.quorum.epoch(), present.wall_ms)
    }

    /// Whether a test planted this.
    pub(super) fn has(&self, bug: Bug) -> bool {
        planted::is(self.options.settings.bug, bug)
    }

    pub(super) fn fault(&self, action: &'static str, reason: String) -> Fault {
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
            State::Active(_) if self.has(Bug::SnapshotBeyondCommitted) => self.log.end_offset(),
            // A decision may be committed in part, and the image has none of it then.
            State::Active(controller) => self.quorum.high_watermark().min(controller.in_flight_from()),
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
            bug: self.options.settings.bug,
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

pub(super) fn moment<'a>(log: &MetadataLog, present: &'a mut Present<'_>) -> Moment<'a> {
    Moment { now: present.steady_ms, end: log.end(), random: &mut *present.random }
}
