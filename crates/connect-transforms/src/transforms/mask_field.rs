//! `MaskField`: fields emptied, or replaced by a text or number.

use connect_api::{
    ConfigDef, ConfigKey, Decimal, Error, ErrorKind, Importance, Kind, Properties, Record, Result, Struct, Transform,
    Validator, Value,
};

use super::{Side, requirements};
use crate::java::hash_map::HashMap;
use crate::values;

const PURPOSE: &str = "mask fields";

#[derive(Debug)]
pub struct MaskField {
    side: Side,
    fields: Vec<String>,
    replacement: Option<String>,
    replace_null: bool,
}

impl MaskField {
    pub fn new(side: Side) -> MaskField {
        MaskField { side, fields: Vec::new(), replacement: None, replace_null: true }
    }

    fn masked(&self, value: &Value) -> Result<Value> {
        match &self.replacement {
            _ if value.is_null() => Ok(Value::Null),
            None => empty(value),
            Some(replacement) => replaced(value, replacement),
        }
    }
}

fn empty(value: &Value) -> Result<Value> {
    Ok(match value {
        Value::Boolean(_) => Value::Boolean(false),
        Value::Int8(_) => Value::Int8(0),
        Value::Int16(_) => Value::Int16(0),
        Value::Int32(_) => Value::Int32(0),
        Value::Int64(_) => Value::Int64(0),
        Value::Float32(_) => Value::Float32(0.0),
        Value::Float64(_) => Value::Float64(0.0),
        Value::Decimal(_) => Value::Decimal(Decimal::from(0)),
        Value::Instant(_) => Value::Instant(0),
        Value::String(_) => Value::from(""),
        Value::Array(_) => Value::Array(Vec::new()),
        Value::Map(_) => Value::Map(Vec::new()),
        Value::Null | Value::Bytes(_) | Value::Struct(_) => {
            return Err(Error::data(format!("Cannot mask value of type: {}", value.class())));
        }
    })
}

fn replaced(value: &Value, replacement: &str) -> Result<Value> {
    let text = Value::from(replacement);
    Ok(match value {
        Value::Int8(_) => Value::Int8(values::to_i64(&text)? as i8),
        Value::Int16(_) => Value::Int16(values::to_i64(&text)? as i16),
        Value::Int32(_) => Value::Int32(values::to_i64(&text)? as i32),
        Value::Int64(_) => Value::Int64(values::to_i64(&text)?),
        Value::Float32(_) => Value::Float32(values::to_f64(&text)? as f32),
        Value::Float64(_) => Value::Float64(values::to_f64(&text)?),
        Value::Decimal(_) => Value::Decimal(Decimal::parse(replacement).ok_or_else(|| {
            let class = text.class();
            Error::data(format!("Unable to convert {replacement} ({class}) to number")).caused_by(Error::new(
                ErrorKind::Other("java.lang.NumberFormatException"),
                "the text is no decimal number",
            ))
        })?),
        Value::String(_) => text,
        other => {
            let class = other.class();
            return Err(Error::data(format!("Cannot mask value of type {class} with custom replacement.")));
        }
    })
}

impl Transform for MaskField {
    fn config(&self) -> ConfigDef {
        let doc =
            "What stands in the fields afterwards; for numbers and texts only. Without it they are 0, false or empty.";
        ConfigDef::new()
            .define(
                ConfigKey::required("fields", Kind::List, Importance::High, "The fields to mask.")
                    .validator(super::filled("fields")),
            )
            .define(
                ConfigKey::optional("replacement", Kind::String, Importance::Low, doc).validator(Validator::NonEmpty),
            )
            .define(super::replace_null())
    }

    fn configure(&mut self, properties: &Properties) -> Result<()> {
        let config = self.config().parse(properties)?;
        self.fields = config.list("fields").to_vec();
        self.replacement = config.string("replacement").map(str::to_owned);
        self.replace_null = config.boolean(super::REPLACE_NULL);
        Ok(())
    }

    fn apply(&mut self, record: Record) -> Result<Option<Record>> {
        let (schema, value) = (self.side.schema(&record).cloned(), self.side.value(&record));
        let masked = match schema {
            None => {
                let mut map = HashMap::copy_of(requirements::map(value, PURPOSE)?);
                for field in &self.fields {
                    map.put(field.as_str().into(), self.masked(value.get(field).unwrap_or(&Value::Null))?);
                }
                map.into_value()
            }
            Some(_) => {
                let value = requirements::structure(value, PURPOSE)?;
                let mut masked = Struct::new(value.schema().clone())?;
                for field in value.schema().fields() {
                    let old = requirements::field(value, field, self.replace_null);
                    masked.put(
                        &field.name,
                        match self.fields.contains(&field.name) {
                            true => self.masked(old)?,
                            false => old.clone(),
                        },
                    )?;
                }
                Value::Struct(Box::new(masked))
            }
        };
        Ok(Some(self.side.set(record, schema, masked)))
    }
}
