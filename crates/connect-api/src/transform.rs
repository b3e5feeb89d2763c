//! What changes records one at a time, and what decides which.

use crate::{ConfigDef, Properties, Record, Result};

/// Changes a record, or drops it.
pub trait Transform: Send {
    /// The settings; they come without the prefix `transforms.<alias>.`.
    fn config(&self) -> ConfigDef {
        ConfigDef::new()
    }

    /// Called once, before anything else.
    fn configure(&mut self, properties: &Properties) -> Result<()>;

    /// The record as it goes on; none when it does not.
    fn apply(&mut self, record: Record) -> Result<Option<Record>>;
}

/// Says for which records a transform is meant.
pub trait Predicate: Send {
    /// The settings; they come without the prefix `predicates.<alias>.`.
    fn config(&self) -> ConfigDef {
        ConfigDef::new()
    }

    /// Called once, before anything else.
    fn configure(&mut self, properties: &Properties) -> Result<()>;

    fn test(&self, record: &Record) -> Result<bool>;
}
