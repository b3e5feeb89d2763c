//! The cleaning of one log (compaction): of each key's records only the latest stays.
//!
//! Two passes over files that take no more appends, without the log's lock: the new part is read into a map of the latest
//! offsets ([`key_map`]), then everything up to where the map reaches is copied, in groups of segments that fit into one,
//! without the records that are outdated. A new segment is brought to the disk ([`output`]) before the log takes it in
//! the place of the old ones ([`Log::replace`](crate::Log::replace)), which costs it a few renames.
//!
//! What stays besides: the last batch of each active producer and of the round, without records if need be; tombstones
//! until their delete horizon (KIP-534); markers until nothing of their transaction is left, and then until their
//! horizon. Records of aborted transactions go. Batches that stay as they are, are copied as they are.

mod key_map;
mod output;
mod transactions;

use crate::config::LogConfig;
use crate::disk::{Access, Fault};
use crate::fds::Folder;
use crate::log::Damage;
use crate::planted::{self, Bug};
use crate::scan::{Scan, Stop};
use crate::segment::{LOG_SUFFIX, TXN_INDEX_SUFFIX};
use crate::txn_index;
use key_map::{Hash, KeyMap};
use output::Output;
pub(crate) use output::{CLEANED_SUFFIX, FILES, Finished, remove as remove_cleaned};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use transactions::{Fate, Transactions};
use wire::records::{Batch, BatchError, Codec, Compaction, Left};

/// What a cleaning may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CleanerLimits {
    /// Memory for keys, in bytes (`log.cleaner.dedupe.buffer.size`); only as much is taken as there are keys.
    pub map_bytes: usize,
    /// `log.cleaner.io.buffer.load.factor`
    pub load_factor: f64,
    /// Bytes read and written at once (`log.cleaner.io.buffer.size`).
    pub io_bytes: usize,
}

/// A segment that is to be cleaned, as it was when the cleaning was planned.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub base_offset: i64,
    /// Base offset of the segment after it.
    pub next_offset: i64,
    pub size: u32,
    pub offset_entries: u32,
    pub time_entries: u32,
    pub touched_ms: i64,
}

/// The last thing that the log has of a producer: it must outlive the cleaning, or its sequence numbers or its epoch
/// would be forgotten.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastRecord {
    pub data_offset: Option<i64>,
    pub epoch: i16,
}

/// What is to be cleaned: made under the log's lock ([`Log::plan_cleaning`](crate::Log::plan_cleaning)), worked off
/// without it.
#[derive(Debug)]
pub struct CleaningPlan {
    pub(crate) folder: Folder,
    pub(crate) config: Arc<LogConfig>,
    pub(crate) first_dirty: i64,
    /// Base offset of the first segment that is left alone.
    pub(crate) end: i64,
    pub(crate) sources: Vec<Source>,
    /// Base offsets of all segments.
    pub(crate) bases: Vec<i64>,
    /// Where to begin in the segment that holds `first_dirty`.
    pub(crate) first_dirty_position: u32,
    pub(crate) last_records: HashMap<i64, LastRecord>,
    pub(crate) truncations: u64,
}

/// A new segment, and the ones that it replaces.
#[derive(Debug)]
pub struct Replacement {
    pub(crate) finished: Finished,
    pub(crate) sources: Vec<Source>,
    pub(crate) truncations: u64,
}

/// What a cleaning did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Everything before it is clean now: goes to `cleaner-offset-checkpoint`.
    pub end_offset: i64,
    pub keys: usize,
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub records_before: u64,
    pub records_after: u64,
    /// Records without a key, which a compacted log cannot keep.
    pub without_key: u64,
}

/// Why a cleaning ended early. The log is as good as before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CleaningError {
    /// The caller asked for it, or the log was truncated or deleted.
    Stopped,
    /// Bytes that are not what was written: the log cannot be cleaned.
    Damaged(Damage),
    Fault(Fault),
}

impl From<Fault> for CleaningError {
    fn from(fault: Fault) -> CleaningError {
        match fault.kind {
            // Whoever deleted the files knows why.
            io::ErrorKind::NotFound => CleaningError::Stopped,
            _ => CleaningError::Fault(fault),
        }
    }
}

/// Is told of bytes that were read or written, and may wait; a no ends the cleaning.
pub type Pace<'a> = &'a mut dyn FnMut(u64) -> bool;

/// Puts a new segment in the place of the old ones, under the log's lock. False when they are not there any more.
pub type Replace<'a> = &'a mut dyn FnMut(&Replacement) -> Result<bool, CleaningError>;

/// Cleans a log once, as far as the memory for keys goes. `seed` is a number that nobody can guess.
pub fn clean(
    plan: &CleaningPlan,
    limits: CleanerLimits,
    seed: [u8; 16],
    now_ms: i64,
    pace: Pace<'_>,
    replace: Replace<'_>,
) -> Result<Cleaned, CleaningError> {
    let aborted = aborted_transactions(plan)?;
    let io_bytes = limits.io_bytes.clamp(64 << 10, 4 << 20);
    let mut cleaning = Cleaning {
        plan,
        now_ms,
        io_bytes,
        map: KeyMap::new(limits.map_bytes, limits.load_factor, seed),
        latest: plan.first_dirty - 1,
        compaction: Compaction::new(),
        hashes: Vec::new(),
        done: Cleaned::default(),
        pace,
    };
    let new = aborted.iter().filter(|txn| txn.last_offset >= plan.first_dirty).copied().collect();
    cleaning.read_keys(Transactions::new(new))?;
    cleaning.done.end_offset = cleaning.latest + 1;
    cleaning.done.keys = cleaning.map.len();
    let mut transactions = Transactions::new(aborted);
    let upto = plan.sources.partition_point(|source| source.base_offset <= cleaning.latest);
    for group in groups(&plan.sources[..upto], &plan.config) {
        let finished = cleaning.copy(group, &mut transactions).inspect_err(|_| {
            // Best effort: what is left is removed when the log is opened.
            let _ = remove_cleaned(&plan.folder, group[0].base_offset);
        })?;
        let replacement = Replacement { finished, sources: group.to_vec(), truncations: plan.truncations };
        if !replace(&replacement)? {
            remove_cleaned(&plan.folder, group[0].base_offset)?;
        }
        let dir = &plan.folder.dir;
        plan.folder.disk.sync_dir(dir).map_err(|error| Fault::new("sync directory", dir.to_path_buf(), &error))?;
    }
    Ok(cleaning.done)
}

/// All aborted transactions that may have batches below the plan's end.
fn aborted_transactions(plan: &CleaningPlan) -> Result<Vec<txn_index::AbortedTxn>, CleaningError> {
    let mut aborted = Vec::new();
    for base_offset in &plan.bases {
        let path = plan.folder.path(*base_offset, TXN_INDEX_SUFFIX);
        let read = txn_index::read(&*plan.folder.disk, &path).map_err(|error| Fault::new("read", path, &error))?;
        aborted.extend(read.into_iter().filter(|txn| txn.first_offset < plan.end));
    }
    Ok(aborted)
}

/// Runs of segments that fit into one: by size, index entries, and offsets.
fn groups<'a>(sources: &'a [Source], config: &LogConfig) -> Vec<&'a [Source]> {
    let offset_entries_max = u64::from(config.index_max_bytes) / crate::offset_index::ENTRY_SIZE as u64;
    let time_entries_max = u64::from(config.index_max_bytes) / crate::time_index::ENTRY_SIZE as u64;
    let mut groups = Vec::new();
    let (mut first, mut sums) = (0, (0u64, 0u64, 0u64));
    for (at, source) in sources.iter().enumerate() {
        let sum = (
            sums.0 + u64::from(source.size),
            sums.1 + u64::from(source.offset_entries),
            sums.2 + u64::from(source.time_entries),
        );
        let fits = sum.0 <= u64::from(config.segment_bytes)
            && sum.1 <= offset_entries_max
            && sum.2 <= time_entries_max
            && source.next_offset - 1 - sources[first].base_offset <= i64::from(i32::MAX);
        if at > first && !fits {
            groups.push(&sources[first..at]);
            first = at;
            sums = (source.size.into(), source.offset_entries.into(), source.time_entries.into());
        } else {
            sums = sum;
        }
    }
    if first < sources.len() {
        groups.push(&sources[first..]);
    }
    groups
}

struct Cleaning<'a> {
    plan: &'a CleaningPlan,
    now_ms: i64,
    io_bytes: usize,
    map: KeyMap,
    /// The map knows of all records up to here.
    latest: i64,
    compaction: Compaction,
    /// Offsets and hashes of a batch's keys.
    hashes: Vec<(i64, Hash)>,
    done: Cleaned,
    pace: Pace<'a>,
}

impl Cleaning<'_> {
    /// Reads the dirty part into the map, until that is full.
    fn read_keys(&mut self, mut transactions: Transactions) -> Result<(), CleaningError> {
        let plan = self.plan;
        let first = plan.sources.partition_point(|source| source.next_offset <= plan.first_dirty);
        for (at, source) in plan.sources.iter().enumerate().skip(first) {
            let from = if at == first { plan.first_dirty_position } else { 0 };
            let file = open(plan, source)?;
            let (position, size) = (u64::from(from), u64::from(source.size));
            let mut scan = Scan::new(&*file, position, size, source.base_offset, self.io_bytes);
            while let Some((position, batch)) = next(plan, source, &mut scan)? {
                self.pass(batch.size() as u64)?;
                if batch.is_control() {
                    transactions.fate(&batch);
                } else if !transactions.is_aborted(&batch) && batch.last_offset() >= plan.first_dirty {
                    self.hash_keys(&batch).map_err(|error| damaged(source, position, &batch, &error))?;
                    for (offset, hash) in &self.hashes {
                        if *offset >= plan.first_dirty {
                            if !self.map.put(*hash, *offset) {
                                return Ok(());
                            }
                            self.latest = *offset;
                        }
                    }
                }
                self.latest = self.latest.max(batch.last_offset());
            }
            self.latest = self.latest.max(source.next_offset - 1);
        }
        Ok(())
    }

    fn hash_keys(&mut self, batch: &Batch<'_>) -> Result<(), BatchError> {
        let (map, hashes) = (&self.map, &mut self.hashes);
        hashes.clear();
        self.compaction.keys(batch, |offset, key| hashes.push((offset, map.hash(key))))?;
        map.warm(hashes.iter().map(|(_, hash)| *hash));
        Ok(())
    }

    /// Copies a group of segments into a new one.
    fn copy(&mut self, group: &[Source], transactions: &mut Transactions) -> Result<Finished, CleaningError> {
        let mut output = Output::create(&self.plan.folder, group[0].base_offset)?;
        for source in group {
            let file = open(self.plan, source)?;
            self.copy_segment(source, &*file, transactions, &mut output)?;
        }
        self.done.written_bytes += output.pending.len() as u64;
        Ok(output.finish()?)
    }

    fn copy_segment(
        &mut self,
        source: &Source,
        file: &dyn crate::disk::DiskFile,
        transactions: &mut Transactions,
        output: &mut Output,
    ) -> Result<(), CleaningError> {
        let (plan, size) = (self.plan, u64::from(source.size));
        let mut scan = Scan::new(file, 0, size, source.base_offset, self.io_bytes);
        while let Some((position, batch)) = next(plan, source, &mut scan)? {
            self.pass(batch.size() as u64)?;
            self.done.records_before += batch.record_count().max(0) as u64;
            let start = output.pending.len();
            let left = self.leave(&batch, transactions, output)?;
            let left = left.map_err(|error| damaged(source, position, &batch, &error))?;
            let (records, max_timestamp) = match left {
                Left::Whole => {
                    output.pending.extend_from_slice(batch.bytes());
                    (batch.record_count(), batch.max_timestamp())
                }
                Left::Part { records, max_timestamp } => (records, max_timestamp),
                Left::Nothing if self.is_last(&batch) => {
                    Compaction::empty(&batch, &mut output.pending);
                    (0, batch.max_timestamp())
                }
                Left::Nothing => continue,
            };
            self.done.records_after += records.max(0) as u64;
            output.note(output.pending.len() - start, batch.last_offset(), max_timestamp, &plan.config)?;
            if output.pending.len() >= self.io_bytes {
                let written = output.write()?;
                self.done.written_bytes += written;
                self.pace(written)?;
            }
        }
        Ok(())
    }

    /// Decides on the records of a batch, and puts down what is left of it when that is not the whole.
    fn leave(
        &mut self,
        batch: &Batch<'_>,
        transactions: &mut Transactions,
        output: &mut Output,
    ) -> Result<Result<Left, BatchError>, CleaningError> {
        let horizon_ms = self.now_ms.saturating_add(self.plan.config.delete_retention_ms);
        let is_over = batch.delete_horizon_ms().is_some_and(|horizon| horizon <= self.now_ms)
            || planted::is(self.plan.config.bug, Bug::DropTombstonesEarly);
        if batch.is_control() {
            let fate = transactions.fate(batch);
            if let Fate::Needed(Some(txn)) = fate {
                output.add_txn(&txn)?;
            }
            let is_spent = fate == Fate::Spent;
            if is_spent && is_over || batch.is_empty() {
                return Ok(Ok(Left::Nothing));
            }
            return Ok(self.compaction.filter(batch, horizon_ms, is_spent, |_, _, _| true, &mut output.pending));
        }
        if transactions.is_aborted(batch) || batch.is_empty() {
            return Ok(Ok(Left::Nothing));
        }
        // The map knows nothing of what comes after.
        if batch.base_offset() > self.latest {
            return Ok(Ok(Left::Whole));
        }
        // To look twice at what is compressed would cost more than it saves.
        self.hashes.clear();
        if batch.codec() == Ok(Codec::None)
            && let Err(error) = self.hash_keys(batch)
        {
            return Ok(Err(error));
        }
        let (map, latest, mut without_key) = (&self.map, self.latest, 0);
        let drops_latest = i64::from(planted::is(self.plan.config.bug, Bug::DropLatest));
        let mut hashes = self.hashes.iter();
        let keep = |offset: i64, key: Option<&[u8]>, has_value: bool| {
            let hash = key.map(|key| hashes.next().map_or_else(|| map.hash(key), |(_, hash)| *hash));
            if offset > latest {
                return true;
            }
            let Some(hash) = hash else {
                without_key += 1;
                return false;
            };
            (has_value || !is_over) && map.get(hash).is_none_or(|newest| offset >= newest + drops_latest)
        };
        let left = self.compaction.filter(batch, horizon_ms, false, keep, &mut output.pending);
        self.done.without_key += without_key;
        Ok(left)
    }

    /// Whether a batch stays though its records do not: for its producer, or to mark the end of what was cleaned.
    fn is_last(&self, batch: &Batch<'_>) -> bool {
        if batch.next_offset() == self.plan.end {
            return true;
        }
        let last = batch.has_producer_id().then(|| self.plan.last_records.get(&batch.producer_id())).flatten();
        last.is_some_and(|last| match last.data_offset {
            Some(offset) => batch.last_offset() == offset,
            None => batch.is_control() && batch.producer_epoch() == last.epoch,
        })
    }

    fn pass(&mut self, bytes: u64) -> Result<(), CleaningError> {
        self.done.read_bytes += bytes;
        self.pace(bytes)
    }

    fn pace(&mut self, bytes: u64) -> Result<(), CleaningError> {
        if (self.pace)(bytes) { Ok(()) } else { Err(CleaningError::Stopped) }
    }
}

fn open(plan: &CleaningPlan, source: &Source) -> Result<Arc<dyn crate::disk::DiskFile>, CleaningError> {
    let path = plan.folder.path(source.base_offset, LOG_SUFFIX);
    Ok(plan.folder.disk.open(&path, Access::Read).map_err(|error| Fault::new("open", path, &error))?)
}

/// The next batch of a segment, which ends where the next segment begins.
fn next<'s>(
    plan: &CleaningPlan,
    source: &Source,
    scan: &'s mut Scan<'_>,
) -> Result<Option<(u64, Batch<'s>)>, CleaningError> {
    match scan.next_whole() {
        Ok(Some((position, batch))) if batch.next_offset() > source.next_offset => {
            let reason = format!("offset {} beyond the segment's end at {}", batch.last_offset(), source.next_offset);
            Err(stopped(plan, source, Stop::Bad { position, reason }))
        }
        next => next.map_err(|stop| stopped(plan, source, stop)),
    }
}

fn stopped(plan: &CleaningPlan, source: &Source, stop: Stop) -> CleaningError {
    match stop {
        Stop::Io(error) => Fault::new("read", plan.folder.path(source.base_offset, LOG_SUFFIX), &error).into(),
        Stop::Bad { position, reason } => CleaningError::Damaged(Damage {
            segment: source.base_offset,
            position,
            end: 0,
            offset: source.base_offset,
            reason,
        }),
    }
}

fn damaged(source: &Source, position: u64, batch: &Batch<'_>, error: &BatchError) -> CleaningError {
    let (segment, offset, end) = (source.base_offset, batch.base_offset(), position + batch.size() as u64);
    CleaningError::Damaged(Damage { segment, position, end, offset, reason: error.to_string() })
}
