//! `ExtractField`: a field in the place of what it lies in.

use connect_api::{
    ConfigDef, ConfigKey, Error, ErrorKind, Importance, Kind, Properties, Record, Result, Transform, Value,
};

use super::field_path::{FieldPath, syntax};
use super::{Side, requirements};

const FIELD: &str = "field";
const PURPOSE: &str = "field extraction";

#[derive(Debug)]
pub struct ExtractField {
    side: Side,
    name: String,
    path: Option<FieldPath>,
    replace_null: bool,
}

impl ExtractField {
    pub fn new(side: Side) -> ExtractField {
        ExtractField { side, name: String::new(), path: None, replace_null: true }
    }
}

impl Transform for ExtractField {
    fn config(&self) -> ConfigDef {
        ConfigDef::new()
            .define(ConfigKey::required(FIELD, Kind::String, Importance::Medium, "The field to extract."))
            .define(super::replace_null())
            .define(syntax())
    }

    fn configure(&mut self, properties: &Properties) -> Result<()> {
        let config = self.config().parse(properties)?;
        self.name = config.string(FIELD).unwrap_or_default().to_owned();
        self.path = Some(FieldPath::new(&self.name, &config)?);
        self.replace_null = config.boolean(super::REPLACE_NULL);
        Ok(())
    }

    fn apply(&mut self, record: Record) -> Result<Option<Record>> {
        let Some(path) = &self.path else { return Ok(Some(record)) };
        let value = self.side.value(&record);
        let (schema, extracted) = match self.side.schema(&record) {
            None if value.is_null() => (None, Value::Null),
            None => {
                requirements::map(value, PURPOSE)?;
                (None, path.in_map(value)?.clone())
            }
            Some(schema) => {
                let value = match value {
                    Value::Null => None,
                    value => Some(requirements::structure(value, PURPOSE)?),
                };
                let field = path.field(schema)?.ok_or_else(|| {
                    let message = format!("Unknown field: {}", self.name);
                    Error::new(ErrorKind::Other("java.lang.IllegalArgumentException"), message)
                })?;
                let extracted = match value {
                    Some(value) => path.in_struct(value, self.replace_null)?.clone(),
                    None => Value::Null,
                };
                (Some(field.schema.clone()), extracted)
            }
        };
        Ok(Some(self.side.set(record, schema, extracted)))
    }
}
