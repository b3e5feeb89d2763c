//! Limits on connections (KIP-402, KIP-612): how many there may be, in all, on one listener and from one address, and how
//! many may come in a second. They follow the broker's settings while it runs.

use metadata::config::table::broker_key;
use metadata::config::value::parse_host_limits;
use metadata::config::{Layers, Value};
use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

/// As many connections as come in this time at the highest rate may come at once.
const BURST: Duration = Duration::from_secs(1);

/// What is allowed in all, or on one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// At once (`max.connections`).
    pub connections: usize,
    /// New ones a second (`max.connection.creation.rate`).
    pub rate: u32,
}

/// All limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub all: Limit,
    /// For listeners that have limits of their own.
    listeners: BTreeMap<String, Limit>,
    /// The listener of the brokers themselves, where clients have another one: its connections need not wait for theirs.
    protected: Option<String>,
    per_address: usize,
    /// Instead of `per_address`.
    overrides: BTreeMap<IpAddr, usize>,
}

impl Limits {
    /// The limits that settings say, and what is wrong with them. Asks for the addresses of hosts that are named, which may
    /// take a while.
    pub fn of(layers: &Layers<'_>, listeners: &[&str]) -> (Limits, Vec<String>) {
        let value = |name: &str| broker_key(name).and_then(|key| layers.value(key));
        let text = |name: &str| value(name).map(|value| value.to_string()).unwrap_or_default();
        let limit = |value: &dyn Fn(&str) -> Option<Value>| Limit {
            connections: whole(value("max.connections")) as usize,
            rate: whole(value("max.connection.creation.rate")),
        };
        let own = |listener: &&str| {
            let own = |name: &str| layers.listener_value(listener, broker_key(name)?);
            ((*listener).to_owned(), limit(&own))
        };
        let between_brokers = Some(text("inter.broker.listener.name")).filter(|name| !name.is_empty());
        let between_brokers = between_brokers.unwrap_or_else(|| text("security.inter.broker.protocol"));
        let is_protected = |name: &&&str| listeners.len() > 1 && name.eq_ignore_ascii_case(&between_brokers);
        let (overrides, errors) = resolved(&text("max.connections.per.ip.overrides"));
        let limits = Limits {
            all: limit(&value),
            listeners: listeners.iter().map(own).collect(),
            protected: listeners.iter().find(is_protected).map(|name| (*name).to_owned()),
            per_address: whole(value("max.connections.per.ip")) as usize,
            overrides,
        };
        (limits, errors)
    }

    /// The limits of a listener alone.
    pub fn of_listener(&self, name: &str) -> Limit {
        self.listeners.get(name).copied().unwrap_or(Limit { connections: usize::MAX, rate: u32::MAX })
    }

    /// Whether the limits on all connections leave this listener out.
    pub fn is_protected(&self, listener: &str) -> bool {
        self.protected.as_deref() == Some(listener)
    }

    /// Connections at most from one address.
    pub fn from(&self, address: IpAddr) -> usize {
        *self.overrides.get(&address.to_canonical()).unwrap_or(&self.per_address)
    }
}

fn whole(value: Option<Value>) -> u32 {
    match value {
        Some(Value::Whole(n)) => u32::try_from(n).unwrap_or(u32::MAX),
        _ => u32::MAX,
    }
}

/// Limits by address, and a sentence for each host that has none.
fn resolved(overrides: &str) -> (BTreeMap<IpAddr, usize>, Vec<String>) {
    let (mut limits, mut errors) = (BTreeMap::new(), Vec::new());
    for (host, limit) in parse_host_limits(overrides).unwrap_or_default() {
        match (host, 0).to_socket_addrs() {
            Ok(addresses) => limits.extend(addresses.map(|address| (address.ip().to_canonical(), limit))),
            Err(e) => errors.push(format!("{host} has no address: {e}")),
        }
    }
    (limits, errors)
}

/// Lets arrivals through at a rate.
#[derive(Default)]
pub struct Pace(Option<Instant>);

impl Pace {
    /// How long the next arrival has to wait; zero lets it through.
    pub fn wait(&self, rate: u32, now: Instant) -> Duration {
        match (self.0, rate) {
            (_, u32::MAX) => Duration::ZERO,
            (_, 0) => BURST,
            (None, _) => Duration::ZERO,
            (Some(next), _) => next.saturating_duration_since(now + BURST),
        }
    }

    /// Counts an arrival.
    pub fn count(&mut self, rate: u32, now: Instant) {
        let next = self.0.map_or(now, |next| next.max(now));
        self.0 = Some(next + Duration::from_secs(1) / rate.max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::Properties;

    fn limits(settings: &[(&str, &str)]) -> (Limits, Vec<String>) {
        let file: Properties = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Limits::of(&Layers::of_file(&file), &["PLAINTEXT", "CLIENTS"])
    }

    #[test]
    fn single_addresses_may_have_limits_of_their_own() {
        let overrides = ("max.connections.per.ip.overrides", "127.0.0.1:3, [::1]:4,::2:5");
        let (limits, errors) = limits(&[("max.connections.per.ip", "10"), overrides]);
        let from = |address: &str| limits.from(address.parse().unwrap());
        assert_eq!(["127.0.0.1", "::ffff:127.0.0.1", "::1", "::2", "127.0.0.2"].map(from), [3, 3, 4, 5, 10]);
        assert!(errors.is_empty());
    }

    #[test]
    fn a_host_without_an_address_is_told_and_the_others_count() {
        let (limits, errors) =
            limits(&[("max.connections.per.ip.overrides", "no host at all:1,127.0.0.1:2"), ("max.connections", "7")]);
        assert!(errors.len() == 1 && errors[0].starts_with("no host at all has no address"), "{errors:?}");
        assert_eq!((limits.from([127, 0, 0, 1].into()), limits.all.connections), (2, 7));
    }

    #[test]
    fn listeners_have_limits_of_their_own_and_the_brokers_are_not_held_up_by_clients() {
        let (limits, _) = limits(&[
            ("max.connections", "7"),
            ("listener.name.clients.max.connections", "5"),
            ("listener.name.clients.max.connection.creation.rate", "9"),
        ]);
        assert_eq!(limits.of_listener("CLIENTS"), Limit { connections: 5, rate: 9 });
        assert_eq!(limits.of_listener("PLAINTEXT"), Limit { connections: u32::MAX as usize, rate: u32::MAX });
        assert!(limits.is_protected("PLAINTEXT") && !limits.is_protected("CLIENTS"));
        let alone = Limits::of(&Layers::of_file(&()), &["PLAINTEXT"]).0;
        assert!(!alone.is_protected("PLAINTEXT"));
    }

    #[test]
    fn arrivals_beyond_the_rate_wait() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        for _ in 0..5 {
            assert_eq!(pace.wait(4, start), Duration::ZERO);
            pace.count(4, start);
        }
        // A burst is over; from here on one every quarter of a second.
        assert_eq!(pace.wait(4, start), Duration::from_millis(250));
        assert_eq!(pace.wait(4, start + Duration::from_millis(250)), Duration::ZERO);
        assert_eq!(pace.wait(u32::MAX, start), Duration::ZERO);
        assert!(Pace::default().wait(0, start) > Duration::ZERO);
    }
}
