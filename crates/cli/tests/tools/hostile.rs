//! What users do to tools: pipes that nobody reads, Ctrl-C at any moment, lines that are too long or no text, files that
//! are not there.

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::ffi::OsStringExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::harness::{Broker, Done, command, done};

/// Ends tools that would never end, so that a failure is one.
const PATIENCE: Duration = Duration::from_secs(60);

fn ended(mut child: Child, what: &str) -> Done {
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("{what} does not end: {:?}", done(child));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let done = done(child);
    assert!(!done.err.contains("panicked"), "{what}: {done:?}");
    done
}

#[test]
fn a_line_that_is_too_long_is_told_and_the_others_are_sent() {
    let b = Broker::start();
    b.create("lines", &["--partitions", "1"]);
    let (long, longest) = ("x".repeat(1 << 20), "y".repeat((1 << 20) - 88));
    let input = format!("first\n{long}\n{longest}\nlast\n");
    let sent = b.feed("kafka-console-producer", &["--topic", "lines"], &input);
    assert_eq!(sent.code, Some(0), "{}", sent.err);
    let told: Vec<&str> = sent.err.lines().map(|line| line.split("] ").last().unwrap()).collect();
    assert_eq!(
        told,
        [
            "ERROR Error when sending message to topic lines with key: null, value: 1048576 bytes with error: (org.apache.kafka.clients.producer.internals.ErrorLoggingCallback)",
            "org.apache.kafka.common.errors.RecordTooLargeException: The message is 1048664 bytes when serialized which is larger than 1048576, which is the value of the max.request.size configuration.",
        ]
    );
    let words = ["--topic", "lines", "--from-beginning", "--max-messages", "3"];
    assert_eq!(b.run("kafka-console-consumer", &words).ok(), format!("first\n{longest}\nlast\n"));

    // The producer may be told to send it: then it is the broker that refuses.
    let words = ["--topic", "lines", "--command-property", "max.request.size=5000000"];
    let refused = b.feed("kafka-console-producer", &words, &format!("{}\nafter\n", "z".repeat(2 << 20)));
    assert!(refused.err.contains("org.apache.kafka.common.errors.RecordTooLargeException: "), "{}", refused.err);
    let words = ["--topic", "lines", "--partition", "0", "--offset", "3", "--max-messages", "1"];
    assert_eq!(b.run("kafka-console-consumer", &words).ok(), "after\n");
}

#[test]
fn what_is_no_text_does_no_harm() {
    let b = Broker::start();
    b.create("bytes", &["--partitions", "1"]);
    let mut producer =
        command("kafka-console-producer", &b.with(&["--topic", "bytes"])).stdin(Stdio::piped()).spawn().unwrap();
    producer.stdin.take().unwrap().write_all(b"bad \xff\xfe\n\0\x1b[2J\n\xe2\x82\n").unwrap();
    assert_eq!(ended(producer, "producer").code, Some(0));
    let words = ["--topic", "bytes", "--from-beginning", "--max-messages", "3"];
    // Java's reader puts a replacement character where it cannot read.
    let expected = "bad \u{fffd}\u{fffd}\n\0\x1b[2J\n\u{fffd}\n";
    assert_eq!(b.run("kafka-console-consumer", &words).ok(), expected);

    let mut describe = command("kafka-topics", &b.with(&["--describe", "--topic"]));
    describe.arg(std::ffi::OsString::from_vec(b"\xff\xfe".to_vec()));
    let refused = ended(describe.spawn().unwrap(), "a name that is no text");
    assert_eq!(refused.code, Some(1), "{refused:?}");

    let file = b.folder.path().join("bad");
    std::fs::write(&file, b"\xff\xfe\0,0,1\n").unwrap();
    let path = file.to_str().unwrap();
    for (tool, words) in [
        ("kafka-consumer-groups", &["--reset-offsets", "--group", "g", "--dry-run", "--from-file", path][..]),
        ("kafka-delete-records", &["--offset-json-file", path]),
        ("kafka-configs", &["--alter", "--topic", "bytes", "--add-config-file", path]),
        ("kafka-topics", &["--list", "--command-config", path]),
        ("kafka-reassign-partitions", &["--verify", "--reassignment-json-file", path]),
    ] {
        let done = ended(command(tool, &b.with(words)).spawn().unwrap(), tool);
        // A file of settings may hold anything; it only says nothing that is known.
        let says = !done.err.is_empty() || done.out.contains(path);
        assert!(says || tool == "kafka-topics", "{tool}: {done:?}");
    }
}

#[test]
fn a_plan_with_a_bad_row_changes_nothing_and_names_the_row() {
    let b = Broker::start();
    b.create("t", &["--partitions", "1"]);
    b.feed("kafka-console-producer", &["--topic", "t"], "1\n2\n3\n").ok();
    let file = b.folder.path().join("plan.csv");
    for (bad, why) in [
        ("t,x,2", "Line 2 of the plan, 't,x,2', has a partition that is no number"),
        ("t,0", "Line 2 of the plan, 't,0', does not have the form topic,partition,offset"),
        ("t,0,-5", "Line 2 of the plan, 't,0,-5', has a negative number"),
        ("t,0,9223372036854775808", "has an offset that is no number"),
        ("\"t,0,1", "has a quote that does not end"),
    ] {
        std::fs::write(&file, format!("t,0,1\n{bad}\n")).unwrap();
        let words = ["--reset-offsets", "--group", "g", "--from-file", file.to_str().unwrap(), "--execute"];
        let refused = b.run("kafka-consumer-groups", &words);
        assert!(refused.out.contains(why), "{bad}: {refused:?}");
        let groups = b.run("kafka-consumer-groups", &["--list"]).ok();
        assert_eq!(groups, "", "{bad}: nothing is committed");
    }
}

#[test]
fn a_pipe_that_nobody_reads_ends_every_tool_quietly() {
    let b = Broker::start();
    b.create("t", &["--partitions", "1"]);
    b.feed("kafka-console-producer", &["--topic", "t"], &"line\n".repeat(1000)).ok();
    let log = b.file("t-0", "00000000000000000000.log");
    let dump = ["--files", log.to_str().unwrap(), "--print-data-log"];
    let tools: [(&str, Vec<&str>); 11] = [
        ("kafka-topics", b.with(&["--list"])),
        ("kafka-topics", b.with(&["--describe"])),
        ("kafka-configs", b.with(&["--describe", "--broker", "1", "--all"])),
        ("kafka-consumer-groups", b.with(&["--list"])),
        ("kafka-groups", b.with(&["--list"])),
        ("kafka-get-offsets", b.with(&[])),
        ("kafka-log-dirs", b.with(&["--describe"])),
        ("kafka-broker-api-versions", b.with(&[])),
        ("kafka-console-consumer", b.with(&["--topic", "t", "--from-beginning", "--max-messages", "1000"])),
        ("kafka-dump-log", dump.to_vec()),
        ("kafka-topics", vec!["--help"]),
    ];
    for (tool, words) in &tools {
        for also_errors in [false, true] {
            let closed = || {
                let (reader, writer) = io::pipe().unwrap();
                drop(reader);
                writer
            };
            let mut command = command(tool, words);
            command.stdout(closed());
            if also_errors {
                command.stderr(closed());
            }
            let done = ended(command.spawn().unwrap(), tool);
            assert!([Some(0), Some(1), Some(141)].contains(&done.code), "{tool} {words:?}: {done:?}");
        }
    }
}

/// Tools that talk to a broker, with what makes them do so.
const TALKERS: [(&str, &[&str]); 10] = [
    ("kafka-topics", &["--list"]),
    ("kafka-configs", &["--describe", "--topic", "t"]),
    ("kafka-consumer-groups", &["--list"]),
    ("kafka-groups", &["--list"]),
    ("kafka-get-offsets", &["--topic", "t"]),
    ("kafka-log-dirs", &["--describe"]),
    ("kafka-console-producer", &["--topic", "t"]),
    ("kafka-console-consumer", &["--topic", "t", "--group", "g"]),
    ("kafka-producer-perf-test", &["--topic", "t", "--num-records", "9", "--record-size", "9", "--throughput", "-1"]),
    ("kafka-consumer-perf-test", &["--topic", "t", "--num-records", "9"]),
];

#[test]
fn ctrl_c_ends_a_tool_whose_broker_says_nothing() {
    for (tool, words) in TALKERS {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let words: Vec<&str> = ["--bootstrap-server", &address].into_iter().chain(words.iter().copied()).collect();
        let mut child = command(tool, &words).stdin(Stdio::piped()).spawn().unwrap();
        if let Some(input) = &mut child.stdin {
            // Whoever reads no input may have closed it.
            let _ = input.write_all(b"typed\n");
        }
        let input = child.stdin.take();
        // It is connected, and waits for an answer that does not come.
        let _connection = listener.accept().unwrap();
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let begun = Instant::now();
        let done = ended(child, tool);
        assert!(done.code.is_none_or(|code| code == 130), "{tool}: {done:?}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{tool} took {:?}", begun.elapsed());
        drop(input);
    }
}

/// Waits until `env` has become the tool: before that a signal may be ignored still.
fn has_begun(child: &mut Child) {
    let name = format!("/proc/{}/comm", child.id());
    while child.try_wait().unwrap().is_none() && std::fs::read_to_string(&name).unwrap_or_default() == "env\n" {
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Ctrl-C, and again every second, as users do: the first may come in the very moment in which a process begins to take it.
fn interrupt(child: &mut Child) {
    for _ in 0..PATIENCE.as_secs() / 2 {
        if child.try_wait().unwrap().is_some() {
            return;
        }
        kill_process(Pid::from_child(child), Signal::INT).unwrap();
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(1) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn ctrl_c_at_any_moment_ends_a_tool_and_harms_no_broker() {
    let b = Broker::start();
    b.create("t", &["--partitions", "1"]);
    b.feed("kafka-console-producer", &["--topic", "t"], &"line\n".repeat(100)).ok();
    let endless = ["--topic", "t", "--num-records", "100000000", "--record-size", "100", "--throughput", "-1"];
    let tools: [(&str, &[&str]); 4] = [
        ("kafka-producer-perf-test", &endless),
        ("kafka-console-consumer", &["--topic", "t", "--group", "g", "--from-beginning"]),
        ("kafka-topics", &["--describe"]),
        ("kafka-consumer-groups", &["--describe", "--all-groups"]),
    ];
    for (tool, words) in tools {
        // Moments from before its first line to the middle of its work.
        for ms in [0, 1, 2, 4, 8, 16, 32, 64, 128, 256] {
            let mut child = command(tool, &b.with(words)).stdout(Stdio::null()).spawn().unwrap();
            has_begun(&mut child);
            std::thread::sleep(Duration::from_millis(ms));
            interrupt(&mut child);
            let done = ended(child, tool);
            assert!(done.code.is_none_or(|code| [0, 130].contains(&code)), "{tool} after {ms} ms: {done:?}");
        }
    }
    b.feed("kafka-console-producer", &["--topic", "t"], "still there\n").ok();
}

#[test]
fn ctrl_c_takes_a_consumer_out_of_its_group() {
    let b = Broker::start();
    b.create("t", &["--partitions", "1"]);
    b.feed("kafka-console-producer", &["--topic", "t"], "line\n").ok();
    let words = ["--topic", "t", "--group", "g", "--from-beginning"];
    let mut consumer = command("kafka-console-consumer", &b.with(&words)).spawn().unwrap();
    let mut line = [0; 5];
    consumer.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    let members = || b.run("kafka-consumer-groups", &["--describe", "--group", "g", "--members"]);
    assert!(members().out.contains("console-consumer"), "{:?}", members());
    kill_process(Pid::from_child(&consumer), Signal::INT).unwrap();
    assert_eq!(ended(consumer, "consumer").code, Some(130));
    let left = members();
    assert!(!left.out.contains("console-consumer"), "{left:?}");
}

#[test]
fn files_that_are_not_there_are_named() {
    let b = Broker::start();
    b.create("t", &["--partitions", "1"]);
    for path in ["/no/such/file", "/"] {
        for (tool, words) in [
            ("kafka-consumer-groups", b.with(&["--reset-offsets", "--group", "g", "--dry-run", "--from-file", path])),
            ("kafka-delete-records", b.with(&["--offset-json-file", path])),
            ("kafka-configs", b.with(&["--alter", "--topic", "t", "--add-config-file", path])),
            ("kafka-topics", b.with(&["--list", "--command-config", path])),
            ("kafka-reassign-partitions", b.with(&["--verify", "--reassignment-json-file", path])),
            ("kafka-dump-log", vec!["--files", path]),
            ("kafka-server-start", vec![path]),
            ("kafka-storage", vec!["info", "--config", path]),
        ] {
            let done = ended(command(tool, &words).spawn().unwrap(), tool);
            assert!(format!("{}{}", done.out, done.err).contains(path), "{tool} {path}: {done:?}");
            // As in Apache Kafka these two end with 0 whatever happened.
            let is_told = done.code == Some(1) || ["kafka-consumer-groups", "kafka-dump-log"].contains(&tool);
            assert!(is_told, "{tool} {path}: {done:?}");
        }
    }
}
