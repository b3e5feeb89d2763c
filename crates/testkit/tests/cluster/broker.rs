//! What a server does as a broker: registration and heartbeats, the partitions that it holds, their logs and checkpoints.

use crate::groups;
use crate::machine::{Phase, directory};
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
use storage::{Claim, DirName, Disk, Fault, Log, OpenMode, Shutdown, SyncRequest, partition_dir};
use wire::{ErrorCode, Uuid};

/// A partition's replica.
pub struct Cell {
    pub topic: Arc<str>,
    pub index: i32,
    pub partition: Partition,
    pub is_syncing: bool,
    /// The directory made for it has yet to be synced.
    is_new: bool,
}

const WHILE_FENCED_MS: i64 = 40;
const HEARTBEAT_MS: i64 = SESSION_MS / 5;

impl World {
    /// The node has the state of the cluster, and makes itself known.
    pub fn caught_up(&mut self, to: To) {
        let Some(process) = self.process(to) else { return };
        process.phase = Phase::Registering;
        process.kept = match process.dir.shutdown() {
            Shutdown::Clean => process.dir.clean_shutdown_broker_epoch().map_or(Kept::Unknown, Kept::Until),
            Shutdown::Killed => Kept::All,
            Shutdown::PowerCut => Kept::Unknown,
        };
        // What lost records is recovered before anybody is told that the loss is known.
        let image = process.metadata.image().clone();
        for order in reconcile_all(&image, to.id) {
            if let Order::Hold { topic, partition, .. } = order
                && let Err(fault) = self.open_cell(to, &topic, partition)
            {
                return self.node_fails(to, &fault);
            }
        }
        self.register(to);
    }

    fn register(&mut self, to: To) {
        let Some(process) = self.process(to) else { return };
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
            log_dirs: vec![directory(to.id)],
            previous_broker_epoch: process.kept.previous_epoch(process.metadata.image(), to.id, &[directory(to.id)]),
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
            return self.node_fails(to, &fault);
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
        let mut is_new = false;
        for order in orders {
            match order {
                Order::Hold { topic, partition, assignment, .. } => {
                    if let Err(fault) = self.hold(to, &topic, partition, &assignment, &mut is_new) {
                        return self.node_fails(to, &fault);
                    }
                }
                Order::Drop { topic_id, partition, .. } => {
                    let key = TopicIdPartition { topic_id, partition };
                    if let Err(fault) = self.drop_cell(to, key) {
                        return self.node_fails(to, &fault);
                    }
                }
                Order::Know { .. } | Order::Forget { .. } | Order::Configure { .. } | Order::ConfigureAll => {}
            }
        }
        if is_new && let Some(Err(fault)) = self.process(to).map(|process| process.dir.sync()) {
            self.node_fails(to, &fault);
        }
    }

    fn hold(
        &mut self,
        to: To,
        topic: &Topic,
        index: i32,
        assignment: &Assignment,
        is_new: &mut bool,
    ) -> Result<(), Fault> {
        let key = TopicIdPartition { topic_id: topic.id, partition: index };
        if !self.process(to).is_some_and(|process| process.cells.contains_key(&key)) {
            if !self.process(to).is_some_and(|process| process.opened.contains_key(&key)) {
                self.open_cell(to, topic, index)?;
            }
            if let Some(process) = self.process(to)
                && let Some(cell) = process.opened.remove(&key)
            {
                *is_new |= cell.is_new;
                process.cells.insert(key, cell);
            }
        }
        let wall_ms = self.wall_ms(to.id);
        let Some(process) = self.process(to) else { return Ok(()) };
        let cell = process.cells.get_mut(&key).unwrap();
        cell.partition.assign(assignment, wall_ms)?;
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
        Ok(())
    }

    /// Opens a partition's log ahead of its use, or makes it.
    fn open_cell(&mut self, to: To, topic: &Topic, index: i32) -> Result<(), Fault> {
        let (wall_ms, settings, config) = (self.wall_ms(to.id), self.plan.settings(), self.plan.log_config());
        let key = TopicIdPartition { topic_id: topic.id, partition: index };
        let machine = self.machines.get_mut(&to.id).unwrap();
        let disk: Arc<dyn Disk> = machine.disk.arc();
        let process = machine.process.as_mut().unwrap();
        let path = process.dir.partition_path(&topic.name, index);
        let is_there = process.dir.claim(&topic.name, index, topic.id)? == Claim::Ours;
        let name = (topic.name.to_string(), index);
        let mode = OpenMode {
            shutdown: if is_there { process.dir.shutdown() } else { Shutdown::Clean },
            recovery_point: if is_there { process.recovery_points.get(&name).copied().unwrap_or(0) } else { 0 },
            ..OpenMode::default()
        };
        if !is_there {
            process.dir.forget(&[name.clone()].into())?;
        }
        let log = match is_there {
            true => Log::open(disk, &path, config, Some(topic.id), mode, wall_ms)?.0,
            false => Log::create(disk, &path, config, Some(topic.id), mode, wall_ms)?,
        };
        let high_watermark = if is_there { process.high_watermarks.get(&name).copied().unwrap_or(0) } else { 0 };
        let (start, end) = (log.log_start_offset(), log.log_end_offset());
        let partition = Partition::new(to.id, log, settings, process.brokers.clone(), high_watermark);
        let cell = Cell { topic: topic.name.clone(), index, partition, is_syncing: false, is_new: !is_there };
        process.opened.insert(key, cell);
        let must_have = machine.must_have.remove(&key).unwrap_or(0);
        self.checks.opened(to.id, key);
        self.say(|| {
            format!(
                "{} opens {}-{index} ({is_there}) from {start} to {end}, {high_watermark} committed",
                to.id, topic.name
            )
        });
        if end < must_have {
            self.checks.lost(format!(
                "{}-{index} on {} ends at {end}, and {must_have} was committed or acknowledged",
                topic.name, to.id
            ));
        }
        Ok(())
    }

    fn drop_cell(&mut self, to: To, key: TopicIdPartition) -> Result<(), Fault> {
        let unique = Uuid::from_u128(u128::from(self.chance.next()));
        let Some(process) = self.process(to) else { return Ok(()) };
        let Some(mut cell) = process.cells.remove(&key) else { return Ok(()) };
        cell.partition.resign();
        for following in process.fetchers.values_mut() {
            following.fetcher.remove(key);
        }
        let path = process.dir.mark_deleted(&cell.topic, cell.index, unique)?;
        // The server does it a while later.
        process.dir.remove(&path)?;
        self.machines.get_mut(&to.id).unwrap().must_have.remove(&key);
        self.checks.dropped(to.id, key);
        self.say(|| format!("{} drops {}-{}", to.id, cell.topic, cell.index));
        Ok(())
    }

    /// Partitions that nobody claimed after the start belong to topics that were deleted meanwhile, or moved elsewhere.
    fn put_aside_unknown(&mut self, to: To) {
        let machine = self.machines.get_mut(&to.id).unwrap();
        let disk = machine.disk.arc();
        let Some(process) = machine.process.as_mut() else { return };
        machine.must_have.clear();
        process.opened.clear();
        let Ok(found) = process.dir.directories() else { return };
        let known: BTreeSet<_> = process.cells.values().map(|c| (c.topic.to_string(), c.index)).collect();
        for (path, name) in found {
            if let DirName::Partition { topic, partition } = name
                && topic != metadata::controller::METADATA_TOPIC
                && !known.contains(&(topic, partition))
            {
                let id = partition_dir::read_metadata(&*disk, &path).ok().flatten().unwrap_or(Uuid::ZERO);
                if let Err(fault) = process.dir.put_aside(&path, id) {
                    return self.node_fails(to, &fault);
                }
            }
        }
    }

    /// ISRs, checkpoints, what housekeeping does.
    pub fn watch(&mut self, to: To) {
        let (wall_ms, checkpoint) = (self.wall_ms(to.id), self.chance.is(20));
        self.controller_tick(to);
        let Some(process) = self.process(to) else { return };
        for cell in process.cells.values_mut() {
            cell.partition.tick(wall_ms);
            if let Some(request) = cell.partition.log_mut().remove_deleted(wall_ms) {
                drop(request.run()); // tried again
            }
        }
        let written = if checkpoint && process.phase == Phase::Serving { process.write_checkpoints() } else { Ok(()) };
        if let Err(fault) = written {
            return self.node_fails(to, &fault);
        }
        let keys: Vec<_> = self.process(to).unwrap().cells.keys().copied().collect();
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
            return self.node_fails(to, &fault);
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
        self.ask_controller(to, Asked::AlterPartitions(proposals), command);
    }

    fn altered(
        &mut self,
        to: To,
        proposals: &[(TopicIdPartition, replication::Proposal)],
        reply: Result<Reply, ErrorCode>,
    ) {
        let wall_ms = self.wall_ms(to.id);
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
            again |= cell.partition.proposal_answered(proposal, result.as_ref().map_err(|code| *code), wall_ms);
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
