//! `ByteArrayConverter`: bytes as they are.

use std::borrow::Cow;

use connect_api::{
    ConfigDef, Converter, Error, HeaderConverter, Properties, Result, Schema, SchemaAndValue, SchemaRef, Type, Value,
};

/// Bytes as they are; values of any other kind are refused.
#[derive(Debug, Default)]
pub struct ByteArrayConverter;

fn write<'v>(schema: Option<&SchemaRef>, value: &'v Value) -> Result<Option<Cow<'v, [u8]>>> {
    if let Some(kind) = schema.map(|schema| schema.kind()).filter(|kind| *kind != Type::Bytes) {
        return Err(Error::data(format!("Invalid schema type for ByteArrayConverter: {}", kind.name())));
    }
    match value {
        Value::Null => Ok(None),
        Value::Bytes(bytes) => Ok(Some(Cow::Borrowed(bytes))),
        other => {
            Err(Error::data(format!("ByteArrayConverter is not compatible with objects of type {}", other.class())))
        }
    }
}

fn read(bytes: Option<&[u8]>) -> SchemaAndValue {
    let value = bytes.map_or(Value::Null, |bytes| Value::Bytes(bytes.to_vec()));
    SchemaAndValue::new(Some(Schema::optional_of(Type::Bytes)), value)
}

impl Converter for ByteArrayConverter {
    fn config(&self) -> ConfigDef {
        ConfigDef::new().define(super::converter_type())
    }

    fn configure(&mut self, _properties: &Properties, _is_key: bool) -> Result<()> {
        Ok(())
    }

    fn encode<'v>(&self, _topic: &str, schema: Option<&SchemaRef>, value: &'v Value) -> Result<Option<Cow<'v, [u8]>>> {
        write(schema, value)
    }

    fn decode(&self, _topic: &str, bytes: Option<&[u8]>) -> Result<SchemaAndValue> {
        Ok(read(bytes))
    }
}

impl HeaderConverter for ByteArrayConverter {
    fn config(&self) -> ConfigDef {
        ConfigDef::new().define(super::converter_type())
    }

    fn configure(&mut self, _properties: &Properties) -> Result<()> {
        Ok(())
    }

    fn encode(&self, _topic: &str, _key: &str, schema: Option<&SchemaRef>, value: &Value) -> Result<Option<Vec<u8>>> {
        Ok(write(schema, value)?.map(Cow::into_owned))
    }

    fn decode(&self, _topic: &str, _key: &str, bytes: Option<&[u8]>) -> Result<SchemaAndValue> {
        Ok(read(bytes))
    }
}
