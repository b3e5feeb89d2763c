//! What a server's metadata thread does: the quorum, commands to whoever decides, and states that are published.

use crate::checks::Checks;
use crate::machine::{Phase, Process};
use crate::world::{Body, Happening, To, World};
use metadata::controller::{Command, Reply};
use metadata::image::{Delta, Image};
use metadata::quorum::{
    BeginEpoch, EndEpoch, FetchFrom, FetchRequest, Fetched, Known, MetadataNode, NextFetch, Outgoing, Present,
    SnapshotPiece, SnapshotRequest, VoteReply, VoteRequest,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use storage::Fault;
use wire::ErrorCode;

/// How long a leader may hold a fetch of metadata that brings nothing.
const HOLD_MS: i64 = 300;
/// Without an answer for so long, a fetch of metadata is given up.
const PATIENCE_MS: i64 = 700;
/// A fetch that was refused is sent again after so long.
const AGAIN_MS: i64 = 30;
/// Without an answer for so long, the controller is asked again.
pub const CONTROLLER_PATIENCE_MS: i64 = 800;

#[derive(Clone, Debug)]
pub enum Message {
    Vote(VoteRequest),
    BeginEpoch(BeginEpoch),
    EndEpoch(EndEpoch),
    Voted(VoteRequest, VoteReply),
    Knows(Known),
    Fetch(FetchFrom, FetchRequest),
    Fetched(FetchFrom, FetchRequest, Fetched),
    FetchSnapshot(FetchFrom, SnapshotRequest),
    Snapshot(FetchFrom, SnapshotRequest, SnapshotPiece),
}

/// A fetch of metadata that waits for something new.
pub struct Parked {
    from: To,
    whom: FetchFrom,
    request: FetchRequest,
    until_ms: i64,
}

/// A state that came about, and the replies that may go once it is in force here.
pub struct Publication {
    pub image: Arc<Image>,
    pub change: Delta,
    pub replies: Vec<((To, u64), Reply)>,
}

/// What a broker asked the controller, and what becomes of the answer.
pub enum Asked {
    Registration,
    Heartbeat,
    AlterPartitions(Vec<(metadata::image::TopicIdPartition, replication::Proposal)>),
    ProducerIds,
    /// The replicas in failed directories, and then those directories; by then the controller has to know.
    LostReplicas(i64),
    LostDirs(i64),
    /// Where replicas are.
    Assignments(BTreeSet<metadata::image::TopicIdPartition>),
    /// Where a replica goes.
    Moved(metadata::image::TopicIdPartition, usize),
    /// An administrator's command, which was forwarded.
    Admin(crate::admin::Wish),
}

/// A producer that waits for an id.
pub type Waiter = (crate::world::Caller, u64);

impl World {
    /// Does something with the metadata log. A fault of it ends the process.
    pub fn with_metadata<T>(
        &mut self,
        to: To,
        act: impl FnOnce(&mut MetadataNode, &mut Present<'_>) -> Result<T, Fault>,
    ) -> Option<T> {
        self.process(to)?;
        let (wall_ms, steady_ms) = (self.wall_ms(to.id), self.steady_ms(to.id));
        let World { machines, chance, .. } = self;
        let process = machines.get_mut(&to.id)?.process.as_mut()?;
        let mut random = || chance.next();
        match act(&mut process.metadata, &mut Present { wall_ms, steady_ms, random: &mut random }) {
            Ok(done) => Some(done),
            Err(fault) => {
                self.fails(to, &fault);
                // Nothing is said after it.
                self.end_process(to);
                None
            }
        }
    }

    pub fn metadata_wakes(&mut self, to: To) {
        let steady_ms = self.steady_ms(to.id);
        let Some(process) = self.process(to) else { return };
        process.wakes_at_ms = i64::MAX;
        if process.metadata.wakes_at() <= steady_ms {
            self.with_metadata(to, |metadata, present| metadata.tick(present));
        }
        self.metadata_settles(to);
    }

    /// What follows whatever the metadata thread handled.
    pub fn metadata_settles(&mut self, to: To) {
        self.serve_parked(to);
        self.with_metadata(to, |metadata, present| metadata.sync(present));
        self.put_out(to);
        self.serve_parked(to);
        self.put_out(to);
        self.snapshot(to);
        self.fetch_metadata(to);
        self.checks.touch_metadata(to.id);
        let (steady_ms, now_ms) = (self.steady_ms(to.id), self.now_ms());
        let Some(process) = self.process(to) else { return };
        if process.phase == Phase::Waiting && process.metadata.is_active() {
            self.caught_up(to);
        }
        let Some(process) = self.process(to) else { return };
        let parked = process.parked.iter().map(|parked| parked.until_ms).min().unwrap_or(i64::MAX);
        let quorum = process.metadata.wakes_at().saturating_sub(steady_ms).saturating_add(now_ms);
        let due_ms = parked.min(quorum).min(process.fetching_until_ms.max(now_ms + 1)).max(now_ms + 1);
        if due_ms < process.wakes_at_ms {
            process.wakes_at_ms = due_ms;
            self.at(due_ms - now_ms, to, Happening::Wake);
        }
    }

    fn snapshot(&mut self, to: To) {
        let wall_ms = self.wall_ms(to.id);
        let Some(process) = self.process(to) else { return };
        let Some(job) = process.metadata.snapshot_due(wall_ms) else { return };
        match job.run() {
            Ok(id) => drop(self.with_metadata(to, |metadata, present| metadata.snapshot_written(id, present.wall_ms))),
            Err(_) => process.metadata.snapshot_failed(),
        }
    }

    fn serve_parked(&mut self, to: To) {
        let now_ms = self.now_ms();
        let Some(process) = self.process(to) else { return };
        for parked in std::mem::take(&mut process.parked) {
            let answer = self.with_metadata(to, |metadata, present| {
                let fetched = metadata.fetch(&parked.request, present)?;
                Ok(fetched.or_else(|| (parked.until_ms <= now_ms).then(|| metadata.nothing_new())))
            });
            match answer {
                None => return,
                Some(None) => {
                    if let Some(process) = self.process(to) {
                        process.parked.push(parked);
                    }
                }
                Some(Some(fetched)) => self.answer_fetch(to, parked.from, (parked.whom, parked.request), fetched),
            }
        }
    }

    /// `whom` the sender took the receiver for comes back to it, as a server keeps it with the request.
    fn answer_fetch(&mut self, to: To, from: To, (whom, request): (FetchFrom, FetchRequest), fetched: Fetched) {
        let message = Message::Fetched(whom, request, fetched);
        self.send_to_process(to, from, Body::Quorum(message));
    }

    /// Answers go to the process that asked, or nowhere.
    pub fn send_to_process(&mut self, from: To, to: To, body: Body) {
        if self.running(to.id) == Some(to) {
            self.send(from, to.id, body);
        }
    }

    /// Sends, publishes and replies.
    fn put_out(&mut self, to: To) {
        let merges = self.chance.is(20);
        let Some(process) = self.process(to) else { return };
        let output = process.metadata.take_output();
        for committed in output.committed {
            let replies = committed.replies.into_iter();
            let replies: Vec<_> = replies.filter_map(|reply| Some((process.replies.pop_front()??, reply))).collect();
            let (image, change) = (committed.state, committed.change);
            match process.publications.back_mut() {
                // A server brings itself in line with all that waits in one go.
                Some(waiting) if merges => {
                    waiting.image = image;
                    waiting.change.merge(change);
                    waiting.replies.extend(replies);
                }
                _ => process.publications.push_back(Publication { image, change, replies }),
            }
        }
        if output.deposed {
            process.replies.clear();
        }
        if !process.publications.is_empty() && !process.is_publishing {
            process.is_publishing = true;
            let delay_ms = if !self.is_healed() && self.chance.is(3) { self.chance.below(400) } else { 0 };
            self.at(delay_ms, to, Happening::Publish);
        }
        for (voter, message) in output.messages {
            let message = match message {
                Outgoing::Vote(request) => Message::Vote(request),
                Outgoing::BeginEpoch(request) => Message::BeginEpoch(request),
                Outgoing::EndEpoch(request) => Message::EndEpoch(request),
            };
            // It was sent before over a connection that broke, and arrives all the same.
            if !self.is_healed() && self.chance.is(3) {
                self.send(to, voter.id, Body::Quorum(message.clone()));
            }
            self.send(to, voter.id, Body::Quorum(message));
        }
    }

    fn fetch_metadata(&mut self, to: To) {
        let (now_ms, voters) = (self.now_ms(), i64::from(self.plan.voters));
        let Some(process) = self.process(to) else { return };
        if process.fetching_until_ms > now_ms {
            return;
        }
        let Some((from, next)) = process.metadata.next_fetch() else {
            process.fetching_until_ms = now_ms + AGAIN_MS;
            return;
        };
        process.fetching_until_ms = now_ms + PATIENCE_MS;
        let whom = match from {
            FetchFrom::Leader(leader) => leader,
            FetchFrom::Anybody => 1 + self.chance.below(voters) as i32,
        };
        if whom == to.id {
            self.process(to).unwrap().fetching_until_ms = now_ms + AGAIN_MS;
            return;
        }
        let message = match next {
            NextFetch::Records(request) => Message::Fetch(from, request),
            NextFetch::Snapshot(request) => Message::FetchSnapshot(from, request),
        };
        self.send(to, whom, Body::Quorum(message));
    }

    pub fn quorum_message(&mut self, to: To, from: To, message: Message) {
        let now_ms = self.now_ms();
        match message {
            Message::Vote(request) => {
                if let Some(reply) = self.with_metadata(to, |m, present| m.vote(&request, present)) {
                    self.send_to_process(to, from, Body::Quorum(Message::Voted(request, reply)));
                }
            }
            Message::BeginEpoch(request) => {
                if let Some(known) = self.with_metadata(to, |m, present| m.begin_epoch(&request, present)) {
                    self.send_to_process(to, from, Body::Quorum(Message::Knows(known)));
                }
            }
            Message::EndEpoch(request) => {
                if let Some(known) = self.with_metadata(to, |m, present| m.end_epoch(&request, present)) {
                    self.send_to_process(to, from, Body::Quorum(Message::Knows(known)));
                }
            }
            Message::Voted(request, reply) => {
                self.with_metadata(to, |m, present| m.vote_answered(from.id, &request, &reply, present));
            }
            Message::Knows(known) => drop(self.with_metadata(to, |m, present| m.heard(&known, present))),
            Message::Fetch(whom, request) => match self.with_metadata(to, |m, present| m.fetch(&request, present)) {
                Some(Some(fetched)) => self.answer_fetch(to, from, (whom, request), fetched),
                Some(None) => {
                    let parked = Parked { from, whom, request, until_ms: now_ms + HOLD_MS };
                    self.process(to).unwrap().parked.push(parked);
                }
                None => {}
            },
            Message::Fetched(whom, request, fetched) => self.metadata_fetched(to, whom, &request, &fetched),
            Message::FetchSnapshot(whom, request) => {
                if let Some(piece) = self.with_metadata(to, |m, present| m.fetch_snapshot(&request, present)) {
                    self.send_to_process(to, from, Body::Quorum(Message::Snapshot(whom, request, piece)));
                }
            }
            Message::Snapshot(whom, request, piece) => {
                self.process(to).unwrap().fetching_until_ms = now_ms;
                self.with_metadata(to, |m, present| m.snapshot_answered(whom, &request, &piece, present));
            }
        }
        self.metadata_settles(to);
    }

    fn metadata_fetched(&mut self, to: To, whom: FetchFrom, request: &FetchRequest, fetched: &Fetched) {
        let now_ms = self.now_ms();
        let is_refused = fetched.known.error != ErrorCode::None;
        let process = self.process(to).unwrap();
        process.fetching_until_ms = if is_refused { now_ms + AGAIN_MS } else { now_ms };
        let before = process.metadata.epoch();
        self.with_metadata(to, |metadata, present| metadata.fetch_answered(whom, request, fetched, present));
        let Some(process) = self.process(to) else { return };
        if process.metadata.epoch() != before {
            process.fetching_until_ms = now_ms;
        }
        let is_whole = !is_refused
            && fetched.known.epoch == process.metadata.epoch()
            && fetched.high_watermark > 0
            && process.metadata.quorum().high_watermark() >= fetched.high_watermark;
        if is_whole && process.phase == Phase::Waiting {
            self.caught_up(to);
        }
    }

    /// The process of another node is known to be gone.
    pub fn has_ended(&mut self, to: To, ended: To) {
        // A system that runs it again does not refuse connections any more.
        if self.running(ended.id).is_some() {
            return;
        }
        self.with_metadata(to, |metadata, present| metadata.leader_ended(ended.id, metadata.epoch(), present));
        let Some(process) = self.process(to) else { return };
        if process.metadata.is_active()
            && let Some(broker) = process.metadata.image().cluster.broker(ended.id).filter(|broker| !broker.fenced)
        {
            let gone = Command::BrokerGone { broker_id: broker.id, broker_epoch: broker.epoch };
            self.submit(to, None, gone);
        }
        self.metadata_settles(to);
    }

    fn submit(&mut self, to: To, whom: Option<(To, u64)>, command: Command) {
        match self.with_metadata(to, |metadata, present| metadata.submit([command], present)) {
            Some(true) => self.process(to).unwrap().replies.push_back(whom),
            Some(false) => {
                if let Some((from, number)) = whom {
                    self.send_to_process(to, from, Body::Replied(number, Err(ErrorCode::NotController)));
                }
            }
            None => {}
        }
    }

    pub fn command(&mut self, to: To, from: To, number: u64, command: Command) {
        self.submit(to, Some((from, number)), command);
        self.metadata_settles(to);
    }

    /// The active controller looks for brokers that are silent.
    pub fn controller_tick(&mut self, to: To) {
        if self.process(to).is_some_and(|process| process.metadata.is_active()) {
            self.submit(to, None, Command::Tick);
            self.metadata_settles(to);
        }
    }

    /// Asks whoever decides, as far as this node knows.
    pub fn ask_controller(&mut self, to: To, asked: Asked, command: Command) {
        self.made += 1;
        let number = self.made;
        let Some(process) = self.process(to) else { return };
        process.asked.insert(number, asked);
        let leader = process.metadata.quorum().leader();
        match leader {
            Some(leader) => {
                self.at(CONTROLLER_PATIENCE_MS, to, Happening::Unanswered(number));
                self.send(to, leader, Body::Command(number, command));
            }
            None => self.at(30, to, Happening::Unanswered(number)),
        }
    }

    /// Brings this node in line with the next state.
    pub fn publish(&mut self, to: To) {
        let Some(process) = self.process(to) else { return };
        process.is_publishing = false;
        let Some(Publication { image, change, replies }) = process.publications.pop_front() else { return };
        process.image = image.clone();
        if !process.publications.is_empty() {
            process.is_publishing = true;
            self.at(0, to, Happening::Publish);
        }
        if image.offset > self.latest.offset {
            self.checks.changed(&change);
            self.latest = image.clone();
            if let Err(why) = Checks::decided(&image) {
                self.checks.lost(why);
            }
            if !change.brokers.is_empty() {
                self.say(|| {
                    let brokers = image.cluster.brokers();
                    let brokers = brokers.map(|b| (b.id, b.epoch, b.fenced, b.in_controlled_shutdown));
                    format!("brokers at {}: {:?}", image.offset, brokers.collect::<Vec<_>>())
                });
            }
        }
        if let Err(why) = self.checks.published(to.id, &image) {
            self.checks.lost(why);
        }
        let Process { phase, broker_epoch, .. } = self.process(to).unwrap();
        match phase {
            Phase::Serving => self.follow_state(to, &image, &change),
            Phase::Registered if image.offset >= *broker_epoch => self.take_up(to),
            _ => {}
        }
        for ((from, number), reply) in replies {
            self.send_to_process(to, from, Body::Replied(number, Ok(reply)));
        }
    }
}
