//! A consumer in a group of the classic protocol, which commits what it has read.

use crate::clients::{FetchedRecords, Pending, Question, Role};
use crate::groups::is_offsets;
use crate::plan::OFFSETS_TOPIC;
use crate::world::World;
use coordinator::request::{
    CommitPartition, CommitRequest, CommitTopic, FetchRequest, FetchTopic, HeartbeatRequest, JoinReply, JoinRequest,
    Protocol, SyncRequest,
};
use coordinator::{Reply, Request};
use metadata::image::{Image, TopicIdPartition};
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::records::batches;
use wire::{ErrorCode, Uuid};

const SESSION_MS: i32 = 1_500;
const HEARTBEAT_MS: i64 = 250;
const COMMIT_MS: i64 = 120;

/// Where a member is in its group's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Step {
    #[default]
    Join,
    Sync,
    /// It asks from where on to read.
    Offsets,
    Heartbeat,
    Commit,
}

#[derive(Debug)]
pub struct Consumer {
    pub group: &'static str,
    member_id: String,
    pub generation: i32,
    /// What is asked next; once [`Step::Heartbeat`], it is a member that reads.
    step: Step,
    is_asking: bool,
    /// What it is about to read, and from where.
    fetching: Option<Vec<(TopicIdPartition, i64)>>,
    /// What the leader gives to each member.
    plan: Vec<(String, Arc<[u8]>)>,
    assigned: Vec<TopicIdPartition>,
    /// As the leader: what there was to share out.
    all: Option<Vec<TopicIdPartition>>,
    /// From where on it reads, and what it has committed.
    pub positions: BTreeMap<TopicIdPartition, (i64, i64)>,
    /// The floor under the offsets that were asked for: what was committed before.
    floors: BTreeMap<TopicIdPartition, i64>,
    committing: Vec<(TopicIdPartition, i64)>,
    heartbeat_ms: i64,
    commit_ms: i64,
}

impl Consumer {
    pub fn new(group: &'static str) -> Consumer {
        Consumer {
            group,
            member_id: String::new(),
            generation: -1,
            step: Step::Join,
            is_asking: false,
            fetching: None,
            plan: Vec::new(),
            assigned: Vec::new(),
            all: None,
            positions: BTreeMap::new(),
            floors: BTreeMap::new(),
            committing: Vec::new(),
            heartbeat_ms: 0,
            commit_ms: 0,
        }
    }

    /// It reads, as a member.
    pub fn is_stable(&self) -> bool {
        matches!(self.step, Step::Heartbeat | Step::Commit)
    }

    fn rejoin(&mut self) {
        self.step = Step::Join;
        self.positions.clear();
    }

    fn request(&mut self, step: Step, image: &Image, random: Uuid) -> Request {
        let (group_id, member_id, generation) = (self.group.to_owned(), self.member_id.clone(), self.generation);
        match step {
            Step::Join => Request::Join(JoinRequest {
                version: 9,
                group_id,
                session_timeout_ms: SESSION_MS,
                rebalance_timeout_ms: SESSION_MS,
                member_id,
                protocol_type: "consumer".to_owned(),
                protocols: vec![Protocol { name: "range".into(), metadata: subscription(image) }],
                client_id: "sim".to_owned(),
                client_host: "/127.0.0.1".to_owned(),
                random,
                ..JoinRequest::default()
            }),
            Step::Sync => {
                let assignments = self.plan.clone();
                Request::Sync(SyncRequest { group_id, generation, member_id, assignments, ..SyncRequest::default() })
            }
            Step::Offsets => {
                let mut topics: Vec<FetchTopic> = Vec::new();
                for key in &self.assigned {
                    let Some(topic) = image.topics.get(key.topic_id) else { continue };
                    match topics.last_mut().filter(|last| last.id == key.topic_id) {
                        Some(last) => last.partitions.push(key.partition),
                        None => topics.push(FetchTopic {
                            name: topic.name.clone(),
                            id: key.topic_id,
                            partitions: vec![key.partition],
                        }),
                    }
                }
                Request::FetchOffsets(FetchRequest { group_id, topics: Some(topics), require_stable: true })
            }
            Step::Heartbeat => {
                Request::Heartbeat(HeartbeatRequest { group_id, generation, member_id, instance_id: None })
            }
            Step::Commit => {
                let mut topics: Vec<CommitTopic> = Vec::new();
                for (key, offset) in &self.committing {
                    let Some(topic) = image.topics.get(key.topic_id) else { continue };
                    topics.push(CommitTopic {
                        name: topic.name.clone(),
                        id: key.topic_id,
                        partitions: vec![CommitPartition {
                            index: key.partition,
                            offset: *offset,
                            leader_epoch: -1,
                            metadata: None,
                        }],
                    });
                }
                Request::CommitOffsets(CommitRequest {
                    version: 9,
                    group_id,
                    generation,
                    member_id,
                    instance_id: None,
                    retention_ms: -1,
                    topics,
                })
            }
        }
    }

    /// As the leader: all partitions, in turn.
    fn share(&mut self, joined: &JoinReply, image: &Image) {
        let mut shares: Vec<(String, Vec<u8>)> =
            joined.members.iter().map(|member| (member.member_id.to_string(), Vec::new())).collect();
        for (at, key) in keys(image).into_iter().enumerate() {
            let count = shares.len();
            let share = &mut shares[at % count].1;
            share.extend(key.topic_id.0);
            share.extend(key.partition.to_be_bytes());
        }
        self.plan = shares.into_iter().map(|(member, bytes)| (member, Arc::from(bytes))).collect();
    }
}

/// All partitions that are consumed.
pub fn keys(image: &Image) -> Vec<TopicIdPartition> {
    let topics = image.topics.iter().filter(|topic| !is_offsets(&topic.name));
    let keys = topics
        .flat_map(|topic| topic.partitions.keys().map(|p| TopicIdPartition { topic_id: topic.id, partition: *p }));
    keys.collect()
}

/// As Kafka's consumers encode it: version 0, topics, no user data.
fn subscription(image: &Image) -> Arc<[u8]> {
    let topics: Vec<_> = image.topics.iter().filter(|topic| !is_offsets(&topic.name)).collect();
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.name.len() as i16).to_be_bytes());
        bytes.extend(topic.name.as_bytes());
    }
    bytes.extend((-1i32).to_be_bytes());
    bytes.into()
}

impl World {
    fn consumer(&mut self, client: usize) -> &mut Consumer {
        match &mut self.clients[client].role {
            Role::Consumer(consumer) => consumer,
            Role::Producer(_) => unreachable!("a producer's client"),
        }
    }

    pub fn consumer_turn(&mut self, client: usize) -> i64 {
        let now_ms = self.now_ms();
        let image = self.clients[client].image.clone();
        let consumer = self.consumer(client);
        if consumer.is_stable() && !consumer.is_asking && now_ms >= consumer.commit_ms + COMMIT_MS {
            let read = consumer.positions.iter().filter(|(_, (position, committed))| position > committed);
            consumer.committing = read.map(|(key, (position, _))| (*key, *position)).collect();
            if !consumer.committing.is_empty() {
                consumer.commit_ms = now_ms;
                self.ask_coordinator(client, Step::Commit);
            }
        }
        let consumer = self.consumer(client);
        let is_due = !consumer.is_stable() || now_ms >= consumer.heartbeat_ms + HEARTBEAT_MS;
        if is_due && !consumer.is_asking {
            // The group has to know of new partitions.
            let known =
                consumer.step == Step::Heartbeat && consumer.all.as_ref().is_none_or(|all| *all == keys(&image));
            if consumer.step == Step::Heartbeat && !known {
                consumer.rejoin();
            }
            consumer.heartbeat_ms = now_ms;
            let step = consumer.step;
            self.ask_coordinator(client, step);
        }
        self.fetch_records(client);
        20 + self.chance.below(30)
    }

    fn ask_coordinator(&mut self, client: usize, step: Step) {
        let image = self.clients[client].image.clone();
        let random = Uuid::from_u128(u128::from(self.chance.next()) << 64 | 7);
        let group = self.consumer(client).group;
        let Some(topic) = image.topics.by_name(OFFSETS_TOPIC) else { return self.refresh(client) };
        let index = coordinator::partition_for(group, topic.partitions.len().max(1) as i32);
        let key = TopicIdPartition { topic_id: topic.id, partition: index };
        let Some(leader) = self.clients[client].leader(key) else { return self.refresh(client) };
        let assigned = &self.consumer(client).assigned;
        if step == Step::Offsets && assigned.iter().any(|key| image.topics.partition(*key).is_none()) {
            // It has not heard of what it is to read, or that is gone.
            return self.refresh_or_rejoin(client);
        }
        let floors = if step == Step::Offsets { self.checks.committed_offsets(group) } else { BTreeMap::new() };
        let consumer = self.consumer(client);
        consumer.floors = floors;
        consumer.is_asking = true;
        let request = consumer.request(step, &image, random);
        if step == Step::Commit {
            let committing = consumer.committing.clone();
            self.checks.commits(group, &committing);
        }
        self.ask_node(client, leader, Pending::Group(step), Question::Group { group: group.to_owned(), request });
    }

    fn refresh_or_rejoin(&mut self, client: usize) {
        if self.chance.is(5) {
            self.consumer(client).rejoin();
        }
        self.refresh(client);
    }

    pub fn group_answered(&mut self, client: usize, step: Step, reply: Option<Reply>) {
        let image = self.clients[client].image.clone();
        let consumer = self.consumer(client);
        consumer.is_asking = false;
        let error = match &reply {
            None => ErrorCode::NetworkException,
            Some(Reply::Join(joined)) => {
                if joined.error == ErrorCode::None || joined.error == ErrorCode::MemberIdRequired {
                    consumer.member_id = joined.member_id.to_string();
                }
                joined.error
            }
            Some(Reply::Sync(synced)) => synced.error,
            Some(Reply::Heartbeat(error)) => *error,
            Some(Reply::FetchOffsets(fetched)) => {
                let partitions = fetched.topics.iter().flat_map(|topic| &topic.partitions);
                partitions.map(|p| p.error).chain([fetched.error]).find(|e| *e != ErrorCode::None).unwrap_or_default()
            }
            Some(Reply::CommitOffsets(committed)) => {
                let mut partitions = committed.topics.iter().flat_map(|topic| &topic.partitions);
                partitions.find(|(_, error)| *error != ErrorCode::None).map(|(_, error)| *error).unwrap_or_default()
            }
            Some(_) => ErrorCode::UnknownServerError,
        };
        let said = (consumer.group, consumer.generation, error.name());
        if error != ErrorCode::None || !matches!(step, Step::Heartbeat | Step::Commit) {
            self.say(|| format!("consumer {client} of {} in generation {}: {step:?} {}", said.0, said.1, said.2));
        }
        let consumer = self.consumer(client);
        match error {
            ErrorCode::None => {}
            ErrorCode::MemberIdRequired => return,
            ErrorCode::UnknownMemberId => {
                consumer.member_id.clear();
                return consumer.rejoin();
            }
            ErrorCode::IllegalGeneration | ErrorCode::RebalanceInProgress => return consumer.rejoin(),
            ErrorCode::FencedInstanceId => return consumer.rejoin(),
            // The coordinator moved, or did not answer; its members stay what they are.
            _ => {
                if step == Step::Sync {
                    consumer.rejoin();
                }
                return self.refresh(client);
            }
        }
        match reply {
            Some(Reply::Join(joined)) => {
                let members = joined.members.iter().map(|member| &*member.member_id);
                let is_known = consumer.generation == joined.generation
                    && members.eq(consumer.plan.iter().map(|(member, _)| member.as_str()));
                consumer.generation = joined.generation;
                if joined.leader != joined.member_id {
                    consumer.plan.clear();
                    consumer.all = None;
                } else if !is_known || consumer.all.is_none() {
                    // What it shared out before in this generation may be in force.
                    consumer.share(&joined, &image);
                    consumer.all = Some(keys(&image));
                }
                consumer.step = Step::Sync;
            }
            Some(Reply::Sync(synced)) => {
                let parts = synced.assignment.chunks_exact(20);
                consumer.assigned = parts
                    .map(|part| TopicIdPartition {
                        topic_id: Uuid(part[..16].try_into().unwrap()),
                        partition: i32::from_be_bytes(part[16..].try_into().unwrap()),
                    })
                    .collect();
                consumer.step = Step::Offsets;
            }
            Some(Reply::FetchOffsets(fetched)) => {
                let found: Vec<_> = fetched
                    .topics
                    .iter()
                    .flat_map(|topic| topic.partitions.iter().map(move |p| (topic.id, p.index, p.offset)))
                    .collect();
                self.offsets_came(client, &found);
            }
            Some(Reply::CommitOffsets(_)) => {
                let (group, committed) = (consumer.group, std::mem::take(&mut consumer.committing));
                for (key, offset) in &committed {
                    if let Some((_, known)) = consumer.positions.get_mut(key) {
                        *known = *offset;
                    }
                }
                self.checks.committed(group, &committed);
            }
            _ => {}
        }
    }

    fn offsets_came(&mut self, client: usize, found: &[(Uuid, i32, i64)]) {
        let consumer = self.consumer(client);
        let (group, floors) = (consumer.group, std::mem::take(&mut consumer.floors));
        consumer.positions.clear();
        for (topic_id, partition, offset) in found {
            let key = TopicIdPartition { topic_id: *topic_id, partition: *partition };
            let from = (*offset).max(0);
            consumer.positions.insert(key, (from, from));
        }
        consumer.step = Step::Heartbeat;
        consumer.heartbeat_ms = i64::MIN / 2;
        let positions = consumer.positions.clone();
        let found: Vec<_> = positions.iter().map(|(key, (from, _))| (*key, *from)).collect();
        self.checks.committed(group, &found);
        for (key, from) in found {
            let floor = floors.get(&key).copied().unwrap_or(0);
            if let Err(why) = self.checks.offset_fetched(group, key, floor, from) {
                self.checks.lost(why);
            }
        }
    }

    /// Reads from one of the leaders, or from somebody who may have a replica.
    fn fetch_records(&mut self, client: usize) {
        let consumer = self.consumer(client);
        if !consumer.is_stable() || consumer.fetching.is_some() {
            return;
        }
        let positions = consumer.positions.clone();
        let may_follow = self.plan.reads_followers && !self.is_healed() && self.chance.is(30);
        let mut by_leader: BTreeMap<i32, Vec<(TopicIdPartition, i64)>> = BTreeMap::new();
        for (key, (position, _)) in positions {
            let known = &self.clients[client];
            let replicas = known.partition(key).filter(|_| may_follow).map(|partition| partition.replicas.to_vec());
            let node = match replicas {
                Some(replicas) => Some(self.chance.one_of(&replicas)),
                None => known.leader(key),
            };
            if let Some(node) = node {
                by_leader.entry(node).or_default().push((key, position));
            }
        }
        let leaders: Vec<i32> = by_leader.keys().copied().collect();
        if leaders.is_empty() {
            return;
        }
        let leader = self.chance.one_of(&leaders);
        let wanted = by_leader.remove(&leader).unwrap();
        self.consumer(client).fetching = Some(wanted.clone());
        self.ask_node(client, leader, Pending::Fetch, Question::Fetch { wanted, may_follow });
    }

    pub fn records_came(&mut self, client: usize, fetched: FetchedRecords) {
        let asked = self.consumer(client).fetching.take().unwrap_or_default();
        for (key, records) in fetched {
            let floor = self.checks.floor(key);
            if records == Err(ErrorCode::OffsetOutOfRange)
                && let Some((position, _)) = self.consumer(client).positions.get_mut(&key)
            {
                // It asks where the log begins now.
                *position = floor.max(*position);
            }
            let Ok(bytes) = records else {
                self.refresh(client);
                continue;
            };
            let Some((position, _)) = self.consumer(client).positions.get(&key).copied() else { continue };
            // It may have begun elsewhere meanwhile.
            if !asked.contains(&(key, position)) {
                continue;
            }
            let mut next = position;
            for batch in batches(&bytes).map_while(Result::ok) {
                if batch.next_offset() <= next {
                    continue;
                }
                if let Err(why) = self.checks.consume(key, next, &batch) {
                    return self.checks.lost(why);
                }
                next = batch.next_offset();
            }
            if let Some((position, _)) = self.consumer(client).positions.get_mut(&key) {
                *position = next;
            }
        }
    }
}
