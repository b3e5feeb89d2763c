//! The archive and what comes out of it, made once for all tests of a run.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Release {
    /// Where the archive and its checksum are.
    pub out: PathBuf,
    pub archive: PathBuf,
    /// The unpacked folder.
    pub folder: PathBuf,
}

/// The release out of the binary under test.
pub fn release() -> &'static Release {
    static RELEASE: OnceLock<Release> = OnceLock::new();
    RELEASE.get_or_init(|| {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("release");
        // What the run before this one left.
        let _ = fs::remove_dir_all(&out);
        fs::create_dir_all(&out).unwrap();
        let made = Command::new(env!("CARGO"))
            .args([
                "run",
                "--quiet",
                "--package",
                "xtask",
                "--",
                "dist",
                "--binary",
                env!("CARGO_BIN_EXE_klamm"),
                "--out",
            ])
            .arg(&out)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let name = format!("klamm-{}-{}-{}", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
        let archive = out.join(format!("{name}.tar.gz"));
        let tar = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&out).status().unwrap();
        assert!(tar.success());
        Release { folder: out.join(name), archive, out }
    })
}

/// A program in a world without the sources, a toolchain, or anything that the tests' own environment says.
pub fn program(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/nonexistent").current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a tool of the unpacked release on a broker, and gives what it printed.
pub fn tool(name: &str, address: &str, words: &[&str]) -> String {
    let mut command = program(&release().folder.join("bin").join(format!("{name}.sh")));
    said(command.args(["--bootstrap-server", address]).args(words).output().unwrap())
}

/// The standard output of what went well.
pub fn said(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "still not so: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A broker in the foreground, whose output goes into a file; ended when dropped.
pub struct Running {
    pub child: Child,
    output: PathBuf,
}

impl Running {
    pub fn start(command: &mut Command, address: &str, output: PathBuf) -> Running {
        let file = fs::File::create(&output).unwrap();
        let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        let mut running = Running { child, output };
        wait_until("the broker listens", || {
            assert_eq!(running.child.try_wait().unwrap(), None, "the broker ended: {}", running.output());
            TcpStream::connect(address).is_ok()
        });
        running
    }

    pub fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
