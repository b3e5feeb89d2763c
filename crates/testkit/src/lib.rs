//! What the tests of several crates share. A dev-dependency only: the product never depends on it.

pub mod simulation;

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// A port of 127.0.0.1 that is free now and stays so: below the range from which outgoing connections take theirs, not
/// given out twice in this process, and each process of tests begins its search elsewhere.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 15_000;
    const COUNT: u16 = 5_000;
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (std::process::id() as u16).wrapping_mul(61).wrapping_add(step) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
