//! As much of JSON as `quorum-state` needs: objects, lists, texts without escapes beyond the simple ones, whole numbers.

use std::collections::BTreeMap;

/// Deeper nesting is refused: nothing of ours has any.
const DEPTH_MAX: usize = 8;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Boolean(bool),
    Number(i64),
    Text(String),
    List(Vec<Value>),
    Object(BTreeMap<String, Value>),
}

impl Value {
    /// A field of an object.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Object(fields) => fields.get(name),
            _ => None,
        }
    }
}

/// Parses one value that fills the text.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { rest: text.as_bytes() };
    let value = parser.value(0)?;
    parser.skip_space();
    if parser.rest.is_empty() { Ok(value) } else { Err("something follows the value".to_owned()) }
}

struct Parser<'a> {
    rest: &'a [u8],
}

impl Parser<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.rest.first().copied()
    }

    fn next(&mut self) -> Result<u8, String> {
        let (first, rest) = self.rest.split_first().ok_or("the text ends too early")?;
        self.rest = rest;
        Ok(*first)
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        self.skip_space();
        match self.next()? {
            found if found == byte => Ok(()),
            found => Err(format!("'{}' where '{}' was expected", found as char, byte as char)),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, String> {
        self.rest = self.rest.strip_prefix(word.as_bytes()).ok_or_else(|| format!("not {word}"))?;
        Ok(value)
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEPTH_MAX {
            return Err("nested too deep".to_owned());
        }
        match self.peek().ok_or("the text ends too early")? {
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'"' => self.text().map(Value::Text),
            b'n' => self.word("null", Value::Null),
            b't' => self.word("true", Value::Boolean(true)),
            b'f' => self.word("false", Value::Boolean(false)),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, String> {
        let mut fields = BTreeMap::new();
        self.expect(b'{')?;
        if self.peek() == Some(b'}') {
            self.next()?;
            return Ok(Value::Object(fields));
        }
        loop {
            self.skip_space();
            let name = self.text()?;
            self.expect(b':')?;
            fields.insert(name, self.value(depth + 1)?);
            self.skip_space();
            match self.next()? {
                b',' => {}
                b'}' => return Ok(Value::Object(fields)),
                other => return Err(format!("'{}' in an object", other as char)),
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, String> {
        let mut items = Vec::new();
        self.expect(b'[')?;
        if self.peek() == Some(b']') {
            self.next()?;
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_space();
            match self.next()? {
                b',' => {}
                b']' => return Ok(Value::List(items)),
                other => return Err(format!("'{}' in a list", other as char)),
            }
        }
    }

    fn text(&mut self) -> Result<String, String> {
        self.expect(b'"')?;
        let mut bytes = Vec::new();
        loop {
            match self.next()? {
                b'"' => break,
                b'\\' => match self.next()? {
                    b'n' => bytes.push(b'\n'),
                    b't' => bytes.push(b'\t'),
                    plain @ (b'"' | b'\\' | b'/') => bytes.push(plain),
                    other => return Err(format!("the escape '\\{}'", other as char)),
                },
                byte => bytes.push(byte),
            }
        }
        String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())
    }

    fn number(&mut self) -> Result<Value, String> {
        let length = self.rest.iter().take_while(|byte| matches!(byte, b'-' | b'0'..=b'9')).count();
        let (digits, rest) = self.rest.split_at(length);
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        self.rest = rest;
        number.map(Value::Number).ok_or_else(|| "not a number".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_kind_are_read() {
        let value = parse(r#" {"a": [1, -2, {"b": null}], "c": "x\"\\y", "d": true, "e": [], "f": {}} "#).unwrap();
        assert_eq!(value.get("c"), Some(&Value::Text("x\"\\y".to_owned())));
        assert_eq!(value.get("d"), Some(&Value::Boolean(true)));
        let Some(Value::List(items)) = value.get("a") else { panic!("a list") };
        assert_eq!(items[..2], [Value::Number(1), Value::Number(-2)]);
        assert_eq!(items[2].get("b"), Some(&Value::Null));
    }

    #[test]
    fn what_is_not_json_is_an_error() {
        let deep = "[".repeat(10_000);
        for text in ["", "{", "{\"a\"}", "[1 2]", "1 2", "nul", "\"", "\"\\u0041\"", "-", "99999999999999999999", &deep]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
