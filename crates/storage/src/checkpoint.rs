//! Kafka's checkpoint files: a line with the version, one with the number of entries, then one entry a line.
//!
//! `recovery-point-offset-checkpoint`, `log-start-offset-checkpoint`, `replication-offset-checkpoint` and
//! `cleaner-offset-checkpoint` of a log directory hold an offset for each partition.

use crate::disk::Disk;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Far above a million partitions.
const BYTES_MAX: u64 = 512 << 20;

/// The log directory's checkpoint files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// Up to where each log is on the disk for certain.
    RecoveryPoint,
    /// Where each log begins, when that is not its first segment's base offset.
    LogStart,
    /// The high watermarks.
    HighWatermark,
    /// Up to where compaction went.
    Cleaner,
}

impl Checkpoint {
    pub const ALL: [Checkpoint; 4] =
        [Checkpoint::RecoveryPoint, Checkpoint::LogStart, Checkpoint::HighWatermark, Checkpoint::Cleaner];

    pub fn file_name(self) -> &'static str {
        match self {
            Checkpoint::RecoveryPoint => "recovery-point-offset-checkpoint",
            Checkpoint::LogStart => "log-start-offset-checkpoint",
            Checkpoint::HighWatermark => "replication-offset-checkpoint",
            Checkpoint::Cleaner => "cleaner-offset-checkpoint",
        }
    }
}

/// Offsets by topic and partition.
pub type Offsets = BTreeMap<(String, i32), i64>;

/// Reads a checkpoint of the log directory `dir`; a missing or empty file has no offsets.
///
/// # Errors
/// `InvalidData` with the offending line when the file is malformed.
pub fn read(disk: &dyn Disk, dir: &Path, which: Checkpoint) -> io::Result<Offsets> {
    let path = dir.join(which.file_name());
    let bytes = match disk.read(&path, BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Offsets::new()),
        bytes => bytes?,
    };
    // Kafka makes the files empty, and fills them when there is something to say.
    let lines = if bytes.is_empty() { Vec::new() } else { parse_lines(bytes, &path)? };
    let mut offsets = Offsets::new();
    for line in &lines {
        let mut words = line.split(' ');
        let parsed = match (words.next(), words.next(), words.next(), words.next()) {
            (Some(topic), Some(partition), Some(offset), None) => {
                partition.parse().ok().zip(offset.parse().ok()).map(|(p, o)| ((topic.to_owned(), p), o))
            }
            _ => None,
        };
        let Some((partition, offset)) = parsed else { return Err(malformed(&path, line)) };
        offsets.insert(partition, offset);
    }
    Ok(offsets)
}

/// Replaces a checkpoint of the log directory `dir` in one durable step.
pub fn write(disk: &dyn Disk, dir: &Path, which: Checkpoint, offsets: &Offsets) -> io::Result<()> {
    let lines = offsets.iter().map(|((topic, partition), offset)| format!("{topic} {partition} {offset}"));
    write_lines(disk, &dir.join(which.file_name()), lines, true)
}

pub(crate) fn malformed(path: &Path, line: &str) -> io::Error {
    let text = format!("malformed line {line:?} in checkpoint file {}", path.display());
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// The entries of a checkpoint file, its version and count checked.
pub(crate) fn read_lines(disk: &dyn Disk, path: &Path) -> io::Result<Vec<String>> {
    parse_lines(disk.read(path, BYTES_MAX)?, path)
}

fn parse_lines(bytes: Vec<u8>, path: &Path) -> io::Result<Vec<String>> {
    let text = String::from_utf8(bytes).map_err(|_| malformed(path, "(not UTF-8)"))?;
    // A power cut may leave half a number, which would be another number.
    if !text.ends_with('\n') {
        return Err(malformed(path, text.lines().last().unwrap_or("")));
    }
    let mut lines = text.lines();
    match lines.next() {
        Some("0") => {}
        first => return Err(malformed(path, first.unwrap_or(""))),
    }
    let count = lines.next().unwrap_or("");
    let entries: Vec<String> = lines.filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if count.parse() == Ok(entries.len()) { Ok(entries) } else { Err(malformed(path, count)) }
}

pub(crate) fn write_lines(
    disk: &dyn Disk,
    path: &Path,
    lines: impl ExactSizeIterator<Item = String>,
    sync: bool,
) -> io::Result<()> {
    let mut text = format!("0\n{}\n", lines.len());
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    disk.write_atomically(path, text.as_bytes(), sync)
}
