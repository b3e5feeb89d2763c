//! Servers under test: starting them in a folder of their own on a port of their own, and ending them.

use crate::Outcome;
use crate::options::Options;
use crate::process::Process;
use std::fs::{File, create_dir_all, remove_dir_all, write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Below the ports that the system gives to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const START_PATIENCE: Duration = Duration::from_secs(60);

/// A port that nobody has now.
pub fn free_port() -> Outcome<u16> {
    let span = PORTS.end - PORTS.start;
    let first = (std::process::id() % u32::from(span)) as u16;
    (0..span)
        .map(|at| PORTS.start + (first + at) % span)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or_else(|| "no free port".into())
}

/// A folder that goes when this is dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes a folder of its own within `--dir`, by default the system's for temporary files.
    pub fn from(options: &mut Options) -> Folder {
        let within = options.take("dir").map_or_else(std::env::temp_dir, PathBuf::from);
        Folder(within.join(format!("klamm-bench-{}", std::process::id())))
    }

    /// A new, empty folder within.
    pub fn sub(&self, name: &str) -> Outcome<Folder> {
        let sub = Folder(self.0.join(name));
        create_dir_all(&sub.0)?;
        Ok(sub)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = remove_dir_all(&self.0);
    }
}

/// A server that listens.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Starts `command` and waits until it listens on `port`. `output` gets what it says.
    pub fn start(mut command: Command, port: u16, output: &Path) -> Outcome<Server> {
        let file = File::options().create(true).append(true).open(output)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().map_err(|e| format!("{}: {e}", command.get_program().display()))?;
        let mut server = Server { child, address: (Ipv4Addr::LOCALHOST, port).into() };
        let deadline = Instant::now() + START_PATIENCE;
        while TcpStream::connect(server.address).is_err() {
            server.check(output)?;
            if Instant::now() > deadline {
                return Err(format!("nobody listens on {}", server.address).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// Starts `command` and waits for nothing.
    pub fn launch(mut command: Command, port: u16, output: &Path) -> Outcome<Server> {
        let file = File::options().create(true).append(true).open(output)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().map_err(|e| format!("{}: {e}", command.get_program().display()))?;
        Ok(Server { child, address: (Ipv4Addr::LOCALHOST, port).into() })
    }

    fn check(&mut self, output: &Path) -> Outcome<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let said = std::fs::read_to_string(output).unwrap_or_default();
        let last: Vec<&str> = said.lines().rev().take(5).collect();
        Err(format!("the server ended with {status}: {}", last.into_iter().rev().collect::<Vec<_>>().join(" | "))
            .into())
    }

    pub fn process(&self) -> Process {
        Process(self.child.id())
    }

    pub fn kill(mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop and waits until it has.
    pub fn stop(mut self) -> Outcome<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How to start the broker.
#[derive(Clone)]
pub struct Broker {
    words: Vec<String>,
}

impl Broker {
    pub fn from(options: &mut Options) -> Outcome<Broker> {
        let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/klamm kafka-server-start");
        let command = options.take("broker").unwrap_or_else(|| default.to_owned());
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        match words.first() {
            Some(program) if Path::new(program).exists() => Ok(Broker { words }),
            _ => Err(format!("there is no broker to start with {command:?}: build it, or say --broker").into()),
        }
    }

    /// The command that starts a broker in `dir`, with `settings` beyond its place and its port.
    pub fn command(&self, dir: &Path, port: u16, settings: &[(&str, &str)]) -> Outcome<Command> {
        let properties = dir.join("server.properties");
        let mut text = format!(
            "node.id=1\nlisteners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={}\noffsets.topic.replication.factor=1\n",
            dir.join("data").display()
        );
        for (name, value) in settings {
            text += &format!("{name}={value}\n");
        }
        write(&properties, text)?;
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).arg(properties);
        Ok(command)
    }

    /// Starts a broker and waits until it listens.
    pub fn start(&self, dir: &Path, settings: &[(&str, &str)]) -> Outcome<Server> {
        let port = free_port()?;
        Server::start(self.command(dir, port, settings)?, port, &dir.join("output"))
    }
}

/// A floor in a process of its own.
pub fn floor(kind: &str, dir: &Path, arguments: &[&str]) -> Outcome<Server> {
    let port = free_port()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args([kind, "--port", &port.to_string()]).args(arguments);
    Server::start(command, port, &dir.join("output"))
}
