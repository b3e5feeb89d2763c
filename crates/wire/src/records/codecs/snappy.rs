//! Snappy in the framing of xerial's snappy-java: a 16-byte header, then blocks of a big-endian length and raw snappy.
//! Some clients (librdkafka) send one raw snappy block without any framing, which Kafka reads as well.

use super::{Failure, Step};
use crate::records::window::Window;

/// A marker byte, "SNAPPY" and a zero.
const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const HEADER_SIZE: usize = 16;
/// Version and lowest version that can read it, as snappy-java writes them.
const VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
/// What snappy-java's stream puts in a block.
const BLOCK_SIZE: usize = 32 << 10;
/// The most that a byte of snappy gives is 64 bytes out of 3; a block that claims more is broken.
const MAX_RATIO: usize = 22;

pub(super) struct Reader {
    framing: Framing,
}

enum Framing {
    /// Nothing was read yet.
    Unknown,
    Xerial,
    /// One raw block, already read.
    Raw,
}

impl Reader {
    pub(super) fn new() -> Reader {
        Reader { framing: Framing::Unknown }
    }

    pub(super) fn read(&mut self, payload: &mut &[u8], window: &mut Window, left: usize) -> Result<Step, Failure> {
        match self.framing {
            Framing::Unknown if payload.starts_with(&MAGIC) => {
                *payload = payload.get(HEADER_SIZE..).ok_or("the snappy stream header is cut off")?;
                self.framing = Framing::Xerial;
                Ok(Step::Read(0))
            }
            Framing::Unknown => {
                self.framing = Framing::Raw;
                block(std::mem::take(payload), window, left)
            }
            Framing::Raw => Ok(Step::End),
            Framing::Xerial if payload.is_empty() => Ok(Step::End),
            // Streams that were put one after the other have a header each.
            Framing::Xerial if payload.starts_with(&MAGIC) => {
                self.framing = Framing::Unknown;
                self.read(payload, window, left)
            }
            Framing::Xerial => {
                let (length, rest) = payload.split_first_chunk::<4>().ok_or("a snappy block length is cut off")?;
                let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
                let bytes = rest.get(..length).ok_or("a snappy block is cut off")?;
                *payload = &rest[length..];
                block(bytes, window, left)
            }
        }
    }
}

fn block(bytes: &[u8], window: &mut Window, left: usize) -> Result<Step, Failure> {
    let size = snap::raw::decompress_len(bytes).map_err(|_| "a snappy block has no valid length")?;
    if size > bytes.len().saturating_mul(MAX_RATIO) {
        return Err("a snappy block claims more than it can hold".into());
    }
    if size > left {
        return Err(Failure::TooLarge);
    }
    let room = &mut window.room(size)[..size];
    let written = snap::raw::Decoder::new().decompress(bytes, room).map_err(|_| "a snappy block is broken")?;
    window.filled(written);
    Ok(Step::Read(written))
}

/// Appends `payload` as a xerial stream.
pub(super) fn write(encoder: &mut snap::raw::Encoder, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSIONS);
    for block in payload.chunks(BLOCK_SIZE) {
        let length_at = out.len();
        let block_at = length_at + 4;
        out.resize(block_at + snap::raw::max_compress_len(block.len()), 0);
        let written = match encoder.compress(block, &mut out[block_at..]) {
            Ok(written) => written,
            Err(error) => panic!("snappy failed on a block in memory: {error}"),
        };
        out.truncate(block_at + written);
        out[length_at..block_at].copy_from_slice(&(written as u32).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::codecs::decompress;
    use crate::records::{BatchError, Codec};

    fn stream(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut snap::raw::Encoder::new(), payload, &mut out);
        out
    }

    #[test]
    fn a_raw_block_is_read() {
        let payload = vec![7; 100_000];
        let raw = snap::raw::Encoder::new().compress_vec(&payload).unwrap();
        assert_eq!(decompress(Codec::Snappy, &raw, 100_000), Ok(payload));
        assert_eq!(decompress(Codec::Snappy, &raw, 99_999), Err(BatchError::TooLarge { limit: 99_999 }));
    }

    #[test]
    fn streams_one_after_the_other_are_one_payload() {
        let bytes = [stream(b"one, "), stream(b"two")].concat();
        assert_eq!(decompress(Codec::Snappy, &bytes, 100).as_deref(), Ok(b"one, two".as_slice()));
    }

    #[test]
    fn a_claimed_size_reserves_nothing() {
        // A raw block that claims 4 GiB less one byte.
        let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x01];
        let read = decompress(Codec::Snappy, &claim, usize::MAX);
        assert!(matches!(read, Err(BatchError::Compression { .. })), "{read:?}");
        let mut framed = stream(b"");
        framed.extend_from_slice(&7u32.to_be_bytes());
        framed.extend_from_slice(&claim);
        let read = decompress(Codec::Snappy, &framed, usize::MAX);
        assert!(matches!(read, Err(BatchError::Compression { .. })), "{read:?}");
    }
}
