//! `zookeeper-server-start`: runs the process in ZooKeeper's place, a voter of the metadata quorum that brokers find by
//! `zookeeper.connect`. (`-daemon` is the shell script's business.)

use std::path::Path;
use std::process::ExitCode;

use crate::tool::VERSION;
use crate::{complain, say, term};

const USAGE: &str = "USAGE: zookeeper-server-start.sh [-daemon] zookeeper.properties";

/// The tool.
pub fn main(args: &[String]) -> ExitCode {
    let code = match args {
        [word] if word == "--version" => {
            say!("{VERSION}");
            0
        }
        [word] if word == "--help" || word == "-h" => {
            say!("{USAGE}\n\nThe file is a zoo.cfg: dataDir, clientPort, server.N.");
            0
        }
        [path] if !path.starts_with('-') => return server::zookeeper(Path::new(path)),
        _ => {
            complain!("{USAGE}");
            1
        }
    };
    term::flush();
    ExitCode::from(code)
}
