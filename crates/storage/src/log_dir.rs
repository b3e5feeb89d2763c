//! One of the directories in `log.dirs`: its lock, its identity, its checkpoints, how it was left.

use crate::checkpoint::{self, Checkpoint, Offsets};
use crate::disk::{Access, Context, Disk, Fault, LockGuard};
use crate::log::Shutdown;
use crate::meta_properties::MetaProperties;
use crate::partition_dir::{self, DirName};
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wire::Uuid;

const LOCK_FILE: &str = ".lock";
const CLEAN_SHUTDOWN_FILE: &str = ".kafka_cleanshutdown";
/// Ours: the kernel's boot id while the directory is in use.
const BOOT_ID_FILE: &str = ".klamm_boot_id";
const SMALL_FILE_MAX: u64 = 4096;

/// A log directory that this process holds.
pub struct LogDir {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    shutdown: Shutdown,
    /// As the directory alone says.
    left: Shutdown,
    was_ours: bool,
    broker_epoch: Option<i64>,
    meta: Option<MetaProperties>,
    _lock: Box<dyn LockGuard>,
}

/// What [`LogDir::claim`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    Ours,
    Nothing,
    /// It was of another topic, or nobody knows whose, and is there now.
    PutAside(PathBuf),
}

/// Why a log directory cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogDirError {
    /// Somebody else uses it.
    Locked(PathBuf),
    Fault(Fault),
}

impl fmt::Display for LogDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogDirError::Locked(dir) => write!(
                f,
                "Failed to acquire lock on file .lock in {}. A Kafka instance in another process or thread is using \
                 this directory.",
                dir.display()
            ),
            LogDirError::Fault(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for LogDirError {}

impl From<Fault> for LogDirError {
    fn from(fault: Fault) -> LogDirError {
        LogDirError::Fault(fault)
    }
}

impl fmt::Debug for LogDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogDir").field("path", &self.path).field("shutdown", &self.shutdown).finish_non_exhaustive()
    }
}

impl LogDir {
    /// Takes a directory into use, making it when it is missing. `boot_id` is the kernel's
    /// (`/proc/sys/kernel/random/boot_id`); empty when unknown. Nothing in it is changed yet, so that a directory which
    /// cannot be served is refused untouched.
    pub fn open(disk: Arc<dyn Disk>, path: &Path, boot_id: &str) -> Result<LogDir, LogDirError> {
        disk.create_dir(path).context("create log directory", path)?;
        let lock_path = path.join(LOCK_FILE);
        let lock = disk.lock(&lock_path).context("lock", &lock_path)?;
        let lock = lock.ok_or_else(|| LogDirError::Locked(path.to_owned()))?;
        let small = |name: &str| -> Result<Option<String>, Fault> {
            let path = path.join(name);
            match disk.read(&path, SMALL_FILE_MAX) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                bytes => Ok(Some(String::from_utf8_lossy(&bytes.context("read", &path)?).into_owned())),
            }
        };
        let marker = small(CLEAN_SHUTDOWN_FILE)?;
        let last_boot_id = small(BOOT_ID_FILE)?;
        let shutdown = if marker.is_some() {
            Shutdown::Clean
        } else if !boot_id.is_empty() && last_boot_id.as_deref().map(str::trim) == Some(boot_id.trim()) {
            Shutdown::Killed
        } else {
            Shutdown::PowerCut
        };
        let meta = MetaProperties::read(&*disk, path).context("read meta.properties in", path)?;
        let broker_epoch = marker.as_deref().and_then(broker_epoch_of);
        let was_ours = last_boot_id.is_some();
        Ok(LogDir { disk, path: path.to_owned(), shutdown, left: shutdown, was_ours, broker_epoch, meta, _lock: lock })
    }

    /// What one process used was left in one way. Where the directories of a node differ, one of them failed before the
    /// others were closed, was replaced, or was not in use: each is looked at as after a power cut.
    pub fn agree(dirs: &mut [LogDir]) {
        let all = |shutdown: Shutdown| dirs.iter().all(|dir| dir.shutdown == shutdown);
        if !all(Shutdown::Clean) && !all(Shutdown::Killed) {
            dirs.iter_mut().for_each(|dir| dir.shutdown = Shutdown::PowerCut);
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the last user left this directory, whatever the others of the node say.
    pub fn left(&self) -> Shutdown {
        self.left
    }

    /// How the last user left it and the others of the node.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown
    }

    /// Whether the last user was no Apache Kafka.
    pub fn was_ours(&self) -> bool {
        self.was_ours
    }

    /// The broker epoch that the last user noted at a clean shutdown: the proof of it (KIP-966).
    pub fn clean_shutdown_broker_epoch(&self) -> Option<i64> {
        self.broker_epoch
    }

    /// `meta.properties`, if the directory was formatted.
    pub fn meta(&self) -> Option<&MetaProperties> {
        self.meta.as_ref()
    }

    pub fn write_meta(&mut self, meta: &MetaProperties, now_ms: i64) -> Result<(), Fault> {
        meta.write(&*self.disk, &self.path, now_ms).context("write meta.properties in", &self.path)?;
        // The directory may have been made a moment ago. One above that we may not open was not made by us.
        match self.path.parent().map(|above| self.disk.sync_dir(above)) {
            Some(Err(error)) if error.kind() != io::ErrorKind::PermissionDenied => {
                return Err(Fault::new("sync the directory above", &self.path, &error));
            }
            _ => {}
        }
        self.meta = Some(MetaProperties { version: 1, ..meta.clone() });
        Ok(())
    }

    /// From here on the directory is in use: a clean shutdown of before counts no more. Call it after every log was opened,
    /// before anything is written.
    ///
    /// The next start can tell a kill from a power cut by the boot id. After a power cut that is written only with
    /// [`LogDir::loss_is_known`]: a process that is killed before would otherwise leave a directory that lost records and
    /// looks as if it had not.
    pub fn begin(&self, boot_id: &str) -> Result<(), Fault> {
        match self.shutdown {
            // It may be there still, where only another directory of the node says power cut.
            Shutdown::PowerCut => self.distrust()?,
            _ => self.write_boot_id(boot_id)?,
        }
        let marker = self.path.join(CLEAN_SHUTDOWN_FILE);
        match self.disk.remove_file(&marker) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.context("remove", &marker)?,
        }
        self.sync()
    }

    /// The cluster knows that this directory may have lost what was not synced.
    pub fn loss_is_known(&self, boot_id: &str) -> Result<(), Fault> {
        self.write_boot_id(boot_id)
    }

    /// Something went wrong with the disk: what was written may not be there, though the machine goes on. The next start must
    /// not take this for a kill.
    pub fn distrust(&self) -> Result<(), Fault> {
        let path = self.path.join(BOOT_ID_FILE);
        // It stays, for the directory is ours all the same.
        match self.disk.open(&path, Access::Write).and_then(|file| file.truncate(0)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            emptied => emptied.context("empty", &path),
        }
    }

    /// As [`LogDir::distrust`], in the first of these directories that takes it: the one that failed, which may not, and then
    /// the others of the node, of which any says it for all ([`LogDir::agree`]).
    ///
    /// # Errors
    /// Why the last one did not take it.
    pub fn distrust_first<'a>(dirs: impl Iterator<Item = &'a LogDir>) -> Result<(), Fault> {
        let mut refused = Ok(());
        for dir in dirs {
            match dir.distrust() {
                Ok(()) => return Ok(()),
                failed => refused = failed,
            }
        }
        refused
    }

    fn write_boot_id(&self, boot_id: &str) -> Result<(), Fault> {
        let path = self.path.join(BOOT_ID_FILE);
        // Until it is durable, a power cut shows the boot id of before, or none: both say power cut.
        self.disk.write_atomically(&path, boot_id.trim().as_bytes(), false).context("write", &path)
    }

    /// Leaves the clean-shutdown marker, after every log was closed ([`Log::close`](crate::Log::close)) and the
    /// checkpoints were written. Brings everything to the disk first, with one call for all logs.
    pub fn mark_clean(&self, broker_epoch: i64) -> Result<(), Fault> {
        self.disk.sync_volume(&self.path).context("sync the volume of", &self.path)?;
        let path = self.path.join(CLEAN_SHUTDOWN_FILE);
        let text = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
        self.disk.write_atomically(&path, text.as_bytes(), true).context("write", &path)
    }

    /// One of the checkpoint files; a missing one is empty.
    pub fn checkpoint(&self, which: Checkpoint) -> Result<Offsets, Fault> {
        checkpoint::read(&*self.disk, &self.path, which).context("read checkpoints in", &self.path)
    }

    pub fn write_checkpoint(&self, which: Checkpoint, offsets: &Offsets) -> Result<(), Fault> {
        checkpoint::write(&*self.disk, &self.path, which, offsets).context("write checkpoints in", &self.path)
    }

    /// Takes partitions that were made anew out of all checkpoint files: what is in there is of an earlier log of the same
    /// name, and would be taken for theirs by the next process. To be called before anything is appended to them.
    pub fn forget(&self, partitions: &BTreeSet<(String, i32)>) -> Result<(), Fault> {
        for which in Checkpoint::ALL {
            let mut offsets = self.checkpoint(which)?;
            let known = offsets.len();
            offsets.retain(|partition, _| !partitions.contains(partition));
            if offsets.len() < known {
                self.write_checkpoint(which, &offsets)?;
            }
        }
        Ok(())
    }

    /// Directories in it, with what their names say.
    pub fn directories(&self) -> Result<Vec<(PathBuf, DirName)>, Fault> {
        let mut entries = self.disk.list(&self.path).context("list", &self.path)?;
        entries.retain(|entry| entry.is_dir);
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries.iter().map(|e| (self.path.join(&e.name), partition_dir::parse_name(&e.name))).collect())
    }

    pub fn partition_path(&self, topic: &str, partition: i32) -> PathBuf {
        self.path.join(partition_dir::name(topic, partition))
    }

    /// Whether what lies in the directory of a partition is of this topic. What is not is put aside, and the name is free.
    ///
    /// A directory that does not say whose it is is taken for this topic's, as those of old versions are, but not after a
    /// power cut: the first sync of a log covers what says it, so that nothing in there was ever known to be on the disk, and
    /// it may be what an older topic of the same name left.
    pub fn claim(&self, topic: &str, partition: i32, topic_id: Uuid) -> Result<Claim, Fault> {
        let path = self.partition_path(topic, partition);
        let id = partition_dir::read_metadata(&*self.disk, &path).context("read partition.metadata in", &path)?;
        match id {
            Some(id) if id == topic_id => return Ok(Claim::Ours),
            Some(id) => return self.put_aside(&path, id).map(Claim::PutAside),
            None => {}
        }
        match self.disk.list(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Claim::Nothing),
            listed => drop(listed.context("list", &path)?),
        }
        if self.shutdown == Shutdown::PowerCut {
            return self.put_aside(&path, Uuid::ZERO).map(Claim::PutAside);
        }
        partition_dir::write_metadata(&*self.disk, &path, topic_id).context("write partition.metadata in", &path)?;
        Ok(Claim::Ours)
    }

    /// After a power cut, puts aside every partition that does not say whose it is, but for those of the topic `but`: once
    /// the next process starts, they would look as if an old version had left them. Returns where they are.
    pub fn put_aside_nameless(&self, but: &str) -> Result<Vec<PathBuf>, Fault> {
        if self.shutdown != Shutdown::PowerCut {
            return Ok(Vec::new());
        }
        let mut aside = Vec::new();
        for (path, name) in self.directories()? {
            if !matches!(name, DirName::Partition { topic, .. } if topic != but) {
                continue;
            }
            let id = partition_dir::read_metadata(&*self.disk, &path).context("read partition.metadata in", &path)?;
            if id.is_none() {
                aside.push(self.put_aside(&path, Uuid::ZERO)?);
            }
        }
        Ok(aside)
    }

    /// Renames the directory of a partition that the cluster does not know, and never deletes it: only the cluster's state
    /// says what may go. Returns where it is.
    pub fn put_aside(&self, path: &Path, topic_id: Uuid) -> Result<PathBuf, Fault> {
        let mut unique = u128::from_be_bytes(topic_id.0);
        let to = loop {
            let mut to = path.as_os_str().to_owned();
            to.push(format!(".{unique:032x}-stray"));
            let to = PathBuf::from(to);
            match self.disk.list(&to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => break to,
                listed => drop(listed.context("list", &to)?),
            }
            unique = unique.wrapping_add(1);
        };
        self.disk.rename(path, &to).context("rename", path)?;
        self.sync()?;
        Ok(to)
    }

    /// Gives a partition's copy in `from` the partition's name, durably.
    pub fn adopt(&self, from: &Path, topic: &str, partition: i32) -> Result<(), Fault> {
        self.disk.rename(from, &self.partition_path(topic, partition)).context("rename", from)?;
        self.sync()
    }

    /// Renames a partition's directory, so that its name is free at once; [`LogDir::remove`] it after
    /// `file.delete.delay.ms`. The log must not be used any more.
    pub fn mark_deleted(&self, topic: &str, partition: i32, unique: Uuid) -> Result<PathBuf, Fault> {
        self.mark_copy_deleted(&self.partition_path(topic, partition), topic, partition, unique)
    }

    /// As [`LogDir::mark_deleted`], for a partition's copy in `from`.
    pub fn mark_copy_deleted(&self, from: &Path, topic: &str, partition: i32, unique: Uuid) -> Result<PathBuf, Fault> {
        let to = self.path.join(partition_dir::deleted_name(topic, partition, unique));
        self.disk.rename(from, &to).context("rename", from)?;
        Ok(to)
    }

    /// Removes a directory that [`LogDir::mark_deleted`] renamed. May take long.
    pub fn remove(&self, dir: &Path) -> Result<(), Fault> {
        match self.disk.remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.context("remove directory", dir),
        }
    }

    /// Makes the names in the directory durable: once for a whole batch of partitions that were made or renamed.
    pub fn sync(&self) -> Result<(), Fault> {
        self.disk.sync_dir(&self.path).context("sync directory", &self.path)
    }

    /// Total and usable bytes of its volume (DescribeLogDirs).
    pub fn space(&self) -> Result<(u64, u64), Fault> {
        self.disk.space(&self.path).context("look at", &self.path)
    }

    /// Whether the directory can be written to, by making a file and removing it.
    pub fn probe(&self) -> Result<(), Fault> {
        let path = self.path.join(".klamm_probe");
        self.disk.open(&path, Access::Create).map(drop).context("create", &path)?;
        self.disk.remove_file(&path).context("remove", &path)
    }
}

/// The number after `"brokerEpoch":` of the marker; a marker of before 3.7 is empty.
fn broker_epoch_of(json: &str) -> Option<i64> {
    let (_, rest) = json.split_once("\"brokerEpoch\"")?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start();
    let end = rest.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}
