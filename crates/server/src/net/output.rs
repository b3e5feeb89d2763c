//! Writing answers: buffered bytes, with regions of files sent in between by `sendfile`.

use super::buffers::CHUNK;
use crate::node::Node;
use rustix::fs::sendfile;
use rustix::io::{IoSliceMut, ReadWriteFlags, preadv2};
use rustix::net::{SendFlags, send};
use std::io;
use tokio::io::Interest;
use tokio::net::TcpStream;
use wire::codec::{Encoder, FileRegion};

/// One `sendfile` call never moves more, so that a connection gives way to others.
const SENDFILE_BYTES: usize = 1 << 20;

/// A lone region up to this size is copied: one that does not begin on a page makes `sendfile` cost more than the copy,
/// which also leaves with the head of the answer in one call.
pub const COPY_MAX: u32 = 128 << 10;
/// Bytes around a lone region that still go with it.
const AROUND_MAX: usize = PAGE;
const PAGE: usize = 4096;

/// Sends everything in `out`, in order, and clears it.
pub async fn flush(node: &Node, stream: &TcpStream, out: &mut Encoder) -> io::Result<()> {
    if let [(position, region)] = out.regions()
        && region.length <= COPY_MAX
    {
        if flush_copied(node, stream, out.bytes().split_at(*position), region).await? {
            out.clear();
            return Ok(());
        }
        // Not in the page cache: a reactor must not wait for the disk.
        node.cold_reads.warm(region).await;
    }
    let mut from = 0;
    for (position, region) in out.regions() {
        send_bytes(stream, &out.bytes()[from..*position], true).await?;
        send_region(stream, region).await?;
        from = *position;
    }
    send_bytes(stream, &out.bytes()[from..], false).await?;
    out.clear();
    Ok(())
}

/// Sends an answer with one small region by one call; `false` when that is not possible without waiting for the disk.
async fn flush_copied(
    node: &Node,
    stream: &TcpStream,
    (head, tail): (&[u8], &[u8]),
    region: &FileRegion,
) -> io::Result<bool> {
    if head.len() > AROUND_MAX || tail.len() > AROUND_MAX {
        return Ok(false);
    }
    let mut chunk = node.works.small()?;
    let length = region.length as usize;
    // The copy is cheapest between places that are equally far from the beginning of a page.
    let at = AROUND_MAX + (region.position % PAGE as u64) as usize;
    let into = &mut [IoSliceMut::new(&mut chunk[at..at + length])];
    let whole = preadv2(&region.file, into, region.position, ReadWriteFlags::NOWAIT) == Ok(length);
    if whole {
        let (start, end) = (at - head.len(), at + length + tail.len());
        chunk[start..at].copy_from_slice(head);
        chunk[at + length..end].copy_from_slice(tail);
        send_bytes(stream, &chunk[start..end], false).await?;
    }
    node.works.put_chunk(chunk);
    Ok(whole)
}

const _: () = assert!(COPY_MAX as usize + 2 * AROUND_MAX + PAGE <= CHUNK);

/// `more` tells the kernel that a region follows, so that the head of an answer shares a segment with it.
async fn send_bytes(stream: &TcpStream, mut bytes: &[u8], more: bool) -> io::Result<()> {
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

/// The system call runs inside `try_io`: readiness cleared by anything else would be a lost wake-up.
async fn send_region(stream: &TcpStream, region: &FileRegion) -> io::Result<()> {
    let (mut position, until) = (region.position, region.position + region.length as u64);
    while position < until {
        let count = ((until - position) as usize).min(SENDFILE_BYTES);
        let sent = stream.try_io(Interest::WRITABLE, || {
            let mut at = position;
            Ok(sendfile(stream, region.file.as_ref(), Some(&mut at), count)?)
        });
        match sent {
            // The answer's length is promised already; a file that got shorter (truncated meanwhile) ends the connection.
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a log was truncated while it was read")),
            Ok(n) => position += n as u64,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
