//! Whatever the records are, they come back; whatever the bytes are, nothing panics, no broken checksum passes, and
//! `validate` says what a slow and simple reading of the format says.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use wire::records::{Batch, BatchBuilder, Codec, Compressor, Rules, Scratch, batches, recompress, validate};

const NOW: i64 = 1_760_000_000_000;

type Bytes = Vec<u8>;

#[derive(Clone, Debug)]
struct Given {
    timestamp: i64,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<(String, Option<Bytes>)>,
}

fn given() -> impl Strategy<Value = Given> {
    let timestamp = prop_oneof![NOW - 1000..NOW + 1000, Just(-1), 0..NOW];
    let value = prop_oneof![6 => vec(any::<u8>(), 0..80), 1 => vec(any::<u8>(), 0..2000)];
    let headers = vec((".{0,6}", option::of(vec(any::<u8>(), 0..5))), 0..3);
    (timestamp, option::of(vec(any::<u8>(), 0..70)), option::of(value), headers)
        .prop_map(|(timestamp, key, value, headers)| Given { timestamp, key, value, headers })
}

fn codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(Codec::ALL.as_slice())
}

fn build(codec: Codec, records: &[Given]) -> Bytes {
    let mut builder = BatchBuilder::new(codec).producer(7, 0, 0);
    for record in records {
        let headers: Vec<_> = record.headers.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        let before = builder.size();
        let after = builder.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers);
        let most = BatchBuilder::record_size_max(record.key.as_deref(), record.value.as_deref(), &headers);
        assert!(after - before <= most);
    }
    builder.build(0, -1)
}

/// CRC-32C bit by bit.
fn slow_crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

/// A batch around these bytes as its records, everything else in order.
fn around(codec: Codec, count: i32, payload: &[u8]) -> Bytes {
    let mut bytes = build(Codec::None, &[]);
    Compressor::new().compress(codec, None, payload, &mut bytes);
    let length = bytes.len() as i32 - 12;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[22] = codec.id();
    bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    bytes[27..35].copy_from_slice(&NOW.to_be_bytes());
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// The format as its description has it, without a thought for speed: maximum timestamp delta, or nothing.
fn reference(payload: &[u8], count: i32) -> Option<i64> {
    let mut reader = Reader { bytes: payload, at: 0 };
    let mut max = None;
    for index in 0..i128::from(count) {
        let length = reader.varint(5)?;
        let end = reader.at.checked_add(usize::try_from(length).ok()?)?;
        if end > payload.len() {
            return None;
        }
        let mut body = Reader { bytes: &payload[..end], at: reader.at };
        body.skip(1)?;
        let timestamp_delta = i64::try_from(body.varint(10)?).ok()?;
        if body.varint(5)? != index {
            return None;
        }
        body.nullable()?;
        body.nullable()?;
        let headers = body.varint(5)?;
        if headers < 0 {
            return None;
        }
        for _ in 0..headers {
            body.nullable()?.then_some(())?;
            body.nullable()?;
        }
        if body.at != end {
            return None;
        }
        reader.at = end;
        max = max.max(Some(NOW.wrapping_add(timestamp_delta)));
    }
    (reader.at == payload.len()).then_some(max?.max(-1))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    /// A zigzag varint of 32 bits in up to five bytes, or of 64 in ten.
    fn varint(&mut self, longest: usize) -> Option<i128> {
        let mut value = 0u128;
        for index in 0..longest {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u128::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                let fits = value < 1 << (if longest == 5 { 32 } else { 64 });
                let half = (value >> 1) as i128;
                return fits.then_some(if value & 1 == 1 { -half - 1 } else { half });
            }
        }
        None
    }

    /// True when it is not null.
    fn nullable(&mut self) -> Option<bool> {
        match self.varint(5)? {
            -1 => Some(false),
            length => self.skip(usize::try_from(length).ok()?).map(|()| true),
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Set(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Cut(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    use any as a;
    let byte = || prop_oneof![any::<u8>(), prop::sample::select([0u8, 1, 2, 3, 0x7f, 0x80, 0xff].as_slice())];
    prop_oneof![
        (a::<prop::sample::Index>(), byte()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (a::<prop::sample::Index>(), 0..8u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (a::<prop::sample::Index>(), byte()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        a::<prop::sample::Index>().prop_map(Change::Remove),
        a::<prop::sample::Index>().prop_map(Change::Cut),
    ]
}

fn apply(bytes: &mut Bytes, change: &Change) {
    if bytes.is_empty() {
        return;
    }
    let size = bytes.len();
    match change {
        Change::Set(at, byte) => bytes[at.index(size)] = *byte,
        Change::Flip(at, bit) => bytes[at.index(size)] ^= 1 << bit,
        Change::Insert(at, byte) => bytes.insert(at.index(size), *byte),
        Change::Remove(at) => drop(bytes.remove(at.index(size))),
        Change::Cut(at) => bytes.truncate(at.index(size)),
    }
}

fn any_time() -> Rules {
    Rules { timestamp_before_max_ms: i64::MAX, timestamp_after_max_ms: i64::MAX, ..Rules::new(NOW) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_come_back_from_every_codec(codec in codec(), to in codec(), records in vec(given(), 1..30)) {
        let bytes = build(codec, &records);
        let info = validate(&bytes, &any_time(), &mut Scratch::new()).unwrap();
        prop_assert_eq!(info.record_count as usize, records.len());
        prop_assert_eq!(info.max_timestamp, records.iter().map(|record| record.timestamp).max().unwrap());
        prop_assert!(!info.max_timestamp_differs);
        let first = records.iter().position(|record| record.timestamp == info.max_timestamp);
        if info.max_timestamp != -1 {
            prop_assert_eq!(first, Some(info.offset_of_max_timestamp_delta as usize));
        }
        for bytes in [recompress(&bytes, to, None, &mut Compressor::new(), 1 << 20).unwrap(), bytes] {
            let batch = Batch::parse(&bytes).unwrap();
            prop_assert!(batch.is_crc_valid());
            let read = batch.records().unwrap();
            prop_assert_eq!(read.iter().count(), records.len());
            for (index, (read, given)) in read.iter().zip(&records).enumerate() {
                let read = read.unwrap();
                prop_assert_eq!((read.offset, read.timestamp), (index as i64, given.timestamp));
                prop_assert_eq!((read.key, read.value), (given.key.as_deref(), given.value.as_deref()));
                let headers: Vec<_> = read.headers.iter().map(|h| (h.key_str().into_owned(), h.value)).collect();
                let wanted: Vec<_> = given.headers.iter().map(|(key, value)| (key.clone(), value.as_deref())).collect();
                prop_assert_eq!(headers, wanted);
            }
        }
    }

    #[test]
    fn no_change_passes_with_a_wrong_checksum(
        codec in codec(), records in vec(given(), 1..8), changes in vec(change(), 1..4)
    ) {
        let sound = build(codec, &records);
        let mut bytes = sound.clone();
        changes.iter().for_each(|change| apply(&mut bytes, change));
        if validate(&bytes, &any_time(), &mut Scratch::new()).is_ok() {
            prop_assert_eq!(u32::from_be_bytes(bytes[17..21].try_into().unwrap()), slow_crc(&bytes[21..]));
            // Of what the checksum leaves out only the leader epoch is anybody's.
            prop_assert_eq!(&bytes[..12], &sound[..12]);
            prop_assert_eq!(&bytes[16..], &sound[16..]);
        }
    }

    #[test]
    fn validate_agrees_with_a_simple_reader(
        codec in codec(), records in vec(given(), 1..12), changes in vec(change(), 0..3), extra in -1..2i32
    ) {
        let sound = build(Codec::None, &records);
        let mut payload = sound[61..].to_vec();
        changes.iter().for_each(|change| apply(&mut payload, change));
        let count = (records.len() as i32 + if changes.len() == 2 { extra } else { 0 }).max(1);
        let bytes = around(codec, count, &payload);
        let ours = validate(&bytes, &any_time(), &mut Scratch::new());
        match reference(&payload, count) {
            Some(max) => prop_assert_eq!(ours.map(|info| info.max_timestamp), Ok(max)),
            None => prop_assert!(ours.is_err(), "{:?} accepted", payload),
        }
    }

    #[test]
    fn arbitrary_bytes_and_payloads_do_no_harm(codec in codec(), payload in vec(any::<u8>(), 0..300), count in 1..5i32) {
        for step in batches(&payload) {
            if let Ok(batch) = step && let Ok(records) = batch.records_within(1 << 20) {
                let _ = records.iter().count();
            }
        }
        let mut bytes = around(Codec::None, count, &payload);
        bytes[22] = codec.id();
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        let _ = validate(&bytes, &any_time(), &mut Scratch::new());
        if let Ok(records) = Batch::parse(&bytes).unwrap().records_within(1 << 20) {
            prop_assert!(records.size() <= 1 << 20);
            let _ = records.iter().count();
        }
    }

    #[test]
    fn broken_compression_does_no_harm(
        codec in codec(), records in vec(given(), 1..20), changes in vec(change(), 1..4)
    ) {
        let mut bytes = build(codec, &records);
        let mut payload = bytes.split_off(61);
        changes.iter().for_each(|change| apply(&mut payload, change));
        bytes.extend_from_slice(&payload);
        let length = bytes.len() as i32 - 12;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        // What validation lets in, a consumer can read.
        if let Ok(info) = validate(&bytes, &any_time(), &mut Scratch::new()) {
            let batch = Batch::parse(&bytes).unwrap();
            let records = batch.records().unwrap();
            let read: Result<Vec<_>, _> = records.iter().collect();
            prop_assert_eq!(read.map(|read| read.len()), Ok(info.record_count as usize));
        }
    }
}

/// Records of more than a window are stepped over while they are decompressed: with the same verdict.
#[test]
fn large_records_are_judged_alike_in_every_codec() {
    let large: Bytes = (0..140_000u32).map(|at| (at / 1000) as u8).collect();
    let mut builder = BatchBuilder::new(Codec::None);
    builder.append(NOW, Some(b"small"), None, &[]);
    builder.append(NOW + 70, Some(&large), Some(&large), &[("large", Some(&large)), ("null", None)]);
    builder.append(NOW + 1, None, Some(&large), &[]);
    let sound = builder.build(0, -1);
    let payload = &sound[61..];
    let last = &large[large.len() - 999..];
    // The bytes between what is large.
    let mut framing: Vec<usize> = (0..24).collect();
    for at in 0..payload.len() {
        if payload[..at].ends_with(last) && payload.get(at) != last.last() {
            framing.extend(at..(at + 24).min(payload.len()));
        }
    }
    assert!(framing.len() > 90, "{framing:?}");
    let mut scratch = Scratch::new();
    let mut accepted = 0;
    for &at in &framing {
        for new in [payload[at], payload[at] ^ 1, payload[at] ^ 0x80, payload[at].wrapping_add(2)] {
            let mut changed = payload.to_vec();
            changed[at] = new;
            let expected = reference(&changed, 3);
            accepted += u32::from(expected.is_some());
            let ours = validate(&around(Codec::Lz4, 3, &changed), &any_time(), &mut scratch);
            assert_eq!(ours.ok().map(|info| info.max_timestamp), expected, "byte {at} is {new}");
        }
    }
    assert!(accepted > framing.len() as u32);
    for codec in Codec::ALL {
        assert_eq!(validate(&around(codec, 3, payload), &any_time(), &mut scratch).unwrap().max_timestamp, NOW + 70);
        for cut in [payload.len() - 1, payload.len() / 2, 300_000, 100] {
            assert!(validate(&around(codec, 3, &payload[..cut]), &any_time(), &mut scratch).is_err());
        }
    }
}
