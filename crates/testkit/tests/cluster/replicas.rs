//! Followers and leaders: what the server's fetchers and its Fetch do, and whoever waits at a partition.

use crate::clients::{Answer, FetchedRecords};
use crate::produce::Awaited;
use crate::world::{Body, Caller, Happening, To, World};
use ::broker::{FetchSettings, Fetcher, Verdict};
use metadata::image::TopicIdPartition;
use replication::{Answer as LeaderAnswer, Durability, Followed, Park, Partition, Position, ReplicaFetch, Role};
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::Fault;
use wire::ErrorCode;
use wire::codec::Records;
use wire::messages::fetch_request::{FetchPartition, FetchRequest};
use wire::messages::fetch_response::{EpochEndOffset, FetchResponse, FetchableTopicResponse, PartitionData};

const PATIENCE_MS: i64 = 900;
/// A leader holds a fetch that brings nothing for so long.
const HOLD_MS: i32 = 300;

/// A fetch under way is given so long before partitions that were added are not kept waiting any more.
const GRACE_MS: i64 = 5;

/// What a node fetches from one leader.
pub struct Following {
    pub fetcher: Fetcher,
    pub connection: u64,
    pub is_in_flight: bool,
    /// Partitions whose range was asked for, and from where they had been fetched.
    ranging: BTreeMap<TopicIdPartition, Position>,
    /// What was asked last.
    pub last: Option<FetchRequest<'static>>,
    /// When it is looked at next.
    pub turn_ms: i64,
}

impl Following {
    pub fn new(id: i32) -> Following {
        let settings = FetchSettings {
            node_id: id,
            max_wait_ms: HOLD_MS,
            min_bytes: 1,
            max_bytes: 1 << 20,
            partition_max_bytes: 1_500,
            backoff_ms: 200,
        };
        Following {
            fetcher: Fetcher::new(settings),
            connection: 0,
            is_in_flight: false,
            ranging: BTreeMap::new(),
            last: None,
            turn_ms: i64::MAX,
        }
    }
}

/// Somebody who waits at this node for its partitions.
pub struct Waiting {
    pub park: Arc<Park>,
    pub until_ms: i64,
    /// Released, it is looked at then: threads may take their time.
    pub looks_ms: Option<i64>,
    pub what: Waits,
}

pub enum Waits {
    Replica {
        from: To,
        connection: u64,
        request: FetchRequest<'static>,
    },
    Consumer {
        caller: Caller,
        token: u64,
        wanted: Vec<(TopicIdPartition, i64)>,
        may_follow: bool,
    },
    Producer {
        caller: Caller,
        token: u64,
        awaited: Awaited,
    },
    /// A coordinator, for its records.
    Shard {
        partition: i32,
        epoch: i32,
    },
}

impl World {
    /// Has a partition fetched from where its log ends, if it may be.
    pub fn place(&mut self, to: To, leader: i32, key: TopicIdPartition) {
        let Some(process) = self.process(to) else { return };
        let Some(cell) = process.cells.get(&key) else { return };
        let position = cell.partition.position().filter(|position| position.leader == leader);
        let Some(following) = process.fetchers.get_mut(&leader) else { return };
        match position {
            Some(position) => match following.fetcher.position(key) {
                Some(known) if known.leader_epoch == position.leader_epoch => following.fetcher.advance(key, position),
                _ => {
                    following.fetcher.add(key, position);
                    if following.is_in_flight {
                        let connection = following.connection;
                        self.at(GRACE_MS, to, Happening::FetchOvertaken(leader, connection));
                    }
                }
            },
            None => following.fetcher.remove(key),
        }
        self.turn_at(to, leader, 0);
    }

    fn turn_at(&mut self, to: To, leader: i32, delay_ms: i64) {
        let at_ms = self.now_ms() + delay_ms;
        let Some(following) = self.process(to).and_then(|process| process.fetchers.get_mut(&leader)) else { return };
        if at_ms < following.turn_ms {
            following.turn_ms = at_ms;
            self.at(delay_ms, to, Happening::FetchTurn(leader));
        }
    }

    pub fn fetch_turn(&mut self, to: To, leader: i32) {
        let (steady_ms, now_ms) = (self.steady_ms(to.id), self.now_ms());
        let Some(process) = self.process(to) else { return };
        let broker_epoch = process.broker_epoch;
        let Some(following) = process.fetchers.get_mut(&leader) else { return };
        if following.turn_ms > now_ms {
            return; // it was put off, or the turn was taken
        }
        following.turn_ms = i64::MAX;
        if following.is_in_flight {
            return;
        }
        let Some(mut request) = following.fetcher.request(broker_epoch, steady_ms) else {
            if let Some(due_ms) = following.fetcher.next_due_ms() {
                self.turn_at(to, leader, (due_ms - steady_ms).clamp(1, 1_000));
            }
            return;
        };
        request.replica_id = -1;
        following.is_in_flight = true;
        following.connection += 1;
        following.last = Some(request.clone());
        let connection = following.connection;
        self.at(PATIENCE_MS, to, Happening::FetchUnanswered(leader, connection));
        if !self.is_healed() && self.chance.is(3) {
            // It was sent before over a connection that broke, and arrives all the same.
            if let Some(process) = self.running(leader) {
                let late_ms = self.chance.below(3_000);
                self.at(late_ms, process, Happening::Packet(to, Body::Fetch(connection, request.clone())));
            }
        }
        self.send(to, leader, Body::Fetch(connection, request));
    }

    /// What an ended process asked its leaders last is still on its way.
    pub fn fetches_arrive_late(&mut self, ended: To, fetchers: BTreeMap<i32, Following>, back_ms: i64) {
        for (leader, following) in fetchers {
            if self.is_healed() || !self.chance.is(30) {
                continue;
            }
            let late_ms = back_ms + self.chance.below(600);
            if let (Some(request), Some(to)) = (following.last, self.running(leader)) {
                self.at(late_ms, to, Happening::Packet(ended, Body::Fetch(following.connection, request)));
            }
        }
    }

    fn following(&mut self, to: To, leader: i32, connection: u64) -> Option<&mut Following> {
        let following = self.process(to)?.fetchers.get_mut(&leader)?;
        (following.connection == connection && following.is_in_flight).then_some(following)
    }

    pub fn fetch_unanswered(&mut self, to: To, leader: i32, connection: u64) {
        let Some(following) = self.following(to, leader, connection) else { return };
        following.is_in_flight = false;
        let rest_ms = following.fetcher.disconnected();
        self.turn_at(to, leader, rest_ms);
    }

    /// Partitions that were added do not wait for it any more. Answers come in order: only another connection is free.
    pub fn fetch_overtaken(&mut self, to: To, leader: i32, connection: u64) {
        let Some(following) = self.following(to, leader, connection) else { return };
        following.is_in_flight = false;
        following.fetcher.abandon();
        self.turn_at(to, leader, 0);
    }

    /// Who fetches from this leader hears that the partition follows another one.
    pub fn fetch_no_more(&mut self, to: To, leader: i32, key: TopicIdPartition) {
        let Some(process) = self.process(to) else { return };
        let role = process.cells.get(&key).map(|cell| cell.partition.role());
        if let Some(following) = process.fetchers.get_mut(&leader)
            && !matches!(role, Some(Role::Follower { leader: now, .. }) if now == leader)
        {
            following.fetcher.remove(key);
        }
    }

    /// What the server's Fetch does for a follower.
    pub fn serve_fetch(&mut self, to: To, from: To, connection: u64, request: FetchRequest<'static>) {
        let Some((response, bytes, is_news)) = self.answer_replica(to, &request) else { return };
        if bytes < request.min_bytes as usize && !is_news && !is_urgent(&response) {
            let until_ms = self.now_ms() + i64::from(request.max_wait_ms);
            let park = Park::new(i64::from(request.min_bytes));
            let Some(process) = self.process(to) else { return };
            for (key, wanted) in wanted(&request) {
                if let Some(cell) = process.cells.get_mut(&key) {
                    park.credit(cell.partition.replica_readable_bytes(wanted.fetch_offset));
                    cell.partition.park_replica_fetch(park.clone());
                }
            }
            self.wait(to, park, until_ms, Waits::Replica { from, connection, request });
            return;
        }
        self.send_to_process(to, from, Body::Fetched(connection, response));
    }

    /// The answer to a follower, how many bytes it brings, and whether other news. `None` when the node failed over it.
    fn answer_replica(
        &mut self,
        to: To,
        request: &FetchRequest<'static>,
    ) -> Option<(FetchResponse<'static>, usize, bool)> {
        let steady_ms = self.steady_ms(to.id);
        let replica = (request.replica_state.replica_id, request.replica_state.replica_epoch);
        let (mut topics, mut touched, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        let (mut bytes, mut brings_news) = (0, false);
        let process = self.process(to)?;
        for (key, wanted) in wanted(request) {
            let answer = match process.cells.get_mut(&key) {
                Some(cell) => answer_one(&mut cell.partition, replica, &wanted, steady_ms),
                None => Ok(Err(ErrorCode::UnknownTopicId)),
            };
            let answer = answer.unwrap_or_else(|fault| {
                failed.push(fault);
                Err(ErrorCode::KafkaStorageError)
            });
            let (data, is_news) = answer.unwrap_or_else(|error| {
                (PartitionData { error_code: error.code(), ..PartitionData::default() }, false)
            });
            brings_news |= is_news;
            touched.push(key);
            bytes += data.records.as_ref().map_or(0, Records::len);
            let data = PartitionData { partition_index: key.partition, ..data };
            topics.push(FetchableTopicResponse {
                topic_id: key.topic_id,
                partitions: vec![data].into(),
                ..Default::default()
            });
        }
        for fault in failed {
            self.fails(to, &fault);
        }
        self.process(to)?;
        for key in touched {
            self.checks.touch(to.id, key);
            self.propose_soon(to, key);
        }
        Some((FetchResponse { responses: topics.into(), ..Default::default() }, bytes, brings_news))
    }

    /// What the server's fetcher does with an answer.
    pub fn fetched(&mut self, to: To, leader: i32, connection: u64, response: &FetchResponse<'static>) {
        let Some(following) = self.following(to, leader, connection) else { return };
        following.is_in_flight = false;
        if following.fetcher.answered(response).unwrap_or(false) {
            for topic in response.responses.iter() {
                for answer in topic.partitions.to_vec() {
                    let key = TopicIdPartition { topic_id: topic.topic_id, partition: answer.partition_index };
                    let Some(process) = self.process(to) else { return };
                    let Some(following) = process.fetchers.get(&leader) else { return };
                    // What was removed meanwhile is nobody's any more.
                    if following.fetcher.position(key).is_none() {
                        continue;
                    }
                    if let Some(asked) = following.fetcher.asked(key) {
                        self.take(to, leader, key, &asked, &answer);
                    }
                }
            }
        }
        self.turn_at(to, leader, 0);
    }

    fn take(&mut self, to: To, leader: i32, key: TopicIdPartition, asked: &Position, answer: &PartitionData<'_>) {
        let (wall_ms, steady_ms) = (self.wall_ms(to.id), self.steady_ms(to.id));
        let code = ErrorCode::from_code(answer.error_code);
        let process = self.process(to).unwrap();
        let Some(cell) = process.cells.get_mut(&key) else { return };
        let followed = match Verdict::of(code) {
            Verdict::Take => {
                let diverging = (answer.diverging_epoch.epoch, answer.diverging_epoch.end_offset);
                let records = match &answer.records {
                    Some(Records::Bytes(bytes)) => &**bytes,
                    _ => &[],
                };
                let answer = LeaderAnswer {
                    high_watermark: answer.high_watermark,
                    log_start_offset: answer.log_start_offset,
                    diverging: Some(diverging).filter(|(_, end_offset)| *end_offset >= 0),
                    records,
                };
                cell.partition.take_answer(asked, &answer, wall_ms, steady_ms)
            }
            Verdict::AskForRange => {
                let following = process.fetchers.get_mut(&leader).unwrap();
                following.fetcher.rest(key, steady_ms);
                following.ranging.insert(key, *asked);
                return self.send(to, leader, Body::Range(key, asked.leader_epoch));
            }
            verdict => {
                process.fetchers.get_mut(&leader).unwrap().fetcher.rest(key, steady_ms);
                self.say(|| format!("{} hears {} from {leader} ({verdict:?}) for {asked:?}", to.id, code.name()));
                return;
            }
        };
        if let Ok(Followed::BegunInside(begun)) = followed {
            self.checks.truncated(to.id, key, begun.offset, false);
            let process = self.process(to).unwrap();
            return match process.write_checkpoints_of(process.cells[&key].dir) {
                Ok(()) => self.take(to, leader, key, &begun, answer),
                Err(fault) => self.fails(to, &fault),
            };
        }
        self.followed(to, leader, key, followed);
    }

    fn followed(&mut self, to: To, leader: i32, key: TopicIdPartition, followed: Result<Followed, Fault>) {
        match followed {
            Err(fault) => {
                if let Some(following) = self.process(to).and_then(|process| process.fetchers.get_mut(&leader)) {
                    following.fetcher.remove(key);
                }
                return self.fails(to, &fault);
            }
            Ok(Followed::Advanced { .. } | Followed::Stale | Followed::BegunInside(_)) => {}
            Ok(Followed::Truncated { to: end, below_high_watermark }) => {
                self.say(|| format!("{} cuts its log of {key:?} at {end}", to.id));
                // After a power cut the checkpoint may know more than the page cache had brought to the disk.
                let is_whole = self.plan.durability == Durability::Synced || !self.machines[&to.id].is_tainted;
                if below_high_watermark && is_whole {
                    self.checks.lost(format!("{} cut its log of {key:?} at {end}, below its high watermark", to.id));
                }
                self.checks.truncated(to.id, key, end, is_whole);
                let dir = self.process(to).and_then(|process| process.cells.get(&key)).map(|cell| cell.dir);
                if let Some((at, process)) = dir.zip(self.process(to))
                    && let Err(fault) = process.write_checkpoints_of(at)
                {
                    return self.fails(to, &fault);
                }
            }
            Ok(Followed::Refused(code)) => {
                let log = self.process(to).and_then(|process| process.cells.get(&key)).map(|cell| cell.partition.log());
                let range = log.map(|log| log.log_start_offset()..log.log_end_offset());
                let name = self.name(key);
                self.checks.lost(format!(
                    "{} refuses what {leader} sent of {name}: {} at {range:?}",
                    to.id,
                    code.name()
                ));
            }
        }
        self.checks.touch(to.id, key);
        self.place(to, leader, key);
        self.sync(to, key);
    }

    /// ListOffsets, for a follower whose log the leader's does not reach.
    pub fn serve_range(&mut self, to: To, from: To, key: TopicIdPartition, epoch: i32) {
        let Some(process) = self.process(to) else { return };
        let range = match process.cells.get(&key) {
            None => Err(ErrorCode::UnknownTopicOrPartition),
            Some(cell) => cell
                .partition
                .check_epoch(epoch)
                .map(|()| (cell.partition.log().log_start_offset(), cell.partition.log().log_end_offset())),
        };
        self.send_to_process(to, from, Body::Ranged(key, range));
    }

    pub fn ranged(&mut self, to: To, leader: i32, key: TopicIdPartition, range: Result<(i64, i64), ErrorCode>) {
        let Some(process) = self.process(to) else { return };
        let Some(following) = process.fetchers.get_mut(&leader) else { return };
        let Some(asked) = following.ranging.remove(&key) else { return };
        let Ok((start, end)) = range else { return };
        let Some(cell) = process.cells.get_mut(&key) else { return };
        let followed = cell.partition.out_of_range(&asked, start, end);
        self.followed(to, leader, key, followed);
    }

    pub fn wait(&mut self, to: To, park: Arc<Park>, until_ms: i64, what: Waits) {
        let delay_ms = until_ms - self.now_ms();
        if let Some(process) = self.process(to) {
            process.waiting.push(Waiting { park, until_ms, looks_ms: None, what });
            self.at(delay_ms, to, Happening::Patience);
        }
    }

    /// Answers those whose partitions released them, or whose time is over.
    pub fn serve_waiting(&mut self, to: To) {
        let now_ms = self.now_ms();
        loop {
            let Some(process) = self.process(to) else { return };
            let is_due = |waiting: &Waiting| {
                waiting.park.is_released() && waiting.looks_ms.is_none_or(|at_ms| at_ms <= now_ms)
                    || waiting.until_ms <= now_ms
            };
            let Some(at) = process.waiting.iter().position(is_due) else { return };
            let waiting = &mut process.waiting[at];
            if matches!(waiting.what, Waits::Producer { .. }) && waiting.looks_ms.is_none() {
                let until_ms = waiting.until_ms;
                let delay_ms = if !self.is_healed() && self.chance.is(10) { self.chance.below(1_000) } else { 0 };
                self.process(to).unwrap().waiting[at].looks_ms = Some((now_ms + delay_ms).min(until_ms));
                if delay_ms > 0 {
                    self.at(delay_ms, to, Happening::Patience);
                }
                continue;
            }
            let waiting = process.waiting.remove(at);
            waiting.park.finish();
            match waiting.what {
                Waits::Replica { from, connection, request } => {
                    if let Some((response, ..)) = self.answer_replica(to, &request) {
                        self.send_to_process(to, from, Body::Fetched(connection, response));
                    }
                }
                Waits::Consumer { caller, token, wanted, may_follow } => {
                    let (fetched, _) = self.read_for_consumer(to, &wanted, may_follow);
                    self.answer(to, caller, token, Answer::Fetched(fetched));
                }
                Waits::Producer { caller, token, awaited } => {
                    let cell = self.process(to).and_then(|process| process.cells.get(&awaited.key));
                    let outcome =
                        cell.map_or(Some(Err(ErrorCode::UnknownTopicId)), |c| c.partition.acknowledged(&awaited.ack));
                    let outcome = outcome.unwrap_or(Err(ErrorCode::RequestTimedOut));
                    self.append_decided(to, (caller, token), &awaited, outcome);
                }
                Waits::Shard { partition, epoch } => self.shard_waited(to, partition, epoch),
            }
        }
    }

    /// What a consumer gets of each partition, and how many bytes that is.
    pub fn read_for_consumer(
        &mut self,
        to: To,
        wanted: &[(TopicIdPartition, i64)],
        may_follow: bool,
    ) -> (FetchedRecords, usize) {
        let (mut bytes, mut failed) = (0, Vec::new());
        for (key, _) in wanted {
            self.checks.touch(to.id, *key);
        }
        let process = self.process(to).unwrap();
        let read = wanted.iter().map(|(key, offset)| {
            let Some(cell) = process.cells.get(key) else { return (*key, Err(ErrorCode::UnknownTopicId)) };
            let partition = &cell.partition;
            let checked = if may_follow { partition.check_reader_epoch(-1) } else { partition.check_epoch(-1) };
            let records = checked.and_then(|()| {
                let read = partition.read(*offset, 2_000, true, true).map_err(|error| match error {
                    storage::ReadError::Fault(fault) => {
                        failed.push(fault);
                        ErrorCode::KafkaStorageError
                    }
                    _ => ErrorCode::OffsetOutOfRange,
                })?;
                Ok(match read.records {
                    Records::Bytes(bytes) => bytes.to_vec(),
                    Records::File(_) => unreachable!("a disk in memory has no files"),
                })
            });
            bytes += records.as_ref().map_or(1, Vec::len);
            (*key, records)
        });
        let read = read.collect();
        for fault in failed {
            self.fails(to, &fault);
        }
        (read, bytes)
    }
}

fn wanted(request: &FetchRequest<'static>) -> Vec<(TopicIdPartition, FetchPartition)> {
    let topics = request.topics.iter();
    let partitions = topics.flat_map(|topic| topic.partitions.to_vec().into_iter().map(move |p| (topic.topic_id, p)));
    partitions.map(|(topic_id, p)| (TopicIdPartition { topic_id, partition: p.partition }, p)).collect()
}

/// Whether an answer must not wait: an error, or logs that part.
fn is_urgent(response: &FetchResponse<'static>) -> bool {
    let mut partitions = response.responses.iter().flat_map(|topic| topic.partitions.to_vec());
    partitions.any(|p| p.error_code != 0 || p.diverging_epoch.end_offset >= 0)
}

/// A follower's answer, and whether it brings a high watermark that must not wait.
type Answered = Result<(PartitionData<'static>, bool), ErrorCode>;

fn answer_one(
    partition: &mut Partition,
    (replica, broker_epoch): (i32, i64),
    wanted: &FetchPartition,
    steady_ms: i64,
) -> Result<Answered, Fault> {
    if let Err(error) = partition.check_epoch(wanted.current_leader_epoch) {
        return Ok(Err(error));
    }
    if !partition.has_follower(replica) {
        return Ok(Err(ErrorCode::UnknownLeaderEpoch));
    }
    let log = partition.log();
    let base = PartitionData {
        high_watermark: partition.high_watermark(),
        log_start_offset: log.log_start_offset(),
        ..Default::default()
    };
    if wanted.last_fetched_epoch >= 0 {
        let (epoch, end_offset) = log.epoch_end_offset(wanted.last_fetched_epoch);
        if epoch < wanted.last_fetched_epoch || end_offset < wanted.fetch_offset {
            return Ok(Ok((PartitionData { diverging_epoch: EpochEndOffset { epoch, end_offset }, ..base }, false)));
        }
    }
    let read = partition.read_as_replica(wanted.fetch_offset, wanted.partition_max_bytes as u32, true);
    let records = match read {
        Ok(read) => read.records,
        Err(storage::ReadError::OffsetOutOfRange) => return Ok(Err(ErrorCode::OffsetOutOfRange)),
        Err(storage::ReadError::Damaged(_)) => return Ok(Err(ErrorCode::CorruptMessage)),
        Err(storage::ReadError::Fault(fault)) => return Err(fault),
    };
    let (offset, log_start_offset) = (wanted.fetch_offset, wanted.log_start_offset);
    let fetch = ReplicaFetch { replica, broker_epoch, offset, log_start_offset };
    if let Err(error) = partition.fetched_by(&fetch, steady_ms) {
        return Ok(Err(error));
    }
    let (high_watermark, is_news) = partition.tell_high_watermark(replica);
    Ok(Ok((PartitionData { high_watermark, records: Some(records), ..base }, is_news)))
}

/// Whether a partition is led here, and under this epoch.
pub fn leads(partition: &Partition, epoch: i32) -> bool {
    partition.role() == Role::Leader { epoch }
}
