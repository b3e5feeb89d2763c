//! The five codecs with the framings that Kafka's clients write: gzip members, snappy in xerial's framing or raw, lz4
//! frames of independent blocks, zstd frames. Reading streams through a window and stops at a limit; writing takes the
//! whole payload at once, for a batch has been gathered when it is compressed.

mod gzip;
mod lz4;
mod snappy;
mod xxhash;
mod zstd;

use super::compression::Codec;
use super::error::BatchError;
use super::window::Window;

/// Memory that decompression works in, to be kept and lent out again: one for each worker that validates batches.
/// Holds a window (64 KiB, more while a record or block needs it) and a codec's state once that codec was met.
#[derive(Default)]
pub struct Scratch {
    window: Window,
    states: States,
}

impl Scratch {
    pub fn new() -> Scratch {
        Scratch::default()
    }

    /// Forgets what was decompressed, and the memory that only an unusually large batch needs.
    pub(super) fn trim(&mut self) {
        if self.window.written() > Scratch::ZSTD_KEPT {
            self.states.zstd = None;
        }
        self.window.clear();
    }

    /// A zstd context may have grown to the size of what it wrote last. Up to here it is kept.
    const ZSTD_KEPT: usize = 8 << 20;

    /// Begins to decompress `payload`, of which at most `limit` bytes may come out.
    pub(super) fn stream<'a>(&'a mut self, codec: Codec, payload: &'a [u8], limit: usize) -> Stream<'a> {
        self.trim();
        Stream { codec, payload, window: &mut self.window, reader: self.states.reader(codec), limit, left: limit }
    }
}

impl Scratch {
    /// All of `payload`, decompressed; never more than `limit` bytes.
    pub(super) fn decompress(&mut self, codec: Codec, payload: &[u8], limit: usize) -> Result<&[u8], BatchError> {
        let mut stream = self.stream(codec, payload, limit);
        while stream.fill()? {}
        Ok(self.window.unread())
    }
}

/// Decompression contexts that are worth keeping.
#[derive(Default)]
struct States {
    gzip: Option<gzip::State>,
    zstd: Option<zstd::State>,
}

impl States {
    fn reader(&mut self, codec: Codec) -> Reader<'_> {
        match codec {
            Codec::None => Reader::None,
            Codec::Gzip => Reader::Gzip(gzip::Reader::new(&mut self.gzip)),
            Codec::Snappy => Reader::Snappy(snappy::Reader::new()),
            Codec::Lz4 => Reader::Lz4(lz4::Reader::new()),
            Codec::Zstd => Reader::Zstd(zstd::Reader::new(&mut self.zstd)),
        }
    }
}

enum Reader<'a> {
    None,
    Gzip(gzip::Reader<'a>),
    Snappy(snappy::Reader),
    Lz4(lz4::Reader),
    Zstd(zstd::Reader<'a>),
}

/// Why a payload cannot be read on.
enum Failure {
    /// It is not what the codec writes.
    Malformed(&'static str),
    /// More bytes would come out than are allowed.
    TooLarge,
}

impl From<&'static str> for Failure {
    fn from(reason: &'static str) -> Failure {
        Failure::Malformed(reason)
    }
}

/// A payload that is being decompressed into a window.
pub(super) struct Stream<'a> {
    codec: Codec,
    /// Compressed bytes that are still to be read.
    payload: &'a [u8],
    window: &'a mut Window,
    reader: Reader<'a>,
    limit: usize,
    /// How much of the limit is left.
    left: usize,
}

impl Stream<'_> {
    /// Bytes that were decompressed and not yet consumed.
    #[inline(always)]
    pub(super) fn unread(&self) -> &[u8] {
        self.window.unread()
    }

    #[inline(always)]
    pub(super) fn consume(&mut self, count: usize) {
        self.window.consume(count);
    }

    /// Decompresses some more; false when everything has been read. What was unread stays in front of it.
    pub(super) fn fill(&mut self) -> Result<bool, BatchError> {
        loop {
            let payload_before = self.payload.len();
            let step = match &mut self.reader {
                Reader::None => copy(&mut self.payload, self.window, self.left),
                Reader::Gzip(reader) => reader.read(&mut self.payload, self.window, self.left),
                Reader::Snappy(reader) => reader.read(&mut self.payload, self.window, self.left),
                Reader::Lz4(reader) => reader.read(&mut self.payload, self.window, self.left),
                Reader::Zstd(reader) => reader.read(&mut self.payload, self.window, self.left),
            };
            match step {
                Ok(Step::End) => return Ok(false),
                Ok(Step::Read(count)) if count > self.left => return Err(BatchError::TooLarge { limit: self.limit }),
                // Headers and empty blocks give nothing, but they take something.
                Ok(Step::Read(0)) if self.payload.len() < payload_before => {}
                Ok(Step::Read(0)) => {
                    return Err(BatchError::Compression { codec: self.codec, reason: "it does not go on" });
                }
                Ok(Step::Read(count)) => {
                    self.left -= count;
                    return Ok(true);
                }
                Err(Failure::TooLarge) => return Err(BatchError::TooLarge { limit: self.limit }),
                Err(Failure::Malformed(reason)) => return Err(BatchError::Compression { codec: self.codec, reason }),
            }
        }
    }
}

/// What one step of a reader came to.
enum Step {
    /// So many bytes were added to the window; none, if it was framing.
    Read(usize),
    /// The payload has been read, to its end and as its framing promised.
    End,
}

/// Room that is asked for where a codec does not say how much a step yields.
const STEP_ROOM: usize = 64 << 10;

fn copy(payload: &mut &[u8], window: &mut Window, left: usize) -> Result<Step, Failure> {
    if payload.is_empty() {
        return Ok(Step::End);
    }
    if payload.len() > left {
        return Err(Failure::TooLarge);
    }
    let count = payload.len().min(STEP_ROOM);
    let (now, later) = payload.split_at(count);
    window.room(count)[..count].copy_from_slice(now);
    window.filled(count);
    *payload = later;
    Ok(Step::Read(count))
}

/// Decompresses all of `payload`, which need not be a batch's but is framed like one; never more than `limit` bytes.
///
/// # Errors
/// It is not what the codec writes, or too much comes out.
pub fn decompress(codec: Codec, payload: &[u8], limit: usize) -> Result<Vec<u8>, BatchError> {
    let mut scratch = Scratch::new();
    scratch.decompress(codec, payload, limit)?;
    Ok(scratch.window.into_bytes())
}

/// Compresses payloads; keeps the codecs' tables from one batch to the next.
#[derive(Default)]
pub struct Compressor {
    gzip: Option<gzip::Writer>,
    snappy: Option<snap::raw::Encoder>,
    lz4: Option<lz4_flex::block::CompressTable>,
    zstd: Option<zstd::Writer>,
}

impl Compressor {
    pub fn new() -> Compressor {
        Compressor::default()
    }

    /// Appends `payload`, compressed, to `out`. A level outside of the codec's range is brought into it; `None` is
    /// Kafka's default. Snappy has no levels, and for lz4 they make no difference.
    pub fn compress(&mut self, codec: Codec, level: Option<i32>, payload: &[u8], out: &mut Vec<u8>) {
        let level = level.or(codec.default_level()).unwrap_or_default();
        match codec {
            Codec::None => out.extend_from_slice(payload),
            Codec::Gzip => gzip::write(&mut self.gzip, level, payload, out),
            Codec::Snappy => snappy::write(self.snappy.get_or_insert_with(snap::raw::Encoder::new), payload, out),
            Codec::Lz4 => lz4::write(self.lz4.get_or_insert_with(lz4_flex::block::CompressTable::large), payload, out),
            Codec::Zstd => zstd::write(&mut self.zstd, level, payload, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(size: usize) -> Vec<u8> {
        // Half repetitive, half noise, so that blocks are stored both ways.
        let mut noise = 1u64;
        (0..size)
            .map(|at| {
                noise = noise.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                if at / 40_000 % 2 == 0 { (at % 61) as u8 } else { (noise >> 56) as u8 }
            })
            .collect()
    }

    #[test]
    fn payloads_of_every_size_come_back_from_every_codec() {
        let mut compressor = Compressor::new();
        for codec in Codec::ALL {
            for size in [0, 1, 2, 7, 100, 32_767, 32_768, 32_769, 65_536, 65_537, 300_000, 2_000_000] {
                let payload = sample(size);
                let mut out = b"kept".to_vec();
                compressor.compress(codec, None, &payload, &mut out);
                assert_eq!(&out[..4], b"kept");
                assert_eq!(decompress(codec, &out[4..], size).as_deref(), Ok(payload.as_slice()), "{codec} {size}");
                if size > 0 {
                    let refused = decompress(codec, &out[4..], size - 1);
                    assert_eq!(refused, Err(BatchError::TooLarge { limit: size - 1 }), "{codec} {size}");
                }
            }
        }
    }

    #[test]
    fn every_level_writes_what_can_be_read() {
        let payload = sample(100_000);
        let mut compressor = Compressor::new();
        for codec in Codec::ALL {
            for level in [-200_000, -131_072, -5, -1, 0, 1, 5, 9, 12, 17, 19, 22, 100] {
                let mut out = Vec::new();
                compressor.compress(codec, Some(level), &payload, &mut out);
                assert_eq!(
                    decompress(codec, &out, payload.len()).as_deref(),
                    Ok(payload.as_slice()),
                    "{codec} {level}"
                );
            }
        }
    }

    #[test]
    fn a_payload_that_ends_early_or_goes_on_is_refused() {
        let payload = sample(150_000);
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let mut out = Vec::new();
            Compressor::new().compress(codec, None, &payload, &mut out);
            for cut in [0, 1, 3, 5, 10, 19, 20, 21, 100, out.len() / 2, out.len() - 5, out.len() - 1] {
                let read = decompress(codec, &out[..cut], usize::MAX);
                // Some cuts leave a shorter, sound payload: a snappy block less, or no block at all.
                assert_ne!(read.as_deref(), Ok(payload.as_slice()), "{codec} {cut}");
            }
            out.push(0);
            let read = decompress(codec, &out, usize::MAX);
            assert!(matches!(read, Err(BatchError::Compression { .. })), "{codec} {read:?}");
        }
    }
}
