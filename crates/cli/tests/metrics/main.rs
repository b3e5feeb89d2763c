//! The metrics page of a running broker: what it says of traffic and groups, and that it, its documentation, the dashboard and
//! the alert rules agree on its names.

#![allow(clippy::unwrap_used)]

mod groups;
#[allow(dead_code)] // shared with the tests of the tools, which use all of it
#[path = "../tools/harness.rs"]
mod harness;
mod names;
mod page;
mod threads;
mod traffic;
