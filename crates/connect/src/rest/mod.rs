//! The REST server: Kafka Connect's endpoints, on hyper.
//!
//! Reading order: `server` (connections and bodies), `routes` (which request is whose), `methods`, `answers` (shapes).

mod answers;
mod client;
mod io;
mod methods;
mod plugins;
mod routes;
mod server;

pub use client::send;
pub use routes::encode;
pub use server::bind;
