//! Kafka Connect's own converters, transforms and predicates: what they write, read and say is what Kafka's do.
//!
//! Invariant: nothing here opens a socket or a file. Settings and records come in, records and bytes go out.
//!
//! Reading order: [`register`], `converters`, `transforms`, `predicates`; `json`, `values` and `java` below them.

mod cache;
mod converters;
mod java;
mod json;
mod logical;
mod predicates;
mod transforms;
mod values;

pub use converters::{
    BooleanConverter, ByteArrayConverter, DoubleConverter, FloatConverter, IntegerConverter, JsonConverter,
    LongConverter, ShortConverter, SimpleHeaderConverter, StringConverter,
};

use connect_api::Plugins;

/// Adds everything that Kafka ships, under Kafka's class names and a version.
pub fn register(plugins: &mut Plugins, version: &'static str) {
    converters::register(plugins, version);
    transforms::register(plugins, version);
    predicates::register(plugins, version);
}
