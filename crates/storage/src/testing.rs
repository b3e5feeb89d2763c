//! A disk in memory, for tests: it tells what a process wrote from what survives a power cut, and fails on demand.
//!
//! A power cut keeps what was synced. Of the rest, each 512-byte sector of each file survives or not, each file may
//! keep its new length or not, and of the names in a directory a prefix of the changes survives: as bad as disks and
//! file systems are allowed to be.

use crate::disk::{Access, Disk, DiskFile, Entry, LockGuard};
use crate::fds::lock;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const SECTOR: usize = 512;

/// What a [`Failure`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Open,
    Read,
    Write,
    Truncate,
    Sync,
    SyncDir,
    Rename,
    Remove,
}

/// Lets one operation fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub operation: Operation,
    /// Part of the path that it must have.
    pub path: String,
    /// So many matching operations succeed before.
    pub after: usize,
    pub error: ErrorKind,
    /// A failing write stores so many of its bytes all the same.
    pub torn_bytes: usize,
}

/// See the module. Clones share the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: Vec<Content>,
    /// Names as a process sees them.
    names: BTreeMap<PathBuf, Node>,
    /// Names as they are on the platter, and the changes since then by directory.
    durable_names: BTreeMap<PathBuf, Node>,
    journal: BTreeMap<PathBuf, Vec<NameChange>>,
    failures: Vec<Failure>,
    /// Directories below which nothing works.
    broken: BTreeSet<PathBuf>,
    capacity: Option<u64>,
    locked: BTreeSet<PathBuf>,
    syncs: usize,
    writes: usize,
    now_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Dir,
    File(usize),
}

#[derive(Clone, Debug)]
struct NameChange {
    remove: Vec<PathBuf>,
    add: Vec<(PathBuf, Node)>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    cached: Vec<u8>,
    durable: Vec<u8>,
    modified_ms: i64,
    /// How far blocks are put aside.
    room_until: u64,
    /// How far the start of write-back was asked for.
    written_back_until: u64,
}

#[derive(Debug)]
struct MemFile {
    disk: MemDisk,
    path: PathBuf,
    file: usize,
}

struct MemLock {
    disk: MemDisk,
    path: PathBuf,
}

impl LockGuard for MemLock {}

impl Drop for MemLock {
    fn drop(&mut self) {
        lock(&self.disk.0).locked.remove(&self.path);
    }
}

impl MemDisk {
    pub fn new() -> MemDisk {
        MemDisk::default()
    }

    /// The same disk as the product wants it.
    pub fn arc(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// Cuts the power: everything that is not durable is at the mercy of `random`, which gives any numbers.
    pub fn power_cut(&self, mut random: impl FnMut() -> u64) {
        let mut state = lock(&self.0);
        let mut names = std::mem::take(&mut state.durable_names);
        for (_, changes) in std::mem::take(&mut state.journal) {
            apply_some(&changes, &mut names, &mut random);
        }
        remove_orphans(&mut names);
        state.names = names.clone();
        state.durable_names = names;
        for content in &mut state.files {
            content.cut(&mut random);
        }
        state.locked.clear();
        state.failures.clear();
    }

    /// As [`MemDisk::power_cut`], for one directory and all below it: a disk of several that lost what it had in its cache.
    pub fn power_cut_below(&self, dir: &Path, mut random: impl FnMut() -> u64) {
        let mut state = lock(&self.0);
        let mut names = std::mem::take(&mut state.durable_names);
        let changed: Vec<PathBuf> = state.journal.keys().filter(|path| path.starts_with(dir)).cloned().collect();
        for path in changed {
            let changes = state.journal.remove(&path).unwrap_or_default();
            apply_some(&changes, &mut names, &mut random);
        }
        remove_orphans(&mut names);
        let is_below = |path: &Path| path.starts_with(dir) && path != dir;
        let mut files: BTreeSet<usize> = BTreeSet::new();
        for (_, node) in state.names.iter().chain(&names).filter(|(path, _)| is_below(path)) {
            if let Node::File(file) = node {
                files.insert(*file);
            }
        }
        state.names.retain(|path, _| !is_below(path));
        state.names.extend(names.iter().filter(|(path, _)| is_below(path)).map(|(path, node)| (path.clone(), *node)));
        state.durable_names = names;
        for file in files {
            state.files[file].cut(&mut random);
        }
    }

    /// From now on nothing below `dir` works, until it is mended.
    pub fn break_below(&self, dir: &Path) {
        lock(&self.0).broken.insert(dir.to_owned());
    }

    /// What is below `dir` works again, and is as it was.
    pub fn mend(&self, dir: &Path) {
        lock(&self.0).broken.remove(dir);
    }

    /// Another disk, an empty one, is mounted at `dir`.
    pub fn replace_below(&self, dir: &Path) {
        let mut state = lock(&self.0);
        let stays = |path: &PathBuf| !path.starts_with(dir) || path == dir;
        state.names.retain(|path, _| stays(path));
        state.durable_names.retain(|path, _| stays(path));
        state.journal.retain(|path, _| !path.starts_with(dir));
        state.locked.retain(stays);
    }

    /// Lets an operation fail.
    pub fn fail(&self, failure: Failure) {
        lock(&self.0).failures.push(failure);
    }

    pub fn clear_failures(&self) {
        lock(&self.0).failures.clear();
    }

    /// Bytes that all files together may have.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        lock(&self.0).capacity = bytes;
    }

    /// Bytes that all files together have.
    pub fn used(&self) -> u64 {
        lock(&self.0).used()
    }

    /// The time that files get when they are written, ms since the epoch.
    pub fn set_now_ms(&self, now_ms: i64) {
        lock(&self.0).now_ms = now_ms;
    }

    /// Syncs of files and directories so far.
    pub fn syncs(&self) -> usize {
        lock(&self.0).syncs
    }

    /// Write calls so far.
    pub fn writes(&self) -> usize {
        lock(&self.0).writes
    }

    /// All files, by path.
    pub fn paths(&self) -> Vec<PathBuf> {
        let state = lock(&self.0);
        state.names.iter().filter(|(_, node)| matches!(node, Node::File(_))).map(|(path, _)| path.clone()).collect()
    }

    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let state = lock(&self.0);
        match state.names.get(path) {
            Some(Node::File(file)) => Some(state.files[*file].cached.clone()),
            _ => None,
        }
    }

    /// How far blocks are put aside for the file; 0 where none are beyond its end.
    pub fn room_until(&self, path: &Path) -> u64 {
        let state = lock(&self.0);
        match state.names.get(path) {
            Some(Node::File(file)) => state.files[*file].room_until,
            _ => 0,
        }
    }

    /// How far write-back of the file was started.
    pub fn written_back_until(&self, path: &Path) -> u64 {
        let state = lock(&self.0);
        match state.names.get(path) {
            Some(Node::File(file)) => state.files[*file].written_back_until,
            _ => 0,
        }
    }

    /// Changes a file behind everybody's back, durably.
    pub fn edit(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = lock(&self.0);
        if let Some(Node::File(file)) = state.names.get(path).copied() {
            let content = &mut state.files[file];
            change(&mut content.cached);
            content.durable = content.cached.clone();
        }
    }
}

/// Of the changes of a directory's names, any first ones survive.
fn apply_some(changes: &[NameChange], names: &mut BTreeMap<PathBuf, Node>, mut random: impl FnMut() -> u64) {
    let survive = random() as usize % (changes.len() + 1);
    for change in &changes[..survive] {
        change.apply(names);
    }
}

/// Names below a directory that is gone are gone with it.
fn remove_orphans(names: &mut BTreeMap<PathBuf, Node>) {
    let orphans: Vec<PathBuf> =
        names.keys().filter(|path| path.ancestors().skip(1).any(|dir| is_missing(names, dir))).cloned().collect();
    for orphan in orphans {
        names.remove(&orphan);
    }
}

fn is_missing(names: &BTreeMap<PathBuf, Node>, dir: &Path) -> bool {
    !dir.as_os_str().is_empty() && dir != Path::new("/") && names.get(dir) != Some(&Node::Dir)
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        for path in &self.remove {
            names.remove(path);
        }
        for (path, node) in &self.add {
            names.insert(path.clone(), *node);
        }
    }
}

impl Content {
    fn cut(&mut self, mut random: impl FnMut() -> u64) {
        let (short, long) = if self.durable.len() <= self.cached.len() {
            (self.durable.len(), self.cached.len())
        } else {
            (self.cached.len(), self.durable.len())
        };
        // A length that is neither the old nor the new one appears when write-back was under way.
        let len = match random() % 3 {
            0 => self.durable.len(),
            1 => self.cached.len(),
            _ => short + random() as usize % (long - short + 1),
        };
        let mut after = vec![0; len];
        for (at, sector) in after.chunks_mut(SECTOR).enumerate() {
            let from = if random().is_multiple_of(2) { &self.cached } else { &self.durable };
            for (byte, value) in sector.iter_mut().zip(from.iter().skip(at * SECTOR)) {
                *byte = *value;
            }
        }
        self.durable = after.clone();
        self.cached = after;
    }
}

impl State {
    fn is_broken(&self, path: &Path) -> bool {
        self.broken.iter().any(|dir| path.starts_with(dir))
    }

    fn check_works(&self, path: &Path) -> io::Result<()> {
        if self.is_broken(path) { Err(broken()) } else { Ok(()) }
    }

    fn allow(&mut self, operation: Operation, path: &Path) -> Result<(), (io::Error, usize)> {
        if self.is_broken(path) {
            return Err((broken(), 0));
        }
        if self.failures.is_empty() {
            return Ok(());
        }
        let text = path.to_string_lossy().into_owned();
        let matching = |failure: &Failure| failure.operation == operation && text.contains(&failure.path);
        let Some(at) = self.failures.iter().position(matching) else { return Ok(()) };
        if self.failures[at].after > 0 {
            self.failures[at].after -= 1;
            return Ok(());
        }
        let failure = self.failures.remove(at);
        Err((io::Error::new(failure.error, format!("injected failure of {operation:?}")), failure.torn_bytes))
    }

    fn check(&mut self, operation: Operation, path: &Path) -> io::Result<()> {
        self.allow(operation, path).map_err(|(error, _)| error)
    }

    fn change_names(&mut self, dir: &Path, change: NameChange) {
        change.apply(&mut self.names);
        self.journal.entry(dir.to_owned()).or_default().push(change);
    }

    /// A directory moves, or goes, with all that is in it: what comes under its name later is another one.
    fn forget_changes(&mut self, dir: &Path) {
        self.journal.retain(|changed, _| !changed.starts_with(dir));
    }

    fn below(&self, dir: &Path) -> Vec<(PathBuf, Node)> {
        self.names.iter().filter(|(path, _)| path.starts_with(dir)).map(|(path, node)| (path.clone(), *node)).collect()
    }

    fn used(&self) -> u64 {
        let file = |node: &Node| match node {
            Node::File(file) => self.files[*file].cached.len() as u64,
            Node::Dir => 0,
        };
        self.names.values().map(file).sum()
    }
}

fn broken() -> io::Error {
    io::Error::other("the disk is broken")
}

fn parent(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(ErrorKind::NotFound, format!("{} is not there", path.display()))
}

impl Disk for MemDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = lock(&self.0);
        state.check(Operation::Open, path)?;
        let file = match state.names.get(path) {
            Some(Node::File(file)) => *file,
            Some(Node::Dir) => return Err(ErrorKind::IsADirectory.into()),
            None if access != Access::Create || is_missing(&state.names, &parent(path)) => return Err(not_found(path)),
            None => {
                let modified_ms = state.now_ms;
                state.files.push(Content { modified_ms, ..Content::default() });
                let file = state.files.len() - 1;
                let add = vec![(path.to_owned(), Node::File(file))];
                state.change_names(&parent(path), NameChange { remove: vec![], add });
                file
            }
        };
        Ok(Arc::new(MemFile { disk: self.clone(), path: path.to_owned(), file }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let state = lock(&self.0);
        state.check_works(dir)?;
        if is_missing(&state.names, dir) {
            return Err(not_found(dir));
        }
        let inside = state.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(inside
            .filter_map(|(path, node)| {
                let name = path.file_name()?.to_str()?.to_owned();
                Some(match node {
                    Node::Dir => Entry { name, is_dir: true, len: 0, modified_ms: 0 },
                    Node::File(file) => {
                        let content = &state.files[*file];
                        let (len, modified_ms) = (content.cached.len() as u64, content.modified_ms);
                        Entry { name, is_dir: false, len, modified_ms }
                    }
                })
            })
            .collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = lock(&self.0);
        state.check_works(dir)?;
        let missing: Vec<PathBuf> =
            dir.ancestors().filter(|above| is_missing(&state.names, above)).map(Path::to_owned).collect();
        for dir in missing.into_iter().rev() {
            let add = vec![(dir.clone(), Node::Dir)];
            state.change_names(&parent(&dir), NameChange { remove: vec![], add });
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = lock(&self.0);
        state.check(Operation::Rename, from)?;
        if !state.names.contains_key(from) {
            return Err(not_found(from));
        }
        let moved = state.below(from);
        let remove = moved.iter().map(|(path, _)| path.clone()).collect();
        state.forget_changes(from);
        let under = |path: &PathBuf| match path.strip_prefix(from) {
            Ok(rest) if rest.as_os_str().is_empty() => to.to_owned(),
            Ok(rest) => to.join(rest),
            Err(_) => path.clone(),
        };
        let add = moved.iter().map(|(path, node)| (under(path), *node)).collect();
        state.change_names(&parent(to), NameChange { remove, add });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = lock(&self.0);
        state.check(Operation::Remove, path)?;
        if !matches!(state.names.get(path), Some(Node::File(_))) {
            return Err(not_found(path));
        }
        state.change_names(&parent(path), NameChange { remove: vec![path.to_owned()], add: vec![] });
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = lock(&self.0);
        state.check(Operation::Remove, dir)?;
        if !matches!(state.names.get(dir), Some(Node::Dir)) {
            return Err(not_found(dir));
        }
        let remove = state.below(dir).into_iter().map(|(path, _)| path).collect();
        state.forget_changes(dir);
        state.change_names(&parent(dir), NameChange { remove, add: vec![] });
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = lock(&self.0);
        state.check(Operation::SyncDir, dir)?;
        state.syncs += 1;
        let changes = state.journal.remove(dir).unwrap_or_default();
        let mut names = std::mem::take(&mut state.durable_names);
        for change in &changes {
            change.apply(&mut names);
        }
        state.durable_names = names;
        Ok(())
    }

    fn sync_volume(&self, dir: &Path) -> io::Result<()> {
        let mut state = lock(&self.0);
        state.check(Operation::Sync, dir)?;
        state.syncs += 1;
        state.journal.clear();
        state.durable_names = state.names.clone();
        for content in &mut state.files {
            content.durable = content.cached.clone();
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        self.open(path, Access::Create)?;
        let free = lock(&self.0).locked.insert(path.to_owned());
        Ok(free.then(|| Box::new(MemLock { disk: self.clone(), path: path.to_owned() }) as Box<dyn LockGuard>))
    }

    fn space(&self, _dir: &Path) -> io::Result<(u64, u64)> {
        let state = lock(&self.0);
        let total = state.capacity.unwrap_or(1 << 40);
        Ok((total, total.saturating_sub(state.used())))
    }
}

impl DiskFile for MemFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let mut state = lock(&self.disk.0);
        state.check(Operation::Read, &self.path)?;
        let cached = &state.files[self.file].cached;
        let rest = cached.get(position as usize..).unwrap_or(&[]);
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, parts: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut state = lock(&self.disk.0);
        state.writes += 1;
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let mut error = None;
        if let Err((failure, torn_bytes)) = state.allow(Operation::Write, &self.path) {
            bytes.truncate(torn_bytes);
            error = Some(failure);
        }
        let position = position as usize;
        if let Some(capacity) = state.capacity {
            let len = state.files[self.file].cached.len();
            let growth = (position + bytes.len()).saturating_sub(len) as u64;
            let excess = (state.used() + growth).saturating_sub(capacity) as usize;
            if excess > 0 {
                bytes.truncate(bytes.len().saturating_sub(excess));
                error.get_or_insert_with(|| ErrorKind::StorageFull.into());
            }
        }
        let now_ms = state.now_ms;
        let content = &mut state.files[self.file];
        content.modified_ms = now_ms;
        let end = position + bytes.len();
        if content.cached.len() < end {
            content.cached.resize(end, 0);
        }
        content.cached[position..end].copy_from_slice(&bytes);
        error.map_or(Ok(()), Err)
    }

    fn len(&self) -> io::Result<u64> {
        let state = lock(&self.disk.0);
        state.check_works(&self.path)?;
        Ok(state.files[self.file].cached.len() as u64)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = lock(&self.disk.0);
        state.check(Operation::Truncate, &self.path)?;
        let content = &mut state.files[self.file];
        content.cached.resize(len as usize, 0);
        content.room_until = 0;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = lock(&self.disk.0);
        state.check(Operation::Sync, &self.path)?;
        state.syncs += 1;
        let content = &mut state.files[self.file];
        content.durable = content.cached.clone();
        Ok(())
    }

    fn start_write_back(&self, position: u64, len: u64) -> io::Result<()> {
        let mut state = lock(&self.disk.0);
        let content = &mut state.files[self.file];
        content.written_back_until = content.written_back_until.max(position + len);
        Ok(())
    }

    fn preallocate(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn make_room(&self, position: u64, len: u64) -> io::Result<()> {
        let mut state = lock(&self.disk.0);
        let content = &mut state.files[self.file];
        content.room_until = content.room_until.max(position + len);
        Ok(())
    }

    fn as_file(&self) -> Option<&Arc<File>> {
        None
    }
}
