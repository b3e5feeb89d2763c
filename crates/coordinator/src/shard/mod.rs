//! One partition of `__consumer_offsets` and the groups that it coordinates.
//!
//! Decisions are made here, in [`Shard::handle`] and [`Shard::tick`]; what follows from them once their records are
//! committed is kept as a [`Then`]. The answers that need the membership of a group are in `membership`, those about
//! offsets in `offsets`, those for administrators in `admin`; what is forgotten by itself in `expiry`.

mod admin;
mod expiry;
mod membership;
mod offsets;

use std::collections::BTreeMap;
use std::sync::Arc;

use metadata::machine::{Decision, Machine};
use wire::ErrorCode;

use crate::group::{Context, Group, GroupState};
use crate::planted::{self, Bug};
use crate::rebalance::{StaticReplaced, Step};
use crate::records::{self, Record};
use crate::request::{FetchRequest, Reply, ReplyToken, Request};
use crate::store::{Change, GroupMetadata, Store};
use crate::timers::{Timer, Timers};
use crate::{Config, Now};

pub use admin::{DescribedGroup, DescribedMember, ListedGroup};
pub use expiry::expirable;

/// What a call wants done. Records are appended in the order of the calls.
#[derive(Debug, Default, PartialEq)]
pub struct Effects {
    pub write: Option<Write>,
    /// To go out now.
    pub replies: Vec<(ReplyToken, Reply)>,
}

/// Records for the log; [`Shard::committed`] wants `end` once they are there.
#[derive(Debug, Default, PartialEq)]
pub struct Write {
    /// Ascending from one write to the next. With nobody else writing to the partition it is the log's end offset
    /// behind the records.
    pub end: i64,
    pub records: Vec<Record>,
}

/// What happens when records are committed.
#[derive(Debug)]
enum Then {
    Nothing,
    Reply(ReplyToken, Reply),
    Assigned { group: Arc<str>, metadata: Arc<GroupMetadata> },
    StaticReplaced { group: Arc<str>, replaced: Box<StaticReplaced> },
    Emptied { group: Arc<str>, answer: Option<(ReplyToken, Reply)> },
    Deleted { token: ReplyToken, results: Vec<(String, ErrorCode)> },
    Fetch { token: ReplyToken, request: FetchRequest },
}

/// The coordinator of the groups of one partition.
pub struct Shard {
    config: Config,
    machine: Machine<Store, Then>,
    /// The groups that somebody is in, or is about to join.
    live: BTreeMap<Arc<str>, Group>,
    timers: Timers,
    /// Ids given out in all live groups.
    pending_members: usize,
    effects: Effects,
}

impl Shard {
    /// A shard over what the log says; see [`Loader`](crate::Loader).
    pub(crate) fn new(config: Config, store: Store, end_offset: i64, now: Now) -> Self {
        let mut shard = Shard {
            config,
            machine: Machine::new(Store::default(), end_offset),
            live: BTreeMap::new(),
            timers: Timers::default(),
            pending_members: 0,
            effects: Effects::default(),
        };
        let with_members: Vec<(Arc<str>, Arc<GroupMetadata>)> = store
            .groups()
            .filter_map(|(name, group)| Some((name.clone(), group.metadata.clone()?)))
            .filter(|(_, metadata)| !metadata.members.is_empty())
            .collect();
        shard.machine.replace(store, end_offset);
        for (name, metadata) in with_members {
            shard.live.insert(name.clone(), Group::from_stored(name.clone(), &metadata, now));
            let too_many = usize::try_from(shard.config.max_size).is_ok_and(|max| metadata.members.len() > max);
            shard.step(&name, now, |group, ctx| {
                for member in &metadata.members {
                    group.expect_heartbeat(&member.member_id, ctx);
                }
                if too_many { group.prepare_rebalance(ctx) } else { Step::Done }
            });
        }
        shard
    }

    /// An empty partition.
    pub fn empty(config: Config, now: Now) -> Self {
        Shard::new(config, Store::default(), 0, now)
    }

    /// Decides a request. Its reply comes with these effects, or with those of a later call.
    pub fn handle(&mut self, now: Now, request: Request, token: ReplyToken) -> Effects {
        match request {
            Request::Join(request) => self.join(now, request, token),
            Request::Sync(request) => self.sync(now, request, token),
            Request::Heartbeat(request) => self.heartbeat(now, &request, token),
            Request::Leave(request) => self.leave(now, request, token),
            Request::CommitOffsets(request) => self.commit_offsets(now, request, token),
            Request::FetchOffsets(request) => self.fetch_offsets(now, request, token),
            Request::DeleteOffsets(request) => self.delete_offsets(now, request, token),
            Request::DeleteGroups(groups) => self.delete_groups(now, groups, token),
        }
        self.run_due(now);
        std::mem::take(&mut self.effects)
    }

    /// Does what is due: sessions that are over, phases whose time is up.
    pub fn tick(&mut self, now: Now) -> Effects {
        self.run_due(now);
        std::mem::take(&mut self.effects)
    }

    /// When [`Shard::tick`] has something to do next, on the steady clock. None: never, as things are.
    pub fn next_deadline(&self) -> Option<i64> {
        self.timers.next_deadline()
    }

    /// The log has committed every write up to and including the one that ends at `end`.
    pub fn committed(&mut self, now: Now, end: i64) -> Effects {
        for batch in self.machine.committed(end) {
            for then in batch.replies {
                self.done(now, then, Ok(()));
            }
        }
        self.run_due(now);
        std::mem::take(&mut self.effects)
    }

    /// The log refused a write with this error. Everything handed out and not yet committed is void, for it was decided
    /// on top of that write; `end` is the log's end offset.
    ///
    /// Only for records that are certainly not in the log; when that is unknown, or the partition's leadership
    /// is gone, [`resign`](Shard::resign) and load again.
    pub fn failed(&mut self, now: Now, error: ErrorCode, end: i64) -> Effects {
        let error = append_error(error);
        // Backwards, as it is an undoing.
        for then in self.machine.failed(end).into_iter().rev() {
            self.done(now, then, Err(error));
        }
        self.run_due(now);
        std::mem::take(&mut self.effects)
    }

    /// This broker no longer coordinates the partition: answers everybody who waits.
    pub fn resign(mut self, now: Now, error: ErrorCode) -> Vec<(ReplyToken, Reply)> {
        for then in self.machine.failed(0) {
            match then {
                Then::Reply(token, reply) | Then::Emptied { answer: Some((token, reply)), .. } => {
                    self.effects.replies.push((token, reply.refused(error)));
                }
                Then::Deleted { token, results } => {
                    self.effects.replies.push((token, Reply::DeleteGroups(results).refused(error)));
                }
                Then::Fetch { token, request } => {
                    self.effects.replies.push((token, Request::FetchOffsets(request).refused(error)));
                }
                // Who waits for these is in the groups.
                Then::Nothing | Then::Assigned { .. } | Then::StaticReplaced { .. } | Then::Emptied { .. } => {}
            }
        }
        let effects = std::mem::take(&mut self.effects);
        let mut replies = effects.replies;
        replies.extend(self.release_waiting(now, error).replies);
        replies
    }

    /// Answers everybody who waits for other members, because this broker is about to stop. Nothing else changes.
    pub fn release_waiting(&mut self, now: Now, error: ErrorCode) -> Effects {
        let names: Vec<Arc<str>> = self.live.keys().cloned().collect();
        for name in names {
            self.in_group(&name, now, |group, ctx| group.resign(error, ctx));
        }
        std::mem::take(&mut self.effects)
    }

    /// What is committed.
    pub fn store(&self) -> &Store {
        self.machine.published()
    }

    /// Whether every write that was handed out is committed or void.
    pub fn is_idle(&self) -> bool {
        self.machine.is_idle()
    }

    /// Groups with members, and ids given out: what uses memory beside the store.
    pub fn live_groups(&self) -> usize {
        self.live.len()
    }

    /// The store with everything that is in flight.
    fn newest(&self) -> Store {
        self.machine.draft().state().clone()
    }

    fn reply(&mut self, token: ReplyToken, reply: Reply) {
        self.effects.replies.push((token, reply));
    }

    /// Puts records in flight; `then` follows their commit, or at once when there is nothing to wait for.
    fn write(&mut self, now: Now, changes: Vec<Change>, then: Then) {
        if changes.is_empty() && self.machine.is_idle() {
            return self.done(now, then, Ok(()));
        }
        let mut encoded = Vec::with_capacity(changes.len());
        for change in &changes {
            match records::encode(change) {
                Ok(Some(record)) if record.size() <= self.config.limits.record_bytes => encoded.push(record),
                // Kafka's answer to what does not fit into a batch.
                Ok(_) | Err(_) => return self.done(now, then, Err(ErrorCode::UnknownServerError)),
            }
        }
        let is_hasty = self.has(Bug::AnswerBeforeCommit) && matches!(then, Then::Reply(..))
            || self.has(Bug::AssignBeforeCommit) && matches!(then, Then::Assigned { .. });
        let then = match is_hasty {
            true => {
                self.done(now, then, Ok(()));
                Then::Nothing
            }
            false => then,
        };
        let mut draft = self.machine.draft();
        draft.push(Decision::new(changes, then));
        self.machine.submit(draft);
        if !encoded.is_empty() {
            let write = self.effects.write.get_or_insert_default();
            write.records.append(&mut encoded);
            write.end = self.machine.next_offset();
        }
    }

    /// Whether a test planted this.
    fn has(&self, bug: Bug) -> bool {
        planted::is(self.config.bug, bug)
    }

    /// Runs a step of a live group, and writes what the step asks for. None when the group is not live.
    fn step(
        &mut self,
        name: &Arc<str>,
        now: Now,
        step: impl FnOnce(&mut Group, &mut Context<'_>) -> Step,
    ) -> Option<()> {
        let step = self.in_group(name, now, step)?;
        self.follow(name, now, step, None);
        Some(())
    }

    fn in_group<R>(
        &mut self,
        name: &Arc<str>,
        now: Now,
        step: impl FnOnce(&mut Group, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let group = self.live.get_mut(name)?;
        let pending = group.pending_join.len();
        let (config, replies, timers) = (&self.config, &mut self.effects.replies, &mut self.timers);
        let outcome = step(group, &mut Context { now, config, replies, timers });
        self.pending_members = self.pending_members - pending + group.pending_join.len();
        Some(outcome)
    }

    /// Writes what a step asked for; `answer` is the reply to who asked for the step, held until then.
    fn follow(&mut self, name: &Arc<str>, now: Now, step: Step, answer: Option<(ReplyToken, Reply)>) {
        let Some(group) = self.live.get_mut(name) else { return };
        let (metadata, then) = match step {
            Step::Done => {
                self.effects.replies.extend(answer);
                return self.forget_if_unused(name);
            }
            Step::Emptied => (group.to_stored(|_| Arc::from([])), Then::Emptied { group: name.clone(), answer }),
            Step::Assigned(assignments) => {
                let none: Arc<[u8]> = Arc::from([]);
                let metadata =
                    Arc::new(group.to_stored(|member| assignments.get(&*member.id).unwrap_or(&none).clone()));
                let then = Then::Assigned { group: name.clone(), metadata: metadata.clone() };
                group.writes += 1;
                let change = Change::Group { group: name.clone(), value: Some(metadata) };
                return self.write(now, vec![change], then);
            }
            Step::StaticReplaced(replaced) => {
                let then = Then::StaticReplaced { group: name.clone(), replaced };
                (group.to_stored(|member| member.assignment.clone()), then)
            }
        };
        group.writes += 1;
        self.write(now, vec![Change::Group { group: name.clone(), value: Some(Arc::new(metadata)) }], then);
    }

    /// Records are committed, or void.
    fn done(&mut self, now: Now, then: Then, outcome: Result<(), ErrorCode>) {
        let settle = |reply: Reply| match outcome {
            Ok(()) => reply,
            Err(error) => reply.refused(error),
        };
        match then {
            Then::Nothing => {}
            Then::Reply(token, reply) => self.reply(token, settle(reply)),
            Then::Assigned { group, metadata } => {
                let assignment: BTreeMap<Arc<str>, Arc<[u8]>> = metadata
                    .members
                    .iter()
                    .map(|member| (member.member_id.clone(), member.assignment.clone()))
                    .collect();
                self.written(&group);
                self.step(&group, now, |live, ctx| {
                    live.assigned(metadata.generation, outcome.map(|()| &assignment), ctx)
                });
            }
            Then::StaticReplaced { group, replaced } => {
                self.written(&group);
                self.step(&group, now, |live, ctx| {
                    live.static_replaced(*replaced, outcome, ctx);
                    Step::Done
                });
            }
            Then::Emptied { group, answer } => {
                self.written(&group);
                if let Some((token, reply)) = answer {
                    self.reply(token, settle(reply));
                }
                self.forget_if_unused(&group);
            }
            Then::Deleted { token, results } => self.groups_deleted(token, results, outcome),
            Then::Fetch { token, request } => {
                let reply = match outcome {
                    Ok(()) => Reply::FetchOffsets(self.fetched(&request)),
                    Err(error) => Request::FetchOffsets(request).refused(error),
                };
                self.reply(token, reply);
            }
        }
    }

    fn written(&mut self, name: &Arc<str>) {
        if let Some(group) = self.live.get_mut(name) {
            group.writes = group.writes.saturating_sub(1);
        }
    }

    /// A group that nobody is in, nor about to join, needs no membership: the store has it.
    fn forget_if_unused(&mut self, name: &Arc<str>) {
        let Some(group) = self.live.get(name) else { return };
        let unused = group.state == GroupState::Empty && group.pending_join.is_empty() && group.writes == 0;
        // When the record of the empty generation could not be written, the log still has the members.
        let stored = || self.machine.published().group(name).and_then(|group| group.metadata.clone());
        if unused && stored().is_none_or(|metadata| metadata.members.is_empty()) {
            self.live.remove(name);
        }
    }

    fn run_due(&mut self, now: Now) {
        while let Some((deadline_ms, timer)) = self.timers.pop_due(now.steady_ms) {
            match timer {
                Timer::Join(name) => self.step(&name, now, |group, ctx| group.join_due(ctx)),
                Timer::Sync(name) => self.step(&name, now, |group, ctx| group.sync_due(ctx)),
                Timer::Session(name, member_id) => {
                    self.step(&name, now, |group, ctx| group.session_timer_due(&member_id, deadline_ms, ctx))
                }
            };
        }
    }
}

/// What a group's client is told when its records could not be appended.
fn append_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
            ErrorCode::CoordinatorNotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::UnknownServerError
        }
        other => other,
    }
}
