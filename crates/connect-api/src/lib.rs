//! What connectors, converters and transforms are written against: Kafka Connect's API in Rust.
//!
//! A [`Connector`] says how its work is divided into tasks; a [`SourceTask`] brings records in, a [`SinkTask`] takes them
//! out; a [`Converter`] turns values into bytes and back; a [`Transform`] changes records on their way. A worker is built
//! from [`Plugins`], so that whoever writes a connector builds a worker with it in a few lines (crate `connect`).
//!
//! Everything here is called on a thread of its own and may block; nothing is called on two threads at once.
//!
//! Invariant: no sockets, no clock, no runtime: values, declarations and traits only.
//!
//! Reading order: [`Schema`] and [`Value`], [`Record`], [`ConfigDef`], [`Connector`], [`Plugins`].

pub mod config;
mod connector;
mod converter;
mod decimal;
mod error;
mod plugins;
mod record;
mod schema;
mod sink;
mod source;
mod structure;
mod transform;
mod value;

pub use config::{
    Config, ConfigDef, ConfigKey, Importance, Kind, Preset, Properties, Setting, Validated, Validator, Width,
};
pub use connector::{Connector, ConnectorContext, Task, TaskKind};
pub use converter::{Converter, HeaderConverter};
pub use decimal::Decimal;
pub use error::{Error, ErrorKind, Result};
pub use plugins::{Plugin, Plugins};
pub use record::{Header, Raw, Record, SinkRecord, SourceMap, SourceRecord, TimestampType};
pub use schema::{Field, Schema, SchemaBuilder, SchemaRef, Type, logical};
pub use sink::{Offsets, SinkContext, SinkTask, TopicPartition};
pub use source::{SourceContext, SourceTask};
pub use structure::Struct;
pub use transform::{Predicate, Transform};
pub use value::{SchemaAndValue, Value};
