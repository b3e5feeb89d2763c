//! Groups: sizes, ids and metadata beyond reason.

use std::time::{Duration, Instant};

use wire::messages::*;

use crate::harness::{Broker, Client, name_of, unique};

/// The coordinator of a new broker may take a moment.
fn ready(client: &mut Client, group: &str) {
    let request = FindCoordinatorRequest { key: group.into(), key_type: 0, ..Default::default() };
    let started = Instant::now();
    while client.call(3, &request, |r| r.error_code) != 0 || commit(client, group, "") != "NONE" {
        assert!(started.elapsed().as_secs() < 60, "no coordinator");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn commit(client: &mut Client, group: &str, metadata: &str) -> &'static str {
    commit_to(client, group, "committed-to", metadata)
}

fn commit_to(client: &mut Client, group: &str, topic: &str, metadata: &str) -> &'static str {
    let partition = offset_commit_request::OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: 5,
        committed_leader_epoch: -1,
        committed_metadata: Some(metadata.into()),
    };
    let topic = offset_commit_request::OffsetCommitRequestTopic {
        name: topic.into(),
        partitions: vec![partition].into(),
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic].into(),
        ..Default::default()
    };
    client.call(7, &request, |r| name_of(r.topics.first().unwrap().partitions.first().unwrap().error_code))
}

fn prepared() -> (Broker, Client, String) {
    let broker = Broker::start();
    let mut client = broker.connect();
    if client.end_offset("committed-to").is_none() {
        client.create_topic("committed-to", &[]);
    }
    let group = unique("group");
    ready(&mut client, &group);
    (broker, client, group)
}

fn join<'a>(group: &'a str, member: &'a str, session_ms: i32, protocols: usize) -> JoinGroupRequest<'a> {
    let protocol = |i: usize| join_group_request::JoinGroupRequestProtocol {
        name: format!("p{i}").into(),
        metadata: (&b"metadata"[..]).into(),
    };
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: session_ms,
        rebalance_timeout_ms: 10_000,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: (0..protocols).map(protocol).collect(),
        ..Default::default()
    }
}

#[test]
fn commit_metadata_over_its_limit_is_too_large() {
    let (_broker, mut client, group) = prepared();
    assert_eq!(commit(&mut client, &group, &"x".repeat(4096)), "NONE");
    for length in [4097, 30_000] {
        assert_eq!(commit(&mut client, &group, &"x".repeat(length)), "OFFSET_METADATA_TOO_LARGE");
    }
}

#[test]
fn a_commit_for_a_topic_that_is_not_there_is_refused() {
    let (_broker, mut client, group) = prepared();
    assert_eq!(commit_to(&mut client, &group, "no-such-topic-here", ""), "UNKNOWN_TOPIC_OR_PARTITION");
}

#[test]
fn an_empty_group_id_is_invalid() {
    let (_broker, mut client, _) = prepared();
    assert_eq!(name_of(client.call(5, &join("", "", 10_000, 1), |r| r.error_code)), "INVALID_GROUP_ID");
}

#[test]
fn a_group_id_of_thirty_kilobytes_harms_nobody() {
    let (mut broker, mut client, _) = prepared();
    for round in 0..20 {
        let long = format!("{round:-<30000}");
        let error = name_of(client.call(5, &join(&long, "", 10_000, 1), |r| r.error_code));
        assert!(["MEMBER_ID_REQUIRED", "INVALID_GROUP_ID", "NOT_COORDINATOR"].contains(&error), "{error}");
    }
    broker.is_well();
}

#[test]
fn session_timeouts_out_of_range_are_invalid() {
    let (_broker, mut client, group) = prepared();
    for ms in [0, -1, 900, 1_800_001, i32::MIN, i32::MAX] {
        let error = name_of(client.call(5, &join(&group, "", ms, 1), |r| r.error_code));
        assert_eq!(error, "INVALID_SESSION_TIMEOUT", "{ms} ms");
    }
}

#[test]
fn a_member_that_is_not_known_is_refused_everywhere() {
    let (_broker, mut client, group) = prepared();
    assert_eq!(name_of(client.call(5, &join(&group, "nobody", 10_000, 1), |r| r.error_code)), "UNKNOWN_MEMBER_ID");
    let heartbeat = HeartbeatRequest {
        group_id: group.as_str().into(),
        generation_id: 1,
        member_id: "nobody".into(),
        ..Default::default()
    };
    assert_eq!(name_of(client.call(3, &heartbeat, |r| r.error_code)), "UNKNOWN_MEMBER_ID");
    let sync = SyncGroupRequest {
        group_id: group.as_str().into(),
        generation_id: 1,
        member_id: "nobody".into(),
        ..Default::default()
    };
    assert_eq!(name_of(client.call(3, &sync, |r| r.error_code)), "UNKNOWN_MEMBER_ID");
}

#[test]
fn a_join_without_protocols_is_inconsistent() {
    let (_broker, mut client, group) = prepared();
    // The first join earns a member id, the second is looked at.
    let member = client.call(5, &join(&group, "", 10_000, 1), |r| {
        assert_eq!(name_of(r.error_code), "MEMBER_ID_REQUIRED");
        r.member_id.to_string()
    });
    let error = name_of(client.call(5, &join(&group, &member, 10_000, 0), |r| r.error_code));
    assert_eq!(error, "INCONSISTENT_GROUP_PROTOCOL");
}

#[test]
fn many_pending_members_are_bounded_in_memory() {
    let (mut broker, mut client, group) = prepared();
    broker.growth_mib = 48.0;
    // Each asks for a member id and never comes back with it.
    for _ in 0..20_000 {
        client.send(5, &join(&group, "", 10_000, 1));
        client.answer();
    }
    broker.is_well();
}

#[test]
fn a_group_with_a_size_limit_turns_the_next_member_away() {
    let broker = Broker::with(&[("group.max.size", "2")]);
    if broker.data().is_none() {
        return; // somebody else's broker has settings of its own
    }
    let mut client = broker.connect();
    client.create_topic("committed-to", &[]);
    let group = unique("small");
    ready(&mut client, &group);
    let mut members: Vec<Client> = (0..3).map(|_| broker.connect()).collect();
    let ask = |member: &mut Client, id: &str| {
        member.call(5, &join(&group, id, 10_000, 1), |r| (name_of(r.error_code), r.member_id.to_string()))
    };
    let (_, first) = ask(&mut members[0], "");
    assert_eq!(ask(&mut members[0], &first).0, "NONE");
    let (error, second) = ask(&mut members[1], "");
    assert_eq!(error, "MEMBER_ID_REQUIRED");
    // The second waits for the first to join again; with both in, the group is full. The first must come after the
    // second, or the group is complete without it.
    members[1].send(5, &join(&group, &second, 10_000, 1));
    let heartbeat = HeartbeatRequest {
        group_id: group.as_str().into(),
        generation_id: 1,
        member_id: first.as_str().into(),
        ..Default::default()
    };
    let deadline = Instant::now() + Duration::from_secs(9);
    while members[0].call(3, &heartbeat, |r| name_of(r.error_code)) != "REBALANCE_IN_PROGRESS" {
        assert!(Instant::now() < deadline, "the second member's join never reached the group");
    }
    assert_eq!(ask(&mut members[0], &first).0, "NONE");
    members[1].answer();
    assert_eq!(ask(&mut members[2], "").0, "GROUP_MAX_SIZE_REACHED");
}

#[test]
fn a_flood_of_commits_leaves_a_small_log() {
    let settings = [
        ("log.roll.ms", "20"),
        ("log.cleaner.backoff.ms", "20"),
        ("log.cleaner.min.cleanable.ratio", "0.01"),
        ("log.segment.delete.delay.ms", "0"),
    ];
    let broker = Broker::with(&settings);
    let Some(data) = broker.data() else { return }; // whatever broker it is, it has other settings
    let mut client = broker.connect();
    client.create_topic("committed-to", &[]);
    let group = unique("group");
    ready(&mut client, &group);
    let metadata = "m".repeat(2000);
    for _ in 0..1000 {
        assert_eq!(commit(&mut client, &group, &metadata), "NONE");
    }
    let size = || -> u64 {
        let files = std::fs::read_dir(data.join("__consumer_offsets-0")).unwrap();
        // A file may be removed while the folder is read.
        files.filter_map(|file| Some(file.unwrap().metadata().ok()?.len())).sum()
    };
    let started = Instant::now();
    while size() > 200_000 {
        assert!(started.elapsed() < Duration::from_secs(60), "{} bytes for one group", size());
        // The active segment is never compacted: a commit begins a new one.
        assert_eq!(commit(&mut client, &group, "last"), "NONE");
        std::thread::sleep(Duration::from_millis(25));
    }
}
