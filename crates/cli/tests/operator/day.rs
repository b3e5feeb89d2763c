//! A day in the life of an operator.

use rustix::process::Signal;

use super::broker::{Broker, wait_until};

const SETTINGS: &str = "log.retention.check.interval.ms=50\nlog.cleaner.backoff.ms=50\n";
const RECORDS: i64 = 30_000;

fn sum(offsets: &[i64]) -> i64 {
    offsets.iter().sum()
}

/// LAG of each partition, as kafka-consumer-groups shows it.
fn lags(b: &Broker) -> Vec<i64> {
    let described = b.tool("kafka-consumer-groups", &["--describe", "--group", "billing"]);
    let lines = described.lines().filter(|line| line.starts_with("billing "));
    let mut lags: Vec<(i64, i64)> = lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .map(|columns| (columns[2].parse().unwrap(), columns[5].parse().unwrap()))
        .collect();
    lags.sort();
    lags.into_iter().map(|(_, lag)| lag).collect()
}

/// Has the group read what it lags behind; all of it, and no record more.
fn catch_up(b: &Broker, records: i64) {
    let count = records.to_string();
    let words = ["--topic", "orders", "--group", "billing", "--from-beginning", "--max-messages", &count];
    assert_eq!(b.tool("kafka-console-consumer", &words).lines().count() as i64, records);
    assert_eq!(lags(b), [0, 0, 0]);
}

fn state(b: &Broker) -> Vec<String> {
    let words = ["--topic", "state", "--partition", "0", "--offset", "earliest", "--timeout-ms", "1000"];
    let print = ["--formatter-property", "print.key=true"];
    b.tool("kafka-console-consumer", &[&words[..], &print].concat()).lines().map(str::to_owned).collect()
}

#[test]
fn a_day_in_the_life_of_an_operator() {
    let mut b = Broker::start(SETTINGS);

    // Topics are made.
    let made = b.tool(
        "kafka-topics",
        &["--create", "--topic", "orders", "--partitions", "3", "--config", "segment.bytes=1048576"],
    );
    assert_eq!(made, "Created topic orders.\n");
    let compacted = [
        "--config",
        "cleanup.policy=compact",
        "--config",
        "segment.ms=1",
        "--config",
        "min.cleanable.dirty.ratio=0.01",
    ];
    b.tool("kafka-topics", &[&["--create", "--topic", "state", "--partitions", "1"][..], &compacted].concat());
    b.metrics.wait_for("kafka_controller_kafkacontroller_globaltopiccount", 2.0);
    b.metrics.wait_for("kafka_controller_kafkacontroller_globalpartitioncount", 4.0);

    // Filled, and read.
    let count = RECORDS.to_string();
    let words = ["--topic", "orders", "--num-records", &count, "--record-size", "200", "--throughput", "-1"];
    assert!(b.tool("kafka-producer-perf-test", &words).contains(&format!("{RECORDS} records sent")));
    b.metrics.wait_for("kafka_server_brokertopicmetrics_messagesin_total{topic=\"orders\"}", RECORDS as f64);
    let end = b.offsets("orders", "latest");
    assert_eq!(sum(&end), RECORDS);
    catch_up(&b, RECORDS);

    // Compacted: of each key the last value stays, and the active segment's.
    let keyed = ["--topic", "state", "--reader-property", "parse.key=true", "--reader-property", "key.separator=:"];
    for round in 0..6 {
        let lines: String = (0..40).map(|key| format!("k{key}:{round}\n")).collect();
        b.fed("kafka-console-producer", &keyed, &lines);
    }
    wait_until("the older values are gone", || state(&b).len() <= 80);
    let kept = state(&b);
    assert!((0..40).all(|key| kept.contains(&format!("k{key}\t5"))), "{kept:?}");
    assert!(b.metrics.value("klamm_log_cleaner_runs_total").unwrap() >= 1.0);

    // Retention is changed while it runs, and takes back the room.
    let orders = ["--alter", "--entity-type", "topics", "--entity-name", "orders"];
    let changed = b.tool("kafka-configs", &[&orders[..], &["--add-config", "retention.bytes=1"]].concat());
    assert_eq!(changed, "Completed updating config for topic orders.\n");
    wait_until("old segments are gone", || b.offsets("orders", "earliest").iter().all(|start| *start > 0));
    let start = b.offsets("orders", "earliest");
    b.metrics.wait_for("kafka_log_log_logstartoffset{topic=\"orders\",partition=\"0\"}", start[0] as f64);
    b.tool("kafka-configs", &[&orders[..], &["--delete-config", "retention.bytes"]].concat());
    assert_eq!(b.offsets("orders", "latest"), end, "retention takes from the beginning alone");

    // The group goes back: first in thought, then in deed.
    let reset = ["--reset-offsets", "--group", "billing", "--topic", "orders", "--to-earliest"];
    let planned = b.tool("kafka-consumer-groups", &[&reset[..], &["--dry-run"]].concat());
    assert_eq!(lags(&b), [0, 0, 0]);
    let executed = b.tool("kafka-consumer-groups", &[&reset[..], &["--execute"]].concat());
    assert_eq!(planned, executed);
    let expected: Vec<i64> = end.iter().zip(&start).map(|(end, start)| end - start).collect();
    assert_eq!(lags(&b), expected);
    let series = "kafka_consumergroup_lag{consumergroup=\"billing\",topic=\"orders\",partition=\"0\"}";
    b.metrics.wait_for(series, expected[0] as f64);
    catch_up(&b, sum(&expected));
    b.metrics.wait_for(series, 0.0);

    // Records are deleted by hand.
    let (before, all) = (start[1] + 1, end[2]);
    let json = format!(
        "{{\"version\":1,\"partitions\":[{{\"topic\":\"orders\",\"partition\":1,\"offset\":{before}}},\
         {{\"topic\":\"orders\",\"partition\":2,\"offset\":-1}}]}}"
    );
    let file = b.file("delete.json", &json);
    let deleted = b.tool("kafka-delete-records", &["--offset-json-file", file.to_str().unwrap()]);
    assert!(deleted.contains(&format!("partition: orders-1\tlow_watermark: {before}\n")), "{deleted}");
    let start = [start[0], before, all];
    assert_eq!(b.offsets("orders", "earliest"), start);

    // The broker is restarted, in order and without a word.
    for signal in [Signal::TERM, Signal::KILL] {
        b.restart(signal);
        assert_eq!((b.offsets("orders", "earliest"), b.offsets("orders", "latest")), (start.to_vec(), end.clone()));
        assert_eq!(lags(&b), [0, 0, 0]);
        let kept = state(&b);
        assert!((0..40).all(|key| kept.contains(&format!("k{key}\t5"))), "{kept:?}");
        let log_end = b.metrics.value("kafka_log_log_logendoffset{topic=\"orders\",partition=\"0\"}");
        assert_eq!(log_end, Some(end[0] as f64));
    }

    // And cleaned up.
    b.tool("kafka-consumer-groups", &["--delete", "--group", "billing"]);
    b.tool("kafka-topics", &["--delete", "--topic", "orders"]);
    b.metrics.wait_for("kafka_controller_kafkacontroller_globalpartitioncount", 2.0);
    let page = b.metrics.page();
    assert!(!page.keys().any(|series| series.contains("\"orders\"") && series.starts_with("kafka_log_")));
    assert!(!b.log().contains("] ERROR "), "{}", b.log());
    let pages = b.metrics.end();
    assert!(pages > 20, "{pages} pages");
}
