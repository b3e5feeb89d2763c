//! Three nodes, each broker and controller, in processes of their own.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A failure ends here, nothing else does.
const PATIENCE: Duration = Duration::from_secs(60);

/// One node; its process ends with it.
pub struct Node {
    pub id: usize,
    pub address: String,
    /// Where it listens as a controller.
    pub controller: String,
    folder: TempDir,
    child: Option<Child>,
}

/// See the module.
pub struct Cluster {
    pub nodes: Vec<Node>,
}

pub fn klamm(tool: &str, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_klamm"));
    command.arg(tool).args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Node {
    fn new(id: usize, ports: &[(u16, u16)], more: &str) -> Node {
        let folder = tempfile::Builder::new().prefix("cluster-").tempdir().unwrap();
        let voters: Vec<String> =
            ports.iter().enumerate().map(|(at, (_, port))| format!("{}@127.0.0.1:{port}", at + 1)).collect();
        let (broker, controller) = ports[id - 1];
        let address = format!("127.0.0.1:{broker}");
        let settings = format!(
            "process.roles=broker,controller\nnode.id={id}\nlog.dirs={}\n\
             listeners=PLAINTEXT://{address},CONTROLLER://127.0.0.1:{controller}\nadvertised.listeners=PLAINTEXT://{address}\n\
             controller.listener.names=CONTROLLER\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             controller.quorum.voters={}\ndefault.replication.factor=3\noffsets.topic.replication.factor=3\n\
             min.insync.replicas=2\nleader.imbalance.check.interval.seconds=1\n{more}",
            folder.path().join("data").display(),
            voters.join(",")
        );
        fs::write(folder.path().join("server.properties"), settings).unwrap();
        let controller = format!("127.0.0.1:{controller}");
        Node { id, address, controller, folder, child: None }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self) -> String {
        self.folder().join("server.properties").display().to_string()
    }

    pub fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.folder().join("log")).unwrap();
        let mut command = klamm("kafka-server-start", &[&self.file()]);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// `kill -9`
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().unwrap())
    }

    /// Stops the process where it is, and returns when none of its threads runs any more.
    pub fn freeze(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
        let threads = format!("/proc/{}/task", self.pid());
        let is_stopped = |thread: std::io::Result<fs::DirEntry>| {
            let stat = fs::read_to_string(thread.unwrap().path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('T'))
        };
        wait("the threads stand still", || fs::read_dir(&threads).unwrap().all(is_stopped).then_some(()));
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// Asks the process to end, and waits until it has.
    pub fn stop(&mut self) {
        kill_process(self.pid(), Signal::TERM).unwrap();
        let status = self.child.take().unwrap().wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// Waits until the process has ended by itself; the code that it ended with.
    pub fn ended(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        wait("the process has ended", || child.try_wait().unwrap()).code()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Cluster {
    pub fn start() -> Cluster {
        Cluster::start_with(|_| String::new())
    }

    /// With more lines in the file of each node.
    pub fn start_with(more: impl Fn(usize) -> String) -> Cluster {
        let ports: Vec<(u16, u16)> = (0..3).map(|_| (testkit::free_port(), testkit::free_port())).collect();
        let mut nodes: Vec<Node> = (1..=3).map(|id| Node::new(id, &ports, &more(id))).collect();
        let id = said(klamm("kafka-storage", &["random-uuid"]).output().unwrap());
        for node in &mut nodes {
            said(klamm("kafka-storage", &["format", "-t", id.trim(), "-c", &node.file()]).output().unwrap());
            node.start();
        }
        for node in &nodes {
            wait("a node answers", || TcpStream::connect(&node.address).ok());
        }
        Cluster { nodes }
    }

    pub fn addresses(&self) -> String {
        let all: Vec<&str> = self.nodes.iter().map(|node| node.address.as_str()).collect();
        all.join(",")
    }

    /// Runs a tool against whichever node answers.
    pub fn tool(&self, tool: &str, words: &[&str]) -> Output {
        let mut all = vec!["--bootstrap-server", ""];
        let addresses = self.addresses();
        all[1] = &addresses;
        all.extend(words);
        klamm(tool, &all).output().unwrap()
    }

    /// Leader, ISR and replicas of each partition.
    pub fn partitions(&self, topic: &str) -> Vec<(String, Vec<String>, Vec<String>)> {
        let described = said(self.tool("kafka-topics", &["--describe", "--topic", topic]));
        let field = |line: &str, name: &str| {
            let rest = line.split_once(&format!("{name}: ")).map(|(_, rest)| rest.to_owned())?;
            rest.split('\t').next().map(str::to_owned)
        };
        let ids = |text: String| text.split(',').map(|id| id.trim().to_owned()).collect();
        described
            .lines()
            .filter_map(|line| Some((field(line, "Leader")?, ids(field(line, "Isr")?), ids(field(line, "Replicas")?))))
            .collect()
    }

    pub fn controller(&self) -> usize {
        wait("there is a controller", || {
            let status = self.tool("kafka-metadata-quorum", &["describe", "--status"]);
            let status = String::from_utf8_lossy(&status.stdout).into_owned();
            status.lines().find_map(|line| line.strip_prefix("LeaderId:")?.trim().parse().ok())
        })
    }

    pub fn wait_for_full_isr(&self, topic: &str) {
        wait("every replica is in sync", || {
            self.partitions(topic).iter().all(|(_, isr, replicas)| isr.len() == replicas.len()).then_some(())
        });
    }

    /// Leaderships go back to the first replicas.
    pub fn wait_for_preferred_leaders(&self, topic: &str) {
        wait("the preferred replicas lead", || {
            self.partitions(topic).iter().all(|(leader, _, replicas)| *leader == replicas[0]).then_some(())
        });
    }

    /// What all nodes said, for a failure.
    pub fn logs(&self) -> String {
        self.nodes.iter().map(|node| format!("--- node {}\n{}", node.id, node.log())).collect()
    }
}

impl Drop for Cluster {
    /// Whatever a test is about: no node may panic, or have an answer that its client's version cannot carry.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            for node in &self.nodes {
                let log = node.log();
                assert!(!log.contains("panicked") && !log.contains("cannot be encoded"), "node {}: {log}", node.id);
            }
        }
    }
}

/// The standard output of a tool that did well.
pub fn said(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
