//! Offsets that nobody has used for so long that they go (`offsets.retention.minutes`, KIP-211), and groups that have
//! nothing left.

use std::sync::Arc;

use super::{Effects, Shard, Then};
use crate::Now;
use crate::group::{CONSUMER, GroupState};
use crate::planted::Bug;
use crate::store::{Change, CommittedOffset, OffsetKey, Store};

/// The groups in which something may have expired by `now_ms`, and those that are empty without offsets. Only a first
/// look, for which the shard need not be held up; [`Shard::expire`] decides.
pub fn expirable(store: &Store, now_ms: i64, retention_ms: i64) -> Vec<Arc<str>> {
    let served = store.groups().filter(|(_, group)| group.foreign.is_none());
    let may_expire = served.filter(|(name, _)| {
        let mut offsets = store.offsets_of(name).peekable();
        offsets.peek().is_none() || offsets.any(|(_, offset)| is_over(offset, None, now_ms, retention_ms))
    });
    may_expire.map(|(name, _)| name.clone()).collect()
}

/// Whether an offset's time is over; `in_use_until_ms` is when its group was last in use, where that counts.
fn is_over(offset: &CommittedOffset, in_use_until_ms: Option<i64>, now_ms: i64, retention_ms: i64) -> bool {
    match offset.expire_timestamp_ms {
        // The commit named no time: the broker's holds. What was committed after the group became empty counts anew.
        -1 => {
            let since = offset.commit_timestamp_ms.max(in_use_until_ms.unwrap_or(i64::MIN));
            since.saturating_add(retention_ms) <= now_ms
        }
        expires_ms => expires_ms <= now_ms,
    }
}

impl Shard {
    /// Forgets what a group has committed and not used for `retention_ms`, and the group itself when nobody is in it and
    /// nothing is left. A group with members keeps everything, but a consumers' group loses the offsets of topics that it
    /// no longer subscribes.
    pub fn expire(&mut self, now: Now, group: &str, retention_ms: i64) -> Effects {
        let newest = match self.has(Bug::ExpireFreshCommit) {
            true => self.store().clone(),
            false => self.newest(),
        };
        let name = newest.group_name(group);
        let live = self.live.get(&name);
        let Some(stored) = newest.group(&name).filter(|stored| stored.foreign.is_none()) else {
            return Effects::default();
        };
        let in_use_until_ms = match live {
            Some(live) if live.state == GroupState::Empty => Some(live.state_timestamp_ms),
            Some(_) => None,
            None => stored.metadata.as_ref().map(|metadata| metadata.state_timestamp_ms),
        };
        let in_use = |topic: &str| {
            live.is_some_and(|live| match live.state {
                GroupState::Empty => false,
                GroupState::Stable if live.protocol_type.as_deref() == Some(CONSUMER) => live.is_subscribed_to(topic),
                _ => true,
            })
        };
        let goes = |key: &OffsetKey, offset: &CommittedOffset| {
            !newest.is_pending(key)
                && !in_use(&key.topic)
                && is_over(offset, in_use_until_ms, now.wall_ms, retention_ms)
        };
        let (mut changes, mut kept) = (Vec::new(), newest.pending_of(&name).next().is_some());
        for (key, offset) in newest.offsets_of(&name) {
            match goes(key, offset) {
                true => changes.push(Change::Offset { key: key.clone(), value: None }),
                false => kept = true,
            }
        }
        if !kept && live.is_none() {
            changes.push(Change::Group { group: name.clone(), value: None });
        }
        if !changes.is_empty() {
            self.write(now, changes, Then::Nothing);
        }
        std::mem::take(&mut self.effects)
    }
}
