//! Log directories that fail under a running broker: which of them it can do without.

use std::fs;

use super::broker::{Broker, wait_until};
use super::full_disk::small_disk;

/// Has everything that opens a file in this directory fail from now on.
pub fn break_dir(b: &Broker, dir: &str) {
    let path = b.folder.path().join(dir);
    fs::rename(&path, b.folder.path().join(format!("{dir}.gone"))).unwrap();
    fs::write(path, "").unwrap();
}

/// Makes good what [`break_dir`] did.
pub fn mend_dir(b: &Broker, dir: &str) {
    let path = b.folder.path().join(dir);
    fs::remove_file(&path).unwrap();
    fs::rename(b.folder.path().join(format!("{dir}.gone")), path).unwrap();
}

/// The partitions in each of the log directories that the broker names.
fn dirs(b: &Broker) -> Vec<(String, Vec<String>)> {
    let described = b.tool("kafka-log-dirs", &["--describe"]);
    let json: serde_json::Value = serde_json::from_str(described.lines().last().unwrap()).unwrap();
    let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    let partitions = |dir: &serde_json::Value| {
        dir["partitions"].as_array().unwrap().iter().map(|p| p["partition"].as_str().unwrap().to_owned()).collect()
    };
    let dirs = json["brokers"][0]["logDirs"].as_array().unwrap().iter();
    dirs.map(|dir| (name(dir["logDir"].as_str().unwrap()), partitions(dir))).collect()
}

const SOON: &str = "log.flush.offset.checkpoint.interval.ms=1000\nreplica.high.watermark.checkpoint.interval.ms=1000\n";

#[test]
fn a_broker_stops_with_the_last_of_its_log_directories() {
    let folder = tempfile::Builder::new().prefix("operator-").tempdir().unwrap();
    let settings = format!("metadata.log.dir={}\n{SOON}", folder.path().join("meta").display());
    let mut b = Broker::start_in(folder, &["a", "b"], &settings, Vec::new());
    b.tool("kafka-topics", &["--create", "--topic", "t", "--partitions", "6"]);
    let mut held = dirs(&b);
    held.sort();
    let names: Vec<_> = held.iter().map(|(name, partitions)| (name.as_str(), partitions.len())).collect();
    assert_eq!(names, [("a", 3), ("b", 3)], "the metadata log's own directory gets none");

    break_dir(&b, "a");
    let feed = |b: &Broker| {
        let words = ["--topic", "t", "--command-property", "delivery.timeout.ms=2000"];
        let words = [&words[..], &["--command-property", "request.timeout.ms=1000"]].concat();
        b.done("kafka-console-producer", &words, "a\nb\nc\nd\ne\nf\n");
    };
    feed(&b);
    wait_until("one is offline", || b.log().contains("the log directory failed"));
    assert!(b.is_running(), "the other one is served");

    b.metrics.pause();
    break_dir(&b, "b");
    feed(&b);
    assert_eq!(b.ended().code(), Some(1), "{}", b.log());
    let all =
        format!("ERROR Shutdown broker because all log dirs in {0}/a, {0}/b have failed", b.folder.path().display());
    assert!(b.log().contains(&all), "{}", b.log());
}

#[test]
fn a_directory_in_which_no_partition_can_be_made_is_offline() {
    let folder = tempfile::Builder::new().prefix("operator-").tempdir().unwrap();
    let settings = format!("metadata.log.dir={}\n{SOON}", folder.path().join("meta").display());
    let mut b = Broker::start_in(folder, &["a", "b"], &settings, Vec::new());
    for dir in ["a", "b"] {
        fs::write(b.folder.path().join(dir).join("t-0"), "no directory").unwrap();
    }
    b.tool("kafka-topics", &["--create", "--topic", "t"]);
    wait_until("one is offline", || b.log().contains("the log directory failed"));
    assert!(b.is_running(), "the other one is served");
    b.tool("kafka-topics", &["--create", "--topic", "other", "--partitions", "2"]);
    assert!(dirs(&b).iter().any(|(_, partitions)| partitions.len() == 2), "{:?}", dirs(&b));
}

#[test]
fn a_broker_stops_with_the_directory_of_the_metadata_log() {
    let Some((folder, disk)) = small_disk("1m") else { return };
    let meta = folder.path().join("small");
    let settings = format!("metadata.log.dir={}\nauto.create.topics.enable=false\n", meta.display());
    let mut b = Broker::start_in(folder, &["data"], &settings, disk.launcher());
    b.metrics.pause();
    disk.fill();
    let words = ["--create", "--topic", "t", "--partitions", "1000", "--command-config"];
    let patience = b.file("patience", "default.api.timeout.ms=3000\nrequest.timeout.ms=1000\n").display().to_string();
    b.done("kafka-topics", &[&words[..], &[&patience]].concat(), "");
    assert_eq!(b.ended().code(), Some(1), "{}", b.log());
    let words = format!("Shutdown broker because the metadata log dir {} has failed", meta.display());
    assert!(b.log().contains(&words), "{}", b.log());
}
