//! `cargo xtask test`: every check and test of the repository, in stages.
//!
//! Each stage says how long it took, the run ends with one plain line, `N passed, N failed, N skipped`, and fails
//! when anything failed. A stage that is no test suite (formatting, lints) counts as one test. Stages can be named
//! (`cargo xtask test tidy compat`); without names all of them run. A skip is an answer on a developer's machine,
//! where Java or kcat may be missing; with `CI` set it is a failure.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::{BufRead, BufReader, Write};
use std::ops::AddAssign;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// A stage's name, what it covers, and its runner.
type Stage = (&'static str, &'static str, fn() -> Outcome);

const STAGES: &[Stage] = &[
    ("fmt", "formatting", || check("cargo", &["fmt", "--all", "--check"])),
    ("clippy", "lints, on all targets", || {
        check("cargo", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])
    }),
    ("unit", "all Rust tests", || suite("cargo", &["test", "--workspace", "--no-fail-fast", "--quiet"])),
    // Installs what the clients need under target/compat, and starts the broker itself.
    ("compat", "real clients against the broker", || suite("compat/run", &[])),
];

/// What one stage, or the whole run, came to.
#[derive(Default)]
struct Outcome {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// Lines worth repeating at the end: what failed or was skipped.
    notes: Vec<String>,
}

impl Outcome {
    fn failure(note: String) -> Outcome {
        Outcome { failed: 1, notes: vec![note], ..Outcome::default() }
    }
}

impl AddAssign for Outcome {
    fn add_assign(&mut self, other: Outcome) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.notes.extend(other.notes);
    }
}

/// Runs the stages named in `wanted`, all of them when it is empty.
pub fn run(wanted: &[String]) -> ExitCode {
    if let Some(unknown) = wanted.iter().find(|name| !STAGES.iter().any(|stage| stage.0 == *name)) {
        let known: Vec<&str> = STAGES.iter().map(|stage| stage.0).collect();
        eprintln!("no stage is called {unknown:?}; there are: {}", known.join(", "));
        return ExitCode::from(2);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    if let Err(error) = std::env::set_current_dir(&root) {
        eprintln!("cannot enter {}: {error}", root.display());
        return ExitCode::from(2);
    }
    let mut total = Outcome::default();
    let mut times = Vec::new();
    for (name, covers, stage) in STAGES.iter().filter(|stage| wanted.is_empty() || wanted.iter().any(|w| w == stage.0))
    {
        println!("=== {name}: {covers}");
        let started = Instant::now();
        let outcome = stage();
        let seconds = started.elapsed().as_secs_f64();
        times.push(format!("{name} {seconds:.1} s"));
        println!(
            "=== {name} took {seconds:.1} s: {} passed, {} failed, {} skipped",
            outcome.passed, outcome.failed, outcome.skipped
        );
        total += outcome;
    }
    println!("stages: {}", times.join(", "));
    for note in &total.notes {
        println!("  {note}");
    }
    let skips_fail = std::env::var_os("CI").is_some() && total.skipped > 0;
    if skips_fail {
        println!("CI is set: what was skipped counts as a failure of the run");
    }
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    ExitCode::from(u8::from(total.failed > 0 || total.passed == 0 || skips_fail))
}

/// Runs a command that either passes or fails as a whole.
fn check(program: &str, arguments: &[&str]) -> Outcome {
    let line = format!("{program} {}", arguments.join(" "));
    match Command::new(program).args(arguments).status() {
        Ok(status) if status.success() => Outcome { passed: 1, ..Outcome::default() },
        Ok(status) => Outcome::failure(format!("failed: {line} ({status})")),
        Err(error) => Outcome::failure(format!("failed: {line}: {error}")),
    }
}

/// Runs a test suite, shows what it prints, and adds up the results that it reports.
fn suite(program: &str, arguments: &[&str]) -> Outcome {
    let line = format!("{program} {}", arguments.join(" "));
    let mut child = match Command::new(program).args(arguments).stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => return Outcome::failure(format!("failed: {line}: {error}")),
    };
    let mut outcome = Outcome::default();
    if let Some(output) = child.stdout.take() {
        for text in BufReader::new(output).lines().map_while(Result::ok) {
            // A closed stdout is no reason to abandon the tests: their result is the exit code.
            let _ = writeln!(std::io::stdout(), "{text}");
            outcome += report(&text);
        }
    }
    match child.wait() {
        Ok(status) if status.success() => {}
        // Without a failed test the command itself failed, most often because something did not build.
        Ok(status) if outcome.failed == 0 => outcome += Outcome::failure(format!("failed: {line} ({status})")),
        Ok(_) => {}
        Err(error) => outcome += Outcome::failure(format!("failed: {line}: {error}")),
    }
    outcome
}

/// Reads one line of a suite's output: cargo's `test result:` lines, the client suites' `compat result:` line, and
/// the names of what failed or was skipped.
fn report(text: &str) -> Outcome {
    let mut outcome = Outcome::default();
    if let Some((_, counts)) = text.split_once("result: ") {
        for part in counts.split(['.', ';', ',']) {
            let mut words = part.split_whitespace();
            let (Some(Ok(count)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) else { continue };
            match what {
                "passed" => outcome.passed += count,
                "failed" => outcome.failed += count,
                "ignored" | "skipped" => outcome.skipped += count,
                _ => {}
            }
        }
    } else if (text.starts_with("---- ") && text.ends_with(" stdout ----"))
        || text.starts_with("FAILED ")
        || text.starts_with("SKIPPED ")
    {
        outcome.notes.push(text.trim_matches(['-', ' ']).replace(" stdout", " failed"));
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(text: &str) -> (u64, u64, u64) {
        let outcome = report(text);
        (outcome.passed, outcome.failed, outcome.skipped)
    }

    #[test]
    fn results_of_cargo_and_of_the_client_suites_are_added_up() {
        let cargo =
            "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.04s";
        assert_eq!(counts(cargo), (12, 1, 2));
        assert_eq!(counts("compat result: 7 passed, 0 failed, 1 skipped"), (7, 0, 1));
        assert_eq!(counts("running 12 tests"), (0, 0, 0));
    }

    #[test]
    fn failed_tests_are_named_again_at_the_end() {
        assert_eq!(report("---- codec::tests::counts stdout ----").notes, ["codec::tests::counts failed"]);
        assert_eq!(report("SKIPPED kcat: not installed").notes, ["SKIPPED kcat: not installed"]);
    }
}
