//! Between values of different types, and between values and texts as a person would write them: Kafka's `Values`.

mod parse;

use connect_api::{Decimal, Error, ErrorKind, Result, Schema, Type, Value, logical};

pub use parse::parse;

use crate::java::base64;
use crate::java::calendar::DAY_MS;
use crate::java::date_format::DateFormat;
use crate::{json::Json, logical as stored};

/// The text for a value.
pub fn to_text(value: &Value) -> String {
    let mut text = String::new();
    append(&mut text, value, false);
    text
}

/// Inside of a list or a map texts have quotes.
fn append(text: &mut String, value: &Value, inside: bool) {
    let mut quoted = |value: &str| match inside {
        true => {
            text.push('"');
            text.push_str(value);
            text.push('"');
        }
        false => text.push_str(value),
    };
    match value {
        Value::String(value) if inside => quoted(&value.replace('\\', "\\\\").replace('"', "\\\"")),
        Value::String(value) => quoted(value),
        Value::Bytes(bytes) => quoted(&base64::encode(bytes)),
        Value::Array(items) => enclosed(text, '[', items, ']', |text, item| append(text, item, true)),
        Value::Map(pairs) => enclosed(text, '{', pairs, '}', |text, (key, value)| {
            append(text, key, true);
            text.push(':');
            append(text, value, true);
        }),
        Value::Struct(value) => enclosed(text, '{', value.schema().fields(), '}', |text, field| {
            append(text, &Value::from(field.name.as_str()), true);
            text.push(':');
            // The struct has all fields of its schema.
            append(text, value.get(&field.name).unwrap_or(&Value::Null), true);
        }),
        Value::Instant(ms) => text.push_str(&instant(*ms)),
        plain => text.push_str(&plain.to_string()),
    }
}

fn enclosed<T>(text: &mut String, open: char, items: &[T], close: char, mut write: impl FnMut(&mut String, &T)) {
    text.push(open);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        write(text, item);
    }
    text.push(close);
}

pub(crate) const DATE: &str = "yyyy-MM-dd";
pub(crate) const TIME: &str = "HH:mm:ss.SSS'Z'";
pub(crate) const TIMESTAMP: &str = "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'";

/// An instant as a time on the first day of 1970 and before, a date at midnight, else both; in UTC.
pub fn instant(ms: i64) -> String {
    let pattern = match ms {
        ..DAY_MS => TIME,
        _ if ms % DAY_MS == 0 => DATE,
        _ => TIMESTAMP,
    };
    DateFormat::new(pattern).map(|format| format.format(ms)).unwrap_or_default()
}

/// A number's whole part, of which the low 64 bits; texts are read as numbers.
pub fn to_i64(value: &Value) -> Result<i64> {
    match value {
        Value::Float32(n) => Ok(*n as i64),
        Value::Float64(n) => Ok(*n as i64),
        Value::Decimal(number) => Ok(Json::Fraction(number.to_string()).wrapping_i64()),
        Value::String(text) => match Decimal::parse(text) {
            Some(number) => Ok(Json::Fraction(number.to_string()).wrapping_i64()),
            None => Err(no_number(value)),
        },
        value => value.as_i64().ok_or_else(|| no_number(value)),
    }
}

/// The nearest floating point number; texts are read as numbers.
pub fn to_f64(value: &Value) -> Result<f64> {
    match value {
        Value::Float32(n) => Ok(f64::from(*n)),
        Value::Float64(n) => Ok(*n),
        Value::Decimal(number) => Ok(float(number)),
        Value::String(text) => Decimal::parse(text).map(|number| float(&number)).ok_or_else(|| no_number(value)),
        value => value.as_i64().map(|n| n as f64).ok_or_else(|| no_number(value)),
    }
}

fn float(number: &Decimal) -> f64 {
    // A decimal prints as what Rust reads.
    number.to_string().parse().unwrap_or(f64::NAN)
}

fn no_number(value: &Value) -> Error {
    let error = Error::data(format!("Unable to convert {value} ({}) to a number", value.class()));
    match value {
        Value::String(_) => error.caused_by(Error::new(
            ErrorKind::Other("java.lang.NumberFormatException"),
            "the text is no decimal number",
        )),
        _ => error,
    }
}

/// A value of unknown schema as one of `schema`.
fn convert(schema: &Schema, value: Value) -> Result<Value> {
    if value.is_null() {
        return match schema.is_optional() {
            true => Ok(Value::Null),
            false => Err(Error::data("Unable to convert a null value to a schema that requires a value")),
        };
    }
    let wrong = |value: &Value| Err(Error::data(format!("Unable to convert {value} ({}) to {schema}", value.class())));
    Ok(match (schema.kind(), schema.name()) {
        (_, Some(logical::DATE | logical::TIME | logical::TIMESTAMP)) if matches!(value, Value::Instant(_)) => value,
        (Type::Int32, Some(logical::DATE)) => Value::Instant(stored::date_from_days(schema, to_i64(&value)? as i32)?),
        (Type::Int32, Some(logical::TIME)) => Value::Instant(stored::time_from_ms(schema, to_i64(&value)? as i32)?),
        (Type::Int64, Some(logical::TIMESTAMP)) => Value::Instant(to_i64(&value)?),
        (Type::Bytes, Some(logical::DECIMAL)) => match value {
            Value::Decimal(_) => value,
            Value::Bytes(bytes) => Value::Decimal(stored::decimal_from_bytes(schema, &bytes)?),
            value => match Decimal::parse(&Value::Float64(to_f64(&value)?).to_string()) {
                Some(number) => Value::Decimal(number),
                None => return wrong(&value),
            },
        },
        (Type::Int8, _) => Value::Int8(to_i64(&value)? as i8),
        (Type::Int16, _) => Value::Int16(to_i64(&value)? as i16),
        (Type::Int32, _) => Value::Int32(to_i64(&value)? as i32),
        (Type::Int64, _) => Value::Int64(to_i64(&value)?),
        (Type::Float32, _) => match value {
            Value::Float32(_) => value,
            value => Value::Float32(to_f64(&value)? as f32),
        },
        (Type::Float64, _) => Value::Float64(to_f64(&value)?),
        (Type::Boolean, _) => match value {
            Value::Boolean(_) => value,
            value => Value::Boolean(to_i64(&value)? != 0),
        },
        (Type::String, _) => Value::String(to_text(&value)),
        (kind, _) if value.kind() == Some(kind) => value,
        _ => return wrong(&value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_a_person_would() {
        let list = Value::Array(vec![1.into(), "a\"\\".into(), Value::Null, Value::Bytes(b"ab".to_vec())]);
        for (value, text) in [
            (Value::from("a\"b"), "a\"b"),
            (Value::Bytes(b"ab".to_vec()), "YWI="),
            (Value::Float32(1.5), "1.5"),
            (list, r#"[1,"a\"\\",null,"YWI="]"#),
            (
                Value::Map(vec![("a".into(), true.into()), (1.into(), Value::Instant(0))]),
                r#"{"a":true,1:00:00:00.000Z}"#,
            ),
            (Value::Instant(DAY_MS), "1970-01-02"),
            (Value::Instant(DAY_MS + 1), "1970-01-02T00:00:00.001Z"),
            (Value::Instant(-1), "23:59:59.999Z"),
        ] {
            assert_eq!(to_text(&value), text);
        }
    }

    #[test]
    fn numbers_are_made_of_numbers_and_texts() {
        assert_eq!(to_i64(&"12.9".into()).unwrap(), 12);
        assert_eq!(to_i64(&Value::Float64(-1.9)).unwrap(), -1);
        assert_eq!(to_f64(&"1e2".into()).unwrap(), 100.0);
        let error = to_i64(&"x".into()).unwrap_err();
        assert_eq!(error.message, "Unable to convert x (class java.lang.String) to a number");
    }
}
