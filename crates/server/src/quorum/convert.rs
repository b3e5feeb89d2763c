//! The quorum's messages as they stand on the wire, and back. All concern one partition: the metadata log's.

use metadata::quorum::{
    BeginEpoch, EndEpoch, FetchRequest, Fetched, FetchedContent, Known, LogEnd, ReplicaKey, SnapshotId, SnapshotPiece,
    SnapshotRequest, VoteReply, VoteRequest, Voter, VoterEndpoint, VoterUpdate,
};
use wire::codec::Records;
use wire::messages::{
    begin_quorum_epoch_request as begin, begin_quorum_epoch_response as begun, end_quorum_epoch_request as end,
    end_quorum_epoch_response as ended, fetch_request as fetch, fetch_response as fetched,
    fetch_snapshot_request as snapshot, fetch_snapshot_response as piece, update_raft_voter_request as update,
    update_raft_voter_response as updated, vote_request as vote, vote_response as voted,
};
use wire::{ErrorCode, Uuid};

/// The metadata log's name.
pub const TOPIC: &str = "__cluster_metadata";
/// The metadata log's topic id.
pub const TOPIC_ID: Uuid = Uuid::ONE;

/// A host and a port.
pub type Address = (String, u16);

fn leader_id(known: &Known) -> i32 {
    known.leader.unwrap_or(-1)
}

fn known(error: i16, leader: i32, epoch: i32) -> Known {
    Known { error: ErrorCode::from_code(error), epoch, leader: (leader >= 0).then_some(leader) }
}

/// An error that stands at the top of an answer, where nothing else is said.
fn top_error(error: i16) -> Known {
    let code = ErrorCode::from_code(error);
    Known { error: if code == ErrorCode::None { ErrorCode::UnknownServerError } else { code }, epoch: -1, leader: None }
}

pub fn vote_request(request: &VoteRequest, cluster_id: &str) -> vote::VoteRequest<'static> {
    let partition = vote::PartitionData {
        partition_index: 0,
        replica_epoch: request.epoch,
        replica_id: request.candidate.id,
        replica_directory_id: request.candidate.directory_id,
        voter_directory_id: request.voter.directory_id,
        last_offset_epoch: request.end.epoch,
        last_offset: request.end.offset,
        pre_vote: request.pre_vote,
    };
    vote::VoteRequest {
        cluster_id: Some(cluster_id.to_owned().into()),
        voter_id: request.voter.id,
        topics: vec![vote::TopicData { topic_name: TOPIC.into(), partitions: vec![partition].into() }].into(),
    }
}

/// `None` when it is not about the metadata log.
pub fn read_vote_request(request: &vote::VoteRequest<'_>) -> Option<VoteRequest> {
    let topic = request.topics.iter().find(|topic| topic.topic_name == TOPIC)?.into_owned();
    let partition = topic.partitions.iter().find(|partition| partition.partition_index == 0)?.into_owned();
    Some(VoteRequest {
        epoch: partition.replica_epoch,
        candidate: ReplicaKey { id: partition.replica_id, directory_id: partition.replica_directory_id },
        voter: ReplicaKey { id: request.voter_id, directory_id: partition.voter_directory_id },
        end: LogEnd { epoch: partition.last_offset_epoch, offset: partition.last_offset },
        pre_vote: partition.pre_vote,
    })
}

pub fn vote_reply(reply: &VoteReply, leader: Option<Address>) -> voted::VoteResponse<'static> {
    let partition = voted::PartitionData {
        partition_index: 0,
        error_code: reply.known.error.code(),
        leader_id: leader_id(&reply.known),
        leader_epoch: reply.known.epoch,
        vote_granted: reply.granted,
    };
    let endpoint =
        |(host, port): Address| voted::NodeEndpoint { node_id: leader_id(&reply.known), host: host.into(), port };
    voted::VoteResponse {
        error_code: 0,
        topics: vec![voted::TopicData { topic_name: TOPIC.into(), partitions: vec![partition].into() }].into(),
        node_endpoints: leader.map(endpoint).into_iter().collect(),
    }
}

pub fn read_vote_reply(response: &voted::VoteResponse<'_>) -> VoteReply {
    let partition = response.topics.iter().next().and_then(|topic| topic.partitions.values().next());
    match partition {
        Some(partition) if response.error_code == 0 => VoteReply {
            granted: partition.vote_granted,
            known: known(partition.error_code, partition.leader_id, partition.leader_epoch),
        },
        _ => VoteReply { granted: false, known: top_error(response.error_code) },
    }
}

pub fn begin_request(
    request: &BeginEpoch,
    cluster_id: &str,
    own: &[(String, Address)],
) -> begin::BeginQuorumEpochRequest<'static> {
    let partition = begin::PartitionData {
        partition_index: 0,
        voter_directory_id: request.voter.directory_id,
        leader_id: request.leader,
        leader_epoch: request.epoch,
    };
    begin::BeginQuorumEpochRequest {
        cluster_id: Some(cluster_id.to_owned().into()),
        voter_id: request.voter.id,
        topics: vec![begin::TopicData { topic_name: TOPIC.into(), partitions: vec![partition].into() }].into(),
        leader_endpoints: own
            .iter()
            .map(|(name, (host, port))| begin::LeaderEndpoint {
                name: name.clone().into(),
                host: host.clone().into(),
                port: *port,
            })
            .collect(),
    }
}

pub fn read_begin_request(request: &begin::BeginQuorumEpochRequest<'_>) -> Option<(BeginEpoch, Option<Address>)> {
    let topic = request.topics.iter().find(|topic| topic.topic_name == TOPIC)?.into_owned();
    let partition = topic.partitions.iter().find(|partition| partition.partition_index == 0)?.into_owned();
    let leader = request.leader_endpoints.iter().next().map(|one| (one.host.to_string(), one.port));
    let begin = BeginEpoch {
        epoch: partition.leader_epoch,
        leader: partition.leader_id,
        voter: ReplicaKey { id: request.voter_id, directory_id: partition.voter_directory_id },
    };
    Some((begin, leader))
}

pub fn begin_reply(known: &Known, leader: Option<Address>) -> begun::BeginQuorumEpochResponse<'static> {
    let partition = begun::PartitionData {
        partition_index: 0,
        error_code: known.error.code(),
        leader_id: leader_id(known),
        leader_epoch: known.epoch,
    };
    let endpoint = |(host, port): Address| begun::NodeEndpoint { node_id: leader_id(known), host: host.into(), port };
    begun::BeginQuorumEpochResponse {
        error_code: 0,
        topics: vec![begun::TopicData { topic_name: TOPIC.into(), partitions: vec![partition].into() }].into(),
        node_endpoints: leader.map(endpoint).into_iter().collect(),
    }
}

pub fn read_begin_reply(response: &begun::BeginQuorumEpochResponse<'_>) -> Known {
    let partition = response.topics.iter().next().and_then(|topic| topic.partitions.values().next());
    match partition {
        Some(partition) if response.error_code == 0 => {
            known(partition.error_code, partition.leader_id, partition.leader_epoch)
        }
        _ => top_error(response.error_code),
    }
}

pub fn end_request(
    request: &EndEpoch,
    cluster_id: &str,
    own: &[(String, Address)],
) -> end::EndQuorumEpochRequest<'static> {
    let partition = end::PartitionData {
        partition_index: 0,
        leader_id: request.leader,
        leader_epoch: request.epoch,
        preferred_successors: request.successors.clone().into(),
        preferred_candidates: request
            .successors
            .iter()
            .map(|id| end::ReplicaInfo { candidate_id: *id, candidate_directory_id: Uuid::ZERO })
            .collect(),
    };
    end::EndQuorumEpochRequest {
        cluster_id: Some(cluster_id.to_owned().into()),
        topics: vec![end::TopicData { topic_name: TOPIC.into(), partitions: vec![partition].into() }].into(),
        leader_endpoints: own
            .iter()
            .map(|(name, (host, port))| end::LeaderEndpoint {
                name: name.clone().into(),
                host: host.clone().into(),
                port: *port,
            })
            .collect(),
    }
}

pub fn read_end_request(request: &end::EndQuorumEpochRequest<'_>) -> Option<EndEpoch> {
    let topic = request.topics.iter().find(|topic| topic.topic_name == TOPIC)?.into_owned();
    let partition = topic.partitions.iter().find(|partition| partition.partition_index == 0)?.into_owned();
    let mut successors: Vec<i32> = partition.preferred_successors.values().collect();
    if successors.is_empty() {
        successors = partition.preferred_candidates.iter().map(|one| one.candidate_id).collect();
    }
    Some(EndEpoch { epoch: partition.leader_epoch, leader: partition.leader_id, successors })
}

pub fn end_reply(known: &Known, leader: Option<Address>) -> ended::EndQuorumEpochResponse<'static> {
    let partition = ended::PartitionData {
        partition_index: 0,
        error_code: known.error.code(),
        leader_id: leader_id(known),
        leader_epoch: known.epoch,
    };
    let endpoint = |(host, port): Address| ended::NodeEndpoint { node_id: leader_id(known), host: host.into(), port };
    ended::EndQuorumEpochResponse {
        error_code: 0,
        topics: vec![ended::TopicData { topic_name: TOPIC.into(), partitions: vec![partition].into() }].into(),
        node_endpoints: leader.map(endpoint).into_iter().collect(),
    }
}

pub fn read_end_reply(response: &ended::EndQuorumEpochResponse<'_>) -> Known {
    let partition = response.topics.iter().next().and_then(|topic| topic.partitions.values().next());
    match partition {
        Some(partition) if response.error_code == 0 => {
            known(partition.error_code, partition.leader_id, partition.leader_epoch)
        }
        _ => top_error(response.error_code),
    }
}

pub fn read_voter_update(request: &update::UpdateRaftVoterRequest<'_>) -> VoterUpdate {
    let endpoint = |one: &update::Listener<'_>| VoterEndpoint {
        name: one.name.to_string(),
        host: one.host.to_string(),
        port: one.port,
    };
    let known = &request.k_raft_version_feature;
    VoterUpdate {
        current_epoch: request.current_leader_epoch,
        voter: Voter {
            id: request.voter_id,
            directory_id: request.voter_directory_id,
            endpoints: request.listeners.iter().map(|one| endpoint(&one)).collect(),
        },
        kraft_versions: known.min_supported_version..=known.max_supported_version,
    }
}

pub fn voter_update_reply(known: &Known, leader: Option<Address>) -> updated::UpdateRaftVoterResponse<'static> {
    let (host, port) = leader.unwrap_or_default();
    updated::UpdateRaftVoterResponse {
        error_code: known.error.code(),
        current_leader: updated::CurrentLeader {
            leader_id: leader_id(known),
            leader_epoch: known.epoch,
            host: host.into(),
            port: i32::from(port),
        },
        ..Default::default()
    }
}

/// A fetch in `version`, which may wait for `max_wait_ms`.
pub fn fetch_request(
    request: &FetchRequest,
    cluster_id: &str,
    version: i16,
    max_wait_ms: i32,
) -> fetch::FetchRequest<'static> {
    let partition = fetch::FetchPartition {
        partition: 0,
        current_leader_epoch: request.current_epoch,
        fetch_offset: request.offset,
        last_fetched_epoch: request.last_epoch,
        log_start_offset: -1,
        partition_max_bytes: i32::try_from(request.max_bytes).unwrap_or(i32::MAX),
        replica_directory_id: request.replica.directory_id,
        high_watermark: request.high_watermark,
    };
    let mut message = fetch::FetchRequest {
        max_wait_ms,
        min_bytes: 0,
        max_bytes: i32::try_from(request.max_bytes).unwrap_or(i32::MAX),
        topics: vec![fetch::FetchTopic { topic: TOPIC.into(), topic_id: TOPIC_ID, partitions: vec![partition].into() }]
            .into(),
        cluster_id: Some(cluster_id.to_owned().into()),
        ..Default::default()
    };
    if version >= 15 {
        message.replica_state = fetch::ReplicaState { replica_id: request.replica.id, replica_epoch: -1 };
    } else {
        message.replica_id = request.replica.id;
    }
    message
}

/// `None` when it is not for the metadata log alone.
pub fn read_fetch_request(request: &fetch::FetchRequest<'_>, version: i16) -> Option<FetchRequest> {
    let topic = request.topics.iter().next()?.into_owned();
    if request.topics.len() != 1 || !(topic.topic_id == TOPIC_ID || topic.topic == TOPIC) {
        return None;
    }
    let partition = topic.partitions.iter().next().filter(|partition| partition.partition == 0)?.into_owned();
    let id = if version >= 15 { request.replica_state.replica_id } else { request.replica_id };
    Some(FetchRequest {
        replica: ReplicaKey { id, directory_id: partition.replica_directory_id },
        current_epoch: partition.current_leader_epoch,
        offset: partition.fetch_offset,
        last_epoch: partition.last_fetched_epoch,
        high_watermark: partition.high_watermark,
        max_bytes: u32::try_from(request.max_bytes.min(partition.partition_max_bytes)).unwrap_or(0),
    })
}

pub fn fetched(answer: Fetched, leader: Option<Address>) -> fetched::FetchResponse<'static> {
    let known = answer.known;
    let mut partition = fetched::PartitionData {
        partition_index: 0,
        error_code: known.error.code(),
        high_watermark: answer.high_watermark,
        log_start_offset: answer.log_start_offset,
        current_leader: fetched::LeaderIdAndEpoch { leader_id: leader_id(&known), leader_epoch: known.epoch },
        aborted_transactions: None,
        preferred_read_replica: -1,
        records: Some(Records::default()),
        ..Default::default()
    };
    match answer.content {
        FetchedContent::Records(bytes) => partition.records = Some(Records::Bytes(bytes.into())),
        FetchedContent::Diverging(end) => {
            partition.diverging_epoch = fetched::EpochEndOffset { epoch: end.epoch, end_offset: end.offset };
        }
        FetchedContent::Snapshot(id) => {
            partition.snapshot_id = fetched::SnapshotId { end_offset: id.end_offset, epoch: id.epoch };
        }
    }
    let endpoint = |(host, port): Address| fetched::NodeEndpoint {
        node_id: leader_id(&known),
        host: host.into(),
        port: i32::from(port),
        rack: None,
    };
    fetched::FetchResponse {
        responses: vec![fetched::FetchableTopicResponse {
            topic: TOPIC.into(),
            topic_id: TOPIC_ID,
            partitions: vec![partition].into(),
        }]
        .into(),
        node_endpoints: leader.map(endpoint).into_iter().collect(),
        ..Default::default()
    }
}

/// What a leader answered, and where the leader that it names can be reached.
pub fn read_fetched(response: &fetched::FetchResponse<'_>) -> (Fetched, Option<(i32, Address)>) {
    let refused = |error: i16| Fetched {
        known: top_error(error),
        high_watermark: -1,
        log_start_offset: -1,
        content: FetchedContent::Records(Vec::new()),
    };
    let endpoint = response.node_endpoints.iter().next();
    let leader = endpoint.and_then(|one| Some((one.node_id, (one.host.to_string(), u16::try_from(one.port).ok()?))));
    let partition = response.responses.iter().next().and_then(|topic| topic.partitions.values().next());
    let Some(partition) = partition.filter(|_| response.error_code == 0) else {
        return (refused(response.error_code), leader);
    };
    let content = if partition.diverging_epoch.epoch >= 0 {
        let end = &partition.diverging_epoch;
        FetchedContent::Diverging(LogEnd { epoch: end.epoch, offset: end.end_offset })
    } else if partition.snapshot_id.epoch >= 0 {
        let id = &partition.snapshot_id;
        FetchedContent::Snapshot(SnapshotId { epoch: id.epoch, end_offset: id.end_offset })
    } else {
        FetchedContent::Records(records(partition.records.as_ref()))
    };
    let current = &partition.current_leader;
    let fetched = Fetched {
        known: known(partition.error_code, current.leader_id, current.leader_epoch),
        high_watermark: partition.high_watermark,
        log_start_offset: partition.log_start_offset,
        content,
    };
    (fetched, leader)
}

fn records(records: Option<&Records<'_>>) -> Vec<u8> {
    match records {
        Some(Records::Bytes(bytes)) => bytes.to_vec(),
        _ => Vec::new(),
    }
}

pub fn snapshot_request(request: &SnapshotRequest, cluster_id: &str) -> snapshot::FetchSnapshotRequest<'static> {
    let partition = snapshot::PartitionSnapshot {
        partition: 0,
        current_leader_epoch: request.current_epoch,
        snapshot_id: snapshot::SnapshotId { end_offset: request.id.end_offset, epoch: request.id.epoch },
        position: i64::try_from(request.position).unwrap_or(i64::MAX),
        replica_directory_id: request.replica.directory_id,
    };
    snapshot::FetchSnapshotRequest {
        replica_id: request.replica.id,
        max_bytes: i32::try_from(request.max_bytes).unwrap_or(i32::MAX),
        topics: vec![snapshot::TopicSnapshot { name: TOPIC.into(), partitions: vec![partition].into() }].into(),
        cluster_id: Some(cluster_id.to_owned().into()),
    }
}

/// `None` when it is not about the metadata log.
pub fn read_snapshot_request(request: &snapshot::FetchSnapshotRequest<'_>) -> Option<SnapshotRequest> {
    let topic = request.topics.iter().find(|topic| topic.name == TOPIC)?.into_owned();
    let partition = topic.partitions.iter().find(|partition| partition.partition == 0)?.into_owned();
    Some(SnapshotRequest {
        replica: ReplicaKey { id: request.replica_id, directory_id: partition.replica_directory_id },
        current_epoch: partition.current_leader_epoch,
        id: SnapshotId { epoch: partition.snapshot_id.epoch, end_offset: partition.snapshot_id.end_offset },
        position: u64::try_from(partition.position).ok()?,
        max_bytes: u32::try_from(request.max_bytes).unwrap_or(0),
    })
}

pub fn snapshot_piece(answer: SnapshotPiece, leader: Option<Address>) -> piece::FetchSnapshotResponse<'static> {
    let known = answer.known;
    let partition = piece::PartitionSnapshot {
        index: 0,
        error_code: known.error.code(),
        snapshot_id: piece::SnapshotId { end_offset: answer.id.end_offset, epoch: answer.id.epoch },
        size: i64::try_from(answer.size).unwrap_or(i64::MAX),
        position: i64::try_from(answer.position).unwrap_or(i64::MAX),
        unaligned_records: Records::Bytes(answer.bytes.into()),
        current_leader: piece::LeaderIdAndEpoch { leader_id: leader_id(&known), leader_epoch: known.epoch },
    };
    let endpoint = |(host, port): Address| piece::NodeEndpoint { node_id: leader_id(&known), host: host.into(), port };
    piece::FetchSnapshotResponse {
        throttle_time_ms: 0,
        error_code: 0,
        topics: vec![piece::TopicSnapshot { name: TOPIC.into(), partitions: vec![partition].into() }].into(),
        node_endpoints: leader.map(endpoint).into_iter().collect(),
    }
}

pub fn read_snapshot_piece(response: &piece::FetchSnapshotResponse<'_>) -> SnapshotPiece {
    let partition = response.topics.iter().next().and_then(|topic| topic.partitions.values().next());
    let Some(partition) = partition.filter(|_| response.error_code == 0) else {
        let id = SnapshotId::BOOTSTRAP;
        return SnapshotPiece { known: top_error(response.error_code), id, size: 0, position: 0, bytes: Vec::new() };
    };
    let current = &partition.current_leader;
    // Without an error the field need not be filled in: then the leader is the one that was asked.
    SnapshotPiece {
        known: known(partition.error_code, current.leader_id, current.leader_epoch),
        id: SnapshotId { epoch: partition.snapshot_id.epoch, end_offset: partition.snapshot_id.end_offset },
        size: u64::try_from(partition.size).unwrap_or(0),
        position: u64::try_from(partition.position).unwrap_or(0),
        bytes: records(Some(&partition.unaligned_records)),
    }
}
