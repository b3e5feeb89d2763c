//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup: what precedes the membership's own rules.

use std::sync::Arc;

use wire::ErrorCode;

use super::{Shard, Then};
use crate::Now;
use crate::group::Group;
use crate::request::{
    HeartbeatRequest, JoinReply, JoinRequest, LeaveReply, LeaveRequest, Reply, ReplyToken, SyncReply, SyncRequest,
};
use crate::store::{Change, GroupKind};

impl Shard {
    pub(super) fn join(&mut self, now: Now, mut request: JoinRequest, token: ReplyToken) {
        if request.rebalance_timeout_ms == -1 {
            request.rebalance_timeout_ms = request.session_timeout_ms;
        }
        if let Err((error, member_id)) = self.prepare_join(now, &request) {
            return self.reply(token, Reply::Join(JoinReply::refused(error, member_id)));
        }
        let newest = self.newest();
        let name = newest.group_name(&request.group_id);
        if !self.live.contains_key(&name) {
            let stored = newest.group(&name).and_then(|group| group.metadata.clone());
            let group = match stored {
                Some(metadata) => Group::from_stored(name.clone(), &metadata, now),
                None => Group::new(name.clone(), now),
            };
            self.live.insert(name.clone(), group);
        }
        self.step(&name, now, |group, ctx| group.join(&request, token, ctx));
    }

    /// What is checked before there is a group to join. The error comes with the member id to answer.
    fn prepare_join<'r>(&mut self, now: Now, request: &'r JoinRequest) -> Result<(), (ErrorCode, &'r str)> {
        let limits = &self.config.limits;
        let member_id = &*request.member_id;
        if request.group_id.len() > limits.name_bytes {
            return Err((ErrorCode::InvalidGroupId, member_id));
        }
        let session = self.config.min_session_timeout_ms..=self.config.max_session_timeout_ms;
        if !session.contains(&request.session_timeout_ms) {
            return Err((ErrorCode::InvalidSessionTimeout, member_id));
        }
        let too_long = |name: &str| name.len() > limits.name_bytes;
        if too_long(member_id)
            // It becomes a part of the member's id, which all members are told.
            || too_long(&request.client_id)
            || request.instance_id.as_deref().is_some_and(too_long)
            || too_long(&request.protocol_type)
            || request.protocols.iter().any(|protocol| too_long(&protocol.name))
            || request.protocols.len() > limits.protocols
        {
            return Err((ErrorCode::InvalidRequest, member_id));
        }
        if member_id.is_empty() && self.pending_members >= limits.pending_members {
            return Err((ErrorCode::GroupMaxSizeReached, member_id));
        }
        let newest = self.newest();
        let stored = newest.group(&request.group_id);
        if let Some(foreign) = stored.and_then(|group| group.foreign.as_ref()) {
            // An empty consumer group may be taken over by the classic protocol, as in Kafka; no other.
            if foreign.kind != GroupKind::Consumer || !foreign.member_keys.is_empty() {
                return Err((ErrorCode::InconsistentGroupProtocol, ""));
            }
            if member_id.is_empty() {
                let name = newest.group_name(&request.group_id);
                let tombstones = foreign.keys.iter().map(|key| Change::Foreign {
                    group: name.clone(),
                    kind: foreign.kind,
                    member: false,
                    key: key.clone(),
                    live: false,
                });
                self.write(now, tombstones.collect(), Then::Nothing);
            }
        }
        let exists = self.live.contains_key(&*request.group_id)
            || stored.is_some_and(|group| group.foreign.is_none() || member_id.is_empty());
        if !exists && !member_id.is_empty() {
            return Err((ErrorCode::UnknownMemberId, member_id));
        }
        Ok(())
    }

    pub(super) fn sync(&mut self, now: Now, request: SyncRequest, token: ReplyToken) {
        let name: Arc<str> = Arc::from(&*request.group_id);
        if self.step(&name, now, |group, ctx| group.sync(request, token, ctx)).is_none() {
            self.reply(token, Reply::Sync(SyncReply::refused(ErrorCode::UnknownMemberId)));
        }
    }

    pub(super) fn heartbeat(&mut self, now: Now, request: &HeartbeatRequest, token: ReplyToken) {
        let name: Arc<str> = Arc::from(&*request.group_id);
        let answer = self.in_group(&name, now, |group, ctx| group.heartbeat(request, ctx));
        self.reply(token, Reply::Heartbeat(answer.unwrap_or(ErrorCode::UnknownMemberId)));
    }

    pub(super) fn leave(&mut self, now: Now, request: LeaveRequest, token: ReplyToken) {
        let name: Arc<str> = Arc::from(&*request.group_id);
        if !self.live.contains_key(&name) {
            let members = request.members.into_iter().map(|member| (member, ErrorCode::UnknownMemberId)).collect();
            return self.reply(token, Reply::Leave(LeaveReply { error: ErrorCode::None, members }));
        }
        if let Some((step, reply)) = self.in_group(&name, now, |group, ctx| group.leave(request, ctx)) {
            self.follow(&name, now, step, Some((token, Reply::Leave(reply))));
        }
    }
}
