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

use super::files;
use super::sync::SyncState;
use super::write_back::Progress;
use super::{Damage, Log, OpenMode, Shutdown, jitter};
use crate::config::LogConfig;
use crate::disk::{Access, Context, Disk, DiskFile, Fault};
use crate::epochs::LeaderEpochs;
use crate::fds::Folder;
use crate::index_file::PENDING_MAX;
use crate::planted::Bug;
use crate::scan::{Scan, Stop};
use crate::segment::{LOG_SUFFIX, OFFSET_INDEX_SUFFIX, Segment, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX};
use crate::txn_index;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wire::Uuid;
use wire::records::{Batch, BatchHeader, HEADER_SIZE, MAGIC};

/// Bytes read at once while scanning.
const CHUNK: usize = 256 << 10;

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
    /// `leader-epoch-checkpoint` was unreadable, or older records are there than it knows of: it was made anew.
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
        let found = files::find(&folder)?;
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
            if start > files::BASE_OFFSET_MAX {
                let why = format!("its checkpointed start offset is {start}, and no log has offsets so large");
                return Err(Fault::new("open", dir, &io::Error::new(io::ErrorKind::InvalidData, why)));
            }
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
            write_back: Progress::default(),
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
        } else if let Some(active) = log.segments.last_mut() {
            let may_have = open.shutdown != Shutdown::Clean && active.size >= log.config.write_back_bytes;
            active.has_room = log.config.preallocate || may_have;
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
        // The log's start goes back in a crash and its history does not: it would say of older epochs that they end there.
        // And a file that somebody removed would have a follower take any leader's log for its own.
        let begins_late = match self.epochs.entries().first() {
            Some(first) => first.start_offset > self.log_start_offset,
            None => self.size_bytes() > 0,
        };
        if recovery.rebuilt_epochs || begins_late {
            self.gather_epochs()?;
            recovery.rebuilt_epochs |= self.epochs != epochs_before;
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
            segment.seal()?;
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
            self.sync.created();
        }
        // A log without records has no epochs to gather: Kafka makes the file empty.
        recovery.rebuilt_epochs &= self.size_bytes() > 0;
        self.epochs.truncate_from_end(self.log_end_offset);
        self.epochs.truncate_from_start(self.log_start_offset);
        if self.epochs != epochs_before { self.store_epochs() } else { Ok(()) }
    }

    /// Whether a power cut took the end of a segment, though the next one is there. Otherwise only compaction leaves such
    /// gaps, and followers of a compacted log that is not seamless, or where an index could not reach across.
    fn has_lost_end(&self, at: usize, open: &OpenMode) -> bool {
        let (base, next) = (self.segments[at].base_offset, self.segments[at + 1].base_offset);
        open.shutdown == Shutdown::PowerCut
            && (open.is_seamless || !self.config.compact)
            && self.log_end_offset >= open.recovery_point
            && self.log_end_offset < next
            && next - base <= i64::from(i32::MAX)
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
            let was_durable =
                (open.shutdown != Shutdown::PowerCut || offset < open.recovery_point) && !self.has(Bug::CutAtDamage);
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
                files::remove_if_there(&*self.folder.disk, &self.folder.path(segment.base_offset, suffix))?;
            }
        }
        if keep || !later.is_empty() {
            let dir = &self.folder.dir;
            self.disk().sync_dir(dir).context("sync directory", dir)?;
        }
        if !self.has(Bug::KeepTornEnd) {
            file.truncate(bad.start).and_then(|()| file.sync()).context("truncate", &path)?;
        }
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
        self.segments[at].seal()
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
        self.segments[last].seal()?;
        self.take_snapshot(self.log_end_offset)?;
        self.hints.clear();
        self.sync.closed();
        Ok(())
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
