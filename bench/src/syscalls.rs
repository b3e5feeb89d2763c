//! Counts a process's system calls with `perf stat`, which slows it down by a few percent only. Ratios of time are never
//! taken from a run that was counted.

use crate::process::Process;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// All calls, then those that brokers make.
const EVENTS: &[&str] = &[
    "raw_syscalls:sys_enter",
    "syscalls:sys_enter_recvfrom",
    "syscalls:sys_enter_sendto",
    "syscalls:sys_enter_pwritev",
    "syscalls:sys_enter_pwrite64",
    "syscalls:sys_enter_sendfile64",
    "syscalls:sys_enter_preadv2",
    "syscalls:sys_enter_pread64",
    "syscalls:sys_enter_read",
    "syscalls:sys_enter_write",
    "syscalls:sys_enter_epoll_wait",
    "syscalls:sys_enter_futex",
];

/// Calls by name; all of them first, under "all".
pub type Calls = Vec<(String, u64)>;

/// A count under way.
pub struct Count(Child);

impl Count {
    /// Begins to count; `None` where there is no perf, or it may not.
    pub fn begin(process: Process) -> Option<Count> {
        let mut perf = Command::new("perf");
        perf.args(["stat", "-x", ";", "-p", &process.0.to_string()]);
        for event in EVENTS {
            perf.args(["-e", event]);
        }
        let mut child = perf.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
        std::thread::sleep(Duration::from_millis(500));
        match child.try_wait() {
            Ok(None) => Some(Count(child)),
            _ => None,
        }
    }

    /// Ends it.
    pub fn end(self) -> Option<Calls> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).ok()?;
        let said = self.0.wait_with_output().ok()?;
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        let counted = said.lines().filter_map(|line| {
            let mut fields = line.split(';');
            let (count, event) = (fields.next()?.parse().ok()?, fields.nth(1)?);
            let name = event.rsplit(':').next()?;
            Some((
                if event.starts_with("raw") {
                    "all".to_owned()
                } else {
                    name.trim_start_matches("sys_enter_").to_owned()
                },
                count,
            ))
        });
        Some(counted.collect::<Vec<_>>()).filter(|c| !c.is_empty())
    }
}
