//! Workers in a group.

use std::fs;
use std::path::Path;

use crate::broker::Broker;
use crate::worker::{Worker, wait};

fn settings(broker: &Broker, folder: &Path, port: u16) -> Vec<String> {
    let file = folder.join(format!("worker-{port}.properties"));
    let lines = format!(
        "bootstrap.servers={}\ngroup.id=workers\nkey.converter=org.apache.kafka.connect.json.JsonConverter\n\
         value.converter=org.apache.kafka.connect.json.JsonConverter\noffset.flush.interval.ms=50\n\
         offset.storage.topic=offsets\nconfig.storage.topic=configs\nstatus.storage.topic=statuses\n\
         offset.storage.replication.factor=1\nconfig.storage.replication.factor=1\nstatus.storage.replication.factor=1\n\
         offset.storage.partitions=2\nstatus.storage.partitions=1\nheartbeat.interval.ms=200\nsession.timeout.ms=6000\n\
         scheduled.rebalance.max.delay.ms=1000\nlisteners=http://127.0.0.1:{port}\n",
        broker.address
    );
    fs::write(&file, lines).unwrap();
    vec!["connect-distributed".to_owned(), file.display().to_string()]
}

fn join(broker: &Broker) -> Worker {
    let (folder, port) = (broker.folder.path(), testkit::free_port());
    Worker::run(folder, port, settings(broker, folder, port))
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
    assert_eq!(first.stop(), Some(0), "{}", first.output());
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
