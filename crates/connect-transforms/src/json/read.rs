//! Reading JSON, with bounds on depth and lengths.

use super::Json;

/// How deep lists and objects may lie in each other: a quarter of what Jackson takes, which is what a thread has stack for.
const DEPTH_MAX: usize = 250;

/// Longest number, in characters: long ones cost time to convert.
const NUMBER_MAX: usize = 1000;

/// Why bytes are not JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct Error {
    what: String,
    /// Where, counted from 0.
    at: usize,
}

/// Reads one value. Nothing but blanks gives None. What follows after the value is not looked at, as in Kafka, except
/// that a number or a word has to end.
pub fn read(bytes: &[u8]) -> Result<Option<Json>, Error> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = Reader { bytes, at: 0, depth: 0 };
    reader.blanks();
    if reader.peek().is_none() {
        return Ok(None);
    }
    let value = reader.value()?;
    let is_number = matches!(value, Json::Integer(_) | Json::Fraction(_));
    if is_number && reader.peek().is_some_and(|b| !is_blank(b)) {
        return Err(reader.error("expected a blank after a number"));
    }
    Ok(Some(value))
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn error(&self, what: impl Into<String>) -> Error {
        Error { what: what.into(), at: self.at }
    }

    fn unexpected(&self, wanted: &str) -> Error {
        match self.peek() {
            None => self.error(format!("unexpected end of input: expected {wanted}")),
            Some(byte) if byte.is_ascii_graphic() => {
                self.error(format!("unexpected character '{}': expected {wanted}", byte as char))
            }
            Some(byte) => self.error(format!("unexpected byte {byte:#04x}: expected {wanted}")),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.at += 1;
        }
    }

    /// Takes the byte if it comes next, after blanks.
    fn eat(&mut self, byte: u8) -> bool {
        self.blanks();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self) -> Result<Json, Error> {
        self.blanks();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::list),
            Some(b'"') => Ok(Json::Text(self.text()?)),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Json, Error>) -> Result<Json, Error> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Json, Error> {
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut seen = std::collections::BTreeMap::new();
        if self.eat(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("a member's name in quotes"));
            }
            let name = self.text()?;
            if !self.eat(b':') {
                return Err(self.unexpected("':' after a member's name"));
            }
            let value = self.value()?;
            match seen.get(&name) {
                Some(&at) => {
                    let member: &mut (String, Json) = &mut members[at];
                    member.1 = value;
                }
                None => {
                    seen.insert(name.clone(), members.len());
                    members.push((name, value));
                }
            }
            if self.eat(b'}') {
                return Ok(Json::Object(members));
            }
            if !self.eat(b',') {
                return Err(self.unexpected("',' or '}'"));
            }
        }
    }

    fn list(&mut self) -> Result<Json, Error> {
        let mut items = Vec::new();
        if self.eat(b']') {
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value()?);
            if self.eat(b']') {
                return Ok(Json::List(items));
            }
            if !self.eat(b',') {
                return Err(self.unexpected("',' or ']'"));
            }
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, Error> {
        let rest = &self.bytes[self.at..];
        let ends = |byte: &u8| !(byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'$' || *byte >= 0x80);
        if rest.starts_with(word.as_bytes()) && rest.get(word.len()).is_none_or(ends) {
            self.at += word.len();
            return Ok(value);
        }
        Err(self.error("an unknown word: expected a text, a number, a list, an object, or null, true or false"))
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    /// Leading zeros are allowed (and dropped), as Kafka's deserializer has it.
    fn number(&mut self) -> Result<Json, Error> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let first_digit = self.at;
        if self.digits() == 0 {
            return Err(self.unexpected("a digit"));
        }
        let integer_end = self.at;
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.unexpected("a digit after the decimal point"));
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.unexpected("a digit in the exponent"));
            }
        }
        if self.at - start > NUMBER_MAX {
            return Err(self.error(format!("a number longer than {NUMBER_MAX} characters")));
        }
        // Only ASCII was taken.
        let text = |from: usize, to: usize| String::from_utf8_lossy(&self.bytes[from..to]).into_owned();
        if self.at > integer_end {
            return Ok(Json::Fraction(text(start, self.at)));
        }
        let digits = text(first_digit, integer_end);
        let digits = digits.trim_start_matches('0');
        Ok(Json::Integer(match (digits, negative) {
            ("", _) => "0".to_owned(),
            (digits, false) => digits.to_owned(),
            (digits, true) => format!("-{digits}"),
        }))
    }

    fn text(&mut self) -> Result<String, Error> {
        self.at += 1;
        let mut text: Vec<u8> = Vec::new();
        loop {
            let start = self.at;
            while self.peek().is_some_and(|b| b != b'"' && b != b'\\' && b >= 0x20) {
                self.at += 1;
            }
            text.extend_from_slice(&self.bytes[start..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return String::from_utf8(text).map_err(|_| self.error("a text that is not UTF-8 ends"));
                }
                Some(b'\\') => {
                    self.at += 1;
                    let character = self.escape()?;
                    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(_) => return Err(self.error("an unescaped control character in a text")),
                None => return Err(self.unexpected("'\"'")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Error> {
        let character = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.unexpected("an escape")),
        };
        self.at += 1;
        Ok(character)
    }

    /// What `\u` starts. Half of a surrogate pair has no place in UTF-8 and becomes U+FFFD.
    fn unicode(&mut self) -> Result<char, Error> {
        let high = self.hex4()?;
        if !(0xd800..0xdc00).contains(&high) {
            return Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let after_high = self.at;
        if self.bytes[self.at..].starts_with(b"\\u") {
            self.at += 2;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                let joined = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = after_high;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32, Error> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| (b as char).to_digit(16));
            value = value * 16 + digit.ok_or_else(|| self.unexpected("a hexadecimal digit"))?;
            self.at += 1;
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(text: &str) -> Json {
        read(text.as_bytes()).expect(text).expect(text)
    }

    #[test]
    fn numbers_keep_their_text_but_for_needless_zeros() {
        assert_eq!(ok("00012"), Json::Integer("12".into()));
        assert_eq!(ok("-0"), Json::Integer("0".into()));
        assert_eq!(ok("123456789012345678901234567890"), Json::Integer("123456789012345678901234567890".into()));
        assert_eq!(ok("1.50"), Json::Fraction("1.50".into()));
        assert_eq!(ok("1e400"), Json::Fraction("1e400".into()));
        for bad in ["1.", "-", "+1", ".5", "1x", "1e", "NaN", "1.5true"] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn texts_are_unescaped_and_halves_of_pairs_replaced() {
        assert_eq!(ok(r#""a\n\"\u00e9\ud83d\ude00\/""#), Json::Text("a\n\"é😀/".into()));
        assert_eq!(ok(r#""\ud83dx""#), Json::Text("\u{fffd}x".into()));
        assert!(read(b"\"\x01\"").is_err());
        assert!(read(b"\"\xff\"").is_err());
        assert!(read(b"\"\\x\"").is_err());
    }

    #[test]
    fn the_last_of_two_members_counts_in_the_place_of_the_first() {
        let expected = vec![("a".into(), Json::Integer("3".into())), ("b".into(), Json::Integer("2".into()))];
        assert_eq!(ok(r#"{"a":1,"b":2,"a":3}"#), Json::Object(expected));
    }

    #[test]
    fn what_follows_the_value_is_not_looked_at() {
        assert_eq!(ok("{} x"), Json::Object(Vec::new()));
        assert_eq!(ok("1 2"), Json::Integer("1".into()));
        assert!(read(b"truex").is_err());
        assert_eq!(read(b"  "), Ok(None));
        assert!(read(b"[1,]").is_err());
        assert!(read(b"[1,2").is_err());
    }

    #[test]
    fn depth_and_length_have_a_bound() {
        let deep = "[".repeat(DEPTH_MAX) + &"]".repeat(DEPTH_MAX);
        assert!(read(deep.as_bytes()).is_ok());
        assert!(read(format!("[{deep}]").as_bytes()).is_err());
        assert!(read("[".repeat(1 << 20).as_bytes()).is_err());
        assert!(read("9".repeat(NUMBER_MAX + 1).as_bytes()).is_err());
    }
}
