//! The tools as a user runs them: words, streams and exit codes are Apache Kafka's.
//!
//! `usage` needs no broker. `jobs`, `groups`, `admin`, `features`, `storage`, `logs`, `compaction`, `perf` and
//! `verifiable` run tools on a broker of their own, `unreachable` on none, and
//! `interrupted` ends tools and brokers in the middle of their work. Texts were taken from Apache Kafka 4.3.1.

#![allow(clippy::unwrap_used)]

mod admin;
mod compaction;
mod features;
mod groups;
mod harness;
mod hostile;
mod interrupted;
mod jobs;
mod logs;
mod perf;
mod replicas;
mod storage;
mod unreachable;
mod usage;
mod verifiable;
