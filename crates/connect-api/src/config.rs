//! Settings: how they are declared, read and checked, with Kafka's messages.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::{Error, Result};

/// Names and values as they were given.
pub type Properties = BTreeMap<String, String>;

/// What kind of value a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    String,
    Short,
    Int,
    Long,
    Double,
    /// Texts with commas between them.
    List,
    /// A plugin's name.
    Class,
    /// A text that is not shown.
    Password,
}

impl Kind {
    /// In upper case, as REST answers have it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Boolean => "BOOLEAN",
            Kind::String => "STRING",
            Kind::Short => "SHORT",
            Kind::Int => "INT",
            Kind::Long => "LONG",
            Kind::Double => "DOUBLE",
            Kind::List => "LIST",
            Kind::Class => "CLASS",
            Kind::Password => "PASSWORD",
        }
    }
}

/// How likely a setting is to be set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Importance {
    High,
    #[default]
    Medium,
    Low,
}

impl Importance {
    pub fn name(self) -> &'static str {
        match self {
            Importance::High => "HIGH",
            Importance::Medium => "MEDIUM",
            Importance::Low => "LOW",
        }
    }
}

/// How wide a field for the setting would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Width {
    #[default]
    None,
    Short,
    Medium,
    Long,
}

impl Width {
    pub fn name(self) -> &'static str {
        match self {
            Width::None => "NONE",
            Width::Short => "SHORT",
            Width::Medium => "MEDIUM",
            Width::Long => "LONG",
        }
    }
}

/// Says why a value will not do.
pub type Check = Arc<dyn Fn(&Setting) -> std::result::Result<(), String> + Send + Sync>;

/// What a value must be beyond its kind.
#[derive(Clone, Default)]
pub enum Validator {
    #[default]
    Any,
    /// A number that is not less.
    AtLeast(f64),
    /// A number between two, both included.
    Between(f64, f64),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// One of these texts, in any case.
    OneOfIgnoringCase(&'static [&'static str]),
    /// A text that is there.
    NonEmpty,
    /// Whatever this says; the error is only the reason, without name and value.
    Check(Check),
    /// As `Check`, but what it says is the whole message.
    Refuse(Check),
}

impl Validator {
    pub fn check(check: impl Fn(&Setting) -> std::result::Result<(), String> + Send + Sync + 'static) -> Validator {
        Validator::Check(Arc::new(check))
    }

    pub fn refuse(check: impl Fn(&Setting) -> std::result::Result<(), String> + Send + Sync + 'static) -> Validator {
        Validator::Refuse(Arc::new(check))
    }

    /// `strict`: nothing will not do where a number is asked for.
    fn reason(&self, value: &Setting, strict: bool) -> Option<String> {
        let number = match value {
            Setting::Integer(n) => *n as f64,
            Setting::Double(n) => *n,
            _ => 0.0,
        };
        match self {
            Validator::Any => None,
            Validator::Check(check) | Validator::Refuse(check) => check(value).err(),
            _ if value.is_null() && !strict => None,
            Validator::AtLeast(_) | Validator::Between(..) if value.is_null() => {
                Some("Value must be non-null".to_owned())
            }
            Validator::AtLeast(least) => (number < *least).then(|| format!("Value must be at least {least}")),
            Validator::Between(least, _) if number < *least => Some(format!("Value must be at least {least}")),
            Validator::Between(_, most) => (number > *most).then(|| format!("Value must be no more than {most}")),
            Validator::OneOf(words) => {
                let known = value.as_str().is_some_and(|text| words.contains(&text));
                (!known).then(|| format!("String must be one of: {}", words.join(", ")))
            }
            Validator::OneOfIgnoringCase(words) => {
                let known = value.as_str().is_some_and(|text| words.iter().any(|w| w.eq_ignore_ascii_case(text)));
                (!known).then(|| format!("String must be one of (case insensitive): {}", words.join(", ")))
            }
            Validator::NonEmpty => {
                let empty = value.as_str().is_none_or(str::is_empty);
                (empty && !value.is_null()).then(|| "String must be non-empty".to_owned())
            }
        }
    }
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Validator::Any => "Any",
            Validator::AtLeast(_) => "AtLeast",
            Validator::Between(..) => "Between",
            Validator::OneOf(_) => "OneOf",
            Validator::OneOfIgnoringCase(_) => "OneOfIgnoringCase",
            Validator::NonEmpty => "NonEmpty",
            Validator::Check(_) => "Check",
            Validator::Refuse(_) => "Refuse",
        })
    }
}

/// What a setting is when nobody sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preset {
    /// It must be set.
    Required,
    /// It has no value.
    Null,
    /// As if this text had been given.
    Text(String),
}

/// A setting's declaration.
#[derive(Clone, Debug)]
pub struct ConfigKey {
    pub name: String,
    pub kind: Kind,
    pub default: Preset,
    pub validator: Validator,
    pub importance: Importance,
    pub documentation: String,
    pub group: Option<String>,
    pub order: i32,
    pub width: Width,
    pub display_name: String,
    /// Settings whose meaning depends on this one.
    pub dependents: Vec<String>,
    /// What one would choose from.
    pub recommended: Vec<String>,
}

impl ConfigKey {
    /// A setting that must be set.
    pub fn required(name: impl Into<String>, kind: Kind, importance: Importance, doc: &str) -> ConfigKey {
        let name = name.into();
        ConfigKey {
            display_name: name.clone(),
            name,
            kind,
            default: Preset::Required,
            validator: Validator::Any,
            importance,
            documentation: doc.to_owned(),
            group: None,
            order: -1,
            width: Width::None,
            dependents: Vec::new(),
            recommended: Vec::new(),
        }
    }

    /// A setting that has no value when it is not set.
    pub fn optional(name: impl Into<String>, kind: Kind, importance: Importance, doc: &str) -> ConfigKey {
        ConfigKey { default: Preset::Null, ..ConfigKey::required(name, kind, importance, doc) }
    }

    /// A setting that has this value when it is not set.
    pub fn with_default(
        name: impl Into<String>,
        kind: Kind,
        default: impl Into<String>,
        importance: Importance,
        doc: &str,
    ) -> ConfigKey {
        ConfigKey { default: Preset::Text(default.into()), ..ConfigKey::required(name, kind, importance, doc) }
    }

    #[must_use]
    pub fn validator(mut self, validator: Validator) -> ConfigKey {
        self.validator = validator;
        self
    }

    /// Where a form would show it: a group of settings, and its place in there.
    #[must_use]
    pub fn shown(mut self, group: &str, order: i32, width: Width, display_name: &str) -> ConfigKey {
        self.group = Some(group.to_owned());
        self.order = order;
        self.width = width;
        self.display_name = display_name.to_owned();
        self
    }

    #[must_use]
    pub fn recommend(mut self, values: impl IntoIterator<Item = String>) -> ConfigKey {
        self.recommended = values.into_iter().collect();
        self
    }

    #[must_use]
    pub fn dependents(mut self, names: impl IntoIterator<Item = String>) -> ConfigKey {
        self.dependents = names.into_iter().collect();
        self
    }

    /// The value that a text, or its absence, stands for.
    pub fn parse(&self, given: Option<&str>) -> Result<Setting> {
        let value = self.value(given)?;
        self.check(&value)?;
        Ok(value)
    }

    fn value(&self, given: Option<&str>) -> Result<Setting> {
        match (given, &self.default) {
            (Some(text), _) => self.read(text),
            (None, Preset::Text(text)) => self.read(text),
            (None, Preset::Null) => Ok(Setting::Null),
            (None, Preset::Required) => Err(Error::config(format!(
                "Missing required configuration \"{}\" which has no default value.",
                self.name
            ))),
        }
    }

    /// Whether a value is what it must be beyond its kind.
    pub fn check(&self, value: &Setting) -> Result<()> {
        // Only what may be missing has no value without being wrong.
        self.judge(value, self.default != Preset::Null)
    }

    fn judge(&self, value: &Setting, strict: bool) -> Result<()> {
        match self.validator.reason(value, strict) {
            None => Ok(()),
            Some(message) if matches!(self.validator, Validator::Refuse(_)) => Err(Error::config(message)),
            Some(why) => match value {
                Setting::List(items) => Err(self.invalid(&format!("[{}]", items.join(", ")), &why)),
                value => Err(self.invalid(&value.to_string(), &why)),
            },
        }
    }

    fn invalid(&self, value: &str, why: &str) -> Error {
        Error::config(format!("Invalid value {value} for configuration {}: {why}", self.name))
    }

    fn read(&self, text: &str) -> Result<Setting> {
        let trimmed = text.trim();
        let whole = |least: i64, most: i64| match trimmed.parse() {
            Ok(n) if (least..=most).contains(&n) => Ok(Setting::Integer(n)),
            _ => Err(self.invalid(text, &format!("Not a number of type {}", self.kind.name()))),
        };
        match self.kind {
            Kind::Boolean if trimmed.eq_ignore_ascii_case("true") => Ok(Setting::Boolean(true)),
            Kind::Boolean if trimmed.eq_ignore_ascii_case("false") => Ok(Setting::Boolean(false)),
            Kind::Boolean => Err(self.invalid(text, "Expected value to be either true or false")),
            Kind::Short => whole(i16::MIN.into(), i16::MAX.into()),
            Kind::Int => whole(i32::MIN.into(), i32::MAX.into()),
            Kind::Long => whole(i64::MIN, i64::MAX),
            Kind::Double => match trimmed.parse() {
                Ok(n) => Ok(Setting::Double(n)),
                Err(_) => Err(self.invalid(text, "Not a number of type DOUBLE")),
            },
            Kind::String | Kind::Class => Ok(Setting::Text(trimmed.to_owned())),
            Kind::Password => Ok(Setting::Password(trimmed.to_owned())),
            Kind::List if trimmed.is_empty() => Ok(Setting::List(Vec::new())),
            Kind::List => Ok(Setting::List(trimmed.split(',').map(|s| s.trim().to_owned()).collect())),
        }
    }
}

/// A setting's value.
#[derive(Clone, PartialEq)]
pub enum Setting {
    Null,
    Boolean(bool),
    Integer(i64),
    Double(f64),
    Text(String),
    List(Vec<String>),
    Password(String),
}

impl Setting {
    pub fn is_null(&self) -> bool {
        *self == Setting::Null
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Setting::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::Null => f.write_str("null"),
            Setting::Boolean(b) => b.fmt(f),
            Setting::Integer(n) => n.fmt(f),
            Setting::Double(n) => write!(f, "{n:?}"),
            Setting::Text(text) => f.write_str(text),
            Setting::List(items) => f.write_str(&items.join(",")),
            Setting::Password(_) => f.write_str("[hidden]"),
        }
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A setting as it was given, and what is wrong with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    pub name: String,
    pub value: Option<String>,
    pub recommended: Vec<String>,
    pub errors: Vec<String>,
    pub visible: bool,
}

/// Declarations, in the order they are shown.
#[derive(Clone, Debug, Default)]
pub struct ConfigDef {
    keys: Vec<ConfigKey>,
}

impl ConfigDef {
    pub fn new() -> ConfigDef {
        ConfigDef::default()
    }

    /// Adds a declaration; one of the same name is replaced.
    #[must_use]
    pub fn define(mut self, key: ConfigKey) -> ConfigDef {
        match self.keys.iter_mut().find(|k| k.name == key.name) {
            Some(old) => *old = key,
            None => self.keys.push(key),
        }
        self
    }

    pub fn keys(&self) -> &[ConfigKey] {
        &self.keys
    }

    pub fn key(&self, name: &str) -> Option<&ConfigKey> {
        self.keys.iter().find(|k| k.name == name)
    }

    /// All values, or the first error.
    pub fn parse(&self, properties: &Properties) -> Result<Config> {
        let mut values = BTreeMap::new();
        for key in &self.keys {
            values.insert(key.name.clone(), key.parse(properties.get(&key.name).map(String::as_str))?);
        }
        Ok(Config { values })
    }

    /// Every setting with every error. What cannot be read has no value, and may be wrong once more for that: so Kafka
    /// has it.
    pub fn validate(&self, properties: &Properties) -> Vec<Validated> {
        let validated = self.keys.iter().map(|key| {
            let (value, unread) = match key.value(properties.get(&key.name).map(String::as_str)) {
                Ok(value) => (value, None),
                Err(error) => (Setting::Null, Some(error)),
            };
            let wrong = key.judge(&value, unread.is_some()).err();
            Validated {
                name: key.name.clone(),
                value: (!value.is_null()).then(|| value.to_string()),
                recommended: key.recommended.clone(),
                errors: unread.into_iter().chain(wrong).map(|e| e.message).collect(),
                visible: true,
            }
        });
        validated.collect()
    }
}

/// Values of declared settings. Asking for one that is not declared, or as another kind, is a mistake in the program and
/// panics.
#[derive(Clone, Debug)]
pub struct Config {
    values: BTreeMap<String, Setting>,
}

impl Config {
    pub fn get(&self, name: &str) -> &Setting {
        self.values.get(name).unwrap_or_else(|| panic!("Unknown configuration '{name}'"))
    }

    /// A text, plugin name or password, if it has a value.
    pub fn string(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Setting::Text(text) | Setting::Password(text) => Some(text),
            Setting::Null => None,
            other => panic!("{name} is no text: {other}"),
        }
    }

    pub fn boolean(&self, name: &str) -> bool {
        match self.get(name) {
            Setting::Boolean(b) => *b,
            other => panic!("{name} is neither true nor false: {other}"),
        }
    }

    /// A whole number that has a default or is required.
    pub fn integer(&self, name: &str) -> i64 {
        match self.get(name) {
            Setting::Integer(n) => *n,
            other => panic!("{name} is no whole number: {other}"),
        }
    }

    pub fn double(&self, name: &str) -> f64 {
        match self.get(name) {
            Setting::Double(n) => *n,
            other => panic!("{name} is no number: {other}"),
        }
    }

    /// The items of a list; none when it has no value.
    pub fn list(&self, name: &str) -> &[String] {
        match self.get(name) {
            Setting::List(items) => items,
            Setting::Null => &[],
            other => panic!("{name} is no list: {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> ConfigDef {
        ConfigDef::new()
            .define(ConfigKey::required("topic", Kind::String, Importance::High, "").validator(Validator::NonEmpty))
            .define(
                ConfigKey::with_default("batch.size", Kind::Int, "2000", Importance::Low, "")
                    .validator(Validator::AtLeast(1.0)),
            )
            .define(ConfigKey::optional("file", Kind::String, Importance::High, ""))
    }

    fn given(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn defaults_and_given_values() {
        let config = definition().parse(&given(&[("topic", " a "), ("other", "x")])).unwrap();
        assert_eq!(config.string("topic"), Some("a"));
        assert_eq!(config.integer("batch.size"), 2000);
        assert_eq!(config.string("file"), None);
    }

    #[test]
    fn all_errors_are_told_at_once_in_kafkas_words() {
        let errors: Vec<String> =
            definition().validate(&given(&[("batch.size", "0")])).into_iter().flat_map(|v| v.errors).collect();
        assert_eq!(
            errors,
            [
                "Missing required configuration \"topic\" which has no default value.",
                "Invalid value 0 for configuration batch.size: Value must be at least 1"
            ]
        );
        let error = definition().parse(&given(&[("topic", "a"), ("batch.size", "x")])).unwrap_err();
        assert_eq!(error.message, "Invalid value x for configuration batch.size: Not a number of type INT");
        let error = definition().parse(&given(&[("topic", "")])).unwrap_err();
        assert_eq!(error.message, "Invalid value  for configuration topic: String must be non-empty");
    }

    #[test]
    fn passwords_are_not_shown() {
        let key = ConfigKey::required("secret", Kind::Password, Importance::High, "");
        assert_eq!(format!("{:?}", key.parse(Some("abc")).unwrap()), "[hidden]");
    }
}
