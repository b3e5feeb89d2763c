//! JSON as Kafka's converter reads and writes it: Jackson's grammar, limits, escapes and number formats.

mod number;
mod read;
mod write;

pub use read::{Error, read};
pub use write::Writer;

/// A JSON value that was read. Members keep their order; of two with one name the later value counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Json {
    Null,
    Bool(bool),
    /// An integer, as text without needless zeros: it may be larger than any integer type.
    Integer(String),
    /// A number with a fraction or an exponent, as it stood there.
    Fraction(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// A member of an object; None for anything else.
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(n, _)| n == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text of a text, None for anything else.
    pub fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What error messages call the kind of this value.
    pub fn kind(&self) -> &'static str {
        match self {
            Json::Null => "NULL",
            Json::Bool(_) => "BOOLEAN",
            Json::Integer(_) | Json::Fraction(_) => "NUMBER",
            Json::Text(_) => "STRING",
            Json::List(_) => "ARRAY",
            Json::Object(_) => "OBJECT",
        }
    }
}
