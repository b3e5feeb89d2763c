//! The cluster's state: what it is ([`image`]), how it is changed ([`controller`]) and where it is kept
//! ([`quorum`]: Kafka's `__cluster_metadata-0` log). [`machine`] is the pattern that they, and the coordinators, follow.
//! [`config`] is the table of all settings.
//!
//! Invariants: only `Image::replay` changes an image; nothing is published before the quorum has committed it; no
//! clock, chance, socket or global is touched: time, randomness and the disk are arguments.
//!
//! Reading order: [`machine`], [`image`], [`controller`], [`quorum`].

pub mod config;
pub mod controller;
pub mod image;
pub mod machine;
pub mod planted;
pub mod quorum;
