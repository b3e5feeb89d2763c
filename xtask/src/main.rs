//! The repository's own commands: `cargo xtask <command>`.
//!
//! - `codegen`: writes `crates/wire/src/{messages/,error_code.rs,api_key.rs}` from `crates/wire/schema/`;
//!   `codegen --check` only says whether they are as they should be.

mod codegen;

use std::{path::Path, process::ExitCode};

/// The repository's root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["codegen"] => codegen::write(root()),
        ["codegen", "--check"] => codegen::check(root()),
        _ => Err("usage: cargo xtask codegen [--check]".to_owned()),
    };
    match outcome {
        Ok(said) => {
            say(&said);
            ExitCode::SUCCESS
        }
        Err(said) => {
            say(&said);
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stderr, reason = "a command talks to whoever typed it")]
fn say(text: &str) {
    eprintln!("{text}");
}
