//! A folder with the packaged configurations on free ports, and the processes that run from it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const PACKAGED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const PATIENCE: Duration = Duration::from_secs(60);

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

/// Everything goes when it is dropped: brokers are ended by their id, and so is the process in ZooKeeper's place.
pub struct Home {
    pub folder: TempDir,
    /// Where the quorum answers.
    pub quorum: String,
    brokers: Vec<(String, Child)>,
}

impl Home {
    pub fn new() -> Home {
        let folder = tempfile::Builder::new().prefix("quickstart-").tempdir().unwrap();
        let port = testkit::free_port();
        let home = Home { folder, quorum: format!("localhost:{port}"), brokers: Vec::new() };
        for dir in ["conf", "config"] {
            fs::create_dir(home.path(dir)).unwrap();
        }
        let zoo = fs::read_to_string(format!("{PACKAGED}/conf/zoo.cfg")).unwrap();
        let zoo = edited(
            &zoo,
            &[("dataDir", &home.path("zookeeper").display().to_string()), ("clientPort", &port.to_string())],
        );
        fs::write(home.path("conf/zoo.cfg"), zoo).unwrap();
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, tool: &str, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_klamm"));
        command.arg(tool).args(words).current_dir(self.folder.path());
        command.env("ZOOCFGDIR", self.path("conf")).env("ZOO_LOG_DIR", self.path("logs"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, tool: &str, words: &[&str]) -> Done {
        self.feed(tool, words, "")
    }

    pub fn feed(&self, tool: &str, words: &[&str], input: &str) -> Done {
        let mut child = self.command(tool, words).stdin(Stdio::piped()).spawn().unwrap();
        // A tool that refuses its options does not read; what it printed says why.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Done {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// `kafka-topics --zookeeper`.
    pub fn topics(&self, words: &[&str]) -> Done {
        let words: Vec<&str> = ["--zookeeper", self.quorum.as_str()].iter().chain(words).copied().collect();
        self.run("kafka-topics", &words)
    }

    /// Copies the packaged file and edits it, as the reader does.
    pub fn write_config(&self, file: &str, id: i32, port: u16, logs: &str) {
        let packaged = fs::read_to_string(format!("{PACKAGED}/config/server.properties")).unwrap();
        let listeners = format!("PLAINTEXT://127.0.0.1:{port}");
        let logs = self.path(logs).display().to_string();
        let id = id.to_string();
        let edits = [
            ("broker.id", id.as_str()),
            ("listeners", &listeners),
            ("log.dirs", &logs),
            ("zookeeper.connect", &self.quorum),
        ];
        fs::write(self.path("config").join(file), edited(&packaged, &edits)).unwrap();
    }

    /// Starts a broker without waiting for it.
    pub fn spawn_broker(&mut self, file: &str) -> &mut Child {
        let log = File::options().create(true).append(true).open(self.path(&format!("{file}.out"))).unwrap();
        let words = [format!("config/{file}")];
        let mut command = self.command("kafka-server-start", &[&words[0]]);
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.brokers.retain(|(name, _)| name != file);
        self.brokers.push((file.to_owned(), child));
        &mut self.brokers.last_mut().unwrap().1
    }

    pub fn start_broker(&mut self, file: &str, port: u16) {
        self.spawn_broker(file);
        wait(&format!("{file} answers"), || {
            let (_, child) = self.brokers.last_mut().unwrap();
            assert_eq!(child.try_wait().unwrap(), None, "{file} ended");
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
    }

    pub fn broker_pid(&self, file: &str) -> u32 {
        self.brokers.iter().find(|(name, _)| name == file).unwrap().1.id()
    }

    /// Ends a broker without a word.
    pub fn kill_broker(&mut self, file: &str) {
        let (_, child) = self.brokers.iter_mut().find(|(name, _)| name == file).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The exit code of a broker that ends by itself.
    pub fn broker_ends(&mut self, file: &str) -> Option<i32> {
        let (_, child) = self.brokers.iter_mut().find(|(name, _)| name == file).unwrap();
        let mut code = None;
        wait(&format!("{file} ends"), || {
            code = child.try_wait().unwrap();
            code.is_some()
        });
        code.unwrap().code()
    }

    /// What a broker said so far.
    pub fn said(&self, file: &str) -> String {
        fs::read_to_string(self.path(&format!("{file}.out"))).unwrap()
    }

    /// What the process in ZooKeeper's place answers to bytes, until it closes.
    pub fn ask_quorum(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(&self.quorum).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for (_, child) in &mut self.brokers {
            let _ = child.kill();
            let _ = child.wait();
        }
        for file in fs::read_dir(self.path("conf")).into_iter().flatten().flatten() {
            self.run("zkServer", &["stop", &file.file_name().to_string_lossy()]);
        }
    }
}

/// The text with other values in the lines of these keys; each has to be there.
fn edited(text: &str, values: &[(&str, &str)]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (key, value) in values {
        let line = lines.iter_mut().find(|line| line.split_once('=').is_some_and(|(name, _)| name == *key));
        *line.unwrap_or_else(|| panic!("no line {key}=")) = format!("{key}={value}");
    }
    lines.join("\n") + "\n"
}

/// Waits for a condition; the deadline only ends a failure.
pub fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
