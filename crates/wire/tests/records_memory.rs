//! Validating a batch takes memory for a window, whatever its records decompress to. Alone in its process, because it
//! looks at the peak of the process's memory.
#![cfg(target_os = "linux")]

use std::io::Write;

use wire::records::{BatchBuilder, Codec, Rules, Scratch, validate};

const NOW: i64 = 1_760_000_000_000;

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("Linux has it");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

/// One record whose value is so many zeros, written piece by piece.
fn batch_of_zeros(codec: Codec, size: usize) -> Vec<u8> {
    let mut front = Vec::new();
    let put = |out: &mut Vec<u8>, mut zigzag: u64| {
        while zigzag >= 0x80 {
            out.push(zigzag as u8 | 0x80);
            zigzag >>= 7;
        }
        out.push(zigzag as u8);
    };
    let mut fields = vec![0, 0, 0, 1];
    put(&mut fields, size as u64 * 2);
    put(&mut front, (fields.len() + size + 1) as u64 * 2);
    front.extend_from_slice(&fields);

    let piece = vec![0; 1 << 16];
    let write = |out: &mut dyn Write| {
        out.write_all(&front).expect("to memory");
        for _ in 0..size / piece.len() {
            out.write_all(&piece).expect("to memory");
        }
        out.write_all(&[0]).expect("to memory");
    };
    let payload = match codec {
        Codec::Gzip => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            write(&mut out);
            out.finish().expect("to memory")
        }
        Codec::Zstd => {
            let mut out = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("to memory");
            write(&mut out);
            out.finish().expect("to memory")
        }
        other => panic!("no need for {other}"),
    };
    let mut bytes = BatchBuilder::new(codec).build(0, -1);
    bytes.extend_from_slice(&payload);
    let length = bytes.len() as i32 - 12;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[22] = codec.id();
    bytes[23..27].copy_from_slice(&0i32.to_be_bytes());
    bytes[57..61].copy_from_slice(&1i32.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[test]
fn memory_does_not_grow_with_what_comes_out() {
    let sound = batch_of_zeros(Codec::Gzip, 96 << 20);
    // Limited to 16 MiB, for the ratio is beyond all reason.
    let bomb = batch_of_zeros(Codec::Zstd, 96 << 20);
    assert!(bomb.len() < 16 << 10);
    let mut scratch = Scratch::new();
    let before = peak_kib();
    let info = validate(&sound, &Rules::new(NOW), &mut scratch).expect("a thousand to one is gzip's usual best");
    assert_eq!(info.record_count, 1);
    assert!(validate(&bomb, &Rules::new(NOW), &mut scratch).is_err());
    let grown = peak_kib() - before;
    assert!(grown < 8 << 10, "validation took {grown} KiB");
}
