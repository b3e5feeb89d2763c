//! The topic for records that failed in a sink: each as it was read, with headers that tell what happened.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use client::Properties;
use client::admin::{Admin, NewTopic};
use client::producer::{Producer, ProducerRecord};
use connect_api::{Error, Result};
use tokio::runtime::Handle;
use wire::ErrorCode;

use super::errors::{Failure, Raw};
use super::metrics::TaskMetrics;
use crate::config::connector::DeadLetters;
use crate::store::TaskId;

/// Writes dead letters.
pub struct DeadLetterQueue {
    settings: DeadLetters,
    producer: Producer,
    handle: Handle,
    metrics: Arc<TaskMetrics>,
    /// What became of those that were not written.
    failed: Arc<Mutex<Option<client::Error>>>,
}

impl DeadLetterQueue {
    /// Makes the topic where it is missing: one partition.
    pub async fn open(
        settings: DeadLetters,
        producer: &Properties,
        admin: &Properties,
        metrics: Arc<TaskMetrics>,
    ) -> Result<DeadLetterQueue> {
        let failed = |e: client::Error| {
            Error::connect(format!("Could not initialize dead letter queue with topic={}", settings.topic))
                .caused_by(Error::connect(format!("{}: {e}", e.class())))
        };
        let admin = Admin::open(admin).await.map_err(failed)?;
        let new = NewTopic {
            name: settings.topic.clone(),
            partitions: Some(1),
            replication_factor: Some(settings.replication_factor),
            ..NewTopic::default()
        };
        let names = [settings.topic.clone()];
        let metadata =
            admin.client().metadata(client::Topics::Names(&names), false, "metadata").await.map_err(failed)?;
        let exists = metadata.topic(&settings.topic).is_some_and(|t| t.error == ErrorCode::None);
        if !exists {
            match admin.create_topic(&new).await {
                Err(error) if error.error_code() == Some(ErrorCode::TopicAlreadyExists) => {}
                other => other.map_err(failed)?,
            }
        }
        let producer = Producer::open(producer).await.map_err(failed)?;
        Ok(DeadLetterQueue { settings, producer, handle: Handle::current(), metrics, failed: Arc::default() })
    }

    /// Hands a record over. A letter that was not written before ends the task: it would be lost otherwise.
    pub fn report(&self, id: &TaskId, failure: &Failure<'_>, raw: &Raw<'_>) -> Result<()> {
        self.check()?;
        self.metrics.dead_letters.fetch_add(1, Relaxed);
        let context = if self.settings.with_context { context(id, failure, raw) } else { Vec::new() };
        let mut headers: Vec<(&str, Option<&[u8]>)> = raw.headers.to_vec();
        headers.extend(context.iter().map(|(name, value)| (*name, value.as_deref())));
        let record = ProducerRecord {
            topic: &self.settings.topic,
            timestamp: (raw.timestamp >= 0).then_some(raw.timestamp),
            key: raw.key,
            value: raw.value,
            headers: &headers,
            ..ProducerRecord::default()
        };
        let failed = self.failed.clone();
        let delivery = Box::new(move |result: std::result::Result<_, client::Error>| {
            if let Err(error) = result {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        });
        self.handle.block_on(self.producer.send(&record, Some(delivery))).map_err(|e| self.lost(&e))
    }

    /// Waits until everything is written.
    pub async fn flush(&self) -> Result<()> {
        self.producer.flush().await;
        self.check()
    }

    fn check(&self) -> Result<()> {
        match &*self.failed.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(error) => Err(self.lost(error)),
        }
    }

    fn lost(&self, error: &client::Error) -> Error {
        Error::connect(format!("Could not produce message to dead letter queue. topic={}", self.settings.topic))
            .caused_by(Error::connect(format!("{}: {error}", error.class())))
    }
}

/// What the headers tell: where the record was, and what failed.
fn context(id: &TaskId, failure: &Failure<'_>, raw: &Raw<'_>) -> Vec<(&'static str, Option<Vec<u8>>)> {
    let root = failure.error;
    let text = |text: String| Some(text.into_bytes());
    vec![
        ("__connect.errors.topic", text(raw.topic.to_owned())),
        ("__connect.errors.partition", text(raw.partition.to_string())),
        ("__connect.errors.offset", text(raw.offset.to_string())),
        ("__connect.errors.connector.name", text(id.connector.clone())),
        ("__connect.errors.task.id", text(id.task.to_string())),
        ("__connect.errors.stage", text(failure.stage.name().to_owned())),
        ("__connect.errors.class.name", text(failure.class.to_owned())),
        ("__connect.errors.exception.class.name", text(root.class().to_owned())),
        ("__connect.errors.exception.message", text(root.message.clone())),
        ("__connect.errors.exception.stacktrace", text(root.trace())),
    ]
}
