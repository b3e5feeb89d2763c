//! `Filter`: drops every record; a predicate says which ones it gets.

use connect_api::{Properties, Record, Result, Transform};

#[derive(Debug, Default)]
pub struct Filter;

impl Transform for Filter {
    fn configure(&mut self, _properties: &Properties) -> Result<()> {
        Ok(())
    }

    fn apply(&mut self, _record: Record) -> Result<Option<Record>> {
        Ok(None)
    }
}
