//! The floor of consuming: answer every Fetch from one file, the head with `send`, the records with `sendfile`.
//!
//! The next answer begins where the last batch that this one cut off begins, which is where a consumer goes on.

use super::{Fields, accept, frame_length, read};
use crate::Outcome;
use crate::options::Options;
use rustix::fs::sendfile;
use rustix::net::{SendFlags, send};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Requests are small.
const BUFFER: usize = 4096;

pub fn run(mut options: Options) -> Outcome<()> {
    let port = options.number("port", 0)?;
    let file = options.needed("file")?;
    options.end()?;
    let file = Arc::new(File::open(file)?);
    let size = file.metadata()?.len();
    let mut start = [0; 12];
    file.read_exact_at(&mut start, 0)?;
    let batch = 12 + u64::from(u32::from_be_bytes([start[8], start[9], start[10], start[11]]));
    Ok(accept(port, |stream| serve(stream, file.clone(), size, batch))?)
}

async fn serve(mut stream: TcpStream, file: Arc<File>, size: u64, batch: u64) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    let (mut end, mut position, mut head) = (0, 0, Vec::new());
    loop {
        end += match read(&mut stream, &mut buffer[end..]).await? {
            0 => return Ok(()),
            n => n,
        };
        let mut start = 0;
        while let Some(length) = frame_length(&buffer[start..end]).filter(|length| end - start >= *length) {
            let wanted = answer_head(&buffer[start + 4..start + length], size, &mut head);
            start += length;
            if position + wanted > size {
                position = 0;
            }
            let mut left = &head[..];
            while !left.is_empty() {
                let sent = when_ready(&stream, || send(&stream, left, SendFlags::MORE | SendFlags::NOSIGNAL)).await?;
                left = &left[sent..];
            }
            let until = position + wanted;
            while position < until {
                position += when_ready(&stream, || {
                    sendfile(&stream, &file, Some(&mut position.clone()), (until - position) as usize)
                })
                .await? as u64;
            }
            position -= wanted % batch;
        }
        buffer.copy_within(start..end, 0);
        end -= start;
    }
}

/// Writes the answer to `request` into `head`, up to the records; gives how many bytes of records follow.
fn answer_head(request: &[u8], size: u64, head: &mut Vec<u8>) -> u64 {
    let mut fields = Fields(request);
    fields.take(2 + 2); // key, version
    let correlation_id = fields.take(4);
    fields.string(); // client
    fields.take(4 + 4 + 4 + 4 + 1 + 4 + 4 + 4); // replica, wait, bytes, isolation, session, number of topics
    let topic = fields.string();
    fields.take(4);
    let index = fields.take(4);
    fields.take(4 + 8 + 8); // epoch, offset, start
    let wanted = (fields.i32() as u64).min(size);
    head.clear();
    head.extend_from_slice(&[0; 4]);
    head.extend_from_slice(correlation_id);
    head.extend_from_slice(&[0; 4 + 2 + 4]); // throttle time, error, session
    head.extend_from_slice(&1_i32.to_be_bytes());
    head.extend_from_slice(&(topic.len() as i16).to_be_bytes());
    head.extend_from_slice(topic);
    head.extend_from_slice(&1_i32.to_be_bytes());
    head.extend_from_slice(index);
    head.extend_from_slice(&[0; 2]); // error
    head.extend_from_slice(&i64::MAX.to_be_bytes());
    head.extend_from_slice(&i64::MAX.to_be_bytes());
    head.extend_from_slice(&[0; 8 + 4]); // log start, aborted transactions
    head.extend_from_slice(&(-1_i32).to_be_bytes());
    head.extend_from_slice(&(wanted as u32).to_be_bytes());
    let length = (head.len() - 4) as u64 + wanted;
    head[..4].copy_from_slice(&(length as u32).to_be_bytes());
    wanted
}

/// Repeats a system call until the socket takes something.
async fn when_ready(stream: &TcpStream, mut call: impl FnMut() -> rustix::io::Result<usize>) -> io::Result<usize> {
    loop {
        match stream.try_io(Interest::WRITABLE, || Ok(call()?)) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            other => return other,
        }
    }
}
