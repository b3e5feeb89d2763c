//! `InsertField`: where a record is, and when it was, as fields of it; or a text.

use std::cell::RefCell;

use connect_api::{
    ConfigDef, ConfigKey, Error, Importance, Kind, Properties, Record, Result, Schema, SchemaBuilder, SchemaRef,
    Struct, Transform, Type, Value, logical,
};

use super::{SCHEMAS, Side, requirements};
use crate::cache::SchemaCache;
use crate::java::hash_map::HashMap;

const PURPOSE: &str = "field insertion";

#[derive(Debug)]
pub struct InsertField {
    side: Side,
    insertions: Vec<Insertion>,
    replace_null: bool,
    schemas: RefCell<SchemaCache<SchemaRef>>,
}

#[derive(Debug)]
struct Insertion {
    field: String,
    optional: bool,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Topic,
    Partition,
    Offset,
    Timestamp,
    Static(String),
}

impl InsertField {
    pub fn new(side: Side) -> InsertField {
        let schemas = RefCell::new(SchemaCache::new(SCHEMAS));
        InsertField { side, insertions: Vec::new(), replace_null: true, schemas }
    }

    fn schema(&self, schema: &Schema) -> Result<SchemaRef> {
        let mut builder = requirements::struct_like(schema);
        for field in schema.fields() {
            builder = builder.field(&field.name, field.schema.clone());
        }
        for insertion in &self.insertions {
            let schema = match insertion.what {
                What::Topic | What::Static(_) => SchemaBuilder::new(Type::String),
                What::Partition => SchemaBuilder::new(Type::Int32),
                What::Offset => SchemaBuilder::new(Type::Int64),
                What::Timestamp => SchemaBuilder::new(Type::Int64).name(logical::TIMESTAMP).version(1),
            };
            builder = builder.field(&insertion.field, schema.set_optional(insertion.optional).build()?);
        }
        builder.build()
    }
}

impl What {
    /// The value for a record; none when the record does not say.
    fn value(&self, record: &Record, has_schema: bool) -> Result<Option<Value>> {
        Ok(match self {
            What::Topic => Some(Value::from(&*record.topic)),
            What::Partition => record.partition.map(Value::Int32),
            What::Offset => match record.kafka_offset {
                Some(offset) => Some(Value::Int64(offset)),
                None => {
                    return Err(Error::data(format!(
                        "Only SinkRecord supported for [{PURPOSE}], found: org.apache.kafka.connect.source.SourceRecord"
                    )));
                }
            },
            What::Timestamp if has_schema => record.timestamp.map(Value::Instant),
            What::Timestamp => record.timestamp.map(Value::Int64),
            What::Static(text) => Some(Value::from(text.as_str())),
        })
    }
}

impl Transform for InsertField {
    fn config(&self) -> ConfigDef {
        let field = |name: &str, what: &str| {
            let doc = format!(
                "The field that gets {what}. With ! at its end the field is required, with ? or nothing it is optional."
            );
            ConfigKey::optional(name, Kind::String, Importance::Medium, &doc)
        };
        ConfigDef::new()
            .define(field("topic.field", "the topic's name"))
            .define(field("partition.field", "the partition's number"))
            .define(field("offset.field", "the record's offset (of sinks only)"))
            .define(field("timestamp.field", "the record's timestamp"))
            .define(field("static.field", "the static value"))
            .define(ConfigKey::optional("static.value", Kind::String, Importance::Medium, "The static value."))
            .define(super::replace_null())
    }

    fn configure(&mut self, properties: &Properties) -> Result<()> {
        let config = self.config().parse(properties)?;
        let fixed = config.string("static.value");
        let kinds = [
            ("topic.field", Some(What::Topic)),
            ("partition.field", Some(What::Partition)),
            ("offset.field", Some(What::Offset)),
            ("timestamp.field", Some(What::Timestamp)),
            ("static.field", fixed.map(|text| What::Static(text.to_owned()))),
        ];
        if kinds.iter().all(|(name, _)| config.string(name).is_none()) {
            return Err(Error::config("No field insertion configured"));
        }
        self.insertions.clear();
        for (name, what) in kinds {
            let Some(spec) = config.string(name) else { continue };
            let what = what.ok_or_else(|| {
                Error::config(format!(
                    "Invalid value null for configuration static.value: No value specified for static field: {spec}"
                ))
            })?;
            let optional = !spec.ends_with('!');
            let field = spec.strip_suffix(['!', '?']).unwrap_or(spec).to_owned();
            self.insertions.push(Insertion { field, optional, what });
        }
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
                let mut map = HashMap::copy_of(requirements::map(value, PURPOSE)?);
                for insertion in &self.insertions {
                    if let Some(value) = insertion.what.value(&record, false)? {
                        map.put(insertion.field.as_str().into(), value);
                    }
                }
                (None, map.into_value())
            }
            Some(_) => {
                let value = requirements::structure(value, PURPOSE)?;
                let schema = self.schemas.borrow_mut().get_or(value.schema(), || self.schema(value.schema()))?;
                let mut updated = Struct::new(schema.clone())?;
                for field in value.schema().fields() {
                    updated.put(&field.name, requirements::field(value, field, self.replace_null).clone())?;
                }
                for insertion in &self.insertions {
                    if let Some(value) = insertion.what.value(&record, true)? {
                        updated.put(&insertion.field, value)?;
                    }
                }
                (Some(schema), Value::Struct(Box::new(updated)))
            }
        };
        Ok(Some(self.side.set(record, schema, value)))
    }
}
