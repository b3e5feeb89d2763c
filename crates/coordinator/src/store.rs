//! What the log says: groups, committed offsets, and offsets whose transaction is open.
//!
//! Only [`Store::apply`] changes it, with a [`Change`] decoded from a record or about to become one, so replaying the
//! log gives the same store. The maps are persistent: a copy costs nothing.

use std::convert::Infallible;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use metadata::machine::State;
use wire::Uuid;

/// The protocol that a group's members speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupKind {
    Classic,
    Consumer,
    Share,
    Streams,
}

impl GroupKind {
    /// As ListGroups names it.
    pub fn name(self) -> &'static str {
        match self {
            GroupKind::Classic => "classic",
            GroupKind::Consumer => "consumer",
            GroupKind::Share => "share",
            GroupKind::Streams => "streams",
        }
    }

    /// The protocol type of a group of another kind than classic.
    pub(crate) fn protocol_type(self) -> &'static str {
        match self {
            GroupKind::Classic => "",
            GroupKind::Consumer => "consumer",
            GroupKind::Share => "share",
            GroupKind::Streams => "streams",
        }
    }
}

/// An offset that a group has committed.
#[derive(Clone, Debug, PartialEq)]
pub struct CommittedOffset {
    pub offset: i64,
    /// -1 for none.
    pub leader_epoch: i32,
    /// None for the empty string.
    pub metadata: Option<Arc<str>>,
    /// Milliseconds since the epoch.
    pub commit_timestamp_ms: i64,
    /// -1: when the broker's retention says.
    pub expire_timestamp_ms: i64,
    /// The topic's id at the time of the commit, zero where unknown (records before version 4).
    pub topic_id: Uuid,
    /// Where the record is in the log.
    pub record_offset: i64,
}

/// A generation of a classic group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupMetadata {
    /// None before the first member.
    pub protocol_type: Option<Arc<str>>,
    pub generation: i32,
    pub protocol: Option<Arc<str>>,
    pub leader: Option<Arc<str>>,
    /// When the group came into its state, milliseconds since the epoch, -1 where unknown.
    pub state_timestamp_ms: i64,
    /// Ascending by member id.
    pub members: Vec<MemberMetadata>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct MemberMetadata {
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    /// The metadata of the group's protocol.
    pub subscription: Arc<[u8]>,
    pub assignment: Arc<[u8]>,
}

/// One record, decoded; or the end of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A commit, or its tombstone.
    Offset {
        key: OffsetKey,
        value: Option<CommittedOffset>,
    },
    /// A commit that counts when its transaction does.
    PendingOffset {
        producer_id: i64,
        key: OffsetKey,
        value: CommittedOffset,
    },
    TransactionEnd {
        producer_id: i64,
        committed: bool,
    },
    /// A classic group's generation, or the end of the group.
    Group {
        group: Arc<str>,
        value: Option<Arc<GroupMetadata>>,
    },
    /// A record of another kind of group: only its key is kept.
    Foreign {
        group: Arc<str>,
        kind: GroupKind,
        member: bool,
        key: Arc<[u8]>,
        live: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OffsetKey {
    pub group: Arc<str>,
    pub topic: Arc<str>,
    pub partition: i32,
}

/// A group of a kind that is not served: the records it has, and which of them are members.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignGroup {
    pub kind: GroupKind,
    pub keys: OrdSet<Arc<[u8]>>,
    pub member_keys: OrdSet<Arc<[u8]>>,
}

/// A group as the log has it. With neither metadata nor foreign records it only holds offsets (a simple group).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredGroup {
    pub metadata: Option<Arc<GroupMetadata>>,
    pub foreign: Option<ForeignGroup>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Store {
    groups: OrdMap<Arc<str>, Arc<StoredGroup>>,
    offsets: OrdMap<OffsetKey, CommittedOffset>,
    /// By producer id.
    pending: OrdMap<(i64, OffsetKey), CommittedOffset>,
    /// Who has the offset in an open transaction.
    pending_keys: OrdMap<OffsetKey, OrdSet<i64>>,
}

impl Store {
    pub fn group(&self, group_id: &str) -> Option<&StoredGroup> {
        self.groups.get(group_id).map(|group| &**group)
    }

    /// The name of a group as the store holds it, to share instead of copy.
    pub fn group_name(&self, group_id: &str) -> Arc<str> {
        self.groups.get_key_value(group_id).map_or_else(|| Arc::from(group_id), |(name, _)| name.clone())
    }

    pub fn groups(&self) -> impl Iterator<Item = (&Arc<str>, &StoredGroup)> {
        self.groups.iter().map(|(name, group)| (name, &**group))
    }

    pub fn offset(&self, key: &OffsetKey) -> Option<&CommittedOffset> {
        self.offsets.get(key)
    }

    /// The offsets of one group, ascending by topic and partition.
    pub fn offsets_of(&self, group: &Arc<str>) -> impl Iterator<Item = (&OffsetKey, &CommittedOffset)> {
        let group = group.clone();
        self.offsets.range(first_key(&group)..).take_while(move |(key, _)| key.group == group)
    }

    /// The offsets of one group that wait for a transaction to end.
    pub fn pending_of(&self, group: &Arc<str>) -> impl Iterator<Item = &OffsetKey> {
        let group = group.clone();
        self.pending_keys.range(first_key(&group)..).map(|(key, _)| key).take_while(move |key| key.group == group)
    }

    pub fn is_pending(&self, key: &OffsetKey) -> bool {
        !self.pending_keys.is_empty() && self.pending_keys.contains_key(key)
    }

    /// All committed offsets.
    pub fn offsets(&self) -> impl Iterator<Item = (&OffsetKey, &CommittedOffset)> {
        self.offsets.iter()
    }

    /// All offsets that wait for a transaction to end; one several times when several transactions hold it.
    pub fn pending(&self) -> impl Iterator<Item = (&OffsetKey, &CommittedOffset)> {
        self.pending.iter().map(|((_, key), value)| (key, value))
    }

    fn group_mut(&mut self, group: &Arc<str>) -> &mut StoredGroup {
        if !self.groups.contains_key(group) {
            self.groups.insert(group.clone(), Arc::default());
        }
        match self.groups.get_mut(group) {
            Some(stored) => Arc::make_mut(stored),
            None => unreachable!("inserted above"),
        }
    }

    /// A group that has nothing left is gone.
    fn drop_if_bare(&mut self, group: &Arc<str>) {
        let bare = self.groups.get(group).is_some_and(|stored| stored.metadata.is_none() && stored.foreign.is_none());
        if bare && self.offsets_of(group).next().is_none() && self.pending_of(group).next().is_none() {
            self.groups.remove(group);
        }
    }

    fn remove_offset(&mut self, key: &OffsetKey) {
        self.offsets.remove(key);
        for producer_id in self.pending_keys.remove(key).into_iter().flatten() {
            self.pending.remove(&(producer_id, key.clone()));
        }
    }

    fn end_transaction(&mut self, producer_id: i64, committed: bool) {
        let first = (producer_id, first_key(&Arc::from("")));
        let ended: Vec<(OffsetKey, CommittedOffset)> = self
            .pending
            .range(first..)
            .take_while(|((producer, _), _)| *producer == producer_id)
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect();
        for (key, value) in ended {
            if let Some(producers) = self.pending_keys.get_mut(&key) {
                producers.remove(&producer_id);
                if producers.is_empty() {
                    self.pending_keys.remove(&key);
                }
            }
            self.pending.remove(&(producer_id, key.clone()));
            // A commit outside the transaction that came later than the transaction's stays.
            let newer = self.offsets.get(&key).is_none_or(|existing| value.record_offset > existing.record_offset);
            if committed && newer {
                self.offsets.insert(key, value);
            }
        }
    }

    fn apply_foreign(&mut self, group: &Arc<str>, kind: GroupKind, member: bool, key: &Arc<[u8]>, live: bool) {
        if live {
            let foreign = self.group_mut(group).foreign.get_or_insert_with(|| ForeignGroup {
                kind,
                keys: OrdSet::new(),
                member_keys: OrdSet::new(),
            });
            foreign.kind = kind;
            foreign.keys.insert(key.clone());
            if member {
                foreign.member_keys.insert(key.clone());
            }
            return;
        }
        if self.groups.get(group).is_none_or(|stored| stored.foreign.is_none()) {
            return;
        }
        let stored = self.group_mut(group);
        if let Some(foreign) = &mut stored.foreign {
            foreign.keys.remove(key);
            foreign.member_keys.remove(key);
            if foreign.keys.is_empty() {
                stored.foreign = None;
                self.drop_if_bare(group);
            }
        }
    }
}

fn first_key(group: &Arc<str>) -> OffsetKey {
    OffsetKey { group: group.clone(), topic: Arc::from(""), partition: i32::MIN }
}

impl State for Store {
    type Record = Change;
    type Change = ();
    type Error = Infallible;

    fn apply(&mut self, offset: i64, change: &Change, _: &mut ()) -> Result<(), Infallible> {
        match change {
            Change::Offset { key, value: Some(value) } => {
                self.group_mut(&key.group);
                self.offsets.insert(key.clone(), CommittedOffset { record_offset: offset, ..value.clone() });
            }
            Change::Offset { key, value: None } => self.remove_offset(key),
            Change::PendingOffset { producer_id, key, value } => {
                self.group_mut(&key.group);
                let value = CommittedOffset { record_offset: offset, ..value.clone() };
                self.pending.insert((*producer_id, key.clone()), value);
                let mut producers = self.pending_keys.get(key).cloned().unwrap_or_default();
                producers.insert(*producer_id);
                self.pending_keys.insert(key.clone(), producers);
            }
            Change::TransactionEnd { producer_id, committed } => self.end_transaction(*producer_id, *committed),
            Change::Group { group, value: Some(value) } => self.group_mut(group).metadata = Some(value.clone()),
            Change::Group { group, value: None } => {
                if self.groups.contains_key(group) {
                    self.group_mut(group).metadata = None;
                    self.drop_if_bare(group);
                }
            }
            Change::Foreign { group, kind, member, key, live } => {
                self.apply_foreign(group, *kind, *member, key, *live);
            }
        }
        Ok(())
    }
}
