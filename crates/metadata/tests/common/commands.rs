//! Commands at random, sensible and senseless, for clusters of a few brokers and topics.

use metadata::controller::{
    AlterOp, AlterPartition, BrokerHeartbeat, BrokerRegistration, Command, ConfigChanges, ElectionType, MorePartitions,
    NewSettings, NewTopic, ReassignPartition, TopicRef,
};
use metadata::image::{ConfigResource, Image, LeaderRecoveryState, TopicIdPartition};

use super::{directory, heartbeat, registration, topic};

const TOPICS: [&str; 6] = ["a", "b.c", "b_c", "d", "e", "f"];
const BROKERS: u64 = 4;

/// A number below a bound.
pub fn below(random: &mut dyn FnMut() -> u64, bound: u64) -> u64 {
    random() % bound
}

fn name(random: &mut dyn FnMut() -> u64) -> String {
    TOPICS[below(random, TOPICS.len() as u64) as usize].to_owned()
}

fn broker(random: &mut dyn FnMut() -> u64) -> i32 {
    1 + below(random, BROKERS) as i32
}

/// The broker's epoch, or now and then a wrong one.
fn epoch(image: &Image, id: i32, random: &mut dyn FnMut() -> u64) -> i64 {
    let known = image.cluster.broker(id).map_or(0, |broker| broker.epoch);
    if below(random, 10) == 0 { known + 1 } else { known }
}

/// One command. What it says depends on the image, so that many of them succeed.
pub fn command(image: &Image, random: &mut dyn FnMut() -> u64) -> Command {
    match below(random, 14) {
        0 | 1 => create_topic(random),
        2 => Command::DeleteTopics(vec![TopicRef::Name(name(random)), TopicRef::Name(name(random))]),
        3 => {
            let more = MorePartitions { name: name(random), count: 1 + below(random, 6) as i32, assignments: None };
            Command::CreatePartitions { topics: vec![more], validate_only: below(random, 5) == 0 }
        }
        4 => alter_configs(random),
        5 => {
            let settings = vec![("retention.ms".to_owned(), Some(below(random, 9).to_string()))];
            let resources = vec![NewSettings { resource: ConfigResource::topic(&name(random)), settings }];
            Command::AlterConfigs { resources, validate_only: false }
        }
        6 | 7 => register(image, random),
        8 | 9 => beat(image, random),
        10 => {
            let broker_id = broker(random);
            Command::BrokerGone { broker_id, broker_epoch: epoch(image, broker_id, random) }
        }
        11 => {
            let broker_id = broker(random);
            Command::AllocateProducerIds { broker_id, broker_epoch: epoch(image, broker_id, random) }
        }
        12 => alter_partition(image, random),
        _ => match below(random, 5) {
            3 => reassign(random),
            0 => Command::UnregisterBroker(broker(random)),
            1 => Command::ElectLeaders { election: ElectionType::Unclean, partitions: None },
            2 => Command::ElectLeaders { election: ElectionType::Preferred, partitions: None },
            _ => Command::Tick,
        },
    }
}

fn create_topic(random: &mut dyn FnMut() -> u64) -> Command {
    let configs = match below(random, 3) {
        0 => vec![("min.insync.replicas".to_owned(), Some((1 + below(random, 2)).to_string()))],
        1 => vec![("unclean.leader.election.enable".to_owned(), Some("true".to_owned()))],
        _ => Vec::new(),
    };
    let wanted =
        NewTopic { configs, ..topic(&name(random), 1 + below(random, 4) as i32, 1 + below(random, BROKERS) as i16) };
    Command::CreateTopics { topics: vec![wanted], validate_only: below(random, 8) == 0 }
}

fn alter_configs(random: &mut dyn FnMut() -> u64) -> Command {
    let resource = match below(random, 3) {
        0 => ConfigResource::default_broker(),
        1 => ConfigResource::broker(broker(random)),
        _ => ConfigResource::topic(&name(random)),
    };
    let key = if below(random, 2) == 0 { "min.insync.replicas" } else { "retention.ms" };
    let change = match below(random, 3) {
        0 => (key.to_owned(), AlterOp::Delete, None),
        _ => (key.to_owned(), AlterOp::Set, Some((1 + below(random, 3)).to_string())),
    };
    Command::IncrementalAlterConfigs {
        resources: vec![ConfigChanges { resource, changes: vec![change] }],
        validate_only: false,
    }
}

fn register(image: &Image, random: &mut dyn FnMut() -> u64) -> Command {
    let id = broker(random);
    let previous_broker_epoch = if below(random, 2) == 0 { epoch(image, id, random) } else { -1 };
    let log_dirs = match below(random, 3) {
        0 => vec![directory(id as u128), directory(id as u128 + 100)],
        _ => vec![directory(id as u128)],
    };
    let incarnation = 1 + u128::from(below(random, 50));
    Command::RegisterBroker(BrokerRegistration { previous_broker_epoch, log_dirs, ..registration(id, incarnation) })
}

fn beat(image: &Image, random: &mut dyn FnMut() -> u64) -> Command {
    let id = broker(random);
    let offline_log_dirs = if below(random, 8) == 0 { vec![directory(id as u128 + 100)] } else { Vec::new() };
    Command::Heartbeat(BrokerHeartbeat {
        want_fence: below(random, 6) == 0,
        want_shut_down: below(random, 6) == 0,
        offline_log_dirs,
        ..heartbeat(id, epoch(image, id, random))
    })
}

/// Moves replicas, or takes it back.
fn reassign(random: &mut dyn FnMut() -> u64) -> Command {
    let partitions = (0..1 + below(random, 3)).map(|_| ReassignPartition {
        topic: name(random),
        partition: below(random, 4) as i32,
        replicas: (below(random, 3) > 0).then(|| (0..1 + below(random, 3)).map(|_| broker(random)).collect()),
    });
    Command::AlterPartitionReassignments {
        partitions: partitions.collect(),
        allow_replication_factor_change: below(random, 4) > 0,
    }
}

/// A leader drops a member of its ISR or takes one in.
fn alter_partition(image: &Image, random: &mut dyn FnMut() -> u64) -> Command {
    let topics: Vec<_> = image.topics.iter_by_id().collect();
    let Some(topic) = topics.get(below(random, topics.len().max(1) as u64) as usize) else { return Command::Tick };
    let key = TopicIdPartition { topic_id: topic.id, partition: below(random, 4) as i32 };
    let Some(partition) = image.topics.partition(key) else { return Command::Tick };
    let mut isr = partition.isr.to_vec();
    let other = partition.replicas[below(random, partition.replicas.len() as u64) as usize];
    match isr.iter().position(|id| *id == other) {
        Some(index) => drop(isr.remove(index)),
        None => isr.push(other),
    }
    Command::AlterPartitions {
        broker_id: partition.leader,
        broker_epoch: epoch(image, partition.leader, random),
        partitions: vec![AlterPartition {
            key,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            new_isr: isr.into_iter().map(|id| (id, -1)).collect(),
            leader_recovery_state: LeaderRecoveryState::Recovered,
        }],
    }
}
