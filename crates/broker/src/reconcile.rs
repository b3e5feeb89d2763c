//! What a change of the cluster's state means for this node's partitions.
//!
//! The image says what should be; a command says what to do about it. Commands name the target state, not the step, so
//! that carrying one out twice changes nothing.

use metadata::image::{ConfigResource, Delta, Image, Partition, ResourceKind, Topic};
use replication::{Agreed, Assignment};
use std::sync::Arc;
use wire::Uuid;

/// What the node must do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Hold this replica, in this log directory, in the role that the assignment has for it; make its log where there is
    /// none.
    Hold { topic: Arc<Topic>, partition: i32, directory: Uuid, assignment: Assignment },
    /// Give up this replica and delete its log, if there is one.
    Drop { topic: Arc<str>, topic_id: Uuid, partition: i32 },
    /// The topic is known to all nodes, wherever its partitions are.
    Know { topic: Arc<Topic> },
    /// The topic is gone.
    Forget { topic: Arc<str>, topic_id: Uuid },
    /// This topic's settings changed.
    Configure { topic: Arc<str> },
    /// The brokers' dynamic settings changed, and with them what topics inherit.
    ConfigureAll,
}

/// The commands for what `delta` names, given the state after it.
pub fn reconcile(image: &Image, delta: &Delta, node_id: i32) -> Vec<Command> {
    let mut commands = Vec::new();
    for (id, topic) in &delta.removed_topics {
        // Whether they are here or not: a replica may have been moved away since the state that the node acts on.
        commands.extend(topic.partitions.keys().map(|partition| Command::Drop {
            topic: topic.name.clone(),
            topic_id: *id,
            partition: *partition,
        }));
        commands.push(Command::Forget { topic: topic.name.clone(), topic_id: *id });
    }
    for (id, change) in &delta.topics {
        let Some(topic) = image.topics.get(*id) else { continue };
        commands.push(Command::Know { topic: topic.clone() });
        for index in &change.partitions {
            if let Some(partition) = topic.partition(*index) {
                commands.extend(command(topic, *index, partition, node_id, change.created));
            }
        }
    }
    // A topic's dynamic settings may come before or after it in the same delta; the topic itself reads them when known.
    for resource in &delta.configs {
        match resource.kind {
            ResourceKind::Topic => commands.push(Command::Configure { topic: resource.name.clone() }),
            ResourceKind::Broker if concerns(resource, node_id) => commands.push(Command::ConfigureAll),
            _ => {}
        }
    }
    commands
}

/// The commands for a node that begins with this state.
pub fn reconcile_all(image: &Image, node_id: i32) -> Vec<Command> {
    let mut commands = Vec::new();
    for topic in image.topics.iter() {
        commands.push(Command::Know { topic: topic.clone() });
        for (index, partition) in &topic.partitions {
            if partition.replicas.contains(&node_id) {
                commands.extend(command(topic, *index, partition, node_id, true));
            }
        }
    }
    commands
}

/// `is_new`: the node cannot hold the partition yet, so there is nothing to drop.
fn command(topic: &Arc<Topic>, index: i32, partition: &Partition, node_id: i32, is_new: bool) -> Option<Command> {
    let Some(directory) = partition.directory_of(node_id) else {
        let drop = Command::Drop { topic: topic.name.clone(), topic_id: topic.id, partition: index };
        return (!is_new).then_some(drop);
    };
    Some(Command::Hold { topic: topic.clone(), partition: index, directory, assignment: assignment(partition) })
}

/// What a replica is told of its partition.
pub fn assignment(partition: &Partition) -> Assignment {
    Assignment {
        leader: partition.leader,
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
    }
}

/// What a leader is told of its proposal's outcome.
pub fn agreed(partition: &Partition) -> Agreed {
    Agreed {
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        isr: partition.isr.clone(),
    }
}

/// The empty name stands for all brokers.
fn concerns(resource: &ConfigResource, node_id: i32) -> bool {
    resource.name.is_empty() || resource.name.parse() == Ok(node_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::messages::{
        ConfigRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord, RemoveTopicRecord, TopicRecord,
    };

    const ID: Uuid = Uuid([7; 16]);
    const DIR: Uuid = Uuid([9; 16]);

    fn apply(image: &mut Image, records: Vec<MetadataRecord<'static>>) -> Delta {
        let mut delta = Delta::default();
        for record in records {
            let offset = image.offset + 1;
            image.replay(offset, &record, &mut delta).unwrap();
        }
        delta
    }

    fn topic() -> MetadataRecord<'static> {
        MetadataRecord::Topic(TopicRecord { name: "t".into(), topic_id: ID, ..Default::default() })
    }

    fn partition(id: i32, replicas: Vec<i32>) -> MetadataRecord<'static> {
        MetadataRecord::Partition(PartitionRecord {
            partition_id: id,
            topic_id: ID,
            leader: replicas[0],
            leader_epoch: 3,
            isr: replicas.clone().into(),
            directories: vec![DIR; replicas.len()].into(),
            replicas: replicas.into(),
            ..Default::default()
        })
    }

    /// Partition, leader, leader epoch.
    fn roles(commands: &[Command]) -> Vec<(i32, i32, i32)> {
        let role = |c: &Command| match c {
            Command::Hold { partition, assignment, .. } => {
                Some((*partition, assignment.leader, assignment.leader_epoch))
            }
            _ => None,
        };
        commands.iter().filter_map(role).collect()
    }

    #[test]
    fn a_new_topic_is_known_everywhere_and_held_where_it_is_assigned() {
        let mut image = Image::default();
        let delta = apply(&mut image, vec![topic(), partition(0, vec![1, 2]), partition(1, vec![2, 3])]);
        let on = |node| reconcile(&image, &delta, node);
        assert_eq!(roles(&on(1)), [(0, 1, 3)]);
        assert_eq!(roles(&on(2)), [(0, 1, 3), (1, 2, 3)]);
        assert!(matches!(&on(4)[..], [Command::Know { .. }]));
        assert_eq!(reconcile_all(&image, 2), on(2));
    }

    #[test]
    fn a_leader_change_and_a_removal_reach_the_replica() {
        let mut image = Image::default();
        apply(&mut image, vec![topic(), partition(0, vec![1, 2])]);
        let change = PartitionChangeRecord { partition_id: 0, topic_id: ID, leader: 2, ..Default::default() };
        let delta = apply(&mut image, vec![MetadataRecord::PartitionChange(change)]);
        assert_eq!(roles(&reconcile(&image, &delta, 1)), [(0, 2, 4)]);
        let delta = apply(&mut image, vec![MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: ID })]);
        let commands = reconcile(&image, &delta, 1);
        assert!(matches!(&commands[..], [Command::Drop { partition: 0, .. }, Command::Forget { .. }]), "{commands:?}");
    }

    #[test]
    fn a_replica_that_moved_away_before_its_topic_was_removed_is_dropped() {
        let mut image = Image::default();
        apply(&mut image, vec![topic(), partition(0, vec![1, 2])]);
        let moved = PartitionChangeRecord {
            partition_id: 0,
            topic_id: ID,
            replicas: Some(vec![2, 3].into()),
            directories: Some(vec![DIR; 2].into()),
            ..PartitionChangeRecord::default()
        };
        let removed = RemoveTopicRecord { topic_id: ID };
        let delta =
            apply(&mut image, vec![MetadataRecord::PartitionChange(moved), MetadataRecord::RemoveTopic(removed)]);
        let commands = reconcile(&image, &delta, 1);
        assert!(matches!(&commands[..], [Command::Drop { partition: 0, .. }, Command::Forget { .. }]), "{commands:?}");
    }

    #[test]
    fn settings_reach_the_topic_and_those_of_brokers_all_topics() {
        let mut image = Image::default();
        apply(&mut image, vec![topic(), partition(0, vec![1])]);
        let set = |kind: i8, name: &str| {
            MetadataRecord::Config(ConfigRecord {
                resource_type: kind,
                resource_name: name.to_owned().into(),
                name: "x".into(),
                value: Some("1".into()),
            })
        };
        let delta = apply(&mut image, vec![set(2, "t"), set(4, "")]);
        let commands = reconcile(&image, &delta, 1);
        assert!(commands.contains(&Command::Configure { topic: "t".into() }));
        assert!(commands.contains(&Command::ConfigureAll));
        let delta = apply(&mut image, vec![set(4, "2")]);
        assert_eq!(reconcile(&image, &delta, 1), []);
    }
}
