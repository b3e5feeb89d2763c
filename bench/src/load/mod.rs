//! The load generator. It costs next to nothing: requests are encoded once, answers are counted, records are discarded
//! inside the kernel. A thread a connection, because that is the cheapest way to wait for one socket.

mod fetch;
mod paced;
mod produce;

use crate::Outcome;
use crate::stats::quantile;
use crate::workload::{Kind, Until, Workload};
use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Stacks are small, so that 500 connections are no matter.
const STACK_BYTES: usize = 128 << 10;

/// What a load came to.
#[derive(Debug, Default)]
pub struct Done {
    pub requests: u64,
    pub records: u64,
    pub bytes: u64,
    pub elapsed: Duration,
    /// Microseconds of each request, sorted.
    pub latencies: Vec<u32>,
}

impl Done {
    /// A quantile of the latencies in ms.
    pub fn ms(&self, q: f64) -> f64 {
        f64::from(quantile(&self.latencies, q)) / 1000.0
    }

    fn add(&mut self, part: Done) {
        self.requests += part.requests;
        self.records += part.records;
        self.bytes += part.bytes;
        self.latencies.extend(part.latencies);
    }

    fn note(&mut self, records: u64, bytes: u64, took: Duration) {
        self.requests += 1;
        self.records += records;
        self.bytes += bytes;
        self.latencies.push(took.as_micros() as u32);
    }
}

/// What the connections of a load share.
struct Progress {
    until: Until,
    begun: Instant,
    bytes: AtomicU64,
    failed: AtomicBool,
}

impl Progress {
    /// Whether another request is wanted; `bytes` are those of the one that was just answered.
    fn goes_on(&self, bytes: u64) -> bool {
        let so_far = self.bytes.fetch_add(bytes, Relaxed) + bytes;
        let more = match self.until {
            Until::Bytes(limit) => so_far < limit,
            Until::Elapsed(time) => self.begun.elapsed() < time,
        };
        more && !self.failed.load(Relaxed)
    }
}

/// Puts `workload` on the server at `address`; its topic is there. `begin` is called when all are connected.
pub fn run<B>(
    workload: &Workload,
    address: SocketAddr,
    topic: &str,
    begin: impl FnOnce() -> Outcome<B>,
) -> Outcome<(Done, B)> {
    let until = match workload.kind {
        Kind::Produce { until, .. } => until,
        Kind::Paced { seconds, .. } => Until::Elapsed(Duration::from_secs_f64(seconds)),
        Kind::Fetch { bytes, .. } => Until::Bytes(bytes),
    };
    // Everybody connects, waits for the others and for `begin`, and starts.
    let (ready, go) = (Barrier::new(workload.connections + 1), Barrier::new(workload.connections + 1));
    let progress = std::sync::OnceLock::new();
    std::thread::scope(|scope| {
        let mut threads = Vec::with_capacity(workload.connections);
        for number in 0..workload.connections {
            let (ready, go, progress) = (&ready, &go, &progress);
            let work = move || -> Outcome<Done> {
                let stream = crate::client::connect(address);
                ready.wait();
                go.wait();
                let progress: &Progress = progress.get().ok_or("the load was called off")?;
                let partition = (number % workload.partitions) as i32;
                let done = stream.map_err(Into::into).and_then(|stream| match workload.kind {
                    Kind::Produce { batch_bytes, record_bytes, in_flight, .. } => {
                        produce::run(stream, topic, partition, (batch_bytes, record_bytes), in_flight, progress)
                    }
                    Kind::Paced { batch_bytes, record_bytes, per_second, .. } => {
                        let gap = Duration::from_secs_f64(workload.connections as f64 / f64::from(per_second));
                        let first = gap.mul_f64(number as f64 / workload.connections as f64);
                        paced::run(stream, topic, partition, (batch_bytes, record_bytes), (first, gap), progress)
                    }
                    Kind::Fetch { max_bytes, .. } => fetch::run(stream, topic, partition, max_bytes, progress),
                });
                if done.is_err() {
                    progress.failed.store(true, Relaxed);
                }
                done
            };
            threads.push(std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work)?);
        }
        ready.wait();
        let begun = begin();
        let start = Instant::now();
        if begun.is_ok() {
            progress.get_or_init(|| Progress {
                until,
                begun: start,
                bytes: AtomicU64::new(0),
                failed: AtomicBool::new(false),
            });
        }
        go.wait();
        let mut done = Done::default();
        let mut parts = Vec::with_capacity(threads.len());
        for thread in threads {
            parts.push(thread.join().unwrap_or_else(|_| Err("a thread of the load panicked".into())));
        }
        done.elapsed = start.elapsed();
        let begun = begun?;
        for part in parts {
            done.add(part?);
        }
        done.latencies.sort_unstable();
        Ok((done, begun))
    })
}
