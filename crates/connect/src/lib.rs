//! Kafka Connect: a worker that runs connectors and their tasks, alone or in a group, and a REST server to tell it what to
//! run.
//!
//! A worker is built from [`Plugins`](connect_api::Plugins); [`plugins::builtin`] has what comes with Klamm. Whoever adds
//! their own calls [`standalone`] or [`distributed`] with them from a `main` of their own.
//!
//! Invariant: nothing here knows the broker's insides; it runs against Apache Kafka as well.
//!
//! Reading order: `herder` (what is to run), `worker` (how it runs), `store` (what is remembered), `rest`.

mod base64;
pub mod config;
mod store;
mod worker;

mod connectors;
mod distributed;
mod herder;
mod log;
pub mod plugin_path;
pub mod plugins;
mod rest;
mod run;
mod standalone;

pub use distributed::distributed;
pub use standalone::standalone;

/// The version of Kafka whose behaviour this is.
pub const KAFKA_VERSION: &str = "4.3.1";

/// What `GET /` tells as the commit: there is none of Kafka's.
pub const COMMIT: &str = concat!("klamm-", env!("CARGO_PKG_VERSION"));
