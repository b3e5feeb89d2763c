//! What topics take in and give out: of each topic, and of the broker, whose figures outlive its topics.

use std::ops::{Index, IndexMut};

use super::counters::{Counter, PerThread};
use super::page::{Kind, Page};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    MessagesIn,
    BytesIn,
    BytesOut,
    /// Of batches that were refused as too large.
    BytesRejected,
    /// To other brokers.
    ReplicationBytesOut,
    /// Taken from leaders.
    ReplicationBytesIn,
    ProduceRequests,
    FetchRequests,
    FailedProduceRequests,
    FailedFetchRequests,
}

const FLOWS: [(&str, &str); 10] = [
    ("kafka_server_brokertopicmetrics_messagesin_total", "Records taken in."),
    ("kafka_server_brokertopicmetrics_bytesin_total", "Bytes of records taken in."),
    ("kafka_server_brokertopicmetrics_bytesout_total", "Bytes of records given to clients."),
    ("kafka_server_brokertopicmetrics_bytesrejected_total", "Bytes of records refused as too large."),
    ("kafka_server_brokertopicmetrics_replicationbytesout_total", "Bytes of records given to other brokers."),
    ("kafka_server_brokertopicmetrics_replicationbytesin_total", "Bytes of records taken from leaders."),
    ("kafka_server_brokertopicmetrics_totalproducerequests_total", "Partitions written by Produce."),
    ("kafka_server_brokertopicmetrics_totalfetchrequests_total", "Partitions read by Fetch."),
    ("kafka_server_brokertopicmetrics_failedproducerequests_total", "Partitions that Produce could not write."),
    ("kafka_server_brokertopicmetrics_failedfetchrequests_total", "Partitions that Fetch could not read."),
];

/// What one request amounts to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Amounts([u64; FLOWS.len()]);

impl Index<Flow> for Amounts {
    type Output = u64;

    fn index(&self, flow: Flow) -> &u64 {
        &self.0[flow as usize]
    }
}

impl IndexMut<Flow> for Amounts {
    fn index_mut(&mut self, flow: Flow) -> &mut u64 {
        &mut self.0[flow as usize]
    }
}

/// What everything so far amounts to.
#[derive(Debug, Default)]
pub struct Traffic([Counter; FLOWS.len()]);

impl Traffic {
    pub fn add(&self, amounts: &Amounts) {
        self.each(amounts, Counter::add);
    }

    pub(super) fn add_alone(&self, amounts: &Amounts) {
        self.each(amounts, Counter::add_alone);
    }

    fn each(&self, amounts: &Amounts, add: fn(&Counter, u64)) {
        for (counter, more) in self.0.iter().zip(amounts.0).filter(|(_, more)| *more > 0) {
            add(counter, more);
        }
    }
}

/// Writes each figure for the broker, without label, and for the topics where there is any, as Kafka does.
pub(super) fn write<'a, T>(
    page: &mut Page,
    all: &PerThread<T>,
    broker: fn(&T) -> &Traffic,
    topics: &[(&'a str, &'a Traffic)],
) {
    for (at, (name, help)) in FLOWS.into_iter().enumerate() {
        let mut family = page.family(name, Kind::Counter, help);
        family.sample(&[], all.sum(|t| &broker(t).0[at]));
        for (topic, traffic) in topics {
            let value = traffic.0[at].get();
            if value > 0 {
                family.sample(&[("topic", topic)], value);
            }
        }
    }
}
