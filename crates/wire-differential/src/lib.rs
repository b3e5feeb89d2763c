//! Compares `wire` with the independent codec of the `kafka-protocol` crate. Only tests are in here, in a package of their
//! own so that nothing else waits for that crate to compile.
//!
//! Reading order: `tests/messages.rs`, then `tests/debug.rs`, which makes what both print comparable.
