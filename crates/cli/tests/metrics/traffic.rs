//! Requests, listeners, topics.

use super::page::Measured;

#[test]
fn traffic_is_counted_where_it_goes() {
    let measured = Measured::start();
    measured.broker.create("fed", &["--partitions", "1"]);
    measured.broker.feed("kafka-console-producer", &["--topic", "fed"], "one\ntwo\nthree\n").ok();
    let words = ["--topic", "fed", "--from-beginning", "--max-messages", "3"];
    measured.broker.run("kafka-console-consumer", &words).ok();
    let page = measured.page();
    let value = |sample: &str| page.value(sample).unwrap_or_else(|| panic!("{sample} is not in\n{}", page.text));
    assert_eq!(value("kafka_server_brokertopicmetrics_messagesin_total{topic=\"fed\"}"), 3.0);
    assert!(value("kafka_server_brokertopicmetrics_messagesin_total") >= 3.0);
    assert!(value("kafka_server_brokertopicmetrics_bytesout_total{topic=\"fed\"}") > 0.0);
    assert_eq!(value("kafka_log_log_logendoffset{topic=\"fed\",partition=\"0\"}"), 3.0);
    assert!(value("kafka_log_log_size{topic=\"fed\",partition=\"0\"}") > 0.0);
    assert_eq!(value("kafka_cluster_partition_insyncreplicascount{topic=\"fed\",partition=\"0\"}"), 1.0);
    assert_eq!(value("kafka_server_replicamanager_underreplicatedpartitions"), 0.0);
    assert!(value("kafka_server_socket_server_metrics_incoming_byte_total{listener=\"PLAINTEXT\"}") > 0.0);
    assert!(value("kafka_server_socket_server_metrics_outgoing_byte_total{listener=\"PLAINTEXT\"}") > 0.0);
    let opened = value("kafka_server_socket_server_metrics_connection_creation_total{listener=\"PLAINTEXT\"}");
    assert!(opened >= 3.0, "{opened}");
    // Where the time went adds up: of every request each part was taken, and together they are the total.
    for request in ["Produce", "FetchConsumer", "CreateTopics", "Metadata"] {
        let of = |part: &str, what: &str| {
            value(&format!("kafka_network_requestmetrics_{part}_{what}{{request=\"{request}\"}}"))
        };
        let parts = ["requestqueuetimems", "localtimems", "remotetimems", "responsequeuetimems", "responsesendtimems"];
        for part in parts {
            assert_eq!(of(part, "count"), of("totaltimems", "count"), "{request} {part}");
        }
        let sum: f64 = parts.iter().map(|part| of(part, "sum")).sum();
        let (total, count) = (of("totaltimems", "sum"), of("totaltimems", "count"));
        // Each part is cut to whole microseconds.
        assert!((total - sum).abs() <= 0.006 * count + 1e-6, "{request}: {total} is not {sum}");
    }
    let remote = value("kafka_network_requestmetrics_remotetimems_sum{request=\"CreateTopics\"}");
    let total = value("kafka_network_requestmetrics_totaltimems_sum{request=\"CreateTopics\"}");
    assert!(remote > total / 2.0, "a topic is made by the controller, so the request waits: {remote} of {total}");
    let idle = value("kafka_server_kafkarequesthandlerpool_requesthandleravgidle_percent");
    assert!((0.0..=1.0).contains(&idle), "{idle}");
}

#[test]
fn nothing_is_on_the_page_twice() {
    let measured = Measured::start();
    let page = measured.page();
    let types = page.text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(page.families().len(), types);
    let mut samples: Vec<&str> =
        page.text.lines().filter(|l| !l.starts_with('#')).map(|l| l.rsplit_once(' ').unwrap().0).collect();
    let all = samples.len();
    samples.sort_unstable();
    samples.dedup();
    assert_eq!(samples.len(), all);
}
