//! Kafka's protocol: messages, frames, record batches, error codes, and the types of ids.
//!
//! Invariant: this crate neither reads nor writes anything but memory, and no input makes it panic or take memory
//! beyond the input's own size (and, where it must, a stated bound).
//!
//! Reading order: [`codec`] (how a value is read and written), [`header`], then [`messages`], which `cargo xtask codegen`
//! writes from the schemas in `schema/`, as it does [`ErrorCode`] and [`ApiKey`]; then [`records`], the batches that are
//! inside of messages and logs.

pub mod codec;
pub mod control;
pub mod header;
pub mod messages;
pub mod records;

mod uuid;

pub use messages::{ApiKey, ErrorCode, Listener, UnknownApiKey};
pub use uuid::{InvalidUuid, Uuid};
