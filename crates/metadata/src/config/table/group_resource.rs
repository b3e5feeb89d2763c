//! Settings of a group.

use crate::config::key::{Key, Valid, boolean, int, string};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    int("consumer.assignment.interval.ms").default("1000").at_least(0)
        .later("consumer groups of KIP-848", "Least time between two assignments of this group."),
    int("consumer.heartbeat.interval.ms").default("5000").at_least(1)
        .later("consumer groups of KIP-848", "How often members send heartbeats."),
    int("consumer.session.timeout.ms").default("45000").at_least(1)
        .later("consumer groups of KIP-848", "Time after which a silent member leaves."),
    int("share.assignment.interval.ms").default("1000").at_least(0)
        .later("share groups", "Least time between two assignments of this group."),
    string("share.auto.offset.reset").default("latest").valid(Valid::OffsetReset)
        .later("share groups", "Where a share group without state begins."),
    int("share.delivery.count.limit").default("5").at_least(2)
        .later("share groups", "How often a record is delivered before it counts as undeliverable."),
    int("share.heartbeat.interval.ms").default("5000").at_least(1)
        .later("share groups", "How often members send heartbeats."),
    string("share.isolation.level").default("read_uncommitted").one_of(&["read_committed", "read_uncommitted"])
        .later("share groups", "Whether records of open or aborted transactions are delivered."),
    int("share.partition.max.record.locks").default("2000").at_least(100)
        .later("share groups", "Most locked records of a partition."),
    int("share.record.lock.duration.ms").default("30000").at_least(1000)
        .later("share groups", "How long a delivered record stays locked for its consumer."),
    boolean("share.renew.acknowledge.enable").default("true")
        .later("share groups", "Allows consumers to renew the lock of a record."),
    int("share.session.timeout.ms").default("45000").at_least(1)
        .later("share groups", "Time after which a silent member leaves."),
    int("streams.assignment.interval.ms").default("1000").at_least(0)
        .later("streams groups", "Least time between two assignments of this group."),
    int("streams.heartbeat.interval.ms").default("5000").at_least(1)
        .later("streams groups", "How often members send heartbeats."),
    int("streams.initial.rebalance.delay.ms").default("3000").at_least(0)
        .later("streams groups", "How long a new group waits for more members."),
    int("streams.num.standby.replicas").default("0").at_least(0)
        .later("streams groups", "Standby copies of each state store."),
    int("streams.session.timeout.ms").default("45000").at_least(1)
        .later("streams groups", "Time after which a silent member leaves."),
];
