//! kill -9 at random moments: every line arrives, first arrivals in order, and offsets are never ahead of the topic.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;

use crate::broker::Broker;
use crate::distributed::settings;
use crate::worker::{Worker, ask_maybe, wait};

const KILLS: u64 = 20;
const LINES: usize = 40_000;

#[test]
fn nothing_is_lost_however_often_it_is_killed() {
    let broker = Broker::start();
    let folder = broker.folder.path();
    let connector = |name: &str| {
        let path = folder.join(format!("{name}.properties"));
        let lines: String = connector(name).iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        fs::write(&path, format!("name={name}\n{lines}")).unwrap();
        path
    };
    let files = [connector("source"), connector("sink")];
    fs::write(folder.join("in.txt"), "").unwrap();
    broker.create("lines", &["--partitions", "1"]);
    let worker = Worker::standalone(folder, &broker.address, SETTINGS, &files);
    kill_and_compare(&broker, worker, || ());
}

/// The same in a group, whose offsets are in a topic.
#[test]
fn nothing_is_lost_in_a_group_either() {
    let broker = Broker::with_settings("group.min.session.timeout.ms=100\n");
    let (folder, port) = (broker.folder.path(), testkit::free_port());
    fs::write(folder.join("in.txt"), "").unwrap();
    broker.create("lines", &["--partitions", "1"]);
    // Who was killed is gone soon, so that the next one is not kept waiting.
    let more =
        format!("{SETTINGS}session.timeout.ms=300\nheartbeat.interval.ms=50\nscheduled.rebalance.max.delay.ms=0\n");
    let worker = Worker::run(folder, port, settings(&broker, folder, port, &more));
    for name in ["source", "sink"] {
        assert_eq!(worker.put(name, &connector(name)).0, 201);
    }
    // What is killed has begun its work.
    let at_work = move || {
        for name in ["source", "sink"] {
            wait("the task runs", || {
                let (_, status) = ask_maybe(port, "GET", &format!("/connectors/{name}/status"), None)?;
                (status["tasks"][0]["state"] == "RUNNING").then_some(())
            });
        }
    };
    kill_and_compare(&broker, worker, at_work);
}

const SETTINGS: &str = "key.converter=org.apache.kafka.connect.storage.StringConverter\n\
                        value.converter=org.apache.kafka.connect.storage.StringConverter\noffset.flush.interval.ms=5\n";

fn connector(name: &str) -> Vec<(&'static str, &'static str)> {
    match name {
        "source" => {
            vec![("connector.class", "FileStreamSource"), ("file", "in.txt"), ("topic", "lines"), ("batch.size", "50")]
        }
        _ => vec![
            ("connector.class", "FileStreamSink"),
            ("file", "out.txt"),
            ("topics", "lines"),
            ("consumer.override.session.timeout.ms", "6000"),
        ],
    }
}

/// Kills the worker while lines are written to its source; `at_work` waits until it has begun again.
fn kill_and_compare(broker: &Broker, mut worker: Worker, at_work: impl Fn()) {
    let folder = broker.folder.path();
    let input = folder.join("in.txt");
    let all: Vec<String> = (0..LINES).map(|n| format!("line {n} ü")).collect();
    // Lines are written while it lives and dies.
    let lines = all.clone();
    let writer = std::thread::spawn(move || {
        let mut file = File::options().append(true).open(input).unwrap();
        for chunk in lines.chunks(LINES / 400) {
            writeln!(file, "{}", chunk.join("\n")).unwrap();
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let mut moment = u64::from(std::process::id());
    for _ in 0..KILLS {
        // A simple generator, whose seed is printed when the test fails.
        moment = moment.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        at_work();
        std::thread::sleep(Duration::from_millis(moment >> 33 & 0xff));
        worker.kill();
        worker.start_again();
    }
    writer.join().unwrap();
    let out = folder.join("out.txt");
    let arrived = wait("everything arrives", || {
        let text = fs::read_to_string(&out).ok()?;
        text.ends_with(&format!("{}\n", all[LINES - 1])).then_some(text)
    });
    // Of each line the first time that it arrived. A kill in the middle of a line leaves a piece of it at the sink, which
    // then comes again as a whole: what counts is the topic.
    let topic =
        broker.run("kafka-console-consumer", &["--topic", "lines", "--from-beginning", "--timeout-ms", "5000"]).ok();
    let first = |text: &str| {
        let mut seen = HashSet::new();
        text.lines().filter(|l| seen.insert((*l).to_owned())).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(first(&topic) == all, "seed {}: the topic has other lines, or in another order", std::process::id());
    let whole: HashSet<&str> = all.iter().map(String::as_str).collect();
    let put: Vec<String> = first(&arrived).into_iter().filter(|l| whole.contains(l.as_str())).collect();
    assert!(put == all, "seed {}: the sink has other lines, or in another order", std::process::id());
}
