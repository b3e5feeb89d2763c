//! What the two consoles share: lines in, words about deprecated options.

pub mod formatter;
pub mod lines;
pub mod reader;

use crate::options::Parsed;
use crate::tool::Stop;

/// Refuses a deprecated option beside the one that took its place; says that it is deprecated (on standard output, as
/// Kafka's consoles do) by `note`.
pub fn replaced(options: &Parsed, old: &str, new: &str, first: &str, note: impl Fn(String)) -> Result<(), Stop> {
    if !options.has(old) {
        return Ok(());
    }
    if options.has(new) {
        let second = if first == old { new } else { old };
        return Err(Stop::Usage(format!("Options --{first} and --{second} cannot be specified together.")));
    }
    note(format!("--{old} is deprecated and will be removed in a future version. Use --{new} instead."));
    Ok(())
}
