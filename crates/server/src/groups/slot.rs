//! One partition of the offsets topic that this node leads, and its coordinator.

use super::Groups;
use crate::node::Node;
use crate::partitions::Cell;
use crate::sync;
use coordinator::records::Record;
use coordinator::{Effects, Reply, ReplyToken, Request, Shard, Write};
use replication::{Ack, Park};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use storage::Append;
use tokio::sync::{oneshot, watch};
use tracing::error;
use wire::records::{BatchBuilder, BatchHeader, BatchInfo};
use wire::{ErrorCode, Uuid};

#[cfg(test)]
mod tests;

/// Where a slot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Loading,
    Serving,
    /// Not here any more, or never: with what clients are told.
    Over(ErrorCode),
}

/// See the module. A slot serves one leadership and is replaced with the next.
pub struct Slot {
    pub cell: Arc<Cell>,
    pub epoch: i32,
    /// Loads that failed before this one.
    pub failures: u32,
    phase: watch::Sender<Phase>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    shard: Option<Shard>,
    waiting: HashMap<ReplyToken, oneshot::Sender<Reply>>,
    tokens: u64,
    /// Given out by the shard, not appended yet.
    outbox: Vec<Write>,
    /// Somebody appends; whoever else has records leaves them in the outbox.
    appending: bool,
    /// Appended, not committed yet.
    in_flight: VecDeque<InFlight>,
    /// A task waits for the front of `in_flight`.
    committing: bool,
    /// Up to where the shard's writes are appended, in its own count.
    appended: i64,
}

struct InFlight {
    /// The log's offset behind the records.
    log_end: i64,
    /// The shard's name for the write.
    end: i64,
}

/// Why records were not appended.
struct Refused {
    error: ErrorCode,
    /// None of them is in the log.
    clean: bool,
}

impl Inner {
    /// Hands replies to those who wait for them and keeps records for the log.
    fn take(&mut self, effects: Effects) {
        for (token, reply) in effects.replies {
            if let Some(waiting) = self.waiting.remove(&token) {
                let _ = waiting.send(reply); // a client that did not wait
            }
        }
        self.outbox.extend(effects.write);
    }
}

impl Slot {
    pub fn new(cell: Arc<Cell>, epoch: i32, failures: u32) -> Slot {
        Slot { cell, epoch, failures, phase: watch::Sender::new(Phase::Loading), inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_loading(&self) -> bool {
        *self.phase.borrow() == Phase::Loading
    }

    /// Completes when the coordinator has loaded.
    ///
    /// # Errors
    /// COORDINATOR_LOAD_IN_PROGRESS when that takes longer than `within`, or what became of it.
    pub async fn ready(&self, within: Duration) -> Result<(), ErrorCode> {
        if *self.phase.borrow() == Phase::Serving {
            return Ok(());
        }
        let mut phase = self.phase.subscribe();
        let loaded = phase.wait_for(|phase| *phase != Phase::Loading);
        match tokio::time::timeout(within, loaded).await.map(|phase| phase.map(|phase| *phase)) {
            Ok(Ok(Phase::Over(error))) => Err(error),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ErrorCode::NotCoordinator),
            Err(_) => Err(ErrorCode::CoordinatorLoadInProgress),
        }
    }

    /// Looks at the coordinator without waiting.
    pub fn with_shard<T>(&self, look: impl FnOnce(&Shard) -> T) -> Result<T, ErrorCode> {
        self.inner().shard.as_ref().map(look).ok_or(ErrorCode::NotCoordinator)
    }

    pub async fn ask(self: &Arc<Self>, node: &Arc<Node>, request: Request) -> Result<Reply, ErrorCode> {
        self.ready(node.groups.commit_timeout).await?;
        let (sender, answer) = oneshot::channel();
        let asked = self.act(node, |inner, shard| {
            inner.tokens += 1;
            let token = ReplyToken(inner.tokens);
            inner.waiting.insert(token, sender);
            shard.handle(node.groups.now(node), request, token)
        });
        asked?;
        answer.await.map_err(|_| ErrorCode::NotCoordinator)
    }

    /// Has the coordinator do something, and carries out what follows.
    fn act(
        self: &Arc<Self>,
        node: &Arc<Node>,
        act: impl FnOnce(&mut Inner, &mut Shard) -> Effects,
    ) -> Result<(), ErrorCode> {
        let deadline = {
            let mut inner = self.inner();
            let mut shard = inner.shard.take().ok_or(ErrorCode::NotCoordinator)?;
            let effects = act(&mut inner, &mut shard);
            let deadline = shard.next_deadline();
            inner.shard = Some(shard);
            inner.take(effects);
            deadline
        };
        node.groups.timer.at(deadline);
        self.append(node);
        Ok(())
    }

    /// Begins to serve with what was loaded, up to `appended`.
    pub fn serve(self: &Arc<Self>, node: &Arc<Node>, shard: Shard, appended: i64, effects: Effects) {
        let deadline = shard.next_deadline();
        {
            let mut inner = self.inner();
            if *self.phase.borrow() != Phase::Loading {
                return; // given up meanwhile
            }
            inner.shard = Some(shard);
            inner.appended = appended;
            inner.take(effects);
            self.phase.send_replace(Phase::Serving);
        }
        node.groups.timer.at(deadline);
        self.append(node);
    }

    pub fn tick(self: &Arc<Self>, node: &Arc<Node>) {
        let due = |shard: &Shard| shard.next_deadline();
        let Ok(Some(deadline)) = self.with_shard(due) else { return };
        let now = node.groups.now(node);
        if deadline > now.steady_ms {
            return node.groups.timer.at(Some(deadline));
        }
        let _ = self.act(node, |_, shard| shard.tick(now));
    }

    pub fn expire(self: &Arc<Self>, node: &Arc<Node>, group: &str, retention_ms: i64) {
        let _ = self.act(node, |_, shard| shard.expire(node.groups.now(node), group, retention_ms));
    }

    pub fn topic_deleted(self: &Arc<Self>, node: &Arc<Node>, topic: &str, id: Uuid) {
        let _ = self.act(node, |_, shard| shard.topic_deleted(node.groups.now(node), topic, id));
    }

    pub fn release_waiting(self: &Arc<Self>, node: &Arc<Node>) {
        let now = node.groups.now(node);
        let _ = self.act(node, |_, shard| shard.release_waiting(now, ErrorCode::NotCoordinator));
    }

    /// Stops serving: everybody who waits is told.
    pub fn give_up(&self, node: &Node, error: ErrorCode) {
        let mut inner = self.inner();
        self.phase.send_replace(Phase::Over(error));
        inner.outbox.clear();
        inner.in_flight.clear();
        if let Some(shard) = inner.shard.take() {
            let replies = shard.resign(node.groups.now(node), error);
            inner.take(Effects { replies, write: None });
        }
        inner.waiting.clear();
    }

    /// Appends what is in the outbox, until nothing is; one at a time, so that the log has the shard's order.
    fn append(self: &Arc<Self>, node: &Arc<Node>) {
        loop {
            let writes = {
                let mut inner = self.inner();
                if inner.appending || inner.outbox.is_empty() {
                    return;
                }
                inner.appending = true;
                std::mem::take(&mut inner.outbox)
            };
            let records = writes.iter().flat_map(|write| &write.records);
            let outcome = self.append_records(node, records);
            let end = writes.last().map_or(0, |write| write.end);
            let mut inner = self.inner();
            match outcome {
                Ok(log_end) => {
                    inner.appending = false;
                    inner.appended = end;
                    inner.in_flight.push_back(InFlight { log_end, end });
                    drop(inner);
                    self.commit(node);
                }
                Err(Refused { error, clean: true }) if inner.in_flight.is_empty() => self.undo(node, &mut inner, error),
                Err(refused) => {
                    // Nobody appends to this slot any more.
                    drop(inner);
                    return self.start_over(node, refused.error);
                }
            }
        }
    }

    /// Nothing of what was to be appended is in the log. What was decided meanwhile was decided on top of it. Under one lock until
    /// the shard knows, or more would be, and would reach the log.
    fn undo(&self, node: &Node, inner: &mut Inner, error: ErrorCode) {
        inner.appending = false;
        inner.outbox.clear();
        if let Some(shard) = &mut inner.shard {
            let effects = shard.failed(node.groups.now(node), error, inner.appended);
            node.groups.timer.at(shard.next_deadline());
            inner.take(effects);
        }
    }

    /// What the log has and what the shard believes may differ: reads the log again, if it can be read.
    fn start_over(self: &Arc<Self>, node: &Arc<Node>, error: ErrorCode) {
        error!(
            partition = self.cell.index,
            error = error.name(),
            "the group coordinator could not write: it starts over"
        );
        self.give_up(node, ErrorCode::NotCoordinator);
        if self.cell.lock().is_leader() && error != ErrorCode::KafkaStorageError {
            node.groups.reload(node, self, 0);
        }
    }

    /// Appends records as batches. Returns the log's offset behind them.
    fn append_records<'r>(&self, node: &Arc<Node>, records: impl Iterator<Item = &'r Record>) -> Result<i64, Refused> {
        let topic = node.partitions.table().by_id(&self.cell.topic_id).cloned();
        let max = topic.map_or(1 << 20, |topic| topic.config.max_message_bytes as usize);
        let now_ms = node.clock.now_ms();
        let mut batches = batches(records, node.groups.codec, max, now_ms);
        let mut appends = Vec::with_capacity(batches.len());
        for bytes in &mut batches {
            let info = BatchHeader::parse(bytes).and_then(|header| BatchInfo::of_header(&header));
            let info = info.map_err(|_| Refused { error: ErrorCode::UnknownServerError, clean: true })?;
            appends.push(Append::new(bytes, BatchInfo { offset_of_max_timestamp_delta: 0, ..info }));
        }
        let mut partition = self.cell.lock();
        if partition.check_epoch(self.epoch).is_err() {
            return Err(Refused { error: ErrorCode::NotLeaderOrFollower, clean: false });
        }
        let appended = partition.append(&mut appends, true, now_ms, node.clock.steady_ms());
        let log_end = partition.log().log_end_offset();
        drop(partition);
        let appended = appended.map_err(|fault| {
            node.log_failed(&self.cell, &fault);
            Refused { error: ErrorCode::KafkaStorageError, clean: false }
        })?;
        if appended.wants_sync {
            sync::sync(node, &self.cell);
        }
        match appends.iter().find_map(|append| append.outcome.as_ref().err()) {
            Some(error) => {
                // Clients of a group know what to do about this one (Kafka says it too).
                let error = match *error {
                    ErrorCode::NotEnoughReplicas => ErrorCode::CoordinatorNotAvailable,
                    error => error,
                };
                Err(Refused { error, clean: appends.iter().all(|append| append.outcome.is_err()) })
            }
            None => Ok(log_end),
        }
    }

    /// The high watermark; nothing once the leadership is over, for then it tells of another leader's records.
    fn committed_to(&self) -> i64 {
        let partition = self.cell.lock();
        match partition.acknowledged(&Ack { offset: i64::MIN, epoch: self.epoch, all: true }) {
            Some(Ok(()) | Err(ErrorCode::NotEnoughReplicasAfterAppend)) => partition.high_watermark(),
            _ => i64::MIN,
        }
    }

    /// Tells the shard what is committed by now; a task waits for the rest.
    fn commit(self: &Arc<Self>, node: &Arc<Node>) {
        let committed_to = self.committed_to();
        let now = node.groups.now(node);
        let mut inner = self.inner();
        let mut committed = None;
        while inner.in_flight.front().is_some_and(|front| front.log_end <= committed_to) {
            committed = inner.in_flight.pop_front().map(|front| front.end);
        }
        // Under the same lock, or a failure in between would void what is committed.
        if let Some(end) = committed
            && let Some(shard) = &mut inner.shard
        {
            let effects = shard.committed(now, end);
            node.groups.timer.at(shard.next_deadline());
            inner.take(effects);
        }
        let wait_for = inner.in_flight.front().map(|front| front.log_end).filter(|_| !inner.committing);
        inner.committing |= wait_for.is_some();
        drop(inner);
        if let Some(log_end) = wait_for {
            let (slot, node) = (self.clone(), node.clone());
            node.groups.runtime.clone().spawn(async move { slot.wait_for_commit(&node, log_end).await });
        }
    }

    async fn wait_for_commit(self: &Arc<Self>, node: &Arc<Node>, mut log_end: i64) {
        loop {
            let (park, ack) = (Park::new(1), Ack { offset: log_end, epoch: self.epoch, all: true });
            self.cell.lock().park_ack(ack, park.clone());
            park.released().await;
            // Whether enough replicas are in sync now makes no difference: it is committed.
            let lost = |outcome| !matches!(outcome, Some(Ok(()) | Err(ErrorCode::NotEnoughReplicasAfterAppend)));
            let outcome = self.cell.lock().acknowledged(&ack);
            if lost(outcome) {
                // Whether the records stay in the log is the next leader's to find out.
                self.inner().committing = false;
                return self.start_over(node, ErrorCode::NotLeaderOrFollower);
            }
            self.commit(node);
            self.append(node);
            let mut inner = self.inner();
            match inner.in_flight.front() {
                Some(front) => log_end = front.log_end,
                None => {
                    inner.committing = false;
                    return;
                }
            }
        }
    }
}

/// Packs records into as few batches as the partition takes.
fn batches<'r>(
    records: impl Iterator<Item = &'r Record>,
    codec: wire::records::Codec,
    max: usize,
    now_ms: i64,
) -> Vec<Vec<u8>> {
    let mut batches = Vec::new();
    let mut builder = BatchBuilder::new(codec);
    for record in records {
        let (key, value) = (Some(&*record.key), record.value.as_deref());
        if !builder.is_empty() && builder.size() + BatchBuilder::record_size_max(key, value, &[]) > max {
            batches.push(builder.build(0, -1));
        }
        builder.append(now_ms, key, value, &[]);
    }
    if !builder.is_empty() {
        batches.push(builder.build(0, -1));
    }
    batches
}

impl Groups {
    pub(super) fn tick(&self, node: &Arc<Node>) {
        for slot in self.slots.load_full().values() {
            slot.tick(node);
        }
    }
}
