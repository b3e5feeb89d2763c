//! A shard with a log in memory and a clock by hand.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::sync::Arc;

use coordinator::records::Record;
use coordinator::request::*;
use coordinator::{Config, Effects, Loader, Now, Reply, ReplyToken, Request, Shard};
use wire::{ErrorCode, Uuid};

pub struct Bench {
    pub shard: Shard,
    pub config: Config,
    pub now: Now,
    /// What the log has, in order.
    pub log: Vec<Record>,
    /// Handed out by the shard, not in the log yet.
    pub pending: Vec<(i64, Vec<Record>)>,
    /// When false, writes stay pending until `commit`.
    pub commits: bool,
    pub replies: BTreeMap<ReplyToken, Reply>,
    tokens: u64,
}

impl Bench {
    pub fn new() -> Self {
        Bench::with(Config { initial_rebalance_delay_ms: 0, ..Config::default() })
    }

    pub fn with(config: Config) -> Self {
        let now = Now { steady_ms: 1_000, wall_ms: 1_700_000_000_000 };
        Bench {
            shard: Shard::empty(config.clone(), now),
            config,
            now,
            log: Vec::new(),
            pending: Vec::new(),
            commits: true,
            replies: BTreeMap::new(),
            tokens: 0,
        }
    }

    pub fn ask(&mut self, request: Request) -> ReplyToken {
        self.tokens += 1;
        let token = ReplyToken(self.tokens);
        let effects = self.shard.handle(self.now, request, token);
        self.take(effects);
        token
    }

    pub fn take(&mut self, effects: Effects) {
        for (token, reply) in effects.replies {
            assert!(self.replies.insert(token, reply).is_none(), "{token:?} answered twice");
        }
        if let Some(write) = effects.write {
            self.pending.push((write.end, write.records));
        }
        while self.commits && !self.pending.is_empty() {
            self.commit();
        }
    }

    /// Commits the oldest write.
    pub fn commit(&mut self) {
        let (end, records) = self.pending.remove(0);
        self.log.extend(records);
        assert_eq!(end, self.log.len() as i64, "the shard and the log agree on offsets");
        let effects = self.shard.committed(self.now, end);
        self.take(effects);
    }

    /// The log refuses what is pending.
    pub fn fail(&mut self, error: ErrorCode) {
        self.pending.clear();
        let effects = self.shard.failed(self.now, error, self.log.len() as i64);
        self.take(effects);
    }

    pub fn pass(&mut self, ms: i64) {
        let end = self.now.steady_ms + ms;
        while let Some(deadline) = self.shard.next_deadline().filter(|deadline| *deadline <= end) {
            self.advance_to(deadline);
        }
        self.advance_to(end);
    }

    fn advance_to(&mut self, steady_ms: i64) {
        let passed = (steady_ms - self.now.steady_ms).max(0);
        self.now = Now { steady_ms: self.now.steady_ms + passed, wall_ms: self.now.wall_ms + passed };
        let effects = self.shard.tick(self.now);
        self.take(effects);
    }

    /// What a restart makes of the log.
    pub fn replayed(&self) -> Loader {
        let mut loader = Loader::new();
        for (offset, record) in self.log.iter().enumerate() {
            loader.record(offset as i64, None, &record.key, record.value.as_deref()).expect("what the shard wrote");
        }
        loader
    }

    /// Kill and restart: nothing survives but the log.
    pub fn restart(&mut self) {
        self.pending.clear();
        self.shard = self.replayed().finish(self.config.clone(), self.log.len() as i64, self.now);
    }

    pub fn answer(&mut self, token: ReplyToken) -> Reply {
        self.replies.remove(&token).unwrap_or_else(|| panic!("{token:?} is not answered"))
    }

    pub fn waits(&self, token: ReplyToken) -> bool {
        !self.replies.contains_key(&token)
    }

    pub fn joined(&mut self, token: ReplyToken) -> JoinReply {
        match self.answer(token) {
            Reply::Join(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    pub fn synced(&mut self, token: ReplyToken) -> SyncReply {
        match self.answer(token) {
            Reply::Sync(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    pub fn join(&mut self, join: &JoinRequest) -> ReplyToken {
        self.ask(Request::Join(join.clone()))
    }

    /// Joins as a dynamic member does: asks for an id, then joins with it. Returns id and token.
    pub fn join_new(&mut self, join: &JoinRequest) -> (String, ReplyToken) {
        let token = self.join(join);
        let reply = self.joined(token);
        assert_eq!(reply.error, ErrorCode::MemberIdRequired);
        let member_id = reply.member_id.to_string();
        (member_id.clone(), self.join(&JoinRequest { member_id, ..join.clone() }))
    }

    pub fn sync(&mut self, member_id: &str, generation: i32, assignments: &[(&str, &str)]) -> ReplyToken {
        self.ask(Request::Sync(SyncRequest {
            group_id: "g".into(),
            generation,
            member_id: member_id.into(),
            assignments: assignments.iter().map(|(id, a)| (id.to_string(), Arc::from(a.as_bytes()))).collect(),
            ..SyncRequest::default()
        }))
    }

    pub fn heartbeat(&mut self, member_id: &str, generation: i32) -> ErrorCode {
        let token = self.ask(Request::Heartbeat(HeartbeatRequest {
            group_id: "g".into(),
            generation,
            member_id: member_id.into(),
            instance_id: None,
        }));
        match self.answer(token) {
            Reply::Heartbeat(error) => error,
            other => panic!("{other:?}"),
        }
    }

    pub fn leave(&mut self, members: &[(&str, Option<&str>)]) -> Vec<ErrorCode> {
        let members = members.iter().map(|(member_id, instance_id)| LeavingMember {
            member_id: member_id.to_string(),
            instance_id: instance_id.map(String::from),
        });
        let token = self.ask(Request::Leave(LeaveRequest { group_id: "g".into(), members: members.collect() }));
        match self.answer(token) {
            Reply::Leave(reply) => {
                assert_eq!(reply.error, ErrorCode::None);
                reply.members.into_iter().map(|(_, error)| error).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn commit_offset(&mut self, commit: CommitRequest) -> ErrorCode {
        let token = self.ask(Request::CommitOffsets(commit));
        committed(self.answer(token))
    }

    pub fn fetch(&mut self, group_id: &str, topic: &str, partition: i32) -> FetchedOffset {
        let topics = vec![FetchTopic { name: topic.into(), id: Uuid::ZERO, partitions: vec![partition] }];
        let fetch = FetchRequest { group_id: group_id.into(), topics: Some(topics), require_stable: false };
        let token = self.ask(Request::FetchOffsets(fetch));
        fetched(self.answer(token))
    }

    /// Joins `count` members into a stable group "g" and returns their ids, the leader first, and the generation.
    pub fn stable_group(&mut self, count: usize) -> (Vec<String>, i32) {
        let mut generation = 0;
        let mut ids: Vec<String> = Vec::new();
        let mut joins: Vec<ReplyToken> = Vec::new();
        for _ in 0..count {
            let (id, token) = self.join_new(&consumer("g"));
            ids.push(id);
            joins.push(token);
        }
        // Those who had joined before the last one came join again.
        loop {
            let mut again = Vec::new();
            for (i, token) in joins.clone().into_iter().enumerate() {
                if let Some(Reply::Join(reply)) = self.replies.remove(&token) {
                    assert_eq!(reply.error, ErrorCode::None);
                    if reply.generation > generation {
                        generation = reply.generation;
                    }
                    again.push(i);
                }
            }
            if again.len() == count {
                break;
            }
            for i in again {
                joins[i] = self.join(&JoinRequest { member_id: ids[i].clone(), ..consumer("g") });
            }
        }
        let leader = match self.shard.describe("g").state {
            coordinator::GroupState::CompletingRebalance => 0,
            state => panic!("{state:?}"),
        };
        ids.swap(0, leader);
        let assignments: Vec<(String, String)> = ids.iter().map(|id| (id.clone(), format!("of {id}"))).collect();
        let assignments: Vec<(&str, &str)> = assignments.iter().map(|(id, a)| (&**id, &**a)).collect();
        for id in ids.clone() {
            let token = self.sync(&id, generation, &assignments);
            self.replies.remove(&token);
        }
        self.replies.clear();
        assert_eq!(self.shard.describe("g").state, coordinator::GroupState::Stable);
        (ids, generation)
    }
}

pub fn committed(reply: Reply) -> ErrorCode {
    match reply {
        Reply::CommitOffsets(reply) => reply.topics[0].partitions[0].1,
        other => panic!("{other:?}"),
    }
}

pub fn fetched(reply: Reply) -> FetchedOffset {
    match reply {
        Reply::FetchOffsets(reply) => reply.topics[0].partitions[0].clone(),
        other => panic!("{other:?}"),
    }
}

pub fn protocol(name: &str, metadata: &[u8]) -> Protocol {
    Protocol { name: name.into(), metadata: metadata.into() }
}

/// A subscription of one topic, as consumers encode it.
pub fn subscription(topic: &str) -> Vec<u8> {
    let mut bytes = vec![0, 1, 0, 0, 0, 1, 0, topic.len() as u8];
    bytes.extend(topic.as_bytes());
    bytes.extend([0xff, 0xff, 0xff, 0xff]);
    bytes.extend([0, 0, 0, 0]);
    bytes
}

/// A consumer that subscribes topic "t".
pub fn consumer(group_id: &str) -> JoinRequest {
    use std::sync::atomic::{AtomicU64, Ordering};
    static CHANCE: AtomicU64 = AtomicU64::new(1);
    let mut random = [7; 16];
    random[8..].copy_from_slice(&CHANCE.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    JoinRequest {
        version: 9,
        group_id: group_id.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol("range", &subscription("t"))],
        client_id: "app".into(),
        client_host: "/127.0.0.1".into(),
        random: Uuid(random),
        ..JoinRequest::default()
    }
}

/// A commit by somebody who is not a member.
pub fn simple_commit(group_id: &str, topic: &str, partition: i32, offset: i64) -> CommitRequest {
    CommitRequest {
        version: 10,
        group_id: group_id.into(),
        generation: -1,
        member_id: String::new(),
        instance_id: None,
        retention_ms: -1,
        topics: vec![CommitTopic {
            name: topic.into(),
            id: Uuid([1; 16]),
            partitions: vec![CommitPartition { index: partition, offset, leader_epoch: 3, metadata: None }],
        }],
    }
}
