//! What a leader knows of the other voters, and of those who observe.

use std::collections::BTreeMap;

use wire::Uuid;

use super::messages::ReplicaKey;
use super::voters::VoterSet;
use crate::planted::{self, Bug};

/// How far a replica of the metadata log is, as its fetches say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub replica: ReplicaKey,
    /// The directory that it said its log is in; zero before it said so. Static voters are known without one.
    pub told_directory: Uuid,
    /// Everything before is on its disk; -1 before its first fetch in this epoch.
    pub end_offset: i64,
    /// When it fetched last, on the clock of the quorum.
    pub last_fetch: Option<i64>,
    /// When it last had all there was.
    pub last_caught_up: Option<i64>,
}

/// An observer that did not fetch for this long (ms) is forgotten.
const OBSERVER_FORGOTTEN_AFTER: i64 = 300_000;
/// Observers remembered at most; anybody may fetch.
const OBSERVERS_MAX: usize = 10_000;

/// A leader's epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// Where the leader's own records begin.
    pub start_offset: i64,
    /// Since when it leads.
    since: i64,
    me: i32,
    /// All voters but the leader.
    voters: BTreeMap<i32, Progress>,
    observers: BTreeMap<ReplicaKey, Progress>,
    /// What the leader itself has on its disk.
    synced: i64,
    /// When BeginQuorumEpoch is due again, by voter.
    begin_due: BTreeMap<i32, i64>,
}

impl Leadership {
    pub fn new(me: i32, voters: &VoterSet, start_offset: i64, now: i64) -> Leadership {
        let mut leadership = Leadership {
            start_offset,
            since: now,
            me,
            voters: BTreeMap::new(),
            observers: BTreeMap::new(),
            synced: 0,
            begin_due: BTreeMap::new(),
        };
        leadership.follow(voters, now);
        leadership
    }

    /// The voters are these now.
    pub fn follow(&mut self, voters: &VoterSet, now: i64) {
        self.voters.retain(|id, _| voters.get(*id).is_some());
        for voter in voters.iter().filter(|voter| voter.id != self.me) {
            let replica = ReplicaKey { id: voter.id, directory_id: voter.directory_id };
            self.voters.entry(voter.id).or_insert(Progress {
                replica,
                told_directory: Uuid::ZERO,
                end_offset: -1,
                last_fetch: None,
                last_caught_up: None,
            });
            self.begin_due.entry(voter.id).or_insert(now);
        }
    }

    /// The leader's own log is on its disk up to here.
    pub fn synced(&mut self, end_offset: i64) {
        self.synced = self.synced.max(end_offset);
    }

    /// A replica has everything before `offset` on its disk.
    pub fn fetched(&mut self, replica: ReplicaKey, offset: i64, log_end: i64, now: i64) {
        let progress = match self.voters.get_mut(&replica.id) {
            Some(voter) if voter.replica.fits(replica) => voter,
            _ => {
                self.observers.retain(|_, one| one.last_fetch.is_some_and(|at| now - at < OBSERVER_FORGOTTEN_AFTER));
                if replica.id < 0 || self.observers.len() >= OBSERVERS_MAX {
                    return;
                }
                self.observers.entry(replica).or_insert(Progress {
                    replica,
                    told_directory: Uuid::ZERO,
                    end_offset: -1,
                    last_fetch: None,
                    last_caught_up: None,
                })
            }
        };
        progress.told_directory = replica.directory_id;
        progress.end_offset = progress.end_offset.max(offset);
        progress.last_fetch = Some(now);
        if offset >= log_end {
            progress.last_caught_up = Some(now);
        }
    }

    /// Up to where a majority has the log on its disks; `None` while nothing of this epoch is.
    pub fn committed(&self, voters: &VoterSet, bug: Bug) -> Option<i64> {
        let own = voters.get(self.me).map(|_| self.synced);
        let mut ends: Vec<i64> = self.voters.values().map(|voter| voter.end_offset).chain(own).collect();
        if planted::is(bug, Bug::CountObservers) {
            ends.extend(self.observers.values().map(|observer| observer.end_offset));
        }
        ends.sort_unstable_by(|a, b| b.cmp(a));
        let committed = *ends.get(voters.majority().checked_sub(1)?)?;
        (committed > self.start_offset || planted::is(bug, Bug::CommitEarlierEpoch)).then_some(committed)
    }

    /// Whether a majority, the leader among it, was heard within `period` ms. Who was not heard yet counts from the
    /// beginning of the epoch.
    pub fn has_majority(&self, voters: &VoterSet, now: i64, period: i64) -> bool {
        let heard = |voter: &&Progress| now - voter.last_fetch.unwrap_or(self.since) < period;
        let own = usize::from(voters.get(self.me).is_some());
        self.voters.values().filter(heard).count() + own >= voters.majority()
    }

    /// Voters that should be told who leads: they do not fetch. Each is told again after `every` ms.
    pub fn to_be_told(&mut self, now: i64, every: i64) -> Vec<ReplicaKey> {
        let mut told = Vec::new();
        for (id, due) in &mut self.begin_due {
            let Some(voter) = self.voters.get(id).filter(|_| *due <= now) else { continue };
            *due = now + every;
            if voter.last_fetch.is_none_or(|at| now - at >= every) {
                told.push(voter.replica);
            }
        }
        told
    }

    /// The other voters, those with the longest logs first.
    pub fn successors(&self) -> Vec<i32> {
        let mut voters: Vec<&Progress> = self.voters.values().collect();
        voters.sort_by_key(|voter| std::cmp::Reverse(voter.end_offset));
        voters.into_iter().map(|voter| voter.replica.id).collect()
    }

    pub fn voters(&self) -> impl Iterator<Item = &Progress> {
        self.voters.values()
    }

    pub fn observers(&self) -> impl Iterator<Item = &Progress> {
        self.observers.values()
    }
}
