//! The floors: the least that a server can do for a load, in the shape that costs least on tokio: one task a connection,
//! reads of whatever is there into a reused page-aligned buffer, all whole frames of a read together, one write for all
//! their answers.

pub mod sink;
pub mod source;

use std::future::poll_fn;
use std::io;
use std::net::Ipv4Addr;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::Poll;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

const PAGE: usize = 4096;

/// A buffer whose first byte is a page's first: the kernel copies into others at up to twice the price.
struct Aligned {
    bytes: Vec<u8>,
    from: usize,
    size: usize,
}

impl Aligned {
    fn new(size: usize) -> Aligned {
        let bytes = vec![0; size + PAGE];
        let from = bytes.as_ptr().align_offset(PAGE);
        Aligned { bytes, from, size }
    }
}

impl Deref for Aligned {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[self.from..self.from + self.size]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.from..self.from + self.size]
    }
}

/// Accepts connections on `port` for good and gives each to `serve`.
fn accept<F>(port: u16, serve: impl Fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream));
        }
    })
}

/// What one read brings; 0 at the end. `poll_read` knows that a read that did not fill the buffer emptied the socket,
/// and saves the call that would only say so.
async fn read(stream: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
    let mut into = ReadBuf::new(into);
    poll_fn(|cx| match Pin::new(&mut *stream).poll_read(cx, &mut into) {
        Poll::Ready(Ok(())) => Poll::Ready(Ok(into.filled().len())),
        Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Big-endian values from the front of a request, which comes from the bench itself.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n);
        self.0 = rest;
        taken
    }

    fn i32(&mut self) -> i32 {
        let bytes = self.take(4);
        i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    /// A string, or nothing where it is null.
    fn string(&mut self) -> &'a [u8] {
        let bytes = self.take(2);
        let length = i16::from_be_bytes([bytes[0], bytes[1]]);
        self.take(length.max(0) as usize)
    }
}

/// The length of the frame at the front of `bytes`, its own four bytes included, once those are there.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    bytes.first_chunk().map(|n| 4 + u32::from_be_bytes(*n) as usize)
}
