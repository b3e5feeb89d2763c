//! Produces one batch again and again, with a fixed number of requests in flight.

use super::{Done, Progress};
use crate::Outcome;
use crate::client::{batch, produce_error_at, produce_frame};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

pub(super) fn run(
    mut stream: TcpStream,
    topic: &str,
    partition: i32,
    (batch_bytes, record_bytes): (usize, usize),
    in_flight: usize,
    progress: &Progress,
) -> Outcome<Done> {
    let (batch, records) = batch(batch_bytes, record_bytes);
    let frame = produce_frame(topic, partition, &batch)?;
    let mut answers = Answers::new(topic);
    let mut sent = VecDeque::with_capacity(in_flight);
    let mut done = Done::default();
    let mut more = progress.goes_on(0);
    while more && sent.len() < in_flight {
        sent.push_back(Instant::now());
        stream.write_all(&frame)?;
    }
    while let Some(at) = sent.pop_front() {
        answers.next(&mut stream)?;
        done.note(records, batch.len() as u64, at.elapsed());
        more = more && progress.goes_on(batch.len() as u64);
        if more {
            sent.push_back(Instant::now());
            stream.write_all(&frame)?;
        }
    }
    Ok(done)
}

/// Reads the answers to Produce requests and refuses errors.
pub(super) struct Answers {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    error_at: usize,
}

impl Answers {
    pub fn new(topic: &str) -> Answers {
        Answers { buffer: vec![0; 16 << 10], start: 0, end: 0, error_at: produce_error_at(topic) }
    }

    /// Waits for one answer.
    pub fn next(&mut self, stream: &mut TcpStream) -> Outcome<()> {
        loop {
            let have = &self.buffer[self.start..self.end];
            if let Some(length) = have.first_chunk().map(|n| u32::from_be_bytes(*n) as usize)
                && have.len() >= 4 + length
            {
                let error =
                    have[..4 + length].get(self.error_at..self.error_at + 2).ok_or("an answer that is too short")?;
                self.start += 4 + length;
                return match error {
                    [0, 0] => Ok(()),
                    code => {
                        Err(format!("Produce was refused with error {}", i16::from_be_bytes([code[0], code[1]])).into())
                    }
                };
            }
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            match stream.read(&mut self.buffer[self.end..])? {
                0 => return Err("the server closed the connection".into()),
                n => self.end += n,
            }
        }
    }
}
