//! Connections go on on another thread when theirs is busy, and come back when it is not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wire::ApiKey;
use wire::codec::{Bytes, Decoder, Encoder, Message, Records};
use wire::header::{parse_response_header, write_request_header};
use wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use wire::messages::produce_response::ProduceResponse;
use wire::records::{BatchBuilder, Codec};

use super::page::{Measured, Page};

const CONNECTIONS: i32 = 6;
const VERSION: i16 = 9;
/// Requests that a busy connection has under way.
const BURST: i64 = 200;

/// A producer of one partition, which expects each batch at the place after the one before.
struct Producer {
    stream: TcpStream,
    partition: i32,
    batch: Vec<u8>,
    sent: i32,
    next_offset: i64,
}

impl Producer {
    fn new(address: &str, partition: i32) -> Producer {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut batch = BatchBuilder::new(Codec::None);
        batch.append(1_700_000_000_000, None, Some(&[7; 300]), &[]);
        Producer { stream, partition, batch: batch.build(0, -1), sent: 0, next_offset: 0 }
    }

    fn produce(&mut self, requests: i64) {
        let mut bytes = Vec::new();
        for i in 0..requests {
            let mut e = Encoder::new();
            write_request_header(&mut e, ApiKey::Produce, VERSION, self.sent + i as i32, Some("mover")).unwrap();
            let records = Some(Records::Bytes(Bytes::Borrowed(&self.batch)));
            let partition = PartitionProduceData { index: self.partition, records };
            let topic =
                TopicProduceData { name: "moved".into(), partition_data: vec![partition].into(), ..Default::default() };
            let topic_data = vec![topic].into();
            let request = ProduceRequest { transactional_id: None, acks: 1, timeout_ms: 30_000, topic_data };
            request.encode(&mut e, VERSION).unwrap();
            let frame = e.into_bytes();
            bytes.extend_from_slice(&(frame.len() as i32).to_be_bytes());
            bytes.extend_from_slice(&frame);
        }
        self.stream.write_all(&bytes).unwrap();
        for _ in 0..requests {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length).unwrap();
            let mut frame = vec![0; i32::from_be_bytes(length) as usize];
            self.stream.read_exact(&mut frame).unwrap();
            let (correlation_id, body) = parse_response_header(&frame, ApiKey::Produce, VERSION).unwrap();
            let response = ProduceResponse::decode(&mut Decoder::new(&frame[body..]), VERSION).unwrap();
            let topic = response.responses.first().unwrap();
            let partition = topic.partition_responses.first().unwrap();
            assert_eq!((correlation_id, partition.error_code, partition.base_offset), (self.sent, 0, self.next_offset));
            (self.sent, self.next_offset) = (self.sent + 1, self.next_offset + 1);
        }
    }
}

#[test]
fn connections_go_where_there_is_time_for_them_and_lose_nothing_on_the_way() {
    let measured = Measured::start();
    let departures = |reactor: usize| format!("klamm_reactor_departures_total{{reactor=\"{reactor}\"}}");
    if measured.page().value(&departures(1)).is_none() {
        eprintln!("skipped: with a single core there is one thread only");
        return;
    }
    measured.broker.create("moved", &["--partitions", &CONNECTIONS.to_string()]);
    let mut producers: Vec<_> = (0..CONNECTIONS).map(|i| Producer::new(&measured.broker.address, i)).collect();
    let busy = AtomicBool::new(true);
    std::thread::scope(|scope| {
        for producer in &mut producers {
            scope.spawn(|| {
                while busy.load(Ordering::Relaxed) {
                    producer.produce(BURST);
                }
            });
        }
        let moved = |page: &Page| page.value(&departures(0)).filter(|moved| *moved > 0.0);
        let moved = std::panic::catch_unwind(|| measured.wait_for("a connection that leaves a busy thread", moved));
        busy.store(false, Ordering::Relaxed);
        moved.unwrap();
    });
    // Each request is an occasion to come back, once there is little to do.
    let producers = std::sync::Mutex::new(producers);
    measured.wait_for("a connection that comes back", |page| {
        producers.lock().unwrap().iter_mut().for_each(|producer| producer.produce(1));
        page.value(&departures(1)).filter(|moved| *moved > 0.0)
    });
    for mut producer in producers.into_inner().unwrap() {
        producer.produce(BURST);
        let offsets = measured.broker.run("kafka-get-offsets", &["--topic", "moved"]).ok();
        let end = format!("moved:{}:{}", producer.partition, producer.next_offset);
        assert!(offsets.lines().any(|line| line == end), "{end} is not among {offsets}");
    }
}
