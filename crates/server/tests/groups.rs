//! Groups against the running broker, over the wire: what Apache Kafka 4.3.1 answered to the same requests, and what is
//! refused because it is too much.
//!
//! `fixtures/group-answers-4.3.1.txt` has Kafka's answers, one a line, in the order in which [`conversation`] asks. Kafka
//! ran with `group.initial.rebalance.delay.ms=0` and the topics "t" and "u" of two partitions.

#![allow(clippy::unwrap_used)] // clippy sees tests only where they are marked as such, not their helpers

use std::fmt::{Debug, Write as _};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use wire::codec::{Decoder, Encoder, Message, Request, Str};
use wire::messages::{
    CreateTopicsRequest, DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest,
    InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, MetadataRequest,
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest,
    create_topics_request, join_group_request, leave_group_request, offset_commit_request, offset_delete_request,
    offset_fetch_request, sync_group_request,
};
use wire::{ErrorCode, Uuid, header};

const KAFKAS_ANSWERS: &str = include_str!("fixtures/group-answers-4.3.1.txt");

/// One broker for all tests, each of which has groups of its own. It ends with the process.
fn port() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("groups");
        // What the run before this one left.
        let _ = std::fs::remove_dir_all(&folder);
        let port = testkit::free_port();
        let setting = |name: &str, value: String| (name.to_owned(), value);
        let overrides = vec![
            setting("listeners", format!("PLAINTEXT://localhost:{port}")),
            setting("log.dirs", folder.display().to_string()),
            setting("group.initial.rebalance.delay.ms", "0".to_owned()),
        ];
        std::thread::spawn(move || server::main(server::StartArgs { properties_file: None, overrides }));
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "the broker does not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
        let topic = |name: &'static str| create_topics_request::CreatableTopic {
            name: name.into(),
            num_partitions: 2,
            replication_factor: 1,
            ..Default::default()
        };
        let topics = vec![topic("t"), topic("u")].into();
        let mut client = Client::at(port);
        client.ask(7, &CreateTopicsRequest { topics, timeout_ms: 10_000, ..Default::default() }, |created| {
            assert!(created.topics.iter().all(|topic| topic.error_code == 0), "{created:?}");
        });
        // The very first question is answered with a coordinator that serves: Kafka sends the client away.
        let first = FindCoordinatorRequest { key: "first".into(), ..Default::default() };
        client.ask(3, &first, |found| assert_eq!((found.error_code, found.port), (0, i32::from(port))));
        let error = client.ask(8, &commit("first", -1, "", "t", 0), only_error);
        assert_eq!(error, 0);
        port
    })
}

struct Client {
    stream: TcpStream,
    transcript: String,
}

impl Client {
    fn new() -> Client {
        Client::at(port())
    }

    fn at(port: u16) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Client { stream, transcript: String::new() }
    }

    fn send<'q, Q: Request + Message<'q>>(&mut self, version: i16, request: &Q) {
        let mut out = Encoder::new();
        header::write_request_header(&mut out, Q::KEY, version, 7, Some("cli")).unwrap();
        request.encode(&mut out, version).unwrap();
        let body = out.into_bytes();
        let frame = [&(body.len() as u32).to_be_bytes()[..], &body].concat();
        self.stream.write_all(&frame).unwrap();
    }

    fn receive<Q: Request, T>(&mut self, version: i16, look: impl FnOnce(Q::Response<'_>) -> T) -> T {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).unwrap();
        let (_, body) = header::parse_response_header(&frame, Q::KEY, version).unwrap();
        look(Q::Response::decode(&mut Decoder::new(&frame[body..]), version).unwrap())
    }

    fn ask<'q, Q: Request + Message<'q>, T>(
        &mut self,
        version: i16,
        request: &Q,
        look: impl FnOnce(Q::Response<'_>) -> T,
    ) -> T {
        self.send(version, request);
        self.receive::<Q, T>(version, look)
    }

    /// Asks, and writes the answer down under a name.
    fn note<'q, Q: Request + Message<'q>>(&mut self, name: &str, version: i16, request: &Q)
    where
        for<'r> Q::Response<'r>: Debug,
    {
        let answer = self.ask(version, request, |answer| format!("{answer:?}"));
        self.write_down(name, &answer);
    }

    fn write_down(&mut self, name: &str, answer: &str) {
        let answer = mask_uuids(answer).replace(&format!("port: {}", port()), "port: PORT");
        writeln!(self.transcript, "{name}: {answer}").unwrap();
    }

    /// As [`Client::note`], for every version of a range.
    fn each<'q, Q: Request + Message<'q>>(&mut self, name: &str, versions: impl Iterator<Item = i16>, request: &Q)
    where
        for<'r> Q::Response<'r>: Debug,
    {
        versions.for_each(|version| self.note(&format!("{name} v{version}"), version, request));
    }

    /// As [`Client::note`], and returns the member's id and generation.
    fn join(&mut self, name: &str, version: i16, request: &JoinGroupRequest<'_>) -> (String, i32) {
        let (answer, id, generation) = self.ask(version, request, |joined| {
            (format!("{joined:?}"), joined.member_id.to_string(), joined.generation_id)
        });
        self.write_down(name, &answer);
        (id, generation)
    }
}

/// The error of the one partition that was committed.
fn only_error(done: OffsetCommitResponse<'_>) -> i16 {
    done.topics.first().unwrap().partitions.first().unwrap().error_code
}

/// Members' ids differ from run to run.
fn mask_uuids(text: &str) -> String {
    let is_uuid = |text: &[u8]| {
        text.len() == 36
            && text.iter().enumerate().all(|(i, c)| match i {
                8 | 13 | 18 | 23 => *c == b'-',
                _ => c.is_ascii_hexdigit(),
            })
    };
    let mut masked = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let step = if rest.get(..36).is_some_and(|head| is_uuid(head.as_bytes())) { 36 } else { first.len_utf8() };
        masked.push_str(if step == 36 { "UUID" } else { &rest[..step] });
        rest = &rest[step..];
    }
    masked
}

fn join<'a>(group: &'a str, member: &'a str, instance: Option<&'a str>) -> JoinGroupRequest<'a> {
    let range = join_group_request::JoinGroupRequestProtocol {
        name: "range".into(),
        // A subscription of "t".
        metadata: b"\0\x01\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\0"[..].into(),
    };
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 20_000,
        member_id: member.into(),
        group_instance_id: instance.map(Into::into),
        protocol_type: "consumer".into(),
        protocols: vec![range].into(),
        ..Default::default()
    }
}

fn sync<'a>(group: &'a str, generation: i32, member: &'a str, instance: Option<&'a str>) -> SyncGroupRequest<'a> {
    SyncGroupRequest {
        group_id: group.into(),
        generation_id: generation,
        member_id: member.into(),
        group_instance_id: instance.map(Into::into),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        ..Default::default()
    }
}

fn assign<'a>(sync: SyncGroupRequest<'a>, assignments: &[(&'a str, &'a str)]) -> SyncGroupRequest<'a> {
    let assignments = assignments.iter().map(|(member, assignment)| sync_group_request::SyncGroupRequestAssignment {
        member_id: (*member).into(),
        assignment: assignment.as_bytes().into(),
    });
    SyncGroupRequest { assignments: assignments.collect(), ..sync }
}

fn heartbeat<'a>(group: &'a str, generation: i32, member: &'a str, instance: Option<&'a str>) -> HeartbeatRequest<'a> {
    HeartbeatRequest {
        group_id: group.into(),
        generation_id: generation,
        member_id: member.into(),
        group_instance_id: instance.map(Into::into),
    }
}

fn leave<'a>(group: &'a str, members: &[(&'a str, Option<&'a str>)]) -> LeaveGroupRequest<'a> {
    let members = members.iter().map(|(member, instance)| leave_group_request::MemberIdentity {
        member_id: (*member).into(),
        group_instance_id: instance.map(Into::into),
        ..Default::default()
    });
    LeaveGroupRequest { group_id: group.into(), members: members.collect(), ..Default::default() }
}

fn commit<'a>(group: &'a str, generation: i32, member: &'a str, topic: &'a str, index: i32) -> OffsetCommitRequest<'a> {
    let partition = offset_commit_request::OffsetCommitRequestPartition {
        partition_index: index,
        committed_offset: 7,
        ..Default::default()
    };
    let topic = offset_commit_request::OffsetCommitRequestTopic {
        name: topic.into(),
        partitions: vec![partition].into(),
        ..Default::default()
    };
    OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: generation,
        member_id: member.into(),
        topics: vec![topic].into(),
        ..Default::default()
    }
}

fn commit_with<'a>(group: &'a str, index: i32, metadata: &'a str) -> OffsetCommitRequest<'a> {
    let mut request = commit(group, -1, "", "t", index);
    let mut topic = request.topics.first().unwrap().into_owned();
    let partition = topic.partitions.first().unwrap().into_owned();
    let partition =
        offset_commit_request::OffsetCommitRequestPartition { committed_metadata: Some(metadata.into()), ..partition };
    topic.partitions = vec![partition].into();
    request.topics = vec![topic].into();
    request
}

fn fetch<'a>(group: &'a str, topics: &[(&'a str, &[i32])]) -> OffsetFetchRequest<'a> {
    let topics = topics.iter().map(|(name, partitions)| offset_fetch_request::OffsetFetchRequestTopic {
        name: (*name).into(),
        partition_indexes: partitions.to_vec().into(),
    });
    OffsetFetchRequest { group_id: group.into(), topics: Some(topics.collect()), ..Default::default() }
}

/// From version 8 on.
fn fetch_of<'a>(group: &'a str, topics: Option<(&'a str, &[i32])>) -> OffsetFetchRequest<'a> {
    let topics = topics.map(|(name, partitions)| {
        let topic = offset_fetch_request::OffsetFetchRequestTopics {
            name: name.into(),
            partition_indexes: partitions.to_vec().into(),
            ..Default::default()
        };
        vec![topic].into()
    });
    let group = offset_fetch_request::OffsetFetchRequestGroup { group_id: group.into(), topics, ..Default::default() };
    OffsetFetchRequest { groups: vec![group].into(), ..Default::default() }
}

fn describe<'a>(groups: &[&'a str], operations: bool) -> DescribeGroupsRequest<'a> {
    let groups = groups.iter().map(|group| Str::from(*group)).collect();
    DescribeGroupsRequest { groups, include_authorized_operations: operations }
}

fn delete_offset<'a>(group: &'a str, topic: &'a str, index: i32) -> OffsetDeleteRequest<'a> {
    let partition = offset_delete_request::OffsetDeleteRequestPartition { partition_index: index };
    let topic =
        offset_delete_request::OffsetDeleteRequestTopic { name: topic.into(), partitions: vec![partition].into() };
    OffsetDeleteRequest { group_id: group.into(), topics: vec![topic].into() }
}

fn delete<'a>(groups: &[&'a str]) -> DeleteGroupsRequest<'a> {
    DeleteGroupsRequest { groups_names: groups.iter().map(|group| Str::from(*group)).collect() }
}

/// What Kafka was asked too.
fn conversation(c: &mut Client) {
    strangers(c);
    offsets_without_members(c);
    a_dynamic_members_life(c);
    a_static_members_life(c);
}

fn strangers(c: &mut Client) {
    c.each("find", 0..=3, &FindCoordinatorRequest { key: "x".into(), ..Default::default() });
    let keys = vec![Str::from("x"), "y".into(), "".into()].into();
    c.each("find", 4..=6, &FindCoordinatorRequest { coordinator_keys: keys, ..Default::default() });
    for v in [0, 1, 2, 4, 5, 6, 7, 8, 9] {
        let new = || join("jr", "", None);
        c.note(&format!("join empty group v{v}"), v, &join("", "", None));
        c.note(&format!("join session v{v}"), v, &JoinGroupRequest { session_timeout_ms: 10, ..new() });
        c.note(&format!("join unknown member v{v}"), v, &join("jr", "who", None));
        c.note(&format!("join no protocols v{v}"), v, &JoinGroupRequest { protocols: Default::default(), ..new() });
        c.note(&format!("join no type v{v}"), v, &JoinGroupRequest { protocol_type: "".into(), ..new() });
    }
    for v in 0..=4 {
        c.note(&format!("hb nobody v{v}"), v, &heartbeat("nobody", 1, "m", None));
        c.note(&format!("hb empty v{v}"), v, &heartbeat("", 1, "m", None));
    }
    for v in [0, 2, 3, 4, 5] {
        c.note(&format!("sync nobody v{v}"), v, &sync("nobody", 1, "m", None));
        c.note(&format!("sync empty v{v}"), v, &sync("", 1, "m", None));
    }
    c.note("sync v5 no proto", 5, &SyncGroupRequest { protocol_name: None, ..sync("nobody", 1, "m", None) });
    for v in 0..=2 {
        for (name, group) in [("nobody", "nobody"), ("empty", "")] {
            let request = LeaveGroupRequest { group_id: group.into(), member_id: "m".into(), ..Default::default() };
            c.note(&format!("leave {name} v{v}"), v, &request);
        }
    }
    for v in 3..=5 {
        c.note(&format!("leave nobody v{v}"), v, &leave("nobody", &[("m", None), ("", Some("i"))]));
        c.note(&format!("leave empty v{v}"), v, &leave("", &[("m", None)]));
    }
}

fn offsets_without_members(c: &mut Client) {
    c.each("commit gen nobody", 2..=9, &commit("nobody", 3, "m", "t", 0));
    let large = "x".repeat(5_000);
    for v in 2..=9 {
        let group = format!("simple{v}");
        c.note(&format!("commit simple v{v}"), v, &commit_with(&group, 0, "meta"));
        c.note(&format!("commit simple gen v{v}"), v, &commit(&group, 3, "m", "t", 0));
        c.note(&format!("commit simple member v{v}"), v, &commit(&group, -1, "m", "t", 0));
        c.note(&format!("commit unknown topic v{v}"), v, &commit(&group, -1, "", "nope", 0));
        c.note(&format!("commit unknown part v{v}"), v, &commit(&group, -1, "", "t", 99));
        c.note(&format!("commit big v{v}"), v, &commit_with(&group, 1, &large));
        c.note(&format!("commit empty v{v}"), v, &commit("", -1, "", "t", 0));
        c.note(&format!("commit neg v{v}"), v, &commit(&group, -1, "", "t", 0));
    }
    for v in 1..=7 {
        c.note(&format!("fetch v{v}"), v, &fetch("simple8", &[("t", &[0, 1, 99]), ("nope", &[0])]));
        if v >= 2 {
            c.note(&format!("fetch all v{v}"), v, &OffsetFetchRequest { topics: None, ..fetch("simple8", &[]) });
        }
        c.note(&format!("fetch nobody v{v}"), v, &fetch("nobody", &[("t", &[0])]));
        c.note(&format!("fetch emptyname v{v}"), v, &fetch("", &[("t", &[0])]));
    }
    for v in 8..=9 {
        c.note(&format!("fetch v{v}"), v, &fetch_of("simple8", Some(("t", &[0, 1, 99]))));
        c.note(&format!("fetch nope v{v}"), v, &fetch_of("simple8", Some(("nope", &[0]))));
        c.note(
            &format!("fetch all v{v}"),
            v,
            &OffsetFetchRequest { require_stable: true, ..fetch_of("simple8", None) },
        );
        c.note(&format!("fetch all nobody v{v}"), v, &fetch_of("nobody", None));
        c.note(&format!("fetch nobody v{v}"), v, &fetch_of("nobody", Some(("t", &[0]))));
    }
    let mut of_member = fetch_of("simple8", Some(("t", &[0])));
    let group = of_member.groups.first().unwrap().into_owned();
    let group =
        offset_fetch_request::OffsetFetchRequestGroup { member_id: Some("mm".into()), member_epoch: 3, ..group };
    of_member.groups = vec![group].into();
    c.note("fetch member v9", 9, &of_member);
    topics_by_unknown_ids(c);
    c.each("describe", 0..=2, &describe(&["simple8", "nobody", ""], false));
    c.each("describe", 3..=6, &describe(&["simple8", "nobody", ""], true));
    c.note("odel nobody", 0, &delete_offset("nobody", "t", 0));
    c.note("odel unknown topic", 0, &delete_offset("simple7", "nope", 0));
    c.note("odel unknown part", 0, &delete_offset("simple7", "t", 99));
    c.note("odel", 0, &delete_offset("simple7", "t", 0));
    c.note("odel none", 0, &delete_offset("simple7", "t", 1));
    c.note("describe after odel", 6, &describe(&["simple7"], true));
    c.each("delete", 0..=2, &delete(&["nobody", ""]));
    c.note("delete simple7", 2, &delete(&["simple7"]));
    c.note("delete simple7 twice", 2, &delete(&["simple7", "simple7"]));
}

fn topics_by_unknown_ids(c: &mut Client) {
    let topic_id = Uuid([9; 16]);
    let mut by_id = fetch_of("simple8", Some(("", &[0, 1])));
    let mut group = by_id.groups.first().unwrap().into_owned();
    let topic = offset_fetch_request::OffsetFetchRequestTopics {
        topic_id,
        partition_indexes: vec![0, 1].into(),
        ..Default::default()
    };
    group.topics = Some(vec![topic].into());
    by_id.groups = vec![group].into();
    c.note("fetch v10 unknown id", 10, &by_id);
    let mut by_id = commit("simple8", -1, "", "", 0);
    let topic = by_id.topics.first().unwrap().into_owned();
    by_id.topics = vec![offset_commit_request::OffsetCommitRequestTopic { topic_id, ..topic }].into();
    c.note("commit v10 unknown id", 10, &by_id);
}

fn a_dynamic_members_life(c: &mut Client) {
    let (a, _) = c.join("join a", 9, &join("life", "", None));
    c.note("describe pending", 6, &describe(&["life"], true));
    c.note("commit while pending", 9, &commit("life", 1, &a, "t", 0));
    c.note("hb pending", 4, &heartbeat("life", 0, &a, None));
    c.note("sync pending", 5, &sync("life", 0, &a, None));
    let (_, g) = c.join("join a again", 9, &join("life", &a, None));
    c.note("describe completing", 6, &describe(&["life"], true));
    c.note("commit completing", 9, &commit("life", g, &a, "t", 0));
    c.note("commit completing badgen", 9, &commit("life", g - 1, &a, "t", 0));
    c.note("join a completing", 9, &join("life", &a, None));
    c.note("sync badgen", 5, &sync("life", g + 1, &a, None));
    c.note("sync", 5, &assign(sync("life", g, &a, None), &[(&a, "mine"), ("ghost", "x")]));
    c.note("sync again", 3, &sync("life", g, &a, None));
    c.note("describe stable", 6, &describe(&["life"], true));
    c.note("describe stable v2", 2, &describe(&["life"], false));
    c.note("hb", 4, &heartbeat("life", g, &a, None));
    c.note("hb badgen", 4, &heartbeat("life", g + 1, &a, None));
    c.note("hb stranger", 4, &heartbeat("life", g, "who", None));
    c.note("hb instance", 4, &heartbeat("life", g, &a, Some("i")));
    c.note("commit", 9, &commit("life", g, &a, "t", 0));
    c.note("commit simple into stable", 9, &commit("life", -1, "", "t", 0));
    c.note("commit -1 member", 9, &commit("life", -1, &a, "t", 0));
    c.note("commit stranger", 9, &commit("life", g, "who", "t", 0));
    c.note("odel subscribed", 0, &delete_offset("life", "t", 0));
    c.note("odel unsubscribed", 0, &delete_offset("life", "u", 0));
    c.note("delete life", 2, &delete(&["life"]));
    let connect = JoinGroupRequest { protocol_type: "connect".into(), ..join("life", "", None) };
    c.note("join other type", 9, &connect);
    c.note("leave stranger", 5, &leave("life", &[("who", None), (&a, Some("i")), ("", Some("i"))]));
    c.note("leave a", 5, &leave("life", &[(&a, None)]));
    c.note("describe empty", 6, &describe(&["life"], true));
    c.note("hb after leave", 4, &heartbeat("life", g, &a, None));
    c.note("sync after leave", 5, &sync("life", g, &a, None));
    c.note("leave after leave", 5, &leave("life", &[(&a, None)]));
    c.note("join after leave", 9, &join("life", &a, None));
    c.note("commit after leave", 9, &commit("life", g, &a, "t", 0));
    c.note("odel empty", 0, &delete_offset("life", "t", 0));
}

fn a_static_members_life(c: &mut Client) {
    let one = Some("i1");
    let (old, g) = c.join("static join", 9, &join("stat", "", one));
    c.note("static sync", 5, &assign(sync("stat", g, &old, one), &[(&old, "mine")]));
    let (new, _) = c.join("static rejoin v9", 9, &join("stat", "", one));
    c.note("static hb old", 4, &heartbeat("stat", g, &old, one));
    c.note("static hb old no inst", 4, &heartbeat("stat", g, &old, None));
    c.note("static hb new", 4, &heartbeat("stat", g, &new, one));
    c.note("static hb new no inst", 4, &heartbeat("stat", g, &new, None));
    c.note("static sync old", 5, &sync("stat", g, &old, one));
    c.note("static sync new", 5, &sync("stat", g, &new, one));
    c.note("static join old id", 9, &join("stat", &old, one));
    c.note("static join unknown inst", 9, &join("stat", &new, Some("i9")));
    let of_instance =
        |member| OffsetCommitRequest { group_instance_id: Some("i1".into()), ..commit("stat", g, member, "t", 0) };
    c.note("static commit old", 9, &of_instance(&old));
    c.note("static commit new", 9, &of_instance(&new));
    c.join("static rejoin v5", 5, &join("stat", "", one));
    c.note("static describe", 6, &describe(&["stat"], true));
    c.note("static leave old", 5, &leave("stat", &[(&old, one)]));
    c.note("static leave by instance", 5, &leave("stat", &[("", one)]));
    c.note("static describe gone", 6, &describe(&["stat"], true));
}

#[test]
fn the_answers_are_those_of_apache_kafka() {
    let mut client = Client::new();
    conversation(&mut client);
    let mut asked = 0;
    for (ours, kafkas) in client.transcript.lines().zip(KAFKAS_ANSWERS.lines()) {
        assert_eq!(ours, kafkas);
        asked += 1;
    }
    assert_eq!(asked, KAFKAS_ANSWERS.lines().count());
}

#[test]
fn a_transactions_coordinator_is_refused_for_good() {
    let mut client = Client::new();
    let request = FindCoordinatorRequest { key: "tx".into(), key_type: 1, ..Default::default() };
    client.ask(2, &request, |found| {
        // librdkafka asks on and on for any other code.
        assert_eq!(found.error_code, ErrorCode::TransactionalIdAuthorizationFailed.code());
        assert!(found.error_message.unwrap().contains("transactions"));
    });
    let request =
        FindCoordinatorRequest { coordinator_keys: vec!["tx".into()].into(), key_type: 1, ..Default::default() };
    client.ask(4, &request, |found| {
        let coordinator = found.coordinators.first().unwrap();
        assert_eq!(coordinator.error_code, ErrorCode::InvalidRequest.code());
        assert!(coordinator.error_message.as_deref().unwrap().contains("transactions"));
    });
    let request = InitProducerIdRequest { transactional_id: Some("tx".into()), ..Default::default() };
    client.ask(5, &request, |refused| {
        assert_eq!(refused.error_code, ErrorCode::TransactionalIdAuthorizationFailed.code());
        assert_eq!(refused.producer_id, -1);
    });
}

#[test]
fn two_members_on_two_connections_wait_for_each_other() {
    let (mut one, mut two) = (Client::new(), Client::new());
    let (a, _) = one.join("", 9, &join("pair", "", None));
    let (_, g) = one.join("", 9, &join("pair", &a, None));
    one.ask(5, &assign(sync("pair", g, &a, None), &[(&a, "all")]), |synced| assert_eq!(synced.error_code, 0));
    let (b, _) = two.join("", 9, &join("pair", "", None));
    two.send(9, &join("pair", &b, None));
    let error = |c: &mut Client| c.ask(4, &heartbeat("pair", g, &a, None), |beat| beat.error_code);
    let started = Instant::now();
    while error(&mut one) == 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "the first member never hears of the rebalance");
    }
    let (_, g) = one.join("", 9, &join("pair", &a, None));
    two.receive::<JoinGroupRequest<'_>, _>(9, |joined| {
        assert_eq!((joined.error_code, joined.generation_id, &*joined.leader), (0, g, &*a));
    });
    two.send(5, &sync("pair", g, &b, None));
    let done = assign(sync("pair", g, &a, None), &[(&a, "one"), (&b, "two")]);
    one.ask(5, &done, |synced| assert_eq!(&*synced.assignment, b"one"));
    two.receive::<SyncGroupRequest<'_>, _>(5, |synced| assert_eq!(&*synced.assignment, b"two"));
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut client = Client::new();
    client.ask(8, &commit("listed", -1, "", "t", 0), |_| ());
    let mut listed = |states: &[&'static str], types: &[&'static str]| {
        let names = |names: &[&'static str]| names.iter().map(|name| Str::from(*name)).collect();
        let request = ListGroupsRequest { states_filter: names(states), types_filter: names(types) };
        client.ask(5, &request, |listed| {
            let group = listed.groups.iter().find(|group| &*group.group_id == "listed");
            group.map(|group| (group.group_state.to_string(), group.group_type.to_string()))
        })
    };
    let found = Some(("Empty".to_owned(), "classic".to_owned()));
    assert_eq!(listed(&[], &[]), found);
    assert_eq!(listed(&["empty", "stable"], &["Classic"]), found);
    assert_eq!(listed(&["stable"], &[]), None);
    assert_eq!(listed(&[], &["consumer"]), None);
    assert_eq!(listed(&["nonsense"], &[]), None);
}

#[test]
fn a_group_id_of_32_kib_is_refused_and_the_connection_stays() {
    let mut client = Client::new();
    let long = "g".repeat(32 * 1024 - 1);
    let (_, generation) = client.join("", 9, &join(&long, "", None));
    assert_eq!(generation, -1);
    let error = client.ask(8, &commit(&long, -1, "", "t", 0), only_error);
    assert_eq!(error, ErrorCode::InvalidGroupId.code());
    client.ask(6, &describe(&["nobody"], false), |_| ());
}

#[test]
fn a_commit_by_topic_id_is_fetched_by_topic_id() {
    let mut client = Client::new();
    let topic_id = client.ask(13, &MetadataRequest { topics: None, ..Default::default() }, |metadata| {
        metadata.topics.iter().find(|topic| topic.name.as_deref() == Some("t")).unwrap().topic_id
    });
    let mut request = commit("by-id", -1, "", "", 1);
    let topic = request.topics.first().unwrap().into_owned();
    request.topics = vec![offset_commit_request::OffsetCommitRequestTopic { topic_id, ..topic }].into();
    client.ask(10, &request, |done| {
        let topic = done.topics.first().unwrap().into_owned();
        assert_eq!((topic.topic_id, topic.partitions.first().unwrap().error_code), (topic_id, 0));
    });
    for topics in [None, Some(("", &[1][..]))] {
        let mut request = fetch_of("by-id", topics);
        let mut group = request.groups.first().unwrap().into_owned();
        group.topics = group.topics.map(|topics| {
            let topic = topics.first().unwrap().into_owned();
            vec![offset_fetch_request::OffsetFetchRequestTopics { topic_id, ..topic }].into()
        });
        request.groups = vec![group].into();
        client.ask(10, &request, |fetched| {
            let topic = fetched.groups.first().unwrap().topics.first().unwrap().into_owned();
            let partition = topic.partitions.first().unwrap().into_owned();
            assert_eq!((topic.topic_id, partition.partition_index, partition.committed_offset), (topic_id, 1, 7));
        });
    }
}
