//! That a node is to end: asked for by signals, which are heard from before anything is bound or written, or because
//! something failed that it cannot work without.

use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How a node comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Running,
    /// Somebody asked for it.
    Asked,
    /// Something it cannot work without failed.
    Failed,
}

/// Shared by all that may end the node and all that heed it.
#[derive(Clone, Debug)]
pub struct Stopping(watch::Sender<Stop>);

impl Stopping {
    /// Heeds SIGTERM and SIGINT from now on, and SIGHUP unless the process was started to ignore it (`nohup`). To be called
    /// within the runtime.
    ///
    /// # Errors
    /// The system takes no handler.
    pub fn on_signals() -> io::Result<Stopping> {
        let stopping = Stopping(watch::Sender::new(Stop::Running));
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        for kind in kinds.into_iter().filter(|kind| *kind != SignalKind::hangup() || !ignores_hangup()) {
            let (mut signals, stopping) = (signal(kind)?, stopping.clone());
            tokio::spawn(async move {
                signals.recv().await;
                stopping.ask();
            });
        }
        Ok(stopping)
    }

    /// Ends the node in order.
    pub fn ask(&self) {
        self.0.send_if_modified(|stop| {
            let running = *stop == Stop::Running;
            if running {
                *stop = Stop::Asked;
            }
            running
        });
    }

    /// Ends the node, because it cannot go on.
    pub fn fail(&self) {
        self.0.send_replace(Stop::Failed);
    }

    pub fn state(&self) -> Stop {
        *self.0.borrow()
    }

    pub fn is_wanted(&self) -> bool {
        self.state() != Stop::Running
    }

    /// Completes when the node is to end.
    pub async fn wanted(&self) -> Stop {
        match self.0.subscribe().wait_for(|stop| *stop != Stop::Running).await {
            Ok(stop) => *stop,
            Err(_) => Stop::Failed,
        }
    }
}

/// Whether SIGHUP is ignored; also where the system does not tell.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_none_or(|ignored| ignored & 1 << (SignalKind::hangup().as_raw_value() - 1) != 0)
}
