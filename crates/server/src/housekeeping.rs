//! What has to be done now and then, on one thread of its own: retention, rolls by time, checkpoints, syncs that are due,
//! and the deletion of files whose time has come.

use crate::chance;
use crate::log_dirs::{Dir, LogDirs};
use crate::node::Node;
use crate::partitions::{Cell, Table};
use crate::reconciler::Made;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use storage::{Checkpoint, Fault, Offsets};
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
    /// Directories of deleted partitions, with the time (ms since 1970) from which they may go.
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
        let Some(dir) = self.dirs.by_path(&cell.log_dir) else { return };
        match dir.mark_deleted(topic, index, chance::uuid()) {
            Ok(path) => self.asked().doomed.push((node.clock.now_ms() + delay_ms, dir.clone(), path)),
            Err(fault) => node.log_dir_failed(&cell.log_dir, &fault),
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
        if let Err(fault) = dir.log_dir.distrust() {
            warn!(error = %fault, "the next start will not know that this directory may have lost records");
        }
        // What is in the same directory is no better off: none of it may be served as if it were whole.
        let offline = Fault::new("use", path, &io::Error::other("the log directory is offline"));
        for cell in node.partitions.table().cells().filter(|cell| cell.log_dir == path) {
            let mut partition = cell.lock();
            partition.log_mut().fail(offline.clone());
            partition.fail();
        }
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
            self.remove_doomed(now_ms);
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
        for cell in node.partitions.table().cells() {
            let mut partition = cell.lock();
            let remove = partition.log_mut().remove_deleted(now_ms);
            let sync = partition.log().sync_due(now_ms);
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

    fn remove_doomed(&self, now_ms: i64) {
        let due: Vec<_> = self.asked().doomed.extract_if(.., |(at, ..)| *at <= now_ms).collect();
        for (_, dir, path) in due {
            match dir.log_dir.remove(&path) {
                Ok(()) => info!(path = %path.display(), "removed a deleted partition"),
                Err(fault) => warn!(error = %fault, "a deleted partition could not be removed"),
            }
        }
    }

    /// Writes recovery points and log start offsets of all directories, where they changed.
    fn checkpoint(&self, node: &Arc<Node>, written: &mut Written) {
        let recovery_points = |cell: &Cell| Some(cell.lock().log().recovery_point());
        let log_starts = |cell: &Cell| {
            let partition = cell.lock();
            Some(partition.log().log_start_offset()).filter(|start| *start > 0)
        };
        self.write(node, Checkpoint::RecoveryPoint, recovery_points, &mut written.recovery_points);
        self.write(node, Checkpoint::LogStart, log_starts, &mut written.log_starts);
    }

    fn checkpoint_high_watermarks(&self, node: &Arc<Node>, written: &mut Written) {
        let high_watermarks = |cell: &Cell| Some(cell.lock().high_watermark());
        self.write(node, Checkpoint::HighWatermark, high_watermarks, &mut written.high_watermarks);
    }

    fn write(&self, node: &Arc<Node>, which: Checkpoint, offset: impl Fn(&Cell) -> Option<i64>, written: &mut u64) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let table = node.partitions.table();
        let offsets: Vec<_> = table.cells().filter_map(|cell| Some((cell, offset(cell)?))).collect();
        // Most of the time nothing has moved; a sum tells, for offsets hardly ever go back.
        let sum = offsets.iter().fold(offsets.len() as u64, |sum, (_, o)| sum.wrapping_add(*o as u64 + 1));
        if sum == *written {
            return;
        }
        for dir in self.dirs.iter().filter(|d| !d.is_offline()) {
            let here = offsets.iter().filter(|(cell, _)| cell.log_dir == dir.path());
            let offsets: Offsets = here.map(|(cell, o)| ((cell.topic.to_string(), cell.index), *o)).collect();
            if let Err(fault) = dir.log_dir.write_checkpoint(which, &offsets) {
                return node.log_dir_failed(dir.path(), &fault);
            }
        }
        *written = sum;
    }

    /// Writes the checkpoints of the directory of `cell`, whose log was cut: what comes at the same offsets is neither
    /// synced nor committed.
    pub fn log_was_cut(&self, node: &Arc<Node>, cell: &Cell) {
        let Some(dir) = self.dirs.by_path(&cell.log_dir).filter(|dir| !dir.is_offline()) else { return };
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let table = node.partitions.table();
        let here: Vec<&Arc<Cell>> = table.cells().filter(|other| other.log_dir == cell.log_dir).collect();
        let offsets = |offset: &dyn Fn(&Cell) -> i64| -> Offsets {
            here.iter().map(|cell| ((cell.topic.to_string(), cell.index), offset(cell))).collect()
        };
        let recovery_points = offsets(&|cell| cell.lock().log().recovery_point());
        let high_watermarks = offsets(&|cell| cell.lock().high_watermark());
        let written = dir.log_dir.write_checkpoint(Checkpoint::RecoveryPoint, &recovery_points);
        let written = written.and_then(|()| dir.log_dir.write_checkpoint(Checkpoint::HighWatermark, &high_watermarks));
        if let Err(fault) = written {
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
