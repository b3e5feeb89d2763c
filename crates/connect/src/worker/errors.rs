//! What happens to a record that cannot be worked on: tried again, skipped and reported, or the end of the task.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use connect_api::{Error, Result};
use tracing::error;

use super::dead_letters::DeadLetterQueue;
use super::metrics::TaskMetrics;
use super::signal::Signal;
use crate::config::connector::ErrorPolicy;
use crate::store::TaskId;

/// Where in a record's way something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Transformation,
    KeyConverter,
    ValueConverter,
    HeaderConverter,
    Put,
    Produce,
}

impl Stage {
    /// As dead letters and logs have it.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Transformation => "TRANSFORMATION",
            Stage::KeyConverter => "KEY_CONVERTER",
            Stage::ValueConverter => "VALUE_CONVERTER",
            Stage::HeaderConverter => "HEADER_CONVERTER",
            Stage::Put => "TASK_PUT",
            Stage::Produce => "KAFKA_PRODUCE",
        }
    }
}

/// A record as it was read from a topic, before anything was done to it.
#[derive(Clone, Copy)]
pub struct Raw<'r> {
    pub topic: &'r str,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<&'r [u8]>,
    pub value: Option<&'r [u8]>,
    pub headers: &'r [(&'r str, Option<&'r [u8]>)],
}

/// What failed.
pub struct Failure<'f> {
    pub stage: Stage,
    /// The class that failed.
    pub class: &'f str,
    pub error: &'f Error,
    /// Only the records of sinks.
    pub raw: Option<Raw<'f>>,
    /// What the log calls the record.
    pub record: String,
}

/// How a task takes errors.
pub struct Errors {
    pub id: TaskId,
    policy: ErrorPolicy,
    dead_letters: Option<DeadLetterQueue>,
    metrics: Arc<TaskMetrics>,
    signal: Signal,
}

impl Errors {
    pub fn new(
        id: TaskId,
        policy: ErrorPolicy,
        dead_letters: Option<DeadLetterQueue>,
        metrics: Arc<TaskMetrics>,
        signal: Signal,
    ) -> Errors {
        Errors { id, policy, dead_letters, metrics, signal }
    }

    /// Does something, and again while it says that this may help and `errors.retry.timeout` allows.
    pub fn retried<T, E>(
        &self,
        mut f: impl FnMut() -> std::result::Result<T, E>,
        is_retriable: impl Fn(&E) -> bool,
    ) -> std::result::Result<T, E> {
        const FIRST_PAUSE: Duration = Duration::from_millis(300);
        // Nearly nothing fails, and this is asked for every record.
        let mut begun = None;
        let mut pause = FIRST_PAUSE;
        loop {
            match f() {
                Err(error) if is_retriable(&error) => {
                    self.metrics.failures.fetch_add(1, Relaxed);
                    let pause_now = pause.min(self.policy.retry_delay_max.max(Duration::from_millis(1)));
                    let begun = begun.get_or_insert_with(Instant::now);
                    let in_time = self.policy.retry_timeout.is_none_or(|limit| begun.elapsed() + pause_now <= limit);
                    if !in_time || !self.signal.wait(pause_now) {
                        return Err(error);
                    }
                    self.metrics.retries.fetch_add(1, Relaxed);
                    pause *= 2;
                }
                other => return other,
            }
        }
    }

    /// Reports a failure. `Ok` when the task goes on without the record.
    pub fn tolerate(&self, failure: &Failure<'_>) -> Result<()> {
        self.metrics.failures.fetch_add(1, Relaxed);
        self.metrics.errors.fetch_add(1, Relaxed);
        self.metrics.last_error_ms.store(crate::store::now_ms(), Relaxed);
        if self.policy.log {
            let record = if self.policy.log_records {
                format!(", where record is = {{{}}}", failure.record)
            } else {
                String::new()
            };
            error!(
                target: "org.apache.kafka.connect.runtime.errors.LogReporter",
                "Error encountered in task {}. Executing stage '{}' with class '{}'{record}. {}",
                self.id, failure.stage.name(), failure.class, failure.error.trace().trim_end()
            );
        }
        if let (Some(queue), Some(raw)) = (&self.dead_letters, &failure.raw) {
            queue.report(&self.id, failure, raw)?;
        }
        if self.policy.tolerate_all {
            self.metrics.skipped.fetch_add(1, Relaxed);
            return Ok(());
        }
        Err(self.exceeded(failure))
    }

    /// The end of the task: what failed, where, and what would let it go on.
    fn exceeded(&self, failure: &Failure<'_>) -> Error {
        let what = match failure.stage {
            Stage::Transformation => "cannot be transformed",
            Stage::KeyConverter => "has a key that cannot be converted",
            Stage::ValueConverter => "has a value that cannot be converted",
            Stage::HeaderConverter => "has a header that cannot be converted",
            Stage::Produce => "cannot be written",
            Stage::Put => "failed",
        };
        let json = failure.class.ends_with("JsonConverter") && failure.raw.is_some();
        let plain = match json {
            true => {
                " Records that are JSON without an envelope of schema and payload need value.converter.schemas.enable=false \
                 (key.converter.schemas.enable for keys); records that are plain text need \
                 org.apache.kafka.connect.storage.StringConverter."
            }
            false => "",
        };
        let kept = match failure.raw.is_some() {
            true => ", with errors.deadletterqueue.topic.name they are kept in another topic",
            false => "",
        };
        Error::connect(format!(
            "Tolerance exceeded in error handler: {} {what} by {}. With errors.tolerance=all such records are \
             skipped{kept}.{plain}",
            failure.record, failure.class
        ))
        .caused_by(failure.error.clone())
    }

    /// Waits until all dead letters are written.
    pub async fn flush(&self) -> Result<()> {
        match &self.dead_letters {
            Some(queue) => queue.flush().await,
            None => Ok(()),
        }
    }
}
