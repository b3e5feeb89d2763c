//! `SetSchemaMetadata`: another name or version for a schema.

use std::cell::RefCell;

use connect_api::{
    ConfigDef, ConfigKey, Error, Importance, Kind, Properties, Record, Result, SchemaRef, Setting, Struct, Transform,
    Value,
};

use super::{SCHEMAS, Side, requirements};
use crate::cache::SchemaCache;

#[derive(Debug)]
pub struct SetSchemaMetadata {
    side: Side,
    name: Option<String>,
    version: Option<i32>,
    replace_null: bool,
    schemas: RefCell<SchemaCache<SchemaRef>>,
}

impl SetSchemaMetadata {
    pub fn new(side: Side) -> SetSchemaMetadata {
        let schemas = RefCell::new(SchemaCache::new(SCHEMAS));
        SetSchemaMetadata { side, name: None, version: None, replace_null: true, schemas }
    }

    fn schema(&self, schema: &SchemaRef) -> Result<SchemaRef> {
        let mut builder = schema.to_builder();
        if let Some(name) = &self.name {
            builder = builder.name(name);
        }
        if let Some(version) = self.version {
            builder = builder.version(version);
        }
        for field in schema.fields() {
            builder = builder.field(&field.name, field.schema.clone());
        }
        match schema.default() {
            // A struct that is the default gets the new schema, too: one that has no default itself.
            Some(Value::Struct(default)) => {
                let plain = builder.clone().without_default().build()?;
                builder.default(self.update(default, &plain)?).build()
            }
            _ => builder.build(),
        }
    }

    fn update(&self, value: &Struct, schema: &SchemaRef) -> Result<Value> {
        let mut updated = Struct::new(schema.clone())?;
        for field in value.schema().fields() {
            updated.put(&field.name, requirements::field(value, field, self.replace_null).clone())?;
        }
        Ok(Value::Struct(Box::new(updated)))
    }
}

impl Transform for SetSchemaMetadata {
    fn config(&self) -> ConfigDef {
        ConfigDef::new()
            .define(ConfigKey::optional("schema.name", Kind::String, Importance::High, "The schema's new name."))
            .define(ConfigKey::optional("schema.version", Kind::Int, Importance::High, "The schema's new version."))
            .define(super::replace_null())
    }

    fn configure(&mut self, properties: &Properties) -> Result<()> {
        let config = self.config().parse(properties)?;
        self.name = config.string("schema.name").map(str::to_owned);
        self.version = match config.get("schema.version") {
            Setting::Integer(version) => Some(*version as i32),
            _ => None,
        };
        self.replace_null = config.boolean(super::REPLACE_NULL);
        match self.name.is_none() && self.version.is_none() {
            true => Err(Error::config("Neither schema name nor version configured")),
            false => Ok(()),
        }
    }

    fn apply(&mut self, record: Record) -> Result<Option<Record>> {
        let value = self.side.value(&record);
        let Some(schema) = self.side.schema(&record) else {
            return match value.is_null() {
                true => Ok(Some(record)),
                false => Err(Error::data("Schema required for [updating schema metadata]")),
            };
        };
        let schema = self.schemas.borrow_mut().get_or(schema, || self.schema(schema))?;
        let value = match value {
            Value::Struct(value) => self.update(value, &schema)?,
            value => value.clone(),
        };
        Ok(Some(self.side.set(record, Some(schema), value)))
    }
}
