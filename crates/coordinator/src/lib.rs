//! Consumer groups of the classic protocol and their committed offsets: one [`Shard`] for each partition of
//! `__consumer_offsets`, a machine in the sense of [`metadata::machine`].
//!
//! A shard is asked by [`Shard::handle`] and by [`Shard::tick`]; both return [`Effects`]: records to append to the
//! partition, and replies that may go out. Replies that depend on records come out of [`Shard::committed`] or
//! [`Shard::failed`]. What is in the log is the `Store`, changed only by applying records, so a restart that
//! replays them (see [`Loader`]) stands where the committed state stood. Who is connected, waits or has to send a
//! heartbeat is soft state beside it, rebuilt from the store.
//!
//! Invariants: no clock, no chance, no I/O: time and random ids are arguments. No reply leaves before what
//! it promises is committed. Every token that was given in comes out exactly once. A group that nobody uses costs its
//! records in the store and nothing else.
//!
//! Reading order: [`request`], [`store`], [`records`], `member` and `group` (the membership of one group), `rebalance`
//! (its phases), `shard`, [`load`].

mod config;
mod group;
pub mod load;
mod member;
mod partition;
pub mod planted;
mod rebalance;
pub mod records;
pub mod request;
mod shard;
pub mod store;
mod timers;

pub use config::{Config, Limits};
pub use group::GroupState;
pub use load::{LoadError, Loader};
pub use partition::partition_for;
pub use request::{Reply, ReplyToken, Request};
pub use shard::{DescribedGroup, DescribedMember, Effects, ListedGroup, Shard, Write, expirable};
pub use store::GroupKind;

/// The time of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// A clock that never jumps, in milliseconds from any origin: timeouts run on it.
    pub steady_ms: i64,
    /// Milliseconds since the epoch: what is written into records.
    pub wall_ms: i64,
}
