//! Consumers that read in their own rack (KIP-392).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use super::nodes::{Cluster, klamm, said, wait};

const TOPIC: &str = "racks";

/// Bytes of the topic's records that a node gave to clients.
fn bytes_out(metrics: u16) -> u64 {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", metrics)) else { return 0 };
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let name = format!("kafka_server_brokertopicmetrics_bytesout_total{{topic=\"{TOPIC}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |n| n.parse().unwrap())
}

struct Producer(Child, ChildStdin);

impl Producer {
    fn send(&mut self, line: &str) {
        writeln!(self.1, "{line}").unwrap();
        self.1.flush().unwrap();
    }
}

fn lines(output: ChildStdout) -> impl FnMut() -> String {
    let mut lines = BufReader::new(output).lines();
    move || lines.next().unwrap().unwrap()
}

#[test]
fn a_consumer_reads_in_its_rack_and_goes_on_when_its_replica_dies() {
    let metrics = [(); 3].map(|()| testkit::free_port());
    let mut cluster = Cluster::start_with(|id| {
        format!(
            "broker.rack=r{id}\nklamm.metrics.listener=127.0.0.1:{}\nreplica.lag.time.max.ms=2000\n\
             replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector\n",
            metrics[id - 1]
        )
    });
    let create = ["--create", "--topic", TOPIC, "--replica-assignment", "1:2:3"];
    wait("the topic is made", || cluster.tool("kafka-topics", &create).status.success().then_some(()));
    cluster.wait_for_full_isr(TOPIC);

    let addresses = cluster.addresses();
    let words = ["--bootstrap-server", &addresses, "--topic", TOPIC];
    let at_once: Vec<&str> = words.iter().chain(&["--timeout", "1"]).copied().collect();
    let mut child = klamm("kafka-console-producer", &at_once).stdin(Stdio::piped()).spawn().unwrap();
    let input = child.stdin.take().unwrap();
    let mut producer = Producer(child, input);
    let rack = ["--from-beginning", "--command-property", "client.rack=r2"];
    let words: Vec<&str> = words.iter().chain(&rack).copied().collect();
    let mut consumer = klamm("kafka-console-consumer", &words).spawn().unwrap();
    let mut next = lines(consumer.stdout.take().unwrap());
    for at in 0..20 {
        let line = format!("near {at}");
        producer.send(&line);
        assert_eq!(next(), line);
    }
    let out = metrics.map(bytes_out);
    assert!(out[1] > 0 && out[0] == 0 && out[2] == 0, "all from the replica in the rack: {out:?}");

    // Its replica dies: the leader gives the rest.
    cluster.nodes[1].kill();
    for at in 0..20 {
        let line = format!("far {at}");
        producer.send(&line);
        assert_eq!(next(), line);
    }
    assert!(bytes_out(metrics[0]) > 0);

    // It comes back, and is read again.
    cluster.nodes[1].start();
    cluster.wait_for_full_isr(TOPIC);
    wait("the consumer is at its replica again", || {
        producer.send("back");
        assert_eq!(next(), "back");
        (bytes_out(metrics[1]) > 0).then_some(())
    });

    drop(producer.1);
    producer.0.wait().unwrap();
    consumer.kill().unwrap();
    consumer.wait().unwrap();

    // Who names no rack, or one where no replica is, reads from the leader.
    let before = metrics.map(bytes_out);
    for property in ["client.id=x", "client.rack=elsewhere"] {
        let words = ["--topic", TOPIC, "--from-beginning", "--max-messages", "40", "--command-property", property];
        assert_eq!(said(cluster.tool("kafka-console-consumer", &words)).lines().count(), 40);
    }
    let after = metrics.map(bytes_out);
    assert!(after[0] > before[0] && after[1..] == before[1..], "{before:?} {after:?}");
}
