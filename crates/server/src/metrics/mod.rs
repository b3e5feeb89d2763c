//! What the broker counts, and the page that Prometheus reads.
//!
//! Names are those that users of Kafka search for: Kafka's JMX names as the usual exporter's rules write them
//! (`kafka_server_brokertopicmetrics_messagesin_total`), and for groups and partitions those of kafka_exporter
//! (`kafka_consumergroup_lag`). What changes with every request is counted in [`Metrics`], by plain additions to the
//! thread's own counters; everything that can be looked up (sizes, offsets, lag) is looked up when somebody asks, by
//! [`scrape`]. [`page`] writes the text format, [`http`] serves it.
//!
//! A metrics library would look up label sets in maps on the hot path, or hold handles for ten thousand partitions that
//! nobody asks about; what it would save is the text format, which is a page of code.

mod counters;
mod ends;
mod fill;
mod groups;
pub mod http;
mod listeners;
pub mod page;
mod partitions;
mod process;
mod requests;
mod sampler;
pub mod scrape;
mod traffic;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpListener;

use crate::node::Node;
use counters::{Counter, PerThread};
use listeners::Flows;
pub use listeners::{Connection, Listeners};
use page::{Kind, Page};
pub use requests::{Answered, Slot, Timed, Times};
use requests::{Api, SLOTS};
pub use traffic::{Amounts, Flow, Traffic};

/// Serves the page at `address`, on tasks of their own, for as long as the runtime lasts.
///
/// # Errors
/// The address cannot be listened on.
pub fn serve(node: &Arc<Node>, address: SocketAddr) -> io::Result<()> {
    let name = |e: io::Error| io::Error::new(e.kind(), format!("klamm.metrics.listener={address}: {e}"));
    let listener = std::net::TcpListener::bind(address).map_err(name)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let samples = Arc::new(sampler::Samples::default());
    tokio::spawn(sampler::run(node.clone(), samples.clone()));
    let (node, asked) = (node.clone(), node.clone());
    let answers = http::Answers {
        metrics: Box::new(move || scrape::page(&node, &samples)),
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

/// Counters of a running broker.
pub struct Metrics {
    threads: PerThread<Counts>,
    pub listeners: Arc<Listeners>,
    refused_connections: Counter,
}

/// One thread's counters.
struct Counts {
    requests: [Api; SLOTS],
    listeners: Box<[Flows]>,
    traffic: Traffic,
}

impl Metrics {
    /// For a broker with these listeners.
    pub fn new(listeners: impl IntoIterator<Item = Arc<str>>) -> Metrics {
        let listeners = Listeners::new(listeners);
        let count = listeners.len();
        let counts = move || Counts {
            requests: std::array::from_fn(|_| Api::default()),
            listeners: (0..count).map(|_| Flows::default()).collect(),
            traffic: Traffic::default(),
        };
        Metrics { threads: PerThread::new(counts), listeners, refused_connections: Counter::default() }
    }

    /// Counts requests whose answers, `bytes` in all, began to leave at `send` and were sent at `sent`; empties the list.
    pub fn answered(&self, by: &Connection, answered: &mut Vec<Answered>, bytes: usize, send: Instant, sent: Instant) {
        self.threads.with(|counts| {
            if let Some(flows) = counts.listeners.get(by.listener) {
                flows.requests.add_alone(answered.len() as u64);
                flows.responses.add_alone(answered.iter().filter(|a| a.has_answer).count() as u64);
                flows.bytes_out.add_alone(bytes as u64);
            }
            for request in answered.drain(..) {
                counts.requests[request.slot.index()].count(&request, send, sent);
            }
        });
    }

    /// Counts bytes that were read.
    pub fn read(&self, from: &Connection, bytes: usize) {
        self.threads.with(|counts| {
            if let Some(flows) = counts.listeners.get(from.listener) {
                flows.bytes_in.add_alone(bytes as u64);
            }
        });
    }

    /// Counts what one request did to a topic.
    pub fn moved(&self, topic: &Traffic, amounts: &Amounts) {
        topic.add(amounts);
        self.threads.with(|counts| counts.traffic.add_alone(amounts));
    }

    /// Counts a connection that was closed because of what came over it.
    pub fn refused_connection(&self) {
        self.refused_connections.add(1);
    }

    /// Requests answered, of every kind.
    pub fn requests(&self) -> u64 {
        requests::answered(&self.threads, |counts| &counts.requests)
    }

    /// Writes what was counted; `topics` are those that there are now.
    pub fn write(&self, page: &mut Page, topics: &[(&str, &Traffic)]) {
        requests::write(page, &self.threads, |counts| &counts.requests);
        self.listeners.write(page, &self.threads, |counts| &counts.listeners);
        traffic::write(page, &self.threads, |counts| &counts.traffic, topics);
        let name = "klamm_network_refused_connections_total";
        page.family(name, Kind::Counter, "Connections closed because of what came over them.")
            .sample(&[], self.refused_connections.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use wire::ApiKey;

    fn answer(metrics: &Metrics, slot: Slot, took: Duration) {
        let connection = metrics.listeners.connected("IN");
        let now = Instant::now();
        let request = Answered {
            slot,
            version: 7,
            bytes: 10,
            has_answer: true,
            times: Times { arrived: now, begun: now, done: now + took, waited: Duration::ZERO },
        };
        metrics.answered(&connection, &mut vec![request], 5, now + took, now + took);
    }

    #[test]
    fn requests_are_counted_by_api_over_all_threads() {
        let metrics = Metrics::new(["IN".into()]);
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| answer(&metrics, Slot::of(ApiKey::Produce), Duration::from_micros(300)));
            }
        });
        answer(&metrics, Slot::of(ApiKey::Fetch), Duration::from_secs(60));
        answer(&metrics, Slot::FETCH_FOLLOWER, Duration::from_secs(1));
        let mut page = Page::new();
        metrics.write(&mut page, &[]);
        let text = page.finish();
        for line in [
            "# TYPE kafka_network_requestmetrics_requests_total counter",
            "kafka_network_requestmetrics_requests_total{request=\"Produce\",version=\"7\"} 20",
            "kafka_network_requestmetrics_requests_total{request=\"Fetch\",version=\"7\"} 2",
            "kafka_network_requestmetrics_requests_total{request=\"FetchConsumer\",version=\"7\"} 1",
            "kafka_network_requestmetrics_requests_total{request=\"FetchFollower\",version=\"7\"} 1",
            "kafka_network_requestmetrics_requestbytes_total{request=\"Produce\"} 200",
            "kafka_network_requestmetrics_totaltimems_bucket{request=\"Produce\",le=\"0.25\"} 0",
            "kafka_network_requestmetrics_totaltimems_bucket{request=\"Produce\",le=\"0.5\"} 20",
            "kafka_network_requestmetrics_totaltimems_bucket{request=\"FetchConsumer\",le=\"30000\"} 0",
            "kafka_network_requestmetrics_totaltimems_bucket{request=\"FetchConsumer\",le=\"+Inf\"} 1",
            "kafka_network_requestmetrics_totaltimems_sum{request=\"Produce\"} 6",
            "kafka_network_requestmetrics_totaltimems_count{request=\"Produce\"} 20",
            "kafka_network_requestmetrics_remotetimems_count{request=\"Produce\"} 20",
            "kafka_network_requestmetrics_remotetimems_sum{request=\"Produce\"} 0",
            "kafka_server_socket_server_metrics_request_total{listener=\"IN\"} 22",
            "kafka_server_socket_server_metrics_outgoing_byte_total{listener=\"IN\"} 110",
            "kafka_server_socket_server_metrics_connection_close_total{listener=\"IN\"} 22",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("Metadata"), "what was never asked for is not shown");
    }

    #[test]
    fn what_a_deleted_topic_moved_stays_in_the_brokers_figures() {
        let metrics = Metrics::new(["IN".into()]);
        let mut amounts = Amounts::default();
        amounts[Flow::BytesIn] = 100;
        let kept = Traffic::default();
        metrics.moved(&kept, &amounts);
        metrics.moved(&Traffic::default(), &amounts);
        let mut page = Page::new();
        metrics.write(&mut page, &[("kept", &kept)]);
        let text = page.finish();
        for line in [
            "kafka_server_brokertopicmetrics_bytesin_total 200",
            "kafka_server_brokertopicmetrics_bytesin_total{topic=\"kept\"} 100",
            "kafka_server_brokertopicmetrics_bytesout_total 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
