//! Lz4 frames as Kafka knows them: independent blocks, and the header checksum over the frame descriptor alone (only
//! message format 0 had it wrong). Java's client reads one frame and no linked blocks, so neither do we: a batch that we
//! accepted beyond that could not be consumed.

use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};

use super::xxhash::xxh32;
use super::{Failure, Step};
use crate::records::window::Window;

const MAGIC: [u8; 4] = 0x184d_2204u32.to_le_bytes();
const VERSION: u8 = 0b0100_0000;
const VERSION_MASK: u8 = 0b1100_0000;
const FLAG_INDEPENDENT: u8 = 0b0010_0000;
const FLAG_BLOCK_CHECKSUM: u8 = 0b0001_0000;
const FLAG_CONTENT_SIZE: u8 = 0b0000_1000;
const FLAG_CONTENT_CHECKSUM: u8 = 0b0000_0100;
/// A reserved bit, and the one that says a dictionary's id follows.
const FLAGS_UNSUPPORTED: u8 = 0b0000_0011;
/// Blocks of 64 KiB.
const BLOCK_64K: u8 = 4 << 4;
const BLOCK_SIZE: usize = 64 << 10;
/// Set in a block's length when the block is stored as it is.
const STORED: u32 = 1 << 31;
/// The most that a byte of an lz4 block gives.
const MAX_RATIO: usize = 255;

pub(super) struct Reader {
    position: Position,
}

#[derive(Clone, Copy)]
enum Position {
    Header,
    Block { flags: u8, block_max: usize },
    End,
}

impl Reader {
    pub(super) fn new() -> Reader {
        Reader { position: Position::Header }
    }

    pub(super) fn read(&mut self, payload: &mut &[u8], window: &mut Window, left: usize) -> Result<Step, Failure> {
        match self.position {
            Position::Header => {
                self.position = header(payload)?;
                Ok(Step::Read(0))
            }
            Position::Block { flags, block_max } => {
                let length = take_u32(payload).ok_or("an lz4 block length is cut off")?;
                if length == 0 {
                    if flags & FLAG_CONTENT_CHECKSUM != 0 {
                        // Java's client does not look at it either: the batch has a checksum of its own.
                        take_u32(payload).ok_or("the lz4 content checksum is cut off")?;
                    }
                    self.position = Position::End;
                    return Ok(Step::Read(0));
                }
                let stored = length & STORED != 0;
                let length = (length & !STORED) as usize;
                if length > block_max {
                    return Err("an lz4 block is larger than its frame allows".into());
                }
                let (block, rest) = payload.split_at_checked(length).ok_or("an lz4 block is cut off")?;
                *payload = rest;
                if flags & FLAG_BLOCK_CHECKSUM != 0 {
                    let checksum = take_u32(payload).ok_or("an lz4 block checksum is cut off")?;
                    if checksum != xxh32(block) {
                        return Err("an lz4 block has a wrong checksum".into());
                    }
                }
                if stored { store(block, window, left) } else { decompress(block, block_max, window, left) }
            }
            Position::End if payload.is_empty() => Ok(Step::End),
            Position::End => Err("bytes follow the lz4 frame".into()),
        }
    }
}

fn header(payload: &mut &[u8]) -> Result<Position, Failure> {
    const CUT_OFF: &str = "the lz4 frame header is cut off";
    let bytes = *payload;
    let (&[m0, m1, m2, m3, flags, block], _) = bytes.split_first_chunk::<6>().ok_or(CUT_OFF)?;
    if [m0, m1, m2, m3] != MAGIC {
        return Err("it does not begin as an lz4 frame".into());
    }
    if flags & VERSION_MASK != VERSION || flags & FLAGS_UNSUPPORTED != 0 {
        return Err("the lz4 frame has an unknown version or flag".into());
    }
    if flags & FLAG_INDEPENDENT == 0 {
        return Err("lz4 frames of linked blocks are not supported".into());
    }
    let block_max = match block >> 4 {
        4 => BLOCK_SIZE,
        5 => 256 << 10,
        6 => 1 << 20,
        7 => 4 << 20,
        _ => return Err("the lz4 frame has an unknown block size".into()),
    };
    if block & 0x0f != 0 {
        return Err("the lz4 frame has an unknown version or flag".into());
    }
    let descriptor_end = if flags & FLAG_CONTENT_SIZE != 0 { 14 } else { 6 };
    let descriptor = bytes.get(4..descriptor_end).ok_or(CUT_OFF)?;
    let checksum = *bytes.get(descriptor_end).ok_or(CUT_OFF)?;
    if checksum != (xxh32(descriptor) >> 8) as u8 {
        return Err("the lz4 frame header has a wrong checksum".into());
    }
    *payload = &bytes[descriptor_end + 1..];
    Ok(Position::Block { flags, block_max })
}

fn take_u32(payload: &mut &[u8]) -> Option<u32> {
    let (bytes, rest) = payload.split_first_chunk::<4>()?;
    *payload = rest;
    Some(u32::from_le_bytes(*bytes))
}

fn store(block: &[u8], window: &mut Window, left: usize) -> Result<Step, Failure> {
    if block.len() > left {
        return Err(Failure::TooLarge);
    }
    window.room(block.len())[..block.len()].copy_from_slice(block);
    window.filled(block.len());
    Ok(Step::Read(block.len()))
}

fn decompress(block: &[u8], block_max: usize, window: &mut Window, left: usize) -> Result<Step, Failure> {
    let size_max = block_max.min(block.len().saturating_mul(MAX_RATIO));
    let room = &mut window.room(size_max)[..size_max];
    let written = decompress_into(block, room).map_err(|_| "an lz4 block is broken")?;
    if written > left {
        return Err(Failure::TooLarge);
    }
    window.filled(written);
    Ok(Step::Read(written))
}

/// Appends `payload` as one frame of independent 64 KiB blocks without checksums, as Java's client does.
pub(super) fn write(table: &mut CompressTable, payload: &[u8], out: &mut Vec<u8>) {
    let descriptor = [VERSION | FLAG_INDEPENDENT, BLOCK_64K];
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&descriptor);
    out.push((xxh32(&descriptor) >> 8) as u8);
    for block in payload.chunks(BLOCK_SIZE) {
        let length_at = out.len();
        let block_at = length_at + 4;
        out.resize(block_at + get_maximum_output_size(block.len()), 0);
        let written = match compress_into_with_table(block, &mut out[block_at..], table) {
            Ok(written) => written,
            Err(error) => panic!("lz4 failed on a block in memory: {error}"),
        };
        let length = if written < block.len() {
            out.truncate(block_at + written);
            written as u32
        } else {
            out.truncate(block_at);
            out.extend_from_slice(block);
            block.len() as u32 | STORED
        };
        out[length_at..block_at].copy_from_slice(&length.to_le_bytes());
    }
    out.extend_from_slice(&0u32.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Codec;
    use crate::records::codecs::decompress as read;
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    use std::io::{Read as _, Write as _};

    fn payload() -> Vec<u8> {
        (0..700_000u32)
            .map(|at| if at % 300_000 < 150_000 { (at % 91) as u8 } else { (at.wrapping_mul(at) >> 7) as u8 })
            .collect()
    }

    #[test]
    fn frames_with_every_option_are_read() {
        let payload = payload();
        for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
            for checksums in [false, true] {
                for content_size in [None, Some(payload.len() as u64)] {
                    let info = FrameInfo::new()
                        .block_mode(BlockMode::Independent)
                        .block_size(size)
                        .block_checksums(checksums)
                        .content_checksum(checksums)
                        .content_size(content_size);
                    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                    encoder.write_all(&payload).unwrap();
                    let bytes = encoder.finish().unwrap();
                    assert_eq!(read(Codec::Lz4, &bytes, payload.len()).as_ref(), Ok(&payload));
                }
            }
        }
    }

    #[test]
    fn what_is_written_is_a_standard_frame_with_javas_header() {
        let payload = payload();
        let mut bytes = Vec::new();
        write(&mut CompressTable::large(), &payload, &mut bytes);
        assert_eq!(bytes[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
        let mut back = Vec::new();
        lz4_flex::frame::FrameDecoder::new(bytes.as_slice()).read_to_end(&mut back).unwrap();
        assert_eq!(back, payload);
    }

    #[test]
    fn linked_blocks_wrong_checksums_and_second_frames_are_refused() {
        let payload = payload();
        let info = FrameInfo::new().block_mode(BlockMode::Linked).block_size(BlockSize::Max64KB);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&payload).unwrap();
        assert!(read(Codec::Lz4, &encoder.finish().unwrap(), payload.len()).is_err());

        let mut sound = Vec::new();
        write(&mut CompressTable::large(), b"payload", &mut sound);
        assert!(read(Codec::Lz4, &sound, 100).is_ok());
        for at in 0..7 {
            let mut bytes = sound.clone();
            bytes[at] ^= 0x10;
            assert!(read(Codec::Lz4, &bytes, 100).is_err(), "{at}");
        }
        assert!(read(Codec::Lz4, &[sound.clone(), sound].concat(), 100).is_err());
    }
}
