//! DescribeGroups, ListGroups, DeleteGroups.

use std::collections::BTreeSet;
use std::sync::Arc;

use wire::ErrorCode;

use super::{Shard, Then};
use crate::Now;
use crate::group::GroupState;
use crate::request::{Reply, ReplyToken};
use crate::store::{Change, GroupKind, OffsetKey, StoredGroup};

/// A group as DescribeGroups shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribedGroup {
    /// GROUP_ID_NOT_FOUND where there is no such group, or it is of another kind; older versions show state Dead
    /// without an error instead.
    pub error: ErrorCode,
    pub message: Option<String>,
    pub state: GroupState,
    pub protocol_type: Option<Arc<str>>,
    /// The chosen protocol of a stable group.
    pub protocol: Option<Arc<str>>,
    pub members: Vec<DescribedMember>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DescribedMember {
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    /// Empty unless the group is stable.
    pub metadata: Arc<[u8]>,
    /// Empty unless the group is stable.
    pub assignment: Arc<[u8]>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ListedGroup {
    pub group_id: Arc<str>,
    pub protocol_type: Arc<str>,
    pub state: GroupState,
    pub kind: GroupKind,
}

impl Shard {
    pub fn describe(&self, group_id: &str) -> DescribedGroup {
        let stored = self.machine.published().group(group_id);
        if let Some(group) = self.live.get(group_id) {
            let stable = group.state == GroupState::Stable;
            let nothing: Arc<[u8]> = Arc::from([]);
            let protocol = group.protocol.clone().filter(|_| stable);
            let members = group.members.values().map(|member| DescribedMember {
                member_id: member.id.clone(),
                instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                metadata: protocol
                    .as_deref()
                    .and_then(|protocol| member.metadata(protocol).cloned())
                    .unwrap_or_else(|| nothing.clone()),
                assignment: if stable { member.assignment.clone() } else { nothing.clone() },
            });
            return DescribedGroup {
                error: ErrorCode::None,
                message: None,
                state: group.state,
                protocol_type: group.protocol_type.clone(),
                protocol: protocol.clone(),
                members: members.collect(),
            };
        }
        let (error, message, state) = match stored {
            None => (ErrorCode::GroupIdNotFound, Some(format!("Group {group_id} not found.")), GroupState::Dead),
            Some(StoredGroup { foreign: Some(_), .. }) => {
                let message = format!("Group {group_id} is not a classic group.");
                (ErrorCode::GroupIdNotFound, Some(message), GroupState::Dead)
            }
            Some(_) => (ErrorCode::None, None, GroupState::Empty),
        };
        let metadata = stored.and_then(|group| group.metadata.as_ref()).filter(|_| error == ErrorCode::None);
        let protocol_type = metadata.and_then(|metadata| metadata.protocol_type.clone());
        DescribedGroup { error, message, state, protocol_type, protocol: None, members: Vec::new() }
    }

    /// Every group of the partition.
    pub fn list(&self) -> Vec<ListedGroup> {
        let live = self.live.values().map(|group| ListedGroup {
            group_id: group.id.clone(),
            protocol_type: group.protocol_type.clone().unwrap_or_else(|| Arc::from("")),
            state: group.state,
            kind: GroupKind::Classic,
        });
        let published = self.machine.published();
        let stored = published.groups().filter(|(name, _)| !self.live.contains_key(*name)).map(|(name, group)| {
            let (protocol_type, state, kind) = match (&group.foreign, &group.metadata) {
                (Some(foreign), _) => {
                    let state = if foreign.member_keys.is_empty() { GroupState::Empty } else { GroupState::Stable };
                    (Some(Arc::from(foreign.kind.protocol_type())), state, foreign.kind)
                }
                (None, Some(metadata)) => (metadata.protocol_type.clone(), GroupState::Empty, GroupKind::Classic),
                (None, None) => (None, GroupState::Empty, GroupKind::Classic),
            };
            let protocol_type = protocol_type.unwrap_or_else(|| Arc::from(""));
            ListedGroup { group_id: name.clone(), protocol_type, state, kind }
        });
        live.chain(stored).collect()
    }

    /// Deletes groups with their offsets, where nobody is in them.
    pub(super) fn delete_groups(&mut self, now: Now, groups: Vec<String>, token: ReplyToken) {
        let newest = self.newest();
        let mut changes = Vec::new();
        let mut results = Vec::with_capacity(groups.len());
        for group_id in groups {
            let name = newest.group_name(&group_id);
            let stored = newest.group(&name);
            let live = self.live.get(&name);
            let foreign = stored.and_then(|group| group.foreign.as_ref());
            let error = if live.is_some_and(|group| group.state != GroupState::Empty)
                || foreign.is_some_and(|foreign| !foreign.member_keys.is_empty())
            {
                ErrorCode::NonEmptyGroup
            } else if live.is_none() && stored.is_none() {
                ErrorCode::GroupIdNotFound
            } else {
                ErrorCode::None
            };
            if error == ErrorCode::None {
                let committed = newest.offsets_of(&name).map(|(key, _)| key.clone());
                let keys: BTreeSet<OffsetKey> = committed.chain(newest.pending_of(&name).cloned()).collect();
                changes.extend(keys.into_iter().map(|key| Change::Offset { key, value: None }));
                match foreign {
                    Some(foreign) => changes.extend(foreign.keys.iter().map(|key| Change::Foreign {
                        group: name.clone(),
                        kind: foreign.kind,
                        member: false,
                        key: key.clone(),
                        live: false,
                    })),
                    None => changes.push(Change::Group { group: name.clone(), value: None }),
                }
            }
            results.push((group_id, error));
        }
        self.write(now, changes, Then::Deleted { token, results });
    }

    pub(super) fn groups_deleted(
        &mut self,
        token: ReplyToken,
        results: Vec<(String, ErrorCode)>,
        outcome: Result<(), ErrorCode>,
    ) {
        let reply = Reply::DeleteGroups(results.clone());
        let Err(error) = outcome else {
            for (group_id, _) in results.iter().filter(|(_, error)| *error == ErrorCode::None) {
                self.forget_pending(group_id);
            }
            return self.reply(token, reply);
        };
        self.reply(token, reply.refused(error));
    }

    /// Ids that were given out for a deleted group are void, unless somebody has joined it since.
    fn forget_pending(&mut self, group_id: &str) {
        let unused = |group: &crate::group::Group| group.state == GroupState::Empty && group.writes == 0;
        if !self.live.get(group_id).is_some_and(unused) {
            return;
        }
        if let Some(mut group) = self.live.remove(group_id) {
            self.pending_members -= group.pending_join.len();
            group.disarm(&mut self.timers);
        }
    }
}
