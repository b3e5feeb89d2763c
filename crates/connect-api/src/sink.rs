//! What takes records out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::{Error, Properties, Result, SinkRecord};

/// A topic's name and a partition's number.
pub type TopicPartition = (Arc<str>, i32);

/// For each partition the offset of the next record that is not yet taken out.
pub type Offsets = BTreeMap<TopicPartition, i64>;

/// What the worker does for a sink's task.
pub trait SinkContext: Send + Sync {
    /// The partitions that this task has now.
    fn assignment(&self) -> Vec<TopicPartition>;

    /// Has the records of a partition come again from that offset on, after the current call returns.
    fn rewind(&self, partition: TopicPartition, offset: i64);

    /// How long to wait before a [`SinkTask::put`] that failed with a retriable error is called again.
    fn retry_after(&self, time: Duration);

    /// Has offsets committed soon, and not only when it is time.
    fn request_commit(&self);

    fn pause(&self, partitions: &[TopicPartition]);

    fn resume(&self, partitions: &[TopicPartition]);

    /// Reports a record that cannot be taken out: by `errors.tolerance` the task goes on, and the record may end up in the
    /// dead-letter topic; otherwise this fails.
    fn report(&self, record: &SinkRecord, error: Error) -> Result<()>;
}

/// Takes records out. All calls come from one thread.
pub trait SinkTask: Send {
    fn start(&mut self, properties: &Properties, context: Arc<dyn SinkContext>) -> Result<()>;

    /// The task got more partitions.
    fn open(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let _ = partitions;
        Ok(())
    }

    /// Takes records out, or keeps them until [`flush`](Self::flush). A retriable error has the same records come again.
    fn put(&mut self, records: &[SinkRecord]) -> Result<()>;

    /// Sees to it that everything before these offsets is out; they are committed afterwards.
    fn flush(&mut self, offsets: &Offsets) -> Result<()> {
        let _ = offsets;
        Ok(())
    }

    /// The offsets that may be committed: all of them after a [`flush`](Self::flush), if nothing else is said.
    fn pre_commit(&mut self, offsets: Offsets) -> Result<Offsets> {
        self.flush(&offsets)?;
        Ok(offsets)
    }

    /// The task loses partitions; offsets were committed before.
    fn close(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let _ = partitions;
        Ok(())
    }

    fn stop(&mut self) {}
}
