//! Bad input against the running broker: each test sends what a broken or hostile peer might send, and expects Kafka's
//! answer (or the closed connection), no panic, bounded memory, and other clients undisturbed.
//!
//! Each test has a broker of its own, from the built binary. `Broker` checks at its end that the process is still
//! there, that nothing panicked, that memory did not grow beyond what the test allows, and that a client which was
//! there before is still answered.
//!
//! With `BAD_INPUT_BROKER=host:port` the tests go to that broker instead, which is how their expectations were held
//! against Apache Kafka 4.3.1; the few where ours is stricter say so.
//!
//! Reading order: `harness`, `batches` (record batches and how they are bent), then a file for each kind of input.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod batches;
mod clients;
mod every_api;
mod files;
mod frames;
mod groups;
mod harness;
mod names;
mod produce;
mod sequences;
mod telemetry;
