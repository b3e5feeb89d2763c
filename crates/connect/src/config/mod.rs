//! Settings: of the worker, and of connectors as every connector has them.

pub mod connector;
mod listener;
pub mod worker;

pub use connector::ConnectorConfig;
pub use listener::Listener;
pub use worker::{Distributed, Mode, WorkerConfig};
