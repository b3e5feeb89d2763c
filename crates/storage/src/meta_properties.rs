//! `meta.properties`: whose log directory this is. Java properties; version 0 was ZooKeeper's, version 1 is KRaft's.

use crate::disk::Disk;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::str::FromStr;
use wire::Uuid;

pub const FILE_NAME: &str = "meta.properties";
const BYTES_MAX: u64 = 64 << 10;

/// The contents of `meta.properties`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetaProperties {
    /// 0 or 1. Version 1 is written.
    pub version: i32,
    pub cluster_id: Option<String>,
    /// `node.id`, in version 0 `broker.id`.
    pub node_id: Option<i32>,
    /// Identifies the directory (KIP-858); directories of before 3.7 have none.
    pub directory_id: Option<Uuid>,
}

impl MetaProperties {
    /// Reads the file of a log directory; `None` when the directory was not formatted.
    ///
    /// # Errors
    /// `InvalidData` with the key and the value that cannot be.
    pub fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Option<MetaProperties>> {
        let path = dir.join(FILE_NAME);
        let bytes = match disk.read(&path, BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let parsed = MetaProperties::parse(&bytes);
        parsed.map(Some).map_err(|reason| {
            let text = format!("{}: {reason}", path.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    }

    fn parse(bytes: &[u8]) -> Result<MetaProperties, String> {
        let mut meta = MetaProperties::default();
        let mut broker_id = None;
        for (key, value) in properties(bytes) {
            let bad = || format!("{key}={value} is not a value of {key}");
            match key.as_str() {
                "version" => meta.version = value.parse().ok().filter(|v| matches!(v, 0 | 1)).ok_or_else(bad)?,
                "cluster.id" => meta.cluster_id = Some(value),
                "node.id" => meta.node_id = Some(value.parse().map_err(|_| bad())?),
                "broker.id" => broker_id = Some(value.parse().map_err(|_| bad())?),
                "directory.id" => meta.directory_id = Some(Uuid::from_str(&value).map_err(|_| bad())?),
                _ => {}
            }
        }
        if meta.version == 0 {
            meta.node_id = meta.node_id.or(broker_id);
        }
        Ok(meta)
    }

    /// Writes the file, as version 1, in one durable step.
    pub fn write(&self, disk: &dyn Disk, dir: &Path, now_ms: i64) -> io::Result<()> {
        let mut text = format!("#\n#{}\n", java_date(now_ms));
        let node_id = self.node_id.map(|id| id.to_string());
        let directory_id = self.directory_id.map(|id| id.to_string());
        let entries = [
            ("node.id", node_id),
            ("directory.id", directory_id),
            ("version", Some("1".to_owned())),
            ("cluster.id", self.cluster_id.clone()),
        ];
        for (key, value) in entries {
            if let Some(value) = value {
                let _ = writeln!(text, "{key}={}", escape(&value));
            }
        }
        disk.write_atomically(&dir.join(FILE_NAME), text.as_bytes(), true)
    }
}

/// Keys and values of a Java properties file. Encoded as ISO-8859-1, with `\uXXXX` for the rest.
fn properties(bytes: &[u8]) -> Vec<(String, String)> {
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let mut logical: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.split(['\n', '\r']) {
        let line = line.trim_start_matches([' ', '\t', '\x0c']);
        if !goes_on && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        let continues = backslashes % 2 == 1;
        let line = if continues { &line[..line.len() - 1] } else { line };
        match logical.last_mut().filter(|_| goes_on) {
            Some(before) => before.push_str(line),
            None => logical.push(line.to_owned()),
        }
        goes_on = continues;
    }
    logical.iter().map(|line| split(line)).collect()
}

fn split(line: &str) -> (String, String) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let separates = !escaped && matches!(c, '=' | ':' | ' ' | '\t' | '\x0c');
        escaped = !escaped && c == '\\';
        separates
    });
    let end = end.unwrap_or(line.len());
    let blank = |c: char| matches!(c, ' ' | '\t' | '\x0c');
    let rest = line[end..].trim_start_matches(blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(blank);
    (unescape(&line[..end]), unescape(value))
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\x0c'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let decoded = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                out.push(decoded.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.chars().enumerate() {
        match c {
            '\\' | '#' | '!' | '=' | ':' => out.extend(['\\', c]),
            ' ' if at == 0 => out.push_str("\\ "),
            ' '..='~' => out.push(c),
            _ => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04X}");
                }
            }
        }
    }
    out
}

/// A time as `java.util.Date` prints it, in UTC.
fn java_date(ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to a date of the civil calendar, in eras of 400 years that begin on 1 March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12;
    let year = era * 400 + year_of_era + i64::from(month < 2);
    let weekday = DAYS[days.rem_euclid(7) as usize];
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday} {} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}", MONTHS[month as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kafka_wrote_is_read() {
        let text = b"#\n#Sun Nov 22 16:42:16 UTC 2026\nnode.id=1\ndirectory.id=EAz0NNUOlpeRN2j26Pw3iQ\nversion=1\ncluster.id=4L6g3nShT-eMCtK--X86sw\n";
        let meta = MetaProperties::parse(text).unwrap();
        assert_eq!(meta.version, 1);
        assert_eq!(meta.node_id, Some(1));
        assert_eq!(meta.cluster_id.as_deref(), Some("4L6g3nShT-eMCtK--X86sw"));
        assert_eq!(meta.directory_id.unwrap().to_string(), "EAz0NNUOlpeRN2j26Pw3iQ");
    }

    #[test]
    fn the_zookeeper_form_names_the_broker() {
        let meta = MetaProperties::parse(b"version=0\nbroker.id=3\ncluster.id=abc\\=\\=\n").unwrap();
        assert_eq!((meta.version, meta.node_id), (0, Some(3)));
        assert_eq!(meta.cluster_id.as_deref(), Some("abc=="));
    }

    #[test]
    fn impossible_values_are_named() {
        for (text, named) in
            [("version=2", "version=2"), ("node.id=x", "node.id=x"), ("directory.id=?", "directory.id=?")]
        {
            let error = MetaProperties::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn escapes_and_continued_lines_are_java_s() {
        let parsed = properties(b"! note\n a\\ b : c\\\n   d\nk\\u0041=\\tx\n\nlone\n");
        let expected = [("a b", "cd"), ("kA", "\tx"), ("lone", "")];
        let expected: Vec<_> = expected.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        assert_eq!(parsed, expected);
        for value in ["a=b:c", " lead", "Gr\u{fc}n \u{1f600}", "back\\slash"] {
            let line = format!("k={}", escape(value));
            let bytes: Vec<u8> = line.bytes().collect();
            let back = properties(&bytes).remove(0).1;
            // Characters outside the first plane come back as two halves, which no id has.
            if value.is_ascii() {
                assert_eq!(back, value);
            }
        }
    }

    #[test]
    fn dates_are_java_s() {
        assert_eq!(java_date(1_795_365_736_035), "Sun Nov 22 16:42:16 UTC 2026");
        assert_eq!(java_date(0), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(java_date(951_782_400_000), "Tue Feb 29 00:00:00 UTC 2000");
    }
}
