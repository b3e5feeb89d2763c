//! Metrics, telemetry, quota windows.

use crate::config::key::{Key, class, int, list, long, string};

const METRICS_OVER_HTTP: &str = "metrics are read over HTTP (klamm.metrics.listener); Java plugins cannot be loaded";
const RATES: &str = "rates are computed by whoever reads the metrics";

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    list("metric.reporters").default("org.apache.kafka.common.metrics.JmxReporter").low().cluster_wide()
        .ignored(METRICS_OVER_HTTP, "Java classes that report metrics."),
    list("kafka.metrics.reporters").default("").low()
        .ignored(METRICS_OVER_HTTP, "Java classes that report metrics of the older kind."),
    int("kafka.metrics.polling.interval.secs").default("10").at_least(1).low()
        .ignored("metrics are read over HTTP (klamm.metrics.listener)", "How often those reporters are asked."),
    int("metrics.num.samples").default("2").at_least(1).low().ignored(RATES, "Samples kept for rates."),
    long("metrics.sample.window.ms").default("30000").at_least(1).low().ignored(RATES, "Length of a sample for rates."),
    string("metrics.recording.level").default("INFO").low()
        .ignored("everything that is measured is always shown", "How much is measured."),
    int("telemetry.max.bytes").default("1048576").at_least(1).low()
        .works("Largest metrics message of a client in bytes."),
    int("quota.window.num").default("11").at_least(1).low().later("quotas", "Samples kept for client quotas."),
    int("quota.window.size.seconds").default("1").at_least(1).low()
        .later("quotas", "Length of a sample for client quotas."),
    class("client.quota.callback.class").low()
        .refused("quotas are not there yet, and Java plugins cannot be loaded", "Java class that decides which quota a client has."),
];
