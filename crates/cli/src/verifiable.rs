//! What the verifiable producer and consumer print: events as JSON, one a line, at once.

use std::fmt::Write;

use crate::json::quote;
use crate::{clock, say, term};

/// An event in the making: its time and name, then its fields in the order in which they are added.
pub struct Event {
    line: String,
}

impl Event {
    pub fn new(name: &str) -> Event {
        Event { line: format!("{{\"timestamp\":{},\"name\":\"{name}\"", clock::now_ms()) }
    }

    /// A number, a truth value, or JSON that is made already.
    pub fn plain(mut self, name: &str, value: impl std::fmt::Display) -> Event {
        let _ = write!(self.line, ",\"{name}\":{value}");
        self
    }

    /// Text, or null.
    pub fn text(mut self, name: &str, value: Option<&str>) -> Event {
        let _ = write!(self.line, ",\"{name}\":");
        match value {
            Some(value) => quote(value, &mut self.line),
            None => self.line.push_str("null"),
        }
        self
    }

    /// Prints it.
    pub fn print(mut self) {
        self.line.push('}');
        say!("{}", self.line);
        // Whoever checks on us reads while we run.
        term::flush();
    }
}
