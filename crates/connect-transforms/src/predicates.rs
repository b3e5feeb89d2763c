//! Predicates: for which records a transform is meant (KIP-585).

use connect_api::{
    ConfigDef, ConfigKey, Error, Importance, Kind, Plugins, Predicate, Properties, Record, Result, Setting, Validator,
};

use crate::java::regex::Regex;

/// Adds Kafka's predicates.
pub fn register(plugins: &mut Plugins, version: &'static str) {
    plugins.predicate("org.apache.kafka.connect.transforms.predicates.HasHeaderKey", version, || {
        Box::new(HasHeaderKey::default())
    });
    plugins.predicate("org.apache.kafka.connect.transforms.predicates.RecordIsTombstone", version, || {
        Box::new(RecordIsTombstone)
    });
    plugins.predicate("org.apache.kafka.connect.transforms.predicates.TopicNameMatches", version, || {
        Box::new(TopicNameMatches::default())
    });
}

/// Records with a header of a name.
#[derive(Debug, Default)]
struct HasHeaderKey {
    name: String,
}

impl Predicate for HasHeaderKey {
    fn config(&self) -> ConfigDef {
        ConfigDef::new().define(
            ConfigKey::required("name", Kind::String, Importance::Medium, "The header's name.")
                .validator(Validator::NonEmpty),
        )
    }

    fn configure(&mut self, properties: &Properties) -> Result<()> {
        self.name = self.config().parse(properties)?.string("name").unwrap_or_default().to_owned();
        Ok(())
    }

    fn test(&self, record: &Record) -> Result<bool> {
        Ok(record.headers.iter().any(|header| header.key == self.name))
    }
}

/// Records without a value.
#[derive(Debug)]
struct RecordIsTombstone;

impl Predicate for RecordIsTombstone {
    fn configure(&mut self, _properties: &Properties) -> Result<()> {
        Ok(())
    }

    fn test(&self, record: &Record) -> Result<bool> {
        Ok(record.value.is_null())
    }
}

/// Records of topics whose whole name matches an expression.
#[derive(Debug, Default)]
struct TopicNameMatches {
    pattern: Option<Regex>,
}

impl Predicate for TopicNameMatches {
    fn config(&self) -> ConfigDef {
        let check = |value: &Setting| match value.as_str() {
            Some("") => Err("String must be non-empty".to_owned()),
            Some(pattern) => Regex::new(pattern).map(|_| ()).map_err(|error| format!("Invalid regex: {error}")),
            None => Ok(()),
        };
        let doc = "The regular expression that a topic's whole name has to match.";
        ConfigDef::new().define(
            ConfigKey::required("pattern", Kind::String, Importance::Medium, doc).validator(Validator::check(check)),
        )
    }

    fn configure(&mut self, properties: &Properties) -> Result<()> {
        let config = self.config().parse(properties)?;
        self.pattern = Some(Regex::new(config.string("pattern").unwrap_or_default()).map_err(Error::config)?);
        Ok(())
    }

    fn test(&self, record: &Record) -> Result<bool> {
        self.pattern.as_ref().map_or(Ok(false), |pattern| pattern.matches(&record.topic))
    }
}

#[cfg(test)]
mod tests {
    use connect_api::{Header, Value};

    use super::*;

    fn predicate(class: &str, settings: &[(&str, &str)]) -> Result<Box<dyn Predicate>> {
        let mut plugins = Plugins::new();
        register(&mut plugins, "1");
        let mut predicate = (plugins.find_predicate(class).unwrap().new)();
        let properties = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        predicate.configure(&properties).map(|()| predicate)
    }

    #[test]
    fn predicates_tell_records_apart() {
        let mut record = Record::new("prod-a", None, 1.into());
        record.headers.push(Header { key: "h".into(), schema: None, value: Value::Null });
        let test = |class: &str, settings: &[(&str, &str)]| predicate(class, settings).unwrap().test(&record).unwrap();
        assert!(test("HasHeaderKey", &[("name", "h")]) && !test("HasHeaderKey", &[("name", "H")]));
        assert!(
            test("TopicNameMatches", &[("pattern", "prod-.*")]) && !test("TopicNameMatches", &[("pattern", "prod")])
        );
        assert!(!test("RecordIsTombstone", &[]));
        assert!(RecordIsTombstone.test(&Record::new("t", None, Value::Null)).unwrap());
    }

    #[test]
    fn settings_are_checked_in_kafkas_words() {
        let refused = |class: &str, settings: &[(&str, &str)]| predicate(class, settings).err().unwrap().message;
        assert_eq!(
            refused("HasHeaderKey", &[("name", "")]),
            "Invalid value  for configuration name: String must be non-empty"
        );
        assert_eq!(
            refused("TopicNameMatches", &[]),
            "Missing required configuration \"pattern\" which has no default value."
        );
        assert!(
            refused("TopicNameMatches", &[("pattern", "(")])
                .starts_with("Invalid value ( for configuration pattern: Invalid regex: ")
        );
    }
}
