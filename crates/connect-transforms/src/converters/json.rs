//! `JsonConverter`: JSON with its schema beside it, or without.

mod from_connect;
mod schema;
mod to_connect;

use std::cell::RefCell;

use std::borrow::Cow;

use connect_api::{
    Config, ConfigDef, ConfigKey, Converter, Error, ErrorKind, HeaderConverter, Importance, Kind, Properties, Result,
    SchemaAndValue, SchemaRef, Validator, Value, Width,
};

use crate::cache::{Cache, SchemaCache};
use crate::json::{self, Json, Writer};

const SCHEMAS_ENABLE: &str = "schemas.enable";
const SCHEMAS_CACHE_SIZE: &str = "schemas.cache.size";
const SCHEMA_CONTENT: &str = "schema.content";
const DECIMAL_FORMAT: &str = "decimal.format";
const REPLACE_NULL: &str = "replace.null.with.default";

/// Keys, values and headers as JSON. With `schemas.enable` they are `{"schema": .., "payload": ..}`; with
/// `schema.content` (KIP-1054) the schema is in the settings instead, for what is read.
#[derive(Debug)]
pub struct JsonConverter {
    options: Options,
    /// `schema.content`.
    fixed: Option<SchemaRef>,
    written: RefCell<SchemaCache<String>>,
    read: RefCell<Cache<Json, SchemaRef>>,
}

#[derive(Clone, Copy, Debug)]
struct Options {
    schemas: bool,
    /// Whether decimals are numbers, and not base64.
    numeric_decimals: bool,
    replace_null: bool,
}

impl Default for JsonConverter {
    fn default() -> JsonConverter {
        JsonConverter {
            options: Options { schemas: true, numeric_decimals: false, replace_null: true },
            fixed: None,
            written: RefCell::new(SchemaCache::new(0)),
            read: RefCell::new(Cache::new(0)),
        }
    }
}

impl JsonConverter {
    fn set_up(&mut self, config: &Config) -> Result<()> {
        self.options = Options {
            schemas: config.boolean(SCHEMAS_ENABLE),
            numeric_decimals: config.string(DECIMAL_FORMAT).is_some_and(|f| f.eq_ignore_ascii_case("NUMERIC")),
            replace_null: config.boolean(REPLACE_NULL),
        };
        let capacity = usize::try_from(config.integer(SCHEMAS_CACHE_SIZE)).unwrap_or(0);
        self.written = RefCell::new(SchemaCache::new(capacity));
        self.read = RefCell::new(Cache::new(capacity));
        self.fixed = match config.string(SCHEMA_CONTENT).filter(|content| !content.is_empty()) {
            Some(content) if self.options.schemas => {
                let json = json::read(content.as_bytes()).map_err(|e| {
                    unreadable("Failed to parse schema in converter config due to serialization error: ", e)
                })?;
                schema::from_json(&json.unwrap_or(Json::Null), self.options)?
            }
            _ => None,
        };
        Ok(())
    }

    fn write(&self, schema: Option<&SchemaRef>, value: &Value) -> Result<Option<Vec<u8>>> {
        if schema.is_none() && value.is_null() {
            return Ok(None);
        }
        let mut w = Writer::default();
        if self.options.schemas {
            w.object();
            w.name("schema");
            match schema {
                None => w.null(),
                Some(schema) => {
                    let make = || schema::to_json(schema, self.options);
                    w.raw(&self.written.borrow_mut().get_or(schema, make)?);
                }
            }
            w.name("payload");
        }
        from_connect::write(&mut w, schema, value, self.options)?;
        if self.options.schemas {
            w.object_end();
        }
        Ok(Some(w.finish().into_bytes()))
    }

    fn read(&self, bytes: Option<&[u8]>) -> Result<SchemaAndValue> {
        let Some(bytes) = bytes else { return Ok(SchemaAndValue::default()) };
        let json = json::read(bytes).map_err(|e| {
            unreadable("Converting byte[] to Kafka Connect data failed due to serialization error: ", e)
        })?;
        let (schema, payload) = match (&self.fixed, json) {
            (Some(schema), json) => (Some(schema.clone()), json.unwrap_or(Json::Null)),
            (None, json) if !self.options.schemas => (None, json.unwrap_or(Json::Null)),
            (None, Some(Json::Object(members))) if members.len() == 2 => {
                let (schema, payload) = envelope(members)?;
                (self.schema(schema)?, payload)
            }
            _ => return Err(no_envelope()),
        };
        let value = to_connect::convert(schema.as_ref(), Some(&payload), self.options)?;
        Ok(SchemaAndValue { schema, value })
    }

    fn schema(&self, json: Json) -> Result<Option<SchemaRef>> {
        if let Some(schema) = self.read.borrow_mut().get(&json) {
            return Ok(Some(schema));
        }
        let schema = schema::from_json(&json, self.options)?;
        if let Some(schema) = &schema {
            self.read.borrow_mut().put(json, schema.clone());
        }
        Ok(schema)
    }
}

fn envelope(members: Vec<(String, Json)>) -> Result<(Json, Json)> {
    let (mut schema, mut payload) = (None, None);
    for (name, value) in members {
        match name.as_str() {
            "schema" => schema = Some(value),
            "payload" => payload = Some(value),
            _ => {}
        }
    }
    schema.zip(payload).ok_or_else(no_envelope)
}

fn no_envelope() -> Error {
    Error::data(
        "JsonConverter with schemas.enable requires \"schema\" and \"payload\" fields and may not contain additional \
         fields. If you are trying to deserialize plain JSON data, set schemas.enable=false in your converter \
         configuration.",
    )
}

fn unreadable(message: &str, error: json::Error) -> Error {
    Error::data(message).caused_by(Error::new(ErrorKind::Serialization, error.to_string()))
}

fn declarations() -> ConfigDef {
    ConfigDef::new()
        .define(super::converter_type())
        .define(
            ConfigKey::with_default(
                SCHEMAS_ENABLE,
                Kind::Boolean,
                "true",
                Importance::High,
                "Whether each key or value has its schema beside it.",
            )
            .shown("Schemas", 0, Width::Medium, "Enable Schemas"),
        )
        .define(
            ConfigKey::with_default(
                SCHEMAS_CACHE_SIZE,
                Kind::Int,
                "1000",
                Importance::High,
                "How many schemas this converter remembers.",
            )
            .shown("Schemas", 1, Width::Medium, "Schema Cache Size"),
        )
        .define(
            ConfigKey::optional(
                SCHEMA_CONTENT,
                Kind::String,
                Importance::High,
                "The schema of everything that is read, as JSON. Messages are then plain JSON without a schema of their \
                 own. Counts when schemas.enable is true, and for sinks only.",
            )
            .shown("Schemas", 2, Width::Medium, "Schema Content"),
        )
        .define(
            ConfigKey::with_default(
                DECIMAL_FORMAT,
                Kind::String,
                "BASE64",
                Importance::Low,
                "How decimals are written: BASE64 (their bytes) or NUMERIC (as numbers); case does not matter.",
            )
            .validator(Validator::OneOfIgnoringCase(&["NUMERIC", "BASE64"]))
            .shown("Serialization", 0, Width::Medium, "Decimal Format"),
        )
        .define(
            ConfigKey::with_default(
                REPLACE_NULL,
                Kind::Boolean,
                "true",
                Importance::Low,
                crate::transforms::REPLACE_NULL_DOC,
            )
            .shown("Serialization", 1, Width::Medium, "Replace null with default"),
        )
}

impl Converter for JsonConverter {
    fn config(&self) -> ConfigDef {
        declarations()
    }

    fn configure(&mut self, properties: &Properties, is_key: bool) -> Result<()> {
        self.set_up(&declarations().parse(&super::typed(properties, if is_key { "key" } else { "value" }))?)
    }

    fn encode<'v>(&self, _topic: &str, schema: Option<&SchemaRef>, value: &'v Value) -> Result<Option<Cow<'v, [u8]>>> {
        Ok(self.write(schema, value)?.map(Cow::Owned))
    }

    fn decode(&self, _topic: &str, bytes: Option<&[u8]>) -> Result<SchemaAndValue> {
        self.read(bytes)
    }
}

impl HeaderConverter for JsonConverter {
    fn config(&self) -> ConfigDef {
        declarations()
    }

    fn configure(&mut self, properties: &Properties) -> Result<()> {
        self.set_up(&declarations().parse(&super::typed(properties, "header"))?)
    }

    fn encode(&self, _topic: &str, _key: &str, schema: Option<&SchemaRef>, value: &Value) -> Result<Option<Vec<u8>>> {
        self.write(schema, value)
    }

    fn decode(&self, _topic: &str, _key: &str, bytes: Option<&[u8]>) -> Result<SchemaAndValue> {
        self.read(bytes)
    }
}

#[cfg(test)]
mod tests;
