//! Client metrics subscriptions (KIP-714): their settings, checked with Kafka's texts, and whom they are for.

use regex_lite::{Regex, RegexBuilder};
use wire::ErrorCode;

use super::layers::Values;
use super::table::client_metrics_key;
use super::value::{Value, split_list};

/// What a subscription may select clients by, in the order of [`Client::attributes`].
const SELECTORS: [&str; 6] = [
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];
/// A compiled pattern never takes more memory, in bytes.
const PATTERN_MAX: usize = 256 << 10;

/// A subscription: which metrics the clients that it matches are to push, and how often.
#[derive(Debug)]
pub struct Subscription {
    /// Prefixes of names; `*` is all of them.
    pub metrics: Vec<String>,
    pub interval_ms: i32,
    /// Places in [`SELECTORS`], with what has to match there.
    criteria: Vec<(usize, Regex)>,
}

/// A client, as subscriptions see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub instance_id: String,
    pub id: Option<String>,
    pub software_name: String,
    pub software_version: String,
    pub source_address: String,
    pub source_port: String,
}

impl Client {
    fn attributes(&self) -> [Option<&str>; SELECTORS.len()] {
        [
            Some(&self.instance_id),
            self.id.as_deref(),
            Some(&self.software_name),
            Some(&self.software_version),
            Some(&self.source_address),
            Some(&self.source_port),
        ]
    }
}

impl Subscription {
    /// The subscription with these settings. The error says which of its patterns cannot be understood: another broker
    /// may have accepted it.
    pub fn new(own: &dyn Values) -> Result<Subscription, String> {
        let setting = |name: &str| {
            let key = client_metrics_key(name)?;
            own.value(name).or(key.default).and_then(|text| key.parse(text).ok())
        };
        let list = |name: &str| match setting(name) {
            Some(Value::List(items)) => items,
            _ => Vec::new(),
        };
        let interval_ms = match setting("interval.ms") {
            Some(Value::Whole(ms)) => ms as i32,
            _ => return Err("interval.ms has no value".to_owned()),
        };
        let mut criteria: Vec<(usize, Regex)> = Vec::new();
        for text in list("match") {
            let (selector, pattern) = criterion(&text)?;
            // As in Kafka the last word on a selector counts.
            criteria.retain(|(other, _)| *other != selector);
            criteria.push((selector, pattern));
        }
        Ok(Subscription { metrics: list("metrics"), interval_ms, criteria })
    }

    /// Whether it is for this client: each pattern has to match the whole of what it selects.
    pub fn matches(&self, client: &Client) -> bool {
        let attributes = client.attributes();
        self.criteria.iter().all(|(at, pattern)| attributes[*at].is_some_and(|value| pattern.is_match(value)))
    }
}

/// One `selector=pattern`.
fn criterion(text: &str) -> Result<(usize, Regex), String> {
    let illegal = || format!("Illegal client matching pattern: {text}");
    let (selector, pattern) = text.split_once('=').filter(|(_, pattern)| !pattern.contains('=')).ok_or_else(illegal)?;
    let selector = SELECTORS.iter().position(|known| *known == selector.trim()).ok_or_else(illegal)?;
    let compile = |pattern: &str| RegexBuilder::new(pattern).size_limit(PATTERN_MAX).build().map_err(|_| illegal());
    // By itself first: with what goes around it a wrong pattern could become a right one.
    compile(pattern.trim())?;
    Ok((selector, compile(&format!(r"\A(?:{})\z", pattern.trim()))?))
}

/// Checks a subscription's name and all of its settings; the error is Kafka's code and sentence.
pub fn validate_all(subscription: &str, own: &dyn Values) -> Result<(), (ErrorCode, String)> {
    if subscription.is_empty() {
        return Err((ErrorCode::InvalidRequest, "Subscription name can't be empty".to_owned()));
    }
    let invalid_request = |text| (ErrorCode::InvalidRequest, text);
    let invalid_config = |text| (ErrorCode::InvalidConfig, text);
    own.check(&mut is_known).map_err(invalid_request)?;
    own.check(&mut parses).map_err(invalid_config)?;
    own.check(&mut interval_is_allowed).map_err(invalid_request)?;
    own.check(&mut patterns_are_allowed).map_err(invalid_config)
}

fn is_known(name: &str, _: &str) -> Result<(), String> {
    match client_metrics_key(name) {
        Some(_) => Ok(()),
        None => Err(format!("Unknown client metrics configuration: {name}")),
    }
}

fn parses(name: &str, value: &str) -> Result<(), String> {
    client_metrics_key(name).map_or(Ok(()), |key| key.parse(value).map(drop))
}

fn interval_is_allowed(name: &str, value: &str) -> Result<(), String> {
    let outside = |ms: &i64| !(100..=3_600_000).contains(ms);
    match value.trim().parse().ok().filter(outside) {
        Some(ms) if name == "interval.ms" => {
            Err(format!("Invalid value {ms} for interval.ms, interval must be between 100 and 3600000 (1 hour)"))
        }
        _ => Ok(()),
    }
}

fn patterns_are_allowed(name: &str, value: &str) -> Result<(), String> {
    match name {
        "match" => split_list(value).iter().try_for_each(|text| criterion(text).map(drop)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn check(name: &str, value: &str) -> Result<(), (ErrorCode, String)> {
        validate_all("sub", &BTreeMap::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn wrong_settings_are_refused_with_kafkas_words() {
        for (name, value, code, said) in [
            (
                "interval.ms",
                "99",
                ErrorCode::InvalidRequest,
                "Invalid value 99 for interval.ms, interval must be between 100 and 3600000 (1 hour)",
            ),
            (
                "interval.ms",
                "x",
                ErrorCode::InvalidConfig,
                "Invalid value x for configuration interval.ms: Not a number of type INT",
            ),
            ("match", "client=a", ErrorCode::InvalidConfig, "Illegal client matching pattern: client=a"),
            ("match", "client_id=(", ErrorCode::InvalidConfig, "Illegal client matching pattern: client_id=("),
            ("match", "client_id=a)(b", ErrorCode::InvalidConfig, "Illegal client matching pattern: client_id=a)(b"),
            ("nope", "1", ErrorCode::InvalidRequest, "Unknown client metrics configuration: nope"),
        ] {
            assert_eq!(check(name, value), Err((code, said.to_owned())));
        }
        assert!(validate_all("", &()).is_err());
        assert_eq!(check("match", "client_id=a.*,client_software_name=librdkafka"), Ok(()));
    }
    fn client() -> Client {
        Client {
            instance_id: "q2rS9Lc3Tsaf1bJqDR2DxA".to_owned(),
            id: Some("billing-7".to_owned()),
            software_name: "apache-kafka-java".to_owned(),
            software_version: "4.3.1".to_owned(),
            source_address: "10.1.2.3".to_owned(),
            source_port: "40000".to_owned(),
        }
    }

    fn subscription(pairs: &[(&str, &str)]) -> Subscription {
        let own: BTreeMap<String, String> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Subscription::new(&own).unwrap()
    }

    #[test]
    fn a_subscription_is_for_the_clients_that_match_all_of_its_patterns_wholly() {
        for (patterns, matches) in [
            ("", true),
            ("client_id=billing-.*", true),
            ("client_id=billing", false),
            ("client_id=billing|billing-7", true),
            ("client_id=billing-.*,client_software_version=4\\.3\\..*", true),
            ("client_id=billing-.*,client_software_version=3.*", false),
            ("client_source_address=10\\.1\\..*,client_source_port=[0-9]+", true),
            ("client_instance_id=q2rS9Lc3Tsaf1bJqDR2DxA", true),
            ("client_id=no,client_id=billing-7", true),
        ] {
            assert_eq!(subscription(&[("match", patterns)]).matches(&client()), matches, "{patterns}");
        }
        let nameless = Client { id: None, ..client() };
        assert!(!subscription(&[("match", "client_id=.*")]).matches(&nameless));
    }

    #[test]
    fn what_is_not_set_is_kafkas_default() {
        let default = subscription(&[]);
        assert_eq!((default.interval_ms, default.metrics.len()), (300_000, 0));
        let set = subscription(&[("interval.ms", "1000"), ("metrics", "org.apache.kafka.producer.,x")]);
        assert_eq!(
            (set.interval_ms, set.metrics),
            (1000, vec!["org.apache.kafka.producer.".to_owned(), "x".to_owned()])
        );
    }
}
