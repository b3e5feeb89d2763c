//! The thread of a source's task: poll, transform, convert, send.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use client::producer::{Delivered, Producer, ProducerRecord};
use connect_api::{Error, Record, Result, SourceContext, SourceMap, SourceRecord, SourceTask};
use tokio::runtime::Handle;
use tracing::{debug, warn};

use super::Worker;
use super::errors::{Errors, Failure, Stage};
use super::metrics::TaskMetrics;
use super::pipeline::{Converters, Transforms};
use super::signal::{Signal, Wanted};
use super::submitted::{Batch, Submitted, note};
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
        let mut positions = Vec::new();
        let mut ready = Vec::with_capacity(count);
        for SourceRecord { record, source_partition, source_offset } in records {
            note(&mut positions, &source_partition, source_offset);
            if let Some(record) = self.transform(record, &source_partition)? {
                ready.push((record, source_partition));
            }
        }
        let dropped = count - ready.len();
        let batch = self.submitted.begin(count, positions);
        (0..dropped).for_each(|_| batch.done());
        let handle = self.handle.clone();
        let sent = handle.block_on(async {
            for (record, part) in &ready {
                if !topics.contains(&record.topic) {
                    self.prepare(&record.topic).await?;
                    topics.insert(record.topic.clone());
                }
                self.send(record, part, &batch).await?;
            }
            Ok(())
        });
        // Nobody waits for what was not sent.
        sent.inspect_err(|error: &Error| batch.fail(error.clone()))
    }

    fn transform(&mut self, record: Record, part: &SourceMap) -> Result<Option<Record>> {
        if self.transforms.is_empty() {
            return Ok(Some(record));
        }
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

    /// Converts a record and hands it to the producer.
    async fn send(&self, record: &Record, part: &SourceMap, batch: &Arc<Batch>) -> Result<()> {
        let (key, value, headers) = match self.convert(record) {
            Ok(converted) => converted,
            Err((stage, class, error)) => {
                let failure = Failure { stage, class, error: &error, raw: None, record: label(record, part) };
                self.errors.tolerate(&failure)?;
                batch.done();
                return Ok(());
            }
        };
        let headers: Vec<(&str, Option<&[u8]>)> = headers.iter().map(|(k, v)| (k.as_ref(), v.as_deref())).collect();
        let outgoing = ProducerRecord {
            topic: &record.topic,
            partition: record.partition,
            timestamp: record.timestamp,
            key: key.as_deref(),
            value: value.as_deref(),
            headers: &headers,
        };
        self.metrics.active.fetch_add(1, Relaxed);
        let sent = self.producer.send(&outgoing, Some(self.delivery(&record.topic, batch))).await;
        match sent {
            Ok(()) => Ok(()),
            Err(error) => {
                self.metrics.active.fetch_add(-1, Relaxed);
                let error = unrecoverable(&record.topic, &error);
                let failure = Failure {
                    stage: Stage::Produce,
                    class: PRODUCER,
                    error: &error,
                    raw: None,
                    record: label(record, part),
                };
                self.errors.tolerate(&failure)?;
                batch.done();
                Ok(())
            }
        }
    }

    fn delivery(&self, topic: &Arc<str>, batch: &Arc<Batch>) -> client::producer::Delivery {
        let (batch, metrics) = (batch.clone(), self.metrics.clone());
        let (topic, errors) = (topic.clone(), self.errors.clone());
        Box::new(move |result: std::result::Result<Delivered, client::Error>| {
            metrics.active.fetch_add(-1, Relaxed);
            match result {
                Ok(_) => {
                    metrics.written.fetch_add(1, Relaxed);
                    batch.done();
                }
                Err(error) => {
                    let error = unrecoverable(&topic, &error);
                    let record = format!("a record for the topic {topic}");
                    let failure = Failure { stage: Stage::Produce, class: PRODUCER, error: &error, raw: None, record };
                    match errors.tolerate(&failure) {
                        Ok(()) => batch.done(),
                        Err(error) => batch.fail(error),
                    }
                }
            }
        })
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
            headers.push((Cow::Borrowed(h.key.as_str()), encoded));
        }
        Ok((key, value, headers))
    }
}

const PRODUCER: &str = "org.apache.kafka.clients.producer.KafkaProducer";

type Converted<'r> = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Cow<'r, str>, Option<Vec<u8>>)>);

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
