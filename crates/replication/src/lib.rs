//! One partition's replica: leadership, high watermark, and the requests that wait for it.
//!
//! Invariant: nothing is readable or acknowledged beyond the high watermark, and the high watermark never passes what
//! the partition's durability asks for. Knows nothing of connections, other partitions or the cluster; no I/O of its own.
//!
//! Read `partition.rs`, then `park.rs`.

pub mod park;
pub mod partition;

pub use park::Park;
pub use partition::{Appended, Durability, Partition, Role};
