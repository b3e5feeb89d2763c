//! Sockets: listeners, connections and their buffers. Knows nothing of what a request means.

pub mod buffers;
pub mod connection;
pub mod limits;
pub mod listener;
pub mod output;
pub mod reactors;
pub mod vitals;
pub mod waves;
pub mod works;
