//! The node's own decisions, from what it sees to what it does.
//!
//! Invariant: quiet. Takes the cluster's state and events, gives commands; touches no file, socket or clock. The server
//! carries the commands out.
//!
//! Read `reconcile.rs`, then `fetcher.rs` and `read_replica.rs`; `kept.rs` is about the beginning.

pub mod fetcher;
pub mod kept;
pub mod read_replica;
pub mod reconcile;

pub use fetcher::{FetchSettings, Fetcher, Verdict};
pub use kept::Kept;
pub use read_replica::ReplicaSelector;
pub use reconcile::{Command, agreed, assignment, reconcile, reconcile_all};
