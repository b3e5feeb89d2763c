//! Who may be in sync, who may lead and who stays eligible, after every command of random histories; and each mistake of
//! [`metadata::planted`] that is a controller's, made, and found by it. `SEEDS=0..5000` runs other histories than CI does.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a helper that fails fails its test

mod common;

use std::ops::Range;
use std::panic::catch_unwind;

use common::commands::{below, command};
use common::{Decider, chance, directory, heartbeat};
use metadata::controller::{AlterPartition, BrokerHeartbeat, Command, ElectionType, Reply};
use metadata::image::{Image, LeaderRecoveryState, NO_LEADER, Partition, Topic, TopicIdPartition};
use metadata::planted::Bug;

const SEEDS: Range<u64> = 0..100;
/// A planted bug must be found within so many.
const SEEDS_FOR_BUGS: u64 = 300;
const COMMANDS: usize = 150;

type Chance<'a> = &'a mut dyn FnMut() -> u64;

/// A leader proposes an ISR, not always of the partition as it is, nor with members as they are.
fn proposal(image: &Image, random: Chance<'_>) -> Option<Command> {
    let topics: Vec<_> = image.topics.iter_by_id().collect();
    let topic = topics.get(below(random, topics.len().max(1) as u64) as usize)?;
    let key = TopicIdPartition { topic_id: topic.id, partition: below(random, 4) as i32 };
    let partition = image.topics.partition(key).filter(|partition| partition.has_leader())?;
    let mut isr = partition.isr.to_vec();
    for _ in 0..1 + below(random, 2) {
        let other = partition.replicas[below(random, partition.replicas.len() as u64) as usize];
        match isr.iter().position(|id| *id == other) {
            Some(_) if other == partition.leader => {}
            Some(index) => drop(isr.remove(index)),
            None => isr.push(other),
        }
    }
    let mut late = |epoch: i32| epoch - i32::from(below(random, 5) == 0);
    let (leader_epoch, partition_epoch) = (late(partition.leader_epoch), late(partition.partition_epoch));
    let mut member = |id: i32| {
        let epoch = image.cluster.broker(id).map_or(-1, |broker| broker.epoch);
        (id, [-1, epoch, epoch, epoch - 1][below(random, 4) as usize])
    };
    let new_isr = isr.into_iter().map(&mut member).collect();
    let leader_recovery_state = LeaderRecoveryState::Recovered;
    let proposal = AlterPartition { key, leader_epoch, partition_epoch, new_isr, leader_recovery_state };
    let broker_epoch = image.cluster.broker(partition.leader)?.epoch;
    Some(Command::AlterPartitions { broker_id: partition.leader, broker_epoch, partitions: vec![proposal] })
}

/// A broker loses the directory that its replicas are in.
fn lost_directory(image: &Image, random: Chance<'_>) -> Option<Command> {
    let broker = image.cluster.broker(1 + below(random, 4) as i32)?;
    let offline_log_dirs = vec![directory(broker.id as u128)];
    Some(Command::Heartbeat(BrokerHeartbeat { offline_log_dirs, ..heartbeat(broker.id, broker.epoch) }))
}

/// What one command did.
struct Step<'a> {
    cluster: &'a Decider,
    command: &'a Command,
    reply: &'a Reply,
    before: &'a Image,
    after: &'a Image,
}

impl Step<'_> {
    /// The broker that came back, or went, without what it had in memory.
    fn unclean_shutdown(&self) -> Option<i32> {
        match (self.command, self.reply) {
            (Command::UnregisterBroker(id), Reply::UnregisterBroker(Ok(()))) => Some(*id),
            (Command::RegisterBroker(request), Reply::RegisterBroker(Ok(_))) => {
                let known = self.before.cluster.broker(request.broker_id)?;
                let is_another = known.incarnation_id != request.incarnation_id;
                (is_another && known.epoch != request.previous_broker_epoch).then_some(request.broker_id)
            }
            _ => None,
        }
    }

    /// The proposal that this command has for a partition.
    fn proposal(&self, key: TopicIdPartition) -> Option<&AlterPartition> {
        match self.command {
            Command::AlterPartitions { partitions, .. } => partitions.iter().find(|proposal| proposal.key == key),
            _ => None,
        }
    }

    fn check(&self) {
        let unclean = self.unclean_shutdown();
        for topic in self.after.topics.iter() {
            for (id, new) in &topic.partitions {
                let known = |id: &i32| Some(*id) == unclean && self.after.features.is_elr_enabled();
                assert!(!new.isr.iter().chain(new.elr.iter()).any(known), "{unclean:?} lost its page cache: {new:?}");
                let key = TopicIdPartition { topic_id: topic.id, partition: *id };
                if let Some(old) = self.before.topics.partition(key).filter(|old| *old != new) {
                    self.check_change(topic, key, old, new);
                }
            }
        }
    }

    fn check_change(&self, topic: &Topic, key: TopicIdPartition, old: &Partition, new: &Partition) {
        // A new min.insync.replicas clears an ELR, and puts back one that nobody else could take the place of.
        let repeats = matches!(
            self.command,
            Command::AlterPartitionReassignments { .. }
                | Command::IncrementalAlterConfigs { .. }
                | Command::AlterConfigs { .. }
        );
        let is_one_step = new.partition_epoch == old.partition_epoch + 1;
        assert!(repeats || is_one_step, "changed more than once: {old:?}, {new:?}; {:?}", self.command);
        if let Some(proposal) = self.proposal(key) {
            assert_eq!(proposal.leader_epoch, old.leader_epoch, "of a leader that leads no more: {old:?}, {new:?}");
            assert_eq!(proposal.partition_epoch, old.partition_epoch, "of a partition that was: {old:?}, {new:?}");
        }
        for id in new.isr.iter().filter(|id| !old.isr.contains(id)) {
            let broker = self.after.cluster.broker(*id);
            let may_join = broker.is_some_and(|broker| match self.proposal(key) {
                Some(_) => broker.is_active(),
                None => !broker.fenced,
            });
            assert!(may_join, "{id} is not up, and in sync: {new:?}");
            let directory = new.directory_of(*id);
            let is_online = broker.is_some_and(|broker| directory.is_none_or(|one| broker.has_online_dir(one)));
            // As in Kafka, a leader's word is taken for a directory.
            let is_online = is_online || self.proposal(key).is_some();
            assert!(is_online, "{id} has lost its directory, and is in sync: {old:?}, {new:?}; {:?}", self.command);
            let proposed = self.proposal(key).and_then(|proposal| proposal.new_isr.iter().find(|(one, _)| one == id));
            let epoch = proposed.map(|(_, epoch)| *epoch).filter(|epoch| *epoch >= 0);
            let known = self.before.cluster.broker(*id).map(|broker| broker.epoch);
            assert!(epoch.is_none() || epoch == known, "{id} joins as {epoch:?}, and is {known:?}");
        }
        let was_complete = |id: i32| old.isr.contains(&id) || old.elr.contains(&id);
        // As in Kafka, an eligible replica is elected uncleanly while somebody is in the ISR who is not up.
        let recovering = LeaderRecoveryState::Recovering;
        let must_recover = new.leader_recovery_state == recovering && old.leader_recovery_state != recovering;
        let is_unclean =
            new.leader != old.leader && new.leader != NO_LEADER && (!was_complete(new.leader) || must_recover);
        if is_unclean
            && !new.isr.iter().any(|id| self.proposal(key).is_some_and(|p| p.new_isr.iter().any(|m| m.0 == *id)))
        {
            let settings = self.cluster.controller.settings();
            let is_asked = matches!(self.command, Command::ElectLeaders { election: ElectionType::Unclean, .. });
            let is_last_leader = *old.last_known_elr == [new.leader];
            let is_allowed = settings.unclean_leader_election(self.before, &topic.name);
            assert!(is_asked || is_allowed || is_last_leader, "nobody asked to elect {}: {old:?}", new.leader);
        }
        self.check_eligible(topic, old, new, is_unclean);
    }

    /// Below min ISR, and only there, whoever had everything that is committed stays eligible.
    fn check_eligible(&self, topic: &Topic, old: &Partition, new: &Partition, is_unclean: bool) {
        let first = topic.partition(0).map_or(new.replicas.len(), |first| first.replicas.len());
        let settings = self.cluster.controller.settings();
        let min_isr = settings.min_insync_replicas(self.before, &topic.name).min(first);
        // As in Kafka, another min ISR makes a fresh start.
        let is_config = matches!(self.command, Command::AlterConfigs { .. } | Command::IncrementalAlterConfigs { .. });
        let may_commit = !new.isr.is_empty() && new.isr.len() >= min_isr;
        let is_one = !matches!(self.command, Command::AlterPartitionReassignments { .. });
        assert!(is_config || !is_one || !may_commit || new.elr.is_empty(), "eligible without what comes: {new:?}");
        if is_config || is_unclean || !self.after.features.is_elr_enabled() || new.isr.len() >= min_isr {
            return;
        }
        for id in old.isr.iter().chain(old.elr.iter()).filter(|id| Some(**id) != self.unclean_shutdown()) {
            let stays = new.isr.contains(id) || new.elr.contains(id) || !new.replicas.contains(id);
            assert!(
                stays,
                "{id} had everything, and {new:?} does not know it (min ISR {min_isr}, before {old:?}; {:?})",
                self.command
            );
        }
    }
}

fn run(seed: u64, bug: Bug) {
    let mut random = chance(seed);
    let mut cluster = Decider::planted(bug).with_brokers(3);
    for _ in 0..COMMANDS {
        cluster.now_ms += below(&mut random, 2_000) as i64;
        let before = cluster.image();
        let proposed = match below(&mut random, 20) {
            0..9 => proposal(&before, &mut random),
            9 => lost_directory(&before, &mut random),
            _ => None,
        };
        let command = proposed.unwrap_or_else(|| command(&before, &mut random));
        let reply = cluster.ask(command.clone());
        let after = cluster.image();
        Step { cluster: &cluster, command: &command, reply: &reply, before: &before, after: &after }.check();
    }
}

#[test]
fn in_sync_is_who_proved_it_and_nobody_else_leads() {
    let seeds = match std::env::var("SEEDS") {
        Ok(range) => {
            let (from, to) = range.split_once("..").expect("a range such as 1000..2000");
            from.parse().unwrap()..to.parse().unwrap()
        }
        Err(_) => SEEDS,
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(|| run(seed, Bug::None)) {
            eprintln!("again: SEEDS={seed}..{} cargo test -p metadata --test isr", seed + 1);
            std::panic::resume_unwind(panic);
        }
    }
}

/// Each mistake that the product must not make is made, and found.
#[test]
fn every_planted_bug_is_found() {
    let bugs = [
        Bug::StaleBrokerJoins,
        Bug::FencedBrokerJoins,
        Bug::IgnorePartitionEpoch,
        Bug::IgnoreLeaderEpoch,
        Bug::KeepUncleanEligible,
        Bug::ForgetEligible,
        Bug::ElectUncleanUnasked,
    ];
    let mut missed = Vec::new();
    for bug in bugs {
        match (0..SEEDS_FOR_BUGS).find(|seed| catch_unwind(|| run(*seed, bug)).is_err()) {
            Some(seed) => eprintln!("{bug:?}: found by seed {seed}"),
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found within {SEEDS_FOR_BUGS} seeds: {missed:?}");
}
