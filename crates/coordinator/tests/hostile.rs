//! Clients that ask for too much, or for what makes no sense: they are refused, cost no more than a bound, and others
//! are not disturbed.

mod common;

use common::*;
use coordinator::request::*;
use coordinator::{Config, GroupState, Limits, Loader, Now, Reply, ReplyToken, Request, Shard};
use wire::codec::{CoordinatorKey, Message};
use wire::messages::{GroupMetadataKey, GroupMetadataValue, group_metadata_value::MemberMetadata};
use wire::{ErrorCode, Uuid};

fn bench(limits: Limits) -> Bench {
    Bench::with(Config { initial_rebalance_delay_ms: 0, limits, ..Config::default() })
}

fn join_error(bench: &mut Bench, join: &JoinRequest) -> ErrorCode {
    let token = bench.join(join);
    bench.joined(token).error
}

#[test]
fn a_hundred_thousand_strangers_get_no_more_ids_than_a_group_may_have_members() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable_group(1);
    let mut given = 0;
    for _ in 0..100_000 {
        match join_error(&mut bench, &consumer("g")) {
            ErrorCode::MemberIdRequired => given += 1,
            error => assert_eq!(error, ErrorCode::GroupMaxSizeReached),
        }
    }
    assert_eq!(given, Limits::default().members - 1);
    assert_eq!(bench.heartbeat(&ids[0], generation), ErrorCode::None);
    bench.pass(9_999);
    bench.heartbeat(&ids[0], generation);
    bench.pass(1);
    assert_eq!(
        join_error(&mut bench, &consumer("g")),
        ErrorCode::MemberIdRequired,
        "ids that nobody used are taken back"
    );
}

#[test]
fn ids_in_ever_new_groups_are_bounded_over_the_partition() {
    let mut bench = bench(Limits { pending_members: 100, ..Limits::default() });
    for i in 0..1_000 {
        let error = join_error(&mut bench, &consumer(&format!("g{i}")));
        assert_eq!(error == ErrorCode::MemberIdRequired, i < 100, "{i}: {error:?}");
    }
    assert_eq!(bench.shard.live_groups(), 100);
    // Who needs no id of that kind is not kept out.
    let token = bench.join(&JoinRequest { member_id: "m".into(), ..consumer("other") });
    assert_eq!(bench.joined(token).error, ErrorCode::UnknownMemberId);
    bench.pass(10_000);
    assert_eq!(bench.shard.live_groups(), 0);
    assert_eq!(join_error(&mut bench, &consumer("g")), ErrorCode::MemberIdRequired);
}

#[test]
fn a_groups_metadata_is_bounded() {
    let mut bench = bench(Limits { metadata_bytes: 1_000, ..Limits::default() });
    let with = |bytes| JoinRequest { version: 3, protocols: vec![protocol("p", &vec![7; bytes])], ..consumer("g") };
    let token = bench.join(&with(600));
    assert_eq!(bench.joined(token).error, ErrorCode::None);
    assert_eq!(join_error(&mut bench, &with(600)), ErrorCode::GroupMaxSizeReached);
    let token = bench.join(&with(300));
    assert!(bench.waits(token), "what fits is let in");
}

#[test]
fn names_and_protocols_are_bounded() {
    let mut bench = Bench::new();
    let long = "x".repeat(32 * 1024);
    let many: Vec<Protocol> = (0..1_000).map(|i| protocol(&format!("p{i}"), b"")).collect();
    let cases = [
        (JoinRequest { group_id: long.clone(), ..consumer("g") }, ErrorCode::InvalidGroupId),
        (JoinRequest { member_id: long.clone(), ..consumer("g") }, ErrorCode::InvalidRequest),
        (JoinRequest { instance_id: Some(long.clone()), ..consumer("g") }, ErrorCode::InvalidRequest),
        (JoinRequest { client_id: long.clone(), ..consumer("g") }, ErrorCode::InvalidRequest),
        (JoinRequest { protocol_type: long.clone(), ..consumer("g") }, ErrorCode::InvalidRequest),
        (JoinRequest { protocols: vec![protocol(&long, b"")], ..consumer("g") }, ErrorCode::InvalidRequest),
        (JoinRequest { protocols: many, ..consumer("g") }, ErrorCode::InvalidRequest),
    ];
    for (join, error) in cases {
        assert_eq!(join_error(&mut bench, &join), error);
    }
    assert_eq!(bench.commit_offset(simple_commit(&long, "t", 0, 1)), ErrorCode::InvalidGroupId);
    assert_eq!(bench.shard.live_groups(), 0);
    assert!(bench.log.is_empty());
}

#[test]
fn a_protocol_offered_twice_counts_once() {
    let mut bench = Bench::new();
    let twice = JoinRequest { protocols: vec![protocol("p", b"1"), protocol("p", b"2")], ..consumer("g") };
    let (a, token) = bench.join_new(&twice);
    assert_eq!(bench.joined(token).protocol.as_deref(), Some("p"));
    let (_, second) = bench.join_new(&JoinRequest { protocols: vec![protocol("p", b"3")], ..consumer("g") });
    let first = bench.join(&JoinRequest { member_id: a, ..twice });
    assert_eq!(bench.joined(first).protocol.as_deref(), Some("p"));
    assert_eq!(bench.joined(second).error, ErrorCode::None);
}

#[test]
fn timeouts_out_of_this_world_end_nothing_but_their_own_member() {
    for rebalance_timeout_ms in [i32::MIN, -2, 0, 1, i32::MAX] {
        let mut bench = Bench::new();
        let join = JoinRequest { rebalance_timeout_ms, session_timeout_ms: 1_800_000, ..consumer("g") };
        let (_, token) = bench.join_new(&join);
        assert_eq!(bench.joined(token).error, ErrorCode::None);
        let statics = JoinRequest { instance_id: Some("i".into()), ..join };
        bench.join(&statics);
        bench.join(&statics);
        bench.pass(4_000_000);
        assert_ne!(bench.shard.describe("g").state, GroupState::Stable);
        let joined = bench.join_new(&consumer("g")).1;
        bench.pass(120_000);
        assert!(!bench.waits(joined), "rebalance timeout {rebalance_timeout_ms}");
    }
}

#[test]
fn assignments_for_strangers_are_dropped_and_missing_ones_are_empty() {
    let mut bench = Bench::new();
    let (a, token) = bench.join_new(&consumer("g"));
    bench.joined(token);
    let token = bench.sync(&a, 1, &[("stranger", "everything"), ("", "nothing")]);
    let reply = bench.synced(token);
    assert_eq!((reply.error, reply.assignment.len()), (ErrorCode::None, 0));
    bench.restart();
    assert_eq!(bench.shard.describe("g").members.len(), 1);
}

#[test]
fn a_request_sent_again_answers_the_first_one_too() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable_group(2);
    let join = JoinRequest { member_id: ids[0].clone(), ..consumer("g") };
    let (first, second) = (bench.join(&join), bench.join(&join));
    assert_eq!(bench.joined(first).error, ErrorCode::RebalanceInProgress);
    assert!(bench.waits(second));
    let token = bench.join(&JoinRequest { member_id: ids[1].clone(), ..consumer("g") });
    assert_eq!(bench.joined(token).generation, generation + 1);
    let (first, second) = (bench.sync(&ids[1], generation + 1, &[]), bench.sync(&ids[1], generation + 1, &[]));
    assert_eq!(bench.synced(first).error, ErrorCode::RebalanceInProgress);
    assert!(bench.waits(second));
}

#[test]
fn a_leader_that_asks_twice_writes_once() {
    let mut bench = Bench::new();
    let (a, token) = bench.join_new(&consumer("g"));
    bench.joined(token);
    bench.commits = false;
    let first = bench.sync(&a, 1, &[(&a, "0")]);
    let second = bench.sync(&a, 1, &[(&a, "1")]);
    assert_eq!(bench.pending.len(), 1);
    bench.commit();
    assert_eq!(bench.synced(first).error, ErrorCode::RebalanceInProgress);
    assert_eq!(&*bench.synced(second).assignment, b"0");
}

/// A shard with group "g" as this record has it.
fn with_group(value: GroupMetadataValue<'_>) -> Bench {
    let mut loader = Loader::new();
    let key = GroupMetadataKey { group: "g".into() }.encode_key().expect("a short name");
    let value = value.encode_value(3).expect("short names");
    loader.record(0, None, &key, Some(&value)).expect("a record");
    let mut bench = Bench::new();
    bench.shard = loader.finish(Config { initial_rebalance_delay_ms: 0, ..Config::default() }, 0, bench.now);
    bench
}

fn member(id: &str) -> MemberMetadata<'_> {
    MemberMetadata { member_id: id.into(), session_timeout: 10_000, ..MemberMetadata::default() }
}

#[test]
fn a_stored_group_that_makes_no_sense_is_served_as_far_as_it_goes() {
    let value = GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: i32::MAX,
        protocol: None,
        leader: Some("gone".into()),
        members: vec![
            MemberMetadata { subscription: b"junk"[..].into(), rebalance_timeout: i32::MIN, ..member("a") },
            MemberMetadata { group_instance_id: Some("i".into()), session_timeout: i32::MIN, ..member("b") },
            MemberMetadata { group_instance_id: Some("i".into()), ..member("c") },
            member("a"),
        ]
        .into(),
        ..GroupMetadataValue::default()
    };
    let mut bench = with_group(value);
    bench.commits = false;
    assert_eq!(bench.shard.describe("g").state, GroupState::Stable);
    assert_eq!(bench.heartbeat("a", i32::MAX), ErrorCode::None);
    bench.pass(3_600_000);
    assert_eq!(bench.shard.describe("g").state, GroupState::Empty);
    let (_, token) = bench.join_new(&consumer("g"));
    let joined = bench.joined(token);
    assert_eq!(joined.error, ErrorCode::None);
    assert!(joined.generation > 0, "generations begin again, they do not become negative");
}

#[test]
fn a_group_that_is_larger_than_allowed_by_now_rebalances_to_the_size_that_is() {
    let mut bench = Bench::new();
    let (ids, _) = bench.stable_group(3);
    bench.config.max_size = 2;
    bench.restart();
    assert_eq!(bench.shard.describe("g").state, GroupState::PreparingRebalance);
    let tokens: Vec<ReplyToken> =
        ids.iter().map(|id| bench.join(&JoinRequest { member_id: id.clone(), ..consumer("g") })).collect();
    assert_eq!(bench.joined(tokens[2]).error, ErrorCode::GroupMaxSizeReached);
    assert_eq!(bench.joined(tokens[0]).error, ErrorCode::None);
    assert_eq!(bench.joined(tokens[1]).error, ErrorCode::None);
}

#[test]
fn a_fetch_of_a_million_partitions_costs_its_answer() {
    let mut shard = Shard::empty(Config::default(), Now::default());
    let topics = vec![FetchTopic { name: "t".into(), id: Uuid::ZERO, partitions: (0..1_000_000).collect() }];
    let fetch = FetchRequest { group_id: "g".into(), topics: Some(topics), require_stable: true };
    let effects = shard.handle(Now::default(), Request::FetchOffsets(fetch), ReplyToken(1));
    let Some((_, Reply::FetchOffsets(reply))) = effects.replies.into_iter().next() else { panic!("no reply") };
    assert_eq!(reply.topics[0].partitions.len(), 1_000_000);
    assert_eq!(shard.store().groups().count(), 0);
}
