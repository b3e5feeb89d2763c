//! Running tools, and brokers for them.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// What a tool did.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Done {
    /// Asserts that it went well, and gives its standard output.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }
}

/// The tool with these words, not started yet. It starts by way of `env`, so that Ctrl-C ends it also where the tests run with
/// SIGINT ignored, as in the background of a shell.
pub fn command(tool: &str, words: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_klamm")]);
    command.arg(tool).args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a tool to its end.
pub fn run(tool: &str, words: &[&str]) -> Done {
    done(command(tool, words).spawn().unwrap())
}

/// Runs a tool with this standard input.
pub fn feed(tool: &str, words: &[&str], input: &[u8]) -> Done {
    let mut child = command(tool, words).stdin(Stdio::piped()).spawn().unwrap();
    // A tool that refuses its options does not read; what it printed says why.
    let _ = child.stdin.take().unwrap().write_all(input);
    done(child)
}

pub fn done(child: Child) -> Done {
    let output = child.wait_with_output().unwrap();
    Done {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A broker with a folder of its own; gone when dropped.
pub struct Broker {
    pub address: String,
    pub folder: TempDir,
    child: Child,
}

impl Broker {
    pub fn start() -> Broker {
        Broker::with_settings("")
    }

    /// A broker with these lines of settings besides the tests' own.
    pub fn with_settings(settings: &str) -> Broker {
        let folder = tempfile::Builder::new().prefix("tools-").tempdir().unwrap();
        let address = format!("127.0.0.1:{}", testkit::free_port());
        let lines = format!(
            "listeners=PLAINTEXT://{address}\nlog.dirs={}\noffsets.topic.num.partitions=1\n\
             group.initial.rebalance.delay.ms=0\nnum.partitions=2\n{settings}",
            folder.path().join("data").display()
        );
        fs::write(folder.path().join("server.properties"), lines).unwrap();
        let child = spawn(&folder, &address);
        Broker { address, folder, child }
    }

    /// A broker with all its settings, given its address, and with directories that `format` makes, given the path of the
    /// settings.
    pub fn formatted(settings: impl FnOnce(&str) -> String, format: impl FnOnce(&str)) -> Broker {
        let folder = tempfile::Builder::new().prefix("tools-").tempdir().unwrap();
        let address = format!("127.0.0.1:{}", testkit::free_port());
        let lines = format!("{}log.dirs={}\n", settings(&address), folder.path().join("data").display());
        let path = folder.path().join("server.properties");
        fs::write(&path, lines).unwrap();
        format(path.to_str().unwrap());
        let child = spawn(&folder, &address);
        Broker { address, folder, child }
    }

    /// Ends it without a word and starts it again on the same files.
    pub fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.folder, &self.address);
    }

    /// Has it end in order, and waits for that; returns the exit code.
    pub fn end(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }

    /// Runs a tool on this broker.
    pub fn run(&self, tool: &str, words: &[&str]) -> Done {
        run(tool, &self.with(words))
    }

    pub fn feed(&self, tool: &str, words: &[&str], input: &str) -> Done {
        feed(tool, &self.with(words), input.as_bytes())
    }

    /// The words that every tool begins with, and these.
    pub fn with<'w>(&'w self, words: &[&'w str]) -> Vec<&'w str> {
        ["--bootstrap-server", self.address.as_str()].iter().chain(words).copied().collect()
    }

    pub fn create(&self, topic: &str, words: &[&str]) {
        let all: Vec<&str> = ["--create", "--topic", topic].iter().chain(words).copied().collect();
        self.run("kafka-topics", &all).ok();
    }

    /// A file of a partition's log.
    pub fn file(&self, partition: &str, name: &str) -> PathBuf {
        self.folder.path().join("data").join(partition).join(name)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &TempDir, address: &str) -> Child {
    const PATIENCE: Duration = Duration::from_secs(60);
    let output = File::options().create(true).append(true).open(folder.path().join("output")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_klamm"))
        .arg("kafka-server-start")
        .arg(folder.path().join("server.properties"))
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        let said = || fs::read_to_string(folder.path().join("output")).unwrap();
        assert_eq!(child.try_wait().unwrap(), None, "the broker ended: {}", said());
        assert!(begun.elapsed() < PATIENCE, "the broker does not answer: {}", said());
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}
