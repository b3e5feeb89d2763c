//! The log cleaner of a running broker, seen through its consumers and its files.

use super::harness::Broker;
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

const SETTINGS: &str = "log.cleaner.backoff.ms=50\nlog.cleaner.min.cleanable.ratio=0.01\nlog.roll.ms=1\n\
                        log.retention.check.interval.ms=100\n";

/// Keys and values of a partition, as a consumer reads them, and how many records that were.
fn read(b: &Broker, topic: &str) -> (BTreeMap<String, String>, usize) {
    let end = b.run("kafka-get-offsets", &["--topic", topic]).ok();
    let end: i64 = end.trim().rsplit(':').next().unwrap().parse().unwrap();
    let words =
        ["--topic", topic, "--partition", "0", "--offset", "earliest", "--formatter-property", "print.key=true"];
    let more = ["--formatter-property", "print.offset=true", "--timeout-ms", "800"];
    let text = b.run("kafka-console-consumer", &[&words[..], &more].concat()).out;
    let mut state = BTreeMap::new();
    let (mut count, mut last) = (0, -1);
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let offset = fields[0].strip_prefix("Offset:").unwrap().parse::<i64>().unwrap();
        assert!(offset > last && offset < end, "{offset} after {last}");
        last = offset;
        state.insert(fields[1].to_owned(), fields[2].to_owned());
        count += 1;
    }
    assert_eq!(last, end - 1, "the last record is always there");
    (state, count)
}

fn checkpoint(b: &Broker, topic: &str) -> i64 {
    let text = fs::read_to_string(b.file("", "cleaner-offset-checkpoint")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{topic} 0 ")).map(str::to_owned));
    line.map_or(0, |offset| offset.parse().unwrap())
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_compacted_topic_keeps_the_last_value_of_each_key_through_a_kill() {
    let mut b = Broker::with_settings(SETTINGS);
    b.create("state", &["--partitions", "1", "--config", "cleanup.policy=compact"]);
    let words = ["--topic", "state", "--reader-property", "parse.key=true", "--reader-property", "key.separator=:"];
    let mut expected = BTreeMap::new();
    let round = |b: &Broker, round: usize, expected: &mut BTreeMap<String, String>| {
        let mut lines = String::new();
        for key in 0..40 {
            lines.push_str(&format!("k{key}:{round}\n"));
            expected.insert(format!("k{key}"), round.to_string());
        }
        b.feed("kafka-console-producer", &words, &lines).ok();
    };
    (0..6).for_each(|at| round(&b, at, &mut expected));
    wait_until("all but the active segment is clean", || checkpoint(&b, "state") >= 200);
    let (state, count) = read(&b, "state");
    assert_eq!(state, expected);
    assert!(count <= 80, "{count} records of 240: 40 clean ones, and the active segment's");
    b.kill_and_restart();
    let (state, again) = read(&b, "state");
    assert!(state == expected && again <= count);
    // It goes on where it was.
    (6..9).for_each(|at| round(&b, at, &mut expected));
    wait_until("the new part is clean", || checkpoint(&b, "state") >= 320);
    assert_eq!(read(&b, "state").0, expected);
    // A topic of the same name begins anew.
    b.run("kafka-topics", &["--delete", "--topic", "state"]).ok();
    wait_until("its checkpoint is gone", || checkpoint(&b, "state") == 0);
    b.create("state", &["--partitions", "1", "--config", "cleanup.policy=compact"]);
    round(&b, 0, &mut BTreeMap::new());
    assert_eq!(read(&b, "state").1, 40);
}
