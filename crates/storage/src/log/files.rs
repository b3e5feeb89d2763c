//! The files in a log's directory, and what an interrupted writer left undone among them.

use crate::cleaner::CLEANED_SUFFIX;
use crate::disk::{Access, Context, Disk, Entry, Fault};
use crate::fds::Folder;
use crate::scan::{Scan, Stop};
use crate::segment::{
    DELETED_SUFFIX, LOG_SUFFIX, OFFSET_INDEX_SUFFIX, SNAPSHOT_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX,
};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Of the files of a segment that is about to take the place of others.
pub(super) const SWAP_SUFFIX: &str = ".swap";
/// Behind it a segment's offsets, which are up to `i32::MAX` further, would not all be numbers any more.
pub(super) const BASE_OFFSET_MAX: i64 = i64::MAX - i32::MAX as i64 - 1;
/// Bytes of headers read at once.
const CHUNK: usize = 64 << 10;

/// The files of a directory that belong to segments.
#[derive(Default)]
pub(super) struct Found {
    pub segments: BTreeMap<i64, SegmentFiles>,
    pub snapshots: Vec<i64>,
}

#[derive(Clone, Copy, Default)]
pub(super) struct SegmentFiles {
    /// Length and time of the last change.
    pub log: Option<(u64, i64)>,
    pub offsets: Option<u64>,
    pub times: Option<u64>,
}

/// Sorts the directory's files, after finishing what a crash of the writer left unfinished.
pub(super) fn find(folder: &Folder) -> Result<Found, Fault> {
    let (disk, dir) = (&*folder.disk, &*folder.dir);
    let list = || disk.list(dir).context("list", dir);
    let mut entries = list()?;
    if let Some(entry) =
        entries.iter().find(|entry| parse_name(&entry.name).is_some_and(|(base, _)| base > BASE_OFFSET_MAX))
    {
        let why = "no log has offsets so large: move the file elsewhere";
        let error = io::Error::new(io::ErrorKind::InvalidData, why);
        return Err(Fault::new("take for a segment's", dir.join(&entry.name), &error));
    }
    // As Kafka has it: files become `.swap` only when all of their segment are whole, so where one is still `.cleaned`
    // the old segments are all there. What was renamed goes first, or it would look complete after another crash.
    let unfinished = entries.iter().filter(|entry| entry.name.ends_with(CLEANED_SUFFIX));
    if let Some(unfinished) = unfinished.filter_map(|entry| parse_name(&entry.name)).map(|(base, _)| base).min() {
        let is_partial = |entry: &&Entry| {
            entry.name.ends_with(SWAP_SUFFIX) && parse_name(&entry.name).is_some_and(|(base, _)| base >= unfinished)
        };
        for entry in entries.iter().filter(is_partial) {
            remove_if_there(disk, &dir.join(&entry.name))?;
        }
        entries.retain(|entry| !is_partial(&entry));
    }
    let is_waste = |entry: &Entry| entry.name.ends_with(DELETED_SUFFIX) || entry.name.ends_with(CLEANED_SUFFIX);
    for entry in entries.iter().filter(|entry| is_waste(entry)) {
        remove_if_there(disk, &dir.join(&entry.name))?;
    }
    entries.retain(|entry| !is_waste(entry));
    if entries.iter().any(|entry| entry.name.ends_with(SWAP_SUFFIX)) {
        finish_swaps(folder, &entries)?;
        entries = list()?;
    }
    let mut found = Found::default();
    for entry in &entries {
        let Some((base_offset, suffix)) = parse_name(&entry.name) else { continue };
        if entry.is_dir {
            continue;
        }
        if suffix == SNAPSHOT_SUFFIX {
            found.snapshots.push(base_offset);
        }
        if [LOG_SUFFIX, OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX].contains(&suffix) {
            let files = found.segments.entry(base_offset).or_default();
            match suffix {
                LOG_SUFFIX => files.log = Some((entry.len, entry.modified_ms)),
                OFFSET_INDEX_SUFFIX => files.offsets = Some(entry.len),
                _ => files.times = Some(entry.len),
            }
        }
    }
    found.snapshots.sort_unstable();
    for (base_offset, files) in &found.segments {
        if files.log.is_none() {
            for suffix in [OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX] {
                remove_if_there(disk, &folder.path(*base_offset, suffix))?;
            }
        }
    }
    Ok(found)
}

/// Offset and suffix (with its dot) of a name like `00000000000000000042.index`.
fn parse_name(name: &str) -> Option<(i64, &str)> {
    let (digits, suffix) = name.split_at_checked(20)?;
    let is_number = digits.bytes().all(|digit| digit.is_ascii_digit()) && suffix.starts_with('.');
    if is_number { digits.parse().ok().map(|offset| (offset, suffix)) } else { None }
}

/// Completes a compaction that crashed after its new segments were whole (`.swap`): the segments that they replace go.
fn finish_swaps(folder: &Folder, entries: &[Entry]) -> Result<(), Fault> {
    let disk = &*folder.disk;
    for entry in entries {
        let Some((base_offset, ".log.swap")) = parse_name(&entry.name) else { continue };
        let path = folder.dir.join(&entry.name);
        let file = disk.open(&path, Access::Read).context("open", &path)?;
        let mut scan = Scan::new(&*file, 0, entry.len, base_offset, CHUNK);
        let mut end = base_offset + 1;
        while let Some((_, header)) = scan.next().map_err(|stop| match stop {
            Stop::Io(error) => Fault::new("read", &path, &error),
            Stop::Bad { reason, .. } => Fault::new("read", &path, &io::Error::new(io::ErrorKind::InvalidData, reason)),
        })? {
            end = header.next_offset();
        }
        for old in entries {
            match parse_name(&old.name) {
                Some((base, LOG_SUFFIX | OFFSET_INDEX_SUFFIX | TIME_INDEX_SUFFIX | TXN_INDEX_SUFFIX))
                    if (base_offset..end).contains(&base) =>
                {
                    remove_if_there(disk, &folder.dir.join(&old.name))?;
                }
                _ => {}
            }
        }
    }
    // The log first: as long as it is `.swap`, what bears the names of its indexes counts as the old segment's.
    for of_log in [true, false] {
        for entry in entries {
            let Some(name) = entry.name.strip_suffix(SWAP_SUFFIX) else { continue };
            if name.ends_with(LOG_SUFFIX) == of_log {
                let from = folder.dir.join(&entry.name);
                disk.rename(&from, &folder.dir.join(name)).context("rename", &from)?;
            }
        }
    }
    Ok(())
}

pub(super) fn remove_if_there(disk: &dyn Disk, path: &Path) -> Result<(), Fault> {
    match disk.remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.context("remove", path),
    }
}
