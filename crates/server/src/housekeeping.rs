//! What has to be done now and then, on one thread of its own: retention, rolls by time, checkpoints, syncs that are due,
//! and the deletion of files whose time has come.

use crate::chance;
use crate::log_dirs::{Dir, LogDirs};
use crate::node::Node;
use crate::partitions::{Cell, Table};
use crate::reconciler::Made;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use storage::{Checkpoint, Fault, Log, LogDir, Offsets};
use tokio::sync::Notify;
use tracing::{error, info, warn};

/// A partition that nobody used for this long gives back what only a busy one needs.
const REST: Duration = Duration::from_secs(60);
/// How often due files and due syncs are looked for.
const TICK: Duration = Duration::from_secs(1);

/// See the module.
pub struct Housekeeping {
    pub dirs: Arc<LogDirs>,
    /// A directory went offline.
    pub dir_failed: Notify,
    asked: Mutex<Asked>,
    wake: Condvar,
    /// Held from looking at the logs until the checkpoint is written, so that none replaces a newer one.
    writing: Mutex<()>,
}

#[derive(Default)]
struct Asked {
    checkpoint: bool,
    stop: bool,
    /// Directories of deleted partitions, with the time (ms, on the steady clock) from which they may go.
    doomed: Vec<(i64, Arc<Dir>, PathBuf)>,
}

/// When a job is due next.
struct Due {
    every: Duration,
    next: Instant,
}

impl Due {
    fn new(every: Duration) -> Due {
        Due { every, next: Instant::now() + every }
    }

    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = now >= self.next;
        if due {
            self.next = now + self.every;
        }
        due
    }
}

impl Housekeeping {
    pub fn new(dirs: Arc<LogDirs>) -> Housekeeping {
        Housekeeping {
            dirs,
            dir_failed: Notify::new(),
            asked: Mutex::default(),
            wake: Condvar::new(),
            writing: Mutex::default(),
        }
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the checkpoints at the next opportunity: an offset that must not be forgotten has moved.
    pub fn checkpoint_soon(&self) {
        self.asked().checkpoint = true;
        self.wake.notify_one();
    }

    pub fn stop(&self) {
        self.asked().stop = true;
        self.wake.notify_one();
    }

    /// Renames a deleted partition's directory and removes it `delay_ms` later.
    pub fn delete_partition(&self, node: &Arc<Node>, cell: &Cell, topic: &str, index: i32, delay_ms: i64) {
        let Some(dir) = self.dirs.by_path(&cell.log_dir()) else { return };
        match dir.mark_deleted(topic, index, chance::uuid()) {
            Ok(path) => self.remove_later(node, dir, path, delay_ms),
            Err(fault) => node.log_dir_failed(dir.path(), &fault),
        }
    }

    fn remove_later(&self, node: &Node, dir: &Arc<Dir>, path: PathBuf, delay_ms: i64) {
        self.asked().doomed.push((node.clock.steady_ms().saturating_add(delay_ms), dir.clone(), path));
    }

    /// Deletes a copy that was to take the place of the log of `cell`.
    pub fn delete_copy(&self, node: &Arc<Node>, cell: &Cell, dir: &Arc<Dir>, copy: Log) {
        if dir.is_offline() {
            return;
        }
        let path = copy.dir().to_owned();
        drop(copy);
        match dir.mark_copy_deleted(&path, &cell.topic, cell.index, chance::uuid()) {
            Ok(path) => self.remove_later(node, dir, path, 0),
            Err(fault) => node.log_dir_failed(dir.path(), &fault),
        }
    }

    /// The log of `cell` was in `from` and is in another directory now; `left` is where its old files are.
    pub fn moved(&self, node: &Arc<Node>, cell: &Cell, from: &Arc<Dir>, left: Result<PathBuf, Fault>) {
        let to = self.dirs.by_path(&cell.log_dir()).cloned();
        for dir in to.iter().chain([from]) {
            if let Err(fault) = self.checkpoint_dir(node, dir) {
                node.log_dir_failed(dir.path(), &fault);
            }
        }
        node.cleaner.log_was_moved(node, cell, from.path());
        let delay_ms = cell.lock().log().config().file_delete_delay_ms;
        match left {
            Ok(path) => self.remove_later(node, from, path, delay_ms),
            Err(fault) => node.log_dir_failed(from.path(), &fault),
        }
    }

    /// Takes a directory offline, loudly and once; its partitions answer with KAFKA_STORAGE_ERROR from now on. Not to be
    /// called with a partition locked.
    pub fn log_dir_failed(&self, node: &Arc<Node>, path: &Path, fault: &dyn std::fmt::Display) {
        let Some(dir) = self.dirs.by_path(path) else {
            error!(dir = %path.display(), error = %fault, "a directory failed");
            return node.fail();
        };
        if !self.dirs.take_offline(dir) {
            return;
        }
        error!(dir = %path.display(), error = %fault, "the log directory failed and is offline: its partitions are not served");
        // The kernel forgets what it could not write, and shows it for as long as it stays in the page cache.
        if let Err(fault) = LogDir::distrust_first([dir].into_iter().chain(self.dirs.iter()).map(|dir| &dir.log_dir)) {
            warn!(error = %fault, "the next start will not know that a directory may have lost records");
        }
        // What is in the same directory is no better off: none of it may be served as if it were whole.
        let offline = Fault::new("use", path, &io::Error::other("the log directory is offline"));
        for cell in node.partitions.table().cells().filter(|cell| cell.is_in(path)) {
            let mut partition = cell.lock();
            partition.log_mut().fail(offline.clone());
            partition.fail();
        }
        node.moves.dir_failed(node, path);
        // Kafka's words, which people watch for.
        if path == node.config.metadata_log_dir {
            error!("Shutdown broker because the metadata log dir {} has failed", path.display());
            return node.fail();
        }
        if self.dirs.all_offline() {
            let dirs: Vec<_> = node.config.log_dirs.iter().map(|dir| dir.display().to_string()).collect();
            error!("Shutdown broker because all log dirs in {} have failed", dirs.join(", "));
            return node.fail();
        }
        self.dir_failed.notify_one();
    }

    /// Runs until [`Housekeeping::stop`].
    pub fn run(&self, node: &Arc<Node>) {
        let config = &node.config;
        let mut retention = Due::new(config.log_retention_check_interval);
        let mut high_watermarks = Due::new(config.replica_high_watermark_checkpoint_interval);
        let mut recovery_points = Due::new(config.log_flush_offset_checkpoint_interval);
        let mut rest = Due::new(REST);
        let mut producers = Due::new(config.producer_id_expiration_check_interval);
        let mut written = Written::default();
        self.find_doomed();
        loop {
            let asked = self.asked();
            let (mut asked, _) = self.wake.wait_timeout(asked, TICK).unwrap_or_else(PoisonError::into_inner);
            if asked.stop {
                return;
            }
            let checkpoint = std::mem::take(&mut asked.checkpoint);
            drop(asked);
            let now_ms = node.clock.now_ms();
            if retention.is_due() {
                self.each(node, |cell| clean(cell, now_ms));
            }
            if producers.is_due() {
                self.each(node, |cell| {
                    cell.lock().log_mut().expire_producers(now_ms);
                    Ok(())
                });
            }
            self.tick(node, now_ms);
            self.remove_doomed(node.clock.steady_ms());
            if checkpoint || recovery_points.is_due() {
                self.checkpoint(node, &mut written);
            }
            if rest.is_due() {
                self.each(node, |cell| {
                    if !cell.used.swap(false, Ordering::Relaxed) {
                        cell.lock().log_mut().rest();
                    }
                    Ok(())
                });
            }
            if high_watermarks.is_due() {
                self.checkpoint_high_watermarks(node, &mut written);
            }
        }
    }

    /// What is looked for every second.
    fn tick(&self, node: &Arc<Node>, now_ms: i64) {
        let steady_ms = node.clock.steady_ms();
        for cell in node.partitions.table().cells() {
            let mut partition = cell.lock();
            let remove = partition.log_mut().remove_deleted(now_ms);
            let sync = partition.log_mut().sync_due(steady_ms);
            drop(partition);
            if let Some(Err(fault)) = remove.map(|r| r.run()) {
                warn!(topic = %cell.topic, partition = cell.index, error = %fault, "old segments could not be removed");
            }
            if sync {
                node.sync(cell);
            }
        }
    }

    fn each(&self, node: &Arc<Node>, job: impl Fn(&Cell) -> Result<(), Fault>) {
        for cell in node.partitions.table().cells() {
            if let Err(fault) = job(cell) {
                node.log_failed(cell, &fault);
            }
        }
    }

    /// Directories of deleted partitions that an earlier process left behind: nobody can use them any more.
    fn find_doomed(&self) {
        for dir in self.dirs.iter() {
            let found = dir.log_dir.directories().unwrap_or_default();
            let deleted = found.into_iter().filter(|(_, name)| *name == storage::DirName::Deleted);
            self.asked().doomed.extend(deleted.map(|(path, _)| (0, dir.clone(), path)));
        }
    }

    fn remove_doomed(&self, steady_ms: i64) {
        let due: Vec<_> = self.asked().doomed.extract_if(.., |(at, ..)| *at <= steady_ms).collect();
        for (_, dir, path) in due {
            match dir.log_dir.remove(&path) {
                Ok(()) => info!(path = %path.display(), "removed a deleted partition"),
                Err(fault) => warn!(error = %fault, "a deleted partition could not be removed"),
            }
        }
    }

    /// Writes recovery points and log start offsets of all directories, where they changed.
    fn checkpoint(&self, node: &Arc<Node>, written: &mut Written) {
        self.write(node, Checkpoint::RecoveryPoint, &mut written.recovery_points);
        self.write(node, Checkpoint::LogStart, &mut written.log_starts);
    }

    fn checkpoint_high_watermarks(&self, node: &Arc<Node>, written: &mut Written) {
        self.write(node, Checkpoint::HighWatermark, &mut written.high_watermarks);
    }

    fn write(&self, node: &Arc<Node>, which: Checkpoint, written: &mut u64) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let dirs: Vec<_> = self.dirs.iter().filter(|d| !d.is_offline()).collect();
        let offsets: Vec<Offsets> = dirs.iter().map(|dir| offsets(node, dir, which)).collect();
        // Most of the time nothing has moved; a sum tells, for offsets hardly ever go back.
        let count = offsets.iter().map(BTreeMap::len).sum::<usize>() as u64;
        let sum = offsets.iter().flat_map(BTreeMap::values).fold(count, |sum, o| sum.wrapping_add(*o as u64 + 1));
        if sum == *written {
            return;
        }
        for (dir, offsets) in dirs.iter().zip(&offsets) {
            if let Err(fault) = dir.log_dir.write_checkpoint(which, offsets) {
                return node.log_dir_failed(dir.path(), &fault);
            }
        }
        *written = sum;
    }

    /// Writes the checkpoints of one directory, before what depends on them goes on.
    pub fn checkpoint_dir(&self, node: &Arc<Node>, dir: &Dir) -> Result<(), Fault> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        for which in [Checkpoint::RecoveryPoint, Checkpoint::LogStart, Checkpoint::HighWatermark] {
            dir.log_dir.write_checkpoint(which, &offsets(node, dir, which))?;
        }
        Ok(())
    }

    /// Takes out of the checkpoints of `dir` what an earlier partition of this name left there.
    pub fn forget(&self, dir: &Dir, topic: &str, index: i32) -> Result<(), Fault> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        dir.log_dir.forget(&BTreeSet::from([(topic.to_owned(), index)]))
    }

    /// Writes the checkpoints of the directory of `cell`, whose log was cut: what comes at the same offsets is neither
    /// synced nor committed.
    pub fn log_was_cut(&self, node: &Arc<Node>, cell: &Cell) {
        let Some(dir) = self.dirs.by_path(&cell.log_dir()).filter(|dir| !dir.is_offline()) else { return };
        if let Err(fault) = self.checkpoint_dir(node, dir) {
            node.log_dir_failed(dir.path(), &fault);
        }
    }

    /// Publishes the partitions of this node. Those that were made anew inherit no offsets of earlier ones of their names,
    /// which the partitions of before had.
    pub fn publish(&self, node: &Arc<Node>, made: &Made, table: Table) {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let failed: Vec<_> = made
            .iter()
            .filter_map(|(path, partitions)| {
                let dir = self.dirs.by_path(path).filter(|dir| !dir.is_offline())?;
                Some((path, dir.log_dir.forget(partitions).err()?))
            })
            .collect();
        node.partitions.publish(table);
        drop(writing);
        for (path, fault) in failed {
            node.log_dir_failed(path, &fault);
        }
    }

    /// Closes all logs in order and leaves the marks of a clean shutdown.
    pub fn close(&self, node: &Arc<Node>) {
        self.each(node, |cell| {
            let mut partition = cell.lock();
            partition.resign();
            partition.log_mut().close()
        });
        node.moves.close(node);
        let mut written = Written::default();
        self.checkpoint(node, &mut written);
        self.checkpoint_high_watermarks(node, &mut written);
        self.mark_clean(node, node.broker_epoch());
    }

    /// Leaves the marks of a clean shutdown of the broker with this epoch.
    pub fn mark_clean(&self, node: &Arc<Node>, epoch: i64) {
        for dir in self.dirs.iter().filter(|d| !d.is_offline()) {
            if let Err(fault) = dir.log_dir.mark_clean(epoch) {
                node.log_dir_failed(dir.path(), &fault);
            }
        }
    }
}

/// What a checkpoint file of `dir` is to say, of its partitions and of the copies that are on their way to it.
fn offsets(node: &Node, dir: &Dir, which: Checkpoint) -> Offsets {
    let table = node.partitions.table();
    let partitions = table.cells().filter(|cell| cell.is_in(dir.path())).filter_map(|cell| {
        let partition = cell.lock();
        let offset = match which {
            Checkpoint::LogStart => Some(partition.log().log_start_offset()).filter(|start| *start > 0),
            Checkpoint::HighWatermark => Some(partition.high_watermark()),
            _ => Some(partition.log().recovery_point()),
        };
        Some(((cell.topic.to_string(), cell.index), offset?))
    });
    let copies = node.moves.to(dir.path()).into_iter().filter_map(|m| {
        let seen = m.seen();
        let offset = match which {
            Checkpoint::LogStart => Some(seen.start).filter(|start| *start > 0),
            Checkpoint::HighWatermark => Some(m.cell.lock().high_watermark().min(seen.end)),
            _ => Some(seen.recovery_point),
        };
        Some(((m.cell.topic.to_string(), m.cell.index), offset?))
    });
    // A copy that is the partition by now comes first, and is replaced by it.
    copies.chain(partitions).collect()
}

/// What the checkpoint files say, as sums.
#[derive(Default)]
struct Written {
    recovery_points: u64,
    log_starts: u64,
    high_watermarks: u64,
}

fn clean(cell: &Cell, now_ms: i64) -> Result<(), Fault> {
    let mut partition = cell.lock();
    let high_watermark = partition.high_watermark();
    partition.log_mut().roll_if_due(now_ms)?;
    let deleted = partition.log_mut().retention(now_ms, high_watermark)?;
    if deleted.segments > 0 {
        info!(topic = %cell.topic, partition = cell.index, segments = deleted.segments, bytes = deleted.bytes, "retention dropped segments");
    }
    Ok(())
}
