//! Gzip: one or more members, as `java.util.zip` writes and reads them (RFC 1952).

use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};

use super::{Failure, STEP_ROOM, Step};
use crate::records::window::Window;

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;
/// Checksum of the header, extra field, file name and comment may follow the fixed header.
const FLAG_HEADER_CRC: u8 = 0x02;
const FLAG_EXTRA: u8 = 0x04;
const FLAG_NAME: u8 = 0x08;
const FLAG_COMMENT: u8 = 0x10;
const FLAGS_RESERVED: u8 = 0xe0;
/// No flags, no time, no extra flags, unknown operating system.
const HEADER: [u8; 10] = [MAGIC[0], MAGIC[1], DEFLATE, 0, 0, 0, 0, 0, 0, 0xff];
const TRAILER_SIZE: usize = 8;

/// The inflater, kept between batches.
pub(super) struct State {
    inflate: Decompress,
    crc: Crc,
}

pub(super) struct Reader<'a> {
    state: &'a mut State,
    position: Position,
}

#[derive(PartialEq)]
enum Position {
    /// At a member's header; the payload may end here if this is not the first one.
    Header {
        first: bool,
    },
    Body,
    Trailer,
}

impl<'a> Reader<'a> {
    pub(super) fn new(state: &'a mut Option<State>) -> Reader<'a> {
        let state = state.get_or_insert_with(|| State { inflate: Decompress::new(false), crc: Crc::new() });
        Reader { state, position: Position::Header { first: true } }
    }

    pub(super) fn read(&mut self, payload: &mut &[u8], window: &mut Window, left: usize) -> Result<Step, Failure> {
        match self.position {
            Position::Header { first: false } if payload.is_empty() => Ok(Step::End),
            Position::Header { .. } => {
                *payload = skip_header(payload).ok_or("the gzip header is broken or cut off")?;
                self.state.inflate.reset(false);
                self.state.crc.reset();
                self.position = Position::Body;
                Ok(Step::Read(0))
            }
            Position::Body => self.inflate(payload, window, left),
            Position::Trailer => {
                let (trailer, rest) =
                    payload.split_first_chunk::<TRAILER_SIZE>().ok_or("the gzip trailer is cut off")?;
                let mut expected = [0; TRAILER_SIZE];
                expected[..4].copy_from_slice(&self.state.crc.sum().to_le_bytes());
                expected[4..].copy_from_slice(&self.state.crc.amount().to_le_bytes());
                if *trailer != expected {
                    return Err("the gzip trailer does not fit the data".into());
                }
                *payload = rest;
                self.position = Position::Header { first: false };
                Ok(Step::Read(0))
            }
        }
    }

    fn inflate(&mut self, payload: &mut &[u8], window: &mut Window, left: usize) -> Result<Step, Failure> {
        // One byte more than allowed shows that there is more.
        let room = window.room(STEP_ROOM.min(left.saturating_add(1)));
        let (read_before, written_before) = (self.state.inflate.total_in(), self.state.inflate.total_out());
        let status = self.state.inflate.decompress(payload, room, FlushDecompress::None);
        let status = status.map_err(|_| "the deflate stream is broken")?;
        let read = (self.state.inflate.total_in() - read_before) as usize;
        let written = (self.state.inflate.total_out() - written_before) as usize;
        self.state.crc.update(&room[..written]);
        window.filled(written);
        *payload = &payload[read..];
        match status {
            Status::StreamEnd => self.position = Position::Trailer,
            _ if read == 0 && written == 0 => return Err("the deflate stream is cut off".into()),
            _ => {}
        }
        // The end of a stream may take no byte of its own; the trailer will.
        match (written, &self.position) {
            (0, Position::Trailer) => self.read(payload, window, left),
            _ => Ok(Step::Read(written)),
        }
    }
}

/// What follows the header at the front of `bytes`.
fn skip_header(bytes: &[u8]) -> Option<&[u8]> {
    let (header, mut rest) = bytes.split_first_chunk::<10>()?;
    let flags = header[3];
    if header[..2] != MAGIC || header[2] != DEFLATE || flags & FLAGS_RESERVED != 0 {
        return None;
    }
    if flags & FLAG_EXTRA != 0 {
        let (length, after) = rest.split_first_chunk::<2>()?;
        rest = after.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            let end = rest.iter().position(|&byte| byte == 0)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & FLAG_HEADER_CRC != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

/// The deflater and the level that it was made for.
pub(super) struct Writer {
    level: Compression,
    deflate: Compress,
}

/// Appends `payload` as one member. Level -1 is zlib's default.
pub(super) fn write(writer: &mut Option<Writer>, level: i32, payload: &[u8], out: &mut Vec<u8>) {
    let level = match level {
        -1 => Compression::default(),
        level => Compression::new(level.clamp(1, 9) as u32),
    };
    let writer = match writer {
        Some(writer) if writer.level == level => writer,
        _ => writer.insert(Writer { level, deflate: Compress::new(level, false) }),
    };
    writer.deflate.reset();
    out.extend_from_slice(&HEADER);
    let mut rest = payload;
    loop {
        // Deflate's worst case is a few bytes for each 16 KiB; a second round takes what may still not fit.
        out.reserve(rest.len() + rest.len() / 1000 + 64);
        let before = writer.deflate.total_in();
        let status = writer.deflate.compress_vec(rest, out, FlushCompress::Finish);
        rest = &rest[(writer.deflate.total_in() - before) as usize..];
        match status {
            Ok(Status::StreamEnd) => break,
            Ok(_) => {}
            Err(error) => panic!("deflate failed on a payload in memory: {error}"),
        }
    }
    let mut crc = Crc::new();
    crc.update(payload);
    out.extend_from_slice(&crc.sum().to_le_bytes());
    out.extend_from_slice(&crc.amount().to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Codec;
    use crate::records::codecs::decompress;

    fn member(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut None, -1, payload, &mut out);
        out
    }

    #[test]
    fn several_members_are_one_payload() {
        let bytes = [member(b"one, "), member(b""), member(b"two")].concat();
        assert_eq!(decompress(Codec::Gzip, &bytes, 100).as_deref(), Ok(b"one, two".as_slice()));
    }

    #[test]
    fn optional_header_fields_are_skipped() {
        let plain = member(b"payload");
        let mut bytes = plain[..10].to_vec();
        bytes[3] = FLAG_EXTRA | FLAG_NAME | FLAG_COMMENT | FLAG_HEADER_CRC;
        bytes.extend_from_slice(b"\x03\x00abcname\0comment\0\x12\x34");
        bytes.extend_from_slice(&plain[10..]);
        assert_eq!(decompress(Codec::Gzip, &bytes, 100).as_deref(), Ok(b"payload".as_slice()));
        for cut in 10..33 {
            assert!(decompress(Codec::Gzip, &bytes[..cut], 100).is_err());
        }
    }

    #[test]
    fn a_wrong_checksum_or_size_is_refused() {
        let sound = member(b"payload");
        for back in 1..=8 {
            let mut bytes = sound.clone();
            let at = bytes.len() - back;
            bytes[at] ^= 1;
            assert!(decompress(Codec::Gzip, &bytes, 100).is_err(), "{back}");
        }
    }
}
