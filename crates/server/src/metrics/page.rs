//! Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write};

/// What kind of number a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    Untyped,
}

/// A page of metrics in the making.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

/// One name with all its samples. Families are written one after the other, never mixed.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    name: &'a str,
}

/// A number with a fraction, which may be infinite.
#[derive(Clone, Copy, Debug)]
pub struct Number(pub f64);

impl Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            number => number.fmt(f),
        }
    }
}

/// A sample's labels.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Page {
    pub fn new() -> Page {
        Page::default()
    }

    /// Begins a family: its name, kind and a sentence of help.
    pub fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &str) -> Family<'a> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Untyped => "untyped",
        };
        put(&mut self.text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        Family { text: &mut self.text, name }
    }

    /// A gauge without labels.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help).sample(&[], value);
    }

    pub fn finish(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// One sample: a whole number or a finite one with a fraction.
    pub fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.line("", labels, None, value);
    }

    /// One sample with labels that are written out already.
    pub fn sample_of(&mut self, labels: &str, value: impl Display) {
        put(self.text, format_args!("{}{{{labels}}} {value}\n", self.name));
    }

    /// A histogram's samples: `counts` has one number for each bound and one for what is above them all.
    pub fn histogram(&mut self, labels: Labels<'_>, bounds: impl Iterator<Item = f64>, counts: &[u64], sum: f64) {
        let mut cumulative = 0;
        let bounds = bounds.map(|bound| bound.to_string()).chain(std::iter::once("+Inf".to_owned()));
        for (bound, count) in bounds.zip(counts) {
            cumulative += count;
            self.line("_bucket", labels, Some(("le", &bound)), cumulative);
        }
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, cumulative);
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, more: Option<(&str, &str)>, value: impl Display) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let mut before = '{';
        for (name, value) in labels.iter().copied().chain(more) {
            self.text.push(before);
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(self.text, value);
            self.text.push('"');
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        put(self.text, format_args!(" {value}\n"));
    }
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(what);
}

/// Adds a label's value as the format has it.
pub fn escape(text: &mut String, value: &str) {
    if !value.bytes().any(|b| matches!(b, b'\\' | b'"' | b'\n')) {
        return text.push_str(value);
    }
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_cannot_break_out_of_their_line() {
        let mut page = Page::new();
        page.family("lag", Kind::Gauge, "Lag.").sample(&[("group", "a\"} 1\nb\\"), ("topic", "t")], 3);
        page.gauge("up", "Up.", 0.5);
        let text = page.finish();
        assert_eq!(
            text,
            "# HELP lag Lag.\n# TYPE lag gauge\nlag{group=\"a\\\"} 1\\nb\\\\\",topic=\"t\"} 3\n# HELP up Up.\n# TYPE up gauge\nup 0.5\n"
        );
    }
}
