//! Brokers that were fenced a moment ago.
//!
//! Metadata goes on listing a broker for a session's length after it was fenced, as long as Apache Kafka takes to notice that
//! it ended. librdkafka (since 2.10) throws away whatever it has of a broker that is not listed, and where the same answer
//! moves a partition away from that broker, it stalls the partition for a second. A client that takes a listed broker for
//! alive finds its port refused, and tries another.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When each was fenced.
#[derive(Debug, Default)]
pub struct Departed(Mutex<HashMap<i32, Instant>>);

impl Departed {
    /// A broker's state has changed from whether it served to whether it serves.
    pub fn changed(&self, broker: i32, served: bool, serves: bool) {
        let mut fenced = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if serves {
            fenced.remove(&broker);
        } else if served {
            fenced.insert(broker, Instant::now());
        }
    }

    /// Whether this broker was fenced less than `session` ago.
    pub fn is_recent(&self, broker: i32, session: Duration) -> bool {
        let fenced = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        fenced.get(&broker).is_some_and(|at| at.elapsed() < session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_recent_from_its_fencing_until_it_comes_back() {
        let (departed, session) = (Departed::default(), Duration::from_secs(60));
        departed.changed(1, false, false);
        assert!(!departed.is_recent(1, session), "it was not there before");
        departed.changed(1, true, false);
        assert!(departed.is_recent(1, session) && !departed.is_recent(2, session));
        assert!(!departed.is_recent(1, Duration::ZERO), "its session is over");
        departed.changed(1, false, true);
        assert!(!departed.is_recent(1, session), "it is back");
    }
}
