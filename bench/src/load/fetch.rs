//! Fetches a log of equal batches. Only the head of an answer is copied out of the kernel; offsets follow from its
//! length, because every batch is as long as the next.

use super::{Done, Progress};
use crate::Outcome;
use crate::client::{batch, fetch_frame};
use crate::workload::{STORED_BATCH_BYTES, STORED_RECORD_BYTES};
use rustix::net::{RecvFlags, recv};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

pub(super) fn run(
    mut stream: TcpStream,
    topic: &str,
    partition: i32,
    max_bytes: u32,
    progress: &Progress,
) -> Outcome<Done> {
    let (batch, records) = batch(STORED_BATCH_BYTES, STORED_RECORD_BYTES);
    let (mut frame, offset_at) = fetch_frame(topic, partition, max_bytes)?;
    // Length, correlation id, throttle time, error, session, one topic, its name, one partition, its index, error,
    // three offsets, no aborted transactions, preferred replica, length of the records.
    let mut head = vec![0; 4 + 4 + 4 + 2 + 4 + 4 + 2 + topic.len() + 4 + 4 + 2 + 3 * 8 + 4 + 4 + 4];
    let mut nowhere = vec![0; 1 << 20];
    let mut done = Done::default();
    let mut offset = 0_i64;
    while progress.goes_on(0) {
        frame[offset_at..offset_at + 8].copy_from_slice(&offset.to_be_bytes());
        let at = Instant::now();
        stream.write_all(&frame)?;
        stream.read_exact(&mut head)?;
        let part = |from_end: usize| &head[head.len() - from_end..];
        let error = part(38).first_chunk().map_or(-1, |b| i16::from_be_bytes(*b));
        let high_watermark = part(36).first_chunk().map_or(-1, |b| i64::from_be_bytes(*b));
        let length = part(4).first_chunk().map_or(0, |b| u32::from_be_bytes(*b)) as usize;
        let frame_length = head.first_chunk().map_or(0, |b| u32::from_be_bytes(*b)) as usize;
        if error != 0 || frame_length + 4 != head.len() + length {
            return Err(format!("Fetch from {offset}: error {error}, {length} bytes of records").into());
        }
        discard(&stream, length, &mut nowhere)?;
        let whole = length / batch.len();
        if whole == 0 {
            return Err(format!("Fetch from {offset} gave {length} bytes of batches of {}", batch.len()).into());
        }
        done.note(whole as u64 * records, length as u64, at.elapsed());
        progress.goes_on(length as u64);
        offset += (whole as u64 * records) as i64;
        if offset >= high_watermark {
            offset = 0;
        }
    }
    Ok(done)
}

/// Takes bytes off a socket without copying them (tcp(7), `MSG_TRUNC`).
fn discard(stream: &TcpStream, mut bytes: usize, nowhere: &mut [u8]) -> Outcome<()> {
    while bytes > 0 {
        let at_most = bytes.min(nowhere.len());
        match recv(stream, &mut nowhere[..at_most], RecvFlags::TRUNC | RecvFlags::WAITALL)? {
            (_, 0) => return Err("the server closed the connection".into()),
            (_, n) => bytes -= n,
        }
    }
    Ok(())
}
