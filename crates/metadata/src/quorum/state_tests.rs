//! Elections, with nothing around them: messages arrive at once, in the order in which they were sent.

use std::collections::VecDeque;

use wire::ErrorCode;

use super::messages::{Known, LogEnd, Outgoing, ReplicaKey, VoteReply, VoteRequest};
use super::state::{Beginning, Effect, Moment, Quorum, SUCCESSION_STEP, Timeouts};
use super::voters::{QuorumRecords, Voter, VoterSet};
use crate::planted::Bug;

const END: LogEnd = LogEnd { epoch: 3, offset: 100 };

fn voter(id: i32) -> Quorum {
    let voters = VoterSet::new((1..=3).map(|id| Voter { id, ..Voter::default() }).collect());
    let beginning = Beginning {
        me: ReplicaKey { id, ..ReplicaKey::default() },
        timeouts: Timeouts::default(),
        voters,
        records: QuorumRecords::default(),
        voters_not_in_log: false,
        election: None,
        committed: 0,
        bug: Bug::None,
    };
    Quorum::new(beginning, &mut Moment { now: 0, end: END, random: &mut || 0 })
}

fn chance(seed: &mut u64) -> impl FnMut() -> u64 {
    move || {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *seed >> 33
    }
}

/// Some voters of three; the others are silent.
struct World {
    now: i64,
    seed: u64,
    voters: Vec<Quorum>,
    asked: VecDeque<(i32, i32, VoteRequest)>,
    answered: VecDeque<(i32, i32, VoteRequest, VoteReply)>,
}

impl World {
    fn follow(&mut self, leader: i32) {
        let known = Known { error: ErrorCode::None, epoch: 3, leader: Some(leader) };
        for voter in &mut self.voters {
            let mut moment = Moment { now: self.now, end: END, random: &mut || 0 };
            voter.heard(&known, &mut moment);
            voter.leader_answered(0, END.offset, &mut moment);
        }
    }

    fn ended(&mut self, voter: i32, leader: i32) {
        let mut moment = Moment { now: self.now, end: END, random: &mut || 0 };
        if let Some(voter) = self.voter(voter) {
            voter.leader_ended(leader, END.epoch, &mut moment);
        }
    }

    fn voter(&mut self, id: i32) -> Option<&mut Quorum> {
        self.voters.iter_mut().find(|voter| voter.me().id == id)
    }

    fn take(&mut self, from: i32, effects: Vec<Effect>) {
        for effect in effects {
            if let Effect::Send { to, message: Outgoing::Vote(request) } = effect {
                self.asked.push_back((from, to.id, request));
            }
        }
    }

    /// Lets time go on to `until`.
    fn run(&mut self, until: i64) {
        let mut seed = self.seed;
        while self.now < until {
            self.now += 1;
            for at in 0..self.voters.len() {
                let mut random = chance(&mut seed);
                let mut moment = Moment { now: self.now, end: END, random: &mut random };
                let effects = self.voters[at].tick(&mut moment);
                self.take(self.voters[at].me().id, effects);
            }
            while let Some((from, to, request)) = self.asked.pop_front() {
                let mut random = chance(&mut seed);
                let mut moment = Moment { now: self.now, end: END, random: &mut random };
                let Some(voter) = self.voter(to) else { continue };
                let (reply, effects) = voter.vote(&request, &mut moment);
                self.answered.push_back((to, from, request, reply));
                self.take(to, effects);
            }
            while let Some((from, to, request, reply)) = self.answered.pop_front() {
                let mut random = chance(&mut seed);
                let mut moment = Moment { now: self.now, end: END, random: &mut random };
                let Some(voter) = self.voter(to) else { continue };
                let effects = voter.vote_answered(from, &request, &reply, &mut moment);
                self.take(to, effects);
            }
        }
        self.seed = seed;
    }
}

fn world(ids: &[i32]) -> World {
    let voters = ids.iter().map(|id| voter(*id)).collect();
    World { now: 0, seed: 7, voters, asked: VecDeque::new(), answered: VecDeque::new() }
}

/// The first to doubt the leader must not be talked out of it by one that is about to doubt it as well.
#[test]
fn a_frozen_leader_is_replaced_though_its_followers_doubt_it_one_after_the_other() {
    for apart in [0, 1, 5, 50] {
        let mut world = world(&[2, 3]);
        world.follow(1);
        let mut moment = Moment { now: apart, end: END, random: &mut || 0 };
        world.voters[1].leader_answered(0, END.offset, &mut moment);
        world.run(5_000);
        let led = world.voters.iter().filter(|voter| voter.is_leader()).count();
        assert_eq!(led, 1, "{apart} ms apart: {:?}", world.voters);
    }
}

/// The one that is first in line hears late that the leader's process has ended, and stands in the same moment as the next:
/// each has the other's pre-vote and votes for itself. The third vote, which would decide, is that of a process that is no more.
#[test]
fn a_split_vote_does_not_wait_for_the_vote_of_a_leader_that_has_ended() {
    for seed in 0..100 {
        let mut world = world(&[2, 3]);
        world.seed = seed;
        world.follow(1);
        world.ended(3, 1);
        world.run(SUCCESSION_STEP - 1);
        world.ended(2, 1);
        world.run(SUCCESSION_STEP + 1);
        let split = world.voters.iter().all(|voter| voter.voted() == Some(voter.me().id));
        assert!(split, "{:?}", world.voters);
        world.run(SUCCESSION_STEP + 500);
        let led = world.voters.iter().filter(|voter| voter.is_leader()).count();
        assert_eq!(led, 1, "seed {seed}: {:?}", world.voters);
    }
}

#[test]
fn there_is_no_epoch_behind_the_last_one() {
    let mut world = world(&[1, 2, 3]);
    let known = Known { error: ErrorCode::None, epoch: i32::MAX, leader: None };
    for voter in &mut world.voters {
        voter.heard(&known, &mut Moment { now: 0, end: END, random: &mut || 0 });
    }
    world.run(10_000);
    assert!(world.voters.iter().all(|voter| voter.epoch() == i32::MAX && !voter.is_leader()), "{:?}", world.voters);
}

/// A voter that alone hears nothing of the leader disturbs nobody, and follows it again when the leader itself says so.
#[test]
fn a_doubter_is_convinced_by_the_leader_alone() {
    let mut world = world(&[2, 3]);
    world.follow(1);
    for now in 0..50 {
        let mut moment = Moment { now: now * 100, end: END, random: &mut || 0 };
        world.voters[1].leader_answered(0, END.offset, &mut moment);
        world.run((now + 1) * 100);
    }
    let doubter = &mut world.voters[0];
    assert_eq!((doubter.leader(), doubter.epoch()), (None, 3));
    let mut moment = Moment { now: world.now, end: END, random: &mut || 0 };
    let asked = VoteRequest {
        epoch: 3,
        candidate: doubter.me(),
        voter: ReplicaKey { id: 1, ..ReplicaKey::default() },
        end: END,
        pre_vote: true,
    };
    let refused = VoteReply { granted: false, known: Known { error: ErrorCode::None, epoch: 3, leader: Some(1) } };
    assert!(doubter.vote_answered(3, &asked, &refused, &mut moment).is_empty());
    assert_eq!(doubter.leader(), None, "that is hearsay");
    assert!(doubter.vote_answered(1, &asked, &refused, &mut moment).is_empty());
    assert_eq!(doubter.leader(), Some(1));
}

/// What a new leader heard of its predecessor may be long behind what is committed.
#[test]
fn a_new_leader_tells_what_is_committed_once_it_has_committed_something_itself() {
    let mut world = world(&[2, 3]);
    world.follow(1);
    let mut moment = Moment { now: 0, end: END, random: &mut || 0 };
    for voter in &mut world.voters {
        voter.leader_answered(40, END.offset, &mut moment);
    }
    assert_eq!(world.voters[0].told_high_watermark(), 40);
    world.run(5_000);
    let (leader, follower) = match world.voters[0].is_leader() {
        true => (2, 3),
        false => (3, 2),
    };
    let leader = world.voter(leader).unwrap();
    assert_eq!((leader.high_watermark(), leader.told_high_watermark()), (40, -1));
    let end = LogEnd { offset: END.offset + 1, ..END };
    let moment = Moment { now: 5_000, end, random: &mut || 0 };
    leader.synced(end.offset);
    leader.fetched(ReplicaKey { id: follower, ..ReplicaKey::default() }, end.offset, &moment);
    assert_eq!(leader.told_high_watermark(), end.offset);
}
