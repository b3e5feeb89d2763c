//! Writing answers: buffered bytes, with regions of files sent in between by `sendfile`.
//!
//! A region's first bytes, up to where a page of the file begins, are copied and leave with the bytes before them:
//! regions begin where batches do, hardly ever on a page, and one that does not costs `sendfile` a packet more for every
//! 64 KiB. A small region is copied whole, and so is a larger one that was written moments ago: its bytes are still in
//! the processor's caches, and the answer leaves in one packet where `sendfile` makes three, each of which may
//! wake the follower.

use super::buffers::{CHUNK, Chunk};
use super::works::Works;
use crate::cold_reads::ColdReads;
use rustix::fs::sendfile;
use rustix::io::{Errno, IoSliceMut, ReadWriteFlags, preadv2};
use rustix::net::{SendFlags, send};
use std::io;
use std::ops::Range;
use tokio::io::Interest;
use tokio::net::TcpStream;
use wire::codec::{Encoder, FileRegion};

/// One `sendfile` call never moves more, so that a connection gives way to others.
const SENDFILE_BYTES: usize = 1 << 20;
/// Regions up to this size are copied whole: that costs less than a call of `sendfile`.
pub const COPY_MAX: u32 = 16 << 10;
/// Regions that were written moments ago are copied up to this size.
const COPY_RECENT_MAX: u32 = 256 << 10;
const PAGE: usize = 4096;

/// Sends everything in `out`, in order, and clears it.
pub async fn flush(works: &Works, cold_reads: &ColdReads, stream: &TcpStream, out: &mut Encoder) -> io::Result<()> {
    let bytes = out.bytes();
    let mut from = 0;
    let mut copies = Copies { works, cold_reads, stream, chunk: None, filled: 0..0 };
    for (position, region) in out.regions() {
        copies.add(&bytes[from..*position], region).await?;
        from = *position;
        let copied = copied_of(region);
        let mut done = copies.add_of(region, 0..copied).await?;
        while done < copied {
            copies.send(true).await?;
            done += copies.add_of(region, done..copied).await?;
        }
        if copied < region.length as usize {
            copies.send(true).await?;
            send_region(stream, region, copied).await?;
        }
    }
    copies.finish(&bytes[from..]).await?;
    out.clear();
    Ok(())
}

/// How much of a region is copied, from its beginning on.
fn copied_of(region: &FileRegion) -> usize {
    let max = if region.prefer_copy { COPY_RECENT_MAX } else { COPY_MAX };
    if region.length <= max {
        return region.length as usize;
    }
    (region.position.next_multiple_of(PAGE as u64) - region.position) as usize
}

/// What leaves with the next call of `send`: bytes between regions, and what is copied of regions.
struct Copies<'a> {
    works: &'a Works,
    cold_reads: &'a ColdReads,
    stream: &'a TcpStream,
    /// Given back while a region goes by `sendfile`, which may take as long as the client likes.
    chunk: Option<Chunk>,
    filled: Range<usize>,
}

impl Copies<'_> {
    /// Adds bytes, after which a part of `region` comes; more than fit are sent from where they are.
    async fn add(&mut self, bytes: &[u8], region: &FileRegion) -> io::Result<()> {
        let room = CHUNK - self.filled.end;
        if bytes.len() + COPY_MAX as usize + PAGE > room {
            self.send(true).await?;
            return send_bytes(self.stream, bytes, true).await;
        }
        let start = self.filled.end;
        let chunk = self.chunk()?;
        chunk[start..start + bytes.len()].copy_from_slice(bytes);
        self.filled.end += bytes.len();
        if start == 0 {
            // The copy is cheapest between places that are equally far from the beginning of a page.
            let shift = (region.position as usize).wrapping_sub(bytes.len()) % PAGE;
            self.chunk()?.copy_within(..bytes.len(), shift);
            self.filled = shift..shift + bytes.len();
        }
        Ok(())
    }

    /// Copies this part of the region, as far as there is room; says how much that is.
    async fn add_of(&mut self, region: &FileRegion, part: Range<usize>) -> io::Result<usize> {
        if part.is_empty() {
            return Ok(0);
        }
        let position = region.position + part.start as u64;
        if self.filled.is_empty() {
            let shift = position as usize % PAGE;
            self.filled = shift..shift;
        }
        let (cold_reads, at) = (self.cold_reads, self.filled.end);
        let want = part.len().min(CHUNK - at);
        let into = &mut self.chunk()?[at..at + want];
        let mut flags = ReadWriteFlags::NOWAIT;
        loop {
            match preadv2(&region.file, &mut [IoSliceMut::new(into)], position, flags) {
                Ok(n) if n == want => break,
                // Not in the page cache, or on a file system that cannot tell (tmpfs, overlayfs, NFS): a reactor must not
                // wait for the disk.
                Ok(1..) | Err(Errno::AGAIN | Errno::OPNOTSUPP) if flags == ReadWriteFlags::NOWAIT => {
                    cold_reads.warm(region).await;
                    flags = ReadWriteFlags::empty();
                }
                Ok(_) => return Err(truncated()),
                Err(e) => return Err(e.into()),
            }
        }
        self.filled.end += want;
        Ok(want)
    }

    fn chunk(&mut self) -> io::Result<&mut Chunk> {
        let chunk = match self.chunk.take() {
            Some(chunk) => chunk,
            None => self.works.small()?,
        };
        Ok(self.chunk.insert(chunk))
    }

    async fn send(&mut self, more: bool) -> io::Result<()> {
        if let Some(chunk) = self.chunk.take() {
            send_bytes(self.stream, &chunk[self.filled.clone()], more).await?;
            self.works.put_chunk(chunk);
        }
        self.filled = 0..0;
        Ok(())
    }

    /// Sends what is left and these bytes, together where they fit.
    async fn finish(mut self, bytes: &[u8]) -> io::Result<()> {
        let Range { end, .. } = self.filled;
        match &mut self.chunk {
            Some(chunk) if bytes.len() <= CHUNK - end => {
                chunk[end..end + bytes.len()].copy_from_slice(bytes);
                self.filled.end += bytes.len();
                self.send(false).await
            }
            _ => {
                self.send(true).await?;
                send_bytes(self.stream, bytes, false).await
            }
        }
    }
}

/// The answer's length is promised already; a file that got shorter meanwhile ends the connection.
fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "a log was truncated while it was read")
}

/// `more` tells the kernel that a region follows, so that the head of an answer shares a segment with it.
pub async fn send_bytes(stream: &TcpStream, mut bytes: &[u8], more: bool) -> io::Result<()> {
    let flags = if more { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL };
    while !bytes.is_empty() {
        match stream.try_io(Interest::WRITABLE, || Ok(send(stream, bytes, flags)?)) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Sends the region from its `first` byte on. The system call runs inside `try_io`: readiness cleared by anything else
/// would be a lost wake-up.
async fn send_region(stream: &TcpStream, region: &FileRegion, first: usize) -> io::Result<()> {
    let (mut position, until) = (region.position + first as u64, region.position + region.length as u64);
    while position < until {
        let count = ((until - position) as usize).min(SENDFILE_BYTES);
        let sent = stream.try_io(Interest::WRITABLE, || {
            let mut at = position;
            Ok(sendfile(stream, region.file.as_ref(), Some(&mut at), count)?)
        });
        match sent {
            Ok(0) => return Err(truncated()),
            Ok(n) => position += n as u64,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::sync::Arc;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::runtime::Handle;
    use wire::codec::Records;

    /// Bytes that tell where they are from.
    fn content(length: usize) -> Vec<u8> {
        (0..length as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    fn file_with(bytes: &[u8]) -> Arc<File> {
        let path = std::env::temp_dir().join(format!("klamm-output-{}-{}", std::process::id(), testkit::free_port()));
        std::fs::write(&path, bytes).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        Arc::new(file)
    }

    /// The same as it should arrive; the codec puts its length before each region.
    fn expected(in_file: &[u8], parts: &[Result<&[u8], (u64, u32)>]) -> Vec<u8> {
        let mut expected = Vec::new();
        for part in parts {
            match *part {
                Ok(bytes) => expected.extend(bytes),
                Err((at, length)) => {
                    expected.extend((length as i32).to_be_bytes());
                    expected.extend(&in_file[at as usize..at as usize + length as usize]);
                }
            }
        }
        expected
    }

    /// What arrives when these are sent: bytes, and regions as (position, length) of a file with `in_file`.
    async fn sent(in_file: &[u8], parts: &[Result<&[u8], (u64, u32)>], prefer_copy: bool) -> io::Result<Vec<u8>> {
        let file = file_with(in_file);
        let mut out = Encoder::new();
        for part in parts {
            match *part {
                Ok(bytes) => out.bytes_mut().extend(bytes),
                Err((position, length)) => {
                    let region = FileRegion { file: file.clone(), position, length, prefer_copy };
                    out.nullable_records(Some(&Records::File(region))).unwrap();
                }
            }
        }
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut client = TcpStream::connect(listener.local_addr()?).await?;
        let (server, _) = listener.accept().await?;
        let reading = tokio::spawn(async move {
            let mut arrived = Vec::new();
            client.read_to_end(&mut arrived).await.map(|_| arrived)
        });
        let flushed = flush(&Works::new(None, 1 << 20), &ColdReads::new(Handle::current()), &server, &mut out).await;
        drop(server);
        let arrived = reading.await.unwrap()?;
        flushed.map(|()| arrived)
    }

    /// Only what leaves as a copy leaves in one packet (docs/decisions/0006-followers-get-copies.md).
    #[test]
    fn what_is_better_copied_is_copied_whole_up_to_a_limit() {
        let file = file_with(&[]);
        let copied =
            |length, prefer_copy| copied_of(&FileRegion { file: file.clone(), position: 5_000, length, prefer_copy });
        let to_the_page = 2 * PAGE - 5_000;
        for (length, as_usual, preferred) in [
            (100, 100, 100),
            (COPY_MAX, COPY_MAX as usize, COPY_MAX as usize),
            (COPY_MAX + 1, to_the_page, COPY_MAX as usize + 1),
            (64 << 10, to_the_page, 64 << 10),
            (COPY_RECENT_MAX, to_the_page, 256 << 10),
            (COPY_RECENT_MAX + 1, to_the_page, to_the_page),
        ] {
            assert_eq!((copied(length, false), copied(length, true)), (as_usual, preferred), "{length} bytes");
        }
    }

    #[tokio::test]
    async fn bytes_and_regions_arrive_in_order_whatever_their_sizes_and_places() {
        let in_file = content(3 << 20);
        let lengths =
            [0, 1, 100, 4095, 4096, 4097, 16 << 10, (16 << 10) + 1, 65_536, 256 << 10, (256 << 10) + 1, 1 << 20];
        let positions = [0, 1, 4095, 4096, 4097, 70_001];
        let between = content(40_000);
        for length in lengths {
            for position in positions {
                for around in [0, 1, 90, 5000, 40_000] {
                    let other = (position + 13, 700);
                    let before = &between[..around];
                    let parts =
                        [Ok(before), Err((position, length)), Ok(&before[..around / 2]), Err(other), Ok(before)];
                    for parts in [&parts[..], &parts[..3], &parts[..2], &parts[1..2]] {
                        for prefer_copy in [false, true] {
                            let arrived = sent(&in_file, parts, prefer_copy).await.unwrap();
                            assert!(
                                arrived == expected(&in_file, parts),
                                "{length} bytes at {position} with {around} around, {} parts, {prefer_copy}",
                                parts.len()
                            );
                        }
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn many_small_regions_arrive_in_order() {
        let in_file = content(1 << 20);
        let parts: Vec<_> = (0..500).flat_map(|i| [Ok(&in_file[..57]), Err((i * 1999, 900 + i as u32))]).collect();
        assert!(sent(&in_file, &parts, false).await.unwrap() == expected(&in_file, &parts));
    }

    #[tokio::test]
    async fn a_file_that_got_shorter_ends_the_connection() {
        for (length, prefer_copy) in [(100, false), (100_000, false), (100_000, true)] {
            let error = sent(&content(50), &[Ok(b"head"), Err((0, length))], prefer_copy).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
