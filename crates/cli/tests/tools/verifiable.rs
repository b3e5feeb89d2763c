//! Tools that tell of every record: the verifiable producer and consumer, and the one that measures latency.

use std::io::{BufRead, BufReader};

use super::harness::{Broker, command, done, run};

/// An event without its time.
fn events(out: &str) -> Vec<String> {
    out.lines()
        .map(|line| {
            let (time, rest) = line.strip_prefix("{\"timestamp\":").unwrap().split_once(',').unwrap();
            assert!(time.parse::<i64>().is_ok(), "{line}");
            format!("{{{rest}")
        })
        .collect()
}

fn produce(b: &Broker, words: &[&str]) -> Vec<String> {
    let all: Vec<&str> = ["--topic", "t"].iter().chain(words).copied().collect();
    events(&b.run("kafka-verifiable-producer", &all).ok())
}

#[test]
fn what_was_sent_is_told_and_read_again() {
    let b = Broker::start();
    b.create("t", &["--partitions", "1"]);
    let sent = produce(&b, &["--max-messages", "3", "--repeating-keys", "2", "--value-prefix", "7"]);
    let success = |key: &str, value: &str, offset: i64| {
        format!(
            "{{\"name\":\"producer_send_success\",\"key\":{key},\"value\":\"{value}\",\"offset\":{offset},\"topic\":\"t\",\
             \"partition\":0}}"
        )
    };
    assert_eq!(sent[0], "{\"name\":\"startup_complete\"}");
    assert_eq!(sent[1..4], [success("\"0\"", "7.0", 0), success("\"1\"", "7.1", 1), success("\"0\"", "7.2", 2)]);
    assert_eq!(sent[4], "{\"name\":\"shutdown_complete\"}");
    assert!(
        sent[5]
            .starts_with("{\"name\":\"tool_data\",\"sent\":3,\"acked\":3,\"target_throughput\":-1,\"avg_throughput\":")
    );
    let timed = produce(&b, &["--max-messages", "1", "--message-create-time", "1000", "--acks", "1"]);
    assert_eq!(timed[1], success("null", "0", 3));
    let printed = ["--topic", "t", "--partition", "0", "--offset", "3", "--max-messages", "1"];
    let read =
        b.run("kafka-console-consumer", &[&printed[..], &["--formatter-property", "print.timestamp=true"]].concat());
    let time: i64 = read.ok().split_once("CreateTime:").unwrap().1.split_once('\t').unwrap().0.parse().unwrap();
    assert!((1000..100_000).contains(&time), "{time}");

    let consume = |words: &[&str]| {
        let all: Vec<&str> = ["--topic", "t", "--group-id", "g"].iter().chain(words).copied().collect();
        events(&b.run("kafka-verifiable-consumer", &all).ok())
    };
    let place = "\"topic\":\"t\",\"partition\":0";
    let first = consume(&["--max-messages", "2", "--verbose"]);
    assert_eq!(
        first,
        [
            "{\"name\":\"startup_complete\"}".to_owned(),
            format!("{{\"name\":\"partitions_assigned\",\"partitions\":[{{{place}}}]}}"),
            format!("{{\"name\":\"record_data\",\"key\":\"0\",\"value\":\"7.0\",{place},\"offset\":0}}"),
            format!("{{\"name\":\"record_data\",\"key\":\"1\",\"value\":\"7.1\",{place},\"offset\":1}}"),
            format!(
                "{{\"name\":\"records_consumed\",\"count\":4,\"partitions\":[{{{place},\"count\":2,\"minOffset\":0,\
                 \"maxOffset\":1}}]}}"
            ),
            format!("{{\"name\":\"offsets_committed\",\"offsets\":[{{{place},\"offset\":2}}],\"success\":true}}"),
            format!("{{\"name\":\"partitions_revoked\",\"partitions\":[{{{place}}}]}}"),
            "{\"name\":\"shutdown_complete\"}".to_owned(),
        ]
    );
    // The group goes on where it stopped.
    assert!(consume(&["--max-messages", "2"])[2].contains("\"minOffset\":2,\"maxOffset\":3"));
}

#[test]
fn a_record_that_is_refused_is_told_as_such() {
    let b = Broker::start();
    b.create("t", &["--partitions", "1", "--config", "max.message.bytes=20"]);
    let told = produce(&b, &["--max-messages", "1"]);
    assert!(
        told[1].starts_with(
            "{\"name\":\"producer_send_error\",\"exception\":\"class org.apache.kafka.common.errors.RecordTooLargeException\","
        ) && told[1].ends_with(",\"key\":null,\"value\":\"0\",\"topic\":\"t\"}"),
        "{told:?}"
    );
    assert!(told[3].starts_with("{\"name\":\"tool_data\",\"sent\":1,\"acked\":0,"), "{told:?}");
}

#[test]
fn a_consumer_that_is_asked_to_end_gives_its_partitions_back() {
    let b = Broker::start();
    b.create("t", &["--partitions", "2"]);
    let words = b.with(&["--topic", "t", "--group-id", "g"]);
    let mut child = command("kafka-verifiable-consumer", &words).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let both = "\"partitions\":[{\"topic\":\"t\",\"partition\":0},{\"topic\":\"t\",\"partition\":1}]}";
    loop {
        let line = lines.next().unwrap().unwrap();
        if line.contains("partitions_assigned") {
            assert!(line.ends_with(both), "{line}");
            break;
        }
    }
    // A second member takes one of them.
    let more = command("kafka-verifiable-consumer", &words).spawn().unwrap();
    let revoked = lines.next().unwrap().unwrap();
    assert!(revoked.contains("\"name\":\"partitions_revoked\"") && revoked.ends_with(both), "{revoked}");
    let assigned = lines.next().unwrap().unwrap();
    assert!(assigned.contains("\"name\":\"partitions_assigned\"") && !assigned.ends_with(both), "{assigned}");
    for child in [&child, &more] {
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }
    let names: Vec<String> = lines
        .map(|line| line.unwrap().split("\"name\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned())
        .collect();
    assert_eq!(names.last().map(String::as_str), Some("shutdown_complete"), "{names:?}");
    assert!(names.contains(&"shutdown_requested".to_owned()), "{names:?}");
    assert_eq!(done(more).code, Some(143));
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn latency_is_measured_record_by_record() {
    let b = Broker::start();
    let words = ["--topic", "new", "--num-records", "20", "--producer-acks", "all", "--record-size", "10"];
    let headers =
        ["--record-key-size", "4", "--num-headers", "2", "--record-header-key-size", "3", "--record-header-size", "-1"];
    let measured = b.run("kafka-e2e-latency", &[&words[..], &headers].concat()).ok();
    let lines: Vec<&str> = measured.lines().collect();
    assert_eq!(
        lines[0],
        "Topic \"new\" does not exist. Will create topic with 1 partition(s) and replication factor = 1"
    );
    assert!(lines[1].starts_with("0\t") && lines[1][2..].parse::<f64>().unwrap() > 0.0, "{measured}");
    assert!(lines[2].starts_with("Avg latency: ") && lines[2].ends_with(" ms"), "{measured}");
    assert!(lines[3].starts_with("Percentiles: 50th = "), "{measured}");
    assert_eq!(b.run("kafka-get-offsets", &["--topic", "new"]).ok(), "new:0:20\n");
    let placed = run("kafka-e2e-latency", &[&b.address, "new", "5", "1", "10"]).ok();
    assert!(placed.starts_with("WARNING: Positional argument usage is deprecated"), "{placed}");
    assert!(placed.contains("\nAvg latency: "), "{placed}");
}
