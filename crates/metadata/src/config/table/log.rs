//! Log segments, retention, flushing, compaction.

use crate::config::key::{Key, boolean, double, int, list, long, string};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    list("log.dir").default("/tmp/kafka-logs").not_empty().high()
        .works("Directory of the data, used where log.dirs is not set."),
    list("log.dirs").not_empty().high().works("Directories of the data, separated by commas."),
    list("cordoned.log.dirs").default("").per_broker()
        .refused("cordoning is not there yet", "Directories that get no new partitions; * means all."),
    long("log.dir.failure.timeout.ms").default("30000").at_least(1).low()
        .works("A broker stops when it cannot tell the controller of a failed directory for this long."),
    int("log.segment.bytes").default("1073741824").at_least(1_048_576).high().cluster_wide()
        .works("Size in bytes at which a new segment begins."),
    long("log.roll.ms").high().cluster_wide()
        .works("Age in milliseconds at which a new segment begins; beats log.roll.hours."),
    int("log.roll.hours").default("168").at_least(1).high().works("Age in hours at which a new segment begins."),
    long("log.roll.jitter.ms").high().cluster_wide()
        .works("Random time taken off log.roll.ms, so that segments don't all roll together; beats log.roll.jitter.hours."),
    int("log.roll.jitter.hours").default("0").at_least(0).high()
        .works("Random time, in hours, taken off log.roll.hours."),
    long("log.retention.ms").high().cluster_wide()
        .works("Time in milliseconds that records are kept; -1 keeps them; beats the minutes and the hours."),
    int("log.retention.minutes").high().works("Time in minutes that records are kept; beats the hours."),
    int("log.retention.hours").default("168").high().works("Time in hours that records are kept."),
    long("log.retention.bytes").default("-1").high().cluster_wide()
        .works("Size in bytes above which a partition's oldest segments are deleted; -1 sets no limit."),
    long("log.retention.check.interval.ms").default("300000").at_least(1)
        .works("How often segments are looked at for deletion."),
    long("log.segment.delete.delay.ms").default("60000").at_least(0).high().cluster_wide()
        .works("How long a deleted file stays on disk."),
    list("log.cleanup.policy").default("delete").items(&["compact", "delete"]).cluster_wide()
        .works("What happens to old segments: delete, compact or both; empty keeps everything."),
    int("log.index.interval.bytes").default("4096").at_least(0).cluster_wide()
        .works("An index entry is written each time this many bytes were appended."),
    int("log.index.size.max.bytes").default("10485760").at_least(4).cluster_wide()
        .works("Largest size in bytes of an index."),
    boolean("log.preallocate").default("false").cluster_wide()
        .works("Reserves the space of a segment when it is created."),
    long("log.flush.interval.messages").default("9223372036854775807").at_least(1).high().cluster_wide()
        .works("Messages after which a partition is synced to disk; 1 syncs before every acknowledgement."),
    long("log.flush.interval.ms").high().cluster_wide()
        .works("Time after which written messages are synced to disk; without it log.flush.scheduler.interval.ms."),
    long("log.flush.scheduler.interval.ms").default("9223372036854775807").high()
        .works("How often partitions are looked at for syncing."),
    int("log.flush.offset.checkpoint.interval.ms").default("60000").at_least(0).high()
        .works("How often the point up to which a log is synced is written down."),
    int("log.flush.start.offset.checkpoint.interval.ms").default("60000").at_least(0).high()
        .ignored("it is written with the recovery points (log.flush.offset.checkpoint.interval.ms)", "How often the start of each log is written down."),
    long("log.initial.task.delay.ms").default("30000").at_least(0).low().internal()
        .ignored("background work starts when the broker does", "Pause after the start before background work on logs begins."),
    string("log.message.timestamp.type").default("CreateTime").one_of(&["CreateTime", "LogAppendTime"]).cluster_wide()
        .works("Whether a record carries the producer's time or the broker's."),
    long("log.message.timestamp.before.max.ms").default("9223372036854775807").at_least(0).cluster_wide()
        .works("How far a record's time may lie behind the broker's."),
    long("log.message.timestamp.after.max.ms").default("3600000").at_least(0).cluster_wide()
        .works("How far a record's time may lie ahead of the broker's."),
    int("num.recovery.threads.per.data.dir").default("2").at_least(1).high().cluster_wide()
        .ignored("only what was damaged is read again, on the shared pool of threads", "Threads for each directory that recover logs at start and flush them at shutdown."),
    int("producer.id.expiration.ms").default("86400000").at_least(1).low().cluster_wide()
        .works("A partition forgets an idle producer after this long."),
    int("producer.id.expiration.check.interval.ms").default("600000").at_least(1).low().internal()
        .works("How often idle producers are looked for."),
    boolean("log.cleaner.enable").default("true")
        .works("Runs the log cleaner, which compacts topics."),
    int("log.cleaner.threads").default("1").at_least(0).cluster_wide()
        .works("Threads that compact."),
    double("log.cleaner.io.max.bytes.per.second").default("1.7976931348623157E308").cluster_wide()
        .works("Most bytes a second that the cleaner reads and writes."),
    long("log.cleaner.dedupe.buffer.size").default("134217728").cluster_wide()
        .works("Memory for the keys that a cleaning looks at, over all threads."),
    int("log.cleaner.io.buffer.size").default("524288").at_least(0).cluster_wide()
        .works("Memory for the cleaner's reads and writes, over all threads."),
    double("log.cleaner.io.buffer.load.factor").default("0.9").cluster_wide()
        .works("How full the cleaner's table of keys may get."),
    long("log.cleaner.backoff.ms").default("15000").at_least(0).cluster_wide()
        .works("How long the cleaner rests when there is nothing to do."),
    double("log.cleaner.min.cleanable.ratio").default("0.5").between(0.0, 1.0).cluster_wide()
        .works("Share of a log that must be new before it is compacted."),
    long("log.cleaner.delete.retention.ms").default("86400000").at_least(0).cluster_wide()
        .works("How long the marks of deleted keys stay in a compacted topic."),
    long("log.cleaner.min.compaction.lag.ms").default("0").at_least(0).cluster_wide()
        .works("Records younger than this are not compacted."),
    long("log.cleaner.max.compaction.lag.ms").default("9223372036854775807").at_least(1).cluster_wide()
        .works("Records older than this are compacted, whatever the ratio says."),
];
