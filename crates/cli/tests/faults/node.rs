//! A node: its process, its disk, its place in the network.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::disk::Disk;
use super::network;

/// How long an orderly end may take.
const SHUTDOWN: Duration = Duration::from_secs(30);

pub struct Node {
    pub id: usize,
    pub disk: Disk,
    folder: PathBuf,
    child: Option<Child>,
    /// A tracer that makes its syncs fail.
    tracer: Option<Child>,
}

fn klamm() -> Command {
    Command::new(env!("CARGO_BIN_EXE_klamm"))
}

impl Node {
    /// `synced`: whether every topic is synced before it is acknowledged.
    pub fn new(id: usize, nodes: usize, folder: &Path, cluster: &str, synced: bool) -> Node {
        let folder = folder.join(format!("node{id}"));
        fs::create_dir(&folder).unwrap();
        let disk = Disk::new(folder.join("disk"), &format!("disk{id}"));
        let address = network::address(id);
        let voters: Vec<String> = (1..=nodes).map(|id| format!("{id}@{}:9093", network::address(id))).collect();
        let mut settings = format!(
            "process.roles=broker,controller\nnode.id={id}\nlog.dirs={}\n\
             listeners=PLAINTEXT://{address}:9092,CONTROLLER://{address}:9093\n\
             advertised.listeners=PLAINTEXT://{address}:9092\ncontroller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             controller.quorum.voters={}\ndefault.replication.factor=3\noffsets.topic.replication.factor=3\n\
             offsets.topic.num.partitions=3\nmin.insync.replicas=2\nauto.create.topics.enable=false\n\
             leader.imbalance.check.interval.seconds=5\nbroker.session.timeout.ms=3000\n\
             broker.heartbeat.interval.ms=500\nreplica.lag.time.max.ms=3000\nlog.segment.bytes=4194304\n\
             group.initial.rebalance.delay.ms=0\n",
            disk.path().join("data").display(),
            voters.join(",")
        );
        if synced {
            settings.push_str("log.flush.interval.messages=1\n");
        }
        let file = folder.join("server.properties");
        fs::write(&file, settings).unwrap();
        let output = klamm().args(["kafka-storage", "format", "-t", cluster, "-c"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Node { id, disk, folder, child: None, tracer: None }
    }

    pub fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        let launcher = network::launcher(self.id);
        let mut command = Command::new(&launcher[0]);
        command.args(&launcher[1..]).arg(env!("CARGO_BIN_EXE_klamm"));
        command.arg("kafka-server-start").arg(self.folder.join("server.properties"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// Whether its process is there.
    pub fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    pub fn signal(&mut self, signal: Signal) {
        if self.runs() {
            let pid = Pid::from_child(self.child.as_ref().unwrap());
            kill_process(pid, signal).unwrap();
        }
    }

    /// `kill -9`
    pub fn kill(&mut self) {
        self.let_syncs_be();
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    /// An orderly end; false when it took too long, and was then forced.
    pub fn stop(&mut self) -> bool {
        self.signal(Signal::TERM);
        let begun = Instant::now();
        while self.runs() {
            if begun.elapsed() > SHUTDOWN {
                self.kill();
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child = None;
        true
    }

    /// From now on its syncs fail.
    pub fn fail_syncs(&mut self) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let mut strace = Command::new("strace");
        strace.args(["-f", "-p", &pid, "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO"]);
        let file = File::create(self.folder.join("strace")).unwrap();
        strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        self.tracer = Some(strace.spawn().unwrap());
    }

    /// How many syncs were made to fail.
    pub fn failed_syncs(&self) -> usize {
        let traced = fs::read_to_string(self.folder.join("strace")).unwrap_or_default();
        traced.lines().filter(|line| line.contains("(INJECTED)")).count()
    }

    /// Ends the tracer.
    pub fn let_syncs_be(&mut self) {
        if let Some(mut tracer) = self.tracer.take() {
            let _ = kill_process(Pid::from_child(&tracer), Signal::TERM);
            tracer.wait().unwrap();
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// All bytes of a partition's log, from its files.
    pub fn records(&self, topic: &str, partition: i32) -> Vec<u8> {
        let folder = self.disk.path().join("data").join(format!("{topic}-{partition}"));
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        files.sort();
        files.iter().flat_map(|path| fs::read(path).unwrap()).collect()
    }
}
