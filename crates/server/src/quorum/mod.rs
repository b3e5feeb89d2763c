//! The metadata thread: this node's replica of the metadata log, driven by what comes in.
//!
//! It is a thread of its own because each step may wait for the disk. A step takes everything that has come, lets the replica
//! ([`MetadataNode`]) decide, follow or vote, has it synced once, and then sends, publishes and answers. Who fetches from
//! this node gets what was appended before the sync here: theirs can run at the same time.
//!
//! A fault of the metadata log ends the node: it could acknowledge nothing any more.
//!
//! Reading order: this file, [`peers`], [`convert`]; [`crate::publisher`] is where committed states go.

pub mod convert;
pub mod peers;

use crate::chance::random;
use crate::node::Node;
use crate::publisher::{Publication, Publisher};
use crate::registration;
use metadata::controller::{Command, ElectionType, Reply};
use metadata::image::Image;
use metadata::quorum::{
    BeginEpoch, EndEpoch, FetchFrom, FetchRequest, Fetched, Known, MetadataNode, NextFetch, Present, SnapshotId,
    SnapshotPiece, SnapshotRequest, VoteReply, VoteRequest, VoterUpdate,
};
use peers::Peers;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use storage::Fault;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tracing::{error, info, warn};

/// Requests that may wait. More wait in their senders.
pub const QUEUE: usize = 1024;
/// Requests handled in one step at most.
const BATCH: usize = 256;
/// How often the active controller looks for brokers that fell silent, and the log for what is due.
const TICK_MS: i64 = 250;
/// After a fetch that failed, the next one waits so long, in ms: first the shorter time, as a leader that is just ending takes
/// a moment to close its port; twice as long after each further failure, up to the longer.
const FETCH_AGAIN_MS: std::ops::RangeInclusive<i64> = 1..=32;
/// Fetches that may be parked: each node of the cluster has one.
const PARKED_MAX: usize = 10_000;
/// How long others get to take the leadership over from a node that stops, in ms.
const HAND_OVER_MS: i64 = 1_000;

/// What the metadata thread is told.
pub enum Request {
    Decide {
        command: Command,
        reply: oneshot::Sender<Reply>,
    },
    Vote {
        request: VoteRequest,
        reply: oneshot::Sender<VoteReply>,
    },
    BeginEpoch {
        request: BeginEpoch,
        reply: oneshot::Sender<Known>,
    },
    EndEpoch {
        request: EndEpoch,
        reply: oneshot::Sender<Known>,
    },
    Fetch {
        request: FetchRequest,
        wait: Duration,
        reply: oneshot::Sender<Fetched>,
    },
    FetchSnapshot {
        request: SnapshotRequest,
        reply: oneshot::Sender<SnapshotPiece>,
    },
    UpdateVoter {
        update: VoterUpdate,
        reply: oneshot::Sender<Known>,
    },
    /// What another node answered.
    Answer(Answer),
    /// A snapshot was written, or could not be.
    Snapshot(std::io::Result<SnapshotId>),
    Describe(oneshot::Sender<Description>),
    /// Publishes the state as it is, and every change from then on.
    Publish(oneshot::Sender<()>),
    /// Ends the thread, when others had time to take the leadership over.
    Stop,
}

/// What another node answered to this one.
pub enum Answer {
    Voted {
        from: i32,
        asked: VoteRequest,
        reply: VoteReply,
    },
    Heard(Known),
    Fetched {
        generation: u64,
        from: FetchFrom,
        asked: FetchRequest,
        fetched: Box<Fetched>,
    },
    Snapshot {
        generation: u64,
        from: FetchFrom,
        asked: SnapshotRequest,
        piece: Box<SnapshotPiece>,
    },
    /// `ended`: the process of this leader of this epoch is gone.
    FetchFailed {
        generation: u64,
        ended: Option<(i32, i32)>,
    },
}

/// Who leads, as the metadata thread knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leader {
    pub epoch: i32,
    pub id: Option<i32>,
    /// This node decides.
    pub is_here: bool,
    /// The level of `kraft.version`.
    pub kraft_version: i16,
}

/// The quorum as the leader sees it; of other nodes only the head is filled in.
#[derive(Clone, Debug)]
pub struct Description {
    pub leader: Leader,
    pub high_watermark: i64,
    pub voters: metadata::quorum::VoterSet,
    pub voter_states: Vec<ReplicaState>,
    pub observer_states: Vec<ReplicaState>,
}

/// How far one replica is.
#[derive(Clone, Debug)]
pub struct ReplicaState {
    pub replica: metadata::quorum::ReplicaKey,
    pub log_end_offset: i64,
    /// How long ago it fetched, and had everything, in ms; `None` for never.
    pub last_fetch_ms: Option<i64>,
    pub last_caught_up_ms: Option<i64>,
}

struct Parked {
    request: FetchRequest,
    until: i64,
    reply: oneshot::Sender<Fetched>,
}

struct Fetching {
    generation: u64,
    from: FetchFrom,
    task: AbortHandle,
}

/// What the thread works with.
pub struct MetadataThread {
    pub node: Arc<Node>,
    pub metadata: MetadataNode,
    pub requests: mpsc::Receiver<Request>,
    pub peers: Arc<Peers>,
    pub publisher: Publisher,
    pub leader: watch::Sender<Leader>,
    /// Gets the state once it is that of the cluster.
    pub caught_up: Option<oneshot::Sender<Arc<Image>>>,
}

/// Runs until it is told to stop or the metadata log fails, and gives the log back.
pub fn run(thread: MetadataThread) -> MetadataNode {
    let mut random = random();
    let mut thread = Running {
        started: Instant::now(),
        replies: VecDeque::new(),
        parked: Vec::new(),
        fetching: None,
        generation: 0,
        fetch_not_before: i64::MIN,
        fetch_again_ms: *FETCH_AGAIN_MS.start(),
        tick_due: i64::MIN,
        balance_due: i64::MAX,
        leaderless_due: i64::MIN,
        told_of_strangers: false,
        stop_by: None,
        inner: thread,
    };
    let mut batch = Vec::new();
    loop {
        match thread.step(&mut batch, &mut random) {
            Ok(true) => {}
            Ok(false) => return thread.inner.metadata,
            Err(fault) => {
                let dir = &thread.inner.node.config.metadata_log_dir;
                error!(error = %fault, "Shutdown broker because the metadata log dir {} has failed", dir.display());
                thread.inner.node.fail();
                return thread.inner.metadata;
            }
        }
        thread.wait(&mut batch);
    }
}

struct Running {
    started: Instant,
    /// Of the commands in flight, in their order; `None` where nobody asked.
    replies: VecDeque<Option<oneshot::Sender<Reply>>>,
    parked: Vec<Parked>,
    fetching: Option<Fetching>,
    generation: u64,
    fetch_not_before: i64,
    /// How long the next fetch waits if this one fails, in ms.
    fetch_again_ms: i64,
    tick_due: i64,
    /// When leaderships are given back to preferred replicas next.
    balance_due: i64,
    /// When partitions without a leader are looked at next.
    leaderless_due: i64,
    told_of_strangers: bool,
    /// The thread was told to stop, and does at this time at the latest.
    stop_by: Option<i64>,
    inner: MetadataThread,
}

impl Running {
    fn now(&self) -> i64 {
        self.started.elapsed().as_millis() as i64
    }

    fn next_balance(&self, now: i64) -> i64 {
        let interval = self.inner.node.config.quorum.leader_balance_interval;
        interval.map_or(i64::MAX, |interval| now + interval.as_millis() as i64)
    }

    /// Waits for requests, or for the next time that something is due.
    fn wait(&mut self, batch: &mut Vec<Request>) {
        let now = self.now();
        let parked = self.parked.iter().map(|parked| parked.until).min().unwrap_or(i64::MAX);
        let fetch = if self.fetching.is_none() { self.fetch_not_before } else { i64::MAX };
        let stop = self.stop_by.unwrap_or(i64::MAX);
        let fetch = if fetch > now { fetch } else { i64::MAX };
        let due = self.inner.metadata.wakes_at().min(parked).min(self.tick_due).min(fetch).min(stop);
        let wait = Duration::from_millis(u64::try_from(due - now).unwrap_or(0));
        let requests = &mut self.inner.requests;
        let runtime = self.inner.node.runtime.clone();
        // A timeout is as good a reason to go on as a request.
        let _ = runtime.block_on(async { tokio::time::timeout(wait, requests.recv_many(batch, BATCH)).await });
    }

    /// Handles what has come; `false` when it was the end.
    fn step(&mut self, batch: &mut Vec<Request>, random: &mut impl FnMut() -> u64) -> Result<bool, Fault> {
        let now = self.now();
        let wall_ms = self.inner.node.clock.now_ms();
        let mut present = Present { wall_ms, steady_ms: now, random };
        let closed = batch.is_empty() && self.inner.requests.is_closed();
        let mut commands = Vec::new();
        let mut replies = Vec::new();
        for request in batch.drain(..) {
            match request {
                Request::Decide { command, reply } => {
                    commands.push(command);
                    replies.push(Some(reply));
                }
                other => self.handle(other, &mut present)?,
            }
        }
        if self.inner.metadata.wakes_at() <= now {
            self.inner.metadata.tick(&mut present)?;
        }
        if self.tick_due <= now {
            self.tick_due = now + TICK_MS;
            if self.inner.metadata.is_active() {
                commands.push(Command::Tick);
                replies.push(None);
                self.balance_due = self.balance_due.min(self.next_balance(now));
                if self.balance_due <= now {
                    self.balance_due = self.next_balance(now);
                    commands.push(Command::ElectLeaders { election: ElectionType::Preferred, partitions: None });
                    replies.push(None);
                }
                if self.leaderless_due <= now {
                    let interval = self.inner.node.config.quorum.unclean_election_interval;
                    self.leaderless_due = now.saturating_add(i64::try_from(interval.as_millis()).unwrap_or(i64::MAX));
                    commands.push(Command::ElectForLeaderless);
                    replies.push(None);
                }
            } else {
                self.balance_due = self.next_balance(now);
            }
            self.housekeeping(wall_ms)?;
        }
        if !commands.is_empty() && self.inner.metadata.submit(commands, &mut present)? {
            self.replies.extend(replies);
        }
        self.serve_parked(&mut present)?;
        self.inner.metadata.sync(&mut present)?;
        self.put_out();
        self.serve_parked(&mut present)?;
        self.put_out();
        self.fetch();
        let metadata = &self.inner.metadata;
        let handed_over = !metadata.quorum().is_leader() && metadata.quorum().leader().is_some();
        let ends = self.stop_by.is_some_and(|by| by <= now || handed_over || metadata.quorum().voters().len() < 2);
        Ok(!closed && !ends)
    }

    fn handle(&mut self, request: Request, present: &mut Present<'_>) -> Result<(), Fault> {
        let metadata = &mut self.inner.metadata;
        // Whoever asked may have gone: then the answer goes nowhere.
        match request {
            Request::Decide { .. } => {}
            Request::Vote { request, reply } => drop(reply.send(metadata.vote(&request, present)?)),
            Request::BeginEpoch { request, reply } => drop(reply.send(metadata.begin_epoch(&request, present)?)),
            Request::EndEpoch { request, reply } => drop(reply.send(metadata.end_epoch(&request, present)?)),
            Request::Fetch { request, wait, reply } => match metadata.fetch(&request, present)? {
                Some(fetched) => drop(reply.send(fetched)),
                None if wait.is_zero() || self.parked.len() >= PARKED_MAX => drop(reply.send(metadata.nothing_new())),
                None => {
                    let until = present.steady_ms + wait.as_millis() as i64;
                    self.parked.push(Parked { request, until, reply });
                }
            },
            Request::FetchSnapshot { request, reply } => drop(reply.send(metadata.fetch_snapshot(&request, present)?)),
            Request::UpdateVoter { update, reply } => {
                let known = metadata.update_voter(&update, present)?;
                self.inner.peers.learn_voters(metadata.quorum().voters());
                let _ = reply.send(known); // whoever asked may have gone
            }
            Request::Answer(answer) => self.answered(answer, present)?,
            Request::Snapshot(Ok(id)) => metadata.snapshot_written(id, present.wall_ms)?,
            Request::Snapshot(Err(e)) => {
                warn!(error = %e, "a snapshot of the cluster's state could not be written; the log grows until one can");
                metadata.snapshot_failed();
            }
            Request::Describe(reply) => drop(reply.send(self.describe(present.steady_ms))),
            Request::Publish(done) => {
                let image = metadata.image().clone();
                self.inner.publisher.publish(Publication::All { image, done });
            }
            Request::Stop => {
                let wait = if metadata.quorum().is_leader() { HAND_OVER_MS } else { 0 };
                self.stop_by = Some(present.steady_ms + wait);
                if metadata.quorum().voters().len() > 1 {
                    metadata.resign(present)?;
                }
            }
        }
        Ok(())
    }

    fn fetch_later(&mut self, now: i64) {
        self.fetch_not_before = now + self.fetch_again_ms;
        self.fetch_again_ms = (2 * self.fetch_again_ms).min(*FETCH_AGAIN_MS.end());
    }

    fn answered(&mut self, answer: Answer, present: &mut Present<'_>) -> Result<(), Fault> {
        self.look_for_strangers(&answer);
        let is_current = |fetching: &Option<Fetching>, generation: u64| {
            fetching.as_ref().is_some_and(|fetching| fetching.generation == generation)
        };
        match answer {
            Answer::Voted { from, asked, reply } => self.inner.metadata.vote_answered(from, &asked, &reply, present),
            Answer::Heard(known) => self.inner.metadata.heard(&known, present),
            Answer::Fetched { generation, from, asked, fetched } => {
                if is_current(&self.fetching, generation) {
                    self.fetching = None;
                    match fetched.known.error {
                        wire::ErrorCode::None => self.fetch_again_ms = *FETCH_AGAIN_MS.start(),
                        _ => self.fetch_later(present.steady_ms),
                    }
                }
                let metadata = &mut self.inner.metadata;
                let before = metadata.epoch();
                metadata.fetch_answered(from, &asked, &fetched, present)?;
                if metadata.epoch() != before {
                    self.fetch_not_before = i64::MIN;
                }
                let is_whole = fetched.known.error == wire::ErrorCode::None
                    && fetched.known.epoch == metadata.epoch()
                    && fetched.high_watermark > 0
                    && metadata.quorum().high_watermark() >= fetched.high_watermark;
                if is_whole {
                    self.caught_up();
                }
                Ok(())
            }
            Answer::Snapshot { generation, from, asked, piece } => {
                if is_current(&self.fetching, generation) {
                    self.fetching = None;
                }
                self.inner.metadata.snapshot_answered(from, &asked, &piece, present)
            }
            Answer::FetchFailed { generation, ended } => {
                if is_current(&self.fetching, generation) {
                    self.fetching = None;
                    self.fetch_later(present.steady_ms);
                }
                match ended {
                    Some((leader, epoch)) => self.inner.metadata.leader_ended(leader, epoch, present),
                    None => Ok(()),
                }
            }
        }
    }

    /// Says it once: whoever gave a node a wrong directory or a wrong address has to know.
    fn look_for_strangers(&mut self, answer: &Answer) {
        let error = match answer {
            Answer::Voted { reply, .. } => reply.known.error,
            Answer::Heard(known) => known.error,
            Answer::Fetched { fetched, .. } => fetched.known.error,
            Answer::Snapshot { .. } | Answer::FetchFailed { .. } => return,
        };
        let is_strange = error == wire::ErrorCode::InconsistentClusterId;
        if is_strange && !std::mem::replace(&mut self.told_of_strangers, true) {
            let node = &self.inner.node;
            error!(
                "A node of the quorum is of another cluster than this one, which is of {} by the meta.properties of {}: one of them \
                 has a wrong directory in log.dirs, or a wrong address in controller.quorum.voters (or .bootstrap.servers)",
                node.cluster_id,
                node.config.metadata_log_dir.display()
            );
        }
    }

    fn caught_up(&mut self) {
        if let Some(caught_up) = self.inner.caught_up.take() {
            let _ = caught_up.send(self.inner.metadata.image().clone()); // the node is ending
        }
    }

    /// Answers fetches that need not wait any longer.
    fn serve_parked(&mut self, present: &mut Present<'_>) -> Result<(), Fault> {
        let metadata = &mut self.inner.metadata;
        for parked in std::mem::take(&mut self.parked) {
            if parked.reply.is_closed() {
                continue;
            }
            match metadata.fetch(&parked.request, present)? {
                Some(fetched) => drop(parked.reply.send(fetched)),
                None if parked.until <= present.steady_ms => drop(parked.reply.send(metadata.nothing_new())),
                None => self.parked.push(parked),
            }
        }
        Ok(())
    }

    /// Sends, publishes and replies.
    fn put_out(&mut self) {
        let output = self.inner.metadata.take_output();
        for (to, message) in output.messages {
            self.inner.peers.send(to, message);
        }
        for committed in output.committed {
            let replies = committed.replies.into_iter().filter_map(|reply| Some((self.replies.pop_front()??, reply)));
            let replies = replies.collect();
            let (image, change) = (committed.state, committed.change);
            self.inner.publisher.publish(Publication::Change { image, change, replies });
        }
        if output.deposed {
            self.replies.clear();
        }
        let quorum = self.inner.metadata.quorum();
        let offsets = &self.inner.node.metadata_log;
        offsets.high_watermark.store(quorum.high_watermark(), Ordering::Relaxed);
        offsets.end_offset.store(self.inner.metadata.end_offset(), Ordering::Relaxed);
        let leader = self.leader();
        if *self.inner.leader.borrow() != leader {
            self.inner.peers.learn_voters(quorum.voters());
            let before = self.inner.leader.send_replace(leader);
            if leader.is_here && !before.is_here {
                let node = self.inner.node.clone();
                self.inner.node.runtime.spawn(async move { registration::look_for_the_dead(&node).await });
            }
            if quorum.voters().len() > 1 && before.id != leader.id && leader.id.is_some() {
                info!(epoch = leader.epoch, leader = leader.id, "the quorum has a leader");
            }
        }
        if leader.is_here {
            self.caught_up();
        }
    }

    fn leader(&self) -> Leader {
        let quorum = self.inner.metadata.quorum();
        Leader {
            epoch: quorum.epoch(),
            id: quorum.leader(),
            is_here: self.inner.metadata.is_active(),
            kraft_version: quorum.kraft_version().level(),
        }
    }

    /// Sees to it that a fetch is under way where there is somebody to fetch from.
    fn fetch(&mut self) {
        let wanted = self.inner.metadata.next_fetch();
        let from = wanted.map(|(from, _)| from);
        if let Some(fetching) = self.fetching.take_if(|fetching| from != Some(fetching.from)) {
            fetching.task.abort();
        }
        let Some((from, next)) = wanted.filter(|_| self.fetching.is_none() && self.fetch_not_before <= self.now())
        else {
            return;
        };
        self.generation += 1;
        let task = self.inner.peers.fetch(self.generation, from, next);
        self.fetching = Some(Fetching { generation: self.generation, from, task });
        debug_assert!(matches!(next, NextFetch::Records(_) | NextFetch::Snapshot(_)));
    }

    fn housekeeping(&mut self, wall_ms: i64) -> Result<(), Fault> {
        let metadata = &mut self.inner.metadata;
        if let Some(job) = metadata.snapshot_due(wall_ms) {
            let node = self.inner.node.clone();
            std::thread::Builder::new()
                .name("snapshot".into())
                .spawn(move || node.controller.snapshot(job.run()))
                .map_err(|e| Fault::new("start a thread for a snapshot in", metadata.log().dir(), &e))?;
        }
        if let Some(remove) = metadata.housekeeping(wall_ms)?
            && let Err(fault) = remove.run()
        {
            warn!(error = %fault, "old files of the metadata log could not be removed");
        }
        Ok(())
    }

    fn describe(&self, now: i64) -> Description {
        let metadata = &self.inner.metadata;
        let quorum = metadata.quorum();
        let state = |progress: &metadata::quorum::Progress| ReplicaState {
            replica: metadata::quorum::ReplicaKey { directory_id: progress.told_directory, ..progress.replica },
            log_end_offset: progress.end_offset,
            last_fetch_ms: progress.last_fetch.map(|at| now - at),
            last_caught_up_ms: progress.last_caught_up.map(|at| now - at),
        };
        let (mut voter_states, mut observer_states) = (Vec::new(), Vec::new());
        if let Some(leadership) = quorum.leadership() {
            voter_states.extend(leadership.voters().map(state));
            observer_states.extend(leadership.observers().map(state));
            let own = ReplicaState {
                replica: quorum.me(),
                log_end_offset: metadata.end_offset(),
                last_fetch_ms: Some(0),
                last_caught_up_ms: Some(0),
            };
            voter_states.push(own);
            voter_states.sort_by_key(|state| state.replica.id);
        }
        Description {
            leader: self.leader(),
            high_watermark: quorum.high_watermark(),
            voters: quorum.voters().clone(),
            voter_states,
            observer_states,
        }
    }
}
