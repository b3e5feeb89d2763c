//! Processes of this binary that run on this machine and can be seen.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use crate::complain;

/// A process that runs one of the servers.
pub struct Process {
    pub pid: i32,
    /// What stands behind the tool's name.
    pub words: Vec<String>,
    /// The directory that relative paths among the words start from.
    pub directory: PathBuf,
}

/// All processes that run `tool`.
pub fn running(tool: &str) -> Vec<Process> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| process(pid, tool)).collect()
}

/// The process, if it runs `tool`.
pub fn process(pid: i32, tool: &str) -> Option<Process> {
    let directory = Path::new("/proc").join(pid.to_string());
    let line = fs::read(directory.join("cmdline")).ok()?;
    let line = line.strip_suffix(&[0]).unwrap_or(&line);
    let words: Vec<String> = line.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
    let (program, rest) = words.split_first()?;
    if Path::new(program).file_name()?.to_str()? != "klamm" || rest.first()? != tool {
        return None;
    }
    let directory = fs::read_link(directory.join("cwd")).unwrap_or_default();
    Some(Process { pid, words: rest[1..].to_vec(), directory })
}

/// The signal that the environment variable SIGNAL names, as Kafka's stop scripts take it; TERM without it. A name that
/// ends nothing is complained of.
pub fn signal_to_send() -> Option<Signal> {
    let wanted = std::env::var("SIGNAL").unwrap_or_default();
    let signal = signal(&wanted);
    if signal.is_none() {
        complain!("SIGNAL={wanted} is no signal that ends a process: TERM, INT, HUP, QUIT or KILL");
    }
    signal
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

/// Sends a signal; what hinders it is complained of.
pub fn send(pid: i32, signal: Signal) -> bool {
    match Pid::from_raw(pid).map(|pid| kill_process(pid, signal)) {
        Some(Ok(())) => true,
        Some(Err(error)) => {
            complain!("The process with id {pid} cannot be stopped: {error}");
            false
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        assert_eq!(signal(""), Some(Signal::TERM));
        assert_eq!(signal("SIGKILL"), Some(Signal::KILL));
        assert_eq!(signal("9"), Some(Signal::KILL));
        assert_eq!(signal("STOP"), None);
    }
}
