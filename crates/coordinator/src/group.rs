//! The membership of one group while somebody uses it: who is in, who waits for what, since when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wire::ErrorCode;

use crate::member::{Member, metadata_bytes};
use crate::request::{JoinReply, JoinRequest, JoinedMember, Protocol, Reply, ReplyToken, SyncReply};
use crate::store::{GroupMetadata, MemberMetadata};
use crate::timers::{Timer, Timers};
use crate::{Config, Now};

/// The protocol type of consumers; only of these the coordinator knows what they subscribe.
pub(crate) const CONSUMER: &str = "consumer";

/// Where a classic group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupState {
    /// Nobody is in it; offsets may be.
    Empty,
    /// Members are asked to join the next generation.
    PreparingRebalance,
    /// The leader is asked for the assignment.
    CompletingRebalance,
    Stable,
    /// There is no such group.
    Dead,
}

impl GroupState {
    /// Kafka's name of the state.
    pub fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
        }
    }
}

/// What a step of a group may use: the time, the settings, and where replies and deadlines go.
pub(crate) struct Context<'a> {
    pub now: Now,
    pub config: &'a Config,
    pub replies: &'a mut Vec<(ReplyToken, Reply)>,
    pub timers: &'a mut Timers,
}

/// How long the first rebalance of an empty group may still be put off for members who come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InitialDelay {
    pub delay_ms: i64,
    pub remaining_ms: i64,
    pub new_member_added: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub id: Arc<str>,
    pub state: GroupState,
    /// When it came into the state, milliseconds since the epoch.
    pub state_timestamp_ms: i64,
    /// Set while the rebalance that began in state Empty is on.
    pub initial: Option<InitialDelay>,
    pub protocol_type: Option<Arc<str>>,
    pub protocol: Option<Arc<str>>,
    pub generation: i32,
    pub leader: Option<Arc<str>>,
    pub members: BTreeMap<Arc<str>, Member>,
    /// Static members: instance id to member id.
    pub instances: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids given out, to join with until the deadline.
    pub pending_join: BTreeMap<Arc<str>, i64>,
    /// Members that have not synchronised in this generation.
    pub pending_sync: BTreeSet<Arc<str>>,
    pub awaiting_join: usize,
    /// How many members offer each protocol.
    supported: BTreeMap<Arc<str>, usize>,
    pub metadata_bytes: usize,
    /// What consumers of this generation subscribe; None when it cannot be told.
    pub subscribed: Option<BTreeSet<String>>,
    join_deadline_ms: Option<i64>,
    sync_deadline_ms: Option<i64>,
    /// Records in flight that this membership waits for; it must not be forgotten before.
    pub writes: usize,
    /// The generation whose assignment is being written.
    pub syncing: Option<i32>,
}

impl Group {
    pub fn new(id: Arc<str>, now: Now) -> Self {
        Group {
            id,
            state: GroupState::Empty,
            state_timestamp_ms: now.wall_ms,
            initial: None,
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending_join: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            awaiting_join: 0,
            supported: BTreeMap::new(),
            metadata_bytes: 0,
            subscribed: None,
            join_deadline_ms: None,
            sync_deadline_ms: None,
            writes: 0,
            syncing: None,
        }
    }

    /// The group as the log left it: stable when it has members, whose sessions begin anew once they are
    /// [watched](Group::expect_heartbeat).
    pub fn from_stored(id: Arc<str>, stored: &GroupMetadata, now: Now) -> Self {
        let mut group = Group::new(id, now);
        group.protocol_type = stored.protocol_type.clone();
        group.protocol = stored.protocol.clone();
        group.generation = stored.generation;
        group.state_timestamp_ms = stored.state_timestamp_ms;
        let protocol = stored.protocol.clone().unwrap_or_else(|| Arc::from(""));
        for stored in &stored.members {
            group.insert(Member::from_stored(stored, &protocol));
        }
        if !group.members.is_empty() {
            group.state = GroupState::Stable;
            let leader = stored.leader.clone().filter(|leader| group.members.contains_key(leader));
            group.leader = leader.or_else(|| group.members.keys().next().cloned());
        }
        group.subscribed = group.subscriptions();
        group
    }

    /// The record of this generation with these assignments.
    pub fn to_stored(&self, assignment: impl Fn(&Member) -> Arc<[u8]>) -> GroupMetadata {
        let protocol = self.protocol.as_deref().unwrap_or("");
        let members = self.members.values().map(|member| MemberMetadata {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(protocol).cloned().unwrap_or_else(|| Arc::from([])),
            assignment: assignment(member),
        });
        GroupMetadata {
            protocol_type: self.protocol_type.clone(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_timestamp_ms: self.state_timestamp_ms,
            members: members.collect(),
        }
    }

    pub fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    pub fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Whether offsets of this topic are in use. Nobody knows about consumers whose subscription cannot be read.
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    pub fn transition(&mut self, state: GroupState, now: Now) {
        self.state = state;
        self.state_timestamp_ms = now.wall_ms;
    }

    /// Whether everybody who is known has asked to join.
    pub fn has_all_joined(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending_join.is_empty()
    }

    pub fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|member| i64::from(member.rebalance_timeout_ms)).max().unwrap_or(0).max(0)
    }

    /// Whether a request in a member's name comes from that member: static members by both ids.
    pub fn validate_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.instances.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(existing) if &**existing != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Whether somebody with these protocols can be a member beside those who are.
    pub fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == GroupState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|offered| self.is_supported_by_all(&offered.name))
    }

    fn is_supported_by_all(&self, protocol: &str) -> bool {
        self.supported.get(protocol).copied().unwrap_or(0) == self.members.len()
    }

    /// The protocol of the next generation: each member votes for the first of its own that all support. A draw goes
    /// to the leader's wish.
    pub fn select_protocol(&self) -> Option<Arc<str>> {
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(vote) = member.protocols.iter().find(|offered| self.is_supported_by_all(&offered.name)) {
                *votes.entry(&vote.name).or_default() += 1;
            }
        }
        let most = votes.values().max()?;
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader));
        let wish =
            |name: &str| leader.and_then(|leader| leader.protocols.iter().position(|offered| &*offered.name == name));
        let chosen = votes.iter().filter(|(_, count)| *count == most);
        chosen.min_by_key(|(name, _)| wish(name).unwrap_or(usize::MAX)).map(|(name, _)| (*name).clone())
    }

    fn count_protocols(&mut self, protocols: &[Protocol], add: bool) {
        // A protocol offered twice counts once, or it would never match the number of members.
        let names: BTreeSet<&Arc<str>> = protocols.iter().map(|offered| &offered.name).collect();
        for name in names {
            let count = self.supported.entry(name.clone()).or_default();
            *count = if add { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                self.supported.remove(name);
            }
        }
    }

    pub fn insert(&mut self, member: Member) {
        // Only a record that Kafka did not write names a member twice.
        if let Some(former) = self.members.remove(&member.id) {
            self.count_protocols(&former.protocols, false);
            self.metadata_bytes -= former.metadata_bytes();
        }
        if let Some(instance_id) = &member.instance_id {
            self.instances.insert(instance_id.clone(), member.id.clone());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.metadata_bytes += member.metadata_bytes();
        self.count_protocols(&member.protocols, true);
        self.awaiting_join += usize::from(member.awaiting_join.is_some());
        self.members.insert(member.id.clone(), member);
    }

    /// Gives out an id to join with.
    pub fn add_pending(&mut self, member_id: Arc<str>, within_ms: i64, ctx: &mut Context<'_>) {
        let deadline_ms = ctx.now.steady_ms.saturating_add(within_ms.max(1));
        ctx.timers.arm(deadline_ms, Timer::Session(self.id.clone(), member_id.clone()));
        self.pending_join.insert(member_id, deadline_ms);
    }

    /// Takes back an id that was given out. False when it was not.
    pub fn take_pending(&mut self, member_id: &str, timers: &mut Timers) -> bool {
        let Some((id, deadline_ms)) = self.pending_join.remove_entry(member_id) else { return false };
        timers.disarm(deadline_ms, Timer::Session(self.id.clone(), id));
        true
    }

    /// Takes out a member, or an id that was given out. Who waits is the caller's to answer first.
    pub fn remove(&mut self, member_id: &str, timers: &mut Timers) -> Option<Member> {
        self.take_pending(member_id, timers);
        self.pending_sync.remove(member_id);
        let mut member = self.members.remove(member_id)?;
        self.disarm_session(&mut member, timers);
        self.count_protocols(&member.protocols, false);
        self.metadata_bytes -= member.metadata_bytes();
        self.awaiting_join -= usize::from(member.awaiting_join.is_some());
        if let Some(instance_id) = &member.instance_id {
            self.instances.remove(instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Takes over what a member says about itself when it joins again.
    pub fn update(&mut self, request: &JoinRequest, member_id: &str, token: ReplyToken, ctx: &mut Context<'_>) {
        self.answer_join(member_id, JoinReply::refused(ErrorCode::RebalanceInProgress, member_id), ctx.replies);
        let Some(member) = self.members.get_mut(member_id) else { return };
        let old = std::mem::replace(&mut member.protocols, request.protocols.clone());
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        member.session_timeout_ms = request.session_timeout_ms;
        member.awaiting_join = Some(token);
        self.awaiting_join += 1;
        self.metadata_bytes = self.metadata_bytes - metadata_bytes(&old) + metadata_bytes(&request.protocols);
        self.count_protocols(&old, false);
        self.count_protocols(&request.protocols, true);
    }

    /// Gives a static member a new member id. Whoever used the old id is fenced.
    pub fn replace_static(&mut self, old_id: &str, new_id: &Arc<str>, ctx: &mut Context<'_>) {
        self.answer_join(old_id, JoinReply::refused(ErrorCode::FencedInstanceId, old_id), ctx.replies);
        self.answer_sync(old_id, SyncReply::refused(ErrorCode::FencedInstanceId), ctx.replies);
        if let Some(old) = self.members.get(old_id).map(Member::at_rest) {
            self.put_back(old_id, Member { id: new_id.clone(), is_new: false, ..old }, ctx);
        }
    }

    /// Puts `member` in the place of another, which waits for nothing.
    pub fn put_back(&mut self, instead_of: &str, member: Member, ctx: &mut Context<'_>) {
        let was_leader = self.is_leader(instead_of);
        let was_pending = self.pending_sync.contains(instead_of);
        if self.remove(instead_of, ctx.timers).is_none() {
            return;
        }
        let id = member.id.clone();
        if was_leader {
            self.leader = Some(id.clone());
        }
        if was_pending {
            self.pending_sync.insert(id.clone());
        }
        self.insert(member);
        self.expect_heartbeat(&id, ctx);
    }

    /// Answers a member that waits for the join phase to end. False when it does not.
    pub fn answer_join(&mut self, member_id: &str, reply: JoinReply, replies: &mut Vec<(ReplyToken, Reply)>) -> bool {
        let Some(token) = self.members.get_mut(member_id).and_then(|member| member.awaiting_join.take()) else {
            return false;
        };
        self.awaiting_join -= 1;
        replies.push((token, Reply::Join(reply)));
        true
    }

    /// Answers a member that waits for its assignment. False when it does not.
    pub fn answer_sync(&mut self, member_id: &str, reply: SyncReply, replies: &mut Vec<(ReplyToken, Reply)>) -> bool {
        let Some(token) = self.members.get_mut(member_id).and_then(|member| member.awaiting_sync.take()) else {
            return false;
        };
        replies.push((token, Reply::Sync(reply)));
        true
    }

    /// A member's answer to a join: the current generation, and for the leader who is in it.
    pub fn joined(&self, member_id: &Arc<str>) -> JoinReply {
        let members = if self.is_leader(member_id) { self.joined_members() } else { Vec::new() };
        JoinReply {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_else(|| Arc::from("")),
            skip_assignment: false,
            member_id: member_id.clone(),
            members,
        }
    }

    fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or("");
        let members = self.members.values().map(|member| JoinedMember {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol).cloned().unwrap_or_else(|| Arc::from([])),
        });
        members.collect()
    }

    /// The session begins anew.
    pub fn expect_heartbeat(&mut self, member_id: &str, ctx: &mut Context<'_>) {
        let timeout_ms = self.members.get(member_id).map(|member| i64::from(member.session_timeout_ms));
        if let Some(timeout_ms) = timeout_ms {
            self.expect_within(member_id, timeout_ms, ctx);
        }
    }

    pub fn expect_within(&mut self, member_id: &str, timeout_ms: i64, ctx: &mut Context<'_>) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        let deadline_ms = ctx.now.steady_ms.saturating_add(timeout_ms.max(1));
        member.deadline_ms = Some(deadline_ms);
        if member.armed_ms.is_some_and(|armed_ms| armed_ms <= deadline_ms) {
            return;
        }
        let timer = Timer::Session(self.id.clone(), member.id.clone());
        if let Some(armed_ms) = member.armed_ms {
            ctx.timers.disarm(armed_ms, timer.clone());
        }
        member.armed_ms = Some(deadline_ms);
        ctx.timers.arm(deadline_ms, timer);
    }

    /// A session's timer went off. True when the session is over; else it was set again or is not needed.
    pub fn session_due(&mut self, member_id: &str, ctx: &mut Context<'_>) -> bool {
        let Some(member) = self.members.get_mut(member_id) else { return false };
        member.armed_ms = None;
        match member.deadline_ms {
            Some(deadline_ms) if deadline_ms > ctx.now.steady_ms => {
                member.armed_ms = Some(deadline_ms);
                ctx.timers.arm(deadline_ms, Timer::Session(self.id.clone(), member.id.clone()));
                false
            }
            Some(_) => {
                member.deadline_ms = None;
                !member.may_be_silent()
            }
            None => false,
        }
    }

    fn disarm_session(&self, member: &mut Member, timers: &mut Timers) {
        member.deadline_ms = None;
        if let Some(armed_ms) = member.armed_ms.take() {
            timers.disarm(armed_ms, Timer::Session(self.id.clone(), member.id.clone()));
        }
    }

    pub fn set_join_deadline(&mut self, in_ms: Option<i64>, ctx: &mut Context<'_>) {
        let timer = Timer::Join(self.id.clone());
        let deadline_ms = in_ms.map(|in_ms| ctx.now.steady_ms.saturating_add(in_ms));
        move_timer(&mut self.join_deadline_ms, deadline_ms, timer, ctx.timers);
    }

    pub fn set_sync_deadline(&mut self, in_ms: Option<i64>, ctx: &mut Context<'_>) {
        let timer = Timer::Sync(self.id.clone());
        let deadline_ms = in_ms.map(|in_ms| ctx.now.steady_ms.saturating_add(in_ms));
        move_timer(&mut self.sync_deadline_ms, deadline_ms, timer, ctx.timers);
    }

    /// Takes away every timer, before the group is forgotten.
    pub fn disarm(&mut self, timers: &mut Timers) {
        move_timer(&mut self.join_deadline_ms, None, Timer::Join(self.id.clone()), timers);
        move_timer(&mut self.sync_deadline_ms, None, Timer::Sync(self.id.clone()), timers);
        let ids: Vec<Arc<str>> = self.members.keys().chain(self.pending_join.keys()).cloned().collect();
        for id in ids {
            self.remove(&id, timers);
        }
    }

    /// The topics that the members of this generation subscribe, where they speak the consumer protocol.
    pub fn subscriptions(&self) -> Option<BTreeSet<String>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            crate::records::subscribed_topics(member.metadata(protocol)?, &mut topics)?;
        }
        Some(topics)
    }
}

fn move_timer(slot: &mut Option<i64>, deadline_ms: Option<i64>, timer: Timer, timers: &mut Timers) {
    if let Some(old) = slot.take() {
        timers.disarm(old, timer.clone());
    }
    if let Some(deadline_ms) = deadline_ms {
        timers.arm(deadline_ms, timer);
        *slot = Some(deadline_ms);
    }
}
