//! A broker and the tools that are run on it.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::metrics::Metrics;

const PATIENCE: Duration = Duration::from_secs(60);

pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "still not so: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a tool did.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub struct Broker {
    pub folder: TempDir,
    pub address: String,
    pub metrics: Metrics,
    /// What the broker's process is started with, its own words aside.
    launcher: Vec<String>,
    child: Child,
}

impl Broker {
    /// A broker with these lines of settings, and its data in `data` below its folder.
    pub fn start(settings: &str) -> Broker {
        let folder = tempfile::Builder::new().prefix("operator-").tempdir().unwrap();
        Broker::start_in(folder, &["data"], settings, Vec::new())
    }

    /// A broker with its data in these directories below `folder`, whose process is started by `launcher`.
    pub fn start_in(folder: TempDir, dirs: &[&str], settings: &str, launcher: Vec<String>) -> Broker {
        let address = format!("127.0.0.1:{}", testkit::free_port());
        let metrics = format!("127.0.0.1:{}", testkit::free_port());
        let dirs: Vec<String> = dirs.iter().map(|dir| folder.path().join(dir).display().to_string()).collect();
        let lines = format!(
            "listeners=PLAINTEXT://{address}\nlog.dirs={}\nklamm.metrics.listener={metrics}\n\
             offsets.topic.num.partitions=1\ngroup.initial.rebalance.delay.ms=0\n{settings}",
            dirs.join(",")
        );
        fs::write(folder.path().join("server.properties"), lines).unwrap();
        let child = spawn(&folder, &launcher);
        let broker = Broker { folder, address, metrics: Metrics::of(metrics), launcher, child };
        broker.metrics.wait_for_the_broker();
        broker
    }

    /// Ends the broker in order, or without a word, and starts it again on the same files. Nothing is scraped meanwhile.
    pub fn restart(&mut self, signal: Signal) {
        self.end(signal);
        self.begin();
    }

    /// Ends the broker in order, or without a word.
    pub fn end(&mut self, signal: Signal) {
        self.metrics.pause();
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let ended = self.child.wait().unwrap();
        if signal == Signal::TERM {
            assert_eq!(ended.code(), Some(0), "{}", self.log());
        }
    }

    /// Starts the broker that was ended.
    pub fn begin(&mut self) {
        self.child = spawn(&self.folder, &self.launcher);
        self.metrics.wait_for_the_broker();
    }

    /// Starts the broker that was ended, which cannot be: what it said.
    pub fn begin_in_vain(&mut self) -> String {
        let before = self.log().len();
        self.child = spawn(&self.folder, &self.launcher);
        assert_eq!(self.ended().code(), Some(1), "{}", self.log());
        self.log().split_off(before)
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until the broker has ended by itself. Its metrics are to be paused before.
    pub fn ended(&mut self) -> std::process::ExitStatus {
        let mut status = None;
        wait_until("the broker has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// What the broker said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap()
    }

    /// A file that a tool is given.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Runs a tool with this standard input to its end.
    pub fn done(&self, tool: &str, words: &[&str], input: &str) -> Done {
        let mut command = Command::new(env!("CARGO_BIN_EXE_klamm"));
        command.arg(tool).args(["--bootstrap-server", &self.address]).args(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (mut pipe, input) = (child.stdin.take().unwrap(), input.to_owned());
        // Beside the reading: a tool may say more than a pipe holds before it has read all.
        let typist = std::thread::spawn(move || drop(pipe.write_all(input.as_bytes())));
        let output = child.wait_with_output().unwrap();
        typist.join().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Done { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs a tool that has to go well, and gives what it printed.
    pub fn tool(&self, tool: &str, words: &[&str]) -> String {
        self.fed(tool, words, "")
    }

    pub fn fed(&self, tool: &str, words: &[&str], input: &str) -> String {
        let done = self.done(tool, words, input);
        assert_eq!(done.code, Some(0), "{tool} {words:?}: {done:?}\nbroker: {}", self.log());
        done.out
    }

    /// Offsets of a topic's partitions, by partition.
    pub fn offsets(&self, topic: &str, time: &str) -> Vec<i64> {
        let printed = self.tool("kafka-get-offsets", &["--topic", topic, "--time", time]);
        printed.lines().map(|line| line.rsplit(':').next().unwrap().parse().unwrap()).collect()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &TempDir, launcher: &[String]) -> Child {
    let output = File::options().create(true).append(true).open(folder.path().join("output")).unwrap();
    let words = launcher.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_klamm"), "kafka-server-start"]);
    let words: Vec<&str> = words.collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(folder.path().join("server.properties"));
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap()
}
