//! What a worker remembers, and where: connectors, their states, and how far sources are read.

mod configs;
mod java_map;
mod offsets;
mod statuses;
mod topic_log;

pub use configs::{ConfigEvent, Configs, ConfigsState, RestartRequest, TargetState};
pub use offsets::{Offsets, source_map, source_map_json};
pub use statuses::{State, Status, Statuses, TaskId, TopicUse};
pub use topic_log::TopicLog;

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in ms since 1970.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
