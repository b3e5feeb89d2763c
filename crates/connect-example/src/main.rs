//! A Connect worker with a connector of its own: `Tide`, which writes the height of the sea into a topic.
//!
//! To run it: `cargo run -p connect-example -- worker.properties tide.properties`, where `tide.properties` has
//! `name=tide`, `connector.class=Tide` and `topic=sea`. Everything else that a worker can do comes along: the REST server,
//! converters, transforms, errors, and the connectors that Klamm has built in.

mod tide;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let mut plugins = connect::plugins::builtin();
    plugins.connector("org.example.Tide", env!("CARGO_PKG_VERSION"), || Box::new(tide::Tide::default()));
    match words.split_first() {
        Some((worker, connectors)) => ExitCode::from(connect::standalone(plugins, Path::new(worker), connectors)),
        None => ExitCode::FAILURE,
    }
}
