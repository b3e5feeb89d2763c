//! Requests: how many, how large, and where their time went.
//!
//! A request's time is split as in Kafka. *Queue*: its bytes are here, and the requests before it in the same read are
//! being handled. *Local*: a thread works on it. *Remote*: it waits, for other replicas, the controller, other members of
//! its group, bytes to come, or the disk. *Response queue*: it is answered, and the answers that leave with it are not
//! complete. *Response send*: until the kernel has taken the answer. All of it together is the *total*.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use wire::ApiKey;

use super::counters::{Counter, PerThread};
use super::page::{Kind, Page};

/// One for each key, and two for what Kafka tells apart of Fetch.
pub(super) const SLOTS: usize = 98;
const FETCH_CONSUMER: usize = 96;
const FETCH_FOLLOWER: usize = 97;
/// Versions from the last one on are counted as one.
const VERSIONS: usize = 24;
/// Upper bounds of the buckets in microseconds; above the last is one more.
const BOUNDS_US: [u32; 17] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000,
];

/// The parts of a request's time, with what they are called.
const PARTS: [(&str, &str); 6] = [
    ("kafka_network_requestmetrics_requestqueuetimems", "Milliseconds that a request waited for those before it."),
    ("kafka_network_requestmetrics_localtimems", "Milliseconds that a thread worked on a request."),
    (
        "kafka_network_requestmetrics_remotetimems",
        "Milliseconds that a request waited for others: replicas, the controller, group members, bytes to come, the disk.",
    ),
    ("kafka_network_requestmetrics_responsequeuetimems", "Milliseconds that an answer waited to be sent."),
    ("kafka_network_requestmetrics_responsesendtimems", "Milliseconds until the kernel had taken an answer."),
    ("kafka_network_requestmetrics_totaltimems", "Milliseconds from a request's arrival until its answer was sent."),
];

/// What a request is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u8);

impl Slot {
    pub fn of(key: ApiKey) -> Slot {
        match key {
            ApiKey::Fetch => Slot(FETCH_CONSUMER as u8),
            // Keys beyond the table would be counted together with the last that has none.
            key => Slot((key as i16).clamp(0, FETCH_CONSUMER as i16 - 1) as u8),
        }
    }

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }

    /// A Fetch by another broker.
    pub const FETCH_FOLLOWER: Slot = Slot(FETCH_FOLLOWER as u8);
}

/// A request that was handled and whose answer has not left yet.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    pub slot: Slot,
    pub version: i16,
    /// As the request came, with its header.
    pub bytes: usize,
    /// A Produce with acks=0 has none.
    pub has_answer: bool,
    pub times: Times,
}

/// When a request went from one part of its time to the next.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub arrived: Instant,
    pub begun: Instant,
    pub done: Instant,
    /// Of the time between `begun` and `done`, how long it waited.
    pub waited: Duration,
}

/// One thread's counters for one kind of request.
#[derive(Default)]
pub(super) struct Api {
    versions: [Counter; VERSIONS],
    bytes: Counter,
    parts: [Histogram; PARTS.len()],
}

#[derive(Default)]
struct Histogram {
    micros: Counter,
    buckets: [Counter; BOUNDS_US.len() + 1],
}

impl Histogram {
    fn count(&self, took: Duration) {
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let bucket = if micros <= BOUNDS_US[0] { 0 } else { BOUNDS_US.partition_point(|bound| *bound < micros) };
        self.buckets[bucket].add_alone(1);
        self.micros.add_alone(micros.into());
    }
}

impl Api {
    /// Counts a request whose answer began to leave at `send` and was sent at `sent`.
    pub(super) fn count(&self, request: &Answered, send: Instant, sent: Instant) {
        self.versions[(request.version.max(0) as usize).min(VERSIONS - 1)].add_alone(1);
        self.bytes.add_alone(request.bytes as u64);
        let Times { arrived, begun, done, waited } = request.times;
        let local = (done - begun).saturating_sub(waited);
        let parts = [begun - arrived, local, waited, send - done, sent - send, sent - arrived];
        for (part, took) in self.parts.iter().zip(parts) {
            part.count(took);
        }
    }
}

/// How many requests were answered.
pub(super) fn answered<T>(all: &PerThread<T>, apis: fn(&T) -> &[Api; SLOTS]) -> u64 {
    let count = |slot: usize, version: usize| all.sum(|t| &apis(t)[slot].versions[version]);
    (0..SLOTS).map(|slot| (0..VERSIONS).map(|version| count(slot, version)).sum::<u64>()).sum()
}

/// Writes what was counted, of requests that there were.
pub(super) fn write<T>(page: &mut Page, all: &PerThread<T>, apis: fn(&T) -> &[Api; SLOTS]) {
    let total = |slot: usize, counter: &dyn Fn(&Api) -> &Counter| all.sum(|t| counter(&apis(t)[slot]));
    let seen: Vec<Vec<u64>> =
        (0..SLOTS).map(|slot| (0..VERSIONS).map(|v| total(slot, &|api| &api.versions[v])).collect()).collect();
    // Fetch is both of its kinds together.
    let kinds = [FETCH_CONSUMER, FETCH_FOLLOWER];
    let mut served: Vec<(&str, Vec<usize>)> = Vec::new();
    for slot in 0..SLOTS {
        let (name, slots) = match slot {
            FETCH_CONSUMER => ("FetchConsumer", vec![slot]),
            FETCH_FOLLOWER => ("FetchFollower", vec![slot]),
            key => match ApiKey::try_from(key as i16) {
                Ok(ApiKey::Fetch) => ("Fetch", kinds.to_vec()),
                Ok(key) => (key.name(), vec![slot]),
                Err(_) => continue,
            },
        };
        if slots.iter().any(|slot| seen[*slot].iter().any(|n| *n > 0)) {
            served.push((name, slots));
        }
    }
    let name = "kafka_network_requestmetrics_requests_total";
    let mut family = page.family(name, Kind::Counter, "Requests answered, by version.");
    for (request, slots) in &served {
        let count = |version: usize| slots.iter().map(|slot| seen[*slot][version]).sum::<u64>();
        for (version, count) in (0..VERSIONS).map(|v| (v, count(v))).filter(|(_, count)| *count > 0) {
            family.sample(&[("request", request), ("version", &version.to_string())], count);
        }
    }
    let name = "kafka_network_requestmetrics_requestbytes_total";
    let mut family = page.family(name, Kind::Counter, "Bytes of the requests answered.");
    for (request, slots) in &served {
        let bytes: u64 = slots.iter().map(|slot| total(*slot, &|api| &api.bytes)).sum();
        family.sample(&[("request", request)], bytes);
    }
    for (part, (name, help)) in PARTS.into_iter().enumerate() {
        let mut family = page.family(name, Kind::Histogram, help);
        for (request, slots) in &served {
            let sum = |counter: &dyn Fn(&Histogram) -> &Counter| -> u64 {
                slots.iter().map(|slot| total(*slot, &|api| counter(&api.parts[part]))).sum()
            };
            let counts: Vec<u64> = (0..=BOUNDS_US.len()).map(|i| sum(&|part| &part.buckets[i])).collect();
            let bounds = BOUNDS_US.iter().map(|us| f64::from(*us) / 1000.0);
            family.histogram(&[("request", request)], bounds, &counts, sum(&|part| &part.micros) as f64 / 1000.0);
        }
    }
}

/// A future, and how long it had nothing to do until it was complete.
pub struct Timed<F> {
    future: F,
    waits_since: Option<Instant>,
    waited: Duration,
}

impl<F: Future + Unpin> Timed<F> {
    pub fn new(future: F) -> Timed<F> {
        Timed { future, waits_since: None, waited: Duration::ZERO }
    }
}

impl<F: Future + Unpin> Future for Timed<F> {
    type Output = (F::Output, Duration);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(since) = self.waits_since.take() {
            self.waited += since.elapsed();
        }
        match Pin::new(&mut self.future).poll(cx) {
            Poll::Ready(output) => Poll::Ready((output, self.waited)),
            Poll::Pending => {
                self.waits_since = Some(Instant::now());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_waiting_is_told_as_waiting() {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut at_once = Timed::new(std::future::ready(()));
        assert_eq!(Pin::new(&mut at_once).poll(&mut cx), Poll::Ready(((), Duration::ZERO)));
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let mut waits = Timed::new(receiver);
        assert!(Pin::new(&mut waits).poll(&mut cx).is_pending());
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        sender.send(7).unwrap();
        let Poll::Ready((output, waited)) = Pin::new(&mut waits).poll(&mut cx) else { panic!("it was sent") };
        assert_eq!(output, Ok(7));
        assert!(waited >= Duration::from_millis(2), "{waited:?}");
    }

    #[test]
    fn the_parts_add_up_to_the_total() {
        let api = Api::default();
        let arrived = Instant::now();
        let at = |ms| arrived + Duration::from_millis(ms);
        let waited = Duration::from_millis(4);
        let times = Times { arrived, begun: at(1), done: at(7), waited };
        let request = Answered { slot: Slot::of(ApiKey::Fetch), version: 99, bytes: 10, has_answer: true, times };
        api.count(&request, at(10), at(15));
        let micros = api.parts.each_ref().map(|part| part.micros.get());
        assert_eq!(micros, [1000, 2000, 4000, 3000, 5000, 15000]);
        assert_eq!(api.versions[VERSIONS - 1].get(), 1);
        assert_eq!(api.parts[5].buckets[7].get(), 1, "15 ms is above 10 and not above 25");
    }
}
