//! From a line to a record: key, headers and value, as Kafka's `LineMessageReader` takes them apart.

use client::Properties;

use crate::tool::Exception;

/// A header's key and its value.
pub type Header<'l> = (&'l str, Option<&'l str>);

/// How a line is taken apart.
#[derive(Debug)]
pub struct LineReader {
    parse_key: bool,
    key_separator: String,
    parse_headers: bool,
    headers_delimiter: String,
    headers_separator: String,
    headers_key_separator: String,
    ignore_error: bool,
    null_marker: Option<String>,
    line_number: u64,
}

/// A line taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Parts<'l> {
    pub key: Option<&'l str>,
    pub value: Option<&'l str>,
    pub headers: Vec<Header<'l>>,
}

fn failed(message: String) -> Exception {
    Exception::new("org.apache.kafka.common.KafkaException", message)
}

impl LineReader {
    /// Reads `parse.key` and its like; separators must differ from each other.
    pub fn new(properties: &Properties) -> Result<LineReader, Exception> {
        let text = |name: &str, default: &str| properties.get(name).map_or(default, String::as_str).to_owned();
        let flag = |name: &str| properties.get(name).is_some_and(|v| v.trim().eq_ignore_ascii_case("true"));
        let reader = LineReader {
            parse_key: flag("parse.key"),
            key_separator: text("key.separator", "\t"),
            parse_headers: flag("parse.headers"),
            headers_delimiter: text("headers.delimiter", "\t"),
            headers_separator: text("headers.separator", ","),
            headers_key_separator: text("headers.key.separator", ":"),
            ignore_error: flag("ignore.error"),
            null_marker: properties.get("null.marker").cloned(),
            line_number: 0,
        };
        let headers = [
            ("headers.delimiter", &reader.headers_delimiter),
            ("headers.separator", &reader.headers_separator),
            ("headers.key.separator", &reader.headers_key_separator),
        ];
        let mut pairs = vec![(headers[0], headers[1]), (headers[0], headers[2]), (headers[1], headers[2])];
        if let Some(marker) = &reader.null_marker {
            let marker = ("null.marker", marker);
            pairs.push((marker, ("key.separator", &reader.key_separator)));
            pairs.extend(headers.map(|h| (marker, h)));
        }
        match pairs.into_iter().find(|(a, b)| a.1 == b.1) {
            Some(((a, _), (b, _))) => Err(failed(format!("{a} and {b} may not be equal"))),
            None => Ok(reader),
        }
    }

    /// Takes the next line apart.
    pub fn read<'l>(&mut self, line: &'l str) -> Result<Parts<'l>, Exception> {
        self.line_number += 1;
        let (headers, rest) = self.cut(self.parse_headers, line, line, &self.headers_delimiter, "headers delimiter")?;
        let (key, value) = self.cut(self.parse_key, line, rest, &self.key_separator, "key separator")?;
        let headers = match headers.filter(|h| !self.is_null(h)) {
            Some(headers) => self.headers(headers)?,
            None => Vec::new(),
        };
        Ok(Parts { key: key.filter(|k| !self.is_null(k)), value: Some(value).filter(|v| !self.is_null(v)), headers })
    }

    fn is_null(&self, text: &str) -> bool {
        self.null_marker.as_deref() == Some(text)
    }

    /// What stands before the separator, and the rest.
    fn cut<'l>(
        &self,
        wanted: bool,
        line: &str,
        rest: &'l str,
        separator: &str,
        called: &str,
    ) -> Result<(Option<&'l str>, &'l str), Exception> {
        if !wanted {
            return Ok((None, rest));
        }
        match rest.split_once(separator) {
            Some((before, after)) => Ok((Some(before), after)),
            None if self.ignore_error => Ok((None, rest)),
            None => Err(failed(format!("No {called} found on line number {}: '{line}'", self.line_number))),
        }
    }

    fn headers<'l>(&self, text: &'l str) -> Result<Vec<Header<'l>>, Exception> {
        let pairs: Vec<&str> = match self.headers_separator.is_empty() {
            true => vec![text],
            false => text.split(self.headers_separator.as_str()).collect(),
        };
        // Empty pairs at the end are none.
        let count = pairs.iter().rposition(|p| !p.is_empty()).map_or(0, |last| last + 1).max(1);
        let mut headers = Vec::with_capacity(count);
        for pair in &pairs[..count] {
            let Some((key, value)) = pair.split_once(self.headers_key_separator.as_str()) else {
                if self.ignore_error {
                    headers.push((*pair, None));
                    continue;
                }
                return Err(failed(format!(
                    "No header key separator found in pair '{pair}' on line number {}",
                    self.line_number
                )));
            };
            if self.is_null(key) {
                return Err(failed(format!(
                    "Header keys should not be equal to the null marker '{key}' as they can't be null"
                )));
            }
            headers.push((key, Some(value).filter(|v| !self.is_null(v))));
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(pairs: &[(&str, &str)]) -> Result<LineReader, Exception> {
        LineReader::new(&pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect())
    }

    #[test]
    fn a_line_is_a_value_unless_asked_otherwise() {
        let mut plain = reader(&[]).unwrap();
        assert_eq!(plain.read("a\tb").unwrap(), Parts { key: None, value: Some("a\tb"), headers: vec![] });
        let mut keyed = reader(&[("parse.key", "true"), ("key.separator", ":")]).unwrap();
        assert_eq!(keyed.read("k:v:w").unwrap(), Parts { key: Some("k"), value: Some("v:w"), headers: vec![] });
        assert_eq!(keyed.read(":v").unwrap().key, Some(""));
        assert_eq!(keyed.read("bad").unwrap_err().message, "No key separator found on line number 3: 'bad'");
    }

    #[test]
    fn headers_come_first() {
        let mut r = reader(&[("parse.headers", "true"), ("parse.key", "true"), ("null.marker", "NULL")]).unwrap();
        let parts = r.read("h1:v1,h2:NULL\tkey\tNULL").unwrap();
        assert_eq!(parts, Parts { key: Some("key"), value: None, headers: vec![("h1", Some("v1")), ("h2", None)] });
        assert_eq!(r.read("NULL\tk\tv").unwrap().headers, vec![]);
        assert_eq!(
            r.read("h1\tk\tv").unwrap_err().message,
            "No header key separator found in pair 'h1' on line number 3"
        );
        assert_eq!(r.read("x").unwrap_err().message, "No headers delimiter found on line number 4: 'x'");
    }

    #[test]
    fn errors_can_be_ignored_and_separators_must_differ() {
        let mut r = reader(&[("parse.key", "true"), ("ignore.error", "true")]).unwrap();
        assert_eq!(r.read("nokey").unwrap(), Parts { key: None, value: Some("nokey"), headers: vec![] });
        let error = reader(&[("headers.separator", ":")]).unwrap_err();
        assert_eq!(error.message, "headers.separator and headers.key.separator may not be equal");
        assert!(reader(&[("null.marker", "\t")]).is_err());
    }
}
