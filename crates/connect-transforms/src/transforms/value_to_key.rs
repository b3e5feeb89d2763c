//! `ValueToKey`: a key made of fields of the value.

use std::cell::RefCell;

use connect_api::{
    ConfigDef, ConfigKey, Error, Importance, Kind, Properties, Record, Result, Schema, SchemaBuilder, SchemaRef,
    Struct, Transform, Value,
};

use super::{SCHEMAS, requirements};
use crate::cache::SchemaCache;
use crate::java::hash_map::HashMap;

const PURPOSE: &str = "copying fields from value to key";

#[derive(Debug)]
pub struct ValueToKey {
    fields: Vec<String>,
    replace_null: bool,
    schemas: RefCell<SchemaCache<SchemaRef>>,
}

impl Default for ValueToKey {
    fn default() -> ValueToKey {
        ValueToKey { fields: Vec::new(), replace_null: true, schemas: RefCell::new(SchemaCache::new(SCHEMAS)) }
    }
}

impl ValueToKey {
    fn schema(&self, schema: &Schema) -> Result<SchemaRef> {
        let mut builder = SchemaBuilder::structure();
        for name in &self.fields {
            let field = schema.field(name).ok_or_else(|| Error::data(format!("Field does not exist: {name}")))?;
            builder = builder.field(name, field.schema.clone());
        }
        builder.build()
    }
}

impl Transform for ValueToKey {
    fn config(&self) -> ConfigDef {
        let doc = "The fields of the value that the key is made of.";
        ConfigDef::new()
            .define(ConfigKey::required("fields", Kind::List, Importance::High, doc).validator(super::filled("fields")))
            .define(super::replace_null())
    }

    fn configure(&mut self, properties: &Properties) -> Result<()> {
        let config = self.config().parse(properties)?;
        // One that is named twice counts once (KIP-1161).
        self.fields.clear();
        for field in config.list("fields") {
            if !self.fields.contains(field) {
                self.fields.push(field.clone());
            }
        }
        self.replace_null = config.boolean(super::REPLACE_NULL);
        Ok(())
    }

    fn apply(&mut self, mut record: Record) -> Result<Option<Record>> {
        (record.key_schema, record.key) = match &record.value_schema {
            None => {
                requirements::map(&record.value, PURPOSE)?;
                let mut key = HashMap::with_capacity(self.fields.len());
                for field in &self.fields {
                    key.put(field.as_str().into(), record.value.get(field).unwrap_or(&Value::Null).clone());
                }
                (None, key.into_value())
            }
            Some(_) => {
                let value = requirements::structure(&record.value, PURPOSE)?;
                let schema = self.schemas.borrow_mut().get_or(value.schema(), || self.schema(value.schema()))?;
                let mut key = Struct::new(schema.clone())?;
                for name in &self.fields {
                    if let Some(field) = value.schema().field(name) {
                        key.put(name, requirements::field(value, field, self.replace_null).clone())?;
                    }
                }
                (Some(schema), Value::Struct(Box::new(key)))
            }
        };
        Ok(Some(record))
    }
}
