//! `connect-standalone`: runs a Connect worker that is alone. (`-daemon` is the shell script's business.)

use std::path::{Path, PathBuf};

use crate::tool::VERSION;
use crate::{complain, say, term};

const USAGE: &str =
    "USAGE: connect-standalone.sh [-daemon] connect-standalone.properties [connector1.properties connector2.json ...]";

/// The tool.
pub fn main(args: &[String]) -> u8 {
    match args.first().map(String::as_str) {
        Some("--version") => {
            say!("{VERSION}");
            0
        }
        None | Some("--help" | "-h") => {
            complain!("{USAGE}");
            1
        }
        Some(worker) => {
            term::flush();
            let connectors: Vec<PathBuf> = args[1..].iter().map(PathBuf::from).collect();
            connect::standalone(connect::plugins::builtin(), Path::new(worker), &connectors)
        }
    }
}
