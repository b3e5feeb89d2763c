//! `zkServer`: starts, stops and asks the process in ZooKeeper's place, with the words and files of ZooKeeper's script.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use server::config::zoo::ZooConfig;

use crate::processes::{self, Process};
use crate::{complain, say, term};

const USAGE: &str = "Usage: zkServer.sh {start|start-foreground|stop|version|restart|status|print-cmd} [zoo.cfg]";
/// How long a start, or the end after a stop, is waited for. Reading back a large log takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a running server may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(5);

/// The tool.
pub fn main(args: &[String]) -> u8 {
    let (action, file) = match args {
        [action] => (action.as_str(), None),
        [action, file] => (action.as_str(), Some(file.as_str())),
        _ => {
            complain!("{USAGE}");
            return 1;
        }
    };
    if ["version", "--version"].contains(&action) {
        say!("Klamm {} in the place of Apache ZooKeeper", env!("CARGO_PKG_VERSION"));
        return 0;
    }
    if !["start", "start-foreground", "stop", "restart", "status", "print-cmd"].contains(&action) {
        complain!("{USAGE}");
        return 1;
    }
    let path = config_path(file);
    complain!("ZooKeeper JMX enabled by default\nUsing config: {}", path.display());
    match action {
        "start" => start(&path),
        "stop" => stop(&path),
        "restart" => match stop(&path) {
            0 => start(&path),
            code => code,
        },
        "status" => status(&path),
        "print-cmd" => {
            say!("{} {} {}", program().display(), crate::ZOOKEEPER, path.display());
            0
        }
        _ => {
            let error = Command::new(program()).arg(crate::ZOOKEEPER).arg(&path).exec();
            complain!("{}: {error}", program().display());
            1
        }
    }
}

/// `conf/zoo.cfg`, unless ZOOCFGDIR and ZOOCFG, or a name on the command line, say otherwise. A name with a directory in
/// it is a path; a bare one is looked for in the directory of configurations.
fn config_path(file: Option<&str>) -> PathBuf {
    let dir = PathBuf::from(env("ZOOCFGDIR").unwrap_or_else(|| "conf".into()));
    match file {
        Some(file) if file.contains('/') => file.into(),
        Some(file) => dir.join(file),
        None => dir.join(env("ZOOCFG").unwrap_or_else(|| "zoo.cfg".into())),
    }
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| "klamm".into())
}

/// Prints the beginning of a line whose end is how it went.
fn begin(text: &str) {
    term::out_bytes(text.as_bytes());
    term::flush();
}

fn load(path: &Path) -> Result<ZooConfig, u8> {
    ZooConfig::load(path).map_err(|error| {
        complain!("{error}");
        1
    })
}

/// The process that the pid file names, if it still runs and is one of ours.
fn running(config: &ZooConfig) -> Option<Process> {
    let pid = fs::read_to_string(config.pid_file()).ok()?.trim().parse().ok()?;
    processes::process(pid, crate::ZOOKEEPER)
}

fn start(path: &Path) -> u8 {
    begin("Starting zookeeper ... ");
    match launch(path) {
        Ok(Started::New) => {
            say!("STARTED");
            0
        }
        Ok(Started::Before(pid)) => {
            say!("already running as process {pid}.");
            0
        }
        Err(why) => {
            say!("FAILED TO START");
            complain!("{why}");
            1
        }
    }
}

enum Started {
    New,
    Before(i32),
}

fn launch(path: &Path) -> Result<Started, String> {
    let config = ZooConfig::load(path).map_err(|e| e.to_string())?;
    if let Some(process) = running(&config) {
        return Ok(Started::Before(process.pid()));
    }
    if ask(&config, "ruok", ANSWER).is_some() {
        return Err(format!(
            "port {} answers already: another process listens there (ss -ltnp tells which)",
            config.client_port
        ));
    }
    let said = |path: &Path| {
        let path = path.display().to_string();
        move |e: std::io::Error| format!("{path}: {e}")
    };
    fs::create_dir_all(&config.data_dir).map_err(said(&config.data_dir))?;
    let logs = PathBuf::from(env("ZOO_LOG_DIR").unwrap_or_else(|| ".".into()));
    fs::create_dir_all(&logs).map_err(said(&logs))?;
    let log = logs.join("zookeeper.out");
    let out = File::create(&log).map_err(said(&log))?;
    let err = out.try_clone().map_err(said(&log))?;
    let mut child = Command::new(program())
        .arg(crate::ZOOKEEPER)
        .arg(path)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0) // Ctrl-C in this terminal is not meant for it
        .spawn()
        .map_err(said(&program()))?;
    let pid_file = config.pid_file();
    fs::write(&pid_file, child.id().to_string()).map_err(said(&pid_file))?;
    wait_until_it_answers(&mut child, &config, &log).inspect_err(|_| drop(fs::remove_file(&pid_file)))?;
    Ok(Started::New)
}

fn wait_until_it_answers(child: &mut Child, config: &ZooConfig, log: &Path) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            let text = fs::read_to_string(log).unwrap_or_default();
            let last: Vec<&str> = text.lines().rev().take(5).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            return Err(format!("the process ended ({status}); {} ends with\n{}", log.display(), last.join("\n")));
        }
        // Its port is there before it knows whether it can start.
        if ask(config, "ruok", ANSWER).is_some_and(|answer| !answer.is_empty()) {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            let seconds = PATIENCE.as_secs();
            return Err(format!("it runs and does not answer after {seconds} s; {} tells more", log.display()));
        }
        std::thread::sleep(STEP);
    }
}

fn stop(path: &Path) -> u8 {
    begin("Stopping zookeeper ... ");
    let config = match load(path) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let pid_file = config.pid_file();
    if !pid_file.exists() {
        say!("no zookeeper to stop (could not find file {})", pid_file.display());
        return 0;
    }
    if let Some(process) = running(&config) {
        if !processes::send(&process, Signal::TERM) {
            return 1;
        }
        let (begun, pid) = (Instant::now(), process.pid());
        while processes::process(pid, crate::ZOOKEEPER).is_some() {
            if begun.elapsed() > PATIENCE {
                complain!("process {pid} was asked to end and still runs after {} s", PATIENCE.as_secs());
                return 1;
            }
            std::thread::sleep(STEP);
        }
    }
    if let Err(error) = fs::remove_file(&pid_file) {
        complain!("{}: {error}", pid_file.display());
        return 1;
    }
    say!("STOPPED");
    0
}

fn status(path: &Path) -> u8 {
    let config = match load(path) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let host = config.client_address.as_deref().unwrap_or("localhost");
    complain!("Client port found: {}. Client address: {host}. Client SSL: false.", config.client_port);
    let answer = ask(&config, "srvr", ANSWER).unwrap_or_default();
    match answer.lines().find(|line| line.starts_with("Mode: ")) {
        Some(mode) => {
            say!("{mode}");
            0
        }
        None => {
            say!("Error contacting service. It is probably not running.");
            1
        }
    }
}

/// What the server on the client port answers to a four-letter word; `None` when nobody listens there.
fn ask(config: &ZooConfig, word: &str, limit: Duration) -> Option<String> {
    let host = config.client_address.as_deref().unwrap_or("localhost");
    let addresses: Vec<SocketAddr> = (host, config.client_port).to_socket_addrs().ok()?.collect();
    let mut stream = addresses.iter().find_map(|address| TcpStream::connect_timeout(address, limit).ok())?;
    let mut answer = String::new();
    stream.set_read_timeout(Some(limit)).ok()?;
    // Somebody listens; what cannot be read of the answer is no answer.
    if stream.write_all(word.as_bytes()).is_ok() {
        let _ = stream.take(1 << 20).read_to_string(&mut answer);
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_looked_for_among_the_configurations() {
        assert_eq!(config_path(Some("/etc/zoo.cfg")), Path::new("/etc/zoo.cfg"));
        assert_eq!(config_path(Some("./zoo.cfg")), Path::new("./zoo.cfg"));
        assert!(config_path(Some("other.cfg")).ends_with("other.cfg"));
    }

    #[test]
    fn a_process_that_listens_and_ends_has_not_started() {
        let dir = tempfile::tempdir().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let file = dir.path().join("zoo.cfg");
        let text = format!("dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\n", dir.path().display());
        fs::write(&file, text).unwrap();
        let config = ZooConfig::load(&file).unwrap();
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let stdin = child.stdin.take();
        let peer = std::thread::spawn(move || {
            let asked = listener.accept();
            drop(stdin);
            drop((asked, listener));
        });
        let why = wait_until_it_answers(&mut child, &config, &dir.path().join("log")).unwrap_err();
        assert!(why.starts_with("the process ended (exit status: 0)"), "{why}");
        peer.join().unwrap();
    }

    #[test]
    fn the_pid_of_another_program_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("zoo.cfg");
        fs::write(&file, format!("dataDir={}\n", dir.path().display())).unwrap();
        let config = ZooConfig::load(&file).unwrap();
        assert!(running(&config).is_none());
        fs::write(config.pid_file(), std::process::id().to_string()).unwrap();
        assert!(running(&config).is_none());
    }
}
