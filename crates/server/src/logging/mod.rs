//! The broker's log: one line an event, on standard output or in a file that is rotated, for people or as JSON.
//!
//! What is logged never holds a secret: events name keys of settings and never their values, and requests are told by
//! their headers. A logger that is off costs its callers one load.
//!
//! Reading order: `loggers` (names and levels), `line` (how an event is written), `file` (rotation), `requests`.

mod file;
mod line;
pub mod loggers;
pub mod requests;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

use crate::clock::Clock;
use file::LogFile;
use loggers::{Level, Loggers};

/// How the log is kept (`klamm.log.*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    pub format: Format,
    /// `None`: standard output.
    pub file: Option<PathBuf>,
    /// The file is put aside before it grows beyond this.
    pub file_max_bytes: u64,
    /// Files that were put aside and are kept.
    pub file_max_count: usize,
    /// Levels to begin with, by logger.
    pub levels: Vec<(String, Level)>,
}

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `[time] LEVEL message key=value (logger)`, in local time, as Kafka's log4j writes.
    Human,
    /// An object a line, with the time in UTC.
    Json,
}

/// Begins to log. Returns the loggers, whose levels can be changed from then on.
pub fn init(settings: &LogSettings) -> io::Result<Arc<Loggers>> {
    let loggers = Arc::new(Loggers::new(&settings.levels));
    let sink = match &settings.file {
        Some(path) => Sink::File(Mutex::new(LogFile::open(path, settings.file_max_bytes, settings.file_max_count)?)),
        None => Sink::Stdout,
    };
    let colours = matches!(sink, Sink::Stdout)
        && settings.format == Format::Human
        && io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = Log { loggers: loggers.clone(), format: settings.format, colours, sink };
    // Somebody else's subscriber (a test's) may be there already, and does as well.
    let _ = tracing::subscriber::set_global_default(log);
    Ok(loggers)
}

/// Writes the events that pass the loggers' levels.
struct Log {
    loggers: Arc<Loggers>,
    format: Format,
    colours: bool,
    sink: Sink,
}

enum Sink {
    Stdout,
    File(Mutex<LogFile>),
}

impl Subscriber for Log {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.loggers.enabled(metadata) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.loggers.enabled(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.loggers.most_verbose())
    }

    fn event(&self, event: &Event<'_>) {
        let line = line::of(event, self.format, self.colours, Clock.now_ms());
        match &self.sink {
            // Nobody may be reading; there is no other place to say so.
            Sink::Stdout => drop(io::stdout().lock().write_all(line.as_bytes())),
            Sink::File(file) => file.lock().unwrap_or_else(PoisonError::into_inner).write(&line),
        }
    }

    // Nothing here opens spans.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
