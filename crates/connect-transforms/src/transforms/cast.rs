//! `Cast`: fields, or the whole key or value, as another type.

use std::cell::RefCell;
use std::collections::BTreeMap;

use connect_api::{
    ConfigDef, ConfigKey, Error, ErrorKind, Importance, Kind, Properties, Record, Result, Schema, SchemaBuilder,
    SchemaRef, Setting, Struct, Transform, Type, Validator, Value, logical,
};

use super::{SCHEMAS, Side, requirements};
use crate::cache::SchemaCache;
use crate::java::hash_map::HashMap;
use crate::java::{base64, parse};
use crate::{logical as stored, values};

const SPEC: &str = "spec";
const PURPOSE: &str = "cast types";

/// The types that a value may be made into, in Kafka's order; bytes may be made into text as well.
const TARGETS: [Type; 8] =
    [Type::Int8, Type::Int16, Type::Int32, Type::Int64, Type::Float32, Type::Float64, Type::Boolean, Type::String];

#[derive(Debug)]
pub struct Cast {
    side: Side,
    spec: Spec,
    replace_null: bool,
    schemas: RefCell<SchemaCache<SchemaRef>>,
}

#[derive(Debug)]
enum Spec {
    Whole(Type),
    Fields(BTreeMap<String, Type>),
}

impl Cast {
    pub fn new(side: Side) -> Cast {
        let spec = Spec::Fields(BTreeMap::new());
        Cast { side, spec, replace_null: true, schemas: RefCell::new(SchemaCache::new(SCHEMAS)) }
    }

    fn schema(&self, schema: &SchemaRef) -> Result<SchemaRef> {
        let (mut builder, kind) = match &self.spec {
            Spec::Whole(kind) => (requirements::basics(schema, SchemaBuilder::new(*kind)), *kind),
            Spec::Fields(casts) => {
                let mut builder = requirements::struct_like(schema);
                for field in requirements::fields(schema)? {
                    builder = builder.field(
                        &field.name,
                        match casts.get(&field.name) {
                            Some(kind) => field_schema(&field.schema, *kind)?,
                            None => field.schema.clone(),
                        },
                    );
                }
                (builder, Type::Struct)
            }
        };
        builder = builder.set_optional(schema.is_optional());
        if let Some(default) = schema.default() {
            builder = builder.default(cast(Some(schema), default, kind)?);
        }
        builder.build()
    }

    fn structure(&self, value: &Struct, schema: SchemaRef, casts: &BTreeMap<String, Type>) -> Result<Value> {
        let mut updated = Struct::new(schema)?;
        for field in value.schema().fields() {
            let old = requirements::field(value, field, self.replace_null);
            updated.put(
                &field.name,
                match casts.get(&field.name) {
                    Some(kind) => cast(Some(&field.schema), old, *kind)?,
                    None => old.clone(),
                },
            )?;
        }
        Ok(Value::Struct(Box::new(updated)))
    }
}

fn field_schema(schema: &Schema, kind: Type) -> Result<SchemaRef> {
    let mut builder = SchemaBuilder::new(kind).set_optional(schema.is_optional());
    if let Some(default) = schema.default() {
        builder = builder.default(cast(Some(schema), default, kind)?);
    }
    builder.build()
}

impl Transform for Cast {
    fn config(&self) -> ConfigDef {
        let check = |value: &Setting| match value {
            Setting::List(items) if !items.is_empty() => read_spec(items).map(|_| ()),
            _ => Err("Must specify at least one field to cast.".to_owned()),
        };
        let doc = "Fields and the types to cast them to, as field1:type,field2:type; or one type, to cast the whole key \
                   or value. Types are int8, int16, int32, int64, float32, float64, boolean and string. Bytes can be \
                   cast to string only (base64).";
        ConfigDef::new()
            .define(ConfigKey::required(SPEC, Kind::List, Importance::High, doc).validator(Validator::refuse(check)))
            .define(super::replace_null())
    }

    fn configure(&mut self, properties: &Properties) -> Result<()> {
        let config = self.config().parse(properties)?;
        self.spec = read_spec(config.list(SPEC)).map_err(Error::config)?;
        self.replace_null = config.boolean(super::REPLACE_NULL);
        Ok(())
    }

    fn apply(&mut self, record: Record) -> Result<Option<Record>> {
        let (schema, value) = (self.side.schema(&record), self.side.value(&record));
        if value.is_null() {
            return Ok(Some(record));
        }
        let updated_schema = match schema {
            Some(schema) => Some(self.schemas.borrow_mut().get_or(schema, || self.schema(schema))?),
            None => None,
        };
        let updated = match (&self.spec, &updated_schema) {
            (Spec::Whole(kind), _) => cast(schema.map(|schema| schema.as_ref()), value, *kind)?,
            (Spec::Fields(casts), Some(updated)) => {
                self.structure(requirements::structure(value, PURPOSE)?, updated.clone(), casts)?
            }
            (Spec::Fields(casts), None) => {
                let mut map = HashMap::copy_of(requirements::map(value, PURPOSE)?);
                for (field, kind) in casts {
                    let value = cast(None, value.get(field).unwrap_or(&Value::Null), *kind)?;
                    map.put(field.as_str().into(), value);
                }
                map.into_value()
            }
        };
        Ok(Some(self.side.set(record, updated_schema, updated)))
    }
}

fn read_spec(items: &[String]) -> std::result::Result<Spec, String> {
    let (mut casts, mut whole) = (BTreeMap::new(), None);
    for item in items {
        match super::split(item)[..] {
            [kind] => whole = Some(target(kind)?),
            [field, kind] => {
                casts.insert(field.trim().to_owned(), target(kind)?);
            }
            _ => {
                let list = items.join(", ");
                return Err(format!(
                    "Invalid value [{list}] for configuration renames: Invalid rename mapping: {item}"
                ));
            }
        }
    }
    match whole {
        None => Ok(Spec::Fields(casts)),
        Some(kind) if items.len() == 1 => Ok(Spec::Whole(kind)),
        Some(_) => {
            Err("Cast transformations that specify a type to cast the entire value to may only specify a single \
                        cast in their spec"
                .to_owned())
        }
    }
}

fn target(name: &str) -> std::result::Result<Type, String> {
    let (name, upper) = (name.trim(), name.trim().to_ascii_uppercase());
    let named = |types: &[Type]| types.iter().find(|kind| kind.name() == upper).copied();
    if let Some(kind) = named(&TARGETS) {
        return Ok(kind);
    }
    if let Some(kind) = named(&[Type::Bytes, Type::Array, Type::Map, Type::Struct]) {
        let kind = kind.name();
        return Err(format!(
            "Cast transformation does not support casting to {kind}; supported types are [{}]",
            names("")
        ));
    }
    Err(format!(
        "Invalid value java.lang.IllegalArgumentException: No enum constant \
         org.apache.kafka.connect.data.Schema.Type.{upper} for configuration Invalid type found in casting spec: {name}"
    ))
}

fn names(more: &str) -> String {
    let names: Vec<&str> = TARGETS.iter().map(|kind| kind.name()).collect();
    names.join(", ") + more
}

/// A value as another type.
fn cast(schema: Option<&Schema>, value: &Value, target: Type) -> Result<Value> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    let Some(kind) = schema.map(Schema::kind).or(value.kind()) else {
        return Err(Error::data(format!(
            "Cast transformation was passed a value of type {} which is not supported by Connect's data API",
            value.class()
        )));
    };
    if kind != Type::Bytes && !TARGETS.contains(&kind) {
        let (kind, names) = (kind.name(), names(", BYTES"));
        return Err(Error::data(format!(
            "Cast transformation does not support casting from {kind}; supported types are [{names}]"
        )));
    }
    if target == Type::String {
        return Ok(Value::String(match value {
            Value::String(text) => text.clone(),
            Value::Instant(ms) => values::instant(*ms),
            Value::Bytes(bytes) => base64::encode(bytes),
            value => value.to_string(),
        }));
    }
    let encoded = schema.map(|schema| encode(schema, value)).transpose()?.flatten();
    let value = encoded.as_ref().unwrap_or(value);
    let out_of_range = || {
        Error::data(format!("Value ({value}) was out of range for requested data type")).caused_by(Error::new(
            ErrorKind::Other("java.lang.NumberFormatException"),
            format!("For input string: \"{value}\""),
        ))
    };
    let whole = |least: i64, most: i64| match value {
        Value::Boolean(b) => Ok(i64::from(*b)),
        Value::String(text) => parse::integer(text, least, most).ok_or_else(out_of_range),
        // Java makes floating point numbers into an int first.
        Value::Float32(n) if most < i64::MAX => Ok(i64::from(*n as i32)),
        Value::Float64(n) if most < i64::MAX => Ok(i64::from(*n as i32)),
        value => number(value, values::to_i64(value)),
    };
    Ok(match target {
        Type::Int8 => Value::Int8(whole(i8::MIN.into(), i8::MAX.into())? as i8),
        Type::Int16 => Value::Int16(whole(i16::MIN.into(), i16::MAX.into())? as i16),
        Type::Int32 => Value::Int32(whole(i32::MIN.into(), i32::MAX.into())? as i32),
        Type::Int64 => Value::Int64(whole(i64::MIN, i64::MAX)?),
        Type::Float32 => Value::Float32(match value {
            Value::Float32(n) => *n,
            Value::Boolean(b) => f32::from(u8::from(*b)),
            Value::String(text) => parse::float32(text).ok_or_else(out_of_range)?,
            Value::Decimal(n) => n.to_string().parse().unwrap_or(f32::NAN),
            value => match value.as_i64() {
                Some(n) => n as f32,
                None => number(value, values::to_f64(value))? as f32,
            },
        }),
        Type::Float64 => Value::Float64(match value {
            Value::Boolean(b) => f64::from(u8::from(*b)),
            Value::String(text) => parse::float64(text).ok_or_else(out_of_range)?,
            value => number(value, values::to_f64(value))?,
        }),
        // Boolean: the other targets were dealt with.
        _ => Value::Boolean(match value {
            Value::Boolean(b) => *b,
            Value::String(text) => text.eq_ignore_ascii_case("true"),
            value => number(value, values::to_i64(value))? != 0,
        }),
    })
}

fn number<T>(value: &Value, number: Result<T>) -> Result<T> {
    number.map_err(|_| Error::data(format!("Unexpected type in Cast transformation: {}", value.class())))
}

/// What a value of a logical type is stored as; none for other values.
fn encode(schema: &Schema, value: &Value) -> Result<Option<Value>> {
    Ok(match (schema.name(), value) {
        (Some(logical::DATE), Value::Instant(ms)) => Some(Value::Int32(stored::date_to_days(schema, *ms)?)),
        (Some(logical::TIME), Value::Instant(ms)) => Some(Value::Int32(stored::time_to_ms(schema, *ms)?)),
        (Some(logical::TIMESTAMP), Value::Instant(ms)) => Some(Value::Int64(*ms)),
        _ => None,
    })
}
