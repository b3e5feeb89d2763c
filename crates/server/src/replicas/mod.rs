//! Replicas at work: this node's followers fetch from their leaders, and its leaders keep their ISR.
//!
//! What to fetch is decided by [`broker::Fetcher`], what becomes of it by [`replication::Partition`]; here are the
//! connections, the waiting, and the tasks: `num.replica.fetchers` for each leader that is followed (`fetcher.rs`), one that
//! brings changed ISRs to the controller (`isr_changes.rs`), and one that looks for followers that fell behind.

mod fetcher;
mod isr_changes;
mod leader;
mod truncation;

use crate::node::Node;
use crate::partitions::Cell;
use fetcher::{Change, Fetching};
use isr_changes::IsrChanges;
use metadata::image::TopicIdPartition;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Followers are looked at this often at least, however long `replica.lag.time.max.ms` is.
const TICK_MAX: Duration = Duration::from_secs(15);
const TICK_MIN: Duration = Duration::from_millis(10);

/// What replication has done, for metrics.
#[derive(Debug, Default)]
pub struct ReplicationStats {
    pub isr_shrinks: AtomicU64,
    pub isr_expands: AtomicU64,
    pub failed_isr_updates: AtomicU64,
}

/// See the module.
#[derive(Default)]
pub struct Replicas {
    pub stats: ReplicationStats,
    isr_changes: IsrChanges,
    /// `num.replica.fetchers`; 0 before it is known.
    fetchers: AtomicUsize,
    state: Mutex<State>,
}

/// A leader, and which of the connections to it.
type Slot = (i32, usize);

#[derive(Default)]
struct State {
    fetching: HashMap<Slot, Arc<Fetching>>,
    /// Where each partition is fetched from.
    followed: HashMap<TopicIdPartition, Slot>,
}

impl State {
    /// Where a follower of `leader` fetches: where it does already, or over one of so many connections.
    fn slot(&self, key: TopicIdPartition, leader: i32, fetchers: usize) -> Slot {
        match self.followed.get(&key) {
            Some(was) if was.0 == leader => *was,
            _ => {
                let mut hasher = DefaultHasher::new();
                key.hash(&mut hasher);
                (leader, hasher.finish() as usize % fetchers.max(1))
            }
        }
    }
}

/// The name that the cluster's state has for a partition held here.
pub fn key(cell: &Cell) -> TopicIdPartition {
    TopicIdPartition { topic_id: cell.topic_id, partition: cell.index }
}

impl Replicas {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins what goes on as long as the node does. To be called once it is registered.
    pub fn start(node: &Arc<Node>) {
        tokio::spawn(isr_changes::run(node.clone()));
        tokio::spawn(watch(node.clone()));
    }

    /// How many connections to a leader followers that are new to it are spread over. Those that it has already stay on
    /// theirs: a partition has one fetch under way at most.
    pub fn set_fetchers(&self, count: usize) {
        self.fetchers.store(count, Ordering::Relaxed);
    }

    /// Partitions whose role may have changed: each is fetched from the leader that it follows now, or from none.
    pub fn follow(&self, node: &Arc<Node>, cells: Vec<Arc<Cell>>) {
        if cells.is_empty() {
            return;
        }
        let mut changes: HashMap<Slot, Vec<Change>> = HashMap::new();
        let fetchers = self.fetchers.load(Ordering::Relaxed);
        let mut state = self.state();
        for cell in cells {
            let key = key(&cell);
            let slot = match cell.lock().role() {
                replication::Role::Follower { leader, .. } if leader >= 0 => Some(state.slot(key, leader, fetchers)),
                _ => None,
            };
            let was = match slot {
                Some(slot) => state.followed.insert(key, slot),
                None => state.followed.remove(&key),
            };
            if let Some(was) = was.filter(|was| Some(*was) != slot) {
                changes.entry(was).or_default().push(Change::Remove(key));
            }
            if let Some(slot) = slot {
                changes.entry(slot).or_default().push(Change::Add(cell));
            }
        }
        for (slot, changes) in changes {
            let fetching = state.fetching.entry(slot).or_insert_with(|| Fetching::start(node, slot.0, slot.1));
            fetching.tell(changes);
        }
    }

    /// Partitions that this node does not hold any more.
    pub fn forget(&self, key: TopicIdPartition) {
        let mut state = self.state();
        if let Some(slot) = state.followed.remove(&key)
            && let Some(fetching) = state.fetching.get(&slot)
        {
            fetching.tell(vec![Change::Remove(key)]);
        }
    }

    /// A leader has a change of its ISR to propose.
    pub fn propose(&self, cell: &Arc<Cell>) {
        self.isr_changes.add(cell);
    }
}

/// Looks for followers that fell behind.
async fn watch(node: Arc<Node>) {
    let lag = Duration::from_millis(node.config.replication.replica_lag_time_max_ms.max(0) as u64);
    let every = (lag / 2).clamp(TICK_MIN, TICK_MAX);
    let mut stopped = std::pin::pin!(node.stopped());
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = &mut stopped => return,
        }
        let steady_ms = node.clock.steady_ms();
        for cell in node.partitions.table().cells() {
            if cell.lock().tick(steady_ms) {
                node.replicas.propose(cell);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn followers_that_are_new_to_a_leader_are_spread_and_the_others_stay() {
        let key = |partition| TopicIdPartition { topic_id: wire::Uuid::from_u128(7), partition };
        let mut state = State::default();
        let spread: HashSet<Slot> = (0..100).map(|partition| state.slot(key(partition), 2, 3)).collect();
        assert_eq!(spread, HashSet::from([(2, 0), (2, 1), (2, 2)]));
        state.followed.insert(key(1), (2, 2));
        assert_eq!(state.slot(key(1), 2, 1), (2, 2));
        assert_eq!(state.slot(key(1), 4, 1), (4, 0));
    }
}
