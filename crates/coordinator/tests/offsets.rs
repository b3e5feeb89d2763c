//! Committed offsets: who may commit, what is seen, what goes.

mod common;

use common::*;
use coordinator::request::*;
use coordinator::{Config, GroupKind, GroupState, Loader, Now, Request, Shard};
use wire::codec::{CoordinatorKey, Message};
use wire::messages::{OffsetCommitKey, OffsetCommitValue};
use wire::{ErrorCode, Uuid};

fn member_commit(member_id: &str, generation: i32, offset: i64) -> CommitRequest {
    CommitRequest { generation, member_id: member_id.into(), ..simple_commit("g", "t", 0, offset) }
}

fn delete_offsets(bench: &mut Bench, group_id: &str, topic: &str) -> DeleteOffsetsReply {
    let topics = vec![(topic.into(), vec![0])];
    let token = bench.ask(Request::DeleteOffsets(DeleteOffsetsRequest { group_id: group_id.into(), topics }));
    match bench.answer(token) {
        coordinator::Reply::DeleteOffsets(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn delete_group(bench: &mut Bench, group_id: &str) -> ErrorCode {
    let token = bench.ask(Request::DeleteGroups(vec![group_id.into()]));
    match bench.answer(token) {
        coordinator::Reply::DeleteGroups(results) => results[0].1,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_offset_is_seen_only_once_it_is_committed() {
    let mut bench = Bench::new();
    bench.commits = false;
    let commit = bench.ask(Request::CommitOffsets(simple_commit("s", "t", 0, 42)));
    assert!(bench.waits(commit));
    assert_eq!(bench.fetch("s", "t", 0).offset, -1);
    bench.commit();
    assert_eq!(committed(bench.answer(commit)), ErrorCode::None);
    let fetched = bench.fetch("s", "t", 0);
    assert_eq!((fetched.offset, fetched.leader_epoch, fetched.error), (42, 3, ErrorCode::None));
}

#[test]
fn a_stable_fetch_waits_for_commits_in_flight() {
    let mut bench = Bench::new();
    bench.commits = false;
    bench.ask(Request::CommitOffsets(simple_commit("s", "t", 0, 42)));
    let fetch = FetchRequest { group_id: "s".into(), topics: None, require_stable: true };
    let token = bench.ask(Request::FetchOffsets(fetch));
    assert!(bench.waits(token));
    bench.commit();
    assert_eq!(fetched(bench.answer(token)).offset, 42);
}

#[test]
fn offsets_survive_a_kill() {
    let mut bench = Bench::new();
    for (partition, offset) in [(0, 1), (1, 10), (0, 2)] {
        assert_eq!(bench.commit_offset(simple_commit("s", "t", partition, offset)), ErrorCode::None);
    }
    bench.restart();
    assert_eq!((bench.fetch("s", "t", 0).offset, bench.fetch("s", "t", 1).offset), (2, 10));
    assert_eq!(bench.fetch("s", "t", 2).offset, -1);
    assert_eq!(bench.fetch("nobody", "t", 0).offset, -1);
}

#[test]
fn a_commit_that_is_not_written_is_refused_and_not_seen() {
    let mut bench = Bench::new();
    bench.commits = false;
    let commit = bench.ask(Request::CommitOffsets(simple_commit("s", "t", 0, 42)));
    bench.fail(ErrorCode::NotLeaderOrFollower);
    assert_eq!(committed(bench.answer(commit)), ErrorCode::NotCoordinator);
    assert_eq!(bench.fetch("s", "t", 0).offset, -1);
    bench.commits = true;
    assert_eq!(bench.commit_offset(simple_commit("s", "t", 0, 43)), ErrorCode::None);
}

#[test]
fn records_are_in_the_versions_that_kafka_writes() {
    let mut bench = Bench::new();
    bench.commit_offset(simple_commit("s", "t", 7, 42));
    bench.commit_offset(CommitRequest { retention_ms: 1000, version: 4, ..simple_commit("s", "t", 7, 43) });
    assert_eq!(bench.log[0].key, b"\x00\x01\x00\x01s\x00\x01t\x00\x00\x00\x07");
    let values: Vec<&[u8]> = bench.log.iter().map(|record| record.value.as_deref().unwrap()).collect();
    assert_eq!((&values[0][..2], &values[1][..2]), (&[0, 4][..], &[0, 1][..]));
    let value = OffsetCommitValue::decode_value(values[0]).unwrap();
    assert_eq!((value.offset, value.leader_epoch, value.topic_id), (42, 3, Uuid([1; 16])));
    let value = OffsetCommitValue::decode_value(values[1]).unwrap();
    assert_eq!(value.expire_timestamp, bench.now.wall_ms + 1000);
    let (ids, _) = bench.stable_group(1);
    let group = bench.log.last().unwrap();
    assert_eq!(group.key, b"\x00\x02\x00\x01g");
    let value = group.value.as_deref().unwrap();
    assert_eq!(value[..2], [0, 3]);
    assert!(value.windows(ids[0].len()).any(|window| window == ids[0].as_bytes()));
}

#[test]
fn only_members_of_the_generation_commit_for_a_group_that_has_members() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable_group(1);
    assert_eq!(bench.commit_offset(member_commit(&ids[0], generation, 5)), ErrorCode::None);
    assert_eq!(bench.commit_offset(member_commit(&ids[0], generation - 1, 6)), ErrorCode::IllegalGeneration);
    assert_eq!(bench.commit_offset(member_commit("stranger", generation, 6)), ErrorCode::UnknownMemberId);
    assert_eq!(bench.commit_offset(simple_commit("g", "t", 0, 6)), ErrorCode::UnknownMemberId);
    assert_eq!(bench.fetch("g", "t", 0).offset, 5);
    bench.leave(&[(&ids[0], None)]);
    assert_eq!(bench.commit_offset(member_commit(&ids[0], generation, 7)), ErrorCode::UnknownMemberId);
    assert_eq!(bench.commit_offset(simple_commit("g", "t", 0, 7)), ErrorCode::None);
}

#[test]
fn a_commit_while_the_leader_assigns_is_told_of_the_rebalance() {
    let mut bench = Bench::new();
    let (a, token) = bench.join_new(&consumer("g"));
    bench.joined(token);
    assert_eq!(bench.commit_offset(member_commit(&a, 1, 5)), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_commit_with_a_generation_for_no_group_has_the_error_of_its_version() {
    let mut bench = Bench::new();
    let commit = |version| CommitRequest { version, generation: 3, ..simple_commit("nobody", "t", 0, 1) };
    assert_eq!(bench.commit_offset(commit(8)), ErrorCode::IllegalGeneration);
    assert_eq!(bench.commit_offset(commit(9)), ErrorCode::GroupIdNotFound);
}

#[test]
fn metadata_that_is_too_long_is_refused_for_its_partition_alone() {
    let mut bench = Bench::new();
    let partition =
        |index, metadata: String| CommitPartition { index, offset: 1, leader_epoch: -1, metadata: Some(metadata) };
    let mut commit = simple_commit("s", "t", 0, 1);
    // The limit counts UTF-16 units.
    commit.topics[0].partitions =
        vec![partition(0, "x".repeat(4097)), partition(1, "é".repeat(4096)), partition(2, "😀".repeat(2049))];
    let token = bench.ask(Request::CommitOffsets(commit));
    let coordinator::Reply::CommitOffsets(reply) = bench.answer(token) else { panic!() };
    let too_large = ErrorCode::OffsetMetadataTooLarge;
    assert_eq!(reply.topics[0].partitions, [(0, too_large), (1, ErrorCode::None), (2, too_large)]);
    assert_eq!(bench.fetch("s", "t", 1).metadata.unwrap().chars().count(), 4096);
    assert_eq!(bench.fetch("s", "t", 0).offset, -1);
}

#[test]
fn a_commit_keeps_a_member_alive() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable_group(1);
    for offset in 0..4 {
        bench.pass(6_000);
        assert_eq!(bench.commit_offset(member_commit(&ids[0], generation, offset)), ErrorCode::None);
    }
}

#[test]
fn everything_a_group_has_committed_is_fetched_by_topic() {
    let mut bench = Bench::new();
    for (topic, partition) in [("b", 1), ("a", 0), ("b", 0)] {
        bench.commit_offset(simple_commit("s", topic, partition, 9));
    }
    bench.commit_offset(simple_commit("s2", "z", 0, 9));
    let fetch = FetchRequest { group_id: "s".into(), topics: None, require_stable: false };
    let token = bench.ask(Request::FetchOffsets(fetch));
    let coordinator::Reply::FetchOffsets(reply) = bench.answer(token) else { panic!() };
    let topics: Vec<_> = reply.topics.iter().map(|topic| (&*topic.name, topic.partitions.len())).collect();
    assert_eq!(topics, [("a", 1), ("b", 2)]);
}

#[test]
fn an_offset_of_a_topic_that_was_made_anew_is_not_given_out() {
    let mut bench = Bench::new();
    bench.commit_offset(simple_commit("s", "t", 0, 9));
    let mut fetch = |id| {
        let topics = vec![FetchTopic { name: "t".into(), id, partitions: vec![0] }];
        let fetch = FetchRequest { group_id: "s".into(), topics: Some(topics), require_stable: false };
        let token = bench.ask(Request::FetchOffsets(fetch));
        fetched(bench.answer(token)).offset
    };
    assert_eq!((fetch(Uuid([1; 16])), fetch(Uuid([2; 16])), fetch(Uuid::ZERO)), (9, -1, 9));
}

#[test]
fn deleting_a_topic_deletes_its_offsets_and_not_those_of_its_successor() {
    let mut bench = Bench::new();
    for group in ["x", "y"] {
        bench.commit_offset(simple_commit(group, "t", 0, 9));
        bench.commit_offset(simple_commit(group, "kept", 0, 9));
    }
    let effects = bench.shard.topic_deleted(bench.now, "t", Uuid([2; 16]));
    assert_eq!(effects.write, None);
    let effects = bench.shard.topic_deleted(bench.now, "t", Uuid([1; 16]));
    bench.take(effects);
    for group in ["x", "y"] {
        assert_eq!((bench.fetch(group, "t", 0).offset, bench.fetch(group, "kept", 0).offset), (-1, 9));
    }
}

#[test]
fn offsets_in_use_are_not_deleted() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable_group(1);
    bench.commit_offset(member_commit(&ids[0], generation, 5));
    let reply = delete_offsets(&mut bench, "g", "t");
    assert_eq!(reply.topics[0].partitions, [(0, ErrorCode::GroupSubscribedToTopic)]);
    let mut commit = member_commit(&ids[0], generation, 5);
    commit.topics[0].name = "unused".into();
    bench.commit_offset(commit);
    let reply = delete_offsets(&mut bench, "g", "unused");
    assert_eq!((reply.error, reply.topics[0].partitions[0].1), (ErrorCode::None, ErrorCode::None));
    assert_eq!(bench.fetch("g", "unused", 0).offset, -1);
    bench.leave(&[(&ids[0], None)]);
    assert_eq!(delete_offsets(&mut bench, "g", "t").topics[0].partitions, [(0, ErrorCode::None)]);
    assert_eq!(bench.fetch("g", "t", 0).offset, -1);
    assert_eq!(delete_offsets(&mut bench, "nobody", "t").error, ErrorCode::GroupIdNotFound);
}

#[test]
fn offsets_of_other_applications_in_use_are_not_deleted_at_all() {
    let mut bench = Bench::new();
    let connect = JoinRequest { protocol_type: "connect".into(), ..consumer("g") };
    let (_, token) = bench.join_new(&connect);
    bench.joined(token);
    assert_eq!(delete_offsets(&mut bench, "g", "t").error, ErrorCode::NonEmptyGroup);
}

#[test]
fn a_deleted_group_is_gone_with_its_offsets_also_those_in_flight() {
    let mut bench = Bench::new();
    bench.commit_offset(simple_commit("s", "t", 0, 1));
    bench.commits = false;
    bench.ask(Request::CommitOffsets(simple_commit("s", "t", 1, 2)));
    let delete = bench.ask(Request::DeleteGroups(vec!["s".into()]));
    let late = bench.ask(Request::CommitOffsets(simple_commit("late", "t", 0, 3)));
    assert!(bench.waits(delete));
    while !bench.pending.is_empty() {
        bench.commit();
    }
    assert!(!bench.waits(delete) && !bench.waits(late));
    assert_eq!((bench.fetch("s", "t", 0).offset, bench.fetch("s", "t", 1).offset), (-1, -1));
    assert_eq!(bench.shard.describe("s").state, GroupState::Dead);
    bench.restart();
    assert_eq!(bench.shard.list().len(), 1);
    assert_eq!(bench.fetch("late", "t", 0).offset, 3);
}

#[test]
fn a_group_with_members_is_not_deleted() {
    let mut bench = Bench::new();
    let (ids, _) = bench.stable_group(1);
    assert_eq!(delete_group(&mut bench, "g"), ErrorCode::NonEmptyGroup);
    bench.leave(&[(&ids[0], None)]);
    assert_eq!(delete_group(&mut bench, "g"), ErrorCode::None);
    assert_eq!(delete_group(&mut bench, "g"), ErrorCode::GroupIdNotFound);
    bench.restart();
    assert!(bench.shard.list().is_empty());
}

#[test]
fn a_group_is_listed_with_its_state_and_type() {
    let mut bench = Bench::new();
    bench.stable_group(1);
    bench.commit_offset(simple_commit("simple", "t", 0, 1));
    let mut listed: Vec<_> = bench.shard.list();
    listed.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    let listed: Vec<_> = listed.iter().map(|g| (&*g.group_id, &*g.protocol_type, g.state, g.kind)).collect();
    let classic = GroupKind::Classic;
    assert_eq!(listed, [("g", "consumer", GroupState::Stable, classic), ("simple", "", GroupState::Empty, classic)]);
}

fn offset_record(group: &str, offset: i64) -> (Vec<u8>, Vec<u8>) {
    let key = OffsetCommitKey { group: group.into(), topic: "t".into(), partition: 0 };
    let value = OffsetCommitValue { offset, commit_timestamp: 1, ..OffsetCommitValue::default() };
    (key.encode_key().expect("short names"), value.encode_value(3).expect("short names"))
}

fn shard_of(loader: Loader) -> Bench {
    let mut bench = Bench::new();
    bench.shard = loader.finish(Config::default(), 0, Now::default());
    bench
}

#[test]
fn an_offset_in_an_open_transaction_is_unstable_and_counts_with_its_marker() {
    let load = |outcome: Option<bool>| {
        let mut loader = Loader::new();
        let (key, value) = offset_record("s", 1);
        loader.record(0, None, &key, Some(&value)).unwrap();
        let (key, value) = offset_record("s", 7);
        loader.record(1, Some(99), &key, Some(&value)).unwrap();
        if let Some(committed) = outcome {
            loader.transaction_ended(99, committed);
        }
        shard_of(loader)
    };
    let stable = |bench: &mut Bench| {
        let topics = vec![FetchTopic { name: "t".into(), id: Uuid::ZERO, partitions: vec![0] }];
        let fetch = FetchRequest { group_id: "s".into(), topics: Some(topics), require_stable: true };
        let token = bench.ask(Request::FetchOffsets(fetch));
        let fetched = fetched(bench.answer(token));
        (fetched.offset, fetched.error)
    };
    let mut open = load(None);
    assert_eq!(stable(&mut open), (-1, ErrorCode::UnstableOffsetCommit));
    assert_eq!(open.fetch("s", "t", 0).offset, 1);
    assert_eq!(stable(&mut load(Some(true))), (7, ErrorCode::None));
    assert_eq!(stable(&mut load(Some(false))), (1, ErrorCode::None));
}

#[test]
fn a_plain_commit_after_a_transactional_one_is_not_undone_by_the_marker() {
    let mut loader = Loader::new();
    let (key, value) = offset_record("s", 7);
    loader.record(0, Some(99), &key, Some(&value)).unwrap();
    let (key, value) = offset_record("s", 8);
    loader.record(1, None, &key, Some(&value)).unwrap();
    loader.transaction_ended(99, true);
    assert_eq!(shard_of(loader).fetch("s", "t", 0).offset, 8);
}

#[test]
fn a_tombstone_takes_the_offset_out_of_open_transactions_too() {
    let mut loader = Loader::new();
    let (key, value) = offset_record("s", 7);
    loader.record(0, Some(99), &key, Some(&value)).unwrap();
    loader.record(1, None, &key, None).unwrap();
    loader.transaction_ended(99, true);
    assert_eq!(shard_of(loader).fetch("s", "t", 0).offset, -1);
}

#[test]
fn keys_of_the_oldest_brokers_are_read() {
    let mut loader = Loader::new();
    let (mut key, _) = offset_record("s", 0);
    key[1] = 0;
    let value = OffsetCommitValue { offset: 5, metadata: "m".into(), ..OffsetCommitValue::default() };
    loader.record(0, None, &key, Some(&value.encode_value(0).unwrap())).unwrap();
    let fetched = shard_of(loader).fetch("s", "t", 0);
    assert_eq!((fetched.offset, fetched.metadata.as_deref()), (5, Some("m")));
}

/// A key of another kind of group: type, group id, and what else belongs to it.
fn foreign_key(record_type: u8, group: &str, member: Option<&str>) -> Vec<u8> {
    let mut key = vec![0, record_type];
    for text in [Some(group), member].into_iter().flatten() {
        key.extend((text.len() as u16).to_be_bytes());
        key.extend(text.as_bytes());
    }
    key
}

#[test]
fn groups_of_other_kinds_are_listed_and_only_their_use_is_refused() {
    let mut loader = Loader::new();
    for (i, (record_type, group)) in [(3, "consumers"), (11, "shares"), (17, "streams")].into_iter().enumerate() {
        loader.record(i as i64 * 2, None, &foreign_key(record_type, group, None), Some(b"\0\0")).unwrap();
        let member = foreign_key([5, 10, 19][i], group, Some("m"));
        loader.record(i as i64 * 2 + 1, None, &member, Some(b"\0\0")).unwrap();
    }
    let (key, value) = offset_record("consumers", 5);
    loader.record(6, None, &key, Some(&value)).unwrap();
    let mut bench = shard_of(loader);
    let mut kinds: Vec<_> = bench.shard.list().into_iter().map(|group| group.kind).collect();
    kinds.sort();
    assert_eq!(kinds, [GroupKind::Consumer, GroupKind::Share, GroupKind::Streams]);
    for group in ["consumers", "shares", "streams"] {
        let token = bench.join(&consumer(group));
        assert_eq!(bench.joined(token).error, ErrorCode::InconsistentGroupProtocol);
        let described = bench.shard.describe(group);
        assert_eq!((described.error, described.state), (ErrorCode::GroupIdNotFound, GroupState::Dead));
        assert_eq!(described.message.unwrap(), format!("Group {group} is not a classic group."));
        assert_eq!(delete_group(&mut bench, group), ErrorCode::NonEmptyGroup);
        assert_ne!(bench.commit_offset(simple_commit(group, "t", 0, 6)), ErrorCode::None);
    }
    assert_eq!(bench.fetch("consumers", "t", 0).offset, 5, "offsets are offsets");
}

#[test]
fn an_empty_consumer_group_is_taken_over_by_the_classic_protocol() {
    let mut loader = Loader::new();
    let (epoch, member) = (foreign_key(3, "g", None), foreign_key(5, "g", Some("m")));
    loader.record(0, None, &epoch, Some(b"\0\0")).unwrap();
    loader.record(1, None, &member, Some(b"\0\0")).unwrap();
    loader.record(2, None, &member, None).unwrap();
    let (key, value) = offset_record("g", 5);
    loader.record(3, None, &key, Some(&value)).unwrap();
    let now = Now::default();
    let mut shard = loader.finish(Config { initial_rebalance_delay_ms: 0, ..Config::default() }, 4, now);
    let join = Request::Join(JoinRequest { version: 3, ..consumer("g") });
    let effects = shard.handle(now, join, coordinator::ReplyToken(1));
    let write = effects.write.unwrap();
    assert_eq!((write.end, &write.records[0].key, &write.records[0].value), (5, &epoch, &None));
    assert!(matches!(&effects.replies[0].1, coordinator::Reply::Join(reply) if reply.error == ErrorCode::None));
    shard.committed(now, 5);
    assert_eq!(shard.list()[0].kind, GroupKind::Classic);
    assert_eq!(shard.store().offsets().next().unwrap().1.offset, 5, "its offsets stay");
}

#[test]
fn what_later_brokers_wrote_is_skipped_by_its_type_and_refused_by_its_version() {
    let mut loader = Loader::new();
    loader.record(0, None, &[0, 99, 1, 2, 3], Some(b"whatever")).unwrap();
    assert_eq!(loader.skipped(), 1);
    let (key, _) = offset_record("s", 1);
    let error = loader.record(1, None, &key, Some(&[0, 77])).unwrap_err();
    assert!(error.to_string().contains("77"), "{error}");
}

#[test]
fn damaged_records_are_errors_and_never_panics() {
    let (key, value) = offset_record("s", 1);
    for cut in 0..key.len() {
        assert!(Loader::new().record(0, None, &key[..cut], Some(&value)).is_err(), "key of {cut} bytes");
    }
    for cut in 0..value.len() {
        assert!(Loader::new().record(0, None, &key, Some(&value[..cut])).is_err(), "value of {cut} bytes");
    }
}

#[test]
fn a_record_that_no_batch_could_hold_is_refused_before_it_is_written() {
    let mut bench = Bench::new();
    let (a, token) = bench.join_new(&consumer("g"));
    bench.joined(token);
    let huge = "x".repeat(2 << 20);
    let token = bench.sync(&a, 1, &[(&a, &huge)]);
    assert_eq!(bench.synced(token).error, ErrorCode::UnknownServerError);
    assert!(bench.log.is_empty());
    let _: Shard = bench.shard;
}
