//! Klamm's own keys, which environment variables may set as well (`KLAMM_LOG_FORMAT`), below the file. They are
//! `internal` so that DescribeConfigs names them only where they are set, as Kafka's would.

use crate::config::key::{Key, int, list, long, string};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    string("klamm.log.format").default("human").one_of(&["human", "json"]).internal()
        .works("Whether the broker's own log has lines for people, in log4j's form, or an object of JSON a line."),
    string("klamm.log.file").not_empty().internal()
        .works("File that the broker's own log goes to instead of standard output; the start script's -daemon sets it."),
    long("klamm.log.file.max.bytes").default("104857600").at_least(4096).internal()
        .works("Size at which that file is put aside and a new one begun."),
    int("klamm.log.file.max.count").default("10").range(0, 1000).internal()
        .works("Files put aside that are kept; the oldest beyond them goes."),
    list("klamm.log.levels").internal()
        .works("Levels of loggers at start, as root=INFO,kafka.request.logger=DEBUG; kafka-configs changes them later."),
    string("klamm.metrics.listener").not_empty().internal()
        .works("Address (host:port) where GET /metrics answers in Prometheus' format; off unless set. Keep it off the internet."),
];
