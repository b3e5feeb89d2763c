//! Steps 2 to 6 of the document, one after the other.

use std::time::{Duration, Instant};

use super::home::{Home, wait};

const KOREAN: &str = "이것은 수류탄이여!\n받아라 수류탄!!!\n전방 100m 적출현 사격 개시\n";

fn consume(home: &Home, server: &str, topic: &str, count: &str) -> String {
    let words = ["--bootstrap-server", server, "--topic", topic, "--from-beginning", "--max-messages", count];
    home.run("kafka-console-consumer", &words).ok()
}

fn describe(home: &Home) -> String {
    home.topics(&["--describe", "--topic", "multiple"]).ok()
}

/// The ids behind a word of the line of partition 0.
fn ids(described: &str, word: &str) -> Vec<String> {
    let line = described.lines().find(|line| line.contains("Partition: 0")).unwrap_or_default();
    let field = line.split('\t').find_map(|field| field.strip_prefix(word)).unwrap_or_default();
    field.split(',').map(str::to_owned).collect()
}

#[test]
fn from_zookeeper_to_a_killed_broker_and_back() {
    let mut home = Home::new();
    let ports = [(); 3].map(|()| testkit::free_port());
    let servers = ports.map(|port| format!("127.0.0.1:{port}"));

    // 2: ZooKeeper's process and a broker.
    let started = home.run("zkServer", &["start"]);
    assert!(started.err.contains("ZooKeeper JMX enabled by default\nUsing config: "), "{started:?}");
    assert_eq!(started.ok(), "Starting zookeeper ... STARTED\n");
    home.write_config("server.properties", 0, ports[0], "kafka-logs");
    home.start_broker("server.properties", ports[0]);
    assert_eq!(home.run("zkServer", &["status"]).ok(), "Mode: standalone\n");

    // 3: a topic.
    let create = |home: &Home, topic: &str, factor: &str| {
        home.topics(&["--create", "--replication-factor", factor, "--partitions", "1", "--topic", topic])
    };
    assert_eq!(create(&home, "army", "1").ok(), "Created topic \"army\".\n");
    let again = create(&home, "army", "1");
    let said = "Error while executing topic command : Topic 'army' already exists.\n";
    assert_eq!((again.code, again.out.as_str()), (Some(1), said));
    assert_eq!(home.topics(&["--list"]).ok(), "army\n");

    // 4 and 5: records in, records out.
    home.feed("kafka-console-producer", &["--broker-list", &servers[0], "--topic", "army"], KOREAN).ok();
    assert_eq!(consume(&home, &servers[0], "army", "3"), KOREAN);

    // 6: three brokers.
    for i in [1, 2] {
        let file = format!("server{i}.properties");
        home.write_config(&file, i as i32, ports[i], &format!("kafka-logs{i}"));
        home.start_broker(&file, ports[i]);
    }
    wait("three brokers are registered", || create(&home, "multiple", "3").out == "Created topic \"multiple\".\n");
    let toobig = create(&home, "toobig", "4");
    let said = "Error while executing topic command : Replication factor: 4 larger than available brokers: 3.\n";
    assert_eq!((toobig.code, toobig.out.as_str()), (Some(1), said));
    let described = describe(&home);
    let header =
        "Topic:multiple\tPartitionCount:1\tReplicationFactor:3\tConfigs:\n\tTopic: multiple\tPartition: 0\tLeader: ";
    assert!(described.starts_with(header) && ids(&described, "Replicas: ").len() == 3, "{described}");
    wait("all are in sync", || ids(&describe(&home), "Isr: ").len() == 3);
    let lines = "node1\nnode2\nnode\nnode4\n";
    home.feed("kafka-console-producer", &["--broker-list", &servers[0], "--topic", "multiple"], lines).ok();
    assert_eq!(consume(&home, &servers[0], "multiple", "4"), lines);

    // 6: kill -9, found by the name of its file in the process' words.
    let words = std::fs::read(format!("/proc/{}/cmdline", home.broker_pid("server1.properties"))).unwrap();
    assert!(String::from_utf8_lossy(&words).contains("config/server1.properties"));
    home.kill_broker("server1.properties");
    let killed = Instant::now();
    wait("the ISR is without it", || {
        let isr = ids(&describe(&home), "Isr: ");
        isr.len() == 2 && !isr.contains(&"1".to_owned())
    });
    // The quorum sees the connection end; a tool that asks in that moment must not wait for the dead one either.
    assert!(killed.elapsed() < Duration::from_millis(2500), "seen after {:?}", killed.elapsed());
    let described = describe(&home);
    assert!(ids(&described, "Replicas: ").contains(&"1".to_owned()) && ids(&described, "Leader: ") != ["1"]);
    let under = home.topics(&["--describe", "--under-replicated-partitions"]).ok();
    assert!(under.contains("\tTopic: multiple\tPartition: 0\tLeader: "), "{under}");
    assert_eq!(consume(&home, &servers[0], "multiple", "4"), lines);

    // The document's slip: an id that another broker has.
    home.write_config("dup.properties", 2, testkit::free_port(), "dup");
    home.spawn_broker("dup.properties");
    assert_ne!(home.broker_ends("dup.properties"), Some(0));
    let said = home.said("dup.properties").to_lowercase();
    assert!(said.contains("registered with this broker id") && said.contains("already in use"), "{said}");

    // It comes back.
    home.start_broker("server1.properties", ports[1]);
    wait("it is in sync again", || ids(&describe(&home), "Isr: ").contains(&"1".to_owned()));
    assert_eq!(home.run("kafka-preferred-replica-election", &["--zookeeper", &home.quorum.clone()]).code, Some(0));
    wait("the first replica leads", || {
        let described = describe(&home);
        ids(&described, "Leader: ")[0] == ids(&described, "Replicas: ")[0]
    });

    // A replica moves.
    let moves = home.path("moves.json");
    std::fs::write(&moves, r#"{"version":1,"partitions":[{"topic":"army","partition":0,"replicas":[2,1]}]}"#).unwrap();
    let reassign = |home: &Home, action: &str| {
        let words = ["--zookeeper", &home.quorum, action, "--reassignment-json-file", moves.to_str().unwrap()];
        home.run("kafka-reassign-partitions", &words).ok()
    };
    let begun = reassign(&home, "--execute");
    assert!(begun.ends_with("Successfully started reassignment of partitions.\n"), "{begun}");
    wait("it has moved", || {
        reassign(&home, "--verify").contains("Reassignment of partition army-0 completed successfully\n")
    });
    let army = home.topics(&["--describe", "--topic", "army"]).ok();
    assert!(army.contains("\tReplicas: 2,1\t"), "{army}");
    assert_eq!(consume(&home, &servers[2], "army", "3"), KOREAN);

    let stopped = home.run("zkServer", &["stop"]);
    assert_eq!(stopped.ok(), "Stopping zookeeper ... STOPPED\n");
}
