//! `kafka-server-stop`: asks the brokers of this machine to end, as Kafka's script does.
//!
//! A broker is a process of this binary, by whatever name, that runs `kafka-server-start`. `--node-id=` and `--process-role=` choose among
//! them by what their properties files say.

use std::path::PathBuf;

use client::Properties;

use crate::processes::{self, Process};
use crate::tool::VERSION;
use crate::{complain, say};

const USAGE: &str = "usage: kafka-server-stop.sh [--process-role=value] [--node-id=value]\n\nThe environment variable SIGNAL names another signal than TERM.";

/// The tool.
pub fn main(args: &[String]) -> u8 {
    let (mut role, mut node) = (None, None);
    for word in args {
        match word.split_once('=') {
            Some(("--process-role", value)) => role = Some(value.to_owned()),
            Some(("--node-id", value)) => node = Some(value.to_owned()),
            _ if word == "--version" => {
                say!("{VERSION}");
                return 0;
            }
            _ => {
                complain!("{USAGE}");
                return 1;
            }
        }
    }
    let Some(signal) = processes::signal_to_send() else { return 1 };
    let running = processes::running(crate::BROKER);
    let brokers: Vec<Broker> =
        running.into_iter().map(Broker::new).filter(|b| b.is(role.as_deref(), node.as_deref())).collect();
    if brokers.is_empty() {
        complain!("No kafka server to stop");
        return 1;
    }
    let mut code = 0;
    for broker in brokers {
        if !processes::send(&broker.process, signal) {
            code = 1;
        }
    }
    code
}

struct Broker<P = Process> {
    process: P,
    /// Its properties file, if it was started with one.
    file: Option<PathBuf>,
    overrides: Properties,
}

impl Broker {
    fn new(process: Process) -> Broker {
        let mut file = None;
        let mut overrides = Properties::new();
        let mut words = process.words.iter();
        while let Some(word) = words.next() {
            let pair =
                if word == "--override" { words.next().map(String::as_str) } else { word.strip_prefix("--override=") };
            match pair.and_then(|p| p.split_once('=')) {
                Some((name, value)) => {
                    overrides.insert(name.to_owned(), value.to_owned());
                }
                None if file.is_none() && !word.is_empty() && !word.starts_with('-') => {
                    file = Some(process.directory.join(word));
                }
                None => {}
            }
        }
        Broker { process, file, overrides }
    }
}

impl<P> Broker<P> {
    fn is(&self, role: Option<&str>, node: Option<&str>) -> bool {
        if role.is_none() && node.is_none() {
            return true;
        }
        let mut settings = self.file.as_deref().and_then(|f| client::properties::load(f).ok()).unwrap_or_default();
        settings.extend(self.overrides.clone());
        let settings = client::config_providers::resolve(&settings).unwrap_or(settings);
        let get = |name: &str| settings.get(name).map(|v| v.trim());
        let roles = get("process.roles").unwrap_or("broker");
        let id = get("node.id").or(get("broker.id"));
        role.is_none_or(|r| roles.split(',').any(|is| is.trim() == r)) && node.is_none_or(|n| id == Some(n))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn brokers_are_chosen_by_role_and_id() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("server.properties");
        fs::write(&file, "process.roles=broker,controller\nnode.id=7\n").unwrap();
        let broker = Broker { process: (), file: Some(file), overrides: Properties::new() };
        assert!(broker.is(None, None) && broker.is(Some("controller"), None) && broker.is(None, Some("7")));
        assert!(!broker.is(None, Some("8")) && !broker.is(Some("other"), None));
        let overridden = Broker { overrides: [("node.id".to_owned(), "8".to_owned())].into(), ..broker };
        assert!(overridden.is(Some("broker"), Some("8")));
    }
}
