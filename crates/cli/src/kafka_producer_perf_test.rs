//! `kafka-producer-perf-test`: send records as fast as it goes, or at a rate, and tell how that went.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use client::Properties;
use client::producer::{Producer, ProducerRecord};

use crate::signals::Signals;
use crate::tool::{self, Exception, Stop};
use crate::{complain, say, term};

const USAGE: &str = "usage: kafka-producer-perf-test
       [-h] [--bootstrap-server BOOTSTRAP-SERVER] --topic TOPIC
       --num-records NUM-RECORDS [--payload-delimiter PAYLOAD-DELIMITER]
       --throughput THROUGHPUT
       [--producer-props PROP-NAME=PROP-VALUE [PROP-NAME=PROP-VALUE ...]]
       [--command-property PROP-NAME=PROP-VALUE [PROP-NAME=PROP-VALUE ...]]
       [--producer.config CONFIG-FILE] [--command-config CONFIG-FILE]
       [--warmup-records WARMUP-RECORDS] [--reporting-interval INTERVAL-MS]
       (--record-size RECORD-SIZE | --payload-file PAYLOAD-FILE |
       --payload-monotonic)";

const HELP: &str = "
This tool is used to verify the producer performance.

options:
  -h, --help             show this help message and exit
  --bootstrap-server     Brokers to begin with, as HOST1:PORT1,HOST2:PORT2.
  --topic                The topic to send to.
  --num-records          How many records to send.
  --record-size          Bytes of each record: random letters.
  --payload-file         A file whose pieces are sent, chosen by chance.
  --payload-delimiter    What divides the pieces (default: a new line).
  --payload-monotonic    The records' numbers are sent.
  --throughput           Records a second at most; -1 for as many as possible.
  --command-property     Settings of the producer, under Java's names (--producer-props is the older name).
  --command-config       A file with such settings (--producer.config is the older name).
  --warmup-records       So many records at the beginning are told apart from the rest.
  --reporting-interval   How often to say how it goes, in ms (default: 5000).

example:
  bin/kafka-producer-perf-test.sh --topic test --num-records 1000000 --record-size 100 --throughput -1
      --bootstrap-server localhost:9092";
/// So many records are handed over before the sender has its turn.
const BURST: u64 = 256;
/// Failures that are told one by one.
const FAILURES_TOLD: u64 = 10;
/// Latencies that are kept, so that a long run takes no more memory than a short one.
const SAMPLES_MAX: u64 = 500_000;

struct Plan {
    topic: String,
    records: u64,
    warmup: u64,
    throughput: f64,
    interval: Duration,
    payload: Payload,
    properties: Properties,
}

enum Payload {
    Random(usize),
    Pieces(Vec<Vec<u8>>),
    Numbers,
}

/// The tool.
pub fn main(args: &[String]) -> u8 {
    if args.is_empty() || args.iter().any(|a| ["-h", "--help"].contains(&a.as_str())) {
        say!("{USAGE}\n{HELP}");
        term::flush();
        return 0;
    }
    if args.iter().any(|a| a == "--version") {
        // Kafka's has no such option, and prints nothing on standard output.
        complain!("{}", tool::VERSION);
        return 0;
    }
    let result = plan(args).and_then(|plan| tool::block_on(run(plan)));
    tool::end(result, &[], tool::print_uncaught)
}

fn wrong<T>(why: &str) -> Result<T, Stop> {
    complain!("{USAGE}\nkafka-producer-perf-test: error: {why}");
    Err(Stop::Exit(1))
}

fn plan(args: &[String]) -> Result<Plan, Stop> {
    const SINGLE: [&str; 14] = [
        "bootstrap-server",
        "topic",
        "num-records",
        "payload-delimiter",
        "throughput",
        "producer.config",
        "command-config",
        "transactional-id",
        "transaction-duration-ms",
        "warmup-records",
        "reporting-interval",
        "record-size",
        "payload-file",
        "payload-monotonic",
    ];
    let mut given: std::collections::HashMap<&str, &str> = Default::default();
    let mut pairs: Vec<&str> = Vec::new();
    let mut words = args.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        match word.strip_prefix("--") {
            Some("print-metrics") => {
                return wrong("--print-metrics needs the metrics of a producer, which this one does not keep");
            }
            Some("payload-monotonic") => drop(given.insert("payload-monotonic", "")),
            Some(name @ ("producer-props" | "command-property")) => {
                if name == "producer-props" {
                    say!(
                        "Option --producer-props has been deprecated and will be removed in a future version. Use --command-property instead."
                    );
                }
                let before = pairs.len();
                while let Some(pair) = words.next_if(|w| !w.starts_with("--")) {
                    pairs.push(pair);
                }
                if pairs.len() == before {
                    return wrong(&format!("argument --{name}: expected at least one argument"));
                }
            }
            Some(name) => match SINGLE.iter().find(|s| **s == name) {
                Some(name) => match words.next() {
                    Some(value) => drop(given.insert(name, value)),
                    None => return wrong(&format!("argument --{name}: expected one argument")),
                },
                None => return wrong(&format!("unrecognized arguments: '{word}'")),
            },
            None => return wrong(&format!("unrecognized arguments: '{word}'")),
        }
    }
    if given.contains_key("transactional-id") || given.contains_key("transaction-duration-ms") {
        return wrong("transactions are not supported yet");
    }
    for name in ["topic", "num-records", "throughput"] {
        if !given.contains_key(name) {
            return wrong(&format!("argument --{name} is required"));
        }
    }
    let number = |name: &str, default: f64, least: f64| match given.get(name).map(|v| (v, v.parse::<f64>())) {
        None => Ok(default),
        Some((_, Ok(value))) if value >= least && value.is_finite() => Ok(value),
        Some((_, Ok(_))) => wrong(&format!("--{name} should be greater than zero.")),
        Some((text, Err(_))) => wrong(&format!("argument --{name}: could not convert '{text}' to a number")),
    };
    let records = number("num-records", 0.0, 1.0)? as u64;
    let warmup = number("warmup-records", 0.0, 0.0)? as u64;
    if warmup >= records {
        return wrong(
            "The value for --warmup-records must be strictly fewer than the number of records in the test, --num-records.",
        );
    }
    let payloads = ["record-size", "payload-file", "payload-monotonic"];
    if payloads.iter().filter(|p| given.contains_key(**p)).count() != 1 {
        return wrong("one of the arguments --record-size --payload-file --payload-monotonic is required");
    }
    let payload = match given.get("payload-file") {
        Some(path) => Payload::Pieces(pieces(path, given.get("payload-delimiter").copied())?),
        None if given.contains_key("payload-monotonic") => Payload::Numbers,
        None => Payload::Random(number("record-size", 0.0, 1.0)? as usize),
    };
    let mut properties = Properties::new();
    for name in ["producer.config", "command-config"] {
        if let Some(path) = given.get(name) {
            properties.extend(tool::load(path)?);
        }
    }
    properties.extend(tool::key_values(&pairs, false)?);
    if let Some(servers) = given.get("bootstrap-server") {
        properties.insert("bootstrap.servers".into(), (*servers).into());
    }
    if !properties.contains_key("bootstrap.servers") {
        return wrong(
            "At least one of --bootstrap-server, --command-property, --producer-props, --producer.config or --command-config must be specified with bootstrap.servers.",
        );
    }
    properties.entry("client.id".into()).or_insert_with(|| "perf-producer-client".into());
    Ok(Plan {
        topic: given["topic"].to_owned(),
        records,
        warmup,
        throughput: number("throughput", -1.0, f64::MIN)?,
        interval: Duration::from_millis(number("reporting-interval", 5000.0, 1.0)? as u64),
        payload,
        properties,
    })
}

fn pieces(path: &str, delimiter: Option<&str>) -> Result<Vec<Vec<u8>>, Stop> {
    say!("Reading payloads from: {path}");
    let delimiter = delimiter.unwrap_or("\n").replace("\\n", "\n").replace("\\t", "\t");
    let text = std::fs::read(path).unwrap_or_default();
    if text.is_empty() {
        let message = "File does not exist or empty file provided.";
        return Err(Exception::illegal_argument(message).into());
    }
    let text = crate::text::decode(&text);
    let pieces: Vec<Vec<u8>> = text.split(delimiter.as_str()).map(|p| p.as_bytes().to_vec()).collect();
    say!("Number of records read: {}", pieces.len());
    Ok(pieces)
}

/// What was sent, over a time.
#[derive(Clone, Copy, Default)]
struct Window {
    records: u64,
    bytes: u64,
    latency_ms: u64,
    max_ms: u64,
}

impl Window {
    fn add(&mut self, bytes: usize, latency_ms: u64) {
        self.records += 1;
        self.bytes += bytes as u64;
        self.latency_ms += latency_ms;
        self.max_ms = self.max_ms.max(latency_ms);
    }

    /// Records and MiB a second.
    fn rates(&self, elapsed: Duration) -> (f64, f64) {
        let seconds = elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        (self.records as f64 / seconds, self.bytes as f64 / seconds / f64::from(1 << 20))
    }

    fn mean_ms(&self) -> f64 {
        self.latency_ms as f64 / self.records as f64
    }
}

struct Stats {
    begun: Instant,
    window_begun: Instant,
    interval: Duration,
    window: Window,
    total: Window,
    sampling: u64,
    samples: Vec<u32>,
    failures: u64,
    is_steady: bool,
}

impl Stats {
    fn new(records: u64, interval: Duration, is_steady: bool) -> Stats {
        let now = Instant::now();
        let sampling = (records / records.clamp(1, SAMPLES_MAX)).max(1);
        Stats {
            begun: now,
            window_begun: now,
            interval,
            window: Window::default(),
            total: Window::default(),
            sampling,
            samples: Vec::with_capacity((records / sampling + 1) as usize),
            failures: 0,
            is_steady,
        }
    }

    fn sent(&mut self, bytes: usize, began: Instant, now: Instant) {
        let latency_ms = now.duration_since(began).as_millis() as u64;
        if self.total.records.is_multiple_of(self.sampling) {
            self.samples.push(latency_ms as u32);
        }
        self.window.add(bytes, latency_ms);
        self.total.add(bytes, latency_ms);
        let elapsed = now.duration_since(self.window_begun);
        if elapsed >= self.interval {
            let (records, mb) = self.window.rates(elapsed);
            say!(
                "{} {}records sent, {records:.1} records/sec ({mb:.2} MB/sec), {:.1} ms avg latency, {:.1} ms max latency.",
                self.window.records,
                self.steady(),
                self.window.mean_ms(),
                self.window.max_ms as f64
            );
            term::flush();
            (self.window, self.window_begun) = (Window::default(), now);
        }
    }

    fn steady(&self) -> &'static str {
        if self.is_steady { "steady state " } else { "" }
    }

    fn print_total(&mut self) {
        self.samples.sort_unstable();
        let at = |share: f64| {
            let at = (share * self.samples.len() as f64) as usize;
            self.samples.get(at.min(self.samples.len().saturating_sub(1))).copied().unwrap_or(0)
        };
        let (records, mb) = self.total.rates(self.begun.elapsed());
        say!(
            "{} {}records sent, {records:.6} records/sec ({mb:.2} MB/sec), {:.2} ms avg latency, {:.2} ms max latency, {} ms 50th, {} ms 95th, {} ms 99th, {} ms 99.9th.",
            self.total.records,
            self.steady(),
            self.total.mean_ms(),
            self.total.max_ms as f64,
            at(0.5),
            at(0.95),
            at(0.99),
            at(0.999)
        );
    }
}

/// All records, and those after the warm-up.
struct Both {
    all: Stats,
    steady: Option<Stats>,
}

async fn run(plan: Plan) -> Result<(), Stop> {
    let producer = Producer::open(&plan.properties).await?;
    producer.client().any_within(tool::PATIENCE, "metadata").await?;
    if plan.warmup > 0 {
        say!("Warmup first {} records. Steady state results will print after the complete test summary.", plan.warmup);
    }
    term::flush();
    let both = Arc::new(Mutex::new(Both { all: Stats::new(plan.records, plan.interval, false), steady: None }));
    let mut signals = Signals::heed();
    let result = tokio::select! {
        result = send(&plan, &producer, &both) => result,
        code = signals.ended() => Err(Stop::Exit(code)),
    };
    let mut both = both.lock().unwrap_or_else(PoisonError::into_inner);
    both.all.print_total();
    if let Some(steady) = &mut both.steady {
        steady.print_total();
    }
    if both.all.failures > FAILURES_TOLD {
        complain!("{} records in all were not sent", both.all.failures);
    }
    result
}

async fn send(plan: &Plan, producer: &Producer, both: &Arc<Mutex<Both>>) -> Result<(), Stop> {
    let begun = Instant::now();
    let random = RefCell::new(client::random::below(u32::MAX as usize) as u64 | 1);
    let mut payload = Vec::new();
    for number in 0..plan.records {
        if number == plan.warmup && plan.warmup > 0 {
            let steady = Stats::new(plan.records - plan.warmup, plan.interval, true);
            both.lock().unwrap_or_else(PoisonError::into_inner).steady = Some(steady);
        }
        fill(&mut payload, &plan.payload, number, &random);
        let (began, bytes, told) = (Instant::now(), payload.len(), both.clone());
        let counts_as_steady = plan.warmup > 0 && number >= plan.warmup;
        let delivery = Box::new(move |result: Result<_, client::Error>| {
            let mut both = told.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(_) => {
                    let now = Instant::now();
                    both.all.sent(bytes, began, now);
                    if counts_as_steady && let Some(steady) = &mut both.steady {
                        steady.sent(bytes, began, now);
                    }
                }
                Err(error) => failed(&mut both.all, &error),
            }
        });
        let record = ProducerRecord { topic: &plan.topic, value: Some(&payload), ..Default::default() };
        if let Err(error) = producer.send(&record, Some(delivery)).await {
            failed(&mut both.lock().unwrap_or_else(PoisonError::into_inner).all, &error);
        }
        if plan.throughput > 0.0 {
            let due = begun + Duration::from_secs_f64((number + 1) as f64 / plan.throughput);
            if due > Instant::now() + Duration::from_millis(1) {
                tokio::time::sleep_until(due.into()).await;
            }
        } else if number % BURST == BURST - 1 {
            tokio::task::yield_now().await;
        }
    }
    producer.flush().await;
    Ok(())
}

fn failed(stats: &mut Stats, error: &client::Error) {
    stats.failures += 1;
    if stats.failures <= FAILURES_TOLD {
        complain!("{}: {error}", error.class());
    }
}

fn fill(payload: &mut Vec<u8>, kind: &Payload, number: u64, random: &RefCell<u64>) {
    let next = || {
        let mut x = random.borrow_mut();
        *x ^= *x << 13;
        *x ^= *x >> 7;
        *x ^= *x << 17;
        *x
    };
    payload.clear();
    match kind {
        Payload::Random(size) => {
            while payload.len() < *size {
                // Eight letters of each number; that some come a little more often does not matter.
                let letters = next().to_le_bytes().map(|b| b'A' + ((u16::from(b) * 26) >> 8) as u8);
                payload.extend_from_slice(&letters[..letters.len().min(size - payload.len())]);
            }
        }
        Payload::Pieces(pieces) => payload.extend_from_slice(&pieces[(next() >> 16) as usize % pieces.len()]),
        Payload::Numbers => payload.extend_from_slice(number.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_their_size_and_letters() {
        let (mut payload, random) = (Vec::new(), RefCell::new(7));
        for size in [1, 7, 8, 9, 1000] {
            fill(&mut payload, &Payload::Random(size), 0, &random);
            assert!(payload.len() == size && payload.iter().all(u8::is_ascii_uppercase), "{size}");
        }
        fill(&mut payload, &Payload::Numbers, 42, &random);
        assert_eq!(payload, b"42");
        fill(&mut payload, &Payload::Pieces(vec![b"a".to_vec()]), 0, &random);
        assert_eq!(payload, b"a");
    }

    #[test]
    fn a_long_run_keeps_a_bounded_number_of_latencies() {
        let mut stats = Stats::new(10_000_000, Duration::from_secs(1000), false);
        let now = Instant::now();
        (0..2_000_000).for_each(|_| stats.sent(1, now, now));
        assert_eq!((stats.sampling, stats.samples.len()), (20, 100_000));
    }
}
