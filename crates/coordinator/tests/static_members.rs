//! Members with a `group.instance.id` (KIP-345): a restart is not a rebalance.

mod common;

use common::*;
use coordinator::request::*;
use coordinator::{GroupState, Reply, Request};
use wire::ErrorCode;

fn instance(name: &str) -> JoinRequest {
    JoinRequest { instance_id: Some(name.into()), session_timeout_ms: 30_000, ..consumer("g") }
}

/// A stable group of the instances "one" (the leader) and "two"; their member ids.
fn pair(bench: &mut Bench) -> [String; 2] {
    let token = bench.join(&instance("one"));
    let one = bench.joined(token).member_id.to_string();
    let join_two = bench.join(&instance("two"));
    let join_one = bench.join(&JoinRequest { member_id: one.clone(), ..instance("one") });
    let two = bench.joined(join_two).member_id.to_string();
    assert_eq!(bench.joined(join_one).generation, 2);
    let (sync_two, sync_one) = (bench.sync(&two, 2, &[]), bench.sync(&one, 2, &[(&one, "0"), (&two, "1")]));
    assert_eq!((bench.synced(sync_one).error, bench.synced(sync_two).error), (ErrorCode::None, ErrorCode::None));
    [one, two]
}

#[test]
fn a_static_member_joins_at_once_with_an_id_of_its_instance() {
    let mut bench = Bench::new();
    let token = bench.join(&instance("one"));
    let joined = bench.joined(token);
    assert_eq!(joined.error, ErrorCode::None);
    assert!(joined.member_id.starts_with("one-"), "{}", joined.member_id);
    assert_eq!(joined.members[0].instance_id.as_deref(), Some("one"));
}

#[test]
fn a_static_follower_that_restarts_takes_over_its_assignment_without_a_rebalance() {
    let mut bench = Bench::new();
    let [one, two] = pair(&mut bench);
    bench.pass(5_000);
    let token = bench.join(&instance("two"));
    let joined = bench.joined(token);
    assert_eq!((joined.error, joined.generation, &*joined.leader), (ErrorCode::None, 2, &*one));
    assert!(!joined.skip_assignment && joined.members.is_empty());
    assert_ne!(&*joined.member_id, two);
    let sync = bench.sync(&joined.member_id, 2, &[]);
    assert_eq!(&*bench.synced(sync).assignment, b"1");
    assert_eq!(bench.heartbeat(&one, 2), ErrorCode::None);
    assert_eq!(bench.shard.describe("g").state, GroupState::Stable);
}

#[test]
fn a_static_leader_that_restarts_is_told_to_skip_the_assignment() {
    let mut bench = Bench::new();
    let [_, _] = pair(&mut bench);
    let token = bench.join(&instance("one"));
    let joined = bench.joined(token);
    assert!(joined.skip_assignment);
    assert_eq!((joined.leader.clone(), joined.members.len()), (joined.member_id.clone(), 2));
    let sync = bench.sync(&joined.member_id, 2, &[]);
    assert_eq!(&*bench.synced(sync).assignment, b"0");
}

#[test]
fn an_old_static_leader_that_restarts_does_not_learn_that_it_leads() {
    let mut bench = Bench::new();
    let [one, _] = pair(&mut bench);
    let token = bench.join(&JoinRequest { version: 8, ..instance("one") });
    let joined = bench.joined(token);
    assert_eq!((&*joined.leader, joined.members.len(), joined.skip_assignment), (&*one, 0, false));
}

#[test]
fn the_new_id_of_a_static_member_survives_a_kill() {
    let mut bench = Bench::new();
    let [one, old] = pair(&mut bench);
    let token = bench.join(&instance("two"));
    let new = bench.joined(token).member_id.to_string();
    bench.restart();
    assert_eq!(bench.heartbeat(&new, 2), ErrorCode::None);
    assert_eq!(bench.heartbeat(&old, 2), ErrorCode::UnknownMemberId);
    assert_eq!(bench.heartbeat(&one, 2), ErrorCode::None);
}

#[test]
fn the_former_self_of_a_static_member_is_fenced() {
    let mut bench = Bench::new();
    let [_, old] = pair(&mut bench);
    bench.join(&instance("two"));
    let heartbeat = HeartbeatRequest {
        group_id: "g".into(),
        generation: 2,
        member_id: old.clone(),
        instance_id: Some("two".into()),
    };
    let token = bench.ask(Request::Heartbeat(heartbeat));
    assert_eq!(bench.answer(token), Reply::Heartbeat(ErrorCode::FencedInstanceId));
    let token = bench.join(&JoinRequest { member_id: old.clone(), ..instance("two") });
    assert_eq!(bench.joined(token).error, ErrorCode::FencedInstanceId);
    assert_eq!(bench.leave(&[(&old, Some("two"))]), [ErrorCode::FencedInstanceId]);
    let commit = CommitRequest {
        generation: 2,
        member_id: old,
        instance_id: Some("two".into()),
        ..simple_commit("g", "t", 0, 1)
    };
    assert_eq!(bench.commit_offset(commit), ErrorCode::FencedInstanceId);
}

#[test]
fn a_duplicate_that_waits_to_join_is_fenced_by_the_next() {
    let mut bench = Bench::new();
    let [_, _] = pair(&mut bench);
    // A newcomer starts a rebalance, in which instance "two" waits, twice.
    bench.join_new(&consumer("g"));
    let first = bench.join(&instance("two"));
    assert!(bench.waits(first));
    let second = bench.join(&instance("two"));
    assert_eq!(bench.joined(first).error, ErrorCode::FencedInstanceId);
    assert!(bench.waits(second));
}

#[test]
fn a_static_member_that_returns_with_another_protocol_rebalances() {
    let mut bench = Bench::new();
    let protocols = vec![protocol("range", b""), protocol("sticky", b"")];
    let both = JoinRequest { protocols, ..instance("one") };
    let token = bench.join(&both);
    let one = bench.joined(token).member_id.to_string();
    let token = bench.sync(&one, 1, &[(&one, "0")]);
    bench.synced(token);
    let token = bench.join(&JoinRequest { protocols: vec![protocol("sticky", b"")], ..both });
    let joined = bench.joined(token);
    assert_eq!((joined.generation, joined.protocol.as_deref()), (2, Some("sticky")));
}

#[test]
fn a_static_member_that_is_away_stays_until_its_session_ends() {
    let mut bench = Bench::new();
    let [one, _] = pair(&mut bench);
    for _ in 0..4 {
        bench.pass(7_000);
        assert_eq!(bench.heartbeat(&one, 2), ErrorCode::None);
    }
    bench.pass(3_000);
    assert_eq!(bench.heartbeat(&one, 2), ErrorCode::RebalanceInProgress);
}

#[test]
fn an_administrator_removes_a_static_member_by_its_instance() {
    let mut bench = Bench::new();
    let [one, two] = pair(&mut bench);
    assert_eq!(bench.leave(&[("", Some("two"))]), [ErrorCode::None]);
    assert_eq!(bench.heartbeat(&two, 2), ErrorCode::UnknownMemberId);
    assert_eq!(bench.heartbeat(&one, 2), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_static_member_that_returns_while_the_leader_assigns_begins_another_round() {
    let mut bench = Bench::new();
    let token = bench.join(&instance("one"));
    let one = bench.joined(token).member_id.to_string();
    // The leader has been told the old id.
    let token = bench.join(&instance("one"));
    let joined = bench.joined(token);
    assert_eq!((joined.error, joined.generation), (ErrorCode::None, 2));
    let sync = bench.sync(&one, 1, &[(&one, "0")]);
    assert_eq!(bench.synced(sync).error, ErrorCode::UnknownMemberId);
}

#[test]
fn a_new_id_that_cannot_be_written_is_taken_back() {
    let mut bench = Bench::new();
    let [one, two] = pair(&mut bench);
    bench.commits = false;
    let (first, second) = (bench.join(&instance("two")), bench.join(&instance("two")));
    bench.fail(ErrorCode::KafkaStorageError);
    assert_eq!(bench.joined(first).error, ErrorCode::FencedInstanceId);
    assert_eq!(bench.joined(second).error, ErrorCode::NotCoordinator);
    assert_eq!((bench.heartbeat(&one, 2), bench.heartbeat(&two, 2)), (ErrorCode::None, ErrorCode::None));
}
