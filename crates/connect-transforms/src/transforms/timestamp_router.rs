//! `TimestampRouter`: another topic, made of the old one's name and the record's timestamp.

use connect_api::{ConfigDef, ConfigKey, Error, Importance, Kind, Properties, Record, Result, Transform};

use crate::java::date_format::DateFormat;

const TOPIC_FORMAT: &str = "topic.format";
const TIMESTAMP_FORMAT: &str = "timestamp.format";

#[derive(Debug, Default)]
pub struct TimestampRouter {
    topic_format: String,
    timestamp_format: Option<DateFormat>,
}

impl Transform for TimestampRouter {
    fn config(&self) -> ConfigDef {
        ConfigDef::new()
            .define(ConfigKey::with_default(
                TOPIC_FORMAT,
                Kind::String,
                "${topic}-${timestamp}",
                Importance::High,
                "The new name, in which ${topic} and ${timestamp} stand for the old name and the timestamp.",
            ))
            .define(ConfigKey::with_default(
                TIMESTAMP_FORMAT,
                Kind::String,
                "yyyyMMdd",
                Importance::High,
                "The timestamp's pattern, as Java's SimpleDateFormat has it.",
            ))
    }

    fn configure(&mut self, properties: &Properties) -> Result<()> {
        let config = self.config().parse(properties)?;
        self.topic_format = config.string(TOPIC_FORMAT).unwrap_or_default().to_owned();
        let pattern = config.string(TIMESTAMP_FORMAT).unwrap_or_default();
        // Kafka finds this out with the first record only.
        let format = DateFormat::new(pattern).map_err(|error| {
            Error::config(format!("Invalid value {pattern} for configuration {TIMESTAMP_FORMAT}: {error}"))
        })?;
        self.timestamp_format = Some(format);
        Ok(())
    }

    fn apply(&mut self, mut record: Record) -> Result<Option<Record>> {
        let Some(timestamp) = record.timestamp else {
            return Err(Error::data(format!("Timestamp missing on record: of topic {}", record.topic)));
        };
        if let Some(format) = &self.timestamp_format {
            let named = self.topic_format.replace("${topic}", &record.topic);
            record.topic = named.replace("${timestamp}", &format.format(timestamp)).into();
        }
        Ok(Some(record))
    }
}
