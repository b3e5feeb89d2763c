//! As much JSON as schemas and plans need: reading them, and quoting text.

/// A JSON value. Numbers keep their text.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a text; comments (`//` to the end of a line) are passed over. None when it is not JSON.
    pub fn parse(text: &str) -> Option<Json> {
        let mut reader = Reader { rest: text, depth: 0 };
        let value = reader.value()?;
        reader.blanks();
        reader.rest.is_empty().then_some(value)
    }

    /// A member of an object.
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(n, _)| n == name).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Text, or the text of a number, a truth value or null.
    pub fn text(&self) -> Option<&str> {
        Some(match self {
            Json::Text(text) | Json::Number(text) => text,
            Json::Bool(true) => "true",
            Json::Bool(false) => "false",
            Json::Null => "null",
            _ => return None,
        })
    }

    pub fn list(&self) -> &[Json] {
        match self {
            Json::List(items) => items,
            _ => &[],
        }
    }
}

struct Reader<'t> {
    rest: &'t str,
    depth: usize,
}

impl Reader<'_> {
    fn blanks(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.strip_prefix("//") {
                Some(comment) => self.rest = comment.split_once('\n').map_or("", |(_, after)| after),
                None => return,
            }
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        self.blanks();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self) -> Option<Json> {
        const DEPTH_MAX: usize = 64;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        self.blanks();
        let value = match self.rest.chars().next()? {
            '{' => self.object()?,
            '[' => self.list()?,
            '"' => Json::Text(self.text()?),
            _ => {
                let end = self.rest.find(|c: char| ",]}".contains(c) || c.is_whitespace()).unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                match word {
                    "null" => Json::Null,
                    "true" => Json::Bool(true),
                    "false" => Json::Bool(false),
                    number if number.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
                        Json::Number(number.to_owned())
                    }
                    _ => return None,
                }
            }
        };
        self.depth -= 1;
        Some(value)
    }

    fn object(&mut self) -> Option<Json> {
        let mut members = Vec::new();
        self.eat("{");
        while !self.eat("}") {
            if !members.is_empty() && !self.eat(",") {
                return None;
            }
            self.blanks();
            let name = self.text()?;
            if !self.eat(":") {
                return None;
            }
            members.push((name, self.value()?));
        }
        Some(Json::Object(members))
    }

    fn list(&mut self) -> Option<Json> {
        let mut items = Vec::new();
        self.eat("[");
        while !self.eat("]") {
            if !items.is_empty() && !self.eat(",") {
                return None;
            }
            items.push(self.value()?);
        }
        Some(Json::List(items))
    }

    fn text(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.rest.strip_prefix('"')?.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => text.push(match chars.next()? {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'u' => {
                        let rest = chars.as_str();
                        let unit = u32::from_str_radix(rest.get(..4)?, 16).ok()?;
                        chars = rest[4..].chars();
                        char::from_u32(unit)?
                    }
                    c => c,
                }),
                c => text.push(c),
            }
        }
        self.rest = chars.as_str();
        Some(text)
    }
}

/// Appends a text in quotes, as Java's JSON library writes it.
pub fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends bytes in base64, in quotes.
pub fn quote_bytes(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.push('"');
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            match i <= chunk.len() {
                true => out.push(DIGITS[(word >> (18 - 6 * i)) as usize & 63] as char),
                false => out.push('='),
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_anything_else_is_not() {
        let value = Json::parse("// a comment\n{\"a\": [1, -2.5, null], \"b\": \"x\\n\\u0041\", \"c\": {}}").unwrap();
        assert_eq!(value.get("a").unwrap().list().len(), 3);
        assert_eq!(value.get("b").unwrap().text(), Some("x\nA"));
        for wrong in ["", "{", "[1", "{\"a\" 1}", "nope", "1 2", &"[".repeat(1000)] {
            assert_eq!(Json::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn text_and_bytes_are_quoted() {
        let mut out = String::new();
        quote("a\"\\\n\u{1}한", &mut out);
        assert_eq!(out, "\"a\\\"\\\\\\n\\u0001한\"");
        let mut out = String::new();
        for bytes in [&b""[..], b"f", b"fo", b"foo"] {
            quote_bytes(bytes, &mut out);
        }
        assert_eq!(out, "\"\"\"Zg==\"\"Zm8=\"\"Zm9v\"");
    }
}
