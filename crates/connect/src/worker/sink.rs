//! The thread of a sink's task: poll, convert, transform, put, commit.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use client::consumer::{Consumer, ConsumerRecord, Polled, Records, Seek, Subscription};
use connect_api::{
    Error, Header, Offsets, Properties, Raw as RawRecord, Record, Result, SinkContext, SinkRecord, SinkTask,
    TimestampType, TopicPartition,
};
use tokio::runtime::Handle;
use tracing::{debug, warn};

use super::Worker;
use super::errors::{Errors, Failure, Raw, Stage};
use super::metrics::TaskMetrics;
use super::pipeline::{Converters, Transforms};
use super::signal::{Signal, Wanted};
use crate::store::{TaskId, TopicUse};

const LOGGER: &str = "org.apache.kafka.connect.runtime.WorkerSinkTask";

/// Everything that the thread works with.
pub struct SinkRun {
    pub id: TaskId,
    pub task: Box<dyn SinkTask>,
    pub converters: Converters,
    pub transforms: Transforms,
    pub errors: Arc<Errors>,
    pub consumer: Consumer,
    pub worker: Arc<Worker>,
    pub signal: Signal,
    pub metrics: Arc<TaskMetrics>,
    pub handle: Handle,
    pub topics: std::collections::HashSet<Arc<str>>,
}

/// What the task asked for since the thread looked last, and what it may know.
#[derive(Default)]
struct Asked {
    assignment: Vec<TopicPartition>,
    rewinds: BTreeMap<TopicPartition, i64>,
    retry_after: Option<Duration>,
    commit: bool,
    pauses: Vec<(TopicPartition, bool)>,
}

struct Context {
    asked: Mutex<Asked>,
    errors: Arc<Errors>,
}

impl Context {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SinkContext for Context {
    fn assignment(&self) -> Vec<TopicPartition> {
        self.asked().assignment.clone()
    }

    fn rewind(&self, partition: TopicPartition, offset: i64) {
        self.asked().rewinds.insert(partition, offset);
    }

    fn retry_after(&self, time: Duration) {
        self.asked().retry_after = Some(time);
    }

    fn request_commit(&self) {
        self.asked().commit = true;
    }

    fn pause(&self, partitions: &[TopicPartition]) {
        self.asked().pauses.extend(partitions.iter().map(|p| (p.clone(), true)));
    }

    fn resume(&self, partitions: &[TopicPartition]) {
        self.asked().pauses.extend(partitions.iter().map(|p| (p.clone(), false)));
    }

    fn report(&self, record: &SinkRecord, error: Error) -> Result<()> {
        // Tasks may report what they got long ago.
        let found =
            record.raw.get::<Records>().and_then(|read| read.iter().find(|r| r.offset == record.original_offset));
        let label = label(&record.original_topic, record.original_partition, record.original_offset);
        let tolerate = |raw: Option<Raw<'_>>| {
            let record = label.clone();
            self.errors.tolerate(&Failure { stage: Stage::Put, class: "the sink task", error: &error, raw, record })
        };
        match found {
            Some(found) => with_raw(&found, |raw| tolerate(Some(raw))),
            None => tolerate(None),
        }
    }
}

/// How far the task is.
#[derive(Default)]
struct Progress {
    /// For each partition what comes after the last record that was put.
    current: Offsets,
    committed: Offsets,
    /// For each partition the first record that came since it was assigned.
    first: Offsets,
    /// Records that are to be put, for the first time or again.
    batch: Vec<SinkRecord>,
    /// For each of their partitions what comes after them, and after what was left out among them.
    ends: Offsets,
    /// By the task's own wish.
    paused: Vec<TopicPartition>,
}

impl Progress {
    /// Goes back to what is committed, or to the beginning of what came where nothing is. Gives where each partition is to
    /// be read again.
    fn rewind(&mut self) -> Offsets {
        let back = |partition: &TopicPartition| self.committed.get(partition).or(self.first.get(partition)).copied();
        let targets: Offsets = self.current.keys().filter_map(|p| Some((p.clone(), back(p)?))).collect();
        self.current.clone_from(&self.committed);
        targets
    }
}

impl SinkRun {
    /// Runs until the task is to stop, or fails. `told` hears when it runs or pauses.
    pub fn run(&mut self, properties: &Properties, subscription: Subscription, told: &dyn Fn(Wanted)) -> Result<()> {
        let context = Arc::new(Context { asked: Mutex::default(), errors: self.errors.clone() });
        self.consumer.subscribe(subscription).map_err(|e| of_client("The topics cannot be subscribed to", &e))?;
        self.task.start(properties, context.clone())?;
        let mut progress = Progress::default();
        let result = self.work(&context, &mut progress, told);
        // What was put and not committed comes again after a failure.
        if result.is_ok() {
            self.commit(&mut progress);
        }
        let assignment = std::mem::take(&mut context.asked().assignment);
        if !assignment.is_empty()
            && let Err(error) = self.task.close(&assignment)
        {
            warn!(target: LOGGER, "{} Closing its partitions failed: {}", self.id, error.trace().trim_end());
        }
        self.task.stop();
        result
    }

    fn work(&mut self, context: &Arc<Context>, progress: &mut Progress, told: &dyn Fn(Wanted)) -> Result<()> {
        let interval = self.worker.config.offset_flush_interval;
        let mut commit_at = Instant::now() + interval;
        let mut retry_at: Option<Instant> = None;
        let mut paused = false;
        loop {
            match self.signal.wanted() {
                Wanted::Stop => return Ok(()),
                wanted if (wanted == Wanted::Pause) != paused => {
                    paused = !paused;
                    told(wanted);
                }
                _ => {}
            }
            if commit_at <= Instant::now() || std::mem::take(&mut context.asked().commit) {
                self.commit(progress);
                commit_at = Instant::now() + interval;
            }
            self.set_paused(paused || !progress.ends.is_empty(), context, progress);
            let next = retry_at.map_or(commit_at, |at| at.min(commit_at));
            let limit = next.saturating_duration_since(Instant::now());
            let polled = self.handle.block_on(self.consumer.poll_events(limit, &self.signal.wake));
            match polled.map_err(|e| of_client("Consumer poll failed", &e))? {
                Polled::Records(batches) if !batches.is_empty() => {
                    self.convert_all(&batches, progress)?;
                    retry_at = Some(Instant::now());
                }
                Polled::Records(_) => {}
                Polled::Revoking { partitions, lost } => self.close(context, progress, &partitions, lost)?,
                Polled::Assigned(partitions) => self.open(context, &partitions)?,
            }
            if retry_at.is_some_and(|at| at <= Instant::now()) && !paused {
                retry_at = self.put(context, progress)?;
            }
        }
    }

    /// Hands records over. When they are to come again: when.
    fn put(&mut self, context: &Arc<Context>, progress: &mut Progress) -> Result<Option<Instant>> {
        const RETRY: Duration = Duration::from_secs(3);
        let put = if progress.batch.is_empty() { Ok(()) } else { self.task.put(&progress.batch) };
        match put {
            Ok(()) => {
                self.metrics.written.fetch_add(progress.batch.len() as i64, Relaxed);
                self.metrics.batches.fetch_add(1, Relaxed);
                progress.batch.clear();
                progress.current.append(&mut progress.ends);
                let rewinds = std::mem::take(&mut context.asked().rewinds);
                for (partition, offset) in rewinds {
                    self.consumer.seek(&(partition.0.to_string(), partition.1), Seek::To(offset));
                    progress.current.insert(partition, offset);
                }
                Ok(None)
            }
            Err(error) if error.is_retriable() => {
                let pause = context.asked().retry_after.take().unwrap_or(RETRY);
                warn!(target: LOGGER, "{} The sink wants its records again in {} ms: {}", self.id, pause.as_millis(), error.trace().trim_end());
                self.metrics.retries.fetch_add(1, Relaxed);
                Ok(Some(Instant::now() + pause))
            }
            Err(error) => {
                Err(Error::connect("Exiting WorkerSinkTask due to unrecoverable exception.").caused_by(error))
            }
        }
    }

    /// The task got partitions.
    fn open(&mut self, context: &Arc<Context>, partitions: &[(String, i32)]) -> Result<()> {
        let added: Vec<TopicPartition> = partitions.iter().map(|(t, p)| (t.as_str().into(), *p)).collect();
        let all: Vec<TopicPartition> = self.consumer.assignment().map(|(t, p)| (t.as_str().into(), *p)).collect();
        self.metrics.partitions.store(all.len() as i64, Relaxed);
        context.asked().assignment = all;
        if added.is_empty() { Ok(()) } else { self.task.open(&added) }
    }

    /// The task loses partitions: what was put of them is committed before, unless somebody else has them already.
    fn close(
        &mut self,
        context: &Arc<Context>,
        progress: &mut Progress,
        partitions: &[(String, i32)],
        lost: bool,
    ) -> Result<()> {
        if !lost {
            self.commit(progress);
        }
        let gone: Vec<TopicPartition> = partitions.iter().map(|(t, p)| (t.as_str().into(), *p)).collect();
        progress.batch.retain(|r| !gone.iter().any(|(t, p)| *t == r.original_topic && *p == r.original_partition));
        progress.ends.retain(|tp, _| !gone.contains(tp));
        progress.current.retain(|tp, _| !gone.contains(tp));
        progress.committed.retain(|tp, _| !gone.contains(tp));
        progress.first.retain(|tp, _| !gone.contains(tp));
        progress.paused.retain(|tp| !gone.contains(tp));
        context.asked().assignment.retain(|tp| !gone.contains(tp));
        self.task.close(&gone)
    }

    /// Has the task write out what it has, and commits. What cannot be committed now comes again later.
    fn commit(&mut self, progress: &mut Progress) {
        if progress.current == progress.committed {
            return;
        }
        let offsets = match self.task.pre_commit(progress.current.clone()) {
            Ok(offsets) => offsets,
            Err(error) => {
                self.metrics.commit_failures.fetch_add(1, Relaxed);
                warn!(target: LOGGER, "{} Offset commit failed, rewinding to last committed offsets: {}", self.id, error.trace().trim_end());
                self.rewind(progress);
                return;
            }
        };
        let mut changed = BTreeMap::new();
        for (partition, offset) in &offsets {
            match progress.current.get(partition) {
                Some(current) if offset <= current => {
                    if progress.committed.get(partition) != Some(offset) {
                        changed.insert((partition.0.to_string(), partition.1), *offset);
                    }
                }
                _ => {
                    warn!(target: LOGGER, "{} Ignoring the offset {offset} of {}-{}: no such record was put", self.id, partition.0, partition.1)
                }
            }
        }
        let limit = self.worker.config.offset_flush_timeout;
        let committed = self.handle.block_on(async {
            // Dead letters first: a record that is neither put nor kept must not be passed by.
            self.errors.flush().await?;
            let commit = self.consumer.commit_offsets(&changed);
            match tokio::time::timeout(limit, commit).await {
                Ok(result) => result.map_err(|e| of_client("The commit failed", &e)),
                Err(_) => Err(Error::connect(format!("The commit took longer than {} ms", limit.as_millis()))),
            }
        });
        match committed {
            Ok(()) => {
                self.metrics.commits.fetch_add(1, Relaxed);
                debug!(target: LOGGER, "{} Committed {} offsets", self.id, changed.len());
                for ((topic, partition), offset) in changed {
                    progress.committed.insert((topic.into(), partition), offset);
                }
            }
            Err(error) => {
                self.metrics.commit_failures.fetch_add(1, Relaxed);
                warn!(target: LOGGER, "{} Commit of offsets failed: {}", self.id, error.trace().trim_end());
            }
        }
    }

    /// Has everything come again that was not committed.
    fn rewind(&mut self, progress: &mut Progress) {
        for (partition, offset) in progress.rewind() {
            self.consumer.seek(&(partition.0.to_string(), partition.1), Seek::To(offset));
        }
    }

    /// Stops or starts the flow of records, and does what the task asked for.
    fn set_paused(&mut self, all: bool, context: &Arc<Context>, progress: &mut Progress) {
        for (partition, pause) in std::mem::take(&mut context.asked().pauses) {
            progress.paused.retain(|p| *p != partition);
            if pause {
                progress.paused.push(partition);
            }
        }
        let assigned: Vec<(String, i32)> = self.consumer.assignment().cloned().collect();
        let (paused, open): (Vec<_>, Vec<_>) = assigned
            .into_iter()
            .partition(|(t, p)| all || progress.paused.iter().any(|(pt, pp)| **pt == *t && pp == p));
        self.consumer.pause(&paused);
        self.consumer.resume(&open);
    }

    fn convert_all(&mut self, batches: &[Records], progress: &mut Progress) -> Result<()> {
        let mut converted = Vec::with_capacity(batches.iter().map(Records::len).sum());
        for batch in batches {
            if !self.topics.contains(&batch.topic) {
                self.note_topic(&batch.topic);
            }
            self.metrics.read.fetch_add(batch.len() as i64, Relaxed);
            let raw = RawRecord::new(Arc::new(batch.clone()));
            for record in batch.iter() {
                converted.extend(self.convert(&record, &batch.topic, &raw)?);
            }
            if let Some(first) = batch.iter().next() {
                progress.first.entry((batch.topic.clone(), batch.partition)).or_insert(first.offset);
            }
            if let Some(last) = batch.iter().next_back() {
                progress.ends.insert((batch.topic.clone(), batch.partition), last.offset + 1);
            }
        }
        progress.batch = converted;
        Ok(())
    }

    fn note_topic(&mut self, topic: &Arc<str>) {
        self.topics.insert(topic.clone());
        if self.worker.config.topic_tracking {
            self.worker.statuses.put_topic(&TopicUse {
                topic: topic.to_string(),
                connector: self.id.connector.clone(),
                task: self.id.task,
            });
        }
    }

    /// A record as the task gets it; none when it is left out.
    fn convert(&mut self, from: &ConsumerRecord<'_>, topic: &Arc<str>, raw: &RawRecord) -> Result<Option<SinkRecord>> {
        let record = match self.decode(from, topic) {
            Ok(record) => record,
            Err((stage, class, error)) => return self.leave_out(from, stage, class, &error),
        };
        let record = if self.transforms.is_empty() {
            Some(record)
        } else {
            let transforms = &mut self.transforms;
            let applied = self.errors.retried(|| transforms.apply(record.clone()), |(_, e)| e.is_retriable());
            match applied {
                Ok(record) => record,
                Err((class, error)) => return self.leave_out(from, Stage::Transformation, class, &error),
            }
        };
        Ok(record.map(|record| SinkRecord {
            record,
            timestamp_type: match from.timestamp_type {
                _ if from.timestamp < 0 => TimestampType::None,
                wire::records::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            original_topic: topic.clone(),
            original_partition: from.partition,
            original_offset: from.offset,
            raw: raw.clone(),
        }))
    }

    fn decode(
        &self,
        from: &ConsumerRecord<'_>,
        topic: &Arc<str>,
    ) -> std::result::Result<Record, (Stage, &'static str, Error)> {
        let (keys, values, header) = (&self.converters.key, &self.converters.value, &self.converters.header);
        let key = self
            .errors
            .retried(|| keys.plugin.decode(topic, from.key), Error::is_retriable)
            .map_err(|e| (Stage::KeyConverter, keys.class, e))?;
        let value = self
            .errors
            .retried(|| values.plugin.decode(topic, from.value), Error::is_retriable)
            .map_err(|e| (Stage::ValueConverter, values.class, e))?;
        let mut headers = Vec::with_capacity(from.headers().len());
        for (name, bytes) in from.headers() {
            let name = String::from_utf8_lossy(name).into_owned();
            let decoded =
                header.plugin.decode(topic, &name, bytes).map_err(|e| (Stage::HeaderConverter, header.class, e))?;
            headers.push(Header { key: name, schema: decoded.schema, value: decoded.value });
        }
        Ok(Record {
            topic: topic.clone(),
            partition: Some(from.partition),
            key_schema: key.schema,
            key: key.value,
            value_schema: value.schema,
            value: value.value,
            timestamp: (from.timestamp >= 0).then_some(from.timestamp),
            headers,
            kafka_offset: Some(from.offset),
        })
    }

    fn leave_out(
        &self,
        from: &ConsumerRecord<'_>,
        stage: Stage,
        class: &str,
        error: &Error,
    ) -> Result<Option<SinkRecord>> {
        with_raw(from, |raw| {
            let record = label(from.topic, from.partition, from.offset);
            self.errors.tolerate(&Failure { stage, class, error, raw: Some(raw), record })
        })?;
        Ok(None)
    }
}

fn with_raw<T>(record: &ConsumerRecord<'_>, f: impl FnOnce(Raw<'_>) -> T) -> T {
    let headers: Vec<_> = record.headers().map(|(k, v)| (String::from_utf8_lossy(k), v)).collect();
    let headers: Vec<(&str, Option<&[u8]>)> = headers.iter().map(|(k, v)| (k.as_ref(), *v)).collect();
    f(Raw {
        topic: record.topic,
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key,
        value: record.value,
        headers: &headers,
    })
}

/// What messages call a record.
fn label(topic: &str, partition: i32, offset: i64) -> String {
    format!("the record of topic {topic}, partition {partition}, offset {offset}")
}

fn of_client(what: &str, error: &client::Error) -> Error {
    Error::connect(what).caused_by(Error::connect(format!("{}: {error}", error.class())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_committed_comes_again_from_its_beginning() {
        let at = |pairs: &[(i32, i64)]| pairs.iter().map(|(p, o)| (("t".into(), *p), *o)).collect::<Offsets>();
        let mut progress = Progress {
            current: at(&[(0, 10), (1, 20), (2, 5)]),
            committed: at(&[(0, 7)]),
            first: at(&[(0, 3), (1, 15), (2, 5)]),
            ..Progress::default()
        };
        assert_eq!(progress.rewind(), at(&[(0, 7), (1, 15), (2, 5)]));
        assert_eq!(progress.current, at(&[(0, 7)]));
    }
}
