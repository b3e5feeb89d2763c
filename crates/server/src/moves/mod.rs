//! Replicas that move to another log directory of this broker (KIP-113).
//!
//! A copy (`-future`) is made in the other directory, a piece at a time, on threads that may wait, however this replica's
//! role changes meanwhile. Once it is level, the controller is told the new directory (KIP-858), and the copy takes the
//! log's place: under the partition's lock it gets the last batches, its directory the partition's name, and the old one
//! that of a deleted one, each durable before the next. A process that ends on the way leaves a copy, with which the next
//! one goes on, or both under the same name and alike (`log_dirs`).

mod step;

use crate::cleaner::Throttle;
use crate::log_dirs::{Dir, LogCopy};
use crate::node::Node;
use crate::partitions::Cell;
use crate::{assignments, replicas};
use metadata::config::table::quota_key;
use metadata::config::{Layers, Value};
use metadata::image::TopicIdPartition;
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use step::{Failed, Step};
use storage::Log;
use tracing::{error, info, warn};
use wire::ErrorCode;

/// A controller that does not take a new directory is asked again after so long.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// A copy that cannot take the log's place yet, or has to wait for its turn, is looked at again after so long.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// A wait for the rate's sake is no longer, so that a stop is not kept waiting.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// Bytes that are copied at once. A batch goes whole.
const PIECE_MIN: u32 = 4 << 10;
const PIECE_MAX: u32 = 1 << 20;
const RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";

/// See the module.
#[derive(Default)]
pub struct Moves {
    /// Requests are carried out one after the other.
    turn: Mutex<()>,
    state: Mutex<State>,
    throttle: Throttle,
}

#[derive(Default)]
struct State {
    moves: HashMap<TopicIdPartition, Arc<Move>>,
    /// Those that have something to do.
    queue: VecDeque<Arc<Move>>,
    workers: usize,
}

/// One replica on its way.
pub struct Move {
    pub cell: Arc<Cell>,
    /// Where it goes.
    pub dir: Arc<Dir>,
    /// `None` once it has taken the log's place, or is given up.
    copy: Mutex<Option<Log>>,
    seen: Mutex<Seen>,
    /// The controller knows where it goes.
    is_assigned: AtomicBool,
    is_given_up: AtomicBool,
}

/// A copy as others see it, who must not wait for what is done with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub bytes: u64,
    pub start: i64,
    pub end: i64,
    pub recovery_point: i64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Move {
    pub fn seen(&self) -> Seen {
        *lock(&self.seen)
    }

    fn look(&self, copy: &Log) {
        *lock(&self.seen) = Seen {
            bytes: copy.size_bytes(),
            start: copy.log_start_offset(),
            end: copy.log_end_offset(),
            recovery_point: copy.recovery_point(),
        };
    }

    fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Acquire)
    }
}

impl Moves {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// All that are under way.
    pub fn all(&self) -> Vec<Arc<Move>> {
        self.state().moves.values().cloned().collect()
    }

    /// Those that go to this directory.
    pub fn to(&self, dir: &Path) -> Vec<Arc<Move>> {
        self.state().moves.values().filter(|m| m.dir.path() == dir).cloned().collect()
    }

    fn of(&self, key: TopicIdPartition) -> Option<Arc<Move>> {
        self.state().moves.get(&key).cloned()
    }

    /// Whether this partition is on its way to the directory of this id.
    pub fn goes_to(&self, key: TopicIdPartition, dir: wire::Uuid) -> bool {
        self.state().moves.get(&key).is_some_and(|m| m.dir.id == dir)
    }

    /// Moves a partition to the log directory at `path`, or remembers that for when it is here (AlterReplicaLogDirs). May
    /// take long.
    pub fn alter(&self, node: &Arc<Node>, topic: &str, index: i32, path: &str) -> Result<(), ErrorCode> {
        let _turn = lock(&self.turn);
        let dirs = &node.housekeeping.dirs;
        if storage::partition_dir::future_name(topic, index, wire::Uuid::ZERO).is_none() {
            return Err(ErrorCode::InvalidTopicException);
        }
        let dir = dirs.of_partitions().find(|dir| is_at(dir, path)).ok_or(ErrorCode::LogDirNotFound)?;
        if dir.is_offline() {
            return Err(ErrorCode::KafkaStorageError);
        }
        let entry = node.partitions.table().by_name(topic).cloned();
        let Some((entry, cell)) = entry.and_then(|entry| Some((entry.clone(), entry.cell(index)?.clone()))) else {
            dirs.prefer(topic, index, dir);
            let image = node.image();
            let is_known = image.topics.by_name(topic).is_some_and(|topic| topic.partition(index).is_some());
            return Err(if is_known { ErrorCode::ReplicaNotAvailable } else { ErrorCode::UnknownTopicOrPartition });
        };
        if cell.lock().log().fault().is_some() {
            return Err(ErrorCode::KafkaStorageError);
        }
        let key = replicas::key(&cell);
        match self.of(key) {
            Some(m) if Arc::ptr_eq(&m.dir, dir) => return Ok(()),
            Some(m) => self.give_up(node, &m, "it is to go elsewhere, or to stay"),
            None => {}
        }
        if cell.is_in(dir.path()) {
            return Ok(());
        }
        // As in Kafka: there might be a copy in the one that is offline.
        if dirs.iter().any(|dir| dir.is_offline()) {
            return Err(ErrorCode::KafkaStorageError);
        }
        node.housekeeping
            .forget(dir, topic, index)
            .and_then(|()| dirs.create_copy(dir, topic, cell.topic_id, index, &entry.config, node.clock.now_ms()))
            .map_err(|fault| {
                node.log_dir_failed(dir.path(), &fault);
                ErrorCode::KafkaStorageError
            })?
            .map_or(Err(ErrorCode::InvalidTopicException), |copy| {
                self.begin(node, &cell, copy);
                Ok(())
            })
    }

    /// Begins, or goes on where an earlier process ended.
    pub fn begin(&self, node: &Arc<Node>, cell: &Arc<Cell>, copy: LogCopy) {
        info!(topic = %cell.topic, partition = cell.index, from = %cell.log_dir().display(), to = %copy.dir.path().display(),
            offset = copy.log.log_end_offset(), "moving a replica to another log directory");
        // Otherwise the copy would have what the log lost, below where it counts as clean.
        node.cleaner.pause(cell);
        let m = Arc::new(Move {
            cell: cell.clone(),
            dir: copy.dir,
            seen: Mutex::default(),
            copy: Mutex::new(None),
            is_assigned: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
        });
        m.look(&copy.log);
        *lock(&m.copy) = Some(copy.log);
        self.state().moves.insert(replicas::key(cell), m.clone());
        self.enqueue(node, m);
        if cell.dropped.load(Ordering::Acquire) {
            self.forget(node, cell);
        }
    }

    /// Has a thread see to it.
    fn enqueue(&self, node: &Arc<Node>, m: Arc<Move>) {
        let mut state = self.state();
        state.queue.push_back(m);
        if state.workers < node.config.alter_log_dirs_threads {
            state.workers += 1;
            let of_worker = node.clone();
            node.runtime.spawn_blocking(move || of_worker.moves.work(&of_worker));
        }
    }

    fn next(&self) -> Option<Arc<Move>> {
        let mut state = self.state();
        let next = state.queue.pop_front();
        if next.is_none() {
            state.workers -= 1;
        }
        next
    }

    fn work(&self, node: &Arc<Node>) {
        while let Some(m) = self.next() {
            if node.is_stopping() {
                continue;
            }
            let rate = rate(node);
            // What is copied at once is worth a second or so, whatever the rate.
            match m.step(node, (rate as u32).clamp(PIECE_MIN, PIECE_MAX)) {
                Ok(Step::Copied(bytes)) => {
                    self.pause(node, &m, bytes, rate);
                    self.enqueue(node, m.clone());
                }
                Ok(Step::NotYet) => {
                    std::thread::sleep(LOOK_AGAIN);
                    self.enqueue(node, m.clone());
                }
                Ok(Step::Level) => self.assign(node, m.clone()),
                // A log's directory fails with it; at the next start, somebody goes on.
                Ok(Step::Done) | Err(Failed::GivenUp | Failed::SourceOffline) => self.ended(node, &m),
                Err(Failed::Source(why)) => {
                    error!(topic = %m.cell.topic, partition = m.cell.index, error = %why, "the replica cannot be moved");
                    self.give_up(node, &m, "its log cannot be read");
                }
                Err(Failed::Copy(fault)) => {
                    self.ended(node, &m);
                    node.log_dir_failed(m.dir.path(), &fault);
                }
            }
            if m.is_given_up() {
                self.discard(node, &m);
            }
        }
    }

    /// Waits as long as so many bytes are worth.
    fn pause(&self, node: &Node, m: &Move, bytes: u64, rate: f64) {
        let mut delay = self.throttle.delay(bytes, rate);
        while !delay.is_zero() && !node.is_stopping() && !m.is_given_up() {
            let part = delay.min(PAUSE_MAX);
            std::thread::sleep(part);
            delay -= part;
        }
    }

    /// Tells the controller where the replica goes, then has it go there.
    fn assign(&self, node: &Arc<Node>, m: Arc<Move>) {
        let node = node.clone();
        node.clone().runtime.spawn(async move {
            let key = replicas::key(&m.cell);
            while let Err(why) = assignments::assign(&node, m.dir.id, vec![key]).await {
                if m.is_given_up() || node.is_stopping() {
                    break;
                }
                warn!(topic = %m.cell.topic, partition = m.cell.index, %why, "the controller does not take the new directory yet");
                tokio::time::sleep(ASK_AGAIN).await;
            }
            m.is_assigned.store(true, Ordering::Release);
            node.moves.enqueue(&node, m);
        });
    }

    /// The partition is being deleted, and its copy with it.
    pub fn forget(&self, node: &Arc<Node>, cell: &Cell) {
        if let Some(m) = self.of(replicas::key(cell)) {
            self.give_up(node, &m, "it is deleted");
        }
    }

    /// A log directory is offline: what was to go there stays where it is.
    pub fn dir_failed(&self, node: &Arc<Node>, dir: &Path) {
        for m in self.to(dir) {
            m.is_given_up.store(true, Ordering::Release);
            self.ended(node, &m);
            node.assignments.add(&m.cell);
        }
    }

    fn give_up(&self, node: &Arc<Node>, m: &Arc<Move>, why: &str) {
        info!(topic = %m.cell.topic, partition = m.cell.index, to = %m.dir.path().display(), why, "a replica is not moved any more");
        m.is_given_up.store(true, Ordering::Release);
        self.ended(node, m);
        self.discard(node, m);
        // The controller may have been told otherwise.
        node.assignments.add(&m.cell);
    }

    fn ended(&self, node: &Node, m: &Arc<Move>) {
        let key = replicas::key(&m.cell);
        let mut state = self.state();
        if state.moves.get(&key).is_some_and(|known| Arc::ptr_eq(known, m)) {
            state.moves.remove(&key);
            drop(state);
            node.cleaner.resume(&m.cell);
        }
    }

    /// Deletes the copy, unless somebody is at it, who does that then.
    fn discard(&self, node: &Arc<Node>, m: &Arc<Move>) {
        let Ok(mut copy) = m.copy.try_lock() else { return };
        if let Some(copy) = copy.take() {
            node.housekeeping.delete_copy(node, &m.cell, &m.dir, copy);
        }
    }

    /// Closes the copies in order, so that the next process can go on with them.
    pub fn close(&self, node: &Arc<Node>) {
        for m in self.all() {
            if let Some(Err(fault)) = lock(&m.copy).as_mut().map(Log::close) {
                node.log_dir_failed(m.dir.path(), &fault);
            }
        }
    }
}

/// Bytes a second.
fn rate(node: &Node) -> f64 {
    match node.with_layers(&node.image(), |layers: &Layers<'_>| layers.value(quota_key(RATE)?)) {
        Some(Value::Whole(rate)) => rate as f64,
        _ => f64::MAX,
    }
}

fn is_at(dir: &Dir, path: &str) -> bool {
    dir.path() == Path::new(path) || std::path::absolute(dir.path()).is_ok_and(|absolute| absolute == Path::new(path))
}
