//! How members join, agree, stay and leave.

mod common;

use common::*;
use coordinator::request::*;
use coordinator::{Config, GroupState, Request};
use wire::ErrorCode;

#[test]
fn a_new_member_is_given_an_id_and_joins_with_it() {
    let mut bench = Bench::new();
    let token = bench.join(&consumer("g"));
    let reply = bench.joined(token);
    assert_eq!((reply.error, reply.generation), (ErrorCode::MemberIdRequired, -1));
    assert!(reply.member_id.starts_with("app-07070707-0707-4707-"), "{}", reply.member_id);
    assert_eq!(reply.member_id.len(), "app-".len() + 36);
    let token = bench.join(&JoinRequest { member_id: reply.member_id.to_string(), ..consumer("g") });
    let joined = bench.joined(token);
    assert_eq!((joined.error, joined.generation), (ErrorCode::None, 1));
    assert_eq!(joined.leader, joined.member_id);
    assert_eq!((joined.protocol_type.as_deref(), joined.protocol.as_deref()), (Some("consumer"), Some("range")));
    assert_eq!(joined.members.len(), 1);
}

#[test]
fn an_old_client_joins_without_knowing_its_id() {
    let mut bench = Bench::new();
    let token = bench.join(&JoinRequest { version: 3, ..consumer("g") });
    assert_eq!(bench.joined(token).error, ErrorCode::None);
}

#[test]
fn two_members_share_a_generation_and_only_the_leader_sees_both() {
    let mut bench = Bench::with(Config { initial_rebalance_delay_ms: 3_000, ..Config::default() });
    let (a, join_a) = bench.join_new(&consumer("g"));
    let (b, join_b) = bench.join_new(&consumer("g"));
    assert!(bench.waits(join_a) && bench.waits(join_b));
    bench.pass(2_999);
    assert!(bench.waits(join_a), "the first rebalance waits for others to come");
    // A member came, so the delay is taken once more.
    bench.pass(3_001);
    let (joined_a, joined_b) = (bench.joined(join_a), bench.joined(join_b));
    assert_eq!((joined_a.generation, joined_b.generation), (1, 1));
    assert_eq!((&*joined_a.leader, &*joined_b.leader), (&*a, &*a));
    assert_eq!((joined_a.members.len(), joined_b.members.len()), (2, 0));

    let sync_b = bench.sync(&b, 1, &[]);
    assert!(bench.waits(sync_b), "a follower waits for the leader's assignment");
    assert_eq!(bench.heartbeat(&b, 1), ErrorCode::None);
    let sync_a = bench.sync(&a, 1, &[(&a, "0"), (&b, "1")]);
    assert_eq!(&*bench.synced(sync_a).assignment, b"0");
    assert_eq!(&*bench.synced(sync_b).assignment, b"1");
    assert_eq!(bench.shard.describe("g").state, GroupState::Stable);
}

#[test]
fn the_first_rebalance_is_put_off_no_longer_than_the_rebalance_timeout() {
    let mut bench = Bench::with(Config { initial_rebalance_delay_ms: 3_000, ..Config::default() });
    let join = || JoinRequest { rebalance_timeout_ms: 7_000, ..consumer("g") };
    let (_, first) = bench.join_new(&join());
    for _ in 0..6 {
        bench.join_new(&join());
        bench.pass(1_000);
    }
    assert!(bench.waits(first));
    bench.pass(1_000);
    assert_eq!(bench.joined(first).error, ErrorCode::None);
}

#[test]
fn an_assignment_is_given_out_only_once_it_is_in_the_log() {
    let mut bench = Bench::new();
    let (a, token) = bench.join_new(&consumer("g"));
    bench.joined(token);
    bench.commits = false;
    let sync = bench.sync(&a, 1, &[(&a, "0")]);
    assert!(bench.waits(sync));
    assert_eq!(bench.shard.describe("g").state, GroupState::CompletingRebalance);
    bench.commit();
    assert_eq!(&*bench.synced(sync).assignment, b"0");
}

#[test]
fn an_assignment_that_cannot_be_written_starts_another_rebalance() {
    let mut bench = Bench::new();
    let (a, token) = bench.join_new(&consumer("g"));
    bench.joined(token);
    bench.commits = false;
    let sync = bench.sync(&a, 1, &[(&a, "0")]);
    bench.fail(ErrorCode::NotEnoughReplicas);
    assert_eq!(bench.synced(sync).error, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(bench.shard.describe("g").state, GroupState::PreparingRebalance);
    bench.commits = true;
    let token = bench.join(&JoinRequest { member_id: a.clone(), ..consumer("g") });
    assert_eq!(bench.joined(token).generation, 2);
}

#[test]
fn a_third_member_makes_the_others_join_again() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable_group(2);
    let (_, third) = bench.join_new(&consumer("g"));
    assert!(bench.waits(third));
    for id in &ids {
        assert_eq!(bench.heartbeat(id, generation), ErrorCode::RebalanceInProgress);
        let token = bench.sync(id, generation, &[]);
        assert_eq!(bench.synced(token).error, ErrorCode::RebalanceInProgress);
    }
    let again: Vec<_> =
        ids.iter().map(|id| bench.join(&JoinRequest { member_id: id.clone(), ..consumer("g") })).collect();
    for token in again.into_iter().chain([third]) {
        assert_eq!(bench.joined(token).generation, generation + 1);
    }
}

#[test]
fn who_does_not_join_again_in_time_is_out() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable_group(2);
    let (_, third) = bench.join_new(&consumer("g"));
    let first = bench.join(&JoinRequest { member_id: ids[0].clone(), ..consumer("g") });
    for _ in 0..12 {
        // The silent one keeps its session, but does not join.
        bench.heartbeat(&ids[1], generation);
        bench.pass(5_000);
    }
    assert_eq!(bench.joined(first).generation, generation + 1);
    assert_eq!(bench.joined(third).generation, generation + 1);
    assert_eq!(bench.heartbeat(&ids[1], generation), ErrorCode::UnknownMemberId);
}

#[test]
fn a_leave_rebalances_those_who_stay() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable_group(2);
    assert_eq!(bench.leave(&[(&ids[0], None)]), [ErrorCode::None]);
    assert_eq!(bench.heartbeat(&ids[1], generation), ErrorCode::RebalanceInProgress);
    let token = bench.join(&JoinRequest { member_id: ids[1].clone(), ..consumer("g") });
    let joined = bench.joined(token);
    assert_eq!((joined.generation, &*joined.leader), (generation + 1, &*ids[1]));
    assert_eq!(bench.heartbeat(&ids[0], generation), ErrorCode::UnknownMemberId);
}

#[test]
fn several_members_leave_at_once_and_each_is_answered() {
    let mut bench = Bench::new();
    let (ids, _) = bench.stable_group(2);
    let left = bench.leave(&[(&ids[0], None), ("nobody", None), (&ids[1], None), ("", Some("ghost"))]);
    let unknown = ErrorCode::UnknownMemberId;
    assert_eq!(left, [ErrorCode::None, unknown, ErrorCode::None, unknown]);
    assert_eq!(bench.shard.describe("g").state, GroupState::Empty);
    assert_eq!(bench.shard.live_groups(), 0, "an empty group costs nothing beside the store");
    assert_eq!(bench.shard.next_deadline(), None);
}

#[test]
fn a_leave_from_an_unknown_group_names_every_member() {
    let mut bench = Bench::new();
    assert_eq!(bench.leave(&[("a", None), ("b", None)]), [ErrorCode::UnknownMemberId; 2]);
}

#[test]
fn a_silent_member_is_out_when_its_session_ends() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable_group(2);
    bench.pass(9_000);
    assert_eq!(bench.heartbeat(&ids[0], generation), ErrorCode::None);
    bench.pass(9_000);
    assert_eq!(bench.heartbeat(&ids[0], generation), ErrorCode::RebalanceInProgress);
    assert_eq!(bench.heartbeat(&ids[1], generation), ErrorCode::UnknownMemberId);
    let token = bench.join(&JoinRequest { member_id: ids[0].clone(), ..consumer("g") });
    assert_eq!(bench.joined(token).generation, generation + 1);
}

#[test]
fn a_member_that_waits_for_others_needs_no_heartbeat() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable_group(2);
    let rejoin = bench.join(&JoinRequest { member_id: ids[0].clone(), ..consumer("g") });
    for _ in 0..8 {
        bench.pass(5_000);
        bench.heartbeat(&ids[1], generation);
    }
    assert!(bench.waits(rejoin));
    let token = bench.join(&JoinRequest { member_id: ids[1].clone(), ..consumer("g") });
    assert_eq!(bench.joined(rejoin).generation, generation + 1);
    assert_eq!(bench.joined(token).generation, generation + 1);
}

#[test]
fn a_jump_of_the_wall_clock_ends_no_session() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable_group(1);
    bench.now.wall_ms += 86_400_000;
    let effects = bench.shard.tick(bench.now);
    bench.take(effects);
    assert_eq!(bench.heartbeat(&ids[0], generation), ErrorCode::None);
}

#[test]
fn who_never_asks_for_its_assignment_is_out() {
    let mut bench = Bench::new();
    let (a, token) = bench.join_new(&consumer("g"));
    assert_eq!(bench.joined(token).generation, 1);
    for _ in 0..12 {
        assert_eq!(bench.heartbeat(&a, 1), ErrorCode::None);
        bench.pass(5_000);
    }
    assert_eq!(bench.heartbeat(&a, 1), ErrorCode::UnknownMemberId);
    assert_eq!(bench.shard.describe("g").state, GroupState::Empty);
}

#[test]
fn an_id_that_nobody_joins_with_expires() {
    let mut bench = Bench::new();
    let token = bench.join(&consumer("g"));
    let member_id = bench.joined(token).member_id.to_string();
    assert_eq!(bench.shard.live_groups(), 1);
    bench.pass(10_000);
    assert_eq!(bench.shard.live_groups(), 0);
    let token = bench.join(&JoinRequest { member_id, ..consumer("g") });
    assert_eq!(bench.joined(token).error, ErrorCode::UnknownMemberId);
}

#[test]
fn a_rebalance_waits_for_an_id_that_was_given_out() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable_group(1);
    let token = bench.join(&consumer("g"));
    let newcomer = bench.joined(token).member_id.to_string();
    let leader = bench.join(&JoinRequest { member_id: ids[0].clone(), ..consumer("g") });
    assert!(bench.waits(leader));
    let token = bench.join(&JoinRequest { member_id: newcomer, ..consumer("g") });
    assert_eq!(bench.joined(leader).generation, generation + 1);
    assert_eq!(bench.joined(token).generation, generation + 1);
}

#[test]
fn the_leader_may_force_a_rebalance_and_an_unchanged_follower_may_not() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable_group(2);
    let follower = bench.join(&JoinRequest { member_id: ids[1].clone(), ..consumer("g") });
    let reply = bench.joined(follower);
    assert_eq!((reply.error, reply.generation, reply.members.len()), (ErrorCode::None, generation, 0));
    let leader = bench.join(&JoinRequest { member_id: ids[0].clone(), ..consumer("g") });
    assert!(bench.waits(leader));
    assert_eq!(bench.heartbeat(&ids[1], generation), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_follower_with_another_subscription_rebalances() {
    let mut bench = Bench::new();
    let (ids, _) = bench.stable_group(2);
    let changed = JoinRequest {
        member_id: ids[1].clone(),
        protocols: vec![protocol("range", &subscription("other"))],
        ..consumer("g")
    };
    let token = bench.join(&changed);
    assert!(bench.waits(token));
    assert_eq!(bench.shard.describe("g").state, GroupState::PreparingRebalance);
}

#[test]
fn members_vote_for_a_protocol_that_all_of_them_know() {
    let mut bench = Bench::with(Config { initial_rebalance_delay_ms: 100, ..Config::default() });
    let offers = [["roundrobin", "range"], ["range", "sticky"], ["range", "roundrobin"]];
    let tokens = offers.map(|names| {
        let protocols = names.iter().map(|name| protocol(name, name.as_bytes())).collect();
        bench.join_new(&JoinRequest { protocols, ..consumer("g") }).1
    });
    bench.pass(1_000);
    for token in tokens {
        assert_eq!(bench.joined(token).protocol.as_deref(), Some("range"));
    }
    let protocols = vec![protocol("roundrobin", b"")];
    let token = bench.join(&JoinRequest { protocols, ..consumer("g") });
    assert_eq!(bench.joined(token).error, ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn a_member_of_another_protocol_type_is_refused() {
    let mut bench = Bench::new();
    bench.stable_group(1);
    let token = bench.join(&JoinRequest { protocol_type: "connect".into(), ..consumer("g") });
    assert_eq!(bench.joined(token).error, ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn a_sync_for_another_protocol_is_refused() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable_group(1);
    let sync = SyncRequest { group_id: "g".into(), generation, member_id: ids[0].clone(), ..SyncRequest::default() };
    for (protocol_type, protocol) in [("connect", "range"), ("consumer", "sticky")] {
        let (protocol_type, protocol) = (Some(protocol_type.into()), Some(protocol.into()));
        let token = bench.ask(Request::Sync(SyncRequest { protocol_type, protocol, ..sync.clone() }));
        assert_eq!(bench.synced(token).error, ErrorCode::InconsistentGroupProtocol);
    }
    let token = bench.ask(Request::Sync(SyncRequest { generation: generation - 1, ..sync.clone() }));
    assert_eq!(bench.synced(token).error, ErrorCode::IllegalGeneration);
    let token = bench.ask(Request::Sync(sync));
    assert_eq!(&*bench.synced(token).assignment, format!("of {}", ids[0]).as_bytes());
}

#[test]
fn cooperative_members_keep_what_they_own_and_join_twice() {
    let mut bench = Bench::new();
    let cooperative = |owned: &[u8]| JoinRequest {
        protocols: vec![protocol("cooperative-sticky", &[&subscription("t"), owned].concat())],
        ..consumer("g")
    };
    let (a, token) = bench.join_new(&cooperative(b"nothing"));
    bench.joined(token);
    let token = bench.sync(&a, 1, &[(&a, "0 1")]);
    bench.synced(token);
    // A second member: nothing is taken from the first in this round, and it goes on under way.
    let (b, join_b) = bench.join_new(&cooperative(b"nothing"));
    assert_eq!(bench.heartbeat(&a, 1), ErrorCode::RebalanceInProgress);
    let join_a = bench.join(&JoinRequest { member_id: a.clone(), ..cooperative(b"0 1") });
    assert_eq!((bench.joined(join_a).generation, bench.joined(join_b).generation), (2, 2));
    let (sync_b, sync_a) = (bench.sync(&b, 2, &[]), bench.sync(&a, 2, &[(&a, "0"), (&b, "")]));
    assert_eq!(&*bench.synced(sync_a).assignment, b"0");
    assert_eq!(&*bench.synced(sync_b).assignment, b"");
    // The first has given up a partition and joins again; the second gets it.
    let join_a = bench.join(&JoinRequest { member_id: a.clone(), ..cooperative(b"0") });
    let join_b = bench.join(&JoinRequest { member_id: b.clone(), ..cooperative(b"") });
    assert_eq!((bench.joined(join_a).generation, bench.joined(join_b).generation), (3, 3));
    let (sync_b, sync_a) = (bench.sync(&b, 3, &[]), bench.sync(&a, 3, &[(&a, "0"), (&b, "1")]));
    assert_eq!((&*bench.synced(sync_a).assignment, &*bench.synced(sync_b).assignment), (&b"0"[..], &b"1"[..]));
}

#[test]
fn a_group_that_is_full_refuses_more() {
    let mut bench = Bench::with(Config { max_size: 2, initial_rebalance_delay_ms: 0, ..Config::default() });
    let (ids, generation) = bench.stable_group(2);
    let token = bench.join(&consumer("g"));
    let reply = bench.joined(token);
    assert_eq!((reply.error, &*reply.member_id), (ErrorCode::GroupMaxSizeReached, ""));
    assert_eq!(bench.heartbeat(&ids[0], generation), ErrorCode::None);
}

#[test]
fn a_restart_keeps_members_for_a_session_and_their_assignments() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable_group(2);
    bench.restart();
    assert_eq!(bench.shard.describe("g").state, GroupState::Stable);
    for id in &ids {
        assert_eq!(bench.heartbeat(id, generation), ErrorCode::None);
        let token = bench.sync(id, generation, &[]);
        assert_eq!(&*bench.synced(token).assignment, format!("of {id}").as_bytes());
    }
    bench.pass(10_000);
    assert_eq!(bench.shard.describe("g").state, GroupState::Empty);
}

#[test]
fn a_kill_before_the_assignment_is_written_leaves_no_group() {
    let mut bench = Bench::new();
    let (a, token) = bench.join_new(&consumer("g"));
    bench.joined(token);
    bench.commits = false;
    bench.sync(&a, 1, &[(&a, "0")]);
    bench.restart();
    assert_eq!(bench.heartbeat(&a, 1), ErrorCode::UnknownMemberId);
    assert_eq!(bench.shard.describe("g").error, ErrorCode::GroupIdNotFound);
}

#[test]
fn who_loses_the_partition_answers_everybody() {
    let mut bench = Bench::new();
    let (ids, _) = bench.stable_group(2);
    let leader = bench.join(&JoinRequest { member_id: ids[0].clone(), ..consumer("g") });
    bench.commits = false;
    let commit = bench.ask(Request::CommitOffsets(simple_commit("other", "t", 0, 5)));
    let shard = std::mem::replace(&mut bench.shard, coordinator::Shard::empty(Config::default(), bench.now));
    let mut tokens: Vec<_> =
        shard.resign(bench.now, ErrorCode::NotCoordinator).into_iter().map(|(token, _)| token).collect();
    tokens.sort();
    assert_eq!(tokens, [leader, commit]);
}

#[test]
fn what_cannot_be_is_refused_as_kafka_does() {
    let mut bench = Bench::new();
    let cases = [
        (JoinRequest { session_timeout_ms: 3_000, ..consumer("g") }, ErrorCode::InvalidSessionTimeout),
        (JoinRequest { session_timeout_ms: i32::MAX, ..consumer("g") }, ErrorCode::InvalidSessionTimeout),
        (JoinRequest { protocols: vec![], ..consumer("g") }, ErrorCode::InconsistentGroupProtocol),
        (JoinRequest { protocol_type: String::new(), ..consumer("g") }, ErrorCode::InconsistentGroupProtocol),
        (JoinRequest { member_id: "stranger".into(), ..consumer("g") }, ErrorCode::UnknownMemberId),
        (JoinRequest { group_id: "x".repeat(32 * 1024), ..consumer("g") }, ErrorCode::InvalidGroupId),
        (JoinRequest { session_timeout_ms: 1, protocols: vec![], ..consumer("g") }, ErrorCode::InvalidSessionTimeout),
    ];
    for (join, error) in cases {
        let token = bench.join(&join);
        assert_eq!(bench.joined(token).error, error, "{join:?}");
        assert_eq!(bench.shard.live_groups(), 0, "a refusal leaves nothing behind");
    }
    let token = bench.sync("a", 1, &[]);
    assert_eq!(bench.synced(token).error, ErrorCode::UnknownMemberId);
    assert_eq!(bench.heartbeat("a", 1), ErrorCode::UnknownMemberId);
}
