//! Topics: creation, deletion, defaults.

use crate::config::key::{Key, Valid, boolean, class, int, string};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    boolean("auto.create.topics.enable").default("true").high()
        .works("Creates a topic that does not exist when a client asks for it."),
    boolean("delete.topic.enable").default("true").high().works("Allows topics to be deleted."),
    int("num.partitions").default("1").at_least(1).works("Partitions of a new topic when the request names no number."),
    int("default.replication.factor").default("1").works("Replicas of a new topic when the request names no number."),
    int("min.insync.replicas").default("1").at_least(1).high().cluster_wide()
        .works("Replicas that must be in sync for a write with acks=all; topics can have their own."),
    string("compression.type").default("producer").one_of(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]).high().cluster_wide()
        .works("Compression that batches are stored with; producer keeps what was sent."),
    int("compression.gzip.level").default("-1").valid(Valid::GzipLevel).cluster_wide()
        .works("Level for gzip, where the broker compresses."),
    int("compression.lz4.level").default("9").range(1, 17).cluster_wide()
        .works("Level for lz4, where the broker compresses."),
    int("compression.zstd.level").default("3").range(-131_072, 22).cluster_wide()
        .works("Level for zstd, where the broker compresses."),
    int("message.max.bytes").default("1048588").at_least(0).high().cluster_wide()
        .works("Largest record batch in bytes; topics can have their own limit (max.message.bytes)."),
    boolean("unclean.leader.election.enable").default("false").high().cluster_wide()
        .works("Lets a replica that is not in sync lead when no other can; records may be lost."),
    class("create.topic.policy.class.name").low()
        .refused("Java plugins cannot be loaded", "Java class that may forbid the creation of a topic."),
    class("alter.config.policy.class.name").low()
        .refused("Java plugins cannot be loaded", "Java class that may forbid a change of settings."),
];
