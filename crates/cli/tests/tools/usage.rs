//! Options that make no sense, help and versions.

use super::harness::{feed, run};

const TOOLS: [&str; 14] = [
    "kafka-broker-api-versions",
    "kafka-client-metrics",
    "kafka-configs",
    "kafka-console-consumer",
    "kafka-console-producer",
    "kafka-consumer-groups",
    "kafka-consumer-perf-test",
    "kafka-delete-records",
    "kafka-dump-log",
    "kafka-e2e-latency",
    "kafka-get-offsets",
    "kafka-groups",
    "kafka-log-dirs",
    "kafka-topics",
];

/// Each line: the tool, its words, and the first line on standard error. The exit code is 1, standard output empty.
const REFUSED: &[(&str, &[&str], &str)] = &[
    (
        "kafka-topics",
        &["--create", "--list"],
        "Command must include exactly one action: --list, --describe, --create, --alter or --delete",
    ),
    ("kafka-topics", &["--create", "--topic", "x"], "--bootstrap-server must be specified"),
    ("kafka-topics", &["--bootstrap-server", "a:1", "--create"], "Missing required argument \"[topic]\""),
    (
        "kafka-topics",
        &["--bootstrap-server", "a:1", "--alter", "--topic", "x"],
        "Missing required argument \"[partitions]\"",
    ),
    (
        "kafka-topics",
        &["--bootstrap-server", "a:1", "--list", "--config", "a=b"],
        "Option \"[config]\" can't be used with option \"[list]\"",
    ),
    ("kafka-topics", &["--bootstrap-server", "a:1", "--list", "--frobnicate"], "frobnicate is not a recognized option"),
    ("kafka-topics", &["--bootstrap-server", "a:1", "--list", "--topic"], "Option topic requires an argument"),
    ("kafka-topics", &["--bootstrap-server", "foo", "--list"], "Failed to create new KafkaAdminClient"),
    ("kafka-consumer-groups", &["--list"], "Missing required argument \"[bootstrap-server]\""),
    (
        "kafka-consumer-groups",
        &["--bootstrap-server", "a:1"],
        "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets, --validate-regex",
    ),
    (
        "kafka-consumer-groups",
        &["--bootstrap-server", "a:1", "--frob"],
        "Exception in thread \"main\" joptsimple.UnrecognizedOptionException: frob is not a recognized option",
    ),
    (
        "kafka-consumer-groups",
        &["--bootstrap-server", "a:1", "--list", "--members"],
        "Exception in thread \"main\" joptsimple.UnavailableOptionException: Option(s) [members] are unavailable given other options on the command line",
    ),
    (
        "kafka-consumer-groups",
        &["--bootstrap-server", "a:1", "--reset-offsets", "--group", "g", "--to-latest", "--dry-run"],
        "One of the reset scopes should be defined: --all-topics, --topic.",
    ),
    (
        "kafka-consumer-groups",
        &["--bootstrap-server", "a:1", "--reset-offsets", "--group", "g", "--topic", "t", "--dry-run"],
        "Option '[reset-offsets]' requires one of the following scenarios: [[to-earliest], [to-current], [to-latest], [by-duration], [to-datetime], [from-file], [shift-by], [to-offset]]",
    ),
    (
        "kafka-consumer-perf-test",
        &["--bootstrap-server", "a:1", "--topic", "t"],
        "Exactly one of the following arguments is required: [messages], [num-records]",
    ),
    (
        "kafka-run-class",
        &["kafka.admin.TopicCommand", "--create", "--topic", "x"],
        "--bootstrap-server must be specified",
    ),
    (
        "kafka-run-class",
        &["no.such.Class"],
        "Error: Could not find or load main class no.such.Class: Klamm has no Java, and no tool of its own by that name.",
    ),
    ("kafka-groups", &["--bootstrap-server", "a:1"], "Command must include exactly one action: --list."),
    (
        "kafka-configs",
        &["--bootstrap-server", "a:1", "--topic", "t"],
        "Command must include exactly one action: --describe, --alter",
    ),
    (
        "kafka-configs",
        &["--describe", "--topic", "t"],
        "Either --bootstrap-server or --bootstrap-controller must be specified.",
    ),
    ("kafka-configs", &["--bootstrap-server", "a:1", "--describe"], "At least one entity type must be specified"),
    (
        "kafka-configs",
        &["--bootstrap-server", "a:1", "--describe", "--entity-type", "frogs"],
        "Invalid entity type frogs, the entity type must be one of topics, clients, users, brokers, ips, client-metrics, groups, broker-loggers with a --bootstrap-server or --bootstrap-controller argument",
    ),
    (
        "kafka-configs",
        &["--bootstrap-server", "a:1", "--describe", "--broker", "x"],
        "The entity name for brokers must be a valid integer broker id, but it is: x",
    ),
    (
        "kafka-configs",
        &["--bootstrap-server", "a:1", "--describe", "--topic", "t", "--broker", "1"],
        "Only 'users' and 'clients' entity types may be specified together",
    ),
    (
        "kafka-configs",
        &["--bootstrap-server", "a:1", "--alter", "--topic", "t"],
        "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter",
    ),
    (
        "kafka-configs",
        &["--bootstrap-server", "a:1", "--alter", "--topic", "t", "--add-config", "novalue"],
        "requirement failed: Invalid entity config: all configs to be added must be in the format \"key=val\" or  \"key=[val1,val2]\" to group values which contain commas.",
    ),
    (
        "kafka-configs",
        &["--bootstrap-server", "a:1", "--alter", "--entity-type", "topics", "--add-config", "a=b"],
        "An entity name must be specified with --alter of topics",
    ),
    (
        "kafka-configs",
        &["--bootstrap-server", "a:1", "--describe", "--user", "alice", "--entity-type", "clients"],
        "--entity-{type,name,default} should not be used in conjunction with specific entity flags",
    ),
    (
        "kafka-configs",
        &["--bootstrap-server", "127.0.0.1:1", "--alter", "--user", "bob", "--add-config", "foo=20"],
        "Only quota and SCRAM credential configs can be added for 'users' using --bootstrap-server. Unexpected config names: Set(foo)",
    ),
    (
        "kafka-configs",
        &["--bootstrap-server", "127.0.0.1:1", "--alter", "--user", "bob", "--add-config", "producer_byte_rate=x"],
        "Cannot parse quota configuration value for producer_byte_rate: x",
    ),
    (
        "kafka-configs",
        &["--bootstrap-server", "127.0.0.1:1", "--alter", "--ip", "127.0.0.1", "--add-config", "producer_byte_rate=20"],
        "Only connection quota configs can be added for 'ips' using --bootstrap-server. Unexpected config names: producer_byte_rate",
    ),
    ("kafka-delete-records", &["--bootstrap-server", "a:1"], "Missing required argument \"[offset-json-file]\""),
    (
        "kafka-delete-records",
        &["--bootstrap-server", "a:1", "--offset-json-file", "/nowhere"],
        "Unable to read file /nowhere",
    ),
    ("kafka-log-dirs", &["--bootstrap-server", "a:1"], "Missing required argument \"[describe]\""),
    ("kafka-log-dirs", &["--bootstrap-server", "a:1", "--describe", "--broker-list", "x"], "For input string: \"x\""),
    ("kafka-cluster", &[], "usage: kafka-cluster [-h] {cluster-id,unregister,list-endpoints} ..."),
    (
        "kafka-cluster",
        &["cluster-id", "--frob"],
        "usage: kafka-cluster cluster-id [-h] [--bootstrap-server BOOTSTRAP_SERVER] [--bootstrap-controller BOOTSTRAP_CONTROLLER] [--config CONFIG] [--command-config COMMAND_CONFIG]",
    ),
    (
        "kafka-cluster",
        &["cluster-id", "-b", "a:1", "-C", "a:2"],
        "usage: kafka-cluster cluster-id [-h] [--bootstrap-server BOOTSTRAP_SERVER] [--bootstrap-controller BOOTSTRAP_CONTROLLER] [--config CONFIG] [--command-config COMMAND_CONFIG]",
    ),
    (
        "kafka-storage",
        &[],
        "usage: kafka-storage [-h] {info,format,version-mapping,feature-dependencies,random-uuid} ...",
    ),
    (
        "kafka-storage",
        &["info", "-c", "/nowhere"],
        "Exception in thread \"main\" java.nio.file.NoSuchFileException: /nowhere",
    ),
    ("kafka-storage", &["random-uuid", "x"], "usage: kafka-storage random-uuid [-h]"),
    ("kafka-features", &[], "Command line error: too few arguments. Type --help for help."),
    (
        "kafka-features",
        &["describe"],
        "Command line error: You must specify either --bootstrap-controller or --bootstrap-server.. Type --help for help.",
    ),
    (
        "kafka-features",
        &["--bootstrap-server", "a:1", "--bootstrap-controller", "a:1", "describe"],
        "Command line error: argument --bootstrap-controller: not allowed with argument --bootstrap-server. Type --help for help.",
    ),
    (
        "kafka-features",
        &["--bootstrap-server", "127.0.0.1:1", "upgrade"],
        "You must specify at least one feature to upgrade",
    ),
    (
        "kafka-features",
        &["--bootstrap-server", "127.0.0.1:1", "upgrade", "--feature", "foo"],
        "Can't parse feature=level string foo: equals sign not found.",
    ),
    (
        "kafka-features",
        &["--bootstrap-server", "127.0.0.1:1", "upgrade", "--metadata", "4.0", "--release-version", "4.0"],
        "Can not specify `release-version` with other feature flags.",
    ),
    (
        "kafka-metadata-quorum",
        &["--bootstrap-server", "a:1", "describe"],
        "One of --status or --replication must be specified with describe sub-command",
    ),
    (
        "kafka-metadata-quorum",
        &["--bootstrap-server", "a:1", "describe", "--status", "--human-readable"],
        "The option --human-readable is only supported along with --replication",
    ),
    (
        "kafka-client-metrics",
        &["--bootstrap-server", "a:1", "--list", "--describe"],
        "Command must include exactly one action: --alter, --delete, --describe or --list.",
    ),
    ("kafka-client-metrics", &["--list"], "--bootstrap-server must be specified."),
    (
        "kafka-client-metrics",
        &["--bootstrap-server", "a:1", "--list", "--name", "a"],
        "Option \"[list]\" can't be used with option \"[name]\"",
    ),
    (
        "kafka-client-metrics",
        &["--bootstrap-server", "a:1", "--alter", "--name", "a", "--interval", "x"],
        "Invalid interval value. Enter an integer, or leave empty to reset.",
    ),
    ("kafka-console-producer", &["--bootstrap-server", "a:1"], "Missing required argument \"[topic]\""),
    ("kafka-console-producer", &["--topic", "a"], "Error while validating the bootstrap address"),
    ("kafka-console-producer", &["--frob"], "frob is not a recognized option"),
    (
        "kafka-console-producer",
        &["--bootstrap-server", "a:1", "--topic", "a", "--producer-property", "a=1", "--command-property", "a=1"],
        "Options --command-property and --producer-property cannot be specified together.",
    ),
    (
        "kafka-console-producer",
        &["--bootstrap-server", "127.0.0.1:1", "--topic", "a", "--request-required-acks", "7"],
        "org.apache.kafka.common.config.ConfigException: Invalid value 7 for configuration acks: String must be one of: all, -1, 0, 1",
    ),
    (
        "kafka-console-consumer",
        &["--bootstrap-server", "a:1"],
        "Exactly one of the following arguments is required: [topic], [include]",
    ),
    ("kafka-console-consumer", &["--topic", "a"], "Missing required argument \"[bootstrap-server]\""),
    (
        "kafka-console-consumer",
        &["--bootstrap-server", "a:1", "--topic", "a", "--offset", "2"],
        "The partition is required when offset is specified.",
    ),
    (
        "kafka-console-consumer",
        &["--bootstrap-server", "a:1", "--topic", "a", "--partition", "0", "--group", "g"],
        "Options group and partition cannot be specified together.",
    ),
    (
        "kafka-console-consumer",
        &["--bootstrap-server", "a:1", "--topic", "a", "--partition", "0", "--offset", "-3"],
        "The provided offset value '-3' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long.",
    ),
    (
        "kafka-console-consumer",
        &["--bootstrap-server", "a:1", "--topic", "a", "--partition", "x"],
        "Exception in thread \"main\" joptsimple.OptionArgumentConversionException: Cannot parse argument 'x' of option partition",
    ),
    ("kafka-console-consumer", &["--bootstrap-server", "a:1", "--topic", "a", "--formatter", "foo"], "foo"),
    (
        "kafka-e2e-latency",
        &["a:1", "t", "5"],
        "Invalid number of arguments. Expected 5 or 6 positional arguments, but got 3. Usage: bootstrap-server topic num-records producer-acks record-size [optional] command-config",
    ),
    (
        "kafka-e2e-latency",
        &[
            "--bootstrap-server",
            "a:1",
            "--topic",
            "t",
            "--num-records",
            "0",
            "--producer-acks",
            "1",
            "--record-size",
            "5",
        ],
        "Value for --num-records must be a positive integer.",
    ),
    (
        "kafka-e2e-latency",
        &[
            "--bootstrap-server",
            "a:1",
            "--topic",
            "t",
            "--num-records",
            "1",
            "--producer-acks",
            "2",
            "--record-size",
            "5",
        ],
        "Invalid value for --producer-acks. Latency testing requires synchronous acknowledgement. Please use '1' or 'all'.",
    ),
    (
        "kafka-e2e-latency",
        &["--bootstrap-server", "a:1", "--topic", "t", "--num-records", "5", "--producer-acks", "all"],
        "Missing required argument \"[record-size]\"",
    ),
    ("kafka-get-offsets", &["--topic", "a"], "Missing required argument \"[bootstrap-server]\""),
    (
        "kafka-get-offsets",
        &["--bootstrap-server", "a:1", "--time", "soon"],
        "Error occurred: Malformed time argument soon. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or latest-tiered / -6 or earliest-pending-upload, or a specified long format timestamp",
    ),
    ("kafka-get-offsets", &["--frob"], "Error occurred: frob is not a recognized option"),
    ("kafka-dump-log", &["--deep-iteration"], "Missing required argument \"[files]\""),
    (
        "kafka-dump-log",
        &["--frob"],
        "Exception in thread \"main\" joptsimple.UnrecognizedOptionException: frob is not a recognized option",
    ),
    ("kafka-broker-api-versions", &["--command-config", "x"], "Missing required argument \"[bootstrap-server]\""),
    ("kafka-server-start", &["a.properties", "b"], "Found non argument parameters: b"),
    ("kafka-server-stop", &["--frob"], "usage: kafka-server-stop.sh [--process-role=value] [--node-id=value]"),
];

#[test]
fn wrong_options_are_refused_in_kafkas_words() {
    for (tool, words, expected) in REFUSED {
        let done = run(tool, words);
        assert_eq!(done.code, Some(1), "{tool} {words:?}: {done:?}");
        assert_eq!(done.err.lines().next(), Some(*expected), "{tool} {words:?}");
        assert_eq!(done.out, "", "{tool} {words:?}");
    }
}

#[test]
fn help_and_no_options_print_the_table_and_fail_as_in_kafka() {
    for tool in TOOLS {
        for words in [&["--help"][..], &[]] {
            let done = run(tool, words);
            assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{tool} {words:?}");
            assert!(
                done.err.contains("\n--help  ") && done.err.lines().nth(1).unwrap().starts_with("Option  "),
                "{done:?}"
            );
            assert!(done.err.lines().skip(1).all(|l| l.chars().count() <= 80), "{tool}: a line is too long");
        }
    }
}

/// The names that `klamm` lists.
fn listed() -> Vec<String> {
    let list = run("--help", &[]).ok();
    let tools = list.lines().filter(|line| line.starts_with("  kafka-"));
    tools.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

#[test]
fn the_binary_alone_lists_its_tools() {
    let (list, tools) = (run("--help", &[]).ok(), listed());
    assert!(TOOLS.iter().all(|tool| tools.iter().any(|listed| listed == tool)), "{list}");
    assert!(list.contains("\nA broker\n  kafka-server-start ") && list.contains("\nTopics and records\n"), "{list}");
    let unknown = run("kafka-frobnicate", &[]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.err.contains("there is no tool called kafka-frobnicate"));
}

#[test]
fn every_tool_has_a_script_a_version_and_an_example() {
    let bin = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bin");
    let expected = format!("4.3.1 (Klamm {})\n", env!("CARGO_PKG_VERSION"));
    for tool in listed() {
        assert!(bin.join(format!("{tool}.sh")).exists(), "{tool}");
        if tool == "kafka-run-class" {
            continue;
        }
        let version = run(&tool, &["--version"]);
        let said = format!("{}{}", version.out, version.err);
        assert_eq!((version.code, said.as_str()), (Some(0), expected.as_str()), "{tool}: {version:?}");
        let help = run(&tool, &["--help"]);
        assert!(format!("{}{}", help.out, help.err).to_lowercase().contains("\nexample"), "{tool}: {help:?}");
    }
}

#[test]
fn shells_complete_tools_and_their_options() {
    let script = run("completions", &["bash"]).ok();
    // The folder of the binary comes first: the completions ask it for options.
    let klamm = std::path::Path::new(env!("CARGO_BIN_EXE_klamm"));
    let complete = |words: &str| {
        let word = words.split(' ').count() - 1;
        let asked = format!("{script}\nCOMP_WORDS=({words}) COMP_CWORD={word}\n_klamm\necho \"${{COMPREPLY[@]}}\"");
        let path = format!("{}:{}", klamm.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let output = std::process::Command::new("bash").args(["-c", &asked]).env("PATH", path).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    assert_eq!(complete("klamm kafka-top"), "kafka-topics");
    assert_eq!(complete("klamm kafka-topics --part"), "--partition-size-limit-per-response --partitions");
    assert_eq!(complete("bin/kafka-storage.sh --ver"), "--version");
    for (shell, line) in
        [("zsh", "#compdef klamm "), ("fish", "complete -c klamm -n __fish_use_subcommand -f -a kafka-topics ")]
    {
        let script = run("completions", &[shell]).ok();
        assert!(script.lines().any(|l| l.starts_with(line)), "{script}");
    }
    assert_eq!(run("completions", &["tcsh"]).code, Some(1));
}

#[test]
fn a_settings_file_that_is_not_there_is_named() {
    for tool in ["kafka-topics", "kafka-console-producer", "kafka-console-consumer"] {
        let mut words = vec!["--bootstrap-server", "127.0.0.1:1", "--topic", "a", "--command-config", "/no/such/file"];
        words.extend((tool == "kafka-topics").then_some("--describe"));
        let done = feed(tool, &words, b"");
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(done.err.contains("/no/such/file"), "{done:?}");
    }
}

#[test]
fn a_broker_that_refuses_is_named_within_seconds() {
    let begun = std::time::Instant::now();
    let done = run("kafka-topics", &["--bootstrap-server", "127.0.0.1:1", "--list"]);
    assert!(begun.elapsed().as_secs() < 15, "{:?}", begun.elapsed());
    assert_eq!(done.code, Some(1));
    assert!(done.out.starts_with(
        "Error while executing topic command : Timed out waiting for a node assignment. Call: listTopics"
    ));
    assert!(done.out.contains("127.0.0.1:1 (connection refused)"), "{}", done.out);
    assert!(done.err.contains("WARN [AdminClient clientId=adminclient-1] Connection to node -1 (/127.0.0.1:1) could not be established. Node may not be available. (org.apache.kafka.clients.NetworkClient)"));
}

#[test]
fn a_producer_without_a_broker_does_not_wait_for_every_line() {
    let begun = std::time::Instant::now();
    let done = feed("kafka-console-producer", &["--bootstrap-server", "127.0.0.1:1", "--topic", "a"], b"1\n2\n3\n");
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.err.contains("No broker answered: 127.0.0.1:1 (connection refused)"), "{}", done.err);
}

#[test]
fn an_unknown_host_is_told_at_once() {
    let done = run("kafka-topics", &["--bootstrap-server", "no.such.host.invalid:9092", "--list"]);
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("WARN Couldn't resolve server no.such.host.invalid:9092 from bootstrap.servers as DNS resolution failed for no.such.host.invalid (org.apache.kafka.clients.ClientUtils)"), "{}", done.err);
    assert!(done.err.contains("No resolvable bootstrap urls given in bootstrap.servers"));
}
