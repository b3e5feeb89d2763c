//! What a running task is told from outside.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

/// What a task is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Run,
    Pause,
    Stop,
}

/// Shared by a task's thread and whoever directs it.
#[derive(Clone)]
pub struct Signal {
    wanted: watch::Sender<Wanted>,
    /// Ends the waiting of a consumer.
    pub wake: Arc<Notify>,
    handle: Handle,
}

impl Signal {
    pub fn new(handle: Handle, wanted: Wanted) -> Signal {
        Signal { wanted: watch::Sender::new(wanted), wake: Arc::new(Notify::new()), handle }
    }

    pub fn set(&self, wanted: Wanted) {
        // Who is to stop does not come back.
        self.wanted.send_if_modified(|now| {
            let changes = *now != Wanted::Stop && *now != wanted;
            if changes {
                *now = wanted;
            }
            changes
        });
        self.wake.notify_one();
    }

    pub fn wanted(&self) -> Wanted {
        *self.wanted.borrow()
    }

    pub fn is_stopping(&self) -> bool {
        self.wanted() == Wanted::Stop
    }

    /// Waits on the calling thread, and returns early with `false` when it is to stop. Not for the runtime's threads.
    pub fn wait(&self, time: Duration) -> bool {
        if time.is_zero() {
            return !self.is_stopping();
        }
        let mut changes = self.wanted.subscribe();
        let stop = async { changes.wait_for(|w| *w == Wanted::Stop).await.is_ok() };
        self.handle.block_on(async { tokio::time::timeout(time, stop).await.is_err() })
    }

    /// Waits on the calling thread until something else than a pause is wanted.
    pub fn wait_while_paused(&self) {
        let mut changes = self.wanted.subscribe();
        self.handle.block_on(async { drop(changes.wait_for(|w| *w != Wanted::Pause).await) });
    }
}
