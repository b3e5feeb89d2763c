//! Converters for numbers of one width, big-endian.

use std::borrow::Cow;

use connect_api::{
    ConfigDef, Converter, Error, ErrorKind, HeaderConverter, Properties, Result, Schema, SchemaAndValue, SchemaRef,
    Type, Value,
};

macro_rules! number {
    ($converter:ident, $kind:ident, $native:ty, $name:literal, $deserializer:literal, $size:literal) => {
        #[doc = concat!("Numbers of ", $size, " bytes, big-endian; values of any other kind are refused.")]
        #[derive(Debug, Default)]
        pub struct $converter;

        impl $converter {
            fn write(value: &Value) -> Result<Option<Vec<u8>>> {
                match value {
                    Value::Null => Ok(None),
                    Value::$kind(n) => Ok(Some(n.to_be_bytes().to_vec())),
                    other => {
                        let message = format!(concat!("Failed to serialize to ", $name, " (was {}): "), other.class());
                        Err(Error::data(message))
                    }
                }
            }

            fn read(bytes: Option<&[u8]>) -> Result<SchemaAndValue> {
                let value = match bytes.map(<[u8; $size]>::try_from) {
                    None => Value::Null,
                    Some(Ok(bytes)) => Value::$kind(<$native>::from_be_bytes(bytes)),
                    Some(Err(_)) => {
                        let why = concat!("Size of data received by ", $deserializer, " is not ", $size);
                        return Err(Error::data(concat!("Failed to deserialize ", $name, ": "))
                            .caused_by(Error::new(ErrorKind::Serialization, why)));
                    }
                };
                Ok(SchemaAndValue::new(Some(Schema::optional_of(Type::$kind)), value))
            }
        }

        impl Converter for $converter {
            fn config(&self) -> ConfigDef {
                ConfigDef::new().define(super::converter_type())
            }

            fn configure(&mut self, properties: &Properties, is_key: bool) -> Result<()> {
                let properties = super::typed(properties, if is_key { "key" } else { "value" });
                Converter::config(self).parse(&properties).map(|_| ())
            }

            fn encode<'v>(
                &self,
                _topic: &str,
                _schema: Option<&SchemaRef>,
                value: &'v Value,
            ) -> Result<Option<Cow<'v, [u8]>>> {
                Ok(Self::write(value)?.map(Cow::Owned))
            }

            fn decode(&self, _topic: &str, bytes: Option<&[u8]>) -> Result<SchemaAndValue> {
                Self::read(bytes)
            }
        }

        impl HeaderConverter for $converter {
            fn config(&self) -> ConfigDef {
                ConfigDef::new().define(super::converter_type())
            }

            fn configure(&mut self, properties: &Properties) -> Result<()> {
                HeaderConverter::config(self).parse(&super::typed(properties, "header")).map(|_| ())
            }

            fn encode(
                &self,
                _topic: &str,
                _key: &str,
                _schema: Option<&SchemaRef>,
                value: &Value,
            ) -> Result<Option<Vec<u8>>> {
                Self::write(value)
            }

            fn decode(&self, _topic: &str, _key: &str, bytes: Option<&[u8]>) -> Result<SchemaAndValue> {
                Self::read(bytes)
            }
        }
    };
}

number!(ShortConverter, Int16, i16, "short", "ShortDeserializer", 2);
number!(IntegerConverter, Int32, i32, "integer", "IntegerDeserializer", 4);
number!(LongConverter, Int64, i64, "long", "LongDeserializer", 8);
number!(FloatConverter, Float32, f32, "float", "Deserializer", 4);
number!(DoubleConverter, Float64, f64, "double", "Deserializer", 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_big_endian_and_of_their_width_only() {
        assert_eq!(ShortConverter::write(&Value::Int16(258)).unwrap().as_deref(), Some(&[1, 2][..]));
        assert_eq!(DoubleConverter::read(Some(&1.5f64.to_be_bytes())).unwrap().value, Value::Float64(1.5));
        assert_eq!(LongConverter::read(None).unwrap().value, Value::Null);
        let error = IntegerConverter::write(&Value::Int64(1)).unwrap_err();
        assert_eq!(error.message, "Failed to serialize to integer (was class java.lang.Long): ");
        let error = LongConverter::read(Some(&[0])).unwrap_err();
        assert_eq!(error.message, "Failed to deserialize long: ");
        assert_eq!(error.cause.unwrap().message, "Size of data received by LongDeserializer is not 8");
    }
}
