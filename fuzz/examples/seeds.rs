//! Fills `corpus/` with frames that Apache Kafka's own classes wrote, and with batches of all codecs.

use std::{fs, io, path::Path};

use wire::{
    ApiKey,
    codec::Encoder,
    header::write_request_header,
    records::{BatchBuilder, Codec},
};

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for folder in ["decode_request", "decode_response", "record_batches"] {
        fs::create_dir_all(corpus.join(folder))?;
    }
    let samples = include_str!("../../crates/wire/tests/fixtures/kafka-messages.txt");
    for (number, line) in samples.lines().enumerate() {
        let cells: Vec<&str> = line.split(' ').collect();
        let [name, version, _, hex] = cells[..] else { continue };
        let Ok(version) = version.parse::<i16>() else { continue };
        let body = (0..hex.len()).step_by(2).filter_map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok());
        let api = |suffix| ApiKey::ALL.into_iter().find(|api| name == format!("{api}{suffix}"));
        let mut e = Encoder::new();
        let folder = if let Some(api) = api("Request") {
            write_request_header(&mut e, api, version, 1, Some("seed")).map_err(io::Error::other)?;
            "decode_request"
        } else if let Some(api) = api("Response") {
            e.i16(api as i16);
            e.i16(version);
            "decode_response"
        } else {
            continue;
        };
        e.bytes_mut().extend(body);
        fs::write(corpus.join(folder).join(format!("{name}-{version}-{number}")), e.bytes())?;
    }
    for codec in Codec::ALL {
        for records in [1, 3, 50] {
            let mut plain = BatchBuilder::new(codec);
            let mut idempotent = BatchBuilder::new(codec).producer(7, 0, 3);
            for at in 0..records {
                let (key, value) = (format!("key-{at}"), "value ".repeat(at as usize % 7));
                for batch in [&mut plain, &mut idempotent] {
                    let headers: &[(&str, Option<&[u8]>)] = &[("header", Some(b"x")), ("none", None)];
                    batch.append(1_700_000_000_000 + at, Some(key.as_bytes()), Some(value.as_bytes()), headers);
                }
            }
            for (kind, batch) in [("plain", &mut plain), ("idempotent", &mut idempotent)] {
                let path = corpus.join("record_batches").join(format!("{kind}-{codec:?}-{records}"));
                fs::write(path, batch.build(0, -1))?;
            }
        }
    }
    Ok(())
}
