//! What the kernel knows of a process.

use crate::Outcome;
use std::fs::read_to_string;

/// A running process.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

impl Process {
    /// Seconds of CPU used so far, user and system, in steps of 10 ms.
    pub fn cpu_seconds(self) -> Outcome<f64> {
        let stat = read_to_string(format!("/proc/{}/stat", self.0))?;
        // The name, in parentheses, may contain anything; user and system time are the 12th and 13th field after it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok()).ok_or("an odd /proc/PID/stat");
        Ok((ticks(11)? + ticks(12)?) as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Resident memory in KiB.
    pub fn resident_kib(self) -> Outcome<u64> {
        self.status("VmRSS:").ok_or_else(|| "no VmRSS in /proc/PID/status".into())
    }

    pub fn threads(self) -> u64 {
        self.status("Threads:").unwrap_or(0)
    }

    pub fn open_files(self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.0)).map_or(0, |dir| dir.count())
    }

    fn status(self, name: &str) -> Option<u64> {
        let status = read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        status.lines().find_map(|l| l.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
    }
}

/// Lets this process have as many descriptors as it may.
pub fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // A refusal shows later, as the error of whoever runs out of descriptors.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// The machine, for the head of a report.
pub fn machine() -> String {
    let cpu = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": ").map(|(_, m)| m.to_owned()));
    let cores = std::thread::available_parallelism().map_or(0, |n| n.get());
    let load = read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{cores} cores, {}, Linux {}; load average before: {}",
        model.unwrap_or_else(|| "unknown CPU".to_owned()),
        kernel.trim(),
        load.join(" ")
    )
}
