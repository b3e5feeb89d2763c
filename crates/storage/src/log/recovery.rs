//! Opening what is in the directory, and mending exactly what a crash damaged.
//!
//! How much is looked at depends on how the writer ended ([`Shutdown`]):
//! - **clean**: the headers of the batches after the active segment's last index entry, to know where the log ends;
//! - **killed**, same boot: the same batches with their CRCs. The page cache has survived, so only the last write can be
//!   torn, and it is cut off;
//! - **power cut**: all batches from the recovery point on, with their CRCs, and their index entries anew.
//!
//! A bad batch is one of three things:
//! - nothing valid follows it: a torn tail. It is cut off;
//! - valid batches follow, and it lies at or above the recovery point after a power cut: pages reached the disk out of
//!   order, which nobody was promised against. The log ends before it; what is cut off is kept in a file beside;
//! - valid batches follow, and it was on the disk (below the recovery point, or no power was cut): **damage**. It is
//!   reported, kept as it is, and never served; the log goes on behind it. Nothing is truncated, for another replica
//!   may need what follows, and an operator what is left of it.

use super::sync::SyncState;
use super::{Damage, Log, OpenMode, Shutdown, jitter};
use crate::config::LogConfig;
use crate::disk::{Access, Context, Disk, DiskFile, Fault};
use crate::epochs::LeaderEpochs;
use crate::fds::Folder;
use crate::index_file::PENDING_MAX;
use crate::producers::{DataBatch, Producers};
use crate::scan::{Scan, Stop};
use crate::segment::{
    DELETED_SUFFIX, LOG_SUFFIX, OFFSET_INDEX_SUFFIX, SNAPSHOT_SUFFIX, Segment, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX,
};
use crate::{producer_snapshot, txn_index};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wire::Uuid;
use wire::records::{Batch, BatchHeader, HEADER_SIZE, MAGIC};

/// Bytes read at once while scanning.
const CHUNK: usize = 256 << 10;
/// Bytes before a producer snapshot that are searched for the batches which it does not name.
const WINDOW_BYTES: u32 = 2 << 20;

/// What opening a log looked at and mended. The owner logs what is not quiet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes of batches whose CRC was checked.
    pub checked_bytes: u64,
    /// The end of the log that was cut off.
    pub cut: Option<Cut>,
    /// Batches that were on the disk and are not what was written.
    pub damage: Vec<Damage>,
    /// Segments whose indexes were made anew.
    pub rebuilt_indexes: usize,
    /// `leader-epoch-checkpoint` was unreadable and was made anew from the log.
    pub rebuilt_epochs: bool,
    /// The log ended before its start offset, and was begun anew there.
    pub restarted: bool,
}

impl Recovery {
    /// Whether there is nothing to tell.
    pub fn is_quiet(&self) -> bool {
        *self == Recovery { checked_bytes: self.checked_bytes, ..Recovery::default() }
    }
}

/// A cut-off end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Base offset of the segment, and the position in its file.
    pub segment: i64,
    pub position: u64,
    /// Where the log ends now.
    pub offset: i64,
    pub bytes: u64,
    pub reason: String,
    /// Where the bytes are kept, when there were valid batches among them.
    pub saved: Option<PathBuf>,
}

/// The files of a directory that belong to segments.
#[derive(Default)]
struct Found {
    segments: BTreeMap<i64, SegmentFiles>,
    snapshots: Vec<i64>,
}

#[derive(Clone, Copy, Default)]
struct SegmentFiles {
    /// Length and time of the last change.
    log: Option<(u64, i64)>,
    offsets: Option<u64>,
    times: Option<u64>,
}

impl Log {
    /// Opens the log in `dir`, mending what a crash left; an empty directory becomes an empty log.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        config: Arc<LogConfig>,
        topic_id: Option<Uuid>,
        open: OpenMode,
        now_ms: i64,
    ) -> Result<(Log, Recovery), Fault> {
        let folder = Folder { disk, budget: open.fds.clone(), dir: dir.into() };
        let mut recovery = Recovery::default();
        let found = find_files(&folder)?;
        let mut incomplete = Vec::new();
        let mut segments = Vec::with_capacity(found.segments.len().max(1));
        for (base_offset, files) in &found.segments {
            let Some((len, modified_ms)) = files.log else { continue };
            let size = u32::try_from(len).map_err(|_| {
                let error = io::Error::new(io::ErrorKind::InvalidData, format!("{len} bytes are too many"));
                Fault::new("open", folder.path(*base_offset, LOG_SUFFIX), &error)
            })?;
            if files.offsets.is_none() || files.times.is_none() {
                incomplete.push(segments.len());
            }
            let (offsets_len, times_len) = (files.offsets.unwrap_or(0), files.times.unwrap_or(0));
            segments.push(Segment::open(&folder, *base_offset, size, modified_ms, offsets_len, times_len)?);
        }
        let is_new = segments.is_empty();
        let start = open.log_start_offset.max(0);
        if is_new {
            segments.push(Segment::create(&folder, start, &config, now_ms)?);
        }
        let epochs = LeaderEpochs::load(&*folder.disk, dir);
        let mut log = Log {
            jitter_ms: jitter(&config, open.jitter_seed),
            jitter_seed: open.jitter_seed,
            log_start_offset: start.max(segments[0].base_offset),
            log_end_offset: segments[0].base_offset,
            segments,
            epochs: LeaderEpochs::default(),
            producers: Default::default(),
            snapshots: Default::default(),
            hints: Default::default(),
            sync: SyncState::new(open.recovery_point.max(0)),
            doomed: Vec::new(),
            damage: Vec::new(),
            fault: None,
            folder,
            config,
            topic_id,
        };
        log.snapshots.offsets = found.snapshots;
        match epochs {
            Ok(epochs) => log.epochs = epochs,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => recovery.rebuilt_epochs = true,
            Err(error) => return Err(Fault::new("read leader-epoch-checkpoint in", dir, &error)),
        }
        if is_new {
            log.sync.segment_rolled();
        }
        log.recover(&open, &incomplete, is_new, &mut recovery)?;
        let usable_snapshots = if open.shutdown == Shutdown::PowerCut { open.recovery_point } else { i64::MAX };
        log.reload_producers(now_ms, usable_snapshots)?;
        log.hints.clear();
        for segment in &mut log.segments {
            segment.log.close();
            segment.rest();
        }
        recovery.damage = log.damage.clone();
        Ok((log, recovery))
    }

    fn recover(
        &mut self,
        open: &OpenMode,
        incomplete: &[usize],
        is_new: bool,
        recovery: &mut Recovery,
    ) -> Result<(), Fault> {
        let mut epochs_before = self.epochs.clone();
        if recovery.rebuilt_epochs {
            self.gather_epochs()?;
        }
        let last = self.segments.len() - 1;
        let first = match open.shutdown {
            Shutdown::Clean | Shutdown::Killed => last,
            // A segment that was synced and then rolled has its last index entries from the roll.
            Shutdown::PowerCut => self.segment_of(open.recovery_point - 1),
        };
        for at in incomplete.iter().copied().filter(|at| *at < first) {
            self.reindex(at)?;
            recovery.rebuilt_indexes += 1;
        }
        self.log_end_offset = self.segments[first].base_offset;
        let mut at = first;
        while at < self.segments.len() {
            if at > first && self.has_lost_end(at - 1, open) {
                let (file, end) = (self.segments[at - 1].file()?, u64::from(self.segments[at - 1].size));
                let reason = "the end of the segment is missing".to_owned();
                self.cut(at - 1, &*file, end..end, false, reason, recovery)?;
                break;
            }
            let from = match (open.shutdown, at == first && !incomplete.contains(&at)) {
                (Shutdown::Clean | Shutdown::Killed, true) => self.trusted_start(at, None, recovery)?,
                (Shutdown::PowerCut, true) => self.trusted_start(at, Some(open.recovery_point), recovery)?,
                (_, false) => {
                    self.segments[at].reset_indexes()?;
                    if !is_new {
                        recovery.rebuilt_indexes += 1;
                    }
                    (0, self.segments[at].base_offset)
                }
            };
            if open.shutdown == Shutdown::PowerCut {
                let path = self.folder.path(self.segments[at].base_offset, TXN_INDEX_SUFFIX);
                txn_index::truncate_to(self.disk(), &path, open.recovery_point).context("truncate", &path)?;
            }
            if !self.check(at, from, open, recovery)? {
                break;
            }
            at += 1;
        }
        let active = self.segments.len() - 1;
        for segment in &mut self.segments[first.min(active)..active] {
            segment.seal(&self.config)?;
        }
        if open.shutdown != Shutdown::Clean {
            // A marker enters this index before it enters the log.
            let path = self.folder.path(self.active().base_offset, TXN_INDEX_SUFFIX);
            txn_index::truncate_to(self.disk(), &path, self.log_end_offset).context("truncate", &path)?;
        }
        if self.log_end_offset < self.log_start_offset {
            // As Kafka does: what is left lies before the log's start.
            let (start, end) = (self.log_start_offset, self.log_end_offset);
            recovery.restarted = end > self.segments[0].base_offset || !is_new;
            epochs_before = LeaderEpochs::default();
            self.truncate_fully_and_start_at(start)?;
        }
        if open.shutdown == Shutdown::Clean {
            self.sync = SyncState::new(self.log_end_offset);
        } else {
            self.sync.unknown();
            if open.recovery_point > self.log_end_offset {
                self.sync.truncated(self.log_end_offset);
            }
        }
        if is_new {
            self.sync.segment_rolled();
        }
        self.epochs.truncate_from_end(self.log_end_offset);
        self.epochs.truncate_from_start(self.log_start_offset);
        if self.epochs != epochs_before { self.store_epochs() } else { Ok(()) }
    }

    /// Whether a power cut took the end of a segment, though the next one is there. Only compaction leaves such gaps.
    fn has_lost_end(&self, at: usize, open: &OpenMode) -> bool {
        open.shutdown == Shutdown::PowerCut
            && !self.config.compact
            && self.log_end_offset >= open.recovery_point
            && self.log_end_offset < self.segments[at + 1].base_offset
    }

    /// Where checking begins: the last index entry that agrees with the log. `below` leaves out entries of offsets that
    /// may not have been on the disk, as many as may have been written after the last sync.
    fn trusted_start(&mut self, at: usize, below: Option<i64>, recovery: &mut Recovery) -> Result<(u32, i64), Fault> {
        let segment = &mut self.segments[at];
        let (path, size, base_offset) = (segment.log.path(), segment.size, segment.base_offset);
        let entries = segment.offsets.len();
        let mut adopt = || -> io::Result<Option<(u32, i64)>> {
            if let Some(below) = below {
                segment.offsets.keep_ascending(u64::from(size))?;
                segment.offsets.truncate_to(below)?;
                segment.offsets.truncate_len(segment.offsets.len().saturating_sub(PENDING_MAX))?;
            } else if segment.offsets.last().is_some_and(|(_, position)| position >= size) {
                segment.offsets.keep_ascending(u64::from(size))?;
            }
            let Some((last_offset, position)) = segment.offsets.last() else { return Ok(None) };
            let file = segment.log.get()?;
            let mut header = [0; HEADER_SIZE];
            file.read_at(&mut header, u64::from(position))?;
            match BatchHeader::parse(&header) {
                Ok(header) if header.last_offset() == last_offset && header.base_offset() >= base_offset => {
                    if below.is_some() {
                        segment.times.keep_ascending(last_offset + 1)?;
                    } else if segment.times.last().is_some_and(|(_, offset)| offset > last_offset) {
                        segment.times.truncate_to(last_offset + 1)?;
                    }
                    Ok(Some((position, header.base_offset())))
                }
                _ => Ok(None),
            }
        };
        match adopt().context("read the indexes of", &path)? {
            Some((position, base)) => {
                segment.rewind(position);
                self.log_end_offset = base;
                Ok((position, base))
            }
            None => {
                // After a power cut nothing may be left to believe of a short index that is in order.
                if entries > PENDING_MAX || entries > 0 && below.is_none() {
                    recovery.rebuilt_indexes += 1;
                }
                segment.reset_indexes()?;
                Ok((0, base_offset))
            }
        }
    }

    /// Checks a segment from a batch on, noting what it holds. Says whether later segments count.
    fn check(&mut self, at: usize, from: (u32, i64), open: &OpenMode, recovery: &mut Recovery) -> Result<bool, Fault> {
        let path = self.segments[at].log.path();
        let file = self.segments[at].file()?;
        let len = file.len().context("look at", &path)?;
        let (mut position, mut expected) = (u64::from(from.0), from.1);
        let has_later = self.segments[at + 1..].iter().any(|segment| segment.size > 0);
        loop {
            self.segments[at].size = position as u32;
            let stop = self.note_batches(at, &*file, position, len, expected, open.shutdown, recovery);
            let (bad, reason) = match stop {
                Ok(()) => return Ok(true),
                Err(Stop::Io(error)) => return Err(Fault::new("read", path, &error)),
                Err(Stop::Bad { position, reason }) => (position, reason),
            };
            let offset = self.log_end_offset.max(self.segments[at].base_offset);
            let next = next_batch(&*file, bad, len, offset).context("read", &path)?;
            let was_durable = open.shutdown != Shutdown::PowerCut || offset < open.recovery_point;
            if !was_durable || next.is_none() && !has_later {
                self.cut(at, &*file, bad..len, next.is_some() || has_later, reason, recovery)?;
                return Ok(false);
            }
            let end = next.map_or(len, |(position, _)| position);
            let segment = self.segments[at].base_offset;
            self.damage.push(Damage { segment, position: bad, end, offset, reason });
            self.segments[at].force_entry(&self.config);
            (position, expected) = next.unwrap_or((len, offset));
            if next.is_none() {
                self.segments[at].size = len as u32;
                return Ok(true);
            }
        }
    }

    /// Notes the batches of `[position, end)`.
    #[allow(clippy::too_many_arguments)] // one scan, with everything that it needs by name
    fn note_batches(
        &mut self,
        at: usize,
        file: &dyn DiskFile,
        position: u64,
        end: u64,
        expected: i64,
        shutdown: Shutdown,
        recovery: &mut Recovery,
    ) -> Result<(), Stop> {
        let mut scan = Scan::new(file, position, end, expected, CHUNK);
        loop {
            let (header, size) = if shutdown == Shutdown::Clean {
                match scan.next()? {
                    Some((_, header)) => (header, header.size()),
                    None => return Ok(()),
                }
            } else {
                match scan.next_whole()? {
                    Some((_, batch)) => {
                        recovery.checked_bytes += batch.size() as u64;
                        (*batch, batch.size())
                    }
                    None => return Ok(()),
                }
            };
            self.epochs.assign(header.leader_epoch(), header.base_offset());
            self.log_end_offset = header.next_offset();
            let (last_offset, max_timestamp) = (header.last_offset(), header.max_timestamp());
            let noted = self.segments[at].note_batch(last_offset, max_timestamp, size as u32, &self.config);
            noted.map_err(|fault| Stop::Io(io::Error::new(fault.kind, fault.detail)))?;
        }
    }

    /// Cuts a segment's file, and sets the segments after it aside.
    fn cut(
        &mut self,
        at: usize,
        file: &dyn DiskFile,
        bad: std::ops::Range<u64>,
        keep: bool,
        reason: String,
        recovery: &mut Recovery,
    ) -> Result<(), Fault> {
        let base_offset = self.segments[at].base_offset;
        let path = self.segments[at].log.path();
        let mut cut = Cut {
            segment: base_offset,
            position: bad.start,
            offset: self.log_end_offset,
            bytes: bad.end - bad.start,
            reason,
            saved: None,
        };
        if keep {
            let aside = self.folder.path(base_offset, &format!("{LOG_SUFFIX}.cut-{}", bad.start));
            copy(self.disk(), file, bad.clone(), &aside).context("set aside the end of the log in", &aside)?;
            cut.saved = Some(aside);
        }
        // From the end, and durable: what is dropped here must not come back between batches of later.
        let later = self.segments.split_off(at + 1);
        for segment in later.iter().rev() {
            cut.bytes += u64::from(segment.size);
            let from = segment.log.path();
            let to = self.folder.path(segment.base_offset, &format!("{LOG_SUFFIX}.cut-0"));
            self.folder.disk.rename(&from, &to).context("set aside", &from)?;
            for suffix in [OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX] {
                remove_if_there(&*self.folder.disk, &self.folder.path(segment.base_offset, suffix))?;
            }
        }
        if keep || !later.is_empty() {
            let dir = &self.folder.dir;
            self.disk().sync_dir(dir).context("sync directory", dir)?;
        }
        file.truncate(bad.start).and_then(|()| file.sync()).context("truncate", &path)?;
        // An index may know batches that never reached the log.
        let (segment, end) = (&mut self.segments[at], self.log_end_offset);
        let truncated = segment.offsets.truncate_to(end).and_then(|()| segment.times.truncate_to(end));
        truncated.context("truncate the indexes of", &path)?;
        self.recount_active(bad.start as u32)?;
        recovery.cut = Some(cut);
        Ok(())
    }

    /// Makes the indexes of a whole segment anew, from its headers.
    fn reindex(&mut self, at: usize) -> Result<(), Fault> {
        let (path, len) = (self.segments[at].log.path(), u64::from(self.segments[at].size));
        let file = self.segments[at].file()?;
        self.segments[at].reset_indexes()?;
        let base_offset = self.segments[at].base_offset;
        let noted = self.note_batches(at, &*file, 0, len, base_offset, Shutdown::Clean, &mut Recovery::default());
        match noted {
            Err(Stop::Io(error)) => return Err(Fault::new("read", path, &error)),
            Err(Stop::Bad { position, reason }) => {
                let offset = self.log_end_offset.max(base_offset);
                self.damage.push(Damage { segment: base_offset, position, end: len, offset, reason });
                self.segments[at].size = len as u32;
            }
            Ok(()) => {}
        }
        self.segments[at].seal(&self.config)
    }

    /// Looks again at the end of the active segment, up to `position`, after a truncation.
    pub(super) fn recount_active(&mut self, position: u32) -> Result<(), Fault> {
        let at = self.segments.len() - 1;
        let segment = &mut self.segments[at];
        let (path, file) = (segment.log.path(), segment.file()?);
        let (from, expected) = segment.offsets.last().map_or((0, segment.base_offset), |(_, from)| (from, 0));
        segment.rewind(from);
        let (expected, end) = (expected.max(self.segments[at].base_offset), self.log_end_offset);
        let noted = self.note_batches(
            at,
            &*file,
            u64::from(from),
            u64::from(position),
            expected,
            Shutdown::Clean,
            &mut Recovery::default(),
        );
        self.log_end_offset = end;
        self.segments[at].size = position;
        match noted {
            Err(Stop::Io(error)) => Err(Fault::new("read", path, &error)),
            Ok(()) | Err(Stop::Bad { .. }) => Ok(()),
        }
    }

    /// The history of leader epochs, from the headers of all batches.
    fn gather_epochs(&mut self) -> Result<(), Fault> {
        self.epochs.clear();
        for segment in &self.segments {
            let (path, file) = (segment.log.path(), segment.file()?);
            let mut scan = Scan::new(&*file, 0, u64::from(segment.size), segment.base_offset, CHUNK);
            loop {
                match scan.next() {
                    Ok(Some((_, header))) => _ = self.epochs.assign(header.leader_epoch(), header.base_offset()),
                    Err(Stop::Io(error)) => return Err(Fault::new("read", path, &error)),
                    Ok(None) | Err(Stop::Bad { .. }) => break,
                }
            }
            segment.log.close();
        }
        Ok(())
    }

    /// Rebuilds the producers from the latest snapshot that is not beyond `usable`, and the log after it.
    pub(super) fn reload_producers(&mut self, now_ms: i64, usable: i64) -> Result<(), Fault> {
        self.producers.clear();
        let end = self.log_end_offset.min(usable);
        let beyond = |offset: &i64| *offset > end || *offset <= self.log_start_offset;
        for offset in self.snapshots.offsets.iter().copied().filter(beyond).collect::<Vec<_>>() {
            self.remove_snapshot(offset)?;
        }
        let mut from = self.log_start_offset;
        while let Some(offset) = self.snapshots.offsets.last().copied() {
            let path = self.folder.path(offset, SNAPSHOT_SUFFIX);
            match producer_snapshot::read(self.disk(), &path).context("read", &path)? {
                Some(producers) => {
                    self.producers = producers;
                    from = offset;
                    self.remember_window(offset)?;
                    break;
                }
                None => self.remove_snapshot(offset)?,
            }
        }
        let bases: Vec<i64> = self.segments.iter().map(|segment| segment.base_offset).collect();
        let stray = |offset: &i64| *offset != from && bases.binary_search(offset).is_err();
        for offset in self.snapshots.offsets.iter().copied().filter(stray).collect::<Vec<_>>() {
            self.remove_snapshot(offset)?;
        }
        for at in self.segment_of(from)..self.segments.len() {
            self.replay_producers(at, from)?;
        }
        self.snapshots.is_stale = true;
        self.producers.expire(now_ms, self.config.producer_id_expiration_ms);
        Ok(())
    }

    /// A snapshot names the last batch of each producer, as Kafka's does. The ones before it, which a client may send
    /// again, are looked up in the log shortly before `offset`.
    fn remember_window(&mut self, offset: i64) -> Result<(), Fault> {
        if self.producers.len() == 0 {
            return Ok(());
        }
        let last = self.segment_of(offset - 1);
        let end = self.segments[last].offsets.lookup(offset - 1);
        let mut first = (last, end.context("read the index of", &self.segments[last].log)?);
        let mut bytes = WINDOW_BYTES;
        // Near a segment's beginning the segment before is looked at too.
        while bytes > first.1 && first.0 > 0 {
            bytes -= first.1;
            first = (first.0 - 1, self.segments[first.0 - 1].size);
        }
        let mut window = Producers::default();
        for at in first.0..=last {
            let segment = &self.segments[at];
            let from = if at == first.0 { first.1.saturating_sub(bytes) } else { 0 };
            let position = segment.offsets.lookup_position(from).context("read the index of", &segment.log)?;
            let (file, size) = (segment.file()?, u64::from(segment.size));
            let mut scan = Scan::new(&*file, u64::from(position), size, segment.base_offset, CHUNK);
            loop {
                match scan.next() {
                    Ok(Some((_, header))) if header.base_offset() < offset => {
                        if header.has_producer_id() && !header.is_control() {
                            window.apply(&DataBatch::of(&header));
                        }
                    }
                    Err(Stop::Io(error)) => return Err(Fault::new("read", segment.log.path(), &error)),
                    Ok(_) | Err(Stop::Bad { .. }) => break,
                }
            }
        }
        self.producers.remember(&window);
        Ok(())
    }

    /// Applies the batches of a segment from offset `from` on to the producers, and adds to its transaction index what
    /// a crash took from it.
    fn replay_producers(&mut self, at: usize, from: i64) -> Result<(), Fault> {
        let segment = &self.segments[at];
        let (path, size, base_offset) = (segment.log.path(), u64::from(segment.size), segment.base_offset);
        if segment.size == 0 {
            return Ok(());
        }
        let file = segment.file()?;
        let mut position = u64::from(segment.offsets.lookup(from).context("read the index of", &path)?);
        let mut indexed: Option<Vec<i64>> = None;
        let txn_path = self.folder.path(base_offset, TXN_INDEX_SUFFIX);
        self.snapshots.bytes_since = 0;
        loop {
            let mut scan = Scan::new(&*file, position, size, base_offset, CHUNK);
            let stop = loop {
                let (batch_at, header) = match scan.next() {
                    Ok(Some(found)) => found,
                    Ok(None) => break None,
                    Err(Stop::Bad { position, .. }) => break Some(position),
                    Err(Stop::Io(error)) => return Err(Fault::new("read", path, &error)),
                };
                if header.last_offset() < from {
                    continue;
                }
                self.snapshots.bytes_since += header.size() as u64;
                if !header.has_producer_id() {
                    continue;
                }
                if !header.is_control() {
                    self.producers.apply(&DataBatch::of(&header));
                    continue;
                }
                let bytes = self.bytes(&self.segments[at], batch_at as u32, header.size() as u32)?;
                let Some(marker) = Batch::parse(&bytes).ok().as_ref().and_then(super::append::marker_of) else {
                    continue;
                };
                let Some(aborted) = self.producers.apply_marker(&marker) else { continue };
                if indexed.is_none() {
                    let known = txn_index::read(self.disk(), &txn_path).context("read", &txn_path)?;
                    indexed = Some(known.iter().map(|txn| txn.last_offset).collect());
                }
                if indexed.as_ref().is_some_and(|known| known.binary_search(&aborted.last_offset).is_err()) {
                    self.sync.txn_index_changed();
                    txn_index::append(self.disk(), &txn_path, &aborted).context("append to", &txn_path)?;
                }
            };
            // Behind damage that recovery found the log goes on.
            let damage = stop.and_then(|bad| self.damage.iter().find(|damage| damage.position == bad));
            match damage {
                Some(damage) if damage.segment == base_offset && damage.end > position => position = damage.end,
                _ => return Ok(()),
            }
        }
    }

    /// Leaves the files as Kafka leaves them at a controlled shutdown. They are on the disk after a
    /// [`Log::sync_request`], or [`LogDir::mark_clean`](crate::LogDir::mark_clean) for all logs of a directory; only
    /// then may the shutdown count as clean.
    pub fn close(&mut self) -> Result<(), Fault> {
        self.online()?;
        let closed = self.close_files();
        self.note(closed)
    }

    fn close_files(&mut self) -> Result<(), Fault> {
        let last = self.segments.len() - 1;
        self.segments[last].seal(&self.config)?;
        self.take_snapshot(self.log_end_offset)?;
        self.hints.clear();
        self.sync.closed();
        Ok(())
    }
}

/// Sorts the directory's files, after finishing what a crash of the writer left unfinished.
fn find_files(folder: &Folder) -> Result<Found, Fault> {
    let (disk, dir) = (&*folder.disk, &*folder.dir);
    let list = || disk.list(dir).context("list", dir);
    let mut entries = list()?;
    for entry in &entries {
        if entry.name.ends_with(DELETED_SUFFIX) || entry.name.ends_with(".cleaned") {
            remove_if_there(disk, &dir.join(&entry.name))?;
        }
    }
    entries.retain(|entry| !entry.name.ends_with(DELETED_SUFFIX) && !entry.name.ends_with(".cleaned"));
    if entries.iter().any(|entry| entry.name.ends_with(".swap")) {
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
fn finish_swaps(folder: &Folder, entries: &[crate::disk::Entry]) -> Result<(), Fault> {
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
    for entry in entries {
        if let Some(name) = entry.name.strip_suffix(".swap") {
            let from = folder.dir.join(&entry.name);
            disk.rename(&from, &folder.dir.join(name)).context("rename", &from)?;
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

/// The next valid batch after bytes that are none: where it is, and its base offset.
fn next_batch(file: &dyn DiskFile, bad: u64, end: u64, expected: i64) -> io::Result<Option<(u64, i64)>> {
    let mut window = vec![0; CHUNK];
    let mut at = bad + 1;
    while at + HEADER_SIZE as u64 <= end {
        let want = window.len().min((end - at) as usize);
        let read = file.read_at(&mut window[..want], at)?;
        if read < HEADER_SIZE {
            return Ok(None);
        }
        let starts = read - HEADER_SIZE + 1;
        for start in 0..starts {
            if window[start + 16] != MAGIC as u8 {
                continue;
            }
            let position = at + start as u64;
            let Ok(header) = BatchHeader::parse(&window[start..read]) else { continue };
            let (base, size) = (header.base_offset(), header.size() as u64);
            let plausible = (expected..expected.saturating_add(i64::from(i32::MAX))).contains(&base)
                && header.last_offset_delta() >= 0
                && size <= end - position;
            if plausible {
                let mut bytes = vec![0; size as usize];
                let whole = file.read_at(&mut bytes, position)? == bytes.len();
                if whole && Batch::parse(&bytes).is_ok_and(|batch| batch.is_crc_valid()) {
                    return Ok(Some((position, base)));
                }
            }
        }
        at += starts as u64;
    }
    Ok(None)
}

/// Copies a part of a file to a new one, durably.
fn copy(disk: &dyn Disk, from: &dyn DiskFile, part: std::ops::Range<u64>, to: &Path) -> io::Result<()> {
    let target = disk.open(to, Access::Create)?;
    let mut buf = vec![0; CHUNK];
    let mut at = part.start;
    while at < part.end {
        let want = buf.len().min((part.end - at) as usize);
        let read = from.read_at(&mut buf[..want], at)?;
        if read == 0 {
            break;
        }
        target.write_at(&mut [IoSlice::new(&buf[..read])], at - part.start)?;
        at += read as u64;
    }
    target.sync()
}
