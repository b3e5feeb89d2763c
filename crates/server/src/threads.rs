//! The threads that serve clients and wait for disks.
#![allow(unsafe_code)] // sched_setscheduler and the CPU clocks of threads, which rustix does not wrap

use std::io;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Threads for syncs, write-back and reads that wait for the disk; more would only make it seek.
pub const BLOCKING_THREADS: usize = 32;

/// A reactor for each core. The first one is for all that is not a connection, and has the pool for what may wait.
///
/// # Errors
/// No threads can be made.
pub fn reactors() -> io::Result<Vec<Runtime>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (0..cores).map(|_| reactor()).collect()
}

/// A runtime of one worker.
///
/// # Errors
/// No thread can be made.
pub fn reactor() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(1)
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

/// What counts the CPU time of one thread; any thread may read it.
#[derive(Debug, Clone, Copy)]
pub struct CpuClock(libc::clockid_t);

impl CpuClock {
    /// Of the thread that asks.
    ///
    /// # Errors
    /// The system has no such clocks.
    pub fn of_this_thread() -> io::Result<CpuClock> {
        let mut id = 0;
        // SAFETY: the thread that asks lives, and `id` is written during the call.
        match unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut id) } {
            0 => Ok(CpuClock(id)),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// What the thread has used so far; `None` once it has ended.
    pub fn used(self) -> Option<Duration> {
        // SAFETY: `timespec` is plain numbers, for which zeros are a valid value.
        let mut time: libc::timespec = unsafe { std::mem::zeroed() };
        // SAFETY: a system call that writes `time`, and refuses an id that no longer is one.
        let result = unsafe { libc::clock_gettime(self.0, &raw mut time) };
        (result == 0).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }
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
        let runtime = reactor().unwrap();
        let of_reactor = runtime.block_on(async move { tokio::spawn(async move { policy() }).await.unwrap() });
        let of_pool = runtime.block_on(runtime.spawn_blocking(policy)).unwrap();
        assert_eq!((of_reactor, of_pool), (libc::SCHED_BATCH, libc::SCHED_BATCH));
        assert_eq!(policy(), before, "threads of others are left alone");
    }

    #[test]
    fn the_cpu_of_a_thread_is_known_to_others() {
        let clock = CpuClock::of_this_thread().unwrap();
        let read = || std::thread::scope(|s| s.spawn(|| clock.used()).join().unwrap()).unwrap();
        let before = read();
        while read() == before {}
        let ended = std::thread::spawn(CpuClock::of_this_thread).join().unwrap().unwrap();
        let _ = ended.used(); // no matter what, it may be asked
    }
}
