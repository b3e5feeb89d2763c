//! Standard input as lines, read by a thread of its own so that waiting for input holds up nothing else.

use std::io::{self, Read};

use tokio::sync::mpsc;

/// Chunks of standard input as they arrive; a few wait until they are wanted.
pub struct Lines {
    chunks: mpsc::Receiver<io::Result<Vec<u8>>>,
    splitter: Splitter,
}

impl Lines {
    /// Begins to read.
    pub fn stdin() -> Lines {
        const CHUNK: usize = 64 * 1024;
        const WAITING: usize = 4;
        let (to, chunks) = mpsc::channel(WAITING);
        std::thread::spawn(move || {
            let mut stdin = io::stdin().lock();
            let mut buffer = vec![0; CHUNK];
            loop {
                let read = match stdin.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(n) => Ok(buffer[..n].to_vec()),
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Err(e) => Err(e),
                };
                let ended = read.is_err();
                if to.blocking_send(read).is_err() || ended {
                    return;
                }
            }
        });
        Lines { chunks, splitter: Splitter::default() }
    }

    /// The next line without its end; none at the end of the input. A last line without an end counts. Safe to give up:
    /// what was read stays.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(line) = self.splitter.next() {
                return Ok(Some(line));
            }
            match self.chunks.recv().await {
                Some(Ok(chunk)) => self.splitter.push(&chunk),
                Some(Err(error)) => return Err(error),
                None => return Ok(self.splitter.last()),
            }
        }
    }
}

/// Cuts bytes into lines at LF, CR or CRLF.
#[derive(Default)]
struct Splitter {
    bytes: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to here there is no line end.
    searched: usize,
    /// The last line ended in CR: an LF that follows belongs to it.
    after_cr: bool,
}

impl Splitter {
    fn push(&mut self, chunk: &[u8]) {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(chunk);
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.after_cr && self.start < self.bytes.len() {
            self.after_cr = false;
            if self.bytes[self.start] == b'\n' {
                self.start += 1;
                self.searched = self.start;
            }
        }
        match self.bytes[self.searched..].iter().position(|b| matches!(b, b'\n' | b'\r')) {
            None => {
                self.searched = self.bytes.len();
                None
            }
            Some(at) => {
                let end = self.searched + at;
                let line = self.bytes[self.start..end].to_vec();
                self.after_cr = self.bytes[end] == b'\r';
                self.start = end + 1;
                self.searched = self.start;
                Some(line)
            }
        }
    }

    fn last(&mut self) -> Option<Vec<u8>> {
        let line = self.bytes.split_off(self.start);
        self.bytes.clear();
        (self.start, self.searched) = (0, 0);
        (!line.is_empty()).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&str]) -> Vec<String> {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.push(chunk.as_bytes());
            while let Some(line) = splitter.next() {
                lines.push(line);
            }
        }
        lines.extend(splitter.last());
        lines.into_iter().map(|l| String::from_utf8(l).unwrap()).collect()
    }

    #[test]
    fn lines_end_in_every_way_wherever_the_chunks_are_cut() {
        assert_eq!(split(&["a\nb\r\nc\rd"]), ["a", "b", "c", "d"]);
        assert_eq!(split(&["a\r", "\nb", "c\n", "\n"]), ["a", "bc", ""]);
        assert_eq!(split(&["a\r", "\r\n"]), ["a", ""]);
        assert_eq!(split(&["이것은 ", "수류탄", "이여!\n"]), ["이것은 수류탄이여!"]);
        assert_eq!(split(&[""]), [""; 0]);
    }
}
