//! Workers in a group.

use std::fs;
use std::path::Path;
use std::time::Duration;

use client::consumer::GroupConfig;
use client::consumer::group::{BoxFuture, GroupEvent, GroupProtocol, Member, Membership, Shares};
use client::{Client, ClientConfig, Role};

use crate::broker::Broker;
use crate::worker::{Worker, wait};

/// The words for a worker of the group, with these lines of settings besides the usual.
pub fn settings(broker: &Broker, folder: &Path, port: u16, more: &str) -> Vec<String> {
    let file = folder.join(format!("worker-{port}.properties"));
    let lines = format!(
        "bootstrap.servers={}\ngroup.id=workers\nkey.converter=org.apache.kafka.connect.json.JsonConverter\n\
         value.converter=org.apache.kafka.connect.json.JsonConverter\noffset.flush.interval.ms=50\n\
         offset.storage.topic=offsets\nconfig.storage.topic=configs\nstatus.storage.topic=statuses\n\
         offset.storage.replication.factor=1\nconfig.storage.replication.factor=1\nstatus.storage.replication.factor=1\n\
         offset.storage.partitions=2\nstatus.storage.partitions=1\nheartbeat.interval.ms=200\nsession.timeout.ms=6000\n\
         scheduled.rebalance.max.delay.ms=1000\nlisteners=http://127.0.0.1:{port}\n{more}",
        broker.address
    );
    fs::write(&file, lines).unwrap();
    vec!["connect-distributed".to_owned(), file.display().to_string()]
}

fn join(broker: &Broker) -> Worker {
    join_with(broker, "")
}

fn join_with(broker: &Broker, more: &str) -> Worker {
    let (folder, port) = (broker.folder.path(), testkit::free_port());
    Worker::run(folder, port, settings(broker, folder, port, more))
}

/// Which worker runs the first task of each connector.
fn homes(worker: &Worker, names: &[&str]) -> Option<Vec<String>> {
    let home = |name: &&str| {
        let (_, status) = worker.ask("GET", &format!("/connectors/{name}/status"), None);
        let task = status.get("tasks")?.get(0)?;
        (task["state"] == "RUNNING").then(|| task["worker_id"].as_str().unwrap_or_default().to_owned())
    };
    names.iter().map(home).collect()
}

#[test]
fn workers_share_connectors_and_take_over_from_each_other() {
    let broker = Broker::start();
    let folder = broker.folder.path();
    let file = folder.join("in.txt");
    fs::write(&file, "one\ntwo\n").unwrap();
    let first = join(&broker);
    let names = ["a", "b", "c", "d"];
    for name in names {
        let topic = format!("topic-{name}");
        let pairs =
            [("connector.class", "FileStreamSource"), ("file", file.to_str().unwrap()), ("topic", topic.as_str())];
        assert_eq!(first.put(name, &pairs).0, 201);
    }
    wait("all run on the first", || {
        homes(&first, &names)?.iter().all(|h| h.ends_with(&first.port.to_string())).then_some(())
    });

    // A second one gets half of them, and answers for all.
    let mut second = join(&broker);
    wait("both run two", || {
        let homes = homes(&second, &names)?;
        (homes.iter().filter(|h| h.ends_with(&second.port.to_string())).count() == 2).then_some(())
    });
    assert_eq!(second.ask("PUT", "/connectors/a/pause", None).0, 202);
    first.await_task("a", "PAUSED");
    assert_eq!(second.ask("PUT", "/connectors/a/resume", None).0, 202);
    first.await_task("a", "RUNNING");
    let (status, _) = second.ask("POST", "/connectors/b/restart?includeTasks=true", None);
    assert_eq!(status, 202);
    for name in names {
        assert_eq!(second.ask("POST", &format!("/connectors/{name}/tasks/0/restart"), None).0, 204, "{name}");
    }
    assert_eq!(first.ask("DELETE", "/connectors/d", None).0, 204);

    // What the one that is killed leaves behind goes to the other.
    second.kill();
    wait("the first runs everything", || {
        homes(&first, &names[..3])?.iter().all(|h| h.ends_with(&first.port.to_string())).then_some(())
    });
    wait("offsets", || (first.get("/connectors/c/offsets")["offsets"][0]["offset"]["position"] == 8).then_some(()));

    // Nothing is forgotten when all are gone, and nothing is read again.
    let mut first = first;
    assert_eq!(first.hang_up(), Some(0), "{}", first.output());
    fs::write(&file, "one\ntwo\nthree\n").unwrap();
    first.start_again();
    wait("offsets", || (first.get("/connectors/c/offsets")["offsets"][0]["offset"]["position"] == 14).then_some(()));
    let read =
        broker.run("kafka-console-consumer", &["--topic", "topic-c", "--from-beginning", "--timeout-ms", "3000"]).ok();
    assert_eq!(read.matches("three").count(), 1, "{read}");
    assert!(!read.contains("thre\"") && read.matches("\"one\"").count() == 1, "{read}");
}

/// Requests between workers that nobody signed.
#[test]
fn tasks_are_taken_from_workers_only() {
    let broker = Broker::start();
    let worker = join(&broker);
    let pairs = [("connector.class", "FileStreamSource"), ("file", "/nonexistent"), ("topic", "t")];
    assert_eq!(worker.put("a", &pairs).0, 201);
    let (status, answer) = worker.ask("POST", "/connectors/a/tasks", Some("[]"));
    assert_eq!((status, answer["message"].as_str().unwrap()), (400, "Internal request missing required signature"));
    let body = "[]";
    let request = format!(
        "POST /connectors/a/tasks HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         X-Connect-Authorization: AAAA\r\nX-Connect-Request-Signature-Algorithm: HmacSHA256\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(crate::worker::raw(worker.port, request.as_bytes()).unwrap().0, 403);
}

/// Groups of an older protocol share out as well, and so do workers that prefer another one but know the older, too.
#[test]
fn a_group_takes_the_protocol_that_all_know() {
    for protocol in ["eager", "compatible"] {
        let broker = Broker::start();
        let names = ["a", "b", "c", "d"];
        let line = format!("connect.protocol={protocol}\n");
        let first = join_with(&broker, &line);
        for name in names {
            let pairs = [("connector.class", "FileStreamSource"), ("file", "/nonexistent"), ("topic", "t")];
            assert_eq!(first.put(name, &pairs).0, 201);
        }
        let both_run_two = |other: &Worker| {
            wait("both run two", || {
                let homes = homes(other, &names)?;
                let at = |w: &Worker| homes.iter().filter(|h| h.ends_with(&w.port.to_string())).count();
                (at(other) == 2 && at(&first) == 2).then_some(())
            });
        };
        let mut second = join_with(&broker, &line);
        both_run_two(&second);
        second.kill();
        wait("the first runs everything", || {
            homes(&first, &names)?.iter().all(|h| h.ends_with(&first.port.to_string())).then_some(())
        });
        let third = join(&broker);
        both_run_two(&third);
        let spoken = if protocol == "eager" { "default" } else { protocol };
        assert!(third.output().contains(&format!("with protocol {spoken}:")), "{}", third.output());
        assert!(!third.output().contains("with protocol sessioned:"), "{}", third.output());
    }
}

/// What a Java worker tells of itself, and what it assigns when it leads.
struct JavaWorker;

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as i16).to_be_bytes()[..], text.as_bytes()].concat()
}

impl GroupProtocol for JavaWorker {
    fn protocol_type(&self) -> &str {
        "connect"
    }

    fn protocols(&mut self) -> Vec<(String, Vec<u8>)> {
        let state =
            [&2i16.to_be_bytes()[..], &string("http://java:8083/"), &4i64.to_be_bytes(), &(-1i32).to_be_bytes()]
                .concat();
        vec![("sessioned".to_owned(), state)]
    }

    fn assign<'f>(&'f mut self, _: &'f str, members: &'f [Member]) -> BoxFuture<'f, Result<Shares, client::Error>> {
        let nothing = [0; 12];
        let assignment = [
            &2i16.to_be_bytes()[..],
            &0i16.to_be_bytes(),
            &string("java"),
            &string("http://java:8083/"),
            &4i64.to_be_bytes(),
            &nothing,
        ];
        let assignment = assignment.concat();
        Box::pin(async move { Ok(members.iter().map(|m| (m.id.clone(), assignment.clone())).collect()) })
    }
}

async fn join_as_java(broker: &Broker) -> Membership {
    let properties = [("bootstrap.servers".to_owned(), broker.address.clone())].into();
    let client = Client::open(ClientConfig::new(Role::Consumer, &properties).unwrap()).await.unwrap();
    let config = GroupConfig {
        id: "workers".into(),
        instance_id: None,
        session_timeout: Duration::from_secs(30),
        heartbeat_interval: Duration::from_millis(100),
        max_poll_interval: Duration::from_secs(60),
        auto_commit: None,
        assignors: Vec::new(),
    };
    Membership::start(client, config, Box::new(JavaWorker))
}

/// The next assignment.
async fn assigned(member: &mut Membership) -> (Vec<u8>, bool) {
    loop {
        match member.event().await {
            GroupEvent::Joined { assignment, is_leader, .. } => return (assignment, is_leader),
            GroupEvent::Rebalancing { ready, .. } => drop(ready.send(())),
            GroupEvent::Failed(error) => panic!("{error}"),
        }
    }
}

/// A Java worker among ours gets nothing, at the place in the config topic where it is itself: otherwise it would have
/// the group gather again and again.
#[test]
fn a_java_worker_in_the_group_gets_nothing_and_rests() {
    let broker = Broker::start();
    let worker = join(&broker);
    let pairs = [("connector.class", "FileStreamSource"), ("file", "/nonexistent"), ("topic", "t")];
    assert_eq!(worker.put("a", &pairs).0, 201);
    worker.await_task("a", "RUNNING");
    let end: i64 = broker
        .run("kafka-get-offsets", &["--topic", "configs"])
        .ok()
        .trim()
        .rsplit(':')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (assignment, leads) = runtime.block_on(async {
        let mut java = join_as_java(&broker).await;
        assigned(&mut java).await
    });
    assert!(!leads);
    // Version, error, the leader's id and URL; then the offset, and no connectors.
    let mut rest = &assignment[4..];
    for _ in 0..2 {
        let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        rest = &rest[2 + length..];
    }
    assert_eq!(rest[..8], end.to_be_bytes());
    assert_eq!(rest[8..12], [0; 4]);
    assert!(worker.output().contains("is a Java worker. It gets nothing to run"), "{}", worker.output());
    worker.await_task("a", "RUNNING");
}

/// A worker that finds a Java worker leading its group ends, and says why.
#[test]
fn a_group_that_java_leads_is_left() {
    let broker = Broker::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut java = runtime.block_on(join_as_java(&broker));
    assert!(runtime.block_on(assigned(&mut java)).1);
    // It goes on as a member while ours comes.
    let follow = runtime.spawn(async move {
        loop {
            assigned(&mut java).await;
        }
    });
    let (folder, port) = (broker.folder.path(), testkit::free_port());
    let words = settings(&broker, folder, port, "");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = crate::broker::run(words[0], &words[1..]);
    follow.abort();
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!([&*done.out, &done.err].concat().contains("is led by a Java worker (http://java:8083/)"), "{done:?}");
}
