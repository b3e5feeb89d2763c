//! Topics that go, come and grow while a node is away; replicas over racks; and whether all replicas have the same.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use super::nodes::{Cluster, klamm, said, wait};

/// The folders of partitions on a node, as far as they are of these topics.
fn folders(cluster: &Cluster, id: usize, topic: &str) -> Vec<String> {
    let entries = fs::read_dir(cluster.nodes[id - 1].folder().join("data")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut found: Vec<String> = names.filter(|name| name.starts_with(&format!("{topic}-"))).collect();
    found.sort();
    found
}

fn create(cluster: &Cluster, words: &[&str]) {
    let words = [&["--create", "--topic"], words].concat();
    wait("the topic is made", || cluster.tool("kafka-topics", &words).status.success().then_some(()));
}

pub fn produce(cluster: &Cluster, topic: &str, lines: &str) {
    let words = ["--bootstrap-server", &cluster.addresses(), "--topic", topic];
    let mut child = klamm("kafka-console-producer", &words).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    said(child.wait_with_output().unwrap());
}

/// Runs the comparison of replicas until it has come to offset `end` everywhere.
fn replicas_are_alike(cluster: &Cluster, topic: &str, end: i64) {
    let addresses = cluster.addresses();
    let words = [
        "--broker-list",
        &addresses,
        "--topics-include",
        topic,
        "--time",
        "-2",
        "--report-interval-ms",
        "1",
        "--max-wait-ms",
        "10",
    ];
    let mut tool = klamm("kafka-replica-verification", &words).spawn().unwrap();
    let mut lines = BufReader::new(tool.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().ends_with(": verification process is started"));
    let done = format!(": max lag is 0 for partition {topic}-0 at offset {end} among 1 partitions");
    for line in lines.by_ref() {
        assert!(line.contains(": max lag is "), "{line}");
        if line.ends_with(&done) {
            break;
        }
    }
    tool.kill().unwrap();
    assert_eq!(tool.wait().unwrap().code(), None, "it goes on until it is stopped");
}

#[test]
fn topics_go_and_grow_while_a_node_is_away() {
    let mut cluster = Cluster::start();
    create(&cluster, &["gone", "--replica-assignment", "1:2:3"]);
    create(&cluster, &["again", "--replica-assignment", "1:2:3"]);
    create(&cluster, &["grows", "--replica-assignment", "1:2:3"]);
    for topic in ["gone", "again", "grows"] {
        cluster.wait_for_full_isr(topic);
        produce(&cluster, topic, "one\ntwo\n");
    }
    cluster.nodes[2].kill();
    for topic in ["gone", "again"] {
        said(cluster.tool("kafka-topics", &["--delete", "--topic", topic]));
    }
    // Another topic of the same name: what the node has of the first is none of its.
    create(&cluster, &["again", "--replica-assignment", "1:2:3"]);
    produce(&cluster, "again", "anew\n");
    said(cluster.tool("kafka-topics", &["--alter", "--topic", "grows", "--partitions", "4"]));
    assert!(cluster.partitions("grows").iter().all(|(leader, isr, _)| leader != "3" && !isr.contains(&"3".to_owned())));

    cluster.nodes[2].start();
    for topic in ["again", "grows"] {
        cluster.wait_for_full_isr(topic);
    }
    assert_eq!(cluster.partitions("grows").len(), 4);
    assert_eq!(folders(&cluster, 3, "grows"), ["grows-0", "grows-1", "grows-2", "grows-3"]);
    let gone = folders(&cluster, 3, "gone");
    assert!(gone.len() == 1 && gone[0].ends_with("-stray"), "its name is free: {gone:?}");
    let again = folders(&cluster, 3, "again");
    assert!(again.len() == 2 && again[0] == "again-0" && again[1].ends_with("-stray"), "{again:?}");
    replicas_are_alike(&cluster, "again", 1);

    // The name can be taken again there too.
    create(&cluster, &["gone", "--replica-assignment", "3:1:2"]);
    produce(&cluster, "gone", "back\n");
    cluster.wait_for_full_isr("gone");
    replicas_are_alike(&cluster, "gone", 1);
    assert_eq!(folders(&cluster, 3, "gone").iter().filter(|name| *name == "gone-0").count(), 1);
}

#[test]
fn replicas_are_spread_over_racks_when_a_topic_is_made_and_when_it_grows() {
    let cluster = Cluster::start_with(|id| format!("broker.rack={}\n", if id == 3 { "far" } else { "near" }));
    let spread = |topic: &str, count: usize| {
        let partitions = cluster.partitions(topic);
        assert_eq!(partitions.len(), count);
        // Of two racks, one has broker 3 alone: with one replica in each, it is always there.
        let has_far = |(_, _, replicas): &&(String, Vec<String>, Vec<String>)| replicas.contains(&"3".to_owned());
        assert_eq!(partitions.iter().filter(has_far).count(), count, "{partitions:?}");
    };
    // All three are there: replicas go to those that are.
    create(&cluster, &["all", "--partitions", "1", "--replication-factor", "3"]);
    cluster.wait_for_full_isr("all");
    create(&cluster, &["t", "--partitions", "6", "--replication-factor", "2"]);
    spread("t", 6);
    said(cluster.tool("kafka-topics", &["--alter", "--topic", "t", "--partitions", "12"]));
    wait("it has grown", || (cluster.partitions("t").len() == 12).then_some(()));
    spread("t", 12);
}

#[test]
fn reports_tell_of_a_dead_node_in_kafkas_words() {
    let mut cluster = Cluster::start();
    create(&cluster, &["alone", "--replica-assignment", "3", "--config", "min.insync.replicas=1"]);
    create(&cluster, &["some", "--replica-assignment", "1:2:3", "--config", "min.insync.replicas=2"]);
    create(&cluster, &["all", "--replica-assignment", "1:2:3", "--config", "min.insync.replicas=3"]);
    cluster.wait_for_full_isr("some");
    cluster.wait_for_full_isr("all");
    let topics = |cluster: &Cluster, report: &str| {
        let told = said(cluster.tool("kafka-topics", &["--describe", report]));
        let topic = |line: &str| line.split('\t').find_map(|field| field.strip_prefix("Topic: ")).map(str::to_owned);
        told.lines().filter(|line| line.starts_with('\t')).filter_map(topic).collect::<Vec<String>>()
    };
    let reports = [
        ("--under-replicated-partitions", &["all", "alone", "some"][..]),
        ("--unavailable-partitions", &["alone"]),
        ("--under-min-isr-partitions", &["all", "alone"]),
        ("--at-min-isr-partitions", &["some"]),
    ];
    for (report, _) in &reports[..3] {
        assert_eq!(topics(&cluster, report), Vec::<String>::new(), "{report}");
    }
    assert_eq!(topics(&cluster, "--at-min-isr-partitions"), ["all", "alone"]);
    cluster.nodes[2].kill();
    wait("the node is missed", || {
        let isr = |topic| cluster.partitions(topic)[0].1.len();
        (isr("some") == 2 && isr("all") == 2 && cluster.partitions("alone")[0].0 == "none").then_some(())
    });
    for (report, wanted) in reports {
        assert_eq!(topics(&cluster, report), wanted, "{report}");
    }
}
