//! The leader's side: what its followers have, who is in sync, and how far everything is committed.

use crate::assignment::Assignment;
use crate::brokers::Brokers;
use crate::isr::{Agreed, Isr, Proposal};
use crate::partition::Partition;
use crate::planted::{self, Bug};
use wire::ErrorCode;

/// A follower that was not caught up within memory.
const NEVER: i64 = i64::MIN;
/// A request that was given up may still be on its way to the controller for so long.
const REQUEST_LIFE_MS: i64 = 30_000;

/// What is known of a follower.
#[derive(Debug)]
pub(crate) struct Follower {
    pub id: i32,
    /// Where it fetched last: it has everything before. -1 while it has not fetched under this leadership.
    pub log_end_offset: i64,
    /// Where its log begins; -1 while that is not known.
    pub log_start_offset: i64,
    /// The epoch of the registration under which it fetched last; -1 where it did not say.
    pub broker_epoch: i64,
    /// The high watermark that it was told last; -1 for none.
    told_high_watermark: i64,
    /// When it last had everything that was there.
    caught_up_ms: i64,
    /// The leader's end at its last fetch, and when that was: once it fetches from there, it was caught up then.
    end_at_last_fetch: i64,
    last_fetch_ms: i64,
}

/// What a leadership knows beside the log.
#[derive(Debug)]
pub(crate) struct Leader {
    pub epoch: i32,
    /// The first epoch of this replica's leadership without a break.
    pub since: i32,
    /// Where the log ended when the epoch began.
    pub start_offset: i64,
    pub isr: Isr,
    /// The state of the partition that named the followers; that of the ISR may be a later one.
    assigned_epoch: i32,
    pub followers: Vec<Follower>,
}

/// A follower's fetch of one partition: the proof of what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaFetch {
    pub replica: i32,
    /// -1: it did not say.
    pub broker_epoch: i64,
    /// It has everything before.
    pub offset: i64,
    pub log_start_offset: i64,
}

impl Follower {
    fn new(id: i32, caught_up_ms: i64) -> Follower {
        Follower {
            id,
            log_end_offset: -1,
            log_start_offset: -1,
            broker_epoch: -1,
            told_high_watermark: -1,
            caught_up_ms,
            end_at_last_fetch: i64::MAX,
            last_fetch_ms: NEVER,
        }
    }

    fn fetched(&mut self, fetch: &ReplicaFetch, leader_end: i64, now_ms: i64) {
        if fetch.offset >= leader_end {
            self.caught_up_ms = self.caught_up_ms.max(now_ms);
        } else if fetch.offset >= self.end_at_last_fetch {
            self.caught_up_ms = self.caught_up_ms.max(self.last_fetch_ms);
        }
        self.log_end_offset = fetch.offset;
        self.log_start_offset = fetch.log_start_offset;
        self.broker_epoch = fetch.broker_epoch;
        self.end_at_last_fetch = leader_end;
        self.last_fetch_ms = now_ms;
    }

    fn is_caught_up(&self, leader_end: i64, now_ms: i64, lag_ms: i64) -> bool {
        self.log_end_offset == leader_end || now_ms.saturating_sub(self.caught_up_ms) <= lag_ms
    }
}

impl Leader {
    /// A leadership that begins, or goes on under another epoch (`before`).
    pub fn new(me: i32, assignment: &Assignment, before: Option<Leader>, log_end: i64, now_ms: i64) -> Leader {
        let since = before.as_ref().map_or(assignment.leader_epoch, |before| before.since);
        // Where epochs were passed over, another broker may have led: who followed it has cut its log to that one's.
        let known = before.filter(|before| before.epoch + 1 == assignment.leader_epoch);
        let mut leader = Leader {
            epoch: assignment.leader_epoch,
            since,
            start_offset: log_end,
            isr: Isr::new(assignment.partition_epoch, &assignment.isr),
            assigned_epoch: assignment.partition_epoch,
            followers: known.map(|before| before.followers).unwrap_or_default(),
        };
        leader.set_replicas(me, assignment, now_ms);
        for follower in &mut leader.followers {
            // Each member of the ISR gets its time anew to catch up with this epoch.
            follower.caught_up_ms = if assignment.isr.contains(&follower.id) { now_ms } else { NEVER };
            follower.end_at_last_fetch = i64::MAX;
        }
        leader
    }

    /// The same epoch, another state of the partition.
    pub fn update(&mut self, me: i32, assignment: &Assignment, now_ms: i64) {
        self.isr.take(assignment.partition_epoch, &assignment.isr);
        if assignment.partition_epoch > self.assigned_epoch {
            self.assigned_epoch = assignment.partition_epoch;
            self.set_replicas(me, assignment, now_ms);
        }
    }

    fn set_replicas(&mut self, me: i32, assignment: &Assignment, now_ms: i64) {
        self.followers.retain(|follower| assignment.replicas.contains(&follower.id));
        for id in assignment.replicas.iter().copied().filter(|id| *id != me) {
            if !self.followers.iter().any(|follower| follower.id == id) {
                let caught_up_ms = if assignment.isr.contains(&id) { now_ms } else { NEVER };
                self.followers.push(Follower::new(id, caught_up_ms));
            }
        }
    }

    /// Proposes an ISR, as far as its members are known now.
    fn propose(&mut self, isr: &[i32], brokers: &Brokers) {
        let epoch_of = |id: i32| match self.followers.iter().find(|follower| follower.id == id) {
            Some(follower) => follower.broker_epoch,
            None => brokers.epoch(id).unwrap_or(-1),
        };
        self.isr.proposed = Some(isr.iter().map(|id| (*id, epoch_of(*id))).collect());
    }

    /// What every replica has that counts: those of the maximal ISR, and those that are about to join it, which would
    /// otherwise run after a moving mark for ever.
    pub fn committed_end(&self, own_end: i64, view: &View<'_>) -> i64 {
        let counts = |follower: &&Follower| {
            self.isr.may_have(follower.id, view.bug)
                || follower.is_caught_up(view.log_end, view.now_ms, view.lag_ms)
                    && view.brokers.may_be_in_sync(follower.id, follower.broker_epoch)
        };
        self.followers.iter().filter(counts).map(|follower| follower.log_end_offset).fold(own_end, i64::min)
    }
}

/// What decisions of the leader look at.
pub(crate) struct View<'a> {
    pub log_end: i64,
    pub now_ms: i64,
    pub lag_ms: i64,
    pub brokers: &'a Brokers,
    pub bug: Bug,
}

impl Partition {
    pub(crate) fn view(&self) -> View<'_> {
        View {
            log_end: self.log().log_end_offset(),
            now_ms: self.now_ms,
            lag_ms: self.settings.replica_lag_time_max_ms,
            brokers: &self.brokers,
            bug: self.settings.bug,
        }
    }

    /// Takes note of a fetch that this leader has answered: its offset is in the log, and what is before it is the same
    /// in both. Whether a change of the ISR is to be proposed ([`Partition::proposal`]).
    ///
    /// # Errors
    /// UNKNOWN_LEADER_EPOCH for a broker without a replica here, as far as this leader knows; NOT_LEADER_OR_FOLLOWER for
    /// a fetch of an earlier process of the broker.
    pub fn fetched_by(&mut self, fetch: &ReplicaFetch, steady_ms: i64) -> Result<bool, ErrorCode> {
        self.now_ms = self.now_ms.max(steady_ms);
        let (now_ms, log_end, bug) = (self.now_ms, self.log().log_end_offset(), self.settings.bug);
        let high_watermark = self.high_watermark();
        let Some(leader) = &mut self.leader else { return Err(ErrorCode::NotLeaderOrFollower) };
        let Some(follower) = leader.followers.iter_mut().find(|f| f.id == fetch.replica) else {
            return Err(ErrorCode::UnknownLeaderEpoch);
        };
        let is_older = fetch.broker_epoch != -1 && fetch.broker_epoch < follower.broker_epoch;
        if is_older && !planted::is(bug, Bug::IgnoreBrokerEpoch) {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        follower.fetched(fetch, log_end, now_ms);
        let has_committed = fetch.offset >= high_watermark && fetch.offset >= leader.start_offset;
        let may_join = leader.isr.proposed.is_none()
            && !leader.isr.committed.contains(&fetch.replica)
            && (has_committed || planted::is(bug, Bug::ExpandBelowHighWatermark))
            && (self.brokers.may_be_in_sync(fetch.replica, fetch.broker_epoch)
                || planted::is(bug, Bug::IgnoreBrokerEpoch));
        if may_join {
            let mut isr = leader.isr.committed.clone();
            isr.push(fetch.replica);
            leader.propose(&isr, &self.brokers);
        }
        self.advance();
        self.settle_deletions();
        Ok(may_join)
    }

    /// The high watermark, for the answer to `replica`'s fetch, and whether it is news for which the answer must not wait.
    pub fn tell_high_watermark(&mut self, replica: i32) -> (i64, bool) {
        let (high_watermark, matters) = (self.high_watermark(), self.settings.followers_are_read);
        let followers = self.leader.iter_mut().flat_map(|leader| &mut leader.followers);
        let told = followers.into_iter().find(|follower| follower.id == replica).map(|f| &mut f.told_high_watermark);
        let before = told.map(|told| std::mem::replace(told, high_watermark));
        (high_watermark, matters && before.is_some_and(|before| before < high_watermark))
    }

    /// The members of the ISR that can give what is at `offset`: id, log end offset, when it was last caught up.
    pub fn readable_followers(&self, offset: i64) -> impl Iterator<Item = (i32, i64, i64)> + '_ {
        let has = move |f: &&Follower| f.log_start_offset <= offset && offset <= f.log_end_offset;
        let followers = self.leader.iter().flat_map(move |leader| {
            leader.followers.iter().filter(has).filter(|follower| leader.isr.committed.contains(&follower.id))
        });
        followers.map(|follower| (follower.id, follower.log_end_offset, follower.caught_up_ms))
    }

    /// Whether [`Partition::fetched_by`] would know this replica.
    pub fn has_follower(&self, replica: i32) -> bool {
        self.leader.as_ref().is_some_and(|leader| leader.followers.iter().any(|f| f.id == replica))
    }

    /// Looks for followers that have not been caught up for `replica.lag.time.max.ms`; to be called every half of it.
    /// Whether a change of the ISR is to be proposed.
    pub fn tick(&mut self, steady_ms: i64) -> bool {
        self.now_ms = self.now_ms.max(steady_ms);
        // Who was to delete records may live no more.
        self.settle_deletions();
        let (me, view) = (self.me, self.view());
        let Some(leader) = &self.leader else { return false };
        // Nobody can fetch from a log that is offline: those who had everything would leave the ISR to whoever has lost it.
        if leader.isr.proposed.is_some() || self.log().fault().is_some() {
            return false;
        }
        let is_in_sync = |id: &i32| {
            let follower = leader.followers.iter().find(|follower| follower.id == *id);
            *id == me || follower.is_some_and(|f| f.is_caught_up(view.log_end, view.now_ms, view.lag_ms))
        };
        let isr: Vec<i32> = leader.isr.committed.iter().copied().filter(is_in_sync).collect();
        let shrinks = isr.len() < leader.isr.committed.len();
        if shrinks && let Some(leader) = &mut self.leader {
            leader.propose(&isr, &self.brokers);
        }
        // Whoever was waited for because it was about to join may have missed its time.
        self.advance();
        shrinks
    }

    /// The change of the ISR that the controller has yet to answer.
    pub fn proposal(&self) -> Option<Proposal> {
        let leader = self.leader.as_ref()?;
        let isr = leader.isr.proposed.as_ref()?;
        let is_careless = planted::is(self.settings.bug, Bug::IgnoreBrokerEpoch);
        Some(Proposal {
            leader_epoch: leader.epoch,
            partition_epoch: leader.isr.partition_epoch,
            isr: isr.iter().map(|(id, epoch)| (*id, if is_careless { -1 } else { *epoch })).collect(),
        })
    }

    /// Takes the controller's answer to `proposal`: the partition as it is now, or why it stays as it was. Whether the
    /// proposal still stands and is to be sent again.
    pub fn proposal_answered(
        &mut self,
        proposal: &Proposal,
        answer: Result<&Agreed, ErrorCode>,
        steady_ms: i64,
    ) -> bool {
        self.now_ms = self.now_ms.max(steady_ms);
        let now_ms = self.now_ms;
        let trusts_shrinks = planted::is(self.settings.bug, Bug::TrustAgreedShrink);
        let Some(leader) = &mut self.leader else { return false };
        let is_current = leader.epoch == proposal.leader_epoch
            && leader.isr.partition_epoch == proposal.partition_epoch
            && leader.isr.proposed.is_some();
        if !is_current {
            return leader.isr.proposed.is_some();
        }
        match answer {
            // Under another leader epoch the cluster's state brings the news, role included.
            Ok(agreed) if agreed.leader_epoch != leader.epoch => return false,
            // So it does of members that leave. With this answer alone the leader could commit without them under a
            // min.insync.replicas that the controller, when it let them go, knew to be higher: they are eligible then.
            Ok(agreed) if leader.isr.committed.iter().any(|id| !agreed.isr.contains(id)) && !trusts_shrinks => {
                return false;
            }
            Ok(agreed) if agreed.partition_epoch > leader.isr.partition_epoch => {
                leader.isr.take(agreed.partition_epoch, &agreed.isr);
            }
            // The controller had it already.
            Ok(_) => leader.isr.withdraw(),
            // Refused, and the ISR is the one from before: unless an earlier copy of the proposal, whose answer was
            // lost, may still arrive and be accepted.
            Err(ErrorCode::IneligibleReplica | ErrorCode::OperationNotAttempted | ErrorCode::InvalidRequest) => {
                // No copy is accepted any more that vouches for an earlier process of a member.
                let is_outdated = |(id, epoch): &(i32, i64)| {
                    *epoch >= 0 && self.brokers.epoch(*id).is_some_and(|current| current > *epoch)
                };
                if proposal.isr.iter().any(is_outdated) {
                    leader.isr.withdraw();
                } else if leader.isr.unanswered_ms.is_some_and(|ms| now_ms.saturating_sub(ms) < REQUEST_LIFE_MS) {
                    return true;
                } else {
                    leader.isr.withdraw();
                }
            }
            // Made on a state that has changed: the new one is on its way, and until it is here both may be true.
            Err(
                ErrorCode::FencedLeaderEpoch
                | ErrorCode::InvalidUpdateVersion
                | ErrorCode::NewLeaderElected
                | ErrorCode::UnknownTopicOrPartition
                | ErrorCode::UnknownTopicId,
            ) => return false,
            Err(_) => {
                leader.isr.unanswered_ms = Some(now_ms);
                return true;
            }
        }
        self.advance();
        self.settle_acks();
        false
    }

    /// The ISR as the controller is known to have it; of a follower, empty.
    pub fn isr(&self) -> &[i32] {
        self.leader.as_ref().map_or(&[], |leader| &leader.isr.committed)
    }

    /// Replicas that are not in the ISR; 0 where this node does not lead.
    pub fn missing_replicas(&self) -> usize {
        self.leader.as_ref().map_or(0, |leader| (leader.followers.len() + 1).saturating_sub(leader.isr.committed.len()))
    }

    /// Whether fewer replicas are in sync than `min.insync.replicas` asks for; never for more than there are.
    pub fn is_under_min_isr(&self) -> bool {
        self.leader.as_ref().is_some_and(|leader| {
            let wanted = (self.settings.min_insync_replicas as usize).min(leader.followers.len() + 1);
            leader.isr.committed.len() < wanted
        })
    }

    /// The followers as this leader knows them: id, log end offset (-1: unknown), when it was last caught up.
    pub fn followers(&self) -> impl Iterator<Item = (i32, i64, i64)> + '_ {
        let followers = self.leader.iter().flat_map(|leader| &leader.followers);
        followers.map(|follower| (follower.id, follower.log_end_offset, follower.caught_up_ms))
    }
}
