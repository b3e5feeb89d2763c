//! Settings of a client metrics subscription.

use crate::config::key::{Key, int, list};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    int("interval.ms").default("300000").later("client telemetry", "How often clients push the metrics."),
    list("match").default("").later("client telemetry", "Which clients a subscription is for, as selector=pattern."),
    list("metrics").default("")
        .later("client telemetry", "Prefixes of the metrics that are asked for; * is all of them."),
];
