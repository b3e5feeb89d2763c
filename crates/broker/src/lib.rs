//! The node's own decisions, from what it sees to what it does.
//!
//! Invariant: quiet. Takes the cluster's state and events, gives commands; touches no file, socket or clock. The server
//! carries the commands out.
//!
//! Read `reconcile.rs`.

pub mod reconcile;

pub use reconcile::{Command, Role, reconcile, reconcile_all};
