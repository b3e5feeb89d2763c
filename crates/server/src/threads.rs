//! The threads that serve clients and wait for disks.
#![allow(unsafe_code)] // one call, sched_setscheduler, which rustix does not wrap

use std::io;
use tokio::runtime::{Builder, Runtime};

/// Threads for syncs, write-back and reads that wait for the disk; more would only make it seek.
pub const BLOCKING_THREADS: usize = 32;

/// A reactor for each core, and the pool for what may wait.
///
/// # Errors
/// No threads can be made.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .on_thread_start(do_not_preempt)
        .build()
}

/// `SCHED_BATCH` for this thread: once awake it takes a core that is idle, but does not push another thread off a busy
/// one. What has come in until then is handled in one go, which on a busy machine saves a tenth of the CPU of replication
/// and of its latency. Without it the thread works as well.
fn do_not_preempt() {
    // SAFETY: `sched_param` is plain numbers, for which zeros are a valid value.
    let param: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: a system call that reads `param`, which outlives it, and changes this thread's policy only.
    let _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const param) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reactors_and_the_pool_do_not_push_others_off_a_core() {
        let policy = || {
            // SAFETY: a system call without pointers.
            unsafe { libc::sched_getscheduler(0) }
        };
        let before = policy();
        let runtime = runtime().unwrap();
        let of_reactor = runtime.block_on(async move { tokio::spawn(async move { policy() }).await.unwrap() });
        let of_pool = runtime.block_on(runtime.spawn_blocking(policy)).unwrap();
        assert_eq!((of_reactor, of_pool), (libc::SCHED_BATCH, libc::SCHED_BATCH));
        assert_eq!(policy(), before, "threads of others are left alone");
    }
}
