//! Consumer groups of the classic protocol, committed offsets.

use crate::config::key::{Key, int, list, long, short};

const LINGER: &str = "records are written at once, those that arrive meanwhile together";
const GROUP_THREADS: &str = "groups run on the shared pool of threads";

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    int("group.min.session.timeout.ms").default("6000").works("Shortest session timeout that a member may ask for."),
    int("group.max.session.timeout.ms").default("1800000").works("Longest session timeout that a member may ask for."),
    int("group.initial.rebalance.delay.ms").default("3000")
        .works("How long a new group waits for more members before its first assignment."),
    int("group.max.size").default("2147483647").at_least(1).works("Most members of a group."),
    list("group.coordinator.rebalance.protocols").default("classic,consumer,streams").items(&["consumer", "classic", "share", "streams"]).not_empty()
        .later("the newer group protocols", "Group protocols that are served."),
    int("group.coordinator.threads").default("4").at_least(1).high()
        .ignored(GROUP_THREADS, "Threads that work on groups."),
    int("group.coordinator.background.threads").default("2").at_least(1).high()
        .ignored(GROUP_THREADS, "Threads for a group's longer work."),
    int("group.coordinator.append.linger.ms").default("-1").at_least(-1)
        .ignored(LINGER, "How long records of groups are gathered; -1 adapts by itself."),
    int("group.coordinator.cached.buffer.max.bytes").default("1048588").at_least(524_288).cluster_wide()
        .ignored("buffers come from a pool with a budget", "Largest buffer that a coordinator keeps."),
    int("offset.metadata.max.bytes").default("4096").high()
        .works("Longest text that may be stored with a committed offset."),
    int("offsets.commit.timeout.ms").default("5000").at_least(1).high()
        .works("How long a commit may wait until it is replicated."),
    int("offsets.load.buffer.size").default("5242880").at_least(1).high()
        .works("Bytes read at once when a partition of __consumer_offsets is loaded."),
    int("offsets.retention.minutes").default("10080").at_least(1).high()
        .works("How long offsets of a group without members are kept."),
    long("offsets.retention.check.interval.ms").default("600000").at_least(1).high()
        .works("How often expired offsets are looked for."),
    int("offsets.topic.compression.codec").default("0").high()
        .works("Compression of __consumer_offsets: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."),
    int("offsets.topic.num.partitions").default("50").at_least(1).high()
        .works("Partitions of __consumer_offsets; not to be changed later."),
    short("offsets.topic.replication.factor").default("3").at_least(1).high()
        .works("Replicas of __consumer_offsets; without a file and without controllers elsewhere 1."),
    int("offsets.topic.segment.bytes").default("104857600").at_least(1).high()
        .works("Segment size of __consumer_offsets in bytes."),
];
