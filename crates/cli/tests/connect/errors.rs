//! Records that cannot be worked on, and files that cannot be written.

use std::fs;

use crate::broker::Broker;
use crate::worker::{Worker, wait};

#[test]
fn tolerance_carries_on_and_dead_letters_say_what_happened() {
    let broker = Broker::start();
    let folder = broker.folder.path();
    broker.create("mixed", &["--partitions", "1"]);
    let input = "plain\n{\"schema\":{\"type\":\"string\",\"optional\":false},\"payload\":\"good\"}\n{\"a\":1}\n";
    broker.feed("kafka-console-producer", &["--topic", "mixed"], input).ok();
    let worker = Worker::standalone(folder, &broker.address, "", &[]);
    let out = folder.join("out.txt");
    let (status, _) = worker.put(
        "sink",
        &[
            ("connector.class", "FileStreamSink"),
            ("topics", "mixed"),
            ("file", out.to_str().unwrap()),
            ("errors.tolerance", "all"),
            ("errors.log.enable", "true"),
            ("errors.log.include.messages", "true"),
            ("errors.deadletterqueue.topic.name", "dead"),
            ("errors.deadletterqueue.topic.replication.factor", "1"),
            ("errors.deadletterqueue.context.headers.enable", "true"),
        ],
    );
    assert_eq!(status, 201);
    wait("the good line is out", || (fs::read_to_string(&out).ok()? == "good\n").then_some(()));
    let dead = broker
        .run(
            "kafka-console-consumer",
            &[
                "--topic",
                "dead",
                "--from-beginning",
                "--timeout-ms",
                "30000",
                "--max-messages",
                "2",
                "--property",
                "print.headers=true",
            ],
        )
        .ok();
    let letters: Vec<&str> = dead.lines().filter(|l| l.contains("__connect.errors.topic:mixed")).collect();
    assert_eq!(letters.len(), 2, "{dead}");
    assert!(
        letters[0].contains("__connect.errors.offset:0") && letters[1].contains("__connect.errors.offset:2"),
        "{dead}"
    );
    for word in [
        "__connect.errors.connector.name:sink",
        "__connect.errors.stage:VALUE_CONVERTER",
        "__connect.errors.exception.class.name:org.apache.kafka.connect.errors.DataException",
    ] {
        assert!(letters[0].contains(word), "{word}: {dead}");
    }
    assert!(dead.contains("\tplain\n"), "{dead}");
    wait("what was left out is passed by", || {
        (worker.get("/connectors/sink/offsets")["offsets"][0]["offset"]["kafka_offset"] == 3).then_some(())
    });
    assert!(worker.output().contains("Executing stage 'VALUE_CONVERTER'"), "{}", worker.output());
    worker.await_task("sink", "RUNNING");
}

#[test]
fn a_full_disk_fails_the_task_and_nothing_else() {
    let broker = Broker::start();
    let folder = broker.folder.path();
    broker.create("t", &["--partitions", "1"]);
    broker.feed("kafka-console-producer", &["--topic", "t"], "x\n").ok();
    let text = "value.converter=org.apache.kafka.connect.storage.StringConverter\n";
    let worker = Worker::standalone(folder, &broker.address, text, &[]);
    worker.put("full", &[("connector.class", "FileStreamSink"), ("topics", "t"), ("file", "/dev/full")]);
    let out = folder.join("out.txt");
    worker.put("fine", &[("connector.class", "FileStreamSink"), ("topics", "t"), ("file", out.to_str().unwrap())]);
    let trace = worker.await_task("full", "FAILED");
    assert!(trace.contains("/dev/full") && trace.contains("No space left"), "{trace}");
    wait("the other one writes", || (fs::read_to_string(&out).ok()? == "x\n").then_some(()));
    // What was not written is not passed by.
    assert_eq!(worker.get("/connectors/full/offsets")["offsets"].as_array().unwrap().len(), 0);
    // A directory instead of a file.
    worker.put("dir", &[("connector.class", "FileStreamSource"), ("topic", "t"), ("file", folder.to_str().unwrap())]);
    let trace = worker.await_task("dir", "FAILED");
    assert!(trace.contains("is a directory"), "{trace}");
}
