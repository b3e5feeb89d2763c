//! The repository's own commands: `cargo xtask test [STAGE...]`.

#![allow(clippy::print_stderr)]

mod test;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((command, rest)) if command == "test" => test::run(rest),
        _ => {
            eprintln!("usage: cargo xtask test [STAGE...]");
            ExitCode::from(2)
        }
    }
}
