//! An operator's work on one broker, through the tools alone: `day` is the ordinary kind, `moves` is about directories,
//! `full_disk`, `failed_dirs` and `damaged_groups` are the other kind. The metrics page is read all along, and every page is checked.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod broker;
mod damaged_groups;
mod day;
mod failed_dirs;
mod full_disk;
mod metrics;
mod moves;
mod signals;
mod stop_tool;
