//! `kafka-server-stop` finds brokers whatever their file is called and wherever it is by now, and nobody else.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::broker::wait_until;

const BINARY: &str = env!("CARGO_BIN_EXE_klamm");

/// The binary under another name.
fn renamed(to: PathBuf) -> PathBuf {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    if fs::hard_link(BINARY, &to).is_err() {
        fs::copy(BINARY, &to).unwrap();
    }
    to
}

fn spawn(program: &Path, words: &[&str], directory: &Path) -> Child {
    let mut command = Command::new(program);
    command.args(words).current_dir(directory);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn brokers_are_found_by_what_they_run_and_not_by_the_name_of_their_file() {
    let folder = tempfile::tempdir().unwrap();
    // Only brokers with this id are asked to end: others run on this machine, too.
    let id = 1_000_000_000 + i32::from(testkit::free_port());
    let directory = |name: &str| {
        let (directory, port) = (folder.path().join(name), testkit::free_port());
        fs::create_dir_all(&directory).unwrap();
        let lines = format!("broker.id={id}\nlisteners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={name}/data\n");
        let lines = lines.replace(name, &directory.display().to_string());
        fs::write(directory.join("server.properties"), lines).unwrap();
        (directory, port)
    };
    let start = ["kafka-server-start", "server.properties"];
    let mut brokers = Vec::new();
    let mut begin = |name: &str, program: &Path, words: &[&str]| {
        let (directory, port) = directory(name);
        brokers.push((name.to_owned(), port, spawn(program, words, &directory)));
    };
    begin("renamed", &renamed(folder.path().join("my-broker")), &start);
    let link = folder.path().join("kafka-server-start");
    symlink(BINARY, &link).unwrap();
    begin("linked", &link, &["server.properties"]);
    begin("by-class", Path::new(BINARY), &["kafka-run-class", "kafka.Kafka", "server.properties"]);
    let replaced = renamed(folder.path().join("old/klamm"));
    begin("replaced", &replaced, &start);
    for (name, port, child) in &mut brokers {
        wait_until(name, || {
            assert!(child.try_wait().unwrap().is_none(), "{name} has ended");
            TcpStream::connect(("127.0.0.1", *port)).is_ok()
        });
    }
    fs::remove_file(&replaced).unwrap();
    fs::write(&replaced, "the next version").unwrap();
    // It says that it is a broker, and reads a file called kafka-server-start.
    let (innocent, _) = directory("innocent");
    fs::write(innocent.join("kafka-server-start"), "").unwrap();
    let mut reader = Command::new("tail");
    reader.arg0("klamm").args(start).arg("-f").current_dir(&innocent).stdout(Stdio::null()).stderr(Stdio::null());
    let mut reader = reader.spawn().unwrap();

    let stop = Command::new(BINARY).args(["kafka-server-stop", &format!("--node-id={id}")]).output().unwrap();
    assert_eq!(stop.status.code(), Some(0), "{stop:?}");
    for (name, _, child) in &mut brokers {
        wait_until(name, || child.try_wait().unwrap().is_some());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{name}");
    }
    assert!(reader.try_wait().unwrap().is_none(), "it is no broker");
    reader.kill().unwrap();
    reader.wait().unwrap();
    let none = Command::new(BINARY).args(["kafka-server-stop", &format!("--node-id={id}")]).output().unwrap();
    assert_eq!((none.status.code(), none.stderr.as_slice()), (Some(1), &b"No kafka server to stop\n"[..]));
}
