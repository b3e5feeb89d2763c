//! The release archive, made of the binary under test: it runs unpacked, without the sources; and the container's entry
//! script, run as a folder.

#![allow(clippy::unwrap_used)]

mod archive;
mod container;
mod unpacked;
