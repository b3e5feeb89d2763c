//! A log of groups that cannot be read.

use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::process::Signal;

use super::broker::{Broker, wait_until};

/// The coordinator loads again once the log is whole, without anybody restarting the broker.
#[test]
fn groups_come_back_once_their_log_can_be_read_again() {
    let mut b = Broker::start("");
    b.tool("kafka-topics", &["--create", "--topic", "t"]);
    let reset = ["--reset-offsets", "--to-earliest", "--group", "g", "--topic", "t", "--execute"];
    b.tool("kafka-consumer-groups", &reset);
    let path = b.folder.path().join("data/__consumer_offsets-0/00000000000000000000.log");
    let log = File::options().read(true).write(true).open(path).unwrap();
    // Within the first batch's records, behind its head of 61 bytes.
    let (at, mut byte) = (75, [0]);
    log.read_exact_at(&mut byte, at).unwrap();
    log.write_all_at(&[!byte[0]], at).unwrap();
    b.restart(Signal::TERM);
    wait_until("the load has failed", || b.log().contains("cannot be served"));
    log.write_all_at(&byte, at).unwrap();
    let describe = ["--describe", "--group", "g", "--timeout", "1000"];
    wait_until("the group is known again", || {
        let done = b.done("kafka-consumer-groups", &describe, "");
        done.code == Some(0) && done.out.lines().any(|line| line.starts_with("g ") && line.contains(" t "))
    });
}
