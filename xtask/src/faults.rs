//! `cargo xtask faults`: three nodes and their clients under random faults, for as long as wanted.
//!
//! The same test as in CI (`crates/cli/tests/faults`), which takes its settings from the environment. It prints a line for
//! each fault, and fails at the first thing that is not as promised. Linux and root only.

use std::path::Path;
use std::process::{Command, ExitCode};

/// How long without `--minutes`.
const MINUTES: &str = "10";

/// Runs it; everything is printed as it comes.
pub fn run(root: &Path, arguments: &[String]) -> ExitCode {
    let mut settings = vec![("FAULTS_MINUTES", MINUTES.to_owned())];
    let mut left = arguments.iter();
    while let Some(argument) = left.next() {
        let name = match argument.as_str() {
            "--minutes" => "FAULTS_MINUTES",
            "--seed" => "FAULTS_SEED",
            "--only" => "FAULTS_ONLY",
            "--synced" => {
                settings.push(("FAULTS_SYNCED", "1".to_owned()));
                continue;
            }
            other => return refuse(&format!("unknown argument {other}")),
        };
        match left.next() {
            Some(value) => settings.push((name, value.clone())),
            None => return refuse(&format!("{argument} wants a value")),
        }
    }
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "-p", "cli", "--test", "faults", "nothing", "--", "--nocapture"]).current_dir(root);
    match cargo.envs(settings).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => refuse(&format!("cargo: {error}")),
    }
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(2)
}
