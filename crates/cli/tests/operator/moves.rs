//! Replicas that move between the broker's log directories.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::broker::{Broker, wait_until};

const BATCHES: u32 = 5000;

/// Where a partition is, where it is on its way to, and how many records the copy lacks.
#[derive(Debug, PartialEq)]
struct Place {
    current: Vec<String>,
    future: Option<(String, i64)>,
}

fn place(b: &Broker, partition: &str) -> Place {
    let described = b.tool("kafka-log-dirs", &["--describe"]);
    let json: serde_json::Value = serde_json::from_str(described.lines().last().unwrap()).unwrap();
    let mut place = Place { current: Vec::new(), future: None };
    for dir in json["brokers"][0]["logDirs"].as_array().unwrap() {
        let path = dir["logDir"].as_str().unwrap();
        for one in dir["partitions"].as_array().unwrap().iter().filter(|p| p["partition"] == partition) {
            match one["isFuture"].as_bool().unwrap() {
                true => place.future = Some((path.to_owned(), one["offsetLag"].as_i64().unwrap())),
                false => place.current.push(path.to_owned()),
            }
        }
    }
    place
}

/// The directory of these two that the partition is in, and the other one.
fn here_and_there(b: &Broker, partition: &str) -> (String, String) {
    let [a, z] = ["a", "z"].map(|dir| b.folder.path().join(dir).display().to_string());
    let current = place(b, partition).current;
    if current == [a.clone()] { (a, z) } else { (z, a) }
}

fn reassignment(b: &Broker, topic: &str, dir: &str) -> String {
    let json = format!(
        r#"{{"version":1,"partitions":[{{"topic":"{topic}","partition":0,"replicas":[1],"log_dirs":["{dir}"]}}]}}"#
    );
    b.file("reassignment.json", &json).display().to_string()
}

fn execute(b: &Broker, topic: &str, dir: &str, more: &[&str]) -> String {
    let file = reassignment(b, topic, dir);
    b.tool("kafka-reassign-partitions", &[&["--execute", "--reassignment-json-file", &file], more].concat())
}

fn verify(b: &Broker, topic: &str, dir: &str) -> String {
    let file = reassignment(b, topic, dir);
    b.tool("kafka-reassign-partitions", &["--verify", "--reassignment-json-file", &file])
}

/// Entries of a log directory that are of this topic.
fn entries(dir: &str, topic: &str) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(&format!("{topic}-0"))).collect()
}

fn lines(range: std::ops::Range<u32>) -> String {
    range.map(|i| format!("line {i} {}\n", "x".repeat(500))).collect()
}

fn read(b: &Broker, topic: &str, count: u32) -> String {
    let count = count.to_string();
    let words = ["--topic", topic, "--partition", "0", "--offset", "0", "--max-messages", &count];
    b.tool("kafka-console-consumer", &[&words[..], &["--timeout-ms", "20000"]].concat())
}

fn start(topics: &[&str]) -> Broker {
    let folder = tempfile::Builder::new().prefix("operator-").tempdir().unwrap();
    let b = Broker::start_in(folder, &["a", "z"], "", Vec::new());
    for topic in topics {
        let words = ["--create", "--topic", topic, "--config", "segment.bytes=1048576"];
        b.tool("kafka-topics", &[&words[..], &["--config", "file.delete.delay.ms=0"]].concat());
        b.fed("kafka-console-producer", &["--topic", topic], &lines(0..BATCHES));
    }
    b
}

#[test]
fn a_replica_moves_while_it_is_written_and_is_whole_in_its_new_directory() {
    let mut b = start(&["t"]);
    let (here, there) = here_and_there(&b, "t-0");
    let said = execute(&b, "t", &there, &[]);
    let started = format!("Successfully started moving log directory to {there} for replica t-0 with broker 1 \n");
    assert!(said.ends_with(&started), "{said}");
    let mut end = BATCHES;
    wait_until("it is there", || {
        b.fed("kafka-console-producer", &["--topic", "t"], &lines(end..end + 50));
        end += 50;
        place(&b, "t-0") == Place { current: vec![there.clone()], future: None }
    });
    let said = verify(&b, "t", &there);
    assert!(said.contains("\nReassignment of replica t-0-1 completed successfully.\n"), "{said}");
    assert_eq!(read(&b, "t", end), lines(0..end));
    wait_until("nothing is left of it where it was", || entries(&here, "t").is_empty());
    assert_eq!(entries(&there, "t"), ["t-0"]);
    // It is written and found there by whoever comes next.
    b.restart(Signal::KILL);
    b.fed("kafka-console-producer", &["--topic", "t"], &lines(end..end + 50));
    assert_eq!(read(&b, "t", end + 50), lines(0..end + 50));
    b.restart(Signal::TERM);
    assert_eq!(place(&b, "t-0"), Place { current: vec![there.clone()], future: None });
    assert_eq!(read(&b, "t", end + 50), lines(0..end + 50));
    let said = verify(&b, "t", &here);
    let not = format!("Partition t-0 on broker 1 is not being moved from log dir {there} to {here}.");
    assert!(said.contains(&not), "{said}");
}

#[test]
fn a_slow_move_is_seen_goes_on_after_a_kill_and_can_be_taken_back() {
    let mut b = start(&["t", "gone"]);
    let (here, there) = here_and_there(&b, "t-0");
    let slow = ["--replica-alter-log-dirs-throttle", "1000"];
    let said = execute(&b, "t", &there, &slow);
    assert!(said.contains("\nThe replica-alter-dir throttle limit was set to 1000 B/s\n"), "{said}");
    let seen = |b: &Broker| match place(b, "t-0") {
        Place { current, future: Some((future, lag)) } if current == [here.clone()] && future == there => lag,
        other => panic!("{other:?}"),
    };
    wait_until("some of it is copied", || (1..i64::from(BATCHES)).contains(&seen(&b)));
    let said = verify(&b, "t", &there);
    assert!(said.contains("\nReassignment of replica t-0-1 is still in progress.\n"), "{said}");
    assert!(!said.contains("Clearing"), "{said}");
    b.restart(Signal::KILL);
    let lag = seen(&b);
    assert!((1..i64::from(BATCHES)).contains(&lag), "it goes on where it was: {lag}");

    // Asked for again, nothing changes; asked to stay, the copy goes.
    execute(&b, "t", &there, &[]);
    seen(&b);
    let file = reassignment(&b, "t", &there);
    let words = ["--cancel", "--reassignment-json-file", &file, "--preserve-throttles"];
    let said = b.tool("kafka-reassign-partitions", &words);
    let back = format!("Successfully started moving log directory to {here} for replica t-0 with broker 1 \n");
    assert!(said.contains(&back), "{said}");
    assert_eq!(place(&b, "t-0"), Place { current: vec![here.clone()], future: None });
    wait_until("the copy is gone", || entries(&there, "t").is_empty());
    let said = b.tool("kafka-reassign-partitions", &words);
    assert!(said.contains("None of the specified partition moves are active."), "{said}");

    // A topic that is deleted on the way goes from both.
    let (from, to) = here_and_there(&b, "gone-0");
    execute(&b, "gone", &to, &[]);
    wait_until("it has begun", || place(&b, "gone-0").future.is_some());
    b.tool("kafka-topics", &["--delete", "--topic", "gone"]);
    wait_until("both are gone", || entries(&from, "gone").is_empty() && entries(&to, "gone").is_empty());

    // Without the throttle it is done.
    execute(&b, "t", &there, &["--replica-alter-log-dirs-throttle", "1000000000"]);
    wait_until("it is there", || verify(&b, "t", &there).contains("completed successfully."));
    assert_eq!(read(&b, "t", BATCHES), lines(0..BATCHES));
    let config = b.tool("kafka-configs", &["--describe", "--entity-type", "brokers", "--entity-name", "1"]);
    assert!(!config.contains("replica.alter.log.dirs.io.max.bytes.per.second"), "{config}");
}

#[test]
fn a_kill_at_any_moment_leaves_one_replica_with_all_records() {
    let mut b = start(&["t"]);
    let mut end = BATCHES;
    for round in 0..12 {
        let (here, there) = here_and_there(&b, "t-0");
        execute(&b, "t", &there, &[]);
        // Between the first bytes of the copy and the end of what is left of the old replica.
        let until = Instant::now() + Duration::from_millis(17 * round);
        while Instant::now() < until {
            std::thread::yield_now();
        }
        b.restart(Signal::KILL);
        b.fed("kafka-console-producer", &["--topic", "t"], &lines(end..end + 20));
        end += 20;
        wait_until("it is there", || place(&b, "t-0") == Place { current: vec![there.clone()], future: None });
        assert_eq!(read(&b, "t", end), lines(0..end), "round {round}: {}", b.log());
        wait_until("one is left", || entries(&here, "t").is_empty() && entries(&there, "t") == ["t-0"]);
    }
    assert!(!b.log().contains("panicked"), "{}", b.log());
}
