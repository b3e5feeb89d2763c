//! The names by which events are switched on and off, and their levels. Levels are changed while the broker runs
//! (BROKER_LOGGER resources, KIP-412) and forgotten with it, as in Kafka.
//!
//! A logger is a room of this program, its modules' path with dots: `server.cleaner`. What has no level of its own takes
//! that of the logger around it, in the end that of `root`. Names that people set in Kafka stand for rooms: setting such a
//! name sets each of its rooms.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use metadata::config::describe::{Entry, Source};
use metadata::controller::{AlterOp, Refusal};
use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use wire::ErrorCode;

use super::requests;

pub const ROOT: &str = "root";

/// The outermost rooms, one for each crate that logs.
const OUTER: [&str; 7] = ["broker", "client", "coordinator", "metadata", "replication", "server", "storage"];

/// Rooms inside of others.
const INNER: [&str; 11] = [
    "server.api",
    "server.cleaner",
    "server.controller",
    "server.groups",
    "server.housekeeping",
    "server.log_dirs",
    "server.metrics",
    "server.net",
    "server.node",
    "server.reconciler",
    "server.start",
];

/// Kafka's names (those of its shipped log4j files, old and new, and the packages above them), and the rooms they stand for.
const KAFKAS: [(&str, &[&str]); 13] = [
    ("kafka", &OUTER),
    ("kafka.controller", &["server.controller", "metadata"]),
    ("kafka.coordinator.group", &["server.groups", "coordinator"]),
    ("kafka.log", &["storage", "server.log_dirs", "server.housekeeping", "server.cleaner"]),
    ("kafka.log.LogCleaner", &["server.cleaner"]),
    ("kafka.network", &["server.net"]),
    ("kafka.network.RequestChannel$", &[requests::LOGGER]),
    ("kafka.server", &["server"]),
    ("org.apache.kafka", &OUTER),
    ("org.apache.kafka.controller", &["server.controller", "metadata"]),
    ("org.apache.kafka.storage.internals.log.LogCleaner", &["server.cleaner"]),
    ("org.apache.kafka.storage.internals.log.LogCleaner$CleanerThread", &["server.cleaner"]),
    ("state.change.logger", &["server.reconciler"]),
];

/// A level under its name in Kafka. Nothing here is logged as FATAL, so that it silences like OFF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
    Off,
}

impl Level {
    pub const ALL: [Level; 7] =
        [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Fatal, Level::Off];

    pub fn name(self) -> &'static str {
        match self {
            Level::Trace => "TRACE",
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
            Level::Fatal => "FATAL",
            Level::Off => "OFF",
        }
    }

    /// The level of this name, which is in capitals.
    pub fn named(name: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.name() == name)
    }

    fn filter(self) -> LevelFilter {
        match self {
            Level::Trace => LevelFilter::TRACE,
            Level::Debug => LevelFilter::DEBUG,
            Level::Info => LevelFilter::INFO,
            Level::Warn => LevelFilter::WARN,
            Level::Error => LevelFilter::ERROR,
            Level::Fatal | Level::Off => LevelFilter::OFF,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One change of a logger: its name, what is done, the level where one is set.
pub type Change = (String, AlterOp, Option<String>);

/// The levels that loggers have of their own. `root` always has one.
#[derive(Debug)]
pub struct Loggers {
    own: RwLock<BTreeMap<&'static str, Level>>,
}

impl Loggers {
    /// Kafka's levels as shipped, and these on top; names that are no loggers are passed over.
    pub fn new(levels: &[(String, Level)]) -> Loggers {
        let mut own = BTreeMap::from([(ROOT, Level::Info), (requests::LOGGER, Level::Warn)]);
        for (name, level) in levels {
            own.extend(rooms(name).unwrap_or_default().iter().map(|room| (*room, *level)));
        }
        Loggers { own: RwLock::new(own) }
    }

    /// Whether an event of this kind is to be logged.
    pub fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.lets_through(*metadata.level(), metadata.target())
    }

    fn lets_through(&self, level: tracing::Level, target: &str) -> bool {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        level <= level_of(&own, &target.replace("::", ".")).filter()
    }

    /// What no event of any logger goes beyond.
    pub fn most_verbose(&self) -> LevelFilter {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        own.values().min().map_or(LevelFilter::OFF, |level| level.filter())
    }

    /// All loggers with the levels that hold for them, by name.
    pub fn describe(&self, wanted: impl Fn(&str) -> bool) -> Vec<Entry> {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<&'static str> = all().filter(|name| wanted(name)).collect();
        names.sort_unstable();
        let level = |name| rooms(name).and_then(|rooms| rooms.first().copied()).map(|room| level_of(&own, room));
        let entry = |name: &'static str| Entry {
            name: name.to_owned(),
            value: level(name).map(|level| level.to_string()),
            source: Source::DynamicBrokerLogger,
            read_only: false,
            sensitive: false,
            kind: None,
            documentation: None,
            synonyms: Vec::new(),
        };
        names.into_iter().map(entry).collect()
    }

    /// Changes levels, all or none of them.
    pub fn alter(&self, changes: &[Change], validate_only: bool) -> Result<(), Refusal> {
        changes.iter().try_for_each(check)?;
        if validate_only {
            return Ok(());
        }
        {
            let mut own = self.own.write().unwrap_or_else(PoisonError::into_inner);
            for (name, _, level) in changes {
                for room in rooms(name).unwrap_or_default() {
                    match level.as_deref().and_then(Level::named) {
                        Some(level) => own.insert(room, level),
                        None => own.remove(room),
                    };
                }
            }
        }
        // Every place that logs remembers whether it is on.
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }
}

/// Whether a logger of this name is here.
pub fn exists(name: &str) -> bool {
    rooms(name).is_some()
}

fn all() -> impl Iterator<Item = &'static str> {
    let rooms = [ROOT, requests::LOGGER].into_iter().chain(OUTER).chain(INNER);
    rooms.chain(KAFKAS.into_iter().map(|(name, _)| name))
}

/// The rooms that a logger's name stands for, the foremost first.
fn rooms(name: &str) -> Option<Vec<&'static str>> {
    if let Some((_, rooms)) = KAFKAS.iter().find(|(kafkas, _)| *kafkas == name) {
        return Some(rooms.to_vec());
    }
    all().find(|known| *known == name).map(|known| vec![known])
}

/// The level that holds in a room.
fn level_of(own: &BTreeMap<&'static str, Level>, room: &str) -> Level {
    let mut around = room;
    loop {
        if let Some(level) = own.get(around) {
            return *level;
        }
        match around.rsplit_once('.') {
            Some((outer, _)) => around = outer,
            None => return own.get(ROOT).copied().unwrap_or(Level::Info),
        }
    }
}

fn check((name, op, level): &Change) -> Result<(), Refusal> {
    let invalid_request = |text: String| Err(Refusal::new(ErrorCode::InvalidRequest, text));
    let invalid_config = |text: String| Err(Refusal::new(ErrorCode::InvalidConfig, text));
    match op {
        AlterOp::Append => {
            return invalid_request("APPEND operation is not allowed for the BROKER_LOGGER resource".to_owned());
        }
        AlterOp::Subtract => {
            return invalid_request("SUBTRACT operation is not allowed for the BROKER_LOGGER resource".to_owned());
        }
        AlterOp::Set | AlterOp::Delete => {}
    }
    if !exists(name) {
        return invalid_config(format!("Logger {name} does not exist!"));
    }
    if *op == AlterOp::Delete {
        return match name == ROOT {
            true => invalid_request("Removing the log level of the root logger is not allowed".to_owned()),
            false => Ok(()),
        };
    }
    let level = level.as_deref().unwrap_or_default();
    // Kafka's tools offer no OFF, though its files know it.
    match Level::named(level).filter(|level| *level != Level::Off) {
        Some(_) => Ok(()),
        None => invalid_config(format!(
            "Cannot set the log level of {name} to {level} as it is not a supported log level. Valid log levels are DEBUG, \
             ERROR, FATAL, INFO, TRACE, WARN"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn shown(loggers: &Loggers, name: &str) -> String {
        loggers.describe(|known| known == name)[0].value.clone().unwrap()
    }

    fn set(loggers: &Loggers, name: &str, level: &str) {
        loggers.alter(&[(name.to_owned(), AlterOp::Set, Some(level.to_owned()))], false).unwrap();
    }

    #[test]
    fn rooms_are_modules_of_this_program() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for outer in OUTER {
            assert!(crates.join(outer).join("src").is_dir(), "{outer}");
        }
        for inner in INNER {
            let path = crates.join(inner.replacen('.', "/src/", 1));
            assert!(path.is_dir() || path.with_extension("rs").is_file(), "{inner}");
        }
        for (name, rooms) in KAFKAS {
            assert!(rooms.iter().all(|room| exists(room)), "{name}");
        }
    }

    #[test]
    fn a_room_takes_the_level_of_what_is_around_it() {
        let loggers = Loggers::new(&[]);
        let on = |level, target| loggers.lets_through(level, target);
        assert!(on(tracing::Level::INFO, "server::cleaner") && !on(tracing::Level::DEBUG, "server::cleaner"));
        set(&loggers, "server", "DEBUG");
        assert!(on(tracing::Level::DEBUG, "server::cleaner::settings") && !on(tracing::Level::DEBUG, "storage::log"));
        set(&loggers, "server.cleaner", "ERROR");
        assert!(!on(tracing::Level::WARN, "server::cleaner") && on(tracing::Level::DEBUG, "server::net::listener"));
        assert!(on(tracing::Level::DEBUG, "server::cleaner_of_another_name"));
        loggers.alter(&[("server.cleaner".to_owned(), AlterOp::Delete, None)], false).unwrap();
        assert_eq!(shown(&loggers, "server.cleaner"), "DEBUG");
        assert_eq!(loggers.most_verbose(), LevelFilter::DEBUG);
        set(&loggers, "root", "FATAL");
        assert!(!on(tracing::Level::ERROR, "storage::log") && !on(tracing::Level::ERROR, "tokio"));
    }

    #[test]
    fn kafkas_names_stand_for_rooms_and_show_what_holds_there() {
        let loggers = Loggers::new(&[]);
        set(&loggers, "kafka.controller", "TRACE");
        for name in ["kafka.controller", "org.apache.kafka.controller", "server.controller", "metadata"] {
            assert_eq!(shown(&loggers, name), "TRACE", "{name}");
        }
        set(&loggers, "server.controller", "WARN");
        assert_eq!(shown(&loggers, "kafka.controller"), "WARN");
        set(&loggers, "kafka", "ERROR");
        assert!(OUTER.iter().all(|room| shown(&loggers, room) == "ERROR"));
    }

    #[test]
    fn requests_are_not_logged_because_everything_is() {
        let loggers = Loggers::new(&[("root".to_owned(), Level::Trace)]);
        assert_eq!(shown(&loggers, "kafka.request.logger"), "WARN");
        loggers.alter(&[("kafka.request.logger".to_owned(), AlterOp::Delete, None)], false).unwrap();
        assert_eq!(shown(&loggers, "kafka.request.logger"), "TRACE");
    }

    #[test]
    fn a_wrong_change_among_right_ones_changes_nothing() {
        let loggers = Loggers::new(&[]);
        let change = |name: &str, level: &str| (name.to_owned(), AlterOp::Set, Some(level.to_owned()));
        let refused = loggers.alter(&[change("root", "WARN"), change("nobody", "WARN")], false).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidConfig);
        loggers.alter(&[change("root", "DEBUG")], true).unwrap();
        assert_eq!(shown(&loggers, "root"), "INFO");
    }
}
