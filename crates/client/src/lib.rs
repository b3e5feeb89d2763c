//! Kafka's client side: connections, administration, producing, consuming and membership in classic groups.
//!
//! It speaks to Apache Kafka from 2.1 on as it does to Klamm: versions are agreed on per connection, and settings carry
//! Java's property names. Everything runs on whatever tokio runtime the caller has; one thread is enough.
//!
//! Invariant: nothing here knows the broker's insides; the only Klamm crate below is `wire`.
//!
//! Reading order: [`Connection`] (one socket), [`Client`] (nodes, and who gets a request), [`admin`].

// Messages gain fields with every version of Kafka: requests say which they set and leave the rest at its default.
#![allow(clippy::needless_update)]

pub mod admin;
pub mod config;
pub mod config_providers;
pub mod consumer;
pub mod metadata;
pub mod pattern;
pub mod producer;
pub mod properties;
pub mod random;
pub mod versions;

mod client;
mod connection;
mod dialogue;
mod error;
mod group_offsets;

pub use client::{Client, To};
pub use config::{ClientConfig, Properties, Role};
pub use connection::{Connection, Pending, Reply};
pub use dialogue::Dialogue;
pub use error::Error;
pub use metadata::{Metadata, Node, Topics};
