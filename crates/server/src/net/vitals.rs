//! The signs of life of every connection, and the sweep that ends the dead ones.
//!
//! A connection's task never arms a timer of its own: it notes when it last moved and, while part of a frame is there,
//! until when the rest must come. One sweep a second looks at the notes and shuts down sockets whose time is up; their
//! tasks see the end of the stream and go. That keeps timers off the hot path and out of ten thousand idle connections.
#![allow(unsafe_code)] // a descriptor is used while its owner is registered, which the borrow checker cannot see

use super::limits::{Limits, Pace};
use rustix::net::{Shutdown, shutdown};
use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A frame must be whole this long after its first byte, plus the time its bytes need at [`SLOWEST_BYTES_PER_MS`].
const FRAME_MS: u64 = 10_000;
/// A connection for which there is no room asks again after this long.
const FULL_PAUSE: Duration = Duration::from_millis(50);
/// Nobody waits longer than this before the limits, which may have changed, are looked at again.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Slower than this is an attack or no use: 64 KiB a second.
const SLOWEST_BYTES_PER_MS: u64 = 64;

/// One connection's notes. Times are milliseconds since the registry's start.
pub struct Vitals {
    /// Negative while there is none: see [`Registered::aside`].
    fd: AtomicI32,
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

    /// To be called under the registry's lock.
    fn shut(&self, how: Shutdown) {
        let fd = self.fd.load(Ordering::Relaxed);
        if fd < 0 {
            return;
        }
        // SAFETY: the descriptor is open: its owner deregisters it, or puts it aside, under the lock that is held, before
        // it can be closed.
        let socket = unsafe { BorrowedFd::borrow_raw(fd) };
        // A socket that the peer closed already answers ENOTCONN, which is what was wanted.
        let _ = shutdown(socket, how);
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
    connections: HashMap<u64, Connection>,
    by_address: HashMap<IpAddr, usize>,
    by_listener: HashMap<Arc<str>, OnListener>,
    /// How all connections were told to end, once they were.
    ending: Option<Shutdown>,
    /// Of all listeners together.
    pace: Pace,
}

struct Connection {
    vitals: Arc<Vitals>,
    listener: Arc<str>,
}

#[derive(Default)]
struct OnListener {
    connections: usize,
    pace: Pace,
}

/// Why a connection is not let in.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There are too many, or they come too fast: it may ask again after this long.
    Wait(Duration),
    /// Too many from its address.
    Address,
}

/// Keeps a connection registered; must be dropped before the socket is closed.
pub struct Registered {
    registry: Arc<Registry>,
    id: u64,
    address: IpAddr,
    listener: Arc<str>,
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

    /// Registers a connection, or says which of the limits is reached.
    pub fn register(
        self: &Arc<Registry>,
        socket: &impl AsRawFd,
        address: IpAddr,
        listener: &Arc<str>,
        limits: &Limits,
    ) -> Result<Registered, Refusal> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.admit(address, listener, limits, Instant::now())?;
        let now = self.started.elapsed().as_millis() as u64;
        let vitals = Arc::new(Vitals {
            fd: AtomicI32::new(socket.as_raw_fd()),
            started: self.started,
            moved_ms: AtomicU64::new(now),
            frame_until_ms: AtomicU64::new(0),
            waiting: AtomicBool::new(false),
        });
        open.next += 1;
        let id = open.next;
        open.connections.insert(id, Connection { vitals: vitals.clone(), listener: listener.clone() });
        Ok(Registered { registry: self.clone(), id, address, listener: listener.clone(), vitals })
    }

    pub fn len(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).connections.len()
    }

    /// Ends connections that are idle for more than `idle` or whose frame did not come in time; returns how many.
    pub fn sweep(&self, idle: Duration) -> usize {
        self.shut(Shutdown::Both, |vitals| vitals.is_dead(idle.as_millis() as u64))
    }

    /// Ends the connections beyond `max.connections`, those that moved longest ago first; the brokers' own stay. There are
    /// some when the limit was lowered, or a broker came while clients had all of them.
    pub fn close_excess(&self, limits: &Limits) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let excess = open.connections.len().saturating_sub(limits.all.connections);
        if excess == 0 {
            return 0;
        }
        let clients = open.connections.values().filter(|c| !limits.is_protected(&c.listener));
        let mut clients: Vec<&Vitals> = clients.map(|c| &*c.vitals).collect();
        let excess = excess.min(clients.len());
        clients.sort_unstable_by_key(|vitals| vitals.moved_ms.load(Ordering::Relaxed));
        clients[..excess].iter().for_each(|vitals| vitals.shut(Shutdown::Both));
        excess
    }

    /// Takes no more requests; answers under way still go out, after which each connection ends.
    pub fn close_reading(&self) -> usize {
        self.end(Shutdown::Read)
    }

    /// Ends all connections.
    pub fn close_all(&self) -> usize {
        self.end(Shutdown::Both)
    }

    fn end(&self, how: Shutdown) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).ending = Some(how);
        self.shut(how, |_| true)
    }

    fn shut(&self, how: Shutdown, which: impl Fn(&Vitals) -> bool) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ended = 0;
        for vitals in open.connections.values().map(|c| &c.vitals).filter(|v| which(v)) {
            vitals.shut(how);
            ended += 1;
        }
        ended
    }
}

impl Open {
    /// Counts a connection in, or says which limit is reached.
    fn admit(&mut self, address: IpAddr, listener: &Arc<str>, limits: &Limits, now: Instant) -> Result<(), Refusal> {
        let (own, protected) = (limits.of_listener(listener), limits.is_protected(listener));
        let here = self.by_listener.entry(listener.clone()).or_default();
        let full =
            here.connections >= own.connections || (!protected && self.connections.len() >= limits.all.connections);
        let for_all = if protected { Duration::ZERO } else { self.pace.wait(limits.all.rate, now) };
        let wait = here.pace.wait(own.rate, now).max(for_all).max(if full { FULL_PAUSE } else { Duration::ZERO });
        if wait > Duration::ZERO {
            return Err(Refusal::Wait(wait.min(LONGEST_PAUSE)));
        }
        here.pace.count(own.rate, now);
        self.pace.count(limits.all.rate, now);
        let from_address = self.by_address.get(&address).copied().unwrap_or_default();
        if from_address >= limits.from(address) {
            return Err(Refusal::Address);
        }
        here.connections += 1;
        self.by_address.insert(address, from_address + 1);
        Ok(())
    }
}

impl Registered {
    /// How many connections there are, with this one.
    pub fn open_connections(&self) -> usize {
        self.registry.len()
    }

    /// The socket may be closed without further notice, until it is [`back`](Self::back).
    pub fn aside(&self) {
        let _open = self.registry.open.lock().unwrap_or_else(PoisonError::into_inner);
        self.vitals.fd.store(-1, Ordering::Relaxed);
    }

    /// The socket is there again; it ends where all were told to while it was aside.
    pub fn back(&self, socket: &impl AsRawFd) {
        let open = self.registry.open.lock().unwrap_or_else(PoisonError::into_inner);
        self.vitals.fd.store(socket.as_raw_fd(), Ordering::Relaxed);
        if let Some(how) = open.ending {
            self.vitals.shut(how);
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut open = self.registry.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.connections.remove(&self.id);
        if let Some(here) = open.by_listener.get_mut(&self.listener) {
            here.connections -= 1;
        }
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
    const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

    fn limits(settings: &[(&str, &str)]) -> Limits {
        let file: client::Properties = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Limits::of(&metadata::config::Layers::of_file(&file), &["PLAINTEXT", "CLIENTS"]).0
    }

    fn clients() -> Arc<str> {
        "CLIENTS".into()
    }

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn a_socket_that_is_put_aside_is_left_alone_until_it_is_back() {
        let registry = Registry::new(10);
        let (mut client, server) = pair();
        let registered = registry.register(&server, ANY, &clients(), &limits(&[])).unwrap();
        registered.aside();
        let (mut other, _other_server) = pair();
        assert_eq!(registry.close_all(), 1);
        for stream in [&mut client, &mut other] {
            stream.set_nonblocking(true).unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        }
        registered.back(&server);
        client.set_nonblocking(false).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "it ends as all were told to");
    }

    #[test]
    fn a_connection_that_gets_whole_frames_has_no_deadline() {
        let registry = Registry::new(10);
        let (_client, server) = pair();
        let registered = registry.register(&server, ANY, &clients(), &limits(&[])).unwrap();
        registered.vitals.more(1000);
        assert_eq!(registered.vitals.frame_until_ms.load(Ordering::Relaxed), 0);
        assert_eq!(registry.sweep(Duration::from_secs(60)), 0);
    }

    #[test]
    fn an_overdue_frame_and_idleness_end_a_connection_and_waiting_for_the_broker_does_not() {
        let registry = Registry::new(10);
        let (mut client, server) = pair();
        let registered = registry.register(&server, ANY, &clients(), &limits(&[])).unwrap();
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
        let (registry, (_client, server)) = (Registry::new(10), pair());
        let register = |address, limits: &Limits| registry.register(&server, address, &clients(), limits);
        let per_address = limits(&[("max.connections.per.ip", "1")]);
        let first = register(ANY, &per_address).ok().unwrap();
        assert_eq!(register(ANY, &per_address).err(), Some(Refusal::Address));
        let (one, one_here) = (("max.connections", "1"), ("listener.name.clients.max.connections", "1"));
        assert!(matches!(register(OTHER, &limits(&[one])), Err(Refusal::Wait(_))));
        assert!(matches!(register(OTHER, &limits(&[one_here])), Err(Refusal::Wait(_))));
        let broker = registry.register(&server, OTHER, &"PLAINTEXT".into(), &limits(&[one, one_here]));
        assert!(broker.is_ok(), "brokers do not wait for clients");
        drop((first, broker));
        assert!(register(ANY, &limits(&[one, one_here])).is_ok());
        assert_eq!(registry.len(), 0);
    }

    #[test]
    fn new_connections_wait_where_they_come_too_fast() {
        let (registry, (_client, server)) = (Registry::new(10), pair());
        for key in ["max.connection.creation.rate", "listener.name.clients.max.connection.creation.rate"] {
            let limits = limits(&[(key, "0")]);
            let told = registry.register(&server, ANY, &clients(), &limits).err();
            assert_eq!(told, Some(Refusal::Wait(LONGEST_PAUSE)), "{key}");
        }
    }

    #[test]
    fn a_lowered_limit_ends_the_clients_that_were_quiet_longest() {
        let (registry, limits) = (Registry::new(10), limits(&[("max.connections", "2")]));
        let pairs: Vec<_> = (0..4).map(|_| pair()).collect();
        let unlimited = self::limits(&[]);
        let names = ["PLAINTEXT", "CLIENTS", "CLIENTS", "CLIENTS"];
        let open: Vec<_> = pairs
            .iter()
            .zip(names)
            .map(|((_, server), name)| registry.register(server, ANY, &name.into(), &unlimited).ok().unwrap())
            .collect();
        for (at, registered) in open.iter().enumerate() {
            registered.vitals.moved_ms.store([0, 30, 10, 20][at], Ordering::Relaxed);
        }
        assert_eq!(registry.close_excess(&limits), 2);
        for (at, (client, _)) in pairs.iter().enumerate() {
            client.set_nonblocking(true).unwrap();
            let ended = matches!((&*client).read(&mut [0]), Ok(0));
            assert_eq!(ended, at >= 2, "connection {at}");
        }
        drop(open);
        assert_eq!(registry.close_excess(&limits), 0);
    }
}
