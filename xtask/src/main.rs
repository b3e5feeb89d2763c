//! The repository's own commands: `cargo xtask <command>`.
//!
//! - `test [STAGE...]`: every check, see [`test`].
//! - `codegen`: writes `crates/wire/src/messages/` from `crates/wire/schema/`;
//!   `codegen --check` only says whether they are as they should be.
//! - `dist [--binary PATH] [--out DIR]`: the release archive, see [`dist`].
//! - `faults [--minutes N] [--seed N] [--only KIND,...] [--synced]`: a cluster under faults, see [`faults`].
//! - `reference`: writes `docs/configuration.md` from the table of settings; a test of `metadata` says when it is stale.

#![allow(clippy::print_stderr)]

mod codegen;
mod dist;
mod faults;
mod reference;
mod test;

use std::{path::Path, process::ExitCode};

/// The repository's root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((command, rest)) if command == "test" => test::run(rest),
        Some((command, [])) if command == "codegen" => tell(codegen::write(root())),
        Some((command, [check])) if command == "codegen" && check == "--check" => tell(codegen::check(root())),
        Some((command, rest)) if command == "dist" => tell(dist::run(root(), rest)),
        Some((command, rest)) if command == "faults" => faults::run(root(), rest),
        Some((command, [])) if command == "reference" => tell(reference::write(root())),
        _ => {
            eprintln!(
                "usage: cargo xtask test [STAGE...] | codegen [--check] | dist [--binary PATH] [--out DIR] | \
                 faults [--minutes N] [--seed N] [--only KIND,...] [--synced] | reference"
            );
            ExitCode::from(2)
        }
    }
}

fn tell(outcome: Result<String, String>) -> ExitCode {
    match outcome {
        Ok(said) => {
            eprintln!("{said}");
            ExitCode::SUCCESS
        }
        Err(said) => {
            eprintln!("{said}");
            ExitCode::FAILURE
        }
    }
}
