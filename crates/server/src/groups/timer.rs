//! One task that sleeps until the next deadline of any coordinator.

use super::expiry;
use crate::node::Node;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

const NEVER: i64 = i64::MAX;

/// The earliest deadline, on the steady clock of [`super::Groups`]. It may be earlier than what is really due, never later.
pub struct Timer {
    earliest_ms: AtomicI64,
    earlier: Notify,
    started: AtomicBool,
}

impl Default for Timer {
    fn default() -> Timer {
        Timer { earliest_ms: AtomicI64::new(NEVER), earlier: Notify::new(), started: AtomicBool::new(false) }
    }
}

impl Timer {
    /// Somebody has something to do at `deadline_ms`.
    pub fn at(&self, deadline_ms: Option<i64>) {
        let Some(deadline_ms) = deadline_ms else { return };
        if deadline_ms < self.earliest_ms.fetch_min(deadline_ms, Ordering::AcqRel) {
            self.earlier.notify_one();
        }
    }

    /// Starts the task, and that of expiry, once.
    pub fn start(&self, node: &Arc<Node>) {
        if !self.started.swap(true, Ordering::AcqRel) {
            let runtime = &node.groups.runtime;
            let expiring = node.clone();
            runtime.spawn(async move { expiry::run(&expiring).await });
            let timing = node.clone();
            runtime.spawn(async move { run(&timing).await });
        }
    }
}

async fn run(node: &Arc<Node>) {
    let timer = &node.groups.timer;
    let mut stopped = std::pin::pin!(node.stopped());
    loop {
        let earliest_ms = timer.earliest_ms.load(Ordering::Acquire);
        let left_ms = earliest_ms.saturating_sub(node.groups.origin.elapsed().as_millis() as i64);
        if left_ms > 0 {
            let due = async {
                match earliest_ms {
                    NEVER => std::future::pending().await,
                    _ => tokio::time::sleep(Duration::from_millis(left_ms as u64)).await,
                }
            };
            tokio::select! {
                () = due => {}
                () = timer.earlier.notified() => continue,
                _ = &mut stopped => return node.groups.release_waiting(node),
            }
        }
        // Whoever sets a deadline from here on makes it count again; the others are asked.
        timer.earliest_ms.store(NEVER, Ordering::Release);
        node.groups.tick(node);
    }
}
