//! A source of numbers and a sink that tell what they do, a line of JSON on standard output for each record: for tests that
//! check whether every number arrived.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use connect_api::{
    ConfigDef, ConfigKey, Connector, ConnectorContext, Importance, Kind, Offsets, Properties, Record, Result, Schema,
    SchemaRef, SinkContext, SinkRecord, SinkTask, SourceContext, SourceMap, SourceRecord, SourceTask, Task, TaskKind,
    Type, Value,
};
use serde_json::json;

use crate::store::now_ms;

/// Numbers that a task gives at once at most.
const BATCH: i64 = 500;
const ID: &str = "id";
const SEQNO: &str = "seqno";

/// Prints a line; who reads may be gone, which is no reason to stop.
fn tell(line: &serde_json::Value) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

fn numbered(properties: &Properties, count: usize) -> Vec<Properties> {
    let with = |id: usize| {
        let mut task = properties.clone();
        task.insert(ID.to_owned(), id.to_string());
        task
    };
    (0..count).map(with).collect()
}

fn id_of(properties: &Properties) -> i64 {
    properties.get(ID).and_then(|id| id.parse().ok()).unwrap_or(0)
}

fn source_definition() -> ConfigDef {
    ConfigDef::new()
        .define(ConfigKey::required("topic", Kind::String, Importance::High, "The topic to write to."))
        .define(ConfigKey::with_default(
            "throughput",
            Kind::Long,
            "-1",
            Importance::Medium,
            "Records a second; -1: as many as possible.",
        ))
}

/// `VerifiableSourceConnector`.
#[derive(Default)]
pub struct VerifiableSource {
    properties: Properties,
}

impl Connector for VerifiableSource {
    fn kind(&self) -> TaskKind {
        TaskKind::Source
    }

    fn config(&self) -> ConfigDef {
        source_definition()
    }

    fn start(&mut self, properties: &Properties, _: ConnectorContext) -> Result<()> {
        self.properties.clone_from(properties);
        Ok(())
    }

    fn task_configs(&self, max: usize) -> Result<Vec<Properties>> {
        Ok(numbered(&self.properties, max))
    }

    fn task(&self) -> Task {
        Task::Source(Box::new(VerifiableSourceTask::default()))
    }
}

#[derive(Default)]
struct VerifiableSourceTask {
    name: String,
    topic: Arc<str>,
    id: i64,
    next: i64,
    begun: Option<Instant>,
    sent: i64,
    /// Records a second; none for no limit.
    throughput: Option<i64>,
    partition: Arc<SourceMap>,
    schema: Option<SchemaRef>,
    context: Option<Arc<dyn SourceContext>>,
}

impl SourceTask for VerifiableSourceTask {
    fn start(&mut self, properties: &Properties, context: Arc<dyn SourceContext>) -> Result<()> {
        let config = source_definition().parse(properties)?;
        self.name = properties.get("name").cloned().unwrap_or_default();
        self.topic = config.string("topic").unwrap_or_default().into();
        self.id = id_of(properties);
        self.throughput = Some(config.integer("throughput")).filter(|t| *t > 0);
        self.partition = Arc::new(SourceMap::of(ID, self.id));
        let known = context.offset(&self.partition)?;
        self.next = known.and_then(|o| o.get(SEQNO).and_then(Value::as_i64)).map_or(0, |last| last + 1);
        self.schema = Some(Schema::of(Type::Int64));
        self.context = Some(context);
        Ok(())
    }

    fn poll(&mut self) -> Result<Vec<SourceRecord>> {
        let Some(context) = &self.context else { return Ok(Vec::new()) };
        let begun = *self.begun.get_or_insert_with(Instant::now);
        let count = match self.throughput {
            None => BATCH,
            Some(rate) => {
                let due = (begun.elapsed().as_secs_f64() * rate as f64) as i64 - self.sent;
                if due < 1 {
                    context.wait(Duration::from_secs_f64(1.0 / rate as f64));
                    return Ok(Vec::new());
                }
                due.min(BATCH)
            }
        };
        self.sent += count;
        let record = |seqno: i64| {
            tell(
                &json!({"name": self.name, "task": self.id, "topic": &*self.topic, "time_ms": now_ms(), "seqno": seqno}),
            );
            let record = Record {
                key_schema: self.schema.clone(),
                key: Value::Int64(self.id),
                ..Record::new(self.topic.clone(), self.schema.clone(), Value::Int64(seqno))
            };
            SourceRecord {
                record,
                source_partition: self.partition.clone(),
                source_offset: SourceMap::of(SEQNO, seqno),
            }
        };
        let records = (self.next..self.next + count).map(record).collect();
        self.next += count;
        Ok(records)
    }
}

/// `VerifiableSinkConnector`.
#[derive(Default)]
pub struct VerifiableSink {
    properties: Properties,
}

impl Connector for VerifiableSink {
    fn kind(&self) -> TaskKind {
        TaskKind::Sink
    }

    fn config(&self) -> ConfigDef {
        ConfigDef::new()
    }

    fn start(&mut self, properties: &Properties, _: ConnectorContext) -> Result<()> {
        self.properties.clone_from(properties);
        Ok(())
    }

    fn task_configs(&self, max: usize) -> Result<Vec<Properties>> {
        Ok(numbered(&self.properties, max))
    }

    fn task(&self) -> Task {
        Task::Sink(Box::new(VerifiableSinkTask::default()))
    }
}

#[derive(Default)]
struct VerifiableSinkTask {
    name: String,
    id: i64,
    /// What is told again when it is flushed.
    unflushed: Vec<serde_json::Value>,
}

impl SinkTask for VerifiableSinkTask {
    fn start(&mut self, properties: &Properties, _: Arc<dyn SinkContext>) -> Result<()> {
        self.name = properties.get("name").cloned().unwrap_or_default();
        self.id = id_of(properties);
        Ok(())
    }

    fn put(&mut self, records: &[SinkRecord]) -> Result<()> {
        for record in records {
            let line = |flushed: bool| {
                json!({"task": self.id, "sink": true, "topic": &*record.original_topic, "name": self.name, "time_ms": now_ms(),
                       "id": record.record.key.to_string(), "seqno": record.record.value.to_string(),
                       "offset": record.original_offset, "flushed": flushed})
            };
            tell(&line(false));
            self.unflushed.push(line(true));
        }
        Ok(())
    }

    fn flush(&mut self, _: &Offsets) -> Result<()> {
        self.unflushed.drain(..).for_each(|line| tell(&line));
        Ok(())
    }
}
