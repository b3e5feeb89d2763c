//! Record batches, whole and bent, and how they are sent.

use wire::codec::{Bytes, Records};
use wire::messages::*;
use wire::records::{BatchBuilder, Codec};

use crate::harness::{Client, name_of, now_ms};

/// Offsets of a batch's fields (Kafka's message format, version 2).
pub const LENGTH_AT: usize = 8;
pub const MAGIC_AT: usize = 16;
pub const CRC_AT: usize = 17;
pub const ATTRIBUTES_AT: usize = 21;
pub const LAST_OFFSET_DELTA_AT: usize = 23;
pub const PRODUCER_ID_AT: usize = 43;
pub const RECORD_COUNT_AT: usize = 57;
pub const RECORDS_AT: usize = 61;

/// A sound batch of `count` small records.
pub fn batch(codec: Codec, count: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    for i in 0..count {
        builder.append(now_ms(), Some(b"key"), Some(format!("value {i}").as_bytes()), &[("header", Some(b"x"))]);
    }
    builder.build(0, -1)
}

/// Writes over some bytes of a batch, and makes its CRC right again.
pub fn bend(mut batch: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    seal(batch)
}

/// Puts other bytes where the records are, for the same count of records.
pub fn with_records(batch: &[u8], records: &[u8]) -> Vec<u8> {
    let mut bent = batch[..RECORDS_AT].to_vec();
    bent.extend_from_slice(records);
    let length = (bent.len() - 12) as i32;
    bent[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_be_bytes());
    seal(bent)
}

fn seal(mut batch: Vec<u8>) -> Vec<u8> {
    let crc = crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// CRC-32C bit by bit: these tests take nothing from the code that they try.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0x82F6_3B78 } else { 0 })
    })
}

/// What a producer was told for one partition.
#[derive(Debug, PartialEq)]
pub struct Told {
    pub error: &'static str,
    pub base_offset: i64,
}

/// The request that produces these bytes to partition 0, in a version that names topics.
pub fn request<'a>(topic: &'a str, acks: i16, records: Option<&'a [u8]>) -> ProduceRequest<'a> {
    let partition = produce_request::PartitionProduceData {
        index: 0,
        records: records.map(|bytes| Records::Bytes(Bytes::Borrowed(bytes))),
    };
    let topic = produce_request::TopicProduceData {
        name: topic.into(),
        partition_data: vec![partition].into(),
        ..Default::default()
    };
    ProduceRequest { transactional_id: None, acks, timeout_ms: 30_000, topic_data: vec![topic].into() }
}

pub fn told(response: ProduceResponse<'_>) -> Told {
    let topic = response.responses.first().expect("a topic's answer");
    let partition = topic.partition_responses.first().expect("a partition's answer");
    Told { error: name_of(partition.error_code), base_offset: partition.base_offset }
}

impl Client {
    pub fn produce(&mut self, topic: &str, records: &[u8]) -> Told {
        self.produce_as(12, topic, records)
    }

    pub fn produce_as(&mut self, version: i16, topic: &str, records: &[u8]) -> Told {
        self.call(version, &request(topic, -1, Some(records)), told)
    }

    /// Expects a refusal by this name, and that the log did not change.
    pub fn refuses(&mut self, topic: &str, records: &[u8], error: &str) {
        let before = self.end_offset(topic);
        let told = self.produce(topic, records);
        assert_eq!(told, Told { error: told.error, base_offset: -1 });
        assert_eq!(told.error, error);
        assert_eq!(self.end_offset(topic), before, "a refused batch changed the log");
    }
}
