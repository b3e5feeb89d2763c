//! The hot path takes no memory: a Produce or Fetch request is read without any, an answer is written with none
//! beyond the buffer.

#![allow(unsafe_code, reason = "an allocator that counts")]
#![allow(clippy::unwrap_used)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::Arc,
};

use wire::{
    codec::{Array, Decoder, Encoder, FileRegion, Message},
    header::{parse_request_header, write_request_header, write_response_header},
    messages::{fetch_request::*, fetch_response, produce_request::*, produce_response},
    *,
};

struct Counting;

thread_local!(static ALLOCATIONS: Cell<usize> = const { Cell::new(0) });

// SAFETY: every call goes on to the system's allocator as it came; counting takes no memory.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller's promises are those that the system's allocator asks for.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    // SAFETY: as above.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    // SAFETY: as above.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many times memory was asked for meanwhile.
fn allocations<T>(action: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATIONS.with(Cell::get);
    let value = action();
    (value, ALLOCATIONS.with(Cell::get) - before)
}

fn produce_request(topics: usize, partitions: i32) -> ProduceRequest<'static> {
    let topic = |n| TopicProduceData {
        name: format!("topic-{n}").into(),
        topic_id: Uuid::from_u128(n as u128),
        partition_data: (0..partitions)
            .map(|index| PartitionProduceData { index, records: Some(vec![1; 70].into()) })
            .collect(),
    };
    ProduceRequest {
        transactional_id: Some("t".into()),
        acks: -1,
        timeout_ms: 30_000,
        topic_data: (0..topics).map(topic).collect(),
    }
}

#[test]
fn a_produce_request_is_read_without_memory() {
    for version in 3..=13 {
        let mut e = Encoder::new();
        write_request_header(&mut e, ApiKey::Produce, version, 1, Some("client")).unwrap();
        produce_request(3, 4).encode(&mut e, version).unwrap();
        let (bytes, count) = allocations(|| {
            let (header, body) = parse_request_header(e.bytes()).unwrap();
            let mut d = Decoder::new(&e.bytes()[body..]);
            let request = ProduceRequest::decode(&mut d, header.version).unwrap();
            let mut bytes = 0;
            for topic in &request.topic_data {
                for partition in &topic.partition_data {
                    bytes += partition.records.as_ref().unwrap().borrowed().unwrap().len() + topic.name.len();
                }
            }
            bytes
        });
        assert!(bytes >= 12 * 70, "{bytes}");
        assert_eq!(count, 0, "version {version}");
    }
}

#[test]
fn a_fetch_request_is_read_without_memory() {
    let partitions: Vec<_> = (0..10).map(|partition| FetchPartition { partition, ..Default::default() }).collect();
    let topic = FetchTopic { topic: "t".into(), partitions: partitions.into(), ..Default::default() };
    let request = FetchRequest { topics: [topic].into(), ..Default::default() };
    for version in FetchRequest::VERSIONS {
        let bytes = request.to_bytes(version).unwrap();
        let (sum, count) = allocations(|| {
            let request = FetchRequest::decode(&mut Decoder::new(&bytes), version).unwrap();
            request.topics.iter().map(|t| t.partitions.iter().map(|p| p.partition).sum::<i32>()).sum::<i32>()
        });
        assert_eq!((sum, count), (45, 0), "version {version}");
    }
}

#[test]
fn answers_are_written_into_the_buffer_alone() {
    let file = Arc::new(std::fs::File::open("/dev/null").unwrap());
    let mut e = Encoder::new();
    for round in 0..2 {
        let ((), count) = allocations(|| {
            e.clear();
            for version in 4..=13 {
                let partitions =
                    [produce_response::PartitionProduceResponse { index: 1, base_offset: 5, ..Default::default() }];
                let topics = [produce_response::TopicProduceResponse {
                    name: "topic".into(),
                    partition_responses: Array::from(&partitions[..]),
                    ..Default::default()
                }];
                let response = messages::ProduceResponse { responses: Array::from(&topics[..]), ..Default::default() };
                let frame = e.begin_frame();
                write_response_header(&mut e, ApiKey::Produce, version, 7);
                response.encode(&mut e, version).unwrap();
                e.end_frame(frame).unwrap();

                let region = FileRegion { file: file.clone(), position: 0, length: 1 << 20, prefer_copy: false };
                let partitions = [fetch_response::PartitionData { records: Some(region.into()), ..Default::default() }];
                let topics = [fetch_response::FetchableTopicResponse {
                    topic: "topic".into(),
                    partitions: Array::from(&partitions[..]),
                    ..Default::default()
                }];
                let response = messages::FetchResponse { responses: Array::from(&topics[..]), ..Default::default() };
                let frame = e.begin_frame();
                write_response_header(&mut e, ApiKey::Fetch, version, 7);
                response.encode(&mut e, version).unwrap();
                e.end_frame(frame).unwrap();
            }
        });
        if round == 1 {
            assert_eq!(count, 0);
        }
    }
    assert_eq!(e.regions().len(), 10);
}

#[test]
fn a_claimed_count_takes_no_memory() {
    let mut bytes = vec![0; 64];
    bytes[..4].copy_from_slice(&i32::MAX.to_be_bytes());
    for (name, version) in [("MetadataRequest", 1), ("DeleteGroupsRequest", 0), ("LeaveGroupRequest", 3)] {
        struct Reads(i16);
        impl messages::testing::Visitor for Reads {
            fn visit<'a, M: Message<'a> + PartialEq + std::fmt::Debug + Default>(&mut self, bytes: &'a [u8]) {
                let (outcome, count) = allocations(|| M::decode(&mut Decoder::new(bytes), self.0).is_ok());
                assert_eq!((outcome, count), (false, 0), "{}", M::NAME);
            }
        }
        messages::testing::visit(name, &bytes, &mut Reads(version));
    }
}
