//! Records on their way between a connector and a topic.

use std::borrow::Cow;
use std::sync::Arc;

use crate::{SchemaRef, Value};

/// A header of a record; keys may be repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    pub key: String,
    pub schema: Option<SchemaRef>,
    pub value: Value,
}

/// What records of sources and of sinks have in common, and what transforms work on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    pub topic: Arc<str>,
    /// A source leaves it open to have the key decide.
    pub partition: Option<i32>,
    pub key_schema: Option<SchemaRef>,
    pub key: Value,
    pub value_schema: Option<SchemaRef>,
    pub value: Value,
    /// In ms since 1970; a source leaves it open to mean now.
    pub timestamp: Option<i64>,
    pub headers: Vec<Header>,
    /// Where it stands in its partition; only the records of a sink have one.
    pub kafka_offset: Option<i64>,
}

impl Record {
    /// A record without key, timestamp and headers.
    pub fn new(topic: impl Into<Arc<str>>, value_schema: Option<SchemaRef>, value: Value) -> Record {
        Record { topic: topic.into(), value_schema, value, ..Record::default() }
    }

    /// The last header of that name.
    pub fn header(&self, key: &str) -> Option<&Header> {
        self.headers.iter().rev().find(|h| h.key == key)
    }
}

/// Names and values that tell a source's partitions apart, or how far one is read: `{"filename": "a.txt"}`,
/// `{"position": 21}`. The values are numbers, texts, booleans or nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceMap {
    /// In the order of the names.
    entries: Vec<(Cow<'static, str>, Value)>,
}

impl SourceMap {
    pub fn new() -> SourceMap {
        SourceMap::default()
    }

    /// With one entry.
    pub fn of(name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> SourceMap {
        SourceMap { entries: vec![(name.into(), value.into())] }
    }

    pub fn insert(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        match self.entries.binary_search_by(|(n, _)| n.cmp(&name)) {
            Ok(at) => self.entries[at].1 = value,
            Err(at) => self.entries.insert(at, (name, value)),
        }
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.entries.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(n, v)| (n.as_ref(), v))
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// A record that a source brings in.
#[derive(Clone, Debug)]
pub struct SourceRecord {
    pub record: Record,
    /// Which part of the source it came from.
    pub source_partition: Arc<SourceMap>,
    /// How far that part is read when this record is written.
    pub source_offset: SourceMap,
}

/// Who gave a record its timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    #[default]
    None,
    /// Whoever sent it.
    CreateTime,
    /// The broker.
    LogAppendTime,
}

/// A record that a sink takes out.
#[derive(Clone, Debug, Default)]
pub struct SinkRecord {
    /// What transforms made of it; they may have renamed the topic.
    pub record: Record,
    pub timestamp_type: TimestampType,
    /// The topic that it was read from.
    pub original_topic: Arc<str>,
    /// The partition of that topic.
    pub original_partition: i32,
    /// Where it stands there.
    pub original_offset: i64,
}
