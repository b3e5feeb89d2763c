//! `zookeeper-server-stop`: asks the processes in ZooKeeper's place to end, as Kafka's script does.

use crate::processes;
use crate::tool::VERSION;
use crate::{complain, say};

/// The tool.
pub fn main(args: &[String]) -> u8 {
    if args.first().is_some_and(|word| word == "--version") {
        say!("{VERSION}");
        return 0;
    }
    let Some(signal) = processes::signal_to_send() else { return 1 };
    let running = processes::running(crate::ZOOKEEPER);
    if running.is_empty() {
        complain!("No zookeeper server to stop");
        return 1;
    }
    let mut code = 0;
    for process in running {
        if !processes::send(&process, signal) {
            code = 1;
        }
    }
    code
}
