//! The buffer that decompressed bytes pass through.

/// A growing buffer whose middle holds bytes that were written and not yet consumed.
#[derive(Debug, Default)]
pub(super) struct Window {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes that were ever written since the last [`Window::clear`].
    written: usize,
}

impl Window {
    /// Capacity that a window keeps between batches: room for the one raw snappy block that librdkafka makes of a batch
    /// of its default size.
    const KEPT: usize = 2 << 20;

    /// Bytes that were written and not yet consumed.
    #[inline(always)]
    pub(super) fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    #[inline(always)]
    pub(super) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.end - self.start);
        self.start += count;
    }

    /// Space for at least `min` bytes after the unread ones, which may move to the front for it. Memory grows by what
    /// was written so far and `min`, never more than twofold beyond it.
    pub(super) fn room(&mut self, min: usize) -> &mut [u8] {
        if self.buffer.len() - self.end < min {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            let needed = self.end + min;
            if self.buffer.len() < needed {
                self.buffer.resize(needed.next_power_of_two(), 0);
            }
        }
        &mut self.buffer[self.end..]
    }

    /// Says that `count` bytes of the room were written.
    pub(super) fn filled(&mut self, count: usize) {
        self.end += count;
        self.written += count;
        assert!(self.end <= self.buffer.len(), "more bytes reported than there was room for");
    }

    /// Forgets the content, and memory beyond what is worth keeping.
    pub(super) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
        self.written = 0;
        if self.buffer.len() > Window::KEPT {
            self.buffer = Vec::new();
        }
    }

    /// Bytes that were ever written since the last [`Window::clear`].
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// The unread bytes as a vector of their own.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.buffer.truncate(self.end);
        self.buffer.drain(..self.start);
        self.buffer
    }
}
