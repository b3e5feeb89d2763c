//! Records out of a compressed payload, looked at while it is decompressed: memory does not grow with what comes out.

use super::batch::Batch;
use super::checker::{Checker, Summary};
use super::codecs::{Scratch, Stream};
use super::compression::Codec;
use super::error::BatchError;
use super::record::{BAD_FIELDS, BAD_HEADERS, BAD_LENGTH, BAD_OFFSET, CUT_OFF, LENGTH_SIZE_MAX};
use super::rules::{Refusal, Rules};
use super::skim::{Skimmed, look, skim};
use super::varint::{take_i32, take_i64};

/// A payload may decompress to this many times its size...
const RATIO_MAX: usize = 2048;
/// ...but to this many bytes in any case: small batches of repetitive records reach any ratio.
const RATIO_FLOOR: usize = 16 << 20;

pub(super) fn check_compressed(
    batch: &Batch<'_>,
    codec: Codec,
    rules: &Rules,
    scratch: &mut Scratch,
) -> Result<Summary, Refusal> {
    let by_ratio = batch.payload().len().saturating_mul(RATIO_MAX).max(RATIO_FLOOR);
    let stream = scratch.stream(codec, batch.payload(), by_ratio.min(rules.max_decompressed_bytes));
    let summary = check_stream(stream, batch, rules);
    scratch.trim();
    summary
}

fn check_stream(mut stream: Stream<'_>, batch: &Batch<'_>, rules: &Rules) -> Result<Summary, Refusal> {
    let mut checker = Checker::new(batch, rules);
    for index in 0..batch.record_count() {
        let record = match skim(stream.unread(), 0, index) {
            Some(record) => record,
            None => look_at_stream(&mut stream, index)?,
        };
        checker.record(index, record.timestamp_delta, record.has_key);
        stream.consume(record.end);
    }
    if !stream.unread().is_empty() || stream.fill()? {
        return Err(BatchError::Trailing.into());
    }
    checker.finish()
}

/// A record that is not whole when so much of it is there is not waited for, or memory would grow with it.
const WAITED_FOR: usize = 128 << 10;

/// One record out of a stream, once all of it is there.
#[inline(never)]
fn look_at_stream(stream: &mut Stream<'_>, index: i32) -> Result<Skimmed, BatchError> {
    loop {
        let reason = match look(stream.unread(), 0, index) {
            Ok(record) => return Ok(record),
            Err(reason) => reason,
        };
        if reason != CUT_OFF {
            return Err(BatchError::Record { index, reason });
        }
        if stream.unread().len() >= WAITED_FOR {
            return Passage { stream, index, left: LENGTH_SIZE_MAX }.record();
        }
        if !stream.fill()? {
            return Err(BatchError::Record { index, reason });
        }
    }
}

/// A large record that is stepped over field by field while it is decompressed.
struct Passage<'p, 's> {
    stream: &'p mut Stream<'s>,
    index: i32,
    /// Bytes of the record that are still to come.
    left: usize,
}

impl Passage<'_, '_> {
    fn record(mut self) -> Result<Skimmed, BatchError> {
        let length = self.varint(take_i32)?;
        self.left = usize::try_from(length).map_err(|_| self.broken(BAD_LENGTH))?;
        self.skip(1)?;
        let timestamp_delta = self.varint(take_i64)?;
        if self.varint(take_i32)? != self.index {
            return Err(self.broken(BAD_OFFSET));
        }
        let has_key = self.skip_nullable()?;
        self.skip_nullable()?;
        let headers = self.varint(take_i32)?;
        if headers < 0 {
            return Err(self.broken(BAD_HEADERS));
        }
        for _ in 0..headers {
            if !self.skip_nullable()? {
                return Err(self.broken(BAD_HEADERS));
            }
            self.skip_nullable()?;
        }
        match self.left {
            0 => Ok(Skimmed { end: 0, timestamp_delta, has_key }),
            _ => Err(self.broken(BAD_LENGTH)),
        }
    }

    fn broken(&self, reason: &'static str) -> BatchError {
        BatchError::Record { index: self.index, reason }
    }

    /// Takes a varint with `take`, when as much of it is there as it needs.
    fn varint<T>(&mut self, take: fn(&mut &[u8]) -> Option<T>) -> Result<T, BatchError> {
        const LONGEST: usize = 10;
        while self.stream.unread().len() < LONGEST && self.stream.fill()? {}
        let unread = self.stream.unread();
        let mut rest = &unread[..unread.len().min(self.left)];
        let before = rest.len();
        let value = take(&mut rest).ok_or(self.broken(BAD_FIELDS))?;
        let taken = before - rest.len();
        self.left -= taken;
        self.stream.consume(taken);
        Ok(value)
    }

    /// Steps over a length and so many bytes; false if the length is that of null.
    fn skip_nullable(&mut self) -> Result<bool, BatchError> {
        match self.varint(take_i32)? {
            -1 => Ok(false),
            length => {
                self.skip(usize::try_from(length).map_err(|_| self.broken(BAD_FIELDS))?)?;
                Ok(true)
            }
        }
    }

    fn skip(&mut self, mut count: usize) -> Result<(), BatchError> {
        if count > self.left {
            return Err(self.broken(BAD_FIELDS));
        }
        self.left -= count;
        loop {
            let there = self.stream.unread().len().min(count);
            self.stream.consume(there);
            count -= there;
            if count == 0 {
                return Ok(());
            }
            if !self.stream.fill()? {
                return Err(self.broken(CUT_OFF));
            }
        }
    }
}
