//! Names of topics that would be paths, or worse.

use wire::messages::*;

use crate::batches::batch;
use crate::harness::{Broker, Client, name_of, unique};

fn bad_names() -> Vec<String> {
    let long = "x".repeat(250);
    let names =
        ["", ".", "..", "a/b", "../escape", "/etc", "a\0b", "토픽", "a b", "a:b", "a\\b", "a*", "\u{202e}a", &long];
    names.into_iter().map(str::to_owned).chain([["y"; 30_000].concat()]).collect()
}

fn create(client: &mut Client, name: &str) -> &'static str {
    let topic = create_topics_request::CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic].into(), timeout_ms: 10_000, ..Default::default() };
    client.call(7, &request, |r| name_of(r.topics.first().unwrap().error_code))
}

#[test]
fn topics_with_such_names_are_not_created() {
    let broker = Broker::start();
    let mut client = broker.connect();
    for name in bad_names() {
        assert_eq!(create(&mut client, &name), "INVALID_TOPIC_EXCEPTION", "{:.20?}", name);
    }
    assert_eq!(create(&mut client, &format!("{:z<249}", unique("longest"))), "NONE");
}

#[test]
fn asking_for_them_creates_nothing_either() {
    let broker = Broker::start();
    let mut client = broker.connect();
    for name in bad_names() {
        let topic = metadata_request::MetadataRequestTopic { name: Some(name.as_str().into()), ..Default::default() };
        let request =
            MetadataRequest { topics: Some(vec![topic].into()), allow_auto_topic_creation: true, ..Default::default() };
        let error = client.call(9, &request, |r| name_of(r.topics.first().unwrap().error_code));
        assert_eq!(error, "INVALID_TOPIC_EXCEPTION", "{:.20?}", name);
    }
    if let Some(data) = broker.data() {
        let made: Vec<_> = std::fs::read_dir(data).unwrap().flatten().filter(|e| e.path().is_dir()).collect();
        assert!(made.iter().all(|e| e.file_name() == "__cluster_metadata-0"), "{made:?}");
    }
}

#[test]
fn writing_and_reading_under_them_finds_nothing() {
    let broker = Broker::start();
    let mut client = broker.connect();
    let sound = batch(wire::records::Codec::None, 1);
    for name in bad_names() {
        let told = client.produce(&name, &sound);
        assert!(["UNKNOWN_TOPIC_OR_PARTITION", "INVALID_TOPIC_EXCEPTION"].contains(&told.error), "{told:?}");
        assert_eq!(client.end_offset(&name), None);
    }
}

#[test]
fn names_that_differ_only_in_dot_and_underscore_collide() {
    let broker = Broker::start();
    let mut client = broker.connect();
    let name = unique("a.b");
    assert_eq!(create(&mut client, &name), "NONE");
    assert_eq!(create(&mut client, &name.replace('.', "_")), "INVALID_TOPIC_EXCEPTION");
}

#[test]
fn a_name_twice_in_one_request_is_refused() {
    let broker = Broker::start();
    let mut client = broker.connect();
    let name = unique("twice");
    let topic = create_topics_request::CreatableTopic {
        name: name.as_str().into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request =
        CreateTopicsRequest { topics: vec![topic.clone(), topic].into(), timeout_ms: 10_000, ..Default::default() };
    let errors = client.call(7, &request, |r| r.topics.iter().map(|t| name_of(t.error_code)).collect::<Vec<_>>());
    assert_eq!(errors, ["INVALID_REQUEST"]);
    assert_eq!(client.end_offset(&name), None);
}

#[test]
fn more_partitions_than_anybody_could_want_are_refused_quickly() {
    let mut broker = Broker::start();
    broker.growth_mib = 32.0;
    let mut client = broker.connect();
    for partitions in [0, -2, i32::MIN, i32::MAX, 2_000_000] {
        let topic = create_topics_request::CreatableTopic {
            name: unique("wide").into(),
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic].into(), timeout_ms: 10_000, ..Default::default() };
        let error = client.call(7, &request, |r| name_of(r.topics.first().unwrap().error_code));
        assert_ne!(error, "NONE", "{partitions} partitions");
        broker.is_well();
    }
}

/// What is not UTF-8 is replaced, by three bytes for each of its own: the name is longer then than any that can be written.
#[test]
fn a_setting_whose_name_is_no_utf8_stops_no_controller() {
    let mut broker = Broker::start();
    for (resource_type, resource_name) in [(4, ""), (32, "group")] {
        let config = incremental_alter_configs_request::AlterableConfig {
            name: "?".repeat(20_000).into(),
            config_operation: 0,
            value: Some("1".into()),
        };
        let resource = incremental_alter_configs_request::AlterConfigsResource {
            resource_type,
            resource_name: resource_name.into(),
            configs: vec![config].into(),
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource].into(), ..Default::default() };
        let mut client = broker.connect();
        let mut content = client.encode(0, &request);
        content.iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = 0xff);
        client.send_frame(&content);
        client.is_closed();
        broker.is_well();
    }
    assert_eq!(create(&mut broker.connect(), &unique("made")), "NONE", "there is a controller");
}
