//! The clocks. The wall clock is for what is told: timestamps of records, and times in files. It may be set, forwards and
//! backwards, by any amount. So whatever waits, or judges who is late, goes by the steady clock.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Reads the system's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Clock {
    /// Milliseconds since 1970; 0 for a clock before that.
    pub fn now_ms(self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
    }

    /// Milliseconds on a clock that goes on by itself, whatever the wall clock is set to. It begins with the process.
    pub fn steady_ms(self) -> i64 {
        STARTED.elapsed().as_millis() as i64
    }
}
