//! Log lines on standard output, as log4j prints them: `[time] LEVEL message (logger)`.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::span;

use crate::herder::Loggers;
use crate::store::now_ms;

/// Prints what the loggers let through.
pub struct Printer {
    loggers: Arc<Loggers>,
}

impl Printer {
    pub fn new(loggers: Arc<Loggers>) -> Printer {
        Printer { loggers }
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write;
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

impl tracing::Subscriber for Printer {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        self.loggers.enabled(metadata.target(), metadata.level())
    }

    fn register_callsite(&self, _: &'static tracing::Metadata<'static>) -> tracing::subscriber::Interest {
        // Levels may change.
        tracing::subscriber::Interest::sometimes()
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        let metadata = event.metadata();
        // Who reads may be gone, which is no reason to stop.
        let _ = writeln!(
            io::stdout().lock(),
            "[{}] {} {} ({})",
            time(now_ms()),
            metadata.level(),
            line.0,
            metadata.target()
        );
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// `2026-01-31 12:00:00,123`, in UTC.
fn time(ms: i64) -> String {
    let (days, of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    // Days are counted from 1 March 0000, so that a leap day ends a year.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (second, milli) = (of_day / 1000, of_day % 1000);
    format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02},{milli:03}", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_log4j_does() {
        assert_eq!(time(0), "1970-01-01 00:00:00,000");
        assert_eq!(time(951_782_400_123), "2000-02-29 00:00:00,123");
        assert_eq!(time(1_795_837_299_348), "2026-11-28 03:41:39,348");
    }
}
