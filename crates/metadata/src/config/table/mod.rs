//! The table itself: every key of Kafka 4.3, by subject, and the keys of older versions that files still have.

mod client_metrics_resource;
mod group_resource;
mod groups;
mod log;
mod metrics;
mod newer_groups;
mod own;
mod quorum;
mod quota_resource;
mod replication;
pub mod retired;
mod security;
mod server;
mod tiered;
mod topic_resource;
mod topics;
mod transactions;

use std::sync::LazyLock;

use super::key::Key;

/// A part of the broker's table, as the reference page shows it.
pub struct Section {
    pub title: &'static str,
    pub keys: &'static [Key],
}

/// The broker's keys by subject.
#[rustfmt::skip]
pub const BROKER_SECTIONS: &[Section] = &[
    Section { title: "Identity, listeners, connections, requests and threads", keys: server::KEYS },
    Section { title: "Topics: creation, deletion, defaults", keys: topics::KEYS },
    Section { title: "Log segments, retention, flushing, compaction", keys: log::KEYS },
    Section { title: "Replication between brokers", keys: replication::KEYS },
    Section { title: "Controllers, the metadata log, registration", keys: quorum::KEYS },
    Section { title: "Consumer groups of the classic protocol, committed offsets", keys: groups::KEYS },
    Section { title: "Groups of the newer protocols", keys: newer_groups::KEYS },
    Section { title: "Transactions", keys: transactions::KEYS },
    Section { title: "Authentication, authorization, encryption, tokens", keys: security::KEYS },
    Section { title: "Tiered storage", keys: tiered::KEYS },
    Section { title: "Metrics, telemetry, quota windows", keys: metrics::KEYS },
    Section { title: "Klamm's own", keys: own::KEYS },
];

static BROKER: LazyLock<Vec<&'static Key>> = LazyLock::new(|| sorted(BROKER_SECTIONS.iter().flat_map(|s| s.keys)));
static TOPIC: LazyLock<Vec<&'static Key>> = LazyLock::new(|| sorted(topic_resource::KEYS.iter()));
static GROUP: LazyLock<Vec<&'static Key>> = LazyLock::new(|| sorted(group_resource::KEYS.iter()));
static CLIENT_METRICS: LazyLock<Vec<&'static Key>> = LazyLock::new(|| sorted(client_metrics_resource::KEYS.iter()));
static QUOTA: LazyLock<Vec<&'static Key>> = LazyLock::new(|| sorted(quota_resource::KEYS.iter()));

/// All keys of a broker, by name.
pub fn broker_keys() -> &'static [&'static Key] {
    &BROKER
}

/// All keys of a topic, by name.
pub fn topic_keys() -> &'static [&'static Key] {
    &TOPIC
}

/// All keys of a group, by name.
pub fn group_keys() -> &'static [&'static Key] {
    &GROUP
}

/// All keys of a client metrics subscription, by name.
pub fn client_metrics_keys() -> &'static [&'static Key] {
    &CLIENT_METRICS
}

/// Quota keys of brokers, addresses, users and clients, by name.
pub fn quota_keys() -> &'static [&'static Key] {
    &QUOTA
}

pub fn broker_key(name: &str) -> Option<&'static Key> {
    find(&BROKER, name)
}

pub fn topic_key(name: &str) -> Option<&'static Key> {
    find(&TOPIC, name)
}

pub fn group_key(name: &str) -> Option<&'static Key> {
    find(&GROUP, name)
}

pub fn client_metrics_key(name: &str) -> Option<&'static Key> {
    find(&CLIENT_METRICS, name)
}

pub fn quota_key(name: &str) -> Option<&'static Key> {
    find(&QUOTA, name)
}

fn sorted(keys: impl Iterator<Item = &'static Key>) -> Vec<&'static Key> {
    let mut all: Vec<_> = keys.collect();
    all.sort_by_key(|key| key.name);
    all
}

fn find(keys: &[&'static Key], name: &str) -> Option<&'static Key> {
    keys.binary_search_by(|key| key.name.cmp(name)).ok().map(|at| keys[at])
}
