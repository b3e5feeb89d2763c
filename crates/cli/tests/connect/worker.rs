//! Running workers, and asking them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tries until it gives something.
pub fn wait<T>(what: &str, mut f: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = f() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A worker; gone when dropped.
pub struct Worker {
    pub port: u16,
    pub folder: PathBuf,
    child: Child,
    words: Vec<String>,
}

impl Worker {
    /// A worker that is alone, with these lines of settings besides the usual, and connectors' files.
    pub fn standalone(folder: &Path, servers: &str, settings: &str, connectors: &[PathBuf]) -> Worker {
        let port = testkit::free_port();
        let file = folder.join("worker.properties");
        let lines = format!(
            "bootstrap.servers={servers}\nkey.converter=org.apache.kafka.connect.json.JsonConverter\n\
             value.converter=org.apache.kafka.connect.json.JsonConverter\noffset.flush.interval.ms=50\n\
             offset.storage.file.filename={}\nlisteners=http://127.0.0.1:{port}\n{settings}",
            folder.join("offsets").display()
        );
        fs::write(&file, lines).unwrap();
        let mut words = vec!["connect-standalone".to_owned(), file.display().to_string()];
        words.extend(connectors.iter().map(|c| c.display().to_string()));
        Worker::run(folder, port, words)
    }

    /// A worker with these words.
    pub fn run(folder: &Path, port: u16, words: Vec<String>) -> Worker {
        let child = spawn(folder, port, &words);
        let worker = Worker { port, folder: folder.to_owned(), child, words };
        worker.await_ready();
        worker
    }

    fn await_ready(&self) {
        wait("the worker answers", || {
            let (status, _) = ask_maybe(self.port, "GET", "/connectors", None)?;
            (status == 200).then_some(())
        });
    }

    /// What it printed.
    pub fn output(&self) -> String {
        fs::read_to_string(output(&self.folder, self.port)).unwrap_or_default()
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again as it was.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.folder, self.port, &self.words);
        self.await_ready();
    }

    /// Asks it to end, and gives its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.child.wait().unwrap().code()
    }

    /// As a terminal that is closed ends it; gives its exit code.
    pub fn hang_up(&mut self) -> Option<i32> {
        self.signal(Signal::HUP);
        self.child.wait().unwrap().code()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn ask(&self, method: &str, path: &str, body: Option<&str>) -> (u16, Json) {
        ask_maybe(self.port, method, path, body).unwrap()
    }

    pub fn get(&self, path: &str) -> Json {
        let (status, json) = self.ask("GET", path, None);
        assert_eq!(status, 200, "{path}: {json}");
        json
    }

    /// Makes a connector, or changes it.
    pub fn put(&self, name: &str, pairs: &[(&str, &str)]) -> (u16, Json) {
        let config: serde_json::Map<String, Json> =
            pairs.iter().map(|(k, v)| ((*k).to_owned(), Json::from(*v))).collect();
        self.ask("PUT", &format!("/connectors/{name}/config"), Some(&Json::Object(config).to_string()))
    }

    /// Waits until the first task of a connector is in this state, and gives its trace.
    pub fn await_task(&self, name: &str, state: &str) -> String {
        wait(&format!("{name}'s task is {state}"), || {
            let (_, status) = self.ask("GET", &format!("/connectors/{name}/status"), None);
            let task = status.get("tasks")?.get(0)?.clone();
            (task["state"] == state).then(|| task["trace"].as_str().unwrap_or_default().to_owned())
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn output(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!("worker-{port}.out"))
}

fn spawn(folder: &Path, port: u16, words: &[String]) -> Child {
    let out = File::options().create(true).append(true).open(output(folder, port)).unwrap();
    // By way of `env`, so that SIGHUP ends it also where the tests run under `nohup`.
    Command::new("env")
        .args(["--default-signal=HUP", env!("CARGO_BIN_EXE_klamm")])
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap()
}

/// A request and its answer: status and body.
pub fn ask_maybe(port: u16, method: &str, path: &str, body: Option<&str>) -> Option<(u16, Json)> {
    let body = body.unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    raw(port, &[head.as_bytes(), body.as_bytes()].concat())
}

/// Any bytes, and what comes back.
pub fn raw(port: u16, bytes: &[u8]) -> Option<(u16, Json)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A server that refuses may stop reading.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).unwrap_or(Json::from(body))))
}
