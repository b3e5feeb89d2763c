//! The log directories of this node, and the logs in them.

use crate::chance;
use crate::config::{BrokerConfig, Replication};
use crate::log_config::{log_config, replica_settings};
use crate::partitions::Cell;
use metadata::config::TopicConfig;
use metadata::controller::METADATA_TOPIC;
use metadata::image::{Topic, directory};
use replication::{Brokers, Partition, Settings};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use storage::{
    Checkpoint, Claim, DirName, Disk, Fault, FdBudget, Log, LogConfig, LogDir, Offsets, OpenMode, Recovery, Shutdown,
    partition_dir,
};
use tracing::{error, warn};
use wire::Uuid;

/// So many directories are remembered for partitions that are not here yet.
const PREFERRED_MAX: usize = 10_000;

/// A log directory in use.
pub struct Dir {
    pub id: Uuid,
    pub log_dir: LogDir,
    /// One of `log.dirs`: the metadata log's own directory gets no partitions.
    of_partitions: bool,
    /// Where a failed directory is never asked again.
    offline: AtomicBool,
    partitions: AtomicUsize,
    recovery_points: Offsets,
    log_start_offsets: Offsets,
    high_watermarks: Offsets,
}

impl Dir {
    pub fn path(&self) -> &Path {
        self.log_dir.path()
    }

    pub fn is_offline(&self) -> bool {
        self.offline.load(Ordering::Relaxed)
    }

    /// Whether it is in `log.dirs`, or has partitions all the same.
    pub fn has_partitions(&self) -> bool {
        self.of_partitions || self.partitions.load(Ordering::Relaxed) > 0
    }
}

/// Topic and partition.
type Name = (String, i32);

/// The directories of a partition.
#[derive(Default)]
struct Found {
    dirs: Vec<usize>,
    copies: Vec<(usize, PathBuf)>,
}

/// A partition's copy that is on its way to another log directory.
pub struct LogCopy {
    pub log: Log,
    pub dir: Arc<Dir>,
}

/// All of them.
pub struct LogDirs {
    disk: Arc<dyn Disk>,
    dirs: Vec<Arc<Dir>>,
    pub fds: Arc<FdBudget>,
    /// Who may be in sync, as the partitions see it.
    pub brokers: Arc<Brokers>,
    node_id: i32,
    replication: Replication,
    /// Where partitions were found at the start.
    found: Mutex<HashMap<Name, Found>>,
    /// Where partitions are to be made that are not here yet, as somebody asked (KIP-113).
    preferred: Mutex<HashMap<Name, Arc<Dir>>>,
    /// Logs of topics with the same settings share them.
    configs: Mutex<Vec<(Weak<TopicConfig>, Arc<LogConfig>)>>,
}

/// An opened log, ready to be a partition.
pub struct OpenedLog {
    pub partition: Partition,
    pub dir: Arc<Dir>,
    /// The directory made for it has yet to be synced.
    pub is_new: bool,
    /// An earlier process was moving it.
    pub copy: Option<LogCopy>,
}

impl LogDirs {
    /// Takes back that these directories belong to a node: the cluster did not take it, and another id may be meant.
    pub fn forget_identity(&self) {
        for dir in &self.dirs {
            let path = dir.path().join("meta.properties");
            if let Err(error) = self.disk.remove_file(&path) {
                warn!(path = %path.display(), %error, "could not be removed; remove it before this directory is used for another node");
            }
        }
    }

    /// Takes directories into use; their logs are opened by [`LogDirs::open_log`].
    pub fn new(
        disk: Arc<dyn Disk>,
        dirs: Vec<(Uuid, LogDir)>,
        fds: Arc<FdBudget>,
        config: &BrokerConfig,
    ) -> Result<LogDirs, Fault> {
        let mut found: HashMap<Name, Found> = HashMap::new();
        let mut opened = Vec::new();
        for (at, (id, log_dir)) in dirs.into_iter().enumerate() {
            for (path, name) in log_dir.directories()? {
                match name {
                    DirName::Partition { topic, partition } => {
                        found.entry((topic, partition)).or_default().dirs.push(at);
                    }
                    DirName::Future { topic, partition } => {
                        found.entry((topic, partition)).or_default().copies.push((at, path));
                    }
                    _ => {}
                }
            }
            opened.push(Arc::new(Dir {
                id,
                of_partitions: config.log_dirs.iter().any(|path| path == log_dir.path()),
                recovery_points: log_dir.checkpoint(Checkpoint::RecoveryPoint)?,
                log_start_offsets: log_dir.checkpoint(Checkpoint::LogStart)?,
                high_watermarks: log_dir.checkpoint(Checkpoint::HighWatermark)?,
                log_dir,
                offline: AtomicBool::new(false),
                partitions: AtomicUsize::new(0),
            }));
        }
        Ok(LogDirs {
            disk,
            dirs: opened,
            fds,
            brokers: Arc::default(),
            node_id: config.node_id,
            replication: config.replication.clone(),
            found: Mutex::new(found),
            preferred: Mutex::default(),
            configs: Mutex::default(),
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Dir>> {
        self.dirs.iter()
    }

    pub fn by_path(&self, path: &Path) -> Option<&Arc<Dir>> {
        self.dirs.iter().find(|d| d.path() == path)
    }

    /// The id of the directory that a partition is in; the reserved one of unassigned replicas for one that gets none.
    pub fn id_of(&self, cell: &Cell) -> Uuid {
        self.of_partitions().find(|dir| cell.is_in(dir.path())).map_or(directory::UNASSIGNED, |dir| dir.id)
    }

    /// Takes a directory out of use. Returns whether it was in use.
    pub fn take_offline(&self, dir: &Dir) -> bool {
        !dir.offline.swap(true, Ordering::Relaxed)
    }

    /// The directories of `log.dirs`.
    pub fn of_partitions(&self) -> impl Iterator<Item = &Arc<Dir>> {
        self.dirs.iter().filter(|dir| dir.of_partitions)
    }

    /// Whether every directory of `log.dirs` is offline.
    pub fn all_offline(&self) -> bool {
        self.of_partitions().all(|dir| dir.is_offline())
    }

    /// What logs of a topic with these settings are told, shared between them.
    pub fn log_config(&self, topic: &Arc<TopicConfig>) -> Arc<LogConfig> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        configs.retain(|(of, _)| of.strong_count() > 0);
        if let Some((_, config)) = configs.iter().find(|(of, _)| of.as_ptr() == Arc::as_ptr(topic)) {
            return config.clone();
        }
        let config = Arc::new(log_config(topic));
        configs.push((Arc::downgrade(topic), config.clone()));
        config
    }

    /// What replicas of a topic with these settings are told.
    pub fn replica_settings(&self, topic: &TopicConfig) -> Settings {
        replica_settings(topic, &self.replication)
    }

    /// Opens a partition's log where it is, or makes it in the directory `assigned` (any, when that is none of ours).
    pub fn open_log(
        &self,
        topic: &Topic,
        partition: i32,
        assigned: Uuid,
        config: &Arc<TopicConfig>,
        now_ms: i64,
    ) -> Result<OpenedLog, Fault> {
        let key = (topic.name.to_string(), partition);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner).remove(&key).unwrap_or_default();
        let mut here = Vec::new();
        for at in found.dirs {
            if self.belongs(&self.dirs[at], topic, partition)? {
                here.push(self.dirs[at].clone());
            }
        }
        if here.is_empty() {
            here.extend(self.abandoned(&mut found.copies, topic, partition, assigned)?);
        }
        let dir = self.only_one(here, topic, partition, assigned)?;
        let is_new = dir.is_none();
        let dir = match dir {
            Some(dir) => dir,
            None => self.choose(&key, assigned)?,
        };
        let path = dir.log_dir.partition_path(&topic.name, partition);
        if is_new {
            self.belongs(&dir, topic, partition)?; // what is there under its name makes room
        }
        let log = match is_new {
            true => self.create(&dir, &path, topic.id, partition, config, now_ms)?,
            false => self.open(&dir, &path, topic.id, &key, config, now_ms)?,
        };
        let of = Some(&dir).filter(|_| !is_new);
        let copy = self.copy(found.copies, of, topic, &key, config, now_ms);
        dir.partitions.fetch_add(1, Ordering::Relaxed);
        let high_watermark = if is_new { 0 } else { dir.high_watermarks.get(&key).copied().unwrap_or(0) };
        let settings = self.replica_settings(config);
        let partition = Partition::new(self.node_id, log, settings, self.brokers.clone(), high_watermark);
        Ok(OpenedLog { partition, dir, is_new, copy })
    }

    fn mode(&self, dir: &Dir, topic_id: Uuid, partition: i32) -> OpenMode {
        OpenMode {
            shutdown: dir.log_dir.shutdown(),
            is_seamless: dir.log_dir.was_ours(),
            fds: self.fds.clone(),
            jitter_seed: u64::from_be_bytes(std::array::from_fn(|i| topic_id.0[i])) ^ partition as u64,
            ..OpenMode::default()
        }
    }

    fn open(
        &self,
        dir: &Dir,
        path: &Path,
        topic_id: Uuid,
        key: &Name,
        config: &Arc<TopicConfig>,
        now_ms: i64,
    ) -> Result<Log, Fault> {
        let mode = OpenMode {
            recovery_point: dir.recovery_points.get(key).copied().unwrap_or(0),
            log_start_offset: dir.log_start_offsets.get(key).copied().unwrap_or(0),
            ..self.mode(dir, topic_id, key.1)
        };
        let config = self.log_config(config);
        let (log, recovery) = Log::open(self.disk.clone(), path, config, Some(topic_id), mode, now_ms)?;
        report(path, &recovery);
        Ok(log)
    }

    fn create(
        &self,
        dir: &Dir,
        path: &Path,
        topic_id: Uuid,
        partition: i32,
        config: &Arc<TopicConfig>,
        now_ms: i64,
    ) -> Result<Log, Fault> {
        let mode = OpenMode { shutdown: Shutdown::Clean, ..self.mode(dir, topic_id, partition) };
        Log::create(self.disk.clone(), path, self.log_config(config), Some(topic_id), mode, now_ms)
    }

    /// Begins a copy of a partition in `dir`; none where the name would be too long.
    pub fn create_copy(
        &self,
        dir: &Arc<Dir>,
        topic: &str,
        topic_id: Uuid,
        partition: i32,
        config: &Arc<TopicConfig>,
        now_ms: i64,
    ) -> Result<Option<LogCopy>, Fault> {
        let Some(name) = partition_dir::future_name(topic, partition, chance::uuid()) else { return Ok(None) };
        let log = self.create(dir, &dir.path().join(name), topic_id, partition, config, now_ms)?;
        dir.log_dir.sync()?;
        dir.partitions.fetch_add(1, Ordering::Relaxed);
        Ok(Some(LogCopy { log, dir: dir.clone() }))
    }

    /// The copy to go on with, of those that were found of a partition in another directory. The others are put aside.
    fn copy(
        &self,
        found: Vec<(usize, PathBuf)>,
        of: Option<&Arc<Dir>>,
        topic: &Topic,
        key: &Name,
        config: &Arc<TopicConfig>,
        now_ms: i64,
    ) -> Option<LogCopy> {
        let mut copy = None;
        for (at, path) in found {
            let dir = &self.dirs[at];
            let is_elsewhere = dir.of_partitions && of.is_some_and(|of| !Arc::ptr_eq(dir, of));
            let is_ours = || partition_dir::read_metadata(&*self.disk, &path).ok().flatten() == Some(topic.id);
            if copy.is_none() && is_elsewhere && is_ours() {
                match self.open(dir, &path, topic.id, key, config, now_ms) {
                    Ok(log) => {
                        dir.partitions.fetch_add(1, Ordering::Relaxed);
                        copy = Some(LogCopy { log, dir: dir.clone() });
                        continue;
                    }
                    Err(fault) => warn!(path = %path.display(), error = %fault, "a copy cannot be gone on with"),
                }
            }
            self.put_aside(dir, &path, "a copy of a partition that nobody goes on with");
        }
        copy
    }

    /// Where a copy is the partition now: its log is in none of the directories any more, and the controller knows that the
    /// copy, which was level, was to take its place.
    fn abandoned(
        &self,
        copies: &mut Vec<(usize, PathBuf)>,
        topic: &Topic,
        partition: i32,
        assigned: Uuid,
    ) -> Result<Option<Arc<Dir>>, Fault> {
        let is_it = |(at, path): &(usize, PathBuf)| {
            let dir = &self.dirs[*at];
            let id = partition_dir::read_metadata(&*self.disk, path).ok().flatten();
            dir.of_partitions && dir.id == assigned && id == Some(topic.id)
        };
        let Some(found) = copies.iter().position(is_it) else { return Ok(None) };
        let (at, path) = copies.swap_remove(found);
        let dir = &self.dirs[at];
        dir.log_dir.adopt(&path, &topic.name, partition)?;
        warn!(from = %path.display(), to = %dir.log_dir.partition_path(&topic.name, partition).display(),
            "the log that was being moved is gone: its copy takes its place");
        Ok(Some(dir.clone()))
    }

    /// The directory that counts, of those that have the partition. A process that ended between giving the copy the
    /// partition's name and taking it from the log before left both, which were alike: the one that the controller knows
    /// counts, and the others are put aside. That says nothing where the move ended because that directory failed.
    ///
    /// # Errors
    /// A [`Fault`] where nobody knows which one counts, as in Kafka.
    fn only_one(
        &self,
        mut found: Vec<Arc<Dir>>,
        topic: &Topic,
        partition: i32,
        assigned: Uuid,
    ) -> Result<Option<Arc<Dir>>, Fault> {
        let lost = |dir: &Arc<Dir>| dir.log_dir.left() == Shutdown::PowerCut;
        let counts = |dir: &Arc<Dir>| dir.id == assigned && (!lost(dir) || found.iter().all(lost));
        let at = match found.len() {
            0 => return Ok(None),
            1 => 0,
            _ => found.iter().position(counts).ok_or_else(|| duplicate(&found, &topic.name, partition))?,
        };
        let one = found.swap_remove(at);
        for dir in found {
            let path = dir.log_dir.partition_path(&topic.name, partition);
            let to = dir.log_dir.put_aside(&path, topic.id)?;
            warn!(kept = %one.path().display(), from = %path.display(), to = %to.display(),
                "the partition was moved from here when the process before ended; what it left is put aside");
        }
        Ok(Some(one))
    }

    /// Whether the directory found is this topic's.
    fn belongs(&self, dir: &Dir, topic: &Topic, partition: i32) -> Result<bool, Fault> {
        let claim = dir.log_dir.claim(&topic.name, partition, topic.id)?;
        if let Claim::PutAside(to) = &claim {
            let from = dir.log_dir.partition_path(&topic.name, partition);
            warn!(from = %from.display(), to = %to.display(), "what is not this topic's is put aside");
        }
        Ok(claim == Claim::Ours)
    }

    /// Puts aside the partitions that nobody claimed after the start.
    pub fn put_aside_unknown(&self) {
        let unknown = std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner));
        for ((topic, partition), found) in unknown {
            for at in found.dirs.into_iter().filter(|_| topic != METADATA_TOPIC) {
                let path = self.dirs[at].log_dir.partition_path(&topic, partition);
                self.put_aside(&self.dirs[at], &path, "a partition that the cluster does not know");
            }
            for (at, path) in found.copies {
                self.put_aside(&self.dirs[at], &path, "a copy of a partition that is not here");
            }
        }
    }

    /// Puts aside a partition that was opened and that nobody claimed.
    pub fn put_aside_opened(&self, opened: OpenedLog) {
        let log = opened.partition.into_log();
        let copy = opened.copy.map(|copy| (copy.dir, copy.log));
        for (dir, log) in [(opened.dir, log)].into_iter().chain(copy) {
            let (path, topic_id) = (log.dir().to_owned(), log.topic_id());
            drop(log);
            dir.partitions.fetch_sub(1, Ordering::Relaxed);
            // Another topic of the name may be there by now, for which it made room.
            if partition_dir::read_metadata(&*self.disk, &path).ok().flatten() == topic_id {
                self.put_aside(&dir, &path, "a partition that is not here any more");
            }
        }
    }

    fn put_aside(&self, dir: &Dir, path: &Path, what: &str) {
        let id = partition_dir::read_metadata(&*self.disk, path).ok().flatten().unwrap_or(Uuid::ZERO);
        match dir.log_dir.put_aside(path, id) {
            Ok(to) => {
                warn!(from = %path.display(), to = %to.display(), topic_id = %id, "{what} is put aside")
            }
            Err(fault) => error!(error = %fault, "{what} stays where it is"),
        }
    }

    /// Remembers where a partition that is not here yet is to be made.
    pub fn prefer(&self, topic: &str, partition: i32, dir: &Arc<Dir>) {
        let mut preferred = self.preferred.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (topic.to_owned(), partition);
        // Anybody can name topics that never come.
        if preferred.len() < PREFERRED_MAX || preferred.contains_key(&name) {
            preferred.insert(name, dir.clone());
        }
    }

    /// The directory that somebody asked for, the assigned one, or the one with the fewest partitions.
    fn choose(&self, name: &Name, assigned: Uuid) -> Result<Arc<Dir>, Fault> {
        let preferred = self.preferred.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        let online = || self.of_partitions().filter(|d| !d.is_offline());
        let assigned = || online().find(|d| d.id == assigned && !directory::is_reserved(assigned)).cloned();
        let emptiest = || online().min_by_key(|d| d.partitions.load(Ordering::Relaxed)).cloned();
        let none = || Fault::new("use", "any of log.dirs", &std::io::Error::other("all log directories are offline"));
        preferred.filter(|dir| !dir.is_offline()).or_else(assigned).or_else(emptiest).ok_or_else(none)
    }
}

impl Dir {
    /// Deletes a closed log: its name is free at once, its files go when the returned path is removed.
    pub fn mark_deleted(&self, topic: &str, partition: i32, unique: Uuid) -> Result<PathBuf, Fault> {
        self.partitions.fetch_sub(1, Ordering::Relaxed);
        self.log_dir.mark_deleted(topic, partition, unique)
    }

    /// As [`Dir::mark_deleted`], for a closed copy of a partition in `from`.
    pub fn mark_copy_deleted(&self, from: &Path, topic: &str, partition: i32, unique: Uuid) -> Result<PathBuf, Fault> {
        self.partitions.fetch_sub(1, Ordering::Relaxed);
        self.log_dir.mark_copy_deleted(from, topic, partition, unique)
    }
}

fn duplicate(found: &[Arc<Dir>], topic: &str, partition: i32) -> Fault {
    let [one, other] = [&found[0], &found[1]].map(|dir| dir.log_dir.partition_path(topic, partition));
    let why = format!(
        "Duplicate log directories for {topic}-{partition} are found in both {} and {}. A log directory may have failed while \
         the replica was moved between them, or files were copied. Remove one of the two: the one in the directory that \
         failed, or the one with older records.",
        one.display(),
        other.display()
    );
    Fault::new("choose", one, &std::io::Error::other(why))
}

/// Says what a crash did to a log, and what was done about it.
fn report(path: &Path, recovery: &Recovery) {
    if recovery.is_quiet() {
        return;
    }
    let log = path.display();
    if let Some(cut) = &recovery.cut {
        warn!(%log, offset = cut.offset, bytes = cut.bytes, reason = %cut.reason, saved = ?cut.saved, "the end of the log was cut off");
    }
    for damage in &recovery.damage {
        error!(%log, offset = damage.offset, segment = damage.segment, position = damage.position, reason = %damage.reason,
            "the log is damaged here and is served without this part");
    }
    if recovery.rebuilt_indexes > 0 || recovery.rebuilt_epochs {
        warn!(%log, indexes = recovery.rebuilt_indexes, epochs = recovery.rebuilt_epochs, "indexes were made anew");
    }
    if recovery.restarted {
        warn!(%log, "the log ended before its start offset and begins anew there");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::Append;
    use storage::testing::MemDisk;
    use wire::records::{BatchBuilder, BatchHeader, BatchInfo, Codec};

    const NOW: i64 = 1_700_000_000_000;

    fn append(log: &mut Log) {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.append(NOW, None, Some(b"value"), &[]);
        let mut bytes = builder.build(0, -1);
        let info = BatchInfo::of_header(&BatchHeader::parse(&bytes).unwrap()).unwrap();
        log.append(&mut [Append::new(&mut bytes, info)], 0, NOW).unwrap();
    }

    /// The topic of before was deleted after the node had opened its logs, and before it took up the cluster's state.
    #[test]
    fn a_topic_made_again_does_not_get_what_was_opened_of_the_one_before() {
        let disk = MemDisk::new();
        let file = [("log.dirs".to_owned(), "/data".to_owned())];
        let config = BrokerConfig::new(file.into(), None).unwrap();
        let open = || {
            let dir = LogDir::open(disk.arc(), Path::new("/data"), "boot").unwrap();
            LogDirs::new(disk.arc(), vec![(Uuid::from_u128(1 << 70), dir)], Arc::default(), &config).unwrap()
        };
        let settings = Arc::new(TopicConfig::kafka_defaults());
        let open_log = |dirs: &LogDirs, id| {
            let topic = Topic { name: "t".into(), id: Uuid::from_u128(id), partitions: Default::default() };
            dirs.open_log(&topic, 0, directory::UNASSIGNED, &settings, NOW).unwrap()
        };
        append(&mut open_log(&open(), 1).partition.into_log());
        let dirs = open();
        let of_before = open_log(&dirs, 1);
        assert_eq!(of_before.partition.log().log_end_offset(), 1);
        let mut new = open_log(&dirs, 2).partition.into_log();
        assert_eq!(new.log_end_offset(), 0);
        append(&mut new);
        dirs.put_aside_opened(of_before);
        drop((new, dirs));
        let dirs = open();
        assert_eq!(open_log(&dirs, 2).partition.log().log_end_offset(), 1, "it was not put aside with the other");
        let nobodys = open_log(&dirs, 3);
        dirs.put_aside_opened(nobodys);
        assert!(dirs.iter().all(|dir| {
            !dir.log_dir.directories().unwrap().iter().any(|(_, name)| matches!(name, DirName::Partition { .. }))
        }));
    }
}
