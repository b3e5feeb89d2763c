//! What a leader makes of its followers' fetches and of the controller's answers.
#![allow(clippy::unwrap_used)] // a step that fails fails its test

mod common;

use common::*;
use replication::{Ack, Agreed, Assignment, Brokers, Durability, Park, Partition, ReplicaFetch, Role, Settings};
use std::sync::Arc;
use storage::testing::MemDisk;
use storage::{Fault, Log, LogConfig, OpenMode, Read, RealDisk};
use wire::ErrorCode;
use wire::codec::Records;

const ALL: &[i32] = &[1, 2, 3];

fn three(durability: Durability, min_isr: u32, isr: &[i32]) -> (Replica, Replica, Replica) {
    let brokers = brokers(ALL);
    let mut replicas = ALL.iter().map(|id| Replica::new(*id, settings(durability, min_isr), &brokers));
    let (mut a, mut b, mut c) = (replicas.next().unwrap(), replicas.next().unwrap(), replicas.next().unwrap());
    for replica in [&mut a, &mut b, &mut c] {
        replica.assign(&assignment(1, 1, 1, ALL, isr), 0);
    }
    (a, b, c)
}

/// A fetch of broker `id` from `offset`.
fn from(id: i32, offset: i64) -> ReplicaFetch {
    ReplicaFetch { replica: id, broker_epoch: 100 + i64::from(id), offset, log_start_offset: 0 }
}

#[test]
fn a_record_is_committed_when_all_in_sync_have_it() {
    let (mut a, mut b, mut c) = three(Durability::PageCache, 1, ALL);
    let ack = a.append(3, true, 0).unwrap();
    assert_eq!((a.high_watermark(), a.partition.acknowledged(&ack)), (0, None));
    let park = Park::new(1);
    a.partition.park_ack(ack, park.clone());
    for _ in 0..2 {
        fetch(&mut a, &mut b, 1);
    }
    assert_eq!(a.high_watermark(), 0, "the third has not fetched it");
    for _ in 0..2 {
        fetch(&mut a, &mut c, 2);
    }
    assert_eq!((a.high_watermark(), b.high_watermark(), c.high_watermark()), (3, 0, 3));
    assert!(park.is_released());
    assert_eq!(a.partition.acknowledged(&ack), Some(Ok(())));
    fetch(&mut a, &mut b, 3);
    assert_eq!(b.high_watermark(), 3);
    assert_eq!((a.bytes(), a.bytes()), (b.bytes(), c.bytes()));
}

/// docs/decisions/0006-followers-get-copies.md
#[test]
fn a_follower_at_the_end_gets_copies_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("t-0");
    let log = Log::create(Arc::new(RealDisk), &dir, Arc::new(LogConfig::default()), None, OpenMode::default(), 0);
    let settings = settings(Durability::PageCache, 1);
    let partition = Partition::new(1, log.unwrap(), settings, brokers(ALL), 0);
    let mut leader = Replica { id: 1, disk: MemDisk::new(), partition };
    leader.assign(&assignment(1, 1, 1, ALL, &[1]), 0);
    for _ in 0..200 {
        leader.append(1, false, 0).unwrap();
    }
    let is_copy = |read: Read| match read.records {
        Records::File(region) => region.prefer_copy,
        Records::Bytes(_) => panic!("a region of the file is expected"),
    };
    let (replica, consumer) = (
        |from| is_copy(leader.partition.read_as_replica(from, 1 << 20, true).unwrap()),
        |from| is_copy(leader.partition.read(from, 1 << 20, false, true).unwrap()),
    );
    assert_eq!((replica(199), replica(150), replica(0)), (true, true, false));
    assert_eq!((consumer(199), consumer(150), consumer(0)), (false, false, false));
}

#[test]
fn the_leader_alone_acknowledges_what_only_it_is_asked_for() {
    let (mut a, ..) = three(Durability::PageCache, 1, ALL);
    let ack = a.append(1, false, 0).unwrap();
    assert_eq!(a.partition.acknowledged(&ack), Some(Ok(())));
    let (mut a, ..) = three(Durability::Synced, 1, ALL);
    let ack = a.append(1, false, 0).unwrap();
    assert_eq!(a.partition.acknowledged(&ack), None, "it is not on the disk");
    a.sync();
    assert_eq!(a.partition.acknowledged(&ack), Some(Ok(())));
}

#[test]
fn with_synced_logs_each_counts_only_what_is_on_its_disk() {
    let (mut a, mut b, _) = three(Durability::Synced, 1, &[1, 2]);
    a.append(2, true, 0).unwrap();
    fetch(&mut a, &mut b, 1);
    assert_eq!(b.partition.position(), None, "it fetches again once it has synced");
    b.sync();
    fetch(&mut a, &mut b, 2);
    assert_eq!(a.high_watermark(), 0, "the leader has not synced");
    a.sync();
    assert_eq!(a.high_watermark(), 2);
}

#[test]
fn too_few_in_sync_refuse_before_the_append_and_commit_nothing_after_it() {
    let (mut a, ..) = three(Durability::PageCache, 2, &[1]);
    assert_eq!(a.append(1, true, 0), Err(ErrorCode::NotEnoughReplicas));
    assert_eq!(a.end(), 0);
    a.append(1, false, 0).unwrap();
    assert_eq!(a.high_watermark(), 0, "eligible leader replicas must have all that is committed");
    let (mut a, mut b, _) = three(Durability::PageCache, 2, &[1, 2]);
    let ack = a.append(1, true, 0).unwrap();
    fetch(&mut a, &mut b, 0);
    fetch(&mut a, &mut b, 0);
    assert_eq!(a.high_watermark(), 1);
    a.assign(&assignment(1, 1, 2, ALL, &[1]), 1);
    assert_eq!(a.partition.acknowledged(&ack), Some(Err(ErrorCode::NotEnoughReplicasAfterAppend)));
}

#[test]
fn more_than_there_are_replicas_cannot_be_asked_for() {
    let brokers = brokers(&[1]);
    let mut a = Replica::new(1, settings(Durability::PageCache, 3), &brokers);
    a.assign(&Assignment::sole(1, 0), 0);
    a.append(1, true, 0).unwrap();
    assert_eq!(a.high_watermark(), 1);
}

#[test]
fn a_follower_that_falls_behind_leaves_the_isr_only_when_the_controller_agrees() {
    let (mut a, mut b, _) = three(Durability::PageCache, 1, ALL);
    a.append(1, true, 10).unwrap();
    for now in [20, 30, 900] {
        fetch(&mut a, &mut b, now);
    }
    assert!(!a.partition.tick(1_000), "it has had no time yet");
    assert!(a.partition.tick(1_001));
    assert!(!a.partition.tick(1_002), "one change at a time");
    let proposal = a.partition.proposal().unwrap();
    assert_eq!((proposal.leader_epoch, proposal.partition_epoch), (1, 1));
    assert_eq!(proposal.isr, [(1, 101), (2, 102)]);
    assert_eq!(a.high_watermark(), 0, "the third may still be elected");
    assert!(a.partition.proposal_answered(&proposal, Err(ErrorCode::NotController), 1_003), "it is sent again");
    assert_eq!(a.partition.proposal(), Some(proposal.clone()));
    let agreed = Agreed { leader_epoch: 1, partition_epoch: 2, isr: [1, 2].into() };
    assert!(!a.partition.proposal_answered(&proposal, Ok(&agreed), 1_004));
    assert_eq!(
        a.high_watermark(),
        0,
        "it goes by the cluster's state, which has the settings that it was agreed under"
    );
    a.assign(&assignment(1, 1, 2, ALL, &[1, 2]), 1_005);
    assert_eq!((a.high_watermark(), a.partition.isr(), a.partition.proposal()), (1, &[1, 2][..], None));
    let ids: Vec<i32> = a.partition.followers().map(|(id, ..)| id).collect();
    assert_eq!(ids, [2, 3]);
}

/// The controller lets 2 go under min.insync.replicas=2, and 2 stays eligible: it must have all that is committed.
#[test]
fn what_left_under_a_raised_min_isr_has_all_that_is_committed() {
    let raised = settings(Durability::PageCache, 2);
    let (mut a, ..) = three(Durability::PageCache, 1, &[1, 2]);
    let ack = a.append(1, true, 10).unwrap();
    assert!(a.partition.tick(1_011));
    let proposal = a.partition.proposal().unwrap();
    let agreed = Agreed { leader_epoch: 1, partition_epoch: 2, isr: [1].into() };
    assert!(!a.partition.proposal_answered(&proposal, Ok(&agreed), 1_012));
    assert_eq!(a.partition.acknowledged(&ack), None);
    a.partition.assign_under(raised, &assignment(1, 1, 2, ALL, &[1]), 1_013).unwrap();
    assert_eq!((a.high_watermark(), a.partition.acknowledged(&ack)), (0, None));
}

/// min.insync.replicas is lowered after another leader was elected, out of those who were eligible under the higher one.
#[test]
fn a_leader_commits_nothing_under_the_settings_of_a_state_in_which_it_leads_no_more() {
    let lowered = settings(Durability::PageCache, 1);
    let (mut a, ..) = three(Durability::PageCache, 2, &[1]);
    a.append(1, false, 10).unwrap();
    a.partition.assign_under(lowered, &assignment(2, 3, 4, ALL, &[2]), 20).unwrap();
    assert_eq!(a.high_watermark(), 0);
    // And one that goes on leading, at once.
    let (mut a, ..) = three(Durability::PageCache, 2, &[1]);
    a.append(1, false, 10).unwrap();
    a.partition.assign_under(lowered, &assignment(1, 1, 1, ALL, &[1]), 20).unwrap();
    assert_eq!(a.high_watermark(), 1);
}

#[test]
fn a_follower_that_has_what_is_committed_joins() {
    let (mut a, mut b, mut c) = three(Durability::PageCache, 1, &[1, 2]);
    a.append(1, true, 10).unwrap();
    fetch(&mut a, &mut b, 10);
    fetch(&mut a, &mut b, 10);
    assert_eq!(a.high_watermark(), 1);
    fetch(&mut a, &mut c, 11);
    assert_eq!(a.partition.proposal(), None, "it had nothing yet");
    fetch(&mut a, &mut c, 12);
    let proposal = a.partition.proposal().unwrap();
    assert_eq!(proposal.isr, [(1, 101), (2, 102), (3, 103)]);
    // Until the answer is here, the newcomer counts: the controller may have agreed.
    a.append(1, true, 13).unwrap();
    fetch(&mut a, &mut b, 13);
    fetch(&mut a, &mut b, 13);
    assert_eq!(a.high_watermark(), 1);
    // The controller did not hear of it, and another state came from elsewhere.
    a.assign(&assignment(1, 1, 5, ALL, &[1, 2]), 2_000);
    assert_eq!((a.partition.proposal(), a.high_watermark()), (None, 2));
    let agreed = Agreed { leader_epoch: 1, partition_epoch: 2, isr: ALL.into() };
    assert!(!a.partition.proposal_answered(&proposal, Ok(&agreed), 2_001), "an old answer");
    assert_eq!(a.partition.isr(), [1, 2]);
}

#[test]
fn an_answer_names_no_replicas_and_the_state_that_follows_does() {
    let (mut a, _, mut c) = three(Durability::PageCache, 1, &[1]);
    fetch(&mut a, &mut c, 5);
    let proposal = a.partition.proposal().unwrap();
    let agreed = Agreed { leader_epoch: 1, partition_epoch: 2, isr: [1, 3].into() };
    assert!(!a.partition.proposal_answered(&proposal, Ok(&agreed), 6));
    let ids = |a: &Replica| a.partition.followers().map(|(id, ..)| id).collect::<Vec<i32>>();
    assert_eq!((a.partition.isr(), ids(&a)), (&[1, 3][..], vec![2, 3]));
    // A reassignment ended with this ISR.
    a.assign(&assignment(1, 1, 2, &[1, 3], &[1, 3]), 7);
    assert_eq!(ids(&a), [3]);
}

#[test]
fn a_refused_newcomer_holds_nobody_up_and_tries_again() {
    let (mut a, mut b, mut c) = three(Durability::PageCache, 1, &[1, 2]);
    fetch(&mut a, &mut c, 5);
    let proposal = a.partition.proposal().unwrap();
    assert!(!a.partition.proposal_answered(&proposal, Err(ErrorCode::IneligibleReplica), 6));
    a.append(1, true, 2_000).unwrap();
    fetch(&mut a, &mut b, 2_000);
    fetch(&mut a, &mut b, 2_000);
    assert_eq!(a.high_watermark(), 1);
    fetch(&mut a, &mut c, 2_001);
    fetch(&mut a, &mut c, 2_001);
    assert!(a.partition.proposal().is_some());
}

/// The first copy of the proposal is still on its way when the second is refused: if it arrives, the newcomer is in the
/// ISR after all.
#[test]
fn a_refusal_does_not_count_while_an_unanswered_copy_may_arrive() {
    let (mut a, _, mut c) = three(Durability::PageCache, 1, &[1]);
    fetch(&mut a, &mut c, 5);
    let proposal = a.partition.proposal().unwrap();
    assert!(a.partition.proposal_answered(&proposal, Err(ErrorCode::NetworkException), 10));
    assert!(a.partition.proposal_answered(&proposal, Err(ErrorCode::IneligibleReplica), 20), "it is sent again");
    a.append(1, true, 30).unwrap();
    assert_eq!(a.high_watermark(), 0, "the newcomer may be in the ISR");
    assert!(!a.partition.proposal_answered(&proposal, Err(ErrorCode::IneligibleReplica), 40_000));
    assert_eq!(a.high_watermark(), 1);
}

/// The follower was caught up, lost its log with the power, and registered anew: a copy of the proposal that is sent only
/// then must not speak for what it is now.
#[test]
fn a_proposal_vouches_for_the_process_that_was_caught_up() {
    let all = brokers(ALL);
    let mut a = Replica::new(1, settings(Durability::PageCache, 1), &all);
    a.assign(&assignment(1, 1, 1, ALL, &[1]), 0);
    a.append(1, true, 0).unwrap();
    assert_eq!(a.partition.fetched_by(&from(3, 1), 1), Ok(true));
    let proposal = a.partition.proposal().unwrap();
    assert_eq!(proposal.isr.last(), Some(&(3, 103)));
    assert!(a.partition.proposal_answered(&proposal, Err(ErrorCode::NetworkException), 10), "it is sent again");
    let fetch = ReplicaFetch { broker_epoch: 203, ..from(3, 0) };
    a.partition.fetched_by(&fetch, 11).unwrap();
    assert_eq!(a.partition.proposal(), Some(proposal.clone()));
    // The controller takes no copy of it any more, not even one that is still on its way.
    all.set([(1, 101), (2, 102), (3, 203)]);
    assert!(!a.partition.proposal_answered(&proposal, Err(ErrorCode::IneligibleReplica), 20));
    assert_eq!(a.partition.proposal(), None);
}

#[test]
fn only_an_active_broker_under_its_current_epoch_joins() {
    for (epoch, active) in [(99, true), (103, false)] {
        let all = brokers(ALL);
        let mut a = Replica::new(1, settings(Durability::PageCache, 1), &all);
        a.assign(&assignment(1, 1, 1, ALL, &[1]), 0);
        if !active {
            all.set([(1, 101)]);
        }
        let fetch = ReplicaFetch { broker_epoch: epoch, ..from(3, 0) };
        assert_eq!(a.partition.fetched_by(&fetch, 0), Ok(false), "epoch {epoch}, active: {active}");
        // And nobody waits for it.
        a.append(1, true, 1).unwrap();
        assert_eq!(a.high_watermark(), 1);
    }
}

#[test]
fn a_fetch_of_an_earlier_process_is_refused() {
    let (mut a, ..) = three(Durability::PageCache, 1, ALL);
    a.append(2, true, 0).unwrap();
    a.partition.fetched_by(&from(2, 0), 1).unwrap();
    let old = ReplicaFetch { broker_epoch: 50, ..from(2, 2) };
    assert_eq!(a.partition.fetched_by(&old, 2), Err(ErrorCode::NotLeaderOrFollower));
    assert_eq!(a.partition.fetched_by(&from(9, 0), 2), Err(ErrorCode::UnknownLeaderEpoch));
    let known: Vec<_> = a.partition.followers().map(|(id, end, _)| (id, end)).collect();
    assert_eq!(known, [(2, 0), (3, -1)]);
}

/// With a mark that always moves, a newcomer would never be at it: the high watermark waits for who is about to join.
#[test]
fn the_mark_waits_for_a_follower_that_is_caught_up() {
    let (mut a, ..) = three(Durability::PageCache, 1, &[1]);
    a.append(1, true, 0).unwrap();
    assert_eq!(a.high_watermark(), 1);
    a.partition.fetched_by(&from(2, 0), 10).unwrap();
    a.partition.fetched_by(&from(2, 1), 20).unwrap();
    let proposal = a.partition.proposal().unwrap();
    a.partition.proposal_answered(&proposal, Err(ErrorCode::IneligibleReplica), 21);
    a.append(1, true, 30).unwrap();
    assert_eq!(a.high_watermark(), 1);
    // Not for ever.
    a.partition.tick(1_021);
    assert_eq!(a.high_watermark(), 2);
}

#[test]
fn an_acknowledgement_does_not_outlive_the_leadership() {
    let (mut a, mut b, _) = three(Durability::PageCache, 1, &[1, 2]);
    let ack = a.append(1, true, 0).unwrap();
    let park = Park::new(1);
    a.partition.park_ack(ack, park.clone());
    a.assign(&assignment(2, 2, 2, ALL, &[1, 2]), 1);
    b.assign(&assignment(2, 2, 2, ALL, &[1, 2]), 1);
    assert!(park.is_released());
    assert_eq!(a.partition.acknowledged(&ack), Some(Err(ErrorCode::NotLeaderOrFollower)));
    // Another record stands at the offset by the time this replica leads again.
    b.append(1, true, 2).unwrap();
    for now in 2..6 {
        fetch(&mut b, &mut a, now);
    }
    assert_eq!(a.high_watermark(), 1);
    a.assign(&assignment(1, 3, 3, ALL, &[1, 2]), 7);
    assert_eq!(a.partition.acknowledged(&ack), Some(Err(ErrorCode::NotLeaderOrFollower)));
}

/// A replica that was taken away has a failed log as well; whoever waits looks for the new leader, not for a broken disk.
#[test]
fn who_waits_at_a_replica_that_is_taken_away_is_sent_to_the_leader() {
    let (mut a, _, _) = three(Durability::PageCache, 1, &[1, 2]);
    let ack = a.append(1, true, 0).unwrap();
    let parks = [Park::new(1), Park::new(1)];
    a.partition.park_ack(ack, parks[0].clone());
    a.partition.park_deletion(1, parks[1].clone());
    a.partition.resign();
    a.partition.log_mut().fail(Fault::new("use", "gone", &std::io::ErrorKind::NotFound.into()));
    assert!(parks.iter().all(|park| park.is_released()));
    assert_eq!(a.partition.acknowledged(&ack), Some(Err(ErrorCode::NotLeaderOrFollower)));
    assert_eq!(a.partition.deleted(1), Some(Err(ErrorCode::NotLeaderOrFollower)));
}

#[test]
fn an_unbroken_leadership_keeps_its_promises_under_a_new_epoch() {
    let (mut a, mut b, _) = three(Durability::PageCache, 1, &[1, 2]);
    let ack = a.append(1, true, 0).unwrap();
    let park = Park::new(1);
    a.partition.park_ack(ack, park.clone());
    let waits = Park::new(1);
    a.partition.park_fetch(waits.clone());
    for replica in [&mut a, &mut b] {
        replica.assign(&assignment(1, 2, 2, &[1, 2], &[1, 2]), 1);
    }
    assert!(waits.is_released(), "who fetches must learn of the epoch");
    assert!(!park.is_released());
    fetch(&mut a, &mut b, 2);
    fetch(&mut a, &mut b, 2);
    assert!(park.is_released());
    assert_eq!(a.partition.acknowledged(&ack), Some(Ok(())));
}

/// The states of the partition may come several at once. Where another broker led in between, followers have cut their logs
/// to that one's, and what they had under the epoch before says nothing.
#[test]
fn what_followers_had_before_another_leadership_counts_no_more() {
    let (mut a, mut b, mut c) = three(Durability::PageCache, 1, ALL);
    a.append(2, true, 0).unwrap();
    for _ in 0..2 {
        fetch(&mut a, &mut b, 1);
        fetch(&mut a, &mut c, 1);
    }
    let ack = a.append(3, true, 2).unwrap();
    for _ in 0..2 {
        fetch(&mut a, &mut c, 2);
    }
    assert_eq!((a.high_watermark(), b.end(), c.end()), (2, 2, 5));
    // The second leads for a moment, and only the third hears of it.
    for replica in [&mut b, &mut c] {
        replica.assign(&assignment(2, 2, 2, ALL, ALL), 3);
    }
    fetch(&mut b, &mut c, 3);
    assert_eq!(c.end(), 2);
    for replica in [&mut a, &mut b, &mut c] {
        replica.assign(&assignment(1, 3, 3, ALL, ALL), 4);
    }
    for _ in 0..3 {
        fetch(&mut a, &mut b, 5);
    }
    assert_eq!((b.end(), a.high_watermark(), a.partition.acknowledged(&ack)), (5, 2, None), "the third has 2");
    for _ in 0..3 {
        fetch(&mut a, &mut c, 6);
    }
    assert_eq!((c.end(), a.partition.acknowledged(&ack)), (5, Some(Ok(()))));
}

#[test]
fn parked_fetches_hear_of_what_they_may_see() {
    let (mut a, mut b, _) = three(Durability::PageCache, 1, &[1, 2]);
    let (consumer, follower) = (Park::new(1), Park::new(1));
    a.partition.park_fetch(consumer.clone());
    a.partition.park_replica_fetch(follower.clone());
    a.append(1, true, 0).unwrap();
    assert_eq!((consumer.is_released(), follower.is_released()), (false, true));
    a.append(1, true, 0).unwrap();
    a.partition.fetched_by(&from(2, 0), 1).unwrap();
    a.partition.fetched_by(&from(2, 1), 1).unwrap();
    assert!(consumer.is_released());
    let late = Park::new(1);
    a.partition.park_fetch(late.clone());
    assert_eq!(a.partition.readable_bytes(1, false), 0);
    fetch(&mut a, &mut b, 2);
    fetch(&mut a, &mut b, 2);
    assert!(late.is_released(), "the rest is told of too");
}

#[test]
fn old_states_of_the_partition_change_nothing() {
    let (mut a, ..) = three(Durability::PageCache, 1, ALL);
    a.assign(&assignment(1, 1, 3, ALL, &[1, 2]), 1);
    a.assign(&assignment(1, 1, 2, ALL, ALL), 2);
    assert_eq!(a.partition.isr(), [1, 2]);
    a.assign(&assignment(2, 0, 9, ALL, ALL), 2);
    assert_eq!(a.partition.role(), Role::Leader { epoch: 1 });
}

#[test]
fn a_new_leader_promises_nothing_of_its_own_log_until_it_is_everywhere() {
    let (mut a, mut b, mut c) = three(Durability::PageCache, 1, ALL);
    a.append(5, true, 0).unwrap();
    fetch(&mut a, &mut b, 1);
    for replica in [&mut b, &mut c] {
        replica.assign(&assignment(2, 2, 2, ALL, &[2, 3]), 2);
    }
    assert_eq!((b.end(), b.high_watermark()), (5, 0));
    let known = Ack { offset: 5, epoch: 1, all: true };
    assert_eq!(b.partition.acknowledged(&known), Some(Err(ErrorCode::NotLeaderOrFollower)));
    fetch(&mut b, &mut c, 3);
    assert_eq!(b.high_watermark(), 0);
    fetch(&mut b, &mut c, 4);
    assert_eq!(b.high_watermark(), 5);
}

#[test]
fn low_watermark_and_missing_replicas_follow_the_fetches() {
    let (mut a, ..) = three(Durability::PageCache, 1, &[1, 2]);
    assert_eq!((a.partition.missing_replicas(), a.partition.low_watermark()), (1, -1));
    for id in [2, 3] {
        a.partition.fetched_by(&from(id, 0), 1).unwrap();
    }
    assert_eq!(a.partition.low_watermark(), 0);
}

/// Three replicas, all in sync, whose followers serve consumers.
fn three_that_are_read() -> (Replica, Replica, Replica) {
    let brokers = brokers(ALL);
    let settings = Settings { followers_are_read: true, ..settings(Durability::PageCache, 1) };
    let [mut a, mut b, mut c] = [1, 2, 3].map(|id| Replica::new(id, settings, &brokers));
    for replica in [&mut a, &mut b, &mut c] {
        replica.assign(&assignment(1, 1, 1, ALL, ALL), 0);
    }
    (a, b, c)
}

#[test]
fn where_followers_are_read_each_hears_of_a_new_high_watermark_once_and_at_once() {
    let (mut a, mut b, mut c) = three_that_are_read();
    a.append(1, true, 0).unwrap();
    fetch(&mut a, &mut b, 1);
    fetch(&mut a, &mut c, 1);
    fetch(&mut a, &mut b, 1);
    assert_eq!(a.partition.tell_high_watermark(2), (0, true), "that there is one");
    assert_eq!(a.partition.tell_high_watermark(2), (0, false));
    let waiting = Park::new(1);
    a.partition.park_replica_fetch(waiting.clone());
    a.partition.fetched_by(&from(3, 1), 2).unwrap();
    assert!(waiting.is_released());
    assert_eq!([2, 2, 3].map(|id| a.partition.tell_high_watermark(id)), [(1, true), (1, false), (1, true)]);
    assert_eq!(a.partition.tell_high_watermark(4), (1, false), "nobody's");
}

#[test]
fn where_nobody_reads_followers_they_hear_with_the_next_record() {
    let (mut a, mut b, _) = three(Durability::PageCache, 1, &[1, 2]);
    a.append(1, true, 0).unwrap();
    let waiting = Park::new(1);
    fetch(&mut a, &mut b, 1);
    a.partition.park_replica_fetch(waiting.clone());
    fetch(&mut a, &mut b, 1);
    assert_eq!((a.high_watermark(), waiting.is_released()), (1, false));
    assert_eq!(a.partition.tell_high_watermark(2), (1, false));
}

#[test]
fn a_consumer_is_sent_only_to_a_follower_in_sync_that_has_the_offset() {
    let (mut a, mut b, mut c) = three_that_are_read();
    a.append(3, true, 0).unwrap();
    fetch(&mut a, &mut b, 1);
    fetch(&mut a, &mut b, 2);
    fetch(&mut a, &mut c, 2);
    let ids = |a: &Replica, offset| a.partition.readable_followers(offset).map(|(id, ..)| id).collect::<Vec<_>>();
    assert_eq!((ids(&a, 0), ids(&a, 1), ids(&a, 4)), (vec![2, 3], vec![2], vec![]));
    a.assign(&assignment(1, 1, 2, ALL, &[1, 3]), 3);
    assert_eq!((ids(&a, 0), ids(&a, 1)), (vec![3], vec![]));
}

/// The wall clock may be set, forwards and back; followers are late by another.
#[test]
fn no_follower_is_late_because_the_wall_clock_was_set() {
    let (mut a, mut b, mut c) = three(Durability::PageCache, 1, ALL);
    for follower in [&mut b, &mut c] {
        fetch(&mut a, follower, 10);
    }
    a.append(1, true, 1_800_000_000_000).unwrap();
    assert!(!a.partition.tick(20), "a second has not passed");
    a.append(1, true, 0).unwrap();
    for _ in 0..2 {
        fetch(&mut a, &mut b, 40_000);
    }
    assert!(a.partition.tick(40_001), "the third was not caught up for too long");
    assert_eq!(a.partition.proposal().unwrap().isr, [(1, 101), (2, 102)]);
}

/// Three replicas with ten records, all of them committed, of which each log has all.
fn three_with_records(brokers: &Arc<Brokers>) -> (Replica, Replica, Replica) {
    let [mut a, mut b, mut c] = [1, 2, 3].map(|id| Replica::new(id, settings(Durability::PageCache, 1), brokers));
    for replica in [&mut a, &mut b, &mut c] {
        replica.assign(&assignment(1, 1, 1, ALL, ALL), 0);
    }
    a.append(10, true, 0).unwrap();
    for _ in 0..2 {
        fetch(&mut a, &mut b, 1);
        fetch(&mut a, &mut c, 1);
    }
    (a, b, c)
}

#[test]
fn records_are_deleted_once_every_live_replica_has_done_it_and_they_hear_at_once() {
    let (mut a, mut b, mut c) = three_with_records(&brokers(ALL));
    a.partition.delete_records(6, 2).unwrap();
    let (waiting, fetch_of_follower) = (Park::new(1), Park::new(1));
    a.partition.park_replica_fetch(fetch_of_follower.clone());
    a.partition.park_deletion(6, waiting.clone());
    assert!(fetch_of_follower.is_released(), "a follower hears at once");
    assert_eq!((a.partition.deleted(6), a.partition.low_watermark()), (None, 0));
    assert!(a.partition.is_to_delete(0) && !a.partition.is_to_delete(6) && !a.partition.is_to_delete(-1));
    for follower in [&mut b, &mut c] {
        assert!(!waiting.is_released());
        fetch(&mut a, follower, 3); // hears of it
        fetch(&mut a, follower, 3); // says so
    }
    assert!(waiting.is_released());
    assert_eq!((a.partition.deleted(6), b.partition.log().log_start_offset()), (Some(Ok(6)), 6));
    assert!(!a.partition.is_to_delete(0), "nobody waits any more");
    let again = Park::new(1);
    a.partition.park_deletion(4, again.clone());
    assert!(again.is_released(), "it was deleted before");
    assert_eq!(a.partition.deleted(4), Some(Ok(6)));
}

#[test]
fn a_deletion_waits_for_no_dead_broker_and_not_for_what_another_leader_does() {
    let brokers = brokers(ALL);
    let (mut a, mut b, _) = three_with_records(&brokers);
    let waiting = Park::new(1);
    a.partition.delete_records(6, 2).unwrap();
    a.partition.park_deletion(6, waiting.clone());
    fetch(&mut a, &mut b, 3);
    fetch(&mut a, &mut b, 3);
    assert_eq!(a.partition.deleted(6), None, "the third has not");
    brokers.set([(1, 101), (2, 102)]);
    assert_eq!(a.partition.deleted(6), Some(Ok(6)));
    a.partition.tick(4);
    assert!(waiting.is_released());

    brokers.set([(1, 101), (2, 102), (3, 103)]);
    let waiting = Park::new(1);
    a.partition.delete_records(8, 5).unwrap();
    a.partition.park_deletion(8, waiting.clone());
    a.assign(&assignment(2, 2, 2, ALL, ALL), 6);
    assert!(waiting.is_released());
    assert_eq!(a.partition.deleted(8), Some(Err(ErrorCode::NotLeaderOrFollower)));
}

/// Nobody can fetch from it: those who have everything would leave the ISR to the one that has lost it.
#[test]
fn a_leader_whose_log_is_offline_sends_nobody_out_of_the_isr_and_commits_nothing() {
    let (mut a, mut b, _) = three(Durability::PageCache, 1, ALL);
    a.append(1, true, 10).unwrap();
    fetch(&mut a, &mut b, 20);
    let fault = Fault::new("use", "/data", &std::io::Error::other("offline"));
    a.partition.log_mut().fail(fault);
    a.partition.fail();
    assert!(!a.partition.tick(10_000));
    assert_eq!(a.partition.proposal(), None);
    a.assign(&assignment(1, 1, 2, ALL, &[1]), 10_001);
    assert_eq!(a.high_watermark(), 0);
}
