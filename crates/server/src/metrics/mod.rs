//! What the broker counts, and the page that Prometheus reads.
//!
//! Names are those that users of Kafka search for: Kafka's JMX names as the usual exporter's rules write them
//! (`kafka_server_brokertopicmetrics_messagesin_total`), and for groups and partitions those of kafka_exporter
//! (`kafka_consumergroup_lag`). What changes with every request is counted in [`Metrics`], by relaxed additions to the
//! thread's own shard; everything that can be looked up (sizes, offsets, lag) is looked up when somebody asks, by
//! [`scrape`]. [`page`] writes the text format, [`http`] serves it.
//!
//! A metrics library would look up label sets in maps on the hot path, or hold handles for ten thousand partitions that
//! nobody asks about; what it would save is the text format, which is a page of code.

pub mod http;
pub mod page;
mod process;
pub mod scrape;

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use wire::ApiKey;

use crate::net::vitals::Registry;
use crate::node::Node;
use page::{Kind, Page};

/// Serves the page at `address`, on tasks of their own, for as long as the runtime lasts.
///
/// # Errors
/// The address cannot be listened on.
pub fn serve(node: &Arc<Node>, registry: &Arc<Registry>, address: SocketAddr) -> io::Result<()> {
    let name = |e: io::Error| io::Error::new(e.kind(), format!("klamm.metrics.listener={address}: {e}"));
    let listener = std::net::TcpListener::bind(address).map_err(name)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let (node, registry) = (node.clone(), registry.clone());
    let asked = node.clone();
    let answers = http::Answers {
        metrics: Box::new(move || scrape::page(&node, &registry)),
        not_ready: Box::new(move || not_ready(&asked)),
    };
    tokio::spawn(http::serve(listener, Arc::new(answers)));
    Ok(())
}

/// Why a load balancer should send nobody here, if it should not.
fn not_ready(node: &Node) -> Option<String> {
    if node.is_stopping() {
        return Some("the broker is stopping".to_owned());
    }
    let image = node.image();
    let fenced = image.cluster.brokers().find(|b| b.id == node.node_id).is_none_or(|b| b.fenced);
    if fenced {
        return Some("the broker is not registered with the controller, or fenced".to_owned());
    }
    let offline: Vec<String> =
        node.housekeeping.dirs.iter().filter(|d| d.is_offline()).map(|d| d.path().display().to_string()).collect();
    (!offline.is_empty()).then(|| format!("offline log directories: {}", offline.join(", ")))
}

/// Threads share shards beyond this number.
const SHARDS: usize = 8;
/// Above the highest key of an API.
const APIS: usize = 96;
/// Upper bounds of the latency buckets in microseconds; above the last is one more.
const BOUNDS_US: [u64; 17] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000,
];

/// Counters of a running broker.
pub struct Metrics {
    shards: Box<[Shard]>,
    refused_connections: AtomicU64,
}

/// One thread's counters, by API. Shards are large enough that two never meet in a cache line that matters.
struct Shard {
    apis: [Api; APIS],
}

#[derive(Default)]
struct Api {
    requests: AtomicU64,
    bytes: AtomicU64,
    micros: AtomicU64,
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    pub fn new() -> Metrics {
        let shard = || Shard { apis: std::array::from_fn(|_| Api::default()) };
        Metrics { shards: (0..SHARDS).map(|_| shard()).collect(), refused_connections: AtomicU64::new(0) }
    }

    /// Counts a request that was answered: the time from its arrival to its answer, and the bytes it came as.
    pub fn request(&self, key: ApiKey, took: Duration, bytes: usize) {
        let shard = &self.shards[shard_of_this_thread()];
        let Some(api) = shard.apis.get(key as i16 as usize) else { return };
        let micros = took.as_micros() as u64;
        api.requests.fetch_add(1, Ordering::Relaxed);
        api.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        api.micros.fetch_add(micros, Ordering::Relaxed);
        api.buckets[BOUNDS_US.partition_point(|bound| *bound < micros)].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that was closed because of what came over it.
    pub fn refused_connection(&self) {
        self.refused_connections.fetch_add(1, Ordering::Relaxed);
    }

    fn sum(&self, api: usize, counter: impl Fn(&Api) -> &AtomicU64) -> u64 {
        self.shards.iter().filter_map(|shard| shard.apis.get(api)).map(|api| counter(api).load(Ordering::Relaxed)).sum()
    }

    /// Writes what was counted.
    pub fn write(&self, page: &mut Page) {
        let served: Vec<(usize, &str)> = (0..APIS)
            .filter(|api| self.sum(*api, |a| &a.requests) > 0)
            .filter_map(|api| Some((api, ApiKey::try_from(api as i16).ok()?.name())))
            .collect();
        let name = "kafka_network_requestmetrics_requests_total";
        let mut family = page.family(name, Kind::Counter, "Requests answered.");
        for (api, request) in &served {
            family.sample(&[("request", request)], self.sum(*api, |a| &a.requests));
        }
        let name = "kafka_network_requestmetrics_requestbytes_total";
        let mut family = page.family(name, Kind::Counter, "Bytes of the requests answered.");
        for (api, request) in &served {
            family.sample(&[("request", request)], self.sum(*api, |a| &a.bytes));
        }
        let name = "kafka_network_requestmetrics_totaltimems";
        let mut family = page.family(name, Kind::Histogram, "Milliseconds from a request's arrival to its answer.");
        for (api, request) in &served {
            let counts: Vec<u64> = (0..=BOUNDS_US.len()).map(|i| self.sum(*api, |a| &a.buckets[i])).collect();
            let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1000.0);
            let sum = self.sum(*api, |a| &a.micros) as f64 / 1000.0;
            family.histogram(&[("request", request)], bounds, &counts, sum);
        }
        let name = "klamm_network_refused_connections_total";
        page.family(name, Kind::Counter, "Connections closed because of what came over them.")
            .sample(&[], self.refused_connections.load(Ordering::Relaxed));
    }
}

fn shard_of_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: Cell<usize> = const { Cell::new(usize::MAX) });
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
        }
        mine.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_api_over_all_threads() {
        let metrics = Metrics::new();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| metrics.request(ApiKey::Produce, Duration::from_micros(300), 10));
            }
        });
        metrics.request(ApiKey::Fetch, Duration::from_secs(60), 1);
        let mut page = Page::new();
        metrics.write(&mut page);
        let text = page.finish();
        for line in [
            "# TYPE kafka_network_requestmetrics_requests_total counter",
            "kafka_network_requestmetrics_requests_total{request=\"Produce\"} 20",
            "kafka_network_requestmetrics_requestbytes_total{request=\"Produce\"} 200",
            "kafka_network_requestmetrics_totaltimems_bucket{request=\"Produce\",le=\"0.25\"} 0",
            "kafka_network_requestmetrics_totaltimems_bucket{request=\"Produce\",le=\"0.5\"} 20",
            "kafka_network_requestmetrics_totaltimems_bucket{request=\"Fetch\",le=\"30000\"} 0",
            "kafka_network_requestmetrics_totaltimems_bucket{request=\"Fetch\",le=\"+Inf\"} 1",
            "kafka_network_requestmetrics_totaltimems_sum{request=\"Produce\"} 6",
            "kafka_network_requestmetrics_totaltimems_count{request=\"Produce\"} 20",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("Metadata"), "what was never asked for is not shown");
    }
}
