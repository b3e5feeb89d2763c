//! What reading and writing the messages of the hot path costs, in nanoseconds of one core. Run with
//! `cargo run --release -p wire --example codec_cost`; compare figures of one run only.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods, reason = "it measures and says so")]

use std::{hint::black_box, time::Instant};

use wire::{
    ApiKey, Uuid,
    codec::{Array, Decoder, Encoder, Message},
    header::{parse_request_header, write_request_header, write_response_header},
    messages::{fetch_request::*, fetch_response::*, metadata_response::*, produce_request::*, produce_response::*},
};

fn main() {
    let names: Vec<String> = (0..100).map(|n| format!("some-topic-{n}")).collect();
    for partitions in [1, 10, 100] {
        let frame = produce_frame(&names[0], partitions);
        time(&format!("read Produce, {partitions} partitions"), || read_produce(&frame));
    }
    let mut e = Encoder::new();
    for partitions in [1, 100] {
        time(&format!("write Produce's answer, {partitions} partitions"), || write_produced(&mut e, partitions));
    }
    for partitions in [1, 100] {
        let frame = fetch_frame(partitions);
        time(&format!("read Fetch, {partitions} partitions"), || {
            let request = FetchRequest::decode(&mut Decoder::new(&frame), 17).unwrap();
            request.topics.iter().map(|t| t.partitions.iter().map(|p| p.fetch_offset).sum::<i64>()).sum::<i64>()
                as usize
        });
    }
    for partitions in [1, 100] {
        time(&format!("write Fetch's answer, {partitions} partitions"), || write_fetched(&mut e, partitions));
    }
    let response = metadata(&names);
    time("write Metadata's answer, 100 topics of 10 partitions", || {
        e.clear();
        response.encode(&mut e, 13).unwrap();
        e.len()
    });
    let bytes = response.to_bytes(13).unwrap();
    time("read Metadata's answer, all of it", || {
        let response = MetadataResponse::decode(&mut Decoder::new(&bytes), 13).unwrap();
        response.topics.iter().map(|t| t.partitions.iter().map(|p| p.isr_nodes.len()).sum::<usize>()).sum()
    });
}

/// The best of ten rounds: what others on the machine do only adds.
fn time(what: &str, mut action: impl FnMut() -> usize) {
    let mut best = f64::MAX;
    for _ in 0..10 {
        let (start, mut rounds) = (Instant::now(), 0u32);
        while start.elapsed().as_millis() < 20 {
            for _ in 0..100 {
                black_box(action());
            }
            rounds += 100;
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(rounds));
    }
    println!("{best:>10.0} ns  {what}");
}

fn produce_frame(name: &str, partitions: i32) -> Vec<u8> {
    let partition = |index| PartitionProduceData { index, records: Some(vec![0; 200].into()) };
    let topic = TopicProduceData {
        name: name.into(),
        topic_id: Uuid::ONE,
        partition_data: (0..partitions).map(partition).collect(),
    };
    let request = ProduceRequest { topic_data: [topic].into(), acks: -1, ..Default::default() };
    let mut e = Encoder::new();
    write_request_header(&mut e, ApiKey::Produce, 13, 1, Some("producer-1")).unwrap();
    request.encode(&mut e, 13).unwrap();
    e.into_bytes()
}

fn read_produce(frame: &[u8]) -> usize {
    let (header, body) = parse_request_header(frame).unwrap();
    let request = ProduceRequest::decode(&mut Decoder::new(&frame[body..]), header.version).unwrap();
    let mut bytes = 0;
    for topic in &request.topic_data {
        for partition in &topic.partition_data {
            bytes += partition.records.as_ref().unwrap().len() + partition.index as usize;
        }
    }
    bytes
}

fn write_produced(e: &mut Encoder, partitions: usize) -> usize {
    let partitions = vec![PartitionProduceResponse::default(); partitions];
    let topics = [TopicProduceResponse { partition_responses: Array::from(&partitions[..]), ..Default::default() }];
    let response = ProduceResponse { responses: Array::from(&topics[..]), ..Default::default() };
    e.clear();
    let frame = e.begin_frame();
    write_response_header(e, ApiKey::Produce, 13, 1);
    response.encode(e, 13).unwrap();
    e.end_frame(frame).unwrap();
    e.len()
}

fn fetch_frame(partitions: i32) -> Vec<u8> {
    let partition = |partition| FetchPartition { partition, fetch_offset: 5, ..Default::default() };
    let topic = FetchTopic { partitions: (0..partitions).map(partition).collect(), ..Default::default() };
    FetchRequest { topics: [topic].into(), ..Default::default() }.to_bytes(17).unwrap()
}

fn write_fetched(e: &mut Encoder, partitions: usize) -> usize {
    let data =
        PartitionData { aborted_transactions: None, records: Some((&b"records"[..]).into()), ..Default::default() };
    let partitions = vec![data; partitions];
    let topics = [FetchableTopicResponse { partitions: Array::from(&partitions[..]), ..Default::default() }];
    let response = FetchResponse { responses: Array::from(&topics[..]), ..Default::default() };
    e.clear();
    let frame = e.begin_frame();
    write_response_header(e, ApiKey::Fetch, 17, 1);
    response.encode(e, 17).unwrap();
    e.end_frame(frame).unwrap();
    e.len()
}

fn metadata(names: &[String]) -> MetadataResponse<'_> {
    let partition = |partition_index| MetadataResponsePartition {
        partition_index,
        replica_nodes: [1, 2, 3].into(),
        isr_nodes: [1, 2, 3].into(),
        ..Default::default()
    };
    let topic = |name: &String| MetadataResponseTopic {
        name: Some(name.clone().into()),
        partitions: (0..10).map(partition).collect(),
        ..Default::default()
    };
    MetadataResponse { topics: names.iter().map(topic).collect(), ..Default::default() }
}
