//! The broker's own log: levels changed while it runs, the file of a daemon, lines for machines, and what never is in it.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::harness::{Broker, done, run};

const PATIENCE: Duration = Duration::from_secs(60);

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "still not so: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Broker {
    fn output(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap()
    }

    fn loggers(&self, words: &[&str]) -> super::harness::Done {
        let entity = ["--entity-type", "broker-loggers", "--entity-name", "1"];
        self.run("kafka-configs", &entity.iter().chain(words).copied().collect::<Vec<_>>())
    }
}

#[test]
fn levels_change_while_the_broker_runs_and_are_forgotten_with_it() {
    let mut b = Broker::start();
    let shown = b.loggers(&["--describe"]).ok();
    assert!(shown.starts_with("Dynamic configs for broker-logger 1 are:\n  broker=INFO sensitive=false synonyms={}\n"));
    for line in ["  kafka.request.logger=WARN sensitive=false synonyms={}\n", "  root=INFO ", "  server.cleaner=INFO "]
    {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let requests = || b.output().matches("Completed request:{").count();
    b.run("kafka-topics", &["--list"]).ok();
    assert_eq!(requests(), 0);
    let altered = b.loggers(&["--alter", "--add-config", "kafka.request.logger=DEBUG"]).ok();
    assert_eq!(altered, "Completed updating config for broker-logger 1.\n");
    b.create("told", &["--partitions", "1"]);
    b.feed("kafka-console-producer", &["--topic", "told"], "secret of mine\n").ok();
    let output = b.output();
    for api in ["METADATA", "CREATE_TOPICS", "PRODUCE"] {
        let line = output
            .lines()
            .find(|line| line.contains(&format!("\"requestApiKeyName\":\"{api}\"")))
            .unwrap_or_else(|| panic!("no {api}: {output}"));
        assert!(
            line.contains("] DEBUG Completed request:{\"isForwarded\":false,\"requestHeader\":{\"requestApiKey\":")
        );
        assert!(line.contains("\"clientId\":\"") && line.ends_with("} (kafka.request.logger)"), "{line}");
    }
    assert!(!output.contains("secret of mine"));

    b.loggers(&["--alter", "--delete-config", "kafka.request.logger"]).ok();
    let before = requests();
    b.run("kafka-topics", &["--list"]).ok();
    assert_eq!(requests(), before);
    assert!(b.loggers(&["--describe"]).ok().contains("  kafka.request.logger=INFO "));

    b.loggers(&["--alter", "--add-config", "root=ERROR,kafka.controller=TRACE"]).ok();
    let shown = b.loggers(&["--describe"]).ok();
    assert!(
        shown.contains("  root=ERROR ") && shown.contains("  storage=ERROR ") && shown.contains("  metadata=TRACE ")
    );
    b.kill_and_restart();
    assert!(b.loggers(&["--describe"]).ok().contains("  root=INFO "));
}

#[test]
fn wrong_loggers_and_levels_are_refused_in_kafkas_words() {
    let b = Broker::start();
    let bad = "Cannot set the log level of root to OFF as it is not a supported log level. Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN";
    for (change, said) in [
        (["--add-config", "root=OFF"], format!("InvalidConfigurationException: {bad}")),
        (["--add-config", "root=debug"], format!("InvalidConfigurationException: {}", bad.replace("OFF", "debug"))),
        (
            ["--delete-config", "root"],
            "InvalidRequestException: Removing the log level of the root logger is not allowed".to_owned(),
        ),
    ] {
        let refused = b.loggers(&["--alter", change[0], change[1]]);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(
            refused.err.contains(&format!("org.apache.kafka.common.errors.{said}\n")),
            "{change:?}: {}",
            refused.err
        );
    }
    let unknown = b.loggers(&["--alter", "--add-config", "nobody=INFO"]);
    assert_eq!((unknown.code, unknown.err.as_str()), (Some(1), "Invalid broker logger(s): nobody\n"));
}

/// The start script in the source tree, with the binary under test.
fn script(name: &str) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bin").join(name);
    let mut command = Command::new(script);
    command.env("KLAMM_BINARY", env!("CARGO_BIN_EXE_klamm"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn stop(node_id: u16) -> Command {
    let mut stop = script("kafka-server-stop.sh");
    stop.arg(format!("--node-id={node_id}"));
    stop
}

/// Ends the daemon of this node id, should the test not come to that.
struct Ended(u16);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = stop(self.0).env("SIGNAL", "KILL").output();
    }
}

/// The log's files with their sizes, by name.
fn files(folder: &Path) -> Vec<(String, u64, PathBuf)> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|e| (e.file_name().into_string().unwrap(), e.metadata().unwrap().len(), e.path()))
        .collect();
    all.sort();
    all
}

#[test]
fn a_daemon_logs_into_files_that_are_bounded() {
    const BYTES: u64 = 8192;
    let folder = tempfile::Builder::new().prefix("daemon-").tempdir().unwrap();
    let port = testkit::free_port();
    let address = format!("127.0.0.1:{port}");
    let data = folder.path().join("data");
    let settings = format!(
        "node.id={port}\nlisteners=PLAINTEXT://{address}\nlog.dirs={}\nklamm.log.file.max.bytes={BYTES}\n\
         klamm.log.file.max.count=2\nklamm.log.levels=kafka.request.logger=TRACE,kafka.authorizer.logger=WARN\n",
        data.display()
    );
    let file = folder.path().join("server.properties");
    fs::write(&file, settings).unwrap();
    let logs = folder.path().join("logs");
    let mut start = script("kafka-server-start.sh");
    start.arg("-daemon").arg(&file).env("LOG_DIR", &logs).env("KLAMM_LOG_FORMAT", "json");
    done(start.spawn().unwrap()).ok();
    let _ended = Ended(port);
    wait_until("the daemon listens", || TcpStream::connect(&address).is_ok());
    run("kafka-topics", &["--bootstrap-server", &address, "--list"]).ok();
    let log = logs.join("server.log");
    let first = fs::read_to_string(&log).unwrap();
    let expected = "\"message\":\"Logger kafka.authorizer.logger in klamm.log.levels does not exist here: its level has no effect\"";
    assert!(first.contains(expected), "{first}");
    wait_until("three files are there", || {
        run("kafka-topics", &["--bootstrap-server", &address, "--list"]).ok();
        logs.join("server.log.2").exists()
    });
    let before = fs::read_to_string(&log).unwrap();
    wait_until("the file was put aside once more", || {
        run("kafka-topics", &["--bootstrap-server", &address, "--list"]).ok();
        !fs::read_to_string(&log).unwrap().starts_with(&before)
    });

    done(stop(port).spawn().unwrap()).ok();
    wait_until("the daemon ended", || data.join(".kafka_cleanshutdown").exists());
    let all = files(&logs);
    let names: Vec<&str> = all.iter().map(|f| f.0.as_str()).collect();
    assert_eq!(names, ["kafkaServer.out", "server.log", "server.log.1", "server.log.2"]);
    for (name, size, path) in &all[1..] {
        assert!(*size <= BYTES, "{name}: {size}");
        for line in fs::read_to_string(path).unwrap().lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert!(event["timestamp"].is_string() && event["message"].is_string(), "{line}");
        }
    }
    assert_eq!(fs::read_to_string(&all[0].2).unwrap(), "", "what is logged is in server.log alone");
}

#[test]
fn a_log_file_that_cannot_be_written_refuses_the_start() {
    let words = ["--override", "klamm.log.file=/proc/no/such/server.log"];
    let refused = run("kafka-server-start", &words);
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""));
    let said = "Klamm does not start: klamm.log.file: cannot log to /proc/no/such/server.log: ";
    assert!(refused.err.starts_with(said), "{}", refused.err);
}

#[test]
fn secrets_and_records_are_never_in_the_log() {
    let settings = "klamm.log.levels=root=TRACE,kafka.request.logger=TRACE\ncustom.reporter.password=hunter2\n";
    let b = Broker::with_settings(settings);
    b.create("private", &["--partitions", "1"]);
    b.feed("kafka-console-producer", &["--topic", "private"], "hunter3\n").ok();
    let words = ["--topic", "private", "--from-beginning", "--max-messages", "1", "--group", "g"];
    assert_eq!(b.run("kafka-console-consumer", &words).ok(), "hunter3\n");
    // Refused or not, its value is nobody's business.
    let added = "listener.name.internal.ssl.key.password=hunter4";
    b.run("kafka-configs", &["--alter", "--broker", "1", "--add-config", added]);
    let output = b.output();
    assert!(output.contains("\"requestApiKeyName\":\"INCREMENTAL_ALTER_CONFIGS\""), "{output}");
    for secret in ["hunter2", "hunter3", "hunter4"] {
        assert!(!output.contains(secret), "{output}");
    }
}

#[test]
fn a_broker_that_cannot_end_in_order_says_why() {
    let mut b = Broker::start();
    b.run("kafka-topics", &["--list"]).ok();
    fs::remove_dir_all(b.folder.path().join("data/__cluster_metadata-0")).unwrap();
    assert_eq!(b.end(), Some(1));
    let (output, said) =
        (b.output(), "\nKlamm did not end in order, and checks its logs at the next start: could not ");
    assert!(output.contains(said) && !output.contains("does not start"), "{output}");
}
