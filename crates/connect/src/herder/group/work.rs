//! Connectors and tasks as what is shared out.

use std::collections::BTreeSet;

use crate::store::{ConfigsState, TaskId};

/// Some connectors and tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    pub connectors: BTreeSet<String>,
    pub tasks: BTreeSet<TaskId>,
}

impl Work {
    /// Everything that is to run.
    pub fn configured(configs: &ConfigsState) -> Work {
        let connectors: BTreeSet<String> = configs.connectors.keys().cloned().collect();
        let tasks = connectors.iter().flat_map(|name| configs.tasks_of(name)).collect();
        Work { connectors, tasks }
    }

    pub fn is_empty(&self) -> bool {
        self.connectors.is_empty() && self.tasks.is_empty()
    }

    pub fn add(&mut self, other: &Work) {
        self.connectors.extend(other.connectors.iter().cloned());
        self.tasks.extend(other.tasks.iter().cloned());
    }

    pub fn remove(&mut self, other: &Work) {
        self.connectors.retain(|c| !other.connectors.contains(c));
        self.tasks.retain(|t| !other.tasks.contains(t));
    }

    /// What is in both.
    pub fn common(&self, other: &Work) -> Work {
        Work {
            connectors: self.connectors.intersection(&other.connectors).cloned().collect(),
            tasks: self.tasks.intersection(&other.tasks).cloned().collect(),
        }
    }

    /// What is not in the other.
    pub fn without(&self, other: &Work) -> Work {
        let mut left = self.clone();
        left.remove(other);
        left
    }
}
