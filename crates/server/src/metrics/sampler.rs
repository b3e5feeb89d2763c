//! What only shows over time: the ends of partitions that groups read, the space that volumes have left, and how busy the
//! threads are. Looked at every few seconds, and only where metrics are served.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::pread;
use tracing::debug;
use wire::Uuid;
use wire::codec::Records;
use wire::records::{BatchHeader, HEADER_SIZE};

use super::ends::Ends;
use super::fill::{Fill, Trend};
use crate::node::Node;
use crate::partitions::Cell;

/// How often.
const EVERY: Duration = Duration::from_secs(5);
/// How far back idleness counts.
const IDLE_OVER: Duration = Duration::from_secs(60);
/// Questions to logs in one round; the others wait for the next.
const QUESTIONS: usize = 64;

/// See the module.
#[derive(Default)]
pub struct Samples {
    ends: Mutex<HashMap<(Uuid, i32), Ends>>,
    fills: Mutex<HashMap<PathBuf, Fill>>,
    busy: Mutex<VecDeque<(Instant, Duration)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes samples for as long as the runtime lasts.
pub async fn run(node: Arc<Node>, samples: Arc<Samples>) {
    let mut rounds = tokio::time::interval(EVERY);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let (node, samples) = (node.clone(), samples.clone());
        // Disks are asked, so not on a thread that serves clients.
        let round = tokio::task::spawn_blocking(move || samples.round(&node)).await;
        if let Err(error) = round {
            debug!(%error, "a round of samples was not taken");
        }
    }
}

impl Samples {
    fn round(&self, node: &Node) {
        self.note_busy(node);
        self.note_fills(node);
        self.note_ends(node);
    }

    fn note_busy(&self, node: &Node) {
        let now = Instant::now();
        let mut busy = lock(&self.busy);
        busy.push_back((now, busy_time(node)));
        while busy.get(1).is_some_and(|(at, _)| now - *at >= IDLE_OVER) {
            busy.pop_front();
        }
    }

    /// The share of the last minute in which the threads that serve clients had nothing to do, from 0 to 1.
    pub fn idle(&self, node: &Node) -> Option<f64> {
        let (at, then) = lock(&self.busy).front().copied()?;
        let passed = at.elapsed().as_secs_f64() * node.reactors.handles().len() as f64;
        let busy = busy_time(node).saturating_sub(then).as_secs_f64();
        (passed > 0.0).then(|| (1.0 - busy / passed).clamp(0.0, 1.0))
    }

    fn note_fills(&self, node: &Node) {
        let now_ms = node.clock.now_ms();
        let mut fills = lock(&self.fills);
        for dir in node.housekeeping.dirs.iter().filter(|dir| !dir.is_offline()) {
            // A directory whose space is not known has no forecast; that it failed is found out by those who use it.
            if let Ok((_, usable)) = dir.log_dir.space() {
                fills.entry(dir.path().to_owned()).or_default().note(usable, now_ms);
            }
        }
    }

    /// How the volume of a log directory fills.
    pub fn trend(&self, dir: &Path) -> Option<Trend> {
        lock(&self.fills).get(dir).and_then(Fill::trend)
    }

    /// Notes the ends of the partitions that groups have committed offsets of and this node leads.
    fn note_ends(&self, node: &Node) {
        let table = node.partitions.table();
        let mut read: HashMap<(Uuid, i32), (Arc<Cell>, Vec<i64>)> = HashMap::new();
        for store in node.groups.stores() {
            for (key, committed) in store.offsets() {
                let Some(cell) = table.by_name(&key.topic).and_then(|topic| topic.cell(key.partition)) else {
                    continue;
                };
                let of = read.entry((cell.topic_id, cell.index)).or_insert_with(|| (cell.clone(), Vec::new()));
                of.1.push(committed.offset);
            }
        }
        let mut questions = Vec::new();
        let mut all = lock(&self.ends);
        all.retain(|id, _| read.contains_key(id));
        for (id, (cell, mut offsets)) in read {
            let (end, start) = {
                let partition = cell.lock();
                if !partition.is_leader() {
                    all.remove(&id);
                    continue;
                }
                (partition.high_watermark(), partition.log().log_start_offset())
            };
            let now_ms = node.clock.now_ms();
            offsets.iter_mut().for_each(|offset| *offset = (*offset).max(start));
            offsets.sort_unstable();
            offsets.dedup();
            let ends = all.entry(id).or_default();
            ends.note(end, now_ms);
            if let Some(first) = offsets.first() {
                ends.forget_before(*first);
            }
            for offset in offsets {
                let is_vague = ends.readable_since(offset, now_ms).is_some_and(|since| since.is_vague);
                if is_vague && questions.len() < QUESTIONS {
                    questions.push((id, cell.clone(), offset));
                }
            }
        }
        // A disk may take its time, for which nobody who makes a page shall wait.
        drop(all);
        for (id, cell, offset) in questions {
            if let Some(at_ms) = timestamp_at(&cell, offset)
                && let Some(ends) = lock(&self.ends).get_mut(&id)
            {
                ends.asked(offset, at_ms);
            }
        }
    }

    /// For how long records from `offset` on wait to be read, in ms; 0 when there are none. `start` and `end` are the
    /// partition's first offset and its high watermark.
    pub fn lag_ms(&self, id: (Uuid, i32), offset: i64, start: i64, end: i64, now_ms: i64) -> Option<i64> {
        if offset >= end {
            return Some(0);
        }
        let all = lock(&self.ends);
        // What came since the last round is not older than that.
        let since = all.get(&id)?.readable_since(offset.max(start), now_ms).map_or(now_ms, |since| since.at_ms);
        Some((now_ms - since).max(0))
    }
}

/// The timestamp of the batch that holds `offset`, if it has one that can be read.
fn timestamp_at(cell: &Cell, offset: i64) -> Option<i64> {
    let read = cell.lock().read(offset, HEADER_SIZE as u32, false, true);
    let mut header = [0; HEADER_SIZE];
    let bytes = match &read.ok()?.records {
        Records::File(region) => {
            // A log that is damaged here has no answer; whoever reads it gets to hear so.
            let got = pread(&region.file, &mut header, region.position).ok()?;
            &header[..got]
        }
        Records::Bytes(bytes) => {
            header.copy_from_slice(bytes.get(..HEADER_SIZE)?);
            &header[..]
        }
    };
    BatchHeader::parse(bytes).ok().map(|header| header.max_timestamp()).filter(|at_ms| *at_ms >= 0)
}

fn busy_time(node: &Node) -> Duration {
    node.reactors.handles().map(|handle| handle.metrics().worker_total_busy_duration(0)).sum()
}
