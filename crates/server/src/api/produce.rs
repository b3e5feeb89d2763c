//! Produce (0), versions 3–13, advertised from 0 as Apache Kafka 4 does (KAFKA-18659): older librdkafka takes the
//! minimum as a sign of what the broker can do.
//!
//! Three steps, so that all Produce requests that one read brought share the partitions' writes: `stage` decodes and
//! validates, `append` hands runs of batches for one partition to it, `answer` encodes. Batches are stamped and written
//! where the socket left them. Versions: 9 is flexible, 10 names the current leader (KIP-951), 13 has topic ids.

use super::{Close, frame_answer, leader_hint};
use crate::internal_topics;
use crate::logging::requests::{self, Completed};
use crate::metrics::{Amounts, Answered, Flow, Slot, Times};
use crate::net::connection::Peer;
use crate::node::Node;
use crate::partitions::{Cell, Topic};
use metadata::config::topic::Compression;
use replication::{Ack, Park};
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use storage::{Append, Appended};
use wire::codec::{Decoder, Encoder, Message, Records};
use wire::header::RequestHeader;
use wire::messages::produce_request::{PartitionProduceData, ProduceRequest};
use wire::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceResponse,
    TopicProduceResponse,
};
use wire::records::{self, BatchInfo, Compressor, Refusal, Rules, Scratch, TimestampType};
use wire::{ApiKey, ErrorCode, Uuid};

/// What is advertised; below [`OLDEST`] every request is refused.
pub const VERSIONS: RangeInclusive<i16> = 0..=13;
/// Answers say from this version on who leads instead (KIP-951).
const HINTS_FROM: i16 = 10;
const OLDEST: i16 = 3;
/// zstd came with this version (KIP-110).
const ZSTD_FROM: i16 = 7;
/// Batches of one partition that are written with one call.
const RUN: usize = 64;
/// Clients with this id may write internal topics (Kafka's admin tools).
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// The Produce requests of one read, from decoding to the answer. Offsets are those of the connection's buffer.
#[derive(Default)]
pub struct Staged {
    requests: Vec<StagedRequest>,
    topics: Vec<StagedTopic>,
    batches: Vec<StagedBatch>,
    scratch: Scratch,
    compressor: Compressor,
}

struct StagedRequest {
    client_id: Option<Range<usize>>,
    correlation_id: i32,
    version: i16,
    acks: i16,
    timeout_ms: i32,
    topics: Range<usize>,
    /// Of the frame, without its length.
    bytes: usize,
}

struct StagedTopic {
    name: Range<usize>,
    id: Uuid,
    topic: Option<Arc<Topic>>,
    batches: Range<usize>,
}

struct StagedBatch {
    index: i32,
    /// As they came.
    bytes: usize,
    state: State,
}

enum State {
    Refused(Refusal),
    Valid(Valid),
    /// `ack` while the acknowledgement is open.
    Done {
        appended: Appended,
        bytes: usize,
        log_start_offset: i64,
        ack: Option<Ack>,
        cell: Arc<Cell>,
    },
}

struct Valid {
    cell: Arc<Cell>,
    info: BatchInfo,
    at: Range<usize>,
    /// The batch in the topic's own codec, where that differs from the producer's.
    recompressed: Option<Vec<u8>>,
    /// The topic's records carry the broker's time.
    log_append_time: bool,
    /// The producer waits for all replicas in sync.
    all: bool,
}

impl Staged {
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// The requests as the metrics see them, which share their times.
    pub fn answered(&self, times: Times) -> impl Iterator<Item = Answered> {
        self.requests.iter().map(move |request| Answered {
            slot: Slot::of(ApiKey::Produce),
            version: request.version,
            bytes: request.bytes,
            has_answer: request.acks != 0,
            times,
        })
    }

    /// Tells the request log of the requests. `buffer` is still what they were read into.
    pub fn log(&self, peer: &Peer, buffer: &[u8], times: Times) {
        for request in &self.requests {
            requests::completed(|| Completed {
                peer: peer.address,
                listener: &peer.listener,
                key: ApiKey::Produce,
                version: request.version,
                correlation_id: request.correlation_id,
                client_id: request.client_id.clone().and_then(|at| std::str::from_utf8(&buffer[at]).ok()),
                times,
                bytes: request.bytes,
            });
        }
    }

    pub fn clear(&mut self) {
        self.requests.clear();
        self.topics.clear();
        self.batches.clear();
    }
}

/// Decodes one request, whose body begins so far into its frame, and validates its batches. Only a request that cannot be answered closes the connection.
pub fn stage(
    node: &Node,
    header: &RequestHeader<'_>,
    buffer: &[u8],
    frame: Range<usize>,
    body: usize,
    staged: &mut Staged,
) -> Result<(), Close> {
    if !(OLDEST..=*VERSIONS.end()).contains(&header.version) {
        return Err(Close::Version { key: header.key, version: header.version });
    }
    let bytes = &buffer[frame.start + body..frame.end];
    let request = ProduceRequest::decode(&mut Decoder::new(bytes), header.version).map_err(Close::Malformed)?;
    let now_ms = node.clock.now_ms();
    let table = node.partitions.table();
    let first_topic = staged.topics.len();
    for topic in &request.topic_data {
        let found = if header.version >= 13 { table.by_id(&topic.topic_id) } else { table.by_name(&topic.name) };
        let first_batch = staged.batches.len();
        for partition in &topic.partition_data {
            let state = match refuse_whole(header, &request, found) {
                Some(code) => State::refused(code),
                None => {
                    let (scratch, compressor) = (&mut staged.scratch, &mut staged.compressor);
                    let zstd = header.version >= ZSTD_FROM;
                    let all = request.acks == -1;
                    validate(found, &partition, all, zstd, buffer, now_ms, scratch, compressor)
                }
            };
            let bytes = partition.records.as_ref().map_or(0, Records::len);
            staged.batches.push(StagedBatch { index: partition.index, bytes, state });
        }
        staged.topics.push(StagedTopic {
            name: range_of(buffer, topic.name.as_bytes()),
            id: topic.topic_id,
            topic: found.cloned(),
            batches: first_batch..staged.batches.len(),
        });
    }
    staged.requests.push(StagedRequest {
        client_id: header.client_id.as_deref().map(|id| range_of(buffer, id.as_bytes())),
        correlation_id: header.correlation_id,
        version: header.version,
        acks: request.acks,
        timeout_ms: request.timeout_ms,
        topics: first_topic..staged.topics.len(),
        bytes: frame.len(),
    });
    Ok(())
}

/// Where `part`, a slice of `buffer`, lies in it.
fn range_of(buffer: &[u8], part: &[u8]) -> Range<usize> {
    if part.is_empty() {
        return 0..0;
    }
    let start = part.as_ptr() as usize - buffer.as_ptr() as usize;
    start..start + part.len()
}

/// What refuses every batch of a topic, whatever is in it.
fn refuse_whole(
    header: &RequestHeader<'_>,
    request: &ProduceRequest<'_>,
    topic: Option<&Arc<Topic>>,
) -> Option<ErrorCode> {
    if !(-1..=1).contains(&request.acks) {
        return Some(ErrorCode::InvalidRequiredAcks);
    }
    let Some(topic) = topic else {
        let by_id = header.version >= 13;
        return Some(if by_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition });
    };
    let internal = internal_topics::is_internal(&topic.name);
    (internal && header.client_id.as_deref() != Some(ADMIN_CLIENT_ID)).then_some(ErrorCode::InvalidTopicException)
}

#[allow(clippy::too_many_arguments)] // where the batch is, its rules, and what checking it may use
fn validate(
    topic: Option<&Arc<Topic>>,
    partition: &PartitionProduceData<'_>,
    all: bool,
    zstd_allowed: bool,
    buffer: &[u8],
    now_ms: i64,
    scratch: &mut Scratch,
    compressor: &mut Compressor,
) -> State {
    let Some(topic) = topic else { return State::refused(ErrorCode::UnknownTopicOrPartition) };
    let cell = match topic.replica(partition.index) {
        Ok(cell) => cell,
        Err(code) => return State::refused(code),
    };
    let Some(bytes) = partition.records.as_ref().and_then(Records::borrowed) else {
        return State::refused_with(ErrorCode::InvalidRecord, "The request has no records for the partition");
    };
    let config = &topic.config;
    let rules = Rules {
        max_message_bytes: config.max_message_bytes as usize,
        timestamp_type: config.message_timestamp_type,
        timestamp_before_max_ms: config.message_timestamp_before_max_ms,
        timestamp_after_max_ms: config.message_timestamp_after_max_ms,
        compacted: config.compact,
        zstd_allowed,
        ..Rules::new(now_ms)
    };
    let mut info = match records::validate(bytes, &rules, scratch) {
        Ok(info) => info,
        Err(refusal) => return State::Refused(refusal),
    };
    if info.is_transactional {
        return State::refused_with(
            ErrorCode::InvalidTxnState,
            "This broker does not coordinate transactions: the batch belongs to none that it knows",
        );
    }
    let mut recompressed = None;
    if let Compression::Stored(codec, level) = config.compression
        && codec != info.codec
    {
        let limit = rules.max_decompressed_bytes;
        match records::recompress(bytes, codec, level, compressor, limit) {
            Ok(bytes) if bytes.len() > rules.max_message_bytes => return State::refused(ErrorCode::MessageTooLarge),
            Ok(bytes) => {
                info.size = bytes.len();
                info.codec = codec;
                recompressed = Some(bytes);
            }
            Err(e) => return State::refused_with(e.code(), &e.to_string()),
        }
    }
    let log_append_time = config.message_timestamp_type == TimestampType::LogAppendTime;
    State::Valid(Valid { cell: cell.clone(), info, at: range_of(buffer, bytes), recompressed, log_append_time, all })
}

impl Valid {
    /// Puts right what the header says of time.
    fn restamp(info: &mut BatchInfo, log_append_time: bool, bytes: &mut [u8], now_ms: i64) {
        if log_append_time {
            records::stamp_log_append_time(bytes, now_ms);
            info.max_timestamp = now_ms;
            info.timestamp_type = TimestampType::LogAppendTime;
        } else if info.max_timestamp_differs {
            records::stamp_max_timestamp(bytes, info.max_timestamp);
        }
    }
}

impl State {
    fn refused(code: ErrorCode) -> State {
        State::refused_with(code, "")
    }

    fn refused_with(code: ErrorCode, message: &str) -> State {
        State::Refused(Refusal { code, message: message.to_owned(), record_errors: Vec::new() })
    }
}

/// What the acknowledgements of a read wait for.
pub struct Wait {
    park: Arc<Park>,
    timeout: Duration,
}

/// Appends everything staged; batches that follow each other in one partition go with one write. Returns what has to be
/// waited for before [`answer`].
pub fn append(node: &Arc<Node>, buffer: &mut [u8], staged: &mut Staged) -> Option<Wait> {
    let now_ms = node.clock.now_ms();
    let mut rest = buffer;
    let mut passed = 0;
    let mut from = 0;
    while from < staged.batches.len() {
        let State::Valid(first) = &staged.batches[from].state else {
            from += 1;
            continue;
        };
        let (cell, all) = (first.cell.clone(), first.all);
        let same = |b: &StagedBatch| matches!(&b.state, State::Valid(v) if Arc::ptr_eq(&v.cell, &cell) && v.all == all);
        let run = staged.batches[from..].iter().take(RUN).take_while(|b| same(b)).count();
        let batches = &mut staged.batches[from..from + run];
        let mut appends = Vec::with_capacity(run);
        for batch in batches.iter_mut() {
            let State::Valid(valid) = &mut batch.state else { continue };
            let bytes = match &mut valid.recompressed {
                Some(bytes) => bytes.as_mut_slice(),
                None => {
                    // Batches lie in the buffer in the order in which they were staged.
                    let (_, tail) = std::mem::take(&mut rest).split_at_mut(valid.at.start - passed);
                    let (bytes, tail) = tail.split_at_mut(valid.at.len());
                    rest = tail;
                    passed = valid.at.end;
                    bytes
                }
            };
            Valid::restamp(&mut valid.info, valid.log_append_time, bytes, now_ms);
            appends.push(Append::new(bytes, valid.info));
        }
        cell.used.store(true, Relaxed);
        let mut partition = cell.lock();
        let result = partition.append(&mut appends, all, now_ms, node.clock.steady_ms());
        let log_start_offset = partition.log().log_start_offset();
        let ack_of = |outcome: &Result<Appended, ErrorCode>| {
            let (appended, epoch) = (outcome.as_ref().ok()?, result.as_ref().ok()?.epoch);
            let ack = Ack { offset: appended.last_offset + 1, epoch, all };
            partition.acknowledged(&ack).is_none().then_some(ack)
        };
        let acks: Vec<_> = appends.iter().map(|append| ack_of(&append.outcome)).collect();
        drop(partition);
        let outcomes: Vec<_> = appends.into_iter().map(|a| (a.outcome, a.bytes.len())).collect();
        let wants_sync = match result {
            Ok(appended) => {
                if let Some(write_back) = appended.write_back {
                    node.runtime.spawn_blocking(move || write_back.run());
                }
                appended.wants_sync
            }
            Err(fault) => {
                node.log_failed(&cell, &fault);
                for batch in batches.iter_mut() {
                    batch.state = State::refused(ErrorCode::KafkaStorageError);
                }
                from += run;
                continue;
            }
        };
        for (batch, ((outcome, bytes), ack)) in batches.iter_mut().zip(outcomes.into_iter().zip(acks)) {
            batch.state = match outcome {
                Ok(appended) => State::Done { appended, bytes, log_start_offset, ack, cell: cell.clone() },
                Err(code) => State::refused(code),
            };
        }
        if wants_sync {
            node.sync(&cell);
        }
        from += run;
    }
    wait_for(staged)
}

/// Parks the requests whose acknowledgement needs more than the append.
fn wait_for(staged: &Staged) -> Option<Wait> {
    let mut wait: Option<(Arc<Park>, Duration)> = None;
    for request in staged.requests.iter().filter(|r| r.acks != 0) {
        for batch in staged.topics[request.topics.clone()].iter().flat_map(|t| &staged.batches[t.batches.clone()]) {
            let State::Done { ack: Some(ack), cell, .. } = &batch.state else { continue };
            let timeout = Duration::from_millis(request.timeout_ms.max(0) as u64);
            let (park, longest) = wait.get_or_insert_with(|| (Park::new(1), timeout));
            *longest = (*longest).max(timeout);
            park.expect(1);
            cell.lock().park_ack(*ack, park.clone());
        }
    }
    wait.map(|(park, timeout)| {
        park.credit(1); // its own unit, which kept it from being released before the last batch was parked
        Wait { park, timeout }
    })
}

/// Waits until everything is acknowledged or the clients' time is over, and refuses what did not make it.
pub async fn acknowledged(wait: Wait, staged: &mut Staged) {
    let _ = tokio::time::timeout(wait.timeout, wait.park.released()).await; // what is still open then is refused
    wait.park.finish();
    for batch in &mut staged.batches {
        let State::Done { ack: Some(ack), cell, .. } = &batch.state else { continue };
        let acknowledged = cell.lock().acknowledged(ack);
        if let Err(code) = acknowledged.unwrap_or(Err(ErrorCode::RequestTimedOut)) {
            batch.state = State::refused(code);
        }
    }
}

/// Adds the answers of all staged requests to `out`, in order.
pub fn answer(node: &Node, listener: &str, buffer: &[u8], staged: &Staged, out: &mut Encoder) -> Result<(), Close> {
    for request in &staged.requests {
        let topics = &staged.topics[request.topics.clone()];
        count(node, topics, staged);
        let mut batches = topics.iter().flat_map(|t| &staged.batches[t.batches.clone()]);
        if request.acks == 0 {
            // There is nobody to tell: Kafka closes, so that the client looks at its metadata again.
            if batches.any(|b| matches!(b.state, State::Refused(_))) {
                return Err(Close::UnacknowledgedError);
            }
            continue;
        }
        let responses: Vec<_> = topics.iter().map(|t| topic_answer(node, buffer, request, t, staged)).collect();
        let partitions = responses.iter().flat_map(|t| t.partition_responses.iter());
        let leaders = partitions.map(|p| p.current_leader.leader_id).filter(|id| *id >= 0).collect();
        let response = ProduceResponse {
            responses: responses.into(),
            throttle_time_ms: 0,
            node_endpoints: node_endpoints(node, listener, &leaders),
        };
        frame_answer(ApiKey::Produce, request.version, request.correlation_id, &response, out)?;
    }
    Ok(())
}

fn topic_answer<'a>(
    node: &Node,
    buffer: &'a [u8],
    request: &StagedRequest,
    topic: &StagedTopic,
    staged: &Staged,
) -> TopicProduceResponse<'a> {
    let hint = |partition: i32, code: ErrorCode| {
        let id = topic.topic.as_ref().filter(|_| request.version >= HINTS_FROM)?.id;
        let (leader_id, leader_epoch) = leader_hint(node, id, partition, code)?;
        Some(LeaderIdAndEpoch { leader_id, leader_epoch })
    };
    let name = std::str::from_utf8(&buffer[topic.name.clone()]).unwrap_or_default();
    TopicProduceResponse {
        name: name.into(),
        topic_id: topic.id,
        partition_responses: staged.batches[topic.batches.clone()].iter().map(|b| b.answer(hint)).collect(),
    }
}

impl StagedBatch {
    fn answer<'a>(&self, hint: impl Fn(i32, ErrorCode) -> Option<LeaderIdAndEpoch>) -> PartitionProduceResponse<'a> {
        let base = PartitionProduceResponse { index: self.index, ..Default::default() };
        match &self.state {
            State::Done { appended, log_start_offset, .. } => PartitionProduceResponse {
                base_offset: appended.base_offset,
                log_append_time_ms: appended.log_append_time_ms,
                log_start_offset: *log_start_offset,
                ..base
            },
            State::Refused(refusal) => PartitionProduceResponse {
                error_code: refusal.code.code(),
                error_message: (!refusal.message.is_empty()).then(|| refusal.message.clone().into()),
                record_errors: refusal
                    .record_errors
                    .iter()
                    .map(|e| BatchIndexAndErrorMessage {
                        batch_index: e.batch_index,
                        batch_index_error_message: Some(e.message.clone().into()),
                        ..Default::default()
                    })
                    .collect(),
                base_offset: -1,
                current_leader: hint(self.index, refusal.code).unwrap_or_default(),
                ..base
            },
            State::Valid(_) => unreachable!("every valid batch is appended before the answer"),
        }
    }
}

fn node_endpoints(
    node: &Node,
    listener: &str,
    leaders: &BTreeSet<i32>,
) -> wire::codec::Array<'static, NodeEndpoint<'static>> {
    super::endpoints(node, listener, leaders)
        .into_iter()
        .map(|b| NodeEndpoint { node_id: b.id, host: b.host.into(), port: b.port, rack: b.rack.map(Into::into) })
        .collect()
}

fn count(node: &Node, topics: &[StagedTopic], staged: &Staged) {
    for topic in topics {
        let Some(found) = &topic.topic else { continue };
        let mut amounts = Amounts::default();
        for batch in &staged.batches[topic.batches.clone()] {
            amounts[Flow::ProduceRequests] += 1;
            match &batch.state {
                State::Done { appended, bytes, .. } => {
                    amounts[Flow::MessagesIn] += (appended.last_offset - appended.base_offset + 1) as u64;
                    amounts[Flow::BytesIn] += *bytes as u64;
                }
                State::Refused(refusal) => {
                    amounts[Flow::FailedProduceRequests] += 1;
                    if matches!(refusal.code, ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge) {
                        amounts[Flow::BytesRejected] += batch.bytes as u64;
                    }
                }
                State::Valid(_) => {}
            }
        }
        node.metrics.moved(&found.traffic, &amounts);
    }
}
