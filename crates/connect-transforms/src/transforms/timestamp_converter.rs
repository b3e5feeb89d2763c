//! `TimestampConverter`: points in time as text, Unix time, or one of Connect's own types.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use connect_api::{
    ConfigDef, ConfigKey, Error, ErrorKind, Importance, Kind, Properties, Record, Result, Schema, SchemaBuilder,
    SchemaRef, Struct, Transform, Type, Validator, Value, logical,
};

use super::{SCHEMAS, Side, requirements};
use crate::cache::SchemaCache;
use crate::java::calendar::DAY_MS;
use crate::java::date_format::DateFormat;
use crate::java::hash_map::HashMap;

const PURPOSE: &str = "converting timestamp formats";

#[derive(Debug)]
pub struct TimestampConverter {
    side: Side,
    /// Empty for the whole key or value.
    field: String,
    target: Kept,
    format: Option<DateFormat>,
    precision: Precision,
    replace_null: bool,
    schemas: RefCell<SchemaCache<SchemaRef>>,
}

/// As what a point in time is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kept {
    String,
    Unix,
    Date,
    Time,
    Timestamp,
}

#[derive(Clone, Copy, Debug)]
enum Precision {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Kept {
    /// By the word of `target.type`.
    fn named(name: &str) -> Kept {
        match name {
            "unix" => Kept::Unix,
            "Date" => Kept::Date,
            "Time" => Kept::Time,
            "Timestamp" => Kept::Timestamp,
            _ => Kept::String,
        }
    }

    fn by(schema: &Schema) -> Result<Kept> {
        Ok(match (schema.name(), schema.kind()) {
            (Some(logical::TIMESTAMP), _) => Kept::Timestamp,
            (Some(logical::DATE), _) => Kept::Date,
            (Some(logical::TIME), _) => Kept::Time,
            (_, Type::String) => Kept::String,
            (_, Type::Int64) => Kept::Unix,
            _ => {
                return Err(Error::connect(format!(
                    "Schema {schema} does not correspond to a known timestamp type format"
                )));
            }
        })
    }

    /// Without a schema, what a value is says how it is kept.
    fn of(value: &Value) -> Result<Kept> {
        Ok(match value {
            Value::Instant(_) => Kept::Timestamp,
            Value::Int64(_) => Kept::Unix,
            Value::String(_) => Kept::String,
            other => {
                let class = other.class();
                return Err(Error::data(format!("TimestampConverter does not support {class} objects as timestamps")));
            }
        })
    }

    fn schema(self, optional: bool) -> Result<SchemaRef> {
        let builder = match self {
            Kept::String => SchemaBuilder::new(Type::String),
            Kept::Unix => SchemaBuilder::new(Type::Int64),
            Kept::Date => SchemaBuilder::new(Type::Int32).name(logical::DATE).version(1),
            Kept::Time => SchemaBuilder::new(Type::Int32).name(logical::TIME).version(1),
            Kept::Timestamp => SchemaBuilder::new(Type::Int64).name(logical::TIMESTAMP).version(1),
        };
        builder.set_optional(optional).build()
    }
}

impl Precision {
    fn named(name: &str) -> Precision {
        match name {
            "seconds" => Precision::Seconds,
            "microseconds" => Precision::Microseconds,
            "nanoseconds" => Precision::Nanoseconds,
            _ => Precision::Milliseconds,
        }
    }

    fn to_ms(self, unix: i64) -> i64 {
        match self {
            Precision::Seconds => unix.saturating_mul(1000),
            Precision::Milliseconds => unix,
            Precision::Microseconds => unix / 1000,
            Precision::Nanoseconds => unix / 1_000_000,
        }
    }

    fn of_ms(self, ms: i64) -> i64 {
        match self {
            Precision::Seconds => ms / 1000,
            Precision::Milliseconds => ms,
            Precision::Microseconds => ms.saturating_mul(1000),
            Precision::Nanoseconds => ms.saturating_mul(1_000_000),
        }
    }
}

impl TimestampConverter {
    pub fn new(side: Side) -> TimestampConverter {
        TimestampConverter {
            side,
            field: String::new(),
            target: Kept::String,
            format: None,
            precision: Precision::Milliseconds,
            replace_null: true,
            schemas: RefCell::new(SchemaCache::new(SCHEMAS)),
        }
    }

    fn convert(&self, value: &Value, from: Kept) -> Result<Value> {
        let ms = match (from, value) {
            (_, Value::Null) => return Ok(Value::Null),
            (Kept::String, Value::String(text)) => self.parse(text)?,
            (Kept::Unix, Value::Int64(unix)) => self.precision.to_ms(*unix),
            (Kept::Date | Kept::Time | Kept::Timestamp, Value::Instant(ms)) => *ms,
            (Kept::String, other) => return Err(unexpected("string timestamp to be a String", other)),
            (Kept::Unix, other) => return Err(unexpected("Unix timestamp to be a Long", other)),
            (Kept::Date, other) => return Err(unexpected("Date to be a java.util.Date", other)),
            (Kept::Time, other) => return Err(unexpected("Time to be a java.util.Date", other)),
            (Kept::Timestamp, other) => return Err(unexpected("Timestamp to be a java.util.Date", other)),
        };
        Ok(match self.target {
            Kept::String => Value::String(self.format.as_ref().map(|format| format.format(ms)).unwrap_or_default()),
            Kept::Unix => Value::Int64(self.precision.of_ms(ms)),
            Kept::Date => Value::Instant(ms - ms.rem_euclid(DAY_MS)),
            Kept::Time => Value::Instant(ms.rem_euclid(DAY_MS)),
            Kept::Timestamp => Value::Instant(ms),
        })
    }

    fn parse(&self, text: &str) -> Result<i64> {
        let Some(format) = &self.format else {
            let kind = ErrorKind::Other("java.lang.NullPointerException");
            return Err(Error::new(kind, "TimestampConverter has no format to read a text by: set format"));
        };
        // Only years of two digits depend on it.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64);
        format.parse(text, now).ok_or_else(|| {
            let pattern = format.pattern();
            let cause =
                Error::new(ErrorKind::Other("java.text.ParseException"), format!("Unparseable date: \"{text}\""));
            Error::data(format!("Could not parse timestamp: value ({text}) does not match pattern ({pattern})"))
                .caused_by(cause)
        })
    }

    fn schema(&self, schema: &SchemaRef) -> Result<SchemaRef> {
        let mut builder = requirements::struct_like(schema).set_optional(schema.is_optional());
        for field in schema.fields() {
            builder = builder.field(
                &field.name,
                match field.name == self.field {
                    true => self.target.schema(field.schema.is_optional())?,
                    false => field.schema.clone(),
                },
            );
        }
        if let Some(Value::Struct(default)) = schema.default() {
            let plain = builder.clone().build()?;
            builder = builder.default(self.structure(default, plain)?);
        }
        builder.build()
    }

    fn structure(&self, value: &Struct, schema: SchemaRef) -> Result<Value> {
        let mut updated = Struct::new(schema)?;
        for field in value.schema().fields() {
            let old = requirements::field(value, field, self.replace_null);
            updated.put(
                &field.name,
                match field.name == self.field {
                    true => self.convert(old, Kept::by(&field.schema)?)?,
                    false => old.clone(),
                },
            )?;
        }
        Ok(Value::Struct(Box::new(updated)))
    }

    fn without_schema(&self, value: &Value) -> Result<Value> {
        let convert = |value: &Value| match value {
            Value::Null => Ok(Value::Null),
            value => self.convert(value, Kept::of(value)?),
        };
        if value.is_null() || self.field.is_empty() {
            return convert(value);
        }
        let mut map = HashMap::copy_of(requirements::map(value, PURPOSE)?);
        map.put(self.field.as_str().into(), convert(value.get(&self.field).unwrap_or(&Value::Null))?);
        Ok(map.into_value())
    }
}

fn unexpected(what: &str, value: &Value) -> Error {
    Error::data(format!("Expected {what}, but found {}", value.class()))
}

impl Transform for TimestampConverter {
    fn config(&self) -> ConfigDef {
        ConfigDef::new()
            .define(ConfigKey::with_default(
                "field",
                Kind::String,
                "",
                Importance::High,
                "The field with the point in time; empty when the whole key or value is one.",
            ))
            .define(
                ConfigKey::required(
                    "target.type",
                    Kind::String,
                    Importance::High,
                    "What it becomes: string, unix, Date, Time or Timestamp.",
                )
                .validator(Validator::OneOf(&["string", "unix", "Date", "Time", "Timestamp"])),
            )
            .define(ConfigKey::with_default(
                "format",
                Kind::String,
                "",
                Importance::Medium,
                "The pattern of texts, as Java's SimpleDateFormat has it: for what is written when target.type is string, \
                 and for what is read when that is a text.",
            ))
            .define(
                ConfigKey::with_default(
                    "unix.precision",
                    Kind::String,
                    "milliseconds",
                    Importance::Low,
                    "The unit of Unix times: seconds, milliseconds, microseconds or nanoseconds. What is less than a \
                     millisecond is lost.",
                )
                .validator(Validator::OneOf(&["nanoseconds", "microseconds", "milliseconds", "seconds"])),
            )
            .define(super::replace_null())
    }

    fn configure(&mut self, properties: &Properties) -> Result<()> {
        let config = self.config().parse(properties)?;
        let text = |name: &str| config.string(name).unwrap_or_default();
        self.field = text("field").to_owned();
        self.target = Kept::named(text("target.type"));
        self.precision = Precision::named(text("unix.precision"));
        self.replace_null = config.boolean(super::REPLACE_NULL);
        let pattern = text("format");
        self.format = match pattern.trim().is_empty() {
            true if self.target == Kept::String => {
                return Err(Error::config(
                    "TimestampConverter requires format option to be specified when using string timestamps",
                ));
            }
            true => None,
            false => Some(DateFormat::new(pattern).map_err(|error| {
                Error::config(format!(
                    "Invalid value java.lang.IllegalArgumentException: {error} for configuration TimestampConverter \
                     requires a SimpleDateFormat-compatible pattern for string timestamps: {pattern}"
                ))
            })?),
        };
        Ok(())
    }

    fn apply(&mut self, record: Record) -> Result<Option<Record>> {
        let value = self.side.value(&record);
        let (schema, value) = match self.side.schema(&record) {
            None => (None, self.without_schema(value)?),
            Some(schema) if self.field.is_empty() => {
                (Some(self.target.schema(schema.is_optional())?), self.convert(value, Kept::by(schema)?)?)
            }
            Some(schema) => {
                let value = match value {
                    Value::Null => None,
                    value => Some(requirements::structure(value, PURPOSE)?),
                };
                let schema = self.schemas.borrow_mut().get_or(schema, || self.schema(schema))?;
                let updated = value.map(|value| self.structure(value, schema.clone())).transpose()?;
                (Some(schema), updated.unwrap_or_default())
            }
        };
        Ok(Some(self.side.set(record, schema, value)))
    }
}
