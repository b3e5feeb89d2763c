//! The broker as a process: sockets, threads, signals; one file per API.
//!
//! Invariants: a request is answered only with what is committed; nothing that comes from a socket panics or makes memory
//! grow by a claimed length; nothing waits on a reactor. Decisions are made in the quiet crates; this one carries them out.
//!
//! Read `start.rs` (how a node comes up and goes down), `net/connection.rs` and `api/mod.rs` (how a request is answered),
//! `quorum/mod.rs`, `publisher.rs` and `reconciler.rs` (how a change of the cluster's state comes about and reaches the
//! partitions), `controller.rs` (how this node finds who decides).

mod api;
mod assignments;
mod auto_create;
mod broker_ids;
mod chance;
mod cleaner;
mod clock;
mod cold_reads;
pub mod config;
mod controller;
mod departed;
mod failed_dirs;
mod fetch_sessions;
mod four_letter_words;
mod groups;
mod housekeeping;
mod internal_topics;
mod joining;
mod leader_checks;
pub mod local_time;
mod log_config;
mod log_dirs;
mod logging;
mod metrics;
mod moves;
mod net;
mod node;
mod partitions;
mod producer_ids;
mod publisher;
mod quorum;
mod reconciler;
mod registration;
mod remote_controller;
mod replicas;
mod start;
mod stop;
mod sync;
mod takeover;
mod telemetry;
mod threads;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What `kafka-server-start.sh` is called with.
#[derive(Clone, Debug, Default)]
pub struct StartArgs {
    pub properties_file: Option<PathBuf>,
    pub overrides: Vec<(String, String)>,
}

/// Runs a broker until it is told to stop. Everything that is wrong with the start is said on stderr.
pub fn main(args: StartArgs) -> ExitCode {
    start::main(config::load(args.properties_file.as_deref(), &args.overrides))
}

/// Runs the process in ZooKeeper's place, a voter of the metadata quorum, until it is told to stop.
pub fn zookeeper(zoo_cfg: &Path) -> ExitCode {
    start::main(config::load_zoo(zoo_cfg))
}
