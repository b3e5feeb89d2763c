//! Where a run takes place: in network, mount and process namespaces of its own. The kernel takes everything down with
//! its first process (processes, links, mounts, loop devices), whichever way that ends.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Says to the process inside where its folder is.
const FOLDER: &str = "FAULTS_FOLDER";

const TOOLS: &[&str] = &["unshare", "nsenter", "ip", "mount", "umount", "mkfs.ext4", "strace", "fsfreeze"];

const NAMESPACES: &[&str] = &["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--"];

/// The folder of the run, in the process inside.
pub fn inside() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// Why this machine can run none, if so.
fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("mounting disks takes root".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing = |tool: &&&str| !std::env::split_paths(&path).any(|folder| folder.join(tool).exists());
    if let Some(tool) = TOOLS.iter().find(missing) {
        return Some(format!("there is no {tool}"));
    }
    // Root in a container may not do it.
    let tried = Command::new("unshare").args(NAMESPACES).arg("true").stdin(Stdio::null()).output().ok()?;
    (!tried.status.success()).then(|| format!("no namespaces: {}", String::from_utf8_lossy(&tried.stderr).trim()))
}

/// Runs this test again inside, and fails as it does. With `aloud` its output is shown as it comes.
pub fn enter(test: &str, aloud: bool) {
    if let Some(why) = obstacle() {
        assert!(std::env::var_os("CI").is_none(), "no faults: {why}");
        eprintln!("skipped: {why}");
        return;
    }
    let folder = tempfile::Builder::new().prefix("faults-").tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(NAMESPACES);
    command.arg(std::env::current_exe().unwrap()).args([test, "--exact", "--nocapture", "--test-threads=1"]);
    // The pipe is the line between the two: the one inside ends when it breaks.
    command.env(FOLDER, folder.path()).stdin(Stdio::piped());
    let output = match aloud {
        true => None,
        false => Some(std::fs::File::create(folder.path().join("output")).unwrap()),
    };
    if let Some(file) = &output {
        command.stdout(file.try_clone().unwrap()).stderr(file.try_clone().unwrap());
    }
    let mut child = command.spawn().unwrap();
    let line = child.stdin.take();
    let status = child.wait().unwrap();
    drop(line);
    if !status.success() {
        let said = std::fs::read_to_string(folder.path().join("output")).unwrap_or_default();
        let kept = folder.keep();
        panic!("{said}\n{status}: the nodes' logs, their disks and the history are in {}", kept.display());
    }
    if output.is_some() {
        println!("{}", std::fs::read_to_string(folder.path().join("output")).unwrap_or_default());
    }
}

/// To be called inside, first: what is needed there, and an end when the process outside is gone.
pub fn settle(folder: &Path) {
    let folder = folder.to_owned();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = std::fs::remove_dir_all(&folder);
        std::process::exit(130);
    });
    // `ip netns` keeps its names there, and nodes' disks are mounted there.
    run("mount", &["-t", "tmpfs", "none", "/run"]);
}

/// Runs a command that must do well.
pub fn run(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}
