//! Reading the files of a log, for `kafka-dump-log`: `log` (batches and records), `index` (the files beside a segment),
//! `decoder` and `schema` (what keys and values mean).

pub mod decoder;
pub mod index;
pub mod log;
mod schema;
mod schemas;

use crate::tool::Exception;
use decoder::RecordDecoder;

/// What is to be shown.
pub struct Plan {
    /// Records, not only batches.
    pub deep: bool,
    /// Keys and values, and how they are read.
    pub decoder: Option<RecordDecoder>,
    pub skip_metadata: bool,
    pub verify_only: bool,
    pub sanity_only: bool,
    /// Of a log file.
    pub max_bytes: Option<u64>,
}

/// A file that cannot be read.
pub fn unreadable(shown: &str, error: &std::io::Error) -> Exception {
    match error.kind() {
        std::io::ErrorKind::NotFound => Exception::new("java.nio.file.NoSuchFileException", shown),
        std::io::ErrorKind::PermissionDenied => Exception::new("java.nio.file.AccessDeniedException", shown),
        _ => Exception::new("java.io.IOException", format!("{shown}: {error}")),
    }
}
