//! `HeaderFrom`: fields as headers (KIP-145).

use std::cell::RefCell;

use connect_api::{
    ConfigDef, ConfigKey, Error, ErrorKind, Header, Importance, Kind, Properties, Record, Result, Schema, SchemaRef,
    Setting, Struct, Transform, Validator, Value,
};

use super::{SCHEMAS, Side, requirements};
use crate::cache::SchemaCache;
use crate::java::hash_map::HashMap;

const FIELDS: &str = "fields";
const HEADERS: &str = "headers";
const OPERATION: &str = "operation";

#[derive(Debug)]
pub struct HeaderFrom {
    side: Side,
    /// Fields and the headers that they become.
    names: Vec<(String, String)>,
    /// Whether the fields go away.
    moves: bool,
    replace_null: bool,
    schemas: RefCell<SchemaCache<SchemaRef>>,
}

impl HeaderFrom {
    pub fn new(side: Side) -> HeaderFrom {
        let schemas = RefCell::new(SchemaCache::new(SCHEMAS));
        HeaderFrom { side, names: Vec::new(), moves: false, replace_null: true, schemas }
    }

    fn is_moved(&self, field: &str) -> bool {
        self.names.iter().any(|(name, _)| name == field)
    }

    fn without_fields(&self, schema: &Schema) -> Result<SchemaRef> {
        let mut builder = requirements::struct_like(schema);
        for field in schema.fields().iter().filter(|field| !self.is_moved(&field.name)) {
            builder = builder.field(&field.name, field.schema.clone());
        }
        builder.build()
    }

    fn struct_and_headers(
        &self,
        value: &Struct,
        schema: &SchemaRef,
        headers: &mut Vec<Header>,
    ) -> Result<(SchemaRef, Value)> {
        for (field, header) in &self.names {
            let field = schema.field(field).ok_or_else(|| {
                let message = format!("Unknown field: {field}");
                Error::new(ErrorKind::Other("java.lang.NullPointerException"), message)
            })?;
            let value = requirements::field(value, field, self.replace_null);
            if value.is_null() && !field.schema.is_optional() {
                let message = format!("A null value requires an optional schema but was {}", field.schema);
                return Err(Error::data(message));
            }
            headers.push(Header { key: header.clone(), schema: Some(field.schema.clone()), value: value.clone() });
        }
        if !self.moves {
            return Ok((schema.clone(), Value::Struct(Box::new(value.clone()))));
        }
        let updated_schema = self.schemas.borrow_mut().get_or(schema, || self.without_fields(schema))?;
        let mut updated = Struct::new(updated_schema.clone())?;
        for field in value.schema().fields().iter().filter(|field| !self.is_moved(&field.name)) {
            updated.put(&field.name, requirements::field(value, field, self.replace_null).clone())?;
        }
        Ok((updated_schema, Value::Struct(Box::new(updated))))
    }
}

/// Refuses a list without items.
fn some() -> Validator {
    Validator::check(|value| match value {
        Setting::List(items) if items.is_empty() => Err("Empty list".to_owned()),
        _ => Ok(()),
    })
}

impl Transform for HeaderFrom {
    fn config(&self) -> ConfigDef {
        ConfigDef::new()
            .define(
                ConfigKey::required(FIELDS, Kind::List, Importance::High, "The fields that become headers.")
                    .validator(some()),
            )
            .define(
                ConfigKey::required(
                    HEADERS,
                    Kind::List,
                    Importance::High,
                    "The names of the headers, in the order of the fields.",
                )
                .validator(some()),
            )
            .define(
                ConfigKey::required(
                    OPERATION,
                    Kind::String,
                    Importance::High,
                    "move, when the fields are to leave the key or value, or copy, when they are to stay.",
                )
                .validator(Validator::OneOf(&["move", "copy"])),
            )
            .define(super::replace_null())
    }

    fn configure(&mut self, properties: &Properties) -> Result<()> {
        let config = self.config().parse(properties)?;
        let (fields, headers) = (config.list(FIELDS), config.list(HEADERS));
        if fields.len() != headers.len() {
            return Err(Error::config("'fields' config must have the same number of elements as 'headers' config."));
        }
        self.names = fields.iter().cloned().zip(headers.iter().cloned()).collect();
        self.moves = config.string(OPERATION) == Some("move");
        self.replace_null = config.boolean(super::REPLACE_NULL);
        Ok(())
    }

    fn apply(&mut self, mut record: Record) -> Result<Option<Record>> {
        let mut headers = std::mem::take(&mut record.headers);
        let purpose = if self.moves { "header move" } else { "header copy" };
        let value = self.side.value(&record);
        let (schema, value) = match self.side.schema(&record) {
            None => {
                let mut map = HashMap::copy_of(requirements::map(value, purpose)?);
                for (field, header) in &self.names {
                    let found = value.get(field).unwrap_or(&Value::Null).clone();
                    headers.push(Header { key: header.clone(), schema: None, value: found });
                    if self.moves {
                        map.remove(&field.as_str().into());
                    }
                }
                (None, map.into_value())
            }
            Some(schema) => {
                let value = requirements::structure(value, purpose)?;
                let (schema, value) = self.struct_and_headers(value, schema, &mut headers)?;
                (Some(schema), value)
            }
        };
        record.headers = headers;
        Ok(Some(self.side.set(record, schema, value)))
    }
}
