//! `.properties` files, by the rules of `java.util.Properties`. They are read as UTF-8, and as ISO-8859-1 (Java's own
//! choice) where they are not UTF-8.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use crate::Properties;

/// Reads a file; one that is malformed is `InvalidData`.
pub fn load(path: &Path) -> io::Result<Properties> {
    parse(&std::fs::read(path)?).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
}

/// Parses a file. Of a name that is there twice the last one wins. The error says which line is wrong.
///
/// `#` and `!` begin a comment at the start of a line only; a name ends at the first `=`, `:` or blank; a backslash at
/// the end of a line continues it; `\uXXXX` and the usual escapes are resolved; blanks at the end of a value stay.
pub fn parse(bytes: &[u8]) -> Result<Properties, String> {
    let text: Cow<'_, str> = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text).into(),
        Err(_) => bytes.iter().map(|b| char::from(*b)).collect(),
    };
    let mut properties = Properties::new();
    for (number, line) in logical_lines(&text) {
        let (name, value) = split(&line);
        let resolve = |part| unescape(part).map_err(|e| format!("line {number}: {e}"));
        properties.insert(resolve(name)?, resolve(value)?);
    }
    Ok(properties)
}

const BLANKS: [char; 3] = [' ', '\t', '\x0c'];

/// Lines with their continuations joined, without comments and empty ones; each with the number of its first line.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let natural = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (at, line) in natural.split('\n').enumerate() {
        let line = line.trim_start_matches(BLANKS);
        let (number, mut whole) = match open.take() {
            Some(begun) => begun,
            None if line.is_empty() || line.starts_with(['#', '!']) => continue,
            None => (at + 1, String::new()),
        };
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            whole.push_str(&line[..line.len() - 1]);
            open = Some((number, whole));
        } else {
            whole.push_str(line);
            lines.push((number, whole));
        }
    }
    lines.extend(open);
    lines
}

fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c| {
        let ends = !escaped && (c == '=' || c == ':' || BLANKS.contains(&c));
        escaped = c == '\\' && !escaped;
        ends
    });
    let Some(end) = end else { return (line, "") };
    let rest = line[end..].trim_start_matches(BLANKS);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&line[..end], rest.trim_start_matches(BLANKS))
}

fn unescape(text: &str) -> Result<String, String> {
    if !text.contains('\\') {
        return Ok(text.to_owned());
    }
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    let mut buffer = [0; 2];
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let hexadecimal = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
                    let unit = u16::from_str_radix(&digits, 16).ok().filter(|_| hexadecimal);
                    units.push(unit.ok_or("Malformed \\uxxxx encoding.")?);
                    continue;
                }
                Some(other) => other,
                None => break,
            },
            other => other,
        };
        units.extend_from_slice(c.encode_utf16(&mut buffer));
    }
    String::from_utf16(&units).map_err(|_| "half of a \\uxxxx surrogate pair is missing".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> (String, String) {
        parse(text.as_bytes()).unwrap().into_iter().next().unwrap()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn separators_and_blanks_are_those_of_java() {
        for line in ["a=1", "a:1", "a 1", "  a = 1", "a\t:\t1", "a\\\n  =1", "a=\\\n   1"] {
            assert_eq!(one(line), pair("a", "1"), "{line:?}");
        }
        assert_eq!(one("a==1"), pair("a", "=1"));
        assert_eq!(one("a"), pair("a", ""));
        assert_eq!(one("a=1  "), pair("a", "1  "));
        assert_eq!(one("a\\ b\\=c=1#not a comment"), pair("a b=c", "1#not a comment"));
    }

    #[test]
    fn comments_begin_lines_and_do_not_continue() {
        assert_eq!(parse(b"# a=1 \\\n! b=2\n\n  # c\r\nd=4").unwrap().len(), 1);
    }

    #[test]
    fn escapes_are_resolved() {
        assert_eq!(one("dir=C\\:\\\\x\\ty\\u00e4\\ud83d\\ude00ö"), pair("dir", "C:\\x\tyä😀ö"));
        assert_eq!(one("a=1\\\\"), pair("a", "1\\"));
        assert_eq!(one("a=1\\"), pair("a", "1"));
    }

    #[test]
    fn the_last_of_a_name_wins() {
        assert_eq!(parse(b"a=1\na=2").unwrap()["a"], "2");
    }

    #[test]
    fn what_is_malformed_is_told_with_its_line() {
        assert_eq!(parse(b"a=1\nb=\\u12").unwrap_err(), "line 2: Malformed \\uxxxx encoding.");
        assert_eq!(parse(b"a=1\nb=\\u+123").unwrap_err(), "line 2: Malformed \\uxxxx encoding.");
    }

    #[test]
    fn what_is_not_utf_8_is_read_as_java_reads_it() {
        assert_eq!(parse(b"a=\xfc").unwrap()["a"], "ü");
        assert_eq!(parse("a=ü".as_bytes()).unwrap()["a"], "ü");
    }
}
