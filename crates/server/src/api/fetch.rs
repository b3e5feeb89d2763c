//! Fetch (1), versions 4–18.
//!
//! Answers at once when `min_bytes` are there, something is wrong, or nobody wants to wait; otherwise the request is
//! parked in its partitions and answered when they have enough or `max_wait_ms` is over. Records leave as regions of
//! files. A consumer reads up to the high watermark, a follower up to the log's end: its fetch says what it has, which
//! moves the high watermark. A consumer that may read from followers (version 11, KIP-392) is sent to the one in its
//! rack, where `replica.selector.class` says so. Versions: 7 brought sessions (KIP-227, `fetch_sessions.rs`), 9 the leader
//! epoch check (KIP-320), 11 racks, 12 divergence (flexible), 13 topic ids, 15 the follower's broker epoch (KIP-903),
//! 16 leader hints (KIP-951).

use super::{Close, Cx, Reply, leader_hint, quorum_fetch};
use crate::fetch_sessions::{Context, News, Wanted};
use crate::metrics::{Amounts, Flow, Slot};
use crate::net::output::COPY_MAX;
use crate::partitions::{Cell, Topic};
use broker::ReplicaSelector;
use replication::{Park, Partition, ReplicaFetch};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;
use storage::{AbortedTxn, Fault, ReadError};
use wire::codec::{Array, Records};
use wire::messages::fetch_request::FetchRequest;
use wire::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint,
    PartitionData,
};
use wire::{ErrorCode, Uuid};

pub const VERSIONS: RangeInclusive<i16> = 4..=18;
/// Who asks in this version can be sent elsewhere, and may read from a follower.
const RACKS_FROM: i16 = 11;
/// Clients know KAFKA_STORAGE_ERROR from this version on (KIP-112).
const STORAGE_ERROR_FROM: i16 = 6;
const REPLICA_STATE_FROM: i16 = 15;
/// Answers say from this version on who leads instead.
const HINTS_FROM: i16 = 16;
/// How long a follower rests to which there is nothing to say but that it has not heard of an epoch.
const LEFT_OUT_PAUSE: Duration = Duration::from_millis(5);
/// The replica id of who compares replicas (kafka-replica-verification): reads from any, as a consumer.
pub const DEBUGGER: i32 = -2;

/// One partition's part of the answer.
pub struct Fetched {
    pub error: ErrorCode,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    pub records: Records<'static>,
    /// Written moments ago, so in the page cache for certain.
    hot: bool,
    aborted: Option<Vec<AbortedTransaction>>,
    diverging: Option<EpochEndOffset>,
    /// Where a consumer should read instead.
    preferred: Option<i32>,
    /// A follower must hear of the high watermark at once.
    is_news: bool,
    /// Nothing is said of it this time.
    left_out: bool,
}

impl Fetched {
    fn refused(error: ErrorCode) -> Fetched {
        Fetched {
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            records: Records::default(),
            hot: false,
            aborted: None,
            diverging: None,
            preferred: None,
            is_news: false,
            left_out: false,
        }
    }

    /// For a follower that asks under an earlier epoch moments after the present one began: it is about to hear of it. Told
    /// that it is fenced, one of Apache Kafka's takes the partition for failed.
    fn left_out() -> Fetched {
        Fetched { left_out: true, ..Fetched::refused(ErrorCode::None) }
    }

    /// Something that the client must see at once.
    fn is_urgent(&self) -> bool {
        self.error != ErrorCode::None || self.diverging.is_some() || self.preferred.is_some() || self.is_news
    }
}

pub async fn handle(cx: &Cx<'_>, request: FetchRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    if cx.peer.is_controller {
        return quorum_fetch::handle(cx, request, reply).await;
    }
    let node = cx.node;
    let context = match node.fetch_sessions.context(&request, cx.version(), node.clock.steady_ms()) {
        Ok(context) => context,
        Err(error) => return reply.send(&FetchResponse { error_code: error.code(), ..Default::default() }),
    };
    let limits = Limits {
        max_bytes: request.max_bytes.clamp(0, node.config.fetch_max_bytes) as u32,
        committed: request.isolation_level == 1,
        replica: follower(&request, cx.version()),
        rack: (cx.version() >= RACKS_FROM || replica_id(&request, cx.version()) == DEBUGGER)
            .then_some(&request.rack_id),
    };
    if limits.replica.is_some() {
        reply.count_as(Slot::FETCH_FOLLOWER);
    }
    let mut fetched = read_all(cx, &context, &limits);
    let wait = Duration::from_millis(request.max_wait_ms.max(0) as u64);
    // More than an answer may have would be waited for in vain.
    let min_bytes = request.min_bytes.min(limits.max_bytes as i32);
    if !wait.is_zero() && !context.wanted.is_empty() && !is_enough(&fetched, min_bytes) {
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let Some(park) = park(cx, &context, min_bytes, &limits) else {
                fetched = read_all(cx, &context, &limits);
                break;
            };
            let in_time = tokio::time::timeout_at(deadline, park.released()).await.is_ok();
            park.finish();
            fetched = read_all(cx, &context, &limits);
            // What was credited need not be readable (an open transaction, a position in between): then it waits on.
            if !in_time || is_enough(&fetched, min_bytes) || node.is_stopping() {
                break;
            }
        }
    }
    if fetched.iter().any(|f| f.left_out) && !is_enough(&fetched, 1) {
        // It would ask again at once.
        tokio::time::sleep(LEFT_OUT_PAUSE).await;
    }
    count(&context, &fetched, limits.replica.is_some(), cx);
    warm(cx, &fetched).await;
    send(cx, context, fetched, reply)
}

struct Limits<'a> {
    max_bytes: u32,
    committed: bool,
    /// The broker that follows, and its epoch; `None` for a consumer.
    replica: Option<(i32, i64)>,
    /// The consumer's, where it may read from a follower; empty when it has none.
    rack: Option<&'a str>,
}

fn replica_id(request: &FetchRequest<'_>, version: i16) -> i32 {
    if version >= REPLICA_STATE_FROM { request.replica_state.replica_id } else { request.replica_id }
}

fn follower(request: &FetchRequest<'_>, version: i16) -> Option<(i32, i64)> {
    let epoch = if version >= REPLICA_STATE_FROM { request.replica_state.replica_epoch } else { -1 };
    Some(replica_id(request, version)).filter(|id| *id >= 0).map(|id| (id, epoch))
}

fn is_enough(fetched: &[Fetched], min_bytes: i32) -> bool {
    let bytes: usize = fetched.iter().map(|f| f.records.len()).sum();
    bytes >= min_bytes.max(0) as usize || fetched.iter().any(Fetched::is_urgent)
}

fn read_all(cx: &Cx<'_>, context: &Context<'_>, limits: &Limits<'_>) -> Vec<Fetched> {
    let mut left = limits.max_bytes;
    let mut any = false;
    context
        .wanted
        .iter()
        .map(|wanted| {
            let fetched = read(cx, wanted, limits, left, !any, context.is_incremental());
            let bytes = fetched.records.len();
            any |= bytes > 0;
            left = left.saturating_sub(bytes as u32);
            fetched
        })
        .collect()
}

fn read(cx: &Cx<'_>, wanted: &Wanted<'_>, limits: &Limits<'_>, left: u32, first: bool, may_leave_out: bool) -> Fetched {
    let topic = match find(cx, wanted) {
        Ok(topic) => topic,
        Err(error) => return Fetched::refused(error),
    };
    let cell = match topic.replica(wanted.partition) {
        Ok(cell) => cell,
        Err(error) => return Fetched::refused(error),
    };
    cell.used.store(true, Relaxed);
    let mut partition = cell.lock();
    let may_follow = limits.rack.is_some() && limits.replica.is_none() && !cell.dropped.load(Acquire);
    let checked = match may_follow {
        true => partition.check_reader_epoch(wanted.current_leader_epoch),
        false => partition.check_epoch(wanted.current_leader_epoch),
    };
    if let Err(error) = checked {
        let is_news = || partition.is_epoch_news_to(wanted.current_leader_epoch, cx.node.clock.steady_ms());
        return match limits.replica.is_some() && may_leave_out && is_news() {
            true => Fetched::left_out(),
            false => Fetched::refused(error),
        };
    }
    if limits.replica.is_some_and(|(id, _)| !partition.has_follower(id)) {
        // It may have heard of a reassignment before this leader.
        return Fetched::refused(ErrorCode::UnknownLeaderEpoch);
    }
    let log = partition.log();
    let mut fetched = Fetched {
        error: ErrorCode::None,
        high_watermark: partition.high_watermark(),
        last_stable_offset: partition.last_stable_offset(),
        log_start_offset: log.log_start_offset(),
        records: Records::default(),
        hot: log.is_hot(wanted.offset),
        aborted: limits.committed.then(Vec::new),
        diverging: None,
        preferred: None,
        is_news: false,
        left_out: false,
    };
    if wanted.last_fetched_epoch >= 0 {
        let (epoch, end_offset) = log.epoch_end_offset(wanted.last_fetched_epoch);
        if end_offset < 0 {
            // An epoch that never was here: an answer without an end would say that the logs are the same.
            return Fetched::refused(ErrorCode::OffsetOutOfRange);
        }
        if epoch < wanted.last_fetched_epoch || end_offset < wanted.offset {
            fetched.diverging = Some(EpochEndOffset { epoch, end_offset });
            return fetched;
        }
    }
    let selector = cx.node.config.replication.replica_selector;
    if let Some(rack) = limits.rack.filter(|_| may_follow && selector != ReplicaSelector::Leader) {
        let image = cx.node.image();
        fetched.preferred = selector.select(&image.cluster, &partition, rack, &cx.peer.listener, wanted.offset);
        if fetched.preferred.is_some() {
            return fetched;
        }
    }
    let max_bytes = left.min(wanted.max_bytes.max(0) as u32);
    let read = match limits.replica {
        Some(_) => partition.read_as_replica(wanted.offset, max_bytes, first),
        None => partition.read(wanted.offset, max_bytes, limits.committed, first),
    };
    let read = match read {
        Ok(read) => read,
        Err(ReadError::OffsetOutOfRange) => return Fetched::refused(ErrorCode::OffsetOutOfRange),
        Err(ReadError::Damaged(damage)) => {
            cx.node.report_damage(cell, &damage);
            return Fetched::refused(ErrorCode::CorruptMessage);
        }
        Err(ReadError::Fault(fault)) => return failed(cx, cell, partition, &fault),
    };
    if limits.committed && !read.records.is_empty() {
        match log.aborted_transactions(wanted.offset, fetched.last_stable_offset) {
            Ok(aborted) => fetched.aborted = Some(aborted.into_iter().map(aborted_transaction).collect()),
            Err(fault) => return failed(cx, cell, partition, &fault),
        }
    }
    fetched.records = read.records;
    if let Some((replica, broker_epoch)) = limits.replica {
        let (offset, log_start_offset) = (wanted.offset, wanted.log_start_offset);
        let fetch = ReplicaFetch { replica, broker_epoch, offset, log_start_offset };
        match partition.fetched_by(&fetch, cx.node.clock.steady_ms()) {
            Ok(true) => cx.node.replicas.propose(cell),
            Ok(false) => {}
            Err(error) => return Fetched::refused(error),
        }
        (fetched.high_watermark, fetched.is_news) = partition.tell_high_watermark(replica);
        fetched.is_news |= partition.is_to_delete(log_start_offset);
        fetched.last_stable_offset = partition.last_stable_offset();
    }
    fetched
}

fn aborted_transaction(t: AbortedTxn) -> AbortedTransaction {
    AbortedTransaction { producer_id: t.producer_id, first_offset: t.first_offset, ..Default::default() }
}

fn failed(cx: &Cx<'_>, cell: &Cell, mut partition: MutexGuard<'_, Partition>, fault: &Fault) -> Fetched {
    partition.log_mut().fail(fault.clone());
    drop(partition);
    cx.node.log_failed(cell, fault);
    Fetched::refused(ErrorCode::KafkaStorageError)
}

fn find(cx: &Cx<'_>, wanted: &Wanted<'_>) -> Result<Arc<Topic>, ErrorCode> {
    let table = cx.node.partitions.table();
    if wanted.id != Uuid::ZERO {
        return table.by_id(&wanted.id).cloned().ok_or(ErrorCode::UnknownTopicId);
    }
    table.by_name(&wanted.name).cloned().ok_or(ErrorCode::UnknownTopicOrPartition)
}

/// Parks the request in its partitions; `None` when there is enough by now.
fn park(cx: &Cx<'_>, context: &Context<'_>, min_bytes: i32, limits: &Limits<'_>) -> Option<Arc<Park>> {
    let request = Park::new(min_bytes as i64);
    for wanted in &context.wanted {
        let Some(cell) = find(cx, wanted).ok().and_then(|t| t.cell(wanted.partition).cloned()) else { continue };
        let mut partition = cell.lock();
        // Looked at under the lock under which appends credit, so that nothing falls in between.
        if limits.replica.is_some() {
            request.credit(partition.replica_readable_bytes(wanted.offset));
            partition.park_replica_fetch(request.clone());
        } else {
            request.credit(partition.readable_bytes(wanted.offset, limits.committed));
            partition.park_fetch(request.clone());
        }
    }
    (!request.is_released()).then_some(request)
}

fn count(context: &Context<'_>, fetched: &[Fetched], is_replica: bool, cx: &Cx<'_>) {
    for (wanted, fetched) in context.wanted.iter().zip(fetched) {
        let Ok(topic) = find(cx, wanted) else { continue };
        let mut amounts = Amounts::default();
        amounts[Flow::FetchRequests] = 1;
        amounts[if is_replica { Flow::ReplicationBytesOut } else { Flow::BytesOut }] = fetched.records.len() as u64;
        amounts[Flow::FailedFetchRequests] = (fetched.error != ErrorCode::None).into();
        cx.node.metrics.moved(&topic.traffic, &amounts);
    }
}

/// Brings what is not in the page cache there, on the pool for slow reads: `sendfile` on a cold page would hold up
/// every connection of the reactor. A small region is left to the sender, which copies it and knows then.
async fn warm(cx: &Cx<'_>, fetched: &[Fetched]) {
    for fetched in fetched.iter().filter(|f| !f.hot) {
        if let Records::File(region) = &fetched.records
            && region.length > COPY_MAX
        {
            cx.node.cold_reads.warm(region).await;
        }
    }
}

fn send(cx: &Cx<'_>, context: Context<'_>, fetched: Vec<Fetched>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let included = context.answered(fetched.iter().map(|f| News {
        left_out: f.left_out,
        urgent: !f.records.is_empty() || f.is_urgent(),
        failed: f.error != ErrorCode::None,
        high_watermark: f.high_watermark,
        log_start_offset: f.log_start_offset,
    }));
    let mut responses: Vec<FetchableTopicResponse<'_>> = Vec::new();
    let mut partitions: Vec<PartitionData<'_>> = Vec::new();
    let mut leaders = BTreeSet::new();
    let mut entries = context.wanted.iter().zip(fetched).zip(included).filter(|(_, i)| *i).map(|(e, _)| e).peekable();
    while let Some((wanted, fetched)) = entries.next() {
        let leader = match cx.version() >= HINTS_FROM {
            true => leader_hint(cx.node, wanted.id, wanted.partition, fetched.error),
            false => None,
        };
        leaders.extend(leader.map(|(id, _)| id));
        partitions.push(partition_answer(cx.version(), wanted, fetched, leader));
        let ends = entries.peek().is_none_or(|(next, _)| next.name != wanted.name || next.id != wanted.id);
        if ends {
            responses.push(FetchableTopicResponse {
                topic: wanted.name.clone(),
                topic_id: wanted.id,
                partitions: std::mem::take(&mut partitions).into(),
            });
        }
    }
    reply.send(&FetchResponse {
        throttle_time_ms: 0,
        error_code: 0,
        session_id: context.session_id(),
        responses: responses.into(),
        node_endpoints: node_endpoints(cx, &leaders),
    })
}

fn partition_answer<'a>(
    version: i16,
    wanted: &Wanted<'_>,
    fetched: Fetched,
    leader: Option<(i32, i32)>,
) -> PartitionData<'a> {
    let error = match fetched.error {
        // Older clients do not know it; this one has them look for another replica.
        ErrorCode::KafkaStorageError if version < STORAGE_ERROR_FROM => ErrorCode::NotLeaderOrFollower,
        error => error,
    };
    PartitionData {
        partition_index: wanted.partition,
        error_code: error.code(),
        high_watermark: fetched.high_watermark,
        last_stable_offset: fetched.last_stable_offset,
        log_start_offset: fetched.log_start_offset,
        diverging_epoch: fetched.diverging.unwrap_or_default(),
        current_leader: match leader {
            Some((leader_id, leader_epoch)) => LeaderIdAndEpoch { leader_id, leader_epoch },
            None => LeaderIdAndEpoch::default(),
        },
        aborted_transactions: fetched.aborted.map(Array::from),
        preferred_read_replica: fetched.preferred.unwrap_or(-1),
        records: Some(fetched.records),
        ..Default::default()
    }
}

fn node_endpoints(cx: &Cx<'_>, leaders: &BTreeSet<i32>) -> Array<'static, NodeEndpoint<'static>> {
    super::endpoints(cx.node, &cx.peer.listener, leaders)
        .into_iter()
        .map(|b| NodeEndpoint { node_id: b.id, host: b.host.into(), port: b.port, rack: b.rack.map(Into::into) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_disk_sends_clients_elsewhere_that_have_no_error_for_it() {
        let wanted = Wanted {
            name: "t".into(),
            id: Uuid::ZERO,
            partition: 0,
            offset: 0,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            max_bytes: 1,
        };
        let told = |version| {
            let fetched = Fetched::refused(ErrorCode::KafkaStorageError);
            ErrorCode::from_code(partition_answer(version, &wanted, fetched, None).error_code)
        };
        assert_eq!((told(5), told(6)), (ErrorCode::NotLeaderOrFollower, ErrorCode::KafkaStorageError));
    }
}
