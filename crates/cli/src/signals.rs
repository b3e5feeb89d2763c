//! The signals that ask a tool to end, for those that have something to finish first.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C and SIGTERM, heard from when this is made. That is to be before the tool speaks to anybody, and once: a signal
/// that comes while handlers are put in place goes nowhere, and so does one that nobody listens for any more.
pub struct Signals(Option<[Signal; 2]>);

impl Signals {
    pub fn heed() -> Signals {
        let signals = || Ok::<_, std::io::Error>([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?]);
        // Without handlers the signals end the process on their own.
        Signals(signals().ok())
    }

    /// Waits for one of them; gives the exit code that a shell shows for it.
    pub async fn ended(&mut self) -> u8 {
        let Some([interrupt, terminate]) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
        }
    }
}
