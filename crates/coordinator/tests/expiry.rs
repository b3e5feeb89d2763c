//! Offsets that nobody uses go after their time, and groups that have nothing left with them.

mod common;

use common::*;
use coordinator::request::*;
use coordinator::{GroupState, expirable};
use wire::ErrorCode;

const RETENTION_MS: i64 = 60_000;

/// What is committed in partition 0 of each topic, by this group.
fn offsets<const N: usize>(bench: &mut Bench, group: &str, topics: [&str; N]) -> [i64; N] {
    topics.map(|topic| bench.fetch(group, topic, 0).offset)
}

/// A bench with one member in group "g", which has committed for what it subscribes and for another topic.
fn with_member() -> (Bench, String, i32) {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable_group(1);
    for topic in ["t", "unsubscribed"] {
        let commit = CommitRequest { generation, member_id: ids[0].clone(), ..simple_commit("g", topic, 0, 5) };
        assert_eq!(bench.commit_offset(commit), ErrorCode::None);
    }
    (bench, ids[0].clone(), generation)
}

trait Expiring {
    fn expire(&mut self) -> Vec<String>;
    fn stay(&mut self, member: &str, generation: i32);
    fn names(&self) -> Vec<String>;
}

impl Expiring for Bench {
    /// What the server does every ten minutes; says which groups were looked at.
    fn expire(&mut self) -> Vec<String> {
        let groups = expirable(self.shard.store(), self.now.wall_ms, RETENTION_MS);
        for group in &groups {
            let effects = self.shard.expire(self.now, group, RETENTION_MS);
            self.take(effects);
        }
        groups.iter().map(|g| g.to_string()).collect()
    }

    /// Lets the retention pass while the member goes on.
    fn stay(&mut self, member: &str, generation: i32) {
        for _ in 0..RETENTION_MS / 5_000 {
            self.pass(5_000);
            assert_eq!(self.heartbeat(member, generation), ErrorCode::None);
        }
    }

    fn names(&self) -> Vec<String> {
        self.shard.list().iter().map(|g| g.group_id.to_string()).collect()
    }
}

#[test]
fn a_simple_groups_offsets_go_one_by_one_as_their_time_is_over() {
    let mut bench = Bench::new();
    bench.commit_offset(simple_commit("s", "old", 0, 5));
    bench.pass(RETENTION_MS / 2);
    bench.commit_offset(simple_commit("s", "new", 0, 5));
    bench.pass(RETENTION_MS / 2 - 1);
    assert!(bench.expire().is_empty());
    bench.pass(1);
    assert_eq!(bench.expire(), ["s"]);
    assert_eq!(offsets(&mut bench, "s", ["old", "new"]), [-1, 5]);
    bench.restart();
    assert_eq!(offsets(&mut bench, "s", ["old", "new"]), [-1, 5]);
    bench.pass(RETENTION_MS);
    bench.expire();
    assert!(bench.names().is_empty());
    bench.restart();
    assert!(bench.names().is_empty(), "the tombstones are in the log");
}

#[test]
fn a_commits_own_time_counts_before_the_brokers() {
    let mut bench = Bench::new();
    let commit = CommitRequest { retention_ms: 1_000, ..simple_commit("s", "t", 0, 5) };
    assert_eq!(bench.commit_offset(commit), ErrorCode::None);
    bench.pass(999);
    bench.expire();
    assert_eq!(bench.fetch("s", "t", 0).offset, 5);
    bench.pass(1);
    bench.expire();
    assert_eq!(bench.fetch("s", "t", 0).offset, -1);
}

#[test]
fn a_group_with_members_keeps_what_it_subscribes() {
    let (mut bench, member, generation) = with_member();
    bench.stay(&member, generation);
    bench.expire();
    assert_eq!(offsets(&mut bench, "g", ["t", "unsubscribed"]), [5, -1]);
    assert_eq!(bench.shard.describe("g").state, GroupState::Stable);
}

#[test]
fn an_empty_groups_time_begins_when_the_last_member_left() {
    let (mut bench, member, generation) = with_member();
    bench.stay(&member, generation);
    bench.leave(&[(&member, None)]);
    bench.restart();
    bench.expire();
    assert_eq!(offsets(&mut bench, "g", ["t", "unsubscribed"]), [5, 5], "in use until a moment ago");
    // What an administrator sets while nobody is there counts from then.
    bench.pass(RETENTION_MS / 2);
    bench.commit_offset(simple_commit("g", "later", 0, 5));
    bench.pass(RETENTION_MS / 2);
    bench.expire();
    assert_eq!(offsets(&mut bench, "g", ["t", "later"]), [-1, 5]);
    assert_eq!(bench.names(), ["g"]);
    bench.pass(RETENTION_MS);
    bench.expire();
    assert!(bench.names().is_empty());
    bench.restart();
    assert!(bench.names().is_empty());
}

#[test]
fn an_empty_group_without_offsets_goes_unless_somebody_is_about_to_join() {
    let mut bench = Bench::new();
    let (ids, _) = bench.stable_group(1);
    bench.leave(&[(&ids[0], None)]);
    let joining = bench.join(&consumer("g"));
    assert_eq!(bench.joined(joining).error, ErrorCode::MemberIdRequired);
    bench.expire();
    assert_eq!(bench.names(), ["g"], "an id was given out for it");
    bench.restart();
    bench.expire();
    assert!(bench.names().is_empty());
}

#[test]
fn offsets_in_an_open_transaction_keep_their_group() {
    let mut bench = Bench::new();
    bench.commit_offset(simple_commit("s", "t", 0, 5));
    let mut loader = bench.replayed();
    let commit = &bench.log[0];
    loader.record(1, Some(7), &commit.key, commit.value.as_deref()).unwrap();
    bench.shard = loader.finish(bench.config.clone(), 2, bench.now);
    bench.log.push(bench.log[0].clone());
    bench.pass(2 * RETENTION_MS);
    assert_eq!(bench.expire(), ["s"]);
    assert_eq!(bench.names(), ["s"]);
    assert_eq!(offsets(&mut bench, "s", ["t"]), [5]);
}
