//! Zstd: one or more frames (RFC 8878).

use zstd::stream::raw::{DParameter, Decoder, Operation};

use super::{Failure, STEP_ROOM, Step};
use crate::records::window::Window;

/// Frames may look back this far, as a power of two: what zstd-jni allows, which is what level 22 uses. The memory is
/// reserved by the library but touched only as bytes are written to it.
const WINDOW_LOG_MAX: u32 = 27;

/// The decompression context, kept between batches.
pub(super) struct State(Decoder<'static>);

pub(super) struct Reader<'a> {
    state: &'a mut Option<State>,
    /// Whether a frame has ended and no other has begun.
    between_frames: bool,
    begun: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(state: &'a mut Option<State>) -> Reader<'a> {
        Reader { state, between_frames: false, begun: false }
    }

    pub(super) fn read(&mut self, payload: &mut &[u8], window: &mut Window, left: usize) -> Result<Step, Failure> {
        const BROKEN: &str = "the zstd frame is broken";
        if self.between_frames && payload.is_empty() {
            return Ok(Step::End);
        }
        if !self.begun {
            match self.state {
                Some(State(decoder)) => decoder.reinit().map_err(|_| BROKEN)?,
                None => *self.state = Some(State(new_decoder().ok_or("no memory for a zstd context")?)),
            }
            self.begun = true;
        }
        let Some(State(decoder)) = self.state else { return Err(BROKEN.into()) };
        // One byte more than allowed shows that there is more.
        let room = window.room(STEP_ROOM.min(left.saturating_add(1)));
        let status = decoder.run_on_buffers(payload, room).map_err(|_| BROKEN)?;
        window.filled(status.bytes_written);
        *payload = &payload[status.bytes_read..];
        self.between_frames = status.remaining == 0;
        if status.bytes_written == 0 && status.bytes_read == 0 {
            return if self.between_frames { Ok(Step::End) } else { Err("the zstd frame is cut off".into()) };
        }
        Ok(Step::Read(status.bytes_written))
    }
}

fn new_decoder() -> Option<Decoder<'static>> {
    let mut decoder = Decoder::new().ok()?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).ok()?;
    Some(decoder)
}

/// The compression context and the level that it is set to.
pub(super) struct Writer {
    level: i32,
    compressor: zstd::bulk::Compressor<'static>,
}

/// Appends `payload` as one frame that says its content's size.
pub(super) fn write(writer: &mut Option<Writer>, level: i32, payload: &[u8], out: &mut Vec<u8>) {
    let range = zstd::compression_level_range();
    let level = level.clamp(*range.start(), *range.end());
    let written = try_write(writer, level, payload, out);
    if let Err(error) = written {
        panic!("zstd failed on a payload in memory: {error}");
    }
}

fn try_write(writer: &mut Option<Writer>, level: i32, payload: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    let writer = match writer {
        Some(writer) => writer,
        None => writer.insert(Writer { level, compressor: zstd::bulk::Compressor::new(level)? }),
    };
    if writer.level != level {
        writer.compressor.set_compression_level(level)?;
        writer.level = level;
    }
    let start = out.len();
    out.resize(start + zstd::zstd_safe::compress_bound(payload.len()), 0);
    let written = writer.compressor.compress_to_buffer(payload, &mut out[start..])?;
    out.truncate(start + written);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::codecs::decompress;
    use crate::records::{BatchError, Codec};
    use std::io::Write as _;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut None, 3, payload, &mut out);
        out
    }

    #[test]
    fn several_frames_and_skippable_ones_are_one_payload() {
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        let bytes = [frame(b"one, "), skippable.to_vec(), frame(b""), frame(b"two")].concat();
        assert_eq!(decompress(Codec::Zstd, &bytes, 100).as_deref(), Ok(b"one, two".as_slice()));
    }

    #[test]
    fn streamed_frames_of_the_highest_level_are_read() {
        // Without a content size, as zstd-jni's stream writes them: the window is the level's full 128 MiB.
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 22).unwrap();
        encoder.write_all(&[5; 300_000]).unwrap();
        let bytes = encoder.finish().unwrap();
        assert_eq!(decompress(Codec::Zstd, &bytes, 300_000), Ok(vec![5; 300_000]));
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bytes = frame(&vec![0; 64 << 20]);
        assert!(bytes.len() < 10_000);
        assert_eq!(decompress(Codec::Zstd, &bytes, 1 << 20), Err(BatchError::TooLarge { limit: 1 << 20 }));
    }
}
