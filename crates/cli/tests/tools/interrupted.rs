//! Ctrl-C, readers that go away, brokers that die.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::harness::{Broker, command, done};

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

#[test]
fn ctrl_c_sends_what_was_typed_and_tells_what_was_read() {
    let b = Broker::start();
    b.create("cut", &["--partitions", "1"]);
    let mut producer =
        command("kafka-console-producer", &b.with(&["--topic", "cut"])).stdin(Stdio::piped()).spawn().unwrap();
    producer.stdin.as_mut().unwrap().write_all(b"typed\n").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    interrupt(&producer);
    // Standard input stays open: only the signal ends it.
    let input = producer.stdin.take();
    assert_eq!(done(producer).code, Some(130));
    drop(input);

    let mut consumer =
        command("kafka-console-consumer", &b.with(&["--topic", "cut", "--from-beginning"])).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(consumer.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "typed\n");
    interrupt(&consumer);
    let ended = done(consumer);
    assert_eq!((ended.code, ended.err.as_str()), (Some(130), "Processed a total of 1 messages\n"));
}

#[test]
fn a_reader_that_goes_away_ends_the_consumer() {
    let b = Broker::start();
    b.create("long", &["--partitions", "1"]);
    let lines = "x".repeat(200) + "\n";
    b.feed("kafka-console-producer", &["--topic", "long"], &lines.repeat(5000)).ok();
    let mut consumer =
        command("kafka-console-consumer", &b.with(&["--topic", "long", "--partition", "0", "--offset", "0"]))
            .spawn()
            .unwrap();
    let mut some = [0; 1000];
    consumer.stdout.take().unwrap().read_exact(&mut some).unwrap();
    let ended = done(consumer);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.starts_with("Processed a total of "), "{ended:?}");
}

#[test]
fn nothing_is_lost_or_doubled_when_the_broker_is_killed_under_a_producer() {
    const LINES: usize = 3000;
    let mut b = Broker::start();
    b.create("kept", &["--partitions", "1"]);
    let words = ["--topic", "kept", "--timeout", "5", "--batch-size", "500", "--message-send-max-retries", "1000"];
    let mut producer = command("kafka-console-producer", &b.with(&words)).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = producer.stdin.take().unwrap();
    let typist = std::thread::spawn(move || {
        for i in 0..LINES {
            writeln!(input, "{i}").unwrap();
            if i % 100 == 0 {
                std::thread::sleep(Duration::from_millis(30));
            }
        }
    });
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(250));
        b.kill_and_restart();
    }
    typist.join().unwrap();
    let sent = done(producer);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let words = ["--topic", "kept", "--partition", "0", "--offset", "0", "--timeout-ms", "3000"];
    let read = b.run("kafka-console-consumer", &words).ok();
    let expected: Vec<String> = (0..LINES).map(|i| i.to_string()).collect();
    assert!(read.lines().eq(expected.iter().map(String::as_str)), "{} lines; {}", read.lines().count(), sent.err);
}
