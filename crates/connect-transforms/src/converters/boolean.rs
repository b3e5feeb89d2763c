//! `BooleanConverter`: one byte, 1 or 0 (KIP-907).

use std::borrow::Cow;

use connect_api::{
    ConfigDef, Converter, Error, ErrorKind, HeaderConverter, Properties, Result, Schema, SchemaAndValue, SchemaRef,
    Type, Value,
};

/// True and false as one byte; values of any other kind are refused.
#[derive(Debug, Default)]
pub struct BooleanConverter;

fn write(schema: Option<&SchemaRef>, value: &Value) -> Result<Option<Vec<u8>>> {
    if let Some(kind) = schema.map(|schema| schema.kind()).filter(|kind| *kind != Type::Boolean) {
        return Err(Error::data(format!("Invalid schema type for BooleanConverter: {}", kind.name())));
    }
    match value {
        Value::Null => Ok(None),
        Value::Boolean(b) => Ok(Some(vec![u8::from(*b)])),
        other => Err(Error::data(format!("BooleanConverter is not compatible with objects of type {}", other.class()))),
    }
}

fn read(bytes: Option<&[u8]>) -> Result<SchemaAndValue> {
    let broken = |why: String| {
        Error::data("Failed to deserialize boolean: ").caused_by(Error::new(ErrorKind::Serialization, why))
    };
    let value = match bytes {
        None => Value::Null,
        Some([0]) => Value::Boolean(false),
        Some([1]) => Value::Boolean(true),
        Some([other]) => {
            return Err(broken(format!("Unexpected byte received by BooleanDeserializer: {}", *other as i8)));
        }
        Some(_) => return Err(broken("Size of data received by BooleanDeserializer is not 1".to_owned())),
    };
    Ok(SchemaAndValue::new(Some(Schema::optional_of(Type::Boolean)), value))
}

impl Converter for BooleanConverter {
    fn config(&self) -> ConfigDef {
        ConfigDef::new().define(super::converter_type())
    }

    fn configure(&mut self, properties: &Properties, is_key: bool) -> Result<()> {
        let properties = super::typed(properties, if is_key { "key" } else { "value" });
        Converter::config(self).parse(&properties).map(|_| ())
    }

    fn encode<'v>(&self, _topic: &str, schema: Option<&SchemaRef>, value: &'v Value) -> Result<Option<Cow<'v, [u8]>>> {
        Ok(write(schema, value)?.map(Cow::Owned))
    }

    fn decode(&self, _topic: &str, bytes: Option<&[u8]>) -> Result<SchemaAndValue> {
        read(bytes)
    }
}

impl HeaderConverter for BooleanConverter {
    fn config(&self) -> ConfigDef {
        ConfigDef::new().define(super::converter_type())
    }

    fn configure(&mut self, properties: &Properties) -> Result<()> {
        HeaderConverter::config(self).parse(&super::typed(properties, "header")).map(|_| ())
    }

    fn encode(&self, _topic: &str, _key: &str, schema: Option<&SchemaRef>, value: &Value) -> Result<Option<Vec<u8>>> {
        write(schema, value)
    }

    fn decode(&self, _topic: &str, _key: &str, bytes: Option<&[u8]>) -> Result<SchemaAndValue> {
        read(bytes)
    }
}
