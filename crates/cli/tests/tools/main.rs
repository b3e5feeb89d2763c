//! The tools as a user runs them: words, streams and exit codes are Apache Kafka's.
//!
//! `usage` needs no broker. `jobs` and `groups` run each tool on a broker of its own, and `interrupted` ends tools and brokers in the
//! middle of their work. Texts were taken from Apache Kafka 4.3.1.

#![allow(clippy::unwrap_used)]

mod compaction;
mod groups;
mod harness;
mod interrupted;
mod jobs;
mod usage;
