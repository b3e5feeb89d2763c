//! Settings: one table of all keys of brokers, topics, groups, client metrics and quotas, and what is read from it.
//!
//! * [`key`] says what a row of the table holds, [`table`] has the rows.
//! * [`value`] parses and checks single values, with the sentences that Kafka says when they are wrong.
//! * [`layers`] decides which value counts: dynamic, from the file, default; [`describe`] tells where it came from,
//!   [`remarks`] what is worth a word at start, [`reference`] writes the page that lists all of them.
//! * [`topic`] has the typed settings that partitions work with; [`broker`], [`group`] and [`client_metrics`] check the settings
//!   of those resources.
//!
//! Nothing here knows where settings are stored: they come in as [`layers::Values`].

pub mod broker;
pub mod client_metrics;
pub mod describe;
pub mod group;
pub mod key;
pub mod layers;
pub mod reference;
pub mod remarks;
pub mod suggest;
pub mod table;
pub mod topic;
pub mod value;

pub use describe::{Entry, Source, Synonym};
pub use key::{Effect, Importance, Key, Kind, Update, Valid};
pub use layers::{Layers, Values};
pub use topic::{TopicConfig, TopicConfigs};
pub use value::Value;
