//! What tools say while a majority of the voters is away.

use std::process::Child;
use std::time::{Duration, Instant};

use super::nodes::{Cluster, klamm, said, wait};

#[test]
fn tools_say_within_seconds_that_the_quorum_has_no_leader() {
    let mut cluster = Cluster::start();
    said(cluster.tool("kafka-topics", &["--create", "--topic", "there", "--partitions", "1"]));
    // Who leads the quorum would take a moment to see that nobody follows.
    let leader = cluster.controller();
    let left = leader % 3;
    // It serves, and has heard of the topic.
    let describe = ["--bootstrap-server", &cluster.nodes[left].address.clone(), "--describe", "--topic", "there"];
    wait("the node that will be left knows the topic", || {
        klamm("kafka-topics", &describe).output().unwrap().status.success().then_some(())
    });
    let plan = cluster.nodes[left].folder().join("plan.json").display().to_string();
    let moves = r#"{"version":1,"partitions":[{"topic":"there","partition":0,"replicas":[1,2]}]}"#;
    std::fs::write(&plan, moves).unwrap();
    for other in (0..3).filter(|other| *other != left) {
        cluster.nodes[other].kill();
    }
    let node = &cluster.nodes[left];
    // What brokers know they tell.
    let begun = Instant::now();
    assert!(said(klamm("kafka-topics", &describe).output().unwrap()).contains("Partition: 0"));
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    let tools: &[(&str, &[&str])] = &[
        ("kafka-topics", &["--create", "--topic", "new", "--partitions", "1", "--replication-factor", "1"]),
        ("kafka-topics", &["--delete", "--topic", "there"]),
        ("kafka-topics", &["--alter", "--topic", "there", "--partitions", "4"]),
        ("kafka-configs", &["--alter", "--topic", "there", "--add-config", "retention.ms=5000"]),
        ("kafka-features", &["upgrade", "--feature", "transaction.version=1"]),
        ("kafka-metadata-quorum", &["describe", "--status"]),
        ("kafka-cluster", &["unregister", "--id", "2"]),
        ("kafka-reassign-partitions", &["--execute", "--reassignment-json-file", &plan]),
        ("kafka-leader-election", &["--election-type", "preferred", "--all-topic-partitions"]),
    ];
    let begun = Instant::now();
    let started = |(tool, words): &(&str, &[&str])| {
        let words = match *tool {
            // Its command comes first.
            "kafka-cluster" => [&words[..1], &["--bootstrap-server", &node.address], &words[1..]].concat(),
            _ => [&["--bootstrap-server", &node.address], *words].concat(),
        };
        klamm(tool, &words).spawn().unwrap()
    };
    let running: Vec<Child> = tools.iter().map(started).collect();
    for ((tool, words), child) in tools.iter().zip(running) {
        let done = child.wait_with_output().unwrap();
        let text = [&done.stdout[..], &done.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert_eq!(done.status.code(), Some(1), "{tool} {words:?}: {text}");
        // The answer to an election has no room for words.
        let why = match *tool {
            "kafka-leader-election" => "Timeout waiting for election results",
            _ => "the metadata quorum has no leader",
        };
        assert!(text.contains(why), "{tool} {words:?}: {text}");
    }
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
}
