//! The sender: takes ripe batches, one worker for each broker writes them, answers come back on their own.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use wire::codec::Records;
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::{InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse};
use wire::{ApiKey, ErrorCode, Uuid};

use super::Shared;
use super::accumulator::{Finished, Outgoing};
use super::batch::Written;
use crate::{Error, Reply, To, Topics};

/// Runs until the producer is closed and nothing is left to send.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut workers: HashMap<i32, mpsc::UnboundedSender<Vec<Outgoing>>> = HashMap::new();
    let background = Arc::new(Background::default());
    loop {
        let wake = loop {
            let (drained, refresh, identify) = {
                let mut state = shared.state();
                let drained = state.drain(&shared.config, Instant::now());
                let refresh = std::mem::take(&mut state.refresh_wanted);
                let identify = shared.config.idempotence && state.identity.is_none() && !state.open.is_empty();
                (drained, refresh, identify)
            };
            report(&shared, drained.expired);
            if refresh {
                background.start(&shared, Errand::Metadata);
            }
            if identify {
                background.start(&shared, Errand::Identity);
            }
            if drained.requests.is_empty() {
                break drained.wake;
            }
            for (node, request) in drained.requests {
                let worker = workers.entry(node).or_insert_with(|| {
                    // Bounded by the requests that may be in flight.
                    let (to, from) = mpsc::unbounded_channel();
                    tokio::spawn(work(shared.clone(), node, from));
                    to
                });
                if let Err(unsent) = worker.send(request) {
                    let error = Error::Disconnected("the connection's worker ended".into());
                    came_back(&shared, node, unsent.0, Err(error));
                }
            }
        };
        {
            let state = shared.state();
            if state.closing && state.open.is_empty() {
                return;
            }
        }
        match wake {
            Some(at) => {
                tokio::select! {
                    () = shared.wake.notified() => {}
                    () = sleep_until(at) => {}
                }
            }
            None => shared.wake.notified().await,
        }
    }
}

/// Things that are asked for beside sending, each at most once at a time.
#[derive(Default)]
struct Background {
    busy: std::sync::Mutex<[bool; 2]>,
}

#[derive(Clone, Copy)]
enum Errand {
    Metadata,
    Identity,
}

impl Background {
    fn busy(&self) -> std::sync::MutexGuard<'_, [bool; 2]> {
        self.busy.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn start(self: &Arc<Background>, shared: &Arc<Shared>, errand: Errand) {
        if std::mem::replace(&mut self.busy()[errand as usize], true) {
            return;
        }
        let (background, shared) = (self.clone(), shared.clone());
        tokio::spawn(async move {
            match errand {
                Errand::Metadata => refresh(&shared).await,
                Errand::Identity => identify(&shared).await,
            }
            background.busy()[errand as usize] = false;
            shared.wake.notify_one();
        });
    }
}

async fn refresh(shared: &Shared) {
    let names: Vec<String> = shared.state().topics.keys().cloned().collect();
    if let Ok(metadata) = shared.client.metadata(Topics::Names(&names), false, "metadata").await {
        shared.state().learn(&metadata, &names);
    }
    // A leader that was just asked for is seldom elected at once.
    sleep(shared.config.client.retry_backoff).await;
}

/// Asks for a producer id. A refusal that time does not heal fails everything that waits.
async fn identify(shared: &Shared) {
    let build = |_| {
        Ok(InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: i32::MAX, ..Default::default() })
    };
    let read = |reply: &Reply| {
        let response: InitProducerIdResponse = reply.decode()?;
        Error::check(ErrorCode::from_code(response.error_code), None)?;
        Ok((response.producer_id, response.producer_epoch))
    };
    match shared.client.send(&To::Any, "initProducerId", build, read).await {
        Ok(identity) => shared.state().identity = Some(identity),
        Err(error) if error.is_retriable() => sleep(shared.config.client.retry_backoff).await,
        Err(error) => {
            let abandoned = shared.state().abandon(&error);
            report(shared, abandoned);
        }
    }
}

/// Writes one request after another to one broker.
async fn work(shared: Arc<Shared>, node: i32, mut requests: mpsc::UnboundedReceiver<Vec<Outgoing>>) {
    while let Some(mut request) = requests.recv().await {
        let builders: Vec<_> = request.iter_mut().filter_map(|o| o.batch.seal()).collect();
        if !builders.is_empty() {
            let mut state = shared.state();
            builders.into_iter().for_each(|b| state.give_back(b));
        }
        match write(&shared, node, &request).await {
            Ok(Some(pending)) => {
                let shared = shared.clone();
                tokio::spawn(async move {
                    let reply = pending.reply().await;
                    came_back(&shared, node, request, reply.and_then(|r| read(&r)));
                });
            }
            Ok(None) => {
                let unknown = Written { base_offset: None, log_append_time: None };
                let answers = request.iter().map(|o| (key(o), Ok(unknown))).collect();
                came_back(&shared, node, request, Ok(answers));
            }
            Err(error) => came_back(&shared, node, request, Err(error)),
        }
    }
}

/// Nothing comes back with acks 0.
async fn write(shared: &Shared, node: i32, request: &[Outgoing]) -> Result<Option<crate::Pending>, Error> {
    let config = &shared.config;
    let connection = shared.client.connect(&To::Node(node), "produce").await?;
    let mut version = connection.version(ApiKey::Produce)?;
    // From version 13 on topics go by their ids.
    if request.iter().any(|o| o.topic_id.is_zero()) {
        version = version.min(12);
    }
    let mut topics: Vec<(&str, Uuid, Vec<PartitionProduceData<'_>>)> = Vec::new();
    for o in request {
        let data = PartitionProduceData {
            index: o.partition,
            records: Some(Records::from(o.batch.bytes())),
            ..Default::default()
        };
        match topics.iter_mut().find(|t| t.0 == o.topic) {
            Some(topic) => topic.2.push(data),
            None => topics.push((&o.topic, o.topic_id, vec![data])),
        }
    }
    let topic_data = topics.into_iter().map(|(name, topic_id, partitions)| TopicProduceData {
        name: name.into(),
        topic_id,
        partition_data: partitions.into(),
        ..Default::default()
    });
    let produce = ProduceRequest {
        acks: config.acks,
        timeout_ms: i32::try_from(config.client.request_timeout.as_millis()).unwrap_or(i32::MAX),
        topic_data: topic_data.collect(),
        ..Default::default()
    };
    if config.acks == 0 {
        connection.send_only(version, &produce).await?;
        return Ok(None);
    }
    Ok(Some(connection.start(version, &produce).await?))
}

/// A partition as an answer names it: the topic's name, or its id.
type Key = (String, Uuid, i32);
type Answers = HashMap<Key, Result<Written, Error>>;

fn key(o: &Outgoing) -> Key {
    (o.topic.clone(), Uuid::ZERO, o.partition)
}

fn read(reply: &Reply) -> Result<Answers, Error> {
    let response: ProduceResponse<'_> = reply.decode()?;
    let mut answers = Answers::new();
    for topic in &response.responses {
        for p in &topic.partition_responses {
            let code = ErrorCode::from_code(p.error_code);
            let written = Written {
                base_offset: (p.base_offset >= 0).then_some(p.base_offset),
                log_append_time: (p.log_append_time_ms >= 0).then_some(p.log_append_time_ms),
            };
            let answer = match code {
                // Written before, and the answer was lost.
                ErrorCode::None | ErrorCode::DuplicateSequenceNumber => Ok(written),
                code => Err(Error::refused(code, p.error_message.as_deref())),
            };
            answers.insert((topic.name.to_string(), topic.topic_id, p.index), answer);
        }
    }
    Ok(answers)
}

/// Settles a request: what was written, what is sent again, what failed.
fn came_back(shared: &Shared, node: i32, request: Vec<Outgoing>, answers: Result<Answers, Error>) {
    let mut finished = Vec::new();
    {
        let mut state = shared.state();
        if let Some(n) = state.in_flight.get_mut(&node) {
            *n = n.saturating_sub(1);
        }
        for o in request {
            let result = match &answers {
                Err(error) => Err(error.clone()),
                Ok(answers) => {
                    let by_name = answers.get(&key(&o));
                    let found = by_name.or_else(|| answers.get(&(String::new(), o.topic_id, o.partition)));
                    found.cloned().unwrap_or_else(|| {
                        let why = format!("The broker did not tell about {}-{}", o.topic, o.partition);
                        Err(Error::Protocol(why))
                    })
                }
            };
            finished.extend(state.came_back(&shared.config, o, result));
        }
    }
    report(shared, finished);
    shared.wake.notify_one();
}

/// Tells those who sent the records, and those who wait for memory or for a flush.
pub(super) fn report(shared: &Shared, finished: Vec<Finished>) {
    if finished.is_empty() {
        return;
    }
    for (batch, partition, result) in finished {
        batch.finish(partition, result);
    }
    shared.freed.notify_waiters();
}
