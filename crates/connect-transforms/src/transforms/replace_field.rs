//! `ReplaceField`: fields taken away or renamed.

use std::cell::RefCell;
use std::collections::BTreeMap;

use connect_api::{
    ConfigDef, ConfigKey, Error, Importance, Kind, Properties, Record, Result, Schema, SchemaRef, Setting, Struct,
    Transform, Validator, Value,
};

use super::{SCHEMAS, Side, requirements};
use crate::cache::SchemaCache;
use crate::java::hash_map::HashMap;

const PURPOSE: &str = "field replacement";

#[derive(Debug)]
pub struct ReplaceField {
    side: Side,
    exclude: Vec<String>,
    include: Vec<String>,
    /// New names by the old ones.
    renames: BTreeMap<String, String>,
    replace_null: bool,
    schemas: RefCell<SchemaCache<SchemaRef>>,
}

impl ReplaceField {
    pub fn new(side: Side) -> ReplaceField {
        ReplaceField {
            side,
            exclude: Vec::new(),
            include: Vec::new(),
            renames: BTreeMap::new(),
            replace_null: true,
            schemas: RefCell::new(SchemaCache::new(SCHEMAS)),
        }
    }

    fn stays(&self, field: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name == field);
        !named(&self.exclude) && (self.include.is_empty() || named(&self.include))
    }

    fn renamed<'n>(&'n self, field: &'n str) -> &'n str {
        self.renames.get(field).map_or(field, String::as_str)
    }

    fn schema(&self, schema: &Schema) -> Result<SchemaRef> {
        let mut builder = requirements::struct_like(schema);
        for field in schema.fields().iter().filter(|field| self.stays(&field.name)) {
            builder = builder.field(self.renamed(&field.name), field.schema.clone());
        }
        builder.build()
    }
}

fn read_renames(items: &[String]) -> std::result::Result<BTreeMap<String, String>, String> {
    let mut renames = BTreeMap::new();
    for item in items {
        match super::split(item)[..] {
            [old, new] => renames.insert(old.to_owned(), new.to_owned()),
            _ => return Err(format!("Invalid rename mapping: {item}")),
        };
    }
    Ok(renames)
}

impl Transform for ReplaceField {
    fn config(&self) -> ConfigDef {
        let list = |name: &str, doc: &str| ConfigKey::with_default(name, Kind::List, "", Importance::Medium, doc);
        let renames = |value: &Setting| match value {
            Setting::List(items) => read_renames(items).map(|_| ()),
            _ => Ok(()),
        };
        let no_gaps = |name: &'static str| {
            Validator::refuse(move |value: &Setting| match value {
                Setting::List(items) if items.iter().any(String::is_empty) => {
                    Err(format!("Configuration '{name}' values must not be empty."))
                }
                _ => Ok(()),
            })
        };
        ConfigDef::new()
            .define(list("exclude", "Fields to take away, even when they are included.").validator(no_gaps("exclude")))
            .define(list("include", "The only fields to keep, if there are any.").validator(no_gaps("include")))
            .define(list("renames", "New names, as old:new,old:new.").validator(Validator::check(renames)))
            .define(super::replace_null())
    }

    fn configure(&mut self, properties: &Properties) -> Result<()> {
        let config = self.config().parse(properties)?;
        self.exclude = config.list("exclude").to_vec();
        self.include = config.list("include").to_vec();
        self.renames = read_renames(config.list("renames")).map_err(Error::config)?;
        self.replace_null = config.boolean(super::REPLACE_NULL);
        Ok(())
    }

    fn apply(&mut self, record: Record) -> Result<Option<Record>> {
        let value = self.side.value(&record);
        if value.is_null() {
            return Ok(Some(record));
        }
        let (schema, value) = match self.side.schema(&record) {
            None => {
                let pairs = requirements::map(value, PURPOSE)?;
                let mut map = HashMap::with_capacity(pairs.len());
                for (key, value) in pairs {
                    let name = requirements::key(key)?;
                    if self.stays(name) {
                        map.put(self.renamed(name).into(), value.clone());
                    }
                }
                (None, map.into_value())
            }
            Some(_) => {
                let value = requirements::structure(value, PURPOSE)?;
                let schema = self.schemas.borrow_mut().get_or(value.schema(), || self.schema(value.schema()))?;
                let mut replaced = Struct::new(schema.clone())?;
                for field in value.schema().fields().iter().filter(|field| self.stays(&field.name)) {
                    let value = requirements::field(value, field, self.replace_null).clone();
                    replaced.put(self.renamed(&field.name), value)?;
                }
                (Some(schema), Value::Struct(Box::new(replaced)))
            }
        };
        Ok(Some(self.side.set(record, schema, value)))
    }
}
