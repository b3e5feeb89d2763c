//! A disk that is full: a small one of its own, in a mount namespace, beside the one with the cluster's state.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use super::broker::{Broker, wait_until};

/// A tmpfs that processes see which [`SmallDisk::launcher`] starts. It lives as long as the process that holds it.
pub struct SmallDisk {
    holder: Child,
    path: String,
}

impl SmallDisk {
    /// An error says why this machine has none.
    fn mount(path: &Path, size: &str) -> Result<SmallDisk, String> {
        let path = path.display().to_string();
        let script = "mount -t tmpfs -o size=$2 none \"$1\" && echo mounted && exec cat";
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh", &path, size]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut holder = command.spawn().map_err(|e| format!("unshare: {e}"))?;
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).map_err(|e| e.to_string())?;
        if line == "mounted\n" {
            return Ok(SmallDisk { holder, path });
        }
        let ended = holder.wait_with_output().map_err(|e| e.to_string())?;
        Err(String::from_utf8_lossy(&ended.stderr).trim().to_owned())
    }

    pub fn launcher(&self) -> Vec<String> {
        let pid = self.holder.id().to_string();
        ["nsenter", "--user", "--mount", "--preserve-credentials", "--target", &pid, "--"].map(str::to_owned).to_vec()
    }

    /// Leaves no room on it.
    pub fn fill(&self) {
        let launcher = self.launcher();
        let script = "cat /dev/zero > \"$1/zeros\" 2>/dev/null; test -s \"$1/zeros\"";
        let status =
            Command::new(&launcher[0]).args(&launcher[1..]).args(["sh", "-c", script, "sh", &self.path]).status();
        assert!(status.unwrap().success());
    }

    pub fn enlarge(&self, size: &str) {
        let launcher = self.launcher();
        let remount = ["mount", "-o", &format!("remount,size={size}"), &self.path];
        let status = Command::new(&launcher[0]).args(&launcher[1..]).args(remount).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The topic of these whose partition is in the directory of this name, and one that is elsewhere.
pub fn placed<'t>(b: &Broker, topics: &[&'t str], dir: &str) -> (&'t str, &'t str) {
    let described = b.tool("kafka-log-dirs", &["--describe"]);
    let json: serde_json::Value = serde_json::from_str(described.lines().last().unwrap()).unwrap();
    let dirs = json["brokers"][0]["logDirs"].as_array().unwrap();
    let there = dirs.iter().find(|d| d["logDir"].as_str().unwrap().ends_with(dir)).unwrap();
    let partitions = there["partitions"].as_array().unwrap();
    let is_there = |topic: &str| partitions.iter().any(|p| p["partition"] == format!("{topic}-0"));
    let find = |there| topics.iter().copied().find(|topic| is_there(topic) == there).unwrap();
    (find(true), find(false))
}

/// A disk of this size at `small` below a new folder; none, with the reason told, where this machine gives out none.
pub fn small_disk(size: &str) -> Option<(tempfile::TempDir, SmallDisk)> {
    let folder = tempfile::Builder::new().prefix("operator-").tempdir().unwrap();
    let path = folder.path().join("small");
    std::fs::create_dir(&path).unwrap();
    match SmallDisk::mount(&path, size) {
        Ok(disk) => Some((folder, disk)),
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "no small disk: {why}");
            eprintln!("skipped: this machine gives out no mount namespace: {why}");
            None
        }
    }
}

fn lines(range: std::ops::Range<u32>) -> String {
    range.map(|i| format!("line {i}\n")).collect()
}

#[test]
fn a_full_disk_takes_its_partitions_along_and_gives_them_back() {
    let Some((folder, disk)) = small_disk("12m") else { return };
    let mut b = Broker::start_in(folder, &["roomy", "small"], "", disk.launcher());
    let topics = ["t0", "t1", "t2", "t3"];
    for topic in topics {
        b.tool("kafka-topics", &["--create", "--topic", topic, "--config", "segment.bytes=1048576"]);
    }
    let (doomed, safe) = placed(&b, &topics, "/small");
    for topic in [doomed, safe] {
        b.fed("kafka-console-producer", &["--topic", topic, "--request-required-acks", "all"], &lines(0..1000));
    }

    // More than it holds. The producer is told, in its time, and the broker goes on without the directory.
    let patience = ["delivery.timeout.ms=3000", "request.timeout.ms=1000", "linger.ms=0", "acks=all"];
    let words = ["--topic", doomed, "--num-records", "30000", "--record-size", "1000", "--throughput", "-1"];
    let all = [&words[..], &["--command-property"], &patience[..1], &["--command-property"], &patience[1..2]].concat();
    let all = [&all[..], &["--command-property"], &patience[2..3], &["--command-property"], &patience[3..]].concat();
    let filled = b.done("kafka-producer-perf-test", &all, "");
    assert!(filled.err.contains("Exception") || filled.out.contains("Exception"), "{filled:?}");
    b.metrics.wait_for("kafka_log_logmanager_offlinelogdirectorycount", 1.0);
    let (status, why) = b.metrics.get("/readyz").unwrap();
    assert!(status == 503 && why.contains("offline log directories: ") && why.contains("/small"), "{status} {why}");
    assert_eq!(b.metrics.get("/healthz").unwrap().0, 200);
    wait_until("nobody leads the partition", || {
        b.tool("kafka-topics", &["--describe", "--topic", doomed]).contains("\tLeader: none\t")
    });
    let log = b.log();
    let failures = log.lines().filter(|line| line.contains(" ERROR ") && line.contains("the log directory failed"));
    assert_eq!(failures.count(), 1, "{log}");
    assert!(log.contains("No space left on device"), "{log}");

    // What is elsewhere is served.
    b.fed("kafka-console-producer", &["--topic", safe], &lines(1000..1010));
    let words = ["--topic", safe, "--from-beginning", "--max-messages", "1010"];
    assert_eq!(b.tool("kafka-console-consumer", &words), lines(0..1010));

    // Room, a restart, and everything that was acknowledged is there.
    disk.enlarge("64m");
    b.restart(Signal::TERM);
    b.metrics.wait_for("kafka_log_logmanager_offlinelogdirectorycount", 0.0);
    wait_until("the partition has its leader again", || {
        b.tool("kafka-topics", &["--describe", "--topic", doomed]).contains("\tLeader: 1\t")
    });
    let words =
        ["--topic", doomed, "--partition", "0", "--offset", "0", "--max-messages", "1000", "--timeout-ms", "20000"];
    assert_eq!(b.tool("kafka-console-consumer", &words), lines(0..1000));
    let end = b.offsets(doomed, "latest")[0];
    assert!(end > 1000, "{end}");
    b.fed("kafka-console-producer", &["--topic", doomed], "after\n");
    let count = (end - 1000 + 1).to_string();
    let words =
        ["--topic", doomed, "--partition", "0", "--offset", "1000", "--max-messages", &count, "--timeout-ms", "20000"];
    assert_eq!(b.tool("kafka-console-consumer", &words).lines().last(), Some("after"));
    assert!(b.metrics.end() > 10);
}

/// tmpfs, overlayfs and others refuse to read without waiting (RWF_NOWAIT).
#[test]
fn records_anywhere_are_read_from_a_file_system_that_cannot_say_what_it_has_in_memory() {
    let Some((folder, disk)) = small_disk("12m") else { return };
    let b = Broker::start_in(folder, &["small"], "", disk.launcher());
    for begin in [0, 1000, 2000] {
        b.fed("kafka-console-producer", &["--topic", "t"], &lines(begin..begin + 1000));
    }
    for from in [0, 1, 1000, 1500, 2000, 2999] {
        let (offset, count) = (from.to_string(), (3000 - from).to_string());
        let words = ["--topic", "t", "--partition", "0", "--offset", &offset];
        let words = [&words[..], &["--max-messages", &count, "--timeout-ms", "20000"]].concat();
        assert_eq!(b.tool("kafka-console-consumer", &words), lines(from..3000));
    }
}
