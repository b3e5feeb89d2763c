//! Commands of this node to a controller in another process.
//!
//! There are two connections: one on which this broker lives for the controller (registration, heartbeats), whose end tells
//! it that the process may be gone, and one for the rest, which may take its time.

use crate::quorum::convert::Address;
use crate::quorum::peers::Peers;
use client::{Connection, Error};
use metadata::controller::{
    AlterPartition, AlteredPartition, AssignedReplicas, BrokerHeartbeat, BrokerRegistration, Command, CreatedTopic,
    HeartbeatReply, NewTopic, ProducerIdBlock, Refusal, Reply,
};
use metadata::image::{ControllerRegistration, LeaderRecoveryState, Partition, TopicIdPartition};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Mutex;
use wire::messages::*;
use wire::{ErrorCode, Uuid};

/// A request may take as long at the controller, in ms.
const TIMEOUT_MS: i32 = 30_000;

/// See the module.
pub struct RemoteController {
    peers: Arc<Peers>,
    life: Slot,
    work: Slot,
}

type Slot = Mutex<Option<(Address, Connection)>>;

impl RemoteController {
    pub fn new(peers: Arc<Peers>) -> RemoteController {
        RemoteController { peers, life: Slot::default(), work: Slot::default() }
    }

    /// Where a node of the quorum can be reached.
    pub fn address(&self, id: i32) -> Option<Address> {
        self.peers.address(id)
    }

    /// Remembers where a node of the quorum can be reached.
    pub fn learn(&self, id: i32, address: Address) {
        self.peers.learn(id, address);
    }

    /// Whether this node sends such a command to other nodes. The rest comes from clients, and is forwarded as it came.
    pub fn serves(command: &Command) -> bool {
        use Command as C;
        matches!(
            command,
            C::CreateTopics { .. }
                | C::RegisterBroker(_)
                | C::RegisterController(_)
                | C::Heartbeat(_)
                | C::AllocateProducerIds { .. }
                | C::AlterPartitions { .. }
                | C::AssignReplicasToDirs { .. }
        )
    }

    /// Asks the node that leads.
    ///
    /// # Errors
    /// NOT_CONTROLLER when it does not answer, or does not lead any more.
    pub async fn ask(&self, leader: i32, command: &Command) -> Result<Reply, ErrorCode> {
        if !RemoteController::serves(command) {
            return Err(ErrorCode::NotController);
        }
        let slot = match command {
            Command::RegisterBroker(_) | Command::Heartbeat(_) => &self.life,
            _ => &self.work,
        };
        let lost = |_: Error| ErrorCode::NotController;
        let connection = self.connection(slot, leader).await.map_err(lost)?;
        let reply = exchange(&connection, command).await.map_err(lost)?;
        match &reply {
            Reply::RegisterBroker(Err(refusal))
            | Reply::Heartbeat(Err(refusal))
            | Reply::RegisterController(Err(refusal))
            | Reply::AllocateProducerIds(Err(refusal))
            | Reply::AlterPartitions(Err(refusal))
            | Reply::AssignReplicasToDirs(Err(refusal))
                if refusal.code == ErrorCode::NotController =>
            {
                Err(ErrorCode::NotController)
            }
            Reply::CreateTopics(Ok(topics)) if topics.iter().any(|(_, result)| is_not_controller(result)) => {
                Err(ErrorCode::NotController)
            }
            _ => Ok(reply),
        }
    }

    /// A connection to the node that leads, for requests of clients.
    pub async fn for_clients(&self, leader: i32) -> Result<Connection, Error> {
        self.connection(&self.work, leader).await
    }

    async fn connection(&self, slot: &Slot, leader: i32) -> Result<Connection, Error> {
        let unknown = || Error::Disconnected(format!("the address of controller {leader} is not known"));
        let address = self.peers.address(leader).ok_or_else(unknown)?;
        let mut slot = slot.lock().await;
        if let Some((to, connection)) = &*slot
            && *to == address
            && connection.is_open()
        {
            return Ok(connection.clone());
        }
        let connection = self.peers.connect(&address).await?;
        *slot = Some((address, connection.clone()));
        Ok(connection)
    }
}

fn is_not_controller(result: &Result<CreatedTopic, Refusal>) -> bool {
    matches!(result, Err(refusal) if refusal.code == ErrorCode::NotController)
}

/// Asks a controller over `connection`.
///
/// # Errors
/// The connection's, or a command that is not for other nodes.
pub async fn exchange(connection: &Connection, command: &Command) -> Result<Reply, Error> {
    Ok(match command {
        Command::RegisterBroker(registration) => {
            let reply = connection.call(&register_broker(registration)).await?;
            let response: BrokerRegistrationResponse = reply.decode()?;
            Reply::RegisterBroker(checked(response.error_code).map(|()| response.broker_epoch))
        }
        Command::Heartbeat(heartbeat) => {
            let reply = connection.call(&beat(heartbeat)).await?;
            let response: BrokerHeartbeatResponse = reply.decode()?;
            Reply::Heartbeat(checked(response.error_code).map(|()| HeartbeatReply {
                is_caught_up: response.is_caught_up,
                is_fenced: response.is_fenced,
                in_controlled_shutdown: heartbeat.want_shut_down && !response.should_shut_down,
                should_shut_down: response.should_shut_down,
            }))
        }
        Command::RegisterController(registration) => {
            let reply = connection.call(&register_controller(registration)).await?;
            let response: ControllerRegistrationResponse<'_> = reply.decode()?;
            Reply::RegisterController(match ErrorCode::from_code(response.error_code) {
                ErrorCode::None => Ok(()),
                code => Err(Refusal { code, message: response.error_message.map(|text| text.to_string()) }),
            })
        }
        Command::AllocateProducerIds { broker_id, broker_epoch } => {
            let request = AllocateProducerIdsRequest { broker_id: *broker_id, broker_epoch: *broker_epoch };
            let reply = connection.call(&request).await?;
            let response: AllocateProducerIdsResponse = reply.decode()?;
            let block = ProducerIdBlock { first: response.producer_id_start, count: response.producer_id_len };
            Reply::AllocateProducerIds(checked(response.error_code).map(|()| block))
        }
        Command::AlterPartitions { broker_id, broker_epoch, partitions } => {
            let reply = connection.call(&alter_partitions(*broker_id, *broker_epoch, partitions)).await?;
            let response: AlterPartitionResponse<'_> = reply.decode()?;
            Reply::AlterPartitions(checked(response.error_code).map(|()| altered(&response)))
        }
        Command::AssignReplicasToDirs { broker_id, broker_epoch, assignments } => {
            let reply = connection.call(&assign(*broker_id, *broker_epoch, assignments)).await?;
            let response: AssignReplicasToDirsResponse<'_> = reply.decode()?;
            Reply::AssignReplicasToDirs(checked(response.error_code).map(|()| assigned(&response)))
        }
        Command::CreateTopics { topics, validate_only } => {
            let reply = connection.call(&create_topics(topics, *validate_only)).await?;
            let response: CreateTopicsResponse<'_> = reply.decode()?;
            Reply::CreateTopics(Ok(created(&response)))
        }
        other => return Err(Error::Unsupported(format!("{other:?} is not sent to other nodes"))),
    })
}

fn checked(code: i16) -> Result<(), Refusal> {
    match ErrorCode::from_code(code) {
        ErrorCode::None => Ok(()),
        code => Err(Refusal::with_default_text(code)),
    }
}

fn register_broker(registration: &BrokerRegistration) -> BrokerRegistrationRequest<'_> {
    use broker_registration_request::{Feature, Listener};
    BrokerRegistrationRequest {
        broker_id: registration.broker_id,
        cluster_id: registration.cluster_id.as_str().into(),
        incarnation_id: registration.incarnation_id,
        listeners: registration
            .endpoints
            .iter()
            .map(|endpoint| Listener {
                name: endpoint.name.as_str().into(),
                host: endpoint.host.as_str().into(),
                port: endpoint.port,
                security_protocol: endpoint.security_protocol,
            })
            .collect(),
        features: registration
            .features
            .iter()
            .map(|feature| Feature {
                name: feature.name.as_str().into(),
                min_supported_version: feature.min,
                max_supported_version: feature.max,
            })
            .collect(),
        rack: registration.rack.as_deref().map(Into::into),
        is_migrating_zk_broker: registration.is_migrating_zk_broker,
        log_dirs: registration.log_dirs.clone().into(),
        previous_broker_epoch: registration.previous_broker_epoch,
    }
}

fn register_controller(registration: &ControllerRegistration) -> ControllerRegistrationRequest<'_> {
    use controller_registration_request::{Feature, Listener};
    ControllerRegistrationRequest {
        controller_id: registration.id,
        incarnation_id: registration.incarnation_id,
        zk_migration_ready: registration.zk_migration_ready,
        listeners: registration
            .endpoints
            .iter()
            .map(|endpoint| Listener {
                name: endpoint.name.as_str().into(),
                host: endpoint.host.as_str().into(),
                port: endpoint.port,
                security_protocol: endpoint.security_protocol,
            })
            .collect(),
        features: registration
            .features
            .iter()
            .map(|feature| Feature {
                name: feature.name.as_str().into(),
                min_supported_version: feature.min,
                max_supported_version: feature.max,
            })
            .collect(),
    }
}

fn beat(heartbeat: &BrokerHeartbeat) -> BrokerHeartbeatRequest<'static> {
    BrokerHeartbeatRequest {
        broker_id: heartbeat.broker_id,
        broker_epoch: heartbeat.broker_epoch,
        current_metadata_offset: heartbeat.current_metadata_offset,
        want_fence: heartbeat.want_fence,
        want_shut_down: heartbeat.want_shut_down,
        offline_log_dirs: heartbeat.offline_log_dirs.clone().into(),
        cordoned_log_dirs: heartbeat.cordoned_log_dirs.clone().map(Into::into),
    }
}

fn alter_partitions(
    broker_id: i32,
    broker_epoch: i64,
    partitions: &[AlterPartition],
) -> AlterPartitionRequest<'static> {
    use alter_partition_request::{BrokerState, PartitionData, TopicData};
    let mut topics: BTreeMap<Uuid, Vec<PartitionData<'static>>> = BTreeMap::new();
    for one in partitions {
        let state =
            |(broker_id, broker_epoch): &(i32, i64)| BrokerState { broker_id: *broker_id, broker_epoch: *broker_epoch };
        topics.entry(one.key.topic_id).or_default().push(PartitionData {
            partition_index: one.key.partition,
            leader_epoch: one.leader_epoch,
            new_isr: Vec::new().into(),
            new_isr_with_epochs: one.new_isr.iter().map(state).collect(),
            leader_recovery_state: one.leader_recovery_state.value(),
            partition_epoch: one.partition_epoch,
        });
    }
    let topic = |(topic_id, partitions): (Uuid, Vec<PartitionData<'static>>)| TopicData {
        topic_id,
        partitions: partitions.into(),
    };
    AlterPartitionRequest { broker_id, broker_epoch, topics: topics.into_iter().map(topic).collect() }
}

/// The answer says only what a leader needs to know; the rest of the partition comes with the metadata log.
fn altered(response: &AlterPartitionResponse<'_>) -> Vec<AlteredPartition> {
    let mut all = Vec::new();
    for topic in response.topics.iter() {
        for partition in topic.partitions.iter() {
            let state = Partition {
                replicas: Box::default(),
                directories: Box::default(),
                isr: partition.isr.values().collect(),
                removing_replicas: Box::default(),
                adding_replicas: Box::default(),
                elr: Box::default(),
                last_known_elr: Box::default(),
                leader: partition.leader_id,
                leader_epoch: partition.leader_epoch,
                partition_epoch: partition.partition_epoch,
                leader_recovery_state: LeaderRecoveryState::from_value(partition.leader_recovery_state)
                    .unwrap_or(LeaderRecoveryState::Recovered),
            };
            let result = match ErrorCode::from_code(partition.error_code) {
                ErrorCode::None => Ok(state),
                code => Err(code),
            };
            let key = TopicIdPartition { topic_id: topic.topic_id, partition: partition.partition_index };
            all.push(AlteredPartition { key, result });
        }
    }
    all
}

fn assign(
    broker_id: i32,
    broker_epoch: i64,
    assignments: &[(Uuid, Vec<TopicIdPartition>)],
) -> AssignReplicasToDirsRequest<'static> {
    use assign_replicas_to_dirs_request::{DirectoryData, PartitionData, TopicData};
    let directory = |(id, partitions): &(Uuid, Vec<TopicIdPartition>)| {
        let mut topics: BTreeMap<Uuid, Vec<PartitionData>> = BTreeMap::new();
        for key in partitions {
            topics.entry(key.topic_id).or_default().push(PartitionData { partition_index: key.partition });
        }
        let topic =
            |(topic_id, partitions): (Uuid, Vec<PartitionData>)| TopicData { topic_id, partitions: partitions.into() };
        DirectoryData { id: *id, topics: topics.into_iter().map(topic).collect() }
    };
    AssignReplicasToDirsRequest { broker_id, broker_epoch, directories: assignments.iter().map(directory).collect() }
}

fn assigned(response: &AssignReplicasToDirsResponse<'_>) -> AssignedReplicas {
    let mut all = Vec::new();
    for directory in response.directories.iter() {
        for topic in directory.topics.iter() {
            for partition in topic.partitions.iter() {
                let key = TopicIdPartition { topic_id: topic.topic_id, partition: partition.partition_index };
                let result = match ErrorCode::from_code(partition.error_code) {
                    ErrorCode::None => Ok(()),
                    code => Err(code),
                };
                all.push((directory.id, key, result));
            }
        }
    }
    all
}

fn create_topics(topics: &[NewTopic], validate_only: bool) -> CreateTopicsRequest<'_> {
    use create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
    let topic = |topic: &NewTopic| CreatableTopic {
        name: topic.name.clone().into(),
        num_partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|(partition_index, brokers)| CreatableReplicaAssignment {
                partition_index: *partition_index,
                broker_ids: brokers.clone().into(),
            })
            .collect(),
        configs: topic
            .configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig {
                name: name.clone().into(),
                value: value.clone().map(Into::into),
            })
            .collect(),
    };
    CreateTopicsRequest { topics: topics.iter().map(topic).collect(), timeout_ms: TIMEOUT_MS, validate_only }
}

fn created(response: &CreateTopicsResponse<'_>) -> Vec<(String, Result<CreatedTopic, Refusal>)> {
    let topic = |topic: &create_topics_response::CreatableTopicResult<'_>| {
        let result = match ErrorCode::from_code(topic.error_code) {
            ErrorCode::None => Ok(CreatedTopic {
                topic_id: topic.topic_id,
                num_partitions: topic.num_partitions,
                replication_factor: topic.replication_factor,
            }),
            code => Err(Refusal { code, message: topic.error_message.as_ref().map(|text| text.to_string()) }),
        };
        (topic.name.to_string(), result)
    };
    response.topics.iter().map(|one| topic(&one)).collect()
}
