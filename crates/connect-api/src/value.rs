//! Values, with or without a schema.

use std::fmt::{self, Display};

use crate::{Decimal, SchemaRef, Struct, Type};

/// A value; what it means beyond its kind is said by its schema.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    #[default]
    Null,
    Int8(i8),
    Int16(i16),
    Int32(i32),
    Int64(i64),
    Float32(f32),
    Float64(f64),
    Boolean(bool),
    String(String),
    Bytes(Vec<u8>),
    Array(Vec<Value>),
    /// Pairs in the order they came in; keys are not repeated.
    Map(Vec<(Value, Value)>),
    Struct(Box<Struct>),
    /// The values of the logical type `Decimal`.
    Decimal(Decimal),
    /// Milliseconds since 1970 (UTC): the values of the logical types `Date`, `Time` and `Timestamp`.
    Instant(i64),
}

impl Value {
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Its type; none for nothing and for the values of logical types, whose schema says what they are made of.
    pub fn kind(&self) -> Option<Type> {
        Some(match self {
            Value::Null | Value::Decimal(_) | Value::Instant(_) => return None,
            Value::Int8(_) => Type::Int8,
            Value::Int16(_) => Type::Int16,
            Value::Int32(_) => Type::Int32,
            Value::Int64(_) => Type::Int64,
            Value::Float32(_) => Type::Float32,
            Value::Float64(_) => Type::Float64,
            Value::Boolean(_) => Type::Boolean,
            Value::String(_) => Type::String,
            Value::Bytes(_) => Type::Bytes,
            Value::Array(_) => Type::Array,
            Value::Map(_) => Type::Map,
            Value::Struct(_) => Type::Struct,
        })
    }

    /// As Java prints the class of such a value, for messages.
    pub fn class(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Int8(_) => "class java.lang.Byte",
            Value::Int16(_) => "class java.lang.Short",
            Value::Int32(_) => "class java.lang.Integer",
            Value::Int64(_) => "class java.lang.Long",
            Value::Float32(_) => "class java.lang.Float",
            Value::Float64(_) => "class java.lang.Double",
            Value::Boolean(_) => "class java.lang.Boolean",
            Value::String(_) => "class java.lang.String",
            Value::Bytes(_) => "class [B",
            Value::Array(_) => "class java.util.ArrayList",
            Value::Map(_) => "class java.util.HashMap",
            Value::Struct(_) => "class org.apache.kafka.connect.data.Struct",
            Value::Decimal(_) => "class java.math.BigDecimal",
            Value::Instant(_) => "class java.util.Date",
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number of any width.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Value::Int8(n) => Some(n.into()),
            Value::Int16(n) => Some(n.into()),
            Value::Int32(n) => Some(n.into()),
            Value::Int64(n) => Some(n),
            _ => None,
        }
    }

    /// A map's value under a textual key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Map(pairs) => pairs.iter().find(|(k, _)| k.as_str() == Some(key)).map(|(_, v)| v),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::String(text)
    }
}

impl From<i32> for Value {
    fn from(n: i32) -> Value {
        Value::Int32(n)
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Value {
        Value::Int64(n)
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Value {
        Value::Boolean(b)
    }
}

/// A value and what it looks like; no schema when nobody said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SchemaAndValue {
    pub schema: Option<SchemaRef>,
    pub value: Value,
}

impl SchemaAndValue {
    pub fn new(schema: Option<SchemaRef>, value: Value) -> SchemaAndValue {
        SchemaAndValue { schema, value }
    }
}

/// As Java prints it: what a text converter writes and a file sink has in its lines.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Int8(n) => n.fmt(f),
            Value::Int16(n) => n.fmt(f),
            Value::Int32(n) => n.fmt(f),
            Value::Int64(n) => n.fmt(f),
            Value::Float32(n) => {
                java_float(f, f64::from(n.abs()), *n < 0.0 || n.to_bits() >> 31 == 1, &format!("{:e}", n.abs()))
            }
            Value::Float64(n) => java_float(f, n.abs(), n.is_sign_negative(), &format!("{:e}", n.abs())),
            Value::Boolean(b) => b.fmt(f),
            Value::String(text) => f.write_str(text),
            Value::Bytes(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
            Value::Array(items) => listed(f, "[", items.iter().map(|v| (None, v)), "]"),
            Value::Map(pairs) => listed(f, "{", pairs.iter().map(|(k, v)| (Some(k.to_string()), v)), "}"),
            Value::Struct(value) => {
                let fields = value.schema().fields().iter().zip(value.values());
                let fields = fields.filter(|(_, v)| !v.is_null()).map(|(field, v)| (Some(field.name.clone()), v));
                listed(f, "Struct{", fields, "}")
            }
            Value::Decimal(decimal) => decimal.fmt(f),
            Value::Instant(ms) => java_date(f, *ms),
        }
    }
}

fn listed<'v>(
    f: &mut fmt::Formatter<'_>,
    open: &str,
    items: impl Iterator<Item = (Option<String>, &'v Value)>,
    close: &str,
) -> fmt::Result {
    f.write_str(open)?;
    // Structs have no blank after the comma, collections have.
    let comma = if open.starts_with('S') { "," } else { ", " };
    for (i, (name, value)) in items.enumerate() {
        f.write_str(if i == 0 { "" } else { comma })?;
        match name {
            Some(name) => write!(f, "{name}={value}")?,
            None => value.fmt(f)?,
        }
    }
    f.write_str(close)
}

/// A floating point number in Java's notation: with a point always, with an exponent outside of 10^-3 to 10^7.
/// `scientific` is its shortest form as Rust writes it.
fn java_float(f: &mut fmt::Formatter<'_>, magnitude: f64, negative: bool, scientific: &str) -> fmt::Result {
    if magnitude.is_nan() {
        return f.write_str("NaN");
    }
    if negative {
        f.write_str("-")?;
    }
    if magnitude.is_infinite() {
        return f.write_str("Infinity");
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().map_err(|_| fmt::Error)?;
    let digits = mantissa.replace('.', "");
    if magnitude == 0.0 {
        f.write_str("0.0")
    } else if !(-3..7).contains(&exponent) {
        let rest = if digits.len() > 1 { &digits[1..] } else { "0" };
        write!(f, "{}.{rest}E{exponent}", &digits[..1])
    } else if exponent < 0 {
        write!(f, "0.{}{digits}", "0".repeat((-exponent - 1) as usize))
    } else {
        let point = exponent as usize + 1;
        match digits.len() > point {
            true => write!(f, "{}.{}", &digits[..point], &digits[point..]),
            false => write!(f, "{digits}{}.0", "0".repeat(point - digits.len())),
        }
    }
}

/// As `java.util.Date` prints itself in UTC.
fn java_date(f: &mut fmt::Formatter<'_>, ms: i64) -> fmt::Result {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, second) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000) / 1000);
    // Days are counted from 1 March 0000, so that a leap day ends a year.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = year_of_era + era * 400 + i64::from(month < 2);
    write!(
        f,
        "{} {} {day:02} {:02}:{:02}:{:02} UTC {year}",
        DAYS[days.rem_euclid(7) as usize],
        MONTHS[month as usize],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Schema, SchemaBuilder};

    #[test]
    fn numbers_are_printed_as_java_prints_them() {
        for (number, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (100.0, "100.0"),
            (1.5, "1.5"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (1e7, "1.0E7"),
            (1_234_567.8, "1234567.8"),
            (-12_345_678.9, "-1.23456789E7"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(Value::Float64(number).to_string(), text);
        }
        assert_eq!(Value::Float32(0.1).to_string(), "0.1");
        assert_eq!(Value::Float32(f32::NAN).to_string(), "NaN");
    }

    #[test]
    fn collections_structs_and_dates_as_well() {
        let schema =
            SchemaBuilder::structure().field("a", Schema::of(Type::Int8)).field("b", Schema::optional_of(Type::String));
        let mut value = Struct::new(schema.field("c", Schema::of(Type::Int8)).build().unwrap()).unwrap();
        value.put("a", Value::Int8(1)).unwrap();
        value.put("c", Value::Int8(2)).unwrap();
        let value = Value::Struct(Box::new(value));
        assert_eq!(value.to_string(), "Struct{a=1,c=2}");
        assert_eq!(Value::Map(vec![("x".into(), value)]).to_string(), "{x=Struct{a=1,c=2}}");
        assert_eq!(Value::Array(vec![Value::Null, 1.into()]).to_string(), "[null, 1]");
        assert_eq!(Value::Instant(0).to_string(), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(Value::Instant(951_782_400_000).to_string(), "Tue Feb 29 00:00:00 UTC 2000");
    }
}
