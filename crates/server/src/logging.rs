//! The broker's log: one line an event on stdout, INFO and above.

use std::io::{self, IsTerminal};
use tracing_subscriber::filter::LevelFilter;

/// Sends what is logged to stdout, as Kafka's server does.
pub fn init() {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_ansi(io::stdout().is_terminal())
        .with_target(false)
        .with_writer(io::stdout)
        .finish();
    // Somebody else's subscriber (a test's) may be there already, and does as well.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
