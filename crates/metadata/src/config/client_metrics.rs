//! The settings of a client metrics subscription (KIP-714): checks with Kafka's texts.

use super::layers::Values;
use super::table::client_metrics_key;
use super::value::{Value, split_list};

/// What a subscription may select clients by.
const SELECTORS: [&str; 6] = [
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// Checks a subscription's name and all of its settings.
pub fn validate_all(subscription: &str, own: &dyn Values) -> Result<(), String> {
    if subscription.is_empty() {
        return Err("Subscription name can't be empty".to_owned());
    }
    own.check(&mut |name, _| match client_metrics_key(name) {
        Some(_) => Ok(()),
        None => Err(format!("Unknown client metrics configuration: {name}")),
    })?;
    own.check(&mut validate)
}

fn validate(name: &str, value: &str) -> Result<(), String> {
    let parsed = match client_metrics_key(name) {
        Some(key) => key.parse(value)?,
        None => return Ok(()),
    };
    match (name, parsed) {
        ("interval.ms", Value::Whole(ms)) if !(100..=3_600_000).contains(&ms) => {
            Err(format!("Invalid value {ms} for interval.ms, interval must be between 100 and 3600000 (1 hour)"))
        }
        ("match", _) => split_list(value).iter().try_for_each(|criterion| match criterion.split_once('=') {
            Some((selector, pattern)) if SELECTORS.contains(&selector.trim()) && !pattern.contains('=') => Ok(()),
            _ => Err(format!("Illegal client matching pattern: {criterion}")),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn check(name: &str, value: &str) -> Result<(), String> {
        validate_all("sub", &BTreeMap::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn wrong_settings_are_refused_with_kafkas_words() {
        let said = "Invalid value 99 for interval.ms, interval must be between 100 and 3600000 (1 hour)";
        assert_eq!(check("interval.ms", "99").unwrap_err(), said);
        assert_eq!(check("match", "client=a").unwrap_err(), "Illegal client matching pattern: client=a");
        assert_eq!(check("nope", "1").unwrap_err(), "Unknown client metrics configuration: nope");
        assert_eq!(validate_all("", &()).unwrap_err(), "Subscription name can't be empty");
        assert_eq!(check("match", "client_id=a.*,client_software_name=librdkafka"), Ok(()));
    }
}
