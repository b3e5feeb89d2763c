//! One connection to one leader, and the partitions that are fetched over it.

use super::{key, leader, truncation};
use crate::metrics::{Amounts, Flow};
use crate::net::reactors::Place;
use crate::node::Node;
use crate::partitions::Cell;
use crate::sync;
use broker::{FetchSettings, Fetcher, Verdict};
use client::{Dialogue, Error};
use metadata::image::TopicIdPartition;
use replication::{Answer, Followed, Position};
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use storage::Fault;
use tokio::sync::Notify;
use tracing::{error, info, warn};
use wire::codec::Records;
use wire::messages::fetch_request::{FetchRequest, ReplicaState};
use wire::messages::fetch_response::{FetchResponse, PartitionData};
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use wire::messages::list_offsets_response::ListOffsetsResponse;
use wire::{ApiKey, ErrorCode};

/// Topics are named by id from this version of Fetch on; KRaft brokers have it since 3.1.
const TOPIC_IDS_FROM: i16 = 13;
const REPLICA_STATE_FROM: i16 = 15;
/// A fetch under way that waits for news is given so long before partitions that were added are not kept waiting any more.
const GRACE: Duration = Duration::from_millis(5);
/// Between two looks at what rests.
const REST_MIN_MS: i64 = 2;
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

/// What a fetcher is told.
pub enum Change {
    /// Fetch it, from where its log ends now.
    Add(Arc<Cell>),
    Remove(TopicIdPartition),
}

/// A fetcher as others see it.
pub struct Fetching {
    inbox: Mutex<Vec<Change>>,
    wake: Notify,
}

impl Fetching {
    /// Begins to fetch from broker `leader`; `at` tells the connections to it apart.
    pub fn start(node: &Arc<Node>, leader: i32, at: usize) -> Arc<Fetching> {
        let fetching = Arc::new(Fetching { inbox: Mutex::default(), wake: Notify::new() });
        let settings = &node.config.replication;
        let task = Task {
            node: node.clone(),
            leader,
            at,
            inbox: fetching.clone(),
            fetcher: Fetcher::new(FetchSettings {
                node_id: node.node_id,
                max_wait_ms: settings.replica_fetch_wait_max_ms,
                min_bytes: settings.replica_fetch_min_bytes,
                max_bytes: settings.replica_fetch_response_max_bytes,
                partition_max_bytes: settings.replica_fetch_max_bytes,
                backoff_ms: settings.replica_fetch_backoff_ms,
            }),
            cells: HashMap::new(),
            connection: None,
            unsynced: Vec::new(),
            is_told: false,
            place: Place::default(),
        };
        task.run_there();
        fetching
    }

    pub fn tell(&self, changes: Vec<Change>) {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).extend(changes);
        self.wake.notify_one();
    }
}

struct Task {
    node: Arc<Node>,
    leader: i32,
    at: usize,
    inbox: Arc<Fetching>,
    fetcher: Fetcher,
    cells: HashMap<TopicIdPartition, Arc<Cell>>,
    /// `None` while it has to be made.
    connection: Option<Dialogue>,
    /// Fetched once what is in their logs is on the disk.
    unsynced: Vec<Arc<Cell>>,
    /// Somebody was told that the leader cannot be reached.
    is_told: bool,
    place: Place,
}

/// How a fetch that is under way ends.
enum Outcome {
    Answered(Result<(), Error>),
    /// Partitions were added that must not wait for it.
    Overtaken,
    Stopped,
}

impl Task {
    /// Runs on the reactor where its place is, and where that changes, on the next one, with another connection.
    fn run_there(mut self) {
        let reactor = self.node.reactors.at(&self.place).clone();
        reactor.spawn(async move {
            if self.run().await {
                self.connection = None;
                self.run_there();
            }
        });
    }

    /// Returns whether it leaves for another reactor, rather than ends.
    async fn run(&mut self) -> bool {
        let node = self.node.clone();
        let mut stopped = std::pin::pin!(node.stopped());
        loop {
            self.take_changes();
            for cell in std::mem::take(&mut self.unsynced) {
                self.place(&cell);
            }
            if node.is_stopping() {
                return false;
            }
            if node.reactors.leaves(&mut self.place, Instant::now()) {
                return true;
            }
            let Some(request) = self.fetcher.request(node.broker_epoch(), node.clock.steady_ms()) else {
                if self.fetcher.is_empty() {
                    self.connection = None;
                }
                let due = self.fetcher.next_due_ms().or((!self.unsynced.is_empty()).then_some(0));
                tokio::select! {
                    () = self.inbox.wake.notified() => {}
                    () = rest_until(&node, due) => {}
                    _ = &mut stopped => return false,
                }
                continue;
            };
            let limit = self.limit(request.max_wait_ms);
            let outcome = match self.send(request).await {
                Ok(mut connection) => {
                    let outcome = self.wait(&mut connection, limit).await;
                    if matches!(outcome, Outcome::Answered(Ok(()))) {
                        self.connection = self.take(connection).await;
                    }
                    outcome
                }
                Err(error) => Outcome::Answered(Err(error)),
            };
            match outcome {
                Outcome::Answered(Ok(())) => {}
                Outcome::Answered(Err(error)) => {
                    let rest_ms = self.fetcher.disconnected();
                    if rest_ms > 0 && !self.is_told {
                        self.is_told = true;
                        warn!(leader = self.leader, partitions = self.fetcher.len(), %error, "the leader cannot be reached");
                    }
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_millis(rest_ms as u64)) => {}
                        () = self.inbox.wake.notified() => {}
                        _ = &mut stopped => return false,
                    }
                }
                Outcome::Overtaken => {
                    // Answers come in order: only another connection is free.
                    self.fetcher.abandon();
                }
                Outcome::Stopped => return false,
            }
        }
    }

    /// Whether something was added.
    fn take_changes(&mut self) -> bool {
        let changes = std::mem::take(&mut *self.inbox.inbox.lock().unwrap_or_else(PoisonError::into_inner));
        let mut added = false;
        for change in changes {
            match change {
                Change::Add(cell) => {
                    added = true;
                    self.cells.insert(key(&cell), cell.clone());
                    self.place(&cell);
                }
                Change::Remove(key) => {
                    self.cells.remove(&key);
                    self.fetcher.remove(key);
                }
            }
        }
        added
    }

    /// Has a partition fetched from where its log ends; later, when that is not on the disk yet.
    fn place(&mut self, cell: &Arc<Cell>) {
        let key = key(cell);
        let (position, role, is_behind) = {
            let partition = cell.lock();
            (partition.position(), partition.role(), partition.is_behind())
        };
        match position {
            Some(position) if position.leader == self.leader => match self.fetcher.position(key) {
                Some(known) if known.leader_epoch == position.leader_epoch => self.fetcher.advance(key, position),
                _ => self.fetcher.add(key, position),
            },
            None if is_behind
                && matches!(role, replication::Role::Follower { leader, .. } if leader == self.leader) =>
            {
                self.node.sync(cell);
                self.fetcher.remove(key);
                self.unsynced.push(cell.clone());
            }
            // Its role changed, which somebody is about to tell, or its log directory failed.
            _ => self.fetcher.remove(key),
        }
    }

    /// How long an answer may take.
    fn limit(&self, max_wait_ms: i32) -> Duration {
        self.node.config.replication.replica_socket_timeout + Duration::from_millis(max_wait_ms.max(0) as u64)
    }

    async fn send(&mut self, mut request: FetchRequest<'static>) -> Result<Dialogue, Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let client_id = format!("broker-{}-fetcher-{}", self.node.node_id, self.at);
                leader::connect(&self.node, self.leader, client_id).await?
            }
        };
        let version = connection.version(ApiKey::Fetch)?;
        if version < TOPIC_IDS_FROM {
            return Err(Error::Unsupported(format!(
                "broker {} answers Fetch up to version {version}: a replica can follow Kafka 3.1 and later",
                self.leader
            )));
        }
        if version < REPLICA_STATE_FROM {
            request.replica_state = ReplicaState::default();
        } else {
            request.replica_id = -1;
        }
        let sent = tokio::time::timeout(self.limit(0), connection.send(version, &request)).await;
        sent.map_err(|_| self.silent())??;
        Ok(connection)
    }

    fn silent(&self) -> Error {
        Error::Timeout(format!("broker {} did not answer in time", self.leader))
    }

    async fn wait(&mut self, connection: &mut Dialogue, limit: Duration) -> Outcome {
        let node = self.node.clone();
        let mut stopped = std::pin::pin!(node.stopped());
        let mut answer = std::pin::pin!(tokio::time::timeout(limit, connection.answer()));
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return Outcome::Answered(answer.unwrap_or_else(|_| Err(self.silent()))),
                () = self.inbox.wake.notified() => {}
                _ = &mut stopped => return Outcome::Stopped,
            }
            if self.take_changes() {
                return match tokio::time::timeout(GRACE, &mut answer).await {
                    Ok(answer) => Outcome::Answered(answer.unwrap_or_else(|_| Err(self.silent()))),
                    Err(_) => Outcome::Overtaken,
                };
            }
        }
    }

    /// Takes the answer that has come; returns the connection where it is good for another one.
    async fn take(&mut self, mut connection: Dialogue) -> Option<Dialogue> {
        let response: FetchResponse<'_> = match connection.decode() {
            Ok(response) => response,
            Err(error) => {
                error!(leader = self.leader, %error, "the leader's answer cannot be read");
                tokio::time::sleep(Duration::from_millis(self.fetcher.disconnected() as u64)).await;
                return None;
            }
        };
        match self.fetcher.answered(&response) {
            Ok(true) => {}
            Ok(false) => return Some(connection),
            Err(code) => {
                warn!(leader = self.leader, error = code.name(), "the leader refused a fetch");
                tokio::time::sleep(Duration::from_millis(self.node.config.replication.replica_fetch_backoff_ms as u64))
                    .await;
                return Some(connection);
            }
        }
        if std::mem::take(&mut self.is_told) {
            info!(leader = self.leader, "the leader can be reached again");
        }
        let (mut to_sync, mut out_of_range) = (Vec::new(), Vec::new());
        for topic in response.responses.iter() {
            for partition in topic.partitions.iter() {
                let key = TopicIdPartition { topic_id: topic.topic_id, partition: partition.partition_index };
                // What was removed meanwhile is nobody's any more.
                let Some((cell, asked)) = self.cells.get(&key).cloned().zip(self.fetcher.asked(key)) else { continue };
                match Verdict::of(ErrorCode::from_code(partition.error_code)) {
                    Verdict::AskForRange => out_of_range.push((cell, asked)),
                    verdict => self.take_partition(verdict, &cell, &asked, &partition, &mut to_sync).await,
                }
            }
        }
        drop(response);
        let mut is_good = true;
        for (cell, asked) in out_of_range {
            let range = if is_good { self.range(&mut connection, &cell, &asked).await } else { Err(self.silent()) };
            let followed = match range {
                Ok((start, end)) => cell.lock().out_of_range(&asked, start, end),
                Err(error) => {
                    warn!(topic = %cell.topic, partition = cell.index, %error, "the leader does not say where its log begins");
                    self.fetcher.rest(key(&cell), self.node.clock.steady_ms());
                    // The answer to one question could come as that to the next.
                    is_good = false;
                    continue;
                }
            };
            self.followed(&cell, &asked, followed, &mut to_sync).await;
        }
        self.sync(to_sync).await;
        if !is_good {
            self.fetcher.abandon();
        }
        is_good.then_some(connection)
    }

    async fn take_partition(
        &mut self,
        verdict: Verdict,
        cell: &Arc<Cell>,
        asked: &Position,
        answer: &PartitionData<'_>,
        to_sync: &mut Vec<Arc<Cell>>,
    ) {
        let clock = self.node.clock;
        let mut asked = *asked;
        let followed = match verdict {
            Verdict::Take => {
                let records = answer.records.as_ref().and_then(Records::borrowed).unwrap_or_default();
                let diverging = Some((answer.diverging_epoch.epoch, answer.diverging_epoch.end_offset));
                let answer = Answer {
                    high_watermark: answer.high_watermark,
                    log_start_offset: answer.log_start_offset,
                    diverging: diverging.filter(|(_, end_offset)| *end_offset >= 0),
                    records,
                };
                cell.used.store(true, Relaxed);
                let followed = cell.lock().take_answer(&asked, &answer, clock.now_ms(), clock.steady_ms());
                match followed {
                    Ok(Followed::BegunInside(begun)) => {
                        if !self.write_down(cell, begun.offset).await {
                            return self.fetcher.rest(key(cell), clock.steady_ms());
                        }
                        asked = begun;
                        cell.lock().take_answer(&asked, &answer, clock.now_ms(), clock.steady_ms())
                    }
                    followed => followed,
                }
            }
            Verdict::Rest | Verdict::AskForRange => return self.fetcher.rest(key(cell), clock.steady_ms()),
            Verdict::Complain => {
                let code = ErrorCode::from_code(answer.error_code);
                warn!(topic = %cell.topic, partition = cell.index, leader = self.leader, error = code.name(), "the leader cannot give this partition");
                return self.fetcher.rest(key(cell), clock.steady_ms());
            }
        };
        self.followed(cell, &asked, followed, to_sync).await;
    }

    /// Has the checkpoints of `cell` written, whose log ends at `to` now.
    async fn write_down(&self, cell: &Arc<Cell>, to: i64) -> bool {
        let (node, at) = (self.node.clone(), cell.clone());
        self.node.runtime.spawn_blocking(move || truncation::write_down(&node, &at, to)).await.is_ok()
    }

    /// What became of an answer.
    async fn followed(
        &mut self,
        cell: &Arc<Cell>,
        asked: &Position,
        followed: Result<Followed, Fault>,
        to_sync: &mut Vec<Arc<Cell>>,
    ) {
        let steady_ms = self.node.clock.steady_ms();
        match followed {
            Ok(Followed::Advanced { bytes, wants_sync, write_back }) => {
                self.count(cell, bytes);
                if let Some(write_back) = write_back {
                    self.node.runtime.spawn_blocking(move || write_back.run());
                }
                match wants_sync {
                    true => to_sync.push(cell.clone()),
                    false => self.place(cell),
                }
            }
            Ok(Followed::Truncated { to, below_high_watermark }) => {
                info!(topic = %cell.topic, partition = cell.index, leader = self.leader, leader_epoch = asked.leader_epoch,
                    from = asked.offset, to, "the log was cut to the leader's");
                if below_high_watermark {
                    error!(topic = %cell.topic, partition = cell.index, leader = self.leader, to,
                        "the leader does not have records that were committed: it was elected without having been in sync, and \
                         they are lost");
                }
                if !self.write_down(cell, to).await {
                    return self.fetcher.rest(key(cell), steady_ms);
                }
                self.place(cell);
            }
            // Taken again, no answer begins inside of a batch.
            Ok(Followed::Stale | Followed::BegunInside(_)) => self.place(cell),
            Ok(Followed::Refused(code)) => {
                warn!(topic = %cell.topic, partition = cell.index, leader = self.leader, offset = asked.offset, error = code.name(),
                    "what the leader sent is not taken");
                self.fetcher.rest(key(cell), steady_ms);
            }
            Err(fault) => {
                self.fetcher.remove(key(cell));
                self.node.log_failed(cell, &fault);
            }
        }
    }

    fn count(&self, cell: &Cell, bytes: usize) {
        let table = self.node.partitions.table();
        let Some(topic) = table.by_id(&cell.topic_id).filter(|_| bytes > 0) else { return };
        let mut amounts = Amounts::default();
        amounts[Flow::ReplicationBytesIn] = bytes as u64;
        self.node.metrics.moved(&topic.traffic, &amounts);
    }

    /// Syncs partitions whose records count once they are on the disk; only then is their next fetch sent.
    async fn sync(&mut self, cells: Vec<Arc<Cell>>) {
        let syncing: Vec<_> = cells
            .iter()
            .map(|cell| {
                let (node, cell) = (self.node.clone(), cell.clone());
                self.node.runtime.spawn_blocking(move || sync::sync_now(&node, &cell))
            })
            .collect();
        for (cell, syncing) in cells.iter().zip(syncing) {
            let _ = syncing.await; // what it did is seen in the partition
            self.place(cell);
        }
    }

    /// Where the leader's log begins and ends.
    async fn range(&self, connection: &mut Dialogue, cell: &Cell, asked: &Position) -> Result<(i64, i64), Error> {
        let mut offsets = [0; 2];
        for (offset, timestamp) in offsets.iter_mut().zip([EARLIEST, LATEST]) {
            let partition = ListOffsetsPartition {
                partition_index: cell.index,
                current_leader_epoch: asked.leader_epoch,
                timestamp,
            };
            let topic = ListOffsetsTopic { name: cell.topic.to_string().into(), partitions: vec![partition].into() };
            let request =
                ListOffsetsRequest { replica_id: self.node.node_id, topics: vec![topic].into(), ..Default::default() };
            connection.call(&request, self.limit(0)).await?;
            let response: ListOffsetsResponse<'_> = connection.decode()?;
            let found = response.topics.iter().flat_map(|topic| topic.partitions.to_vec()).next();
            let found = found.ok_or_else(|| Error::Protocol("the answer has no partition".into()))?;
            Error::check(ErrorCode::from_code(found.error_code), None)?;
            *offset = found.offset;
        }
        Ok((offsets[0], offsets[1]))
    }
}

async fn rest_until(node: &Node, due_ms: Option<i64>) {
    match due_ms {
        Some(due_ms) => {
            let rest_ms = due_ms.saturating_sub(node.clock.steady_ms()).max(REST_MIN_MS);
            tokio::time::sleep(Duration::from_millis(rest_ms as u64)).await;
        }
        None => std::future::pending().await,
    }
}
