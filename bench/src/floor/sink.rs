//! The floor of producing: receive, check the CRC, stamp offset and epoch in place, write, answer.

use super::{Aligned, Fields, accept, frame_length, read};
use crate::Outcome;
use crate::options::Options;
use rustix::io::pwritev;
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;

const BUFFER: usize = 256 << 10;
/// Batches in one write.
const RUN: usize = 64;

struct Partition {
    file: File,
    end: Mutex<End>,
}

#[derive(Default)]
struct End {
    position: u64,
    offset: i64,
}

struct Batch {
    partition: usize,
    at: Range<usize>,
}

pub fn run(mut options: Options) -> Outcome<()> {
    let port = options.number("port", 0)?;
    let dir = options.needed("dir")?;
    let partitions = options.number("partitions", 4)?;
    options.end()?;
    let partition =
        |i| Ok(Partition { file: File::create(Path::new(&dir).join(format!("{i}.log")))?, end: Mutex::default() });
    let partitions: Arc<[Partition]> = (0..partitions).map(partition).collect::<io::Result<_>>()?;
    Ok(accept(port, |stream| serve(stream, partitions.clone()))?)
}

async fn serve(mut stream: TcpStream, partitions: Arc<[Partition]>) -> io::Result<()> {
    let mut buffer = Aligned::new(BUFFER);
    let (mut start, mut end) = (0, 0);
    let (mut answers, mut batches) = (Vec::new(), Vec::new());
    loop {
        end += match read(&mut stream, &mut buffer[end..]).await? {
            0 => return Ok(()),
            n => n,
        };
        let mut need = 4;
        while let Some(length) = frame_length(&buffer[start..end]) {
            if end - start < length {
                need = length;
                break;
            }
            batches.push(frame(&buffer[..start + length], start + 4, partitions.len(), &mut answers)?);
            start += length;
        }
        append(&mut buffer, &partitions, &mut batches)?;
        let mut left = &answers[..];
        while !left.is_empty() {
            match stream.try_write(left) {
                Ok(n) => left = &left[n..],
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
                Err(e) => return Err(e),
            }
        }
        answers.clear();
        if start == end {
            (start, end) = (0, 0);
        }
        if need > buffer.len() {
            let mut larger = Aligned::new(need.next_power_of_two());
            larger[..end - start].copy_from_slice(&buffer[start..end]);
            buffer = larger;
            (start, end) = (0, end - start);
        } else if start + need > buffer.len() || end == buffer.len() {
            buffer.copy_within(start..end, 0);
            (start, end) = (0, end - start);
        }
    }
}

/// Checks the one batch of the Produce from `from` to the end of `buffer`, and adds its answer.
fn frame(buffer: &[u8], from: usize, partitions: usize, answers: &mut Vec<u8>) -> io::Result<Batch> {
    let mut fields = Fields(&buffer[from..]);
    fields.take(2 + 2); // key, version
    let correlation_id = fields.take(4);
    fields.string(); // client
    fields.string(); // transaction
    fields.take(2 + 4 + 4); // acks, timeout, number of topics
    let topic = fields.string();
    fields.take(4);
    let index = fields.take(4);
    let length = fields.i32() as usize;
    let batch = fields.take(length);
    let end = buffer.len() - fields.0.len();
    if crc32c::crc32c(&batch[21..]).to_be_bytes() != batch[17..21] {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let size = 4 + 4 + 2 + topic.len() + 4 + 4 + 2 + 8 + 8 + 8 + 4 + 2 + 4;
    answers.extend_from_slice(&(size as u32).to_be_bytes());
    answers.extend_from_slice(correlation_id);
    answers.extend_from_slice(&1_i32.to_be_bytes());
    answers.extend_from_slice(&(topic.len() as i16).to_be_bytes());
    answers.extend_from_slice(topic);
    answers.extend_from_slice(&1_i32.to_be_bytes());
    answers.extend_from_slice(index);
    // No error, some offset, no time, log start 0, no record errors, no message, no throttling.
    answers.extend_from_slice(&[0; 2 + 8]);
    answers.extend_from_slice(&[0xff; 8]);
    answers.extend_from_slice(&[0; 8 + 4]);
    answers.extend_from_slice(&[0xff; 2]);
    answers.extend_from_slice(&[0; 4]);
    Ok(Batch { partition: index[3] as usize % partitions, at: end - length..end })
}

/// Stamps and writes: batches of one partition that follow each other with one call, under its lock.
fn append(buffer: &mut [u8], partitions: &[Partition], batches: &mut Vec<Batch>) -> io::Result<()> {
    for run in batches.chunk_by(|a, b| a.partition == b.partition).flat_map(|run| run.chunks(RUN)) {
        let partition = &partitions[run[0].partition];
        let mut end = partition.end.lock().unwrap_or_else(PoisonError::into_inner);
        for batch in run {
            let bytes = &mut buffer[batch.at.clone()];
            bytes[..8].copy_from_slice(&end.offset.to_be_bytes());
            bytes[12..16].copy_from_slice(&0_i32.to_be_bytes());
            let last = i32::from_be_bytes([bytes[23], bytes[24], bytes[25], bytes[26]]);
            end.offset += i64::from(last) + 1;
        }
        let mut parts = [IoSlice::new(&[]); RUN];
        for (part, batch) in parts.iter_mut().zip(run) {
            *part = IoSlice::new(&buffer[batch.at.clone()]);
        }
        let size: usize = run.iter().map(|batch| batch.at.len()).sum();
        if pwritev(&partition.file, &parts[..run.len()], end.position)? != size {
            return Err(io::ErrorKind::WriteZero.into());
        }
        end.position += size as u64;
    }
    batches.clear();
    Ok(())
}
