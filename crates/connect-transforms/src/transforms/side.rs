//! Which half of a record a transform works on.

use connect_api::{Record, SchemaRef, Value};

#[derive(Clone, Copy, Debug)]
pub enum Side {
    Key,
    Value,
}

impl Side {
    pub fn schema(self, record: &Record) -> Option<&SchemaRef> {
        match self {
            Side::Key => record.key_schema.as_ref(),
            Side::Value => record.value_schema.as_ref(),
        }
    }

    pub fn value(self, record: &Record) -> &Value {
        match self {
            Side::Key => &record.key,
            Side::Value => &record.value,
        }
    }

    /// The record with another schema and value.
    pub fn set(self, mut record: Record, schema: Option<SchemaRef>, value: Value) -> Record {
        match self {
            Side::Key => (record.key_schema, record.key) = (schema, value),
            Side::Value => (record.value_schema, record.value) = (schema, value),
        }
        record
    }
}
