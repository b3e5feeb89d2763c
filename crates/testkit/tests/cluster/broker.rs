//! What a server does as a broker: registration and heartbeats, the partitions that it holds, their logs and checkpoints.

use crate::copies::Moving;
use crate::groups;
use crate::machine::Phase;
use crate::plan::SESSION_MS;
use crate::quorum::Asked;
use crate::replicas::Following;
use crate::world::{CLUSTER, Happening, To, World};
use ::broker::{Command as Order, reconcile, reconcile_all};
use broker::Kept;
use metadata::controller::{AlterPartition, BrokerHeartbeat, BrokerRegistration, Command, Reply};
use metadata::image::features::SUPPORTED;
use metadata::image::{Delta, Endpoint, Image, LeaderRecoveryState, SupportedFeature, Topic, TopicIdPartition};
use replication::{Assignment, Partition, Role};
use std::collections::BTreeSet;
use std::sync::Arc;
use storage::{Fault, Shutdown, SyncRequest};
use wire::{ErrorCode, Uuid};

/// A partition's replica.
pub struct Cell {
    pub topic: Arc<str>,
    pub index: i32,
    /// The log directory that it is in.
    pub dir: usize,
    pub partition: Partition,
    pub is_syncing: bool,
    /// The directory made for it has yet to be synced.
    pub is_new: bool,
}

const WHILE_FENCED_MS: i64 = 40;
const HEARTBEAT_MS: i64 = SESSION_MS / 5;

impl World {
    /// The node has the state of the cluster, and makes itself known.
    pub fn caught_up(&mut self, to: To) {
        let Some(process) = self.process(to) else { return };
        process.phase = Phase::Registering;
        let epochs = process.dirs.iter().map(|dir| dir.log_dir.clean_shutdown_broker_epoch().unwrap_or(-1));
        process.kept = match process.shutdown {
            Shutdown::Clean => epochs.min().map_or(Kept::Unknown, Kept::Until),
            Shutdown::Killed => Kept::All,
            Shutdown::PowerCut => Kept::Unknown,
        };
        // What lost records is recovered before anybody is told that the loss is known.
        let image = process.metadata.image().clone();
        for order in reconcile_all(&image, to.id) {
            if let Order::Hold { topic, partition, directory, .. } = order
                && let Err(fault) = self.open_cell(to, &image, &topic, partition, directory)
            {
                return self.node_fails(to, &fault);
            }
        }
        self.register(to);
    }

    fn register(&mut self, to: To) {
        let Some(process) = self.process(to) else { return };
        let log_dirs: Vec<Uuid> = process.dirs.iter().map(|dir| dir.id).collect();
        let registration = BrokerRegistration {
            broker_id: to.id,
            cluster_id: CLUSTER.to_owned(),
            incarnation_id: Uuid::from_u128(1_000 + u128::from(to.process)),
            endpoints: vec![Endpoint {
                name: "PLAINTEXT".to_owned(),
                host: "127.0.0.1".to_owned(),
                port: 9092 + to.id as u16,
                security_protocol: 0,
            }],
            features: SUPPORTED
                .iter()
                .map(|(name, min, max)| SupportedFeature { name: (*name).to_owned(), min: *min, max: *max })
                .collect(),
            rack: None,
            is_migrating_zk_broker: false,
            previous_broker_epoch: process.kept.previous_epoch(process.metadata.image(), to.id, &log_dirs),
            log_dirs,
        };
        self.ask_controller(to, Asked::Registration, Command::RegisterBroker(registration));
    }

    /// Everything that was asked of the controller, once: its answer, or that none came.
    pub fn replied(&mut self, to: To, number: u64, reply: Result<Reply, ErrorCode>) {
        let Some(asked) = self.process(to).and_then(|process| process.asked.remove(&number)) else { return };
        match asked {
            Asked::Registration => match reply {
                Ok(Reply::RegisterBroker(Ok(epoch))) => self.registered(to, epoch),
                refused => self.say(|| format!("{} is not registered: {refused:?}", to.id)),
            },
            Asked::Heartbeat => match reply {
                Ok(Reply::Heartbeat(Ok(answer))) if answer.should_shut_down => self.stop_in_order(to),
                Ok(Reply::Heartbeat(Err(refusal))) if refusal.code == ErrorCode::StaleBrokerEpoch => {
                    let Some(process) = self.process(to) else { return };
                    process.kept = Kept::Unknown;
                    self.register(to);
                }
                _ => {}
            },
            Asked::AlterPartitions(proposals) => self.altered(to, &proposals, reply),
            Asked::ProducerIds => self.producer_ids_came(to, reply),
            Asked::LostReplicas(until_ms) => self.lost_replicas_told(to, until_ms, reply),
            Asked::LostDirs(until_ms) => self.lost_dirs_told(to, until_ms, reply),
            Asked::Assignments(keys) => self.assigned(to, keys, reply),
            Asked::Moved(key, dir) => self.copy_assigned(to, key, dir, reply),
            Asked::Admin(wish) => self.wish_answered(wish, reply),
        }
    }

    fn registered(&mut self, to: To, epoch: i64) {
        let known = self.machines[&to.id].loss_is_known();
        let Some(process) = self.process(to) else { return };
        process.broker_epoch = epoch;
        if process.phase == Phase::Registering {
            process.phase = Phase::Registered;
        }
        let is_there = process.phase == Phase::Registered && process.image.offset >= epoch;
        self.say(|| format!("{} is registered under {epoch}", to.id));
        if let Err(fault) = known {
            self.fails(to, &fault);
        }
        self.checks.registered(to.id);
        if is_there {
            self.take_up(to);
        }
    }

    pub fn beat(&mut self, to: To) {
        let steady_until = if self.is_healed() { 200 } else { HEARTBEAT_MS };
        let Some(process) = self.process(to) else { return };
        let is_fenced = process.image.cluster.broker(to.id).is_none_or(|broker| broker.fenced);
        let next_ms = if is_fenced || process.wants_shut_down { WHILE_FENCED_MS } else { steady_until };
        let is_asking = process.asked.values().any(|asked| matches!(asked, Asked::Registration));
        match process.phase {
            Phase::Waiting => {}
            Phase::Registering if is_asking => {}
            Phase::Registering => self.register(to),
            Phase::Registered | Phase::Serving if is_asking => {}
            Phase::Registered | Phase::Serving => {
                let is_beating = process.asked.values().filter(|asked| matches!(asked, Asked::Heartbeat)).count() > 2;
                let beat = BrokerHeartbeat {
                    broker_id: to.id,
                    broker_epoch: process.broker_epoch,
                    current_metadata_offset: process.image.offset,
                    want_shut_down: process.wants_shut_down,
                    offline_log_dirs: process.offline_dirs(),
                    ..BrokerHeartbeat::default()
                };
                if !is_beating && process.phase == Phase::Serving {
                    self.ask_controller(to, Asked::Heartbeat, Command::Heartbeat(beat));
                }
            }
        }
        self.at(next_ms, to, Happening::Beat);
    }

    /// Takes all roles of the state that has this node's registration.
    pub fn take_up(&mut self, to: To) {
        let Some(process) = self.process(to) else { return };
        process.phase = Phase::Serving;
        let image = process.image.clone();
        self.carry_out(to, &image, reconcile_all(&image, to.id));
        self.put_aside_unknown(to);
        self.follow_groups(to);
    }

    pub fn follow_state(&mut self, to: To, image: &Arc<Image>, change: &Delta) {
        self.carry_out(to, image, reconcile(image, change, to.id));
        self.follow_groups(to);
        self.forget_offsets(to, change);
    }

    /// What the server's reconciler does.
    fn carry_out(&mut self, to: To, image: &Image, orders: Vec<Order>) {
        let Some(process) = self.process(to) else { return };
        let active = image.cluster.brokers().filter(|broker| broker.is_active());
        process.brokers.set(active.map(|broker| (broker.id, broker.epoch)));
        let (mut made, mut failed) = (BTreeSet::new(), Vec::new());
        for order in orders {
            match order {
                Order::Hold { topic, partition, directory, assignment } => {
                    failed.extend(self.hold(to, image, (&topic, partition, directory), &assignment, &mut made).err());
                }
                Order::Drop { topic_id, partition, .. } => {
                    let key = TopicIdPartition { topic_id, partition };
                    if let Err(fault) = self.drop_cell(to, key) {
                        self.fails(to, &fault);
                    }
                }
                Order::Configure { topic } => self.configure(to, image, &topic),
                Order::Know { .. } | Order::Forget { .. } | Order::ConfigureAll => {}
            }
        }
        if let Some(process) = self.process(to) {
            failed.extend(made.into_iter().filter_map(|at: usize| process.dirs[at].log_dir.sync().err()));
        }
        for fault in failed {
            self.fails(to, &fault);
        }
    }

    fn hold(
        &mut self,
        to: To,
        image: &Image,
        (topic, index, directory): (&Topic, i32, Uuid),
        assignment: &Assignment,
        made: &mut BTreeSet<usize>,
    ) -> Result<(), Fault> {
        let key = TopicIdPartition { topic_id: topic.id, partition: index };
        let settings = self.plan.settings(image, &topic.name);
        if !self.process(to).is_some_and(|process| process.cells.contains_key(&key)) {
            if !self.process(to).is_some_and(|process| process.opened.contains_key(&key)) {
                self.open_cell(to, image, topic, index, directory)?;
            }
            if let Some(process) = self.process(to)
                && let Some((mut cell, copy)) = process.opened.remove(&key)
            {
                // It may have been opened under an earlier state.
                cell.partition.set_settings(settings);
                made.extend(Some(cell.dir).filter(|_| cell.is_new));
                process.cells.insert(key, cell);
                if let Some((dir, log)) = copy {
                    self.begin_copy(to, key, Moving::new(dir, log));
                }
            }
        }
        let steady_ms = self.steady_ms(to.id);
        let Some(process) = self.process(to) else { return Ok(()) };
        let Some(cell) = process.cells.get_mut(&key) else { return Ok(()) };
        cell.partition.assign_under(settings, assignment, steady_ms)?;
        let role = cell.partition.role();
        self.checks.touch(to.id, key);
        if let Role::Leader { epoch } = role
            && let Err(why) = self.checks.leads(key, epoch, to.id)
        {
            self.checks.lost(why);
        }
        self.say(|| {
            format!(
                "{} sees epoch {} of {}-{index}, isr {:?}, elr {:?}: {role:?}",
                to.id,
                assignment.partition_epoch,
                topic.name,
                assignment.isr,
                topic.partition(index).map(|partition| &*partition.elr)
            )
        });
        self.follow(to, key, role);
        self.sync(to, key);
        self.propose_soon(to, key);
        self.look_at_directory(to, key, directory);
        Ok(())
    }

    /// A topic's settings changed.
    fn configure(&mut self, to: To, image: &Image, topic: &str) {
        let settings = self.plan.settings(image, topic);
        let Some(process) = self.process(to) else { return };
        let mut keys = Vec::new();
        for (key, cell) in process.cells.iter_mut().filter(|(_, cell)| *cell.topic == *topic) {
            cell.partition.set_settings(settings);
            keys.push(*key);
        }
        for key in keys {
            self.checks.touch(to.id, key);
        }
    }

    fn drop_cell(&mut self, to: To, key: TopicIdPartition) -> Result<(), Fault> {
        let unique = Uuid::from_u128(u128::from(self.chance.next()));
        let given_up = self.give_up_copy(to, key);
        if let Err(fault) = given_up {
            self.fails(to, &fault);
        }
        let Some(process) = self.process(to) else { return Ok(()) };
        let Some(mut cell) = process.cells.remove(&key) else { return Ok(()) };
        cell.partition.resign();
        for following in process.fetchers.values_mut() {
            following.fetcher.remove(key);
        }
        let dir = &process.dirs[cell.dir].log_dir;
        // The server removes it a while later.
        let removed = dir.mark_deleted(&cell.topic, cell.index, unique).and_then(|path| dir.remove(&path));
        self.machines.get_mut(&to.id).unwrap().must_have.remove(&key);
        self.checks.dropped(to.id, key);
        self.say(|| format!("{} drops {}-{}", to.id, cell.topic, cell.index));
        removed
    }

    /// ISRs, checkpoints, what housekeeping does.
    pub fn watch(&mut self, to: To) {
        let (wall_ms, steady_ms, checkpoint) = (self.wall_ms(to.id), self.steady_ms(to.id), self.chance.is(20));
        self.controller_tick(to);
        let Some(process) = self.process(to) else { return };
        for cell in process.cells.values_mut() {
            cell.partition.tick(steady_ms);
            if let Some(request) = cell.partition.log_mut().remove_deleted(wall_ms) {
                drop(request.run()); // tried again
            }
        }
        let written = if checkpoint && process.phase == Phase::Serving { process.write_checkpoints() } else { Ok(()) };
        if let Err(fault) = written {
            self.fails(to, &fault);
        }
        let Some(process) = self.process(to) else { return };
        let keys: Vec<_> = process.cells.keys().copied().collect();
        for key in keys {
            self.checks.touch(to.id, key);
            self.sync(to, key);
        }
        self.propose(to);
        self.at(200, to, Happening::Watch);
    }

    /// Begins a sync where one is due.
    pub fn sync(&mut self, to: To, key: TopicIdPartition) {
        // Disks are slow now and then.
        let most_ms = if !self.is_healed() && self.chance.is(3) { 400 } else { 8 };
        let (delay_ms, is_idle) = (1 + self.chance.below(most_ms), self.chance.is(1));
        let Some(cell) = self.process(to).and_then(|process| process.cells.get_mut(&key)) else { return };
        if cell.is_syncing || !cell.partition.is_behind() && !is_idle {
            return;
        }
        if let Some(request) = cell.partition.sync_request() {
            cell.is_syncing = true;
            self.at(delay_ms, to, Happening::Synced(key, request));
        }
    }

    pub fn synced(&mut self, to: To, key: TopicIdPartition, request: &SyncRequest) {
        let ran = request.run();
        let Some(cell) = self.process(to).and_then(|process| process.cells.get_mut(&key)) else { return };
        cell.is_syncing = false;
        if let Err(fault) = ran {
            return self.fails(to, &fault);
        }
        cell.partition.synced(request.offset());
        if let Role::Follower { leader, .. } = cell.partition.role() {
            self.place(to, leader, key);
        }
        self.checks.touch(to.id, key);
        self.sync(to, key);
    }

    /// A leader may have a change of its ISR to propose.
    pub fn propose_soon(&mut self, to: To, key: TopicIdPartition) {
        let Some(process) = self.process(to) else { return };
        let has_one = process.cells.get(&key).is_some_and(|cell| cell.partition.proposal().is_some());
        if has_one && !process.is_altering {
            self.at(0, to, Happening::Propose);
        }
    }

    /// Brings all proposals to the controller, one request at a time.
    pub fn propose(&mut self, to: To) {
        let Some(process) = self.process(to) else { return };
        if process.is_altering || process.phase != Phase::Serving {
            return;
        }
        let cells = process.cells.iter();
        let proposals: Vec<_> = cells.filter_map(|(key, cell)| Some((*key, cell.partition.proposal()?))).collect();
        if proposals.is_empty() {
            return;
        }
        process.is_altering = true;
        let shrinks = |(key, proposal): &(TopicIdPartition, replication::Proposal)| {
            let cell = process.cells.get(key).filter(|cell| proposal.isr.len() < cell.partition.isr().len());
            cell.map(|cell| cell.topic.clone())
        };
        let shrinking: Option<Arc<str>> = proposals.iter().find_map(shrinks);
        let partitions = proposals.iter().map(|(key, proposal)| AlterPartition {
            key: *key,
            leader_epoch: proposal.leader_epoch,
            partition_epoch: proposal.partition_epoch,
            new_isr: proposal.isr.clone(),
            leader_recovery_state: LeaderRecoveryState::Recovered,
        });
        let command = Command::AlterPartitions {
            broker_id: to.id,
            broker_epoch: process.broker_epoch,
            partitions: partitions.collect(),
        };
        if let Some(topic) = shrinking {
            self.isr_shrinks(&topic);
        }
        self.ask_controller(to, Asked::AlterPartitions(proposals), command);
    }

    fn altered(
        &mut self,
        to: To,
        proposals: &[(TopicIdPartition, replication::Proposal)],
        reply: Result<Reply, ErrorCode>,
    ) {
        let steady_ms = self.steady_ms(to.id);
        let reply = match reply {
            Ok(Reply::AlterPartitions(Ok(results))) => Ok(results),
            Ok(Reply::AlterPartitions(Err(refusal))) => Err(refusal.code),
            Ok(_) => Err(ErrorCode::UnknownServerError),
            Err(code) => Err(code),
        };
        let Some(process) = self.process(to) else { return };
        process.is_altering = false;
        let mut again = false;
        for (key, proposal) in proposals {
            let Some(cell) = process.cells.get_mut(key) else { continue };
            let result = match &reply {
                Ok(results) => {
                    let found = results.iter().find(|altered| altered.key == *key);
                    let result = found.map_or(Err(ErrorCode::UnknownServerError), |altered| altered.result.clone());
                    result.map(|partition| ::broker::agreed(&partition))
                }
                Err(code) => Err(*code),
            };
            again |= cell.partition.proposal_answered(proposal, result.as_ref().map_err(|code| *code), steady_ms);
        }
        for (key, _) in proposals {
            self.checks.touch(to.id, *key);
        }
        if again {
            self.at(50, to, Happening::Propose);
        } else {
            self.propose(to);
        }
    }

    /// The role of a partition tells whom it follows.
    fn follow(&mut self, to: To, key: TopicIdPartition, role: Role) {
        let leader = match role {
            Role::Follower { leader, .. } if leader >= 0 && leader != to.id => Some(leader),
            _ => None,
        };
        let Some(process) = self.process(to) else { return };
        let others =
            process.fetchers.iter().filter(|(from, f)| Some(**from) != leader && f.fetcher.position(key).is_some());
        for from in others.map(|(from, _)| *from).collect::<Vec<_>>() {
            // A thread that is busy with an answer hears of it later.
            if !self.is_healed() && self.chance.is(10) {
                let delay_ms = self.chance.below(100);
                self.at(delay_ms, to, Happening::FetchNoMore(from, key));
            } else {
                self.fetch_no_more(to, from, key);
            }
        }
        let Some(process) = self.process(to) else { return };
        if let Some(leader) = leader {
            process.fetchers.entry(leader).or_insert_with(|| Following::new(to.id));
            self.place(to, leader, key);
        }
    }

    pub fn forget_offsets(&mut self, to: To, change: &Delta) {
        for (id, topic) in change.removed_topics.iter().filter(|(_, topic)| !groups::is_offsets(&topic.name)) {
            self.topic_deleted(to, &topic.name, *id);
        }
    }
}
