//! A log directory that fails while nobody can be told of it.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use super::nodes::{Cluster, klamm, wait};

#[test]
fn a_node_that_cannot_tell_the_controller_of_a_failed_directory_stops() {
    let folder = tempfile::Builder::new().prefix("cluster-dirs-").tempdir().unwrap();
    let dirs = |id: usize| format!("{0}/{id}a,{0}/{id}b", folder.path().display());
    let mut cluster = Cluster::start_with(|id| format!("log.dirs={}\nlog.dir.failure.timeout.ms=1000\n", dirs(id)));
    let words = ["--create", "--topic", "t", "--replica-assignment", "1,1", "--config", "min.insync.replicas=1"];
    wait("the topic is made", || cluster.tool("kafka-topics", &words).status.success().then_some(()));
    wait("node 1 holds it", || cluster.nodes[0].log().contains("RUNNING").then_some(()));

    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    let broken = folder.path().join("1b");
    fs::rename(&broken, folder.path().join("gone")).unwrap();
    fs::write(&broken, "").unwrap();
    let words = ["--bootstrap-server", &cluster.nodes[0].address, "--topic", "t", "--request-required-acks", "1"];
    let words = [&words[..], &["--command-property", "delivery.timeout.ms=2000"]].concat();
    let words = [&words[..], &["--command-property", "request.timeout.ms=1000"]].concat();
    let mut child = klamm("kafka-console-producer", &words).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a\nb\nc\nd\n").unwrap();
    child.wait_with_output().unwrap();
    let code = cluster.nodes[0].ended();
    let log = cluster.nodes[0].log();
    assert_eq!(code, Some(1), "{log}");
    let words = format!("couldn't communicate offline log dir {} with controllers", broken.display());
    assert!(log.contains(&words), "{log}");
}
