//! Whatever clients do, and however slowly or badly the log takes it: what is committed is what a replay of the log
//! gives, replies tell only of what is committed, and every request is answered once.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::*;
use coordinator::planted::Bug;
use coordinator::records::Record;
use coordinator::request::*;
use coordinator::store::Change;
use coordinator::{Config, GroupState, Limits, Now, Reply, ReplyToken, Request, expirable};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use wire::{ErrorCode, Uuid};

/// What happens next; members and groups are picked by number from those there are.
#[derive(Clone, Debug)]
enum Step {
    Join {
        group: u8,
        member: Option<u8>,
        instance: Option<u8>,
        protocols: u8,
        version: i16,
    },
    Sync {
        member: u8,
        wrong: bool,
    },
    Heartbeat {
        member: u8,
    },
    Leave {
        members: Vec<u8>,
    },
    Commit {
        group: u8,
        member: Option<u8>,
        topic: u8,
        offset: i64,
        retention: bool,
        /// In the name of the generation before.
        stale: bool,
    },
    Fetch {
        group: u8,
        stable: bool,
    },
    DeleteOffsets {
        group: u8,
        topic: u8,
    },
    DeleteGroups {
        groups: Vec<u8>,
    },
    TopicDeleted {
        topic: u8,
    },
    /// Two members, the second static or not, join the group, and those who get in synchronise.
    Form {
        group: u8,
        instance: Option<u8>,
    },
    Pass {
        ms: i64,
    },
    Expire,
    CommitOne,
    CommitAll,
    Fail,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let member = || any::<u8>();
    prop_oneof![
        8 => (0u8..3, prop::option::of(member()), prop::option::weighted(0.3, 0u8..2), 1u8..4, prop::sample::select(vec![3i16, 4, 9]))
            .prop_map(|(group, member, instance, protocols, version)| Step::Join { group, member, instance, protocols, version }),
        6 => (member(), prop::bool::weighted(0.1)).prop_map(|(member, wrong)| Step::Sync { member, wrong }),
        3 => member().prop_map(|member| Step::Heartbeat { member }),
        2 => prop::collection::vec(member(), 1..3).prop_map(|members| Step::Leave { members }),
        6 => (0u8..3, prop::option::of(member()), 0u8..2, 0i64..100, prop::bool::weighted(0.2), prop::bool::weighted(0.2))
            .prop_map(|(group, member, topic, offset, retention, stale)| {
                Step::Commit { group, member, topic, offset, retention, stale }
            }),
        3 => (0u8..3, any::<bool>()).prop_map(|(group, stable)| Step::Fetch { group, stable }),
        2 => (0u8..3, 0u8..2).prop_map(|(group, topic)| Step::DeleteOffsets { group, topic }),
        1 => prop::collection::vec(0u8..3, 1..3).prop_map(|groups| Step::DeleteGroups { groups }),
        1 => (0u8..2).prop_map(|topic| Step::TopicDeleted { topic }),
        4 => prop::sample::select(vec![1i64, 500, 3_000, 11_000, 70_000]).prop_map(|ms| Step::Pass { ms }),
        4 => (0u8..3, prop::option::of(0u8..2)).prop_map(|(group, instance)| Step::Form { group, instance }),
        3 => Just(Step::Expire),
        6 => Just(Step::CommitOne),
        6 => Just(Step::CommitAll),
        1 => Just(Step::Fail),
        1 => Just(Step::Restart),
    ]
}

/// A member as its client knows it.
#[derive(Clone, Debug)]
struct Client {
    group: u8,
    member_id: String,
    instance_id: Option<String>,
    generation: i32,
    leads: bool,
    members: Vec<String>,
}

/// Offsets that were not committed for so long expire.
const RETENTION_MS: i64 = 10_000;

struct World {
    bench: Bench,
    clients: Vec<Client>,
    asked: BTreeMap<ReplyToken, Request>,
    chance: u64,
    /// Commits in the name of a generation that is over.
    stale: BTreeSet<ReplyToken>,
}

fn group_name(group: u8) -> String {
    format!("g{group}")
}

impl World {
    fn new(bug: Bug) -> Self {
        let config = Config {
            bug,
            initial_rebalance_delay_ms: 1_000,
            max_size: 5,
            limits: Limits { members: 8, ..Limits::default() },
            ..Config::default()
        };
        let mut bench = Bench::with(config);
        bench.commits = false;
        World { bench, clients: Vec::new(), asked: BTreeMap::new(), chance: 0, stale: BTreeSet::new() }
    }

    fn client(&self, pick: u8) -> Option<Client> {
        (!self.clients.is_empty()).then(|| self.clients[pick as usize % self.clients.len()].clone())
    }

    fn ask(&mut self, request: Request) -> ReplyToken {
        let token = self.bench.ask(request.clone());
        self.asked.insert(token, request);
        token
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Join { group, member, instance, protocols, version } => {
                self.chance += 1;
                let mut random = [0; 16];
                random[..8].copy_from_slice(&self.chance.to_le_bytes());
                let known = member.and_then(|pick| self.client(pick));
                let names = ["range", "sticky"];
                let offered = names.iter().enumerate().filter(|(i, _)| protocols & (1 << i) != 0);
                let join = JoinRequest {
                    version,
                    group_id: group_name(known.as_ref().map_or(group, |client| client.group)),
                    member_id: known.as_ref().map_or(String::new(), |client| client.member_id.clone()),
                    instance_id: match &known {
                        Some(client) => client.instance_id.clone(),
                        None => instance.map(|instance| format!("i{instance}")),
                    },
                    protocols: offered.map(|(_, name)| protocol(name, &subscription("t0"))).collect(),
                    random: Uuid(random),
                    ..consumer("")
                };
                _ = self.ask(Request::Join(join));
            }
            Step::Sync { member, wrong } => {
                let Some(client) = self.client(member) else { return };
                let members = client.members.iter().filter(|_| client.leads);
                let sync = SyncRequest {
                    group_id: group_name(client.group),
                    generation: client.generation - i32::from(wrong),
                    member_id: client.member_id,
                    instance_id: client.instance_id,
                    assignments: members.map(|id| (id.clone(), id.as_bytes().into())).collect(),
                    ..SyncRequest::default()
                };
                _ = self.ask(Request::Sync(sync));
            }
            Step::Heartbeat { member } => {
                let Some(client) = self.client(member) else { return };
                _ = self.ask(Request::Heartbeat(HeartbeatRequest {
                    group_id: group_name(client.group),
                    generation: client.generation,
                    member_id: client.member_id,
                    instance_id: client.instance_id,
                }));
            }
            Step::Leave { members } => {
                let leaving: Vec<Client> = members.iter().filter_map(|pick| self.client(*pick)).collect();
                let Some(first) = leaving.first().cloned() else { return };
                let members = leaving
                    .into_iter()
                    .map(|client| LeavingMember { member_id: client.member_id, instance_id: client.instance_id });
                _ = self.ask(Request::Leave(LeaveRequest {
                    group_id: group_name(first.group),
                    members: members.collect(),
                }));
            }
            Step::Commit { group, member, topic, offset, retention, stale } => {
                let client = member.and_then(|pick| self.client(pick));
                let group = group_name(client.as_ref().map_or(group, |client| client.group));
                let mut commit = simple_commit(&group, &format!("t{topic}"), i32::from(topic), offset);
                // A restart may have forgotten a generation that nobody was given an assignment in.
                let stored = self.bench.shard.store().group(&group).and_then(|group| group.metadata.as_ref());
                let known = stored.map(|metadata| metadata.generation);
                let stale = stale && client.as_ref().is_some_and(|c| c.generation > 0 && known >= Some(c.generation));
                if let Some(client) = client {
                    commit.generation = client.generation - i32::from(stale);
                    commit.member_id = client.member_id;
                    commit.instance_id = client.instance_id;
                }
                commit.retention_ms = if retention { 5_000 } else { -1 };
                let token = self.ask(Request::CommitOffsets(commit));
                self.stale.extend(Some(token).filter(|_| stale));
            }
            Step::Fetch { group, stable } => {
                _ = self.ask(Request::FetchOffsets(FetchRequest {
                    group_id: group_name(group),
                    topics: None,
                    require_stable: stable,
                }))
            }
            Step::DeleteOffsets { group, topic } => {
                _ = self.ask(Request::DeleteOffsets(DeleteOffsetsRequest {
                    group_id: group_name(group),
                    topics: vec![(format!("t{topic}").into(), vec![0, 1])],
                }))
            }
            Step::DeleteGroups { groups } => {
                let groups: BTreeSet<String> = groups.into_iter().map(group_name).collect();
                _ = self.ask(Request::DeleteGroups(groups.into_iter().collect()));
            }
            Step::TopicDeleted { topic } => {
                let effects = self.bench.shard.topic_deleted(self.bench.now, &format!("t{topic}"), Uuid([1; 16]));
                self.bench.take(effects);
            }
            Step::Form { group, instance } => self.form(group, instance),
            Step::Pass { ms } => self.bench.pass(ms),
            Step::Expire => self.expire(),
            Step::CommitOne if !self.bench.pending.is_empty() => self.bench.commit(),
            Step::CommitOne => {}
            Step::CommitAll => self.settle(),
            Step::Fail => self.bench.fail(ErrorCode::KafkaStorageError),
            Step::Restart => {
                self.bench.restart();
                self.asked.retain(|token, _| self.bench.replies.contains_key(token));
            }
        }
        self.read_answers();
        self.check();
    }

    fn form(&mut self, group: u8, instance: Option<u8>) {
        let join = |member, instance| Step::Join { group, member, instance, protocols: 3, version: 9 };
        self.act(join(None, None));
        self.act(join(None, instance));
        self.settle();
        self.read_answers();
        for pick in (0..self.clients.len()).filter(|pick| self.clients[*pick].group == group).collect::<Vec<_>>() {
            let member = self.clients[pick].member_id.clone();
            let Some(pick) = self.clients.iter().position(|client| client.member_id == member) else { continue };
            self.act(join(Some(pick as u8), None));
        }
        for _ in 0..3 {
            self.act(Step::Pass { ms: 1_000 });
        }
        for pick in 0..self.clients.len() {
            if self.clients[pick].group == group {
                self.act(Step::Sync { member: pick as u8, wrong: false });
            }
        }
        self.settle();
    }

    /// Nothing that was committed a short time ago expires, be it in the log or on its way.
    fn expire(&mut self) {
        let now_ms = self.bench.now.wall_ms;
        for group in expirable(self.bench.shard.store(), now_ms, RETENTION_MS) {
            let on_its_way = self.bench.pending.iter().flat_map(|(_, records)| records);
            let mut newest = BTreeMap::new();
            for record in self.bench.log.iter().chain(on_its_way) {
                if let Change::Offset { key, value } = change(record) {
                    newest.insert(key, value);
                }
            }
            let effects = self.bench.shard.expire(self.bench.now, &group, RETENTION_MS);
            for record in effects.write.iter().flat_map(|write| &write.records) {
                let Change::Offset { key, value: None } = change(record) else { continue };
                let is_over = newest[&key].as_ref().is_some_and(|committed| match committed.expire_timestamp_ms {
                    -1 => committed.commit_timestamp_ms + RETENTION_MS <= now_ms,
                    expires_ms => expires_ms <= now_ms,
                });
                assert!(is_over, "{key:?} expires, and was committed a short time ago");
            }
            self.bench.take(effects);
        }
    }

    fn settle(&mut self) {
        while !self.bench.pending.is_empty() {
            self.bench.commit();
        }
    }

    /// Clients learn from their answers.
    fn read_answers(&mut self) {
        for (token, reply) in std::mem::take(&mut self.bench.replies) {
            let request = self.asked.remove(&token).expect("answered once, and only what was asked");
            match (&request, reply) {
                (Request::Join(join), Reply::Join(reply)) => self.joined(join, &reply),
                (Request::CommitOffsets(commit), Reply::CommitOffsets(reply))
                    if reply.topics[0].partitions[0].1 == ErrorCode::None =>
                {
                    assert!(!self.stale.contains(&token), "{commit:?} is of a generation that is over");
                    self.acknowledged(commit);
                }
                (Request::FetchOffsets(fetch), Reply::FetchOffsets(reply)) => self.fetched(fetch, &reply),
                (Request::Sync(sync), Reply::Sync(reply)) if reply.error == ErrorCode::None => {
                    let replayed = self.bench.replayed();
                    let stored = replayed.store().group(&sync.group_id).and_then(|group| group.metadata.as_ref());
                    let generation = stored.map(|metadata| metadata.generation);
                    assert!(
                        generation >= Some(sync.generation),
                        "{sync:?} was answered, and the log has {generation:?}"
                    );
                    let own = sync.member_id.as_bytes();
                    let known = reply.assignment.is_empty() || &*reply.assignment == own || sync.instance_id.is_some();
                    assert!(known, "{sync:?} got another's assignment");
                }
                _ => {}
            }
        }
    }

    fn joined(&mut self, join: &JoinRequest, reply: &JoinReply) {
        let learned = [ErrorCode::None, ErrorCode::MemberIdRequired].contains(&reply.error);
        if !learned {
            return;
        }
        let group = join.group_id.as_bytes()[1] - b'0';
        let client = Client {
            group,
            member_id: reply.member_id.to_string(),
            instance_id: join.instance_id.clone(),
            generation: reply.generation,
            leads: reply.leader == reply.member_id,
            members: reply.members.iter().map(|member| member.member_id.to_string()).collect(),
        };
        self.clients.retain(|known| known.member_id != client.member_id);
        self.clients.push(client);
        if self.clients.len() > 8 {
            self.clients.remove(0);
        }
    }

    /// What is shown was committed.
    fn fetched(&self, fetch: &FetchRequest, reply: &FetchReply) {
        for topic in &reply.topics {
            for partition in topic.partitions.iter().filter(|partition| partition.offset >= 0) {
                let in_log = self.bench.log.iter().any(|record| {
                    matches!(change(record), Change::Offset { key, value: Some(value) }
                        if *key.group == *fetch.group_id && key.topic == topic.name && value.offset == partition.offset)
                });
                assert!(in_log, "{fetch:?} shows {partition:?} of {}, and the log does not have it", topic.name);
            }
        }
    }

    /// An acknowledged commit is in the log.
    fn acknowledged(&self, commit: &CommitRequest) {
        let topic = &commit.topics[0];
        let replayed = self.bench.replayed();
        let is_committed = replayed.store().offsets().any(|(key, value)| {
            *key.group == *commit.group_id && key.topic == topic.name && value.offset == topic.partitions[0].offset
        });
        let in_log = self.bench.log.iter().any(|record| {
            matches!(change(record), Change::Offset { key, value: Some(value) }
                if *key.group == *commit.group_id && value.offset == topic.partitions[0].offset)
        });
        assert!(is_committed || in_log, "{commit:?} was acknowledged and is not in the log");
    }

    fn check(&mut self) {
        let replayed = self.bench.replayed();
        assert_eq!(replayed.store(), self.bench.shard.store(), "live differs from replayed");
        if self.bench.shard.is_idle() {
            for listed in self.bench.shard.list() {
                if listed.state != GroupState::Stable {
                    continue;
                }
                let described = self.bench.shard.describe(&listed.group_id);
                let stored = self.bench.shard.store().group(&listed.group_id).and_then(|group| group.metadata.clone());
                let stored = stored.expect("a stable group is in the log");
                let ids: Vec<_> = stored.members.iter().map(|m| (m.member_id.clone(), m.assignment.clone())).collect();
                let live: Vec<_> =
                    described.members.iter().map(|m| (m.member_id.clone(), m.assignment.clone())).collect();
                assert_eq!(live, ids, "the members of {}", listed.group_id);
            }
        }
    }

    /// With the log working and time passing, everybody is answered and nothing stays.
    fn end(mut self) {
        self.settle();
        for _ in 0..40 {
            self.bench.pass(100_000);
            self.settle();
        }
        self.read_answers();
        self.check();
        assert!(self.asked.is_empty(), "never answered: {:?}", self.asked);
        let live: Vec<_> =
            self.bench.shard.list().into_iter().filter(|group| group.state != GroupState::Empty).collect();
        assert_eq!(live, [], "members that nobody heard of stay");
        assert_eq!(self.bench.shard.next_deadline(), None, "timers for nobody");
    }
}

fn change(record: &Record) -> Change {
    coordinator::records::decode(&record.key, record.value.as_deref()).expect("ours").expect("of a kind that we write")
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..120)
}

fn run(steps: Vec<Step>, bug: Bug) {
    let mut world = World::new(bug);
    for step in steps {
        world.act(step);
    }
    world.end();
}

/// A planted bug must be found within so many histories.
const HISTORIES: u32 = 600;

/// Each mistake that the product must not make is made, and found.
#[test]
fn every_planted_bug_is_found() {
    let bugs = [
        Bug::ExpireFreshCommit,
        Bug::ShowUncommittedOffsets,
        Bug::AnswerBeforeCommit,
        Bug::AssignBeforeCommit,
        Bug::IgnoreGeneration,
    ];
    let found_by = |bug: Bug| {
        let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), random);
        (0..HISTORIES).find(|_| {
            let history = steps().new_tree(&mut runner).expect("a history").current();
            std::panic::catch_unwind(|| run(history, bug)).is_err()
        })
    };
    let missed: Vec<Bug> = bugs.into_iter().filter(|bug| found_by(*bug).is_none()).collect();
    assert!(missed.is_empty(), "not found within {HISTORIES} histories: {missed:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn live_state_is_what_a_replay_gives_and_everybody_is_answered(steps in steps()) {
        run(steps, Bug::None);
    }

    #[test]
    fn records_read_back_as_what_was_written(
        group in "\\PC{0,20}", topic in "[a-z]{1,5}", partition in any::<i32>(), offset in any::<i64>(),
        epoch in any::<i32>(), metadata in prop::option::of("\\PC{1,10}"), id in any::<[u8; 16]>(),
    ) {
        use coordinator::store::{Change, CommittedOffset, OffsetKey};
        let value = CommittedOffset {
            offset, leader_epoch: epoch, metadata: metadata.map(Into::into), commit_timestamp_ms: 5,
            expire_timestamp_ms: -1, topic_id: Uuid(id), record_offset: -1,
        };
        let key = OffsetKey { group: group.into(), topic: topic.into(), partition };
        let change = Change::Offset { key, value: Some(value) };
        let record = coordinator::records::encode(&change).unwrap().unwrap();
        prop_assert_eq!(coordinator::records::decode(&record.key, record.value.as_deref()).unwrap(), Some(change));
    }

    #[test]
    fn no_record_makes_the_loader_panic(
        key in prop::collection::vec(any::<u8>(), 0..40), value in prop::option::of(prop::collection::vec(any::<u8>(), 0..80)),
        record_type in 0u8..30,
    ) {
        let mut loader = coordinator::Loader::new();
        let key = [&[0, record_type], &key[..]].concat();
        let _ = loader.record(0, None, &key, value.as_deref());
        let _ = loader.record(1, Some(7), &key, value.as_deref());
        let _ = loader.finish(Config::default(), 2, Now::default()).list();
    }
}
