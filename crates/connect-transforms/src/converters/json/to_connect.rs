//! From JSON to values.

use connect_api::{Decimal, Error, ErrorKind, Result, Schema, SchemaRef, Struct, Type, Value, logical};

use super::Options;
use crate::java::base64;
use crate::java::hash_map::HashMap;
use crate::json::Json;
use crate::logical as stored;

/// The value that JSON stands for: as the schema says, or by its kind when there is none.
pub(super) fn convert(schema: Option<&SchemaRef>, json: Option<&Json>, options: Options) -> Result<Value> {
    let Some(schema) = schema else { return without_schema(json, options) };
    let Some(json) = json.filter(|json| **json != Json::Null) else {
        return match schema.default() {
            Some(default) if options.replace_null => Ok(default.clone()),
            _ if schema.is_optional() => Ok(Value::Null),
            _ => Err(Error::data(format!("Invalid null value for required {} field", schema.kind().name()))),
        };
    };
    if let Some(name) = schema.name()
        && let Some(value) = logical_value(name, schema, json)?
    {
        return Ok(value);
    }
    // Numbers lose what does not fit, and what is of another kind is 0, false or nothing: so Kafka reads JSON.
    Ok(match schema.kind() {
        Type::Boolean => Value::Boolean(*json == Json::Bool(true)),
        Type::Int8 => Value::Int8(json.wrapping_i64() as i8),
        Type::Int16 => Value::Int16(json.wrapping_i64() as i16),
        Type::Int32 => Value::Int32(json.wrapping_i64() as i32),
        Type::Int64 => Value::Int64(json.wrapping_i64()),
        Type::Float32 => Value::Float32(json.f32()),
        Type::Float64 => Value::Float64(json.f64()),
        Type::String => json.text().map_or(Value::Null, Value::from),
        Type::Bytes => match json.text() {
            Some(text) => Value::Bytes(base64::decode(text).ok_or_else(|| {
                Error::data("Invalid bytes field").caused_by(Error::new(
                    ErrorKind::Other("com.fasterxml.jackson.databind.exc.InvalidFormatException"),
                    "the text is no base64 with padding",
                ))
            })?),
            None => Value::Null,
        },
        Type::Array => array(schema.value_schema(), json, options)?,
        Type::Map => map(schema, json, options)?,
        Type::Struct => {
            if !matches!(json, Json::Object(_)) {
                return Err(Error::data(format!(
                    "Structs should be encoded as JSON objects, but found {}",
                    json.kind()
                )));
            }
            let mut value = Struct::new(schema.clone())?;
            for field in schema.fields() {
                value.put(&field.name, convert(Some(&field.schema), json.get(&field.name), options)?)?;
            }
            Value::Struct(Box::new(value))
        }
    })
}

fn without_schema(json: Option<&Json>, options: Options) -> Result<Value> {
    Ok(match json {
        None | Some(Json::Null) => Value::Null,
        Some(Json::Bool(b)) => Value::Boolean(*b),
        Some(json @ Json::Integer(_)) => Value::Int64(json.wrapping_i64()),
        Some(json @ Json::Fraction(_)) => Value::Float64(json.f64()),
        Some(Json::Text(text)) => Value::from(text.as_str()),
        Some(json @ Json::List(_)) => array(None, json, options)?,
        Some(Json::Object(members)) => object(None, members, options)?,
    })
}

/// What is no list, has no items; those of an object are its values.
fn array(items: Option<&SchemaRef>, json: &Json, options: Options) -> Result<Value> {
    // A loop, because a chain of iterators takes many times the stack for each level.
    let mut values = Vec::new();
    match json {
        Json::List(list) => {
            for item in list {
                values.push(convert(items, Some(item), options)?);
            }
        }
        Json::Object(members) => {
            for (_, item) in members {
                values.push(convert(items, Some(item), options)?);
            }
        }
        _ => {}
    }
    Ok(Value::Array(values))
}

fn object(values: Option<&SchemaRef>, members: &[(String, Json)], options: Options) -> Result<Value> {
    let mut map = HashMap::new();
    for (name, value) in members {
        map.put(name.as_str().into(), convert(values, Some(value), options)?);
    }
    Ok(map.into_value())
}

fn map(schema: &Schema, json: &Json, options: Options) -> Result<Value> {
    let (keys, values) = (schema.key_schema(), schema.value_schema());
    if keys.is_none_or(|keys| keys.kind() == Type::String) {
        return match json {
            Json::Object(members) => object(values, members, options),
            other => Err(Error::data(format!(
                "Maps with string fields should be encoded as JSON objects, but found {}",
                other.kind()
            ))),
        };
    }
    let Json::List(pairs) = json else {
        return Err(Error::data(format!(
            "Maps with non-string fields should be encoded as JSON array of tuples, but found {}",
            json.kind()
        )));
    };
    let mut map = HashMap::new();
    for pair in pairs {
        match pair {
            Json::List(pair) if pair.len() == 2 => {
                map.put(convert(keys, pair.first(), options)?, convert(values, pair.get(1), options)?);
            }
            Json::List(pair) => {
                let len = pair.len();
                return Err(Error::data(format!("Found invalid map entry, expected length 2 but found :{len}")));
            }
            other => {
                let kind = other.kind();
                return Err(Error::data(format!("Found invalid map entry instead of array tuple: {kind}")));
            }
        }
    }
    Ok(map.into_value())
}

/// The value of a logical type; None when `name` is none of those.
fn logical_value(name: &str, schema: &Schema, json: &Json) -> Result<Option<Value>> {
    let wrong = |what: &str, expected: &str| {
        let message = format!("Invalid type for {what}, underlying representation should be {expected} but was");
        Error::data(format!("{message} {}", json.kind()))
    };
    Ok(Some(match name {
        logical::DECIMAL => match json {
            Json::Integer(text) | Json::Fraction(text) => {
                let number = Decimal::parse(text).ok_or_else(|| wrong("Decimal", "numeric or bytes"))?;
                Value::Decimal(number)
            }
            Json::Text(text) => {
                let broken = || Error::data("the text is no base64 with padding");
                let number = base64::decode(text)
                    .ok_or_else(broken)
                    .and_then(|bytes| stored::decimal_from_bytes(schema, &bytes))
                    .map_err(|cause| Error::data("Invalid bytes for Decimal field").caused_by(cause))?;
                Value::Decimal(number)
            }
            _ => return Err(wrong("Decimal", "numeric or bytes")),
        },
        logical::DATE => {
            let days = json.i32().ok_or_else(|| wrong("Date", "integer"))?;
            Value::Instant(stored::date_from_days(schema, days)?)
        }
        logical::TIME => {
            let ms = json.i32().ok_or_else(|| wrong("Time", "integer"))?;
            Value::Instant(stored::time_from_ms(schema, ms)?)
        }
        logical::TIMESTAMP => match json {
            Json::Integer(_) => Value::Instant(json.wrapping_i64()),
            _ => return Err(wrong("Timestamp", "integral")),
        },
        _ => return Ok(None),
    }))
}
