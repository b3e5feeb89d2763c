//! The signs of life of every connection, and the sweep that ends the dead ones.
//!
//! A connection's task never arms a timer of its own: it notes when it last moved and, while part of a frame is there,
//! until when the rest must come. One sweep a second looks at the notes and shuts down sockets whose time is up; their
//! tasks see the end of the stream and go. That keeps timers off the hot path and out of ten thousand idle connections.
#![allow(unsafe_code)] // a descriptor is used while its owner is registered, which the borrow checker cannot see

use rustix::net::{Shutdown, shutdown};
use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A frame must be whole this long after its first byte, plus the time its bytes need at [`SLOWEST_BYTES_PER_MS`].
const FRAME_MS: u64 = 10_000;
/// Slower than this is an attack or no use: 64 KiB a second.
const SLOWEST_BYTES_PER_MS: u64 = 64;

/// One connection's notes. Times are milliseconds since the registry's start.
pub struct Vitals {
    fd: RawFd,
    started: Instant,
    moved_ms: AtomicU64,
    /// 0 while no frame is incomplete.
    frame_until_ms: AtomicU64,
    /// Whether the broker, not the client, is what the connection waits for.
    waiting: AtomicBool,
}

impl Vitals {
    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Bytes came or went and no frame is incomplete.
    pub fn moved(&self) {
        self.moved_ms.store(self.now_ms(), Ordering::Relaxed);
        self.frame_until_ms.store(0, Ordering::Relaxed);
    }

    /// A frame of which `received` bytes are there waits for the rest.
    pub fn partial(&self, received: usize) {
        let now = self.now_ms();
        self.moved_ms.store(now, Ordering::Relaxed);
        let until = self.frame_until_ms.load(Ordering::Relaxed);
        if until == 0 {
            self.frame_until_ms.store(now + FRAME_MS + received as u64 / SLOWEST_BYTES_PER_MS, Ordering::Relaxed);
        }
    }

    /// More bytes came; if a frame is incomplete, its deadline moves by the time these bytes may take.
    pub fn more(&self, bytes: usize) {
        // Only the connection's own task writes this, so looking first is no race.
        let until = self.frame_until_ms.load(Ordering::Relaxed);
        if until != 0 {
            self.frame_until_ms.store(until + bytes as u64 / SLOWEST_BYTES_PER_MS, Ordering::Relaxed);
        }
    }

    /// The connection waits for the broker (a long poll, a rebalance): that is not idleness of the client.
    pub fn waiting(&self, on: bool) {
        self.waiting.store(on, Ordering::Relaxed);
        self.moved_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    fn is_dead(&self, idle_ms: u64) -> bool {
        let now = self.now_ms();
        let until = self.frame_until_ms.load(Ordering::Relaxed);
        (until != 0 && now > until)
            || (!self.waiting.load(Ordering::Relaxed)
                && now.saturating_sub(self.moved_ms.load(Ordering::Relaxed)) > idle_ms)
    }
}

/// All open connections.
pub struct Registry {
    started: Instant,
    /// Connections for which there are descriptors.
    capacity: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Arc<Vitals>>,
    by_address: HashMap<IpAddr, usize>,
}

/// Keeps a connection registered; must be dropped before the socket is closed.
pub struct Registered {
    registry: Arc<Registry>,
    id: u64,
    address: IpAddr,
    pub vitals: Arc<Vitals>,
}

impl Registry {
    pub fn new(capacity: usize) -> Arc<Registry> {
        Arc::new(Registry { started: Instant::now(), capacity, open: Mutex::default() })
    }

    /// Whether another connection would take descriptors that something else needs.
    pub fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    /// Registers a connection, or `None` when a limit (`max.connections`, `max.connections.per.ip`) is reached.
    pub fn register(
        self: &Arc<Registry>,
        socket: &impl AsRawFd,
        address: IpAddr,
        max: usize,
        max_per_address: usize,
    ) -> Option<Registered> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.connections.len() >= max || open.by_address.get(&address).is_some_and(|n| *n >= max_per_address) {
            return None;
        }
        let now = self.started.elapsed().as_millis() as u64;
        let vitals = Arc::new(Vitals {
            fd: socket.as_raw_fd(),
            started: self.started,
            moved_ms: AtomicU64::new(now),
            frame_until_ms: AtomicU64::new(0),
            waiting: AtomicBool::new(false),
        });
        open.next += 1;
        let id = open.next;
        open.connections.insert(id, vitals.clone());
        *open.by_address.entry(address).or_default() += 1;
        Some(Registered { registry: self.clone(), id, address, vitals })
    }

    pub fn len(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).connections.len()
    }

    /// Ends connections that are idle for more than `idle` or whose frame did not come in time; returns how many.
    pub fn sweep(&self, idle: Duration) -> usize {
        self.shut(Shutdown::Both, |vitals| vitals.is_dead(idle.as_millis() as u64))
    }

    /// Takes no more requests; answers under way still go out, after which each connection ends.
    pub fn close_reading(&self) -> usize {
        self.shut(Shutdown::Read, |_| true)
    }

    /// Ends all connections.
    pub fn close_all(&self) -> usize {
        self.shut(Shutdown::Both, |_| true)
    }

    fn shut(&self, how: Shutdown, which: impl Fn(&Vitals) -> bool) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ended = 0;
        for vitals in open.connections.values().filter(|v| which(v)) {
            // SAFETY: the descriptor is open: its owner deregisters, under the lock held here, before it closes it.
            let socket = unsafe { BorrowedFd::borrow_raw(vitals.fd) };
            // A socket that the peer closed already answers ENOTCONN, which is what was wanted.
            let _ = shutdown(socket, how);
            ended += 1;
        }
        ended
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut open = self.registry.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.connections.remove(&self.id);
        if let Some(n) = open.by_address.get_mut(&self.address) {
            *n -= 1;
            if *n == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    const ANY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn a_connection_that_gets_whole_frames_has_no_deadline() {
        let registry = Registry::new(10);
        let (_client, server) = pair();
        let registered = registry.register(&server, ANY, 10, 10).unwrap();
        registered.vitals.more(1000);
        assert_eq!(registered.vitals.frame_until_ms.load(Ordering::Relaxed), 0);
        assert_eq!(registry.sweep(Duration::from_secs(60)), 0);
    }

    #[test]
    fn an_overdue_frame_and_idleness_end_a_connection_and_waiting_for_the_broker_does_not() {
        let registry = Registry::new(10);
        let (mut client, server) = pair();
        let registered = registry.register(&server, ANY, 10, 10).unwrap();
        registered.vitals.waiting(true);
        while registered.vitals.now_ms() < 2 {
            std::hint::spin_loop();
        }
        assert_eq!(registry.sweep(Duration::ZERO), 0);
        registered.vitals.waiting(false);
        registered.vitals.partial(10);
        assert_eq!(registry.sweep(Duration::from_secs(60)), 0);
        registered.vitals.frame_until_ms.store(1, Ordering::Relaxed);
        assert_eq!(registry.sweep(Duration::from_secs(60)), 1);
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "the client sees the end");
    }

    #[test]
    fn limits_count_what_is_open() {
        let registry = Registry::new(10);
        let (_client, server) = pair();
        let first = registry.register(&server, ANY, 10, 1).unwrap();
        assert!(registry.register(&server, ANY, 10, 1).is_none());
        assert!(registry.register(&server, ANY, 1, 9).is_none());
        drop(first);
        assert!(registry.register(&server, ANY, 1, 1).is_some());
        assert_eq!(registry.len(), 0);
    }
}
