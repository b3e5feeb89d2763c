//! What brings records in.

use std::sync::Arc;
use std::time::Duration;

use crate::{Properties, Result, SourceMap, SourceRecord};

/// What the worker does for a source's task.
pub trait SourceContext: Send + Sync {
    /// How far a part of the source was read and written before.
    fn offset(&self, partition: &SourceMap) -> Result<Option<SourceMap>>;

    /// Waits, and returns early with `false` when the task is to stop.
    fn wait(&self, time: Duration) -> bool;

    /// Whether the task is to stop: a poll that takes long looks now and then.
    fn is_stopping(&self) -> bool;
}

/// Brings records in. All calls come from one thread; only [`SourceContext`] may be used from others.
pub trait SourceTask: Send {
    fn start(&mut self, properties: &Properties, context: Arc<dyn SourceContext>) -> Result<()>;

    /// The next records, as soon as there are any. May wait for them by [`SourceContext::wait`], and may return none, but
    /// should not keep returning none without waiting. A retriable error has it called again.
    fn poll(&mut self) -> Result<Vec<SourceRecord>>;

    /// Everything up to here is written, and its offsets with it.
    fn commit(&mut self) -> Result<()> {
        Ok(())
    }

    fn stop(&mut self) {}
}
