//! The phases of a group: members join a generation, the leader's assignment is handed out, and whatever changes the
//! membership begins again.
//!
//! ```text
//! Empty ──join──► PreparingRebalance ──all joined, or time is up──► CompletingRebalance ──assignment written──► Stable
//!   ▲                 │    ▲                                              │                                       │
//!   └── nobody left ──┘    └── join, leave, session over, no sync ────────┴───────────────────────────────────────┘
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use wire::ErrorCode;

use crate::group::{Context, Group, GroupState, InitialDelay};
use crate::member::{Member, metadata_bytes};
use crate::request::{
    HeartbeatRequest, JoinReply, JoinRequest, LeaveReply, LeaveRequest, Reply, ReplyToken, SyncReply, SyncRequest,
};

/// A new member does not know its id before the join phase ends, so it cannot send heartbeats: its client is given
/// this long to come back, as Kafka does.
const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1000;

/// The first version whose dynamic members must join with an id that they were given (KIP-394).
const MEMBER_ID_REQUIRED_VERSION: i16 = 4;

/// The first version that can tell a leader to skip the assignment (KIP-814).
const SKIP_ASSIGNMENT_VERSION: i16 = 9;

/// What a step asks to be written before it goes on.
#[derive(Debug)]
pub(crate) enum Step {
    Done,
    /// The group has become empty: its new generation.
    Emptied,
    /// The leader's assignment; members get theirs once it is written.
    Assigned(BTreeMap<String, Arc<[u8]>>),
    /// A static member of a stable group came back under a new id, which it gets once that is written.
    StaticReplaced(Box<StaticReplaced>),
}

/// A static member under its new id, and what to go back to when that cannot be written.
#[derive(Debug)]
pub(crate) struct StaticReplaced {
    pub generation: i32,
    pub member_id: Arc<str>,
    pub token: ReplyToken,
    old: Member,
    old_leader: Option<Arc<str>>,
    skip_assignment: bool,
}

impl Group {
    /// JoinGroup to a group that exists by now.
    pub fn join(&mut self, request: &JoinRequest, token: ReplyToken, ctx: &mut Context<'_>) -> Step {
        let refuse = |error, member_id: &str, ctx: &mut Context<'_>| {
            ctx.replies.push((token, Reply::Join(JoinReply::refused(error, member_id))));
            Step::Done
        };
        if !self.accepts(request, ctx) {
            self.evict(&request.member_id, ctx);
            refuse(ErrorCode::GroupMaxSizeReached, "", ctx);
            // The others need not wait for who is out.
            return self.complete_join_if_ready(ctx);
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return refuse(ErrorCode::InconsistentGroupProtocol, &request.member_id, ctx);
        }
        let instance_id = request.instance_id.as_deref();
        if !request.member_id.is_empty() {
            if instance_id.is_none() && self.take_pending(&request.member_id, ctx.timers) {
                return self.add(Arc::from(&*request.member_id), request, token, ctx);
            }
            return match self.validate_member(&request.member_id, instance_id) {
                Ok(()) => self.rejoin(request, token, ctx),
                Err(error) => refuse(error, &request.member_id, ctx),
            };
        }
        let member_id: Arc<str> = new_member_id(request).into();
        match instance_id {
            Some(instance_id) => match self.instances.get(instance_id).cloned() {
                Some(old_id) => self.rejoin_static(&old_id, &member_id, request, token, ctx),
                None => self.add(member_id, request, token, ctx),
            },
            None if request.version >= MEMBER_ID_REQUIRED_VERSION => {
                self.add_pending(member_id.clone(), i64::from(request.session_timeout_ms), ctx);
                refuse(ErrorCode::MemberIdRequired, &member_id, ctx)
            }
            None => self.add(member_id, request, token, ctx),
        }
    }

    /// Whether `group.max.size`, and the limits of our own, leave room for who joins. Members who are in may stay;
    /// while a rebalance is prepared those count who have joined it.
    fn accepts(&self, request: &JoinRequest, ctx: &Context<'_>) -> bool {
        let max_size = usize::try_from(ctx.config.max_size).unwrap_or(usize::MAX);
        let member = self.members.get(&*request.member_id);
        let in_size = match self.state {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                member.is_some_and(|member| member.awaiting_join.is_some()) || self.awaiting_join < max_size
            }
            GroupState::CompletingRebalance | GroupState::Stable => member.is_some() || self.members.len() < max_size,
        };
        let limits = &ctx.config.limits;
        let known = member.is_some() || self.pending_join.contains_key(&*request.member_id);
        let in_limits = known || self.members.len() + self.pending_join.len() < limits.members;
        let had = member.map_or(0, |member| metadata_bytes(&member.protocols));
        in_size && in_limits && self.metadata_bytes - had + metadata_bytes(&request.protocols) <= limits.metadata_bytes
    }

    fn add(&mut self, member_id: Arc<str>, request: &JoinRequest, token: ReplyToken, ctx: &mut Context<'_>) -> Step {
        if let Some(initial) = &mut self.initial {
            initial.new_member_added = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(Arc::from(&*request.protocol_type));
        }
        let mut member = Member::new(member_id.clone(), request);
        member.awaiting_join = Some(token);
        self.insert(member);
        self.expect_within(&member_id, NEW_MEMBER_JOIN_TIMEOUT_MS, ctx);
        self.rebalance_or_complete(ctx)
    }

    /// A member joins that is in the group.
    fn rejoin(&mut self, request: &JoinRequest, token: ReplyToken, ctx: &mut Context<'_>) -> Step {
        let member_id: Arc<str> = Arc::from(&*request.member_id);
        let unchanged = self.members.get(&member_id).is_some_and(|member| member.protocols == request.protocols);
        let again = match self.state {
            GroupState::PreparingRebalance => true,
            // It may have missed the answer to its join.
            GroupState::CompletingRebalance => !unchanged,
            // The leader may know of changes that members' metadata does not show: new partitions of a topic.
            GroupState::Stable => !unchanged || self.is_leader(&member_id),
            GroupState::Empty | GroupState::Dead => {
                let reply = JoinReply::refused(ErrorCode::UnknownMemberId, &member_id);
                ctx.replies.push((token, Reply::Join(reply)));
                return Step::Done;
            }
        };
        if again {
            self.update(request, &member_id, token, ctx);
            return self.rebalance_or_complete(ctx);
        }
        ctx.replies.push((token, Reply::Join(self.joined(&member_id))));
        Step::Done
    }

    /// A static member comes back without its id. In a stable group whose protocol stays the same nothing is
    /// rebalanced: it takes over the assignment of its former self.
    fn rejoin_static(
        &mut self,
        old_id: &str,
        member_id: &Arc<str>,
        request: &JoinRequest,
        token: ReplyToken,
        ctx: &mut Context<'_>,
    ) -> Step {
        let old_leader = self.leader.clone();
        let Some(old) = self.members.get(old_id).map(Member::at_rest) else { return Step::Done };
        self.replace_static(old_id, member_id, ctx);
        self.update(request, member_id, token, ctx);
        match self.state {
            GroupState::Stable if self.protocol == self.select_protocol() => {
                let skip_assignment = request.version >= SKIP_ASSIGNMENT_VERSION;
                let (generation, member_id) = (self.generation, member_id.clone());
                let replaced = StaticReplaced { generation, member_id, token, old, old_leader, skip_assignment };
                Step::StaticReplaced(Box::new(replaced))
            }
            GroupState::Stable => self.rebalance_or_complete(ctx),
            // The leader may have been told the old id: its assignment would miss the new one.
            GroupState::CompletingRebalance => self.prepare_rebalance(ctx),
            _ => self.complete_join_if_ready(ctx),
        }
    }

    /// The new id of a static member is written: it gets its answer. When that failed it goes by its old id again.
    /// Nothing when a rebalance has begun since: the member takes part in that.
    pub fn static_replaced(&mut self, done: StaticReplaced, outcome: Result<(), ErrorCode>, ctx: &mut Context<'_>) {
        let StaticReplaced { generation, member_id, token, old, old_leader, skip_assignment } = done;
        if self.state != GroupState::Stable || self.generation != generation {
            return;
        }
        if let Err(error) = outcome {
            self.answer_join(&member_id, JoinReply::refused(error, ""), ctx.replies);
            return self.put_back(&member_id, old, ctx);
        }
        if self.members.get(&member_id).is_none_or(|member| member.awaiting_join != Some(token)) {
            return;
        }
        let mut reply = self.joined(&member_id);
        if skip_assignment {
            reply.skip_assignment = self.is_leader(&member_id);
        } else {
            // An older client must not take itself for the leader, or it would compute an assignment that nobody wants.
            reply.leader = old_leader.unwrap_or_else(|| Arc::from(""));
            reply.members = Vec::new();
        }
        self.answer_join(&member_id, reply, ctx.replies);
    }

    /// After the membership changed.
    fn rebalance_or_complete(&mut self, ctx: &mut Context<'_>) -> Step {
        match self.state {
            GroupState::PreparingRebalance => self.complete_join_if_ready(ctx),
            GroupState::Dead => Step::Done,
            _ => self.prepare_rebalance(ctx),
        }
    }

    pub fn prepare_rebalance(&mut self, ctx: &mut Context<'_>) -> Step {
        if self.state == GroupState::CompletingRebalance {
            self.propagate(Err(ErrorCode::RebalanceInProgress), ctx);
        }
        self.pending_sync.clear();
        self.set_sync_deadline(None, ctx);
        let initial = self.state == GroupState::Empty;
        self.transition(GroupState::PreparingRebalance, ctx.now);
        if initial {
            let delay_ms = i64::from(ctx.config.initial_rebalance_delay_ms.max(0));
            let remaining_ms = (self.rebalance_timeout_ms() - delay_ms).max(0);
            self.initial = Some(InitialDelay { delay_ms, remaining_ms, new_member_added: false });
            self.set_join_deadline(Some(delay_ms), ctx);
            return Step::Done;
        }
        if self.has_all_joined() {
            return self.complete_join(ctx);
        }
        self.set_join_deadline(Some(self.rebalance_timeout_ms()), ctx);
        Step::Done
    }

    /// Ends the join phase when everybody is there; the first one of a group runs its time.
    fn complete_join_if_ready(&mut self, ctx: &mut Context<'_>) -> Step {
        let ready = self.state == GroupState::PreparingRebalance && self.initial.is_none() && self.has_all_joined();
        if ready { self.complete_join(ctx) } else { Step::Done }
    }

    /// The time of the join phase is up.
    pub fn join_due(&mut self, ctx: &mut Context<'_>) -> Step {
        if self.state != GroupState::PreparingRebalance {
            return Step::Done;
        }
        if let Some(initial) = &mut self.initial
            && initial.new_member_added
            && initial.remaining_ms != 0
        {
            let delay_ms = i64::from(ctx.config.initial_rebalance_delay_ms.max(0)).min(initial.remaining_ms);
            let remaining_ms = (initial.remaining_ms - initial.delay_ms).max(0);
            *initial = InitialDelay { delay_ms, remaining_ms, new_member_added: false };
            self.set_join_deadline(Some(delay_ms), ctx);
            return Step::Done;
        }
        self.complete_join(ctx)
    }

    /// Begins the next generation with those who have joined. Static members stay until their session is over.
    fn complete_join(&mut self, ctx: &mut Context<'_>) -> Step {
        self.set_join_deadline(None, ctx);
        let absent: Vec<Arc<str>> = self
            .members
            .values()
            .filter(|member| member.awaiting_join.is_none())
            .map(|member| member.id.clone())
            .collect();
        for id in absent {
            if self.members.get(&id).is_some_and(|member| member.instance_id.is_none()) {
                self.evict(&id, ctx);
            }
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members are left, and none of them came: their sessions will tell.
            self.set_join_deadline(Some(self.rebalance_timeout_ms().max(1)), ctx);
            return Step::Done;
        }
        self.initial = None;
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.protocol = self.select_protocol();
        self.subscribed = self.subscriptions();
        self.pending_sync.clear();
        if self.members.is_empty() {
            self.leader = None;
            self.transition(GroupState::Empty, ctx.now);
            return Step::Emptied;
        }
        self.transition(GroupState::CompletingRebalance, ctx.now);
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in &ids {
            let reply = self.joined(id);
            self.answer_join(id, reply, ctx.replies);
            self.expect_heartbeat(id, ctx);
            if let Some(member) = self.members.get_mut(id) {
                member.is_new = false;
            }
        }
        self.pending_sync.extend(ids);
        self.set_sync_deadline(Some(self.rebalance_timeout_ms()), ctx);
        Step::Done
    }

    /// The leader stays when it has joined, else somebody who has becomes it. False when nobody has.
    fn elect_joined_leader(&mut self) -> bool {
        let joined = |member: &Member| member.awaiting_join.is_some();
        if self.leader.as_ref().and_then(|leader| self.members.get(leader)).is_some_and(joined) {
            return true;
        }
        match self.members.values().find(|member| joined(member)) {
            Some(member) => {
                self.leader = Some(member.id.clone());
                true
            }
            None => false,
        }
    }

    pub fn sync(&mut self, request: SyncRequest, token: ReplyToken, ctx: &mut Context<'_>) -> Step {
        let member_id: Arc<str> = Arc::from(&*request.member_id);
        if let Err(error) = self.validate_sync(&request) {
            ctx.replies.push((token, Reply::Sync(SyncReply::refused(error))));
            return Step::Done;
        }
        self.pending_sync.remove(&member_id);
        if self.pending_sync.is_empty() {
            self.set_sync_deadline(None, ctx);
        }
        if self.state == GroupState::Stable {
            let reply = self.synced(&member_id);
            ctx.replies.push((token, Reply::Sync(reply)));
            return Step::Done;
        }
        self.answer_sync(&member_id, SyncReply::refused(ErrorCode::RebalanceInProgress), ctx.replies);
        if let Some(member) = self.members.get_mut(&member_id) {
            member.awaiting_sync = Some(token);
        }
        // The leader may ask again while its assignment is being written.
        if self.is_leader(&member_id) && self.syncing != Some(self.generation) {
            self.syncing = Some(self.generation);
            return Step::Assigned(request.assignments.into_iter().collect());
        }
        Step::Done
    }

    fn validate_sync(&self, request: &SyncRequest) -> Result<(), ErrorCode> {
        let differs = |asked: &Option<String>, have: &Option<Arc<str>>| match (asked, have) {
            (Some(asked), Some(have)) => **asked != **have,
            _ => false,
        };
        self.validate_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol, &self.protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            GroupState::CompletingRebalance | GroupState::Stable => Ok(()),
            GroupState::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            GroupState::Empty | GroupState::Dead => Err(ErrorCode::UnknownMemberId),
        }
    }

    fn synced(&self, member_id: &Arc<str>) -> SyncReply {
        let assignment = self.members.get(member_id).map(|member| member.assignment.clone());
        SyncReply {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: assignment.unwrap_or_else(|| Arc::from([])),
        }
    }

    /// The leader's assignment is written, or could not be. Nothing when the group has moved on since.
    pub fn assigned(
        &mut self,
        generation: i32,
        outcome: Result<&BTreeMap<Arc<str>, Arc<[u8]>>, ErrorCode>,
        ctx: &mut Context<'_>,
    ) -> Step {
        if self.syncing == Some(generation) {
            self.syncing = None;
        }
        if self.state != GroupState::CompletingRebalance || self.generation != generation {
            return Step::Done;
        }
        match outcome {
            Ok(assignment) => {
                self.propagate(Ok(assignment), ctx);
                self.transition(GroupState::Stable, ctx.now);
                Step::Done
            }
            Err(error) => {
                self.propagate(Err(error), ctx);
                self.prepare_rebalance(ctx)
            }
        }
    }

    fn propagate(&mut self, outcome: Result<&BTreeMap<Arc<str>, Arc<[u8]>>, ErrorCode>, ctx: &mut Context<'_>) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            if let Some(member) = self.members.get_mut(&id) {
                let assignment = outcome.ok().and_then(|assignment| assignment.get(&id));
                member.assignment = assignment.cloned().unwrap_or_else(|| Arc::from([]));
            }
            let reply = match outcome {
                Ok(_) => self.synced(&id),
                Err(error) => SyncReply::refused(error),
            };
            if self.answer_sync(&id, reply, ctx.replies) {
                self.expect_heartbeat(&id, ctx);
            }
        }
    }

    /// Members have not asked for their assignment in time.
    pub fn sync_due(&mut self, ctx: &mut Context<'_>) -> Step {
        let completing = matches!(self.state, GroupState::CompletingRebalance | GroupState::Stable);
        if !completing || self.pending_sync.is_empty() {
            return Step::Done;
        }
        for id in std::mem::take(&mut self.pending_sync) {
            self.evict(&id, ctx);
        }
        self.prepare_rebalance(ctx)
    }

    pub fn heartbeat(&mut self, request: &HeartbeatRequest, ctx: &mut Context<'_>) -> ErrorCode {
        if let Err(error) = self.validate_member(&request.member_id, request.instance_id.as_deref()) {
            return error;
        }
        if request.generation != self.generation {
            return ErrorCode::IllegalGeneration;
        }
        self.expect_heartbeat(&request.member_id, ctx);
        match self.state {
            GroupState::PreparingRebalance => ErrorCode::RebalanceInProgress,
            _ => ErrorCode::None,
        }
    }

    /// A session's timer, or that of an id nobody has joined with, went off.
    pub fn session_timer_due(&mut self, member_id: &str, deadline_ms: i64, ctx: &mut Context<'_>) -> Step {
        if self.pending_join.get(member_id) == Some(&deadline_ms) {
            self.pending_join.remove(member_id);
        } else if self.session_due(member_id, ctx) {
            self.evict(member_id, ctx);
            if matches!(self.state, GroupState::Stable | GroupState::CompletingRebalance) {
                return self.prepare_rebalance(ctx);
            }
        } else {
            return Step::Done;
        }
        if self.state == GroupState::PreparingRebalance && self.has_all_joined() {
            return self.complete_join(ctx);
        }
        Step::Done
    }

    pub fn leave(&mut self, request: LeaveRequest, ctx: &mut Context<'_>) -> (Step, LeaveReply) {
        let mut members = Vec::with_capacity(request.members.len());
        for leaving in request.members {
            let instance_id = leaving.instance_id.as_deref();
            let outcome = if leaving.member_id.is_empty() {
                let by_instance = instance_id.and_then(|instance_id| self.instances.get(instance_id)).cloned();
                by_instance.ok_or(ErrorCode::UnknownMemberId)
            } else if self.pending_join.contains_key(&*leaving.member_id) {
                Ok(Arc::from(&*leaving.member_id))
            } else {
                self.validate_member(&leaving.member_id, instance_id).map(|()| Arc::from(&*leaving.member_id))
            };
            let error = match outcome {
                Ok(member_id) => {
                    self.evict(&member_id, ctx);
                    ErrorCode::None
                }
                Err(error) => error,
            };
            members.push((leaving, error));
        }
        let step = match members.iter().any(|(_, error)| *error == ErrorCode::None) {
            true if self.state != GroupState::Empty => self.rebalance_or_complete(ctx),
            _ => Step::Done,
        };
        (step, LeaveReply { error: ErrorCode::None, members })
    }

    /// Takes a member out. What it waits for is answered so that a client that is still there joins again.
    fn evict(&mut self, member_id: &str, ctx: &mut Context<'_>) {
        self.answer_join(member_id, JoinReply::refused(ErrorCode::UnknownMemberId, ""), ctx.replies);
        self.answer_sync(member_id, SyncReply::refused(ErrorCode::UnknownMemberId), ctx.replies);
        self.remove(member_id, ctx.timers);
    }

    /// Answers everybody who waits: this is no longer the place to ask.
    pub fn resign(&mut self, error: ErrorCode, ctx: &mut Context<'_>) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            self.answer_join(&id, JoinReply::refused(error, &id), ctx.replies);
            self.answer_sync(&id, SyncReply::refused(error), ctx.replies);
        }
    }
}

/// The client's id, or the instance's for a static member, and chance: a version 4 UUID as Java writes it.
fn new_member_id(request: &JoinRequest) -> String {
    let mut bytes = request.random.0;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let mut id = String::from(request.instance_id.as_deref().unwrap_or(&request.client_id));
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 0 | 4 | 6 | 8 | 10) {
            id.push('-');
        }
        id.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        id.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    id
}
