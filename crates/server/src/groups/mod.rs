//! Consumer groups: the partitions of `__consumer_offsets` that this node leads, each with its coordinator.
//!
//! [`Groups::follow`] brings the coordinators in line with the partitions; a request goes to the [`Slot`] of its group's
//! partition by [`Groups::ask`]. A slot is a mutex around a quiet [`coordinator::Shard`]: whoever asks it also appends the
//! records that it wants written, and whoever waits for others (JoinGroup, SyncGroup) holds the end of a channel.
//!
//! Invariants: no lock is held across an append or anything that waits; records reach the log in the order in which the
//! shard gave them out; without members there is no timer.

mod expiry;
mod load;
mod slot;
mod timer;

use crate::config::BrokerConfig;
use crate::internal_topics::GROUP_OFFSETS;
use crate::node::Node;
use crate::partitions::Cell;
use arc_swap::ArcSwap;
use coordinator::store::Store;
use coordinator::{Config, DescribedGroup, ListedGroup, Now, Reply, Request};
use metadata::image::{Delta, Image};
use replication::Role;
use slot::Slot;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use timer::Timer;
use tokio::runtime::Handle;
use tracing::warn;
use wire::records::Codec;
use wire::{ErrorCode, Uuid};

/// How long FindCoordinator waits for the offsets topic to be there and loaded, before it sends the client away.
const READY_WAIT: Duration = Duration::from_secs(5);
/// How often it looks for a leader that is not known yet.
const LEADER_POLL: Duration = Duration::from_millis(20);

type Slots = BTreeMap<i32, Arc<Slot>>;

/// All groups that this node coordinates.
pub struct Groups {
    config: Config,
    codec: Codec,
    commit_timeout: Duration,
    load_buffer: usize,
    runtime: Handle,
    origin: Instant,
    chance: (RandomState, AtomicU64),
    slots: ArcSwap<Slots>,
    /// Held while `slots` is replaced.
    changing: Mutex<()>,
    /// Held by who creates the offsets topic.
    creating: tokio::sync::Mutex<()>,
    timer: Timer,
}

impl Groups {
    /// To be called within the runtime that shall load the coordinators.
    pub fn new(config: &BrokerConfig) -> Groups {
        Groups {
            config: Config {
                min_session_timeout_ms: config.group_min_session_timeout_ms,
                max_session_timeout_ms: config.group_max_session_timeout_ms,
                max_size: config.group_max_size,
                initial_rebalance_delay_ms: config.group_initial_rebalance_delay_ms,
                offset_metadata_max_bytes: config.offset_metadata_max_bytes,
                ..Config::default()
            },
            codec: config.offsets_topic.compression,
            commit_timeout: config.offsets_commit_timeout,
            load_buffer: config.offsets_load_buffer_size,
            runtime: Handle::current(),
            origin: Instant::now(),
            chance: Default::default(),
            slots: ArcSwap::default(),
            changing: Mutex::new(()),
            creating: tokio::sync::Mutex::new(()),
            timer: Timer::default(),
        }
    }

    /// The time as coordinators see it.
    fn now(&self, node: &Node) -> Now {
        Now { steady_ms: self.origin.elapsed().as_millis() as i64, wall_ms: node.clock.now_ms() }
    }

    /// Chance for a member's id. The hasher's keys are the system's randomness.
    pub fn random_id(&self) -> Uuid {
        let (keys, count) = &self.chance;
        let count = count.fetch_add(1, Ordering::Relaxed);
        let [high, low] = [0, 1].map(|half| keys.hash_one((count, half)));
        Uuid(((u128::from(high) << 64) | u128::from(low)).to_be_bytes())
    }

    /// Takes up the partitions of the offsets topic that this node leads now, gives up the others, and forgets the
    /// offsets of topics that were deleted. To be called after every change of the partitions; cheap when the change
    /// concerns neither.
    pub fn follow(&self, node: &Arc<Node>, delta: &Delta) {
        // The controller's thread is not one of the runtime's, but what is written here may want a sync.
        let _runtime = self.runtime.enter();
        let table = node.partitions.table();
        let offsets_id = table.by_name(GROUP_OFFSETS).map(|topic| topic.id);
        let removed = |id: &Uuid| delta.removed_topics.get(id).is_some_and(|topic| &*topic.name == GROUP_OFFSETS);
        drop(table);
        if offsets_id.is_some_and(|id| delta.topics.contains_key(&id)) || delta.removed_topics.keys().any(removed) {
            self.take_up(node);
        }
        for (id, topic) in delta.removed_topics.iter().filter(|(_, topic)| &*topic.name != GROUP_OFFSETS) {
            for slot in self.slots.load().values() {
                slot.topic_deleted(node, &topic.name, *id);
            }
        }
    }

    /// As [`Groups::follow`], for a node that has just come up.
    pub fn take_up(&self, node: &Arc<Node>) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.slots.load_full();
        let led = led(node);
        let mut slots = Slots::new();
        let mut to_load = Vec::new();
        for (index, (cell, epoch)) in led {
            match old.get(&index).filter(|slot| slot.epoch == epoch && Arc::ptr_eq(&slot.cell, &cell)) {
                Some(slot) => slots.insert(index, slot.clone()),
                None => {
                    let slot = Arc::new(Slot::new(cell, epoch, 0));
                    to_load.push(slot.clone());
                    slots.insert(index, slot)
                }
            };
        }
        let given_up: Vec<_> = old
            .values()
            .filter(|slot| slots.get(&slot.cell.index).is_none_or(|kept| !Arc::ptr_eq(kept, slot)))
            .cloned()
            .collect();
        if !slots.is_empty() {
            self.timer.start(node);
        }
        self.slots.store(Arc::new(slots));
        for slot in given_up {
            slot.give_up(node, ErrorCode::NotCoordinator);
        }
        load::load(node, to_load);
    }

    /// Puts a fresh slot in the place of one that cannot go on, and loads it, after so many loads that failed.
    fn reload(&self, node: &Arc<Node>, slot: &Arc<Slot>, failures: u32) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slots = Slots::clone(&self.slots.load());
        let index = slot.cell.index;
        if slots.get(&index).is_none_or(|current| !Arc::ptr_eq(current, slot)) {
            return;
        }
        let fresh = Arc::new(Slot::new(slot.cell.clone(), slot.epoch, failures));
        slots.insert(index, fresh.clone());
        self.slots.store(Arc::new(slots));
        load::load(node, vec![fresh]);
    }

    /// The partition that a group belongs to: by the topic as it is, or as it would be made.
    fn partition_of(&self, node: &Node, group_id: &str) -> i32 {
        let image = node.image();
        let count = image.topics.by_name(GROUP_OFFSETS).map(|topic| topic.partitions.len() as i32);
        coordinator::partition_for(group_id, count.unwrap_or(node.config.offsets_topic.num_partitions).max(1))
    }

    fn slot(&self, node: &Node, group_id: &str) -> Result<Arc<Slot>, ErrorCode> {
        let index = self.partition_of(node, group_id);
        self.slots.load().get(&index).cloned().ok_or(ErrorCode::NotCoordinator)
    }

    /// Asks the coordinator of `group_id`.
    ///
    /// # Errors
    /// When the id is empty and must not be (INVALID_GROUP_ID), there is none here (NOT_COORDINATOR), it is still loading, or
    /// the log does not take its records in time.
    pub async fn ask(&self, node: &Arc<Node>, group_id: &str, request: Request) -> Result<Reply, ErrorCode> {
        // Kafka refuses these before it looks for the coordinator.
        let of_a_named_group = matches!(
            request,
            Request::Join(_) | Request::Sync(_) | Request::Heartbeat(_) | Request::Leave(_) | Request::DeleteOffsets(_)
        );
        if group_id.is_empty() && of_a_named_group {
            return Err(ErrorCode::InvalidGroupId);
        }
        let slot = self.slot(node, group_id)?;
        match request {
            // These wait for other members, as long as those may take.
            Request::Join(_) | Request::Sync(_) => slot.ask(node, request).await,
            // A member must not be frightened by a load, nor wait for it: it is not counted as silent meanwhile.
            Request::Heartbeat(_) if slot.is_loading() => Ok(Reply::Heartbeat(ErrorCode::None)),
            _ => match tokio::time::timeout(self.commit_timeout, slot.ask(node, request)).await {
                Ok(answer) => answer,
                Err(_) => Err(ErrorCode::CoordinatorNotAvailable),
            },
        }
    }

    pub async fn describe(&self, node: &Arc<Node>, group_id: &str) -> Result<DescribedGroup, ErrorCode> {
        let slot = self.slot(node, group_id)?;
        slot.ready(self.commit_timeout).await?;
        slot.with_shard(|shard| shard.describe(group_id))
    }

    /// All groups that this node coordinates.
    pub async fn list(&self) -> Result<Vec<ListedGroup>, ErrorCode> {
        let slots = self.slots.load_full();
        let mut groups = Vec::new();
        for slot in slots.values() {
            slot.ready(self.commit_timeout).await?;
            groups.extend(slot.with_shard(|shard| shard.list()).unwrap_or_default());
        }
        Ok(groups)
    }

    /// What is committed in each partition that is served.
    pub fn stores(&self) -> Vec<Store> {
        self.slots.load().values().filter_map(|slot| slot.with_shard(|shard| shard.store().clone()).ok()).collect()
    }

    /// The groups that are served now, without waiting for those that are still being loaded.
    pub fn served(&self) -> Vec<ListedGroup> {
        self.slots.load().values().filter_map(|slot| slot.with_shard(|shard| shard.list()).ok()).flatten().collect()
    }

    /// The broker that coordinates a group. Creates the offsets topic at its first use, and answers as soon as it can be
    /// used: Kafka sends the client away meanwhile, and some clients do not come back soon.
    pub async fn coordinator_of(&self, node: &Arc<Node>, group_id: &str) -> Result<i32, ErrorCode> {
        let ready = async {
            self.create_topic(node).await?;
            loop {
                let index = self.partition_of(node, group_id);
                let leader = leader(&node.image(), index);
                match leader {
                    Some(leader) if leader == node.node_id => match self.slot(node, group_id) {
                        Ok(slot) => return slot.ready(READY_WAIT).await.map(|()| leader),
                        Err(_) => tokio::time::sleep(LEADER_POLL).await,
                    },
                    Some(leader) => return Ok(leader),
                    None => tokio::time::sleep(LEADER_POLL).await,
                }
            }
        };
        match tokio::time::timeout(READY_WAIT, ready).await {
            Ok(Ok(leader)) => Ok(leader),
            Ok(Err(_)) | Err(_) => Err(ErrorCode::CoordinatorNotAvailable),
        }
    }

    async fn create_topic(&self, node: &Arc<Node>) -> Result<(), ErrorCode> {
        let exists = || node.image().topics.by_name(GROUP_OFFSETS).is_some();
        if exists() {
            return Ok(());
        }
        let _creating = self.creating.lock().await;
        if exists() {
            return Ok(());
        }
        node.create_topic(node.group_offsets_topic()).await.map_err(|refusal| {
            let reason = refusal.message.as_deref().unwrap_or(refusal.code.name());
            warn!(topic = GROUP_OFFSETS, reason, "the topic that groups need cannot be created");
            refusal.code
        })
    }

    /// Answers who waits for other members, as this node is about to stop.
    pub fn release_waiting(&self, node: &Arc<Node>) {
        for slot in self.slots.load().values() {
            slot.release_waiting(node);
        }
    }
}

fn leader(image: &Image, index: i32) -> Option<i32> {
    let partition = image.topics.by_name(GROUP_OFFSETS)?.partition(index)?;
    partition.has_leader().then_some(partition.leader)
}

/// The partitions of the offsets topic that this node leads.
fn led(node: &Node) -> Vec<(i32, (Arc<Cell>, i32))> {
    let table = node.partitions.table();
    let cells = table.by_name(GROUP_OFFSETS).into_iter().flat_map(|topic| topic.partitions.iter().flatten());
    cells
        .filter_map(|cell| match cell.lock().role() {
            Role::Leader { epoch } => Some((cell.index, (cell.clone(), epoch))),
            Role::Follower { .. } => None,
        })
        .collect()
}
