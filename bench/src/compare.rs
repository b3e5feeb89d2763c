//! Floor and broker under the same loads in turn, and what the one costs by the other.

use crate::Outcome;
use crate::client::{batch, connect, create_topic, delete_topic};
use crate::load::{self, Done};
use crate::options::Options;
use crate::process::{Process, machine};
use crate::server::{Broker, Folder, Server, floor};
use crate::stats::{digits, median, range};
use crate::syscalls::{Calls, Count};
use crate::workload::{ALL, Kind, STORED_BATCH_BYTES, STORED_PARTITION_BYTES, STORED_RECORD_BYTES, Until, Workload};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// What a broker does of its own accord in workloads with housekeeping: many times what it would ever do in practice.
/// The broker's clock is what rolls segments, because the load repeats one batch with one timestamp.
const HOUSEKEEPING: &[(&str, &str)] = &[
    ("log.message.timestamp.type", "LogAppendTime"),
    ("log.roll.ms", "250"),
    ("log.retention.ms", "1000"),
    ("log.retention.check.interval.ms", "500"),
    ("log.segment.delete.delay.ms", "500"),
    ("metadata.log.max.record.bytes.between.snapshots", "4096"),
];
/// A topic comes and another goes this often beside such a workload.
const TOPIC_EVERY: Duration = Duration::from_millis(100);
const PAGE: usize = 4096;

/// Who has the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Floor,
    Klamm,
    Other,
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Who::Floor => "floor",
            Who::Klamm => "klamm",
            Who::Other => "other",
        }
    }
}

/// One measurement.
#[derive(Clone, Debug)]
struct Figures {
    /// µs a request, or s a GB.
    cpu: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    mb_per_second: f64,
    requests_per_second: f64,
}

impl Figures {
    fn of(workload: &Workload, measured: &Measured) -> Figures {
        let Measured { done, cpu_seconds, .. } = measured;
        let seconds = done.elapsed.as_secs_f64();
        Figures {
            cpu: match workload.by_volume {
                true => cpu_seconds / done.bytes as f64 * 1e9,
                false => cpu_seconds / done.requests as f64 * 1e6,
            },
            p50_ms: done.ms(0.5),
            p99_ms: done.ms(0.99),
            p999_ms: done.ms(0.999),
            mb_per_second: done.bytes as f64 / seconds / 1e6,
            requests_per_second: done.requests as f64 / seconds,
        }
    }
}

/// What came of a load, the server's CPU seconds, and its system calls if they were to be counted.
struct Measured {
    done: Done,
    cpu_seconds: f64,
    calls: Option<Calls>,
}

struct Bench {
    folder: Folder,
    broker: Broker,
    other: Option<(SocketAddr, Process)>,
    /// Servers of fetch workloads: they keep their logs through all rounds.
    stored: BTreeMap<Who, (Option<Server>, SocketAddr, Process)>,
}

pub fn run(mut options: Options) -> Outcome<()> {
    let rounds: usize = options.number("rounds", 5)?;
    let scale: f64 = options.number("scale", 1.0)?;
    let syscalls = options.take("syscalls").is_some_and(|s| s == "yes");
    let csv = options.take("csv");
    let workloads: Vec<Workload> = match options.take("only") {
        Some(names) => names.split(',').map(Workload::by_name).collect::<Result<_, _>>()?,
        None => ALL.to_vec(),
    };
    let workloads: Vec<Workload> = workloads.into_iter().map(|w| w.scaled(scale)).collect();
    let other = options.take("other").map(|text| other(&text)).transpose()?;
    let folder = Folder::from(&mut options);
    let broker = Broker::from(&mut options)?;
    options.end()?;
    let mut bench = Bench { folder, broker, other, stored: BTreeMap::new() };
    println!("{}", machine());
    let mut got: BTreeMap<(usize, Who), Vec<Figures>> = BTreeMap::new();
    for round in 0..rounds {
        for (at, workload) in workloads.iter().enumerate() {
            let mut line = format!("round {}/{rounds} {:14}", round + 1, workload.name);
            for who in bench.turns(round) {
                let figures = Figures::of(workload, &bench.measure(workload, who, round, false)?);
                write!(line, "  {} {} p99 {} ms", who.name(), digits(figures.cpu), digits(figures.p99_ms))?;
                got.entry((at, who)).or_default().push(figures);
            }
            eprintln!("{line}");
        }
    }
    report(&workloads, &got);
    if let Some(csv) = csv {
        write_csv(Path::new(&csv), &workloads, &got)?;
    }
    if syscalls {
        count(&mut bench, &workloads, rounds)?;
    }
    Ok(())
}

fn other(text: &str) -> Outcome<(SocketAddr, Process)> {
    let (address, pid) = text.split_once(',').ok_or("--other wants HOST:PORT,PID")?;
    Ok((address.parse()?, Process(pid.parse()?)))
}

impl Bench {
    /// Who comes when: in every other round the other way round, so that nobody always comes after a certain other.
    fn turns(&self, round: usize) -> Vec<Who> {
        let mut turns = vec![Who::Floor, Who::Klamm];
        if self.other.is_some() {
            turns.push(Who::Other);
        }
        if round % 2 == 1 {
            turns.reverse();
        }
        turns
    }

    /// Puts the workload on a server.
    fn measure(&mut self, workload: &Workload, who: Who, round: usize, counted: bool) -> Outcome<Measured> {
        // What earlier turns wrote is not to be written back during this one.
        rustix::fs::sync();
        touch_memory(workload.written_bytes());
        if workload.is_fetch() {
            let (address, process) = self.stored(who)?;
            return put(workload, address, process, &topic(workload, 0), counted);
        }
        let dir = self.folder.sub(&format!("{}-{round}", who.name()))?;
        let topic = topic(workload, round);
        let server = match who {
            Who::Floor => {
                let path = dir.path().display().to_string();
                floor("sink", dir.path(), &["--dir", &path, "--partitions", &workload.partitions.to_string()])?
            }
            Who::Klamm => self.broker.start(dir.path(), if workload.housekeeping { HOUSEKEEPING } else { &[] })?,
            Who::Other => {
                let (address, process) = self.other.ok_or("no other server")?;
                create_topic(&mut connect(address)?, &topic, workload.partitions as i32)?;
                let measured = put(workload, address, process, &topic, counted)?;
                delete_topic(&mut connect(address)?, &topic)?;
                return Ok(measured);
            }
        };
        if who == Who::Klamm {
            create_topic(&mut connect(server.address)?, &topic, workload.partitions as i32)?;
        }
        if !(workload.housekeeping && who == Who::Klamm) {
            return put(workload, server.address, server.process(), &topic, counted);
        }
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let topics = scope.spawn(|| come_and_go(server.address, &over));
            let measured = put(workload, server.address, server.process(), &topic, counted);
            over.store(true, Relaxed);
            topics.join().unwrap_or_else(|_| Err("a thread panicked".into()))?;
            measured
        })
    }

    /// The server that holds the logs of fetch workloads.
    fn stored(&mut self, who: Who) -> Outcome<(SocketAddr, Process)> {
        if let Some((_, address, process)) = self.stored.get(&who) {
            return Ok((*address, *process));
        }
        let dir = self.folder.sub(&format!("{}-stored", who.name()))?;
        let (server, address, process) = match who {
            Who::Floor => {
                let file = dir.path().join("batches");
                let (batch, _) = batch(STORED_BATCH_BYTES, STORED_RECORD_BYTES);
                let mut out = std::io::BufWriter::new(std::fs::File::create(&file)?);
                for _ in 0..STORED_PARTITION_BYTES / batch.len() as u64 {
                    out.write_all(&batch)?;
                }
                out.flush()?;
                let server = floor("source", dir.path(), &["--file", &file.display().to_string()])?;
                let (address, process) = (server.address, server.process());
                (Some(server), address, process)
            }
            Who::Klamm => {
                let server = self.broker.start(dir.path(), &[])?;
                let (address, process) = (server.address, server.process());
                fill(address, &topic(&fetch_workload()?, 0))?;
                (Some(server), address, process)
            }
            Who::Other => {
                let (address, process) = self.other.ok_or("no other server")?;
                fill(address, &topic(&fetch_workload()?, 0))?;
                (None, address, process)
            }
        };
        rustix::fs::sync();
        std::mem::forget(dir); // goes with the folder around it
        self.stored.insert(who, (server, address, process));
        Ok((address, process))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let (Some((address, _)), Ok(workload)) = (self.other, fetch_workload()) {
            // An Apache Kafka that was lent gets its disk back; if that fails, there is nobody to tell.
            let _ = connect(address).map_err(Into::into).and_then(|mut s| delete_topic(&mut s, &topic(&workload, 0)));
        }
    }
}

/// A virtual machine may have given free memory back to its host, and then the first write to a page costs many times
/// the next. Taken and released here, that much is there for what the turn writes.
fn touch_memory(bytes: u64) {
    let mut memory = vec![0u8; bytes as usize];
    memory.chunks_mut(PAGE).for_each(|page| page[0] = 1);
    std::hint::black_box(&memory);
}

fn fetch_workload() -> Outcome<Workload> {
    ALL.iter().find(|w| w.is_fetch()).copied().ok_or_else(|| "no fetch workload".into())
}

/// All fetch workloads share one topic; every other measurement has its own.
fn topic(workload: &Workload, round: usize) -> String {
    let pid = std::process::id();
    match workload.is_fetch() {
        true => format!("bench-fetch-{pid}"),
        false => format!("bench-{}-{round}-{pid}", workload.name),
    }
}

/// Makes the topic of fetch workloads and fills it.
fn fill(address: SocketAddr, topic: &str) -> Outcome<()> {
    let workload = fetch_workload()?;
    let until = Until::Bytes(STORED_PARTITION_BYTES * workload.partitions as u64);
    let kind =
        Kind::Produce { batch_bytes: STORED_BATCH_BYTES, record_bytes: STORED_RECORD_BYTES, in_flight: 5, until };
    create_topic(&mut connect(address)?, topic, workload.partitions as i32)?;
    load::run(&Workload { kind, ..workload }, address, topic, || Ok(()))?;
    Ok(())
}

fn put(workload: &Workload, address: SocketAddr, process: Process, topic: &str, counted: bool) -> Outcome<Measured> {
    let begin = || Ok((counted.then(|| Count::begin(process)).flatten(), process.cpu_seconds()?));
    let (done, (count, before)) = load::run(workload, address, topic, begin)?;
    Ok(Measured { done, cpu_seconds: process.cpu_seconds()? - before, calls: count.and_then(Count::end) })
}

/// Makes topics and deletes them, for records in the metadata log.
fn come_and_go(address: SocketAddr, over: &AtomicBool) -> Outcome<()> {
    let mut stream = connect(address)?;
    for number in 0.. {
        if over.load(Relaxed) {
            break;
        }
        create_topic(&mut stream, &format!("passing-{number}"), 4)?;
        if number > 0 {
            delete_topic(&mut stream, &format!("passing-{}", number - 1))?;
        }
        std::thread::sleep(TOPIC_EVERY);
    }
    Ok(())
}

fn report(workloads: &[Workload], got: &BTreeMap<(usize, Who), Vec<Figures>>) {
    println!(
        "\nMedians; ratios are medians of each round's ratio to the floor, with the smallest and the largest.\n\n\
         | workload | server | CPU | by the floor | p50 ms | p99 ms | p99 by the floor | p99.9 ms | MB/s | requests/s |\n\
         |---|---|---|---|---|---|---|---|---|---|"
    );
    for (at, workload) in workloads.iter().enumerate() {
        let unit = if workload.by_volume { "s/GB" } else { "µs/request" };
        let Some(base) = got.get(&(at, Who::Floor)) else { continue };
        for who in [Who::Floor, Who::Klamm, Who::Other] {
            let Some(figures) = got.get(&(at, who)) else { continue };
            let middle = |f: fn(&Figures) -> f64| digits(median(figures.iter().map(f)));
            let ratio = |f: fn(&Figures) -> f64| {
                if who == Who::Floor {
                    return String::new();
                }
                let ratios: Vec<f64> = figures.iter().zip(base).map(|(a, b)| f(a) / f(b)).collect();
                let (low, high) = range(ratios.iter().copied());
                format!("{} ({}–{})", digits(median(ratios)), digits(low), digits(high))
            };
            println!(
                "| {} | {} | {} {unit} | {} | {} | {} | {} | {} | {} | {} |",
                workload.name,
                who.name(),
                middle(|f| f.cpu),
                ratio(|f| f.cpu),
                middle(|f| f.p50_ms),
                middle(|f| f.p99_ms),
                ratio(|f| f.p99_ms),
                middle(|f| f.p999_ms),
                middle(|f| f.mb_per_second),
                middle(|f| f.requests_per_second),
            );
        }
    }
}

fn write_csv(path: &Path, workloads: &[Workload], got: &BTreeMap<(usize, Who), Vec<Figures>>) -> Outcome<()> {
    let mut text = String::from("workload,server,round,cpu,p50_ms,p99_ms,p999_ms,mb_per_second,requests_per_second\n");
    for ((at, who), figures) in got {
        for (round, f) in figures.iter().enumerate() {
            writeln!(
                text,
                "{},{},{round},{},{},{},{},{},{}",
                workloads[*at].name,
                who.name(),
                f.cpu,
                f.p50_ms,
                f.p99_ms,
                f.p999_ms,
                f.mb_per_second,
                f.requests_per_second
            )?;
        }
    }
    Ok(std::fs::write(path, text)?)
}

/// One more round, of which only the system calls count.
fn count(bench: &mut Bench, workloads: &[Workload], round: usize) -> Outcome<()> {
    println!("\nSystem calls a request (a record), counted in a round of its own.\n");
    for workload in workloads {
        for who in bench.turns(0) {
            let Measured { done, calls, .. } = bench.measure(workload, who, round, true)?;
            let Some(calls) = calls else {
                println!("perf stat cannot count here: it is not installed, or not allowed to");
                return Ok(());
            };
            let each = |n: u64| digits(n as f64 / done.requests as f64);
            let listed: Vec<String> =
                calls.iter().filter(|c| c.1 > 0).map(|c| format!("{} {}", c.0, each(c.1))).collect();
            let by_record = calls.first().map_or(0.0, |c| c.1 as f64 / done.records as f64);
            println!("{:14} {:6} {} ({})", workload.name, who.name(), listed.join(", "), digits(by_record));
        }
    }
    Ok(())
}

/// One workload against a server that runs already.
pub fn drive(mut options: Options) -> Outcome<()> {
    let scale = options.number("scale", 1.0)?;
    let workload = Workload::by_name(&options.needed("workload")?)?.scaled(scale);
    let address: SocketAddr = options.needed("address")?.parse()?;
    let process = Process(options.needed("pid")?.parse()?);
    options.end()?;
    let topic = topic(&workload, 0);
    match workload.is_fetch() {
        true => fill(address, &topic)?,
        false => create_topic(&mut connect(address)?, &topic, workload.partitions as i32)?,
    }
    let figures = Figures::of(&workload, &put(&workload, address, process, &topic, false)?);
    println!(
        "{}: CPU {} {}, p50 {} p99 {} p99.9 {} ms, {} MB/s, {} requests/s",
        workload.name,
        digits(figures.cpu),
        if workload.by_volume { "s/GB" } else { "µs/request" },
        digits(figures.p50_ms),
        digits(figures.p99_ms),
        digits(figures.p999_ms),
        digits(figures.mb_per_second),
        digits(figures.requests_per_second)
    );
    delete_topic(&mut connect(address)?, &topic)
}

pub fn list(options: Options) -> Outcome<()> {
    options.end()?;
    for workload in ALL {
        println!("{:14} {}", workload.name, workload.describe());
    }
    Ok(())
}
