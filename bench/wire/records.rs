//! What record batches cost, beside what nobody can go below: the checksum for validation, a copy for building.
//!
//! ```text
//! cargo bench -p wire --bench records
//! ```
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use wire::records::{
    Batch, BatchBuilder, Codec, Compressor, Rules, Scratch, recompress, stamp_log_append_time, validate,
};

const NOW: i64 = 1_760_000_000_000;
const ROUND: Duration = Duration::from_millis(20);
const ROUNDS: u32 = 15;

/// Nanoseconds of one call in the best of several rounds: other processes can only make it worse.
fn nanoseconds(mut call: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let (start, mut calls) = (Instant::now(), 0u32);
        while start.elapsed() < ROUND {
            call();
            calls += 1;
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(calls));
    }
    best
}

/// A batch of about `size` bytes of words, so that compression has something to do.
fn batch(codec: Codec, size: usize, value_size: usize, headers: &[(&str, Option<&[u8]>)]) -> Vec<u8> {
    const WORDS: [&str; 10] =
        ["alpha", "beta", "gamma", "delta", "order", "user", "1234", "{\"id\":", "\"name\":", " "];
    let mut builder = BatchBuilder::new(codec);
    let mut state = 12_345u64;
    for index in 0.. {
        let mut value = Vec::with_capacity(value_size + 8);
        while value.len() < value_size {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            value.extend_from_slice(WORDS[(state >> 33) as usize % WORDS.len()].as_bytes());
        }
        value.truncate(value_size);
        let key = format!("key-{index}");
        if builder.append(NOW + index / 3, Some(key.as_bytes()), Some(&value), headers) >= size {
            break;
        }
    }
    builder.build(0, -1)
}

fn main() {
    let rules = Rules { max_message_bytes: 100 << 20, ..Rules::new(NOW) };
    let mut scratch = Scratch::new();
    let two_headers: &[(&str, Option<&[u8]>)] = &[("traceparent", Some(b"00-aaaa-bbbb-01")), ("k", None)];

    println!("validate, not compressed: bytes, records | ns in all = checksum + ns a record");
    for (size, value_size, headers) in [
        (200, 100, [].as_slice()),
        (16 << 10, 100, &[]),
        (64 << 10, 100, &[]),
        (1 << 20, 10, &[]),
        (1 << 20, 100, &[]),
        (1 << 20, 1000, &[]),
        (1 << 20, 100, two_headers),
    ] {
        let bytes = batch(Codec::None, size, value_size, headers);
        let count = Batch::parse(&bytes).expect("built above").record_count();
        let all = nanoseconds(|| drop(black_box(validate(black_box(&bytes), &rules, &mut scratch))));
        let checksum = nanoseconds(|| _ = black_box(crc32c::crc32c(black_box(&bytes[21..]))));
        println!(
            "{:>8} {count:>6}, values of {value_size:>4}, {} headers | {all:>8.0} = {checksum:>6.0} ({:.1} GB/s) + {:.2}",
            bytes.len(),
            headers.len(),
            bytes.len() as f64 / checksum,
            (all - checksum) / f64::from(count)
        );
    }

    println!("compressed: bytes as records -> in the batch | GB/s of records validated, recompressed from none");
    for codec in Codec::ALL {
        for size in [16 << 10, 1 << 20] {
            let plain = batch(Codec::None, size, 100, &[]);
            let bytes = batch(codec, size, 100, &[]);
            let validated = nanoseconds(|| drop(black_box(validate(black_box(&bytes), &rules, &mut scratch))));
            let mut compressor = Compressor::new();
            let compressed = nanoseconds(|| drop(recompress(black_box(&plain), codec, None, &mut compressor, 1 << 30)));
            let speed = |time: f64| plain.len() as f64 / time;
            let (validated, compressed) = (speed(validated), speed(compressed));
            println!("{codec:>6} {:>8} -> {:>7} | {validated:.2}, {compressed:.3}", plain.len(), bytes.len());
        }
    }

    println!("build, not compressed | ns a record");
    for (count, value_size) in [(600, 100), (6000, 10)] {
        let value = vec![b'x'; value_size];
        let mut builder = BatchBuilder::new(Codec::None);
        let time = nanoseconds(|| {
            for _ in 0..count {
                builder.append(black_box(NOW), Some(b"key-12"), Some(black_box(&value)), &[]);
            }
            drop(black_box(builder.build(0, -1)));
        });
        println!("{count:>8} records, values of {value_size:>3} | {:.1}", time / f64::from(count));
    }

    println!("append time stamped | ns a batch");
    for size in [1 << 10, 16 << 10, 1 << 20] {
        let mut bytes = batch(Codec::None, size, 100, &[]);
        let time = nanoseconds(|| stamp_log_append_time(black_box(&mut bytes), NOW));
        println!("{:>8} | {time:.0}", bytes.len());
    }
}
