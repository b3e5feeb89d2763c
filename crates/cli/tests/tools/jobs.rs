//! What the tools are for, on a broker.

use super::harness::{Broker, run};

#[test]
fn topics_are_made_described_changed_and_deleted() {
    let b = Broker::start();
    let t = |words: &[&str]| b.run("kafka-topics", words);
    assert_eq!(t(&["--list"]).ok(), "\n");
    assert_eq!(t(&["--create", "--topic", "army", "--partitions", "1"]).ok(), "Created topic army.\n");
    let again = t(&["--create", "--topic", "army"]);
    assert_eq!(
        (again.code, again.out.as_str()),
        (Some(1), "Error while executing topic command : Topic 'army' already exists.\n")
    );
    assert!(
        again.err.contains("ERROR org.apache.kafka.common.errors.TopicExistsException: Topic 'army' already exists.")
    );
    assert_eq!(t(&["--create", "--topic", "army", "--if-not-exists"]).ok(), "");
    assert_eq!(
        t(&["--create", "--topic", "a.b", "--config", "retention.ms=60000"]).ok(),
        "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. \
         To avoid issues it is best to use either, but not both.\nCreated topic a.b.\n"
    );
    assert_eq!(t(&["--list"]).ok(), "a.b\narmy\n");
    assert_eq!(t(&["--list", "--topic", "ar.*"]).ok(), "army\n");
    let described = t(&["--describe", "--topic", "a.b"]).ok();
    let lines: Vec<&str> = described.lines().collect();
    assert!(
        lines[0].starts_with("Topic: a.b\tTopicId: ")
            && lines[0].contains("\tPartitionCount: 2\tReplicationFactor: 1\tConfigs: ")
    );
    assert!(lines[0].contains("retention.ms=60000"), "{described}");
    assert!(
        lines[1].starts_with("\tTopic: a.b\tPartition: 0\tLeader: ") && lines[1].ends_with("\tElr: \tLastKnownElr: ")
    );
    assert_eq!(lines.len(), 3);
    assert_eq!(t(&["--describe", "--under-replicated-partitions"]).ok(), "");
    assert_eq!(t(&["--alter", "--topic", "army", "--partitions", "3"]).ok(), "");
    let fewer = t(&["--alter", "--topic", "army", "--partitions", "2"]);
    assert!(
        fewer.out.contains("The topic army currently has 3 partition(s); 2 would not be an increase."),
        "{fewer:?}"
    );
    let id = lines[0].split('\t').nth(1).unwrap().strip_prefix("TopicId: ").unwrap();
    assert!(t(&["--describe", "--topic-id", id]).ok().starts_with("Topic: a.b\t"));
    assert_eq!(t(&["--delete", "--topic", "a.b"]).ok(), "");
    let gone = t(&["--describe", "--topic", "a.b"]);
    assert_eq!(gone.out, "Error while executing topic command : Topic 'a.b' does not exist as expected\n");
    assert_eq!(t(&["--delete", "--topic", "a.b", "--if-exists"]).ok(), "");
}

#[test]
fn what_is_typed_comes_back_byte_for_byte() {
    let b = Broker::start();
    b.create("typed", &["--partitions", "1"]);
    let lines = "이것은 수류탄이여!\n받아라 수류탄!!!\r\n\r전방 100m 적출현 사격 개시";
    assert_eq!(b.feed("kafka-console-producer", &["--topic", "typed"], lines).ok(), "");
    let read = b.run("kafka-console-consumer", &["--topic", "typed", "--from-beginning", "--max-messages", "4"]);
    assert!(read.err.ends_with("Processed a total of 4 messages\n"), "{read:?}");
    assert_eq!(read.ok(), "이것은 수류탄이여!\n받아라 수류탄!!!\n\n전방 100m 적출현 사격 개시\n");
}

#[test]
fn keys_headers_nulls_and_every_codec() {
    let b = Broker::start();
    b.create("parts", &["--partitions", "1"]);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let words = [
            "--topic",
            "parts",
            "--compression-codec",
            codec,
            "--reader-property",
            "parse.key=true",
            "--reader-property",
            "parse.headers=true",
            "--reader-property",
            "null.marker=NULL",
        ];
        b.feed("kafka-console-producer", &words, &format!("h:1,i:NULL\tk\t{codec}\nNULL\tNULL\tNULL\n")).ok();
    }
    let mut words = vec!["--topic", "parts", "--partition", "0", "--offset", "earliest", "--max-messages", "10"];
    for property in
        ["print.key=true", "print.headers=true", "print.offset=true", "print.partition=true", "key.separator=|"]
    {
        words.extend(["--formatter-property", property]);
    }
    let out = b.run("kafka-console-consumer", &words).ok();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "Partition:0|Offset:0|h:1,i:null|k|none");
    assert_eq!(lines[1], "Partition:0|Offset:1|NO_HEADERS|null|null");
    assert_eq!(lines[8], "Partition:0|Offset:8|h:1,i:null|k|zstd");
    let bad = b.feed("kafka-console-producer", &["--topic", "parts", "--reader-property", "parse.key=true"], "nokey\n");
    assert_eq!(bad.code, Some(1));
    assert_eq!(bad.err, "org.apache.kafka.common.KafkaException: No key separator found on line number 1: 'nokey'\n");
}

#[test]
fn a_group_goes_on_where_it_stopped() {
    let b = Broker::start();
    b.create("grouped", &["--partitions", "1"]);
    b.feed("kafka-console-producer", &["--topic", "grouped"], "1\n2\n3\n4\n5\n").ok();
    let read = |n: &str| {
        let words =
            ["--topic", "grouped", "--group", "g", "--from-beginning", "--max-messages", n, "--timeout-ms", "30000"];
        b.run("kafka-console-consumer", &words).ok()
    };
    assert_eq!(read("2"), "1\n2\n");
    assert_eq!(read("3"), "3\n4\n5\n");
    let nothing = b.run("kafka-console-consumer", &["--topic", "grouped", "--group", "g", "--timeout-ms", "300"]);
    assert_eq!((nothing.code, nothing.out.as_str()), (Some(0), ""));
    assert!(nothing.err.contains("ERROR Error processing message, terminating consumer process:  (org.apache.kafka.tools.consumer.ConsoleConsumer)\norg.apache.kafka.common.errors.TimeoutException\nProcessed a total of 0 messages\n"), "{nothing:?}");
}

#[test]
fn several_topics_by_a_pattern() {
    let b = Broker::start();
    for (topic, line) in [("red-1", "a\n"), ("red-2", "b\n"), ("blue", "c\n")] {
        b.create(topic, &["--partitions", "1"]);
        b.feed("kafka-console-producer", &["--topic", topic], line).ok();
    }
    for option in ["--include", "--whitelist"] {
        let out =
            b.run("kafka-console-consumer", &[option, "red-[0-9]", "--from-beginning", "--max-messages", "2"]).ok();
        let mut lines: Vec<&str> = out.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["a", "b"], "{option}");
    }
}

#[test]
fn offsets_by_time() {
    let b = Broker::start();
    b.create("timed", &["--partitions", "2"]);
    b.feed("kafka-console-producer", &["--topic", "timed"], "1\n2\n3\n").ok();
    let sum = |words: &[&str]| -> i64 {
        let all: Vec<&str> = ["--topic", "timed"].iter().chain(words).copied().collect();
        b.run("kafka-get-offsets", &all)
            .ok()
            .lines()
            .map(|l| l.rsplit(':').next().unwrap().parse::<i64>().unwrap())
            .sum()
    };
    assert_eq!(sum(&[]), 3);
    assert_eq!(sum(&["--time", "latest"]), 3);
    assert_eq!(sum(&["--time", "-2"]), 0);
    assert_eq!(
        b.run("kafka-get-offsets", &["--topic-partitions", "timed:1-", "--time", "earliest"]).ok(),
        "timed:1:0\n"
    );
    let none = b.run("kafka-get-offsets", &["--topic", "nope"]);
    assert_eq!(none.code, Some(1));
    assert_eq!(none.err, "Error occurred: Could not match any topic-partitions with the specified filters\n");
}

#[test]
fn what_was_written_can_be_dumped() {
    let b = Broker::start();
    b.create("dumped", &["--partitions", "1"]);
    b.feed("kafka-console-producer", &["--topic", "dumped", "--compression-codec", "zstd"], "하나\n둘\n").ok();
    let log = b.file("dumped-0", "00000000000000000000.log").display().to_string();
    let out = run("kafka-dump-log", &["--files", &log, "--print-data-log"]).ok();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], format!("Dumping {log}"));
    assert_eq!(lines[1], "Log starting offset: 0");
    assert!(lines[2].starts_with("baseOffset: 0 lastOffset: 1 count: 2 baseSequence: 0 lastSequence: 1 producerId: "));
    assert!(lines[2].contains(" compresscodec: zstd ") && lines[2].ends_with(" isvalid: true"), "{out}");
    assert!(lines[3].starts_with("| offset: 0 CreateTime: ") && lines[3].ends_with(" headerKeys: [] payload: 하나"));
    assert_eq!(lines.len(), 5);
    let metadata = b.file("__cluster_metadata-0", "00000000000000000000.log").display().to_string();
    let out = run("kafka-dump-log", &["--files", &metadata, "--cluster-metadata-decoder"]).ok();
    assert!(out.contains("\"type\":\"TOPIC_RECORD\",\"version\":0,\"data\":{\"name\":\"dumped\","), "{out}");
    assert!(!out.contains("Error at"), "{out}");
    let missing = run("kafka-dump-log", &["--files", "/no/such/00000000000000000000.log"]);
    assert_eq!(missing.code, Some(1));
}

#[test]
fn versions_of_the_broker() {
    let b = Broker::start();
    let out = b.run("kafka-broker-api-versions", &[]).ok();
    assert!(out.starts_with(&format!("{} (id: ", b.address)), "{out}");
    assert!(out.contains(" rack: null isFenced: false) -> (\n\tProduce(0): 0 to 13 [usable: 13],\n"), "{out}");
    assert!(out.ends_with("\n)\n"));
}
