//! Java's `.properties` files: comments, separators, continued lines and escapes as `java.util.Properties` reads them, in
//! UTF-8 (which Java's own reader takes for Latin-1: names and ASCII values mean the same in both).

use std::collections::BTreeMap;
use std::path::Path;

/// The pairs of a file in their order; a key given twice appears twice, the last one counts.
pub fn parse(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut lines = natural_lines(text);
    while let Some(line) = lines.next() {
        let line = line.trim_start_matches(BLANK);
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = line.to_owned();
        while ends_in_odd_backslashes(&logical) {
            logical.pop();
            // A comment sign means nothing in a continued line.
            match lines.next() {
                Some(next) => logical.push_str(next.trim_start_matches(BLANK)),
                None => break,
            }
        }
        let (key, value) = split(&logical);
        pairs.push((unescape(key), unescape(value)));
    }
    pairs
}

/// Reads a file into a map.
pub fn load(path: &Path) -> std::io::Result<BTreeMap<String, String>> {
    let bytes = std::fs::read(path)?;
    Ok(parse(&String::from_utf8_lossy(&bytes)).into_iter().collect())
}

const BLANK: [char; 3] = [' ', '\t', '\x0c'];

/// Lines that end in LF, CR or CRLF.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let Some(end) = text.find(['\n', '\r']) else { return (!text.is_empty()).then_some(text) };
        let after = &text[end..];
        rest = Some(after.strip_prefix("\r\n").unwrap_or(&after[1..]));
        Some(&text[..end])
    })
}

fn ends_in_odd_backslashes(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

/// A key ends at the first `=`, `:` or blank that no backslash precedes; one separator and the blanks around it go.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let mut end = line.len();
    for (i, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '=' | ':' | ' ' | '\t' | '\x0c' => {
                end = i;
                break;
            }
            _ => {}
        }
    }
    let value = line[end..].trim_start_matches(BLANK);
    let value = value.strip_prefix(['=', ':']).unwrap_or(value);
    (&line[..end], value.trim_start_matches(BLANK))
}

fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    // Surrogate pairs are written as two \u escapes, so characters are gathered as UTF-16.
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut buffer = [0; 2];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some('u') => {
                    let rest = chars.as_str();
                    match rest.get(..4).and_then(|hex| u16::from_str_radix(hex, 16).ok()) {
                        Some(unit) => {
                            units.push(unit);
                            chars = rest[4..].chars();
                            continue;
                        }
                        None => 'u',
                    }
                }
                Some(c) => c,
                None => break,
            },
            c => c,
        };
        units.extend_from_slice(c.encode_utf16(&mut buffer));
    }
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(line: &str) -> (String, String) {
        let pairs = parse(line);
        assert_eq!(pairs.len(), 1, "{line:?}: {pairs:?}");
        pairs.into_iter().next().unwrap()
    }

    #[test]
    fn separators_and_blanks_as_in_java() {
        for line in ["a=b", "a:b", "a b", "  a = b", "a\t:\tb", "a   b", "a\\\n  =b", "a=\\\n   b"] {
            assert_eq!(pair(line), ("a".into(), "b".into()), "{line:?}");
        }
        assert_eq!(pair("a"), ("a".into(), String::new()));
        assert_eq!(pair("a=b  "), ("a".into(), "b  ".into()));
        assert_eq!(pair("a==b"), ("a".into(), "=b".into()));
        assert_eq!(pair("a\\=b=c"), ("a=b".into(), "c".into()));
        assert_eq!(pair("path=C:\\\\x"), ("path".into(), "C:\\x".into()));
        assert_eq!(pair("listeners=PLAINTEXT://:9092"), ("listeners".into(), "PLAINTEXT://:9092".into()));
    }

    #[test]
    fn comments_stand_at_the_start_of_a_line_only() {
        assert_eq!(parse("# a=b\n\t! c=d\n\n"), vec![]);
        assert_eq!(pair("a=b # c"), ("a".into(), "b # c".into()));
    }

    #[test]
    fn lines_end_in_every_way_and_go_on_after_an_odd_backslash() {
        assert_eq!(parse("a=1\rb=2\r\nc=3\n").len(), 3);
        assert_eq!(pair("a=1,\\\r\n  2"), ("a".into(), "1,2".into()));
        assert_eq!(parse("a=1\\\\\nb=2").len(), 2);
        assert_eq!(pair("a=1\\"), ("a".into(), "1".into()));
    }

    #[test]
    fn escapes_give_characters() {
        assert_eq!(pair("a=\\t\\n\\u0041\\ud83d\\ude00\\q\\uzz"), ("a".into(), "\t\nA😀quzz".into()));
        assert_eq!(pair("이름=값"), ("이름".into(), "값".into()));
    }
}
