//! `cargo xtask dist`: the release archive, `klamm-VERSION-SYSTEM.tar.gz`, with its checksum beside it.
//!
//! In it is one folder with the binary, `bin`, `conf`, `config`, `docs`, `contrib` and the texts that a user reads; it runs without
//! the sources. The same binary and sources give the same bytes (`SOURCE_DATE_EPOCH` is the time of its files).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What goes in as it is: folders, and files that git does not have to know.
const FOLDERS: [&str; 5] = ["bin", "conf", "config", "docs", "contrib"];
const FILES: [(&str, &str); 4] = [
    ("LICENSE", "LICENSE"),
    ("CHANGELOG.md", "CHANGELOG.md"),
    ("ARCHITECTURE.md", "ARCHITECTURE.md"),
    ("contrib/release/README.md", "README.md"),
];

/// The words of the command: `--binary PATH` takes that one instead of building, `--out DIR` is where the archive goes.
pub fn run(root: &Path, words: &[String]) -> Result<String, String> {
    let (mut binary, mut out) = (None, root.join("target/dist"));
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().map(PathBuf::from).ok_or(format!("{word} wants a path"));
        match word.as_str() {
            "--binary" => binary = Some(value()?),
            "--out" => out = value()?,
            other => return Err(format!("dist takes --binary PATH and --out DIR, not {other}")),
        }
    }
    let binary = match binary {
        Some(binary) => binary,
        None => build(root)?,
    };
    let archive = pack(root, &binary, &out)?;
    Ok(format!("{} written", archive.display()))
}

fn build(root: &Path) -> Result<PathBuf, String> {
    run_in(root, "cargo", &["build", "--release", "--locked", "--package", "cli", "--bin", "klamm"])?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    Ok(root.join(target).join("release/klamm"))
}

fn pack(root: &Path, binary: &Path, out: &Path) -> Result<PathBuf, String> {
    let name = format!("klamm-{}-{}-{}", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    let said = |what: &Path, e: std::io::Error| format!("{}: {e}", what.display());
    // Of this process, so that two at a time do not meet.
    let stage = out.join(format!("stage-{}", std::process::id()));
    let folder = stage.join(&name);
    fs::create_dir_all(&folder).map_err(|e| said(&folder, e))?;
    for from in FOLDERS {
        copy_folder(&root.join(from), &folder.join(from))?;
    }
    for (from, to) in FILES {
        let from = root.join(from);
        fs::copy(&from, folder.join(to)).map_err(|e| said(&from, e))?;
    }
    fs::copy(binary, folder.join("klamm")).map_err(|e| said(binary, e))?;
    let archive = out.join(format!("{name}.tar.gz"));
    let file = archive.display().to_string();
    let stage_name = stage.display().to_string();
    let time = format!("--mtime=@{}", std::env::var("SOURCE_DATE_EPOCH").unwrap_or_else(|_| "0".to_owned()));
    let same = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u+rwX,go+rX,go-w", time.as_str()];
    let mut words = vec!["--create", "--gzip", "--file", file.as_str(), "--directory", stage_name.as_str()];
    words.extend(same);
    words.push(&name);
    run_in(root, "tar", &words)?;
    fs::remove_dir_all(&stage).map_err(|e| said(&stage, e))?;
    let sum = Command::new("sha256sum").arg(format!("{name}.tar.gz")).current_dir(out).output();
    let sum = sum.map_err(|e| format!("sha256sum: {e}"))?;
    let beside = out.join(format!("{name}.tar.gz.sha256"));
    fs::write(&beside, sum.stdout).map_err(|e| said(&beside, e))?;
    Ok(archive)
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), String> {
    let said = |e: std::io::Error| format!("{}: {e}", from.display());
    fs::create_dir_all(to).map_err(said)?;
    for entry in fs::read_dir(from).map_err(said)? {
        let entry = entry.map_err(said)?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            fs::copy(&from, &to).map_err(said)?;
        }
    }
    Ok(())
}

fn run_in(folder: &Path, program: &str, words: &[&str]) -> Result<(), String> {
    let status = Command::new(program).args(words).current_dir(folder).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} {}: {status}", words.join(" "))),
        Err(e) => Err(format!("{program}: {e}")),
    }
}
