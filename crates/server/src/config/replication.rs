//! How replicas follow their leaders.

use super::reader::Reader;
use broker::ReplicaSelector;
use std::time::Duration;

/// Settings of followers and of leaders towards them. Sizes are in bytes; the names are those of the keys.
#[derive(Clone, Debug)]
pub struct Replication {
    pub replica_lag_time_max_ms: i64,
    pub replica_socket_timeout: Duration,
    pub replica_fetch_max_bytes: i32,
    pub replica_fetch_response_max_bytes: i32,
    pub replica_fetch_wait_max_ms: i32,
    pub replica_fetch_min_bytes: i32,
    pub replica_fetch_backoff_ms: i64,
    pub replica_selector: ReplicaSelector,
    /// The listener that brokers use among themselves.
    pub inter_broker_listener: String,
}

impl Replication {
    pub(super) fn read(r: &mut Reader<'_>) -> Replication {
        let listener = r.text("inter.broker.listener.name").or_else(|| r.text("security.inter.broker.protocol"));
        Replication {
            replica_lag_time_max_ms: r.whole("replica.lag.time.max.ms"),
            replica_socket_timeout: r.ms("replica.socket.timeout.ms"),
            replica_fetch_max_bytes: r.int("replica.fetch.max.bytes"),
            replica_fetch_response_max_bytes: r.int("replica.fetch.response.max.bytes"),
            replica_fetch_wait_max_ms: r.int("replica.fetch.wait.max.ms"),
            replica_fetch_min_bytes: r.int("replica.fetch.min.bytes"),
            replica_fetch_backoff_ms: r.whole("replica.fetch.backoff.ms"),
            replica_selector: replica_selector(r),
            inter_broker_listener: listener.unwrap_or_default().to_ascii_uppercase(),
        }
    }
}

/// Kafka loads a class of this name; here are the two that come with it.
fn replica_selector(r: &mut Reader<'_>) -> ReplicaSelector {
    let key = "replica.selector.class";
    match r.text(key).as_deref() {
        None | Some("" | "org.apache.kafka.common.replica.LeaderSelector") => ReplicaSelector::Leader,
        Some("org.apache.kafka.common.replica.RackAwareReplicaSelector") => ReplicaSelector::RackAware,
        Some(_) => {
            r.wrong(
                key,
                "Java classes cannot be loaded. Use org.apache.kafka.common.replica.RackAwareReplicaSelector, or leave it \
                 out: then everybody reads from the leader",
            );
            ReplicaSelector::Leader
        }
    }
}
