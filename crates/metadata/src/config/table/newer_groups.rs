//! Groups of the newer protocols: consumer (KIP-848), share (KIP-932), streams (KIP-1071).

use crate::config::key::{Key, int, list, short, string};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    int("group.consumer.session.timeout.ms").default("45000").at_least(1)
        .later("consumer groups of KIP-848", "Time after which a silent member leaves its consumer group."),
    int("group.consumer.min.session.timeout.ms").default("45000").at_least(1)
        .later("consumer groups of KIP-848", "Shortest session timeout that a consumer group may have."),
    int("group.consumer.max.session.timeout.ms").default("60000").at_least(1)
        .later("consumer groups of KIP-848", "Longest session timeout that a consumer group may have."),
    int("group.consumer.heartbeat.interval.ms").default("5000").at_least(1)
        .later("consumer groups of KIP-848", "How often members of a consumer group send heartbeats."),
    int("group.consumer.min.heartbeat.interval.ms").default("5000").at_least(1)
        .later("consumer groups of KIP-848", "Shortest heartbeat interval that a consumer group may have."),
    int("group.consumer.max.heartbeat.interval.ms").default("15000").at_least(1)
        .later("consumer groups of KIP-848", "Longest heartbeat interval that a consumer group may have."),
    int("group.consumer.assignment.interval.ms").default("1000").at_least(0).cluster_wide()
        .later("consumer groups of KIP-848", "Least time between two assignments of a consumer group."),
    int("group.consumer.min.assignment.interval.ms").default("0").at_least(0)
        .later("consumer groups of KIP-848", "Shortest assignment interval that a consumer group may have."),
    int("group.consumer.max.assignment.interval.ms").default("15000").at_least(0)
        .later("consumer groups of KIP-848", "Longest assignment interval that a consumer group may have."),
    int("group.consumer.max.size").default("2147483647").at_least(1)
        .later("consumer groups of KIP-848", "Most members of a consumer group."),
    list("group.consumer.assignors").default("uniform,range").not_empty()
        .later("consumer groups of KIP-848", "Assignors that the broker offers, the first is the default."),
    string("group.consumer.migration.policy").default("bidirectional").one_of_ignoring_case(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"])
        .later("consumer groups of KIP-848", "In which direction a group may move between the protocols."),
    int("group.consumer.regex.refresh.interval.ms").default("600000").at_least(10_000).internal()
        .later("consumer groups of KIP-848", "How often subscriptions by regular expression are looked at again."),
    int("group.share.session.timeout.ms").default("45000").at_least(1)
        .later("share groups", "Time after which a silent member leaves its share group."),
    int("group.share.min.session.timeout.ms").default("45000").at_least(1)
        .later("share groups", "Shortest session timeout that a share group may have."),
    int("group.share.max.session.timeout.ms").default("60000").at_least(1)
        .later("share groups", "Longest session timeout that a share group may have."),
    int("group.share.heartbeat.interval.ms").default("5000").at_least(1)
        .later("share groups", "How often members of a share group send heartbeats."),
    int("group.share.min.heartbeat.interval.ms").default("5000").at_least(1)
        .later("share groups", "Shortest heartbeat interval that a share group may have."),
    int("group.share.max.heartbeat.interval.ms").default("15000").at_least(1)
        .later("share groups", "Longest heartbeat interval that a share group may have."),
    int("group.share.assignment.interval.ms").default("1000").at_least(0).cluster_wide()
        .later("share groups", "Least time between two assignments of a share group."),
    int("group.share.min.assignment.interval.ms").default("0").at_least(0)
        .later("share groups", "Shortest assignment interval that a share group may have."),
    int("group.share.max.assignment.interval.ms").default("15000").at_least(0)
        .later("share groups", "Longest assignment interval that a share group may have."),
    list("group.share.assignors").default("simple").not_empty().later("share groups", "Assignors for share groups."),
    int("group.share.delivery.count.limit").default("5").range(2, 10)
        .later("share groups", "How often a record is delivered before it counts as undeliverable."),
    int("group.share.min.delivery.count.limit").default("2").range(2, 5)
        .later("share groups", "Smallest delivery count limit that a share group may have."),
    int("group.share.max.delivery.count.limit").default("10").range(5, 25)
        .later("share groups", "Largest delivery count limit that a share group may have."),
    int("group.share.record.lock.duration.ms").default("30000").range(1000, 3_600_000)
        .later("share groups", "How long a delivered record stays locked for its consumer."),
    int("group.share.min.record.lock.duration.ms").default("15000").range(1000, 30_000)
        .later("share groups", "Shortest lock that a share group may have."),
    int("group.share.max.record.lock.duration.ms").default("60000").range(30_000, 3_600_000)
        .later("share groups", "Longest lock that a share group may have."),
    int("group.share.partition.max.record.locks").default("2000").range(100, 10_000)
        .later("share groups", "Most locked records of a partition."),
    int("group.share.min.partition.max.record.locks").default("100").range(100, 2000)
        .later("share groups", "Smallest number of locks that a share group may have."),
    int("group.share.max.partition.max.record.locks").default("4000").range(2000, 10_000)
        .later("share groups", "Largest number of locks that a share group may have."),
    int("group.share.max.share.sessions").default("2000").at_least(1)
        .later("share groups", "Most share sessions of a broker."),
    int("group.share.max.size").default("200").range(1, 1000).later("share groups", "Most members of a share group."),
    int("group.share.initialize.retry.interval.ms").default("30000").at_least(1).low().internal()
        .later("share groups", "Pause before a failed set-up of a share partition is tried again."),
    string("group.share.persister.class.name").default("org.apache.kafka.server.share.persister.DefaultStatePersister").internal()
        .later("share groups", "Java class that keeps the state of share groups."),
    int("share.coordinator.append.linger.ms").default("-1").at_least(-1)
        .later("share groups", "How long records of the share coordinator are gathered."),
    int("share.coordinator.cached.buffer.max.bytes").default("1048588").at_least(524_288).cluster_wide()
        .later("share groups", "Largest buffer that the share coordinator keeps."),
    int("share.coordinator.cold.partition.snapshot.interval.ms").default("300000").at_least(1).low().internal()
        .later("share groups", "How often idle share partitions get a snapshot."),
    int("share.coordinator.load.buffer.size").default("5242880").at_least(1).high()
        .later("share groups", "Bytes read at once when share state is loaded."),
    int("share.coordinator.snapshot.update.records.per.snapshot").default("500").range(0, 500)
        .later("share groups", "Updates between two snapshots of a share partition."),
    int("share.coordinator.state.topic.compression.codec").default("0").high()
        .later("share groups", "Compression of __share_group_state."),
    short("share.coordinator.state.topic.min.isr").default("2").at_least(1).high()
        .later("share groups", "min.insync.replicas of __share_group_state."),
    int("share.coordinator.state.topic.num.partitions").default("50").at_least(1).high()
        .later("share groups", "Partitions of __share_group_state."),
    int("share.coordinator.state.topic.prune.interval.ms").default("300000").at_least(1).low().internal()
        .later("share groups", "How often old records of __share_group_state are deleted."),
    short("share.coordinator.state.topic.replication.factor").default("3").at_least(1).high()
        .later("share groups", "Replicas of __share_group_state."),
    int("share.coordinator.state.topic.segment.bytes").default("104857600").at_least(1).high()
        .later("share groups", "Segment size of __share_group_state in bytes."),
    int("share.coordinator.threads").default("1").at_least(1)
        .later("share groups", "Threads of the share coordinator."),
    int("share.coordinator.write.timeout.ms").default("5000").at_least(1).high()
        .later("share groups", "How long a write of the share coordinator may wait."),
    int("group.streams.session.timeout.ms").default("45000").at_least(1)
        .later("streams groups", "Time after which a silent member leaves its streams group."),
    int("group.streams.min.session.timeout.ms").default("45000").at_least(1)
        .later("streams groups", "Shortest session timeout that a streams group may have."),
    int("group.streams.max.session.timeout.ms").default("60000").at_least(1)
        .later("streams groups", "Longest session timeout that a streams group may have."),
    int("group.streams.heartbeat.interval.ms").default("5000").at_least(1)
        .later("streams groups", "How often members of a streams group send heartbeats."),
    int("group.streams.min.heartbeat.interval.ms").default("5000").at_least(1)
        .later("streams groups", "Shortest heartbeat interval that a streams group may have."),
    int("group.streams.max.heartbeat.interval.ms").default("15000").at_least(1)
        .later("streams groups", "Longest heartbeat interval that a streams group may have."),
    int("group.streams.assignment.interval.ms").default("1000").at_least(0).cluster_wide()
        .later("streams groups", "Least time between two assignments of a streams group."),
    int("group.streams.min.assignment.interval.ms").default("0").at_least(0)
        .later("streams groups", "Shortest assignment interval that a streams group may have."),
    int("group.streams.max.assignment.interval.ms").default("15000").at_least(0)
        .later("streams groups", "Longest assignment interval that a streams group may have."),
    int("group.streams.initial.rebalance.delay.ms").default("3000").at_least(0)
        .later("streams groups", "How long a new streams group waits for more members."),
    int("group.streams.max.size").default("2147483647").at_least(1)
        .later("streams groups", "Most members of a streams group."),
    int("group.streams.num.standby.replicas").default("0").at_least(0)
        .later("streams groups", "Standby copies of each state store."),
    int("group.streams.max.standby.replicas").default("2").at_least(0)
        .later("streams groups", "Most standby copies that a streams group may have."),
];
