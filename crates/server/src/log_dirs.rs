//! The log directories of this node, and the logs in them.

use crate::config::{BrokerConfig, Replication};
use crate::log_config::{log_config, replica_settings};
use metadata::config::TopicConfig;
use metadata::image::{Topic, directory};
use replication::{Brokers, Partition, Settings};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use storage::{
    Checkpoint, Claim, Disk, Fault, FdBudget, Log, LogConfig, LogDir, Offsets, OpenMode, Recovery, Shutdown,
    partition_dir,
};
use tracing::{error, warn};
use wire::Uuid;

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
    found: Mutex<HashMap<(String, i32), usize>>,
    /// Logs of topics with the same settings share them.
    configs: Mutex<Vec<(Weak<TopicConfig>, Arc<LogConfig>)>>,
}

/// An opened log, ready to be a partition.
pub struct OpenedLog {
    pub partition: Partition,
    pub dir: Arc<Dir>,
    /// The directory made for it has yet to be synced.
    pub is_new: bool,
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
        let mut found = HashMap::new();
        let mut opened = Vec::new();
        for (at, (id, log_dir)) in dirs.into_iter().enumerate() {
            for (_, name) in log_dir.directories()? {
                if let partition_dir::DirName::Partition { topic, partition } = name {
                    found.insert((topic, partition), at);
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
            configs: Mutex::default(),
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Dir>> {
        self.dirs.iter()
    }

    pub fn by_path(&self, path: &Path) -> Option<&Arc<Dir>> {
        self.dirs.iter().find(|d| d.path() == path)
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
        let at = self.found.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        let dir = match at {
            Some(at) if self.belongs(&self.dirs[at], topic, partition)? => Some(self.dirs[at].clone()),
            _ => None,
        };
        let is_new = dir.is_none();
        let dir = match dir {
            Some(dir) => dir,
            None => self.choose(assigned)?.clone(),
        };
        let path = dir.log_dir.partition_path(&topic.name, partition);
        let mode = OpenMode {
            shutdown: if is_new { Shutdown::Clean } else { dir.log_dir.shutdown() },
            recovery_point: dir.recovery_points.get(&key).copied().unwrap_or(0),
            log_start_offset: dir.log_start_offsets.get(&key).copied().unwrap_or(0),
            fds: self.fds.clone(),
            jitter_seed: u64::from_be_bytes(std::array::from_fn(|i| topic.id.0[i])) ^ partition as u64,
        };
        let log_config = self.log_config(config);
        let log = if is_new {
            let mode = OpenMode { recovery_point: 0, log_start_offset: 0, ..mode };
            Log::create(self.disk.clone(), &path, log_config, Some(topic.id), mode, now_ms)?
        } else {
            let (log, recovery) = Log::open(self.disk.clone(), &path, log_config, Some(topic.id), mode, now_ms)?;
            report(&path, &recovery);
            log
        };
        dir.partitions.fetch_add(1, Ordering::Relaxed);
        let high_watermark = if is_new { 0 } else { dir.high_watermarks.get(&key).copied().unwrap_or(0) };
        let settings = self.replica_settings(config);
        let partition = Partition::new(self.node_id, log, settings, self.brokers.clone(), high_watermark);
        Ok(OpenedLog { partition, dir, is_new })
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
        for ((topic, partition), at) in unknown {
            if topic == metadata::controller::METADATA_TOPIC {
                continue;
            }
            let dir = &self.dirs[at];
            let path = dir.log_dir.partition_path(&topic, partition);
            let id = partition_dir::read_metadata(&*self.disk, &path).ok().flatten().unwrap_or(Uuid::ZERO);
            match dir.log_dir.put_aside(&path, id) {
                Ok(to) => {
                    warn!(from = %path.display(), to = %to.display(), topic_id = %id, "a partition that the cluster does not know is put aside");
                }
                Err(fault) => error!(error = %fault, "a partition that the cluster does not know stays where it is"),
            }
        }
    }

    /// The assigned directory, else the one with the fewest partitions.
    fn choose(&self, assigned: Uuid) -> Result<&Arc<Dir>, Fault> {
        let online = || self.of_partitions().filter(|d| !d.is_offline());
        let assigned = online().find(|d| d.id == assigned && !directory::is_reserved(assigned));
        let emptiest = || online().min_by_key(|d| d.partitions.load(Ordering::Relaxed));
        let none = || Fault::new("use", "any of log.dirs", &std::io::Error::other("all log directories are offline"));
        assigned.or_else(emptiest).ok_or_else(none)
    }
}

impl Dir {
    /// Deletes a closed log: its name is free at once, its files go when the returned path is removed.
    pub fn mark_deleted(&self, topic: &str, partition: i32, unique: Uuid) -> Result<PathBuf, Fault> {
        self.partitions.fetch_sub(1, Ordering::Relaxed);
        self.log_dir.mark_deleted(topic, partition, unique)
    }
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
