//! How the broker's own log is kept.

use std::path::PathBuf;

use super::reader::Reader;
use crate::logging::loggers::{self, Level};
use crate::logging::{Format, LogSettings};

const LEVELS: &str = "klamm.log.levels";

pub(super) fn read(r: &mut Reader<'_>) -> LogSettings {
    LogSettings {
        format: match r.text("klamm.log.format").as_deref() {
            Some("json") => Format::Json,
            _ => Format::Human,
        },
        file: r.text("klamm.log.file").map(PathBuf::from),
        file_max_bytes: r.size("klamm.log.file.max.bytes") as u64,
        file_max_count: r.size("klamm.log.file.max.count"),
        levels: levels(r),
    }
}

fn levels(r: &mut Reader<'_>) -> Vec<(String, Level)> {
    let mut levels = Vec::new();
    for entry in r.list(LEVELS) {
        match entry.split_once('=').map(|(name, level)| (name.trim(), Level::named(&level.trim().to_ascii_uppercase())))
        {
            Some((name, Some(level))) if !name.is_empty() => levels.push((name.to_owned(), level)),
            _ => r.wrong(LEVELS, "each entry is LOGGER=LEVEL, with TRACE, DEBUG, INFO, WARN, ERROR, FATAL or OFF"),
        }
    }
    levels
}

/// A sentence for each level of a logger that is not here. Files of Kafka name such, so that it is no reason to refuse.
pub(super) fn remarks(settings: &LogSettings) -> impl Iterator<Item = String> {
    let unknown = settings.levels.iter().filter(|(name, _)| !loggers::exists(name));
    unknown.map(|(name, _)| format!("Logger {name} in {LEVELS} does not exist here: its level has no effect"))
}
