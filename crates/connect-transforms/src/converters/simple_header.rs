//! `SimpleHeaderConverter`: header values as texts whose type is guessed when they are read.

use connect_api::{HeaderConverter, Properties, Result, SchemaAndValue, SchemaRef, Value};

use crate::values;

/// Texts, numbers, dates, lists and maps as a person would write them.
#[derive(Debug, Default)]
pub struct SimpleHeaderConverter;

impl HeaderConverter for SimpleHeaderConverter {
    fn configure(&mut self, _properties: &Properties) -> Result<()> {
        Ok(())
    }

    fn encode(&self, _topic: &str, _key: &str, _schema: Option<&SchemaRef>, value: &Value) -> Result<Option<Vec<u8>>> {
        Ok((!value.is_null()).then(|| values::to_text(value).into_bytes()))
    }

    fn decode(&self, _topic: &str, _key: &str, bytes: Option<&[u8]>) -> Result<SchemaAndValue> {
        Ok(bytes.map(|bytes| values::parse(&String::from_utf8_lossy(bytes))).unwrap_or_default())
    }
}
