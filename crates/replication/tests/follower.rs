//! What a follower makes of its leader's answers.
#![allow(clippy::unwrap_used)] // a step that fails fails its test

mod common;

use common::*;
use replication::{Answer, Durability, Followed, Park, Position};
use wire::ErrorCode;

const ALL: &[i32] = &[1, 2, 3];

/// Three replicas without a leader yet.
fn three() -> [Replica; 3] {
    let brokers = brokers(ALL);
    [1, 2, 3].map(|id| Replica::new(id, settings(Durability::PageCache, 1), &brokers))
}

fn lead(replicas: &mut [Replica; 3], leader: i32, epoch: i32) {
    for replica in replicas {
        replica.assign(&assignment(leader, epoch, epoch, ALL, ALL), 0);
    }
}

/// Replica `follower` fetches from `leader` until it has everything.
fn catch_up(replicas: &mut [Replica; 3], leader: usize, follower: usize) -> Vec<i64> {
    let mut cuts = Vec::new();
    for _ in 0..20 {
        let [leader, follower] = replicas.get_disjoint_mut([leader, follower]).unwrap();
        match fetch(leader, follower, 0) {
            Followed::Truncated { to, below_high_watermark } => {
                assert!(!below_high_watermark);
                cuts.push(to);
            }
            Followed::Advanced { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(replicas[leader].bytes(), replicas[follower].bytes());
    // A follower learns of an epoch with its first record.
    let epochs = |replica: &Replica| {
        let epochs = replica.partition.log().epochs().iter().copied();
        epochs.filter(|epoch| epoch.start_offset < replica.end()).collect::<Vec<_>>()
    };
    assert_eq!(epochs(&replicas[leader]), epochs(&replicas[follower]));
    cuts
}

/// KIP-101's first scenario: the follower has a record that it does not know to be committed, restarts, and the leader
/// dies. It must not have cut the record.
#[test]
fn what_may_be_committed_survives_a_restart_and_a_failover() {
    let mut r = three();
    lead(&mut r, 1, 1);
    r[0].append(2, true, 0).unwrap();
    for follower in [1, 2, 2] {
        let [leader, follower] = r.get_disjoint_mut([0, follower]).unwrap();
        fetch(leader, follower, 0);
    }
    let all = brokers(ALL);
    r[1].restart(0, settings(Durability::PageCache, 1), &all);
    assert_eq!(r[1].high_watermark(), 0);
    for replica in &mut r[1..] {
        replica.assign(&assignment(2, 2, 2, ALL, &[2, 3]), 0);
    }
    assert_eq!(r[1].end(), 2);
    assert_eq!(catch_up(&mut r, 1, 2), [0; 0]);
    assert_eq!(r[1].high_watermark(), 2);
}

/// KIP-101's second scenario: two replicas have different records at the same offset.
#[test]
fn a_former_leader_cuts_what_the_new_one_does_not_have() {
    let mut r = three();
    lead(&mut r, 1, 1);
    r[0].append(2, true, 0).unwrap();
    catch_up(&mut r, 0, 1);
    catch_up(&mut r, 0, 2);
    r[0].append(3, false, 0).unwrap();
    lead(&mut r, 2, 2);
    r[1].append(1, true, 0).unwrap();
    assert_eq!(catch_up(&mut r, 1, 0), [2]);
    assert_eq!(r[0].end(), 3);
}

/// KIP-279: after two fast failovers neither knows the other's last epoch; they meet in more than one step.
#[test]
fn logs_that_parted_twice_meet_again() {
    let mut r = three();
    lead(&mut r, 1, 1);
    r[0].append(2, false, 0).unwrap();
    catch_up(&mut r, 0, 1);
    catch_up(&mut r, 0, 2);
    // Each leads for a moment, alone, and appends.
    for (leader, epoch) in [(1, 2), (2, 3), (1, 4), (2, 5)] {
        r[leader - 1].assign(&assignment(leader as i32, epoch, epoch, ALL, ALL), 0);
        r[leader - 1].append(2, false, 0).unwrap();
    }
    lead(&mut r, 2, 6);
    r[1].append(1, false, 0).unwrap();
    let cuts = catch_up(&mut r, 1, 0);
    assert_eq!(cuts.last(), Some(&2), "{cuts:?}");
    assert!(catch_up(&mut r, 1, 2).is_empty());
}

/// A leader that was elected and appended nothing has an epoch that nobody else knows.
#[test]
fn an_epoch_without_records_is_forgotten() {
    let mut r = three();
    lead(&mut r, 1, 1);
    r[0].append(2, false, 0).unwrap();
    catch_up(&mut r, 0, 1);
    r[0].assign(&assignment(1, 2, 2, ALL, ALL), 0);
    assert_eq!(r[0].partition.log().latest_epoch(), 2);
    lead(&mut r, 2, 3);
    r[1].append(1, false, 0).unwrap();
    assert_eq!(catch_up(&mut r, 1, 0), [2]);
}

#[test]
fn an_answer_counts_only_for_the_state_that_asked() {
    let mut r = three();
    lead(&mut r, 1, 1);
    r[0].append(2, true, 0).unwrap();
    let asked = r[1].partition.position().unwrap();
    let response = answer(&mut r[0].partition, 2, &asked, 0).unwrap();
    let take = |r: &mut [Replica; 3], asked: &Position| {
        r[1].partition.take_answer(asked, &response.as_answer(), 0, 0).unwrap()
    };
    assert!(matches!(take(&mut r, &asked), Followed::Advanced { .. }));
    assert!(matches!(take(&mut r, &asked), Followed::Stale), "the same answer again");
    let other_epoch = Position { leader_epoch: 0, ..r[1].partition.position().unwrap() };
    assert!(matches!(take(&mut r, &other_epoch), Followed::Stale));
    lead(&mut r, 3, 2);
    assert!(matches!(take(&mut r, &asked), Followed::Stale));
    assert_eq!(r[1].end(), 2);
}

#[test]
fn what_is_no_batch_of_this_leader_is_refused_and_what_came_before_it_kept() {
    let mut r = three();
    lead(&mut r, 1, 1);
    r[0].append(2, true, 0).unwrap();
    r[0].append(1, true, 0).unwrap();
    let asked = r[1].partition.position().unwrap();
    let mut response = answer(&mut r[0].partition, 2, &asked, 0).unwrap();
    let last = response.records.len() - 1;
    response.records[last] ^= 1;
    let followed = r[1].partition.take_answer(&asked, &response.as_answer(), 0, 0).unwrap();
    assert!(matches!(followed, Followed::Refused(ErrorCode::CorruptMessage)), "{followed:?}");
    assert_eq!(r[1].end(), 2);
    // A batch of an epoch that is not this leader's yet.
    lead(&mut r, 1, 5);
    r[0].append(1, true, 0).unwrap();
    let later = r[0].bytes();
    let asked = r[2].partition.position().unwrap();
    r[2].assign(&assignment(1, 5, 5, ALL, ALL), 0);
    let asked = Position { leader_epoch: 5, ..asked };
    let old = Answer { high_watermark: 0, log_start_offset: 0, diverging: None, records: &later };
    assert!(matches!(r[2].partition.take_answer(&asked, &old, 0, 0).unwrap(), Followed::Advanced { .. }));
    let mut r = three();
    lead(&mut r, 1, 1);
    let asked = r[2].partition.position().unwrap();
    let followed = r[2].partition.take_answer(&asked, &old, 0, 0).unwrap();
    assert!(matches!(followed, Followed::Refused(ErrorCode::CorruptMessage)), "{followed:?}");
    assert_eq!(r[2].end(), 3, "what this leader may have written is kept");
}

#[test]
fn a_follower_begins_anew_where_the_leaders_log_begins() {
    let mut r = three();
    lead(&mut r, 1, 1);
    r[0].append(5, false, 0).unwrap();
    catch_up(&mut r, 0, 1);
    catch_up(&mut r, 0, 1);
    r[0].append(5, false, 0).unwrap();
    catch_up(&mut r, 0, 2);
    catch_up(&mut r, 0, 1);
    r[0].partition.log_mut().delete_records(5, 0).unwrap();
    let [leader, follower] = r.get_disjoint_mut([0, 1]).unwrap();
    fetch(leader, follower, 0);
    assert_eq!(r[1].partition.log().log_start_offset(), 5, "it deletes what the leader deleted");
    // One that has none of what is left.
    let all = brokers(ALL);
    let mut late = Replica::new(3, settings(Durability::PageCache, 1), &all);
    late.assign(&assignment(1, 1, 1, ALL, ALL), 0);
    let asked = late.partition.position().unwrap();
    assert_eq!(answer(&mut r[0].partition, 3, &asked, 0).err(), Some(ErrorCode::OffsetOutOfRange));
    let followed = late.partition.out_of_range(&asked, 5, 10).unwrap();
    assert!(matches!(followed, Followed::Truncated { to: 5, .. }), "{followed:?}");
    assert_eq!((late.end(), late.high_watermark(), late.partition.log().log_start_offset()), (5, 5, 5));
    let Followed::Advanced { bytes, .. } = fetch(&mut r[0], &mut late, 0) else { panic!("it does not follow") };
    assert!(bytes > 0);
    assert_eq!(late.end(), 10);
}

/// DeleteRecords may leave a batch of which only the end is wanted. It comes whole.
#[test]
fn a_follower_begins_inside_of_a_batch_where_the_leaders_log_does() {
    let mut r = three();
    lead(&mut r, 1, 1);
    for records in [5, 5, 2] {
        r[0].append(records, false, 0).unwrap();
        catch_up(&mut r, 0, 1);
        catch_up(&mut r, 0, 2);
    }
    r[0].partition.log_mut().delete_records(7, 0).unwrap();
    let all = brokers(ALL);
    let mut late = Replica::new(3, settings(Durability::PageCache, 1), &all);
    late.assign(&assignment(1, 1, 1, ALL, ALL), 0);
    let asked = late.partition.position().unwrap();
    late.partition.out_of_range(&asked, 7, 12).unwrap();
    late.sync();
    assert_eq!(late.partition.log().recovery_point(), 7);
    let asked = late.partition.position().unwrap();
    let response = answer(&mut r[0].partition, 3, &asked, 0).unwrap();
    let followed = late.partition.take_answer(&asked, &response.as_answer(), 0, 0).unwrap();
    let Followed::BegunInside(begun) = followed else { panic!("{followed:?}") };
    // Nothing is in the log yet that the checkpoints of now would call synced after a power cut.
    let log = late.partition.log();
    assert_eq!((begun.offset, log.log_start_offset(), log.log_end_offset(), log.recovery_point()), (5, 5, 5, 5));
    assert_eq!(late.high_watermark(), 5);
    let followed = late.partition.take_answer(&begun, &response.as_answer(), 0, 0).unwrap();
    assert!(matches!(followed, Followed::Advanced { .. }), "{followed:?}");
    fetch(&mut r[0], &mut late, 0);
    assert_eq!((late.end(), late.high_watermark(), late.partition.log().log_start_offset()), (12, 12, 7));
    assert_eq!(late.partition.log().active_segment(), 5);
}

/// One that was away for longer than the others kept records is elected all the same. What they have begins beyond its
/// end, and what it writes from there on must not be missing from their logs.
#[test]
fn a_log_that_begins_beyond_the_leaders_end_begins_again_there() {
    for to_delete in [4, 7] {
        let mut r = three();
        lead(&mut r, 1, 1);
        r[0].append(2, false, 0).unwrap();
        catch_up(&mut r, 0, 1);
        catch_up(&mut r, 0, 2);
        for records in [2, 3] {
            r[0].append(records, false, 0).unwrap();
        }
        catch_up(&mut r, 0, 1);
        r[1].partition.log_mut().delete_records(to_delete, 0).unwrap();
        lead(&mut r, 3, 2);
        let [_, follower, leader] = &mut r;
        let mut steps = 0;
        while follower.end() != leader.end() || steps == 0 {
            steps += 1;
            assert!(
                steps < 5,
                "it begins at {} and ends at {}",
                follower.partition.log().log_start_offset(),
                follower.end()
            );
            let asked = follower.partition.position().unwrap();
            match answer(&mut leader.partition, 2, &asked, 0) {
                Ok(response) => drop(follower.partition.take_answer(&asked, &response.as_answer(), 0, 0).unwrap()),
                Err(ErrorCode::OffsetOutOfRange) => {
                    drop(follower.partition.out_of_range(&asked, 0, leader.end()).unwrap())
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        leader.append(6, false, 0).unwrap();
        fetch(leader, follower, 0);
        let bytes = |replica: &Replica| replica.partition.log().read_bytes(2, u32::MAX, i64::MAX).unwrap();
        assert_eq!((follower.partition.log().log_start_offset(), bytes(follower)), (2, bytes(leader)));
    }
}

#[test]
fn a_leader_elected_without_what_was_committed_is_followed_and_it_is_told() {
    let mut r = three();
    lead(&mut r, 1, 1);
    r[0].append(3, false, 0).unwrap();
    catch_up(&mut r, 0, 1);
    assert_eq!(r[1].high_watermark(), 0, "the third has nothing");
    catch_up(&mut r, 0, 2);
    catch_up(&mut r, 0, 1);
    assert_eq!(r[1].high_watermark(), 3);
    // The third lost its disk and was elected all the same.
    let all = brokers(ALL);
    r[2] = Replica::new(3, settings(Durability::PageCache, 1), &all);
    lead(&mut r, 3, 2);
    r[2].append(1, false, 0).unwrap();
    let [leader, follower] = r.get_disjoint_mut([2, 1]).unwrap();
    let followed = fetch(leader, follower, 0);
    assert!(matches!(followed, Followed::Truncated { to: 0, below_high_watermark: true }), "{followed:?}");
    assert_eq!(r[1].high_watermark(), 0);
}

#[test]
fn a_replica_starts_from_the_mark_that_was_written_down() {
    let all = brokers(ALL);
    let mut a = Replica::new(1, settings(Durability::PageCache, 1), &all);
    a.assign(&assignment(1, 1, 1, &[1], &[1]), 0);
    a.append(4, false, 0).unwrap();
    for (written, expected) in [(0, 0), (3, 3), (9, 4)] {
        a.restart(written, settings(Durability::PageCache, 1), &all);
        assert_eq!(a.high_watermark(), expected);
    }
    // Alone it is as good as its log.
    a.restart(0, settings(Durability::PageCache, 1), &all);
    a.assign(&assignment(1, 2, 2, &[1], &[1]), 0);
    assert_eq!(a.high_watermark(), 4);
}

/// KIP-392: a consumer that waits at a follower gets its records when they are known to be committed there.
#[test]
fn a_consumer_at_a_follower_waits_for_its_high_watermark() {
    let mut r = three();
    lead(&mut r, 1, 1);
    let waiting = Park::new(1);
    r[1].partition.park_fetch(waiting.clone());
    r[0].append(2, true, 0).unwrap();
    let [a, b, c] = &mut r;
    fetch(a, b, 0);
    assert_eq!((b.end(), b.partition.readable_bytes(0, false), waiting.is_released()), (2, 0, false));
    fetch(a, c, 0);
    fetch(a, c, 0);
    fetch(a, b, 0);
    assert!(waiting.is_released());
    assert!(b.partition.readable_bytes(0, false) > 0);
    // The epoch is checked as a leader checks it, and only a leader serves who insists on one.
    let check = |epoch| b.partition.check_reader_epoch(epoch);
    assert_eq!(
        (check(-1), check(1), b.partition.check_epoch(1)),
        (Ok(()), Ok(()), Err(ErrorCode::NotLeaderOrFollower))
    );
    assert_eq!((check(0), check(2)), (Err(ErrorCode::FencedLeaderEpoch), Err(ErrorCode::UnknownLeaderEpoch)));
}

#[test]
fn an_epoch_is_news_for_a_while_to_who_names_an_earlier_one() {
    let mut r = three();
    lead(&mut r, 1, 3);
    for replica in &mut r {
        let leads_now = assignment(2, 4, 4, ALL, ALL);
        replica.assign(&leads_now, 1000);
        // A state that is known begins nothing anew.
        replica.assign(&leads_now, 3500);
        let is_news = |epoch, now_ms| replica.partition.is_epoch_news_to(epoch, now_ms);
        assert!(is_news(3, 1000) && is_news(3, 4000) && is_news(0, 4000));
        assert!(!is_news(3, 4001) && !is_news(4, 1000) && !is_news(5, 1000) && !is_news(-1, 1000));
    }
}

/// What was appended under another role was not counted, and is told of all the same.
#[test]
fn a_consumer_hears_of_records_that_were_there_before_the_role() {
    let mut r = three();
    lead(&mut r, 1, 1);
    r[0].append(2, true, 0).unwrap();
    let [a, b, c] = &mut r;
    for follower in [&mut *b, &mut *c] {
        fetch(a, follower, 0);
    }
    for replica in [&mut *b, &mut *c, &mut *a] {
        replica.assign(&assignment(2, 2, 2, ALL, ALL), 0);
    }
    let waiting = Park::new(1);
    b.partition.park_fetch(waiting.clone());
    fetch(b, a, 0);
    fetch(b, c, 0);
    assert_eq!((b.high_watermark(), waiting.is_released()), (2, true));
}
