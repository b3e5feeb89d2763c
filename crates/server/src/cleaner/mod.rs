//! The log cleaner: threads that compact the logs of topics with `cleanup.policy=compact`, the dirtiest first.
//!
//! What is done to a log is in [`storage::clean`]; here it is chosen, paced, and what came of it is written down. A
//! partition's lock is held to look at a log, and to take a cleaned segment in; never while anything is read or written.

mod settings;
#[cfg(test)]
mod tests;

pub use settings::{CleanerSettings, Throttle};

use crate::chance;
use crate::node::Node;
use crate::partitions::Cell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use storage::{Checkpoint, Cleaned, CleaningError, CleaningPlan, Dirt, Fault, Offsets};
use tracing::{debug, error, info, warn};
use wire::Uuid;

/// Bytes after which a cleaning looks up: whether it is to stop, and whether it was too fast.
const STEP_BYTES: u64 = 256 << 10;
/// How often somebody who waits for the end of a cleaning looks.
const PAUSE_CHECK: Duration = Duration::from_millis(5);

/// What the cleaner has done, for metrics.
#[derive(Debug, Default)]
pub struct CleanerStats {
    /// Partitions that cannot be cleaned, since this node started.
    pub uncleanable_partitions: AtomicU64,
    /// Of the dirtiest log, in percent, as last looked at.
    pub max_dirty_percent: AtomicU64,
    /// The longest time by which dirty records exceed `max.compaction.lag.ms`.
    pub max_compaction_delay_ms: AtomicI64,
    pub runs: AtomicU64,
    pub read_bytes: AtomicU64,
    pub written_bytes: AtomicU64,
    /// How long the last cleaning took.
    pub last_run_ms: AtomicU64,
    /// When it ended, ms since the epoch; 0 when there was none.
    pub last_run_ended_ms: AtomicI64,
}

/// A partition, whatever its topic is called.
type Id = (Uuid, i32);

/// See the module.
pub struct Cleaner {
    pub stats: CleanerStats,
    settings: Mutex<CleanerSettings>,
    state: Mutex<State>,
    wake: Condvar,
    stop: AtomicBool,
    throttle: Throttle,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct State {
    /// Whether the checkpoint files were read.
    is_loaded: bool,
    /// Where the last cleaning of each log ended.
    checkpoints: HashMap<Id, i64>,
    in_progress: HashSet<Id>,
    uncleanable: HashSet<Id>,
    /// To be left alone.
    paused: HashSet<Id>,
}

/// A log that is to be cleaned now.
struct Chosen {
    cell: Arc<Cell>,
    dirt: Dirt,
    plan: CleaningPlan,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cleaner {
    pub fn new(settings: CleanerSettings) -> Cleaner {
        Cleaner {
            stats: CleanerStats::default(),
            settings: Mutex::new(settings),
            state: Mutex::default(),
            wake: Condvar::new(),
            stop: AtomicBool::new(false),
            throttle: Throttle::default(),
            threads: Mutex::default(),
        }
    }

    pub fn settings(&self) -> CleanerSettings {
        *lock(&self.settings)
    }

    /// Takes new settings, which count from the next cleaning on, the throughput at once. Starts the threads that are
    /// missing; a thread too many ends by itself.
    pub fn configure(&self, node: &Arc<Node>, settings: CleanerSettings) -> io::Result<()> {
        *lock(&self.settings) = settings;
        self.wake.notify_all();
        let wanted = if settings.enable { settings.threads } else { 0 };
        let mut threads = lock(&self.threads);
        for at in 0..wanted {
            let is_running = threads.get(at).is_some_and(|thread| !thread.is_finished());
            if is_running || self.stop.load(Ordering::Relaxed) {
                continue;
            }
            let node = node.clone();
            let thread = std::thread::Builder::new().name(format!("cleaner-{at}")).spawn(move || {
                let _stop_on_panic = node.indispensable("cleaner");
                node.cleaner.work(&node, at)
            })?;
            if at < threads.len() { threads[at] = thread } else { threads.push(thread) }
        }
        Ok(())
    }

    /// Ends the threads; what is under way is given up.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        // Whoever looked before the store waits by now.
        drop(lock(&self.state));
        self.wake.notify_all();
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            if thread.join().is_err() {
                error!("a cleaner thread panicked");
            }
        }
    }

    fn work(&self, node: &Arc<Node>, at: usize) {
        loop {
            let settings = self.settings();
            if self.stop.load(Ordering::Relaxed) || !settings.enable || at >= settings.threads {
                return;
            }
            let cleaned = self.choose(node).is_some_and(|chosen| self.clean(node, chosen, &settings));
            if !cleaned {
                let state = lock(&self.state);
                if !self.stop.load(Ordering::Relaxed) {
                    drop(self.wake.wait_timeout(state, settings.backoff));
                }
            }
        }
    }

    /// The log most in need of it, of those that are in need at all.
    fn choose(&self, node: &Arc<Node>) -> Option<Chosen> {
        self.load(node);
        let now_ms = node.clock.now_ms();
        let (mut dirtiest, mut max_ratio, mut max_delay_ms) = (None, 0.0_f64, 0);
        let table = node.partitions.table();
        for cell in table.cells() {
            let id = (cell.topic_id, cell.index);
            let checkpoint = {
                let state = lock(&self.state);
                let left_alone = [&state.in_progress, &state.uncleanable, &state.paused];
                if left_alone.iter().any(|ids| ids.contains(&id)) {
                    continue;
                }
                state.checkpoints.get(&id).copied()
            };
            let mut partition = cell.lock();
            if !partition.log().config().compact || partition.log().fault().is_some() {
                continue;
            }
            let high_watermark = partition.high_watermark();
            let dirt = partition.log_mut().dirt(checkpoint, high_watermark, now_ms);
            let min_ratio = partition.log().config().min_cleanable_dirty_ratio;
            drop(partition);
            let dirt = match dirt {
                Ok(dirt) => dirt,
                Err(fault) => {
                    node.log_failed(cell, &fault);
                    continue;
                }
            };
            let ratio = dirt.ratio();
            max_ratio = max_ratio.max(ratio);
            max_delay_ms = max_delay_ms.max(dirt.overdue_ms);
            let is_due = dirt.overdue_ms > 0 && dirt.dirty_bytes > 0 || ratio > min_ratio;
            if is_due && dirtiest.as_ref().is_none_or(|(_, _, dirtier)| ratio > *dirtier) {
                dirtiest = Some((cell.clone(), dirt, ratio));
            }
        }
        self.stats.max_dirty_percent.store((max_ratio * 100.0) as u64, Ordering::Relaxed);
        self.stats.max_compaction_delay_ms.store(max_delay_ms, Ordering::Relaxed);
        let (cell, dirt, _) = dirtiest?;
        {
            let (mut state, id) = (lock(&self.state), (cell.topic_id, cell.index));
            if state.paused.contains(&id) || !state.in_progress.insert(id) {
                return None; // somebody was faster
            }
        }
        let plan = cell.lock().log().plan_cleaning(&dirt);
        match plan {
            Ok(plan) => Some(Chosen { cell, dirt, plan }),
            Err(error) => {
                self.give_up(node, &cell, error);
                lock(&self.state).in_progress.remove(&(cell.topic_id, cell.index));
                None
            }
        }
    }

    /// Whether the log is cleaner than before.
    fn clean(&self, node: &Arc<Node>, chosen: Chosen, settings: &CleanerSettings) -> bool {
        let Chosen { cell, dirt, plan } = chosen;
        let begun = Instant::now();
        debug!(topic = %cell.topic, partition = cell.index, first_dirty = dirt.first_dirty, end = dirt.end, "cleaning");
        let mut unpaced = 0;
        let mut pace = |bytes: u64| {
            unpaced += bytes;
            if unpaced < STEP_BYTES {
                return true;
            }
            let step = std::mem::take(&mut unpaced);
            self.pass(step) && cell.lock().log().fault().is_none() && !self.is_paused(&cell)
        };
        let mut replace =
            |replacement: &storage::Replacement| Ok(cell.lock().log_mut().replace(replacement, node.clock.now_ms())?);
        let seed = chance::uuid().0;
        // What is left out must lie below the recovery point for the next start as well: beyond it, it would look lost.
        let dir = node.housekeeping.dirs.by_path(&cell.log_dir());
        let written = dir.map_or(Ok(()), |dir| node.housekeeping.checkpoint_dir(node, dir));
        let cleaned = written.map_err(CleaningError::from).and_then(|()| {
            storage::clean(&plan, settings.limits(), seed, node.clock.now_ms(), &mut pace, &mut replace)
        });
        let cleaned = cleaned.map_err(|error| match error {
            CleaningError::Damaged(_) if !cell.lock().log().is_current(&plan) => CleaningError::Stopped,
            error => error,
        });
        let id = (cell.topic_id, cell.index);
        let is_clean = match cleaned {
            Ok(cleaned) => {
                self.note_cleaned(&cell, &plan, cleaned.end_offset);
                self.write_checkpoint(node, &cell.log_dir());
                self.tell(node, &cell, &dirt, &cleaned, begun);
                true
            }
            Err(error) => {
                self.give_up(node, &cell, error);
                false
            }
        };
        lock(&self.state).in_progress.remove(&id);
        is_clean
    }

    /// Remembers up to where a log is clean, unless it was cut meanwhile: what has grown since then may be anything.
    fn note_cleaned(&self, cell: &Cell, plan: &CleaningPlan, end_offset: i64) {
        // Locked in this order: a cut that comes after it finds the checkpoint.
        let mut state = lock(&self.state);
        if cell.lock().log().is_current(plan) {
            state.checkpoints.insert((cell.topic_id, cell.index), end_offset);
        }
    }

    /// Waits until so many bytes more may be moved. False when the cleaner is to stop.
    fn pass(&self, bytes: u64) -> bool {
        let delay = self.throttle.delay(bytes, self.settings().io_max_bytes_per_second);
        if !delay.is_zero() {
            let state = lock(&self.state);
            let stopped = |_: &mut State| !self.stop.load(Ordering::Relaxed);
            drop(self.wake.wait_timeout_while(state, delay, stopped));
        }
        !self.stop.load(Ordering::Relaxed)
    }

    fn tell(&self, node: &Node, cell: &Cell, dirt: &Dirt, cleaned: &Cleaned, begun: Instant) {
        let ms = begun.elapsed().as_millis() as u64;
        self.stats.runs.fetch_add(1, Ordering::Relaxed);
        self.stats.read_bytes.fetch_add(cleaned.read_bytes, Ordering::Relaxed);
        self.stats.written_bytes.fetch_add(cleaned.written_bytes, Ordering::Relaxed);
        self.stats.last_run_ms.store(ms, Ordering::Relaxed);
        self.stats.last_run_ended_ms.store(node.clock.now_ms(), Ordering::Relaxed);
        info!(topic = %cell.topic, partition = cell.index, ms, from = dirt.first_dirty, to = cleaned.end_offset,
            keys = cleaned.keys, read_bytes = cleaned.read_bytes, written_bytes = cleaned.written_bytes,
            records_before = cleaned.records_before, records_after = cleaned.records_after, "cleaned a log");
        if cleaned.without_key > 0 {
            warn!(topic = %cell.topic, partition = cell.index, records = cleaned.without_key,
                "records without a key were dropped: a compacted log cannot keep them");
        }
    }

    /// Says why a log was not cleaned, and whether that is for good.
    fn give_up(&self, node: &Arc<Node>, cell: &Cell, error: CleaningError) {
        let give_up = |reason: &dyn std::fmt::Display| {
            if lock(&self.state).uncleanable.insert((cell.topic_id, cell.index)) {
                self.stats.uncleanable_partitions.fetch_add(1, Ordering::Relaxed);
                error!(topic = %cell.topic, partition = cell.index, error = %reason,
                    "the log cannot be compacted: it is left as it is until the broker starts again");
            }
        };
        match error {
            CleaningError::Stopped => debug!(topic = %cell.topic, partition = cell.index, "a cleaning was given up"),
            CleaningError::Damaged(damage) => {
                let (position, segment) = (damage.position, damage.segment);
                give_up(&format_args!("damaged at position {position} of segment {segment}: {}", damage.reason))
            }
            CleaningError::Fault(fault) => match fault.kind {
                // Appends may still have room, and what is deleted meanwhile makes some.
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    warn!(topic = %cell.topic, partition = cell.index, error = %fault, "no room to compact the log");
                }
                io::ErrorKind::FileTooLarge => give_up(&fault),
                _ => node.log_failed(cell, &fault),
            },
        }
    }

    /// Reads the checkpoint files, once all partitions are open.
    fn load(&self, node: &Arc<Node>) {
        let mut state = lock(&self.state);
        if std::mem::replace(&mut state.is_loaded, true) {
            return;
        }
        let table = node.partitions.table();
        for dir in node.housekeeping.dirs.iter().filter(|dir| !dir.is_offline()) {
            let offsets = dir.log_dir.checkpoint(Checkpoint::Cleaner).unwrap_or_else(|fault| {
                warn!(dir = %dir.path().display(), error = %fault, "the logs are cleaned from their beginning");
                Offsets::new()
            });
            for ((topic, index), offset) in offsets {
                let cell = table.by_name(&topic).and_then(|topic| topic.cell(index));
                if let Some(cell) = cell.filter(|cell| cell.is_in(dir.path())) {
                    state.checkpoints.insert((cell.topic_id, index), offset);
                }
            }
        }
    }

    /// Leaves this log alone until [`Cleaner::resume`], and returns once nobody is at it.
    pub fn pause(&self, cell: &Cell) {
        let id = (cell.topic_id, cell.index);
        let mut state = lock(&self.state);
        state.paused.insert(id);
        while state.in_progress.contains(&id) && !self.stop.load(Ordering::Relaxed) {
            let waited = self.wake.wait_timeout(state, PAUSE_CHECK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub fn resume(&self, cell: &Cell) {
        lock(&self.state).paused.remove(&(cell.topic_id, cell.index));
    }

    fn is_paused(&self, cell: &Cell) -> bool {
        lock(&self.state).paused.contains(&(cell.topic_id, cell.index))
    }

    /// The log of `cell` is in another directory than `from` now.
    pub fn log_was_moved(&self, node: &Arc<Node>, cell: &Cell, from: &Path) {
        self.load(node);
        self.write_checkpoint(node, &cell.log_dir());
        self.write_checkpoint(node, from);
    }

    /// Forgets a partition that is being deleted: another one of the same name begins at 0.
    pub fn forget(&self, node: &Arc<Node>, cell: &Cell) {
        let id = (cell.topic_id, cell.index);
        let mut state = lock(&self.state);
        if state.uncleanable.remove(&id) {
            self.stats.uncleanable_partitions.fetch_sub(1, Ordering::Relaxed);
        }
        let known = state.checkpoints.remove(&id).is_some();
        drop(state);
        if known {
            self.write_checkpoint(node, &cell.log_dir());
        }
    }

    /// The log ends at `to` now: what comes behind it was never cleaned.
    pub fn log_was_cut(&self, node: &Arc<Node>, cell: &Cell, to: i64) {
        self.load(node);
        let mut state = lock(&self.state);
        let Some(checkpoint) = state.checkpoints.get_mut(&(cell.topic_id, cell.index)).filter(|at| **at > to) else {
            return;
        };
        *checkpoint = to;
        drop(state);
        self.write_checkpoint(node, &cell.log_dir());
    }

    /// Writes the checkpoints of the log directory at `path`.
    fn write_checkpoint(&self, node: &Arc<Node>, path: &Path) {
        let Some(dir) = node.housekeeping.dirs.by_path(path).filter(|dir| !dir.is_offline()) else { return };
        let table = node.partitions.table();
        // Held while writing, so that an older state never replaces a newer one.
        let state = lock(&self.state);
        let here = table.cells().filter(|cell| cell.is_in(path));
        let offsets: Offsets = here
            .filter_map(|cell| {
                let offset = state.checkpoints.get(&(cell.topic_id, cell.index))?;
                Some(((cell.topic.to_string(), cell.index), *offset))
            })
            .collect();
        let written: Result<(), Fault> = dir.log_dir.write_checkpoint(Checkpoint::Cleaner, &offsets);
        drop(state);
        if let Err(fault) = written {
            node.log_dir_failed(dir.path(), &fault);
        }
    }
}
