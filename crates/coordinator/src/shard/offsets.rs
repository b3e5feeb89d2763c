//! OffsetCommit, OffsetFetch, OffsetDelete, and offsets of topics that are gone.

use std::sync::Arc;

use wire::{ErrorCode, Uuid};

use super::{Shard, Then};
use crate::Now;
use crate::group::{CONSUMER, GroupState};
use crate::planted::Bug;
use crate::request::{
    CommitReply, CommitReplyTopic, CommitRequest, DeleteOffsetsReply, DeleteOffsetsReplyTopic, DeleteOffsetsRequest,
    FetchReply, FetchReplyTopic, FetchRequest, FetchedOffset, Reply, ReplyToken,
};
use crate::store::{Change, CommittedOffset, GroupKind, OffsetKey, Store};

/// From here on a group that does not exist has an error of its own.
const GROUP_ID_NOT_FOUND_VERSION: i16 = 9;

impl Shard {
    pub(super) fn commit_offsets(&mut self, now: Now, request: CommitRequest, token: ReplyToken) {
        let newest = self.newest();
        let name = newest.group_name(&request.group_id);
        if let Err(error) = self.validate_commit(&newest, &name, &request) {
            return self.reply(token, Reply::CommitOffsets(request.refused(error)));
        }
        // A commit is a sign of life.
        self.in_group(&name, now, |group, ctx| {
            if matches!(group.state, GroupState::Stable | GroupState::PreparingRebalance) {
                group.expect_heartbeat(&request.member_id, ctx);
            }
        });
        let metadata_max = usize::try_from(self.config.offset_metadata_max_bytes).unwrap_or(0);
        let mut changes = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions {
                let metadata = partition.metadata.as_deref().filter(|metadata| !metadata.is_empty());
                if metadata.is_some_and(|metadata| metadata.encode_utf16().count() > metadata_max) {
                    partitions.push((partition.index, ErrorCode::OffsetMetadataTooLarge));
                    continue;
                }
                partitions.push((partition.index, ErrorCode::None));
                // The only version that has an expiry has neither epoch nor topic id.
                let expires = request.retention_ms != -1;
                let value = CommittedOffset {
                    offset: partition.offset,
                    leader_epoch: if expires { -1 } else { partition.leader_epoch },
                    metadata: metadata.map(Arc::from),
                    commit_timestamp_ms: now.wall_ms,
                    expire_timestamp_ms: if expires { now.wall_ms.saturating_add(request.retention_ms) } else { -1 },
                    topic_id: if expires { Uuid::ZERO } else { topic.id },
                    record_offset: -1,
                };
                let key = OffsetKey { group: name.clone(), topic: topic.name.clone(), partition: partition.index };
                changes.push(Change::Offset { key, value: Some(value) });
            }
            topics.push(CommitReplyTopic { name: topic.name, id: topic.id, partitions });
        }
        let reply = Reply::CommitOffsets(CommitReply { topics });
        match changes.is_empty() {
            true => self.reply(token, reply),
            false => self.write(now, changes, Then::Reply(token, reply)),
        }
    }

    fn validate_commit(&self, newest: &Store, name: &Arc<str>, request: &CommitRequest) -> Result<(), ErrorCode> {
        let simple = request.generation < 0;
        if let Some(group) = self.live.get(name)
            && group.state != GroupState::Empty
        {
            if !simple || !request.member_id.is_empty() || request.instance_id.is_some() {
                group.validate_member(&request.member_id, request.instance_id.as_deref())?;
                if request.generation != group.generation && !self.has(Bug::IgnoreGeneration) {
                    return Err(ErrorCode::IllegalGeneration);
                }
            } else {
                return Err(ErrorCode::UnknownMemberId);
            }
            return match group.state {
                // The client has the new generation, but its assignment is not out yet.
                GroupState::CompletingRebalance => Err(ErrorCode::RebalanceInProgress),
                _ => Ok(()),
            };
        }
        let Some(stored) = newest.group(name) else {
            if simple && name.len() > self.config.limits.name_bytes {
                return Err(ErrorCode::InvalidGroupId);
            }
            return match simple {
                true => Ok(()),
                false if self.live.contains_key(name) => Err(ErrorCode::UnknownMemberId),
                false if request.version >= GROUP_ID_NOT_FOUND_VERSION => Err(ErrorCode::GroupIdNotFound),
                false => Err(ErrorCode::IllegalGeneration),
            };
        };
        match &stored.foreign {
            Some(foreign) if foreign.kind == GroupKind::Share => Err(ErrorCode::GroupIdNotFound),
            Some(foreign) if !foreign.member_keys.is_empty() => Err(ErrorCode::UnknownMemberId),
            // Anybody may commit for a group that nobody is in, but not in the name of a member.
            _ if simple => Ok(()),
            _ => Err(ErrorCode::UnknownMemberId),
        }
    }

    pub(super) fn fetch_offsets(&mut self, now: Now, request: FetchRequest, token: ReplyToken) {
        if request.require_stable {
            return self.write(now, Vec::new(), Then::Fetch { token, request });
        }
        let reply = self.fetched(&request);
        self.reply(token, Reply::FetchOffsets(reply));
    }

    /// What is committed of what is asked for.
    pub(super) fn fetched(&self, request: &FetchRequest) -> FetchReply {
        let newest = self.has(Bug::ShowUncommittedOffsets).then(|| self.newest());
        let store = newest.as_ref().unwrap_or(self.machine.published());
        let name = store.group_name(&request.group_id);
        let topics = match &request.topics {
            Some(topics) => {
                let fetched = topics.iter().map(|topic| {
                    let mut key = OffsetKey { group: name.clone(), topic: topic.name.clone(), partition: 0 };
                    let partitions = topic.partitions.iter().map(|&index| {
                        key.partition = index;
                        let found = store.offset(&key).filter(|found| is_of_topic(found, topic.id));
                        fetched_offset(store, &key, found, request.require_stable)
                    });
                    FetchReplyTopic { name: topic.name.clone(), id: topic.id, partitions: partitions.collect() }
                });
                fetched.collect()
            }
            None => {
                let mut topics: Vec<FetchReplyTopic> = Vec::new();
                for (key, found) in store.offsets_of(&name) {
                    let fetched = fetched_offset(store, key, Some(found), request.require_stable);
                    match topics.last_mut() {
                        Some(topic) if topic.name == key.topic => topic.partitions.push(fetched),
                        _ => topics.push(FetchReplyTopic {
                            name: key.topic.clone(),
                            id: Uuid::ZERO,
                            partitions: vec![fetched],
                        }),
                    }
                }
                topics
            }
        };
        FetchReply { error: ErrorCode::None, topics }
    }

    pub(super) fn delete_offsets(&mut self, now: Now, request: DeleteOffsetsRequest, token: ReplyToken) {
        let newest = self.newest();
        let name = newest.group_name(&request.group_id);
        let refused = |error| Reply::DeleteOffsets(DeleteOffsetsReply { error, topics: Vec::new() });
        let live = self.live.get(&name).filter(|group| group.state != GroupState::Empty);
        let foreign = newest.group(&name).and_then(|group| group.foreign.as_ref());
        if live.is_none() && newest.group(&name).is_none() {
            return self.reply(token, refused(ErrorCode::GroupIdNotFound));
        }
        if live.is_some_and(|group| group.protocol_type.as_deref() != Some(CONSUMER))
            || foreign.is_some_and(|foreign| !foreign.member_keys.is_empty())
        {
            return self.reply(token, refused(ErrorCode::NonEmptyGroup));
        }
        let mut changes = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for (topic, partitions) in request.topics {
            let subscribed = live.is_some_and(|group| group.is_subscribed_to(&topic));
            let error = if subscribed { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
            for &partition in partitions.iter().filter(|_| !subscribed) {
                let key = OffsetKey { group: name.clone(), topic: topic.clone(), partition };
                if newest.offset(&key).is_some() || newest.is_pending(&key) {
                    changes.push(Change::Offset { key, value: None });
                }
            }
            let partitions = partitions.into_iter().map(|partition| (partition, error)).collect();
            topics.push(DeleteOffsetsReplyTopic { name: topic, partitions });
        }
        let reply = Reply::DeleteOffsets(DeleteOffsetsReply { error: ErrorCode::None, topics });
        self.write(now, changes, Then::Reply(token, reply));
    }

    /// A topic was deleted: so are the offsets that groups have committed for it.
    pub fn topic_deleted(&mut self, now: Now, topic: &str, id: Uuid) -> super::Effects {
        let newest = self.newest();
        let committed = newest
            .offsets()
            .chain(newest.pending())
            .filter(|(key, value)| &*key.topic == topic && is_of_topic(value, id))
            .map(|(key, _)| key.clone());
        let keys: std::collections::BTreeSet<OffsetKey> = committed.collect();
        let changes: Vec<Change> = keys.into_iter().map(|key| Change::Offset { key, value: None }).collect();
        if !changes.is_empty() {
            self.write(now, changes, Then::Nothing);
        }
        std::mem::take(&mut self.effects)
    }
}

/// Whether an offset was committed for the topic with this id; unknown ids match any.
fn is_of_topic(committed: &CommittedOffset, id: Uuid) -> bool {
    id.is_zero() || committed.topic_id.is_zero() || committed.topic_id == id
}

fn fetched_offset(store: &Store, key: &OffsetKey, found: Option<&CommittedOffset>, stable: bool) -> FetchedOffset {
    let nothing = |error| FetchedOffset { index: key.partition, offset: -1, leader_epoch: -1, metadata: None, error };
    if stable && store.is_pending(key) {
        return nothing(ErrorCode::UnstableOffsetCommit);
    }
    match found {
        Some(found) => FetchedOffset {
            index: key.partition,
            offset: found.offset,
            leader_epoch: found.leader_epoch,
            metadata: found.metadata.clone(),
            error: ErrorCode::None,
        },
        None => nothing(ErrorCode::None),
    }
}
