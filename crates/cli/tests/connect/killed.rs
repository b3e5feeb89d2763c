//! kill -9 at random moments: every line arrives, first arrivals in order, and offsets are never ahead of the topic.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;

use crate::broker::Broker;
use crate::worker::{Worker, wait};

const KILLS: u64 = 20;
const LINES: usize = 40_000;

#[test]
fn nothing_is_lost_however_often_it_is_killed() {
    let broker = Broker::start();
    let folder = broker.folder.path();
    broker.create("lines", &["--partitions", "1"]);
    let text = "key.converter=org.apache.kafka.connect.storage.StringConverter\n\
                value.converter=org.apache.kafka.connect.storage.StringConverter\noffset.flush.interval.ms=5\n";
    let input = folder.join("in.txt");
    fs::write(&input, "").unwrap();
    let connector = |name: &str, lines: &str| {
        let path = folder.join(format!("{name}.properties"));
        fs::write(&path, format!("name={name}\n{lines}")).unwrap();
        path
    };
    let source = connector("source", "connector.class=FileStreamSource\nfile=in.txt\ntopic=lines\nbatch.size=50\n");
    let sink = connector(
        "sink",
        "connector.class=FileStreamSink\nfile=out.txt\ntopics=lines\nconsumer.override.session.timeout.ms=6000\n",
    );
    let mut worker = Worker::standalone(folder, &broker.address, text, &[source, sink]);
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
