//! The partitions that this node holds, found by topic name or id.
//!
//! Readers take a snapshot and never block; `server/reconcile` publishes a new table when the cluster's state changes.
//! Tables share structure, so a change costs what changed.

use crate::metrics::Traffic;
use arc_swap::ArcSwap;
use metadata::config::TopicConfig;
use replication::Partition;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wire::{ErrorCode, Uuid};

/// One partition held here. The lock is never held across anything that waits.
pub struct Cell {
    pub topic: Arc<str>,
    pub topic_id: Uuid,
    pub index: i32,
    /// The log directory that holds it. Changes with the partition locked.
    log_dir: ArcSwap<PathBuf>,
    state: Mutex<Partition>,
    /// Whether a sync of this partition is under way (group commit: whoever comes meanwhile shares the next one).
    pub syncing: AtomicBool,
    /// Its files are being deleted: what goes wrong with them from now on says nothing about the disk.
    pub dropped: AtomicBool,
    /// Whether a client used it since housekeeping last looked.
    pub used: AtomicBool,
}

impl Cell {
    pub fn new(topic: Arc<str>, topic_id: Uuid, index: i32, log_dir: PathBuf, partition: Partition) -> Cell {
        Cell {
            topic,
            topic_id,
            index,
            log_dir: ArcSwap::from_pointee(log_dir),
            state: Mutex::new(partition),
            syncing: Default::default(),
            dropped: Default::default(),
            used: Default::default(),
        }
    }

    /// The log directory that holds it.
    pub fn log_dir(&self) -> Arc<PathBuf> {
        self.log_dir.load_full()
    }

    pub fn is_in(&self, dir: &Path) -> bool {
        self.log_dir.load().as_path() == dir
    }

    /// Its log is in another directory now. To be called with the partition locked.
    pub fn moved_to(&self, dir: &Path) {
        self.log_dir.store(Arc::new(dir.to_owned()));
    }

    /// A panic under the lock is a bug that ended its task; the log itself stays consistent after every call.
    pub fn lock(&self) -> MutexGuard<'_, Partition> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A topic as this node sees it. Replaced, never changed.
#[derive(Clone)]
pub struct Topic {
    pub name: Arc<str>,
    pub id: Uuid,
    pub config: Arc<TopicConfig>,
    pub traffic: Arc<Traffic>,
    /// By partition index; `None` where another node holds it.
    pub partitions: Vec<Option<Arc<Cell>>>,
}

impl Topic {
    pub fn cell(&self, index: i32) -> Option<&Arc<Cell>> {
        self.partitions.get(usize::try_from(index).ok()?)?.as_ref()
    }

    /// This node's replica of a partition that a client asks for.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION when there is no such partition, NOT_LEADER_OR_FOLLOWER when other nodes have it: the
    /// client looks for those then.
    pub fn replica(&self, index: i32) -> Result<&Arc<Cell>, ErrorCode> {
        self.cell(index).ok_or(match usize::try_from(index).is_ok_and(|index| index < self.partitions.len()) {
            true => ErrorCode::NotLeaderOrFollower,
            false => ErrorCode::UnknownTopicOrPartition,
        })
    }
}

/// One state of the table.
#[derive(Clone, Default)]
pub struct Table {
    by_name: imbl::HashMap<Arc<str>, Arc<Topic>>,
    by_id: imbl::HashMap<Uuid, Arc<Topic>>,
}

impl Table {
    pub fn by_name(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    pub fn by_id(&self, id: &Uuid) -> Option<&Arc<Topic>> {
        self.by_id.get(id)
    }

    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    pub fn cells(&self) -> impl Iterator<Item = &Arc<Cell>> {
        self.topics().flat_map(|t| t.partitions.iter().flatten())
    }

    pub fn insert(&mut self, topic: Arc<Topic>) {
        self.by_id.insert(topic.id, topic.clone());
        self.by_name.insert(topic.name.clone(), topic);
    }

    pub fn remove(&mut self, id: &Uuid) -> Option<Arc<Topic>> {
        let topic = self.by_id.remove(id)?;
        // A topic made again under the same name has replaced the entry already.
        if self.by_name.get(&topic.name).is_some_and(|t| t.id == *id) {
            self.by_name.remove(&topic.name);
        }
        Some(topic)
    }
}

/// The current table.
#[derive(Default)]
pub struct Partitions(ArcSwap<Table>);

impl Partitions {
    pub fn table(&self) -> arc_swap::Guard<Arc<Table>> {
        self.0.load()
    }

    /// Only reconcile publishes, so nothing is lost between reading a table and publishing its successor.
    pub fn publish(&self, table: Table) {
        self.0.store(Arc::new(table));
    }
}
