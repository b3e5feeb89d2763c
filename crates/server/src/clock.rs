//! The wall clock, for record timestamps and deadlines that the protocol states in milliseconds since 1970.

use std::time::{SystemTime, UNIX_EPOCH};

/// Reads the system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Clock {
    /// Milliseconds since 1970; 0 for a clock before that.
    pub fn now_ms(self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
    }
}
