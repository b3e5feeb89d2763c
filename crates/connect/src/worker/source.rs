//! The thread of a source's task: poll, transform, convert, send.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use client::producer::{Producer, ProducerRecord, Tally};
use connect_api::{Error, Record, Result, SourceContext, SourceMap, SourceRecord, SourceTask};
use tokio::runtime::Handle;
use tracing::{debug, warn};

use super::Worker;
use super::errors::{Errors, Failure, Stage};
use super::metrics::TaskMetrics;
use super::pipeline::{Converters, Transforms};
use super::signal::{Signal, Wanted};
use super::submitted::{Batch, Submitted};
use super::topics::TopicCreation;
use crate::store::{TaskId, TopicUse};

/// Everything that the thread works with.
pub struct SourceRun {
    pub id: TaskId,
    pub task: Box<dyn SourceTask>,
    pub converters: Converters,
    pub transforms: Transforms,
    pub errors: Arc<Errors>,
    pub producer: Producer,
    pub creation: Option<TopicCreation>,
    pub worker: Arc<Worker>,
    pub signal: Signal,
    pub submitted: Arc<Submitted>,
    pub metrics: Arc<TaskMetrics>,
    pub handle: Handle,
}

/// What a source's task may ask for.
struct Context {
    worker: Arc<Worker>,
    connector: String,
    signal: Signal,
}

impl SourceContext for Context {
    fn offset(&self, partition: &SourceMap) -> Result<Option<SourceMap>> {
        self.worker.offsets.get(&self.connector, partition)
    }

    fn wait(&self, time: Duration) -> bool {
        self.signal.wait(time)
    }

    fn is_stopping(&self) -> bool {
        self.signal.is_stopping()
    }
}

impl SourceRun {
    /// Runs until the task is to stop, or fails. `told` hears when it runs or pauses.
    pub fn run(&mut self, properties: &connect_api::Properties, told: &dyn Fn(Wanted)) -> Result<()> {
        let context =
            Context { worker: self.worker.clone(), connector: self.id.connector.clone(), signal: self.signal.clone() };
        self.task.start(properties, Arc::new(context))?;
        let result = self.work(told);
        self.task.stop();
        // What was polled goes out, and its offsets with it, when the task failed as well.
        let limit = self.worker.config.offset_flush_timeout;
        let settled = async {
            let all = async {
                self.producer.flush().await;
                self.submitted.settled().await;
            };
            tokio::time::timeout(limit, all).await
        };
        if self.handle.block_on(settled).is_err() {
            warn!(target: "org.apache.kafka.connect.runtime.WorkerSourceTask", "{} Failed to write outstanding records before the task ended", self.id);
        }
        self.handle.block_on(commit(&self.worker, &self.id, &self.submitted, &self.metrics));
        result
    }

    fn work(&mut self, told: &dyn Fn(Wanted)) -> Result<()> {
        let mut topics = HashSet::new();
        let mut paused = false;
        loop {
            if let Some(error) = self.submitted.failure() {
                return Err(error);
            }
            match self.signal.wanted() {
                Wanted::Stop => return Ok(()),
                Wanted::Pause => {
                    told(Wanted::Pause);
                    paused = true;
                    self.signal.wait_while_paused();
                    continue;
                }
                Wanted::Run if paused => {
                    paused = false;
                    told(Wanted::Run);
                }
                Wanted::Run => {}
            }
            let polled = self.errors.retried(|| self.task.poll(), Error::is_retriable);
            let records = polled?;
            if !records.is_empty() {
                self.metrics.read.fetch_add(records.len() as i64, Relaxed);
                self.metrics.batches.fetch_add(1, Relaxed);
                self.send_all(records, &mut topics)?;
            }
        }
    }

    fn send_all(&mut self, records: Vec<SourceRecord>, topics: &mut HashSet<Arc<str>>) -> Result<()> {
        let count = records.len();
        // Of each part the last position counts.
        let mut positions: Vec<(Arc<SourceMap>, SourceMap)> = Vec::new();
        for SourceRecord { source_partition, source_offset, .. } in records.iter().rev() {
            if !positions.iter().any(|(p, _)| Arc::ptr_eq(p, source_partition) || p == source_partition) {
                positions.push((source_partition.clone(), source_offset.clone()));
            }
        }
        let records = self.transform_all(records)?;
        let batch = self.submitted.begin(count, positions);
        batch.done(count - records.len());
        let handle = self.handle.clone();
        let sent = handle.block_on(async {
            for records in records.chunk_by(|a, b| a.record.topic == b.record.topic) {
                let Some(SourceRecord { record: Record { topic, .. }, .. }) = records.first() else { continue };
                if !topics.contains(topic) {
                    self.prepare(topic).await?;
                    topics.insert(topic.clone());
                }
                self.send(topic, records, &batch).await?;
            }
            Ok(())
        });
        // Nobody waits for what was not sent.
        sent.inspect_err(|error: &Error| batch.fail(error.clone()))
    }

    fn transform_all(&mut self, records: Vec<SourceRecord>) -> Result<Vec<SourceRecord>> {
        if self.transforms.is_empty() {
            return Ok(records);
        }
        let transformed = records.into_iter().filter_map(|from| {
            let record = self.transform(from.record, &from.source_partition).transpose()?;
            Some(record.map(|record| SourceRecord { record, ..from }))
        });
        transformed.collect()
    }

    fn transform(&mut self, record: Record, part: &SourceMap) -> Result<Option<Record>> {
        let transforms = &mut self.transforms;
        let applied = self.errors.retried(|| transforms.apply(record.clone()), |(_, e)| e.is_retriable());
        match applied {
            Ok(record) => Ok(record),
            Err((class, error)) => {
                let label = label(&record, part);
                let failure = Failure { stage: Stage::Transformation, class, error: &error, raw: None, record: label };
                self.errors.tolerate(&failure).map(|()| None)
            }
        }
    }

    /// The first record for a topic.
    async fn prepare(&self, topic: &Arc<str>) -> Result<()> {
        if let Some(creation) = &self.creation {
            creation.ensure(topic).await?;
        }
        if self.worker.config.topic_tracking {
            self.worker.statuses.put_topic(&TopicUse {
                topic: topic.to_string(),
                connector: self.id.connector.clone(),
                task: self.id.task,
            });
        }
        Ok(())
    }

    /// Converts records of one topic and hands them to the producer.
    async fn send(&self, topic: &Arc<str>, records: &[SourceRecord], batch: &Arc<Batch>) -> Result<()> {
        /// Records that are converted before any is handed over: what is in memory twice.
        const CHUNK: usize = 256;
        let tally: Arc<dyn Tally> = Arc::new(Receipts {
            topic: topic.clone(),
            batch: batch.clone(),
            metrics: self.metrics.clone(),
            errors: self.errors.clone(),
        });
        for chunk in records.chunks(CHUNK) {
            let mut converted = Vec::with_capacity(chunk.len());
            // What stands before a record that ends the task is written still.
            let mut end = Ok(());
            for SourceRecord { record, source_partition: part, .. } in chunk {
                match self.convert(record) {
                    Ok(bytes) => converted.push((record, part, bytes)),
                    Err((stage, class, error)) => {
                        let failure = Failure { stage, class, error: &error, raw: None, record: label(record, part) };
                        end = self.errors.tolerate(&failure);
                        if end.is_err() {
                            break;
                        }
                        batch.done(1);
                    }
                }
            }
            let headers: Vec<Vec<Header<'_>>> = converted
                .iter()
                .map(|(_, _, (_, _, headers))| headers.iter().map(|(k, v)| (*k, v.as_deref())).collect())
                .collect();
            let outgoing: Vec<ProducerRecord<'_>> = converted
                .iter()
                .zip(&headers)
                .map(|((record, _, (key, value, _)), headers)| ProducerRecord {
                    topic,
                    partition: record.partition,
                    timestamp: record.timestamp,
                    key: key.as_deref(),
                    value: value.as_deref(),
                    headers,
                })
                .collect();
            let mut from = 0;
            while from < outgoing.len() {
                let rest = &outgoing[from..];
                self.metrics.active.fetch_add(rest.len() as i64, Relaxed);
                let Err((at, error)) = self.producer.send_all(rest, &tally).await else { break };
                self.metrics.active.fetch_sub((rest.len() - at) as i64, Relaxed);
                let (record, part, _) = &converted[from + at];
                let error = unrecoverable(topic, &error);
                let record = label(record, part);
                let failure = Failure { stage: Stage::Produce, class: PRODUCER, error: &error, raw: None, record };
                self.errors.tolerate(&failure)?;
                batch.done(1);
                from += at + 1;
            }
            end?;
        }
        Ok(())
    }

    fn convert<'r>(&self, record: &'r Record) -> std::result::Result<Converted<'r>, (Stage, &'static str, Error)> {
        let topic = &record.topic;
        let (keys, values, header) = (&self.converters.key, &self.converters.value, &self.converters.header);
        let key = self
            .errors
            .retried(|| keys.plugin.encode(topic, record.key_schema.as_ref(), &record.key), Error::is_retriable)
            .map_err(|e| (Stage::KeyConverter, keys.class, e))?;
        let value = self
            .errors
            .retried(|| values.plugin.encode(topic, record.value_schema.as_ref(), &record.value), Error::is_retriable)
            .map_err(|e| (Stage::ValueConverter, values.class, e))?;
        let mut headers = Vec::with_capacity(record.headers.len());
        for h in &record.headers {
            let encoded = header
                .plugin
                .encode(topic, &h.key, h.schema.as_ref(), &h.value)
                .map_err(|e| (Stage::HeaderConverter, header.class, e))?;
            headers.push((h.key.as_str(), encoded));
        }
        Ok((key, value, headers))
    }
}

const PRODUCER: &str = "org.apache.kafka.clients.producer.KafkaProducer";

/// A header as the producer takes it.
type Header<'r> = (&'r str, Option<&'r [u8]>);

/// Key, value and headers.
type Converted<'r> = (Option<Cow<'r, [u8]>>, Option<Cow<'r, [u8]>>, Vec<(&'r str, Option<Vec<u8>>)>);

/// Hears what becomes of a batch's records for one topic.
struct Receipts {
    topic: Arc<str>,
    batch: Arc<Batch>,
    metrics: Arc<TaskMetrics>,
    errors: Arc<Errors>,
}

impl Tally for Receipts {
    fn settled(&self, count: usize, result: std::result::Result<(), &client::Error>) {
        self.metrics.active.fetch_sub(count as i64, Relaxed);
        let Err(error) = result else {
            self.metrics.written.fetch_add(count as i64, Relaxed);
            return self.batch.done(count);
        };
        let error = unrecoverable(&self.topic, error);
        for _ in 0..count {
            let record = format!("a record for the topic {}", self.topic);
            let failure = Failure { stage: Stage::Produce, class: PRODUCER, error: &error, raw: None, record };
            match self.errors.tolerate(&failure) {
                Ok(()) => self.batch.done(1),
                Err(error) => return self.batch.fail(error),
            }
        }
    }
}

fn unrecoverable(topic: &str, error: &client::Error) -> Error {
    Error::connect(format!("Unrecoverable exception from producer send callback for the topic {topic}"))
        .caused_by(Error::connect(format!("{}: {error}", error.class())))
}

/// What messages call a record.
fn label(record: &Record, part: &SourceMap) -> String {
    format!("the record for the topic {} from {}", record.topic, crate::store::source_map_json(part))
}

/// Writes the offsets that may be written.
pub async fn commit(worker: &Worker, id: &TaskId, submitted: &Submitted, metrics: &TaskMetrics) {
    let ready = submitted.take_ready();
    if ready.is_empty() {
        return;
    }
    let changes: Vec<(&SourceMap, Option<&SourceMap>)> = ready.iter().map(|(p, o)| (&**p, Some(o))).collect();
    let written = tokio::time::timeout(worker.config.offset_flush_timeout, worker.offsets.set(&id.connector, &changes));
    let failure = match written.await {
        Ok(Ok(())) => {
            metrics.commits.fetch_add(1, Relaxed);
            debug!(target: "org.apache.kafka.connect.runtime.WorkerSourceTask", "{id} Committed {} offsets", ready.len());
            return;
        }
        Ok(Err(error)) => error.trace().trim_end().to_owned(),
        Err(_) => format!("it took longer than {} ms", worker.config.offset_flush_timeout.as_millis()),
    };
    metrics.commit_failures.fetch_add(1, Relaxed);
    warn!(target: "org.apache.kafka.connect.runtime.WorkerSourceTask", "{id} Failed to commit offsets: {failure}");
    submitted.give_back(ready);
}
