//! Replication between brokers.

use super::server::SOCKET_BUFFERS;
use crate::config::key::{Key, boolean, int, long, string};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    long("replica.lag.time.max.ms").default("30000").high()
        .works("A follower that has not caught up for this long leaves the ISR."),
    int("replica.socket.timeout.ms").default("30000").high()
        .works("How long a follower waits for its leader's answer."),
    int("replica.socket.receive.buffer.bytes").default("65536").high()
        .ignored(SOCKET_BUFFERS, "Receive buffer of a follower's socket in bytes."),
    int("replica.fetch.max.bytes").default("1048576").at_least(0)
        .works("Bytes that a follower asks for in each partition."),
    int("replica.fetch.response.max.bytes").default("10485760").at_least(0)
        .works("Bytes that a follower asks for in one request."),
    int("replica.fetch.wait.max.ms").default("500").high()
        .works("How long a leader may hold a follower's fetch when there is nothing new."),
    int("replica.fetch.min.bytes").default("1").high().works("Bytes that a follower waits for."),
    int("replica.fetch.backoff.ms").default("1000").at_least(0)
        .works("How long a follower rests after a failed fetch."),
    long("replica.high.watermark.checkpoint.interval.ms").default("5000").high()
        .works("How often the high watermarks are written down."),
    string("replica.selector.class")
        .works("Which replica consumers read from: the leader, or one in their own rack (client.rack)."),
    int("num.replica.fetchers").default("1").at_least(1).high().cluster_wide()
        .works("Connections to each leader that followers fetch over; a change counts for those that get a new leader."),
    int("num.replica.alter.log.dirs.threads").high()
        .works("Threads that move replicas between directories; as many as there are directories where it is not set."),
    boolean("auto.leader.rebalance.enable").default("true").high()
        .works("Gives leadership back to the preferred replica by itself."),
    long("leader.imbalance.check.interval.seconds").default("300").at_least(1).high()
        .works("How often leaders are compared with the preferred replicas."),
    long("unclean.leader.election.interval.ms").default("300000").at_least(1).internal()
        .works("How often partitions without leader are looked at for an unclean election."),
    int("replication.quota.window.num").default("11").at_least(1).low()
        .later("quotas", "Samples kept for replication quotas."),
    int("replication.quota.window.size.seconds").default("1").at_least(1).low()
        .later("quotas", "Length of a sample for replication quotas."),
    int("alter.log.dirs.replication.quota.window.num").default("11").at_least(1).low()
        .later("quotas", "Samples kept for the quota on moves between directories."),
    int("alter.log.dirs.replication.quota.window.size.seconds").default("1").at_least(1).low()
        .later("quotas", "Length of a sample for the quota on moves between directories."),
    boolean("follower.fetch.last.tiered.offset.enable").default("false").cluster_wide()
        .later("tiered storage", "A new follower starts behind what is in the remote store instead of at the log's start."),
];
