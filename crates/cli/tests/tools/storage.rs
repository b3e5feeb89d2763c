//! Directories that `kafka-storage` formats, and brokers that start from them.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::harness::{Broker, Done, run};

const CLUSTER: &str = "9Ov6KH22Q9uVxPVnwSO5rw";
const VOTER: &str = "AAAAAAAAAAAAAAAAAAAABw";

/// A node's settings file in a folder of its own.
struct Settings {
    folder: TempDir,
}

impl Settings {
    fn new(lines: &str) -> Settings {
        let folder = tempfile::Builder::new().prefix("storage-").tempdir().unwrap();
        let settings = Settings { folder };
        settings.write(lines);
        settings
    }

    /// A controller and broker in one, with two directories, in a quorum of which more is said in `lines`.
    fn combined(lines: &str) -> Settings {
        Settings::new(&format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n{lines}"
        ))
    }

    fn dynamic() -> Settings {
        Settings::combined("controller.quorum.bootstrap.servers=127.0.0.1:9093")
    }

    fn write(&self, lines: &str) {
        let dirs = format!("log.dirs={},{}", self.dir("a").display(), self.dir("b").display());
        fs::write(self.folder.path().join("server.properties"), format!("{lines}\n{dirs}\n")).unwrap();
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn path(&self) -> String {
        self.folder.path().join("server.properties").display().to_string()
    }

    fn run(&self, command: &str, words: &[&str]) -> Done {
        let path = self.path();
        let all: Vec<&str> = [command, "-c", &path].iter().chain(words).copied().collect();
        run("kafka-storage", &all)
    }

    fn format(&self, words: &[&str]) -> Done {
        let all: Vec<&str> = ["-t", CLUSTER].iter().chain(words).copied().collect();
        self.run("format", &all)
    }

    /// What the snapshot with the voters says, as kafka-dump-log shows it.
    fn voters(&self) -> String {
        let file = self.dir("a").join("__cluster_metadata-0/00000000000000000000-0000000000.checkpoint");
        run("kafka-dump-log", &["--cluster-metadata-decoder", "--files", &file.display().to_string()]).ok()
    }
}

/// Why it was refused: the first line, with nothing on standard output.
fn refusal(done: Done) -> String {
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{done:?}");
    done.err.lines().next().unwrap().to_owned()
}

#[test]
fn a_controller_alone_is_formatted_told_of_and_not_formatted_again() {
    let s = Settings::dynamic();
    let missing = s.run("info", &[]);
    let (a, b) = (s.dir("a").display().to_string(), s.dir("b").display().to_string());
    assert_eq!(
        (missing.code, missing.out),
        (Some(1), format!("Found problems:\n  {a} does not exist\n  {b} does not exist\n\n"))
    );
    let formatted = s.format(&["--standalone"]).ok();
    assert!(
        formatted.starts_with(
            "Bootstrap metadata: BootstrapMetadata(records=[ApiMessageAndVersion(FeatureLevelRecord(\
             name='metadata.version', featureLevel=30) at version 0), ApiMessageAndVersion(FeatureLevelRecord(\
             name='eligible.leader.replicas.version', featureLevel=1) at version 0), "
        ),
        "{formatted}"
    );
    assert!(formatted.contains("], metadataVersionLevel=30, source=format command)\n"), "{formatted}");
    assert!(
        formatted
            .contains(&format!("\nFormatting dynamic metadata voter directory {a} with metadata.version 4.3-IV0.\n"))
    );
    assert!(formatted.contains(&format!("\nFormatting data directory {b} with metadata.version 4.3-IV0.\n")));
    let voters = s.voters();
    assert!(voters.contains("KRaftVersion {\"version\":0,\"kRaftVersion\":1}"), "{voters}");
    assert!(
        voters.contains("\"endpoints\":[{\"name\":\"CONTROLLER\",\"host\":\"127.0.0.1\",\"port\":9093}]"),
        "{voters}"
    );
    let info = s.run("info", &[]).ok();
    let (dirs, rest) = info.split_once("\n\n").unwrap();
    assert_eq!(dirs, format!("Found log directories:\n  {a}\n  {b}"));
    assert!(rest.starts_with(&format!("Found metadata: {{cluster.id={CLUSTER}, directory.id=")), "{rest}");
    assert!(rest.ends_with(", node.id=1, version=1}\n\n"), "{rest}");
    let again = refusal(s.format(&["--standalone"]));
    assert!(
        again.starts_with("Log directory ")
            && again.ends_with(
                " is already formatted. Use --ignore-formatted to ignore this directory and format the others."
            ),
        "{again}"
    );
    assert_eq!(s.format(&["-s", "-g"]).ok(), "All of the log directories are already formatted.\n");
    let other = refusal(s.run("format", &["-t", "AAAAAAAAAAAAAAAAAAAABQ", "-s", "-g"]));
    assert_eq!(
        other,
        format!(
            "Exception in thread \"main\" java.lang.RuntimeException: Invalid cluster.id in: {a}/meta.properties. Expected \
             AAAAAAAAAAAAAAAAAAAABQ, but read {CLUSTER}"
        )
    );
    fs::remove_file(s.dir("b").join("meta.properties")).unwrap();
    let completed = s.format(&["-s", "-g"]).ok();
    assert!(completed.ends_with(&format!("\nFormatting data directory {b} with metadata.version 4.3-IV0.\n")));
    assert_eq!(completed.lines().count(), 2, "{completed}");
}

#[test]
fn voters_come_from_the_options_or_from_the_settings() {
    let s = Settings::dynamic();
    let two = format!("1@127.0.0.1:9093:{VOTER},2@[::1]:9093:AAAAAAAAAAAAAAAAAAAACA");
    s.format(&["--initial-controllers", &two]).ok();
    let meta = fs::read_to_string(s.dir("a").join("meta.properties")).unwrap();
    assert!(meta.contains(&format!("directory.id={VOTER}\n")), "{meta}");
    assert!(!fs::read_to_string(s.dir("b").join("meta.properties")).unwrap().contains(VOTER));
    let voters = s.voters();
    assert!(voters.contains(&format!("{{\"voterId\":1,\"voterDirectoryId\":\"{VOTER}\"")), "{voters}");
    assert!(voters.contains("{\"name\":\"CONTROLLER\",\"host\":\"::1\",\"port\":9093}"), "{voters}");

    let s = Settings::dynamic();
    let formatted = s.format(&["-N"]).ok();
    assert!(formatted.contains("\nFormatting metadata directory "), "{formatted}");
    assert!(s.dir("a").join("bootstrap.checkpoint").exists());
    assert!(!s.dir("a").join("__cluster_metadata-0").exists());

    let fixed = Settings::combined("controller.quorum.voters=1@127.0.0.1:9093");
    fixed.format(&[]).ok();
    assert!(!fixed.dir("a").join("__cluster_metadata-0").exists());
}

#[test]
fn what_cannot_be_formatted_is_refused_before_anything_is_written() {
    let s = Settings::dynamic();
    for (words, says) in [
        (
            &[][..],
            "Because controller.quorum.voters is not set on this controller, you must specify one of the following: \
             --standalone, --initial-controllers, or --no-initial-controllers.",
        ),
        (
            &["-s", "--release-version", "3.0"],
            "Unknown metadata.version '3.0'. Supported metadata.version are: 3.3-IV3, 3.4-IV0, 3.5-IV0, 3.5-IV1, 3.5-IV2, \
             3.6-IV0, 3.6-IV1, 3.6-IV2, 3.7-IV0, 3.7-IV1, 3.7-IV2, 3.7-IV3, 3.7-IV4, 3.8-IV0, 3.9-IV0, 4.0-IV0, 4.0-IV1, \
             4.0-IV2, 4.0-IV3, 4.1-IV0, 4.1-IV1, 4.2-IV0, 4.2-IV1, 4.3-IV0",
        ),
        (
            &["-s", "-r", "3.9", "--feature", "metadata.version=25"],
            "Use --release-version instead of --feature metadata.version=X to avoid ambiguity.",
        ),
        (
            &["-s", "--feature", "foo=1"],
            "Unsupported feature: foo. Supported features are: eligible.leader.replicas.version, group.version, \
             kraft.version, share.version, streams.version, transaction.version",
        ),
        (
            &["-s", "--feature", "transaction.version=9"],
            "Exception in thread \"main\" java.lang.IllegalArgumentException: No feature:transaction.version with feature \
             level 9",
        ),
        (
            &["-s", "-r", "3.9", "-f", "eligible.leader.replicas.version=1"],
            "Exception in thread \"main\" java.lang.IllegalArgumentException: eligible.leader.replicas.version could not \
             be set to 1 because it depends on metadata.version level 23",
        ),
        (
            &["-I", "1@a"],
            "Exception in thread \"main\" java.lang.IllegalArgumentException: No colon following hostname could be found.",
        ),
        (
            &["-I", "1@a:1:AAAAAAAAAAAAAAAAAAAABw,1@b:1:AAAAAAAAAAAAAAAAAAAACA"],
            "Exception in thread \"main\" java.lang.IllegalArgumentException: Node id 1 was specified more than once.",
        ),
    ] {
        assert_eq!(refusal(s.format(words)), says, "{words:?}");
    }
    let scram = refusal(s.format(&["-s", "-S", "SCRAM-SHA-256=[name=alice,password=x]"]));
    assert!(scram.starts_with("--add-scram is not there yet"), "{scram}");
    assert!(!s.dir("a").exists() && !s.dir("b").exists());
    let fixed = Settings::combined("controller.quorum.voters=1@127.0.0.1:9093");
    assert!(refusal(fixed.format(&["-s"])).starts_with("You cannot specify controller.quorum.voters and format"));
    let broker = Settings::new("process.roles=broker\nnode.id=2\ncontroller.listener.names=CONTROLLER");
    assert_eq!(refusal(broker.format(&["-s"])), "You can only use --standalone on a controller.");
    assert!(broker.format(&[]).ok().contains("\nFormatting metadata directory "));
    let nameless = Settings::new("process.roles=broker");
    assert_eq!(
        refusal(nameless.format(&[])),
        "Exception in thread \"main\" org.apache.kafka.common.config.ConfigException: Missing required configuration \
         \"node.id\" which has no default value."
    );
}

#[test]
fn mixed_up_directories_are_told() {
    let s = Settings::dynamic();
    for (dir, cluster) in [("a", "one"), ("b", "two")] {
        fs::create_dir(s.dir(dir)).unwrap();
        fs::write(s.dir(dir).join("meta.properties"), format!("version=1\nnode.id=1\ncluster.id={cluster}\n")).unwrap();
    }
    let mixed = s.run("info", &[]);
    assert_eq!(mixed.code, Some(1));
    assert!(
        mixed.out.ends_with("Found problem:\n  Mismatched cluster IDs between storage directories.\n\n"),
        "{mixed:?}"
    );
    fs::remove_dir_all(s.dir("b")).unwrap();
    fs::write(s.dir("b"), "").unwrap();
    let file = s.run("info", &[]);
    assert!(
        file.out.ends_with(&format!("Found problem:\n  {} is not a directory\n\n", s.dir("b").display())),
        "{file:?}"
    );
}

#[test]
fn a_broker_starts_from_what_was_formatted_at_the_levels_that_were_asked_for() {
    let port = testkit::free_port();
    let lines = |address: &str| {
        format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n\
             controller.quorum.bootstrap.servers=127.0.0.1:{port}\n\
             listeners=PLAINTEXT://{address},CONTROLLER://127.0.0.1:{port}\n"
        )
    };
    let mut b = Broker::formatted(lines, |path| {
        run("kafka-storage", &["format", "-c", path, "-t", CLUSTER, "-s", "-r", "3.9", "-f", "group.version=1"]).ok();
    });
    let described = b.run("kafka-features", &["describe"]).ok();
    let level = |feature: &str| {
        let line = described.lines().find(|l| l.starts_with(&format!("Feature: {feature} "))).unwrap();
        line.split("FinalizedVersionLevel: ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(level("metadata.version"), "3.9-IV0");
    assert_eq!((level("group.version").as_str(), level("kraft.version").as_str()), ("1", "1"));
    assert_eq!(level("transaction.version"), "0");
    assert_eq!(run("kafka-cluster", &["cluster-id", "-b", &b.address]).ok(), format!("Cluster ID: {CLUSTER}\n"));
    b.create("t", &[]);
    b.kill_and_restart();
    assert_eq!(b.run("kafka-topics", &["--list"]).ok(), "t\n");
}

#[test]
fn a_broker_without_roles_can_be_formatted_under_a_cluster_id() {
    let b = Broker::formatted(
        |address| format!("listeners=PLAINTEXT://{address}\n"),
        |path| {
            run("kafka-storage", &["format", "-c", path, "-t", "mine"]).ok();
        },
    );
    assert_eq!(run("kafka-cluster", &["cluster-id", "-b", &b.address]).ok(), "Cluster ID: mine\n");
    let status = b.run("kafka-metadata-quorum", &["describe", "--status"]).ok();
    assert!(status.starts_with("ClusterId:              mine\nLeaderId:               1\n"), "{status}");
}

#[test]
fn releases_and_their_features_are_told() {
    assert_eq!(
        run("kafka-storage", &["version-mapping"]).ok(),
        "metadata.version=30 (4.3-IV0)\nkraft.version=1\ntransaction.version=2\ngroup.version=1\n\
         eligible.leader.replicas.version=1\nshare.version=1\nstreams.version=1\n"
    );
    assert_eq!(
        run("kafka-features", &["version-mapping", "--release-version", "3.9"]).ok(),
        "metadata.version=21 (3.9)\nkraft.version=1\ntransaction.version=0\ngroup.version=0\n\
         eligible.leader.replicas.version=0\nshare.version=0\nstreams.version=0\n"
    );
    assert_eq!(
        run(
            "kafka-storage",
            &["feature-dependencies", "-f", "eligible.leader.replicas.version=1", "-f", "metadata.version=25"]
        )
        .ok(),
        "eligible.leader.replicas.version=1 requires:\n    metadata.version=23 (4.0-IV1)\nmetadata.version=25 (4.0-IV3) \
         has no dependencies.\n"
    );
    for (feature, says) in [
        ("metadata.version=99", "Unknown metadata.version 99"),
        ("foo=1", "Unknown feature: foo"),
        ("transaction.version=9", "Feature level 9 is not supported for feature transaction.version"),
        ("group.version=x", "Invalid version format: x for feature group.version"),
        (
            "group.version",
            "Invalid feature format: group.version. Expected format: 'feature=version' (e.g. 'group.version=1')",
        ),
    ] {
        assert_eq!(refusal(run("kafka-features", &["feature-dependencies", "--feature", feature])), says);
    }
    let ids: Vec<String> = (0..2).map(|_| run("kafka-storage", &["random-uuid"]).ok()).collect();
    assert!(ids[0] != ids[1] && ids.iter().all(|id| id.len() == 23 && !id.starts_with('-')), "{ids:?}");
}
