//! The settings of a client metrics subscription (KIP-714): checks with Kafka's texts.

use wire::ErrorCode;

use super::layers::Values;
use super::table::client_metrics_key;
use super::value::split_list;

/// What a subscription may select clients by.
const SELECTORS: [&str; 6] = [
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

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
    if name != "match" {
        return Ok(());
    }
    split_list(value).iter().try_for_each(|criterion| match criterion.split_once('=') {
        Some((selector, pattern)) if SELECTORS.contains(&selector.trim()) && !pattern.contains('=') => Ok(()),
        _ => Err(format!("Illegal client matching pattern: {criterion}")),
    })
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
            ("nope", "1", ErrorCode::InvalidRequest, "Unknown client metrics configuration: nope"),
        ] {
            assert_eq!(check(name, value), Err((code, said.to_owned())));
        }
        assert!(validate_all("", &()).is_err());
        assert_eq!(check("match", "client_id=a.*,client_software_name=librdkafka"), Ok(()));
    }
}
