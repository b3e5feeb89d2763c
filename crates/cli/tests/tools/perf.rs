//! How fast records are sent and read: the words are Apache Kafka 4.3.1's, the figures are whatever they are.

use super::harness::{Broker, run};

/// The text with every number, whole or not, as `N`.
fn levelled(text: &str) -> String {
    let mut out = String::new();
    let mut in_number = false;
    for c in text.chars() {
        let goes_on = c.is_ascii_digit() || in_number && c == '.';
        if goes_on && !in_number {
            out.push('N');
        }
        if !goes_on {
            out.push(c);
        }
        in_number = goes_on;
    }
    out
}

#[test]
fn what_was_sent_is_told_and_can_be_read() {
    let b = Broker::start();
    b.create("t", &["--partitions", "1"]);
    let sent = b.run(
        "kafka-producer-perf-test",
        &["--topic", "t", "--num-records", "3000", "--record-size", "100", "--throughput", "-1"],
    );
    let line = sent.ok();
    assert!(line.starts_with("3000 records sent, "), "{line}");
    let total = "N records sent, N records/sec (N MB/sec), N ms avg latency, N ms max latency, N ms Nth, N ms Nth, N \
                 ms Nth, N ms Nth\n";
    assert_eq!(levelled(&line).replace("Nth.", "Nth"), total);
    assert_eq!(b.run("kafka-get-offsets", &["--topic", "t"]).ok(), "t:0:3000\n");

    let words =
        ["--topic", "t", "--num-records", "10", "--payload-monotonic", "--throughput", "1000", "--warmup-records"];
    let warm: Vec<&str> = words.iter().copied().chain(["4"]).collect();
    let lines = b.run("kafka-producer-perf-test", &warm).ok();
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines[0], "Warmup first 4 records. Steady state results will print after the complete test summary.");
    assert!(lines[1].starts_with("10 records sent, ") && lines[2].starts_with("6 steady state records sent, "));
    let read = b.run(
        "kafka-console-consumer",
        &["--topic", "t", "--partition", "0", "--offset", "3000", "--max-messages", "10"],
    );
    assert_eq!(read.ok(), (0..10).map(|i| format!("{i}\n")).collect::<String>());

    let read = b.run("kafka-consumer-perf-test", &["--topic", "t", "--num-records", "3010"]).ok();
    let lines: Vec<&str> = read.lines().collect();
    assert_eq!(
        lines[0],
        "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, \
         fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec"
    );
    assert_eq!(lines[1].split(", ").nth(4), Some("3010"), "{read}");
    let short = b.run("kafka-consumer-perf-test", &["--topic", "t", "--messages", "9999", "--timeout", "300"]).ok();
    assert!(short.contains("WARNING: Exiting before consuming the expected number of records: timeout (300 ms)"));
}

#[test]
fn pieces_of_a_file_are_sent() {
    let b = Broker::start();
    b.create("t", &["--partitions", "1"]);
    let file = b.folder.path().join("pieces");
    std::fs::write(&file, "한;한;한").unwrap();
    let path = file.to_str().unwrap();
    let words = [
        "--topic",
        "t",
        "--num-records",
        "2",
        "--payload-file",
        path,
        "--payload-delimiter",
        ";",
        "--throughput",
        "-1",
    ];
    let out = b.run("kafka-producer-perf-test", &words).ok();
    assert!(out.starts_with(&format!("Reading payloads from: {path}\nNumber of records read: 3\n2 records sent, ")));
    let read = b.run("kafka-console-consumer", &["--topic", "t", "--from-beginning", "--max-messages", "2"]);
    assert_eq!(read.ok(), "한\n한\n");
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (words, why) in [
        (&["--topic", "t"][..], "argument --num-records is required"),
        (
            &["--topic", "t", "--num-records", "x", "--throughput", "-1"],
            "argument --num-records: could not convert 'x' to a number",
        ),
        (&["--topic", "t", "--num-records", "0", "--throughput", "-1"], "--num-records should be greater than zero."),
        (
            &["--topic", "t", "--num-records", "1", "--throughput", "-1"],
            "one of the arguments --record-size --payload-file --payload-monotonic is required",
        ),
        (
            &["--topic", "t", "--num-records", "1", "--throughput", "-1", "--record-size", "1"],
            "At least one of --bootstrap-server, --command-property, --producer-props, --producer.config or --command-config must be specified with bootstrap.servers.",
        ),
        (&["--frob", "x"], "unrecognized arguments: '--frob'"),
        (&["--transactional-id", "x"], "transactions are not supported yet"),
    ] {
        let refused = run("kafka-producer-perf-test", words);
        assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""), "{words:?}");
        assert_eq!(refused.err.lines().last(), Some(format!("kafka-producer-perf-test: error: {why}").as_str()));
    }
}
