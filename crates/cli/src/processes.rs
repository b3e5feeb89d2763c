//! Processes of this binary that run on this machine and can be seen.
//!
//! The servers name themselves, so that they are found whatever their file is called and wherever it is by now; and the words
//! that a process was started with say what it runs. A process is held by a descriptor before anything of it is read, so that
//! a signal never meets another one that got its number.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use std::os::fd::OwnedFd;

use crate::complain;

/// What `/proc/PID/comm` says of a server's process.
const NAME: &std::ffi::CStr = c"klamm";

/// A process that runs one of the servers.
pub struct Process {
    pid: Pid,
    /// `None` on systems without them.
    descriptor: Option<OwnedFd>,
    /// What stands behind the tool's name.
    pub words: Vec<String>,
    /// The directory that relative paths among the words start from.
    pub directory: PathBuf,
}

impl Process {
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }
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
    let pid = Pid::from_raw(pid)?;
    let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::NOSYS) => None,
        opened => Some(opened.ok()?),
    };
    if fs::read(directory.join("comm")).ok()?.strip_suffix(b"\n")? != NAME.to_bytes() {
        return None;
    }
    let line = fs::read(directory.join("cmdline")).ok()?;
    let line = line.strip_suffix(&[0]).unwrap_or(&line);
    let words: Vec<String> = line.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
    let (program, rest) = words.split_first()?;
    let mut chosen = crate::chosen(program, rest);
    if chosen.0 == crate::RUN_CLASS {
        chosen = crate::kafka_run_class::tool(chosen.1).ok()?;
    }
    if chosen.0 != tool {
        return None;
    }
    let words = chosen.1.to_vec();
    let directory = fs::read_link(directory.join("cwd")).unwrap_or_default();
    Some(Process { pid, descriptor, words, directory })
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

/// Names this process, which is about to run a server.
pub fn take_name() {
    // Without it the process is not found by the stop tools, and works as well.
    let _ = rustix::thread::set_name(NAME);
}

/// Sends a signal; what hinders it is complained of.
pub fn send(process: &Process, signal: Signal) -> bool {
    let sent = match &process.descriptor {
        Some(descriptor) => pidfd_send_signal(descriptor, signal),
        None => kill_process(process.pid, signal),
    };
    match sent {
        Ok(()) | Err(Errno::SRCH) => true, // it has ended by itself
        Err(error) => {
            complain!("The process with id {} cannot be stopped: {error}", process.pid);
            false
        }
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
