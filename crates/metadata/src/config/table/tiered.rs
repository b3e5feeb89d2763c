//! Tiered storage.

use crate::config::key::{Key, boolean, double, int, long, string};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    boolean("remote.log.storage.system.enable").default("false")
        .refused("tiered storage is not there yet", "Moves old segments to a remote store."),
    string("remote.log.storage.manager.class.name").not_empty()
        .later("tiered storage", "Java class that talks to the remote store."),
    string("remote.log.storage.manager.class.path")
        .later("tiered storage", "Where that class and what it needs are found."),
    string("remote.log.storage.manager.impl.prefix").default("rsm.config.").not_empty()
        .later("tiered storage", "Prefix of the settings that are handed to that class."),
    string("remote.log.metadata.manager.class.name").default("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager").not_empty()
        .later("tiered storage", "Java class that keeps track of what is in the remote store."),
    string("remote.log.metadata.manager.class.path")
        .later("tiered storage", "Where that class and what it needs are found."),
    string("remote.log.metadata.manager.impl.prefix").default("rlmm.config.").not_empty()
        .later("tiered storage", "Prefix of the settings that are handed to that class."),
    string("remote.log.metadata.manager.listener.name").not_empty()
        .later("tiered storage", "Listener that the remote metadata is kept over."),
    int("remote.log.metadata.custom.metadata.max.bytes").default("128").at_least(0).low()
        .later("tiered storage", "Largest custom metadata of a segment in bytes."),
    long("remote.log.index.file.cache.total.size.bytes").default("1073741824").at_least(1).low().cluster_wide()
        .later("tiered storage", "Disk space in bytes for indexes of remote segments."),
    long("remote.log.index.file.cache.ttl.ms").default("900000").at_least(-1).low().internal()
        .later("tiered storage", "How long an unused index of a remote segment is kept."),
    int("remote.log.manager.thread.pool.size").default("2").at_least(1)
        .later("tiered storage", "Threads for work on the remote store."),
    int("remote.log.manager.copier.thread.pool.size").default("10").at_least(1).cluster_wide()
        .later("tiered storage", "Threads that copy segments to the remote store."),
    int("remote.log.manager.expiration.thread.pool.size").default("10").at_least(1).cluster_wide()
        .later("tiered storage", "Threads that delete expired remote segments."),
    int("remote.log.manager.follower.thread.pool.size").default("2").at_least(1).cluster_wide()
        .later("tiered storage", "Threads for followers' work on the remote store."),
    long("remote.log.manager.task.interval.ms").default("30000").at_least(1).low()
        .later("tiered storage", "How often remote segments are copied and deleted."),
    long("remote.log.manager.task.retry.backoff.ms").default("500").at_least(1).low().internal()
        .later("tiered storage", "Pause before failed work on the remote store is tried again."),
    long("remote.log.manager.task.retry.backoff.max.ms").default("30000").at_least(1).low().internal()
        .later("tiered storage", "Longest such pause."),
    double("remote.log.manager.task.retry.jitter").default("0.2").between(0.0, 0.5).low().internal()
        .later("tiered storage", "Random part of such pauses."),
    long("remote.log.manager.copy.max.bytes.per.second").default("9223372036854775807").at_least(1).cluster_wide()
        .later("tiered storage", "Most bytes a second copied to the remote store."),
    int("remote.log.manager.copy.quota.window.num").default("11").at_least(1)
        .later("tiered storage", "Samples kept for the limit on copying."),
    int("remote.log.manager.copy.quota.window.size.seconds").default("1").at_least(1)
        .later("tiered storage", "Length of a sample for the limit on copying."),
    long("remote.log.manager.fetch.max.bytes.per.second").default("9223372036854775807").at_least(1).cluster_wide()
        .later("tiered storage", "Most bytes a second read from the remote store."),
    int("remote.log.manager.fetch.quota.window.num").default("11").at_least(1)
        .later("tiered storage", "Samples kept for the limit on reading."),
    int("remote.log.manager.fetch.quota.window.size.seconds").default("1").at_least(1)
        .later("tiered storage", "Length of a sample for the limit on reading."),
    int("remote.log.reader.threads").default("10").at_least(1).cluster_wide()
        .later("tiered storage", "Threads that read from the remote store."),
    int("remote.log.reader.max.pending.tasks").default("100").at_least(1)
        .later("tiered storage", "Reads from the remote store that may wait."),
    int("remote.fetch.max.wait.ms").default("500").at_least(1).cluster_wide()
        .later("tiered storage", "How long a fetch waits for the remote store."),
    long("remote.list.offsets.request.timeout.ms").default("30000").at_least(1).cluster_wide()
        .later("tiered storage", "How long ListOffsets waits for the remote store."),
    long("log.local.retention.bytes").default("-2").at_least(-2).cluster_wide()
        .later("tiered storage", "Bytes kept on local disks of a tiered topic; -2 takes log.retention.bytes."),
    long("log.local.retention.ms").default("-2").at_least(-2).cluster_wide()
        .later("tiered storage", "Time that records of a tiered topic stay on local disks; -2 takes log.retention.ms."),
];
