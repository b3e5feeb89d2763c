//! Reading texts as a person would: `5` is a number, `[1,2]` a list, `2024-02-29` a date, and what is nothing else a text.

use connect_api::{Decimal, Error, Result, Schema, SchemaAndValue, SchemaBuilder, SchemaRef, Type, Value, logical};

use super::{DATE, TIME, TIMESTAMP, convert};
use crate::java::date_format::DateFormat;
use crate::java::hash_map::HashMap;

/// How deep lists and maps may lie in each other; deeper ones are texts.
const DEPTH_MAX: usize = 100;

/// The value that a text stands for, with the schema that it would have.
pub fn parse(text: &str) -> SchemaAndValue {
    let as_text = || of(Schema::of(Type::String), text.into());
    if text.is_empty() {
        return as_text();
    }
    let mut reader = Reader { text, at: 0, looked_at: None, previous: "", depth: 0, steps: 0 };
    // What cannot be read as anything else is a text.
    reader.value(false).map(Option::unwrap_or_default).unwrap_or_else(|_| as_text())
}

fn of(schema: SchemaRef, value: Value) -> SchemaAndValue {
    SchemaAndValue::new(Some(schema), value)
}

/// What ends a token: these are tokens of their own, unless a backslash stands before them.
const DELIMITERS: [char; 7] = [':', ',', '{', '}', '[', ']', '"'];

struct Reader<'t> {
    text: &'t str,
    at: usize,
    /// The token before `at`, when it was looked at and not yet taken.
    looked_at: Option<&'t str>,
    /// The token that was taken last.
    previous: &'t str,
    depth: usize,
    /// How often a list or map was begun. One that is no list after all is read again, level by level.
    steps: usize,
}

impl<'t> Reader<'t> {
    fn has_next(&self) -> bool {
        self.looked_at.is_some() || self.at < self.text.len()
    }

    /// Where the next token begins.
    fn mark(&self) -> usize {
        self.at - self.looked_at.map_or(0, str::len)
    }

    fn rewind(&mut self, mark: usize) {
        (self.at, self.looked_at, self.previous) = (mark, None, "");
    }

    fn next(&mut self) -> &'t str {
        self.previous = match self.looked_at.take() {
            Some(token) => token,
            None => self.token(),
        };
        self.previous
    }

    fn token(&mut self) -> &'t str {
        let start = self.at;
        let mut escaped = false;
        for (offset, character) in self.text[start..].char_indices() {
            match character {
                '\\' => escaped = !escaped,
                delimiter if !escaped && DELIMITERS.contains(&delimiter) => {
                    // The delimiters are ASCII.
                    self.at = start + offset.max(1);
                    return &self.text[start..self.at];
                }
                _ => escaped = false,
            }
        }
        self.at = self.text.len();
        &self.text[start..]
    }

    /// Takes the next token if it is this one; blanks around it do not count.
    fn eat(&mut self, expected: &str) -> bool {
        let mut token = match self.looked_at {
            Some(token) => token,
            None if self.has_next() => self.token(),
            None => return false,
        };
        while trim(token).is_empty() && self.at < self.text.len() {
            token = self.token();
        }
        let found = trim(token) == expected;
        self.looked_at = (!found).then_some(token);
        found
    }

    /// Takes a word; outside of lists and maps only if nothing follows.
    fn word(&mut self, inside: bool, word: &str) -> bool {
        let mark = self.mark();
        let found = self.eat(word) && (inside || !self.has_next());
        if !found {
            self.rewind(mark);
        }
        found
    }

    /// None is nothing: `null`, or the end.
    fn value(&mut self, inside: bool) -> Result<Option<SchemaAndValue>> {
        if !self.has_next() {
            return Ok(None);
        }
        if inside && self.eat("\"") {
            return Ok(Some(self.quoted()));
        }
        if self.word(inside, "null") {
            return Ok(None);
        }
        for (word, value) in [("true", true), ("false", false)] {
            if self.word(inside, word) {
                return Ok(Some(of(Schema::of(Type::Boolean), value.into())));
            }
        }
        let mark = self.mark();
        match self.collection() {
            Ok(None) => {}
            Ok(collection) => return Ok(collection),
            Err(_) => self.rewind(mark),
        }
        let token = self.next();
        let trimmed = trim(token);
        if trimmed.is_empty() {
            return Ok(Some(of(Schema::of(Type::String), token.into())));
        }
        self.scalar(inside, trimmed).map(Some)
    }

    fn collection(&mut self) -> Result<Option<SchemaAndValue>> {
        const STEPS_MAX: usize = 10_000;
        let read = if self.eat("[") {
            Self::list
        } else if self.eat("{") {
            Self::map
        } else {
            return Ok(None);
        };
        self.depth += 1;
        self.steps += 1;
        let value = match self.depth > DEPTH_MAX || self.steps > STEPS_MAX {
            true => Err(Error::data("lists and maps lie too deep in each other")),
            false => read(self),
        };
        self.depth -= 1;
        value.map(Some)
    }

    fn scalar(&mut self, inside: bool, token: &str) -> Result<SchemaAndValue> {
        let first = token.as_bytes()[0];
        if first.is_ascii_digit()
            && let Some(temporal) = self.temporal(token)
        {
            return Ok(temporal);
        }
        if (first.is_ascii_digit() || matches!(first, b'+' | b'-'))
            && let Some(number) = Decimal::parse(token)
        {
            return number_of(number);
        }
        match inside {
            true => Err(Error::data("Failed to parse embedded value")),
            false => Ok(of(Schema::of(Type::String), self.text.into())),
        }
    }

    /// A time has colons in it, which are delimiters: it may be of five tokens.
    fn temporal(&mut self, token: &str) -> Option<SchemaAndValue> {
        let mark = self.mark();
        let mut taken = 0;
        while taken < 4 && self.has_next() {
            self.next();
            taken += 1;
        }
        if taken == 4 {
            let joined = [token, &self.text[mark..self.at]].concat();
            if let Some(temporal) = temporal(&joined) {
                return Some(temporal);
            }
        }
        self.rewind(mark);
        temporal(token)
    }

    fn quoted(&mut self) -> SchemaAndValue {
        let mut content = String::new();
        while self.has_next() && !self.eat("\"") {
            content.push_str(self.next());
        }
        temporal(&content).unwrap_or_else(|| of(Schema::of(Type::String), content.into()))
    }

    fn list(&mut self) -> Result<SchemaAndValue> {
        let mut items = Vec::new();
        let mut common = Common::default();
        while self.has_next() {
            if self.eat("]") {
                let Some(schema) = common.schema else {
                    return Ok(of(SchemaBuilder::new(Type::Array).build()?, Value::Array(items)));
                };
                let items: Result<Vec<Value>> = items.into_iter().map(|item| convert(&schema, item)).collect();
                return Ok(of(SchemaBuilder::array(schema).build()?, Value::Array(items?)));
            }
            if self.eat(",") {
                return Err(Error::data(format!("Unable to parse an empty array element: {}", self.text)));
            }
            let item = self.value(true)?;
            common.merge(item.as_ref());
            items.push(item.map_or(Value::Null, |item| item.value));
            let mark = self.mark();
            if self.eat("]") {
                self.rewind(mark);
            } else if !self.eat(",") {
                return Err(Error::data("Array elements missing ',' delimiter"));
            }
        }
        Err(self.unfinished("Array", ']'))
    }

    fn map(&mut self) -> Result<SchemaAndValue> {
        let mut pairs: Vec<(Value, Value)> = Vec::new();
        // Finds keys that come again; the order is that of the text.
        let mut places = HashMap::new();
        let (mut keys, mut values) = (Common::default(), Common::default());
        while self.has_next() {
            if self.eat("}") {
                return map_of(pairs, keys.schema, values.schema);
            }
            if self.eat(",") {
                return Err(Error::data(format!("Unable to parse a map entry with no key or value: {}", self.text)));
            }
            let Some(key) = self.value(true)? else {
                return Err(Error::data(format!("Map entry may not have a null key: {}", self.text)));
            };
            if !self.eat(":") {
                return Err(Error::data(format!("Map entry is missing ':' at {} in {}", self.at, self.text)));
            }
            let value = self.value(true)?;
            let plain = value.as_ref().map_or(Value::Null, |value| value.value.clone());
            match places.get(&key.value) {
                Some(Value::Int64(at)) => pairs[*at as usize].1 = plain,
                _ => {
                    places.put(key.value.clone(), (pairs.len() as i64).into());
                    pairs.push((key.value.clone(), plain));
                }
            }
            self.eat(",");
            keys.merge(Some(&key));
            values.merge(value.as_ref());
        }
        Err(self.unfinished("Map", '}'))
    }

    fn unfinished(&self, what: &str, end: char) -> Error {
        match self.previous {
            "," => Error::data(format!("{what} is missing element after ',': {}", self.text)),
            _ => Error::data(format!("{what} is missing terminating '{end}': {}", self.text)),
        }
    }
}

fn map_of(pairs: Vec<(Value, Value)>, keys: Option<SchemaRef>, values: Option<SchemaRef>) -> Result<SchemaAndValue> {
    let Some(keys) = keys else {
        return Ok(of(SchemaBuilder::new(Type::Map).build()?, Value::Map(pairs)));
    };
    let mut aligned = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        let value = match &values {
            Some(schema) => convert(schema, value)?,
            None => value,
        };
        aligned.push((convert(&keys, key)?, value));
    }
    let schema = match values {
        Some(values) => SchemaBuilder::map(keys, values),
        None => SchemaBuilder::map_with_unknown_values(keys),
    };
    Ok(of(schema.build()?, Value::Map(aligned)))
}

/// Blanks and control characters at both ends are cut off.
fn trim(token: &str) -> &str {
    token.trim_matches(|c| c <= ' ')
}

/// The smallest type that holds a number.
fn number_of(number: Decimal) -> Result<SchemaAndValue> {
    if let Some(n) = whole(&number) {
        let value = match n {
            n if i8::try_from(n).is_ok() => Value::Int8(n as i8),
            n if i16::try_from(n).is_ok() => Value::Int16(n as i16),
            n if i32::try_from(n).is_ok() => Value::Int32(n as i32),
            n => Value::Int64(n),
        };
        return Ok(of(Schema::of(value.kind().unwrap_or(Type::Int64)), value));
    }
    let text = number.to_string();
    if let Some(n) = text.parse().ok().filter(|n: &f32| n.is_finite() && number.scale() != 0) {
        return Ok(of(Schema::of(Type::Float32), Value::Float32(n)));
    }
    if let Some(n) = text.parse().ok().filter(|n: &f64| n.is_finite() && number.scale() != 0) {
        return Ok(of(Schema::of(Type::Float64), Value::Float64(n)));
    }
    let scale = number.scale().to_string();
    let schema = SchemaBuilder::new(Type::Bytes).name(logical::DECIMAL).parameter("scale", scale).version(1);
    Ok(of(schema.build()?, Value::Decimal(number)))
}

/// The number, if it is whole and 64 bits hold it.
fn whole(number: &Decimal) -> Option<i64> {
    let mut digits = number.digits();
    if digits == "0" {
        return Some(0);
    }
    match number.scale() {
        scale @ 1.. => {
            let scale = usize::try_from(scale).ok()?;
            let zeros = digits.bytes().rev().take_while(|digit| *digit == b'0').count();
            if zeros < scale {
                return None;
            }
            digits.truncate(digits.len() - scale);
        }
        // No number of 64 bits has more than 19 digits.
        scale @ -19..=0 => digits.push_str(&"0".repeat(scale.unsigned_abs() as usize)),
        _ => return None,
    }
    let sign = if number.is_negative() { "-" } else { "" };
    format!("{sign}{digits}").parse().ok()
}

/// A date, a time, or both, of exactly the usual length.
fn temporal(text: &str) -> Option<SchemaAndValue> {
    let text = text.replace("\\:", ":");
    let (pattern, kind, name) = match text.encode_utf16().count() {
        10 => (DATE, Type::Int32, logical::DATE),
        13 => (TIME, Type::Int32, logical::TIME),
        24 => (TIMESTAMP, Type::Int64, logical::TIMESTAMP),
        _ => return None,
    };
    // Years have four digits here, so that it does not matter what day it is.
    let ms = DateFormat::new(pattern).ok()?.parse(&text, 0)?;
    let schema = SchemaBuilder::new(kind).name(name).version(1).build().ok()?;
    Some(of(schema, Value::Instant(ms)))
}

/// The schema that the parts of a collection have in common.
#[derive(Default)]
struct Common {
    schema: Option<SchemaRef>,
    /// There is none, and there will be none.
    none: bool,
}

impl Common {
    fn merge(&mut self, part: Option<&SchemaAndValue>) {
        let Some(new) = part.and_then(|part| part.schema.as_ref()).filter(|_| !self.none) else { return };
        self.schema = match &self.schema {
            None => Some(new.clone()),
            Some(known) if known.kind() == new.kind() => Some(new.clone()),
            Some(known) => match (width(known.kind()), width(new.kind())) {
                (Some(a), Some(b)) => Some(if a > b { known.clone() } else { new.clone() }),
                _ => None,
            },
        };
        self.none = self.schema.is_none();
    }
}

/// The types of numbers, each of which takes all those before it.
fn width(kind: Type) -> Option<usize> {
    [Type::Int8, Type::Int16, Type::Int32, Type::Int64, Type::Float32, Type::Float64].iter().position(|k| *k == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schema and the value as they print.
    fn read(text: &str) -> String {
        let SchemaAndValue { schema, value } = parse(text);
        match schema {
            None => format!("none {value}"),
            Some(schema) => format!("{} {value}", schema.name().unwrap_or(schema.kind().name())),
        }
    }

    #[test]
    fn texts_are_read_as_the_narrowest_type() {
        for (text, expected) in [
            ("", "STRING "),
            ("null", "none null"),
            ("true", "BOOLEAN true"),
            ("true}", "STRING true}"),
            ("127", "INT8 127"),
            ("-129", "INT16 -129"),
            ("100000", "INT32 100000"),
            ("9223372036854775807", "INT64 9223372036854775807"),
            ("9223372036854775808", "org.apache.kafka.connect.data.Decimal 9223372036854775808"),
            ("1.0", "INT8 1"),
            ("1.5", "FLOAT32 1.5"),
            ("1e50", "FLOAT64 1.0E50"),
            ("1e10", "INT64 10000000000"),
            ("hello world", "STRING hello world"),
            ("\"hi\"", "STRING \"hi\""),
            ("1 2", "STRING 1 2"),
            ("[1, 2.5]", "ARRAY [1.0, 2.5]"),
            ("[1, 300]", "ARRAY [1, 300]"),
            ("[1, null]", "STRING [1, null]"),
            ("[]", "ARRAY []"),
            ("[null]", "ARRAY [null]"),
            ("[1, \"a\"]", "ARRAY [1, a]"),
            ("[1,", "STRING [1,"),
            ("[a]", "STRING [a]"),
            ("{\"a\":1,\"b\":[true]}", "MAP {a=1, b=[true]}"),
            ("{\"a\":1,\"a\":2}", "MAP {a=2}"),
            ("{\"b\":1,\"a\":300}", "MAP {b=1, a=300}"),
            ("{1:2}", "MAP {1=2}"),
            ("{}", "MAP {}"),
            ("{a:1}", "STRING {a:1}"),
            ("2024-02-29", "org.apache.kafka.connect.data.Date Thu Feb 29 00:00:00 UTC 2024"),
            ("13:05:09.007Z", "org.apache.kafka.connect.data.Time Thu Jan 01 13:05:09 UTC 1970"),
            ("2024-02-29T13:05:09.007Z", "org.apache.kafka.connect.data.Timestamp Thu Feb 29 13:05:09 UTC 2024"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn nothing_that_comes_in_takes_long_or_fails() {
        for hostile in [
            "[".repeat(50_000),
            "{".repeat(50_000),
            "[1,".repeat(50_000),
            "{1:".repeat(50_000),
            "1".repeat(50_000),
            "\\".repeat(50_000),
        ] {
            assert_eq!(parse(&hostile).value, hostile.as_str().into());
        }
    }
}
