//! What `kafka-storage` does with log directories: `node` reads whose they are, `format` makes new ones, `info` tells what
//! is in them.

pub mod format;
pub mod info;
pub mod node;
