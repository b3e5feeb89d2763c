//! Which log events are printed, by logger: changed while the worker runs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::level_filters::LevelFilter;

use crate::store::now_ms;

/// A level and when it was set, in ms since 1970; never, when it is from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    pub level: LevelFilter,
    pub modified: Option<i64>,
}

impl Level {
    /// As Kafka names it.
    pub fn name(&self) -> &'static str {
        match self.level {
            LevelFilter::OFF => "OFF",
            LevelFilter::ERROR => "ERROR",
            LevelFilter::WARN => "WARN",
            LevelFilter::INFO => "INFO",
            LevelFilter::DEBUG => "DEBUG",
            _ => "TRACE",
        }
    }
}

/// The levels of all loggers; a logger without one has that of the longest name that its own begins with.
#[derive(Debug)]
pub struct Loggers {
    levels: Mutex<BTreeMap<String, Level>>,
}

/// The name of the logger above all others.
const ROOT: &str = "root";

impl Loggers {
    pub fn new(level: LevelFilter) -> Loggers {
        Loggers { levels: Mutex::new(BTreeMap::from([(ROOT.to_owned(), Level { level, modified: None })])) }
    }

    fn levels(&self) -> MutexGuard<'_, BTreeMap<String, Level>> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loggers that have a level of their own.
    pub fn all(&self) -> BTreeMap<String, Level> {
        self.levels().clone()
    }

    /// The level of a logger that has one of its own.
    pub fn get(&self, name: &str) -> Option<Level> {
        self.levels().get(name).copied()
    }

    /// Reads a level's name, as log4j has them.
    pub fn parse(level: &str) -> Option<LevelFilter> {
        match level.to_ascii_uppercase().as_str() {
            "OFF" => Some(LevelFilter::OFF),
            "FATAL" | "ERROR" => Some(LevelFilter::ERROR),
            "WARN" => Some(LevelFilter::WARN),
            "INFO" => Some(LevelFilter::INFO),
            "DEBUG" => Some(LevelFilter::DEBUG),
            "TRACE" | "ALL" => Some(LevelFilter::TRACE),
            _ => None,
        }
    }

    /// Sets a level for a logger and those below it; says whose changed.
    pub fn set(&self, name: &str, level: LevelFilter) -> Vec<String> {
        let mut levels = self.levels();
        let new = Level { level, modified: Some(now_ms()) };
        let below = format!("{name}.");
        let mut changed: Vec<String> = Vec::new();
        levels.entry(name.to_owned()).or_insert(Level { level: LevelFilter::OFF, modified: None });
        for (logger, old) in levels.iter_mut() {
            if (logger == name || logger.starts_with(&below) || name == ROOT) && old.level != new.level {
                *old = new;
                changed.push(logger.clone());
            }
        }
        changed
    }

    /// Whether an event of this logger is printed.
    pub fn enabled(&self, logger: &str, level: &tracing::Level) -> bool {
        let levels = self.levels();
        let mut name = logger;
        loop {
            if let Some(found) = levels.get(name) {
                return *level <= found.level;
            }
            match name.rfind(['.', ':']) {
                Some(end) => name = &name[..end],
                None => return levels.get(ROOT).is_some_and(|root| *level <= root.level),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level as Event;

    #[test]
    fn the_longest_name_counts() {
        let loggers = Loggers::new(LevelFilter::INFO);
        assert!(loggers.enabled("a.b.C", &Event::INFO) && !loggers.enabled("a.b.C", &Event::DEBUG));
        assert_eq!(loggers.set("a.b", LevelFilter::DEBUG), ["a.b"]);
        assert!(loggers.enabled("a.b.C", &Event::DEBUG) && !loggers.enabled("a.bc", &Event::DEBUG));
        assert_eq!(loggers.set("a.b", LevelFilter::DEBUG), Vec::<String>::new());
        assert_eq!(Loggers::parse("warn"), Some(LevelFilter::WARN));
        assert_eq!(Loggers::parse("loud"), None);
    }
}
