//! Apache Kafka reads what we write: runs its `kafka-dump-log.sh` when KAFKA_DIST names an installation of it.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use common::*;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use storage::{LogConfig, RealDisk, Shutdown};
use wire::records::{BatchBuilder, Codec};

fn compressed(codec: Codec, n: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    for record in 0..5 {
        builder.append(NOW + n - record, Some(b"key"), Some(&[b'v'; 100]), &[("h", Some(b"x"))]);
    }
    builder.build(0, -1)
}

#[test]
fn kafkas_dump_log_finds_nothing_wrong_with_our_files() {
    let Some(kafka) = std::env::var_os("KAFKA_DIST").map(PathBuf::from) else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("army-0");
    std::fs::create_dir(&path).unwrap();
    let config =
        LogConfig { segment_bytes: 60_000, index_interval_bytes: 500, snapshot_interval_bytes: 9000, ..small() };
    let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    let (mut log, _) = open(Arc::new(RealDisk), &path, config.clone(), mode(Shutdown::Clean, 0));
    for n in 0..600i64 {
        let codec = codecs[(n % 5) as usize];
        append_one(&mut log, compressed(codec, if n % 7 == 0 { n - 50 } else { n }), (n / 200) as i32).unwrap();
        append_one(&mut log, produced(9, 0, n as i32, 1, false), (n / 200) as i32).unwrap();
        if n % 20 < 15 {
            append_one(&mut log, produced(4, 1, (n / 20 * 15 + n % 20) as i32, 1, true), (n / 200) as i32).unwrap();
        } else if n % 20 == 15 {
            append_one(&mut log, marker(4, 1, n % 40 == 15, 3), (n / 200) as i32).unwrap();
        }
        match n {
            150 => log = open(Arc::new(RealDisk), &path, config.clone(), mode(Shutdown::Killed, 0)).0,
            300 => log.truncate_to(log.log_end_offset() - 1).unwrap(),
            301 => log = open(Arc::new(RealDisk), &path, config.clone(), mode(Shutdown::PowerCut, 500)).0,
            _ => {}
        }
        if n == 300 {
            // The sequence numbers of what was cut off are free again.
            append_one(&mut log, produced(4, 1, 225, 1, true), 1).unwrap();
        }
    }
    assert!(log.segment_count() > 3);
    log.close().unwrap();
    let mut files: Vec<PathBuf> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let named = |suffix: &str| -> Vec<&PathBuf> {
        files.iter().filter(|path| path.extension().is_some_and(|extension| extension == suffix)).collect()
    };
    assert!(!named("txnindex").is_empty() && !named("snapshot").is_empty());
    let batches = read_all(&log).len();
    let dump = dump(&kafka, &["--deep-iteration"], &named("log"));
    assert_eq!(dump.matches("isvalid: true").count(), batches);
    let dump = self::dump(&kafka, &[], &[named("index"), named("timeindex")].concat());
    assert!(dump.matches("offset: ").count() > 200);
    self::dump(&kafka, &["--index-sanity-check"], &[named("index"), named("timeindex")].concat());
    let dump = self::dump(&kafka, &[], &[named("snapshot"), named("txnindex")].concat());
    assert!(dump.contains("producerId: 9 producerEpoch: 0") && dump.contains("producerId: 4"));
}

fn dump(kafka: &Path, options: &[&str], files: &[&PathBuf]) -> String {
    let files: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
    let tool = kafka.join("bin/kafka-dump-log.sh");
    let output = Command::new(tool).args(options).arg("--files").arg(files.join(",")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    for complaint in ["Mismatches", "isvalid: false", "Exception", "ERROR", "Found ", "Corrupt"] {
        assert!(!text.contains(complaint), "{complaint}: {text}");
    }
    // With --deep-iteration the tool expects every file to begin at offset 0.
    let gaps: Vec<&str> = text.lines().filter(|line| line.contains(" is followed by ")).collect();
    assert!(gaps.iter().all(|line| line.trim().starts_with("-1 ")), "{gaps:?}");
    text
}
