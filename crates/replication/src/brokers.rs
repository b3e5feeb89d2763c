//! Which brokers may be in an ISR: shared by all partitions of a node, which outlive many states of the cluster.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// The active brokers (registered, neither fenced nor shutting down) with the epochs of their registrations.
#[derive(Debug, Default)]
pub struct Brokers(RwLock<HashMap<i32, i64>>);

impl Brokers {
    /// Takes in a new state of the cluster.
    pub fn set(&self, active: impl IntoIterator<Item = (i32, i64)>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = active.into_iter().collect();
    }

    /// The epoch of an active broker's registration.
    pub fn epoch(&self, broker: i32) -> Option<i64> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&broker).copied()
    }

    /// Whether a replica that fetches under `epoch` (-1: it did not say) may be in an ISR (KIP-841, KIP-903).
    pub fn may_be_in_sync(&self, broker: i32, epoch: i64) -> bool {
        self.epoch(broker).is_some_and(|current| epoch == -1 || epoch == current)
    }
}
