//! What `{:?}` prints of a message, as a tree in which two codecs' names for the same types do not matter.

use std::{collections::BTreeMap, fmt::Debug};

/// A value as it was printed. Structures have lost their names, types that only wrap another are gone, and so are the
/// tagged fields that nobody knows.
#[derive(Debug, PartialEq)]
pub enum Value {
    Struct(BTreeMap<String, Value>),
    List(Vec<Value>),
    /// A number, a string, a word.
    Plain(String),
}

impl Value {
    pub fn of(value: &impl Debug) -> Self {
        let text = format!("{value:?}");
        let mut printed = Printed(&text);
        let value = printed.value();
        assert!(printed.0.is_empty(), "{} left of {text}", printed.0);
        value
    }

    /// Whether it is the same but for fields that the other does not have, being made from older schemas.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Struct(ours), Self::Struct(theirs)) => {
                theirs.iter().all(|(name, value)| ours.get(name).is_some_and(|ours| ours.covers(value)))
            }
            (Self::List(ours), Self::List(theirs)) => {
                ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| ours.covers(theirs))
            }
            _ => self == other,
        }
    }
}

struct Printed<'t>(&'t str);

impl Printed<'_> {
    fn take(&mut self, token: &str) -> bool {
        self.0 = self.0.trim_start();
        match self.0.strip_prefix(token) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// Letters, digits, and what numbers and uuids have.
    fn word(&mut self) -> String {
        let end = self.0.find(|c: char| !(c.is_alphanumeric() || "_-.+".contains(c))).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        word.to_owned()
    }

    fn list(&mut self, end: &str) -> Vec<Value> {
        let mut values = Vec::new();
        while !self.take(end) {
            values.push(self.value());
            self.take(",");
        }
        values
    }

    fn value(&mut self) -> Value {
        if self.take("[") {
            return Value::List(self.list("]"));
        }
        if self.take("b\"") {
            return Value::List(self.quoted().into_iter().map(|byte| Value::Plain(byte.to_string())).collect());
        }
        if self.take("\"") {
            return Value::Plain(String::from_utf8(self.quoted()).expect("a string"));
        }
        if self.take("{") {
            assert!(self.take("}"), "maps have nothing in them: {}", self.0);
            return Value::Struct(BTreeMap::new());
        }
        let word = self.word();
        assert!(!word.is_empty(), "a value at {}", self.0);
        if self.0.starts_with('(') {
            self.take("(");
            let mut inner = self.list(")");
            assert_eq!(inner.len(), 1, "{word}");
            return inner.remove(0);
        }
        if self.0.starts_with(" {") {
            self.take("{");
            return Value::Struct(self.fields());
        }
        // Their uuids are words of hexadecimal digits.
        let digits: String = word.chars().filter(|c| *c != '-').collect();
        if word.len() == 36 && digits.len() == 32 {
            let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("a uuid");
            return Value::List((0..32).step_by(2).map(|at| Value::Plain(byte(at).to_string())).collect());
        }
        // A structure without fields, or one whose only field nobody knows.
        if word.starts_with(|c: char| c.is_ascii_uppercase()) && word != "None" {
            return Value::Struct(BTreeMap::new());
        }
        Value::Plain(word)
    }

    fn fields(&mut self) -> BTreeMap<String, Value> {
        let mut fields = BTreeMap::new();
        while !self.take("}") {
            self.0 = self.0.trim_start();
            let name = self.word();
            assert!(self.take(":"), "a field at {}", self.0);
            let value = self.value();
            self.take(",");
            if name != "unknown_tagged_fields" {
                // `enable2_pc` or `enable_2_pc`, `type` or `_type`.
                fields.insert(name.replace('_', ""), value);
            }
        }
        fields
    }

    /// The rest of a quoted text, its escapes undone, as bytes.
    fn quoted(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut characters = self.0.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return bytes;
                }
                '\\' => {
                    let escaped = characters.next().expect("an escape").1;
                    match escaped {
                        'n' => bytes.push(b'\n'),
                        'r' => bytes.push(b'\r'),
                        't' => bytes.push(b'\t'),
                        '0' => bytes.push(0),
                        'x' => {
                            let digits: String =
                                [characters.next(), characters.next()].into_iter().flatten().map(|c| c.1).collect();
                            bytes.push(u8::from_str_radix(&digits, 16).expect("hexadecimal"));
                        }
                        other => bytes.extend(other.to_string().bytes()),
                    }
                }
                other => bytes.extend(other.to_string().bytes()),
            }
        }
        panic!("a quoted text without an end")
    }
}
