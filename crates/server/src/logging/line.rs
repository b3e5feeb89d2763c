//! An event as a line of text. Whatever a client or a file put into it, it stays one line.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::Format;
use crate::local_time;

/// The line with its end.
pub fn of(event: &Event<'_>, format: Format, colours: bool, now_ms: i64) -> String {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let metadata = event.metadata();
    let logger = metadata.target().replace("::", ".");
    match format {
        Format::Human => human(&fields, *metadata.level(), &logger, colours, now_ms),
        Format::Json => json(&fields, *metadata.level(), &logger, now_ms),
    }
}

/// What an event says: its message, and what it names.
#[derive(Default)]
struct Fields {
    message: String,
    named: Vec<(&'static str, Value)>,
}

enum Value {
    Text(String),
    /// A number or a truth value, which JSON writes as it is.
    Bare(String),
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.named.push((field.name(), Value::Bare(value.to_string())));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.named.push((field.name(), Value::Bare(value.to_string())));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.named.push((field.name(), Value::Bare(value.to_string())));
    }
}

impl Fields {
    fn text(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.named.push((name, Value::Text(value))),
        }
    }
}

fn human(fields: &Fields, level: Level, logger: &str, colours: bool, now_ms: i64) -> String {
    let mut line = format!("[{}] ", local_time::log_time(now_ms));
    match colour(level).filter(|_| colours) {
        Some(colour) => line += &format!("\x1b[{colour}m{level}\x1b[0m "),
        None => line += &format!("{level} "),
    }
    one_line(&mut line, &fields.message);
    for (name, value) in &fields.named {
        line += if line.ends_with(' ') { "" } else { " " };
        line += name;
        line.push('=');
        match value {
            Value::Bare(value) => line += value,
            Value::Text(text) if text.is_empty() || text.contains([' ', '"', '=']) => quoted(&mut line, text),
            Value::Text(text) => one_line(&mut line, text),
        }
    }
    line + " (" + logger + ")\n"
}

fn colour(level: Level) -> Option<u8> {
    match level {
        Level::ERROR => Some(31),
        Level::WARN => Some(33),
        Level::INFO => Some(32),
        _ => None,
    }
}

/// Characters that would end the line or steer a terminal are written as what they are.
fn one_line(line: &mut String, text: &str) {
    for c in text.chars() {
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
}

fn json(fields: &Fields, level: Level, logger: &str, now_ms: i64) -> String {
    let mut line = format!("{{\"timestamp\":\"{}\",\"level\":\"{level}\",\"logger\":", local_time::utc(now_ms));
    quoted(&mut line, logger);
    if let Some(thread) = std::thread::current().name() {
        line += ",\"thread\":";
        quoted(&mut line, thread);
    }
    line += ",\"message\":";
    quoted(&mut line, &fields.message);
    if !fields.named.is_empty() {
        line += ",\"fields\":{";
        for (at, (name, value)) in fields.named.iter().enumerate() {
            line += if at == 0 { "" } else { "," };
            quoted(&mut line, name);
            line.push(':');
            match value {
                Value::Bare(value) => line += value,
                Value::Text(text) => quoted(&mut line, text),
            }
        }
        line.push('}');
    }
    line + "}\n"
}

/// As a string of JSON. Terminals' control characters beyond ASCII are escaped as well.
pub fn quoted(line: &mut String, text: &str) {
    line.push('"');
    for c in text.chars() {
        match c {
            '"' => *line += "\\\"",
            '\\' => *line += "\\\\",
            '\n' => *line += "\\n",
            '\r' => *line += "\\r",
            '\t' => *line += "\\t",
            c if c.is_control() => {
                // Writing into a string does not fail.
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        let named = vec![
            ("topic", Value::Text("a".to_owned())),
            ("partition", Value::Bare("3".to_owned())),
            ("error", Value::Text("no \"space\"\nleft".to_owned())),
        ];
        Fields { message: "it\nfailed \x1b[2J".to_owned(), named }
    }

    #[test]
    fn a_line_for_people_stays_a_line() {
        let line = human(&fields(), Level::WARN, "server.cleaner", false, 0);
        let (time, rest) = line.split_once("] ").unwrap();
        assert!(time.starts_with("[19") && time.ends_with(",000"), "{line}");
        let expected =
            "WARN it\\nfailed \\u{1b}[2J topic=a partition=3 error=\"no \\\"space\\\"\\nleft\" (server.cleaner)\n";
        assert_eq!(rest, expected);
    }

    #[test]
    fn a_line_for_machines_is_an_object() {
        let line = json(&fields(), Level::ERROR, "storage", 1_577_836_800_007);
        let expected =
            "{\"timestamp\":\"2020-01-01T00:00:00.007Z\",\"level\":\"ERROR\",\"logger\":\"storage\",\"thread\":";
        assert!(line.starts_with(expected), "{line}");
        let expected = ",\"message\":\"it\\nfailed \\u001b[2J\",\"fields\":{\"topic\":\"a\",\"partition\":3,\"error\":\"no \\\"space\\\"\\nleft\"}}\n";
        assert!(line.ends_with(expected), "{line}");
    }
}
