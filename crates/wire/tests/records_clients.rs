//! Batches that other clients built (`fixtures/record-batches.txt`) are accepted, hold what was put into them, and are
//! what we build from the same records.

use std::collections::BTreeMap;

use wire::control::{ControlRecord, control_batch, transaction_marker};
use wire::messages::EndTxnMarker;
use wire::records::{Batch, BatchBuilder, Codec, Rules, Scratch, TimestampType, stamp, validate};

const T: i64 = 1_760_000_000_000;

fn fixtures() -> BTreeMap<&'static str, Vec<u8>> {
    include_str!("fixtures/record-batches.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, hex) = line.split_once(' ').expect("a name and hex");
            let bytes =
                (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect();
            (name, bytes)
        })
        .collect()
}

struct Expected {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: i64,
    headers: Vec<(&'static str, Option<&'static [u8]>)>,
}

/// What the scripts that made the fixtures put into a batch.
fn expected(count: i64, size: i64, null_headers: bool) -> Vec<Expected> {
    let alphabet = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let value = |size: i64| (0..size).map(|i| alphabet[((i * 7 + i / 50) % 36) as usize]).collect();
    let none: Option<&'static [u8]> = if null_headers { None } else { Some(b"") };
    (0..count)
        .map(|i| Expected {
            key: (i % 6 != 1).then(|| format!("key-{i}").into_bytes()),
            value: (i % 6 != 4).then(|| value(size + i)),
            timestamp: T + i * i * 100 - (i % 7) * 1000,
            headers: if i % 4 == 2 { vec![("trace", Some(b"\x01\x02")), ("none", none)] } else { vec![] },
        })
        .collect()
}

fn of_size(name: &str, null_headers: bool) -> Option<Vec<Expected>> {
    if name.ends_with("-small") {
        Some(expected(10, 5, null_headers))
    } else if name.ends_with("-large") {
        Some(expected(40, 5000, null_headers))
    } else {
        None
    }
}

#[test]
fn batches_of_other_clients_are_accepted_and_read() {
    let mut scratch = Scratch::new();
    let mut read = 0;
    for (name, bytes) in &fixtures() {
        let Some(expected) = of_size(name, !name.starts_with("kafka-python")) else { continue };
        let codec = Codec::ALL.into_iter().find(|codec| name.contains(&format!("-{codec}-"))).unwrap();
        let rules = Rules { now_ms: T + 1000, ..Rules::new(T) };
        let info = validate(bytes, &rules, &mut scratch).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        assert_eq!((info.codec, info.record_count as usize), (codec, expected.len()), "{name}");
        assert_eq!(info.max_timestamp, expected.iter().map(|record| record.timestamp).max().unwrap(), "{name}");
        assert!(!info.max_timestamp_differs, "{name}");

        let batch = Batch::parse(bytes).unwrap();
        let records = batch.records().unwrap();
        assert_eq!(records.iter().count(), expected.len());
        for (offset, (record, expected)) in records.iter().zip(&expected).enumerate() {
            let record = record.unwrap();
            assert_eq!((record.offset, record.timestamp), (offset as i64, expected.timestamp), "{name}");
            assert_eq!((record.key, record.value), (expected.key.as_deref(), expected.value.as_deref()), "{name}");
            let headers: Vec<_> = record.headers.iter().map(|h| (h.key_str().into_owned(), h.value)).collect();
            let wanted: Vec<_> = expected.headers.iter().map(|(key, value)| (key.to_string(), *value)).collect();
            assert_eq!(headers, wanted, "{name}");
        }
        read += 1;
    }
    assert_eq!(read, 30);
}

#[test]
fn what_we_build_is_what_java_builds() {
    let java = &fixtures()["java-none-small"];
    let mut builder = BatchBuilder::new(Codec::None).producer(4000, 3, 17);
    for record in expected(10, 5, true) {
        builder.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers);
    }
    assert_eq!(&builder.build(0, -1), java);
}

#[test]
fn append_times_and_wrapped_sequences_are_read_as_java_writes_them() {
    let fixtures = fixtures();
    let batch = Batch::parse(&fixtures["java-log-append-time"]).unwrap();
    assert!(batch.is_crc_valid() && batch.is_transactional());
    assert_eq!((batch.timestamp_type(), batch.max_timestamp()), (TimestampType::LogAppendTime, T + 5));
    assert_eq!((batch.base_sequence(), batch.last_sequence()), (i32::MAX - 1, 1));
    let records = batch.records().unwrap();
    assert!(
        records.iter().map(|record| record.unwrap()).map(|r| (r.offset, r.timestamp)).eq((40..44).map(|o| (o, T + 5)))
    );
}

#[test]
fn control_batches_are_byte_for_byte_those_of_java() {
    let fixtures = fixtures();
    for (name, commit) in [("java-commit-marker", true), ("java-abort-marker", false)] {
        let mut ours = transaction_marker(commit, 4000, 3, 9, T).unwrap();
        stamp(&mut ours, 77, 5);
        assert_eq!(&ours, &fixtures[name], "{name}");
    }
    let quorum = ["leader-change", "snapshot-header", "snapshot-footer", "kraft-version", "voters"];
    for name in quorum {
        let bytes = &fixtures[format!("java-{name}").as_str()];
        let batch = Batch::parse(bytes).unwrap();
        assert!(batch.is_control() && batch.is_crc_valid());
        let records = batch.records().unwrap();
        let record = records.iter().next().unwrap().unwrap();
        let control = ControlRecord::decode(record.key.unwrap(), record.value.unwrap()).unwrap().unwrap();
        assert!(!matches!(control, ControlRecord::Commit(EndTxnMarker { .. }) | ControlRecord::Abort(_)), "{name}");
        let ours = control_batch(&[control], batch.base_offset(), batch.leader_epoch(), T).unwrap();
        assert_eq!(&ours, bytes, "{name}");
    }
}
