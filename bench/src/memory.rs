//! What a broker keeps resident, and what it does while nobody asks anything of it.

use crate::Outcome;
use crate::client::{PRODUCE_VERSION, call, connect, create_topic};
use crate::options::Options;
use crate::process::{Process, machine, raise_open_files};
use crate::server::{Broker, Folder};
use crate::stats::digits;
use crate::workload::Workload;
use std::time::Duration;
use wire::ApiKey;
use wire::messages::api_versions_request::ApiVersionsRequest;

/// What was allocated for the last step and given back is gone after this time, if it goes at all.
const SETTLE: Duration = Duration::from_secs(2);

pub fn run(mut options: Options) -> Outcome<()> {
    let partitions: i32 = options.number("partitions", 1000)?;
    let topics: usize = options.number("topics", 1000)?;
    let connections: usize = options.number("connections", 10_000)?;
    let seconds: u64 = options.number("seconds", 30)?;
    let folder = Folder::from(&mut options);
    let broker = Broker::from(&mut options)?;
    options.end()?;
    raise_open_files();
    println!("{}", machine());
    let dir = folder.sub("memory")?;
    let server = broker.start(dir.path(), &[])?;
    let process = server.process();
    let mut control = connect(server.address)?;
    let mut steps = Steps { process, last_kib: 0 };
    steps.note("idle, empty directory")?;
    idle(process, seconds)?;
    create_topic(&mut control, "wide", partitions)?;
    steps.note(&format!("+ one topic of {partitions} partitions"))?;
    for number in 0..topics {
        create_topic(&mut control, &format!("narrow-{number}"), 1)?;
    }
    steps.note(&format!("+ {topics} topics of one partition, made one by one"))?;
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut stream = connect(server.address)?;
        call(&mut stream, ApiKey::ApiVersions, 0, &ApiVersionsRequest::default())?;
        open.push(stream);
    }
    steps.note(&format!("+ {connections} idle connections that asked for ApiVersions once"))?;
    idle(process, seconds)?;
    drop(open);
    steps.note("- those connections")?;
    for name in ["produce-64k", "produce-500x1"] {
        let workload = Workload::by_name(name)?;
        create_topic(&mut control, name, workload.partitions as i32)?;
        crate::load::run(&workload, server.address, name, || Ok(()))?;
        steps.note(&format!("after {name} (Produce v{PRODUCE_VERSION})"))?;
    }
    Ok(())
}

struct Steps {
    process: Process,
    last_kib: u64,
}

impl Steps {
    fn note(&mut self, what: &str) -> Outcome<()> {
        std::thread::sleep(SETTLE);
        let kib = self.process.resident_kib()?;
        let more = kib as f64 - self.last_kib as f64;
        println!(
            "{:7} MiB resident ({:+.1}), {} threads, {} descriptors: {what}",
            digits(kib as f64 / 1024.0),
            more / 1024.0,
            self.process.threads(),
            self.process.open_files()
        );
        self.last_kib = kib;
        Ok(())
    }
}

fn idle(process: Process, seconds: u64) -> Outcome<()> {
    let before = process.cpu_seconds()?;
    std::thread::sleep(Duration::from_secs(seconds));
    let used = process.cpu_seconds()? - before;
    println!(
        "{:7} % of a core over {seconds} s without a request (steps of 10 ms)",
        digits(used / seconds as f64 * 100.0)
    );
    Ok(())
}
