//! A group's settings (KIP-848, KIP-932, KIP-1071): checks with Kafka's texts.

use super::layers::{Layers, Values, group_synonym};
use super::table::{broker_key, group_key};
use super::value::Value;

/// Checks all of a group's settings together, as they will be after a change (`GroupConfig.validate`).
///
/// Intervals and timeouts must lie between the broker's `group.*.min.*` and `group.*.max.*`, and a session must be
/// longer than its heartbeat interval.
pub fn validate_all(own: &dyn Values, layers: &Layers<'_>) -> Result<(), String> {
    own.check(&mut |name, _| match group_key(name) {
        Some(_) => Ok(()),
        None => Err(format!("Unknown group config name: {name}")),
    })?;
    own.check(&mut |name, value| group_key(name).map_or(Ok(()), |key| key.parse(value).map(drop)))?;
    own.check(&mut |name, value| within_the_brokers_limits(name, value, layers))?;
    for kind in ["consumer", "share", "streams"] {
        let (session, heartbeat) = (format!("{kind}.session.timeout.ms"), format!("{kind}.heartbeat.interval.ms"));
        let either_is_set = own.value(&session).is_some() || own.value(&heartbeat).is_some();
        if either_is_set && effective(own, layers, &session) <= effective(own, layers, &heartbeat) {
            return Err(format!("{session} must be greater than {heartbeat}"));
        }
    }
    Ok(())
}

fn within_the_brokers_limits(name: &str, value: &str, layers: &Layers<'_>) -> Result<(), String> {
    let Some((kind, rest)) = name.split_once('.') else { return Ok(()) };
    let rest = rest.strip_prefix("num.").unwrap_or(rest);
    let Some(Ok(Value::Whole(value))) = group_key(name).map(|key| key.parse(value)) else { return Ok(()) };
    let limit = |which: &str| {
        let key = broker_key(&format!("group.{kind}.{which}.{rest}"))?;
        match layers.value(key)? {
            Value::Whole(n) => Some((key.name, n)),
            _ => None,
        }
    };
    match (limit("min"), limit("max")) {
        (Some((key, least)), _) if value < least => Err(format!("{name} must be greater than or equal to {key}")),
        (_, Some((key, most))) if value > most => Err(format!("{name} must be less than or equal to {key}")),
        _ => Ok(()),
    }
}

fn effective(own: &dyn Values, layers: &Layers<'_>, name: &str) -> i64 {
    let set = own.value(name).and_then(|text| group_key(name)?.parse(text).ok());
    match set.or_else(|| layers.value(broker_key(group_synonym(name)?)?)) {
        Some(Value::Whole(n)) => n,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn check(name: &str, value: &str) -> Result<(), String> {
        validate_all(&BTreeMap::from([(name.to_owned(), value.to_owned())]), &Layers::of_file(&()))
    }

    #[test]
    fn wrong_settings_are_refused_with_kafkas_words() {
        for (name, value, said) in [
            ("consumer.nonsense", "1", "Unknown group config name: consumer.nonsense"),
            (
                "consumer.session.timeout.ms",
                "10",
                "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
            ),
            (
                "share.record.lock.duration.ms",
                "70000",
                "share.record.lock.duration.ms must be less than or equal to group.share.max.record.lock.duration.ms",
            ),
            (
                "streams.num.standby.replicas",
                "3",
                "streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas",
            ),
        ] {
            assert_eq!(check(name, value).unwrap_err(), said);
        }
        let said = check("share.auto.offset.reset", "LATEST").unwrap_err();
        assert_eq!(
            said,
            "Invalid value LATEST for configuration share.auto.offset.reset: Invalid value `LATEST` for configuration \
             share.auto.offset.reset. The value must be either 'earliest', 'latest' or of the format \
             'by_duration:<PnDTnHnMn.nS>'."
        );
        assert_eq!(check("consumer.session.timeout.ms", "50000"), Ok(()));
        assert_eq!(check("share.auto.offset.reset", "by_duration:PT1H"), Ok(()));
        assert!(check("share.auto.offset.reset", "by_duration:1h").is_err());
    }
}
