//! Between values and the bytes in a topic.

use std::borrow::Cow;

use crate::{ConfigDef, Properties, Result, SchemaAndValue, SchemaRef, Value};

/// Turns keys or values into bytes and back. One is made for each task, and for keys and values.
pub trait Converter: Send {
    /// The settings; they come without the prefix that they have in a connector's (`value.converter.`).
    fn config(&self) -> ConfigDef {
        ConfigDef::new()
    }

    /// Called once, before anything else; `is_key` says which of the two this one is for.
    fn configure(&mut self, properties: &Properties, is_key: bool) -> Result<()>;

    /// The bytes for a value, which may be the value's own; none is a record without key, or a tombstone.
    fn encode<'v>(&self, topic: &str, schema: Option<&SchemaRef>, value: &'v Value) -> Result<Option<Cow<'v, [u8]>>>;

    /// The value that bytes stand for.
    fn decode(&self, topic: &str, bytes: Option<&[u8]>) -> Result<SchemaAndValue>;
}

/// Turns the values of headers into bytes and back.
pub trait HeaderConverter: Send {
    /// The settings; they come without the prefix `header.converter.`.
    fn config(&self) -> ConfigDef {
        ConfigDef::new()
    }

    /// Called once, before anything else.
    fn configure(&mut self, properties: &Properties) -> Result<()>;

    fn encode(&self, topic: &str, key: &str, schema: Option<&SchemaRef>, value: &Value) -> Result<Option<Vec<u8>>>;

    fn decode(&self, topic: &str, key: &str, bytes: Option<&[u8]>) -> Result<SchemaAndValue>;
}
