//! Lines in a stream of bytes: ended by LF, CR or CRLF. What has no end yet is kept.

/// Bytes that were read and not yet taken as lines.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to where there is no line's end.
    searched: usize,
}

impl Lines {
    /// Room for more bytes, and how many came in is told by [`grown`](Self::grown).
    pub fn room(&mut self, size: usize) -> &mut [u8] {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        let filled = self.bytes.len();
        self.bytes.resize(filled + size, 0);
        &mut self.bytes[filled..]
    }

    /// How much of the room was filled.
    pub fn grown(&mut self, size: usize, count: usize) {
        self.bytes.truncate(self.bytes.len() - (size - count));
    }

    /// The next line, without its end, and how many bytes it took with its end.
    pub fn next(&mut self) -> Option<(&[u8], usize)> {
        let found = memchr(&self.bytes[self.searched..]);
        let Some(at) = found.map(|at| self.searched + at) else {
            self.searched = self.bytes.len();
            return None;
        };
        let after = match (self.bytes[at], self.bytes.get(at + 1)) {
            (b'\n', _) => at + 1,
            (_, Some(b'\n')) => at + 2,
            (_, Some(_)) => at + 1,
            // The next byte may belong to this end.
            (_, None) => {
                self.searched = at;
                return None;
            }
        };
        let (start, length) = (self.start, after - self.start);
        self.start = after;
        self.searched = after;
        Some((&self.bytes[start..at], length))
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Lines::default();
    }

    /// Bytes that are no line yet.
    pub fn pending(&self) -> usize {
        self.bytes.len() - self.start
    }
}

/// The first CR or LF.
fn memchr(bytes: &[u8]) -> Option<usize> {
    // Eight at a time: a byte of `x ^ pattern` is zero where it matches.
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero = |x: u64| x.wrapping_sub(LOW) & !x & HIGH;
    let mut at = 0;
    for chunk in bytes.chunks_exact(8) {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        let word = u64::from_le_bytes(word);
        let hit = zero(word ^ (LOW * u64::from(b'\n'))) | zero(word ^ (LOW * u64::from(b'\r')));
        if hit != 0 {
            return Some(at + (hit.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    bytes[at..].iter().position(|b| matches!(b, b'\n' | b'\r')).map(|i| at + i)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(lines: &mut Lines, bytes: &[u8]) -> Vec<(String, usize)> {
        lines.room(64)[..bytes.len()].copy_from_slice(bytes);
        lines.grown(64, bytes.len());
        let mut all = Vec::new();
        while let Some((line, length)) = lines.next() {
            all.push((String::from_utf8_lossy(line).into_owned(), length));
        }
        all
    }

    #[test]
    fn lines_end_in_three_ways_and_count_their_bytes() {
        let mut lines = Lines::default();
        let found = feed(&mut lines, "eins\nzwei\r\ndr\u{e4}i\rv".as_bytes());
        assert_eq!(found, [("eins".into(), 5), ("zwei".into(), 6), ("dr\u{e4}i".into(), 6)]);
        assert_eq!(lines.pending(), 1);
        assert_eq!(feed(&mut lines, b"ier\n\n"), [("vier".into(), 5), (String::new(), 1)]);
    }

    #[test]
    fn a_cr_at_the_end_waits_for_what_follows() {
        let mut lines = Lines::default();
        assert_eq!(feed(&mut lines, b"a\r"), []);
        assert_eq!(feed(&mut lines, b"\nb\r"), [("a".into(), 3)]);
        assert_eq!(feed(&mut lines, b"c\n"), [("b".into(), 2), ("c".into(), 2)]);
    }

    #[test]
    fn the_first_end_is_found_wherever_it_stands() {
        for length in 0..40 {
            for at in 0..length {
                let mut bytes = vec![b'x'; length];
                bytes[at] = if at % 2 == 0 { b'\n' } else { b'\r' };
                assert_eq!(memchr(&bytes), Some(at));
            }
            assert_eq!(memchr(&vec![0xff; length]), None);
        }
    }
}
