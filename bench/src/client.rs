//! Just enough of a client: one request, one answer, and the requests that loads repeat.

use crate::Outcome;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wire::ApiKey;
use wire::codec::{Decoder, Encoder, Message, Records};
use wire::header::{parse_response_header, write_request_header};
use wire::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use wire::messages::create_topics_response::CreateTopicsResponse;
use wire::messages::delete_topics_request::DeleteTopicsRequest;
use wire::messages::delete_topics_response::DeleteTopicsResponse;
use wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use wire::messages::produce_response::ProduceResponse;
use wire::records::{BatchBuilder, Codec};

/// Versions without flexible fields, so that answers have a fixed shape; Apache Kafka 2.3 to 4.3 serve them.
pub const PRODUCE_VERSION: i16 = 8;
pub const FETCH_VERSION: i16 = 11;
const CREATE_TOPICS_VERSION: i16 = 4;
const DELETE_TOPICS_VERSION: i16 = 3;

const CLIENT_ID: &str = "bench";
/// How long anything but a load may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A whole frame: length, header, request.
pub fn frame<'a, M: Message<'a>>(key: ApiKey, version: i16, request: &M) -> Outcome<Vec<u8>> {
    let mut e = Encoder::new();
    let frame = e.begin_frame();
    write_request_header(&mut e, key, version, 0, Some(CLIENT_ID))?;
    request.encode(&mut e, version)?;
    e.end_frame(frame)?;
    Ok(e.into_bytes())
}

/// Sends a request and gives the body of its answer.
pub fn call<'a, M: Message<'a>>(stream: &mut TcpStream, key: ApiKey, version: i16, request: &M) -> Outcome<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&frame(key, version, request)?)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer)?;
    let (_, body) = parse_response_header(&answer, key, version)?;
    answer.drain(..body);
    stream.set_read_timeout(None)?;
    Ok(answer)
}

/// Makes a topic with one replica; one that exists will do.
pub fn create_topic(stream: &mut TcpStream, topic: &str, partitions: i32) -> Outcome<()> {
    let topics = vec![CreatableTopic {
        name: topic.into(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    }];
    let request = CreateTopicsRequest { topics: topics.into(), ..Default::default() };
    let answer = call(stream, ApiKey::CreateTopics, CREATE_TOPICS_VERSION, &request)?;
    let answer = CreateTopicsResponse::decode(&mut Decoder::new(&answer), CREATE_TOPICS_VERSION)?;
    const EXISTS: i16 = wire::ErrorCode::TopicAlreadyExists.code();
    match answer.topics.iter().next().map(|t| (t.error_code, t.error_message.as_deref().map(str::to_owned))) {
        Some((0 | EXISTS, _)) => Ok(()),
        other => Err(format!("CreateTopics {topic}: {other:?}").into()),
    }
}

pub fn delete_topic(stream: &mut TcpStream, topic: &str) -> Outcome<()> {
    let request = DeleteTopicsRequest {
        topic_names: vec![topic.into()].into(),
        timeout_ms: PATIENCE.as_millis() as i32,
        ..Default::default()
    };
    let answer = call(stream, ApiKey::DeleteTopics, DELETE_TOPICS_VERSION, &request)?;
    let answer = DeleteTopicsResponse::decode(&mut Decoder::new(&answer), DELETE_TOPICS_VERSION)?;
    match answer.responses.iter().next().map(|t| t.error_code) {
        Some(0) => Ok(()),
        other => Err(format!("DeleteTopics {topic}: {other:?}").into()),
    }
}

/// A batch of as many records of `record_bytes` as fit into `batch_bytes`, at least one, and how many those are.
/// The values are half text, half noise.
pub fn batch(batch_bytes: usize, record_bytes: usize) -> (Vec<u8>, u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
    let room = BatchBuilder::record_size_max(None, Some(&vec![0; record_bytes]), &[]);
    let mut builder = BatchBuilder::new(Codec::None);
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    let mut size = 0;
    while size == 0 || size + room <= batch_bytes {
        let value: Vec<u8> = (0..record_bytes)
            .map(|at| {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                if at % 2 == 0 { b'a' + (at % 26) as u8 } else { noise as u8 }
            })
            .collect();
        size = builder.append(now, None, Some(&value), &[]);
    }
    let records = builder.record_count() as u64;
    (builder.build(0, -1), records)
}

/// A Produce with acks=all of one batch.
pub fn produce_frame(topic: &str, partition: i32, batch: &[u8]) -> Outcome<Vec<u8>> {
    let data = PartitionProduceData { index: partition, records: Some(Records::Bytes(batch.into())) };
    let data = TopicProduceData { name: topic.into(), partition_data: vec![data].into(), ..Default::default() };
    let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![data].into(), ..Default::default() };
    frame(ApiKey::Produce, PRODUCE_VERSION, &request)
}

/// Where the error code is in the answer to a [`produce_frame`], its length included.
pub fn produce_error_at(topic: &str) -> usize {
    // length, correlation id, one topic: its name, one partition: its index
    4 + 4 + 4 + 2 + topic.len() + 4 + 4
}

/// A Fetch of one partition from offset 0 on, that does not wait, and where the offset stands in it.
pub fn fetch_frame(topic: &str, partition: i32, max_bytes: u32) -> Outcome<(Vec<u8>, usize)> {
    let encoded = |fetch_offset: i64| {
        let partition = FetchPartition {
            partition,
            fetch_offset,
            partition_max_bytes: max_bytes as i32,
            current_leader_epoch: -1,
            ..Default::default()
        };
        let topics = FetchTopic { topic: topic.into(), partitions: vec![partition].into(), ..Default::default() };
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: 0,
            min_bytes: 1,
            session_epoch: -1,
            topics: vec![topics].into(),
            ..Default::default()
        };
        frame(ApiKey::Fetch, FETCH_VERSION, &request)
    };
    let (zeros, ones) = (encoded(0)?, encoded(-1)?);
    let at = zeros.iter().zip(&ones).position(|(a, b)| a != b).ok_or("a Fetch without an offset")?;
    Ok((zeros, at))
}

/// Produces one record to partition 0 until it is acknowledged; the broker may be starting.
pub fn first_ack(address: SocketAddr, topic: &str, create: bool, deadline: Instant) -> Outcome<()> {
    let (records, _) = batch(1, 100);
    let data = PartitionProduceData { index: 0, records: Some(Records::Bytes(records.into())) };
    let data = TopicProduceData { name: topic.into(), partition_data: vec![data].into(), ..Default::default() };
    let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![data].into(), ..Default::default() };
    let attempt = |stream: &mut TcpStream| -> Outcome<bool> {
        let answer = call(stream, ApiKey::Produce, PRODUCE_VERSION, &request)?;
        let answer = ProduceResponse::decode(&mut Decoder::new(&answer), PRODUCE_VERSION)?;
        let errors: Vec<i16> = answer
            .responses
            .iter()
            .flat_map(|t| t.partition_responses.iter().map(|p| p.error_code).collect::<Vec<_>>())
            .collect();
        Ok(errors == [0])
    };
    let mut stream = loop {
        match connect(address) {
            Ok(stream) => break stream,
            Err(e) if e.kind() == ErrorKind::ConnectionRefused && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_micros(500));
            }
            Err(e) => return Err(e.into()),
        }
    };
    if create {
        create_topic(&mut stream, topic, 1)?;
    }
    while !attempt(&mut stream)? {
        if Instant::now() > deadline {
            return Err(format!("{topic} took no record in time").into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
