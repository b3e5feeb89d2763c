//! Elections and reassignments, and the words of Kafka 2.1 (`--zookeeper`), as far as a single broker goes. The texts are
//! those of Apache Kafka 4.3.1's and 2.1.0's tools.

use super::harness::{Broker, run};

#[test]
fn topics_are_told_in_the_words_of_2_1() {
    let b = Broker::start();
    let t = |words: &[&str]| {
        let words: Vec<&str> = ["--zookeeper", &b.address].iter().chain(words).copied().collect();
        run("kafka-topics", &words)
    };
    let one = ["--replication-factor", "1", "--partitions", "1"];
    let create = |topic: &'static str| t(&[&["--create", "--topic", topic], &one[..]].concat());
    assert_eq!(t(&["--list"]).ok(), "");
    assert_eq!(create("army").ok(), "Created topic \"army\".\n");
    assert_eq!(t(&["--list"]).ok(), "army\n");
    let again = create("army");
    assert_eq!(
        (again.code, again.out.as_str()),
        (Some(1), "Error while executing topic command : Topic 'army' already exists.\n")
    );
    let logged = "ERROR org.apache.kafka.common.errors.TopicExistsException: Topic 'army' already exists.\n (kafka.admin.TopicCommand$)\n";
    assert!(again.err.ends_with(logged), "{}", again.err);
    for (words, says) in [
        (
            &["--create", "--topic", "x", "--replication-factor", "4", "--partitions", "1"][..],
            "Replication factor: 4 larger than available brokers: 1.",
        ),
        (
            &["--create", "--topic", "x", "--replication-factor", "0", "--partitions", "1"],
            "Replication factor must be larger than 0.",
        ),
        (
            &["--create", "--topic", "x", "--replication-factor", "1", "--partitions", "0"],
            "Number of partitions must be larger than 0.",
        ),
        (
            &["--create", "--topic", "a b", "--replication-factor", "1", "--partitions", "1"],
            "Topic name \"a b\" is illegal, it contains a character other than ASCII alphanumerics, '.', '_' and '-'",
        ),
        (
            &["--create", "--topic", "x", "--replication-factor", "1", "--partitions", "1", "--config", "foo=1"],
            "Unknown topic config name: foo",
        ),
    ] {
        let refused = t(words);
        assert_eq!((refused.code, refused.out), (Some(1), format!("Error while executing topic command : {says}\n")));
    }
    let missing = t(&["--delete", "--topic", "nope"]);
    let says = format!("Error while executing topic command : Topic nope does not exist on ZK path {}\n", b.address);
    assert_eq!((missing.code, missing.out), (Some(1), says));
    assert_eq!(t(&["--alter", "--topic", "nope", "--partitions", "3", "--if-exists"]).ok(), "");
    assert_eq!(t(&["--describe", "--topic", "nope"]).ok(), "");

    let army = "Topic:army\tPartitionCount:1\tReplicationFactor:1\tConfigs:\n\tTopic: army\tPartition: 0\tLeader: 1\tReplicas: 1\tIsr: 1\n";
    assert_eq!(t(&["--describe", "--topic", "army"]).ok(), army);
    let warning = "WARNING: If partitions are increased for a topic that has a key, the partition logic or ordering of the messages will be affected\n";
    assert_eq!(
        t(&["--alter", "--topic", "army", "--partitions", "2"]).ok(),
        format!("{warning}Adding partitions succeeded!\n")
    );
    let fewer = t(&["--alter", "--topic", "army", "--partitions", "2"]);
    let says = "Error while executing topic command : The number of partitions for a topic can only be increased. Topic army currently has 2 partitions, 2 would not be an increase.\n";
    assert_eq!((fewer.code, fewer.out), (Some(1), format!("{warning}{says}")));
    let set = ["compression.type=producer", "cleanup.policy=compact", "segment.bytes=104857600"];
    let words = set.iter().flat_map(|s| ["--config", s]);
    let altered = t(&["--alter", "--topic", "army"].into_iter().chain(words).collect::<Vec<_>>()).ok();
    assert!(altered.ends_with("Updated config for topic \"army\".\n"), "{altered}");
    // The order is Java's.
    let overrides = "Topic:army\tPartitionCount:2\tReplicationFactor:1\tConfigs:compression.type=producer,cleanup.policy=compact,segment.bytes=104857600\n";
    assert_eq!(t(&["--describe", "--topics-with-overrides"]).ok(), overrides);
    assert_eq!(t(&["--describe", "--under-replicated-partitions"]).ok(), "");
    let deleted = "Topic army is marked for deletion.\nNote: This will have no impact if delete.topic.enable is not set to true.\n";
    assert_eq!(t(&["--delete", "--topic", "army"]).ok(), deleted);
    assert_eq!(t(&["--list"]).ok(), "");
}

#[test]
fn a_quorum_that_does_not_answer_and_a_chroot_are_told() {
    let nobody = run("kafka-topics", &["--zookeeper", "127.0.0.1:1", "--list"]);
    assert_eq!(nobody.code, Some(1));
    for part in [
        "kafka.zookeeper.ZooKeeperClientTimeoutException: Timed out waiting for connection while in state: CONNECTING\n",
        "bin/zkServer.sh start",
    ] {
        assert!(nobody.err.contains(part), "{}", nobody.err);
    }
    let chroot = run("kafka-topics", &["--zookeeper", "127.0.0.1:1/kafka", "--list"]);
    assert!(chroot.code == Some(1) && chroot.err.contains("leave /kafka out"), "{chroot:?}");
}

#[test]
fn elections_tell_what_became_of_each_partition() {
    let b = Broker::start();
    b.create("t", &["--partitions", "2"]);
    let e = |words: &[&str]| b.run("kafka-leader-election", words);
    let preferred = ["--election-type", "preferred"];
    let valid = e(&[&preferred[..], &["--topic", "t", "--partition", "1"]].concat()).ok();
    assert_eq!(valid, "Valid replica already elected for partitions t-1\n");
    assert_eq!(e(&[&preferred[..], &["--all-topic-partitions"]].concat()).ok(), "");
    let unknown = e(&["--election-type", "UNCLEAN", "--topic", "nope", "--partition", "0"]);
    let class = "org.apache.kafka.common.errors.UnknownTopicOrPartitionException: No such topic as nope";
    assert_eq!(unknown.out, format!("Error completing leader election (UNCLEAN) for partition: nope-0: {class}\n"));
    let says = "1 replica(s) could not be elected";
    let thrown = format!("{says}\norg.apache.kafka.tools.AdminCommandFailedException: {says}\n\tSuppressed: {class}\n");
    assert_eq!((unknown.code, unknown.err), (Some(1), thrown));
    for (words, says) in [
        (&["--topic", "t"][..], "Missing required option(s): election-type"),
        (
            &["--election-type", "preferred"],
            "One and only one of the following options is required: topic, all-topic-partitions, path-to-json-file",
        ),
        (&["--election-type", "preferred", "--topic", "t"], "Missing required option(s): partition"),
        (
            &["--election-type", "preferred", "--partition", "1", "--all-topic-partitions"],
            "Option partition is only allowed if topic is used",
        ),
        (&["--election-type", "foo", "--all-topic-partitions"], "Cannot parse argument 'foo' of option election-type"),
    ] {
        let refused = e(words);
        assert!(refused.code == Some(1) && refused.err.starts_with(&format!("{says}\n")), "{refused:?}");
    }
    let file = b.folder.path().join("elect.json");
    let text = r#"{"partitions":[{"topic":"t","partition":0},{"topic":"nope","partition":1}]}"#;
    std::fs::write(&file, text).unwrap();
    let words = ["--zookeeper", &b.address, "--path-to-json-file", file.to_str().unwrap()];
    let started = "Created preferred replica election path with t-0\nSuccessfully started preferred replica election for partitions Set(t-0)\nSkipping preferred replica leader election for partition nope-1 since it doesn't exist.\n";
    assert_eq!(run("kafka-preferred-replica-election", &words).ok(), started);
}

#[test]
fn reassignments_are_proposed_begun_and_checked() {
    let b = Broker::start();
    b.create("t", &["--partitions", "2"]);
    let path = |name: &str, text: &str| {
        let path = b.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let r = |words: &[&str]| b.run("kafka-reassign-partitions", words);
    let topics = path("topics.json", r#"{"topics":[{"topic":"t"}],"version":1}"#);
    let generate = ["--generate", "--topics-to-move-json-file", &topics, "--broker-list"];
    let data = b.folder.path().join("data").display().to_string();
    let now = format!(
        r#"{{"version":1,"partitions":[{{"topic":"t","partition":0,"replicas":[1],"log_dirs":["{data}"]}},{{"topic":"t","partition":1,"replicas":[1],"log_dirs":["{data}"]}}]}}"#
    );
    let proposed = now.replace(&data, "any");
    let said = format!(
        "Current partition replica assignment\n{now}\n\nProposed partition reassignment configuration\n{proposed}\n"
    );
    assert_eq!(r(&[&generate[..], &["1"]].concat()).ok(), said);
    let twice = r(&[&generate[..], &["1,1"]].concat());
    let says = "Broker list contains duplicate entries: [1]";
    let thrown = format!("Error: {says}\norg.apache.kafka.tools.AdminCommandFailedException: {says}\n\n");
    assert_eq!((twice.code, twice.out), (Some(1), thrown));

    let moves = path("moves.json", &proposed);
    let executed = r(&["--execute", "--reassignment-json-file", &moves]).ok();
    let rollback = "Save this to use as the --reassignment-json-file option during rollback";
    let started = "Successfully started partition reassignments for t-0,t-1";
    assert_eq!(executed, format!("Current partition replica assignment\n\n{now}\n\n{rollback}\n{started}\n"));
    assert_eq!(r(&["--list"]).ok(), "No partition reassignments found.\n");
    let cleared = "Clearing broker-level throttles on brokers 1\nClearing topic-level throttles on topic t\n";
    let done = "Reassignment of partition t-0 is completed.\nReassignment of partition t-1 is completed.\n";
    let verified = r(&["--verify", "--reassignment-json-file", &moves]).ok();
    assert_eq!(verified, format!("Status of partition reassignment:\n{done}\n{cleared}"));
    let cancelled = r(&["--cancel", "--reassignment-json-file", &moves]).ok();
    let none =
        "None of the specified partition reassignments are active.\nNone of the specified partition moves are active.";
    assert_eq!(cancelled, format!("{none}{cleared}"));

    let nine = path("nine.json", r#"{"partitions":[{"topic":"t","partition":0,"replicas":[9]}]}"#);
    let refused = r(&["--execute", "--reassignment-json-file", &nine]);
    assert!(refused.code == Some(1) && refused.out.starts_with("Error: Unknown broker id 9\n"), "{refused:?}");
    let elsewhere = r(&["--verify", "--preserve-throttles", "--reassignment-json-file", &nine]).ok();
    let says = "There is no active reassignment of partition t-0, but replica set is 1 rather than 9.";
    assert_eq!(elsewhere, format!("Status of partition reassignment:\n{says}\n\n"));
    let none = path("none.json", r#"{"partitions":[{"topic":"nope","partition":0,"replicas":[1]}]}"#);
    let refused = r(&["--execute", "--reassignment-json-file", &none]);
    assert!(refused.out.contains("UnknownTopicOrPartitionException: Topic nope not found.\n"), "{refused:?}");

    // In the words of 2.1, whose tool ends with 0.
    let z =
        |words: &[&str]| run("kafka-reassign-partitions", &[&["--zookeeper", b.address.as_str()], words].concat()).ok();
    let status = "Status of partition reassignment: \nReassignment of partition t-0 completed successfully\nReassignment of partition t-1 completed successfully\n";
    assert_eq!(z(&["--verify", "--reassignment-json-file", &moves]), status);
    let says = "The proposed assignment contains non-existent brokerIDs: 9";
    let failed = z(&["--execute", "--reassignment-json-file", &nine]);
    assert!(failed.starts_with(&format!("Partitions reassignment failed due to {says}\n")), "{failed}");
    let started = z(&["--execute", "--reassignment-json-file", &moves, "--throttle", "1000"]);
    assert!(
        started.ends_with(
            "The inter-broker throttle limit was set to 1000 B/s\nSuccessfully started reassignment of partitions.\n"
        ),
        "{started}"
    );
    assert_eq!(z(&["--verify", "--reassignment-json-file", &moves]), format!("{status}Throttle was removed.\n"));
}

#[test]
fn settings_are_told_in_the_words_of_2_1() {
    let b = Broker::start();
    b.create("army", &["--partitions", "1"]);
    let c = |words: &[&str]| run("kafka-configs", &[&["--zookeeper", b.address.as_str()], words].concat());
    let army = ["--entity-type", "topics", "--entity-name", "army"];
    let on = |words: &[&'static str]| c(&[words, &army[..]].concat());
    let done = "Completed Updating config for entity: topic 'army'.\n";
    assert_eq!(on(&["--alter", "--add-config", "retention.ms=1000,cleanup.policy=[compact,delete]"]).ok(), done);
    let said = "Configs for topic 'army' are cleanup.policy=compact,delete,retention.ms=1000\n";
    assert_eq!(on(&["--describe"]).ok(), said);
    assert_eq!(c(&["--describe", "--entity-type", "topics"]).ok(), said);
    assert_eq!(on(&["--alter", "--delete-config", "retention.ms"]).ok(), done);
    for (words, says) in [
        (&["--delete-config", "retention.ms"][..], "Invalid config(s): retention.ms\n"),
        (&["--add-config", "foo=1"], "Unknown topic config name: foo\n"),
    ] {
        let refused = on(&[&["--alter"], words].concat());
        assert_eq!((refused.code, refused.err.as_str()), (Some(1), says));
    }
    let nope = ["--entity-type", "topics", "--entity-name", "nope"];
    assert_eq!(c(&[&["--describe"], &nope[..]].concat()).ok(), "Configs for topic 'nope' are \n");
    let refused = c(&[&["--alter", "--add-config", "retention.ms=1"], &nope[..]].concat());
    let says = "kafka.admin.AdminOperationException: Topic \"nope\" does not exist.\n";
    assert!(refused.code == Some(1) && refused.err.ends_with(says), "{refused:?}");
    let broker = ["--entity-type", "brokers", "--entity-name", "1"];
    let changed = c(&[&["--alter", "--add-config", "log.cleaner.threads=2"], &broker[..]].concat());
    assert_eq!(changed.ok(), "Completed Updating config for entity: brokers '1'.\n");
    assert_eq!(
        c(&["--describe", "--entity-type", "brokers"]).ok(),
        "Configs for brokers '1' are log.cleaner.threads=2\n"
    );
    // A new cluster of Kafka 4 has this one from the start.
    let defaults = c(&["--describe", "--entity-type", "brokers", "--entity-default"]).ok();
    assert_eq!(defaults, "Configs for default brokers are min.insync.replicas=1\n");
}
