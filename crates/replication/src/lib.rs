//! One partition's replica: leadership, followers, high watermark, and the requests that wait for it.
//!
//! **Invariants.** Nothing is readable by a consumer or acknowledged beyond the high watermark. The high watermark never
//! passes what the partition's durability asks for, nor what any member of the maximal ISR is known to have (KIP-497), and
//! a replica moves it down only where a leader's log makes it cut its own. Knows nothing of connections, other partitions
//! or the cluster; no I/O of its own.
//!
//! Reading order: `partition.rs`; `assignment.rs` (what the controller says), `leader.rs` and `isr.rs` (what a leader knows
//! of its followers), `follower.rs` (how a follower takes what its leader answers), `acks.rs`, `deletion.rs` and `park.rs`.

pub mod acks;
pub mod assignment;
pub mod brokers;
mod deletion;
pub mod follower;
pub mod isr;
mod leader;
pub mod park;
pub mod partition;
pub mod planted;

pub use acks::Ack;
pub use assignment::Assignment;
pub use brokers::Brokers;
pub use follower::{Answer, Followed, Position};
pub use isr::{Agreed, Proposal};
pub use leader::ReplicaFetch;
pub use park::Park;
pub use partition::{Appended, Durability, Partition, Role, Settings};
