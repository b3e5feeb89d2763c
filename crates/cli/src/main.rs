//! `klamm`: the broker and Kafka's tools in one binary.
//!
//! The tool is chosen by the name that the binary is called by, or by the first word: `klamm kafka-topics --list ...`.
//! `bin/NAME.sh` does the latter. Each tool is one file, with its table of options, and prints what Apache Kafka's prints:
//! results on standard output, everything else on standard error, exit code 1 for whatever went wrong.
//!
//! Reading order: `options` (the parser), `tool` (how a tool ends), `kafka_topics` (an example of a tool).

mod argparse;
mod client_quotas;
mod clock;
mod console;
mod consumer_groups;
mod dump_log;
mod features;
mod guide;
mod java_order;
mod json;
mod options;
mod partitions_file;
mod processes;
mod reassign;
mod signals;
mod storage_tool;
mod term;
mod text;
mod tool;
mod verifiable;
mod zookeeper_configs;
mod zookeeper_reassign;
mod zookeeper_topics;

mod connect_distributed;
mod connect_plugin_path;
mod connect_standalone;
mod kafka_broker_api_versions;
mod kafka_client_metrics;
mod kafka_cluster;
mod kafka_configs;
mod kafka_console_consumer;
mod kafka_console_producer;
mod kafka_consumer_groups;
mod kafka_consumer_perf_test;
mod kafka_delete_records;
mod kafka_dump_log;
mod kafka_e2e_latency;
mod kafka_features;
mod kafka_get_offsets;
mod kafka_groups;
mod kafka_leader_election;
mod kafka_log_dirs;
mod kafka_metadata_quorum;
mod kafka_preferred_replica_election;
mod kafka_producer_perf_test;
mod kafka_reassign_partitions;
mod kafka_replica_verification;
mod kafka_run_class;
mod kafka_server_start;
mod kafka_server_stop;
mod kafka_storage;
mod kafka_topics;
mod kafka_verifiable_consumer;
mod kafka_verifiable_producer;
mod zk_server;
mod zookeeper_server_start;
mod zookeeper_server_stop;

use std::path::Path;
use std::process::ExitCode;

/// A tool: its name, what it is for, and its main function from arguments to exit code.
type Tool = (&'static str, &'static str, fn(&[String]) -> u8);

/// The broker, which is no tool like the others: it runs until it is told to stop.
const BROKER: &str = "kafka-server-start";

/// The process in ZooKeeper's place, which runs until it is told to stop, too.
const ZOOKEEPER: &str = "zookeeper-server-start";

/// Names another tool by its Java class.
const RUN_CLASS: &str = "kafka-run-class";

const TOOLS: &[Tool] = &[
    ("connect-distributed", "run a Connect worker in a group", connect_distributed::main),
    ("connect-plugin-path", "what a Connect worker finds on its plugin path", connect_plugin_path::main),
    ("connect-standalone", "run a Connect worker that is alone", connect_standalone::main),
    ("kafka-broker-api-versions", "which requests each broker knows", kafka_broker_api_versions::main),
    ("kafka-client-metrics", "which metrics clients are to push", kafka_client_metrics::main),
    ("kafka-cluster", "the cluster's id and endpoints", kafka_cluster::main),
    ("kafka-configs", "settings of topics, brokers, groups and more", kafka_configs::main),
    ("kafka-console-consumer", "print the records of topics", kafka_console_consumer::main),
    ("kafka-console-producer", "send the lines of standard input", kafka_console_producer::main),
    ("kafka-consumer-groups", "groups of consumers: members, offsets, lag", kafka_consumer_groups::main),
    ("kafka-consumer-perf-test", "how fast records can be read", kafka_consumer_perf_test::main),
    ("kafka-delete-records", "delete the records before an offset", kafka_delete_records::main),
    ("kafka-dump-log", "what is in the files of a log", kafka_dump_log::main),
    ("kafka-e2e-latency", "how long a record takes from end to end", kafka_e2e_latency::main),
    ("kafka-features", "levels of the cluster's features", kafka_features::main),
    ("kafka-get-offsets", "offsets of partitions, by time", kafka_get_offsets::main),
    ("kafka-groups", "list groups of all kinds", kafka_groups::main),
    ("kafka-leader-election", "have leaders elected", kafka_leader_election::main),
    ("kafka-log-dirs", "what each partition takes in which directory", kafka_log_dirs::main),
    ("kafka-metadata-quorum", "who keeps the cluster's state", kafka_metadata_quorum::main),
    (
        "kafka-preferred-replica-election",
        "have the preferred replicas lead, as in Kafka 2.1",
        kafka_preferred_replica_election::main,
    ),
    ("kafka-producer-perf-test", "how fast records can be sent", kafka_producer_perf_test::main),
    ("kafka-reassign-partitions", "move replicas between brokers", kafka_reassign_partitions::main),
    (
        "kafka-replica-verification",
        "compare the replicas of topics, record by record",
        kafka_replica_verification::main,
    ),
    ("kafka-server-stop", "ask the brokers of this machine to end", kafka_server_stop::main),
    ("kafka-storage", "format log directories, and tell what is in them", kafka_storage::main),
    ("kafka-topics", "list, describe, create, change and delete topics", kafka_topics::main),
    ("kafka-verifiable-consumer", "read a topic, and tell of everything as JSON", kafka_verifiable_consumer::main),
    ("kafka-verifiable-producer", "send numbers, and tell of each as JSON", kafka_verifiable_producer::main),
    ("zkServer", "start, stop and ask the process in ZooKeeper's place", zk_server::main),
    ("zookeeper-server-stop", "ask the processes in ZooKeeper's place to end", zookeeper_server_stop::main),
];

fn main() -> ExitCode {
    let mut args = std::env::args_os().map(|a| a.to_string_lossy().into_owned());
    let program = args.next().unwrap_or_default();
    let args: Vec<String> = args.collect();
    let (mut name, mut args) = chosen(&program, &args);
    if name == RUN_CLASS {
        match kafka_run_class::tool(args) {
            Ok(chosen) => (name, args) = chosen,
            Err(code) => return ExitCode::from(code),
        }
    }
    let (name, args) = (name, args.to_vec());
    if [BROKER, ZOOKEEPER].contains(&name) {
        processes::take_name();
    }
    let code = match find(name) {
        Some((_, _, main)) => {
            let code = main(&args);
            if args.iter().any(|word| word == "--help") {
                guide::print_example(name);
            }
            code
        }
        None if name == BROKER => return kafka_server_start::main(&args),
        None if name == ZOOKEEPER => return zookeeper_server_start::main(&args),
        None if name.is_empty() => guide::answer("--help", &[]),
        None => guide::answer(name, &args),
    };
    term::flush();
    ExitCode::from(code)
}

/// The tool that these words choose, and what is left for it. Nothing chooses none.
fn chosen<'a>(program: &'a str, args: &'a [String]) -> (&'a str, &'a [String]) {
    let called = Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let called = called.strip_suffix(".sh").unwrap_or(called);
    match args.split_first() {
        _ if [BROKER, ZOOKEEPER, RUN_CLASS].contains(&called) || find(called).is_some() => (called, args),
        Some((first, rest)) => (first, rest),
        None => ("", args),
    }
}

fn find(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|t| t.0 == name)
}
