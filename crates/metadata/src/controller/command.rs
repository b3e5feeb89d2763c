//! Everything the active controller can be asked, and the controller that answers.

use std::sync::Arc;

use wire::messages::MetadataRecord;
use wire::{ErrorCode, Uuid};

use super::{
    AlterConfigsReply, AlterPartition, AlteredPartition, AssignedReplicas, BrokerHeartbeat, BrokerRegistration,
    ConfigChanges, Context, CreatePartitionsReply, CreateTopicsReply, Decision, DeletedTopic, ElectedPartition,
    ElectionType, FeatureUpdate, HeartbeatReply, Heartbeats, MorePartitions, NewSettings, NewTopic, NodeSettings,
    ProducerIdBlock, Random, ReassignPartition, ReassignedPartition, Refusal, TopicRef,
};
use crate::image::{ControllerRegistration, Image, MetadataVersion, TopicIdPartition};
use crate::machine::{Committed, Draft, Machine};
use crate::quorum::fit_one_batch;

/// A request to the controller. Who may ask is checked before.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    CreateTopics {
        topics: Vec<NewTopic>,
        validate_only: bool,
    },
    DeleteTopics(Vec<TopicRef>),
    CreatePartitions {
        topics: Vec<MorePartitions>,
        validate_only: bool,
    },
    IncrementalAlterConfigs {
        resources: Vec<ConfigChanges>,
        validate_only: bool,
    },
    AlterConfigs {
        resources: Vec<NewSettings>,
        validate_only: bool,
    },
    RegisterBroker(BrokerRegistration),
    Heartbeat(BrokerHeartbeat),
    /// A broker's process is known to have ended; the epoch is the one it served under.
    BrokerGone {
        broker_id: i32,
        broker_epoch: i64,
    },
    UnregisterBroker(i32),
    RegisterController(ControllerRegistration),
    AllocateProducerIds {
        broker_id: i32,
        broker_epoch: i64,
    },
    AlterPartitions {
        broker_id: i32,
        broker_epoch: i64,
        partitions: Vec<AlterPartition>,
    },
    /// `None`: every partition.
    ElectLeaders {
        election: ElectionType,
        partitions: Option<Vec<(String, Vec<i32>)>>,
    },
    AlterPartitionReassignments {
        partitions: Vec<ReassignPartition>,
        allow_replication_factor_change: bool,
    },
    AssignReplicasToDirs {
        broker_id: i32,
        broker_epoch: i64,
        assignments: Vec<(Uuid, Vec<TopicIdPartition>)>,
    },
    UpdateFeatures {
        updates: Vec<FeatureUpdate>,
        /// The quorum's own level, which is not in the image.
        kraft_version: i16,
        validate_only: bool,
    },
    /// Looks for brokers that have not been heard for a session.
    Tick,
    /// Looks for partitions that nobody leads and somebody may.
    ElectForLeaderless,
}

/// The answer to the command of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    CreateTopics(CreateTopicsReply),
    DeleteTopics(Vec<DeletedTopic>),
    CreatePartitions(CreatePartitionsReply),
    IncrementalAlterConfigs(AlterConfigsReply),
    AlterConfigs(AlterConfigsReply),
    /// The broker's epoch.
    RegisterBroker(Result<i64, Refusal>),
    Heartbeat(Result<HeartbeatReply, Refusal>),
    UnregisterBroker(Result<(), Refusal>),
    RegisterController(Result<(), Refusal>),
    AllocateProducerIds(Result<ProducerIdBlock, Refusal>),
    AlterPartitions(Result<Vec<AlteredPartition>, Refusal>),
    ElectLeaders(Result<Vec<ElectedPartition>, Refusal>),
    AlterPartitionReassignments(Vec<ReassignedPartition>),
    AssignReplicasToDirs(Result<AssignedReplicas, Refusal>),
    UpdateFeatures(Result<(), Refusal>),
    /// BrokerGone, Tick and ElectForLeaderless.
    Done,
}

/// The records of one command, as they are to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    pub records: Vec<MetadataRecord<'static>>,
    /// The level that the records were decided at, which may be newer than what is committed.
    pub metadata_version: MetadataVersion,
}

/// The active controller: the image as a machine, with what it knows beside the log.
pub struct Controller {
    cluster_id: String,
    settings: NodeSettings,
    machine: Machine<Image, Reply>,
    heartbeats: Heartbeats,
}

impl Controller {
    /// `image` is what the log says up to `next_offset`, all of it committed.
    pub fn new(
        cluster_id: &str,
        settings: NodeSettings,
        session_timeout_ms: i64,
        image: Image,
        next_offset: i64,
        now_ms: i64,
    ) -> Self {
        let heartbeats = Heartbeats::new(&image, session_timeout_ms, now_ms);
        let machine = Machine::new(image, next_offset);
        Controller { cluster_id: cluster_id.to_owned(), settings, machine, heartbeats }
    }

    /// What is committed.
    pub fn image(&self) -> &Arc<Image> {
        self.machine.published()
    }

    /// Where the next batch of records goes in the log.
    pub fn next_offset(&self) -> i64 {
        self.machine.next_offset()
    }

    /// Where the first batch begins that is not committed, or the next one would.
    pub fn in_flight_from(&self) -> i64 {
        self.machine.in_flight_from()
    }

    /// The log got something that is not the controller's, and ends at `next_offset` now.
    pub fn continue_at(&mut self, next_offset: i64) {
        self.machine.continue_at(next_offset);
    }

    pub fn settings(&self) -> &NodeSettings {
        &self.settings
    }

    pub fn context(&self) -> Context<'_> {
        Context { cluster_id: &self.cluster_id, settings: &self.settings }
    }

    /// Decides commands together, each seeing those before it. Returns the records of each, to append at
    /// [`Controller::next_offset`] (as it was before the call); the replies come out of [`Controller::committed`], one
    /// for each command, in order.
    pub fn submit(
        &mut self,
        commands: impl IntoIterator<Item = Command>,
        now_ms: i64,
        random: &mut dyn Random,
    ) -> Vec<Decided> {
        self.heartbeats.looks(now_ms);
        let mut draft = self.machine.draft();
        let mut decisions = Vec::new();
        for command in commands {
            let (metadata_version, before) = (draft.state().metadata_version(), draft.records().len());
            self.decide(&mut draft, command, now_ms, random);
            decisions.push((metadata_version, draft.records().len() - before));
        }
        let mut records = self.machine.submit(draft).into_iter();
        let decided = decisions.into_iter().map(|(metadata_version, count)| {
            let records = records.by_ref().take(count).collect();
            Decided { records, metadata_version }
        });
        decided.collect()
    }

    /// Takes in records that were decided elsewhere: at activation. No reply comes of them.
    pub fn write(&mut self, records: Vec<MetadataRecord<'static>>) -> Decided {
        let metadata_version = self.image().metadata_version();
        let mut draft = self.machine.draft();
        draft.write(records);
        Decided { records: self.machine.submit(draft), metadata_version }
    }

    /// The log has committed everything below `end_offset`.
    pub fn committed(&mut self, end_offset: i64) -> Vec<Committed<Image, Reply>> {
        self.machine.committed(end_offset)
    }

    /// The append or its sync failed: what was in flight is dropped. Returns how many commands got no reply.
    pub fn failed(&mut self, log_end_offset: i64) -> usize {
        self.machine.failed(log_end_offset).len()
    }

    fn decide(&mut self, draft: &mut Draft<Image, Reply>, command: Command, now_ms: i64, random: &mut dyn Random) {
        let image = draft.state();
        let metadata_version = image.metadata_version();
        let next_offset = draft.next_offset();
        let context = Context { cluster_id: &self.cluster_id, settings: &self.settings };
        let decision = match command {
            Command::CreateTopics { topics, validate_only } => {
                super::create_topics(image, &context, &topics, validate_only, random).map(Reply::CreateTopics)
            }
            Command::DeleteTopics(topics) => super::delete_topics(image, &topics).map(Reply::DeleteTopics),
            Command::CreatePartitions { topics, validate_only } => {
                super::create_partitions(image, &topics, validate_only, random).map(Reply::CreatePartitions)
            }
            Command::IncrementalAlterConfigs { resources, validate_only } => {
                super::incremental_alter_configs(image, &context, &resources, validate_only)
                    .map(Reply::IncrementalAlterConfigs)
            }
            Command::AlterConfigs { resources, validate_only } => {
                super::alter_configs(image, &context, &resources, validate_only).map(Reply::AlterConfigs)
            }
            Command::RegisterBroker(request) => {
                // A broker with this node's id is in this very process: who had it before was its former one.
                let has_session =
                    request.broker_id != self.settings.node_id && self.heartbeats.holds(image, &request, now_ms);
                let decision = super::register_broker(image, &context, &request, next_offset, has_session);
                if decision.reply.is_ok() {
                    self.heartbeats.registered(request.broker_id, now_ms);
                }
                decision.map(Reply::RegisterBroker)
            }
            Command::Heartbeat(request) => {
                self.heartbeats.heartbeat(image, &context, &request, next_offset, now_ms).map(Reply::Heartbeat)
            }
            Command::BrokerGone { broker_id, broker_epoch } => {
                let gone = super::check_broker_epoch(image, broker_id, broker_epoch).ok();
                if gone.is_some() {
                    self.heartbeats.forget(broker_id);
                }
                let records = gone.map(|broker| super::fence_broker(image, &context, broker)).unwrap_or_default();
                Decision::new(records, Reply::Done)
            }
            Command::UnregisterBroker(id) => super::unregister_broker(image, &context, id).map(Reply::UnregisterBroker),
            Command::RegisterController(request) => {
                super::register_controller(image, &request).map(Reply::RegisterController)
            }
            Command::AllocateProducerIds { broker_id, broker_epoch } => {
                super::allocate_producer_ids(image, broker_id, broker_epoch).map(Reply::AllocateProducerIds)
            }
            Command::AlterPartitions { broker_id, broker_epoch, partitions } => {
                super::alter_partitions(image, &context, broker_id, broker_epoch, &partitions)
                    .map(Reply::AlterPartitions)
            }
            Command::ElectLeaders { election, partitions } => {
                super::elect_leaders(image, &context, election, partitions.as_deref())
                    .map(|results| Reply::ElectLeaders(Ok(results)))
            }
            Command::AlterPartitionReassignments { partitions, allow_replication_factor_change } => {
                super::alter_partition_reassignments(image, &context, &partitions, allow_replication_factor_change)
                    .map(Reply::AlterPartitionReassignments)
            }
            Command::AssignReplicasToDirs { broker_id, broker_epoch, assignments } => {
                super::assign_replicas_to_dirs(image, &context, broker_id, broker_epoch, &assignments)
                    .map(Reply::AssignReplicasToDirs)
            }
            Command::UpdateFeatures { updates, kraft_version, validate_only } => {
                super::update_features(image, &context, kraft_version, &updates, validate_only)
                    .map(Reply::UpdateFeatures)
            }
            Command::ElectForLeaderless => Decision::new(super::elect_for_leaderless(image, &context), Reply::Done),
            Command::Tick => {
                // One at a time: the next decision must see what became of this one's partitions.
                let stale = self.heartbeats.stale(image, now_ms).next().and_then(|id| image.cluster.broker(id));
                let records = stale.map(|broker| super::fence_broker(image, &context, broker)).unwrap_or_default();
                Decision::new(records, Reply::Done)
            }
        };
        draft.push(whole_or_refused(decision, metadata_version));
    }
}

/// A decision that a client asked for is in the log as a whole or not at all, also when the leader ends meanwhile. So it is
/// refused, as Apache Kafka does it, where it does not fit into one batch. The records of other decisions stand each for
/// itself: what is missing of them the next controller decides anew. But each must fit, which lists in it may prevent.
fn whole_or_refused(decision: Decision<Reply>, metadata_version: MetadataVersion) -> Decision<Reply> {
    let records = &decision.records;
    let fits = match &decision.reply {
        Reply::CreateTopics(_)
        | Reply::DeleteTopics(_)
        | Reply::CreatePartitions(_)
        | Reply::IncrementalAlterConfigs(_)
        | Reply::AlterConfigs(_)
        | Reply::ElectLeaders(_)
        | Reply::AlterPartitionReassignments(_)
        | Reply::UpdateFeatures(_) => fit_one_batch(records, metadata_version),
        Reply::RegisterBroker(_) | Reply::RegisterController(_) => {
            records.iter().all(|record| fit_one_batch(std::slice::from_ref(record), metadata_version))
        }
        _ => true,
    };
    match fits {
        true => decision,
        false => Decision::reply(decision.reply.refused(&Refusal::new(ErrorCode::PolicyViolation, TOO_LARGE))),
    }
}

const TOO_LARGE: &str = "Unable to perform excessively large batch operation.";

impl Reply {
    /// The reply when nothing is done of what was asked.
    fn refused(self, refusal: &Refusal) -> Reply {
        let each = |mut results: AlterConfigsReply| {
            results.iter_mut().for_each(|(_, result)| *result = Err(refusal.clone()));
            results
        };
        match self {
            Reply::CreateTopics(_) => Reply::CreateTopics(Err(refusal.clone())),
            Reply::CreatePartitions(_) => Reply::CreatePartitions(Err(refusal.clone())),
            Reply::ElectLeaders(_) => Reply::ElectLeaders(Err(refusal.clone())),
            Reply::UpdateFeatures(_) => Reply::UpdateFeatures(Err(refusal.clone())),
            Reply::RegisterBroker(_) => Reply::RegisterBroker(Err(refusal.clone())),
            Reply::RegisterController(_) => Reply::RegisterController(Err(refusal.clone())),
            Reply::IncrementalAlterConfigs(results) => Reply::IncrementalAlterConfigs(each(results)),
            Reply::AlterConfigs(results) => Reply::AlterConfigs(each(results)),
            Reply::DeleteTopics(mut topics) => {
                topics.iter_mut().for_each(|topic| topic.result = Err(refusal.clone()));
                Reply::DeleteTopics(topics)
            }
            Reply::AlterPartitionReassignments(mut partitions) => {
                partitions.iter_mut().for_each(|(.., result)| *result = Err(refusal.clone()));
                Reply::AlterPartitionReassignments(partitions)
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::messages::PartitionChangeRecord;

    #[test]
    fn elections_that_do_not_fit_into_one_batch_are_refused_together() {
        let elected = |partition_id| {
            let record = PartitionChangeRecord { partition_id, leader: 2, ..PartitionChangeRecord::default() };
            MetadataRecord::PartitionChange(record)
        };
        let decided = |count: i32| {
            let results = (0..count).map(|partition| ("t".to_owned(), partition, Ok(()))).collect();
            let records: Vec<_> = (0..count).map(elected).collect();
            whole_or_refused(Decision::new(records, Reply::ElectLeaders(Ok(results))), MetadataVersion::LATEST)
        };
        let Decision { records, reply } = decided(500_000);
        let refused = Refusal::new(ErrorCode::PolicyViolation, TOO_LARGE);
        assert_eq!((records.len(), reply), (0, Reply::ElectLeaders(Err(refused))));
        let Decision { records, reply } = decided(10_000);
        assert!(
            records.len() == 10_000 && matches!(reply, Reply::ElectLeaders(Ok(results)) if results.len() == 10_000)
        );
    }
}
