//! The records of `__consumer_offsets`, to and from [`Change`]s, in the versions that Kafka 4.3 writes.
//!
//! A key starts with its type: 0 and 1 committed offsets, 2 classic groups, 3 to 8 and 16 consumer groups, 10 to 15 share
//! groups, 17 and up streams groups. Of the last three only who owns them is read.

use std::collections::BTreeSet;
use std::sync::Arc;

use wire::codec::{CoordinatorKey, DecodeError, Decoder, EncodeError, Message};
use wire::messages::{
    ConsumerProtocolSubscription, GroupMetadataKey, GroupMetadataValue, LegacyOffsetCommitKey, OffsetCommitKey,
    OffsetCommitValue, group_metadata_value,
};

use crate::store::{Change, CommittedOffset, GroupKind, GroupMetadata, MemberMetadata, OffsetKey};

/// The version that every 4.x broker writes; 4 is for later.
const GROUP_VALUE_VERSION: i16 = 3;
/// With the topic's id.
const OFFSET_VALUE_VERSION: i16 = 4;
/// The only one that can hold an expiry of its own.
const EXPIRING_OFFSET_VALUE_VERSION: i16 = 1;

/// A record to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: Vec<u8>,
    /// None: a tombstone.
    pub value: Option<Vec<u8>>,
}

impl Record {
    /// About the bytes that the record takes in a batch, never less.
    pub fn size(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len) + 32
    }
}

/// The record that says this, None where it is not a record but a control batch that does.
///
/// # Errors
/// When a string or array is longer than the format holds.
pub fn encode(change: &Change) -> Result<Option<Record>, EncodeError> {
    let record = match change {
        Change::Offset { key, value } => {
            Record { key: offset_key(key)?, value: value.as_ref().map(offset_value).transpose()? }
        }
        Change::PendingOffset { key, value, .. } => Record { key: offset_key(key)?, value: Some(offset_value(value)?) },
        Change::TransactionEnd { .. } => return Ok(None),
        Change::Group { group, value } => {
            let key = GroupMetadataKey { group: (**group).into() }.encode_key()?;
            Record { key, value: value.as_ref().map(|value| group_value(value)).transpose()? }
        }
        Change::Foreign { key, .. } => Record { key: key.to_vec(), value: None },
    };
    Ok(Some(record))
}

fn offset_key(key: &OffsetKey) -> Result<Vec<u8>, EncodeError> {
    OffsetCommitKey { group: (*key.group).into(), topic: (*key.topic).into(), partition: key.partition }.encode_key()
}

fn offset_value(value: &CommittedOffset) -> Result<Vec<u8>, EncodeError> {
    let version = match value.expire_timestamp_ms {
        -1 => OFFSET_VALUE_VERSION,
        _ => EXPIRING_OFFSET_VALUE_VERSION,
    };
    OffsetCommitValue {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: value.metadata.as_deref().unwrap_or("").into(),
        commit_timestamp: value.commit_timestamp_ms,
        expire_timestamp: value.expire_timestamp_ms,
        topic_id: value.topic_id,
    }
    .encode_value(version)
}

fn group_value(value: &GroupMetadata) -> Result<Vec<u8>, EncodeError> {
    let members = value.members.iter().map(|member| group_metadata_value::MemberMetadata {
        member_id: (*member.member_id).into(),
        group_instance_id: member.instance_id.as_deref().map(Into::into),
        client_id: (*member.client_id).into(),
        client_host: (*member.client_host).into(),
        rebalance_timeout: member.rebalance_timeout_ms,
        session_timeout: member.session_timeout_ms,
        subscription: (&*member.subscription).into(),
        assignment: (&*member.assignment).into(),
    });
    GroupMetadataValue {
        protocol_type: value.protocol_type.as_deref().unwrap_or("").into(),
        generation: value.generation,
        protocol: value.protocol.as_deref().map(Into::into),
        leader: value.leader.as_deref().map(Into::into),
        current_state_timestamp: value.state_timestamp_ms,
        members: members.collect(),
    }
    .encode_value(GROUP_VALUE_VERSION)
}

/// What a record says. None for a type that is not known: Kafka skips those too, as leavings of a later version.
///
/// # Errors
/// When the bytes are not what the key's type promises, or the value is of a version that is not known.
pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Change>, DecodeError> {
    let record_type = Decoder::new(key).i16()?;
    let change = match record_type {
        LegacyOffsetCommitKey::RECORD_TYPE => {
            let key = LegacyOffsetCommitKey::decode_key(key)?;
            let key = OffsetKey { group: key.group.into(), topic: key.topic.into(), partition: key.partition };
            // The value's versions are those of the newer keys: version 0 is the legacy one.
            Change::Offset { key, value: value.map(committed_offset).transpose()? }
        }
        OffsetCommitKey::RECORD_TYPE => {
            let key = OffsetCommitKey::decode_key(key)?;
            let key = OffsetKey { group: key.group.into(), topic: key.topic.into(), partition: key.partition };
            Change::Offset { key, value: value.map(committed_offset).transpose()? }
        }
        GroupMetadataKey::RECORD_TYPE => Change::Group {
            group: GroupMetadataKey::decode_key(key)?.group.into(),
            value: value.map(group_metadata).transpose()?.map(Arc::new),
        },
        _ => {
            let Some((kind, member)) = foreign(record_type) else { return Ok(None) };
            // All these keys begin with the group's id.
            let mut rest = Decoder::new(&key[2..]);
            let group = rest.string()?.into();
            Change::Foreign { group, kind, member, key: key.into(), live: value.is_some() }
        }
    };
    Ok(Some(change))
}

/// The kind of group that a record of another kind than classic belongs to, and whether it stands for a member.
fn foreign(record_type: i16) -> Option<(GroupKind, bool)> {
    match record_type {
        3..=8 | 16 => Some((GroupKind::Consumer, record_type == 5)),
        10..=15 => Some((GroupKind::Share, record_type == 10)),
        17..=23 => Some((GroupKind::Streams, record_type == 19)),
        _ => None,
    }
}

fn committed_offset(value: &[u8]) -> Result<CommittedOffset, DecodeError> {
    let value = OffsetCommitValue::decode_value(value)?;
    Ok(CommittedOffset {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: text(&value.metadata),
        commit_timestamp_ms: value.commit_timestamp,
        expire_timestamp_ms: value.expire_timestamp,
        topic_id: value.topic_id,
        record_offset: -1,
    })
}

fn group_metadata(value: &[u8]) -> Result<GroupMetadata, DecodeError> {
    let value = GroupMetadataValue::decode_value(value)?;
    let members = value.members.iter().map(|member| MemberMetadata {
        member_id: (&*member.member_id).into(),
        instance_id: member.group_instance_id.as_deref().map(Into::into),
        client_id: (&*member.client_id).into(),
        client_host: (&*member.client_host).into(),
        rebalance_timeout_ms: member.rebalance_timeout,
        session_timeout_ms: member.session_timeout,
        subscription: (&*member.subscription).into(),
        assignment: (&*member.assignment).into(),
    });
    Ok(GroupMetadata {
        protocol_type: text(&value.protocol_type),
        generation: value.generation,
        protocol: value.protocol.as_deref().map(Into::into),
        leader: value.leader.as_deref().map(Into::into),
        state_timestamp_ms: value.current_state_timestamp,
        members: members.collect(),
    })
}

fn text(text: &str) -> Option<Arc<str>> {
    if text.is_empty() { None } else { Some(text.into()) }
}

/// Adds the topics of a consumer's subscription. None when it cannot be read: what members send is theirs.
///
/// Every version of the format begins like version 0, so that coordinators need not know later ones.
pub(crate) fn subscribed_topics(metadata: &[u8], topics: &mut BTreeSet<String>) -> Option<()> {
    let mut decoder = Decoder::new(metadata.get(2..)?);
    let subscription = ConsumerProtocolSubscription::decode(&mut decoder, 0).ok()?;
    topics.extend(subscription.topics.iter().map(|topic| String::from(&**topic)));
    Some(())
}
