//! Records on their way between a connector and a topic.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
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
    /// The least name; nearly always the only one, and there is one of these with every record.
    first: Option<Entry>,
    /// The others, in the order of the names.
    more: Vec<Entry>,
}

type Entry = (Cow<'static, str>, Value);

impl SourceMap {
    pub fn new() -> SourceMap {
        SourceMap::default()
    }

    /// With one entry.
    pub fn of(name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> SourceMap {
        SourceMap { first: Some((name.into(), value.into())), more: Vec::new() }
    }

    pub fn insert(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        let mut entry = (name.into(), value.into());
        let Some(first) = &mut self.first else {
            self.first = Some(entry);
            return;
        };
        if entry.0 <= first.0 {
            std::mem::swap(first, &mut entry);
            if entry.0 == first.0 {
                return;
            }
        }
        match self.more.binary_search_by(|(n, _)| n.cmp(&entry.0)) {
            Ok(at) => self.more[at] = entry,
            Err(at) => self.more.insert(at, entry),
        }
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.first.iter().chain(&self.more).map(|(n, v)| (n.as_ref(), v))
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_none()
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
    /// The record as it was read, for [`report`](crate::SinkContext::report): the worker's.
    pub raw: Raw,
}

/// What a worker keeps with a record, for as long as the record is kept.
#[derive(Clone, Default)]
pub struct Raw(Option<Arc<dyn Any + Send + Sync>>);

impl Raw {
    pub fn new(raw: Arc<dyn Any + Send + Sync>) -> Raw {
        Raw(Some(raw))
    }

    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.0.as_deref()?.downcast_ref()
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Raw" } else { "None" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_in_the_order_of_their_names_and_the_last_of_a_name_counts() {
        let mut map = SourceMap::of("b", 1);
        for (name, value) in [("c", 2), ("a", 3), ("b", 4), ("d", 5), ("a", 6), ("c", 7)] {
            map.insert(name, value);
        }
        let entries: Vec<(&str, i64)> = map.iter().map(|(n, v)| (n, v.as_i64().unwrap())).collect();
        assert_eq!(entries, [("a", 6), ("b", 4), ("c", 7), ("d", 5)]);
        assert_eq!(map.get("c"), Some(&Value::Int32(7)));
        assert_eq!(map.get("e"), None);
    }
}
