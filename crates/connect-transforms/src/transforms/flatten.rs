//! `Flatten`: fields within fields become fields with longer names.

use std::cell::RefCell;

use connect_api::{
    ConfigDef, ConfigKey, Error, Importance, Kind, Properties, Record, Result, Schema, SchemaBuilder, SchemaRef,
    Struct, Transform, Type, Value,
};

use super::{SCHEMAS, Side, requirements};
use crate::cache::SchemaCache;

const DELIMITER: &str = "delimiter";
const PURPOSE: &str = "flattening";

#[derive(Debug)]
pub struct Flatten {
    side: Side,
    delimiter: String,
    schemas: RefCell<SchemaCache<SchemaRef>>,
}

impl Flatten {
    pub fn new(side: Side) -> Flatten {
        Flatten { side, delimiter: ".".to_owned(), schemas: RefCell::new(SchemaCache::new(SCHEMAS)) }
    }

    fn name(&self, prefix: &str, name: &str) -> String {
        if prefix.is_empty() { name.to_owned() } else { [prefix, &self.delimiter, name].concat() }
    }

    fn map(&self, pairs: &[(Value, Value)], prefix: &str, flat: &mut Vec<(Value, Value)>) -> Result<()> {
        for (key, value) in pairs {
            let name = self.name(prefix, requirements::key(key)?);
            match value {
                Value::Map(pairs) => self.map(pairs, &name, flat)?,
                Value::Struct(_) => {
                    let class = value.class();
                    return Err(Error::data(format!(
                        "Flatten transformation does not support {class} for record without schemas (for field {name})."
                    )));
                }
                Value::Decimal(_) | Value::Instant(_) => {
                    let class = value.class();
                    return Err(Error::data(format!(
                        "Flatten transformation was passed a value of type {class} which is not supported by Connect's \
                         data API"
                    )));
                }
                value => {
                    let key = Value::String(name);
                    match flat.iter_mut().find(|(k, _)| *k == key) {
                        Some(pair) => pair.1 = value.clone(),
                        None => flat.push((key, value.clone())),
                    }
                }
            }
        }
        Ok(())
    }

    fn schema(&self, schema: &Schema) -> Result<SchemaRef> {
        let default = match schema.default() {
            Some(Value::Struct(default)) => Some(default.as_ref()),
            _ => None,
        };
        self.fields(schema, "", requirements::struct_like(schema), schema.is_optional(), default)?.build()
    }

    fn fields(
        &self,
        schema: &Schema,
        prefix: &str,
        mut flat: SchemaBuilder,
        optional: bool,
        defaults: Option<&Struct>,
    ) -> Result<SchemaBuilder> {
        for field in schema.fields() {
            let name = self.name(prefix, &field.name);
            let optional = optional || field.schema.is_optional();
            let inherited = defaults.map(|defaults| requirements::field(defaults, field, true));
            let default = field.schema.default().or(inherited).filter(|default| !default.is_null());
            flat = match field.schema.kind() {
                Type::Map => return Err(self.no_maps(&name)),
                Type::Struct => {
                    let defaults = match default {
                        Some(Value::Struct(default)) => Some(default.as_ref()),
                        _ => None,
                    };
                    self.fields(&field.schema, &name, flat, optional, defaults)?
                }
                _ => flat.field(name, leaf(&field.schema, optional, default)?),
            };
        }
        Ok(flat)
    }

    fn structure(&self, value: &Struct, prefix: &str, flat: &mut Struct) -> Result<()> {
        for field in value.schema().fields() {
            let name = self.name(prefix, &field.name);
            match (field.schema.kind(), &value.values()[field.index]) {
                (Type::Map, _) => return Err(self.no_maps(&name)),
                (Type::Struct, Value::Struct(inner)) => self.structure(inner, &name, flat)?,
                (Type::Struct, _) => {}
                _ => flat.put(&name, requirements::field(value, field, true).clone())?,
            }
        }
        Ok(())
    }

    fn no_maps(&self, name: &str) -> Error {
        Error::data(format!("Flatten transformation does not support MAP for record with schemas (for field {name})."))
    }
}

fn leaf(schema: &SchemaRef, optional: bool, default: Option<&Value>) -> Result<SchemaRef> {
    let builder = match (schema.kind(), schema.value_schema()) {
        (Type::Array, Some(items)) => SchemaBuilder::array(items.clone()),
        (kind, _) => SchemaBuilder::new(kind),
    };
    let mut builder = requirements::basics(schema, builder).set_optional(optional);
    if let Some(default) = default {
        builder = builder.default(default.clone());
    }
    builder.build()
}

impl Transform for Flatten {
    fn config(&self) -> ConfigDef {
        let doc = "What stands between the names of a field and of the one that it lay in.";
        ConfigDef::new().define(ConfigKey::with_default(DELIMITER, Kind::String, ".", Importance::Medium, doc))
    }

    fn configure(&mut self, properties: &Properties) -> Result<()> {
        let config = self.config().parse(properties)?;
        self.delimiter = config.string(DELIMITER).unwrap_or_default().to_owned();
        Ok(())
    }

    fn apply(&mut self, record: Record) -> Result<Option<Record>> {
        let value = self.side.value(&record);
        if value.is_null() {
            return Ok(Some(record));
        }
        let (schema, flat) = match self.side.schema(&record) {
            None => {
                let mut flat = Vec::new();
                self.map(requirements::map(value, PURPOSE)?, "", &mut flat)?;
                (None, Value::Map(flat))
            }
            Some(schema) => {
                let value = requirements::structure(value, PURPOSE)?;
                let schema = self.schemas.borrow_mut().get_or(schema, || self.schema(schema))?;
                let mut flat = Struct::new(schema.clone())?;
                self.structure(value, "", &mut flat)?;
                (Some(schema), Value::Struct(Box::new(flat)))
            }
        };
        Ok(Some(self.side.set(record, schema, flat)))
    }
}
