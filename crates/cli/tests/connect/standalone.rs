//! A worker that is alone: files into topics and out again.

use std::fs;
use std::path::PathBuf;

use crate::broker::{Broker, done};
use crate::worker::{Worker, wait};

fn connector(broker: &Broker, name: &str, lines: &str) -> PathBuf {
    let path = broker.folder.path().join(format!("{name}.properties"));
    fs::write(&path, format!("name={name}\n{lines}")).unwrap();
    path
}

/// Step 7 of Kafka's quickstart, with the lines that its earlier steps left in the topic.
#[test]
fn the_quickstarts_files_go_through_and_the_sink_says_what_stops_it() {
    let broker = Broker::start();
    let folder = broker.folder.path();
    broker.create("multiple", &["--partitions", "1"]);
    broker.feed("kafka-console-producer", &["--topic", "multiple"], "node1\nnode2\n").ok();
    fs::write(folder.join("message.dat"), "testing\\nfilemessage\n").unwrap();
    let source = connector(&broker, "source", "connector.class=FileStreamSource\nfile=message.dat\ntopic=multiple\n");
    let sink = connector(&broker, "sink", "connector.class=FileStreamSink\nfile=message.sink.dat\ntopics=multiple\n");
    let mut worker = Worker::standalone(folder, &broker.address, "", &[source, sink]);
    let trace = worker.await_task("sink", "FAILED");
    for word in
        ["topic multiple", "partition 0", "offset 0", "schemas.enable", "errors.tolerance=all", "deadletterqueue"]
    {
        assert!(trace.contains(word), "{word}: {trace}");
    }
    let read = |count: &str| {
        broker
            .run(
                "kafka-console-consumer",
                &["--topic", "multiple", "--from-beginning", "--timeout-ms", "30000", "--max-messages", count],
            )
            .ok()
    };
    let expected =
        "node1\nnode2\n{\"schema\":{\"type\":\"string\",\"optional\":false},\"payload\":\"testing\\\\nfilemessage\"}\n";
    assert_eq!(read("3"), expected);
    assert!(folder.join("message.sink.dat").exists());
    worker.await_task("source", "RUNNING");

    // Bytes are counted, so that a restart goes on where it was.
    wait("the offset is written", || {
        (worker.get("/connectors/source/offsets")["offsets"][0]["offset"]["position"] == 21).then_some(())
    });
    let mut text = fs::read_to_string(folder.join("message.dat")).unwrap();
    text.push_str("한 줄 더\nund noch eine\n");
    fs::write(folder.join("message.dat"), &text).unwrap();
    assert!(read("5").contains("\"payload\":\"한 줄 더\""));
    assert_eq!(worker.stop(), Some(0), "{}", worker.output());
    text.push_str("the last\n");
    fs::write(folder.join("message.dat"), &text).unwrap();
    worker.start_again();
    assert_eq!(read("6").matches("und noch eine").count(), 1);
    assert_eq!(worker.get("/connectors/source/topics")["source"]["topics"][0], "multiple");
}

#[test]
fn lines_arrive_in_a_file_as_they_were() {
    let broker = Broker::start();
    let folder = broker.folder.path();
    let lines: String = (0..5000).map(|n| format!("line {n} äöü\n")).collect();
    fs::write(folder.join("in.txt"), &lines).unwrap();
    let source = connector(
        &broker,
        "a",
        "connector.class=FileStreamSource\nfile=in.txt\ntopic=lines\nproducer.override.linger.ms=0\n",
    );
    broker.create("lines", &["--partitions", "1"]);
    let sink = connector(&broker, "b", "connector.class=FileStreamSinkConnector\nfile=out.txt\ntopics=lines\n");
    let worker = Worker::standalone(folder, &broker.address, "", &[source, sink]);
    wait("all lines are out", || (fs::read_to_string(folder.join("out.txt")).ok()? == lines).then_some(()));
    wait("and committed", || {
        let offsets = worker.get("/connectors/b/offsets?expand=lag");
        let first = &offsets["offsets"][0];
        (first["offset"]["kafka_offset"] == 5000 && first["lag"] == 0).then_some(())
    });
    let page = worker.get("/metrics");
    let page = page.as_str().unwrap();
    assert!(page.contains("kafka_connect_sink_task_sink_record_send_total{connector=\"b\",task=\"0\"} 5000"), "{page}");
    assert!(
        page.contains("kafka_connect_source_task_source_record_write_total{connector=\"a\",task=\"0\"} 5000"),
        "{page}"
    );
}

#[test]
fn exit_codes_and_messages_are_kafkas() {
    let no_arguments = crate::broker::run("connect-standalone", &[]);
    assert_eq!(no_arguments.code, Some(1));
    assert!(no_arguments.err.starts_with("USAGE: connect-standalone.sh"), "{no_arguments:?}");
    let no_file = crate::broker::run("connect-standalone", &["/nonexistent"]);
    assert_eq!(no_file.code, Some(2), "{no_file:?}");
    assert!(no_file.out.contains("Stopping due to error") && no_file.out.contains("/nonexistent"), "{no_file:?}");

    // A connector that cannot be ends the worker.
    let broker = Broker::start();
    let folder = broker.folder.path();
    let settings = format!(
        "bootstrap.servers={}\nkey.converter=org.apache.kafka.connect.json.JsonConverter\n\
         value.converter=org.apache.kafka.connect.json.JsonConverter\noffset.storage.file.filename={}\n\
         listeners=http://127.0.0.1:{}\n",
        broker.address,
        folder.join("offsets").display(),
        testkit::free_port()
    );
    let worker = folder.join("w.properties");
    fs::write(&worker, settings).unwrap();
    let bad = connector(&broker, "bad", "connector.class=NoSuch\n");
    let words = [worker.to_str().unwrap(), bad.to_str().unwrap()];
    let ended = done(crate::broker::command("connect-standalone", &words).spawn().unwrap());
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.out.contains("Stopping after connector error") && ended.out.contains("NoSuch"), "{ended:?}");
}

/// `topics.regex` takes topics that match and no others, those that come later as well.
#[test]
fn a_sink_finds_the_topics_of_its_pattern() {
    let broker = Broker::start();
    let folder = broker.folder.path();
    let sink = connector(
        &broker,
        "sink",
        "connector.class=FileStreamSink\nfile=out.txt\ntopics.regex=in-[ab]\n\
         value.converter=org.apache.kafka.connect.storage.StringConverter\n\
         key.converter=org.apache.kafka.connect.storage.StringConverter\n\
         consumer.override.metadata.max.age.ms=200\n",
    );
    let fill = |topic: &str| {
        broker.create(topic, &["--partitions", "1"]);
        broker.feed("kafka-console-producer", &["--topic", topic], &format!("of {topic}\n")).ok();
    };
    fill("in-a");
    fill("in-abc");
    let worker = Worker::standalone(folder, &broker.address, "", &[sink]);
    let read = |text: &str| {
        wait("the lines are in the file", || (fs::read_to_string(folder.join("out.txt")).ok()? == text).then_some(()));
    };
    read("of in-a\n");
    fill("in-c");
    fill("in-b");
    read("of in-a\nof in-b\n");
    let mut topics = worker.get("/connectors/sink/topics")["sink"]["topics"].as_array().unwrap().clone();
    topics.sort_by_key(|t| t.to_string());
    assert_eq!(topics, ["in-a", "in-b"]);
}
