//! A worker with a sink of its own, against a broker. Apart from the other tests of Connect, because a worker in this process
//! takes its signals.

#![allow(clippy::unwrap_used)]

#[path = "../tools/harness.rs"]
#[allow(dead_code)] // shared with the tests of the tools, which use all of it
mod broker;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use connect_api::{
    ConfigDef, Connector, ConnectorContext, Error, Properties, Result, SinkContext, SinkRecord, SinkTask, Task,
    TaskKind,
};

use crate::broker::Broker;

/// Records that the sink has got.
static GOT: AtomicUsize = AtomicUsize::new(0);

/// A sink that finds out late what it cannot take: with each batch it reports all records of the batch before.
#[derive(Default)]
struct LateSink {
    properties: Properties,
}

impl Connector for LateSink {
    fn kind(&self) -> TaskKind {
        TaskKind::Sink
    }

    fn config(&self) -> ConfigDef {
        ConfigDef::new()
    }

    fn start(&mut self, properties: &Properties, _: ConnectorContext) -> Result<()> {
        self.properties.clone_from(properties);
        Ok(())
    }

    fn task_configs(&self, _: usize) -> Result<Vec<Properties>> {
        Ok(vec![self.properties.clone()])
    }

    fn task(&self) -> Task {
        Task::Sink(Box::new(LateTask::default()))
    }
}

#[derive(Default)]
struct LateTask {
    context: Option<Arc<dyn SinkContext>>,
    before: Vec<SinkRecord>,
}

impl SinkTask for LateTask {
    fn start(&mut self, _: &Properties, context: Arc<dyn SinkContext>) -> Result<()> {
        self.context = Some(context);
        Ok(())
    }

    fn put(&mut self, records: &[SinkRecord]) -> Result<()> {
        let before = std::mem::replace(&mut self.before, records.to_vec());
        for record in &before {
            self.context.as_ref().unwrap().report(record, Error::data("found out late"))?;
        }
        GOT.fetch_add(records.len(), SeqCst);
        Ok(())
    }
}

fn await_got(count: usize) {
    let begun = Instant::now();
    while GOT.load(SeqCst) < count {
        assert!(begun.elapsed() < Duration::from_secs(60), "the sink got {} records of {count}", GOT.load(SeqCst));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A record that is reported when others are being put is in the dead-letter topic, as it was read.
#[test]
fn a_record_may_be_reported_long_after_it_was_put() {
    let broker = Broker::start();
    let folder = broker.folder.path();
    broker.create("in", &["--partitions", "1"]);
    let (worker, sink) = (folder.join("worker.properties"), folder.join("sink.properties"));
    let text = "org.apache.kafka.connect.storage.StringConverter";
    let lines = format!(
        "bootstrap.servers={}\nkey.converter={text}\nvalue.converter={text}\noffset.storage.file.filename={}\n\
         listeners=http://127.0.0.1:{}\n",
        broker.address,
        folder.join("offsets").display(),
        testkit::free_port()
    );
    fs::write(&worker, lines).unwrap();
    let lines = "name=late\nconnector.class=LateSink\ntopics=in\nerrors.tolerance=all\n\
                 errors.deadletterqueue.topic.name=dead\nerrors.deadletterqueue.topic.replication.factor=1\n\
                 errors.deadletterqueue.context.headers.enable=true\n";
    fs::write(&sink, lines).unwrap();
    // It ends with the process.
    std::thread::spawn(move || {
        let mut plugins = connect::plugins::builtin();
        plugins.connector("org.example.LateSink", "1", || Box::new(LateSink::default()));
        connect::standalone(plugins, &worker, &[sink])
    });
    let feed = |lines: &str| broker.feed("kafka-console-producer", &["--topic", "in"], lines).ok();
    feed("one\n");
    await_got(1);
    feed("two\n");
    await_got(2);
    feed("three\n");
    let more = ["--from-beginning", "--max-messages", "2", "--timeout-ms", "30000", "--property", "print.headers=true"];
    let dead = broker.run("kafka-console-consumer", &[&["--topic", "dead"], &more[..]].concat()).ok();
    let letters: Vec<&str> = dead.lines().filter(|l| l.contains("__connect.errors.topic:in,")).collect();
    assert_eq!(letters.len(), 2, "{dead}");
    for (number, (letter, value)) in letters.iter().zip(["one", "two"]).enumerate() {
        let offset = format!("__connect.errors.offset:{number},");
        assert!(letter.contains(&offset) && letter.contains("__connect.errors.stage:TASK_PUT,"), "{letter}");
        assert!(letter.contains("__connect.errors.exception.message:found out late"), "{letter}");
        assert!(dead.lines().any(|l| l.ends_with(&format!("\t{value}"))), "{value}: {dead}");
    }
}
