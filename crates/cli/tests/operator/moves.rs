//! Replicas that move between the broker's log directories.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::broker::{Broker, wait_until};
use super::failed_dirs::{break_dir, mend_dir};
use super::full_disk::{placed, small_disk};

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
    fill(&b, topics);
    b
}

fn fill(b: &Broker, topics: &[&str]) {
    for topic in topics {
        let words = ["--create", "--topic", topic, "--config", "segment.bytes=1048576"];
        b.tool("kafka-topics", &[&words[..], &["--config", "file.delete.delay.ms=0"]].concat());
        b.fed("kafka-console-producer", &["--topic", topic], &lines(0..BATCHES));
    }
}

/// Beside brokers with `log.dirs`, where the cluster's state is not among what fails.
fn with_metadata_elsewhere(folder: &Path) -> String {
    format!(
        "metadata.log.dir={}\nlog.flush.offset.checkpoint.interval.ms=200\n\
         replica.high.watermark.checkpoint.interval.ms=200\n",
        folder.join("meta").display()
    )
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

const SLOWLY: [&str; 2] = ["--replica-alter-log-dirs-throttle", "1000"];
const AT_ONCE: [&str; 2] = ["--replica-alter-log-dirs-throttle", "1000000000"];

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
        // Between the two renames at the end both are there, and the one that does not count is put aside.
        let is_left = |name: &String| name.starts_with("t-0.") && name.ends_with("-stray");
        wait_until("one is left", || {
            entries(&here, "t").iter().all(is_left)
                && entries(&there, "t").iter().filter(|name| !is_left(name)).eq(["t-0"])
        });
    }
    assert!(!b.log().contains("panicked"), "{}", b.log());
}

/// The controller was told where it goes, and then the directory that it was in is lost.
#[test]
fn a_copy_takes_the_place_of_its_log_that_is_gone() {
    let mut b = start(&["t"]);
    let (_, there) = here_and_there(&b, "t-0");
    execute(&b, "t", &there, &[]);
    wait_until("it is there", || place(&b, "t-0") == Place { current: vec![there.clone()], future: None });
    b.end(Signal::KILL);
    let copy = Path::new(&there).join(format!("t-0.{}-future", "ab".repeat(16)));
    fs::rename(Path::new(&there).join("t-0"), &copy).unwrap();
    b.begin();
    assert_eq!(place(&b, "t-0"), Place { current: vec![there.clone()], future: None });
    assert_eq!(read(&b, "t", BATCHES), lines(0..BATCHES));
    b.fed("kafka-console-producer", &["--topic", "t"], &lines(BATCHES..BATCHES + 50));
    assert_eq!(read(&b, "t", BATCHES + 50), lines(0..BATCHES + 50));
}

#[test]
fn of_two_logs_the_one_counts_that_the_controller_knows_and_where_nobody_knows_no_broker_starts() {
    let mut b = start(&["t"]);
    let (here, there) = here_and_there(&b, "t-0");
    let [kept, stale] = [&here, &there].map(|dir| Path::new(dir).join("t-0"));
    b.end(Signal::TERM);
    let aside = b.folder.path().join("aside");
    copy_dir(&kept, &aside);
    b.begin();
    b.fed("kafka-console-producer", &["--topic", "t"], &lines(BATCHES..BATCHES + 50));
    let all = lines(0..BATCHES + 50);
    b.end(Signal::KILL);
    copy_dir(&aside, &stale);
    b.begin();
    assert_eq!(place(&b, "t-0"), Place { current: vec![here.clone()], future: None });
    assert_eq!(read(&b, "t", BATCHES + 50), all);
    let put_aside = entries(&there, "t");
    assert!(put_aside.len() == 1 && put_aside[0].ends_with("-stray"), "{put_aside:?}");

    // The directory that counts had failed: the replica may have stayed where it was.
    b.end(Signal::KILL);
    copy_dir(&aside, &stale);
    fs::write(Path::new(&here).join(".klamm_boot_id"), "").unwrap();
    let said = b.begin_in_vain();
    let words = "Duplicate log directories for t-0 are found in both";
    assert!(said.contains(words) && said.contains(kept.to_str().unwrap()), "{said}");
    assert!(kept.is_dir() && stale.is_dir(), "nothing was touched");
    fs::remove_dir_all(&stale).unwrap();
    b.begin();
    assert_eq!(read(&b, "t", BATCHES + 50), all);
}

/// Keys and the values that they end up with, as a consumer sees them.
fn state(b: &Broker, topic: &str, end: i64) -> BTreeMap<String, String> {
    let words = ["--topic", topic, "--partition", "0", "--offset", "0", "--formatter-property", "print.key=true"];
    let more = ["--formatter-property", "print.offset=true", "--timeout-ms", "1500"];
    let text = b.done("kafka-console-consumer", &[&words[..], &more].concat(), "").out;
    let (mut state, mut last) = (BTreeMap::new(), -1);
    for line in text.lines() {
        let [offset, key, value] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        last = offset.strip_prefix("Offset:").unwrap().parse().unwrap();
        match value {
            "null" => drop(state.remove(key)),
            value => drop(state.insert(key.to_owned(), value.to_owned())),
        }
    }
    assert_eq!(last, end - 1, "the last record is always there");
    state
}

/// What a checkpoint file of a log directory says of a topic's first partition.
fn checkpoint(dir: &str, file: &str, topic: &str) -> i64 {
    let text = fs::read_to_string(Path::new(dir).join(file)).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{topic} 0 ")).map(str::to_owned));
    line.map_or(0, |offset| offset.parse().unwrap())
}

#[test]
fn a_compacted_log_is_left_alone_on_its_way_and_compacted_where_it_went() {
    let folder = tempfile::Builder::new().prefix("operator-").tempdir().unwrap();
    let settings = "log.cleaner.backoff.ms=50\nlog.cleaner.min.cleanable.ratio=0.01\nlog.roll.ms=1\n\
                    log.retention.check.interval.ms=100\nlog.cleaner.delete.retention.ms=0\n";
    let mut b = Broker::start_in(folder, &["a", "z"], settings, Vec::new());
    b.tool("kafka-topics", &["--create", "--topic", "state", "--config", "cleanup.policy=compact"]);
    let (here, there) = here_and_there(&b, "state-0");
    let mut expected = BTreeMap::new();
    let mut round = 0;
    let mut produce = |b: &Broker, expected: &mut BTreeMap<String, String>| {
        round += 1;
        let mut lines = String::new();
        for at in 0..40 {
            let (key, value) = (format!("k{at}"), format!("{round} {}", "x".repeat(200)));
            // A fifth is deleted, another one each time.
            match (at + round) % 5 {
                0 => expected.remove(&key),
                _ => expected.insert(key.clone(), value.clone()),
            };
            lines.push_str(&format!("{key}:{}\n", expected.get(&key).map_or("null", String::as_str)));
        }
        let words = ["--topic", "state", "--reader-property", "parse.key=true", "--reader-property", "key.separator=:"];
        b.fed("kafka-console-producer", &[&words[..], &["--reader-property", "null.marker=null"]].concat(), &lines);
        40 * i64::from(round)
    };
    for _ in 0..6 {
        produce(&b, &mut expected);
    }
    let cleaned = |dir: &str| checkpoint(dir, "cleaner-offset-checkpoint", "state");
    wait_until("all but the active segment is clean", || cleaned(&here) >= 200);
    let synced = checkpoint(&here, "recovery-point-offset-checkpoint", "state");
    assert!(synced >= cleaned(&here), "{synced}: what is missing would look lost after a power cut");

    execute(&b, "state", &there, &["--replica-alter-log-dirs-throttle", "500"]);
    wait_until("it has begun", || place(&b, "state-0").future.is_some());
    let clean = cleaned(&here);
    for _ in 0..3 {
        produce(&b, &mut expected);
    }
    b.restart(Signal::KILL);
    for _ in 0..2 {
        produce(&b, &mut expected);
    }
    let end = produce(&b, &mut expected);
    assert!(matches!(place(&b, "state-0").future, Some((_, 1..))), "it is on its way");
    assert_eq!(cleaned(&here), clean, "the copy would have what the log has no more");
    execute(&b, "state", &there, &AT_ONCE);
    wait_until("it is there", || place(&b, "state-0") == Place { current: vec![there.clone()], future: None });
    assert_eq!(state(&b, "state", end), expected);
    wait_until("what came meanwhile is clean", || cleaned(&there) >= 440);
    assert_eq!(state(&b, "state", end), expected);
    b.restart(Signal::KILL);
    assert_eq!(state(&b, "state", end), expected);
}

#[test]
fn a_directory_without_room_for_a_replica_fails_and_the_replica_stays() {
    let Some((folder, disk)) = small_disk("1m") else { return };
    let settings = with_metadata_elsewhere(folder.path());
    let small = folder.path().join("small").display().to_string();
    let mut b = Broker::start_in(folder, &["a", "small"], &settings, disk.launcher());
    let topics = ["t0", "t1"];
    for topic in topics {
        b.tool("kafka-topics", &["--create", "--topic", topic, "--config", "segment.bytes=1048576"]);
    }
    let (_, topic) = placed(&b, &topics, "/small");
    let (name, a) = (format!("{topic}-0"), b.folder.path().join("a").display().to_string());
    b.fed("kafka-console-producer", &["--topic", topic], &lines(0..BATCHES));
    execute(&b, topic, &small, &[]);
    wait_until("there is no room", || b.log().contains("the log directory failed and is offline"));
    assert!(b.log().contains("No space left on device"), "{}", b.log());
    b.fed("kafka-console-producer", &["--topic", topic], &lines(BATCHES..BATCHES + 50));
    assert_eq!(place(&b, &name), Place { current: vec![a], future: None });
    assert_eq!(read(&b, topic, BATCHES + 50), lines(0..BATCHES + 50));

    // With room, whoever comes next goes on with it.
    disk.enlarge("64m");
    b.restart(Signal::TERM);
    wait_until("it is there", || place(&b, &name) == Place { current: vec![small.clone()], future: None });
    assert_eq!(read(&b, topic, BATCHES + 50), lines(0..BATCHES + 50));
}

/// A broker whose partition `t-0` is moved, of which some is copied; where from and where to.
fn moving_slowly() -> (Broker, String, String) {
    let folder = tempfile::Builder::new().prefix("operator-").tempdir().unwrap();
    let settings = with_metadata_elsewhere(folder.path());
    let b = Broker::start_in(folder, &["a", "z"], &settings, Vec::new());
    fill(&b, &["t"]);
    let (here, there) = here_and_there(&b, "t-0");
    execute(&b, "t", &there, &SLOWLY);
    wait_until("some of it is copied", || matches!(place(&b, "t-0").future, Some((_, 1..5000))));
    (b, here, there)
}

#[test]
fn a_move_whose_source_fails_is_gone_on_with_once_that_is_mended() {
    let (mut b, here, there) = moving_slowly();
    let name = Path::new(&here).file_name().unwrap().to_str().unwrap();
    break_dir(&b, name);
    b.fed("kafka-topics", &["--create", "--topic", "other", "--partitions", "4"], "");
    wait_until("it is offline", || b.log().contains("the log directory failed and is offline"));
    let words = ["--topic", "t", "--command-property", "delivery.timeout.ms=2000"];
    let words = [&words[..], &["--command-property", "request.timeout.ms=1000"]].concat();
    let done = b.done("kafka-console-producer", &words, "lost\n");
    assert!(done.err.contains("TimeoutException") || done.code != Some(0), "{done:?}");
    b.end(Signal::KILL);
    mend_dir(&b, name);
    b.begin();
    assert_eq!(read(&b, "t", BATCHES), lines(0..BATCHES));
    assert!(matches!(place(&b, "t-0").future, Some((_, 1..5000))), "it goes on where it was");
    execute(&b, "t", &there, &AT_ONCE);
    wait_until("it is there", || place(&b, "t-0") == Place { current: vec![there.clone()], future: None });
    assert_eq!(read(&b, "t", BATCHES), lines(0..BATCHES));
}

#[test]
fn a_move_whose_goal_fails_is_over_and_the_replica_stays() {
    let (mut b, here, there) = moving_slowly();
    let name = Path::new(&there).file_name().unwrap().to_str().unwrap();
    break_dir(&b, name);
    wait_until("it is offline", || b.log().contains("the log directory failed and is offline"));
    assert_eq!(place(&b, "t-0"), Place { current: vec![here.clone()], future: None });
    let mut end = BATCHES;
    for signal in [Signal::KILL, Signal::TERM] {
        b.fed("kafka-console-producer", &["--topic", "t"], &lines(end..end + 50));
        end += 50;
        assert_eq!(read(&b, "t", end), lines(0..end));
        b.end(signal);
        if signal == Signal::KILL {
            mend_dir(&b, name);
        }
        b.begin();
        assert_eq!(read(&b, "t", end), lines(0..end));
    }
}
