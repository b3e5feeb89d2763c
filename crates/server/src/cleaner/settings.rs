//! What the cleaner is told, and how fast it may go.

use metadata::config::table::broker_key;
use metadata::config::{Layers, Value};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use storage::CleanerLimits;

/// The `log.cleaner.` settings that are not a topic's. Replaced as a whole when they change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CleanerSettings {
    pub enable: bool,
    pub threads: usize,
    /// For all threads together, in bytes.
    pub dedupe_buffer_size: usize,
    pub io_buffer_size: usize,
    pub load_factor: f64,
    /// Read and written, for all threads together.
    pub io_max_bytes_per_second: f64,
    pub backoff: Duration,
}

impl CleanerSettings {
    pub fn of(layers: &Layers<'_>) -> CleanerSettings {
        let value = |name| broker_key(name).and_then(|key| layers.value(key));
        let whole = |name| match value(name) {
            Some(Value::Whole(number)) => usize::try_from(number).unwrap_or(0),
            _ => 0,
        };
        let double = |name, default| match value(name) {
            Some(Value::Double(number)) => number,
            _ => default,
        };
        CleanerSettings {
            enable: value("log.cleaner.enable") != Some(Value::Boolean(false)),
            threads: whole("log.cleaner.threads"),
            dedupe_buffer_size: whole("log.cleaner.dedupe.buffer.size"),
            io_buffer_size: whole("log.cleaner.io.buffer.size"),
            load_factor: double("log.cleaner.io.buffer.load.factor", 0.9),
            io_max_bytes_per_second: double("log.cleaner.io.max.bytes.per.second", f64::MAX),
            backoff: Duration::from_millis(whole("log.cleaner.backoff.ms") as u64),
        }
    }

    /// What one thread may take.
    pub fn limits(&self) -> CleanerLimits {
        let threads = self.threads.max(1);
        CleanerLimits {
            // Kafka does not make a map above 2 GiB either.
            map_bytes: (self.dedupe_buffer_size / threads).min(i32::MAX as usize),
            load_factor: self.load_factor,
            // One half for what is read, one for what is written.
            io_bytes: self.io_buffer_size / threads / 2,
        }
    }
}

/// Spreads the bytes of all threads over time.
#[derive(Default)]
pub struct Throttle(Mutex<Option<Instant>>);

impl Throttle {
    /// How long to wait after `bytes`, at so many a second.
    pub fn delay(&self, bytes: u64, per_second: f64) -> Duration {
        let cost = bytes as f64 / per_second.max(1.0);
        if cost < 1e-9 {
            return Duration::ZERO;
        }
        // A single step is never worth more than a minute, whatever the setting says.
        let cost = Duration::from_secs_f64(cost.min(60.0));
        let mut free_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let begin = free_at.unwrap_or(now).max(now);
        *free_at = Some(begin + cost);
        begin + cost - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::Properties;

    fn settings(lines: &[(&str, &str)]) -> CleanerSettings {
        let file: Properties = lines.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        CleanerSettings::of(&Layers::of_file(&file))
    }

    #[test]
    fn threads_share_what_there_is() {
        let defaults = settings(&[]);
        assert_eq!((defaults.enable, defaults.threads, defaults.backoff), (true, 1, Duration::from_secs(15)));
        assert_eq!(defaults.limits().map_bytes, 128 << 20);
        let four = settings(&[("log.cleaner.threads", "4"), ("log.cleaner.enable", "false")]);
        assert_eq!((four.enable, four.limits().map_bytes, four.limits().io_bytes), (false, 32 << 20, 64 << 10));
    }

    #[test]
    fn bytes_are_spread_over_time_and_without_a_limit_nobody_waits() {
        let throttle = Throttle::default();
        assert_eq!(throttle.delay(1 << 40, f64::MAX), Duration::ZERO);
        let (first, second) = (throttle.delay(1000, 1000.0), throttle.delay(1000, 1000.0));
        assert!(first <= Duration::from_secs(1) && second > Duration::from_millis(1900), "{first:?} {second:?}");
        assert!(throttle.delay(u64::MAX, 0.0) <= Duration::from_secs(62));
    }
}
