//! Every message that both codecs know, in every version that both know: what Apache Kafka wrote is read by both, field by
//! field the same, and written by both to the same bytes.

#![allow(clippy::unwrap_used)]

mod debug;

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use debug::Value;
use kafka_protocol::{
    messages as theirs,
    protocol::{Decodable, Encodable},
};
use wire::{
    codec::{Decoder, Message},
    messages as ours,
};

/// Messages as Kafka's own classes wrote them: name, version, bytes.
fn samples() -> impl Iterator<Item = (&'static str, i16, Vec<u8>)> {
    include_str!("../../wire/tests/fixtures/kafka-messages.txt").lines().map(|line| {
        let cells: Vec<&str> = line.split(' ').collect();
        let [name, version, _, hex] = cells[..] else { panic!("{line}") };
        let bytes = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
        (name, version.parse().unwrap(), bytes)
    })
}

/// Compares one sample; `None` when the other codec does not know the version.
fn compare<'a, O, T>(bytes: &'a [u8], version: i16) -> Option<Result<(), String>>
where
    O: Message<'a> + Debug,
    T: Decodable + Encodable + kafka_protocol::protocol::Message + Debug,
{
    if !(T::VERSIONS.min..=T::VERSIONS.max).contains(&version) {
        return None;
    }
    Some(differences::<O, T>(bytes, version))
}

fn differences<'a, O, T>(bytes: &'a [u8], version: i16) -> Result<(), String>
where
    O: Message<'a> + Debug,
    T: Decodable + Encodable + Debug,
{
    let mut rest = Bytes::copy_from_slice(bytes);
    let theirs = T::decode(&mut rest, version).map_err(|error| format!("they cannot read it: {error}"))?;
    let ours = O::decode(&mut Decoder::new(bytes), version).map_err(|error| error.to_string())?;
    let mut written = BytesMut::new();
    theirs.encode(&mut written, version).map_err(|error| format!("they cannot write it: {error}"))?;
    if written[..] != ours.to_bytes(version).map_err(|error| error.to_string())? {
        return Err(format!("written otherwise: {written:02x?}, {ours:?}"));
    }
    let (of_ours, of_theirs) = (Value::of(&ours), Value::of(&theirs));
    if of_ours.covers(&of_theirs) { Ok(()) } else { Err(format!("ours   {of_ours:?}\ntheirs {of_theirs:?}")) }
}

macro_rules! messages {
    ($($name:ident,)*) => {
        fn compare_named(name: &str, bytes: &[u8], version: i16) -> Option<Result<(), String>> {
            match name {
                $(stringify!($name) => compare::<ours::$name, theirs::$name>(bytes, version),)*
                _ => None,
            }
        }
    };
}

messages! {
    AddOffsetsToTxnRequest,
    AddOffsetsToTxnResponse,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    AddRaftVoterRequest,
    AddRaftVoterResponse,
    AllocateProducerIdsRequest,
    AllocateProducerIdsResponse,
    AlterClientQuotasRequest,
    AlterClientQuotasResponse,
    AlterConfigsRequest,
    AlterConfigsResponse,
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    AlterPartitionRequest,
    AlterPartitionResponse,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
    AlterShareGroupOffsetsRequest,
    AlterShareGroupOffsetsResponse,
    AlterUserScramCredentialsRequest,
    AlterUserScramCredentialsResponse,
    ApiVersionsRequest,
    ApiVersionsResponse,
    AssignReplicasToDirsRequest,
    AssignReplicasToDirsResponse,
    BeginQuorumEpochRequest,
    BeginQuorumEpochResponse,
    BrokerHeartbeatRequest,
    BrokerHeartbeatResponse,
    BrokerRegistrationRequest,
    BrokerRegistrationResponse,
    ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse,
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
    ControllerRegistrationRequest,
    ControllerRegistrationResponse,
    CreateAclsRequest,
    CreateAclsResponse,
    CreateDelegationTokenRequest,
    CreateDelegationTokenResponse,
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DefaultPrincipalData,
    DeleteAclsRequest,
    DeleteAclsResponse,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteShareGroupOffsetsRequest,
    DeleteShareGroupOffsetsResponse,
    DeleteShareGroupStateRequest,
    DeleteShareGroupStateResponse,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DescribeAclsRequest,
    DescribeAclsResponse,
    DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
    DescribeClusterRequest,
    DescribeClusterResponse,
    DescribeConfigsRequest,
    DescribeConfigsResponse,
    DescribeDelegationTokenRequest,
    DescribeDelegationTokenResponse,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeProducersRequest,
    DescribeProducersResponse,
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    DescribeShareGroupOffsetsRequest,
    DescribeShareGroupOffsetsResponse,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    DescribeTransactionsRequest,
    DescribeTransactionsResponse,
    DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
    ElectLeadersRequest,
    ElectLeadersResponse,
    EndQuorumEpochRequest,
    EndQuorumEpochResponse,
    EndTxnMarker,
    EndTxnRequest,
    EndTxnResponse,
    EnvelopeRequest,
    EnvelopeResponse,
    ExpireDelegationTokenRequest,
    ExpireDelegationTokenResponse,
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    FetchSnapshotResponse,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    GetTelemetrySubscriptionsRequest,
    GetTelemetrySubscriptionsResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
    InitProducerIdRequest,
    InitProducerIdResponse,
    InitializeShareGroupStateRequest,
    InitializeShareGroupStateResponse,
    JoinGroupRequest,
    JoinGroupResponse,
    KRaftVersionRecord,
    LeaderChangeMessage,
    LeaveGroupRequest,
    LeaveGroupResponse,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
    ListGroupsRequest,
    ListGroupsResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
    ListTransactionsRequest,
    ListTransactionsResponse,
    MetadataRequest,
    MetadataResponse,
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetFetchRequest,
    OffsetFetchResponse,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    ProduceRequest,
    ProduceResponse,
    PushTelemetryRequest,
    PushTelemetryResponse,
    ReadShareGroupStateRequest,
    ReadShareGroupStateResponse,
    ReadShareGroupStateSummaryRequest,
    ReadShareGroupStateSummaryResponse,
    RemoveRaftVoterRequest,
    RemoveRaftVoterResponse,
    RenewDelegationTokenRequest,
    RenewDelegationTokenResponse,
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
    ShareAcknowledgeRequest,
    ShareAcknowledgeResponse,
    ShareFetchRequest,
    ShareFetchResponse,
    ShareGroupDescribeRequest,
    ShareGroupDescribeResponse,
    ShareGroupHeartbeatRequest,
    ShareGroupHeartbeatResponse,
    SnapshotFooterRecord,
    SnapshotHeaderRecord,
    SyncGroupRequest,
    SyncGroupResponse,
    TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
    UnregisterBrokerRequest,
    UnregisterBrokerResponse,
    UpdateFeaturesRequest,
    UpdateFeaturesResponse,
    UpdateRaftVoterRequest,
    UpdateRaftVoterResponse,
    VoteRequest,
    VoteResponse,
    VotersRecord,
    WriteShareGroupStateRequest,
    WriteShareGroupStateResponse,
    WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
}

/// Where they are known to differ: message, what the difference says, and why it is not ours.
const EXPLAINED: [(&str, &str); 3] = [
    // They take the versions of the inner structure for none at all.
    ("LeaderChangeMessage", "specified version not supported"),
    ("VotersRecord", "specified version not supported"),
    // A field of version 0, which came before Kafka 4.2 and which nobody speaks any more.
    ("ShareFetchRequest", "partitionmaxbytes"),
];

#[test]
fn two_codecs_agree_on_every_message_and_version() {
    let (mut compared, mut explained, mut differing) = (0, 0, Vec::new());
    for (name, version, bytes) in samples() {
        match compare_named(name, &bytes, version) {
            Some(Ok(())) => compared += 1,
            Some(Err(text)) if EXPLAINED.iter().any(|(of, part)| *of == name && text.contains(part)) => explained += 1,
            Some(Err(text)) => differing.push(format!("{name} {version}: {text}")),
            None => {}
        }
    }
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
    assert!(compared > 1500 && explained < 10, "{compared} compared, {explained} explained");
}

#[test]
fn headers_are_the_same() {
    use kafka_protocol::protocol::StrBytes;
    for api in wire::ApiKey::ALL {
        for version in api.stable_versions() {
            let mut e = wire::codec::Encoder::new();
            wire::header::write_request_header(&mut e, api, version, 77, Some("client")).unwrap();
            let header = theirs::RequestHeader::default()
                .with_request_api_key(api as i16)
                .with_request_api_version(version)
                .with_correlation_id(77)
                .with_client_id(Some(StrBytes::from_static_str("client")));
            let mut written = BytesMut::new();
            header.encode(&mut written, api.request_header_version(version)).unwrap();
            assert_eq!(e.bytes(), &written[..], "{api} {version}");
            // Which header goes with which version, for the versions that they know.
            let Ok(their_api) = theirs::ApiKey::try_from(api as i16) else { continue };
            let known = their_api.valid_versions();
            if (known.min..=known.max).contains(&version) {
                assert_eq!(
                    api.request_header_version(version),
                    their_api.request_header_version(version),
                    "{api} {version}"
                );
                assert_eq!(
                    api.response_header_version(version),
                    their_api.response_header_version(version),
                    "{api} {version}"
                );
            }
        }
    }
}
