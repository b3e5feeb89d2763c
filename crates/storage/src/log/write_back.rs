//! Write-back of what is appended, started as it goes, and blocks put aside for what comes next.

use super::Log;
use crate::disk::{Access, DiskFile};
use std::ops::Range;
use std::sync::Arc;

/// Room is put aside where a step takes less: 8 MiB/s with steps of 2 MiB.
const FAST_MS: i64 = 250;
/// Steps of room ahead of a fast log, and what must be left of them before more is put aside.
const ROOM_STEPS: u64 = 8;
const ROOM_LEFT_STEPS: u64 = 4;
/// Steps that may be appended until the request runs: room for them would come too late.
const LATE_STEPS: u64 = 2;

/// How far the active segment was taken care of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    segment: i64,
    /// Bytes whose write-back was started.
    written_back: u32,
    /// When that was; of no use before the first time.
    at_ms: i64,
    /// Where the room ends that was put aside.
    room_end: u64,
}

/// Bytes whose write-back is worth starting now, and the place that those to come will need.
#[derive(Debug)]
pub struct WriteBack {
    file: Arc<dyn DiskFile>,
    bytes: Range<u64>,
    /// Empty where appends are slow, or find enough.
    room: Range<u64>,
}

impl WriteBack {
    /// Starts the write-back. A hint: failure is not reported, the next sync meets it.
    pub fn run(&self) {
        if !self.room.is_empty() {
            let _ = self.file.make_room(self.room.start, self.room.end - self.room.start);
        }
        let _ = self.file.start_write_back(self.bytes.start, self.bytes.end - self.bytes.start);
    }
}

impl Log {
    /// Bytes of the active segment whose write-back is worth starting, so that dirty pages never pile up until an
    /// append has to wait for them.
    ///
    /// They are whole steps of `write_back_bytes` with at least half a step behind them: a page that is being written
    /// back is locked until the disk takes it, so the page that appends go on with must not be among them. Small
    /// steps, because the disk's queue is shared with everything else.
    ///
    /// Where they came fast, so will the next: those find blocks put aside for them, which saves a tenth of a write's
    /// CPU on ext4. There is never more room than eight steps fill, none beyond `segment.bytes`, and what is not used
    /// is given back when the segment is finished.
    pub fn write_back(&mut self, now_ms: i64) -> Option<WriteBack> {
        let step = self.config.write_back_bytes;
        let active = self.active();
        let mut progress = self.write_back;
        if progress.segment != active.base_offset {
            progress = Progress { segment: active.base_offset, ..Progress::default() };
        }
        let (from, to) = (progress.written_back, active.size.saturating_sub(step / 2) / step * step);
        if to <= from {
            return None;
        }
        let file = active.log.once(Access::Write).ok()?;
        let is_fast = from > 0 && now_ms.saturating_sub(progress.at_ms) < FAST_MS;
        let (at, step) = (u64::from(active.size), u64::from(step));
        let room = match is_fast && !self.config.preallocate && progress.room_end < at + ROOM_LEFT_STEPS * step {
            true => {
                progress.room_end.max(at + LATE_STEPS * step)
                    ..(at + ROOM_STEPS * step).min(u64::from(self.config.segment_bytes))
            }
            false => 0..0,
        };
        progress.written_back = to;
        progress.at_ms = now_ms;
        progress.room_end = progress.room_end.max(room.end);
        self.write_back = progress;
        let last = self.segments.len() - 1;
        self.segments[last].has_room |= !room.is_empty();
        Some(WriteBack { file, bytes: u64::from(from)..u64::from(to), room })
    }
}
