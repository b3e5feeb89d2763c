//! Fetching: one request at a time to each node, for all partitions that are read there and have nothing waiting. That is
//! their leader, or the follower that the leader names as nearer (`client.rack`, KIP-392).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::{FetchRequest, FetchResponse};
use wire::{ApiKey, ErrorCode, Uuid};

use super::{Consumer, Fetched, OffsetReset, Seek, TopicPartition};
use crate::admin::Isolation;
use crate::{Client, Error, Reply, To};

/// What is asked of one partition.
#[derive(Clone, Debug)]
struct Wanted {
    partition: TopicPartition,
    topic_id: Uuid,
    leader_epoch: i32,
    offset: i64,
}

/// What came back from one node.
pub(super) struct Answer {
    node: i32,
    wanted: Vec<Wanted>,
    result: Result<Vec<PartAnswer>, Error>,
}

struct PartAnswer {
    partition: TopicPartition,
    code: ErrorCode,
    /// The follower that is to be read from instead.
    read_replica: Option<i32>,
    frame: Arc<Reply>,
    range: Range<usize>,
    aborted: Vec<(i64, i64)>,
}

struct Limits {
    max_wait_ms: i32,
    min_bytes: i32,
    max_bytes: i32,
    partition_max_bytes: i32,
    isolation: Isolation,
    rack: String,
}

impl Consumer {
    /// Sends fetches to all nodes that have something to tell and are not being asked already.
    pub(super) fn start_fetches(&mut self) {
        let now = Instant::now();
        let mut by_node: BTreeMap<i32, Vec<Wanted>> = BTreeMap::new();
        for (tp, part) in &mut self.parts {
            let waits = part.not_before.is_some_and(|at| at > now);
            let (Some(leader), Some(offset)) = (part.leader, part.position) else { continue };
            part.read_replica =
                part.read_replica.filter(|(_, since)| since.elapsed() < self.config.client.metadata_max_age);
            let node = part.read_replica.map_or(leader, |(id, _)| id);
            if waits || part.paused || part.in_flight || part.fetched.is_some() || self.fetching.contains(&node) {
                continue;
            }
            part.not_before = None;
            by_node.entry(node).or_default().push(Wanted {
                partition: tp.clone(),
                topic_id: part.topic_id,
                leader_epoch: part.leader_epoch,
                offset,
            });
        }
        for (node, wanted) in by_node {
            for w in &wanted {
                if let Some(part) = self.parts.get_mut(&w.partition) {
                    part.in_flight = true;
                }
            }
            self.fetching.insert(node);
            let limits = Limits {
                max_wait_ms: i32::try_from(self.config.fetch_max_wait.as_millis()).unwrap_or(i32::MAX),
                min_bytes: self.config.fetch_min_bytes,
                max_bytes: self.config.fetch_max_bytes,
                partition_max_bytes: self.config.max_partition_fetch_bytes,
                isolation: self.config.isolation,
                rack: self.config.rack.clone(),
            };
            let (client, to) = (self.client.clone(), self.answers_to.clone());
            tokio::spawn(async move {
                let result = fetch(&client, node, &wanted, &limits).await;
                let _ = to.send(Answer { node, wanted, result });
            });
        }
    }

    /// Takes an answer in: batches to hand out, or what has to be done first.
    pub(super) fn settle(&mut self, answer: Answer) -> Result<(), Error> {
        let Answer { node, wanted, result } = answer;
        self.fetching.remove(&node);
        let now = Instant::now();
        let retry_at = now + self.config.client.retry_backoff;
        for w in &wanted {
            if let Some(part) = self.parts.get_mut(&w.partition) {
                part.in_flight = false;
                if result.is_err() {
                    part.not_before = Some(retry_at);
                    part.read_replica = None;
                }
            }
        }
        let answers = match result {
            Ok(answers) => answers,
            Err(error) if error.is_retriable() => {
                self.metadata_stale = true;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let mut failure = None;
        for answer in answers {
            let Some(asked) = wanted.iter().find(|w| w.partition == answer.partition) else { continue };
            let Some(part) = self.parts.get_mut(&answer.partition) else { continue };
            // Somebody sought elsewhere meanwhile.
            if part.position != Some(asked.offset) {
                continue;
            }
            let (topic, index) = &answer.partition;
            // Whatever a follower cannot give is asked of the leader.
            let was_replica = if answer.code == ErrorCode::None { None } else { part.read_replica.take() };
            match answer.code {
                ErrorCode::None if answer.read_replica.is_some() => {
                    part.read_replica = answer.read_replica.map(|id| (id, now));
                }
                ErrorCode::None if answer.range.is_empty() => {}
                ErrorCode::None => {
                    let aborted = (self.config.isolation == Isolation::ReadCommitted).then_some(answer.aborted);
                    part.fetched =
                        Some(Fetched::new(answer.frame, answer.range, aborted, asked.offset, self.config.check_crcs));
                }
                ErrorCode::OffsetOutOfRange if was_replica.is_some() => {}
                ErrorCode::OffsetOutOfRange => match self.config.reset {
                    OffsetReset::None => {
                        let why =
                            format!("Fetch position {} is out of range for partition {topic}-{index}", asked.offset);
                        failure = Some(Error::refused(answer.code, Some(&why)));
                    }
                    reset => {
                        info!(
                            target: "org.apache.kafka.clients.consumer.internals.FetchCollector",
                            "[{}] Fetch position {} is out of range for partition {topic}-{index}, resetting offset",
                            self.config.client.log_name, asked.offset
                        );
                        part.position = None;
                        part.seek = Some(if reset == OffsetReset::Earliest { Seek::Beginning } else { Seek::End });
                    }
                },
                ErrorCode::TopicAuthorizationFailed => {
                    failure =
                        Some(Error::refused(answer.code, Some(&format!("Not authorized to access topics: [{topic}]"))));
                }
                code if code.is_retriable() || code == ErrorCode::UnknownServerError => {
                    part.not_before = Some(retry_at);
                    self.metadata_stale = true;
                }
                code => {
                    let why = format!(
                        "Unexpected error code {} while fetching at offset {} from topic-partition {topic}-{index}",
                        code.code(),
                        asked.offset
                    );
                    failure = Some(Error::refused(code, Some(&why)));
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

async fn fetch(client: &Client, node: i32, wanted: &[Wanted], limits: &Limits) -> Result<Vec<PartAnswer>, Error> {
    let connection = client.connect(&To::Node(node), "fetch").await?;
    let mut version = connection.version(ApiKey::Fetch)?;
    // From version 13 on topics go by their ids.
    if wanted.iter().any(|w| w.topic_id.is_zero()) {
        version = version.min(12);
    }
    let mut topics: Vec<FetchTopic<'_>> = Vec::new();
    let mut at = 0;
    // Partitions come sorted, so those of a topic stand together.
    while let Some(first) = wanted.get(at) {
        let same = wanted[at..].iter().take_while(|w| w.partition.0 == first.partition.0).count();
        let partitions = wanted[at..at + same].iter().map(|w| FetchPartition {
            partition: w.partition.1,
            current_leader_epoch: w.leader_epoch,
            fetch_offset: w.offset,
            partition_max_bytes: limits.partition_max_bytes,
            ..Default::default()
        });
        topics.push(FetchTopic {
            topic: first.partition.0.as_str().into(),
            topic_id: first.topic_id,
            partitions: partitions.collect(),
            ..Default::default()
        });
        at += same;
    }
    let request = FetchRequest {
        max_wait_ms: limits.max_wait_ms,
        min_bytes: limits.min_bytes,
        max_bytes: limits.max_bytes,
        isolation_level: limits.isolation as i8,
        topics: topics.into(),
        rack_id: limits.rack.as_str().into(),
        ..Default::default()
    };
    let patience = client.config().request_timeout + Duration::from_millis(limits.max_wait_ms as u64);
    let reply = connection.start_within(version, &request, patience).await?.reply().await?;
    read(Arc::new(reply), wanted)
}

fn read(frame: Arc<Reply>, wanted: &[Wanted]) -> Result<Vec<PartAnswer>, Error> {
    let response: FetchResponse<'_> = frame.decode()?;
    Error::check(ErrorCode::from_code(response.error_code), None)?;
    let start = frame.frame().as_ptr() as usize;
    let mut answers = Vec::new();
    for topic in &response.responses {
        let name = match topic.topic.is_empty() {
            false => topic.topic.to_string(),
            true => match wanted.iter().find(|w| w.topic_id == topic.topic_id) {
                Some(w) => w.partition.0.clone(),
                None => continue,
            },
        };
        for p in &topic.partitions {
            // Where the batches stand in the frame, so that they need not be copied.
            let range = match p.records.as_ref().and_then(|r| r.borrowed()) {
                Some(bytes) if !bytes.is_empty() => {
                    let at = bytes.as_ptr() as usize - start;
                    at..at + bytes.len()
                }
                _ => 0..0,
            };
            let aborted = p.aborted_transactions.as_ref();
            answers.push(PartAnswer {
                partition: (name.clone(), p.partition_index),
                code: ErrorCode::from_code(p.error_code),
                read_replica: (p.preferred_read_replica >= 0).then_some(p.preferred_read_replica),
                frame: frame.clone(),
                range,
                aborted: aborted
                    .map(|a| a.iter().map(|t| (t.first_offset, t.producer_id)).collect())
                    .unwrap_or_default(),
            });
        }
    }
    Ok(answers)
}
