//! Settings against the running broker: described, changed, refused with Kafka's codes and texts, and still there when the
//! broker comes back; and the metrics page.

#![allow(clippy::unwrap_used)] // clippy sees tests only where they are marked as such, not their helpers

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use wire::codec::{Decoder, Encoder, Message, Request};
use wire::messages::alter_configs_request::{
    AlterConfigsRequest, AlterConfigsResource as Replaced, AlterableConfig as New,
};
use wire::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use wire::messages::describe_configs_response::DescribeConfigsResult;
use wire::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use wire::messages::{ApiVersionsRequest, CreateTopicsRequest, ListConfigResourcesRequest, create_topics_request};
use wire::{ErrorCode, header};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

struct Broker {
    port: u16,
    metrics_port: u16,
}

/// One broker for all tests, each of which has topics and groups of its own. It ends with the process.
fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| {
        let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("settings");
        // What the run before this one left.
        let _ = std::fs::remove_dir_all(&folder);
        let (port, metrics_port) = (testkit::free_port(), testkit::free_port());
        let setting = |name: &str, value: String| (name.to_owned(), value);
        let overrides = vec![
            setting("listeners", format!("PLAINTEXT://127.0.0.1:{port}")),
            setting("log.dirs", folder.display().to_string()),
            setting("klamm.metrics.listener", format!("127.0.0.1:{metrics_port}")),
            setting("log.retention.hours", "48".to_owned()),
        ];
        std::thread::spawn(move || server::main(server::StartArgs { properties_file: None, overrides }));
        let started = Instant::now();
        while [port, metrics_port].iter().any(|port| TcpStream::connect(("127.0.0.1", *port)).is_err()) {
            assert!(started.elapsed() < Duration::from_secs(20), "the broker does not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
        Broker { port, metrics_port }
    })
}

/// Sends a request and hands the answer to `look`.
fn ask<'q, Q: Request + Message<'q>, T>(version: i16, request: &Q, look: impl FnOnce(Q::Response<'_>) -> T) -> T {
    let mut out = Encoder::new();
    header::write_request_header(&mut out, Q::KEY, version, 7, Some("test")).unwrap();
    request.encode(&mut out, version).unwrap();
    let body = out.into_bytes();
    let mut stream = TcpStream::connect(("127.0.0.1", broker().port)).unwrap();
    stream.write_all(&(body.len() as u32).to_be_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).unwrap();
    let (_, body) = header::parse_response_header(&frame, Q::KEY, version).unwrap();
    look(Message::decode(&mut Decoder::new(&frame[body..]), version).unwrap())
}

fn create_topic(name: &str) {
    let topic = create_topics_request::CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic].into(), timeout_ms: 10_000, ..Default::default() };
    let code = ask(7, &request, |response| response.topics.iter().map(|t| t.error_code).collect::<Vec<_>>());
    assert_eq!(code, [0]);
}

/// Code and text of each resource.
type Told = Vec<(ErrorCode, String)>;

/// Kind and name of a resource, and what is done to it: operation, key, operand.
type Changes<'a> = (i8, &'a str, &'a [(i8, &'a str, Option<&'a str>)]);

fn alter(changes: &[Changes<'_>], validate_only: bool) -> Told {
    let resources = changes.iter().map(|(kind, name, configs)| AlterConfigsResource {
        resource_type: *kind,
        resource_name: (*name).into(),
        configs: configs
            .iter()
            .map(|(op, name, value)| AlterableConfig {
                name: (*name).into(),
                config_operation: *op,
                value: value.map(Into::into),
            })
            .collect(),
    });
    let request = IncrementalAlterConfigsRequest { resources: resources.collect(), validate_only };
    ask(1, &request, |response| {
        let told = response.responses.iter().map(|r| {
            let message = r.error_message.as_deref().unwrap_or_default().to_owned();
            (ErrorCode::from_code(r.error_code), message)
        });
        told.collect()
    })
}

/// One change of one resource: code and text.
fn change(kind: i8, name: &str, op: i8, key: &str, value: Option<&str>) -> (ErrorCode, String) {
    alter(&[(kind, name, &[(op, key, value)])], false).remove(0)
}

fn describe<T>(kind: i8, names: &[&str], keys: &[&str], look: impl Fn(&DescribeConfigsResult<'_>) -> T) -> Vec<T> {
    let resources = names.iter().map(|name| DescribeConfigsResource {
        resource_type: kind,
        resource_name: (*name).into(),
        configuration_keys: (!keys.is_empty()).then(|| keys.iter().map(|key| (*key).into()).collect()),
    });
    let request =
        DescribeConfigsRequest { resources: resources.collect(), include_synonyms: true, include_documentation: true };
    ask(4, &request, |response| response.results.iter().map(|result| look(&result)).collect())
}

/// Value and source of one key.
fn value(kind: i8, name: &str, key: &str) -> (Option<String>, i8) {
    let mut found = describe(kind, &[name], &[key], |result| {
        assert_eq!(result.error_code, 0, "{:?}", result.error_message);
        result.configs.iter().map(|c| (c.value.as_deref().map(str::to_owned), c.config_source)).next()
    });
    found.remove(0).expect(key)
}

#[test]
fn a_change_is_seen_and_its_end_too() {
    create_topic("changed");
    let ok = (ErrorCode::None, String::new());
    assert_eq!(value(TOPIC, "changed", "retention.ms"), (Some("172800000".into()), 5));
    assert_eq!(change(TOPIC, "changed", SET, "retention.ms", Some("5000")), ok);
    assert_eq!(value(TOPIC, "changed", "retention.ms"), (Some("5000".into()), 1));
    assert_eq!(change(TOPIC, "changed", APPEND, "cleanup.policy", Some("compact")), ok);
    assert_eq!(value(TOPIC, "changed", "cleanup.policy"), (Some("delete,compact".into()), 1));
    assert_eq!(change(TOPIC, "changed", SUBTRACT, "cleanup.policy", Some("delete")), ok);
    assert_eq!(value(TOPIC, "changed", "cleanup.policy").0.as_deref(), Some("compact"));
    assert_eq!(change(TOPIC, "changed", DELETE, "retention.ms", None), ok);
    assert_eq!(value(TOPIC, "changed", "retention.ms").1, 5);
}

#[test]
fn validate_only_changes_nothing() {
    create_topic("validated");
    let told = alter(&[(TOPIC, "validated", &[(SET, "retention.ms", Some("5000"))])], true);
    assert_eq!(told, [(ErrorCode::None, String::new())]);
    assert_eq!(value(TOPIC, "validated", "retention.ms").1, 5);
}

#[test]
fn wrong_changes_are_refused_with_kafkas_codes_and_texts() {
    create_topic("refusing");
    let invalid_config = ErrorCode::InvalidConfig;
    let invalid_request = ErrorCode::InvalidRequest;
    for (kind, name, op, key, value, code, text) in [
        (TOPIC, "refusing", SET, "nonsense", Some("1"), invalid_config, "Unknown topic config name: nonsense"),
        (
            TOPIC,
            "refusing",
            SET,
            "retention.ms",
            Some("abc"),
            invalid_config,
            "Invalid value abc for configuration retention.ms: Not a number of type LONG",
        ),
        (
            TOPIC,
            "refusing",
            APPEND,
            "retention.ms",
            Some("1"),
            invalid_config,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            TOPIC,
            "no-such",
            SET,
            "retention.ms",
            Some("1"),
            ErrorCode::UnknownTopicOrPartition,
            "The topic 'no-such' does not exist.",
        ),
        (TOPIC, "", SET, "retention.ms", Some("1"), invalid_request, "Default topic resources are not allowed."),
        (TOPIC, "refusing", SET, "retention.ms", None, invalid_request, "Null value not supported for : retention.ms"),
        (
            BROKER,
            "1",
            SET,
            "log.retention.hours",
            Some("1"),
            invalid_request,
            "Cannot update these configs dynamically: [log.retention.hours]",
        ),
        (
            BROKER,
            "1",
            SET,
            "log.segment.bytes",
            Some("10"),
            invalid_request,
            "Invalid value 10 for configuration log.segment.bytes: Value must be at least 1048576",
        ),
        (
            BROKER,
            "2",
            SET,
            "log.retention.ms",
            Some("1"),
            invalid_request,
            "Unexpected broker id, expected 1, but received 2",
        ),
        (
            BROKER,
            "",
            SUBTRACT,
            "log.retention.ms",
            Some("1"),
            invalid_config,
            "Config value subtract is not allowed for config key: log.retention.ms",
        ),
        (BROKER, "1", APPEND, "my.own", Some("1"), invalid_config, "Unknown config name: my.own"),
        (BROKER, "x", SET, "log.retention.ms", Some("1"), invalid_request, "Node id must be an integer, but it is: x"),
        (GROUP, "g", SET, "nope", Some("1"), invalid_config, "Unknown group config name: nope"),
        (
            GROUP,
            "",
            SET,
            "consumer.session.timeout.ms",
            Some("50000"),
            invalid_request,
            "Default group resources are not allowed.",
        ),
        (
            CLIENT_METRICS,
            "m",
            APPEND,
            "metrics",
            Some("x"),
            invalid_config,
            "Can't APPEND to key metrics because its type is not LIST.",
        ),
        (CLIENT_METRICS, "", SET, "interval.ms", Some("5000"), invalid_request, "Subscription name can't be empty"),
        (99, "x", SET, "a", Some("1"), invalid_request, "Unknown resource type 99"),
    ] {
        assert_eq!(change(kind, name, op, key, value), (code, text.to_owned()), "{kind} {name:?} {key}");
    }
    assert_eq!(change(TOPIC, "a/b", SET, "retention.ms", Some("1")).0, ErrorCode::InvalidTopicException);
}

#[test]
fn levels_of_loggers_are_refused_with_kafkas_codes_and_texts() {
    let (invalid_request, invalid_config) = (ErrorCode::InvalidRequest, ErrorCode::InvalidConfig);
    let bad = "Cannot set the log level of root to OFF as it is not a supported log level. Valid log levels are DEBUG, ERROR, \
               FATAL, INFO, TRACE, WARN";
    for (name, op, key, value, code, text) in [
        (
            "1",
            APPEND,
            "root",
            Some("DEBUG"),
            invalid_request,
            "APPEND operation is not allowed for the BROKER_LOGGER resource",
        ),
        (
            "1",
            SUBTRACT,
            "root",
            Some("DEBUG"),
            invalid_request,
            "SUBTRACT operation is not allowed for the BROKER_LOGGER resource",
        ),
        ("1", SET, "nosuch", Some("DEBUG"), invalid_config, "Logger nosuch does not exist!"),
        ("1", DELETE, "nosuch", None, invalid_config, "Logger nosuch does not exist!"),
        ("1", DELETE, "root", None, invalid_request, "Removing the log level of the root logger is not allowed"),
        ("1", SET, "root", Some("OFF"), invalid_config, bad),
        ("1", SET, "root", Some("off"), invalid_config, &bad.replace("OFF", "off")),
        ("1", SET, "root", None, invalid_request, "Null value not supported for : root"),
        ("2", SET, "root", Some("INFO"), invalid_request, "Unexpected broker id, expected 1, but received 2"),
        ("x", SET, "root", Some("INFO"), invalid_request, "Node id must be an integer, but it is: x"),
        ("", SET, "root", Some("INFO"), invalid_request, "Node id must be an integer, but it is: "),
    ] {
        assert_eq!(change(BROKER_LOGGER, name, op, key, value), (code, text.to_owned()), "{name:?} {key} {value:?}");
    }
    let told = alter(
        &[
            (BROKER_LOGGER, "1", &[(SET, "state.change.logger", Some("TRACE"))]),
            (TOPIC, "no-such-topic", &[(SET, "retention.ms", Some("1"))]),
        ],
        true,
    );
    assert_eq!((told[0].0, told[1].0), (ErrorCode::None, ErrorCode::UnknownTopicOrPartition));
    assert_eq!(value(BROKER_LOGGER, "1", "state.change.logger"), (Some("INFO".to_owned()), 6));
    assert_eq!(change(BROKER_LOGGER, "1", SET, "state.change.logger", Some("TRACE")).0, ErrorCode::None);
    assert_eq!(value(BROKER_LOGGER, "1", "server.reconciler"), (Some("TRACE".to_owned()), 6));
}

#[test]
fn each_resource_is_answered_by_itself_in_the_order_of_the_request() {
    create_topic("first");
    let told = alter(
        &[
            (TOPIC, "no-such", &[(SET, "retention.ms", Some("1"))]),
            (BROKER, "1", &[(SET, "num.partitions", Some("1"))]),
            (TOPIC, "first", &[(SET, "retention.ms", Some("7"))]),
            (GROUP, "twice", &[(SET, "consumer.session.timeout.ms", Some("50000"))]),
            (GROUP, "twice", &[(SET, "consumer.session.timeout.ms", Some("50000"))]),
            (TOPIC, "first-keys", &[(SET, "retention.ms", Some("1")), (SET, "retention.ms", Some("2"))]),
        ],
        false,
    );
    let codes: Vec<ErrorCode> = told.iter().map(|(code, _)| *code).collect();
    assert_eq!(
        codes,
        [
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::InvalidRequest,
            ErrorCode::None,
            ErrorCode::InvalidRequest,
            ErrorCode::InvalidRequest,
            ErrorCode::InvalidRequest
        ]
    );
    assert_eq!(told[3].1, "Each resource must appear at most once.");
    assert_eq!(told[5].1, "Error due to duplicate config keys");
    assert_eq!(value(TOPIC, "first", "retention.ms").0.as_deref(), Some("7"));
}

#[test]
fn a_default_for_all_brokers_reaches_topics_and_the_broker() {
    create_topic("defaulted");
    assert_eq!(change(BROKER, "", SET, "log.flush.interval.ms", Some("1234")).0, ErrorCode::None);
    assert_eq!(value(TOPIC, "defaulted", "flush.ms"), (Some("1234".into()), 3));
    assert_eq!(value(BROKER, "", "log.flush.interval.ms"), (Some("1234".into()), 3));
    assert_eq!(value(BROKER, "1", "log.flush.interval.ms"), (Some("1234".into()), 3));
    assert_eq!(change(BROKER, "1", SET, "log.flush.interval.ms", Some("99")).0, ErrorCode::None);
    assert_eq!(value(TOPIC, "defaulted", "flush.ms"), (Some("99".into()), 2));
}

/// Whether a connection from this address is served.
fn is_let_in(from: [u8; 4]) -> bool {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&std::net::SocketAddr::from(([127, 0, 0, 1], broker().port)).into()).unwrap();
    let mut stream = TcpStream::from(socket);
    let mut out = Encoder::new();
    header::write_request_header(&mut out, ApiVersionsRequest::KEY, 0, 7, Some("test")).unwrap();
    ApiVersionsRequest::default().encode(&mut out, 0).unwrap();
    let body = out.into_bytes();
    let asked = stream.write_all(&(body.len() as u32).to_be_bytes()).and_then(|()| stream.write_all(&body));
    asked.and_then(|()| stream.read_exact(&mut [0; 4])).is_ok()
}

#[test]
fn limits_on_connections_follow_the_settings() {
    let (key, from) = ("max.connections.per.ip.overrides", [127, 0, 0, 77]);
    let wait_for = |let_in: bool| {
        let started = Instant::now();
        while is_let_in(from) != let_in {
            assert!(started.elapsed() < Duration::from_secs(20), "{let_in}");
        }
    };
    wait_for(true);
    assert_eq!(change(BROKER, "", SET, key, Some("127.0.0.77:0")).0, ErrorCode::None);
    wait_for(false);
    assert!(is_let_in([127, 0, 0, 78]), "others are let in");
    assert_eq!(change(BROKER, "1", SET, key, Some("127.0.0.77:1")).0, ErrorCode::None);
    wait_for(true);
    assert_eq!(change(BROKER, "1", DELETE, key, None).0, ErrorCode::None);
    wait_for(false);
    assert_eq!(change(BROKER, "", DELETE, key, None).0, ErrorCode::None);
    wait_for(true);
}

#[test]
fn the_old_request_replaces_everything() {
    create_topic("replaced");
    assert_eq!(change(TOPIC, "replaced", SET, "retention.ms", Some("5")).0, ErrorCode::None);
    let replace = |key: &str, value: Option<&str>| {
        let config = New { name: key.to_owned().into(), value: value.map(|v| v.to_owned().into()) };
        let resource =
            Replaced { resource_type: TOPIC, resource_name: "replaced".into(), configs: vec![config].into() };
        let request = AlterConfigsRequest { resources: vec![resource].into(), validate_only: false };
        ask(2, &request, |response| {
            response.responses.iter().map(|r| ErrorCode::from_code(r.error_code)).next().unwrap()
        })
    };
    assert_eq!(replace("segment.bytes", Some("2000000")), ErrorCode::None);
    assert_eq!(value(TOPIC, "replaced", "retention.ms").1, 5, "it went back to its default");
    assert_eq!(value(TOPIC, "replaced", "segment.bytes"), (Some("2000000".into()), 1));
    assert_eq!(replace("segment.bytes", Some("1")), ErrorCode::InvalidConfig);
    assert_eq!(replace("segment.bytes", None), ErrorCode::InvalidRequest);
}

#[test]
fn what_cannot_be_described_says_why() {
    let told = |kind, name| {
        let told = describe(kind, &[name], &[], |r| {
            (ErrorCode::from_code(r.error_code), r.error_message.as_deref().unwrap_or_default().to_owned())
        });
        told.into_iter().next().unwrap()
    };
    let invalid = |text: &str| (ErrorCode::InvalidRequest, text.to_owned());
    assert_eq!(told(TOPIC, "no-such").0, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(told(TOPIC, "a/b").0, ErrorCode::InvalidTopicException);
    assert_eq!(told(BROKER, "7"), invalid("Unexpected broker id, expected 1 or empty string, but received 7"));
    assert_eq!(told(BROKER, "x"), invalid("Broker id must be an integer, but it is: x"));
    assert_eq!(told(GROUP, ""), invalid("Group name must not be empty"));
    assert_eq!(told(CLIENT_METRICS, ""), invalid("Client metrics subscription name must not be empty"));
    assert_eq!(told(77, "x").0, ErrorCode::InvalidRequest);
}

#[test]
fn a_resource_asked_for_again_and_again_is_described_once() {
    let names = vec!["1"; 20_000];
    let sizes = describe(BROKER, &names, &[], |result| result.configs.len());
    assert!(sizes[0] > 300 && sizes[1..].iter().all(|size| *size == 0));
}

#[test]
fn documentation_and_synonyms_come_when_they_are_asked_for() {
    let found = describe(BROKER, &["1"], &["log.retention.hours"], |result| {
        result.configs.iter().map(|c| (c.documentation.is_some(), c.synonyms.len(), c.read_only, c.config_type)).next()
    });
    assert_eq!(found, [Some((true, 2, true, 3))]);
    let resource = DescribeConfigsResource { resource_type: BROKER, resource_name: "1".into(), ..Default::default() };
    let bare = DescribeConfigsRequest { resources: vec![resource].into(), ..Default::default() };
    ask(4, &bare, |response| {
        let result = response.results.iter().next().unwrap();
        assert!(result.configs.iter().all(|c| c.documentation.is_none() && c.synonyms.is_empty()));
    });
}

#[test]
fn resources_with_settings_are_listed() {
    create_topic("listed");
    assert_eq!(change(CLIENT_METRICS, "subscription", SET, "interval.ms", Some("5000")).0, ErrorCode::None);
    let list = |version, types: &[i8]| {
        let request = ListConfigResourcesRequest { resource_types: types.iter().copied().collect() };
        ask(version, &request, |response| {
            let all = response.config_resources.iter().map(|r| (r.resource_type, r.resource_name.to_string()));
            (response.error_code, all.collect::<Vec<_>>())
        })
    };
    assert_eq!(list(1, &[CLIENT_METRICS]), (0, vec![(CLIENT_METRICS, "subscription".to_owned())]));
    assert_eq!(list(0, &[]).1.len(), 1, "version 0 lists subscriptions only");
    assert!(list(1, &[TOPIC]).1.contains(&(TOPIC, "listed".to_owned())));
    assert!(list(1, &[]).1.iter().all(|(_, name)| !name.is_empty()));
    assert_eq!(list(1, &[99]).0, ErrorCode::UnsupportedVersion.code());
}

/// Head and body of what the metrics listener answers.
fn get(path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", broker().metrics_port)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn a_broker_that_serves_is_healthy_and_ready() {
    for (path, says) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let (head, body) = get(path);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(body, says);
    }
}

#[test]
fn the_metrics_page_has_what_users_of_kafka_look_for() {
    create_topic("measured");
    ask(0, &ApiVersionsRequest::default(), |_| ());
    let (head, page) = get("/metrics");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for begin in [
        "kafka_log_log_size{topic=\"measured\",partition=\"0\"} 0",
        "kafka_log_log_logendoffset{topic=\"measured\",partition=\"0\"} 0",
        "kafka_network_requestmetrics_requests_total{request=\"CreateTopics\",version=\"7\"} ",
        "kafka_network_requestmetrics_totaltimems_bucket{request=\"ApiVersions\",le=\"+Inf\"} ",
        "kafka_server_replicamanager_leadercount ",
        "kafka_controller_kafkacontroller_activebrokercount 1",
        "kafka_log_logmanager_offlinelogdirectorycount 0",
        "kafka_log_logcleanermanager_uncleanable_partitions_count 0",
        "klamm_log_dir_usable_bytes{dir=\"",
        "process_resident_memory_bytes ",
    ] {
        assert!(page.lines().any(|line| line.starts_with(begin)), "{begin} is not in\n{page}");
    }
    let mut families: Vec<&str> = page.lines().filter_map(|l| l.strip_prefix("# TYPE ")).collect();
    let all = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), all, "a family is there twice");
}
