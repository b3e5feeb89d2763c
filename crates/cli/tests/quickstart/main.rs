//! Kafka 2.1's quickstart with a process in ZooKeeper's place and three brokers, as its reader types it, on free ports and
//! in folders of its own. Expected texts are those of Apache Kafka 2.1.0.

#![allow(clippy::unwrap_used)]

mod home;
mod ids;
mod steps;
mod zookeeper;
