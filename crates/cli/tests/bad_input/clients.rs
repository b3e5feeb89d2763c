//! Fetch and ListOffsets from peers that claim to be what they are not, or ask for what cannot be.

use wire::codec::{Decoder, Message};
use wire::messages::*;
use wire::records::Codec;
use wire::{ApiKey, header};

use crate::batches::batch;
use crate::harness::{Answer, Broker, Client, name_of, unique};

fn prepared() -> (Broker, Client, String) {
    let broker = Broker::start();
    let mut client = broker.connect();
    let topic = unique("fetched");
    client.create_topic(&topic, &[]);
    for _ in 0..10 {
        assert_eq!(client.produce(&topic, &batch(Codec::None, 1)).error, "NONE");
    }
    (broker, client, topic)
}

fn fetch(topic: &str, offset: i64) -> FetchRequest<'_> {
    fetch_after(topic, offset, -1)
}

/// A fetch of who has records of `epoch` last.
fn fetch_after(topic: &str, offset: i64, epoch: i32) -> FetchRequest<'_> {
    let partition = fetch_request::FetchPartition {
        partition: 0,
        current_leader_epoch: -1,
        fetch_offset: offset,
        last_fetched_epoch: epoch,
        log_start_offset: -1,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic =
        fetch_request::FetchTopic { topic: topic.into(), partitions: vec![partition].into(), ..Default::default() };
    FetchRequest {
        replica_id: -1,
        max_wait_ms: 100,
        min_bytes: 1,
        max_bytes: 10 << 20,
        session_epoch: -1,
        topics: vec![topic].into(),
        ..Default::default()
    }
}

/// The partition's error, high watermark and bytes of records.
fn fetched(client: &mut Client, request: &FetchRequest<'_>) -> (&'static str, i64, usize) {
    fetched_in(client, 11, request)
}

fn fetched_in(client: &mut Client, version: i16, request: &FetchRequest<'_>) -> (&'static str, i64, usize) {
    client.call(version, request, |r| {
        let topic = r.responses.first().expect("a topic's answer");
        let partition = topic.partitions.first().expect("a partition's answer");
        let bytes = partition.records.as_ref().map_or(0, |records| records.len());
        (name_of(partition.error_code), partition.high_watermark, bytes)
    })
}

#[test]
fn a_forged_replica_moves_no_high_watermark_and_holds_nobody_back() {
    let (_broker, mut client, topic) = prepared();
    for replica in [0, 1, 2, 77, i32::MAX] {
        let mut forged = fetch(&topic, 10);
        forged.replica_id = replica;
        client.send(11, &forged);
        client.answer();
    }
    assert_eq!(fetched(&mut client, &fetch(&topic, 0)).1, 10);
    assert_eq!(client.produce(&topic, &batch(Codec::None, 1)).error, "NONE", "acks=all waits for no forged replica");
    assert_eq!(fetched(&mut client, &fetch(&topic, 0)).1, 11);
}

#[test]
fn offsets_out_of_range_are_told() {
    let (_broker, mut client, topic) = prepared();
    for offset in [11, 1000, i64::MAX, -1, -2, i64::MIN] {
        assert_eq!(fetched(&mut client, &fetch(&topic, offset)).0, "OFFSET_OUT_OF_RANGE", "offset {offset}");
    }
    assert_eq!(fetched(&mut client, &fetch(&topic, 10)), ("NONE", 10, 0));
}

/// Where the epoch ended in this log is not known: no end in the answer would say that the logs have not parted.
#[test]
fn an_epoch_that_never_was_is_out_of_range() {
    let (_broker, mut client, topic) = prepared();
    for (epoch, expected) in [(0, "NONE"), (1000, "OFFSET_OUT_OF_RANGE"), (i32::MAX, "OFFSET_OUT_OF_RANGE")] {
        assert_eq!(fetched_in(&mut client, 12, &fetch_after(&topic, 10, epoch)).0, expected, "epoch {epoch}");
    }
}

#[test]
fn limits_of_nothing_or_less_still_make_progress() {
    let (_broker, mut client, topic) = prepared();
    for limit in [0, 1] {
        let mut request = fetch(&topic, 0);
        request.max_bytes = limit;
        let (error, _, bytes) = fetched(&mut client, &request);
        assert_eq!(error, "NONE", "limit {limit}");
        assert!(bytes > 0, "the first batch comes whole, whatever the limit: {limit}");
    }
    for limit in [-1, i32::MIN] {
        let mut request = fetch(&topic, 0);
        request.max_bytes = limit;
        fetched(&mut client, &request);
    }
}

#[test]
fn waiting_longer_than_anybody_lives_ends_with_the_connection() {
    let (mut broker, mut client, topic) = prepared();
    for _ in 0..200 {
        let mut waiting = broker.connect();
        let mut request = fetch(&topic, 10);
        (request.max_wait_ms, request.min_bytes) = (i32::MAX, i32::MAX);
        waiting.send(11, &request);
    }
    assert_eq!(client.produce(&topic, &batch(Codec::None, 1)).error, "NONE");
    broker.is_well();
}

#[test]
fn a_fetch_session_that_is_not_there_is_refused() {
    let (_broker, mut client, topic) = prepared();
    let mut request = fetch(&topic, 0);
    (request.session_id, request.session_epoch) = (123_456, 1);
    assert_eq!(name_of(client.call(11, &request, |r| r.error_code)), "FETCH_SESSION_ID_NOT_FOUND");
}

#[test]
fn a_fetch_sessions_wrong_epoch_is_refused() {
    let (_broker, mut client, topic) = prepared();
    let mut request = fetch(&topic, 0);
    request.session_epoch = 0;
    let id = client.call(11, &request, |r| r.session_id);
    assert_ne!(id, 0, "a session was opened");
    (request.session_id, request.session_epoch) = (id, 9);
    assert_eq!(name_of(client.call(11, &request, |r| r.error_code)), "INVALID_FETCH_SESSION_EPOCH");
}

#[test]
fn leader_epochs_from_the_past_and_the_future_are_told_apart() {
    let (_broker, mut client, topic) = prepared();
    let mut request = fetch(&topic, 0);
    let mut topics = request.topics.to_vec();
    let mut partitions = topics[0].partitions.to_vec();
    partitions[0].current_leader_epoch = 1000;
    topics[0].partitions = partitions.into();
    request.topics = topics.into();
    assert_eq!(fetched(&mut client, &request).0, "UNKNOWN_LEADER_EPOCH");
}

#[test]
fn thousands_of_sessions_are_bounded_in_memory() {
    let (mut broker, mut client, topic) = prepared();
    broker.growth_mib = 32.0;
    for _ in 0..5000 {
        let mut request = fetch(&topic, 10);
        (request.session_epoch, request.max_wait_ms) = (0, 0);
        client.send(11, &request);
        client.answer();
    }
    broker.is_well();
}

/// librdkafka 2.16 reads uninitialized memory where a leader hint names leader -1, and its consumers then stand still.
#[test]
fn a_fetch_that_waits_while_the_broker_stops_is_told_of_no_leader_that_is_not_there() {
    let (broker, mut client, topic) = prepared();
    let named = metadata_request::MetadataRequestTopic { name: Some(topic.as_str().into()), ..Default::default() };
    let named = MetadataRequest { topics: Some(vec![named].into()), ..Default::default() };
    let topic_id = client.call(12, &named, |r| r.topics.first().unwrap().topic_id);
    let mut waiting = fetch(&topic, 10);
    (waiting.max_wait_ms, waiting.min_bytes) = (i32::MAX, i32::MAX);
    let mut topics = waiting.topics.to_vec();
    (topics[0].topic, topics[0].topic_id) = (Default::default(), topic_id);
    // As librdkafka does: without it whoever does not lead any more serves as a follower (KIP-392).
    let mut partitions = topics[0].partitions.to_vec();
    partitions[0].current_leader_epoch = 0;
    topics[0].partitions = partitions.into();
    waiting.topics = topics.into();

    // Both arrive together, so once the first is answered the broker has the second.
    let frames = [client.encode(12, &named), client.encode(17, &waiting)];
    let framed = |f: &Vec<u8>| [(f.len() as i32).to_be_bytes().as_slice(), f].concat();
    client.send_bytes(&frames.iter().map(framed).collect::<Vec<_>>().concat());
    assert!(matches!(client.answer(), Answer::Frame(_)));
    broker.ask_to_stop();
    let Answer::Frame(frame) = client.answer() else { panic!("the waiting fetch got no answer") };
    let (_, body) = header::parse_response_header(&frame, ApiKey::Fetch, 17).unwrap();
    let response = FetchResponse::decode(&mut Decoder::new(&frame[body..]), 17).unwrap();
    let topic = response.responses.first().unwrap();
    let partition = topic.partitions.first().unwrap();
    assert_eq!(name_of(partition.error_code), "FENCED_LEADER_EPOCH");
    assert_eq!(partition.current_leader, Default::default(), "a leader was named");
    assert!(response.node_endpoints.is_empty(), "and where it is");
    broker.has_stopped();
}
