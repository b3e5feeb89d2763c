//! Listeners: their connections, requests and bytes, and which software connects to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::counters::{Counter, PerThread};
use super::page::{Kind, Page};

/// Kinds of software that are told apart; what comes later is told as [`OTHER`]. Names come from clients.
const SOFTWARE_MAX: usize = 200;
const SOFTWARE_BYTES_MAX: usize = 64;
const OTHER: &str = "other";

/// The software of a client, as its ApiVersions request says (KIP-511).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Software {
    pub name: String,
    pub version: String,
}

/// One thread's counters for one listener.
#[derive(Default)]
pub(super) struct Flows {
    pub requests: Counter,
    pub responses: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
}

/// The listeners of a broker.
pub struct Listeners {
    all: Box<[Listener]>,
}

struct Listener {
    name: Arc<str>,
    opened: Counter,
    closed: Counter,
    software: Mutex<BTreeMap<Software, usize>>,
}

/// An open connection; counted as closed when dropped.
pub struct Connection {
    listeners: Arc<Listeners>,
    /// Which listener it came to.
    pub(super) listener: usize,
    software: OnceLock<(Software, bool)>,
}

impl Listeners {
    pub fn new(names: impl IntoIterator<Item = Arc<str>>) -> Arc<Listeners> {
        let listener = |name| Listener {
            name,
            opened: Counter::default(),
            closed: Counter::default(),
            software: Mutex::default(),
        };
        Arc::new(Listeners { all: names.into_iter().map(listener).collect() })
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Counts a connection to the listener of that name.
    pub fn connected(self: &Arc<Listeners>, name: &str) -> Connection {
        let listener = self.all.iter().position(|l| &*l.name == name).unwrap_or(0);
        if let Some(listener) = self.all.get(listener) {
            listener.opened.add(1);
        }
        Connection { listeners: self.clone(), listener, software: OnceLock::new() }
    }

    /// Writes what was counted.
    pub(super) fn write<T>(&self, page: &mut Page, threads: &PerThread<T>, flows: fn(&T) -> &[Flows]) {
        let mut family = |name: &str, kind, help: &str, value: &dyn Fn(usize, &Listener) -> u64| {
            let mut family = page.family(name, kind, help);
            for (at, listener) in self.all.iter().enumerate() {
                family.sample(&[("listener", &listener.name)], value(at, listener));
            }
        };
        let sum = |at: usize, counter: fn(&Flows) -> &Counter| threads.sum(|t| counter(&flows(t)[at]));
        let name = "kafka_server_socket_server_metrics_connection_count";
        family(name, Kind::Gauge, "Open connections.", &|_, l| {
            let closed = l.closed.get();
            l.opened.get().saturating_sub(closed)
        });
        let name = "kafka_server_socket_server_metrics_connection_creation_total";
        family(name, Kind::Counter, "Connections accepted.", &|_, l| l.opened.get());
        let name = "kafka_server_socket_server_metrics_connection_close_total";
        family(name, Kind::Counter, "Connections closed.", &|_, l| l.closed.get());
        let name = "kafka_server_socket_server_metrics_request_total";
        family(name, Kind::Counter, "Requests answered.", &|at, _| sum(at, |f| &f.requests));
        let name = "kafka_server_socket_server_metrics_response_total";
        family(name, Kind::Counter, "Answers sent.", &|at, _| sum(at, |f| &f.responses));
        let name = "kafka_server_socket_server_metrics_incoming_byte_total";
        family(name, Kind::Counter, "Bytes read from clients.", &|at, _| sum(at, |f| &f.bytes_in));
        let name = "kafka_server_socket_server_metrics_outgoing_byte_total";
        family(name, Kind::Counter, "Bytes sent to clients.", &|at, _| sum(at, |f| &f.bytes_out));
        let name = "kafka_server_socket_server_metrics_connections_software";
        let mut family = page.family(name, Kind::Gauge, "Open connections of clients that told their software.");
        for listener in &self.all {
            let software = listener.software();
            for (Software { name, version }, count) in software.iter().filter(|(_, count)| **count > 0) {
                let labels =
                    [("clientSoftwareName", &**name), ("clientSoftwareVersion", version), ("listener", &listener.name)];
                family.sample(&labels, *count);
            }
        }
    }
}

impl Listener {
    fn software(&self) -> std::sync::MutexGuard<'_, BTreeMap<Software, usize>> {
        self.software.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Notes what the client said it is. Only the first word counts.
    pub fn is_of(&self, name: &str, version: &str) {
        if self.software.get().is_some() {
            return;
        }
        let cut = |text: &str| text.chars().take(SOFTWARE_BYTES_MAX).collect();
        let software = Software { name: cut(name), version: cut(version) };
        let Some(listener) = self.listeners.all.get(self.listener) else { return };
        let mut all = listener.software();
        all.retain(|_, count| *count > 0);
        let has_room = all.len() < SOFTWARE_MAX || all.contains_key(&software);
        if self.software.set((software.clone(), has_room)).is_ok() {
            let counted = if has_room { software } else { other() };
            *all.entry(counted).or_default() += 1;
        }
    }

    /// Name and version of the client's software, if it told them.
    pub fn software(&self) -> Option<(&str, &str)> {
        self.software.get().map(|(software, _)| (software.name.as_str(), software.version.as_str()))
    }
}

fn other() -> Software {
    Software { name: OTHER.to_owned(), version: OTHER.to_owned() }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(listener) = self.listeners.all.get(self.listener) else { return };
        listener.closed.add(1);
        if let Some((software, has_room)) = self.software.take() {
            let counted = if has_room { software } else { other() };
            if let Some(count) = listener.software().get_mut(&counted) {
                *count -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(listeners: &Listeners) -> String {
        let mut page = Page::new();
        let threads = PerThread::new(|| [Flows::default(), Flows::default()]);
        listeners.write(&mut page, &threads, |flows| flows);
        page.finish()
    }

    #[test]
    fn connections_are_counted_by_listener_and_software_until_they_end() {
        let listeners = Listeners::new(["IN".into(), "OUT".into()]);
        let (one, two) = (listeners.connected("OUT"), listeners.connected("OUT"));
        one.is_of("librdkafka", "2.0.2");
        one.is_of("another", "1");
        two.is_of("librdkafka", "2.0.2");
        let name = "kafka_server_socket_server_metrics_connections_software";
        let software =
            format!("{name}{{clientSoftwareName=\"librdkafka\",clientSoftwareVersion=\"2.0.2\",listener=\"OUT\"}}");
        let text = page(&listeners);
        for line in [
            "kafka_server_socket_server_metrics_connection_count{listener=\"IN\"} 0",
            "kafka_server_socket_server_metrics_connection_count{listener=\"OUT\"} 2",
            &format!("{software} 2"),
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        drop((one, two));
        let text = page(&listeners);
        assert!(text.contains("connection_count{listener=\"OUT\"} 0") && !text.contains("librdkafka"), "{text}");
        assert!(text.contains("connection_close_total{listener=\"OUT\"} 2"), "{text}");
    }

    #[test]
    fn clients_cannot_make_up_software_without_end() {
        let listeners = Listeners::new(["IN".into()]);
        let open: Vec<Connection> = (0..SOFTWARE_MAX + 50)
            .map(|i| {
                let connection = listeners.connected("IN");
                connection.is_of(&"x".repeat(1000), &i.to_string());
                connection
            })
            .collect();
        let text = page(&listeners);
        assert_eq!(text.lines().filter(|l| l.contains("clientSoftwareName")).count(), SOFTWARE_MAX + 1);
        assert!(text.contains("{clientSoftwareName=\"other\",clientSoftwareVersion=\"other\",listener=\"IN\"} 50"));
        assert!(text.lines().all(|line| line.len() < 300));
        drop(open);
        assert!(!page(&listeners).contains("clientSoftwareName"));
    }
}
