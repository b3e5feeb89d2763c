//! What a cluster is made of, as Metadata answers it.

use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::{DescribeClusterResponse, MetadataRequest, MetadataResponse};
use wire::{ErrorCode, Uuid};

use crate::{Error, Reply};

/// What DescribeCluster is asked about (KIP-919): a broker knows brokers, a controller knows controllers.
pub(crate) const BROKERS: i8 = 1;
pub(crate) const CONTROLLERS: i8 = 2;

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub id: i32,
    pub host: String,
    pub port: u16,
    pub rack: Option<String>,
}

/// Which topics Metadata is asked about.
#[derive(Clone, Copy, Debug)]
pub enum Topics<'t> {
    All,
    /// Only the nodes.
    None,
    Names(&'t [String]),
    /// By id (Metadata 12 and later).
    Ids(&'t [Uuid]),
}

impl<'t> Topics<'t> {
    pub(crate) fn request(self, create: bool) -> MetadataRequest<'t> {
        let topics = match self {
            Topics::All => None,
            Topics::None => Some(Vec::new()),
            Topics::Names(names) => Some(
                names
                    .iter()
                    .map(|n| MetadataRequestTopic { name: Some(n.as_str().into()), ..Default::default() })
                    .collect(),
            ),
            Topics::Ids(ids) => Some(
                ids.iter().map(|id| MetadataRequestTopic { topic_id: *id, name: None, ..Default::default() }).collect(),
            ),
        };
        MetadataRequest {
            topics: topics.map(|t: Vec<_>| t.into()),
            allow_auto_topic_creation: create,
            ..Default::default()
        }
    }
}

/// Brokers before Kafka 2.4 may hand on leader epochs that are over while replicas are reassigned.
const RELIABLE_EPOCHS_FROM: i16 = 9;

/// An answer to Metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Of the answer, for warnings.
    pub correlation_id: i32,
    pub cluster_id: Option<String>,
    pub controller: Option<i32>,
    pub nodes: Vec<Node>,
    pub topics: Vec<Topic>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub error: ErrorCode,
    /// Empty when it was asked for by an id that does not exist.
    pub name: String,
    /// Zero where the broker does not know ids.
    pub id: Uuid,
    pub is_internal: bool,
    /// By index.
    pub partitions: Vec<Partition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub error: ErrorCode,
    pub index: i32,
    pub leader: Option<i32>,
    /// -1 where the broker does not tell.
    pub leader_epoch: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
}

impl Metadata {
    pub(crate) fn read(reply: &Reply) -> Result<Metadata, Error> {
        let response: MetadataResponse<'_> = reply.decode()?;
        Error::check(ErrorCode::from_code(response.error_code), None)?;
        let nodes = response
            .brokers
            .iter()
            .map(|b| Node {
                id: b.node_id,
                host: b.host.to_string(),
                port: b.port as u16,
                rack: b.rack.as_deref().map(str::to_owned),
            })
            .collect();
        let topics = response
            .topics
            .iter()
            .map(|t| {
                let mut partitions: Vec<Partition> = t
                    .partitions
                    .iter()
                    .map(|p| Partition {
                        error: ErrorCode::from_code(p.error_code),
                        index: p.partition_index,
                        leader: (p.leader_id >= 0).then_some(p.leader_id),
                        leader_epoch: if reply.version >= RELIABLE_EPOCHS_FROM { p.leader_epoch } else { -1 },
                        replicas: p.replica_nodes.to_vec(),
                        isr: p.isr_nodes.to_vec(),
                    })
                    .collect();
                partitions.sort_by_key(|p| p.index);
                Topic {
                    error: ErrorCode::from_code(t.error_code),
                    name: t.name.as_deref().unwrap_or_default().to_owned(),
                    id: t.topic_id,
                    is_internal: t.is_internal,
                    partitions,
                }
            })
            .collect();
        Ok(Metadata {
            correlation_id: reply.correlation_id,
            cluster_id: response.cluster_id.as_deref().map(str::to_owned),
            controller: (response.controller_id >= 0).then_some(response.controller_id),
            nodes,
            topics,
        })
    }

    /// The controllers, as one of them tells them (KIP-919).
    pub(crate) fn of_controllers(reply: &Reply) -> Result<Metadata, Error> {
        let response: DescribeClusterResponse<'_> = reply.decode()?;
        Error::check(ErrorCode::from_code(response.error_code), response.error_message.as_deref())?;
        let nodes = response.brokers.iter().map(|one| Node {
            id: one.broker_id,
            host: one.host.to_string(),
            port: one.port as u16,
            rack: one.rack.as_deref().map(str::to_owned),
        });
        Ok(Metadata {
            correlation_id: reply.correlation_id,
            cluster_id: Some(response.cluster_id.to_string()),
            controller: (response.controller_id >= 0).then_some(response.controller_id),
            nodes: nodes.collect(),
            topics: Vec::new(),
        })
    }

    /// A topic by its name.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.iter().find(|t| t.name == name)
    }

    pub fn node(&self, id: i32) -> Option<&Node> {
        self.nodes.iter().find(|n| n.id == id)
    }
}
