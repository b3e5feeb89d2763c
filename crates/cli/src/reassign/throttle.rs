//! Throttles of a reassignment: topic settings that name the replicas on the move, and the brokers' rates (KIP-73).

use std::collections::{BTreeMap, BTreeSet};

use client::admin::{Admin, ConfigChange, Resource, ResourceType};

use super::{Assignment, failed};
use crate::partitions_file::Move;
use crate::tool::Stop;

const LEADER_RATE: &str = "leader.replication.throttled.rate";
const FOLLOWER_RATE: &str = "follower.replication.throttled.rate";
const LOG_DIR_RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
const LEADER_REPLICAS: &str = "leader.replication.throttled.replicas";
const FOLLOWER_REPLICAS: &str = "follower.replication.throttled.replicas";

/// Between which brokers partitions move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// By topic: `partition:broker` of the replicas that are read.
    sources: BTreeMap<String, BTreeSet<(i32, i32)>>,
    /// The same of the replicas that are made.
    targets: BTreeMap<String, BTreeSet<(i32, i32)>>,
}

impl Plan {
    pub fn new(current: &Assignment, moves: &[Move]) -> Plan {
        let mut plan = Plan::default();
        for m in moves {
            let (topic, index) = &m.partition;
            let now = current.get(&m.partition).map(Vec::as_slice).unwrap_or_default();
            let sources = plan.sources.entry(topic.clone()).or_default();
            sources.extend(now.iter().map(|id| (*index, *id)));
            let targets = plan.targets.entry(topic.clone()).or_default();
            targets.extend(m.replicas.iter().filter(|id| !now.contains(id)).map(|id| (*index, *id)));
        }
        plan
    }

    fn brokers(&self) -> BTreeSet<i32> {
        self.sources.values().chain(self.targets.values()).flatten().map(|(_, broker)| *broker).collect()
    }

    /// Names the replicas in the topics' settings, and sets the brokers' rates, in bytes a second.
    pub async fn set(&self, admin: &Admin, rate: i64) -> Result<(), Stop> {
        for (topic, sources) in &self.sources {
            let named = |pairs: &BTreeSet<(i32, i32)>| {
                let pairs: Vec<String> =
                    pairs.iter().map(|(partition, broker)| format!("{partition}:{broker}")).collect();
                ConfigChange::Set(pairs.join(","))
            };
            let mut changes = vec![(LEADER_REPLICAS.to_owned(), named(sources))];
            let targets = self.targets.get(topic).filter(|targets| !targets.is_empty());
            changes.extend(targets.map(|targets| (FOLLOWER_REPLICAS.to_owned(), named(targets))));
            change(admin, ResourceType::Topic, topic, &changes).await?;
        }
        let rate = ConfigChange::Set(rate.to_string());
        let rates = [LEADER_RATE, FOLLOWER_RATE].map(|name| (name.to_owned(), rate.clone()));
        for broker in self.brokers() {
            change(admin, ResourceType::Broker, &broker.to_string(), &rates).await?;
        }
        Ok(())
    }
}

/// Sets how many bytes a second these brokers may move between their log directories.
pub async fn set_between_directories(admin: &Admin, brokers: &BTreeSet<i32>, rate: i64) -> Result<(), Stop> {
    for broker in brokers {
        let rate = (LOG_DIR_RATE.to_owned(), ConfigChange::Set(rate.to_string()));
        change(admin, ResourceType::Broker, &broker.to_string(), &[rate]).await?;
    }
    Ok(())
}

/// Takes the rates away from these brokers.
pub async fn clear_brokers(admin: &Admin, brokers: &BTreeSet<i32>) -> Result<(), Stop> {
    let names = [LEADER_RATE, FOLLOWER_RATE, LOG_DIR_RATE];
    for broker in brokers {
        change(admin, ResourceType::Broker, &broker.to_string(), &deleted(&names)).await?;
    }
    Ok(())
}

/// Takes the replicas away from the settings of these topics.
pub async fn clear_topics(admin: &Admin, topics: &BTreeSet<String>) -> Result<(), Stop> {
    for topic in topics {
        change(admin, ResourceType::Topic, topic, &deleted(&[LEADER_REPLICAS, FOLLOWER_REPLICAS])).await?;
    }
    Ok(())
}

fn deleted(names: &[&str]) -> Vec<(String, ConfigChange)> {
    names.iter().map(|name| ((*name).to_owned(), ConfigChange::Delete)).collect()
}

async fn change(admin: &Admin, kind: ResourceType, name: &str, changes: &[(String, ConfigChange)]) -> Result<(), Stop> {
    let resource = Resource { kind, name: name.to_owned() };
    admin.alter_configs(&resource, changes).await.map_err(|e| failed(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_replicas_are_read_and_the_new_ones_are_made() {
        let current: Assignment = [(("t".to_owned(), 0), vec![1, 2])].into();
        let any = vec!["any".to_owned(); 2];
        let plan = Plan::new(&current, &[Move { partition: ("t".to_owned(), 0), replicas: vec![2, 3], log_dirs: any }]);
        assert_eq!(plan.sources["t"], [(0, 1), (0, 2)].into());
        assert_eq!(plan.targets["t"], [(0, 3)].into());
        assert_eq!(plan.brokers(), [1, 2, 3].into());
    }
}
