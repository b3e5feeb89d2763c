//! `DropHeaders` and `InsertHeader` (KIP-145).

use connect_api::{
    ConfigDef, ConfigKey, Header, Importance, Kind, Properties, Record, Result, SchemaAndValue, Transform,
};

use crate::values;

/// Takes headers away by their names.
#[derive(Debug, Default)]
pub struct DropHeaders {
    names: Vec<String>,
}

impl Transform for DropHeaders {
    fn config(&self) -> ConfigDef {
        let doc = "The names of the headers to take away.";
        ConfigDef::new().define(
            ConfigKey::required("headers", Kind::List, Importance::High, doc).validator(super::filled("headers")),
        )
    }

    fn configure(&mut self, properties: &Properties) -> Result<()> {
        self.names = self.config().parse(properties)?.list("headers").to_vec();
        Ok(())
    }

    fn apply(&mut self, mut record: Record) -> Result<Option<Record>> {
        record.headers.retain(|header| !self.names.contains(&header.key));
        Ok(Some(record))
    }
}

/// Adds the same header to every record.
#[derive(Debug, Default)]
pub struct InsertHeader {
    key: String,
    literal: SchemaAndValue,
}

impl Transform for InsertHeader {
    fn config(&self) -> ConfigDef {
        let doc = "The header's value, whose type is guessed as SimpleHeaderConverter does.";
        ConfigDef::new()
            .define(ConfigKey::required("header", Kind::String, Importance::High, "The header's name."))
            .define(ConfigKey::required("value.literal", Kind::String, Importance::High, doc))
    }

    fn configure(&mut self, properties: &Properties) -> Result<()> {
        let config = self.config().parse(properties)?;
        self.key = config.string("header").unwrap_or_default().to_owned();
        self.literal = values::parse(config.string("value.literal").unwrap_or_default());
        Ok(())
    }

    fn apply(&mut self, mut record: Record) -> Result<Option<Record>> {
        let SchemaAndValue { schema, value } = self.literal.clone();
        record.headers.push(Header { key: self.key.clone(), schema, value });
        Ok(Some(record))
    }
}
