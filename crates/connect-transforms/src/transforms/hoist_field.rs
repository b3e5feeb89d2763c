//! `HoistField`: a struct or a map around what was there.

use std::cell::RefCell;

use connect_api::{
    ConfigDef, ConfigKey, Importance, Kind, Properties, Record, Result, SchemaBuilder, SchemaRef, Struct, Transform,
    Value,
};

use super::{SCHEMAS, Side};
use crate::cache::SchemaCache;

const FIELD: &str = "field";

#[derive(Debug)]
pub struct HoistField {
    side: Side,
    field: String,
    schemas: RefCell<SchemaCache<SchemaRef>>,
}

impl HoistField {
    pub fn new(side: Side) -> HoistField {
        HoistField { side, field: String::new(), schemas: RefCell::new(SchemaCache::new(SCHEMAS)) }
    }
}

impl Transform for HoistField {
    fn config(&self) -> ConfigDef {
        let doc = "The name of the one field of the new struct or map.";
        ConfigDef::new().define(ConfigKey::required(FIELD, Kind::String, Importance::Medium, doc))
    }

    fn configure(&mut self, properties: &Properties) -> Result<()> {
        self.field = self.config().parse(properties)?.string(FIELD).unwrap_or_default().to_owned();
        Ok(())
    }

    fn apply(&mut self, record: Record) -> Result<Option<Record>> {
        let value = self.side.value(&record).clone();
        let (schema, value) = match self.side.schema(&record) {
            None => (None, Value::Map(vec![(self.field.as_str().into(), value)])),
            Some(schema) => {
                let make = || SchemaBuilder::structure().field(&self.field, schema.clone()).build();
                let schema = self.schemas.borrow_mut().get_or(schema, make)?;
                let mut hoisted = Struct::new(schema.clone())?;
                hoisted.put(&self.field, value)?;
                (Some(schema), Value::Struct(Box::new(hoisted)))
            }
        };
        Ok(Some(self.side.set(record, schema, value)))
    }
}
