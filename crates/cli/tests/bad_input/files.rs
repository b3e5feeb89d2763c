//! Clients that take the descriptors which the logs need, or use a topic while it is deleted: no fault of the disk.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wire::messages::*;
use wire::records::{BatchBuilder, Codec};

use crate::batches::batch;
use crate::harness::{Broker, Client, name_of, now_ms, unique};

/// More than the broker of these tests may have files open.
const PARTITIONS: i32 = 200;
const DESCRIPTORS: u32 = 128;
/// What the requests of `Client::produce` give the broker.
const PRODUCE_TIMEOUT: Duration = Duration::from_secs(30);

fn create(client: &mut Client, topic: &str, partitions: i32, configs: &[(&'static str, &'static str)]) {
    let config = |(name, value): &(&'static str, &'static str)| create_topics_request::CreatableTopicConfig {
        name: (*name).into(),
        value: Some((*value).into()),
    };
    let topic = create_topics_request::CreatableTopic {
        name: topic.into(),
        num_partitions: partitions,
        replication_factor: 1,
        configs: configs.iter().map(config).collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic].into(), timeout_ms: 30_000, ..Default::default() };
    assert_eq!(client.call(7, &request, |r| name_of(r.topics.first().unwrap().error_code)), "NONE");
}

/// One batch for each partition; the errors.
fn produce_everywhere(client: &mut Client, topic: &str) -> Vec<&'static str> {
    let records = batch(Codec::None, 3);
    let data = |index| produce_request::PartitionProduceData { index, records: Some(records.as_slice().into()) };
    let topic = produce_request::TopicProduceData {
        name: topic.into(),
        partition_data: (0..PARTITIONS).map(data).collect(),
        ..Default::default()
    };
    let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic].into(), ..Default::default() };
    client.call(9, &request, |r| {
        r.responses.first().unwrap().partition_responses.iter().map(|p| name_of(p.error_code)).collect()
    })
}

/// Fetches all partitions from their beginning; error and bytes of each.
fn fetch_everywhere(client: &mut Client, topic: &str) -> Vec<(&'static str, bool)> {
    let partition = |partition| fetch_request::FetchPartition {
        partition,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic = fetch_request::FetchTopic {
        topic: topic.into(),
        partitions: (0..PARTITIONS).map(partition).collect(),
        ..Default::default()
    };
    let request = FetchRequest {
        replica_id: -1,
        min_bytes: 1,
        max_bytes: 50 << 20,
        session_epoch: -1,
        topics: vec![topic].into(),
        ..Default::default()
    };
    client.call(11, &request, |r| {
        let topic = r.responses.first().unwrap();
        let partitions = topic.partitions.iter();
        partitions.map(|p| (name_of(p.error_code), p.records.as_ref().is_some_and(|r| !r.is_empty()))).collect()
    })
}

#[test]
fn a_fetch_of_more_partitions_than_descriptors_is_answered_whole() {
    let broker = Broker::with_descriptors(DESCRIPTORS);
    let (mut client, topic) = (broker.connect(), unique("wide"));
    create(&mut client, &topic, PARTITIONS, &[]);
    assert!(produce_everywhere(&mut client, &topic).iter().all(|error| *error == "NONE"));
    let fetched = fetch_everywhere(&mut client, &topic);
    assert_eq!(fetched.len(), PARTITIONS as usize);
    assert!(fetched.iter().all(|fetched| *fetched == ("NONE", true)), "{fetched:?}");
}

#[test]
fn a_flood_of_connections_leaves_the_logs_their_descriptors() {
    let broker = Broker::with_descriptors(DESCRIPTORS);
    let (mut client, topic) = (broker.connect(), unique("flooded"));
    // The kernel takes those that the broker lets wait.
    let flood: Vec<_> = (0..2 * DESCRIPTORS).map(|_| TcpStream::connect(&broker.address).unwrap()).collect();
    create(&mut client, &topic, PARTITIONS, &[]);
    assert!(produce_everywhere(&mut client, &topic).iter().all(|error| *error == "NONE"));
    assert!(fetch_everywhere(&mut client, &topic).iter().all(|fetched| *fetched == ("NONE", true)));
    drop(flood);
}

#[test]
fn a_topic_in_use_while_it_is_deleted_takes_no_log_directory_along() {
    let broker = Broker::start();
    let topic = unique("doomed");
    let (over, started) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut client = broker.connect();
                while !over.load(Ordering::Relaxed) {
                    client.produce(&topic, &batch(Codec::None, 1));
                    use_by_offset(&mut client, &topic);
                }
            });
        }
        let mut client = broker.connect();
        for _ in 0..60 {
            create(&mut client, &topic, 1, &[("flush.messages", "1"), ("file.delete.delay.ms", "0")]);
            client.produce(&topic, &batch(Codec::None, 1));
            let request = DeleteTopicsRequest {
                topic_names: vec![topic.as_str().into()].into(),
                timeout_ms: 30_000,
                ..Default::default()
            };
            client.call(5, &request, |r| assert_eq!(name_of(r.responses.first().unwrap().error_code), "NONE"));
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(started.elapsed() < PRODUCE_TIMEOUT, "a Produce waited for a partition that was gone");
}

/// Looks for a time and deletes records: both open files, whatever they find.
fn use_by_offset(client: &mut Client, topic: &str) {
    let partition = list_offsets_request::ListOffsetsPartition { timestamp: 1, ..Default::default() };
    let wanted = list_offsets_request::ListOffsetsTopic { name: topic.into(), partitions: vec![partition].into() };
    client.call(1, &ListOffsetsRequest { replica_id: -1, topics: vec![wanted].into(), ..Default::default() }, |_| ());
    let partition = delete_records_request::DeleteRecordsPartition { partition_index: 0, offset: -1 };
    let wanted = delete_records_request::DeleteRecordsTopic { name: topic.into(), partitions: vec![partition].into() };
    let request = DeleteRecordsRequest { topics: vec![wanted].into(), timeout_ms: 1000, ..Default::default() };
    client.call(1, &request, |_| ());
}

/// The leader of each partition, as Metadata tells it.
fn leaders(client: &mut Client, topic: &str) -> Vec<i32> {
    let named = metadata_request::MetadataRequestTopic { name: Some(topic.into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![named].into()), ..Default::default() };
    client.call(12, &request, |r| {
        let topic = r.topics.first().unwrap();
        let mut leaders: Vec<(i32, i32)> = topic.partitions.iter().map(|p| (p.partition_index, p.leader_id)).collect();
        leaders.sort_unstable();
        leaders.into_iter().map(|(_, leader)| leader).collect()
    })
}

/// One large batch for one partition.
fn produce_to(client: &mut Client, topic: &str, index: i32) -> &'static str {
    let mut records = BatchBuilder::new(Codec::None);
    records.append(now_ms(), None, Some(&vec![b'x'; 600_000]), &[]);
    let records = records.build(0, -1);
    let data = produce_request::PartitionProduceData { index, records: Some(records.as_slice().into()) };
    let topic = produce_request::TopicProduceData {
        name: topic.into(),
        partition_data: vec![data].into(),
        ..Default::default()
    };
    let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic].into(), ..Default::default() };
    client.call(9, &request, |r| name_of(r.responses.first().unwrap().partition_responses.first().unwrap().error_code))
}

#[test]
fn of_two_directories_one_may_fail_and_the_cluster_knows() {
    let folder = tempfile::tempdir().unwrap();
    let dirs = ["first", "second"].map(|name| folder.path().join(name));
    let both = format!("{},{}", dirs[0].display(), dirs[1].display());
    let broker = Broker::with(&[("log.dirs", &both)]);
    if broker.data().is_none() {
        return; // somebody else's broker has no files of ours
    }
    let mut client = broker.connect();
    let topic = unique("spread");
    create(&mut client, &topic, 2, &[("segment.bytes", "1048576")]);
    let at = |index: i32| dirs[1].join(format!("{topic}-{index}"));
    let doomed = (0..2).find(|index| at(*index).is_dir()).expect("each directory has a partition");
    std::fs::remove_dir_all(at(doomed)).unwrap();
    // At the latest the second batch wants a new segment, which can have no file any more.
    let answers: Vec<&str> = (0..2).map(|_| produce_to(&mut client, &topic, doomed)).collect();
    assert!(answers.contains(&"KAFKA_STORAGE_ERROR"), "{answers:?}");
    let begun = Instant::now();
    while leaders(&mut client, &topic)[doomed as usize] != -1 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the failed partition still has a leader");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(produce_to(&mut client, &topic, 1 - doomed), "NONE");
    assert_eq!(leaders(&mut client, &topic)[(1 - doomed) as usize], 1);
}
