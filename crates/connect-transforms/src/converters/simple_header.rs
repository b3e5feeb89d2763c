//! `SimpleHeaderConverter`: header values as texts whose kind is guessed when they are read.

use connect_api::{HeaderConverter, Properties, Result, SchemaAndValue, SchemaRef, Value};

/// Texts, numbers, lists and maps as a person would write them.
#[derive(Debug, Default)]
pub struct SimpleHeaderConverter;
