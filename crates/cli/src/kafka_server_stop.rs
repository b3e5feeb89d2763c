//! `kafka-server-stop`: asks the brokers of this machine to end, as Kafka's script does.
//!
//! A broker is a process of this binary that runs `kafka-server-start`. `--node-id=` and `--process-role=` choose among
//! them by what their properties files say.

use std::fs;
use std::path::{Path, PathBuf};

use client::Properties;
use rustix::process::{Pid, Signal, kill_process};

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
    let wanted = std::env::var("SIGNAL").unwrap_or_default();
    let Some(signal) = signal(&wanted) else {
        complain!("SIGNAL={wanted} is no signal that ends a process: TERM, INT, HUP, QUIT or KILL");
        return 1;
    };
    let brokers: Vec<Broker> = brokers().into_iter().filter(|b| b.is(role.as_deref(), node.as_deref())).collect();
    if brokers.is_empty() {
        complain!("No kafka server to stop");
        return 1;
    }
    let mut code = 0;
    for broker in brokers {
        if let Some(pid) = Pid::from_raw(broker.pid)
            && let Err(error) = kill_process(pid, signal)
        {
            complain!("The broker with process id {} cannot be stopped: {error}", broker.pid);
            code = 1;
        }
    }
    code
}

fn signal(name: &str) -> Option<Signal> {
    Some(match name.strip_prefix("SIG").unwrap_or(name) {
        "" | "TERM" | "15" => Signal::TERM,
        "INT" | "2" => Signal::INT,
        "HUP" | "1" => Signal::HUP,
        "QUIT" | "3" => Signal::QUIT,
        "KILL" | "9" => Signal::KILL,
        _ => return None,
    })
}

struct Broker {
    pid: i32,
    /// Its properties file, if it was started with one.
    file: Option<PathBuf>,
    overrides: Properties,
}

impl Broker {
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

/// All brokers that run on this machine and can be seen.
fn brokers() -> Vec<Broker> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes.flatten().filter_map(|entry| broker(&entry.path())).collect()
}

fn broker(process: &Path) -> Option<Broker> {
    let pid = process.file_name()?.to_str()?.parse().ok()?;
    let line = fs::read(process.join("cmdline")).ok()?;
    let words: Vec<String> = line.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
    let (program, rest) = words.split_first()?;
    if Path::new(program).file_name()?.to_str()? != "klamm" || rest.first()? != "kafka-server-start" {
        return None;
    }
    let mut file = None;
    let mut overrides = Properties::new();
    let mut rest = rest[1..].iter();
    while let Some(word) = rest.next() {
        let pair =
            if word == "--override" { rest.next().map(String::as_str) } else { word.strip_prefix("--override=") };
        match pair.and_then(|p| p.split_once('=')) {
            Some((name, value)) => {
                overrides.insert(name.to_owned(), value.to_owned());
            }
            None if file.is_none() && !word.is_empty() && !word.starts_with('-') => {
                file = Some(fs::read_link(process.join("cwd")).unwrap_or_default().join(word));
            }
            None => {}
        }
    }
    Some(Broker { pid, file, overrides })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_chosen_by_role_and_id() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("server.properties");
        fs::write(&file, "process.roles=broker,controller\nnode.id=7\n").unwrap();
        let broker = Broker { pid: 1, file: Some(file), overrides: Properties::new() };
        assert!(broker.is(None, None) && broker.is(Some("controller"), None) && broker.is(None, Some("7")));
        assert!(!broker.is(None, Some("8")) && !broker.is(Some("other"), None));
        let overridden = Broker { overrides: [("node.id".to_owned(), "8".to_owned())].into(), ..broker };
        assert!(overridden.is(Some("broker"), Some("8")));
    }

    #[test]
    fn signals_have_names_and_numbers() {
        assert_eq!(signal(""), Some(Signal::TERM));
        assert_eq!(signal("SIGKILL"), Some(Signal::KILL));
        assert_eq!(signal("9"), Some(Signal::KILL));
        assert_eq!(signal("STOP"), None);
    }
}
