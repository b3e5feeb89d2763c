//! The quorum's decisions: epochs, votes, the high watermark (KIP-595, 853, 996). Pure: what is to be done comes out as
//! [`Effect`]s, to be done in their order, each before the next and all before any answer leaves.
//!
//! Invariants (Raft's, as KRaft has them): a node votes once an epoch and leads only after a majority voted; an epoch's
//! number is on the disk before it is used; the high watermark moves only to offsets that a majority has on its disks,
//! and only once that includes a record of the leader's own epoch.
//!
//! ```text
//! Unattached ── election timeout ──► Prospective ── majority of pre-votes ──► Candidate ── majority of votes ──► Leader
//!     ▲  ▲                            ▲      ▲                                    │                                │
//!     │  └─── a newer epoch ──────────┼──────┼────────────────────────────────────┘            no majority heard,  │
//!     │                               │      └──── timeout, lost ─────────────────┘            or told to stop     │
//! Follower ── leader silent or gone ──┘                                                         Resigned ◄─────────┘
//! ```

use wire::control::ControlRecord;
use wire::messages::LeaderChangeMessage;
use wire::messages::leader_change_message::Voter as ChangeVoter;
use wire::{ErrorCode, Uuid};

use super::election::Election;
use super::leadership::Leadership;
use super::messages::{BeginEpoch, EndEpoch, FetchFrom, Known, LogEnd, Outgoing, ReplicaKey, VoteReply, VoteRequest};
use super::tally::Tally;
use super::voters::{KRaftVersion, QuorumRecords, VoterSet};
use crate::controller::Random;
use crate::planted::{self, Bug};

/// Something that must happen outside, in the order given.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Make this durable.
    Persist(Election),
    /// Append a batch of these at the log's end, in this epoch.
    AppendControl { epoch: i32, records: Vec<ControlRecord<'static>> },
    /// Send this to a voter; it is no matter when it is lost.
    Send { to: ReplicaKey, message: Outgoing },
}

/// Times in ms, as the keys `controller.quorum.*` have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A voter without a leader waits so long, and up to twice that, before it asks for votes.
    pub election: i64,
    /// A follower that got no answer from its leader for so long stops following it; a leader that a majority did not ask
    /// for one and a half times as long resigns.
    pub fetch: i64,
    /// After a lost election a voter waits up to so long.
    pub backoff_max: i64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { election: 1_000, fetch: 2_000, backoff_max: 1_000 }
    }
}

/// Votes that were not answered are asked for again after so many ms: a pre-vote disturbs nobody.
const ASK_AGAIN: i64 = 50;
/// A voter that begins waits for at least this long for a leader to show itself, and for up to four times that.
const FIRST_WAIT: i64 = 50;
/// When a leader is known to be gone, the voters stand one after the other, so many ms apart.
pub(super) const SUCCESSION_STEP: i64 = 40;

/// The present, as the shell sees it.
pub struct Moment<'a> {
    /// In ms, on a clock that never goes back.
    pub now: i64,
    /// Where the log ends.
    pub end: LogEnd,
    pub random: &'a mut dyn Random,
}

impl Moment<'_> {
    /// Between `from` and `from + spread`.
    fn later(&mut self, from: i64, spread: i64) -> i64 {
        self.now + from + self.random.below(usize::try_from(spread).unwrap_or(0) + 1) as i64
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Role {
    /// Knows of no leader. A voter stands for election at `until`.
    Unattached {
        until: i64,
    },
    /// `fetched`: the leader answered, so that it should not be challenged.
    Follower {
        leader: i32,
        until: i64,
        fetched: bool,
    },
    /// Asks whether it would be voted for.
    Prospective {
        tally: Tally,
        ask_again: i64,
        until: i64,
    },
    Candidate {
        tally: Tally,
        ask_again: i64,
        until: i64,
    },
    Leader(Box<Leadership>),
    /// Led this epoch and gave up, or led it in an earlier process.
    Resigned {
        until: i64,
        successors: Vec<i32>,
        say_again: i64,
    },
}

/// One node of the quorum: a voter, or one that observes.
#[derive(Clone, Debug)]
pub struct Quorum {
    me: ReplicaKey,
    timeouts: Timeouts,
    voters: VoterSet,
    records: QuorumRecords,
    /// The voters come from the snapshot that the node was formatted with, so other nodes cannot read them in the log.
    voters_not_in_log: bool,
    election: Election,
    role: Role,
    high_watermark: i64,
    /// Elections in a row that this node lost.
    lost: u32,
    /// When a leader looks after its followers next.
    leader_due: i64,
    /// The leader of this epoch whose process is known to have ended, or who resigned: only it could say otherwise, whatever
    /// others still believe.
    gone: Option<(i32, i32)>,
    /// The process of this voter is known to have ended while it led. Until somebody else leads, nobody waits for its vote: two
    /// voters that stand at the same moment vote for themselves, and without its vote neither can win.
    ended: Option<i32>,
    /// The leader of this epoch that this node heard nothing of for too long: that others still believe in it is no news.
    doubted: Option<(i32, i32)>,
    bug: Bug,
}

/// What a node begins with.
#[derive(Clone, Debug)]
pub struct Beginning {
    pub me: ReplicaKey,
    pub timeouts: Timeouts,
    /// Those of the log, or of the configuration where they are static.
    pub voters: VoterSet,
    pub records: QuorumRecords,
    pub voters_not_in_log: bool,
    pub election: Option<Election>,
    /// What is known to be committed: the end of the last snapshot.
    pub committed: i64,
    pub bug: Bug,
}

impl Quorum {
    pub fn new(beginning: Beginning, moment: &mut Moment<'_>) -> Self {
        let mut election = beginning.election.unwrap_or_default();
        if election.epoch < moment.end.epoch {
            election = Election { epoch: moment.end.epoch, ..Election::default() };
        }
        let until = moment.later(FIRST_WAIT, 3 * FIRST_WAIT);
        let role = match election.leader {
            Some(leader) if leader == beginning.me.id => {
                Role::Resigned { until, successors: Vec::new(), say_again: i64::MAX }
            }
            // It may be gone as well; others that began meanwhile are not to be held up by it.
            Some(leader) => Role::Follower { leader, until: until + beginning.timeouts.fetch / 4, fetched: false },
            None => Role::Unattached { until },
        };
        Quorum {
            me: beginning.me,
            timeouts: beginning.timeouts,
            voters: beginning.voters,
            records: beginning.records,
            voters_not_in_log: beginning.voters_not_in_log,
            election,
            role,
            high_watermark: beginning.committed,
            lost: 0,
            leader_due: i64::MIN,
            gone: None,
            ended: None,
            doubted: None,
            bug: beginning.bug,
        }
    }

    pub fn epoch(&self) -> i32 {
        self.election.epoch
    }

    pub fn kraft_version(&self) -> KRaftVersion {
        self.records.kraft_version
    }

    pub fn records(&self) -> &QuorumRecords {
        &self.records
    }

    pub fn voters(&self) -> &VoterSet {
        &self.voters
    }

    pub fn me(&self) -> ReplicaKey {
        self.me
    }

    pub fn is_voter(&self) -> bool {
        self.voters
            .get(self.me.id)
            .is_some_and(|voter| self.me.fits(ReplicaKey { id: voter.id, directory_id: voter.directory_id }))
    }

    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    pub fn is_candidate(&self) -> bool {
        matches!(self.role, Role::Candidate { .. })
    }

    /// The leader's view of the others.
    pub fn leadership(&self) -> Option<&Leadership> {
        match &self.role {
            Role::Leader(leadership) => Some(leadership),
            _ => None,
        }
    }

    /// The leader of this epoch, where it is known and has not resigned.
    pub fn leader(&self) -> Option<i32> {
        match &self.role {
            Role::Leader(_) => Some(self.me.id),
            Role::Follower { leader, .. } => Some(*leader),
            _ => None,
        }
    }

    /// Whom this node voted for in this epoch.
    pub fn voted(&self) -> Option<i32> {
        self.election.voted.map(|(id, _)| id)
    }

    /// Everything below is committed, and stays.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// What followers are told to be committed: nothing (-1) before this epoch's leader has committed a record of its own, as
    /// in Kafka. What it had heard before may be long behind, and who takes it for all there is takes an old state of the
    /// cluster for the present one.
    pub fn told_high_watermark(&self) -> i64 {
        match self.leadership() {
            Some(leadership) if self.high_watermark <= leadership.start_offset => -1,
            _ => self.high_watermark,
        }
    }

    /// Whether this epoch's leader may decide: everything that came before is committed.
    pub fn may_decide(&self) -> bool {
        self.leadership().is_some_and(|leadership| {
            self.high_watermark > leadership.start_offset || planted::is(self.bug, Bug::DecideBeforeCommitted)
        })
    }

    pub fn known(&self, error: ErrorCode) -> Known {
        Known { error, epoch: self.epoch(), leader: self.leader() }
    }

    /// When [`Quorum::tick`] has something to do.
    pub fn wakes_at(&self) -> i64 {
        match &self.role {
            Role::Unattached { until } if self.is_voter() => *until,
            Role::Unattached { .. } => i64::MAX,
            Role::Follower { until, .. } => *until,
            Role::Prospective { ask_again, until, .. } | Role::Candidate { ask_again, until, .. } => {
                *until.min(ask_again)
            }
            Role::Leader(_) if self.voters.len() == 1 => i64::MAX,
            Role::Leader(_) => self.leader_due,
            Role::Resigned { until, say_again, .. } => *until.min(say_again),
        }
    }

    /// Whom to fetch from; `None` while there is nothing to fetch.
    pub fn fetch_from(&self) -> Option<FetchFrom> {
        match &self.role {
            Role::Follower { leader, .. } => Some(FetchFrom::Leader(*leader)),
            Role::Unattached { .. } if !self.is_voter() => Some(FetchFrom::Anybody),
            _ => None,
        }
    }

    /// A sole voter needs nobody's vote: it leads from now on.
    pub fn lead_alone(&mut self, moment: &mut Moment<'_>) -> Vec<Effect> {
        if self.voters.len() != 1 || !self.is_voter() || self.is_leader() {
            return Vec::new();
        }
        match self.epoch().checked_add(1) {
            Some(epoch) => self.become_leader(epoch, None, moment),
            None => self.lose(moment),
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, moment: &mut Moment<'_>) -> Vec<Effect> {
        let now = moment.now;
        let is_voter = self.is_voter();
        match &mut self.role {
            Role::Resigned { until, say_again: i64::MAX, .. }
                if *until <= now && planted::is(self.bug, Bug::LeadAgain) =>
            {
                self.become_leader(self.epoch(), self.election.voted, moment)
            }
            Role::Unattached { until } if *until <= now && is_voter => self.become_prospective(moment),
            Role::Follower { until, .. } | Role::Resigned { until, .. } if *until <= now => match is_voter {
                true => self.become_prospective(moment),
                false => self.become_unattached(self.epoch(), moment),
            },
            Role::Resigned { successors, say_again, .. } if *say_again <= now => {
                *say_again = now + ASK_AGAIN;
                let successors = successors.clone();
                self.say_farewell(successors)
            }
            Role::Candidate { until, .. } if *until <= now => self.lose(moment),
            Role::Prospective { tally, until, .. } if *until <= now => match self.doubted {
                // The others are content with it.
                Some((epoch, leader)) if epoch == self.election.epoch && tally.has_lost(&self.voters, None) => {
                    self.become_follower(epoch, leader, moment)
                }
                _ => self.become_prospective(moment),
            },
            Role::Prospective { ask_again, .. } | Role::Candidate { ask_again, .. } if *ask_again <= now => {
                *ask_again = now + 4 * ASK_AGAIN;
                self.ask_for_votes(moment.end)
            }
            Role::Leader(leadership) if self.voters.len() > 1 && self.leader_due <= now => {
                self.leader_due = now + (self.timeouts.fetch / 8).max(1);
                let is_heard = leadership.has_majority(&self.voters, now, self.timeouts.fetch * 3 / 2);
                if !is_heard && !planted::is(self.bug, Bug::NeverResign) {
                    return self.resign(moment);
                }
                let (epoch, leader) = (self.election.epoch, self.me.id);
                let told = leadership.to_be_told(now, self.timeouts.fetch / 2);
                let begin = |voter: ReplicaKey| Effect::Send {
                    to: voter,
                    message: Outgoing::BeginEpoch(BeginEpoch { epoch, leader, voter }),
                };
                told.into_iter().map(begin).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Vote: somebody asks for this node's vote, or whether it would get it.
    pub fn vote(&mut self, request: &VoteRequest, moment: &mut Moment<'_>) -> (VoteReply, Vec<Effect>) {
        let refuse = |quorum: &Self, error| VoteReply { granted: false, known: quorum.known(error) };
        if request.voter.id >= 0 && !request.voter.fits(self.me) {
            return (refuse(self, ErrorCode::InvalidVoterKey), Vec::new());
        }
        if request.epoch < self.epoch() {
            return (refuse(self, ErrorCode::FencedLeaderEpoch), Vec::new());
        }
        let mut effects = Vec::new();
        if request.epoch > self.epoch() {
            effects = self.become_unattached(request.epoch, moment);
        }
        if planted::is(self.bug, Bug::AnyVoteRequestCalms)
            && let Role::Unattached { until } | Role::Follower { until, .. } = &mut self.role
        {
            *until = moment.later(self.timeouts.election, self.timeouts.election);
        }
        let is_up_to_date = request.end >= moment.end || planted::is(self.bug, Bug::VoteForShorterLog);
        let granted = is_up_to_date
            && match &self.role {
                Role::Leader(_) => false,
                _ if request.pre_vote => match &self.role {
                    Role::Follower { fetched, .. } => !fetched,
                    _ => true,
                },
                Role::Unattached { .. } | Role::Prospective { .. } => {
                    let fits = |(id, directory_id)| request.candidate.fits(ReplicaKey { id, directory_id });
                    self.election.voted.is_none_or(fits) || planted::is(self.bug, Bug::VoteTwice)
                }
                Role::Follower { .. } | Role::Candidate { .. } | Role::Resigned { .. } => false,
            };
        if granted && !request.pre_vote && self.election.voted.is_none() {
            let voted = Some((request.candidate.id, request.candidate.directory_id));
            self.election = Election { leader: None, voted, ..self.election.clone() };
            effects.push(self.persist());
            self.role = Role::Unattached { until: moment.later(self.timeouts.election, self.timeouts.election) };
        }
        (VoteReply { granted, known: self.known(ErrorCode::None) }, effects)
    }

    /// What a voter answered to a [`VoteRequest`] of this node.
    pub fn vote_answered(
        &mut self,
        from: i32,
        asked: &VoteRequest,
        reply: &VoteReply,
        moment: &mut Moment<'_>,
    ) -> Vec<Effect> {
        if reply.known.leader == Some(from) {
            self.doubted = None;
        }
        if reply.known.epoch > self.epoch() || (reply.known.epoch == self.epoch() && reply.known.leader.is_some()) {
            let effects = self.learn(reply.known.epoch, reply.known.leader, moment);
            if !effects.is_empty() || !self.is_asking() {
                return effects;
            }
        }
        let is_old = asked.epoch != self.epoch() && !planted::is(self.bug, Bug::CountOldVotes);
        if is_old || self.voters.get(from).is_none() {
            return Vec::new();
        }
        let tally = match &mut self.role {
            Role::Prospective { tally, .. } if asked.pre_vote => tally,
            Role::Candidate { tally, .. } if !asked.pre_vote => tally,
            _ => return Vec::new(),
        };
        if reply.granted {
            tally.granted.insert(from);
            tally.refused.remove(&from);
        } else if !tally.granted.contains(&from) {
            tally.refused.insert(from);
        }
        let (won, lost) = (tally.has_won(&self.voters), tally.has_lost(&self.voters, self.ended));
        match &mut self.role {
            Role::Prospective { .. } if won => self.become_candidate(moment),
            Role::Prospective { until, .. } if lost => {
                *until = (*until).min(moment.later(ASK_AGAIN, 4 * ASK_AGAIN));
                Vec::new()
            }
            Role::Candidate { .. } if won => {
                let voted = self.election.voted;
                self.become_leader(self.epoch(), voted, moment)
            }
            Role::Candidate { .. } if lost => self.lose(moment),
            _ => Vec::new(),
        }
    }

    /// BeginQuorumEpoch: a leader says that it leads.
    pub fn begin_epoch(&mut self, request: &BeginEpoch, moment: &mut Moment<'_>) -> (Known, Vec<Effect>) {
        if request.voter.id >= 0 && !request.voter.fits(self.me) {
            return (self.known(ErrorCode::InvalidVoterKey), Vec::new());
        }
        if request.epoch < self.epoch() {
            return (self.known(ErrorCode::FencedLeaderEpoch), Vec::new());
        }
        if request.leader == self.me.id
            || (request.epoch == self.epoch() && self.leader().is_some_and(|l| l != request.leader))
        {
            return (self.known(ErrorCode::InvalidRequest), Vec::new());
        }
        (self.gone, self.doubted) = (None, None);
        let effects = self.learn(request.epoch, Some(request.leader), moment);
        (self.known(ErrorCode::None), effects)
    }

    /// EndQuorumEpoch: the leader gives up.
    pub fn end_epoch(&mut self, request: &EndEpoch, moment: &mut Moment<'_>) -> (Known, Vec<Effect>) {
        if request.epoch < self.epoch() {
            return (self.known(ErrorCode::FencedLeaderEpoch), Vec::new());
        }
        if request.leader == self.me.id {
            return (self.known(ErrorCode::InvalidRequest), Vec::new());
        }
        let mut effects = Vec::new();
        if request.epoch > self.epoch() {
            effects = self.become_unattached(request.epoch, moment);
        }
        let rank = request.successors.iter().position(|id| *id == self.me.id).unwrap_or(request.successors.len());
        self.leader_is_gone(request.leader, rank, moment);
        (self.known(ErrorCode::None), effects)
    }

    /// What a voter answered to BeginQuorumEpoch or EndQuorumEpoch, or anybody to a fetch: who leads, as far as it knows.
    pub fn heard(&mut self, known: &Known, moment: &mut Moment<'_>) -> Vec<Effect> {
        self.learn(known.epoch, known.leader, moment)
    }

    /// The process that led this epoch is known to have ended.
    pub fn leader_ended(&mut self, leader: i32, epoch: i32, moment: &mut Moment<'_>) {
        if epoch != self.epoch() {
            return; // it may lead again
        }
        self.ended = Some(leader);
        let others = self.voters.iter().filter(|voter| voter.id != leader);
        let rank = others.take_while(|voter| voter.id != self.me.id).count();
        self.leader_is_gone(leader, rank, moment);
    }

    /// The leader itself was found, whatever was said of it.
    pub fn leader_found(&mut self) {
        (self.gone, self.ended) = (None, None);
    }

    fn leader_is_gone(&mut self, gone: i32, rank: usize, moment: &mut Moment<'_>) {
        let step = moment.now + SUCCESSION_STEP * rank as i64;
        match &mut self.role {
            Role::Follower { leader, .. } if *leader == gone => self.role = Role::Unattached { until: step },
            Role::Unattached { until } if self.election.leader == Some(gone) => *until = (*until).min(step),
            _ => return,
        }
        self.gone = Some((self.epoch(), gone));
    }

    /// The leader answered a fetch: it is alive. `high_watermark` is what it said, `end_offset` where this node's log ends
    /// now, all of it on the disk.
    pub fn leader_answered(&mut self, high_watermark: i64, end_offset: i64, moment: &mut Moment<'_>) {
        if let Role::Follower { until, fetched, .. } = &mut self.role {
            *until = moment.now + self.timeouts.fetch;
            *fetched = true;
            self.high_watermark = self.high_watermark.max(high_watermark.min(end_offset));
        }
    }

    /// A replica fetches from `offset`, and so has everything before it on its disk. Returns whether the high watermark
    /// moved.
    pub fn fetched(&mut self, replica: ReplicaKey, offset: i64, moment: &Moment<'_>) -> bool {
        let Role::Leader(leadership) = &mut self.role else { return false };
        leadership.fetched(replica, offset, moment.end.offset, moment.now);
        if planted::is(self.bug, Bug::CountUnsyncedLeader) {
            leadership.synced(moment.end.offset);
        }
        self.advance()
    }

    /// This node's log is on its disk up to `end_offset`. Returns whether the high watermark moved.
    pub fn synced(&mut self, end_offset: i64) -> bool {
        let Role::Leader(leadership) = &mut self.role else { return false };
        leadership.synced(end_offset);
        self.advance()
    }

    fn advance(&mut self) -> bool {
        let Role::Leader(leadership) = &self.role else { return false };
        let committed =
            leadership.committed(&self.voters, self.bug).filter(|committed| *committed > self.high_watermark);
        self.high_watermark = committed.unwrap_or(self.high_watermark);
        committed.is_some()
    }

    /// Control records that another node wrote are in the log now, or records were cut off it: these are the quorum's.
    pub fn follow_records(&mut self, records: QuorumRecords, now: i64) {
        if records.kraft_version == KRaftVersion::Dynamic && !records.voters.is_empty() {
            self.voters = records.voters.clone();
        }
        if let Role::Leader(leadership) = &mut self.role {
            leadership.follow(&self.voters, now);
        }
        self.records = records;
    }

    /// A snapshot from the leader replaced the log: everything in it is committed.
    pub fn installed(&mut self, end_offset: i64) {
        self.high_watermark = self.high_watermark.max(end_offset);
    }

    /// Gives the leadership up, for others to take it at once.
    pub fn resign(&mut self, moment: &mut Moment<'_>) -> Vec<Effect> {
        let Role::Leader(leadership) = &self.role else { return Vec::new() };
        let successors = leadership.successors();
        let until = moment.later(self.timeouts.election, self.timeouts.election);
        self.role = Role::Resigned { until, successors: successors.clone(), say_again: moment.now + ASK_AGAIN };
        self.say_farewell(successors)
    }

    fn say_farewell(&self, successors: Vec<i32>) -> Vec<Effect> {
        let message = EndEpoch { epoch: self.epoch(), leader: self.me.id, successors };
        self.others().map(|to| Effect::Send { to, message: Outgoing::EndEpoch(message.clone()) }).collect()
    }

    fn is_asking(&self) -> bool {
        matches!(self.role, Role::Prospective { .. } | Role::Candidate { .. })
    }

    /// Somebody knows of an epoch, and perhaps of its leader.
    fn learn(&mut self, epoch: i32, leader: Option<i32>, moment: &mut Moment<'_>) -> Vec<Effect> {
        let is_news = |id: i32| ![self.gone, self.doubted].contains(&Some((epoch, id)));
        let leader = leader.filter(|id| *id >= 0 && *id != self.me.id && is_news(*id));
        if epoch < self.epoch() {
            return Vec::new();
        }
        match leader {
            Some(leader) if epoch > self.epoch() || (self.leader().is_none() && !self.has_resigned()) => {
                self.become_follower(epoch, leader, moment)
            }
            None if epoch > self.epoch() => self.become_unattached(epoch, moment),
            _ => Vec::new(),
        }
    }

    fn has_resigned(&self) -> bool {
        matches!(self.role, Role::Resigned { .. })
    }

    fn become_unattached(&mut self, epoch: i32, moment: &mut Moment<'_>) -> Vec<Effect> {
        self.role = Role::Unattached { until: moment.later(self.timeouts.election, self.timeouts.election) };
        if epoch == self.epoch() {
            return Vec::new();
        }
        self.election = Election { epoch, leader: None, voted: None, voters: self.static_ids() };
        vec![self.persist()]
    }

    fn become_follower(&mut self, epoch: i32, leader: i32, moment: &mut Moment<'_>) -> Vec<Effect> {
        let forgets = epoch != self.epoch() || planted::is(self.bug, Bug::ForgetVote);
        let voted = self.election.voted.filter(|_| !forgets);
        let election = Election { epoch, leader: Some(leader), voted, voters: self.static_ids() };
        self.role = Role::Follower { leader, until: moment.now + self.timeouts.fetch, fetched: false };
        (self.ended, self.doubted) = (None, None);
        self.lost = 0;
        if election == self.election {
            return Vec::new();
        }
        self.election = election;
        vec![self.persist()]
    }

    fn become_prospective(&mut self, moment: &mut Moment<'_>) -> Vec<Effect> {
        if let Role::Follower { leader, .. } = self.role
            && !planted::is(self.bug, Bug::BelieveHearsay)
        {
            self.doubted = Some((self.epoch(), leader));
        }
        self.role = Role::Prospective {
            tally: self.own_vote(),
            ask_again: moment.now + 4 * ASK_AGAIN,
            until: moment.later(self.timeouts.election / 2, self.timeouts.election / 2),
        };
        if self.voters.len() == 1 || planted::is(self.bug, Bug::SkipPreVote) {
            return self.become_candidate(moment);
        }
        self.ask_for_votes(moment.end)
    }

    fn become_candidate(&mut self, moment: &mut Moment<'_>) -> Vec<Effect> {
        if self.voters.len() == 1 {
            return self.lead_alone(moment);
        }
        // Behind the last epoch there is none: rather no leader than an epoch that was there before.
        let Some(epoch) = self.epoch().checked_add(1) else { return self.lose(moment) };
        let voted = Some((self.me.id, self.me.directory_id));
        self.election = Election { epoch, leader: None, voted, voters: self.static_ids() };
        self.role = Role::Candidate {
            tally: self.own_vote(),
            ask_again: moment.now + 4 * ASK_AGAIN,
            until: moment.later(self.timeouts.election, self.timeouts.election),
        };
        let mut effects = vec![self.persist()];
        effects.extend(self.ask_for_votes(moment.end));
        effects
    }

    /// An election was lost: the next one comes after a pause that grows.
    fn lose(&mut self, moment: &mut Moment<'_>) -> Vec<Effect> {
        self.lost = self.lost.saturating_add(1);
        let pause = (ASK_AGAIN << self.lost.min(6)).min(self.timeouts.backoff_max.max(1));
        self.role = Role::Unattached { until: moment.later(1, pause) };
        Vec::new()
    }

    fn become_leader(&mut self, epoch: i32, voted: Option<(i32, Uuid)>, moment: &mut Moment<'_>) -> Vec<Effect> {
        let granting = match &self.role {
            Role::Candidate { tally, .. } => tally.granted.iter().copied().collect(),
            _ => vec![self.me.id],
        };
        self.election = Election { epoch, leader: Some(self.me.id), voted, voters: self.static_ids() };
        (self.ended, self.lost) = (None, 0);
        let records = self.first_records(&granting);
        self.voters_not_in_log = false;
        self.role = Role::Leader(Box::new(Leadership::new(self.me.id, &self.voters, moment.end.offset, moment.now)));
        let mut effects = vec![self.persist(), Effect::AppendControl { epoch, records }];
        // Told at once, beyond what the leader's tick does later.
        let begin = |voter: ReplicaKey| Effect::Send {
            to: voter,
            message: Outgoing::BeginEpoch(BeginEpoch { epoch, leader: self.me.id, voter }),
        };
        effects.extend(self.others().map(begin));
        effects
    }

    fn own_vote(&self) -> Tally {
        Tally { granted: [self.me.id].into(), ..Tally::default() }
    }

    fn ask_for_votes(&self, end: LogEnd) -> Vec<Effect> {
        let (tally, pre_vote) = match &self.role {
            Role::Prospective { tally, .. } => (tally, true),
            Role::Candidate { tally, .. } => (tally, false),
            _ => return Vec::new(),
        };
        let ask = |voter: ReplicaKey| {
            let request = VoteRequest { epoch: self.epoch(), candidate: self.me, voter, end, pre_vote };
            Effect::Send { to: voter, message: Outgoing::Vote(request) }
        };
        self.others().filter(|voter| !tally.granted.contains(&voter.id)).map(ask).collect()
    }

    /// All voters but this node.
    fn others(&self) -> impl Iterator<Item = ReplicaKey> {
        let key = |voter: &super::voters::Voter| ReplicaKey { id: voter.id, directory_id: voter.directory_id };
        self.voters.iter().filter(|voter| voter.id != self.me.id).map(key)
    }

    fn persist(&self) -> Effect {
        Effect::Persist(self.election.clone())
    }

    /// Version 0 of `quorum-state` names the voters.
    fn static_ids(&self) -> Vec<i32> {
        match self.records.kraft_version {
            KRaftVersion::Static => self.voters.iter().map(|voter| voter.id).collect(),
            KRaftVersion::Dynamic => Vec::new(),
        }
    }

    /// Who leads and who voted for it; then, where no log has told them yet, the voters themselves.
    fn first_records(&self, granting: &[i32]) -> Vec<ControlRecord<'static>> {
        let voter = |id: i32| ChangeVoter { voter_id: id, voter_directory_id: Uuid::ZERO };
        let message = LeaderChangeMessage {
            version: 0,
            leader_id: self.me.id,
            voters: self.voters.iter().map(|one| voter(one.id)).collect(),
            granting_voters: granting.iter().map(|id| voter(*id)).collect(),
        };
        let mut records = vec![ControlRecord::LeaderChange(message)];
        if self.voters_not_in_log {
            records.extend(self.records.to_records());
        }
        records
    }
}
