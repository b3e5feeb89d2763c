//! What a tool prints: standard output by whole buffers, log lines on standard error in log4j's form.
//!
//! Whoever reads our output may go away (`| head`): the process then ends quietly, as if the signal had ended it.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::process::exit;
use std::sync::{Mutex, PoisonError};

use crate::clock;

/// 128 + SIGPIPE, what a shell shows for a process that the signal ended.
const BROKEN_PIPE: i32 = 141;

static OUT: Mutex<Option<BufWriter<io::Stdout>>> = Mutex::new(None);

/// Prints a line on standard output (`say!`).
pub fn out(text: fmt::Arguments<'_>) {
    write_out(|w| writeln!(w, "{text}"));
}

/// Prints bytes on standard output as they are.
pub fn out_bytes(bytes: &[u8]) {
    write_out(|w| w.write_all(bytes));
}

/// Hands what was printed to the system.
pub fn flush() {
    write_out(Write::flush);
}

fn write_out(f: impl FnOnce(&mut BufWriter<io::Stdout>) -> io::Result<()>) {
    let mut out = OUT.lock().unwrap_or_else(PoisonError::into_inner);
    if f(out.get_or_insert_with(|| BufWriter::with_capacity(64 * 1024, io::stdout()))).is_err() {
        // Nobody reads any more, or the disk behind a redirection is full: there is no one to tell but the exit code.
        exit(BROKEN_PIPE);
    }
}

/// Prints a line on standard error (`complain!`), after what went to standard output before.
pub fn err(text: fmt::Arguments<'_>) {
    flush();
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A log line, as Kafka's tools print theirs: `[time] LEVEL message (logger)`.
pub fn log(level: &str, message: &str, logger: &str) {
    err(format_args!("[{}] {level} {message} ({logger})", clock::log_time(clock::now_ms())));
}

#[macro_export]
macro_rules! say {
    ($($arg:tt)*) => { $crate::term::out(format_args!($($arg)*)) };
}

#[macro_export]
macro_rules! complain {
    ($($arg:tt)*) => { $crate::term::err(format_args!($($arg)*)) };
}

/// Passes the client's warnings on to standard error.
pub struct Warnings;

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::WARN)
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Message(String);
        impl tracing::field::Visit for Message {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        log(event.metadata().level().as_str(), &message.0, event.metadata().target());
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
