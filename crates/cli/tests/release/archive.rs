//! What is in the archive, and that it runs.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::unpacked::{Running, program, release, said, tool, wait_until};

#[test]
fn it_holds_what_a_user_needs_and_its_checksum_is_right() {
    let r = release();
    let mut names: Vec<String> =
        fs::read_dir(&r.folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let expected = [
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "LICENSE",
        "README.md",
        "bin",
        "conf",
        "config",
        "contrib",
        "docs",
        "klamm",
    ];
    assert!(names.iter().filter(|name| *name != "logs").eq(expected), "{names:?}");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bin");
    for script in fs::read_dir(here).unwrap() {
        let script = r.folder.join("bin").join(script.unwrap().file_name());
        let is_sourced = script.ends_with("klamm-launch.sh");
        let mode = fs::metadata(&script).unwrap().permissions().mode();
        assert!(is_sourced || mode & 0o111 == 0o111, "{}: {mode:o}", script.display());
    }
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--quiet"]).arg(r.archive.with_extension("gz.sha256")).current_dir(&r.out);
    said(check.output().unwrap());
}

#[test]
fn it_runs_without_the_sources() {
    let work = tempfile::Builder::new().prefix("release-").tempdir().unwrap();
    let address = format!("127.0.0.1:{}", testkit::free_port());
    // As from /usr/local/bin.
    let link = work.path().join("kafka-server-start.sh");
    symlink(release().folder.join("bin/kafka-server-start.sh"), &link).unwrap();
    let mut start = program(&link);
    start.arg(release().folder.join("config/standalone.properties"));
    start.args(["--override", &format!("listeners=PLAINTEXT://{address}")]);
    start.args(["--override", &format!("log.dirs={}", work.path().join("data").display())]);
    let mut broker = Running::start(&mut start, &address, work.path().join("output"));
    assert_eq!(tool("kafka-topics", &address, &["--create", "--topic", "t"]), "Created topic t.\n");
    let mut producer = program(&release().folder.join("bin/kafka-console-producer.sh"));
    let mut producer =
        producer.args(["--bootstrap-server", &address, "--topic", "t"]).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut producer.stdin.take().unwrap(), b"one\ntwo\n").unwrap();
    said(producer.wait_with_output().unwrap());
    let read = tool("kafka-console-consumer", &address, &["--topic", "t", "--from-beginning", "--max-messages", "2"]);
    assert_eq!(read, "one\ntwo\n");
    // The script became the broker: its process is the one to be told.
    kill_process(Pid::from_child(&broker.child), Signal::TERM).unwrap();
    let ended = broker.child.wait().unwrap();
    assert_eq!(ended.code(), Some(0), "{}", broker.output());
}

#[test]
fn a_daemon_logs_beside_the_scripts() {
    let work = tempfile::Builder::new().prefix("release-").tempdir().unwrap();
    let port = testkit::free_port();
    let address = format!("127.0.0.1:{port}");
    let data = work.path().join("data");
    let file = work.path().join("server.properties");
    let settings = format!("node.id={port}\nlisteners=PLAINTEXT://{address}\nlog.dirs={}\n", data.display());
    fs::write(&file, settings).unwrap();
    said(program(&release().folder.join("bin/kafka-server-start.sh")).arg("-daemon").arg(&file).output().unwrap());
    let stop = || {
        let mut stop = program(&release().folder.join("bin/kafka-server-stop.sh"));
        stop.arg(format!("--node-id={port}"));
        stop
    };
    let log = || fs::read_to_string(release().folder.join("logs/server.log")).unwrap_or_default();
    let started = format!(" node={port} ");
    let has_started =
        std::panic::catch_unwind(|| wait_until("the daemon logs that it started", || log().contains(&started)));
    let stopped = stop().output().unwrap();
    assert!(has_started.is_ok(), "{}", log());
    said(stopped);
    wait_until("the daemon ended", || data.join(".kafka_cleanshutdown").exists());
}
