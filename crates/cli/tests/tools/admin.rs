//! Settings, records and directories through the tools of administrators, word for word as Apache Kafka 4.3.1's.

use super::harness::{Broker, run};

#[test]
fn settings_are_shown_changed_and_removed() {
    let b = Broker::start();
    b.create("t", &["--partitions", "1"]);
    let c = |words: &[&str]| b.run("kafka-configs", words);
    let topic = ["--entity-type", "topics", "--entity-name", "t"];
    let with = |more: &[&'static str]| -> Vec<&str> { topic.iter().chain(more).copied().collect() };
    let done = "Completed updating config for topic t.\n";
    let added = "retention.ms=1000,cleanup.policy=[compact,delete]";
    assert_eq!(c(&with(&["--alter", "--add-config", added])).ok(), done);
    let both = "Dynamic configs for topic t are:\n  \
                cleanup.policy=compact,delete sensitive=false \
                synonyms={DYNAMIC_TOPIC_CONFIG:cleanup.policy=compact,delete, DEFAULT_CONFIG:log.cleanup.policy=delete}\n  \
                retention.ms=1000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=1000}\n";
    assert_eq!(c(&with(&["--describe"])).ok(), both);
    assert_eq!(c(&["--describe", "--topic", "t"]).ok(), both);
    assert_eq!(c(&["--describe", "--entity-type", "topics"]).ok(), both);
    let all = c(&["--describe", "--topic", "t", "--all"]).ok();
    assert!(all.starts_with("All configs for topic t are:\n  cleanup.policy="), "{all}");
    assert!(all.contains("\n  segment.bytes=1073741824 sensitive=false synonyms={DEFAULT_CONFIG:log.segment.bytes="));
    assert_eq!(c(&with(&["--alter", "--delete-config", "retention.ms,cleanup.policy"])).ok(), done);
    assert_eq!(c(&with(&["--describe"])).ok(), "Dynamic configs for topic t are:\n");

    let file = b.folder.path().join("added.properties");
    std::fs::write(&file, "flush.messages=1\n").unwrap();
    assert_eq!(c(&["--alter", "--topic", "t", "--add-config-file", file.to_str().unwrap()]).ok(), done);
    assert!(c(&["--describe", "--topic", "t"]).ok().contains("  flush.messages=1 sensitive=false "));

    for (words, says) in [
        (
            &["--topic", "t", "--add-config", "nope=1"][..],
            "InvalidConfigurationException: Unknown topic config name: nope",
        ),
        (
            &["--topic", "t", "--add-config", "retention.ms=abc"],
            "InvalidConfigurationException: Invalid value abc for configuration retention.ms: Not a number of type LONG",
        ),
        (
            &["--topic", "none", "--add-config", "retention.ms=1"],
            "UnknownTopicOrPartitionException: The topic 'none' does not exist.",
        ),
        (
            &["--broker", "1", "--add-config", "log.dirs=x"],
            "InvalidRequestException: Cannot update these configs dynamically: [log.dirs]",
        ),
    ] {
        let mut all = vec!["--alter"];
        all.extend(words);
        let refused = c(&all);
        assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""));
        let said = format!("java.util.concurrent.ExecutionException: org.apache.kafka.common.errors.{says}\n");
        let args = format!("--bootstrap-server {} --alter {}", b.address, words.join(" "));
        assert_eq!(refused.err, format!("Error while executing config command with args '{args}'\n{said}"));
    }
    let missing = c(&["--describe", "--topic", "none"]).ok();
    assert_eq!(missing, "The topic 'none' doesn't exist and doesn't have dynamic config.\n");
}

#[test]
fn settings_of_brokers_groups_and_client_metrics_are_kept_across_a_kill() {
    let mut b = Broker::start();
    let changes = [
        (&["--broker-defaults"][..], "log.retention.ms=100000000", "default config for brokers in the cluster."),
        (&["--broker", "1"], "log.segment.bytes=2000000", "config for broker 1."),
        (&["--broker", "1"], "max.connections=5000", "config for broker 1."),
        (&["--broker", "1"], "producer.id.expiration.ms=7200000", "config for broker 1."),
        (&["--group", "g"], "consumer.session.timeout.ms=50000", "config for group g."),
        (&["--client-metrics", "m"], "interval.ms=1000", "config for client-metric m."),
    ];
    for (whose, change, done) in changes {
        let words: Vec<&str> = ["--alter", "--add-config", change].iter().chain(whose).copied().collect();
        assert_eq!(b.run("kafka-configs", &words).ok(), format!("Completed updating {done}\n"));
    }
    b.kill_and_restart();
    for (whose, change, _) in changes {
        let words: Vec<&str> = ["--describe"].iter().chain(whose).copied().collect();
        let described = b.run("kafka-configs", &words).ok();
        assert!(described.contains(&format!("\n  {change} sensitive=false synonyms={{DYNAMIC_")), "{described}");
    }
}

#[test]
fn records_before_an_offset_are_deleted() {
    let b = Broker::start();
    b.create("t", &["--partitions", "1"]);
    b.feed("kafka-console-producer", &["--topic", "t"], "1\n2\n3\n").ok();
    let file = b.folder.path().join("offsets.json");
    let path = file.to_str().unwrap();
    let text = r#"{"partitions":[{"topic":"t","partition":0,"offset":2},{"topic":"none","partition":0,"offset":1}]}"#;
    std::fs::write(&file, text).unwrap();
    assert_eq!(
        b.run("kafka-delete-records", &["--offset-json-file", path]).ok(),
        "Executing records delete operation\n\
         Records delete operation completed:\n\
         partition: none-0\terror: org.apache.kafka.common.errors.UnknownTopicOrPartitionException: This server does \
         not host this topic-partition.\n\
         partition: t-0\tlow_watermark: 2\n"
    );
    assert_eq!(b.run("kafka-get-offsets", &["--topic", "t", "--time", "earliest"]).ok(), "t:0:2\n");
    let kept = b.run("kafka-console-consumer", &["--topic", "t", "--from-beginning", "--max-messages", "1"]).ok();
    assert_eq!(kept, "3\n");
    std::fs::write(&file, "{").unwrap();
    let refused = b.run("kafka-delete-records", &["--offset-json-file", path]);
    let message = "The input string is not a valid JSON";
    assert_eq!(refused.err, format!("{message}\norg.apache.kafka.tools.AdminOperationException: {message}\n"));
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""));
}

#[test]
fn directories_and_the_cluster_are_shown() {
    let b = Broker::start();
    b.create("t", &["--partitions", "1"]);
    b.create("u", &["--partitions", "1"]);
    let shown = b.run("kafka-log-dirs", &["--describe", "--topic-list", "t"]).ok();
    let dir = b.folder.path().join("data");
    assert_eq!(
        shown,
        format!(
            "Querying brokers for log directories information\n\
             Received log directory information from brokers 1\n\
             {{\"brokers\":[{{\"broker\":1,\"logDirs\":[{{\"partitions\":[{{\"partition\":\"t-0\",\"size\":0,\
             \"offsetLag\":0,\"isFuture\":false}}],\"error\":null,\"logDir\":\"{}\"}}]}}],\"version\":1}}\n",
            dir.display()
        )
    );
    let missing = b.run("kafka-log-dirs", &["--describe", "--broker-list", "1,9"]);
    let says = "ERROR: The given brokers do not exist from --broker-list: 9. Current existent brokers: 1\n";
    assert_eq!((missing.code, missing.err.as_str()), (Some(1), says));

    let id = run("kafka-cluster", &["cluster-id", "--bootstrap-server", &b.address]).ok();
    let id = id.strip_prefix("Cluster ID: ").unwrap().trim_end();
    assert!(std::fs::read_to_string(dir.join("meta.properties")).unwrap().contains(&format!("cluster.id={id}\n")));
    let endpoints = run("kafka-cluster", &["list-endpoints", "-b", &b.address]).ok();
    let rows: Vec<Vec<&str>> = endpoints.lines().map(|l| l.split_whitespace().collect()).collect();
    let port = b.address.rsplit(':').next().unwrap();
    assert_eq!(rows[0], ["ID", "HOST", "PORT", "RACK", "STATE", "ENDPOINT_TYPE"]);
    assert_eq!(rows[1], ["1", "127.0.0.1", port, "null", "unfenced", "broker"]);
}

#[test]
fn quotas_are_not_promised_by_a_broker_that_does_not_enforce_them() {
    let b = Broker::start();
    for words in [
        &["--describe", "--entity-type", "users"][..],
        &["--alter", "--user", "alice", "--client", "c", "--add-config", "producer_byte_rate=1024"],
    ] {
        let refused = b.run("kafka-configs", words);
        assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""), "{refused:?}");
        assert!(refused.err.contains("UnsupportedVersionException: The node does not support "), "{refused:?}");
        assert!(refused.err.contains("_CLIENT_QUOTAS"), "{refused:?}");
    }
}
