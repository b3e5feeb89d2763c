//! Writing answers: buffered bytes, with regions of files sent in between by `sendfile`.

use rustix::fs::sendfile;
use rustix::net::{SendFlags, send};
use std::io;
use tokio::io::Interest;
use tokio::net::TcpStream;
use wire::codec::{Encoder, FileRegion};

/// One `sendfile` call never moves more, so that a connection gives way to others.
const SENDFILE_BYTES: usize = 1 << 20;

/// Sends everything in `out`, in order, and clears it.
pub async fn flush(stream: &TcpStream, out: &mut Encoder) -> io::Result<()> {
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
