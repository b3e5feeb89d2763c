//! From values to JSON.

use connect_api::{Error, Result, SchemaRef, Type, Value, logical};

use super::Options;
use crate::json::Writer;
use crate::logical as stored;

/// Writes a value as its schema says, or as it is when there is none.
pub(super) fn write(w: &mut Writer, schema: Option<&SchemaRef>, value: &Value, options: Options) -> Result<()> {
    let Some(schema) = schema else { return without_schema(w, value, options) };
    if value.is_null() {
        return match schema.default() {
            Some(default) if options.replace_null => write(w, Some(schema), default, options),
            _ if schema.is_optional() => {
                w.null();
                Ok(())
            }
            _ => Err(Error::data("Conversion error: null value for field that is required and has no default value")),
        };
    }
    if let Some(name) = schema.name()
        && logical_value(w, name, schema, value, options)?
    {
        return Ok(());
    }
    match (schema.kind(), value) {
        (Type::Array, Value::Array(items)) => array(w, schema.value_schema(), items, options),
        (Type::Map, Value::Map(pairs)) => {
            let as_object = schema.key_schema().is_none_or(|keys| keys.kind() == Type::String);
            map(w, schema.key_schema(), schema.value_schema(), pairs, as_object, options)
        }
        (Type::Struct, Value::Struct(value)) => {
            if !std::sync::Arc::ptr_eq(value.schema(), schema) && value.schema() != schema {
                return Err(Error::data("Mismatching schema."));
            }
            w.object();
            for (field, value) in schema.fields().iter().zip(value.values()) {
                w.name(&field.name);
                write(w, Some(&field.schema), value, options)?;
            }
            w.object_end();
            Ok(())
        }
        (kind, value) if value.kind() == Some(kind) => {
            primitive(w, value);
            Ok(())
        }
        (Type::Bytes, value) => Err(Error::data(format!("Invalid type for bytes type: {}", value.class()))),
        (kind, value) => Err(Error::data(format!("Invalid type for {}: {}", kind.name(), value.class()))),
    }
}

fn without_schema(w: &mut Writer, value: &Value, options: Options) -> Result<()> {
    match value {
        Value::Null => w.null(),
        Value::Array(items) => array(w, None, items, options)?,
        Value::Map(pairs) => {
            let as_object = pairs.iter().all(|(key, _)| matches!(key, Value::String(_)));
            map(w, None, None, pairs, as_object, options)?;
        }
        // A struct is written by its schema only, and here is none that it could agree with.
        Value::Struct(_) => return Err(Error::data("Mismatching schema.")),
        Value::Decimal(_) | Value::Instant(_) => {
            return Err(Error::data(format!("Java class {} does not have corresponding schema type.", value.class())));
        }
        _ => primitive(w, value),
    }
    Ok(())
}

fn primitive(w: &mut Writer, value: &Value) {
    match value {
        Value::Float32(n) => w.float32(*n),
        Value::Float64(n) => w.float64(*n),
        Value::Boolean(b) => w.bool(*b),
        Value::String(text) => w.text(text),
        Value::Bytes(bytes) => w.bytes(bytes),
        whole => match whole.as_i64() {
            Some(n) => w.integer(n),
            None => w.null(),
        },
    }
}

fn array(w: &mut Writer, items: Option<&SchemaRef>, values: &[Value], options: Options) -> Result<()> {
    w.list();
    for value in values {
        write(w, items, value, options)?;
    }
    w.list_end();
    Ok(())
}

/// With texts as keys a map is an object, else a list of pairs.
fn map(
    w: &mut Writer,
    keys: Option<&SchemaRef>,
    values: Option<&SchemaRef>,
    pairs: &[(Value, Value)],
    as_object: bool,
    options: Options,
) -> Result<()> {
    if !as_object {
        w.list();
        for (key, value) in pairs {
            w.list();
            write(w, keys, key, options)?;
            write(w, values, value, options)?;
            w.list_end();
        }
        w.list_end();
        return Ok(());
    }
    w.object();
    for (key, value) in pairs {
        match (key, keys) {
            (Value::String(key), _) => w.name(key),
            (Value::Null, Some(schema)) if schema.is_optional() => w.name("null"),
            (Value::Null, _) => {
                return Err(Error::data(
                    "Conversion error: null value for field that is required and has no default value",
                ));
            }
            (key, _) => return Err(Error::data(format!("Invalid type for STRING: {}", key.class()))),
        }
        write(w, values, value, options)?;
    }
    w.object_end();
    Ok(())
}

/// Writes a value of a logical type; false when `name` is none of those.
fn logical_value(w: &mut Writer, name: &str, schema: &SchemaRef, value: &Value, options: Options) -> Result<bool> {
    let wrong = |what: &str, expected: &str| {
        Err(Error::data(format!("Invalid type for {what}, expected {expected} but was {}", value.class())))
    };
    match (name, value) {
        (logical::DECIMAL, Value::Decimal(number)) => match options.numeric_decimals {
            true => w.raw(&number.to_string()),
            false => w.bytes(&stored::decimal_to_bytes(schema, number)?),
        },
        (logical::DATE, Value::Instant(ms)) => w.integer(stored::date_to_days(schema, *ms)?.into()),
        (logical::TIME, Value::Instant(ms)) => w.integer(stored::time_to_ms(schema, *ms)?.into()),
        (logical::TIMESTAMP, Value::Instant(ms)) => w.integer(*ms),
        (logical::DECIMAL, _) => return wrong("Decimal", "BigDecimal"),
        (logical::DATE, _) => return wrong("Date", "Date"),
        (logical::TIME, _) => return wrong("Time", "Date"),
        (logical::TIMESTAMP, _) => return wrong("Timestamp", "Date"),
        _ => return Ok(false),
    }
    Ok(true)
}
