//! Klamm's own keys. They are `internal` so that DescribeConfigs names them only where they are set, as Kafka's would.

use crate::config::key::{Key, string};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    string("klamm.metrics.listener").not_empty().internal()
        .works("Address (host:port) where GET /metrics answers in Prometheus' format; off unless set. Keep it off the internet."),
];
