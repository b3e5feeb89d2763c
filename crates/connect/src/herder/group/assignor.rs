//! How the leader shares out connectors and tasks: what runs stays where it is, and only what moves stops (KIP-415).
//!
//! What a worker gives up is given to its new owner in the next round, when it has stopped. What a worker left behind
//! waits for it a while.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::work::Work;

/// What the leader remembers from round to round.
#[derive(Debug, Default)]
pub struct Memory {
    /// What had an owner after the last round, or waits for its old one.
    previous: Work,
    /// When what was left behind is given to others.
    deadline: Option<Instant>,
}

/// What changes for a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    pub assigned: Work,
    pub revoked: Work,
}

/// The shares of all members, and how long until they are to gather again.
pub fn assign(
    members: &BTreeMap<String, Work>,
    configured: &Work,
    memory: &mut Memory,
    delay_max: Duration,
    now: Instant,
) -> (BTreeMap<String, Share>, Duration) {
    let mut shares: BTreeMap<String, Share> = members.keys().map(|id| (id.clone(), Share::default())).collect();
    let mut kept: BTreeMap<&str, Work> = BTreeMap::new();
    let mut taken = Work::default();
    for (id, owned) in members {
        // What is gone, and what another one runs as well, is given up.
        let keeps = owned.common(configured).without(&taken);
        taken.add(&keeps);
        if let Some(share) = shares.get_mut(id) {
            share.revoked = owned.without(&keeps);
        }
        kept.insert(id, keeps);
    }
    let given_up = shares.values().fold(Work::default(), |mut all, share| {
        all.add(&share.revoked);
        all
    });
    // What is being given up by one of two owners runs at the other.
    let free = configured.without(&taken).without(&given_up);
    let lost = free.common(&memory.previous);
    let waits = match memory.deadline {
        _ if lost.is_empty() || delay_max.is_zero() => false,
        None => {
            memory.deadline = Some(now + delay_max);
            true
        }
        Some(deadline) => now < deadline,
    };
    if !waits {
        memory.deadline = None;
    }
    let open = if waits { free.without(&lost) } else { free };
    hand_out(&open, &mut kept, &mut shares);
    if !waits && given_up.is_empty() {
        level(configured, &mut kept, &mut shares);
    }
    memory.previous = kept.values().fold(if waits { lost } else { Work::default() }, |mut all, work| {
        all.add(work);
        all
    });
    let delay = memory.deadline.map_or(Duration::ZERO, |deadline| deadline.saturating_duration_since(now));
    (shares, delay)
}

/// Gives each free connector and task to whoever has the fewest.
fn hand_out(open: &Work, kept: &mut BTreeMap<&str, Work>, shares: &mut BTreeMap<String, Share>) {
    for name in &open.connectors {
        let Some((id, work)) = kept.iter_mut().min_by_key(|(_, w)| w.connectors.len()) else { return };
        work.connectors.insert(name.clone());
        if let Some(share) = shares.get_mut(*id) {
            share.assigned.connectors.insert(name.clone());
        }
    }
    for task in &open.tasks {
        let Some((id, work)) = kept.iter_mut().min_by_key(|(_, w)| w.tasks.len()) else { return };
        work.tasks.insert(task.clone());
        if let Some(share) = shares.get_mut(*id) {
            share.assigned.tasks.insert(task.clone());
        }
    }
}

/// Has those who have more than their part give up the rest, when somebody has less. What was given out just now stays.
fn level(configured: &Work, kept: &mut BTreeMap<&str, Work>, shares: &mut BTreeMap<String, Share>) {
    let count = kept.len().max(1);
    let most = |total: usize| total.div_ceil(count);
    let (connectors, tasks) = (configured.connectors.len(), configured.tasks.len());
    let poor_in_connectors = kept.values().any(|w| w.connectors.len() < connectors / count);
    let poor_in_tasks = kept.values().any(|w| w.tasks.len() < tasks / count);
    for (id, work) in kept.iter_mut() {
        let Some(share) = shares.get_mut(*id) else { continue };
        while poor_in_connectors && work.connectors.len() > most(connectors) {
            let Some(name) = work.connectors.iter().find(|c| !share.assigned.connectors.contains(*c)).cloned() else {
                break;
            };
            work.connectors.remove(&name);
            share.revoked.connectors.insert(name);
        }
        while poor_in_tasks && work.tasks.len() > most(tasks) {
            let Some(task) = work.tasks.iter().find(|t| !share.assigned.tasks.contains(*t)).cloned() else { break };
            work.tasks.remove(&task);
            share.revoked.tasks.insert(task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::TaskId;

    const DELAY: Duration = Duration::from_secs(300);

    fn tasks(count: usize) -> Work {
        let tasks = (0..count).map(|task| TaskId { connector: "c".into(), task }).collect();
        Work { connectors: ["c".to_owned()].into(), tasks }
    }

    /// A group whose members do as they are told.
    #[derive(Default)]
    struct Group {
        members: BTreeMap<String, Work>,
        memory: Memory,
    }

    impl Group {
        fn round(&mut self, configured: &Work, now: Instant) -> (bool, Duration) {
            let (shares, delay) = assign(&self.members, configured, &mut self.memory, DELAY, now);
            for (id, share) in &shares {
                let owned = self.members.get_mut(id).unwrap();
                owned.remove(&share.revoked);
                owned.add(&share.assigned);
            }
            (shares.values().any(|s| !s.revoked.is_empty()), delay)
        }

        fn counts(&self) -> Vec<usize> {
            self.members.values().map(|w| w.tasks.len()).collect()
        }

        /// Nothing runs twice.
        fn is_disjoint(&self) -> bool {
            let total: usize = self.members.values().map(|w| w.tasks.len()).sum();
            let mut all = Work::default();
            self.members.values().for_each(|w| all.add(w));
            all.tasks.len() == total
        }
    }

    #[tokio::test]
    async fn a_newcomer_gets_its_part_after_the_others_gave_it_up() {
        let now = Instant::now();
        let mut group = Group::default();
        group.members.insert("a".into(), Work::default());
        assert_eq!(group.round(&tasks(6), now), (false, Duration::ZERO));
        assert_eq!(group.counts(), [6]);
        group.members.insert("b".into(), Work::default());
        assert_eq!(group.round(&tasks(6), now), (true, Duration::ZERO));
        assert_eq!(group.counts(), [3, 0]);
        assert_eq!(group.round(&tasks(6), now), (false, Duration::ZERO));
        assert_eq!(group.counts(), [3, 3]);
        assert!(group.is_disjoint());
    }

    #[tokio::test]
    async fn what_was_left_behind_waits_for_its_worker() {
        let now = Instant::now();
        let mut group = Group::default();
        group.members.insert("a".into(), Work::default());
        group.members.insert("b".into(), Work::default());
        group.round(&tasks(4), now);
        group.members.remove("b");
        assert_eq!(group.round(&tasks(4), now), (false, DELAY));
        assert_eq!(group.counts(), [2]);
        // New work does not wait.
        assert_eq!(group.round(&tasks(5), now + DELAY / 2), (false, DELAY / 2));
        assert_eq!(group.counts(), [3]);
        assert_eq!(group.round(&tasks(5), now + DELAY), (false, Duration::ZERO));
        assert_eq!(group.counts(), [5]);
    }

    #[tokio::test]
    async fn what_is_deleted_or_runs_twice_is_given_up() {
        let now = Instant::now();
        let mut group = Group::default();
        group.members.insert("a".into(), tasks(3));
        group.members.insert("b".into(), tasks(1));
        assert!(group.round(&tasks(2), now).0);
        assert!(group.is_disjoint());
        while group.round(&tasks(2), now).0 {}
        assert_eq!(group.counts(), [1, 1]);
        assert!(group.is_disjoint());
    }
}
