//! Quotas: rates of brokers (replication), addresses (connections), users and clients.

use crate::config::key::{Key, double, int, long};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    long("follower.replication.throttled.rate").default("9223372036854775807").at_least(0).cluster_wide()
        .later("quotas", "Bytes a second that throttled replicas may fetch."),
    long("leader.replication.throttled.rate").default("9223372036854775807").at_least(0).cluster_wide()
        .later("quotas", "Bytes a second that leaders may send to throttled replicas."),
    long("replica.alter.log.dirs.io.max.bytes.per.second").default("9223372036854775807").at_least(0).cluster_wide()
        .works("Bytes a second for moves between directories."),
    int("connection_creation_rate").default("2147483647").at_least(0)
        .later("quotas", "New connections a second from this address."),
    long("consumer_byte_rate").default("9223372036854775807")
        .later("quotas", "Bytes a second that this user or client may fetch."),
    double("controller_mutation_rate").default("2.147483647E9")
        .later("quotas", "Partitions a second that this user or client may create or delete."),
    long("producer_byte_rate").default("9223372036854775807")
        .later("quotas", "Bytes a second that this user or client may produce."),
    double("request_percentage").default("2.147483647E9")
        .later("quotas", "Share of the broker's time that this user or client may take, in percent."),
];
