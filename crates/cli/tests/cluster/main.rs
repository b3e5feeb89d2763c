//! A cluster from the outside: nodes are killed while a producer writes, and nothing that was acknowledged is lost, twice, or
//! out of order.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod absent;
mod answers;
mod deletion;
mod epochs;
mod failed_dirs;
mod failover;
mod moves;
mod no_quorum;
mod nodes;
mod offsets;
mod racks;
mod settings;
mod strangers;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Child;

use nodes::{Cluster, klamm, said, wait};

const PARTITIONS: &str = "3";
/// Records of one run, at 500 a second.
const RECORDS: &str = "1500";
/// The fault comes after so many acknowledgements.
const BEFORE: usize = 300;

/// What a producer was told: value by partition and offset.
type Acknowledged = BTreeMap<(i64, i64), i64>;

fn produce(cluster: &Cluster, topic: &str) -> Child {
    let words = [
        "--bootstrap-server",
        &cluster.addresses(),
        "--topic",
        topic,
        "--max-messages",
        RECORDS,
        "--throughput",
        "500",
    ];
    klamm("kafka-verifiable-producer", &words).spawn().unwrap()
}

/// Reads what a producer reports, and calls `fault` in the middle.
fn reports(mut producer: Child, fault: impl FnOnce()) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    let mut fault = Some(fault);
    for line in BufReader::new(producer.stdout.take().unwrap()).lines() {
        let report: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        if report["name"] == "producer_send_success" {
            let at = (report["partition"].as_i64().unwrap(), report["offset"].as_i64().unwrap());
            let value = report["value"].as_str().unwrap().parse().unwrap();
            assert_eq!(acknowledged.insert(at, value), None, "two records were acknowledged at {at:?}");
        }
        if acknowledged.len() >= BEFORE
            && let Some(fault) = fault.take()
        {
            fault();
        }
    }
    producer.wait().unwrap();
    assert!(fault.is_none(), "the producer ended after {} acknowledgements", acknowledged.len());
    acknowledged
}

/// Everything in the topic, by partition and offset.
fn read(cluster: &Cluster, topic: &str) -> Acknowledged {
    let mut found = Acknowledged::new();
    for partition in 0..3 {
        let number = partition.to_string();
        let words = [
            "--topic",
            topic,
            "--partition",
            &number,
            "--offset",
            "earliest",
            "--timeout-ms",
            "2000",
            "--formatter-property",
            "print.offset=true",
        ];
        // It ends by the timeout, which it counts as an error.
        let output = cluster.tool("kafka-console-consumer", &words);
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let (offset, value) = line.strip_prefix("Offset:").unwrap().split_once('\t').unwrap();
            found.insert((partition, offset.parse().unwrap()), value.parse().unwrap());
        }
    }
    found
}

fn verify(cluster: &Cluster, topic: &str, acknowledged: &Acknowledged) {
    let found = read(cluster, topic);
    for (at, value) in acknowledged {
        assert_eq!(found.get(at), Some(value), "{topic}: acknowledged at {at:?}\n{}", cluster.logs());
    }
    let mut seen = BTreeMap::new();
    for (at, value) in &found {
        if let Some(before) = seen.insert(value, at) {
            panic!("{topic}: {value} is at {before:?} and at {at:?}\n{}", cluster.logs());
        }
    }
    let mut last = BTreeMap::new();
    for ((partition, offset), value) in &found {
        let before = last.insert(partition, value);
        assert!(before.is_none_or(|before| before < value), "{topic}: {value} at {partition}-{offset} is out of order");
    }
}

/// Produces, kills these nodes in the middle, starts them again, and verifies.
fn survive(cluster: &mut Cluster, topic: &str, victims: impl Fn(&Cluster) -> Vec<usize>) {
    let create = ["--create", "--topic", topic, "--partitions", PARTITIONS, "--replication-factor", "3"];
    wait("the topic is made", || cluster.tool("kafka-topics", &create).status.success().then_some(()));
    cluster.wait_for_full_isr(topic);
    let victims = victims(cluster);
    let producer = produce(cluster, topic);
    let acknowledged = reports(producer, || {
        for id in &victims {
            cluster.nodes[id - 1].kill();
        }
        for id in &victims {
            cluster.nodes[id - 1].start();
        }
    });
    cluster.wait_for_full_isr(topic);
    cluster.wait_for_preferred_leaders(topic);
    verify(cluster, topic, &acknowledged);
}

#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let mut cluster = Cluster::start();
    let leader = cluster.controller();
    for node in &cluster.nodes {
        let words = ["--bootstrap-controller", &node.controller, "describe", "--status"];
        let status = said(klamm("kafka-metadata-quorum", &words).output().unwrap());
        let line = status.lines().find_map(|line| line.strip_prefix("LeaderId:")).unwrap();
        assert_eq!(line.trim(), leader.to_string(), "any controller answers for the one that leads");
    }
    survive(&mut cluster, "leader", |cluster| vec![cluster.partitions("leader")[0].0.parse().unwrap()]);
    survive(&mut cluster, "controller", |cluster| vec![cluster.controller()]);
    survive(&mut cluster, "two", |cluster| (1..=3).filter(|id| *id != cluster.controller()).collect());
    survive(&mut cluster, "all", |_| vec![1, 2, 3]);
    // What one run left behind, the next ones did not touch.
    assert!(said(cluster.tool("kafka-topics", &["--list"])).lines().count() >= 4);
}
