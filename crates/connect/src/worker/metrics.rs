//! What tasks have done, as numbers for whoever watches.

use std::fmt::Write;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;

use crate::store::TaskId;

/// The numbers of a task since it was started.
#[derive(Debug, Default)]
pub struct TaskMetrics {
    /// Records that a source's task gave, or a sink's consumer.
    pub read: AtomicI64,
    /// Records that were written to a topic, or handed to a sink's task.
    pub written: AtomicI64,
    /// Records of a source that are not acknowledged.
    pub active: AtomicI64,
    pub batches: AtomicI64,
    /// Attempts that failed, those that were tried again among them.
    pub failures: AtomicI64,
    /// Records that failed for good.
    pub errors: AtomicI64,
    pub skipped: AtomicI64,
    pub retries: AtomicI64,
    pub dead_letters: AtomicI64,
    pub last_error_ms: AtomicI64,
    pub commits: AtomicI64,
    pub commit_failures: AtomicI64,
    pub partitions: AtomicI64,
}

/// A task's numbers, with what they are called by.
pub struct Sample<'s> {
    pub id: &'s TaskId,
    pub source: bool,
    pub state: &'s str,
    pub metrics: &'s TaskMetrics,
}

/// One number of a task: its name, its kind, what it is, and where it stands.
type Row = (&'static str, &'static str, &'static str, fn(&TaskMetrics) -> &AtomicI64);

const SOURCE: &[Row] = &[
    ("source_task_source_record_poll_total", "counter", "Records that the task brought in.", |m| &m.read),
    ("source_task_source_record_write_total", "counter", "Records that were written.", |m| &m.written),
    ("source_task_source_record_active_count", "gauge", "Records that are not acknowledged.", |m| &m.active),
];

const SINK: &[Row] = &[
    ("sink_task_sink_record_read_total", "counter", "Records that were read.", |m| &m.read),
    ("sink_task_sink_record_send_total", "counter", "Records that the task took.", |m| &m.written),
    ("sink_task_partition_count", "gauge", "Partitions that the task has.", |m| &m.partitions),
];

const BOTH: &[Row] = &[
    ("task_batches_total", "counter", "Batches of records.", |m| &m.batches),
    ("task_offset_commit_success_total", "counter", "Commits of offsets.", |m| &m.commits),
    ("task_offset_commit_failure_total", "counter", "Commits of offsets that failed.", |m| &m.commit_failures),
    ("task_error_total_record_failures", "counter", "Attempts that failed.", |m| &m.failures),
    ("task_error_total_record_errors", "counter", "Records that failed for good.", |m| &m.errors),
    ("task_error_total_records_skipped", "counter", "Records that were skipped.", |m| &m.skipped),
    ("task_error_total_retries", "counter", "Attempts that were made again.", |m| &m.retries),
    ("task_error_deadletterqueue_produce_requests", "counter", "Dead letters.", |m| &m.dead_letters),
    ("task_error_last_error_timestamp", "gauge", "When a record failed last, in ms since 1970.", |m| &m.last_error_ms),
];

/// The page of a worker, in Prometheus' text format.
pub fn page(connectors: &[(String, &'static str, &'static str)], samples: &[Sample<'_>]) -> String {
    let mut out = String::new();
    let mut gauge = |name: &str, help: &str, value: usize| {
        let _ = writeln!(
            out,
            "# HELP kafka_connect_{name} {help}\n# TYPE kafka_connect_{name} gauge\nkafka_connect_{name} {value}"
        );
    };
    gauge("worker_connector_count", "Connectors on this worker.", connectors.len());
    gauge("worker_task_count", "Tasks on this worker.", samples.len());
    let _ = writeln!(
        out,
        "# HELP kafka_connect_connector_status What a connector is doing.\n# TYPE kafka_connect_connector_status gauge"
    );
    for (name, kind, state) in connectors {
        let _ = writeln!(
            out,
            "kafka_connect_connector_status{{connector=\"{}\",type=\"{kind}\",status=\"{state}\"}} 1",
            escaped(name)
        );
    }
    let _ =
        writeln!(out, "# HELP kafka_connect_task_status What a task is doing.\n# TYPE kafka_connect_task_status gauge");
    for sample in samples {
        let _ = writeln!(out, "kafka_connect_task_status{{{},status=\"{}\"}} 1", labels(sample.id), sample.state);
    }
    for (rows, wanted) in [(SOURCE, Some(true)), (SINK, Some(false)), (BOTH, None)] {
        for (name, kind, help, value) in rows {
            let _ = writeln!(out, "# HELP kafka_connect_{name} {help}\n# TYPE kafka_connect_{name} {kind}");
            for sample in samples.iter().filter(|s| wanted.is_none_or(|w| w == s.source)) {
                let _ = writeln!(
                    out,
                    "kafka_connect_{name}{{{}}} {}",
                    labels(sample.id),
                    value(sample.metrics).load(Relaxed)
                );
            }
        }
    }
    out
}

fn labels(id: &TaskId) -> String {
    format!("connector=\"{}\",task=\"{}\"", escaped(&id.connector), id.task)
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_line_for_each_task() {
        let metrics = TaskMetrics::default();
        metrics.read.store(7, Relaxed);
        let id = TaskId { connector: "a\"b".into(), task: 2 };
        let page = page(&[], &[Sample { id: &id, source: false, state: "running", metrics: &metrics }]);
        assert!(page.contains("kafka_connect_sink_task_sink_record_read_total{connector=\"a\\\"b\",task=\"2\"} 7\n"));
        assert!(!page.contains("source_record_poll_total{"));
    }
}
