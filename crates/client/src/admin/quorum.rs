//! The quorum behind the cluster's state (KIP-595, 836, 853).

use wire::messages::describe_quorum_request::{PartitionData, TopicData};
use wire::messages::{DescribeQuorumRequest, DescribeQuorumResponse, describe_quorum_response};
use wire::{ErrorCode, Uuid};

use super::Admin;
use crate::{Error, To};

const METADATA_TOPIC: &str = "__cluster_metadata";

/// How far one of the quorum is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaState {
    pub id: i32,
    /// Zero where it is not known.
    pub directory_id: Uuid,
    pub log_end_offset: i64,
    /// In ms since 1970; `None` where it is not known.
    pub last_fetch_ms: Option<i64>,
    pub last_caught_up_ms: Option<i64>,
}

/// Where one of the quorum listens: `NAME://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumNode {
    pub id: i32,
    pub endpoints: Vec<String>,
}

/// The quorum as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumDescription {
    pub leader_id: i32,
    pub leader_epoch: i32,
    pub high_watermark: i64,
    pub voters: Vec<ReplicaState>,
    pub observers: Vec<ReplicaState>,
    pub nodes: Vec<QuorumNode>,
}

impl Admin {
    /// Asks for the quorum of the cluster.
    pub async fn describe_quorum(&self) -> Result<QuorumDescription, Error> {
        let build = |_| {
            let partitions = vec![PartitionData { partition_index: 0 }].into();
            Ok(DescribeQuorumRequest {
                topics: vec![TopicData { topic_name: METADATA_TOPIC.into(), partitions }].into(),
            })
        };
        let read = |reply: &crate::Reply| {
            let response: DescribeQuorumResponse<'_> = reply.decode()?;
            Error::check(ErrorCode::from_code(response.error_code), response.error_message.as_deref())?;
            let missing = || Error::Protocol("The quorum's answer has no partition".to_owned());
            let topic = response.topics.first().ok_or_else(missing)?;
            let partition = topic.partitions.first().ok_or_else(missing)?;
            Error::check(ErrorCode::from_code(partition.error_code), partition.error_message.as_deref())?;
            Ok(QuorumDescription {
                leader_id: partition.leader_id,
                leader_epoch: partition.leader_epoch,
                high_watermark: partition.high_watermark,
                voters: partition.current_voters.iter().map(|state| replica(&state)).collect(),
                observers: partition.observers.iter().map(|state| replica(&state)).collect(),
                nodes: response
                    .nodes
                    .iter()
                    .map(|node| QuorumNode {
                        id: node.node_id,
                        endpoints: node
                            .listeners
                            .iter()
                            .map(|l| match l.host.contains(':') {
                                true => format!("{}://[{}]:{}", l.name, l.host, l.port),
                                false => format!("{}://{}:{}", l.name, l.host, l.port),
                            })
                            .collect(),
                    })
                    .collect(),
            })
        };
        self.client.send(&To::AnyOrLeader, "describeMetadataQuorum", build, read).await
    }
}

fn replica(state: &describe_quorum_response::ReplicaState) -> ReplicaState {
    let known = |ms: i64| Some(ms).filter(|ms| *ms >= 0);
    ReplicaState {
        id: state.replica_id,
        directory_id: state.replica_directory_id,
        log_end_offset: state.log_end_offset,
        last_fetch_ms: known(state.last_fetch_timestamp),
        last_caught_up_ms: known(state.last_caught_up_timestamp),
    }
}
