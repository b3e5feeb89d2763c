//! Records that are deleted by hand: once the tool says so, no replica has them any more.

use std::fs;

use super::absent::produce;
use super::nodes::{Cluster, said, wait};

fn starts(cluster: &Cluster, topic: &str) -> String {
    said(cluster.tool("kafka-get-offsets", &["--topic", topic, "--time", "earliest"]))
}

#[test]
fn deleted_records_are_gone_from_every_live_replica_when_the_tool_says_so() {
    let mut cluster = Cluster::start();
    let words = ["--create", "--topic", "t", "--replica-assignment", "1:2:3"];
    wait("the topic is made", || cluster.tool("kafka-topics", &words).status.success().then_some(()));
    cluster.wait_for_full_isr("t");
    produce(&cluster, "t", &"line\n".repeat(100));
    let before = |offset: i64| {
        let path = cluster.nodes[0].folder().join("offsets.json");
        let partition = format!(r#"{{"topic":"t","partition":0,"offset":{offset}}}"#);
        fs::write(&path, format!(r#"{{"version":1,"partitions":[{partition}]}}"#)).unwrap();
        path.display().to_string()
    };
    let delete = |file: &str| said(cluster.tool("kafka-delete-records", &["--offset-json-file", file]));

    let said_so = delete(&before(20));
    assert!(said_so.ends_with("partition: t-0\tlow_watermark: 20\n"), "{said_so}");

    // Of one that is silent, nobody knows whether it has done it. The others have.
    cluster.nodes[2].freeze();
    let file = before(40);
    let patience = cluster.nodes[0].folder().join("patience");
    fs::write(&patience, "request.timeout.ms=1000\ndefault.api.timeout.ms=2000\n").unwrap();
    let words = ["--offset-json-file", &file, "--command-config", patience.to_str().unwrap()];
    let output = cluster.tool("kafka-delete-records", &words);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(text.contains("TimeoutException") && !text.contains("low_watermark: 40"), "{text}");
    cluster.nodes[2].thaw();
    let said_so = delete(&file);
    assert!(said_so.contains("partition: t-0\tlow_watermark: 40\n"), "{said_so}");

    // Whoever leads next begins there.
    let expected = starts(&cluster, "t");
    assert_eq!(expected, "t:0:40\n");
    cluster.nodes[0].kill();
    wait("another one leads", || cluster.partitions("t").iter().all(|(leader, ..)| leader == "2").then_some(()));
    assert_eq!(starts(&cluster, "t"), expected);
}
