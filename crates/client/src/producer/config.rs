//! A producer's settings.

use std::time::Duration;

use wire::records::Codec;

use crate::Error;
use crate::config::{ClientConfig, Properties, Role, boolean, millis, number};
use crate::config_providers;

/// How records are gathered, sent and tried again. Names and defaults are the Java client's.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    pub client: ClientConfig,
    /// How many replicas must have a record: 0, 1, or -1 for all that are in sync.
    pub acks: i16,
    pub linger: Duration,
    /// Bytes of a batch before compression.
    pub batch_size: usize,
    /// Bytes of all records that are not acknowledged.
    pub buffer_memory: usize,
    pub compression: Codec,
    pub compression_level: Option<i32>,
    /// How often a batch is sent again.
    pub retries: u32,
    /// From the record's arrival to the report on it, at most.
    pub delivery_timeout: Duration,
    /// How long sending may wait for metadata and for memory.
    pub max_block: Duration,
    /// Requests to one broker that are not answered.
    pub max_in_flight: usize,
    pub max_request_size: usize,
    /// No batch is written twice, and none out of order, however often it is sent.
    pub idempotence: bool,
}

impl ProducerConfig {
    /// Reads the settings, and refuses those that contradict each other.
    pub fn new(properties: &Properties) -> Result<ProducerConfig, Error> {
        let properties = &config_providers::resolve(properties)?;
        let client = ClientConfig::new(Role::Producer, properties)?;
        let wrong = |name: &str, value: &str, why: &str| {
            Error::Config(format!("Invalid value {value} for configuration {name}: {why}"))
        };
        let acks_text = properties.get("acks").map_or("all", |a| a.trim());
        let acks = match acks_text {
            "all" | "-1" => -1,
            "0" => 0,
            "1" => 1,
            other => return Err(wrong("acks", other, "String must be one of: all, -1, 0, 1")),
        };
        let codec_text = properties.get("compression.type").map_or("none", |c| c.trim());
        let compression: Codec =
            codec_text.parse().map_err(|_| wrong("compression.type", codec_text, "Unknown compression name"))?;
        let level_name = format!("compression.{codec_text}.level");
        let compression_level = match properties.contains_key(&level_name) {
            true => Some(number(properties, &level_name, 0, "INT")?),
            false => None,
        };
        let retries: i32 = number(properties, "retries", i32::MAX, "INT")?;
        let max_in_flight: i32 = number(properties, "max.in.flight.requests.per.connection", 5, "INT")?;
        let linger = millis(properties, "linger.ms", 5)?;
        let idempotence = idempotence(properties, acks, retries, max_in_flight)?;
        let least = linger + client.request_timeout;
        let mut delivery_timeout = millis(properties, "delivery.timeout.ms", 120_000)?;
        if delivery_timeout < least {
            if properties.contains_key("delivery.timeout.ms") {
                return Err(Error::Config(
                    "delivery.timeout.ms should be equal to or larger than linger.ms + request.timeout.ms".into(),
                ));
            }
            delivery_timeout = least;
        }
        let positive = |name: &str, default: i64| -> Result<usize, Error> {
            let value: i64 = number(properties, name, default, "LONG")?;
            usize::try_from(value).map_err(|_| wrong(name, &value.to_string(), "Value must be at least 0"))
        };
        Ok(ProducerConfig {
            acks,
            linger,
            batch_size: positive("batch.size", 16_384)?,
            buffer_memory: positive("buffer.memory", 33_554_432)?,
            compression,
            compression_level,
            retries: retries.max(0) as u32,
            delivery_timeout,
            max_block: millis(properties, "max.block.ms", 60_000)?,
            max_in_flight: max_in_flight.max(1) as usize,
            max_request_size: positive("max.request.size", 1_048_576)?,
            idempotence,
            client,
        })
    }
}

/// On unless other settings rule it out; asked for in so many words, those are errors.
fn idempotence(properties: &Properties, acks: i16, retries: i32, max_in_flight: i32) -> Result<bool, Error> {
    let wanted = properties.contains_key("enable.idempotence");
    if !boolean(properties, "enable.idempotence", true)? {
        return Ok(false);
    }
    let obstacle = if retries == 0 {
        "Must set retries to non-zero when using the idempotent producer."
    } else if acks != -1 {
        "Must set acks to all in order to use the idempotent producer. Otherwise we cannot guarantee idempotence."
    } else if max_in_flight > 5 {
        "Must set max.in.flight.requests.per.connection to at most 5 to use the idempotent producer."
    } else {
        return Ok(true);
    };
    if wanted { Err(Error::Config(obstacle.into())) } else { Ok(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<ProducerConfig, Error> {
        let mut properties: Properties = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        properties.insert("bootstrap.servers".into(), "localhost:9092".into());
        ProducerConfig::new(&properties)
    }

    #[test]
    fn idempotence_gives_way_unless_it_was_asked_for() {
        assert!(config(&[]).unwrap().idempotence);
        assert!(!config(&[("acks", "1")]).unwrap().idempotence);
        assert!(config(&[("acks", "1"), ("enable.idempotence", "true")]).is_err());
        assert!(!config(&[("retries", "0")]).unwrap().idempotence);
        assert!(!config(&[("max.in.flight.requests.per.connection", "6")]).unwrap().idempotence);
    }

    #[test]
    fn wrong_values_name_the_setting() {
        for (name, value) in
            [("acks", "2"), ("compression.type", "zip"), ("linger.ms", "-1"), ("delivery.timeout.ms", "1")]
        {
            let error = config(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
