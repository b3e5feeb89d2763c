//! Writing JSON, compact, with Jackson's escapes and Java's number formats.

use std::fmt::Write as _;

use connect_api::Value;

use crate::java::base64;

/// Writes JSON into a text: the caller says which value comes next, the writer knows where commas belong.
#[derive(Debug, Default)]
pub struct Writer {
    text: String,
    /// Whether a comma has to come before the next item.
    comma: bool,
}

impl Writer {
    /// What was written.
    pub fn finish(self) -> String {
        self.text
    }

    fn item(&mut self) {
        if self.comma {
            self.text.push(',');
        }
        self.comma = true;
    }

    fn open(&mut self, bracket: char) {
        self.item();
        self.text.push(bracket);
        self.comma = false;
    }

    fn close(&mut self, bracket: char) {
        self.text.push(bracket);
        self.comma = true;
    }

    /// Starts an object: names and values follow, then `object_end`.
    pub fn object(&mut self) {
        self.open('{');
    }

    pub fn object_end(&mut self) {
        self.close('}');
    }

    /// Starts a list: values follow, then `list_end`.
    pub fn list(&mut self) {
        self.open('[');
    }

    pub fn list_end(&mut self) {
        self.close(']');
    }

    /// The name of a member; its value comes next.
    pub fn name(&mut self, name: &str) {
        self.text(name);
        self.text.push(':');
        self.comma = false;
    }

    /// JSON that is written already.
    pub fn raw(&mut self, json: &str) {
        self.item();
        self.text.push_str(json);
    }

    pub fn null(&mut self) {
        self.raw("null");
    }

    pub fn bool(&mut self, value: bool) {
        self.raw(if value { "true" } else { "false" });
    }

    pub fn integer(&mut self, value: i64) {
        self.item();
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{value}");
    }

    pub fn float64(&mut self, value: f64) {
        self.fraction(value.is_finite(), Value::Float64(value));
    }

    pub fn float32(&mut self, value: f32) {
        self.fraction(value.is_finite(), Value::Float32(value));
    }

    /// JSON has no word for infinities and for what is not a number: they are texts.
    fn fraction(&mut self, finite: bool, value: Value) {
        let text = value.to_string();
        if finite { self.raw(&text) } else { self.text(&text) }
    }

    /// Bytes, as base64.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.text(&base64::encode(bytes));
    }

    pub fn text(&mut self, text: &str) {
        self.item();
        self.text.push('"');
        for character in text.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                // What takes two units in UTF-16 is escaped too, unit by unit.
                '\0'..' ' | '\u{10000}'.. => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        let _ = write!(self.text, "\\u{unit:04X}");
                    }
                }
                _ => self.text.push(character),
            }
        }
        self.text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_stand_between_items_only() {
        let mut w = Writer::default();
        w.object();
        w.name("a");
        w.list();
        w.integer(1);
        w.null();
        w.list();
        w.list_end();
        w.list_end();
        w.name("b");
        w.object();
        w.object_end();
        w.name("c");
        w.raw("true");
        w.object_end();
        assert_eq!(w.finish(), r#"{"a":[1,null,[]],"b":{},"c":true}"#);
    }

    #[test]
    fn texts_are_escaped_as_jackson_does() {
        let mut w = Writer::default();
        w.text("\"\\/\n\u{1f}\u{7f}é€😀\u{8}\u{c}");
        assert_eq!(w.finish(), "\"\\\"\\\\/\\n\\u001F\u{7f}é€\\uD83D\\uDE00\\b\\f\"");
    }

    #[test]
    fn numbers_have_javas_format() {
        let mut w = Writer::default();
        w.list();
        w.float64(1.0);
        w.float64(1e7);
        w.float32(0.1);
        w.float64(f64::NAN);
        w.float32(f32::NEG_INFINITY);
        w.bytes(b"ab");
        w.list_end();
        assert_eq!(w.finish(), r#"[1.0,1.0E7,0.1,"NaN","-Infinity","YWI="]"#);
    }
}
