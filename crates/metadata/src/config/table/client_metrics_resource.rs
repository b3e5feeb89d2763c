//! Settings of a client metrics subscription.

use crate::config::key::{Key, int, list};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    int("interval.ms").default("300000").works("How often clients push the metrics."),
    list("match").default("").works("Which clients a subscription is for, as selector=pattern."),
    list("metrics").default("").works("Prefixes of the metrics that are asked for; * is all of them."),
];
