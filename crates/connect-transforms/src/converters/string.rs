//! `StringConverter`: texts in a character set; other values as they print.

use std::borrow::Cow;

use connect_api::{
    ConfigDef, ConfigKey, Converter, Error, ErrorKind, HeaderConverter, Importance, Kind, Properties, Result, Schema,
    SchemaAndValue, SchemaRef, Type, Value, Width,
};

const ENCODING: &str = "converter.encoding";

/// The character sets that every Java has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Charset {
    #[default]
    Utf8,
    Ascii,
    Latin1,
    Utf16 {
        /// Of what is written, and of what is read without a byte order mark.
        big_endian: bool,
        /// Whether there is a byte order mark.
        mark: bool,
    },
}

impl Charset {
    /// By its name or one of its usual other names; case does not matter.
    fn named(name: &str) -> Option<Charset> {
        Some(match name.to_ascii_uppercase().as_str() {
            "UTF-8" | "UTF8" => Charset::Utf8,
            "US-ASCII" | "ASCII" => Charset::Ascii,
            "ISO-8859-1" | "ISO8859_1" | "LATIN1" => Charset::Latin1,
            "UTF-16" | "UTF16" => Charset::Utf16 { big_endian: true, mark: true },
            "UTF-16BE" => Charset::Utf16 { big_endian: true, mark: false },
            "UTF-16LE" => Charset::Utf16 { big_endian: false, mark: false },
            _ => return None,
        })
    }

    /// What has no place in the set becomes a question mark.
    fn encode(self, text: Cow<'_, str>) -> Cow<'_, [u8]> {
        match self {
            Charset::Utf8 => match text {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            },
            Charset::Ascii => text.chars().map(|c| if c.is_ascii() { c as u8 } else { b'?' }).collect(),
            Charset::Latin1 => text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect(),
            Charset::Utf16 { big_endian, mark } => {
                // Nothing is written for nothing, not even the mark.
                let mark = (mark && !text.is_empty()).then_some(0xfeff);
                let units = mark.into_iter().chain(text.encode_utf16());
                units.flat_map(|unit| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
            }
        }
    }

    /// What is not of the set becomes U+FFFD.
    fn decode(self, bytes: &[u8]) -> String {
        match self {
            Charset::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
            Charset::Ascii => bytes.iter().map(|b| if b.is_ascii() { char::from(*b) } else { '\u{fffd}' }).collect(),
            Charset::Latin1 => bytes.iter().map(|b| char::from(*b)).collect(),
            Charset::Utf16 { big_endian, mark } => {
                let (bytes, big_endian) = match bytes {
                    [0xfe, 0xff, rest @ ..] if mark => (rest, true),
                    [0xff, 0xfe, rest @ ..] if mark => (rest, false),
                    bytes => (bytes, big_endian),
                };
                let units = bytes.chunks_exact(2).map(|unit| match big_endian {
                    true => u16::from_be_bytes([unit[0], unit[1]]),
                    false => u16::from_le_bytes([unit[0], unit[1]]),
                });
                let mut text: String =
                    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
                if bytes.len() % 2 == 1 {
                    text.push(char::REPLACEMENT_CHARACTER);
                }
                text
            }
        }
    }
}

/// Texts; what else there is, is written as it prints, and everything is read as text.
#[derive(Debug, Default)]
pub struct StringConverter {
    charset: Charset,
}

fn declarations() -> ConfigDef {
    let doc = "The character set of the bytes: UTF-8, US-ASCII, ISO-8859-1, UTF-16, UTF-16BE or UTF-16LE.";
    ConfigDef::new().define(super::converter_type()).define(ConfigKey {
        display_name: "Encoding".into(),
        width: Width::Medium,
        ..ConfigKey::with_default(ENCODING, Kind::String, "UTF-8", Importance::High, doc)
    })
}

impl StringConverter {
    fn set_up(&mut self, properties: &Properties) -> Result<()> {
        let config = declarations().parse(properties)?;
        let name = config.string(ENCODING).unwrap_or_default();
        self.charset = Charset::named(name)
            .ok_or_else(|| Error::new(ErrorKind::Serialization, format!("Unsupported encoding {name}")))?;
        Ok(())
    }

    fn write<'v>(&self, value: &'v Value) -> Option<Cow<'v, [u8]>> {
        match value {
            Value::Null => None,
            Value::String(text) => Some(self.charset.encode(Cow::Borrowed(text))),
            value => Some(self.charset.encode(Cow::Owned(value.to_string()))),
        }
    }

    fn read(&self, bytes: Option<&[u8]>) -> SchemaAndValue {
        let value = bytes.map_or(Value::Null, |bytes| self.charset.decode(bytes).into());
        SchemaAndValue::new(Some(Schema::optional_of(Type::String)), value)
    }
}

impl Converter for StringConverter {
    fn config(&self) -> ConfigDef {
        declarations()
    }

    fn configure(&mut self, properties: &Properties, is_key: bool) -> Result<()> {
        self.set_up(&super::typed(properties, if is_key { "key" } else { "value" }))
    }

    fn encode<'v>(&self, _topic: &str, _schema: Option<&SchemaRef>, value: &'v Value) -> Result<Option<Cow<'v, [u8]>>> {
        Ok(self.write(value))
    }

    fn decode(&self, _topic: &str, bytes: Option<&[u8]>) -> Result<SchemaAndValue> {
        Ok(self.read(bytes))
    }
}

impl HeaderConverter for StringConverter {
    fn config(&self) -> ConfigDef {
        declarations()
    }

    fn configure(&mut self, properties: &Properties) -> Result<()> {
        self.set_up(&super::typed(properties, "header"))
    }

    fn encode(&self, _topic: &str, _key: &str, _schema: Option<&SchemaRef>, value: &Value) -> Result<Option<Vec<u8>>> {
        Ok(self.write(value).map(Cow::into_owned))
    }

    fn decode(&self, _topic: &str, _key: &str, bytes: Option<&[u8]>) -> Result<SchemaAndValue> {
        Ok(self.read(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_encoding(name: &str) -> Result<StringConverter> {
        let mut converter = StringConverter::default();
        let properties = Properties::from([(ENCODING.to_owned(), name.to_owned())]);
        Converter::configure(&mut converter, &properties, false).map(|()| converter)
    }

    #[test]
    fn texts_go_through_character_sets() {
        for (encoding, bytes, back) in [
            ("UTF-8", "aé€".as_bytes(), "aé€"),
            ("iso-8859-1", b"a\xe9?", "aé?"),
            ("US-ASCII", b"a??", "a??"),
            ("UTF-16", b"\xfe\xff\0a\0\xe9\x20\xac", "aé€"),
            ("UTF-16LE", b"a\0\xe9\0\xac\x20", "aé€"),
        ] {
            let converter = with_encoding(encoding).expect(encoding);
            assert_eq!(converter.write(&"aé€".into()).as_deref(), Some(bytes), "{encoding}");
            assert_eq!(converter.read(Some(bytes)).value, back.into(), "{encoding}");
        }
        assert_eq!(
            with_encoding("nope").map(|_| ()).map_err(|e| e.message),
            Err("Unsupported encoding nope".to_owned())
        );
    }

    #[test]
    fn other_values_are_written_as_they_print_and_nothing_as_nothing() {
        let converter = StringConverter::default();
        assert_eq!(converter.write(&Value::Float64(1.0)).as_deref(), Some(&b"1.0"[..]));
        assert_eq!(converter.write(&Value::Map(vec![("a".into(), 1.into())])).as_deref(), Some(&b"{a=1}"[..]));
        assert_eq!(converter.write(&Value::Null), None);
        assert_eq!(converter.read(None).value, Value::Null);
    }
}
