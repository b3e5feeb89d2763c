//! Taking over fails closed: a setting that protects or promises something that is not there refuses the start by name,
//! before anything is written. What merely has no effect is told once.

use client::Properties;
use metadata::config::broker::is_read_at_start_only;
use metadata::config::layers::without_listener_prefix;
use metadata::config::remarks::{self, is_default, suggestion};
use metadata::config::table::{broker_key, retired};
use metadata::config::{Effect, Key, Values};

use super::{BrokerConfig, listeners};

/// Kafka's security protocols.
pub(super) const PROTOCOLS: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

/// A sentence for each setting that refuses the start.
pub fn refusals(file: &Properties) -> Vec<String> {
    let said = |reason: String| {
        format!("{reason}. This broker does not start rather than ignore it: remove the line to run without.")
    };
    let settings = file.iter().filter_map(|(name, value)| refusal(name, value));
    let mut refusals: Vec<String> = settings.chain(refused_protocols(file)).map(said).collect();
    refusals.extend(file.iter().filter_map(|(name, value)| refused_for_good(name, value)));
    refusals.extend(file.keys().filter_map(|name| slip_of_the_pen(name)));
    refusals
}

/// A sentence for each setting of a broker that was stored in the cluster's state and that refuses the start: a directory
/// of Apache Kafka may hold settings that were made while Kafka ran.
pub fn stored_broker_refusals(stored: &dyn Values) -> Vec<String> {
    let mut refusals = Vec::new();
    stored.for_each(&mut |name, value| {
        // What a provider is told may be a secret.
        let at_start = || format!("{name} would have no effect: this broker reads it from its file only");
        let reason = refusal(name, value).or_else(|| is_read_at_start_only(name).then(at_start));
        refusals.extend(reason.map(|reason| {
            format!(
                "{reason}. It is a dynamic setting in the cluster's state, and this broker does not start rather than ignore \
                 it: remove it with Apache Kafka's kafka-configs.sh first."
            )
        }));
    });
    refusals
}

/// The sentence for a topic whose stored settings refuse the start.
pub fn stored_topic_refusal(topic: &str, stored: &dyn Values) -> Option<String> {
    let tiered = stored.value("remote.storage.enable").is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
    let said = format!(
        "topic {topic} has remote.storage.enable=true: tiered storage is not there yet, and what is in the remote store could \
         not be read"
    );
    tiered.then_some(said)
}

/// Why a setting cannot be served, without a full stop.
fn refusal(name: &str, value: &str) -> Option<String> {
    let base = without_listener_prefix(name);
    let key = broker_key(name).or_else(|| base.and_then(mechanism_base)).or_else(|| broker_key(base?))?;
    match key.effect {
        Effect::Refused(reason) if !is_default(key, value) => Some(unserved(name, shown(key, value), reason)),
        _ => None,
    }
}

/// The sentence for a key that Kafka no longer has and that cannot just be left aside.
fn refused_for_good(name: &str, value: &str) -> Option<String> {
    match retired::find(name)?.effect {
        Effect::Refused(reason) => Some(format!("{}.", unserved(name, value, reason))),
        _ => None,
    }
}

/// The sentence for an unknown name where a key that protects may be meant.
fn slip_of_the_pen(name: &str) -> Option<String> {
    if broker_key(name).is_some() || retired::find(name).is_some() {
        return None;
    }
    let meant = suggestion(name).and_then(broker_key)?;
    let Effect::Refused(_) = meant.effect else { return None };
    Some(format!(
        "{name} is not a known setting, and {} may be meant. This broker does not start rather than ignore that: correct the \
         name or remove the line.",
        meant.name
    ))
}

/// `scram-sha-256.sasl.jaas.config` of `listener.name.x.scram-sha-256.sasl.jaas.config`.
fn mechanism_base(base: &str) -> Option<&'static Key> {
    base.split_once('.').and_then(|(_, rest)| broker_key(rest)).filter(|key| key.name.starts_with("sasl."))
}

fn shown<'a>(key: &Key, value: &'a str) -> &'a str {
    if key.is_sensitive() { "[hidden]" } else { value }
}

fn unserved(name: &str, value: &str, reason: &str) -> String {
    format!("{name}={value} cannot be served: {reason}")
}

/// Listeners in use whose protocol encrypts or authenticates.
fn refused_protocols(file: &Properties) -> Vec<String> {
    let mut refusals = Vec::new();
    let reason = "TLS and SASL are not there yet, only PLAINTEXT is served";
    let protocols = listeners::protocols(file).unwrap_or_default();
    for key in ["listeners", "advertised.listeners"] {
        let text = file.get(key).map(String::as_str).unwrap_or_default();
        let parsed = metadata::config::value::split_list(text).into_iter().filter_map(|one| listeners::parse(&one));
        for listener in parsed {
            match protocols.get(&listener.name).map(String::as_str) {
                Some("PLAINTEXT") | None => {}
                Some(protocol) => refusals.push(unserved(
                    key,
                    text,
                    &format!("listener {} speaks {protocol}; {reason}", listener.name),
                )),
            }
        }
    }
    let key = "security.inter.broker.protocol";
    if let Some(protocol) = file.get(key).map(|p| p.trim()).filter(|p| PROTOCOLS[1..].contains(p)) {
        refusals.push(unserved(key, protocol, reason));
    }
    refusals
}

/// What to tell once at start: keys without effect, unknown names, and listeners that anybody on the network can reach.
pub(super) fn remarks(file: &Properties, config: &BrokerConfig) -> Vec<String> {
    let mut remarks = remarks::remarks(file);
    for listener in config.listeners.iter().chain(&config.controller_listeners).filter(|l| !l.is_loopback()) {
        remarks.push(format!("{listener} is open to the network: whoever reaches it may do everything"));
    }
    remarks
}
