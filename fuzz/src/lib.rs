//! What the fuzz targets do with their input. Each function panics when something that must hold does not.

use std::{cell::RefCell, fmt::Debug};

use wire::{
    ApiKey,
    codec::{Decoder, Encoder, Message},
    header::parse_request_header,
    messages::testing::{self, Visitor},
    records::{Batch, Codec, Compressor, HEADER_SIZE, Rules, Scratch, batches as walk, recompress, stamp, validate},
};

/// A request's frame: header and body.
pub fn request(frame: &[u8]) {
    let Ok((header, body)) = parse_request_header(frame) else { return };
    if let Ok(api) = ApiKey::try_from(header.key) {
        visit(&format!("{api}Request"), header.version, &frame[body..]);
    }
}

/// An API key and a version, two bytes each, and a response's body.
pub fn response(input: &[u8]) {
    let mut d = Decoder::new(input);
    let (Ok(key), Ok(version)) = (d.i16(), d.i16()) else { return };
    if let Ok(api) = ApiKey::try_from(key) {
        visit(&format!("{api}Response"), version, d.rest());
    }
}

fn visit(name: &str, version: i16, bytes: &[u8]) {
    testing::visit(name, bytes, &mut Check { version, written: None });
}

struct Check<'t> {
    version: i16,
    /// What reading and writing again has to give.
    written: Option<&'t [u8]>,
}

impl Visitor for Check<'_> {
    fn visit<'a, M: Message<'a> + PartialEq + Debug + Default>(&mut self, bytes: &'a [u8]) {
        let Ok(message) = M::decode(&mut Decoder::new(bytes), self.version) else {
            assert!(self.written.is_none(), "{} cannot read what it wrote", M::NAME);
            return;
        };
        let mut e = Encoder::new();
        // A string in which bytes that are not UTF-8 were replaced can be longer than strings may be.
        let Ok(()) = message.encode(&mut e, self.version) else { return };
        assert_eq!(message.size(self.version), Ok(e.len()), "{}", M::NAME);
        match self.written {
            Some(written) => assert_eq!(e.bytes(), written, "{}", M::NAME),
            None => {
                let again = Check { version: self.version, written: Some(e.bytes()) };
                testing::visit(M::NAME, e.bytes(), &mut { again });
            }
        }
        for version in M::VERSIONS {
            let size = message.size(version);
            assert_eq!(message.to_bytes(version).map(|bytes| bytes.len()), size, "{} {version}", M::NAME);
        }
    }
}

/// Record batches, as they are and with length and checksum put right.
pub fn batches(input: &[u8]) {
    one(input);
    if input.len() >= HEADER_SIZE {
        let mut mended = input.to_vec();
        let length = (mended.len() - 12) as u32;
        mended[8..12].copy_from_slice(&length.to_be_bytes());
        mended[16] = 2;
        let crc = crc32c::crc32c(&mended[21..]);
        mended[17..21].copy_from_slice(&crc.to_be_bytes());
        one(&mended);
    }
}

/// As the fuzzer's memory limit allows.
const DECOMPRESSED_MAX: usize = 64 << 20;

fn one(bytes: &[u8]) {
    thread_local!(static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new()));
    for batch in walk(bytes) {
        let Ok(batch) = batch else { break };
        read(&batch);
    }
    let rules = Rules { max_decompressed_bytes: DECOMPRESSED_MAX, ..Rules::new(1_700_000_000_000) };
    let accepted = SCRATCH.with(|scratch| {
        let strict = validate(bytes, &rules, &mut scratch.borrow_mut()).is_ok();
        let lenient = Rules { allow_control: true, timestamp_after_max_ms: i64::MAX, ..rules };
        let lenient = validate(bytes, &lenient, &mut scratch.borrow_mut());
        assert!(lenient.is_ok() || !strict, "what the strict rules accept the lenient ones do too");
        lenient.ok()
    });
    let Some(info) = accepted else { return };
    assert_eq!(info.size, bytes.len());
    let batch = Batch::parse(bytes).expect("an accepted batch");
    assert!(batch.is_crc_valid());
    assert_eq!(read(&batch), Some(info.record_count), "all records of an accepted batch can be read");
    let mut stamped = bytes.to_vec();
    stamp(&mut stamped, 12_345, 6);
    assert!(Batch::parse(&stamped).is_ok_and(|batch| batch.is_crc_valid() && batch.base_offset() == 12_345));
    if let Ok(plain) = recompress(bytes, Codec::None, None, &mut Compressor::default(), DECOMPRESSED_MAX) {
        let plain = Batch::parse(&plain).expect("a batch that was written here");
        assert_eq!(read(&plain), Some(info.record_count));
    }
}

/// Reads all records; how many there were, unless one was damaged.
fn read(batch: &Batch<'_>) -> Option<i32> {
    let records = batch.records_within(DECOMPRESSED_MAX).ok()?;
    let mut count = 0;
    for record in &records {
        let record = record.ok()?;
        assert_eq!(record.headers.iter().count(), record.headers.len());
        count += 1;
    }
    Some(count)
}
