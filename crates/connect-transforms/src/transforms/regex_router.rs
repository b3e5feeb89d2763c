//! `RegexRouter`: another topic, made of the old one's name.

use connect_api::{ConfigDef, ConfigKey, Error, Importance, Kind, Properties, Record, Result, Transform};

use crate::java::regex::{self, Regex};

#[derive(Debug, Default)]
pub struct RegexRouter {
    regex: Option<Regex>,
    replacement: String,
}

impl Transform for RegexRouter {
    fn config(&self) -> ConfigDef {
        ConfigDef::new()
            .define(
                ConfigKey::required(
                    "regex",
                    Kind::String,
                    Importance::High,
                    "The regular expression that a topic's whole name has to match.",
                )
                .validator(regex::validator()),
            )
            .define(ConfigKey::required(
                "replacement",
                Kind::String,
                Importance::High,
                "What replaces the first match; $1 stands for the first group.",
            ))
    }

    fn configure(&mut self, properties: &Properties) -> Result<()> {
        let config = self.config().parse(properties)?;
        self.regex = Some(Regex::new(config.string("regex").unwrap_or_default()).map_err(Error::config)?);
        self.replacement = config.string("replacement").unwrap_or_default().to_owned();
        Ok(())
    }

    fn apply(&mut self, mut record: Record) -> Result<Option<Record>> {
        if let Some(regex) = &self.regex
            && regex.matches(&record.topic)?
        {
            record.topic = regex.replace_first(&record.topic, &self.replacement)?.into();
        }
        Ok(Some(record))
    }
}
