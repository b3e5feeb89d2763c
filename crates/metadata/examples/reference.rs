//! Prints the reference page of settings; `cargo xtask reference` puts it into `docs`.

use std::io::Write;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(metadata::config::reference::page().as_bytes())
}
