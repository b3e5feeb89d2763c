//! Connect workers as a user runs them: the binary, its REST server, a broker.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tools/harness.rs"]
#[allow(dead_code)]
mod broker;
mod worker;

mod distributed;
mod errors;
mod killed;
mod rest;
mod standalone;
