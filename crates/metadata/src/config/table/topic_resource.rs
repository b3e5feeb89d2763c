//! Settings of a topic.

use crate::config::key::{Key, Valid, boolean, double, int, list, long, string};

const FOR_TESTS: &str = "meant for Kafka's own tests";

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    list("cleanup.policy").default("delete").items(&["compact", "delete"])
        .works("What happens to old segments: delete, compact or both; empty keeps everything."),
    int("compression.gzip.level").default("-1").valid(Valid::GzipLevel)
        .works("Level for gzip, where the broker compresses."),
    int("compression.lz4.level").default("9").range(1, 17).works("Level for lz4, where the broker compresses."),
    string("compression.type").default("producer").one_of(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"])
        .works("Compression that batches are stored with; producer keeps what was sent."),
    int("compression.zstd.level").default("3").range(-131_072, 22)
        .works("Level for zstd, where the broker compresses."),
    long("delete.retention.ms").default("86400000").at_least(0)
        .works("How long the marks of deleted keys stay in a compacted topic."),
    long("file.delete.delay.ms").default("60000").at_least(0).works("How long a deleted file stays on disk."),
    long("flush.messages").default("9223372036854775807").at_least(1)
        .works("Messages after which a partition is synced to disk; 1 syncs before every acknowledgement."),
    long("flush.ms").default("9223372036854775807").at_least(0)
        .works("Time after which written messages are synced to disk."),
    list("follower.replication.throttled.replicas").default("").valid(Valid::ThrottledReplicas)
        .later("quotas", "Replicas whose fetching is throttled, as partition:broker, or * for all."),
    int("index.interval.bytes").default("4096").at_least(0)
        .works("An index entry is written each time this many bytes were appended."),
    int("internal.segment.bytes").internal().ignored(FOR_TESTS, "Segment size for tests, without the lower bound."),
    list("leader.replication.throttled.replicas").default("").valid(Valid::ThrottledReplicas)
        .later("quotas", "Replicas whose leaders throttle them, as partition:broker, or * for all."),
    long("local.retention.bytes").default("-2").at_least(-2)
        .later("tiered storage", "Bytes kept on local disks of a tiered topic; -2 takes retention.bytes."),
    long("local.retention.ms").default("-2").at_least(-2)
        .later("tiered storage", "Time that records of a tiered topic stay on local disks; -2 takes retention.ms."),
    long("max.compaction.lag.ms").default("9223372036854775807").at_least(1)
        .works("Records older than this are compacted, whatever the ratio says."),
    int("max.message.bytes").default("1048588").at_least(0).works("Largest record batch in bytes."),
    long("message.timestamp.after.max.ms").default("3600000").at_least(0)
        .works("How far a record's time may lie ahead of the broker's."),
    long("message.timestamp.before.max.ms").default("9223372036854775807").at_least(0)
        .works("How far a record's time may lie behind the broker's."),
    string("message.timestamp.type").default("CreateTime").one_of(&["CreateTime", "LogAppendTime"])
        .works("Whether a record carries the producer's time or the broker's."),
    double("min.cleanable.dirty.ratio").default("0.5").between(0.0, 1.0)
        .works("Share of a log that must be new before it is compacted."),
    long("min.compaction.lag.ms").default("0").at_least(0)
        .works("Records younger than this are not compacted."),
    int("min.insync.replicas").default("1").at_least(1)
        .works("Replicas that must be in sync for a write with acks=all."),
    boolean("preallocate").default("false").works("Reserves the space of a segment when it is created."),
    boolean("remote.log.copy.disable").default("false")
        .later("tiered storage", "Copies nothing more of this topic to the remote store."),
    boolean("remote.log.delete.on.disable").default("false")
        .later("tiered storage", "Deletes the remote copies when tiered storage is switched off."),
    boolean("remote.storage.enable").default("false")
        .later("tiered storage", "Moves old segments of this topic to the remote store."),
    long("retention.bytes").default("-1")
        .works("Size in bytes above which a partition's oldest segments are deleted; -1 sets no limit."),
    long("retention.ms").default("604800000").at_least(-1).works("Time that records are kept; -1 keeps them."),
    int("segment.bytes").default("1073741824").at_least(1_048_576)
        .works("Size in bytes at which a new segment begins."),
    int("segment.index.bytes").default("10485760").at_least(4).works("Largest size in bytes of an index."),
    long("segment.jitter.ms").default("0").at_least(0)
        .works("Random time taken off segment.ms, so that segments don't all roll together."),
    long("segment.ms").default("604800000").at_least(1).works("Age at which a new segment begins."),
    boolean("unclean.leader.election.enable").default("false")
        .works("Lets a replica that is not in sync lead when no other can; records may be lost."),
];
