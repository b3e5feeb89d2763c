//! What transforms want of values, with Kafka's messages, and what they do with fields.

use connect_api::{Error, ErrorKind, Field, Result, Schema, SchemaBuilder, Struct, Type, Value};

/// The entries of a map.
pub fn map<'v>(value: &'v Value, purpose: &str) -> Result<&'v [(Value, Value)]> {
    match value {
        Value::Map(pairs) => Ok(pairs),
        other => Err(Error::data(format!(
            "Only Map objects supported in absence of schema for [{purpose}], found: {}",
            class_name(other)
        ))),
    }
}

pub fn structure<'v>(value: &'v Value, purpose: &str) -> Result<&'v Struct> {
    match value {
        Value::Struct(value) => Ok(value),
        other => {
            Err(Error::data(format!("Only Struct objects supported for [{purpose}], found: {}", class_name(other))))
        }
    }
}

/// The name of a value's class, without the word before it.
fn class_name(value: &Value) -> &'static str {
    value.class().trim_start_matches("class ")
}

/// The key of a map's entry, which has to be a text.
pub fn key(key: &Value) -> Result<&str> {
    key.as_str().ok_or_else(|| {
        let message = format!("{} cannot be cast to class java.lang.String", key.class());
        Error::new(ErrorKind::Other("java.lang.ClassCastException"), message)
    })
}

/// The fields of a struct's schema.
pub fn fields(schema: &Schema) -> Result<&[Field]> {
    match schema.kind() {
        Type::Struct => Ok(schema.fields()),
        _ => Err(Error::data("Cannot list fields on non-struct type")),
    }
}

/// A field's value; its default when it has none and `or_default` says so.
pub fn field<'s>(value: &'s Struct, field: &'s Field, or_default: bool) -> &'s Value {
    match &value.values()[field.index] {
        Value::Null if or_default => field.schema.default().unwrap_or(&Value::Null),
        value => value,
    }
}

/// A builder for a struct's schema with a schema's name, version, documentation and parameters.
pub fn struct_like(schema: &Schema) -> SchemaBuilder {
    basics(schema, SchemaBuilder::structure())
}

/// Adds a schema's name, version, documentation and parameters.
pub fn basics(schema: &Schema, mut builder: SchemaBuilder) -> SchemaBuilder {
    if let Some(name) = schema.name() {
        builder = builder.name(name);
    }
    if let Some(version) = schema.version() {
        builder = builder.version(version);
    }
    if let Some(doc) = schema.doc() {
        builder = builder.doc(doc);
    }
    for (name, value) in schema.parameters() {
        builder = builder.parameter(name, value);
    }
    builder
}
