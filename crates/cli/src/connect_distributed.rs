//! `connect-distributed`: runs a Connect worker in a group. (`-daemon` is the shell script's business.)

use std::path::Path;

use crate::tool::VERSION;
use crate::{complain, say, term};

const USAGE: &str = "USAGE: connect-distributed.sh [-daemon] connect-distributed.properties";

/// The tool.
pub fn main(args: &[String]) -> u8 {
    match args {
        [word] if word == "--version" => {
            say!("{VERSION}");
            0
        }
        [worker] if !worker.starts_with('-') => {
            term::flush();
            connect::distributed(connect::plugins::builtin(), Path::new(worker))
        }
        _ => {
            complain!("{USAGE}");
            1
        }
    }
}
