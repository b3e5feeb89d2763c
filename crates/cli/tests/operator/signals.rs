//! Signals that come while a broker still starts: it ends in order, and leaves its directories as it found them.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::broker::wait_until;

/// A broker with these settings in `folder`, with its data in `data`; `launcher` is put before its command.
fn broker(folder: &Path, settings: &str, launcher: &[&str]) -> Child {
    let file = folder.join("server.properties");
    fs::write(&file, format!("log.dirs={}\n{settings}", folder.join("data").display())).unwrap();
    let mut words: Vec<&str> = [launcher, &[env!("CARGO_BIN_EXE_klamm"), "kafka-server-start"]].concat();
    let program = words.remove(0);
    let mut command = Command::new(program);
    command.args(words).arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn ended(child: &mut Child) -> ExitStatus {
    let mut status = None;
    wait_until("the broker has ended", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

/// A new broker asks the quorum which cluster it is in. Its port is bound then, and its directory locked.
#[test]
fn a_signal_that_comes_while_the_broker_looks_for_its_cluster_ends_it_in_order() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let folder = tempfile::tempdir().unwrap();
        let (quorum, port) = (TcpListener::bind("127.0.0.1:0").unwrap(), testkit::free_port());
        let settings = format!(
            "listeners=PLAINTEXT://127.0.0.1:{port}\nzookeeper.connect={}\nbroker.id=1\n",
            quorum.local_addr().unwrap()
        );
        let mut child = broker(folder.path(), &settings, &["env", "--default-signal=HUP"]);
        let _asking = quorum.accept().unwrap();
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        send(&child, signal);
        let status = ended(&mut child);
        assert_eq!((status.code(), status.signal()), (Some(0), None), "{signal:?}");
        assert!(!folder.path().join("data/meta.properties").exists());
    }
}

/// `nohup`, and with it `-daemon`.
#[test]
fn a_hangup_that_is_ignored_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (quorum, port) = (TcpListener::bind("127.0.0.1:0").unwrap(), testkit::free_port());
    let settings = format!(
        "listeners=PLAINTEXT://127.0.0.1:{port}\nzookeeper.connect={}\nbroker.id=1\n",
        quorum.local_addr().unwrap()
    );
    let mut child = broker(folder.path(), &settings, &["env", "--ignore-signal=HUP"]);
    drop(quorum.accept().unwrap());
    send(&child, Signal::HUP);
    for _ in 0..3 {
        drop(quorum.accept().unwrap()); // it asks on
    }
    send(&child, Signal::TERM);
    assert_eq!(ended(&mut child).code(), Some(0));
}

/// What was not looked through after a kill must not look as if it had been closed in order.
#[test]
fn a_broker_that_ends_before_it_has_the_clusters_state_leaves_its_directory_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (marker, boot_id) = (data.join(".kafka_cleanshutdown"), data.join(".klamm_boot_id"));
    let inode = || fs::metadata(&boot_id).map(|file| file.ino()).unwrap_or_default();
    let (port, nobody) = (testkit::free_port(), testkit::free_port());
    let settings = format!(
        "listeners=PLAINTEXT://127.0.0.1:{port}\nprocess.roles=broker\nnode.id=2\ncontroller.listener.names=CONTROLLER\n\
         controller.quorum.voters=1@127.0.0.1:{nobody}\n"
    );
    let file = folder.path().join("format.properties");
    fs::write(&file, format!("log.dirs={}\n{settings}", data.display())).unwrap();
    let mut format = Command::new(env!("CARGO_BIN_EXE_klamm"));
    format.args(["kafka-storage", "format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c"]).arg(&file);
    assert!(format.output().unwrap().status.success());
    let text = "{\"version\":0,\"brokerEpoch\":7}";
    fs::write(&marker, text).unwrap();

    let is_gone = || matches!(fs::metadata(&marker), Err(e) if e.kind() == ErrorKind::NotFound);
    let mut child = broker(folder.path(), &settings, &["env"]);
    wait_until("the directory is in use", is_gone);
    send(&child, Signal::TERM);
    assert_eq!(ended(&mut child).code(), Some(0));
    assert_eq!(fs::read_to_string(&marker).unwrap(), text, "it was clean");

    let mut child = broker(folder.path(), &settings, &["env"]);
    wait_until("the directory is in use", is_gone);
    send(&child, Signal::KILL);
    ended(&mut child);
    let before = inode();
    let mut child = broker(folder.path(), &settings, &["env"]);
    wait_until("the directory is in use again", || inode() != before);
    send(&child, Signal::TERM);
    assert_eq!(ended(&mut child).code(), Some(0));
    assert!(is_gone(), "nobody has looked through its logs");
}
