//! The rules of ARCHITECTURE.md and CONTRIBUTING.md that a machine can see.
//!
//! Reading order: the tables at the top are the rules, the tests below apply them to the tracked files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which crates of ours each crate may use. All arrows point down: nothing here is used by something above it.
const ARROWS: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("wire-differential", &[]),
    ("testkit", &[]),
    ("storage", &["wire"]),
    ("replication", &["wire", "storage"]),
    ("metadata", &["wire", "storage"]),
    ("coordinator", &["wire", "metadata"]),
    ("broker", &["wire", "storage", "replication", "metadata", "coordinator"]),
    ("client", &["wire"]),
    ("connect-api", &[]),
    ("connect-transforms", &["connect-api"]),
    ("connect", &["wire", "client", "connect-api", "connect-transforms"]),
    ("connect-example", &["connect", "connect-api"]),
    ("server", &["wire", "storage", "replication", "metadata", "coordinator", "broker", "client"]),
    ("cli", &["wire", "storage", "replication", "metadata", "coordinator", "broker", "client", "server", "connect"]),
];

/// The crates below the line: no sockets, threads, clocks, chance or ambient state, so that a simulation can run them.
const QUIET: &[&str] = &["wire", "storage", "replication", "metadata", "coordinator", "broker"];

/// What quiet code must not name, and what it takes instead.
const LOUD_WORDS: &[(&str, &str)] = &[
    ("tokio", "a parked request and a released reply"),
    ("std::net", "bytes as arguments"),
    ("std::os::unix::net", "bytes as arguments"),
    ("Instant", "`now_ms` as an argument"),
    ("SystemTime", "`now_ms` as an argument"),
    ("std::thread", "one owner at a time"),
    ("thread::spawn", "one owner at a time"),
    ("thread_local!", "an argument"),
    ("static mut", "an argument"),
    ("getrandom", "chance as an argument"),
    ("rand::", "chance as an argument"),
    ("RandomState", "chance as an argument"),
    ("std::env", "a config struct"),
    ("std::process", "an error that the shell acts on"),
];

/// Where quiet code may name `std::fs`: the real disk, and the file handle that a Fetch answer carries.
const FILE_ROOMS: &[&str] = &["crates/storage/src/disk.rs", "crates/storage/src/real_disk.rs", "crates/wire/src/codec"];

/// The modules that may contain `unsafe`, each with a `SAFETY` comment at every block.
const UNSAFE_ROOMS: &[&str] = &[
    "crates/cli/tests/faults/power.rs",
    "crates/server/src/net/buffers.rs",
    "crates/server/src/net/vitals.rs",
    "crates/server/src/net/waves.rs",
    "crates/server/src/threads.rs",
    "crates/storage/src/real_disk.rs",
    "crates/wire/tests/allocations.rs",
];

/// Longest file, in lines; generated ones aside. A ratchet, not an aim: split by noun at 500.
const LINES_MAX: usize = 750;

/// The same for tests, which are read case by case.
const TEST_LINES_MAX: usize = 1000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository's root")
}

/// Every text file that belongs to the repository, with its path from the root.
fn tracked() -> Vec<(String, String)> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let paths: Vec<String> = match listed {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => {
            String::from_utf8_lossy(&output.stdout).split_terminator('\0').map(str::to_owned).collect()
        }
        // An unpacked source archive has no git: then what lies there is what belongs to it.
        _ => walk(&root(), ""),
    };
    let read = |path: String| std::fs::read_to_string(root().join(&path)).ok().map(|text| (path, text));
    let files: Vec<_> = paths.into_iter().filter_map(read).collect();
    assert!(files.iter().any(|(path, _)| path == "Cargo.toml"), "the list of files is empty or of another folder");
    files
}

fn walk(folder: &Path, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a readable folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            if !["target", ".git", "data", "logs", ".venv"].contains(&name.as_str()) {
                found.extend(walk(&entry.path(), &format!("{prefix}{name}/")));
            }
        } else {
            found.push(format!("{prefix}{name}"));
        }
    }
    found
}

fn rust_files() -> Vec<(String, String)> {
    tracked().into_iter().filter(|(path, _)| path.ends_with(".rs")).collect()
}

fn is_generated(path: &str) -> bool {
    path.contains("generated") || path.contains("/gen/") || path.contains("/messages/")
}

/// Test code may be loud: it lies in `tests`, `benches` or `fuzz` folders, in `tests.rs`, or below `#[cfg(test)]`.
fn is_test(path: &str) -> bool {
    path.split('/').any(|part| ["tests", "benches", "fuzz", "tests.rs", "testing.rs", "bench"].contains(&part))
}

/// The code lines of a file with their numbers: no comments, nothing from the first `#[cfg(test)]` module on.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let end = lines
        .windows(2)
        .position(|pair| pair[0].trim() == "#[cfg(test)]" && pair[1].trim_start().starts_with("mod "))
        .filter(|&at| lines[at + 1].trim_end().ends_with('{'))
        .unwrap_or(lines.len());
    let kept: Vec<(usize, &str)> = lines[..end]
        .iter()
        .enumerate()
        .map(|(i, line)| (i + 1, line.split("//").next().unwrap_or_default()))
        .filter(|(_, line)| !line.trim().is_empty())
        .collect();
    kept.into_iter()
}

fn none(findings: Vec<String>, rule: &str) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

/// The keys of one section of a manifest, with dots and spaces cut off (`wire.workspace = true` gives `wire`).
fn manifest_keys(text: &str, section: &str) -> Vec<String> {
    let mut inside = false;
    let mut keys = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == format!("[{section}]");
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            keys.push(line.split(['.', '=', ' ']).next().unwrap_or_default().to_owned());
        }
    }
    keys
}

#[test]
fn crates_use_only_what_lies_below_them() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut findings = Vec::new();
    for (path, text) in tracked() {
        let Some(name) = path.strip_prefix("crates/").and_then(|rest| rest.strip_suffix("/Cargo.toml")) else {
            continue;
        };
        let Some(allowed) = arrows.get(name) else {
            findings.push(format!("{name}: not on the map; add it to ARROWS and to ARCHITECTURE.md"));
            continue;
        };
        for used in manifest_keys(&text, "dependencies") {
            if arrows.contains_key(used.as_str()) && !allowed.contains(&used.as_str()) {
                findings.push(format!("{name} uses {used}"));
            }
        }
    }
    none(findings, "all arrows point down (ARCHITECTURE.md)");
}

#[test]
fn quiet_crates_name_no_clock_no_socket_no_thread_and_no_chance() {
    let mut findings = Vec::new();
    for (path, text) in rust_files() {
        let quiet = QUIET.iter().any(|name| path.starts_with(&format!("crates/{name}/src/")));
        if !quiet || is_test(&path) || is_generated(&path) {
            continue;
        }
        for (number, line) in code(&text) {
            for (word, instead) in LOUD_WORDS {
                if line.contains(word) {
                    findings.push(format!("{path}:{number} names {word}; take {instead}"));
                }
            }
            if line.contains("std::fs") && !FILE_ROOMS.iter().any(|room| path.starts_with(room)) {
                findings.push(format!("{path}:{number} names std::fs; go through storage's Disk"));
            }
        }
    }
    for name in QUIET {
        let manifest = std::fs::read_to_string(root().join(format!("crates/{name}/Cargo.toml"))).expect("a manifest");
        for used in manifest_keys(&manifest, "dependencies") {
            if ["tokio", "socket2", "rand", "tracing-subscriber"].contains(&used.as_str()) {
                findings.push(format!("{name} depends on {used}"));
            }
        }
    }
    none(findings, "quiet crates take time, chance, files and messages as arguments");
}

#[test]
fn unsafe_code_stays_in_named_modules_and_says_why_it_is_sound() {
    let word = concat!("uns", "afe");
    let mut findings = Vec::new();
    for (path, text) in rust_files() {
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let bare = line.split("//").next().unwrap_or_default();
            let opens = [" {", " fn", " impl", " extern"].iter().any(|after| bare.contains(&format!("{word}{after}")));
            if !opens || bare.contains('"') {
                continue;
            }
            if !UNSAFE_ROOMS.iter().any(|room| path == *room) {
                findings.push(format!("{path}:{}: not a module listed in UNSAFE_ROOMS", at + 1));
            }
            if !lines[at.saturating_sub(6)..=at].iter().any(|near| near.contains("SAFETY") || near.contains("# Safety"))
            {
                findings.push(format!("{path}:{}: no SAFETY comment above it", at + 1));
            }
        }
    }
    none(findings, "unsafe code is rare, listed and explained");
}

#[test]
fn nothing_is_left_for_later_in_the_source() {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X "), concat!("db", "g!(")];
    let mut findings = Vec::new();
    for (path, text) in tracked() {
        if path.ends_with(".json") || path.ends_with(".lock") || is_generated(&path) {
            continue;
        }
        for (at, line) in text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(*word)) {
                findings.push(format!("{path}:{}: {word}", at + 1));
            }
        }
    }
    none(findings, "what is missing is said in docs/compatibility.md or an issue, not in the source");
}

#[test]
fn files_stay_readable_in_one_sitting() {
    let long = |(path, text): (String, String)| {
        let (lines, max) = (text.lines().count(), if is_test(&path) { TEST_LINES_MAX } else { LINES_MAX });
        (lines > max && !is_generated(&path)).then(|| format!("{path}: {lines} lines"))
    };
    none(rust_files().into_iter().filter_map(long).collect(), "split by noun; aim under 500 lines, at most 750");
}

#[test]
fn no_machine_is_named() {
    let prefixes = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/fa", "rm/"), concat!("/tmp/kl", "amm")];
    let mut findings = Vec::new();
    for (path, text) in tracked().into_iter().filter(|(path, _)| !path.ends_with(".lock")) {
        for (at, line) in text.lines().enumerate() {
            if let Some(prefix) = prefixes.iter().find(|prefix| line.contains(*prefix)) {
                findings.push(format!("{path}:{}: {prefix}", at + 1));
            }
        }
    }
    none(findings, "nothing tracked knows the machine it was written on");
}

#[test]
fn every_crate_opens_with_its_purpose() {
    let mut findings = Vec::new();
    for (path, text) in rust_files() {
        let is_root = path.starts_with("crates/") && path.ends_with("/src/lib.rs");
        if is_root && !text.starts_with("//!") {
            findings.push(path);
        }
    }
    none(findings, "a crate's first line is `//!`: purpose, invariant, reading order");
}

#[test]
fn the_compatibility_table_lists_the_apis_that_are_served() {
    let page = std::fs::read_to_string(root().join("docs/compatibility.md")).expect("docs/compatibility.md");
    let mut findings = Vec::new();
    for (path, text) in rust_files() {
        let versions =
            text.split_once("pub const VERSIONS: RangeInclusive<i16> = ").and_then(|(_, rest)| rest.split_once(';'));
        let (true, Some((range, _))) = (path.starts_with("crates/server/src/api/"), versions) else { continue };
        let first = text.lines().next().unwrap_or_default();
        let named = first
            .strip_prefix("//! ")
            .and_then(|rest| rest.split_once(" ("))
            .and_then(|(name, rest)| rest.split_once(')').map(|(key, _)| (name, key)));
        let (Some((name, key)), Some((low, high))) = (named, range.split_once("..=")) else {
            findings.push(format!("{path}: its first line is not `//! Name (key), versions a–b`"));
            continue;
        };
        let range = if low == high { low.to_owned() } else { format!("{low}–{high}") };
        let row = format!("| {key} | {name} | {range} |");
        if !page.lines().any(|line| line.starts_with(&row)) {
            findings.push(row);
        }
    }
    none(findings, "docs/compatibility.md has a row like this for each API");
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("the workspace's manifest");
    let reasons = std::fs::read_to_string(root().join("docs/dependencies.md")).expect("docs/dependencies.md");
    let ours: Vec<&str> = ARROWS.iter().map(|arrow| arrow.0).collect();
    let missing = manifest_keys(&manifest, "workspace.dependencies")
        .into_iter()
        .filter(|name| !ours.contains(&name.as_str()) && !reasons.contains(&format!("`{name}`")));
    none(missing.collect(), "docs/dependencies.md has a line for each dependency: what for, and why this one");
}

#[test]
fn licences_of_all_dependencies_are_allowed() {
    let deny = std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    let list = deny.split_once("allow = [").and_then(|(_, rest)| rest.split_once(']')).expect("deny.toml's licences").0;
    let allowed: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    let arguments = ["metadata", "--format-version", "1", "--locked"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().expect("cargo metadata");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let graph: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut findings = Vec::new();
    for package in graph["packages"].as_array().expect("packages") {
        let licence = package["license"].as_str().unwrap_or("none given");
        // An SPDX expression: every AND part needs one OR alternative that is allowed.
        let fine = licence.replace('/', " OR ").split(" AND ").all(|part| {
            part.trim_matches(['(', ')', ' '])
                .split(" OR ")
                .any(|one| allowed.contains(&one.trim_matches(['(', ')', ' '])))
        });
        if !fine {
            findings.push(format!("{}: {licence}", package["name"]));
        }
    }
    none(findings, "deny.toml lists the licences that may be linked into Klamm");
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    let mut findings = Vec::new();
    for (path, text) in tracked().into_iter().filter(|(path, _)| path.ends_with(".md")) {
        let folder = Path::new(&path).parent().unwrap_or(Path::new("")).to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target)) {
            let file = target.split('#').next().unwrap_or_default();
            let outside = file.is_empty() || file.contains("://") || file.starts_with("mailto:") || file.contains(' ');
            if !outside && !root().join(&folder).join(file).exists() {
                findings.push(format!("{path}: {target}"));
            }
        }
    }
    none(findings, "a relative link names a file that is there");
}
